/*
 * passdb_row - see passdb_row.h
 */
#include "passdb_row.h"
#include "base/time.h"
#include "table/net.h"
#include "userdb.h"
#include <openssl/rand.h>

enum { DELAY_SECONDS_MAX = 120 }; /* a success that is told later than that would find nobody */
struct place {
    struct authd_request *request;
    struct passdb_row *row;
    const char *scheme;
    struct err *err;
};

/* "192.0.2.1", "192.0.2.0/24"; bits behind the mask are looked over, as Dovecot does. */
static int parse_net(struct slice word, struct net *out, struct err *err)
{
    ptrdiff_t slash = slice_find(word, '/');
    uint64_t bits;

    if (net_address(slash < 0 ? word : slice_sub(word, 0, (size_t) slash), out) != 0)
        return err_set(err, 0, NULL, "%.*s: no network", (int) word.len, word.p);
    if (slash < 0)
        return 0;
    if (slice_u64(slice_sub(word, (size_t) slash + 1, word.len), out->bytes * 8, &bits) != 0)
        return err_set(err, 0, NULL, "%.*s: no network", (int) word.len, word.p);
    out->bits = (int) bits;
    return 0;
}

static bool listed(struct slice nets, const char *address, struct err *err, int *rc)
{
    struct net host, net;
    struct slice word;
    bool known = net_address(slice_of(address), &host) == 0;

    *rc = 0;
    while (slice_word(&nets, ", ", &word)) {
        if (slice_eq(word, "local")) { /* who came by no network at all */
            if (!known)
                return true;
        } else if (parse_net(word, &net, err) != 0) {
            *rc = -1;
            return false;
        } else if (known && net_holds(&net, &host)) {
            return true;
        }
    }
    return false;
}

static int nets(struct place *p, const char *name, const char *value, const char *address)
{
    int rc;
    struct err why;

    if (listed(slice_of(value), address, &why, &rc))
        return 0;
    if (rc != 0)
        return err_set(p->err, 0, NULL, "%s: %s", name, why.text);
    authd_request_info(p->request, "%s check failed: %s", name,
                       address[0] ? "IP not in allowed networks" : "IP not known");
    p->row->failed = true;
    return 0;
}

static int on_allow_nets(struct place *p, const char *value)
{
    return nets(p, "allow_nets", value, p->request->peer.rip);
}

static int on_allow_real_nets(struct place *p, const char *value)
{
    const struct authd_peer *peer = &p->request->peer;

    return nets(p, "allow_real_nets", value, peer->real_rip[0] ? peer->real_rip : peer->rip);
}

static int on_password(struct place *p, const char *value)
{
    p->row->password = value;
    p->row->scheme = p->scheme;
    return 0;
}

static int on_password_noscheme(struct place *p, const char *value)
{
    p->row->password = arena_printf(p->request->arena, "{%s}%s", p->scheme, value);
    p->row->scheme = p->scheme;
    return 0;
}

static int on_user(struct place *p, const char *value)
{
    return authd_request_rename(p->request, AUTHD_RENAME_USER, value, p->err);
}

static int on_username(struct place *p, const char *value)
{
    return authd_request_rename(p->request, AUTHD_RENAME_LOCAL, value, p->err);
}

static int on_domain(struct place *p, const char *value)
{
    return authd_request_rename(p->request, AUTHD_RENAME_DOMAIN, value, p->err);
}

static int on_login_user(struct place *p, const char *value)
{
    if (p->request->master_user == NULL)
        p->request->login_user = strcmp(value, p->request->user) == 0 ? NULL : value;
    return 0;
}

static int on_fail(struct place *p, const char *value)
{
    (void) value;
    p->row->failed = true;
    return 0;
}

static int on_nopassword(struct place *p, const char *value)
{
    (void) value;
    p->row->no_password = true;
    return 0;
}

static int on_noauthenticate(struct place *p, const char *value)
{
    (void) value;
    p->row->no_authenticate = true;
    return 0;
}

static int on_nodelay(struct place *p, const char *value)
{
    p->request->nodelay = true;
    authd_fields_add(&p->request->fields, p->request->arena, "nodelay", value[0] ? value : NULL);
    return 0;
}

/* "timestamp" or "timestamp+seconds": the latter is a random share of the seconds more. */
static int on_delay_until(struct place *p, const char *value)
{
    struct slice rest = slice_of(value), number;
    uint64_t at, extra = 0;
    uint32_t random = 0;

    slice_split(&rest, '+', &number);
    if (slice_u64(number, INT64_MAX / 2, &at) != 0 || (rest.p && slice_u64(rest, DELAY_SECONDS_MAX, &extra) != 0))
        return err_set(p->err, 0, NULL, "delay_until=%s: no time", value);
    if (extra > 0 && RAND_bytes((unsigned char *) &random, sizeof random) == 1)
        at += random % (extra + 1);
    if ((int64_t) at > time_now() + DELAY_SECONDS_MAX)
        return err_set(p->err, 0, NULL, "delay_until=%s: more than %d seconds from now", value, DELAY_SECONDS_MAX);
    if ((int64_t) at > time_now())
        p->request->delay_until = (int64_t) at;
    return 0;
}

static int on_proxy(struct place *p, const char *value)
{
    (void) value;
    return err_set(p->err, 0, NULL, "the user is to be proxied to another host, which is not supported: refused");
}

static const struct {
    const char *name;
    int (*apply)(struct place *, const char *value);
} meanings[] = {
    { "password", on_password },
    { "password_noscheme", on_password_noscheme },
    { "user", on_user },
    { "username", on_username },
    { "domain", on_domain },
    { "login_user", on_login_user },
    { "allow_nets", on_allow_nets },
    { "allow_real_nets", on_allow_real_nets },
    { "fail", on_fail },
    { "nopassword", on_nopassword },
    { "noauthenticate", on_noauthenticate },
    { "nodelay", on_nodelay },
    { "delay_until", on_delay_until },
    { "proxy", on_proxy },
    { "proxy_maybe", on_proxy },
};

/* What is not known here is for the client, or with userdb_ for the userdb. */
static int keep(struct place *p, const char *name, const char *value, enum authd_field_mode mode)
{
    struct authd_request *r = p->request;

    if (mode == AUTHD_FIELD_REMOVE)
        authd_fields_remove(&r->fields, name);
    else if (mode == AUTHD_FIELD_SET || !authd_fields_has(&r->fields, name))
        authd_fields_add(&r->fields, r->arena, name, value);
    return r->fields.over ? err_set(p->err, 0, NULL, "more than %d fields", AUTHD_FIELDS_MAX) : 0;
}

static int apply(struct place *p, const struct authd_field *field)
{
    enum authd_field_mode mode;
    const char *name = field->name;

    if (strncmp(name, "userdb_", strlen("userdb_")) == 0) {
        p->request->prefetched = true;
        return authd_userdb_set(p->request, &(struct authd_field){ name + strlen("userdb_"), field->value }, p->err);
    }
    name = authd_field_name(name, p->request->arena, &mode);
    for (size_t n = 0; mode == AUTHD_FIELD_SET && n < sizeof meanings / sizeof *meanings; n++)
        if (strcmp(name, meanings[n].name) == 0)
            return meanings[n].apply(p, field->value ? field->value : "");
    return keep(p, name, field->value, mode);
}

static int apply_all(struct place *p, const struct authd_fields *fields)
{
    if (fields->over)
        return err_set(p->err, 0, NULL, "more than %d fields", AUTHD_FIELDS_MAX);
    for (size_t n = 0; n < fields->count; n++)
        if (apply(p, &fields->field[n]) != 0)
            return -1;
    return 0;
}

int passdb_row_apply(struct authd_request *r, const struct authd_fields *fields, const char *scheme,
                     struct passdb_row *row, struct err *err)
{
    return apply_all(&(struct place){ r, row, scheme, err }, fields);
}

int passdb_row_template(struct authd_request *r, const char *text, const char *scheme, struct passdb_row *row,
                        struct err *err)
{
    struct place place = { r, row, scheme, err };
    struct authd_fields fields = { 0 };

    authd_fields_parse(&fields, r->arena, slice_of(text));
    if (fields.over)
        return err_set(err, 0, NULL, "more than %d fields", AUTHD_FIELDS_MAX);
    for (size_t n = 0; n < fields.count; n++) { /* one by one: a value may use what stands before it */
        struct authd_field *f = &fields.field[n];
        if ((f->value && (f->value = authd_format(r, f->value, err)) == NULL) || apply(&place, f) != 0)
            return -1;
    }
    return 0;
}
