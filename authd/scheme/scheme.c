/*
 * scheme - finds the scheme of a stored password, decodes, asks its family
 *
 * Callers     see scheme.h
 * Source      Dovecot's documentation, "Password Schemes": suffixes .b64 .base64 .hex; a digest of fixed length
 *             without suffix may be written either way and is told apart by its length
 */
#include "scheme.h"
#include "base/codec.h"
#include "base/mem.h"
#include "scram.h"
#include <openssl/crypto.h>
#include <openssl/rand.h>

static const struct scheme *const families[] = { scheme_plain_family,  scheme_digest_family, scheme_crypt_family,
                                                 scheme_argon2_family, scheme_md5_family,    scheme_pbkdf2_family,
                                                 scheme_scram_family,  scheme_otp_family,    NULL };
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

int scheme_random(char *out, size_t len)
{
    static const char letters[] = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

    if (RAND_bytes((unsigned char *) out, (int) len) != 1)
        return -1;
    for (size_t n = 0; n < len; n++)
        out[n] = letters[(unsigned char) out[n] % 64];
    out[len] = '\0';
    return 0;
}

const struct scheme *scheme_each(size_t n)
{
    for (size_t f = 0; families[f]; f++)
        for (const struct scheme *s = families[f]; s->name; s++)
            if (n-- == 0)
                return s;
    return NULL;
}

static int choose(struct slice name, struct choice *out)
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
    return -1;
}

/* "$1$salt$hash" needs no braces, and what follows the hash does not belong to it. */
static bool is_md5_crypt(struct slice stored, struct slice *text)
{
    struct slice rest;
    ptrdiff_t dollar;

    if (!slice_starts(stored, "$1$"))
        return false;
    *text = stored;
    rest = slice_sub(stored, 3, stored.len);
    if ((dollar = slice_find(rest, '$')) >= 0) {
        size_t hash = 3 + (size_t) dollar + 1;
        if ((dollar = slice_find(slice_sub(stored, hash, stored.len), '$')) >= 0)
            text->len = hash + (size_t) dollar;
    }
    return true;
}

int scheme_of(struct slice stored, const char *default_scheme, struct slice *scheme, struct slice *text)
{
    ptrdiff_t end;

    *text = stored;
    if (is_md5_crypt(stored, text)) {
        *scheme = SLICE("MD5-CRYPT");
        return 0;
    }
    if (stored.len > 0 && stored.p[0] == '{' && (end = slice_find(stored, '}')) >= 0) {
        *scheme = slice_sub(stored, 1, (size_t) end - 1);
        *text = slice_sub(stored, (size_t) end + 1, stored.len);
        return 0;
    }
    *scheme = slice_of(default_scheme);
    return default_scheme ? 0 : -1;
}

static int split(struct slice stored, const char *default_scheme, struct choice *out, struct slice *text,
                 struct err *err)
{
    struct slice name;

    if (stored.len > SCHEME_STORED_BYTES)
        err_set(err, 0, NULL, "The stored password is too long");
    else if (scheme_of(stored, default_scheme, &name, text) != 0)
        err_set(err, 0, NULL, "Missing {scheme} prefix from hash");
    else if (choose(name, out) != 0)
        err_set(err, 0, NULL, "Unknown scheme");
    else
        return 0;
    return -1;
}

static int decode(const struct choice *c, struct slice text, struct str *raw, struct err *err)
{
    enum scheme_encoding encoding = c->encoding;
    size_t fixed = c->scheme->fixed_bytes;

    str_reserve(raw, text.len); /* never moved: no copy is left behind unwiped */
    if (!c->explicit_encoding && fixed > 0)
        encoding = text.len == 2 * fixed ? SCHEME_HEX : SCHEME_BASE64;
    switch (encoding) {
    case SCHEME_TEXT: str_addslice(raw, text); break;
    case SCHEME_HEX:
        if (hex_decode(raw, text) != 0)
            return err_set(err, 0, NULL, "Input isn't valid HEX encoded data");
        break;
    case SCHEME_BASE64:
        if (base64_decode(raw, slice_trim(text)) != 0)
            return err_set(err, 0, NULL, "Input isn't valid base64 encoded data");
        break;
    }
    if (str_over(raw))
        return err_set(err, 0, NULL, "The stored password is too long");
    if (fixed > 0 && raw->len != fixed)
        return err_set(err, 0, NULL, "Input length isn't valid (%zu instead of %zu)", raw->len, fixed);
    return 0;
}

static void wipe(struct str *s)
{
    mem_wipe(s->p, s->len);
    str_free(s);
}

enum scheme_answer scheme_verify(struct slice stored, const char *default_scheme, const struct scheme_word *word,
                                 struct err *err)
{
    enum scheme_answer answer = SCHEME_BROKEN;
    struct choice choice = { 0 };
    struct slice text;
    struct str raw;

    str_init(&raw, SCHEME_STORED_BYTES);
    if (split(stored, default_scheme, &choice, &text, err) == 0 && decode(&choice, text, &raw, err) == 0)
        answer = word->password.len > SCHEME_PASSWORD_BYTES
                     ? SCHEME_MISMATCH
                     : choice.scheme->verify(choice.scheme, word, str_slice(&raw), err);
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

enum scheme_cost scheme_cost(struct slice stored, const char *default_scheme)
{
    enum scheme_cost cost = SCHEME_CHEAP;
    struct choice choice = { 0 };
    struct slice text;
    struct str raw;

    str_init(&raw, SCHEME_STORED_BYTES);
    if (split(stored, default_scheme, &choice, &text, NULL) == 0 && choice.scheme->cost &&
        decode(&choice, text, &raw, NULL) == 0)
        cost = choice.scheme->cost(choice.scheme, str_slice(&raw));
    wipe(&raw);
    return cost;
}

static int upper_name(struct slice name, char out[SCHEME_NAME_BYTES + 1])
{
    size_t len = name.len < SCHEME_NAME_BYTES ? name.len : SCHEME_NAME_BYTES;

    for (size_t n = 0; n < len; n++)
        out[n] = ascii_upper(name.p[n]);
    out[len] = '\0';
    return name.len <= SCHEME_NAME_BYTES ? 0 : -1;
}

bool scheme_exists(const char *name, struct err *err)
{
    struct choice choice;
    char upper[SCHEME_NAME_BYTES + 1];

    if (upper_name(slice_of(name), upper) == 0 && choose(slice_of(name), &choice) == 0)
        return true;
    err_set(err, 0, NULL, "Unknown scheme: %s", upper);
    return false;
}

int scheme_generate(const char *name, const struct scheme_word *word, uint64_t rounds, struct str *out,
                    struct err *err)
{
    struct choice choice = { 0 };
    char upper[SCHEME_NAME_BYTES + 1];
    struct str raw;
    int rc = -1;

    if (!scheme_exists(name, err))
        return -1;
    upper_name(slice_of(name), upper);
    choose(slice_of(name), &choice);
    if (word->password.len > SCHEME_PASSWORD_BYTES)
        return err_set(err, 0, NULL, "the password is longer than %d bytes", SCHEME_PASSWORD_BYTES);
    str_init(&raw, SCHEME_STORED_BYTES);
    str_reserve(&raw, SCHEME_STORED_BYTES);
    if (choice.scheme->generate(choice.scheme, word, rounds, &raw, err) == 0) {
        str_reserve(out, strlen(upper) + 2 + 2 * raw.len + 1);
        str_printf(out, "{%s}", upper);
        if (choice.encoding == SCHEME_BASE64)
            base64_encode(out, str_slice(&raw));
        else if (choice.encoding == SCHEME_HEX)
            hex_encode(out, str_slice(&raw));
        else
            str_addslice(out, str_slice(&raw));
        rc = str_over(out) || str_over(&raw) ? err_set(err, 0, NULL, "the result is too long") : 0;
    }
    wipe(&raw);
    return rc;
}

static enum lookup from_plain(const struct scheme *wanted, struct slice password, const char *user, struct slice salt,
                              struct str *raw, struct err *err)
{
    struct scheme_word word = { password, user };
    int rc;

    if (salt.p && wanted->verify == scheme_scram_family[0].verify)
        rc = scram_make(wanted, password, salt, SCRAM_ITERATIONS, raw, err);
    else
        rc = wanted->generate(wanted, &word, 0, raw, err);
    return rc == 0 ? LOOKUP_FOUND : LOOKUP_RETRY;
}

enum lookup scheme_credentials(struct slice stored, const char *default_scheme, const char *wanted, const char *user,
                               struct slice salt, struct str *raw, struct err *err)
{
    struct choice have = { 0 }, want = { 0 };
    enum lookup found = LOOKUP_RETRY;
    struct slice text;
    struct str had;

    str_init(&had, SCHEME_STORED_BYTES);
    str_reserve(raw, SCHEME_STORED_BYTES);
    if (choose(slice_of(wanted), &want) != 0)
        err_set(err, 0, NULL, "Unknown scheme: %s", wanted);
    else if (split(stored, default_scheme, &have, &text, err) == 0 && decode(&have, text, &had, err) == 0) {
        if (have.scheme->verify == want.scheme->verify && have.scheme->with == want.scheme->with) {
            str_addslice(raw, str_slice(&had));
            found = LOOKUP_FOUND;
        } else if (have.scheme->plain) {
            found = from_plain(want.scheme, str_slice(&had), user, salt, raw, err);
        } else {
            err_set(err, 0, NULL, "Requested %s scheme, but we have only %s", wanted, have.scheme->name);
            found = LOOKUP_NONE;
        }
    }
    wipe(&had);
    return found;
}
