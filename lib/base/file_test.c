/* file_test - whole reads and writes; a file is replaced whole or not at all, and nothing is left beside it */
#include "base/file.h"
#include "base/mem.h"
#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

static char dir[] = "/tmp/file-test-XXXXXX";
static int dir_fd;

static size_t entries(void)
{
    DIR *d = opendir(dir);
    size_t n = 0;

    assert(d);
    while (readdir(d))
        n++;
    closedir(d);
    return n - 2;
}

static void write_file(const char *name, const char *text, size_t len)
{
    int fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    assert(fd >= 0 && file_write_all(fd, text, len) == 0 && close(fd) == 0);
}

static char *path_of(const char *name) { return mem_printf("%s/%s", dir, name); }

/* Sizes around the piece that is read at once, and limits around the size. */
static void test_read(void)
{
    static const struct {
        size_t size, max;
        int rc;
    } rows[] = {
        { 0, 1, 0 },         { 1, 1, 0 },         { 2, 1, -1 },         { 10, 10, 0 },       { 10, 9, -1 },
        { 16384, 16384, 0 }, { 16385, 16385, 0 }, { 16385, 16384, -1 }, { 50000, 60000, 0 }, { 50000, 49999, -1 },
    };
    char *bytes = mem_new(60000), *path = path_of("r");

    for (size_t i = 0; i < 60000; i++)
        bytes[i] = (char) (i * 7);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct str s;

        write_file("r", bytes, rows[i].size);
        str_init(&s, rows[i].max);
        errno = 0;
        assert(file_read(path, &s) == rows[i].rc && (rows[i].rc == 0 || errno == EFBIG));
        if (rows[i].rc == 0)
            assert(s.len == rows[i].size && (s.len == 0 || memcmp(s.p, bytes, s.len) == 0) &&
                   (s.len == 0 || s.p[s.len] == '\0'));
        str_free(&s);
    }
    struct str s;
    str_init(&s, 100);
    str_adds(&s, "before ");
    write_file("r", "after", 5);
    assert(file_read(path, &s) == 0 && strcmp(s.p, "before after") == 0);
    assert(file_read("/nonexistent/x", &s) == -1 && errno == ENOENT);
    assert(file_read(dir, &s) == -1 && errno == EISDIR && strcmp(s.p, "before after") == 0);
    str_free(&s);
    unlink(path);
    free(path);
    free(bytes);
}

static void on_alarm(int signo) { (void) signo; }

/* A pipe takes and gives a little at a time, and signals come in between: all of it all the same. */
static void test_pieces(void)
{
    enum { BYTES = 300000 };
    struct sigaction sa = { .sa_handler = on_alarm }; /* no SA_RESTART: calls end with EINTR */
    struct itimerval often = { { 0, 500 }, { 0, 500 } }, never = { { 0, 0 }, { 0, 0 } };
    char *bytes = mem_new(BYTES), *got = mem_new(BYTES + 10);
    int fds[2], status;
    pid_t pid;

    for (size_t i = 0; i < BYTES; i++)
        bytes[i] = (char) (i * 13);
    sigaction(SIGALRM, &sa, NULL);
    assert(pipe(fds) == 0 && (pid = fork()) >= 0);
    setitimer(ITIMER_REAL, &often, NULL); /* in both */
    if (pid == 0) {
        close(fds[0]);
        for (size_t at = 0; at < BYTES; at += 100000) {
            if (file_write_all(fds[1], bytes + at, 100000) < 0)
                _exit(1);
            usleep(2000);
        }
        _exit(0);
    }
    close(fds[1]);
    for (int i = 0; i < 20; i++) /* the pipe is full, and the writer waits */
        usleep(1000);
    assert(file_read_all(fds[0], got, 10) == 10);                 /* no more than asked for */
    assert(file_read_all(fds[0], got + 10, BYTES) == BYTES - 10); /* the end comes first */
    setitimer(ITIMER_REAL, &never, NULL);
    assert(memcmp(got, bytes, BYTES) == 0 && waitpid(pid, &status, 0) == pid && status == 0);
    close(fds[0]);
    assert(file_read_all(-1, got, 1) == -1 && errno == EBADF && file_write_all(-1, got, 1) == -1 && errno == EBADF);
    assert(file_write_all(-1, got, 0) == 0);
    free(bytes);
    free(got);
}

static void expect(const char *name, const char *text)
{
    char *path = path_of(name);
    struct str s;

    str_init(&s, 1000);
    assert(file_read(path, &s) == 0 && slice_eq(str_slice(&s), text));
    str_free(&s);
    free(path);
}

static void test_replace(void)
{
    struct rlimit small = { 3, RLIM_INFINITY }, all;
    char *tmp = mem_printf("x.tmp.%ld", (long) getpid()), *longest = mem_new(5000);
    struct stat st;

    assert(file_replace(dir_fd, "x", SLICE("one"), 0640, false) == 0);
    expect("x", "one");
    assert(fstatat(dir_fd, "x", &st, 0) == 0 && (st.st_mode & 0777) == 0640);
    write_file(tmp, "left by a process of this number", 32);
    assert(file_replace(dir_fd, "x", SLICE("two"), 0600, true) == 0 && entries() == 1);
    expect("x", "two");
    /* A disk that is full: the old file stays, and nothing else. */
    signal(SIGXFSZ, SIG_IGN);
    assert(getrlimit(RLIMIT_FSIZE, &all) == 0 && setrlimit(RLIMIT_FSIZE, &small) == 0);
    assert(file_replace(dir_fd, "x", SLICE("a longer text"), 0600, false) == -1);
    assert(setrlimit(RLIMIT_FSIZE, &all) == 0 && entries() == 1);
    expect("x", "two");
    /* Nor is anything written through a link that somebody has put in the way. */
    assert(symlinkat("/dev/null", dir_fd, tmp) == 0);
    assert(file_replace(dir_fd, "x", SLICE("three"), 0600, false) == 0 && entries() == 1);
    expect("x", "three");
    assert(mkdirat(dir_fd, "d", 0700) == 0);
    assert(file_replace(dir_fd, "d", SLICE("x"), 0600, false) == -1 && errno == EISDIR && entries() == 2);
    assert(file_replace(dir_fd, "no/x", SLICE("x"), 0600, false) == -1 && errno == ENOENT);
    memset(longest, 'l', 4999);
    assert(file_replace(dir_fd, longest, SLICE("x"), 0600, false) == -1 && errno == ENAMETOOLONG);
    unlinkat(dir_fd, "d", AT_REMOVEDIR);
    unlinkat(dir_fd, "x", 0);
    free(longest);
    free(tmp);
}

static void test_flags(void)
{
    int fds[2];

    assert(pipe(fds) == 0);
    for (int on = 1; on >= 0; on--) {
        assert(file_set_nonblock(fds[0], on) == 0 && ((fcntl(fds[0], F_GETFL) & O_NONBLOCK) != 0) == on);
        assert(file_set_cloexec(fds[0], on) == 0 && ((fcntl(fds[0], F_GETFD) & FD_CLOEXEC) != 0) == on);
    }
    close(fds[0]);
    close(fds[1]);
    assert(file_set_nonblock(fds[0], true) == -1 && errno == EBADF);
    assert(file_set_cloexec(fds[0], true) == -1 && errno == EBADF);
}

int main(void)
{
    assert(mkdtemp(dir) && (dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) >= 0);
    test_read();
    test_pieces();
    test_replace();
    test_flags();
    return rmdir(dir) != 0;
}
