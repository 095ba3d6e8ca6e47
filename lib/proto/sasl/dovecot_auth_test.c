/*
 * dovecot_auth_test - lines in and out, as tables
 */
#include "proto/sasl/dovecot_auth.h"
#include <assert.h>
#include <stdio.h>

static const struct {
    const char *in;
    size_t len;
    int rc;
    size_t words;
    const char *last;
    size_t last_len;
} splits[] = {
#define LINE(s) s, sizeof(s) - 1
    { LINE("VERSION\t1\t2"), 0, 3, "2", 1 },
    { LINE(""), 0, 1, "", 0 },
    { LINE("A\t"), 0, 2, "", 0 },
    { LINE("A\tb\001tc\001nd\001re\001\061f"), 0, 2, "b\tc\nd\re\001f", 9 },
    { LINE("A\tx\001\060y"), 0, 2, "x\0y", 3 },
    { LINE("A\tx\001"), -1, 0, "", 0 },
    { LINE("A\tx\001q"), -1, 0, "", 0 },
    { LINE("A\001\tb"), -1, 0, "", 0 },
};

static const struct {
    const char *line, *name;
    bool found;
    const char *value;
} values[] = {
    { "AUTH\t1\tPLAIN\tservice=smtp\tresp=AAA=", "service", true, "smtp" },
    { "AUTH\t1\tPLAIN\tservice=smtp\tresp=AAA=", "resp", true, "AAA=" },
    { "AUTH\t1\tPLAIN\tnologin\tresp=", "resp", true, "" },
    { "AUTH\t1\tPLAIN\tnologin", "nologin", true, "" },
    { "AUTH\t1\tPLAIN\tnologin", "nolog", false, "" },
    { "AUTH\t1\tPLAIN\tnologinx", "nologin", false, "" },
    { "AUTH\t1\tservice=x", "service", false, "" },
};

int main(void)
{
    for (size_t i = 0; i < sizeof splits / sizeof *splits; i++) {
        struct dovecot_auth_line line;
        char buf[128];

        memcpy(buf, splits[i].in, splits[i].len);
        assert(dovecot_auth_split(buf, splits[i].len, &line) == splits[i].rc);
        if (splits[i].rc != 0)
            continue;
        struct slice last = dovecot_auth_word(&line, line.count - 1);
        assert(line.count == splits[i].words && last.len == splits[i].last_len);
        assert(memcmp(last.p, splits[i].last, last.len) == 0);
    }
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        struct dovecot_auth_line line;
        struct slice got = SLICE("");
        char buf[128];

        snprintf(buf, sizeof buf, "%s", values[i].line);
        assert(dovecot_auth_split(buf, strlen(buf), &line) == 0);
        assert(dovecot_auth_value(&line, 3, values[i].name, &got) == values[i].found);
        assert(slice_eq(got, values[i].value));
    }

    char many[2 * DOVECOT_AUTH_WORDS + 1];
    memset(many, '\t', sizeof many);
    struct dovecot_auth_line line;
    assert(dovecot_auth_split(many, DOVECOT_AUTH_WORDS - 1, &line) == 0 && line.count == DOVECOT_AUTH_WORDS);
    assert(dovecot_auth_split(many, DOVECOT_AUTH_WORDS, &line) == -1);

    struct str out;
    str_init(&out, 4096);
    dovecot_auth_begin(&out, DOVECOT_AUTH_OK);
    dovecot_auth_put_num(&out, 7);
    dovecot_auth_put_value(&out, "user", SLICE("a\tb\n\0\r\001"));
    dovecot_auth_put(&out, SLICE("x"));
    dovecot_auth_put_value(&out, "a\nb", SLICE("y"));
    dovecot_auth_end(&out);
    assert(slice_eq(str_slice(&out), "OK\t7\tuser=a\001tb\001n\001"
                                     "0\001r\001"
                                     "1\tx\ta\001nb=y\n"));
    str_free(&out);
    return 0;
}
