/*
 * exchange - one authentication by libsasl2, as its configuration says
 *
 * Callers     authd/mech.c, by saslauth_engine
 * Invariants  libsasl2 may wait for saslauthd, a database or a directory as long as those please: each of its steps
 *             runs in a thread, at most EVENT_WAITERS at a time; one more is told "later", and nobody waits behind it
 * Errors      only what says that name, password or proof is wrong is a failure; a verifier that cannot be asked, and
 *             whatever else, is "later"
 */
#include "../mech/engine.h"
#include "base/log.h"
#include "base/mem.h"
#include "event/event.h"
#include "library.h"
#include <sasl/sasl.h>
#include <stdlib.h>

struct exchange {
    sasl_conn_t *conn;
    struct library_log log;
};
struct call {
    struct mech_exchange *x;
    struct slice in;
    const char *out;
    unsigned out_len;
    int rc;
};
static int calls; /* that are in threads now */

static enum verify_answer verdict_of(int rc)
{
    static const int wrong[] = { SASL_BADAUTH,  SASL_NOUSER,  SASL_NOAUTHZ,  SASL_BADPROT,  SASL_BADMAC,
                                 SASL_TOOWEAK,  SASL_ENCRYPT, SASL_TRANS,    SASL_NOVERIFY, SASL_WRONGMECH,
                                 SASL_DISABLED, SASL_PWLOCK,  SASL_BADPARAM, SASL_EXPIRED };

    for (size_t n = 0; n < sizeof wrong / sizeof *wrong; n++)
        if (rc == wrong[n])
            return VERIFY_FAIL;
    return VERIFY_LATER;
}

static enum mech_step failed(struct mech_exchange *x, int rc)
{
    if (rc == SASL_NOUSER) /* who exists is nobody's business */
        rc = SASL_BADAUTH;
    x->verdict = verdict_of(rc);
    x->reason = sasl_errstring(rc, NULL, NULL);
    return MECH_FAIL;
}

static void end(struct mech_exchange *x)
{
    struct exchange *e = x->state;

    sasl_dispose(&e->conn);
    str_free(&e->log.lines);
    free(e);
}

static int begin(struct mech_exchange *x)
{
    const struct authd_peer *peer = &x->request->peer;
    sasl_security_properties_t security = { 0 }; /* smtpd chooses by what MECH says of each */
    struct exchange *e = mem_new(sizeof *e);
    int rc;

    x->state = e;
    library_log_init(&e->log);
    if (peer->application[0] && strcmp(peer->application, library_application) != 0) {
        log_warn("a client with smtpd_sasl_path = %s: this service was started with %s, main.cf's", peer->application,
                 library_application);
        failed(x, SASL_NOTINIT);
        return -1;
    }
    rc = sasl_server_new(peer->service, conf_myhostname, peer->realm[0] ? peer->realm : NULL, NULL, NULL, NULL, 0,
                         &e->conn);
    if (rc == SASL_OK)
        rc = sasl_setprop(e->conn, SASL_SEC_PROPS, &security);
    if (rc == SASL_OK)
        return 0;
    log_warn("SASL per-connection server initialization: %s", sasl_errstring(rc, NULL, NULL));
    failed(x, rc);
    return -1;
}

static void run(void *arg)
{
    struct call *c = arg;
    struct exchange *e = c->x->state;

    library_log_begin(&e->log);
    if (c->x->started)
        c->rc = sasl_server_step(e->conn, c->in.p, (unsigned) c->in.len, &c->out, &c->out_len);
    else
        c->rc = sasl_server_start(e->conn, c->x->mech->name, c->in.p, (unsigned) c->in.len, &c->out, &c->out_len);
    library_log_end();
}

static void learn_user(struct mech_exchange *x)
{
    const void *name = NULL;

    if (sasl_getprop(((struct exchange *) x->state)->conn, SASL_USERNAME, &name) == SASL_OK && name)
        x->request->user = x->request->original_user = arena_strdup(x->request->arena, name);
}

static enum mech_step step(struct mech_exchange *x, struct slice in, struct str *out)
{
    struct exchange *e = x->state;
    struct call c = { .x = x, .in = in };

    if (calls == EVENT_WAITERS) {
        log_warn("%d authentications wait for saslauthd or a plug-in: one more is put off", calls);
        return failed(x, SASL_UNAVAIL);
    }
    calls++;
    event_offload_wait(run, &c);
    calls--;
    library_log_write(&e->log);
    if (c.rc != SASL_OK && c.rc != SASL_CONTINUE) {
        learn_user(x);
        return failed(x, c.rc);
    }
    str_add(out, c.out, c.out ? c.out_len : 0);
    if (c.rc == SASL_CONTINUE)
        return MECH_CONTINUE;
    learn_user(x);
    if (x->request->user[0] == '\0')
        return failed(x, SASL_FAIL);
    x->verdict = VERIFY_OK;
    return MECH_DONE;
}

const struct mech_engine saslauth_engine = { .begin = begin, .step = step, .end = end };
