/*
 * restore_test - a journal of another boot whose messages cannot be written again now: later, and nobody is told that the
 * mailbox is none
 */
#include "store/test_root.h"
#include "store/index.h"
#include "store/journal_file.h"

#include <dirent.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

enum { MESSAGES = 3, TEXT_BYTES = 500 };

/* The C library's. */
static bool disk_is_full;
ssize_t write(int fd, const void *p, size_t len)
{
    struct stat st;

    if (disk_is_full && fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) {
        errno = ENOSPC;
        return -1;
    }
    return syscall(SYS_write, fd, p, len);
}

static size_t put_entry(char *at, uint32_t uid)
{
    struct journal_entry e = { .bytes = TEXT_BYTES, .seconds = 1600000000, .uid = uid, .in_new = 1 };
    char name[100];
    int len = snprintf(name, sizeof name, "160000000%u.M1P1.host,S=%d", uid, TEXT_BYTES);

    assert(len > 0 && (size_t) len < sizeof name);
    e.name_len = (uint16_t) len;
    memcpy(at, &e, sizeof e);
    memcpy(at + sizeof e, name, (size_t) len);
    memset(at + sizeof e + len, 'x', TEXT_BYTES);
    return sizeof e + (size_t) len + TEXT_BYTES;
}

static void put_journal(void)
{
    struct journal_head h = {
        .magic = JOURNAL_MAGIC, .half_bytes = JOURNAL_HALF_BYTES, .number = 1, .boot = "another"
    };
    struct journal_frame f = { .magic = JOURNAL_FRAME_MAGIC, .generation = 1, .count = MESSAGES };
    const size_t in_head = offsetof(struct journal_head, half_bytes),
                 in_frame = offsetof(struct journal_frame, generation);
    static char file[JOURNAL_DATA + JOURNAL_BLOCK];
    char *frame = file + JOURNAL_DATA, path[300];
    size_t len = sizeof f;

    h.crc = index_crc32c((const char *) &h + in_head, sizeof h - in_head);
    memcpy(file, &h, sizeof h);
    for (uint32_t uid = 1; uid <= MESSAGES; uid++)
        len += put_entry(frame + len, uid);
    f.length = (uint32_t) len;
    memcpy(frame, &f, sizeof f);
    f.crc = index_crc32c(frame + in_frame, len - in_frame);
    memcpy(frame, &f, sizeof f);
    snprintf(path, sizeof path, "%s/%s", root, JOURNAL_NAME);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert(fd >= 0 && file_write_all(fd, file, sizeof file) == 0 && close(fd) == 0);
}

static void expect_restored(struct store *st)
{
    struct mailbox *box = root_box(st, "INBOX");

    assert(mailbox_count(box) == MESSAGES);
    for (uint32_t seq = 1; seq <= MESSAGES; seq++)
        assert(mailbox_mail(box, seq)->uid == seq);
    mailbox_close(&box);
    root_shell("test ! -e " JOURNAL_NAME);
}

static struct store *lost(void)
{
    struct store *st = root_fresh();
    struct mailbox *box = root_box(st, "INBOX"); /* has a uidlist */

    mailbox_close(&box);
    put_journal();
    return st;
}

/* The reason is the one there is, wherever on the way it stops. */
static void test_full(void)
{
    struct store *st = lost();
    struct mailbox *box;
    struct mailbox_save *s;

    disk_is_full = true;
    enum store_why opened = mailbox_open(st, "INBOX", false, &box), saved = mailbox_save_begin(st, "INBOX", NULL, &s);
    disk_is_full = false;
    assert(opened == STORE_FULL && saved == STORE_FULL);
    assert(strstr(store_error(st), strerror(ENOSPC)));
    expect_restored(st);
    store_close(&st);

    st = lost();
    root_shell("rm -r tmp && touch tmp"); /* a new file in it cannot be made */
    assert(mailbox_open(st, "INBOX", false, &box) == STORE_FAILED);
    root_shell("rm tmp");
    expect_restored(st);
    store_close(&st);
}

static rlim_t open_now(void)
{
    DIR *dir = opendir("/proc/self/fd");
    rlim_t n = 0;

    assert(dir);
    while (readdir(dir))
        n++;
    closedir(dir);
    return n;
}

/* So many descriptors, then one more, until they are enough. */
static void test_few_descriptors(void)
{
    struct store *st = lost();
    struct rlimit was, few;
    struct mailbox *box;
    enum store_why why = STORE_FAILED;

    assert(getrlimit(RLIMIT_NOFILE, &was) == 0);
    few = was;
    for (few.rlim_cur = 3; why; few.rlim_cur++) {
        assert(few.rlim_cur < open_now() + 40 && setrlimit(RLIMIT_NOFILE, &few) == 0);
        why = mailbox_open(st, "INBOX", false, &box);
        assert(setrlimit(RLIMIT_NOFILE, &was) == 0);
        assert(why == STORE_OK || why == STORE_FAILED);
    }
    mailbox_close(&box);
    expect_restored(st);
    store_close(&st);
}

int main(void)
{
    root_begin("restore-test");
    test_full();
    test_few_descriptors();
    return 0;
}
