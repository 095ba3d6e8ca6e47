/* authd_ahead - see authd_ahead.h */
#include "client/authd_ahead.h"

#include "base/log.h"
#include "base/map.h"
#include "base/time.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { READ_BYTES = 4096, KEY_BYTES = 128 };
struct claim {
    int64_t expires_ms;
    size_t len;
    char line[];
};
struct authd_ahead {
    struct stream *stream; /* NULL: authd tells nothing ahead */
    struct str in;         /* a line that is not whole yet */
    struct map *claims;
};

struct authd_ahead *authd_ahead_new(void)
{
    struct authd_ahead *a = mem_new(sizeof *a);

    a->claims = map_new(AUTHD_AHEAD_MAX, free);
    str_init(&a->in, DOVECOT_AUTH_LINE_BYTES + READ_BYTES);
    return a;
}

static void close_stream(struct authd_ahead *a)
{
    stream_free(&a->stream);
    str_reset(&a->in);
}

void authd_ahead_free(struct authd_ahead **ahead)
{
    struct authd_ahead *a = *ahead;

    if (a == NULL)
        return;
    close_stream(a);
    str_free(&a->in);
    map_free(&a->claims);
    free(a);
    *ahead = NULL;
}

bool authd_ahead_open(const struct authd_ahead *a) { return a->stream != NULL; }

static void drop_expired(struct authd_ahead *a)
{
    int64_t now = time_mono_ms();
    struct slice key;
    void *value;

    for (size_t at = 0; map_next(a->claims, &at, &key, &value);)
        if (((struct claim *) value)->expires_ms <= now)
            map_del(a->claims, key);
}

static int on_line(struct authd_ahead *a, struct slice text)
{
    struct dovecot_auth_line line;
    char key[KEY_BYTES], *copy;
    uint64_t expires;
    int len = -1;

    copy = mem_strndup(text.p, text.len); /* splitting changes it */
    if (dovecot_auth_split(copy, text.len, &line) == 0 && slice_eq(line.word[0], DOVECOT_AUTH_CLAIM) &&
        line.count > AUTHD_AHEAD_USER && slice_u64(line.word[1], INT64_MAX, &expires) == 0)
        len = snprintf(key, sizeof key, "%.*s\t%.*s\t%.*s", (int) line.word[2].len, line.word[2].p,
                       (int) line.word[3].len, line.word[3].p, (int) line.word[4].len, line.word[4].p);
    free(copy);
    if (len < 0 || (size_t) len >= sizeof key)
        return -1;
    struct claim *c = mem_new(sizeof *c + text.len);
    c->expires_ms = (int64_t) expires;
    c->len = text.len;
    memcpy(c->line, text.p, text.len);
    if (map_count(a->claims) == AUTHD_AHEAD_MAX)
        drop_expired(a);
    if (!map_set(a->claims, slice_of(key), c)) {
        log_warn("more than %d logins wait to be claimed: one is lost", AUTHD_AHEAD_MAX);
        free(c);
    }
    return 0;
}

static int on_bytes(struct authd_ahead *a, const char *p, size_t len)
{
    ptrdiff_t lf;

    str_add(&a->in, p, len);
    while ((lf = slice_find(str_slice(&a->in), '\n')) >= 0) {
        if (on_line(a, slice_make(a->in.p, (size_t) lf)) != 0)
            return -1;
        str_drop(&a->in, (size_t) lf + 1);
    }
    return a->in.len > DOVECOT_AUTH_LINE_BYTES ? -1 : 0;
}

void authd_ahead_begin(struct authd_ahead *a, struct stream *s)
{
    const char *p;
    ssize_t n;

    close_stream(a);
    a->stream = s;
    if (stream_buffered(s) > 0 && (n = stream_peek(s, &p)) > 0) {
        int rc = on_bytes(a, p, (size_t) n);
        stream_consume(s, (size_t) n);
        if (rc != 0)
            close_stream(a);
    }
}

/* All that has been told until now. */
static void hear(struct authd_ahead *a)
{
    char buf[READ_BYTES];
    ssize_t n;

    do {
        n = recv(stream_fd(a->stream), buf, sizeof buf, MSG_DONTWAIT);
        if (n > 0 && on_bytes(a, buf, (size_t) n) != 0) {
            log_warn("authd told of a login in words that cannot be read");
            n = 0;
        }
    } while (n == (ssize_t) sizeof buf || (n < 0 && errno == EINTR));
    if (n == 0 || (n < 0 && errno != EAGAIN))
        close_stream(a);
}

bool authd_ahead_take(struct authd_ahead *a, uint32_t client_pid, uint32_t request, const char *cookie,
                      struct str *text, struct dovecot_auth_line *out)
{
    char key[KEY_BYTES];

    if (a->stream)
        hear(a);
    snprintf(key, sizeof key, "%" PRIu32 "\t%" PRIu32 "\t%s", client_pid, request, cookie);
    struct claim *c = map_take(a->claims, slice_of(key));
    if (c == NULL)
        return false;
    bool good = c->expires_ms > time_mono_ms();
    str_reset(text);
    str_add(text, c->line, c->len);
    free(c);
    return good && dovecot_auth_split(text->p, text->len, out) == 0;
}
