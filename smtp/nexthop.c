/*
 * nexthop - destinations as main.cf and transport tables write them
 *
 *   domain  [host]  domain:port  [host]:port  [2001:db8::1]:port      SMTP and LMTP; a list is tried in order
 *   inet:host:port  unix:path                                        LMTP
 *
 * Callers     attempt.c
 * Invariants  pure
 * Errors      *bad: the element cannot be read
 */
#include "smtp_internal.h"
#include <stdio.h>

static const struct {
    const char *name;
    int port;
} services[] = {
    { "smtp", 25 }, { "submission", 587 }, { "submissions", 465 }, { "smtps", 465 }, { "lmtp", 24 },
};

int nexthop_port(const char *name)
{
    uint64_t n;

    for (size_t i = 0; i < sizeof services / sizeof *services; i++)
        if (strcmp(name, services[i].name) == 0)
            return services[i].port;
    return slice_u64(slice_of(name), 65535, &n) == 0 && n > 0 ? (int) n : -1;
}

static bool copy(char *out, size_t bytes, struct slice in)
{
    if (in.len >= bytes || memchr(in.p, '\0', in.len) != NULL)
        return false;
    snprintf(out, bytes, "%.*s", (int) in.len, in.p);
    return true;
}

static bool read_host(struct slice word, struct nexthop *out)
{
    struct slice host = word, port = { "", 0 };
    ptrdiff_t at;

    if (slice_starts(word, "[")) {
        at = slice_find(word, ']');
        if (at < 2)
            return false;
        host = slice_sub(word, 1, (size_t) at - 1);
        if (slice_casestarts(host, "IPv6:"))
            host = slice_sub(host, 5, host.len);
        word = slice_sub(word, (size_t) at + 1, word.len);
        out->literal = true;
        if (word.len > 0 && word.p[0] != ':')
            return false;
        port = slice_sub(word, 1, word.len);
        if (word.len == 1)
            return false;
    } else if ((at = slice_rfind(word, ':')) >= 0) {
        host = slice_sub(word, 0, (size_t) at);
        port = slice_sub(word, (size_t) at + 1, word.len);
        if (port.len == 0 || slice_find(host, ':') >= 0)
            return false;
    }
    if (host.len == 0 || !copy(out->host, sizeof out->host, host) || !copy(out->port, sizeof out->port, port))
        return false;
    return out->port[0] == '\0' || nexthop_port(out->port) > 0;
}

bool nexthop_next(struct slice *list, bool lmtp, struct nexthop *out, bool *bad)
{
    struct slice word;

    *out = (struct nexthop){ 0 };
    *bad = false;
    if (!slice_word(list, ", \t\r\n", &word))
        return false;
    if (lmtp && slice_starts(word, "unix:")) {
        out->unix_path = true;
        word = slice_sub(word, 5, word.len);
        *bad = word.len == 0 || !copy(out->host, sizeof out->host, word);
        return true;
    }
    if (lmtp && slice_starts(word, "inet:"))
        word = slice_sub(word, 5, word.len);
    *bad = !read_host(word, out);
    return true;
}
