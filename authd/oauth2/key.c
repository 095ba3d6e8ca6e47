/*
 * key - see key.h
 */
#include "key.h"
#include "base/file.h"

#include <errno.h>
#include <limits.h>

/* "/" and "%" as Dovecot escapes them; -1: a name that is no file's. */
static int add_part(struct str *path, const char *name)
{
    size_t from = path->len;

    str_addc(path, '/');
    for (const char *c = name; *c; c++)
        if (*c == '/')
            str_adds(path, "%2f");
        else if (*c == '%')
            str_adds(path, "%25");
        else
            str_addc(path, *c);
    return strcmp(name, "") == 0 || strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || path->len - from > NAME_MAX
               ? -1
               : 0;
}

enum lookup key_read(const char *directory, const char *party, const char *algorithm, const char *key_id,
                     struct str *out, struct err *err)
{
    enum lookup answer = LOOKUP_NONE;
    struct slice base = slice_of(directory);
    struct str path;

    while (base.len > 0 && base.p[base.len - 1] == '/')
        base.len--;
    str_init(&path, PATH_MAX - 1);
    str_addslice(&path, base);
    if (add_part(&path, party) == 0 && add_part(&path, algorithm) == 0 && add_part(&path, key_id) == 0 &&
        !str_over(&path)) {
        answer = LOOKUP_FOUND;
        if (file_read(path.p, out) != 0)
            answer = errno == ENOENT || errno == ENOTDIR || errno == EISDIR ? LOOKUP_NONE : LOOKUP_RETRY;
        if (answer == LOOKUP_RETRY)
            err_set(err, 0, NULL, "%s: %s", path.p, strerror(errno));
    }
    if (answer == LOOKUP_NONE)
        err_set(err, 0, NULL, "%s key '%.100s' not found", algorithm, key_id);
    str_free(&path);
    return answer;
}
