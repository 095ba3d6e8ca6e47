/*
 * sum - what names a directory has, as one number: to find out that nothing has changed without looking at each
 *
 * A directory that was changed a moment before it was read may have changed again under the same time, so it is looked
 * at once more. To read the names and add up a hash of each is a tenth of the work of a scan.
 *
 * Callers     lib/store/scan.c, lib/store/first.c
 * Invariants  a sum is made while the directory is read, and follows our own changes; one that is wrong costs a scan,
 *             two lists of names with one sum are as good as impossible, and would be the mail user's own doing
 * Errors      what cannot be read is not the same
 */
#include "store/internal.h"

#include <dirent.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

/* Of one name; those of a directory are added up, in any order. */
static uint64_t name_sum(const char *name)
{
    const uint64_t odd = 0x9e3779b97f4a7c15u;
    size_t len = strlen(name), step;
    uint64_t sum = len * odd, word;

    for (; len; len -= step, name += step) {
        step = len < sizeof word ? len : sizeof word;
        word = 0;
        memcpy(&word, name, step);
        sum = (sum ^ le64toh(word)) * odd;
        sum ^= sum >> 32;
    }
    return sum;
}

void sum_add(struct mailbox *box, bool in_new, const char *name)
{
    (in_new ? &box->new : &box->cur)->sum += name_sum(name);
}

void sum_changed(struct mailbox *box, bool in_new, const char *was, const char *is)
{
    struct dir_state *d = in_new ? &box->new : &box->cur;

    d->sum += (is ? name_sum(is) : 0) - (was ? name_sum(was) : 0);
}

bool sum_same(const struct mailbox *box, bool in_new)
{
    const struct dir_state *d = in_new ? &box->new : &box->cur;
    int fd = d->summed ? openat(box->fd, in_new ? "new" : "cur", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW)
                       : -1;
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    struct dirent *e;
    uint64_t sum = 0;

    if (dir == NULL) {
        if (fd >= 0)
            close(fd);
        return false;
    }
    while ((errno = 0, e = readdir(dir)) != NULL)
        if (e->d_name[0] != '.')
            sum += name_sum(e->d_name);
    int failed = errno;
    closedir(dir);
    return !failed && sum == d->sum;
}
