/*
 * scheme - password schemes: "{SCHEME.encoding}text" made and checked
 *
 * Callers     authd/verify.c (in an offload thread), tools/doveadm pw
 * Invariants  pure but for random salts and the memory of a hash: no globals, so threads may call it side by side
 *             comparing takes a time that does not depend on where two digests differ
 * Units       rounds as the scheme counts them; 0: the scheme's default
 * Errors      SCHEME_BROKEN: the stored text cannot be used (unknown scheme, not base64, ...): a fault of the table,
 *             so the answer to the client is "later", with err for the log
 */
#ifndef AUTHD_SCHEME_H
#define AUTHD_SCHEME_H
#include "base/err.h"
#include "base/str.h"

enum {
    SCHEME_PASSWORD_BYTES = 4096, /* longest password looked at; a longer one never matches */
    SCHEME_STORED_BYTES = 8192,   /* longest stored text, and longest generated */
    SCHEME_NAME_BYTES = 32,
    SCHEME_RAW_BYTES = 1024, /* a digest and its salt */
};
enum scheme_answer { SCHEME_MATCH, SCHEME_MISMATCH, SCHEME_BROKEN };
enum scheme_encoding { SCHEME_TEXT, SCHEME_BASE64, SCHEME_HEX };

struct scheme {
    const char *name;
    enum scheme_encoding encoding; /* of what is stored, unless a suffix says otherwise */
    size_t digest_bytes;           /* without salt; 0 for text */
    bool salted;                   /* salt follows the digest */
    const void *with;              /* which member of the family: of the family's own type */
    /* raw: decoded. password has no NUL behind it that counts. */
    enum scheme_answer (*verify)(const struct scheme *, struct slice password, struct slice raw);
    /* Appends what is to be encoded; -1 with *err. */
    int (*generate)(const struct scheme *, struct slice password, uint64_t rounds, struct str *raw, struct err *);
};

/* One table a family; ends with name NULL. */
extern const struct scheme scheme_plain_family[], scheme_digest_family[], scheme_crypt_family[],
    scheme_argon2_family[];

/* stored: "{SCHEME}text"; without braces it is of default_scheme (NULL: broken). */
enum scheme_answer scheme_verify(struct slice stored, const char *default_scheme, struct slice password,
                                 struct err *);
/* name: "SHA256", "ssha.hex"; appends "{NAME}text" to *out. */
int scheme_generate(const char *name, struct slice password, uint64_t rounds, struct str *out, struct err *);
/* True when the text could be verified at all: the scheme exists and the text decodes. */
bool scheme_usable(struct slice stored, const char *default_scheme, struct err *);
const struct scheme *scheme_each(size_t n); /* the n-th of all families; NULL past the last */

/* For the families: */
bool scheme_equal(struct slice a, struct slice b); /* in constant time for one length */
#endif
