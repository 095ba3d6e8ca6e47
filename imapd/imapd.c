/*
 * imapd - IMAP for one user: all of that user's sessions, confined to that user's mail
 *
 * Callers     dispatcher, over the control channel: sockets of clients that login and authd have let in
 * Invariants  never runs before authentication and never learns a password; knows the user's name from dispatcher
 *             each session has its own view of its mailbox
 * Units       seconds
 * Privilege   the mail user, in the user's directory (chroot where root started us, Landlock, seccomp); no network
 *             but the sockets it was given
 */
#include "client/dispatcher_serve.h"
#include "session.h"
#include "service/service.h"

static const struct param params[] = {
    { .name = "imap_idle_notify_interval",
      .type = PARAM_SECONDS,
      .num = &imapd_idle_notify_seconds,
      .def = "2m",
      .min = 1,
      .max = 1740,
      .doc = "How often a client in IDLE is told that the connection is alive." },
    { .name = "imap_hibernate_timeout",
      .type = PARAM_SECONDS,
      .num = &imapd_hibernate_seconds,
      .def = "30s",
      .min = 0,
      .max = 1740,
      .doc =
          "After this time in IDLE without news a session is kept by dispatcher, without a process, until its client "
          "or its mailbox stirs; 0: never." },
    { .type = PARAM_END },
};

static struct store_places places; /* of the one user */

static void session(struct dispatcher_link *link, struct dispatcher_session *s, const char *root)
{
    struct imapd_start start = { .link = link,
                                 .client = s,
                                 .user = s->user,
                                 .id = s->id,
                                 .root = root,
                                 .places = &places,
                                 .separator = conf_mail_separator[0],
                                 .tag = s->tag && s->tag[0] ? s->tag : NULL,
                                 .capability_untagged = s->capability_untagged,
                                 .input = str_slice(&s->input),
                                 .state = str_slice(&s->state) };
    int fd = s->fd;

    s->fd = -1;
    imapd_session_run(fd, &start);
}

static void spawned(int control_fd, const struct service_user *user)
{
    store_places_given(user->place_fd, user->hint, &places);
    dispatcher_serve(control_fd, user->directory, session);
}

_Static_assert((int) SERVICE_PLACES == (int) STORE_PLACES, "the store's places are those of the order");

int main(int argc, char **argv)
{
    static const struct param *const tables[] = { params, NULL };
    static const struct service imapd = {
        .name = "imapd",
        .summary = "IMAP server of one user",
        .jail = JAIL_SPAWNED,
        .may = MAY_OPEN | MAY_WRITE_FILES | MAY_THREADS,
        .params = tables,
        .spawned = spawned,
    };

    return service_main(&imapd, argc, argv);
}
