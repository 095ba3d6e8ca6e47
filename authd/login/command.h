/*
 * command - what an IMAP client may say before it has logged in: tag, name, a few strings
 *
 * Callers     authd/login/imap.c
 * Invariants  pure: parses in place; knows atoms, quoted strings and literals, nothing else: the full grammar stays
 *             in imapd, behind the login
 * Errors      -1: not a command; the tag is set where there was one, so that the answer can carry it
 * Source      RFC 3501 section 9, RFC 7888 (LITERAL+)
 */
#ifndef LOGIN_COMMAND_H
#define LOGIN_COMMAND_H
#include "base/str.h"

enum {
    COMMAND_BYTES = 20480, /* of a whole command with its literals: a SASL response of 12 KiB in base64 fits */
    COMMAND_LITERAL_BYTES = 4096,
    COMMAND_LITERALS = 8,
    COMMAND_TAG_BYTES = 128,
    COMMAND_ARGS = 4,
};
struct command {
    struct slice tag, name, rest; /* rest: behind the name and one blank */
};
enum literal { LITERAL_NONE, LITERAL_SYNC, LITERAL_NOSYNC, LITERAL_TOO_LONG };

/* Does this line (without its line end) announce a literal of *bytes? */
enum literal command_literal(struct slice line, size_t *bytes);
/* text: the lines as sent, each literal behind "{n}" CR LF. */
int command_parse(struct slice text, struct command *out);
/* The strings of `rest`, at most COMMAND_ARGS; unescapes quoted ones in place, so text must be writable. */
int command_args(struct command *, struct slice arg[COMMAND_ARGS], size_t *count);
#endif
