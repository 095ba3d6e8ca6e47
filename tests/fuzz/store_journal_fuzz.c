// LINK: store
/* store_journal_fuzz - any bytes as the frames of posthorn.journal, right heads and checksums put in: what was in the
 * mailbox stays, UIDs rise, and opening it again changes nothing */
#include "base/file.h"
#include "base/mem.h"
#include "store/index.h"
#include "store/internal.h"
#include "store/journal_file.h"
#include "store/uidlist.h"

#include <assert.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FRAMES_MAX = 4 };
static char root[100];
static const char letter[] = "Subject: s\n\nb\n";

static void write_at(const char *name, const void *p, size_t len)
{
    char path[300];

    snprintf(path, sizeof path, "%s/%s", root, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert(fd >= 0 && file_write_all(fd, p, len) == 0);
    close(fd);
}

static void seal_head(uint8_t *at)
{
    struct journal_head h = {
        .magic = JOURNAL_MAGIC, .half_bytes = JOURNAL_HALF_BYTES, .number = 1, .boot = "another"
    };
    const size_t behind = offsetof(struct journal_head, half_bytes);

    h.crc = index_crc32c((const char *) &h + behind, sizeof h - behind);
    memcpy(at, &h, sizeof h);
}

/* A frame of the bytes given; answers where the next one begins. Lengths of entries are kept within what is there half
 * of the time, or no frame would hold a second entry. */
static size_t put_frame(uint8_t *file, size_t at, const uint8_t *data, size_t size, uint32_t turn)
{
    struct journal_frame f = { .magic = JOURNAL_FRAME_MAGIC, .generation = 1, .turn = turn };
    const size_t behind = offsetof(struct journal_frame, generation);
    struct journal_entry e;

    f.length = (uint32_t) (sizeof f + size);
    f.count = size ? data[0] % 8u : 0;
    memcpy(file + at + sizeof f, data, size);
    for (size_t i = sizeof f; data[size - 1] & 1 && i + sizeof e <= f.length;) {
        size_t left = f.length - i - sizeof e;
        memcpy(&e, file + at + i, sizeof e);
        e.name_len = (uint16_t) (e.name_len % 16 < left ? e.name_len % 16 : left);
        e.keys_len = (uint16_t) (e.keys_len % 8 < left - e.name_len ? e.keys_len % 8 : 0);
        e.bytes = e.bytes % 64 < left - e.name_len - e.keys_len ? e.bytes % 64 : 0;
        e.uid %= 8;
        memcpy(file + at + i, &e, sizeof e);
        i += sizeof e + e.name_len + e.keys_len + e.bytes;
    }
    memcpy(file + at, &f, sizeof f);
    f.crc = index_crc32c((const char *) file + at + behind, f.length - behind);
    memcpy(file + at, &f, sizeof f);
    return at + (f.length + JOURNAL_BLOCK - 1) / JOURNAL_BLOCK * JOURNAL_BLOCK;
}

static void on_line(void *ctx, uint32_t uid, struct slice keys, struct slice name)
{
    uint32_t *last = ctx;

    (void) keys;
    assert(uid > *last && (uid != 1 || slice_eq(name, "a")) && memchr(name.p, '/', name.len) == NULL);
    *last = uid;
}

static uint32_t look(struct store *st)
{
    struct uidlist u = { 0 };
    struct mailbox *box;
    char path[200];
    uint32_t last = 0, count;
    bool again;

    assert(mailbox_open(st, "INBOX", false, &box) == STORE_OK);
    count = mailbox_count(box);
    assert(count >= 1 && mailbox_mail(box, 1)->uid == 1);
    assert(uidlist_read(&u, box->fd, &again, on_line, &last) == 0 && u.next_uid > last);
    mailbox_close(&box);
    snprintf(path, sizeof path, "%s/cur/a:2,S", root);
    assert(access(path, F_OK) == 0); /* with the text of the journal, if that has one for it */
    return count;
}

static void clean(void)
{
    char cmd[200];

    snprintf(cmd, sizeof cmd, "rm -rf '%s'", root);
    assert(system(cmd) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char list[] = "3 V5 N2 G00000000000000000000000000000000\n1 :a\n";
    struct store_config c = { .root = root, .separator = '.', .create = true };
    size_t room = JOURNAL_DATA + size + (FRAMES_MAX + 1) * JOURNAL_BLOCK, at = JOURNAL_DATA;
    uint8_t *file;
    struct store *st;
    char path[200];

    if (size == 0)
        return 0;
    if (!*root) { /* syncfs costs nothing in memory */
        snprintf(root, sizeof root, "%s/store-journal-fuzz-%d", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp",
                 (int) getpid());
        atexit(clean);
    }
    clean();
    assert(store_open(&c, &st) == STORE_OK);
    file = mem_new(room);
    seal_head(file);
    for (uint32_t turn = 0; size && turn < FRAMES_MAX; turn++) {
        size_t len = turn + 1 < FRAMES_MAX && size > 200 ? 40 + data[1] % 160u : size;
        at = put_frame(file, at, data, len, turn);
        data += len;
        size -= len;
    }
    write_at("cur/a:2,S", letter, sizeof letter - 1);
    write_at("dovecot-uidlist", list, sizeof list - 1);
    write_at(JOURNAL_NAME, file, room);
    free(file);
    uint32_t count = look(st);
    snprintf(path, sizeof path, "%s/" JOURNAL_NAME, root);
    assert(access(path, F_OK) != 0);
    assert(look(st) == count);
    store_close(&st);
    return 0;
}
