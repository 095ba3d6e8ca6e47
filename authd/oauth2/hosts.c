/*
 * hosts - see hosts.h
 */
#include "hosts.h"

#include <arpa/inet.h>
#include <stdio.h>

static bool put_address(struct slice word, bool first, struct str *out)
{
    unsigned char bytes[sizeof(struct in6_addr)];
    char text[INET6_ADDRSTRLEN];

    if ((size_t) snprintf(text, sizeof text, "%.*s", (int) word.len, word.p) >= sizeof text)
        return false;
    if (inet_pton(AF_INET, text, bytes) == 1)
        str_printf(out, "%s%s", first ? "" : ",", text);
    else if (inet_pton(AF_INET6, text, bytes) == 1)
        str_printf(out, "%s[%s]", first ? "" : ",", text);
    else
        return false;
    return true;
}

size_t hosts_find(struct slice text, const char *name, struct str *out)
{
    struct slice line, address, word;
    size_t count = 0;

    while (slice_split(&text, '\n', &line)) {
        ptrdiff_t comment = slice_find(line, '#');
        bool ours = false;

        line = slice_sub(line, 0, comment < 0 ? line.len : (size_t) comment);
        if (!slice_word(&line, " \t\r", &address))
            continue;
        while (slice_word(&line, " \t\r", &word))
            ours |= slice_caseeq(word, name);
        if (ours && put_address(address, count == 0, out))
            count++;
    }
    return count;
}
