/*
 * message_test - answers as name servers send them, and as hostile ones do
 */
#include "proto/dns/message.h"

#include <assert.h>
#include <stdlib.h>

/* One question for a.test, the type follows; \xc0\x0c points at its name. */
#define HEADER(count) "\0\1\x81\x80\0\1\0" count "\0\0\0\0\1a\4test\0"
#define P(x)          x, sizeof(x) - 1
static const struct {
    const char *what, *p;
    size_t len;
    int rc;
    size_t count;
    const char *name, *canonical;
    unsigned preference, ttl;
} cases[] = {
    { "mx",
      P(HEADER("\2") "\0\x0f\0\1"
                     "\xc0\x0c\0\x0f\0\1\0\0\0\x3c\0\x09\0\x0a\4Mail\xc0\x0c"
                     "\xc0\x0c\0\x0f\0\1\0\0\0\x1e\0\x09\0\x14\4back\xc0\x0c"),
      0, 2, "mail.a.test", "a.test", 10, 30 },
    { "null mx", P(HEADER("\1") "\0\x0f\0\1\xc0\x0c\0\x0f\0\1\0\0\0\x3c\0\3\0\0\0"), 0, 1, "", "a.test", 0, 60 },
    { "cname after the address",
      P(HEADER("\2") "\0\1\0\1\1b\4test\0\0\1\0\1\0\0\0\x3c\0\4\x7f\0\0\1"
                     "\xc0\x0c\0\5\0\1\0\0\0\5\0\x08\1b\4test\0"),
      0, 1, "", "b.test", 0, 5 },
    { "cname loop", P(HEADER("\1") "\0\1\0\1\xc0\x0c\0\5\0\1\0\0\0\5\0\2\xc0\x0c"), -1, 0, 0, 0, 0, 0 },
    { "pointer loop", P(HEADER("\1") "\0\1\0\1\xc0\x18\0\1\0\1\0\0\0\5\0\4\x7f\0\0\1"), -1, 0, 0, 0, 0, 0 },
    { "another name's record", P(HEADER("\1") "\0\1\0\1\1x\0\0\1\0\1\0\0\0\5\0\4\x7f\0\0\1"), 0, 0, 0, "a.test", 0,
      0 },
    { "address of three bytes", P(HEADER("\1") "\0\1\0\1\xc0\x0c\0\1\0\1\0\0\0\5\0\3\x7f\0\1"), 0, 0, 0, "a.test", 0,
      0 },
    { "cut short", P(HEADER("\1") "\0\1\0\1\xc0\x0c\0\1\0\1\0\0\0\5\0\4\x7f"), -1, 0, 0, 0, 0, 0 },
    { "dot in a label", P(HEADER("\1") "\0\x0f\0\1\xc0\x0c\0\x0f\0\1\0\0\0\x3c\0\7\0\1\3b.c\0"), 0, 0, 0, "a.test", 0,
      0 },
    { "a question", P("\0\1\1\0\0\1\0\0\0\0\0\0\1a\0\0\1\0\1"), -1, 0, 0, 0, 0, 0 },
    { "empty", P(""), -1, 0, 0, 0, 0, 0 },
};

int main(void)
{
    struct str s;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct arena *arena = arena_new();
        struct dns_message m;
        char *copy = malloc(cases[i].len ? cases[i].len : 1); /* at its exact size: ASan sees a read past the end */
        memcpy(copy, cases[i].p, cases[i].len);
        assert(dns_message_parse(slice_make(copy, cases[i].len), arena, &m) == cases[i].rc);
        if (cases[i].rc == 0) {
            assert(m.count == cases[i].count && m.ttl == cases[i].ttl &&
                   strcmp(m.canonical, cases[i].canonical) == 0);
            assert(!m.count ||
                   (strcmp(m.records[0].name, cases[i].name) == 0 && m.records[0].preference == cases[i].preference));
        }
        free(copy);
        arena_free(&arena);
    }
    str_init(&s, 100);
    dns_reverse_name((const unsigned char *) "\x7f\0\0\1", 4, &s);
    assert(strcmp(s.p, "1.0.0.127.in-addr.arpa") == 0);
    str_free(&s);
    return 0;
}
