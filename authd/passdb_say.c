/*
 * passdb_say - see passdb_say.h
 */
#include "passdb_say.h"
#include "authd.h"
#include "base/codec.h"
#include <openssl/sha.h>

enum { SHOWN_BYTES = 256 };
static struct {
    enum { NOTHING, PLAIN, SHA1_HEX } what;
    size_t most; /* characters */
} given;         /* set once, before the jail */

int passdb_say_open(const char *text, struct err *err)
{
    struct slice rest = slice_of(text), kind;
    uint64_t n = SHOWN_BYTES;

    slice_split(&rest, ':', &kind);
    if (slice_caseeq(kind, "no"))
        given.what = NOTHING;
    else if (slice_caseeq(kind, "plain") || slice_caseeq(kind, "yes"))
        given.what = PLAIN;
    else if (slice_caseeq(kind, "sha1"))
        given.what = SHA1_HEX;
    else
        return err_set(err, 0, NULL, "%s: not a value that exists: no, plain or sha1, with :n behind the latter",
                       text);
    if (rest.p && (given.what == NOTHING || slice_u64(rest, SHOWN_BYTES, &n) != 0 || n == 0))
        return err_set(err, 0, NULL, "%s: \"n\" is a number of characters up to %d", text, SHOWN_BYTES);
    given.most = (size_t) n;
    return 0;
}

static void add_given(const struct passdb_attempt *t, struct str *line)
{
    struct slice password = t->purpose == PASSDB_FOR_PASSWORD ? t->password : (struct slice){ NULL, 0 };
    unsigned char digest[SHA_DIGEST_LENGTH];
    struct str hex;

    if (given.what == NOTHING || password.p == NULL)
        return;
    if (given.what == PLAIN) {
        password = slice_sub(password, 0, given.most);
        str_printf(line, " (given password: %.*s)", (int) password.len, password.p);
        return;
    }
    SHA1((const unsigned char *) password.p, password.len, digest);
    str_init(&hex, 2 * sizeof digest);
    hex_encode(&hex, slice_make((const char *) digest, sizeof digest));
    str_printf(line, " (SHA1 of given password: %.*s)", (int) (given.most < hex.len ? given.most : hex.len), hex.p);
    str_free(&hex);
}

void passdb_say(const struct passdb *p, const struct passdb_attempt *t, enum passdb_answer answer, const char *why)
{
    bool verbose = p->entry.verbose == DB_VERBOSE_DEFAULT ? authd_verbose : p->entry.verbose == DB_VERBOSE_YES;
    struct str line;

    if (!verbose && (answer != PASSDB_MISMATCH || given.what == NOTHING))
        return;
    str_init(&line, ERR_TEXT_BYTES + SHOWN_BYTES);
    str_adds(&line, why && why[0] ? why : answer == PASSDB_UNKNOWN ? "unknown user" : "Password mismatch");
    if (answer == PASSDB_MISMATCH || answer == PASSDB_UNKNOWN)
        add_given(t, &line);
    authd_request_info(t->request, "%s", line.p);
    mem_wipe(line.p, line.len);
    str_free(&line);
}

void passdb_say_differ(const struct passdb_attempt *t, const char *scheme, const char *stored)
{
    if (authd_debug_passwords)
        authd_request_debug(t->request, "%s(%.*s) != '%s'", scheme, (int) t->password.len, t->password.p, stored);
}
