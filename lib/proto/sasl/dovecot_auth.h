/*
 * dovecot_auth - lines of the Dovecot authentication protocol: words between TABs, with \001 escapes
 *
 * Callers     authd (server), lib/client/auth (smtpd, login), lib/client/authd (dispatcher, lmtpd)
 * Invariants  pure: bytes in, slices out; a split line is unescaped in place and its words point into it
 *             what is written never holds a raw TAB, LF, CR, NUL or 0x01 inside a word
 * Units       bytes
 * Errors      -1: more words than DOVECOT_AUTH_WORDS, or an escape that does not exist
 * Source      Dovecot's auth-protocol.txt, version 1.2; of 1.3 what channel binding needs
 */
#ifndef PROTO_SASL_DOVECOT_AUTH_H
#define PROTO_SASL_DOVECOT_AUTH_H
#include "base/str.h"

enum {
    DOVECOT_AUTH_MAJOR = 1,
    DOVECOT_AUTH_CLIENT_MINOR = 3, /* from 2 on an empty "resp=" is an empty response, before it is none; from 3 on
                                      mechanisms with channel binding are told of */
    DOVECOT_AUTH_MINOR_EMPTY_RESP = 2,
    DOVECOT_AUTH_MINOR_BINDING = 3,
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
/* Between our own: a login whose AUTH says "claim_ahead=PID" is told to the master that has said "CLAIMS id PID", before
 * login has its OK: "CLAIM expires_ms pid request cookie user field...", as REQUEST's answer from the user on; authd does not
 * keep it. PID is that of the dispatcher which login will ask, so that one which is being replaced is not passed over. A
 * master learns that authd can from REQUEST with this word behind the cookie, whose answer then has it as a field. */
#define DOVECOT_AUTH_CLAIMS      "CLAIMS"
#define DOVECOT_AUTH_CLAIM       "CLAIM"
#define DOVECOT_AUTH_CLAIM_AHEAD "claim_ahead"
/* Words of AUTH that only our own "saslauth" is sent: the domain of names without one, and whose configuration counts. */
#define DOVECOT_AUTH_REALM       "realm"
#define DOVECOT_AUTH_APPLICATION "application"
/* Channel binding: "CONT id # channel_binding=TYPE" asks the client for its data, which come back in base64 as
 * "CONT id # channel_binding=DATA". */
#define DOVECOT_AUTH_ASIDE   "#"
#define DOVECOT_AUTH_BINDING "channel_binding"

/* What a line MECH says of its mechanism. */
enum dovecot_auth_flag {
    DOVECOT_AUTH_PRIVATE = 1,
    DOVECOT_AUTH_ANONYMOUS = 2,
    DOVECOT_AUTH_PLAINTEXT = 4,
    DOVECOT_AUTH_DICTIONARY = 8,
    DOVECOT_AUTH_ACTIVE = 16,
    DOVECOT_AUTH_FORWARD_SECRECY = 32,
    DOVECOT_AUTH_MUTUAL = 64,
    DOVECOT_AUTH_CHANNEL_BINDING = 128,
};

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
/* Flags among the words from `from` on; unknown words are passed over. */
unsigned dovecot_auth_flags(const struct dovecot_auth_line *, size_t from);

/* Writing: begin, any number of words, end. */
void dovecot_auth_begin(struct str *out, const char *command);
void dovecot_auth_put(struct str *out, struct slice word);
void dovecot_auth_put_num(struct str *out, uint64_t number);
void dovecot_auth_put_value(struct str *out, const char *name, struct slice value); /* "name=value" */
void dovecot_auth_put_flags(struct str *out, unsigned flags);
void dovecot_auth_end(struct str *out);
#endif
