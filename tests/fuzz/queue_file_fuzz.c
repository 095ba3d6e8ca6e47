// LINK: queue conf base
/* The queue file reader: any bytes as a file. */
#include "base/file.h"
#include "queue/file.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *, size_t);

static void read_content(int fd, const struct queue_size *size)
{
    struct queue_content *c = queue_content_open(fd, size);
    struct slice piece;
    bool ends;

    while (queue_content_next(c, &piece, &ends) == 1)
        continue;
    queue_content_free(&c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static int fd = -1;
    struct queue_envelope e;
    struct err err;

    if (fd < 0)
        fd = memfd_create("fuzz", 0);
    if (ftruncate(fd, 0) < 0 || lseek(fd, 0, SEEK_SET) < 0 || file_write_all(fd, data, len) < 0)
        abort();
    if (queue_envelope_read(fd, 3, &e, &err) < 0)
        return 0;
    read_content(fd, &e.size);
    for (int i = 0; e.more && i < 1000; i++)
        if (queue_envelope_more(fd, 3, &e, &err) < 0)
            break;
    for (size_t i = 0; i < e.recipient_count; i++)
        if (queue_mark_done(fd, e.recipients[i].offset) < 0)
            abort();
    queue_envelope_free(&e);
    return 0;
}
