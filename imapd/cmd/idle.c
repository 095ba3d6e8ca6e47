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

int64_t imapd_idle_notify_seconds = 120, imapd_hibernate_seconds;

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
    for (int i = 0; i < 2; i++) {
        n->dir_fd[i] = -1;
        if (s->box == NULL || s->link == NULL)
            continue;
        n->dir_fd[i] = mailbox_directory(s->box, i == 0);
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

enum waited { CLIENT_SPOKE, SESSION_ENDS, SESSION_SLEEPS };

static int64_t hibernation(const struct imapd_session *s, bool noticed)
{
    if (s->link == NULL || imapd_hibernate_seconds == 0 || (s->box && !noticed))
        return EVENT_NEVER;
    return time_mono_ms() + imapd_hibernate_seconds * 1000;
}

/* Waits for the client's line, telling what changes meanwhile. */
static enum waited wait_for_done(struct imapd_session *s, struct imapd_idle *idle, bool noticed)
{
    int64_t sleep_at = hibernation(s, noticed), now;

    for (;;) {
        int64_t wake = idle->notify < idle->end ? idle->notify : idle->end;

        if (sleep_at < wake)
            wake = sleep_at;
        if (s->box && !noticed && time_mono_ms() + IDLE_LOOK_MS < wake)
            wake = time_mono_ms() + IDLE_LOOK_MS;
        if (s->box && mailbox_unsettled(s->box) && time_mono_ms() + MAILBOX_SETTLE_MS < wake)
            wake = time_mono_ms() + MAILBOX_SETTLE_MS;
        if (stream_wait_input(s->io, wake) == 0)
            return CLIENT_SPOKE;
        if (errno == ECANCELED) {
            imapd_bye(s, "Server shutting down.", "Server shutting down");
            return SESSION_ENDS;
        }
        if (errno != EINTR && errno != ETIMEDOUT)
            return SESSION_ENDS;
        uint64_t said = stream_bytes_out(s->io);
        now = time_mono_ms();
        if (now >= idle->end) {
            imapd_bye(s, "Disconnected for inactivity.", "Inactivity in IDLE");
            return SESSION_ENDS;
        }
        imapd_sync(s, false);
        if (s->ended)
            return SESSION_ENDS;
        if (now >= idle->notify) {
            stream_puts(s->io, STILL_HERE);
            idle->notify = now + imapd_idle_notify_seconds * 1000;
        }
        if (stream_flush(s->io) == 0 && stream_bytes_out(s->io) != said)
            sleep_at = hibernation(s, noticed); /* there was news: more may follow */
        else if (now >= sleep_at && !(s->box && mailbox_unsettled(s->box)) && imapd_hibernate(s, idle))
            return SESSION_SLEEPS;
        else if (now >= sleep_at)
            sleep_at = hibernation(s, noticed);
    }
}

static void idle_wait(struct imapd_session *s, struct notice *notice, struct imapd_idle *idle)
{
    enum stream_eol eol;
    enum waited how = s->ended ? SESSION_ENDS : wait_for_done(s, idle, notice->watch[0] && notice->watch[1]);

    unwatch(notice);
    if (how != CLIENT_SPOKE) {
        s->state = how == SESSION_SLEEPS ? IMAPD_ASLEEP : IMAPD_LOGOUT;
        return;
    }
    str_reset(&s->command);
    if (stream_line(s->io, &s->command, IMAPD_LINE_BYTES, &eol) == 0 && slice_caseeq(str_slice(&s->command), "DONE"))
        imapd_answer(s, "OK Idle completed.");
    else
        imapd_answer(s, "BAD Expected DONE.");
}

void imapd_idle_on(struct imapd_session *s, const struct imapd_idle *idle)
{
    struct notice notice = { { NULL, NULL }, { -1, -1 } };
    struct imapd_idle rest = *idle;

    watch(s, &notice);
    imapd_sync(s, false);
    idle_wait(s, &notice, &rest);
}

void imapd_cmd_idle(struct imapd_session *s, struct imap_arg *a)
{
    struct notice notice = { { NULL, NULL }, { -1, -1 } };
    int64_t now = time_mono_ms();
    struct imapd_idle idle = { now + IMAPD_AUTOLOGOUT_MS, now + imapd_idle_notify_seconds * 1000 };

    if (imap_arg_done(a) != 0)
        return;
    watch(s, &notice);
    imapd_sync(s, false); /* what came before the watch stood */
    stream_puts(s->io, "+ idling\r\n");
    idle_wait(s, &notice, &idle);
}
