/*
 * imapd/hibernate - a session in IDLE goes to dispatcher, and goes on in another process of the same user
 *
 * What travels with the client's socket is one frame of named values (lib/ipc): the mailbox, what the client knows of
 * it (mailbox_freeze), the tag that is still to be answered, counters for the log.
 *
 * Callers     imapd/cmd/idle.c (sleep), imapd/session.c (wake)
 * Invariants  a session sleeps only when its client was told everything: what happens from then on wakes it
 *             a state that cannot be used costs the client its connection (BYE), never a wrong message number
 */
#include "base/log.h"
#include "base/time.h"
#include "client/dispatcher.h"
#include "ipc/msg.h"
#include "session.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static const char state_name[] = "imap";
enum { VIEW_BYTES = DISPATCHER_STATE_BYTES - STORE_NAME_BYTES - 1024 };

static bool add_directories(struct imapd_session *s, struct dispatcher_sleep *how)
{
    for (int i = 0; i < DISPATCHER_SLEEP_DIRS; i++) {
        struct stat st;
        how->dir_fd[i] = mailbox_directory(s->box, i == 0);
        if (how->dir_fd[i] < 0 || fstat(how->dir_fd[i], &st) < 0)
            return false;
        how->mtime_ns[i] = (int64_t) st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
    }
    /* What changed before those times were read is told now, or the session stays awake. */
    uint64_t said = stream_bytes_out(s->io);
    imapd_sync(s, false);
    return stream_flush(s->io) == 0 && stream_bytes_out(s->io) == said && s->ended == NULL;
}

static int encode(struct imapd_session *s, int64_t end_in_ms, struct str *out)
{
    struct msg *m = msg_new(state_name);
    struct str view;
    int rc = 0;

    str_init(&view, VIEW_BYTES);
    msg_put_str(m, "tag", s->tag);
    msg_put_num(m, "ends", time_now() + end_in_ms / 1000);
    msg_put_num(m, "in", (int64_t) (s->bytes_in + stream_bytes_in(s->io)));
    msg_put_num(m, "out", (int64_t) (s->bytes_out + stream_bytes_out(s->io)));
    msg_put_num(m, "expunged", (int64_t) s->expunged);
    msg_put_num(m, "body_fetched", (int64_t) s->body_fetched);
    if (s->box) {
        rc = mailbox_freeze(s->box, VIEW_BYTES, &view);
        msg_put_str(m, "mailbox", mailbox_name(s->box));
        msg_put_num(m, "read_only", mailbox_read_only(s->box));
        msg_put(m, "view", str_slice(&view));
    }
    str_reset(out);
    if (rc == 0)
        msg_encode(m, 0, out);
    str_free(&view);
    msg_free(&m);
    return rc;
}

bool imapd_hibernate(struct imapd_session *s, const struct imapd_idle *idle)
{
    struct dispatcher_sleep how = { .dir_fd = { -1, -1 }, .notify = STILL_HERE };
    int64_t now = time_mono_ms();
    bool asleep = false;

    if (s->client == NULL || stream_buffered(s->io) > 0)
        return false;
    how.notify_ms = imapd_idle_notify_seconds * 1000;
    how.notify_in_ms = idle->notify > now ? idle->notify - now : 0;
    how.end_in_ms = idle->end > now ? idle->end - now : 0;
    if ((s->box == NULL || add_directories(s, &how)) && encode(s, how.end_in_ms, &s->client->state) == 0) {
        s->client->fd = stream_fd(s->io);
        asleep = dispatcher_link_sleep(s->link, s->client, &how) == 0;
        s->client->fd = -1;
    }
    for (int i = 0; i < DISPATCHER_SLEEP_DIRS; i++)
        if (how.dir_fd[i] >= 0)
            close(how.dir_fd[i]);
    return asleep;
}

/* The mailbox as the client knows it, and what has changed since. */
static bool restore(struct imapd_session *s, struct msg *m)
{
    const char *name = msg_get_str(m, "mailbox", STORE_NAME_BYTES);
    bool read_only = msg_get_num(m, "read_only", 0, 1) != 0;
    struct slice view = msg_get(m, "view", VIEW_BYTES);
    const struct mailbox_changes *changes;

    if (!msg_done(m) || mailbox_open(s->store, name, read_only, &s->box) != STORE_OK)
        return false;
    s->state = IMAPD_SELECTED;
    if (mailbox_thaw(s->box, view, &changes) != STORE_OK)
        return false;
    imapd_tell(s, changes);
    return true;
}

static bool decode(struct imapd_session *s, struct slice state, int64_t *ends)
{
    struct msg *m = NULL;
    bool good;

    if (state.len < 4 || msg_decode(slice_sub(state, 4, state.len), &m) < 0)
        return false;
    snprintf(s->tag, sizeof s->tag, "%s", msg_get_str(m, "tag", IMAP_TAG_BYTES));
    *ends = msg_get_num(m, "ends", 0, INT64_MAX);
    s->bytes_in = (uint64_t) msg_get_num(m, "in", 0, INT64_MAX);
    s->bytes_out = (uint64_t) msg_get_num(m, "out", 0, INT64_MAX);
    s->expunged = (unsigned long long) msg_get_num(m, "expunged", 0, INT64_MAX);
    s->body_fetched = (unsigned long long) msg_get_num(m, "body_fetched", 0, INT64_MAX);
    good = strcmp(msg_name(m), state_name) == 0 && s->tag[0] != '\0';
    good = good && (msg_has(m, "mailbox") ? restore(s, m) : msg_done(m));
    msg_free(&m);
    return good;
}

void imapd_wake(struct imapd_session *s, struct slice state)
{
    int64_t now = time_mono_ms(), ends, left;
    struct imapd_idle idle = { now, now + imapd_idle_notify_seconds * 1000 };

    if (!decode(s, state, &ends)) {
        log_warn("imap(%s)<%s>: cannot go on after hibernation: %s", s->user, s->id, store_error(s->store));
        imapd_bye(s, "IMAP session state is inconsistent, please relogin.", "Mailbox changed during hibernation");
        return;
    }
    left = (ends - time_now()) * 1000;
    if (left > 0)
        idle.end += left < IMAPD_AUTOLOGOUT_MS ? left : IMAPD_AUTOLOGOUT_MS;
    str_reset(&s->answer);
    imapd_idle_on(s, &idle);
    if (s->answer.len)
        stream_printf(s->io, "%s %s\r\n", s->tag, s->answer.p);
}
