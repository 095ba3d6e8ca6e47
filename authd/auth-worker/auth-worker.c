/*
 * auth-worker - runs what may block and must be root: PAM's modules, and the libraries that nsswitch.conf names
 *
 * Callers     authd, through lib/client/auth_worker.h
 * Invariants  this process only passes requests to its children and their answers back (pool.h); it runs no library
 *             and starts no program
 * Errors      "later" with words where no child answers in time; authd logs them, it knows the user and the client
 * Privilege   root, no jail: modules start helpers, read what they like, become the user. It takes connections from
 *             master alone, who introduces authd
 */
#include "pool.h"
#include "service/service.h"
#include "task.h"

#include <string.h>

struct call {
    enum pool pool;
    const char *user; /* of the request; "" */
    bool verdict;     /* the answer is one, and not "found" or "none" */
    int64_t uses;     /* of the child: it ends after so many */
};

static struct msg *late(const struct call *call, const struct err *err)
{
    return call->verdict ? task_verdict(AUTH_WORKER_LATER, NULL, err->text, NULL) : task_later(err->text);
}

static void pass_on(struct service_conn *conn, struct msg *in, struct call call)
{
    struct msg *reply = NULL;
    int64_t deadline = pool_deadline();
    struct err err;
    struct child *c = pool_take(call.pool, call.user, deadline, &err);

    if (c == NULL || pool_send(c, in, &err) < 0 || pool_receive(c, deadline, &reply, &err) < 0)
        reply = late(&call, &err);
    if (c)
        pool_give_back(c, call.uses);
    service_reply(conn, &reply);
}

/* The message lives until the request has been answered. */
static const char *user_of(struct msg *in)
{
    return msg_has(in, "user") ? msg_get_str(in, "user", AUTH_WORKER_NAME_BYTES) : "";
}

static void on_pam(struct service_conn *conn, struct msg *in)
{
    int64_t uses = msg_get_num(in, "uses", 1, AUTH_WORKER_USES_MAX);
    bool setcred = msg_get_num(in, "setcred", 0, 1), session = msg_get_num(in, "session", 0, 1);

    /* Credentials and limits of a session stay with the process. */
    pass_on(conn, in, (struct call){ POOL_PAM, user_of(in), true, setcred || session ? 0 : uses });
}

static void on_password(struct service_conn *conn, struct msg *in)
{
    pass_on(conn, in, (struct call){ POOL_PAM, user_of(in), true, AUTH_WORKER_USES_MAX });
}

static void on_account(struct service_conn *conn, struct msg *in)
{
    pass_on(conn, in, (struct call){ POOL_ACCOUNTS, user_of(in), false, AUTH_WORKER_USES_MAX });
}

static void on_each(struct service_conn *conn, struct msg *in)
{
    struct call call = { POOL_ACCOUNTS, "", false, AUTH_WORKER_USES_MAX };
    struct err err;
    struct child *c = pool_take(call.pool, call.user, pool_deadline(), &err);
    struct msg *m = NULL;
    bool more = c && pool_send(c, in, &err) == 0;

    if (!more)
        m = late(&call, &err);
    while (more) {
        if (pool_receive(c, pool_deadline(), &m, &err) < 0)
            m = late(&call, &err);
        more = strcmp(msg_name(m), "user") == 0;
        if (more && msg_send(service_conn_stream(conn), m, 1) < 0) {
            call.uses = 0; /* it goes on listing to nobody */
            more = false;
        }
        if (more)
            msg_free(&m);
    }
    if (c)
        pool_give_back(c, call.uses);
    service_reply(conn, &m);
}

static const struct service_request requests[] = { { .name = "pam", .run = on_pam },
                                                   { .name = "password", .run = on_password },
                                                   { .name = "account", .run = on_account },
                                                   { .name = "uid", .run = on_account },
                                                   { .name = "gid", .run = on_account },
                                                   { .name = "each", .run = on_each, .in_order = true },
                                                   { .name = NULL } };
static const struct param *const params[] = { pool_params, NULL };
static const struct service auth_worker = {
    .name = "auth-worker",
    .summary = "runs PAM and looks up system accounts, for authd",
    .jail = JAIL_NONE,
    .introduced = true,
    .solitary = true, /* auth_worker_max_count is of all */
    .protocol = AUTH_WORKER_PROTOCOL,
    .version = AUTH_WORKER_VERSION,
    .requests = requests,
    .params = params,
    .post_jail = pool_start,
    .stop = pool_end,
};

int main(int argc, char **argv) { return service_main(&auth_worker, argc, argv); }
