/* dovecot_auth_test - lines as a real Dovecot sends them, and broken ones */
#include "proto/sasl/dovecot_auth.h"

#include <assert.h>

static const struct {
    const char *in;
    int answer;
    const char *verb;
    size_t count;
} cases[] = {
    { "VERSION\t1\t2", 0, "VERSION", 2 },
    { "MECH\tPLAIN\tplaintext", 0, "MECH", 2 },
    { "DONE", 0, "DONE", 0 },
    { "OK\t7\tuser=a@b", 0, "OK", 2 },
    { "FAIL\t7\tuser=a\ttemp", 0, "FAIL", 3 },
    { "CONT\t7\t", 0, "CONT", 2 },
    { "", -1, "", 0 },
    { "\tX", -1, "", 1 },
};

int main(void)
{
    struct dovecot_auth_line line;
    struct slice value;
    struct str out, back;
    uint32_t n = 3;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert(dovecot_auth_parse(slice_of(cases[i].in), &line) == cases[i].answer);
        if (cases[i].answer == 0)
            assert(slice_eq(line.verb, cases[i].verb) && line.count == cases[i].count);
    }
    assert(dovecot_auth_parse(slice_of("FAIL\t42\tuserdb=x\tuser=a\001tb\ttemp\treason="), &line) == 0);
    assert(dovecot_auth_number(&line, 0, &n) == 0 && n == 42);
    assert(dovecot_auth_number(&line, 1, &n) == -1 && dovecot_auth_number(&line, 9, &n) == -1 && n == 42);
    assert(dovecot_auth_field(&line, 1, "user", &value));
    str_init(&out, STR_UNLIMITED);
    str_init(&back, STR_UNLIMITED);
    dovecot_auth_unescape(&out, value);
    assert(strcmp(out.p, "a\tb") == 0);
    assert(dovecot_auth_field(&line, 1, "temp", &value) && value.len == 0);
    assert(dovecot_auth_field(&line, 1, "reason", &value) && value.len == 0);
    assert(!dovecot_auth_field(&line, 1, "code", &value));
    str_reset(&out);
    dovecot_auth_escape(&out, slice_make("\0\001\t\r\nx", 6));
    assert(out.len == 11);
    dovecot_auth_unescape(&back, str_slice(&out));
    assert(back.len == 6 && memcmp(back.p, "\0\001\t\r\nx", 6) == 0);
    str_free(&out);
    str_free(&back);
}
