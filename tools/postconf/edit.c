/* edit - a configuration file with some logical lines replaced */
#include "base/file.h"
#include "base/log.h"
#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CONFIG_BYTES = 64 << 20, PATH_BYTES = 4096 };

static bool inert(struct slice line) /* blank or comment: always stays */
{
    line = slice_trim(line);
    return line.len == 0 || line.p[0] == '#';
}

/* One logical line, as it is read. */
struct entry {
    struct str text;     /* without comments */
    struct str comments; /* inside it or behind */
    struct str raw;      /* all of it */
};

/* What stays is written as it was; behind what is replaced come the comments that were inside. */
static void flush(struct entry *e, edit_fn fn, void *ctx, struct str *out)
{
    if (e->text.len && fn(ctx, str_slice(&e->text), out))
        str_addslice(out, str_slice(&e->comments));
    else
        str_addslice(out, str_slice(&e->raw));
    str_reset(&e->text);
    str_reset(&e->comments);
    str_reset(&e->raw);
}

static void rewrite(struct slice text, edit_fn fn, void *ctx, struct str *out)
{
    struct entry e;

    str_init(&e.text, STR_UNLIMITED);
    str_init(&e.comments, STR_UNLIMITED);
    str_init(&e.raw, STR_UNLIMITED);
    while (text.len) {
        ptrdiff_t lf = slice_find(text, '\n');
        struct slice line = slice_sub(text, 0, lf < 0 ? text.len : (size_t) lf);

        text = slice_sub(text, line.len + 1, text.len);
        if (!inert(line) && !ascii_isspace(line.p[0]))
            flush(&e, fn, ctx, out);
        struct str *into = inert(line) ? &e.comments : &e.text;
        str_printf(into, "%.*s\n", (int) line.len, line.p);
        str_printf(&e.raw, "%.*s\n", (int) line.len, line.p);
    }
    flush(&e, fn, ctx, out);
    str_free(&e.text);
    str_free(&e.comments);
    str_free(&e.raw);
}

static int replace(const char *path, const struct str *text)
{
    struct stat st;
    char real[PATH_BYTES], tmp[PATH_BYTES + 32];
    int fd;

    if (stat(path, &st) < 0 || realpath(path, real) == NULL) {
        log_error("open %s for changes: %s", path, strerror(errno));
        return -1;
    }
    snprintf(tmp, sizeof tmp, "%s.tmp.%ld", real, (long) getpid());
    fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd >= 0 && (geteuid() != 0 || fchown(fd, st.st_uid, st.st_gid) == 0) && fchmod(fd, st.st_mode & 07777) == 0 &&
        file_write_all(fd, text->p, text->len) == 0 && fsync(fd) == 0 && rename(tmp, real) == 0) {
        close(fd);
        return 0;
    }
    log_error("write %s: %s", tmp, strerror(errno));
    if (fd >= 0) {
        close(fd);
        (void) unlink(tmp);
    }
    return -1;
}

int edit_file(const char *path, edit_fn fn, void (*finish)(void *, struct str *), void *ctx)
{
    struct str old, fresh;
    int rc = -1;

    str_init(&old, CONFIG_BYTES);
    str_init(&fresh, STR_UNLIMITED);
    if (file_read(path, &old) < 0) {
        log_error("open %s for reading: %s", path, strerror(errno));
    } else {
        rewrite(str_slice(&old), fn, ctx, &fresh);
        if (fresh.len && fresh.p[fresh.len - 1] != '\n')
            str_addc(&fresh, '\n');
        if (finish)
            finish(ctx, &fresh);
        rc = replace(path, &fresh);
    }
    str_free(&old);
    str_free(&fresh);
    return rc;
}
