/* auth_worker - the calls to authd/auth-worker; contract and words in auth_worker.h */
#include "client/auth_worker.h"

#include "base/time.h"
#include "ipc/client.h"

#include <errno.h>

enum { EACH_MS = 300000 };
const char *const auth_worker_verdict_name[AUTH_WORKER_VERDICTS] = {
    [AUTH_WORKER_OK] = "ok",           [AUTH_WORKER_MISMATCH] = "mismatch", [AUTH_WORKER_UNKNOWN] = "unknown",
    [AUTH_WORKER_EXPIRED] = "expired", [AUTH_WORKER_DISABLED] = "disabled", [AUTH_WORKER_LATER] = "later"
};
static struct ipc_client *worker; /* lives as long as the process */

/* NULL with words: it cannot be asked. */
static struct msg *call(struct msg **m, bool again_ok, struct err *err)
{
    struct msg *reply;

    if (worker == NULL)
        worker = ipc_client_new(AUTH_WORKER_SERVICE, AUTH_WORKER_PROTOCOL, AUTH_WORKER_VERSION);
    reply = ipc_call(worker, m, again_ok, time_mono_ms() + AUTH_WORKER_WAIT_MS);
    if (reply == NULL)
        (void) err_set(err, 0, NULL, "the auth-worker service cannot be asked: %s", strerror(errno));
    return reply;
}

static const char *text(struct msg *m, const char *name, size_t max, struct arena *a)
{
    return arena_strdup(a, msg_get_str(m, name, max));
}

static enum auth_worker_verdict verdict_of(struct msg **request, struct arena *a, struct auth_worker_said *out)
{
    enum auth_worker_verdict v = 0;
    struct err err = { 0 };
    struct msg *m = call(request, false, &err); /* modules count attempts: never ask twice */

    *out = (struct auth_worker_said){ "", "", "", true };
    if (m == NULL) {
        out->why = arena_strdup(a, err.text);
        return AUTH_WORKER_LATER;
    }
    while (v < AUTH_WORKER_VERDICTS && strcmp(msg_name(m), auth_worker_verdict_name[v]) != 0)
        v++;
    struct auth_worker_said said = { .user = text(m, "user", AUTH_WORKER_NAME_BYTES, a) };
    said.why = text(m, "why", AUTH_WORKER_TEXT_BYTES, a);
    said.said = text(m, "said", AUTH_WORKER_TEXT_BYTES, a);
    said.fault = msg_get_num(m, "fault", 0, 1);
    if (v == AUTH_WORKER_VERDICTS || !msg_done(m)) {
        out->why = "the auth-worker service gave a malformed answer";
        v = AUTH_WORKER_LATER;
    } else {
        *out = said;
    }
    msg_free(&m);
    return v;
}

enum auth_worker_verdict auth_worker_pam(const struct auth_worker_pam *p, struct arena *a,
                                         struct auth_worker_said *out)
{
    struct msg *m = msg_new("pam");

    msg_put_str(m, "service", p->service);
    msg_put_str(m, "user", p->user);
    msg_put(m, "password", p->password);
    msg_put_str(m, "rhost", p->rhost);
    msg_put_num(m, "setcred", p->setcred);
    msg_put_num(m, "session", p->session);
    msg_put_num(m, "uses", p->uses);
    return verdict_of(&m, a, out);
}

enum auth_worker_verdict auth_worker_password(const char *kind, const char *user, struct slice password,
                                              struct arena *a, struct auth_worker_said *out)
{
    struct msg *m = msg_new("password");

    msg_put_str(m, "kind", kind);
    msg_put_str(m, "user", user);
    msg_put(m, "password", password);
    return verdict_of(&m, a, out);
}

/* What "later" and what is no answer have in common; FOUND: the values of *m are still to be taken. */
static enum lookup judge(struct msg *m, struct err *err)
{
    if (strcmp(msg_name(m), "found") == 0)
        return LOOKUP_FOUND;
    if (strcmp(msg_name(m), "none") == 0 && msg_done(m))
        return LOOKUP_NONE;
    if (strcmp(msg_name(m), "later") == 0)
        (void) err_set(err, 0, NULL, "%s", msg_get_str(m, "why", AUTH_WORKER_TEXT_BYTES));
    else
        (void) err_set(err, 0, NULL, "the auth-worker service gave a malformed answer");
    return LOOKUP_RETRY;
}

static enum lookup malformed(struct err *err)
{
    (void) err_set(err, 0, NULL, "the auth-worker service gave a malformed answer");
    return LOOKUP_RETRY;
}

enum lookup auth_worker_account(const char *user, struct arena *a, struct auth_worker_account *out, struct err *err)
{
    struct msg *request = msg_new("account"), *m;
    enum lookup found;

    *out = (struct auth_worker_account){ .user = "", .home = "" };
    msg_put_str(request, "user", user);
    if ((m = call(&request, true, err)) == NULL)
        return LOOKUP_RETRY;
    if ((found = judge(m, err)) == LOOKUP_FOUND) {
        out->user = text(m, "user", AUTH_WORKER_NAME_BYTES, a);
        out->uid = (uid_t) msg_get_num(m, "uid", 0, UINT32_MAX - 1);
        out->gid = (gid_t) msg_get_num(m, "gid", 0, UINT32_MAX - 1);
        out->home = text(m, "home", AUTH_WORKER_HOME_BYTES, a);
        if (!msg_done(m))
            found = malformed(err);
    }
    msg_free(&m);
    return found;
}

static enum lookup number(const char *what, const char *name, uint32_t *out, struct err *err)
{
    struct msg *request = msg_new(what), *m;
    enum lookup found;

    msg_put_str(request, "name", name);
    if ((m = call(&request, true, err)) == NULL)
        return LOOKUP_RETRY;
    if ((found = judge(m, err)) == LOOKUP_FOUND) {
        *out = (uint32_t) msg_get_num(m, "id", 0, UINT32_MAX - 1);
        if (!msg_done(m))
            found = malformed(err);
    }
    msg_free(&m);
    return found;
}

enum lookup auth_worker_uid(const char *name, uint32_t *out, struct err *err)
{
    return number("uid", name, out, err);
}

enum lookup auth_worker_gid(const char *name, uint32_t *out, struct err *err)
{
    return number("gid", name, out, err);
}

/* 1: another user; 0: the end; -1. */
static int next_user(struct stream *s, void (*fn)(void *ctx, struct slice user), void *ctx, struct err *err)
{
    struct msg *m;
    int rc = -1;

    if (msg_recv(s, &m) < 0)
        return err_set(err, 0, NULL, "the auth-worker service sent no more users: %s",
                       errno ? strerror(errno) : "it ended");
    if (strcmp(msg_name(m), "user") == 0) {
        const char *user = msg_get_str(m, "user", AUTH_WORKER_NAME_BYTES);
        if ((rc = msg_done(m) ? 1 : -1) > 0)
            fn(ctx, slice_of(user));
        else
            (void) malformed(err);
    } else if (strcmp(msg_name(m), "end") == 0 && msg_done(m)) {
        rc = 0;
    } else {
        (void) judge(m, err);
    }
    msg_free(&m);
    return rc;
}

int auth_worker_each(uint32_t first, uint32_t last, void (*fn)(void *ctx, struct slice user), void *ctx,
                     struct err *err)
{
    struct stream *s = ipc_open(AUTH_WORKER_SERVICE, AUTH_WORKER_PROTOCOL, AUTH_WORKER_VERSION,
                                time_mono_ms() + AUTH_WORKER_WAIT_MS);
    struct msg *m;
    int rc;

    if (s == NULL)
        return err_set(err, 0, NULL, "the auth-worker service cannot be asked: %s", strerror(errno));
    stream_timeout(s, EACH_MS);
    m = msg_new("each");
    msg_put_num(m, "first", first);
    msg_put_num(m, "last", last);
    if ((rc = msg_send(s, m, 1)) < 0)
        (void) err_set(err, 0, NULL, "the auth-worker service cannot be asked: %s", strerror(errno));
    msg_free(&m);
    while (rc >= 0 && (rc = next_user(s, fn, ctx, err)) > 0)
        ;
    stream_free(&s);
    return rc;
}
