/*
 * imapd/cmd/idle - IDLE
 *
 * Invariants  only the session's own fiber reads, writes and looks at the mailbox: a change notice interrupts its
 *             wait
 *             without notice from the system (or without dispatcher, as in tests) it looks every IDLE_LOOK_MS
 * Source      RFC 2177; "Still here" as Dovecot sends it, so that NAT boxes keep the connection
 */
#include "base/time.h"
#include "client/dispatcher.h"
#include "cmd/cmd.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

enum { IDLE_LOOK_MS = 5000 };

int64_t imapd_idle_notify_seconds = 120;

struct notice {
    struct dispatcher_watch *watch[2]; /* new and cur of the selected mailbox */
    int dir_fd[2];
};

static void changed(void *session)
{
    struct imapd_session *s = session;

    stream_interrupt(s->io);
}

static void watch(struct imapd_session *s, struct notice *n)
{
    static const char *const dirs[2] = { "new", "cur" };

    for (int i = 0; i < 2; i++) {
        n->dir_fd[i] = -1;
        if (s->box == NULL || s->link == NULL)
            continue;
        char *path = arena_printf(s->arena, "%s/%s/%s", s->root, mailbox_path(s->box), dirs[i]);
        n->dir_fd[i] = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (n->dir_fd[i] >= 0)
            n->watch[i] = dispatcher_watch_new(s->link, n->dir_fd[i], changed, s);
    }
}

static void unwatch(struct notice *n)
{
    for (int i = 0; i < 2; i++) {
        if (n->watch[i])
            dispatcher_watch_free(&n->watch[i]);
        if (n->dir_fd[i] >= 0)
            close(n->dir_fd[i]);
    }
    fiber_yield(); /* a notice that was on its way runs now, while there is a session to interrupt */
}

/* Waits for the client's line, telling what changes meanwhile. 0: there is input; -1: the session ends. */
static int wait_for_done(struct imapd_session *s, bool noticed)
{
    int64_t now = time_mono_ms(), end = now + IMAPD_AUTOLOGOUT_MS;
    int64_t still_here = now + imapd_idle_notify_seconds * 1000;

    for (;;) {
        int64_t wake = still_here < end ? still_here : end;

        if (s->box && !noticed && time_mono_ms() + IDLE_LOOK_MS < wake)
            wake = time_mono_ms() + IDLE_LOOK_MS;
        if (s->box && mailbox_unsettled(s->box) && time_mono_ms() + MAILBOX_SETTLE_MS < wake)
            wake = time_mono_ms() + MAILBOX_SETTLE_MS;
        if (stream_wait_input(s->io, wake) == 0)
            return 0;
        if (errno != EINTR && errno != ETIMEDOUT)
            return -1;
        now = time_mono_ms();
        if (now >= end) {
            imapd_bye(s, "Disconnected for inactivity.", "Inactivity in IDLE");
            return -1;
        }
        imapd_sync(s, false);
        if (s->ended)
            return -1;
        if (now >= still_here) {
            stream_puts(s->io, "* OK Still here\r\n");
            still_here = now + imapd_idle_notify_seconds * 1000;
        }
    }
}

void imapd_cmd_idle(struct imapd_session *s, struct imap_arg *a)
{
    struct notice notice = { { NULL, NULL }, { -1, -1 } };
    enum stream_eol eol;

    if (imap_arg_done(a) != 0)
        return;
    watch(s, &notice);
    imapd_sync(s, false); /* what came before the watch stood */
    stream_puts(s->io, "+ idling\r\n");
    int rc = s->ended ? -1 : wait_for_done(s, notice.watch[0] && notice.watch[1]);
    unwatch(&notice);
    if (rc != 0) {
        s->state = IMAPD_LOGOUT;
        return;
    }
    str_reset(&s->command);
    if (stream_line(s->io, &s->command, IMAPD_LINE_BYTES, &eol) == 0 && slice_caseeq(str_slice(&s->command), "DONE"))
        imapd_answer(s, "OK Idle completed.");
    else
        imapd_answer(s, "BAD Expected DONE.");
}
