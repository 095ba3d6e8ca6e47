/*
 * mailboxd_content - a message in memory that several processes read; see mailboxd.h
 *
 * Invariants  sealed before anybody else gets it
 * Errors      no memory, or the limit: 452, the client tries again
 */
#include "base/file.h"
#include "base/mem.h"
#include "client/mailboxd_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { BUFFER_BYTES = 1 << 16, SEALS = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE };

int64_t mailboxd_memory_limit;
static uint64_t held; /* bytes, of all contents of the process */

struct mailboxd_content *mailboxd_content_new(void)
{
    struct mailboxd_content *c = mem_new(sizeof *c);

    str_init(&c->buffer, 2 * BUFFER_BYTES);
    c->fd = memfd_create("message", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (c->fd < 0)
        c->error = errno;
    return c;
}

static void flush(struct mailboxd_content *c)
{
    if (c->error == 0 && c->buffer.len && file_write_all(c->fd, c->buffer.p, c->buffer.len) < 0)
        c->error = errno;
    str_reset(&c->buffer);
}

static bool room_for(const struct mailboxd_content *c, size_t len)
{
    return held == c->counted || held + len <= (uint64_t) mailboxd_memory_limit;
}

void mailboxd_content_write(struct mailboxd_content *c, const void *p, size_t len)
{
    if (c->error || len == 0)
        return;
    if (!room_for(c, len)) {
        c->error = ENOMEM;
        return;
    }
    held += len;
    c->counted += len;
    c->bytes += len;
    if (c->buffer.len + len > BUFFER_BYTES)
        flush(c);
    if (len >= BUFFER_BYTES) {
        if (c->error == 0 && file_write_all(c->fd, p, len) < 0)
            c->error = errno;
        return;
    }
    str_add(&c->buffer, p, len);
}

int mailboxd_content_end(struct mailboxd_content *c, struct err *err)
{
    flush(c);
    if (c->error == 0 && fcntl(c->fd, F_ADD_SEALS, SEALS) < 0)
        c->error = errno;
    if (c->error)
        return err_set(err, 451, "4.3.1", "cannot keep the message in memory: %s", strerror(c->error));
    return 0;
}

void mailboxd_content_free(struct mailboxd_content **pc)
{
    struct mailboxd_content *c = *pc;

    if (c == NULL)
        return;
    held -= c->counted;
    if (c->fd >= 0)
        close(c->fd);
    str_free(&c->buffer);
    free(c);
    *pc = NULL;
}
