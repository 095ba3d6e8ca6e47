/*
 * dispatcher - which process serves a client that has logged in
 *
 * login hands over a socket with authd's request id and cookie; authd tells whose it is; that user's imapd or pop3d
 * gets the socket, spawned by master's spawner when there is none.
 *
 * Callers     login, through lib/client/dispatcher.h; the users' processes over their control channels
 * Invariants  login never names a user; uid and gid are authd's, never 0, within the range that master and spawner
 *             check again
 *             one process a user and protocol; a session is counted until its process says "ended" or ends itself
 *             never reads mail, nor what a client says, and keeps a client's descriptor only until its process has
 *             said that it took the session: who sleeps is with a keeper
 * Errors      in doubt "unavailable": the client is told to come again
 * Privilege   own user, chroot, no files and no network once the jail is closed
 */
#include "procs.h"

#include "service/service.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/time.h"
#include "client/authd.h"
#include "client/dispatcher_wire.h"
#include "store/store.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* login waits 60 seconds: what it hears then must still be true. */
enum { CLAIM_TIMEOUT_MS = 30000, HAND_OVER_TIMEOUT_MS = 50000 };

static const char *dispatcher_user;
static int64_t userip_connections;
static const struct param params[] = {
    { .name = "dispatcher_user",
      .type = PARAM_STRING,
      .str = &dispatcher_user,
      .def = "$login_user",
      .min = 1,
      .doc = "Account of the process that hands clients to their users' imapd and pop3d." },
    { .name = "mail_max_userip_connections",
      .type = PARAM_INT,
      .num = &userip_connections,
      .def = "10",
      .min = 0,
      .max = 100000,
      .doc = "Sessions that one user may have open from one address, for each protocol; 0 means no limit." },
    { .type = PARAM_END },
};

static struct authd_client *authd;

struct hand_over {
    struct dispatcher_session *session;
    struct authd_user user;
    struct proc_order order;
    char reason[DISPATCHER_TEXT_BYTES];
    pid_t pid;
};

/* The smallest directory that holds the user's mail becomes the process's root: home when the mail lies below it.
 * What lies elsewhere (struct store_places) goes along as descriptors. */
static bool place(struct arena *arena, const struct authd_user *u, struct hand_over *h)
{
    const struct mail_location *l = &u->location;
    const char *root = l->root;
    size_t home_len = strlen(u->home);

    if (l->root[0] != '/')
        return false;
    if (home_len > 1 && strncmp(l->root, u->home, home_len) == 0 &&
        (l->root[home_len] == '/' || l->root[home_len] == 0))
        root = u->home;
    const char *inside = l->root + strlen(root);
    h->order.place[STORE_PLACE_INBOX] = l->inbox;
    h->order.place[STORE_PLACE_CONTROL] = l->control;
    h->order.place[STORE_PLACE_INDEX] = l->index;
    h->order.hint = arena_printf(arena, "%s%s", l->fs ? STORE_HINT_FS : "", l->no_index ? STORE_HINT_NO_INDEX : "");
    h->order.directory = root;
    h->session->user = mem_strdup(u->user);
    h->session->maildir = mem_strdup(inside[0] ? inside : "/");
    h->order.key = arena_printf(arena, "%s\n%s\n%s", h->session->protocol, u->user, u->mail); /* moved: another */
    h->order.program = strcmp(h->session->protocol, "pop3") == 0 ? "pop3d" : "imapd";
    h->order.uid = u->uid;
    h->order.gid = u->gid;
    return true;
}

static enum dispatcher_answer refuse(struct hand_over *h, enum dispatcher_answer answer, const char *reason)
{
    snprintf(h->reason, sizeof h->reason, "%s", reason);
    return answer;
}

static enum dispatcher_answer hand_over(struct hand_over *h, const struct dispatcher_claim *claim,
                                        struct arena *arena)
{
    struct err err = { 0 };
    int64_t began = time_mono_ms();
    enum lookup found = authd_client_request(authd, h->session->protocol, claim->client_pid, claim->request,
                                             claim->cookie, arena, &h->user, began + CLAIM_TIMEOUT_MS, &err);

    if (found != LOOKUP_FOUND) {
        log_warn("session <%s>: authd does not know this login: %s", h->session->id, err.text);
        return refuse(h, DISPATCHER_UNAVAILABLE, found == LOOKUP_NONE ? "the login has expired" : err.text);
    }
    if (!h->user.has_uid || !h->user.has_gid || h->user.uid == 0 || h->user.gid == 0) {
        log_error(
            "user %s: no uid and gid to serve it with, or 0: check virtual_uid_maps, virtual_gid_maps and the userdb",
            h->user.user);
        return refuse(h, DISPATCHER_DENIED, "no uid or gid");
    }
    if (!authd_ids_permitted(h->user.user, h->user.uid, h->user.gid))
        return refuse(h, DISPATCHER_DENIED, "uid or gid not permitted");
    if (!place(arena, &h->user, h)) {
        log_error("user %s: its mail has no place: %s", h->user.user,
                  h->user.problem[0] ? h->user.problem
                                     : "check virtual_mailbox_maps, virtual_mailbox_base and the userdb's home");
        return refuse(h, DISPATCHER_DENIED, "no mail directory");
    }
    h->order.from_one_address = (size_t) userip_connections;
    h->order.deadline = began + HAND_OVER_TIMEOUT_MS;
    if (procs_send(&h->order, h->session, &h->pid) == 0)
        return DISPATCHER_OK;
    if (errno != EUSERS)
        return refuse(h, DISPATCHER_UNAVAILABLE, "the mail process cannot be started, or ended at once");
    return refuse(h, DISPATCHER_LIMIT,
                  arena_printf(arena,
                               "Maximum number of connections from user+IP exceeded "
                               "(mail_max_userip_connections=%lld)",
                               (long long) userip_connections));
}

static void on_session(struct service_conn *conn, struct msg *in)
{
    struct hand_over h = { 0 };
    struct dispatcher_claim claim = { 0 };
    struct arena *arena = arena_new();
    enum dispatcher_answer answer = DISPATCHER_UNAVAILABLE;
    struct msg *reply;

    claim.client_pid = (uint32_t) msg_get_num(in, "client_pid", 1, UINT32_MAX);
    claim.request = (uint32_t) msg_get_num(in, "request", 1, UINT32_MAX);
    snprintf(claim.cookie, sizeof claim.cookie, "%s", msg_get_str(in, "cookie", sizeof claim.cookie - 1));
    if (dispatcher_session_decode(in, &h.session) < 0 || !msg_done(in))
        log_warn("login sent a session that cannot be used");
    else if (h.session->user[0] || h.session->maildir[0] || h.session->state.len)
        log_warn("session <%s>: login may not name a user or give a state", h.session->id);
    else {
        free(h.session->user);
        free(h.session->maildir);
        h.session->user = h.session->maildir = NULL;
        answer = hand_over(&h, &claim, arena);
    }
    reply = service_status(dispatcher_answer_name(answer));
    msg_put_num(reply, "pid", h.pid);
    msg_put_str(reply, "reason", h.reason);
    msg_put_num(reply, "by", getpid());
    service_reply(conn, &reply);
    dispatcher_session_free(&h.session);
    arena_free(&arena);
}

static int start(void)
{
    authd = authd_client_new(AUTHD_MASTER_SERVICE);
    return 0;
}

static const struct param *const param_tables[] = { params, procs_params, NULL };
static const struct service_request requests[] = { { .name = DISPATCHER_W_SESSION, .run = on_session },
                                                   { .name = NULL } };
static const struct service dispatcher = {
    .name = "dispatcher",
    .summary = "hands clients that have logged in to their users' processes",
    .jail = JAIL_CHROOT,
    .user = "$dispatcher_user",
    .params = param_tables,
    .protocol = DISPATCHER_PROTOCOL,
    .version = DISPATCHER_VERSION,
    .requests = requests,
    .solitary = true,
    .overlaps = true,
    .post_jail = start,
    .drained = procs_drained,
};

int main(int argc, char **argv) { return service_main(&dispatcher, argc, argv); }
