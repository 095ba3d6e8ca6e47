/*
 * cyrus - libsasl2's server side, its callbacks answered here
 *
 * Callers     authd/mech.c: PLAIN, LOGIN, CRAM-MD5, SCRAM-*
 * Invariants  libsasl2 sees the password only in its own PLAIN and LOGIN; for the others our auxprop source gives it
 *             what the passdb keeps; it never opens a database of its own
 *             only the plug-ins of mechanisms in auth_mechanisms are loaded
 *             SCRAM's first message is parsed here before libsasl2 sees it: which channel binding it wants must be
 *             known, and libsasl2 2.1.28 follows a null pointer where a client binds and the server does not
 */
#include "../password.h"
#include "../scheme/scram.h"
#include "base/log.h"
#include "base/mem.h"
#include "engine.h"
#include "gs2.h"
#include "proto/sasl/dovecot_auth.h"
#include <sasl/sasl.h>
#include <sasl/saslplug.h>
#include <stdio.h>
#include <stdlib.h>

enum { CALLBACKS = 4, CRAM_WORDS = 8, MECH_LIST_BYTES = 256, PROPERTY_BYTES = 1024 };
struct cyrus {
    sasl_conn_t *conn;
    bool
        asked; /* the passdb has been asked: verdict, or with `proven` the end of the exchange, says what came of it */
    bool secret; /* the passdb has an entry, and libsasl2 its secret */
    struct str binding;
    char binding_type[64];
    sasl_channel_binding_t channel;
    const char *authzid; /* as the client wrote it */
    sasl_callback_t callbacks[CALLBACKS];
};
typedef int (*callback_fn)(void);
static char mech_list[MECH_LIST_BYTES];

static int on_getopt(void *ctx, const char *plugin, const char *option, const char **result, unsigned *len)
{
    static const struct {
        const char *name, *value;
    } options[] = { { "mech_list", mech_list },
                    { "pwcheck_method", "none" },
                    { "auxprop_plugin", "posthorn" },
                    { "log_level", "0" } };

    (void) ctx;
    (void) plugin;
    for (size_t i = 0; i < sizeof options / sizeof *options; i++)
        if (strcmp(option, options[i].name) == 0) {
            *result = options[i].value;
            if (len)
                *len = (unsigned) strlen(options[i].value);
            return SASL_OK;
        }
    return SASL_FAIL;
}

static int on_log(void *ctx, int level, const char *text)
{
    (void) ctx;
    (void) level;
    log_debug("libsasl2: %s", text);
    return SASL_OK;
}

/* Which files of the plug-in directory are opened at all. */
static int on_verify_file(void *ctx, const char *file, sasl_verify_type_t type)
{
    static const struct {
        const char *plugin, *mechs; /* names begin so */
    } plugins[] = {
        { "libplain.", "PLAIN" }, { "liblogin.", "LOGIN" }, { "libcrammd5.", "CRAM" }, { "libscram.", "SCRAM" }
    };
    const char *base = strrchr(file, '/');

    (void) ctx;
    if (type != SASL_VRFY_PLUGIN)
        return SASL_OK;
    base = base ? base + 1 : file;
    for (size_t p = 0; p < sizeof plugins / sizeof *plugins; p++)
        for (size_t n = 0; strncmp(base, plugins[p].plugin, strlen(plugins[p].plugin)) == 0 && n < mech_count(); n++)
            if (strncmp(mech_at(n)->name, plugins[p].mechs, strlen(plugins[p].mechs)) == 0)
                return SASL_OK;
    return SASL_CONTINUE;
}

static int on_password(sasl_conn_t *conn, void *ctx, const char *user, const char *password, unsigned len,
                       struct propctx *props)
{
    struct mech_exchange *x = ctx;
    struct cyrus *c = x->state;

    (void) conn;
    (void) props;
    c->asked = true;
    mech_names(x, slice_of(user), slice_of(c->authzid));
    x->verdict = authd_verify(x->request, slice_make(password, len));
    return x->verdict == VERIFY_OK ? SASL_OK : x->verdict == VERIFY_LATER ? SASL_UNAVAIL : SASL_BADAUTH;
}

/* The passdb has decided already: it was asked with the authorization identity. */
static int on_authorize(sasl_conn_t *conn, void *ctx, const char *wanted, unsigned wanted_len, const char *own,
                        unsigned own_len, const char *realm, unsigned realm_len, struct propctx *props)
{
    struct mech_exchange *x = ctx;
    struct cyrus *c = x->state;

    (void) conn;
    (void) realm;
    (void) realm_len;
    (void) props;
    if (slice_eq(slice_make(wanted, wanted_len), c->authzid) ||
        slice_same(slice_make(wanted, wanted_len), slice_make(own, own_len)))
        return SASL_OK;
    x->verdict = VERIFY_FAIL;
    return SASL_NOAUTHZ;
}

/* --- auxprop --- */

/* libsasl2 keeps the inner state first, and the words most significant byte first. */
static void cram_property(const struct str *raw, char out[4 * CRAM_WORDS])
{
    for (size_t w = 0; w < CRAM_WORDS; w++)
        for (size_t b = 0; b < 4; b++)
            out[4 * w + b] = raw->p[4 * ((w + CRAM_WORDS / 2) % CRAM_WORDS) + 3 - b];
}

/* RFC 5803: "SCRAM-SHA-1$iterations:salt$StoredKey:ServerKey" of "iterations,salt,StoredKey,ServerKey". */
static void scram_property(const char *scheme, const struct str *raw, struct str *out)
{
    static const char separators[] = { ':', '$', ':' };
    struct slice rest = str_slice(raw), field;

    str_printf(out, "%s$", scheme);
    for (size_t n = 0; slice_split(&rest, ',', &field); n++) {
        str_addslice(out, field);
        if (rest.p && n < sizeof separators)
            str_addc(out, separators[n]);
    }
}

static const struct scheme *scram_scheme(const char *name)
{
    const struct scheme *s = scheme_scram_family;

    while (s->name && strcmp(s->name, name) != 0)
        s++;
    return s->name ? s : NULL;
}

static int set_property(struct mech_exchange *x, sasl_server_params_t *params, const struct str *raw)
{
    const struct scheme *scram = scram_scheme(x->mech->stored);
    char cram[4 * CRAM_WORDS];
    struct scram_keys keys;
    struct str text;
    struct err err;
    int rc = SASL_FAIL;

    if (scram == NULL) {
        cram_property(raw, cram);
        rc = params->utils->prop_set(params->propctx, "*cmusaslsecretCRAM-MD5", cram, sizeof cram);
        mem_wipe(cram, sizeof cram);
        return rc;
    }
    if (scram_split(scram, str_slice(raw), &keys, &err) != 0) {
        authd_request_warn(x->request, "%s", err.text);
        x->verdict = VERIFY_LATER;
        return SASL_UNAVAIL;
    }
    mem_wipe(&keys, sizeof keys);
    str_init(&text, PROPERTY_BYTES);
    str_reserve(&text, PROPERTY_BYTES);
    scram_property(scram->name, raw, &text);
    if (!str_over(&text))
        rc = params->utils->prop_set(params->propctx, "*authPassword", text.p, (int) text.len);
    mem_wipe(text.p, text.len);
    str_free(&text);
    return rc;
}

static int auxprop_lookup(void *glob, sasl_server_params_t *params, unsigned flags, const char *user, unsigned len)
{
    struct mech_exchange *x = NULL;
    sasl_callback_ft ignored;
    struct cyrus *c;
    struct str raw;
    int rc = SASL_UNAVAIL;

    (void) glob;
    if (params->utils->getcallback(params->utils->conn, SASL_CB_PROXY_POLICY, &ignored, (void **) &x) != SASL_OK ||
        x == NULL)
        return SASL_FAIL;
    if (flags & SASL_AUXPROP_AUTHZID || x->mech->stored == NULL)
        return SASL_OK;
    c = x->state;
    c->asked = true;
    mech_names(x, slice_make(user, len), slice_of(c->authzid));
    str_init(&raw, SCHEME_STORED_BYTES);
    enum verify_answer answer = mech_secret(x, NULL, &raw);
    c->secret = answer == VERIFY_OK;
    x->verdict = answer == VERIFY_OK ? VERIFY_FAIL : answer; /* until the proof has come */
    if (answer == VERIFY_OK || answer == VERIFY_FAIL)
        rc = set_property(x, params, &raw);
    mem_wipe(raw.p, raw.len);
    str_free(&raw);
    return rc;
}

static int auxprop_init(const sasl_utils_t *utils, int max_version, int *version, sasl_auxprop_plug_t **plug,
                        const char *name)
{
    static sasl_auxprop_plug_t source = { .auxprop_lookup = auxprop_lookup, .name = "posthorn" };

    (void) utils;
    (void) name;
    if (max_version < SASL_AUXPROP_PLUG_VERSION)
        return SASL_BADVERS;
    *version = SASL_AUXPROP_PLUG_VERSION;
    *plug = &source;
    return SASL_OK;
}

/* --- the engine --- */

static void list_mechanisms(void)
{
    size_t len = 0;

    for (size_t n = 0; n < mech_count() && len < sizeof mech_list; n++)
        if (mech_at(n)->engine == &mech_cyrus)
            len += (size_t) snprintf(mech_list + len, sizeof mech_list - len, "%s%s", len ? " " : "",
                                     mech_at(n)->name);
}

static int init(void)
{
    static const sasl_callback_t callbacks[] = { { SASL_CB_GETOPT, (callback_fn) (void (*)(void)) on_getopt, NULL },
                                                 { SASL_CB_LOG, (callback_fn) (void (*)(void)) on_log, NULL },
                                                 { SASL_CB_VERIFYFILE, (callback_fn) (void (*)(void)) on_verify_file,
                                                   NULL },
                                                 { SASL_CB_LIST_END, NULL, NULL } };
    int rc;

    list_mechanisms();
    rc = sasl_server_init(callbacks, "posthorn");
    if (rc == SASL_OK)
        rc = sasl_auxprop_add_plugin("posthorn", auxprop_init);
    if (rc != SASL_OK) {
        log_error("libsasl2: %s", sasl_errstring(rc, NULL, NULL));
        return -1;
    }
    return 0;
}

static size_t base_length(const char *mech)
{
    size_t len = strlen(mech);

    return slice_caseends(slice_of(mech), "-PLUS") ? len - strlen("-PLUS") : len;
}

static bool has(const char *name)
{
    size_t len = base_length(name);

    for (const char **list = sasl_global_listmech(); list && *list; list++)
        if (strncasecmp(*list, name, len) == 0 && (*list)[len] == '\0')
            return true;
    log_error("auth_mechanisms: libsasl2 has no plug-in for %s (package libsasl2-modules)", name);
    return false;
}

static void end(struct mech_exchange *x)
{
    struct cyrus *c = x->state;

    sasl_dispose(&c->conn);
    str_free(&c->binding);
    free(c);
}

static int begin(struct mech_exchange *x)
{
    sasl_security_properties_t security = { .max_ssf = 0, .security_flags = SASL_SEC_NOANONYMOUS };
    struct cyrus *c = mem_new(sizeof *c);

    x->state = c;
    c->authzid = "";
    str_init(&c->binding, MECH_BINDING_BYTES);
    c->callbacks[0] = (sasl_callback_t){ SASL_CB_SERVER_USERDB_CHECKPASS, (callback_fn) (void (*)(void)) on_password,
                                         x };
    c->callbacks[1] = (sasl_callback_t){ SASL_CB_PROXY_POLICY, (callback_fn) (void (*)(void)) on_authorize, x };
    c->callbacks[2] = (sasl_callback_t){ SASL_CB_LOG, (callback_fn) (void (*)(void)) on_log, NULL };
    c->callbacks[3] = (sasl_callback_t){ SASL_CB_LIST_END, NULL, NULL };
    int rc = sasl_server_new(x->request->peer.service, "localhost", NULL, NULL, NULL, c->callbacks, SASL_SUCCESS_DATA,
                             &c->conn);
    if (rc == SASL_OK)
        rc = sasl_setprop(c->conn, SASL_SEC_PROPS, &security);
    if (rc == SASL_OK)
        return 0;
    log_warn("libsasl2: %s", sasl_errstring(rc, NULL, NULL));
    x->verdict = VERIFY_LATER;
    return -1;
}

static int set_channel(struct cyrus *c)
{
    c->channel = (sasl_channel_binding_t){ .name = c->binding_type,
                                           .critical = 0,
                                           .len = (unsigned long) c->binding.len,
                                           .data = (unsigned char *) c->binding.p };
    return sasl_setprop(c->conn, SASL_CHANNEL_BINDING, &c->channel) == SASL_OK ? 0 : -1;
}

/* What the first message of SCRAM says of the channel. */
static int bind_channel(struct mech_exchange *x, struct slice first)
{
    bool plus = (x->mech->flags & DOVECOT_AUTH_CHANNEL_BINDING) != 0;
    struct cyrus *c = x->state;
    struct gs2 gs2;

    if (gs2_parse(first, &gs2) != 0 || plus != (gs2.flag == 'p') || gs2.binding.len >= sizeof c->binding_type)
        return -1;
    c->authzid = arena_strdup(x->request->arena, gs2.authzid);
    if (gs2.flag == 'p') {
        snprintf(c->binding_type, sizeof c->binding_type, "%.*s", (int) gs2.binding.len, gs2.binding.p);
        if (x->front->binding == NULL || x->front->binding(x->front->ctx, c->binding_type, &c->binding) != 0 ||
            c->binding.len == 0 || str_over(&c->binding)) {
            authd_request_info(x->request, "no channel binding of type %s", c->binding_type);
            return -1;
        }
        return set_channel(c);
    }
    if (gs2.flag == 'y' && x->front->binding_shown) {
        /* Somebody between has taken the mechanisms with channel binding away (RFC 5802 section 6). */
        authd_request_info(x->request, "the client was not shown the mechanisms with channel binding");
        return -1;
    }
    return 0;
}

static enum mech_step finish(struct mech_exchange *x)
{
    struct cyrus *c = x->state;

    if (c->secret)
        x->verdict = VERIFY_OK;
    return x->verdict == VERIFY_OK ? MECH_DONE : MECH_FAIL;
}

static enum mech_step refuse(struct mech_exchange *x, int rc)
{
    struct cyrus *c = x->state;

    if (c->asked) {
        if (c->secret && x->verdict == VERIFY_FAIL)
            return mech_mismatch(x);
        if (x->verdict == VERIFY_OK)
            x->verdict = VERIFY_FAIL;
        return MECH_FAIL;
    }
    if (rc == SASL_NOMEM || rc == SASL_NOMECH)
        x->verdict = VERIFY_LATER;
    else
        mech_malformed(x, sasl_errdetail(c->conn));
    return MECH_FAIL;
}

static enum mech_step step(struct mech_exchange *x, struct slice in, struct str *out)
{
    struct cyrus *c = x->state;
    const char *challenge = NULL;
    unsigned len = 0;
    ptrdiff_t nul;
    int rc;

    if (!x->started && slice_starts(slice_of(x->mech->name), "SCRAM-") && bind_channel(x, in) != 0)
        return mech_malformed(x, "the first message");
    /* PLAIN's response begins with it: the passdb must know it before the password is checked. */
    if (!x->started && strcmp(x->mech->name, "PLAIN") == 0 && (nul = slice_find(in, '\0')) > 0)
        c->authzid = arena_strndup(x->request->arena, in.p, (size_t) nul);
    if (x->started)
        rc = sasl_server_step(c->conn, in.p, (unsigned) in.len, &challenge, &len);
    else
        rc = sasl_server_start(c->conn, x->mech->name, in.p, (unsigned) in.len, &challenge, &len);
    str_add(out, challenge, challenge ? len : 0);
    return rc == SASL_CONTINUE ? MECH_CONTINUE : rc == SASL_OK ? finish(x) : refuse(x, rc);
}

const struct mech_engine mech_cyrus = { .init = init, .has = has, .begin = begin, .step = step, .end = end };
