/*
 * scheme - finds the scheme of a stored password, decodes, asks its family
 *
 * Callers     authd/verify.c, tools/doveadm
 * Invariants  see scheme.h
 * Source      Dovecot's wiki, "Authentication/PasswordSchemes": suffixes .b64 .base64 .hex; a digest of fixed length
 *             without suffix may be written either way and is told apart by its length
 */
#include "scheme.h"
#include "base/codec.h"
#include "base/mem.h"
#include <openssl/crypto.h>
#include <strings.h>

static const struct scheme *const families[] = { scheme_plain_family, scheme_digest_family, scheme_crypt_family,
                                                 scheme_argon2_family, NULL };
static const struct {
    const char *suffix;
    enum scheme_encoding encoding;
} suffixes[] = { { ".b64", SCHEME_BASE64 }, { ".base64", SCHEME_BASE64 }, { ".hex", SCHEME_HEX } };

struct choice {
    const struct scheme *scheme;
    enum scheme_encoding encoding;
    bool explicit_encoding;
};

bool scheme_equal(struct slice a, struct slice b) { return a.len == b.len && CRYPTO_memcmp(a.p, b.p, a.len) == 0; }

const struct scheme *scheme_each(size_t n)
{
    for (size_t f = 0; families[f]; f++)
        for (const struct scheme *s = families[f]; s->name; s++)
            if (n-- == 0)
                return s;
    return NULL;
}

static int choose(struct slice name, struct choice *out, struct err *err)
{
    struct slice bare = name;

    *out = (struct choice){ 0 };
    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++)
        if (slice_caseends(name, suffixes[i].suffix)) {
            bare.len -= strlen(suffixes[i].suffix);
            out->encoding = suffixes[i].encoding;
            out->explicit_encoding = true;
            break;
        }
    for (size_t n = 0; (out->scheme = scheme_each(n)) != NULL; n++)
        if (slice_caseeq(bare, out->scheme->name)) {
            if (!out->explicit_encoding)
                out->encoding = out->scheme->encoding;
            return 0;
        }
    err_set(err, 0, NULL, "Unknown scheme: %.*s", (int) (name.len < SCHEME_NAME_BYTES ? name.len : SCHEME_NAME_BYTES),
            name.p);
    return -1;
}

static int split(struct slice stored, const char *default_scheme, struct choice *out, struct slice *text,
                 struct err *err)
{
    if (stored.len > SCHEME_STORED_BYTES) {
        err_set(err, 0, NULL, "stored password is too long");
        return -1;
    }
    if (stored.len > 0 && stored.p[0] == '{') {
        ptrdiff_t end = slice_find(stored, '}');
        if (end < 0) {
            err_set(err, 0, NULL, "Missing } after the scheme");
            return -1;
        }
        *text = slice_sub(stored, (size_t) end + 1, stored.len);
        return choose(slice_sub(stored, 1, (size_t) end - 1), out, err);
    }
    if (default_scheme == NULL) {
        err_set(err, 0, NULL, "Missing {scheme} prefix from hash");
        return -1;
    }
    *text = stored;
    return choose(slice_of(default_scheme), out, err);
}

static int decode(const struct choice *c, struct slice text, struct str *raw, struct err *err)
{
    enum scheme_encoding encoding = c->encoding;
    size_t fixed = c->scheme->salted ? 0 : c->scheme->digest_bytes;

    if (!c->explicit_encoding && fixed > 0)
        encoding = text.len == 2 * fixed ? SCHEME_HEX : SCHEME_BASE64;
    switch (encoding) {
    case SCHEME_TEXT: str_addslice(raw, text); break;
    case SCHEME_HEX:
        if (hex_decode(raw, text) != 0)
            return err_set(err, 0, NULL, "Input isn't valid HEX encoded data");
        break;
    case SCHEME_BASE64:
        if (base64_decode(raw, text) != 0)
            return err_set(err, 0, NULL, "Input isn't valid base64 encoded data");
        break;
    }
    if (str_over(raw))
        return err_set(err, 0, NULL, "stored password is too long");
    if (raw->len < c->scheme->digest_bytes || (fixed > 0 && raw->len != fixed))
        return err_set(err, 0, NULL, "Input length isn't valid for scheme %s", c->scheme->name);
    return 0;
}

static void wipe(struct str *s)
{
    mem_wipe(s->p, s->len);
    str_free(s);
}

enum scheme_answer scheme_verify(struct slice stored, const char *default_scheme, struct slice password,
                                 struct err *err)
{
    enum scheme_answer answer = SCHEME_BROKEN;
    struct choice choice = { 0 };
    struct slice text;
    struct str raw;

    str_init(&raw, SCHEME_STORED_BYTES);
    if (split(stored, default_scheme, &choice, &text, err) == 0 && decode(&choice, text, &raw, err) == 0) {
        answer = password.len > SCHEME_PASSWORD_BYTES
                     ? SCHEME_MISMATCH
                     : choice.scheme->verify(choice.scheme, password, str_slice(&raw));
        if (answer == SCHEME_BROKEN)
            err_set(err, 0, NULL, "%s: the stored password is malformed or asks for too much", choice.scheme->name);
    }
    wipe(&raw);
    return answer;
}

bool scheme_usable(struct slice stored, const char *default_scheme, struct err *err)
{
    struct choice choice = { 0 };
    struct slice text;
    struct str raw;
    bool usable;

    str_init(&raw, SCHEME_STORED_BYTES);
    usable = split(stored, default_scheme, &choice, &text, err) == 0 && decode(&choice, text, &raw, err) == 0;
    wipe(&raw);
    return usable;
}

int scheme_generate(const char *name, struct slice password, uint64_t rounds, struct str *out, struct err *err)
{
    struct choice choice = { 0 };
    struct str raw, upper;
    int rc = -1;

    if (strlen(name) >= SCHEME_NAME_BYTES)
        return err_set(err, 0, NULL, "Unknown scheme: %.*s", SCHEME_NAME_BYTES, name);
    if (choose(slice_of(name), &choice, err) != 0)
        return -1;
    if (password.len > SCHEME_PASSWORD_BYTES)
        return err_set(err, 0, NULL, "the password is longer than %d bytes", SCHEME_PASSWORD_BYTES);
    str_init(&raw, SCHEME_STORED_BYTES);
    str_init(&upper, SCHEME_NAME_BYTES);
    for (const char *p = name; *p; p++)
        str_addc(&upper, ascii_upper(*p));
    if (choice.scheme->generate(choice.scheme, password, rounds, &raw, err) == 0) {
        str_printf(out, "{%s}", upper.p);
        if (choice.encoding == SCHEME_BASE64)
            base64_encode(out, str_slice(&raw));
        else if (choice.encoding == SCHEME_HEX)
            hex_encode(out, str_slice(&raw));
        else
            str_addslice(out, str_slice(&raw));
        rc = str_over(out) || str_over(&raw) ? err_set(err, 0, NULL, "the result is too long") : 0;
    }
    wipe(&raw);
    str_free(&upper);
    return rc;
}
