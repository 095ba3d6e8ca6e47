/*
 * mailboxd - delivers for lmtpd and virtual into the Maildirs of one account
 *
 * Callers     lmtpd, local/virtual, over the channel of the process that master's spawner made for them
 * Invariants  "delivered" is answered when the file is in new/ and on disk
 *             one account's, and confined to one directory: the home of a user, or the base of all mailboxes
 * Units       bytes as stored: lines end in LF
 * Errors      maildir_deliver's
 * Privilege   the mailbox's uid and gid, mail_access_groups; chroot and Landlock to that directory; no network
 */
#include "base/log.h"
#include "base/mem.h"
#include "client/mailboxd.h"
#include "deliver/maildir.h"
#include "event/event.h"
#include "service/service.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PIECE_BYTES = 1 << 16 };

static const char *root; /* of this process's account, as it is seen from inside */

static int copy(struct maildir_message *m, const struct mailboxd_order *o, struct err *err)
{
    char *piece = mem_array(PIECE_BYTES, 1);
    uint64_t at = 0;
    ssize_t n = 1;

    maildir_write(m, o->head.p, o->head.len);
    while (at < o->content_bytes && !maildir_too_big(m)) {
        uint64_t left = o->content_bytes - at;
        n = pread(o->content_fd, piece, left < PIECE_BYTES ? (size_t) left : PIECE_BYTES, (off_t) at);
        if (n <= 0)
            break;
        maildir_write(m, piece, (size_t) n);
        at += (uint64_t) n;
        fiber_slice();
    }
    free(piece);
    if (n <= 0)
        return err_set(err, 451, "4.3.0", "cannot read the message: %s", n < 0 ? strerror(errno) : "it is too short");
    return maildir_end(m, err);
}

/* A user's directory that was removed, and perhaps made again: what we stand in is not what its name leads to. */
static bool is_gone(void)
{
    struct stat st;

    return stat(root, &st) < 0 || st.st_nlink == 0;
}

static int deliver(const struct mailboxd_order *o, uint64_t *bytes, struct err *err)
{
    char *dir = strcmp(root, "/") == 0 ? mem_strdup(o->path) : mem_printf("%s%s", root, o->path);
    struct maildir_message *m;
    int ret = -1;

    if (maildir_begin(dir, MAILDIR_MAKE, o->limit, &m, err) == 0) {
        if (copy(m, o, err) == 0) {
            *bytes = maildir_bytes(m);
            fiber_shield(true); /* what was renamed is synced and answered, even when the service stops */
            ret = maildir_deliver(m, dir, MAILDIR_MAKE | (o->no_index ? MAILDIR_NO_INDEX : 0), err);
            fiber_shield(false);
        }
        maildir_free(&m);
    }
    free(dir);
    if (ret < 0 && is_gone()) {
        log_warn("the user's directory was removed: the next delivery gets another process");
        exit(0);
    }
    return ret;
}

static void spawned(int control_fd, const struct service_user *user)
{
    if (geteuid() != user->uid) { /* without root nobody becomes another */
        log_error("cannot deliver as uid %u: this is uid %u", (unsigned) user->uid, (unsigned) geteuid());
        close(control_fd);
        return;
    }
    root = user->directory;
    mailboxd_serve(control_fd, deliver);
    maildir_finish();
}

int main(int argc, char **argv)
{
    static const struct service mailboxd = {
        .name = "mailboxd",
        .summary = "delivers into the Maildirs of one account",
        .jail = JAIL_SPAWNED,
        .may = MAY_OPEN | MAY_WRITE_FILES | MAY_THREADS,
        .spawned = spawned,
    };

    return service_main(&mailboxd, argc, argv);
}
