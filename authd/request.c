/*
 * request - names of a request, and its variables
 *
 * Callers     see request.h
 */
#include "request.h"
#include "authd.h"
#include "sql.h"
#include "base/log.h"
#include "conf/var.h"
#include "proto/sasl/dovecot_auth.h"
#include <stdio.h>
#include <unistd.h>

enum { FORMAT_BYTES = 65536, LOG_NAME_BYTES = 200 };

enum { PEER_TEXTS = 17 };
static void texts_of(struct authd_peer *p, const char **out[PEER_TEXTS])
{
    const char **const all[PEER_TEXTS] = { &p->service,    &p->lip,         &p->rip,           &p->lport,
                                           &p->rport,      &p->real_lip,    &p->real_rip,      &p->real_lport,
                                           &p->real_rport, &p->session,     &p->local_name,    &p->client_id,
                                           &p->secured,    &p->session_pid, &p->cert_username, &p->realm,
                                           &p->application };

    memcpy(out, all, sizeof all);
}

struct authd_request *authd_request_new(struct arena *a, const struct authd_peer *peer, const char *mech)
{
    struct authd_request *r = arena_alloc(a, sizeof *r);
    const char **text[PEER_TEXTS];

    r->peer = *peer;
    texts_of(&r->peer, text);
    for (size_t n = 0; n < PEER_TEXTS; n++)
        if (*text[n] == NULL)
            *text[n] = "";
    r->arena = a;
    r->mech = mech;
    r->user = r->original_user = r->database = r->password = r->client_pid = r->openid = "";
    return r;
}

static void copy_fields(const struct authd_fields *from, struct authd_fields *to, struct arena *a)
{
    for (size_t n = 0; n < from->count; n++)
        authd_fields_add(to, a, arena_strdup(a, from->field[n].name),
                         from->field[n].value ? arena_strdup(a, from->field[n].value) : NULL);
    to->over = from->over;
}

struct authd_request *authd_request_copy(const struct authd_request *from, struct arena *a)
{
    struct authd_request *r = authd_request_new(a, &from->peer, arena_strdup(a, from->mech));
    const char **text[PEER_TEXTS];

    texts_of(&r->peer, text);
    for (size_t n = 0; n < PEER_TEXTS; n++)
        *text[n] = arena_strdup(a, *text[n]);
    r->user = arena_strdup(a, from->user);
    r->original_user = arena_strdup(a, from->original_user);
    r->master_user = from->master_user ? arena_strdup(a, from->master_user) : NULL;
    r->client_pid = arena_strdup(a, from->client_pid);
    copy_fields(&from->fields, &r->fields, a);
    copy_fields(&from->userdb, &r->userdb, a);
    r->foreseen = sql_foreseen_copy(from->foreseen, a);
    r->prefetched = from->prefetched;
    r->successful = from->successful;
    r->tempfail = from->tempfail;
    return r;
}

static const char *text_value(const struct dovecot_auth_line *line, size_t from, const char *name, struct arena *a)
{
    struct slice value;

    if (!dovecot_auth_value(line, from, name, &value) || memchr(value.p, '\0', value.len))
        return "";
    return arena_strndup(a, value.p, value.len);
}

struct authd_peer authd_peer_parse(const struct dovecot_auth_line *line, size_t from, struct arena *a)
{
    struct authd_peer p = { .secured = "" };
    struct slice value;
    const struct {
        const char *name, **to;
    } texts[] = { { "service", &p.service },
                  { "lip", &p.lip },
                  { "rip", &p.rip },
                  { "lport", &p.lport },
                  { "rport", &p.rport },
                  { "real_lip", &p.real_lip },
                  { "real_rip", &p.real_rip },
                  { "real_lport", &p.real_lport },
                  { "real_rport", &p.real_rport },
                  { "session", &p.session },
                  { "local_name", &p.local_name },
                  { "client_id", &p.client_id },
                  { "session_pid", &p.session_pid },
                  { "cert_username", &p.cert_username },
                  { DOVECOT_AUTH_REALM, &p.realm },
                  { DOVECOT_AUTH_APPLICATION, &p.application } };

    for (size_t n = 0; n < sizeof texts / sizeof *texts; n++)
        *texts[n].to = text_value(line, from, texts[n].name, a);
    if (dovecot_auth_value(line, from, "secured", &value))
        p.secured = slice_caseeq(value, "tls") ? "TLS" : "secured";
    p.no_penalty = dovecot_auth_value(line, from, "no-penalty", &value);
    p.valid_client_cert = dovecot_auth_value(line, from, "valid-client-cert", &value);
    p.debug = dovecot_auth_value(line, from, "debug", &value);
    return p;
}

static const char *first_of(const char *a, const char *b) { return a && a[0] ? a : b ? b : ""; }

static const char *field(struct authd_request *r, struct slice name)
{
    bool userdb = slice_starts(name, "userdb:");

    if (!userdb && !slice_starts(name, "passdb:"))
        return NULL;
    name = slice_sub(name, strlen("userdb:"), name.len);
    const struct authd_fields *f = userdb ? &r->userdb : &r->fields;
    for (size_t n = 0; n < f->count; n++)
        if (slice_eq(name, f->field[n].name))
            return f->field[n].value ? f->field[n].value : "";
    return NULL;
}

size_t authd_request_variables(const struct authd_request *r, struct authd_variable out[AUTHD_VARIABLES_MAX])
{
    const struct authd_peer *p = &r->peer;
    const struct authd_variable known[] = {
        { "user", r->user },
        { "service", p->service },
        { "home", authd_fields_get(&r->userdb, "home") },
        { "lip", p->lip },
        { "rip", p->rip },
        { "lport", p->lport },
        { "rport", p->rport },
        { "real_lip", first_of(p->real_lip, p->lip) },
        { "real_rip", first_of(p->real_rip, p->rip) },
        { "real_lport", first_of(p->real_lport, p->lport) },
        { "real_rport", first_of(p->real_rport, p->rport) },
        { "session", p->session },
        { "session_pid", p->session_pid },
        { "local_name", p->local_name },
        { "client_id", p->client_id },
        { "mech", r->mech },
        { "secured", p->secured },
        { "cert", p->valid_client_cert ? "valid" : "" },
        { "pid", r->client_pid },
        { "password", r->password },
        { "orig_user", r->original_user },
        { "login_user", r->login_user },
        { "master_user", r->master_user },
        { "auth_user", first_of(r->master_user, r->original_user) },
    };
    _Static_assert(sizeof known / sizeof *known <= AUTHD_VARIABLES_MAX, "room for all");

    for (size_t n = 0; n < sizeof known / sizeof *known; n++)
        out[n] = (struct authd_variable){ known[n].name, known[n].value ? known[n].value : "" };
    return sizeof known / sizeof *known;
}

static size_t add_fields(const struct authd_fields *f, const char *prefix, struct arena *a,
                         struct authd_variable *out)
{
    for (size_t n = 0; n < f->count; n++)
        out[n] = (struct authd_variable){ arena_printf(a, "%s:%s", prefix, f->field[n].name),
                                          f->field[n].value ? f->field[n].value : "" };
    return f->count;
}

struct authd_variable *authd_request_all_variables(const struct authd_request *r, size_t *count)
{
    size_t room = AUTHD_VARIABLES_MAX + r->fields.count + r->userdb.count;
    struct authd_variable *all = arena_alloc(r->arena, room * sizeof *all);

    *count = authd_request_variables(r, all);
    *count += add_fields(&r->fields, "passdb", r->arena, all + *count);
    *count += add_fields(&r->userdb, "userdb", r->arena, all + *count);
    return all;
}

static const char *get(void *ctx, struct slice name)
{
    struct authd_request *r = ctx;
    struct authd_variable known[AUTHD_VARIABLES_MAX];
    size_t count = authd_request_variables(r, known);

    for (size_t n = 0; n < count; n++)
        if (slice_eq(name, known[n].name))
            return known[n].value;
    return field(r, name);
}

/* A value of the client's is one part of a path, never more. */
static void put_part(void *ctx, struct str *out, struct slice value)
{
    (void) ctx;
    for (size_t n = 0; n < value.len; n++)
        str_addc(out, value.p[n] == '/' ? '_' : value.p[n]);
}

static const char *format(struct authd_request *r, const char *text, bool path, struct err *err)
{
    const struct var_scope scope = { get, path ? put_part : NULL, r };
    struct str out;
    const char *result = NULL;

    str_init(&out, FORMAT_BYTES);
    if (var_expand(text, &scope, &out, err) != 0)
        ;
    else if (memchr(out.p, '\0', out.len))
        err_set(err, 0, NULL, "a NUL in \"%s\"", text);
    else
        result = arena_strndup(r->arena, out.p, out.len);
    mem_wipe(out.p, out.len); /* %w is the password */
    str_free(&out);
    return result;
}

const char *authd_format(struct authd_request *r, const char *text, struct err *err)
{
    return format(r, text, false, err);
}

const char *authd_format_path(struct authd_request *r, const char *text, struct err *err)
{
    return format(r, text, true, err);
}

int authd_format_with(struct authd_request *r, const char *text,
                      void (*put)(void *ctx, struct str *out, struct slice value), struct str *out, struct err *err)
{
    return var_expand(text, &(struct var_scope){ get, put, r }, out, err);
}

int authd_format_check(const char *text, struct err *err)
{
    struct arena *a = arena_new();
    struct authd_request *r = authd_request_new(a, &(struct authd_peer){ 0 }, "");

    r->user = "user@domain";
    int rc = authd_format(r, text, err) ? 0 : -1;
    arena_free(&a);
    return rc;
}

static const char *canonical(struct authd_request *r, struct slice name, struct err *err)
{
    const struct var_scope others = { .get = get, .ctx = r };
    const char *result = NULL;
    struct str out;

    str_init(&out, USERNAME_BYTES);
    if (username_canonical(&authd_username_rules, name, &others, &out, err) == 0)
        result = arena_strndup(r->arena, out.p, out.len);
    str_free(&out);
    return result;
}

static int set_name(struct authd_request *r, struct slice name, struct err *err)
{
    const char *user;

    if (memchr(name.p ? name.p : "", '\0', name.len))
        return err_set(err, 0, NULL, "Username holds a NUL");
    if (r->original_user[0] == '\0')
        r->original_user = arena_strndup(r->arena, name.p ? name.p : "", name.len);
    if ((user = canonical(r, name, err)) == NULL)
        return -1;
    r->user = user;
    return 0;
}

int authd_request_name(struct authd_request *r, struct slice name, struct err *err)
{
    char separator = authd_username_rules.master_separator[0];
    ptrdiff_t at = separator ? slice_find(name, separator) : -1;
    struct slice login = slice_sub(name, 0, at < 0 ? 0 : (size_t) at);

    if (at >= 0)
        name = slice_sub(name, (size_t) at + 1, name.len);
    if (set_name(r, name, err) != 0)
        return -1;
    if (at < 0 || (login.len > 0 && authd_request_login_as(r, login, err) == 0))
        return 0;
    if (login.len == 0)
        err_set(err, 0, NULL, "Master user login attempted to use empty login username");
    r->user = "";
    return -1;
}

int authd_request_login_as(struct authd_request *r, struct slice name, struct err *err)
{
    const char *user;

    if (name.len == 0)
        return 0;
    if ((user = canonical(r, name, err)) == NULL)
        return -1;
    r->login_user = strcmp(user, r->user) == 0 ? NULL : user;
    return 0;
}

int authd_request_rename(struct authd_request *r, enum authd_rename what, const char *value, struct err *err)
{
    const char *domain = strchr(r->user, '@'), *name = value;
    size_t local = domain ? (size_t) (domain - r->user) : strlen(r->user);

    if (what == AUTHD_RENAME_LOCAL && domain && strchr(value, '@') == NULL)
        name = arena_printf(r->arena, "%s%s", value, domain);
    else if (what == AUTHD_RENAME_DOMAIN)
        name = arena_printf(r->arena, "%.*s%s%s", (int) local, r->user, value[0] ? "@" : "", value);
    if (username_path_check(slice_of(name), err) != 0)
        return -1;
    r->user = name;
    return 0;
}

enum level { DEBUG, INFO, WARN };
__attribute__((format(printf, 3, 0))) static void say(const struct authd_request *r, enum level level,
                                                      const char *fmt, va_list args)
{
    const struct authd_peer *p = &r->peer;
    char text[ERR_TEXT_BYTES];

    vsnprintf(text, sizeof text, fmt, args);
    (level == WARN ? log_warn : log_info)(
        "%s%s(%.*s%s%s%s%s%s%s): %s", level == DEBUG ? "Debug: " : "", r->database[0] ? r->database : "auth",
        LOG_NAME_BYTES, r->user[0] ? r->user : "?", p->rip[0] ? "," : "", p->rip, r->master_user ? ",master" : "",
        p->session[0] ? ",<" : "", p->session, p->session[0] ? ">" : "", text);
}

void authd_request_info(const struct authd_request *r, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    say(r, INFO, fmt, args);
    va_end(args);
}

void authd_request_warn(const struct authd_request *r, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    say(r, WARN, fmt, args);
    va_end(args);
}

void authd_request_debug(const struct authd_request *r, const char *fmt, ...)
{
    va_list args;

    if (!authd_debug)
        return;
    va_start(args, fmt);
    say(r, DEBUG, fmt, args);
    va_end(args);
}
