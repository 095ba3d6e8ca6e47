/*
 * mech - libsasl2's server side, its callbacks answered here
 *
 * Callers     see mech.h
 * Invariants  libsasl2 sees the password only in its own PLAIN and LOGIN; it never opens a database of its own: both
 *             pwcheck_method and auxprop_plugin name nothing that exists
 */
#include "mech.h"
#include "base/log.h"
#include <sasl/sasl.h>
#include <sasl/saslplug.h>
#include <stdlib.h>

enum { MECHS_MAX = 8 };
static const struct mech supported[] = { { "PLAIN", MECH_PLAINTEXT }, { "LOGIN", MECH_PLAINTEXT } };
static const struct mech *offered[MECHS_MAX]; /* set once, before the jail */
static size_t offered_count;

struct mech_exchange {
    sasl_conn_t *conn;
    const struct mech *mech;
    struct authd_request *request;
    const char *authzid; /* PLAIN's, as the client wrote it */
    enum verify_answer verdict;
    bool started, asked; /* asked: our password check has given the verdict */
    sasl_callback_t callbacks[4];
};
typedef int (*callback_fn)(void);

static int on_getopt(void *ctx, const char *plugin, const char *option, const char **result, unsigned *len)
{
    static const struct {
        const char *name, *value;
    } options[] = { { "mech_list", "PLAIN LOGIN" },
                    { "pwcheck_method", "none" },
                    { "auxprop_plugin", "none" },
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

static int on_password(sasl_conn_t *conn, void *ctx, const char *user, const char *password, unsigned len,
                       struct propctx *props)
{
    struct mech_exchange *x = ctx;
    struct authd_request *r = x->request;
    struct err err;

    (void) conn;
    (void) props;
    x->asked = true;
    if (authd_request_name(r, slice_of(user), &err) != 0 ||
        (x->authzid[0] && authd_request_login_as(r, slice_of(x->authzid), &err) != 0)) {
        authd_request_info(r, "%s", err.text);
        r->user = "";
    }
    x->verdict = authd_verify(r, slice_make(password, len));
    return x->verdict == VERIFY_OK ? SASL_OK : x->verdict == VERIFY_LATER ? SASL_UNAVAIL : SASL_BADAUTH;
}

/* The passdb has decided already: it was asked with the authorization identity. */
static int on_authorize(sasl_conn_t *conn, void *ctx, const char *wanted, unsigned wanted_len, const char *own,
                        unsigned own_len, const char *realm, unsigned realm_len, struct propctx *props)
{
    struct mech_exchange *x = ctx;

    (void) conn;
    (void) realm;
    (void) realm_len;
    (void) props;
    if (slice_eq(slice_make(wanted, wanted_len), x->authzid) ||
        slice_same(slice_make(wanted, wanted_len), slice_make(own, own_len)))
        return SASL_OK;
    x->verdict = VERIFY_FAIL;
    return SASL_NOAUTHZ;
}

static int choose(struct slice word)
{
    for (size_t i = 0; i < sizeof supported / sizeof *supported; i++)
        if (slice_caseeq(word, supported[i].name)) {
            if (mech_find(word) == NULL && offered_count < MECHS_MAX)
                offered[offered_count++] = &supported[i];
            return 0;
        }
    log_error("auth_mechanisms: %.*s is not supported", (int) word.len, word.p);
    return -1;
}

static bool available(const char *name)
{
    for (const char **list = sasl_global_listmech(); list && *list; list++)
        if (strcasecmp(*list, name) == 0)
            return true;
    return false;
}

int mech_init(const char *mechanisms)
{
    static const sasl_callback_t callbacks[] = { { SASL_CB_GETOPT, (callback_fn) (void (*)(void)) on_getopt, NULL },
                                                 { SASL_CB_LOG, (callback_fn) (void (*)(void)) on_log, NULL },
                                                 { SASL_CB_LIST_END, NULL, NULL } };
    struct slice rest = slice_of(mechanisms), word;
    int rc;

    while (slice_word(&rest, " \t,", &word))
        if (choose(word) != 0)
            return -1;
    if (offered_count == 0) {
        log_error("auth_mechanisms is empty");
        return -1;
    }
    if ((rc = sasl_server_init(callbacks, "posthorn")) != SASL_OK) {
        log_error("libsasl2: %s", sasl_errstring(rc, NULL, NULL));
        return -1;
    }
    for (size_t i = 0; i < offered_count; i++)
        if (!available(offered[i]->name)) {
            log_error("auth_mechanisms: libsasl2 has no plug-in for %s (package libsasl2-modules)", offered[i]->name);
            return -1;
        }
    return 0;
}

size_t mech_count(void) { return offered_count; }
const struct mech *mech_at(size_t n) { return offered[n]; }

const struct mech *mech_find(struct slice name)
{
    for (size_t i = 0; i < offered_count; i++)
        if (slice_caseeq(name, offered[i]->name))
            return offered[i];
    return NULL;
}

struct mech_exchange *mech_new(const struct mech *mech, struct authd_request *request)
{
    struct mech_exchange *x = mem_new(sizeof *x);
    sasl_security_properties_t security = { .max_ssf = 0, .security_flags = SASL_SEC_NOANONYMOUS };

    x->mech = mech;
    x->request = request;
    x->authzid = "";
    x->verdict = VERIFY_FAIL;
    x->callbacks[0] = (sasl_callback_t){ SASL_CB_SERVER_USERDB_CHECKPASS, (callback_fn) (void (*)(void)) on_password,
                                         x };
    x->callbacks[1] = (sasl_callback_t){ SASL_CB_PROXY_POLICY, (callback_fn) (void (*)(void)) on_authorize, x };
    x->callbacks[2] = (sasl_callback_t){ SASL_CB_LOG, (callback_fn) (void (*)(void)) on_log, NULL };
    x->callbacks[3] = (sasl_callback_t){ SASL_CB_LIST_END, NULL, NULL };
    int rc = sasl_server_new(request->peer.service, "localhost", NULL, NULL, NULL, x->callbacks, 0, &x->conn);
    if (rc == SASL_OK)
        rc = sasl_setprop(x->conn, SASL_SEC_PROPS, &security);
    if (rc != SASL_OK) {
        log_warn("libsasl2: %s", sasl_errstring(rc, NULL, NULL));
        sasl_dispose(&x->conn);
        x->verdict = VERIFY_LATER;
    }
    return x;
}

void mech_free(struct mech_exchange **exchange)
{
    if (*exchange == NULL)
        return;
    sasl_dispose(&(*exchange)->conn);
    free(*exchange);
    *exchange = NULL;
}

/* PLAIN's response begins with the authorization identity: the passdb must know it before the password is checked. */
static void take_authzid(struct mech_exchange *x, struct slice in)
{
    ptrdiff_t nul = slice_find(in, '\0');

    if (nul > 0 && strcmp(x->mech->name, "PLAIN") == 0)
        x->authzid = arena_strndup(x->request->arena, in.p, (size_t) nul);
}

enum mech_step mech_step(struct mech_exchange *x, struct slice in, struct str *out)
{
    const char *challenge = NULL;
    unsigned len = 0;
    int rc;

    if (x->conn == NULL)
        return MECH_FAIL;
    take_authzid(x, in);
    if (x->started)
        rc = sasl_server_step(x->conn, in.p, (unsigned) in.len, &challenge, &len);
    else
        rc = sasl_server_start(x->conn, x->mech->name, in.p, (unsigned) in.len, &challenge, &len);
    x->started = true;
    str_add(out, challenge, challenge ? len : 0);
    switch (rc) {
    case SASL_CONTINUE: return MECH_CONTINUE;
    case SASL_OK:
        if (x->verdict == VERIFY_OK)
            return MECH_DONE;
        return MECH_FAIL;
    case SASL_NOMEM:
    case SASL_NOMECH: /* also what a wrong password ends with, for no other verifier is configured */
        if (!x->asked)
            x->verdict = VERIFY_LATER;
        return MECH_FAIL;
    default:
        if (x->verdict == VERIFY_OK)
            x->verdict = VERIFY_FAIL;
        return MECH_FAIL;
    }
}

enum verify_answer mech_result(const struct mech_exchange *x) { return x->verdict; }
