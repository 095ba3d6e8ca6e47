/*
 * scheme_test - vectors made by Debian's doveadm 2.3.19.1, and everything we generate verified again
 */
#include "scheme.h"
#include <assert.h>
#include <stdio.h>
#include <string.h>

#define WORD          \
    "Sesame \xc3\xb6" \
    "ffne dich"
static const struct {
    const char *stored;
    enum scheme_answer good, bad; /* for WORD, and for another word */
} vectors[] = {
    { "{PLAIN}" WORD, SCHEME_MATCH, SCHEME_MISMATCH },
    { "{Clear}" WORD, SCHEME_MATCH, SCHEME_MISMATCH },
    { "{CRYPT}$2y$05$pnOvEWK1SzL3KkS05DYL6.sMp.dSCQCemMgCgcB9/KPIwoMPQ3g16", SCHEME_MATCH, SCHEME_MISMATCH },
    { "{SHA}fefsPdt7EVPt01ZvPxW+NhS8M0g=", SCHEME_MATCH, SCHEME_MISMATCH },
    { "{SHA1}fefsPdt7EVPt01ZvPxW+NhS8M0g=", SCHEME_MATCH, SCHEME_MISMATCH },
    { "{sha256}GmCrypL8rh7busBlXjM8LhiN+zU9MC6JoEPx4baPKWU=", SCHEME_MATCH, SCHEME_MISMATCH },
    { "{SHA256}1a60abca92fcae1edbbac0655e333c2e188dfb353d302e89a043f1e1b68f2965", SCHEME_MATCH, SCHEME_MISMATCH },
    { "{SHA256.HEX}1a60abca92fcae1edbbac0655e333c2e188dfb353d302e89a043f1e1b68f2965", SCHEME_MATCH, SCHEME_MISMATCH },
    { "{SHA512}FmKmWNorqs7vSmhTb1eVB6Xg0wXB3ino8QTux0DF/YiSKaeRov04V+8LnbMFgY2DFUR11u1Gq65v+38BxWEV8w==",
      SCHEME_MATCH, SCHEME_MISMATCH },
    { "{SHA512.B64}FmKmWNorqs7vSmhTb1eVB6Xg0wXB3ino8QTux0DF/YiSKaeRov04V+8LnbMFgY2DFUR11u1Gq65v+38BxWEV8w==",
      SCHEME_MATCH, SCHEME_MISMATCH },
    { "{SSHA}okoVTviVdA/6VUFyWt63Dta+FRLXl54+", SCHEME_MATCH, SCHEME_MISMATCH },
    { "{SSHA.HEX}24733d1d5b9983460fd6d2bdabc9d433d1a3e5de5cc7def6", SCHEME_MATCH, SCHEME_MISMATCH },
    { "{SSHA256}suY2/EpVL9fWGjB9sL6S/2hGe4yyW34pg7gElbdJ46sh1xhd", SCHEME_MATCH, SCHEME_MISMATCH },
    { "{SSHA512}u8ywjFQ60iff+FuMyAplxy45mISlynP+iJBeE46Kwj9mqDj83HNSNVNCrIPPjET5Av4mLYlQWRdTscmJLK37Rh4CONQ=",
      SCHEME_MATCH, SCHEME_MISMATCH },
    { "{SHA256-CRYPT}$5$km.sIj4cyO7.hzBr$PbE8uW2/vlA5fOx6AjseKas6AHzCAMr9Tmgkey980A3", SCHEME_MATCH,
      SCHEME_MISMATCH },
    { "{SHA512-CRYPT}$6$Aomj44BlFDgudWId$QNuDttHcpOMUmCs03zxl98oRCgZIY6.U0jCDgYKqO/"
      "hl3lBEP/43jeau/osIhDVS9Tl/Bk8hy.RkMIi5W0XjJ0",
      SCHEME_MATCH, SCHEME_MISMATCH },
    { "{BLF-CRYPT}$2y$05$Vg7T3KiCf9NtOjE4s9XwK.BMGLzb8uWhpRvySzSqILpbDT7Gs5TY.", SCHEME_MATCH, SCHEME_MISMATCH },
    { "{BLF-CRYPT.B64}JDJ5JDA1JE1vOElJS0RVallkamF4bkNCZ0hmNU9rLkJxRlNUZjNEYkRPLy5hUVR4Li82YzFBVWpiZC4u", SCHEME_MATCH,
      SCHEME_MISMATCH },
    { "{MD5-CRYPT}$1$glg/i3yC$6fHXR2knYrolSapLYrxLP.", SCHEME_MATCH, SCHEME_MISMATCH },
    { "{MD5}$1$3B3/HhUU$S93ht91SvXdlezNBl5wTZ0", SCHEME_MATCH, SCHEME_MISMATCH },
    { "{DES-CRYPT}qXfW0JYvjuvoI", SCHEME_MATCH, SCHEME_MISMATCH },
    { "{ARGON2I}$argon2i$v=19$m=32768,t=4,p=1$+FncUe3bpp5Bw/KsMc8mXw$o7u9kNr/9SQCoD0AWrT/"
      "VptaIWNa6x1DO30qIz+2V+8",
      SCHEME_MATCH, SCHEME_MISMATCH },
    { "{ARGON2ID}$argon2id$v=19$m=65536,t=3,p=1$tLnW367AEA57GaMTa5bzmw$ALnP9cSA5nIQgkggS5gftJcurJnCltukMUNBD45LDRM",
      SCHEME_MATCH, SCHEME_MISMATCH },
    { "{PLAIN-MD5}e5ec932840884418f029cd252a4b84ef", SCHEME_MATCH, SCHEME_MISMATCH },
    { "{LDAP-MD5}5eyTKECIRBjwKc0lKkuE7w==", SCHEME_MATCH, SCHEME_MISMATCH },
    { "{SMD5}3X+sJkp13IioyMgcvyGIaf85uD4=", SCHEME_MATCH, SCHEME_MISMATCH },
    { "{PLAIN.B64}U2VzYW1lIMO2ZmZuZSBkaWNo", SCHEME_MATCH, SCHEME_MISMATCH },
    { "{PLAIN.HEX}536573616d6520c3b666666e652064696368", SCHEME_MATCH, SCHEME_MISMATCH },
    { "{CRYPT}*", SCHEME_MISMATCH, SCHEME_MISMATCH },
    { "{CRYPT}", SCHEME_MISMATCH, SCHEME_MISMATCH },
    { "{CRYPT}!$6$x$y", SCHEME_MISMATCH, SCHEME_MISMATCH },
    { "{SHA256}abc", SCHEME_BROKEN, SCHEME_BROKEN },
    { "{SHA256}", SCHEME_BROKEN, SCHEME_BROKEN },
    { "{SSHA}YWJj", SCHEME_BROKEN, SCHEME_BROKEN },
    { "{NOPE}abc", SCHEME_BROKEN, SCHEME_BROKEN },
    { "{PLAIN", SCHEME_BROKEN, SCHEME_BROKEN },
    { WORD, SCHEME_BROKEN, SCHEME_BROKEN },
    { "{ARGON2ID}$argon2id$v=19$m=99999999,t=3,p=1$tLnW367AEA57GaMTa5bzmw$"
      "ALnP9cSA5nIQgkggS5gftJcurJnCltukMUNBD45LDRM",
      SCHEME_BROKEN, SCHEME_BROKEN },
    { "{ARGON2I}$argon2id$v=19$m=65536,t=3,p=1$tLnW367AEA57GaMTa5bzmw$ALnP9cSA5nIQgkggS5gftJcurJnCltukMUNBD45LDRM",
      SCHEME_BROKEN, SCHEME_BROKEN },
};

static const struct {
    const char *scheme;
    uint64_t rounds;
    const char *begins;
} made[] = {
    { "CRYPT", 0, "{CRYPT}$2y$05$" },
    { "blf-crypt", 6, "{BLF-CRYPT}$2y$06$" },
    { "BLF-CRYPT", 3, "{BLF-CRYPT}$2y$04$" },
    { "SHA512-CRYPT", 10, "{SHA512-CRYPT}$6$rounds=1000$" },
    { "SHA512-CRYPT", 2000, "{SHA512-CRYPT}$6$rounds=2000$" },
    { "ARGON2ID", 1, "{ARGON2ID}$argon2id$v=19$m=65536,t=1,p=1$" },
    { "sha256.hex", 0, "{SHA256.HEX}1a60abca92fcae1e" },
};

int main(void)
{
    struct slice good = slice_of(WORD), bad = SLICE("another word"), with_nul = SLICE(WORD "\0x");
    struct err err;
    struct str out;

    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
        struct slice stored = slice_of(vectors[i].stored);

        if (scheme_verify(stored, NULL, good, &err) != vectors[i].good ||
            scheme_verify(stored, NULL, bad, &err) != vectors[i].bad ||
            scheme_verify(stored, NULL, with_nul, &err) == SCHEME_MATCH) {
            fprintf(stderr, "%s\n", vectors[i].stored);
            assert(false);
        }
    }
    assert(scheme_verify(SLICE("abc"), "PLAIN", SLICE("abc"), &err) == SCHEME_MATCH);
    assert(scheme_verify(SLICE("{PLAIN}"), NULL, SLICE(""), &err) == SCHEME_MATCH);
    for (size_t n = 0; scheme_each(n); n++) {
        str_init(&out, SCHEME_STORED_BYTES);
        assert(scheme_generate(scheme_each(n)->name, good, 0, &out, &err) == 0);
        assert(scheme_verify(str_slice(&out), NULL, good, &err) == SCHEME_MATCH);
        assert(scheme_verify(str_slice(&out), NULL, bad, &err) == SCHEME_MISMATCH);
        str_free(&out);
    }
    for (size_t i = 0; i < sizeof made / sizeof *made; i++) {
        str_init(&out, SCHEME_STORED_BYTES);
        assert(scheme_generate(made[i].scheme, good, made[i].rounds, &out, &err) == 0);
        assert(slice_starts(str_slice(&out), made[i].begins));
        assert(scheme_verify(str_slice(&out), NULL, good, &err) == SCHEME_MATCH);
        str_free(&out);
    }
    str_init(&out, SCHEME_STORED_BYTES);
    assert(scheme_generate("NOPE", good, 0, &out, &err) == -1 && out.len == 0);
    str_free(&out);
    return 0;
}
