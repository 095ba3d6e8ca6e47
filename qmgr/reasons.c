/*
 * reasons - how many recipients the defer log of a message has a reason for
 *
 * Callers     finish.c: before the last recipients of an expired message are told of as failures
 * Invariants  a recipient counts once, however often an agent wrote about it
 * Errors      a log that is missing or cannot be read counts nobody: the mail is kept
 */
#include "qmgr_internal.h"
#include "base/file.h"
#include "base/log.h"
#include "base/map.h"
#include <errno.h>

enum { LOG_BYTES = 64 << 20, RECIPIENTS_MAX = 1 << 20 };

size_t defer_reasons(const char *id)
{
    struct map *offsets = map_new(RECIPIENTS_MAX, NULL);
    char path[QUEUE_PATH_BYTES];
    struct slice rest, line;
    struct str log;
    size_t count;

    str_init(&log, LOG_BYTES);
    queue_path(path, QUEUE_DEFER, id);
    if (file_read(path, &log) < 0 && errno != ENOENT)
        log_warn("%s: read %s: %s", id, path, strerror(errno));
    for (rest = str_slice(&log); rest.len > 0 && slice_split(&rest, '\n', &line);)
        if (slice_starts(line, "offset="))
            (void) map_set(offsets, line, offsets);
    count = map_count(offsets);
    map_free(&offsets);
    str_free(&log);
    return count;
}
