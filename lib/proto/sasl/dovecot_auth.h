/*
 * dovecot_auth - lines of the Dovecot authentication protocol: words between TABs, with \001 escapes
 *
 * Callers     authd (server), lib/client/auth (smtpd, login), lib/client/authd (dispatcher, lmtpd)
 * Invariants  pure: bytes in, slices out; a split line is unescaped in place and its words point into it
 *             what is written never holds a raw TAB, LF, CR, NUL or 0x01 inside a word
 * Units       bytes
 * Errors      -1: more words than DOVECOT_AUTH_WORDS, or an escape that does not exist
 * Source      Dovecot's auth-protocol.txt, version 1.2
 */
#ifndef PROTO_SASL_DOVECOT_AUTH_H
#define PROTO_SASL_DOVECOT_AUTH_H
#include "base/str.h"

enum {
    DOVECOT_AUTH_MAJOR = 1,
    DOVECOT_AUTH_CLIENT_MINOR = 2, /* from 2 on an empty "resp=" is an empty response, before it is none */
    DOVECOT_AUTH_MASTER_MINOR = 1,
    DOVECOT_AUTH_LINE_BYTES = 16384, /* of a client; a server's line may be as long */
    DOVECOT_AUTH_WORDS = 128,
};
/* Words of the protocol, once for both ends. */
#define DOVECOT_AUTH_VERSION     "VERSION"
#define DOVECOT_AUTH_MECH        "MECH"
#define DOVECOT_AUTH_SPID        "SPID"
#define DOVECOT_AUTH_CPID        "CPID"
#define DOVECOT_AUTH_CUID        "CUID"
#define DOVECOT_AUTH_COOKIE      "COOKIE"
#define DOVECOT_AUTH_DONE        "DONE"
#define DOVECOT_AUTH_AUTH        "AUTH"
#define DOVECOT_AUTH_CONT        "CONT"
#define DOVECOT_AUTH_CANCEL      "CANCEL"
#define DOVECOT_AUTH_OK          "OK"
#define DOVECOT_AUTH_FAIL        "FAIL"
#define DOVECOT_AUTH_REQUEST     "REQUEST"
#define DOVECOT_AUTH_USER        "USER"
#define DOVECOT_AUTH_PASS        "PASS"
#define DOVECOT_AUTH_LIST        "LIST"
#define DOVECOT_AUTH_NOTFOUND    "NOTFOUND"
#define DOVECOT_AUTH_CACHE_FLUSH "CACHE-FLUSH"

struct dovecot_auth_line {
    size_t count; /* at least 1: word[0] is the command */
    struct slice word[DOVECOT_AUTH_WORDS];
};
/* `line` without its LF; its bytes are changed (unescaping) and must outlive *out. */
int dovecot_auth_split(char *line, size_t len, struct dovecot_auth_line *out);
/* Word `n` as text; an empty slice where the line is shorter. */
struct slice dovecot_auth_word(const struct dovecot_auth_line *, size_t n);
/* The value of the first "name=value" from word `from` on; true for a bare "name" too, with an empty value. */
bool dovecot_auth_value(const struct dovecot_auth_line *, size_t from, const char *name, struct slice *value);

/* Writing: begin, any number of words, end. */
void dovecot_auth_begin(struct str *out, const char *command);
void dovecot_auth_put(struct str *out, struct slice word);
void dovecot_auth_put_num(struct str *out, uint64_t number);
void dovecot_auth_put_value(struct str *out, const char *name, struct slice value); /* "name=value" */
void dovecot_auth_end(struct str *out);
#endif
