/*
 * scheme - password schemes: "{SCHEME.encoding}text" made and checked
 *
 * Callers     authd (in an offload thread where scheme_cost says so), tools/doveadm pw
 * Invariants  pure but for random salts and the memory of a hash: no globals, so threads may call it side by side
 *             comparing takes a time that does not depend on where two digests differ; copies of secrets are wiped
 * Units       rounds as the scheme counts them; 0: the scheme's default
 * Errors      SCHEME_BROKEN: the stored text cannot be used (unknown scheme, not base64, ...): a fault of the table,
 *             so the answer to the client is "later", with err for the log. Its words are Dovecot's where it has some
 */
#ifndef AUTHD_SCHEME_H
#define AUTHD_SCHEME_H
#include "base/err.h"
#include "base/str.h"

enum {
    SCHEME_PASSWORD_BYTES = 4096,             /* longest password looked at; a longer one never matches */
    SCHEME_STORED_BYTES = 8192,               /* longest stored text, and longest generated */
    SCHEME_NAME_BYTES = 63,                   /* with its suffix */
    SCHEME_ITERATIONS_MAX = 10 * 1000 * 1000, /* of PBKDF2 and SCRAM */
};
enum scheme_answer { SCHEME_MATCH, SCHEME_MISMATCH, SCHEME_BROKEN };
enum scheme_encoding { SCHEME_TEXT, SCHEME_BASE64, SCHEME_HEX };
/* What checking one password costs: microseconds; milliseconds; tens of milliseconds or as many MiB. */
enum scheme_cost { SCHEME_CHEAP, SCHEME_SLOW, SCHEME_HEAVY };

/* What a hash is made of beside its salt. */
struct scheme_word {
    struct slice password;
    const char *user; /* "user@realm", as the client wrote it: part of a DIGEST-MD5 hash. NULL: not known */
};
struct scheme {
    const char *name;
    enum scheme_encoding encoding; /* of what is stored, unless a suffix says otherwise */
    size_t fixed_bytes;            /* what is stored, decoded, is as long as this; 0: of any length */
    bool plain;                    /* the text is the password itself */
    const void *with;              /* which member of the family: of the family's own type */
    /* raw: decoded. */
    enum scheme_answer (*verify)(const struct scheme *, const struct scheme_word *, struct slice raw, struct err *);
    /* Appends what is to be encoded; -1 with *err. */
    int (*generate)(const struct scheme *, const struct scheme_word *, uint64_t rounds, struct str *raw,
                    struct err *);
    enum scheme_cost (*cost)(const struct scheme *, struct slice raw); /* NULL: cheap */
};

/* One table a family; ends with name NULL. */
extern const struct scheme scheme_plain_family[], scheme_digest_family[], scheme_crypt_family[],
    scheme_argon2_family[], scheme_md5_family[], scheme_pbkdf2_family[], scheme_scram_family[], scheme_otp_family[];

/* stored: "{SCHEME}text", or "$1$..." of MD5-CRYPT; else it is of default_scheme (NULL: broken). */
enum scheme_answer scheme_verify(struct slice stored, const char *default_scheme, const struct scheme_word *,
                                 struct err *);
/* name: "SHA256", "ssha.hex"; appends "{NAME}text" to *out. */
int scheme_generate(const char *name, const struct scheme_word *, uint64_t rounds, struct str *out, struct err *);
bool scheme_exists(const char *name, struct err *);
/* True when the text could be verified at all: the scheme exists and the text decodes. */
bool scheme_usable(struct slice stored, const char *default_scheme, struct err *);
/* The scheme of a stored text, in *scheme, and what follows it; -1 where neither text nor default names one. */
int scheme_of(struct slice stored, const char *default_scheme, struct slice *scheme, struct slice *text);
/* What scheme_verify would cost; cheap where it would be broken. */
enum scheme_cost scheme_cost(struct slice stored, const char *default_scheme);
const struct scheme *scheme_each(size_t n); /* the n-th of all families; NULL past the last */

/* For SASL mechanisms that never see the password: what the scheme `wanted` ("CRAM-MD5", "DIGEST-MD5",
 * "SCRAM-SHA-1", ...) stores, decoded, taken from a password stored so or made from a plain one. salt: for SCRAM made
 * from a plain password, so that a user's salt stays the same; p NULL: random.
 * LOOKUP_NONE: stored in a scheme that it cannot be made from, with words; LOOKUP_RETRY: broken. */
enum lookup scheme_credentials(struct slice stored, const char *default_scheme, const char *wanted, const char *user,
                               struct slice salt, struct str *raw, struct err *);

/* For the families: */
bool scheme_equal(struct slice a, struct slice b); /* in constant time for one length */
int scheme_random(char *out, size_t len);          /* of the alphabet A-Za-z0-9./; NUL is added at out[len] */
#endif
