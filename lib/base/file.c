/* file - whole reads and writes; contract in file.h */
#include "base/file.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

int file_write_all(int fd, const void *p, size_t len)
{
    const char *at = p;

    while (len) {
        ssize_t n = write(fd, at, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            if (n == 0)
                errno = ENOSPC;
            return -1;
        }
        at += n;
        len -= (size_t) n;
    }
    return 0;
}

ssize_t file_read_all(int fd, void *p, size_t len)
{
    size_t got = 0;

    while (got < len) {
        ssize_t n = read(fd, (char *) p + got, len - got);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        if (n == 0)
            break;
        got += (size_t) n;
    }
    return (ssize_t) got;
}

int file_read_str(int fd, struct str *out)
{
    enum { PIECE_BYTES = 16384 };

    for (;;) {
        size_t room = out->max - out->len < PIECE_BYTES ? out->max - out->len : PIECE_BYTES;
        char beyond;
        str_reserve(out, room);
        ssize_t n = file_read_all(fd, room ? out->p + out->len : &beyond, room ? room : 1);
        if (n <= 0)
            return n < 0 ? -1 : 0;
        if (room == 0) {
            errno = EFBIG;
            return -1;
        }
        out->len += (size_t) n;
        out->p[out->len] = 0;
    }
}

int file_read(const char *path, struct str *out)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    int rc, keep;

    if (fd < 0)
        return -1;
    rc = file_read_str(fd, out);
    keep = errno;
    close(fd);
    errno = keep;
    return rc;
}

/* The name, too: fsync of a file does not make its directory durable. */
static int sync_directory_of(int dir_fd, const char *path)
{
    const char *slash = strrchr(path, '/');
    char *dir = slash ? mem_strndup(path, (size_t) (slash - path) + 1) : mem_strdup(".");
    int fd = openat(dir_fd, dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), ret = fd < 0 ? -1 : fsync(fd), keep = errno;

    free(dir);
    if (fd >= 0)
        close(fd);
    errno = keep;
    return ret;
}

int file_replace(int dir_fd, const char *path, struct slice bytes, mode_t mode, bool durable)
{
    char tmp[4096];
    int fd, keep;

    if (snprintf(tmp, sizeof tmp, "%s.tmp.%ld", path, (long) getpid()) >= (int) sizeof tmp) {
        errno = ENAMETOOLONG;
        return -1;
    }
    (void) unlinkat(dir_fd, tmp, 0);
    fd = openat(dir_fd, tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
    if (fd < 0)
        return -1;
    if (file_write_all(fd, bytes.p, bytes.len) < 0 || (durable && fdatasync(fd) < 0)) {
        keep = errno;
        close(fd);
    } else if (close(fd) < 0 || renameat(dir_fd, tmp, dir_fd, path) < 0) {
        keep = errno;
    } else {
        return durable ? sync_directory_of(dir_fd, path) : 0;
    }
    (void) unlinkat(dir_fd, tmp, 0);
    errno = keep;
    return -1;
}

bool file_one_journal(int fd)
{
    struct statfs fs;

    return fstatfs(fd, &fs) == 0 && (fs.f_type == EXT4_SUPER_MAGIC || fs.f_type == XFS_SUPER_MAGIC);
}

int file_look(int dir_fd, const char *name, struct file_look *out)
{
    const int flags = AT_SYMLINK_NOFOLLOW | (*name ? 0 : AT_EMPTY_PATH);
    struct statx st;

    if (statx(dir_fd, name, flags, STATX_INO | STATX_SIZE | STATX_NLINK, &st) < 0)
        return -1;
    *out = (struct file_look){
        .device = makedev(st.stx_dev_major, st.stx_dev_minor),
        .inode = st.stx_ino,
        .size = st.stx_size,
        .links = st.stx_nlink,
    };
    return 0;
}

int file_set_nonblock(int fd, bool on)
{
    int fl = fcntl(fd, F_GETFL), want = on ? fl | O_NONBLOCK : fl & ~O_NONBLOCK;

    return fl < 0 ? -1 : fl == want ? 0 : fcntl(fd, F_SETFL, want);
}

int file_set_cloexec(int fd, bool on)
{
    int fl = fcntl(fd, F_GETFD);

    return fl < 0 ? -1 : fcntl(fd, F_SETFD, on ? fl | FD_CLOEXEC : fl & ~FD_CLOEXEC);
}
