// LINK: store
/* store_index_fuzz - any bytes as posthorn.index, right checksums put in where the lengths allow: opening the mailbox
 * still shows its one message under its UID */
#include "base/file.h"
#include "base/mem.h"
#include "store/index.h"
#include "store/message.h"

#include <assert.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char root[100];

static void write_at(const char *name, const void *p, size_t len)
{
    char path[300];

    snprintf(path, sizeof path, "%s/%s", root, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert(fd >= 0 && file_write_all(fd, p, len) == 0);
    close(fd);
}

static uint32_t le32(const uint8_t *p)
{
    return p[0] | (uint32_t) p[1] << 8 | (uint32_t) p[2] << 16 | (uint32_t) p[3] << 24;
}

static void put32(uint8_t *p, uint32_t n)
{
    for (int i = 0; i < 4; i++, n >>= 8)
        p[i] = (uint8_t) n;
}

/* Makes head and records pass the checks that random bytes would never pass. */
static void repair(uint8_t *b, size_t size)
{
    static const uint8_t head[12] = { 'P', 'H', 'I', 'N', 'D', 'E', 'X', 1, INDEX_VERSION, 0, 0, 0 };

    if (size < 40)
        return;
    memcpy(b, head, sizeof head);
    memset(b + 12, 0, 12);
    unsigned nth = b[24] & 1 ? 1 + (b[24] >> 1) % 3 : 0, n = 0;
    memset(b + 24, 0, 8);
    for (size_t at = 40; at + 12 <= size;) {
        uint32_t len = le32(b + at) & 0xfff;
        if (len > size - at - 12)
            len = (uint32_t) (size - at - 12);
        put32(b + at, len);
        put32(b + at + 4, b[at + 4] % 4 + 1u);
        put32(b + at + 8, index_crc32c(b + at + 12, len));
        if (++n == nth)
            put32(b + 16, (uint32_t) at);
        at += 12 + len;
    }
    put32(b + 32, index_crc32c(b, 32));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char letter[] = "Subject: s\n\nb\n", list[] = "3 V5 N2 G00000000000000000000000000000000\n1 :a\n";
    struct store_config c = { .root = root, .separator = '.', .create = true };
    struct store *st;
    struct mailbox *box;
    struct str out;
    uint8_t *copy = mem_new(size + 1);

    if (!*root) {
        snprintf(root, sizeof root, "/tmp/store-fuzz-%d", (int) getpid());
        assert(mkdir(root, 0700) == 0);
    }
    assert(store_open(&c, &st) == STORE_OK);
    memcpy(copy, data, size);
    repair(copy, size);
    write_at("cur/a:2,S", letter, sizeof letter - 1);
    write_at("dovecot-uidlist", list, sizeof list - 1);
    write_at(INDEX_NAME, copy, size);
    free(copy);
    str_init(&out, 1 << 20);
    if (mailbox_open(st, "INBOX", false, &box) == STORE_OK) {
        assert(mailbox_count(box) <= 1);
        if (mailbox_count(box)) {
            uint64_t bytes;
            (void) message_envelope(box, 1, &out);
            (void) message_structure(box, 1, false, &out);
            (void) message_size(box, 1, &bytes);
        }
        mailbox_close(&box);
    }
    str_free(&out);
    store_close(&st);
    return 0;
}
