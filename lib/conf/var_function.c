/*
 * var_function - %{if;...}, hashes, and fields of a passdb or userdb
 *
 * Invariants  a branch of "if" that is not taken is not expanded
 * Source      Dovecot 2.3 documentation "Config Variables"; corner cases as Debian's 2.3.19 answers (var_test.c)
 */
#define OPENSSL_SUPPRESS_DEPRECATED /* MD4: its provider is a file, which a jail hides */
#include "base/codec.h"
#include "conf/var_internal.h"

#include <openssl/evp.h>
#include <openssl/md4.h>
#include <regex.h>
#include <stdlib.h>

enum {
    IF_FIELDS_MIN = 4,
    IF_FIELDS = 5,
    PKCS5_BYTES = 336,
    PKCS5_ROUNDS = 2048,
    ROUNDS_MAX = 1 << 24,
    FIELD_BYTES = 1 << 16,
};

bool var_field(struct slice *rest, struct str *out)
{
    size_t depth = 0, i;

    if (rest->p == NULL)
        return false;
    for (i = 0; i < rest->len; i++) {
        char c = rest->p[i];
        if (c == '\\' && i + 1 < rest->len) {
            if (depth)
                str_addc(out, c);
            str_addc(out, rest->p[++i]);
            continue;
        }
        if (c == ';' && depth == 0)
            break;
        depth += c == '{';
        if (c == '}' && depth)
            depth--;
        str_addc(out, c);
    }
    *rest = i < rest->len ? slice_sub(*rest, i + 1, rest->len) : slice_make(NULL, 0);
    return true;
}

/* "*" any text, "?" any byte. */
static bool like(struct slice text, struct slice mask)
{
    size_t t = 0, m = 0, star = SIZE_MAX, from = 0;

    while (t < text.len) {
        if (m < mask.len && mask.p[m] == '*') {
            star = m++;
            from = t;
        } else if (m < mask.len && (mask.p[m] == '?' || mask.p[m] == text.p[t])) {
            m++;
            t++;
        } else if (star != SIZE_MAX) {
            m = star + 1;
            t = ++from;
        } else {
            return false;
        }
    }
    while (m < mask.len && mask.p[m] == '*')
        m++;
    return m == mask.len;
}

static bool by_regex(struct var_run *run, const char *text, const char *pattern)
{
    regex_t re;
    char why[100];
    int rc = regcomp(&re, pattern, REG_EXTENDED | REG_NOSUB);

    if (rc) {
        regerror(rc, &re, why, sizeof why);
        var_fail(run, "if: %s", why);
        return false;
    }
    rc = regexec(&re, text, 0, NULL, 0);
    regfree(&re);
    return rc == 0;
}

enum relation { LESS = 1, SAME = 2, MORE = 4, LIKE = 8, REGEX = 16, NUMERIC = 32, NOT = 64 };
static const struct {
    const char *name;
    unsigned relation;
} comparators[] = {
    { "==", SAME | NUMERIC },
    { "<", LESS | NUMERIC },
    { "<=", LESS | SAME | NUMERIC },
    { ">", MORE | NUMERIC },
    { ">=", MORE | SAME | NUMERIC },
    { "!=", LESS | MORE | NUMERIC },
    { "eq", SAME },
    { "lt", LESS },
    { "le", LESS | SAME },
    { "gt", MORE },
    { "ge", MORE | SAME },
    { "ne", LESS | MORE },
    { "*", LIKE },
    { "!*", LIKE | NOT },
    { "~", REGEX },
    { "!~", REGEX | NOT },
};

static bool holds(struct var_run *run, unsigned relation, const struct str *a, const struct str *b)
{
    int64_t x = 0, y = 0;
    int order;

    if (relation & LIKE)
        return like(str_slice(a), str_slice(b)) != !!(relation & NOT);
    if (relation & REGEX)
        return by_regex(run, a->p, b->p) != !!(relation & NOT);
    if (relation & NUMERIC) {
        if (slice_i64(str_slice(a), INT64_MIN, INT64_MAX, &x) < 0)
            var_fail(run, "if: %.100s (lhs) is not a number", a->p);
        else if (slice_i64(str_slice(b), INT64_MIN, INT64_MAX, &y) < 0)
            var_fail(run, "if: %.100s (rhs) is not a number", b->p);
        order = (x > y) - (x < y);
    } else {
        order = strcmp(a->p, b->p);
    }
    return order < 0 ? relation & LESS : order > 0 ? relation & MORE : relation & SAME;
}

static void choose(struct var_run *run, const struct str field[IF_FIELDS], bool written, struct str *out)
{
    struct str a, b;
    size_t c = 0;

    while (c < sizeof comparators / sizeof *comparators && strcmp(field[1].p, comparators[c].name) != 0)
        c++;
    if (c == sizeof comparators / sizeof *comparators) {
        var_fail(run, "if: Unsupported comparator '%.100s'", field[1].p);
        return;
    }
    str_init(&a, VAR_VALUE_BYTES);
    str_init(&b, VAR_VALUE_BYTES);
    var_walk(run, str_slice(&field[0]), false, &a);
    var_walk(run, str_slice(&field[2]), false, &b);
    if (run->names)
        var_walk(run, str_slice(&field[3]), false, &a);
    bool yes = holds(run, comparators[c].relation, &a, &b);
    str_free(&a);
    str_free(&b);
    var_walk(run, str_slice(&field[yes ? 3 : 4]), written, out);
}

/* rest: behind "if;", p NULL when there is nothing. */
static void conditional(struct var_run *run, struct slice rest, bool written, struct str *out)
{
    struct str field[IF_FIELDS], surplus;
    size_t n = 0;

    for (size_t i = 0; i < IF_FIELDS; i++)
        str_init(&field[i], FIELD_BYTES);
    str_init(&surplus, FIELD_BYTES);
    if (rest.p == NULL) {
        var_fail(run, "if: missing parameter(s)");
    } else {
        while (var_field(&rest, n < IF_FIELDS ? &field[n] : &surplus))
            n++;
        if (n < IF_FIELDS_MIN || n > IF_FIELDS)
            var_fail(run, "if: requires four or five parameters, got %zu", n);
        else
            choose(run, field, written, out);
    }
    str_free(&surplus);
    for (size_t i = 0; i < IF_FIELDS; i++)
        str_free(&field[i]);
}

struct hashing {
    const EVP_MD *algorithm; /* NULL: MD4 */
    bool pkcs5, base64;
    uint64_t rounds, bits; /* bits 0: all */
    struct str salt;
};
static const struct {
    const char *name;
    const EVP_MD *(*algorithm)(void);
} hashes[] = {
    { "md4", NULL },          { "md5", EVP_md5 },       { "sha1", EVP_sha1 },         { "sha256", EVP_sha256 },
    { "sha384", EVP_sha384 }, { "sha512", EVP_sha512 }, { "sha3-256", EVP_sha3_256 }, { "sha3-512", EVP_sha3_512 },
    { "pkcs5", EVP_sha256 },
};
enum { HASHES = sizeof hashes / sizeof *hashes };

static void bad_arguments(struct var_run *run, const char *why)
{
    var_fail(run, "Cannot parse hash arguments:%s", why);
}

/* "rounds=2,salt=x": unknown names are passed over, and so is what follows a salt: hashes in databases depend on it. */
static void hash_options(struct var_run *run, struct slice options, struct hashing *h)
{
    while (options.len) {
        ptrdiff_t comma = slice_find(options, ','), equals = slice_find(options, '=');
        struct slice one = slice_sub(options, 0, comma < 0 ? options.len : (size_t) comma), value;

        value = equals < 0 ? SLICE("") : slice_sub(one, (size_t) equals + 1, one.len);
        if (slice_starts(one, "salt=")) {
            str_reset(&h->salt);
            var_walk(run, value, false, &h->salt);
            return;
        }
        if (slice_starts(one, "rounds=")) {
            if (slice_u64(value, ROUNDS_MAX, &h->rounds) < 0)
                bad_arguments(run, "not a number, or too many rounds");
            else if (h->rounds < 1)
                bad_arguments(run, "rounds must be at least 1");
        } else if (slice_starts(one, "truncate=")) {
            if (slice_u64(value, UINT16_MAX, &h->bits) < 0 || h->bits < 1)
                bad_arguments(run, "truncate must be a number of bits");
        } else if (slice_eq(one, "format=base64")) {
            h->base64 = true;
        } else if (slice_starts(one, "format=") && !slice_eq(value, "hex") && !slice_eq(value, "hexuc")) {
            var_fail(run, "Cannot parse hash arguments:'%.*s' is not supported format",
                     value.len > 100 ? 100 : (int) value.len, value.p);
        }
        options = slice_sub(options, one.len + 1, options.len);
    }
}

static bool digest_once(const struct hashing *h, struct str *data)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned len = MD4_DIGEST_LENGTH;
    struct str in;
    bool ok;

    str_init(&in, 2 * VAR_VALUE_BYTES);
    str_addslice(&in, str_slice(&h->salt));
    str_addslice(&in, str_slice(data));
    if (h->algorithm)
        ok = EVP_Digest(in.p, in.len, digest, &len, h->algorithm, NULL) == 1;
    else
        ok = MD4((const unsigned char *) in.p, in.len, digest) != NULL;
    str_free(&in);
    str_reset(data);
    str_add(data, digest, len);
    return ok;
}

static bool digest(const struct hashing *h, struct str *data)
{
    unsigned char key[PKCS5_BYTES];
    bool ok = true;

    if (!h->pkcs5) {
        for (uint64_t i = 0; i < h->rounds && ok; i++)
            ok = digest_once(h, data);
        return ok;
    }
    ok = PKCS5_PBKDF2_HMAC(data->p, (int) data->len, (const unsigned char *) h->salt.p, (int) h->salt.len,
                           (int) h->rounds, h->algorithm, sizeof key, key) == 1;
    str_reset(data);
    str_add(data, key, sizeof key);
    return ok;
}

/* Keeps the first bits, as a number: shifted to the right end of the bytes that hold them. */
static void keep_bits(struct str *data, uint64_t bits)
{
    unsigned shift = (unsigned) ((8 - bits % 8) % 8);

    if (bits == 0 || bits >= (uint64_t) data->len * 8)
        return;
    str_cut(data, (size_t) ((bits + 7) / 8));
    for (size_t i = data->len; shift && i-- > 0;) {
        unsigned high = i ? (unsigned char) data->p[i - 1] : 0U;
        data->p[i] = (char) ((high << 8 | (unsigned char) data->p[i]) >> shift & 255);
    }
}

/* inside: "sha256;rounds=2:user" */
static void hash(struct var_run *run, size_t which, struct slice inside, struct str *out)
{
    struct hashing h = { .algorithm = hashes[which].algorithm ? hashes[which].algorithm() : NULL };
    struct slice options = slice_sub(inside, strlen(hashes[which].name), inside.len), field = { "", 0 };
    struct str data;
    size_t depth = 0, i;

    for (i = 0; i < options.len && !(options.p[i] == ':' && depth == 0); i++) {
        depth += options.p[i] == '{';
        if (options.p[i] == '}' && depth)
            depth--;
    }
    field = slice_sub(options, i + 1, options.len);
    options = slice_sub(options, 1, i ? i - 1 : 0);
    h.pkcs5 = strcmp(hashes[which].name, "pkcs5") == 0;
    h.rounds = h.pkcs5 ? PKCS5_ROUNDS : 1;
    str_init(&h.salt, VAR_VALUE_BYTES);
    str_init(&data, VAR_VALUE_BYTES);
    if (h.pkcs5)
        str_addslice(&h.salt, field);
    hash_options(run, options, &h);
    if (!var_lookup(run, field, &data)) {
        var_unknown(run, field, out);
    } else if (!run->failed) {
        if (!digest(&h, &data))
            var_fail(run, "the hash %s cannot be computed", hashes[which].name);
        keep_bits(&data, h.bits);
        if (h.base64)
            base64_encode(out, str_slice(&data));
        else
            hex_encode(out, str_slice(&data)); /* lower case for hexuc too: databases hold what 2.3 gave */
    }
    str_free(&data);
    str_free(&h.salt);
}

/* inside: "userdb:name:default" */
static void database_field(struct var_run *run, struct slice inside, size_t prefix, struct str *out)
{
    struct slice name = slice_sub(inside, prefix + 1, inside.len), otherwise = { "", 0 };
    ptrdiff_t colon = slice_find(name, ':');
    const char *value = NULL;

    if (colon >= 0) {
        otherwise = slice_sub(name, (size_t) colon + 1, name.len);
        name.len = (size_t) colon;
    }
    if (name.len)
        value = run->scope->get(run->scope->ctx, slice_sub(inside, 0, prefix + 1 + name.len));
    if (value)
        str_adds(out, value);
    else
        str_addslice(out, otherwise);
}

static void environment(struct slice inside, struct str *out)
{
    struct str name;
    const char *value;

    str_init(&name, FIELD_BYTES);
    str_addslice(&name, slice_sub(inside, 4, inside.len));
    value = getenv(name.p);
    if (value)
        str_adds(out, value);
    str_free(&name);
}

bool var_is_if(struct slice inside)
{
    return slice_starts(inside, "if;") || slice_starts(inside, "if:") || slice_eq(inside, "if");
}

bool var_function(struct var_run *run, struct slice inside, bool written, struct str *out)
{
    size_t head = 0;
    struct slice name;

    while (head < inside.len && inside.p[head] != ';' && inside.p[head] != ':')
        head++;
    name = slice_sub(inside, 0, head);
    if (var_is_if(inside)) {
        conditional(run, slice_starts(inside, "if;") ? slice_sub(inside, 3, inside.len) : slice_make(NULL, 0),
                    written, out);
        return true;
    }
    if (slice_eq(name, "userdb") || slice_eq(name, "passdb")) {
        database_field(run, inside, head, out);
        return true;
    }
    if (slice_eq(name, "env")) {
        environment(inside, out);
        return true;
    }
    for (size_t i = 0; i < HASHES; i++)
        if (slice_eq(name, hashes[i].name)) {
            hash(run, i, inside, out);
            return true;
        }
    return false;
}
