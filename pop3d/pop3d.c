/*
 * pop3d - POP3 for one user, confined to that user's mail
 *
 * Callers     dispatcher, over the control channel: sockets of clients that login and authd have let in
 * Invariants  never runs before authentication and never learns a password
 * Privilege   the mail user, in the user's directory (chroot where root started us, Landlock, seccomp); no network
 *             but the sockets it was given
 */
#include "client/dispatcher_serve.h"
#include "service/service.h"
#include "session.h"

static struct store_places places; /* of the one user */

static void session(struct dispatcher_link *link, struct dispatcher_session *s, const char *root)
{
    struct pop3d_start start = { .user = s->user,
                                 .id = s->id,
                                 .root = root,
                                 .places = &places,
                                 .separator = conf_mail_separator[0],
                                 .input = str_slice(&s->input) };
    int fd = s->fd;

    (void) link;
    s->fd = -1;
    pop3d_session_run(fd, &start);
}

static void spawned(int control_fd, const struct service_user *user)
{
    store_places_given(user->place_fd, user->hint, &places);
    dispatcher_serve(control_fd, user->directory, session);
}

int main(int argc, char **argv)
{
    static const struct param *const tables[] = { NULL };
    static const struct service pop3d = {
        .name = "pop3d",
        .summary = "POP3 server of one user",
        .jail = JAIL_SPAWNED,
        .may = MAY_OPEN | MAY_WRITE_FILES | MAY_THREADS,
        .params = tables,
        .spawned = spawned,
    };

    return service_main(&pop3d, argc, argv);
}
