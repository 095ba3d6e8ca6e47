/*
 * watch - files that were read before the jail: have they been exchanged since?
 *
 * What cannot be named any more can still be asked for its state: each name on the way of symbolic links is held open
 * without reading (O_PATH), so that a link that is replaced, as certificate tools do, shows as well as a file that is
 * rewritten. Of a file that is missing its directory is held.
 *
 * Callers     serve.c asks; daemons name files before their jail
 */
#include "base/log.h"
#include "base/mem.h"
#include "base/time.h"
#include "io/tls.h"
#include "service/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILES_MAX = 64, LINKS_MAX = 8, SETTLE_MS = 3000 };

static struct watched {
    int fd;
    struct stat st;
    const char *path; /* as it was named */
} watched[FILES_MAX];
static size_t count;
static int64_t seen_ms; /* when the change was seen first; 0: none */

static bool hold(const char *path, const char *named)
{
    int fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);

    if (fd < 0)
        return false;
    if (count == FILES_MAX || fstat(fd, &watched[count].st) < 0) {
        close(fd);
        return false;
    }
    watched[count].fd = fd;
    watched[count++].path = named;
    return true;
}

static void to_parent(struct str *path)
{
    ptrdiff_t slash = slice_rfind(str_slice(path), '/');

    if (slash > 0)
        str_cut(path, (size_t) slash);
    else
        str_set(path, slash == 0 ? "/" : ".");
}

static void watch(const char *path)
{
    struct str now;
    char target[PATH_MAX];
    ssize_t len = 0;

    if (path == NULL || *path == '\0')
        return;
    const char *named = mem_strdup(path); /* lives as long as the process */
    str_init(&now, PATH_MAX);
    str_set(&now, path);
    for (int links = 0; links < LINKS_MAX && len >= 0; links++) {
        if (!hold(now.p, named)) {
            to_parent(&now);
            hold(now.p, named);
            break;
        }
        len = readlink(now.p, target, sizeof target);
        if (len < 0)
            break;
        if (target[0] == '/') {
            str_reset(&now);
        } else {
            to_parent(&now);
            str_addc(&now, '/');
        }
        str_add(&now, target, (size_t) len);
    }
    str_free(&now);
}

static void watch_list(const char *paths)
{
    struct slice rest = slice_of(paths), word;

    while (slice_word(&rest, ", \t\r\n", &word)) {
        char *path = mem_strndup(word.p, word.len);

        watch(path);
        free(path);
    }
}

void service_watch_tls(const struct tls_config *c)
{
    if (c->chain_files)
        watch_list(c->chain_files);
    watch(c->cert_file);
    watch(c->key_file);
    watch(c->eccert_file);
    watch(c->eckey_file);
    watch(c->ca_file);
}

static bool differs(const struct watched *w)
{
    struct stat st;

    return fstat(w->fd, &st) == 0 &&
           (st.st_nlink == 0 || st.st_size != w->st.st_size || st.st_mtim.tv_sec != w->st.st_mtim.tv_sec ||
            st.st_mtim.tv_nsec != w->st.st_mtim.tv_nsec);
}

bool watch_any(void) { return count > 0; }

/* A key and its certificate are two files: both must have had the time to come. */
bool watch_changed(void)
{
    static bool said;

    for (size_t i = 0; i < count; i++) {
        if (!differs(&watched[i]))
            continue;
        if (seen_ms == 0)
            seen_ms = time_mono_ms();
        if (time_mono_ms() - seen_ms < SETTLE_MS)
            return false;
        if (!said)
            log_info("%s has changed -- restarting", watched[i].path);
        said = true;
        return true;
    }
    return false;
}
