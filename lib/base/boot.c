/*
 * boot - see boot.h
 *
 * Callers     see boot.h
 * Errors      ""
 */
#include "base/boot.h"
#include "base/file.h"

#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

const char *boot_id(void)
{
    static char id[BOOT_ID_BYTES];
    static bool known;
    int fd;

    if (known)
        return id;
    known = true;
    if ((fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC)) < 0)
        return id;
    if (file_read_all(fd, id, sizeof id - 1) <= 0)
        id[0] = '\0';
    close(fd);
    id[strcspn(id, "\n")] = '\0';
    return id;
}
