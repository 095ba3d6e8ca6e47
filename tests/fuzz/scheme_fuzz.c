// LINK: authd_core
/* scheme_fuzz - stored passwords as a table may hold them: decoded, priced, turned into what a mechanism needs; the cheap ones
 * verified too. */
#include "../authd/scheme/scheme.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *, size_t);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const wanted[] = { "PLAIN", "CRAM-MD5", "DIGEST-MD5" };
    struct slice stored = slice_make((const char *) data, size);
    struct scheme_word word = { SLICE("word"), "user@realm" };
    enum scheme_cost cost = scheme_cost(stored, "PLAIN");
    struct err err;
    struct str raw;

    if (scheme_usable(stored, "SCRAM-SHA-1", &err) && cost == SCHEME_CHEAP)
        scheme_verify(stored, "PLAIN", &word, &err);
    scheme_cost(stored, "ARGON2I");
    scheme_cost(stored, "PBKDF2");
    scheme_cost(stored, "SCRAM-SHA-256");
    scheme_cost(stored, "CRYPT");
    scheme_verify(stored, "MD5", &word, &err);
    for (size_t n = 0; n < sizeof wanted / sizeof *wanted; n++) {
        str_init(&raw, SCHEME_STORED_BYTES);
        if (scheme_credentials(stored, "PLAIN", wanted[n], "user@realm", SLICE("salt"), &raw, &err) != LOOKUP_FOUND &&
            err.text[0] == '\0')
            abort();
        str_free(&raw);
    }
    return 0;
}
