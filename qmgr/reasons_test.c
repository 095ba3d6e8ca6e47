/* reasons_test - a recipient counts once; what is no log counts nobody */
#include "base/file.h"
#include "conf/param.h"
#include "qmgr_internal.h"

#include <assert.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct {
    const char *log;
    size_t count;
} rows[] = {
    { "", 0 },
    { "\n<a@b>: gone\nrecipient=a@b\noffset=100\nstatus=4.0.0\n\n", 1 },
    { "\n<a@b>: gone\nrecipient=a@b\noffset=100\n\n\n<a@b>: gone\nrecipient=a@b\noffset=100\n\n", 1 },
    { "\n<a@b>: x\noffset=100\n\n\n<c@b>: x\noffset=200\nreason=offset=300\n\n", 2 },
};

int main(void)
{
    char top[] = "/tmp/reasonsXXXXXX";

    conf_hash_queue_depth = 0;
    assert(mkdtemp(top) && chdir(top) == 0 && mkdir("defer", 0700) == 0);
    assert(defer_reasons("0123456789") == 0);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert(file_replace(AT_FDCWD, "defer/0123456789", slice_of(rows[i].log), 0600, false) == 0);
        assert(defer_reasons("0123456789") == rows[i].count);
    }
    assert(unlink("defer/0123456789") == 0 && rmdir("defer") == 0 && rmdir(top) == 0);
    return 0;
}
