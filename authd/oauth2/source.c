/*
 * source - see source.h
 */
#include "source.h"
#include "base/file.h"
#include "base/log.h"
#include "base/map.h"
#include "base/time.h"
#include "table/named.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LOOK_MS = 1000 };

/* Held open, so that its exchange is seen where no name leads any more. */
struct opened {
    struct oauth2_source source;
    int fd;
    struct stat st;
};
static struct map *sources; /* path -> struct opened; they live as long as the process */

static int read_file(struct opened *o, struct str *text, struct err *err)
{
    o->fd = open(o->source.file, O_RDONLY | O_CLOEXEC);
    if (o->fd < 0 || fstat(o->fd, &o->st) != 0 || file_read_str(o->fd, text) != 0)
        return err_set(err, 0, NULL, "%s: %s", o->source.file, strerror(errno));
    return 0;
}

static void open_one(struct opened *o)
{
    struct oauth2_source *s = &o->source;
    struct str text;

    str_init(&text, OAUTH2_FILE_BYTES);
    if (read_file(o, &text, &s->broken) == 0 &&
        oauth2_config_parse(s->file, str_slice(&text), &s->config, &s->broken) == 0)
        s->http = http_open(&s->config, &s->broken);
    if (s->broken.text[0])
        log_error("%s", s->broken.text);
    mem_wipe(text.p, text.len);
    str_free(&text);
}

static void named(void *unused, enum table_named_kind kind, struct slice name)
{
    struct opened *o;

    (void) unused;
    if (kind != TABLE_NAMED_OAUTH2 || map_get(sources, name))
        return;
    o = mem_new(sizeof *o);
    o->source.file = mem_strndup(name.p, name.len);
    open_one(o);
    map_set(sources, name, o);
}

bool source_open_all(void (*keys)(const char *directory))
{
    bool servers = false;
    struct slice path;
    void *value;

    sources = map_new(SIZE_MAX, NULL);
    table_named(named, NULL);
    for (size_t at = 0; map_next(sources, &at, &path, &value);) {
        const struct oauth2_source *s = &((const struct opened *) value)->source;
        if (s->http == NULL)
            continue;
        if (s->config.keys[0] && access(s->config.keys, F_OK) != 0)
            log_error("%s: local_validation_key_dict: %s: %s: no key can be read until the next start", s->file,
                      s->config.keys, strerror(errno));
        if (s->config.keys[0])
            keys(s->config.keys);
        servers |= s->config.tokeninfo.text[0] || s->config.introspection.text[0] || s->config.grant.text[0];
    }
    return servers;
}

const struct oauth2_source *source_find(const char *file)
{
    const struct opened *o = map_get(sources, slice_of(file));

    return o ? &o->source : NULL;
}

bool source_stale(const char **file)
{
    static int64_t looked;
    int64_t now = time_mono_ms();
    struct slice path;
    void *value;

    if (now - looked < LOOK_MS)
        return false;
    looked = now;
    for (size_t at = 0; map_next(sources, &at, &path, &value);) {
        const struct opened *o = value;
        struct stat st;
        if (o->fd >= 0 &&
            (fstat(o->fd, &st) != 0 || st.st_nlink == 0 || st.st_size != o->st.st_size ||
             st.st_mtim.tv_sec != o->st.st_mtim.tv_sec || st.st_mtim.tv_nsec != o->st.st_mtim.tv_nsec)) {
            *file = o->source.file;
            return true;
        }
    }
    return false;
}
