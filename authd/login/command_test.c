/*
 * command_test - what clients say before they have logged in
 */
#include "command.h"
#include <assert.h>
#include <stdio.h>

static const struct {
    const char *in;
    int rc;
    const char *tag, *name;
    int args; /* -1: malformed */
    const char *first, *last;
} cases[] = {
    { "a1 LOGIN alice secret", 0, "a1", "LOGIN", 2, "alice", "secret" },
    { "a LOGIN \"al\\\"ice\" \"se\\\\cret\"", 0, "a", "LOGIN", 2, "al\"ice", "se\\cret" },
    { "a LOGIN {5}\r\nalice {3+}\r\na b", 0, "a", "LOGIN", 2, "alice", "a b" },
    { "a LOGIN \"\" \"\"", 0, "a", "LOGIN", 2, "", "" },
    { "a LOGIN {0}\r\n x", 0, "a", "LOGIN", 2, "", "x" },
    { "a LOGIN {6}\r\nalice", 0, "a", "LOGIN", -1, "", "" },
    { "a LOGIN \"alice", 0, "a", "LOGIN", -1, "", "" },
    { "a LOGIN alice  x", 0, "a", "LOGIN", -1, "", "" },
    { "a LOGIN (x)", 0, "a", "LOGIN", -1, "", "" },
    { "a AUTHENTICATE PLAIN =", 0, "a", "AUTHENTICATE", 2, "PLAIN", "=" },
    { "a noop", 0, "a", "noop", 0, "", "" },
    { "a", -1, "a", "", 0, "", "" },
    { "", -1, "", "", 0, "", "" },
    { " NOOP", -1, "", "", 0, "", "" },
    { "* NOOP", -1, "", "", 0, "", "" },
    { "a  NOOP", -1, "a", "", 0, "", "" },
    { "a NOOP\001", -1, "a", "NOOP", 0, "", "" },
    { "a ID (\"name\" NIL)", 0, "a", "ID", -1, "", "" },
};
static const struct {
    const char *line;
    enum literal kind;
    size_t bytes;
} literals[] = {
    { "a LOGIN {5}", LITERAL_SYNC, 5 },   { "a LOGIN {5+}", LITERAL_NOSYNC, 5 },
    { "a LOGIN {}", LITERAL_NONE, 0 },    { "a LOGIN {+}", LITERAL_NONE, 0 },
    { "a LOGIN {x}", LITERAL_NONE, 0 },   { "a LOGIN 5}", LITERAL_NONE, 0 },
    { "a {99999}", LITERAL_TOO_LONG, 0 }, { "a {99999999999999999999+}", LITERAL_TOO_LONG, 0 },
    { "a \"x{3}\"", LITERAL_NONE, 0 },    { "{0}", LITERAL_SYNC, 0 },
};

int main(void)
{
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct slice arg[COMMAND_ARGS] = { SLICE("") };
        struct command c;
        size_t count = 0;
        char text[256];

        snprintf(text, sizeof text, "%s", cases[i].in);
        assert(command_parse(slice_of(text), &c) == cases[i].rc);
        assert(slice_eq(c.tag, cases[i].tag) && slice_eq(c.name, cases[i].name));
        if (cases[i].rc != 0)
            continue;
        int rc = command_args(&c, arg, &count);
        assert(rc == (cases[i].args < 0 ? -1 : 0));
        if (cases[i].args > 0) {
            assert((int) count == cases[i].args);
            assert(slice_eq(arg[0], cases[i].first) && slice_eq(arg[count - 1], cases[i].last));
        }
    }
    for (size_t i = 0; i < sizeof literals / sizeof *literals; i++) {
        size_t bytes = 0;
        assert(command_literal(slice_of(literals[i].line), &bytes) == literals[i].kind && bytes == literals[i].bytes);
    }
    return 0;
}
