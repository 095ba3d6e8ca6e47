/*
 * disk - what the file system alone allows: how many messages a second, when a message is nothing but its files
 *
 *     disk DIRECTORY THREADS SECONDS BYTES queue|mail|both|journal
 *
 * A message is a queue file (created, written, fsynced, removed in the end), a mail file (created, written, fsynced,
 * renamed into place) or both, or a mail file that is not synced beside a write into blocks that a file has already,
 * which is: what is left of a delivery when parsing, look-ups, protocols and processes cost nothing.
 * One line of JSON on standard output.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { THREADS_MAX = 64, BLOCK = 4096, JOURNAL_BYTES = 8 << 20 };

static const char *directory;
static char *text;
static size_t bytes;
static double seconds;
static bool queue_files, mail_files, journals;
static atomic_long messages;

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double) t.tv_sec + (double) t.tv_nsec / 1e9;
}

static void die(const char *what)
{
    fprintf(stderr, "disk: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void keep(int dir, const char *name)
{
    int fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

    if (fd < 0 || write(fd, text, bytes) != (ssize_t) bytes || (!journals && fsync(fd) != 0) || close(fd) != 0)
        die(name);
}

static int make_journal(int dir, long thread)
{
    static const char zeros[BLOCK];
    char name[64];
    int fd;

    snprintf(name, sizeof name, "tmp/journal.%ld", thread);
    if ((fd = openat(dir, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600)) < 0)
        die(name);
    for (off_t at = 0; at < JOURNAL_BYTES; at += BLOCK)
        if (pwrite(fd, zeros, BLOCK, at) != BLOCK)
            die(name);
    if (fsync(fd) != 0)
        die(name);
    return fd;
}

/* *at: the block that comes next. */
static void write_journal(int fd, off_t *at)
{
    if (*at + (off_t) bytes > JOURNAL_BYTES)
        *at = 0;
    if (pwrite(fd, text, bytes, *at) != (ssize_t) bytes || fdatasync(fd) != 0)
        die("journal");
    *at += ((off_t) bytes + BLOCK - 1) / BLOCK * BLOCK;
}

static void *deliver(void *arg)
{
    long thread = (long) arg;
    int dir = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    double end = now() + seconds;

    if (dir < 0)
        die(directory);
    int journal = journals ? make_journal(dir, thread) : -1;
    off_t at = 0;
    for (long n = 0; now() < end; n++) {
        char queue[64], tmp[64], mail[64];

        snprintf(queue, sizeof queue, "queue/%ld.%ld", thread, n);
        snprintf(tmp, sizeof tmp, "tmp/%ld.%ld", thread, n);
        snprintf(mail, sizeof mail, "new/%ld.%ld", thread, n);
        if (queue_files)
            keep(dir, queue);
        if (mail_files) {
            keep(dir, tmp);
            if (renameat(dir, tmp, dir, mail) != 0)
                die(mail);
        }
        if (journals)
            write_journal(journal, &at);
        if (queue_files && unlinkat(dir, queue, 0) != 0)
            die(queue);
        atomic_fetch_add(&messages, 1);
    }
    close(dir);
    return NULL;
}

int main(int argc, char **argv)
{
    static const char *const parts[] = { "queue", "tmp", "new" };
    pthread_t thread[THREADS_MAX];
    char path[4096];

    long threads = argc == 6 ? strtol(argv[2], NULL, 10) : 0;
    if (argc == 6) {
        journals = strcmp(argv[5], "journal") == 0;
        queue_files = strcmp(argv[5], "mail") != 0 && !journals;
        mail_files = strcmp(argv[5], "queue") != 0;
    }
    if (threads < 1 || threads > THREADS_MAX || (seconds = atof(argv[3])) <= 0 ||
        (bytes = strtoul(argv[4], NULL, 10)) == 0 || bytes > JOURNAL_BYTES) {
        fprintf(stderr, "usage: disk DIRECTORY THREADS (1 to %d) SECONDS BYTES queue|mail|both|journal\n",
                THREADS_MAX);
        return 2;
    }
    directory = argv[1];
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        snprintf(path, sizeof path, "%s/%s", directory, parts[i]);
        if (mkdir(path, 0700) != 0)
            die(path);
    }
    if ((text = malloc(bytes)) == NULL)
        die("malloc");
    memset(text, 'x', bytes);
    double began = now();
    for (long i = 0; i < threads; i++)
        if ((errno = pthread_create(&thread[i], NULL, deliver, (void *) i)) != 0)
            die("pthread_create");
    for (long i = 0; i < threads; i++)
        pthread_join(thread[i], NULL);
    printf("{\"messages\": %ld, \"per_second\": %.1f}\n", (long) messages, (double) messages / (now() - began));
    return 0;
}
