/*
 * file - whole reads and writes on descriptors that never block (regular files)
 *
 * Errors      -1 with errno; a short write is ENOSPC
 */
#ifndef BASE_FILE_H
#define BASE_FILE_H
#include "base/str.h"
#include <stdint.h>
#include <sys/types.h>

int file_write_all(int fd, const void *p, size_t len);
ssize_t file_read_all(int fd, void *p, size_t len); /* bytes read; less than len at the end of the file */
int file_read_str(int fd, struct str *out);         /* appends what is left of the file; EFBIG past out->max */
int file_read(const char *path, struct str *out);   /* appends the whole file; EFBIG past out->max */
/* Writes path.tmp.PID beside it, renames it over path; durable: both are on the disk then. */
int file_replace(int dir_fd, const char *path, struct slice bytes, mode_t mode, bool durable);
/* On ext4 or xfs: local, one journal for all of it, and known is what a power cut leaves of files that were not synced.
 * false, too, where nobody can say. */
bool file_one_journal(int fd);
/* Which file it is, and how large: what stat() tells without times. Who asks for those makes the kernel (Linux 6.13) stamp
 * the file's next change more finely than its clock ticks, and with it any other's of that tick: each of them is then one
 * more inode to write. name "": the file of dir_fd; no link is followed. */
struct file_look {
    dev_t device;
    ino_t inode;
    uint64_t size;
    uint32_t links;
};
int file_look(int dir_fd, const char *name, struct file_look *);
int file_set_nonblock(int fd, bool on);
int file_set_cloexec(int fd, bool on);
#endif
