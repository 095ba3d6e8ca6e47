/*
 * scheme_test - vectors made by Debian's doveadm 2.3.19.1, and everything we generate verified again
 *
 * tests/peer/test_password.py asks Debian's program itself.
 */
#include "scheme.h"
#include "base/codec.h"
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
    { "{PLAIN-MD4}d47e2db465ec83097462f92240827888", SCHEME_MATCH, SCHEME_MISMATCH },
    { "{CRAM-MD5}75147e44a590f66bb619bcdcb21530e1dde933f9e8bc4f61edb4a7e129b6e8dc", SCHEME_MATCH, SCHEME_MISMATCH },
    { "{HMAC-MD5}75147e44a590f66bb619bcdcb21530e1dde933f9e8bc4f61edb4a7e129b6e8dc", SCHEME_MATCH, SCHEME_MISMATCH },
    { "{CRAM-MD5.B64}dRR+RKWQ9mu2GbzcshUw4d3pM/novE9h7bSn4Sm26Nw=", SCHEME_MATCH, SCHEME_MISMATCH },
    { "{CRAM-MD5}dRR+RKWQ9mu2GbzcshUw4d3pM/novE9h7bSn4Sm26Nw=", SCHEME_MATCH, SCHEME_MISMATCH },
    { "{CRAM-MD5}75147e44", SCHEME_BROKEN, SCHEME_BROKEN },
    { "{DIGEST-MD5}3d3159cde381bcef55bd216f921ccd8a", SCHEME_MATCH, SCHEME_MISMATCH },
    { "{PBKDF2}$1$6hdLwxmatu5vU2HF$5000$245417bf2e88a2f09aed4239a0a6db32515c5670", SCHEME_MATCH, SCHEME_MISMATCH },
    { "{PBKDF2}$1$6hdLwxmatu5vU2HF$5000$245417BF2E88A2F09AED4239A0A6DB32515C5670", SCHEME_MATCH, SCHEME_MISMATCH },
    { "{PBKDF2}$2$6hdLwxmatu5vU2HF$5000$245417bf2e88a2f09aed4239a0a6db32515c5670", SCHEME_BROKEN, SCHEME_BROKEN },
    { "{PBKDF2}$1$6hdLwxmatu5vU2HF$2000000000$245417bf2e88a2f09aed4239a0a6db32515c5670", SCHEME_BROKEN,
      SCHEME_BROKEN },
    { "{PBKDF2}$1$salt$0$245417bf2e88a2f09aed4239a0a6db32515c5670", SCHEME_BROKEN, SCHEME_BROKEN },
    { "{PBKDF2}$1$salt$10$24", SCHEME_BROKEN, SCHEME_BROKEN },
    { "{SCRAM-SHA-1}4096,TUprXeEPlY5KZ+6oRBVzIQ==,6pxHYErGcPEk+iN6lO+VhZOtouA=,3o5lUuRwg6tMDvv8rCvgnAhYTqE=",
      SCHEME_MATCH, SCHEME_MISMATCH },
    { "{SCRAM-SHA-256}4096,076YZ5x0jMb4/S3CJyChgA==,cbnclTTym1J3AIvBrXXq8TA3lvJvMOhG8RbEkiepLrk=,"
      "RsN23ZHy5bycWbg9LS5fTa7nMq5d+wK1DUcwrAI2ILM=",
      SCHEME_MATCH, SCHEME_MISMATCH },
    { "{SCRAM-SHA-1}4095,TUprXeEPlY5KZ+6oRBVzIQ==,6pxHYErGcPEk+iN6lO+VhZOtouA=,3o5lUuRwg6tMDvv8rCvgnAhYTqE=",
      SCHEME_BROKEN, SCHEME_BROKEN },
    { "{SCRAM-SHA-1}4096,TUprXeEPlY5KZ+6oRBVzIQ==,6pxHYErGcPEk+iN6lO+VhZOtouA=", SCHEME_BROKEN, SCHEME_BROKEN },
    { "{SCRAM-SHA-1}4096,,6pxHYErGcPEk+iN6lO+VhZOtouA=,3o5lUuRwg6tMDvv8rCvgnAhYTqE=", SCHEME_BROKEN, SCHEME_BROKEN },
    { "{OTP}sha1 1024 f7db90498f56aaae b54418f0ea743265", SCHEME_MATCH, SCHEME_MISMATCH },
    { "{OTP}md5 3 TeSt bafbafe595669c5d", SCHEME_MATCH, SCHEME_MISMATCH },
    { "{OTP}md4 3 TeSt bafbafe595669c5d", SCHEME_MISMATCH, SCHEME_MISMATCH },
    { "{OTP}sha1 10000 f7db90498f56aaae b54418f0ea743265", SCHEME_BROKEN, SCHEME_BROKEN },
    { "{OTP}sha1 1024 seedseedseedseeds b54418f0ea743265", SCHEME_BROKEN, SCHEME_BROKEN },
    { "{PLAIN-TRUNC}6-Sesame", SCHEME_MATCH, SCHEME_MISMATCH },
    { "{PLAIN-TRUNC}99-" WORD, SCHEME_MATCH, SCHEME_MISMATCH },
    { "{PLAIN-TRUNC}6-" WORD, SCHEME_MISMATCH, SCHEME_MISMATCH },
    { "{PLAIN-TRUNC}0-", SCHEME_BROKEN, SCHEME_BROKEN },
    { "{PLAIN-TRUNC}Sesame", SCHEME_BROKEN, SCHEME_BROKEN },
    { "{MD5}e5ec932840884418f029cd252a4b84ef", SCHEME_MATCH, SCHEME_MISMATCH },
    { "{MD5}5eyTKECIRBjwKc0lKkuE7w==", SCHEME_MATCH, SCHEME_MISMATCH },
    { "{MD5}{PLAIN}" WORD, SCHEME_BROKEN, SCHEME_BROKEN },
    { "$1$glg/i3yC$6fHXR2knYrolSapLYrxLP.", SCHEME_MATCH, SCHEME_MISMATCH },
    { "$1$glg/i3yC$6fHXR2knYrolSapLYrxLP.$more", SCHEME_MATCH, SCHEME_MISMATCH },
    { "{MD5}$1$glg/i3yC$6fHXR2knYrolSapLYrxLP.$more", SCHEME_MISMATCH, SCHEME_MISMATCH },
    { "{CRYPT}$7$C6..../....SodiumChloride$2Rwl1qfml6R.Qm8RtaSQzZ/7zTsSvOTsPa3Dkr5AyJ4", SCHEME_MATCH,
      SCHEME_MISMATCH },
    { "{CRYPT}$y$j9T$F5Jx5fExrKuPp53xLKQ..1$lp4Irs7dJDZLJUlLSx4929tAncH50ftvbiVTPw0OI09", SCHEME_MATCH,
      SCHEME_MISMATCH },
    { "{BLF-CRYPT}$6$Aomj44BlFDgudWId$QNuDttHcpOMUmCs03zxl98oRCgZIY6", SCHEME_BROKEN, SCHEME_BROKEN },
    { "{ARGON2ID}$argon2i$v=19$m=32768,t=4,p=1$+FncUe3bpp5Bw/KsMc8mXw$o7u9kNr/9SQCoD0AWrT/"
      "VptaIWNa6x1DO30qIz+2V+8",
      SCHEME_MATCH, SCHEME_MISMATCH },
    /* Two lanes, and a short salt: not for libsodium. */
    { "{ARGON2ID}$argon2id$v=19$m=1024,t=2,p=2$c2FsdHNhbHRzYWx0c2FsdA$z/zrYYoTg9eXoVzGIOp/3uD8C5fPosR/SZc5uK1LhSY",
      SCHEME_MATCH, SCHEME_MISMATCH },
    { "{ARGON2I}$argon2i$v=19$m=1024,t=2,p=1$c2FsdHNhbHQ$cmkP0H/Vw0ZIW2AQ+RVuLq2YO8LYlS7V2Rb85AUTGGM", SCHEME_MATCH,
      SCHEME_MISMATCH },
    { "{ARGON2I}$argon2d$v=19$m=32768,t=4,p=1$+FncUe3bpp5Bw/KsMc8mXw$o7u9kNr/9SQCoD0AWrT/VptaIWNa6x1DO30qIz+2V+8",
      SCHEME_BROKEN, SCHEME_BROKEN },
    { "{ARGON2I}$argon2i$v=16$m=32768,t=4,p=1$+FncUe3bpp5Bw/KsMc8mXw$o7u9kNr/9SQCoD0AWrT/VptaIWNa6x1DO30qIz+2V+8",
      SCHEME_BROKEN, SCHEME_BROKEN },
    { "{ARGON2I}$argon2i$v=19$m=32768,t=1001,p=1$+FncUe3bpp5Bw/KsMc8mXw$o7u9kNr/9SQCoD0AWrT/VptaIWNa6x1DO30qIz+2V+8",
      SCHEME_BROKEN, SCHEME_BROKEN },
    { "{ARGON2I}$argon2i$v=19$m=32768,t=4$+FncUe3bpp5Bw/KsMc8mXw$o7u9kNr/9SQCoD0AWrT/VptaIWNa6x1DO30qIz+2V+8",
      SCHEME_BROKEN, SCHEME_BROKEN },
};

static const struct {
    const char *scheme;
    uint64_t rounds;
    const char *begins; /* NULL: refused */
} made[] = {
    { "CRYPT", 0, "{CRYPT}$2y$05$" },
    { "blf-crypt", 6, "{BLF-CRYPT}$2y$06$" },
    { "BLF-CRYPT", 3, "{BLF-CRYPT}$2y$04$" },
    { "SHA512-CRYPT", 10, "{SHA512-CRYPT}$6$rounds=1000$" },
    { "SHA512-CRYPT", 2000, "{SHA512-CRYPT}$6$rounds=2000$" },
    { "ARGON2ID", 0, "{ARGON2ID}$argon2id$v=19$m=65536,t=3,p=1$" },
    { "ARGON2ID", 1, "{ARGON2ID}$argon2id$v=19$m=65536,t=3,p=1$" },
    { "ARGON2ID", 3, "{ARGON2ID}$argon2id$v=19$m=262144,t=3,p=1$" },
    { "ARGON2I", 5, "{ARGON2I}$argon2i$v=19$m=32768,t=5,p=1$" },
    { "ARGON2I", 6, "{ARGON2I}$argon2i$v=19$m=131072,t=6,p=1$" },
    { "ARGON2I", 2, NULL },
    { "ARGON2I", 1001, NULL },
    { "sha256.hex", 0, "{SHA256.HEX}1a60abca92fcae1e" },
    { "PBKDF2", 10, "{PBKDF2}$1$" },
    { "PBKDF2", 10000001, NULL },
    { "SCRAM-SHA-1", 5000, "{SCRAM-SHA-1}4096," },
    { "cram-md5.base64", 0, "{CRAM-MD5.BASE64}dRR+RKWQ9mu2GbzcshUw4d3pM/novE9h7bSn4Sm26Nw=" },
    { "DIGEST-MD5", 0, "{DIGEST-MD5}3d3159cde381bcef55bd216f921ccd8a" },
    { "OTP", 0, "{OTP}sha1 1024 " },
    { "NOPE", 0, NULL },
    { "SHA256.foo", 0, NULL },
    { ".hex", 0, NULL },
};

static const struct {
    const char *stored;
    enum scheme_cost cost;
} costs[] = {
    { "{PLAIN}x", SCHEME_CHEAP },
    { "{SHA256}GmCrypL8rh7busBlXjM8LhiN+zU9MC6JoEPx4baPKWU=", SCHEME_CHEAP },
    { "{CRYPT}$6$Aomj44BlFDgudWId$QNu", SCHEME_SLOW },
    { "{SHA512-CRYPT}$6$rounds=500000$Aomj44BlFDgudWId$QNu", SCHEME_HEAVY },
    { "{BLF-CRYPT}$2y$05$Vg7T3KiCf9NtOjE4s9XwK.BMGLzb8uWhpRvySzSqILpbDT7Gs5TY.", SCHEME_SLOW },
    { "{CRYPT}$2y$12$Vg7T3KiCf9NtOjE4s9XwK.BMGLzb8uWhpRvySzSqILpbDT7Gs5TY.", SCHEME_HEAVY },
    { "{CRYPT}$y$j9T$F5Jx5fExrKuPp53xLKQ..1$x", SCHEME_HEAVY },
    { "{CRYPT}*", SCHEME_CHEAP },
    { "{ARGON2I}$argon2i$v=19$m=32768,t=4,p=1$+FncUe3bpp5Bw/KsMc8mXw$o7u9kNr/9SQCoD0AWrT/VptaIWNa6x1DO30qIz+2V+8",
      SCHEME_HEAVY },
    { "{ARGON2I}$argon2i$v=19$m=99999999,t=4,p=1$+FncUe3bpp5Bw/KsMc8mXw$o7u9kNr/9SQCoD0AWrT/VptaIWNa6x1DO30qIz+2V+8",
      SCHEME_CHEAP },
    { "{PBKDF2}$1$6hdLwxmatu5vU2HF$5000$245417bf2e88a2f09aed4239a0a6db32515c5670", SCHEME_SLOW },
    { "{SCRAM-SHA-1}100000,TUprXeEPlY5KZ+6oRBVzIQ==,6pxHYErGcPEk+iN6lO+VhZOtouA=,3o5lUuRwg6tMDvv8rCvgnAhYTqE=",
      SCHEME_HEAVY },
    { "{NOPE}", SCHEME_CHEAP },
};

/* What a mechanism is given of a stored password. */
static const struct {
    const char *stored, *wanted;
    enum lookup found;
    const char *hex; /* or text of SCRAM */
} credentials[] = {
    { "{PLAIN}" WORD, "CRAM-MD5", LOOKUP_FOUND, "75147e44a590f66bb619bcdcb21530e1dde933f9e8bc4f61edb4a7e129b6e8dc" },
    { "{HMAC-MD5}75147e44a590f66bb619bcdcb21530e1dde933f9e8bc4f61edb4a7e129b6e8dc", "CRAM-MD5", LOOKUP_FOUND,
      "75147e44a590f66bb619bcdcb21530e1dde933f9e8bc4f61edb4a7e129b6e8dc" },
    { WORD, "DIGEST-MD5", LOOKUP_FOUND, "3d3159cde381bcef55bd216f921ccd8a" },
    { "{DIGEST-MD5.B64}PTFZzeOBvO9VvSFvkhzNig==", "DIGEST-MD5", LOOKUP_FOUND, "3d3159cde381bcef55bd216f921ccd8a" },
    { "{CLEARTEXT}" WORD, "SCRAM-SHA-1", LOOKUP_FOUND,
      "4096,TUprXeEPlY5KZ+6oRBVzIQ==,6pxHYErGcPEk+iN6lO+VhZOtouA=,3o5lUuRwg6tMDvv8rCvgnAhYTqE=" },
    { "{SCRAM-SHA-1}5000,YWJjZA==,6pxHYErGcPEk+iN6lO+VhZOtouA=,3o5lUuRwg6tMDvv8rCvgnAhYTqE=", "SCRAM-SHA-1",
      LOOKUP_FOUND, "5000,YWJjZA==,6pxHYErGcPEk+iN6lO+VhZOtouA=,3o5lUuRwg6tMDvv8rCvgnAhYTqE=" },
    { "{SCRAM-SHA-1}5000,YWJjZA==,6pxHYErGcPEk+iN6lO+VhZOtouA=,3o5lUuRwg6tMDvv8rCvgnAhYTqE=", "SCRAM-SHA-256",
      LOOKUP_NONE, NULL },
    { "{SHA256}GmCrypL8rh7busBlXjM8LhiN+zU9MC6JoEPx4baPKWU=", "CRAM-MD5", LOOKUP_NONE, NULL },
    { "{PLAIN-TRUNC}6-Sesame", "CRAM-MD5", LOOKUP_NONE, NULL },
    { "{SHA256}zzz", "CRAM-MD5", LOOKUP_RETRY, NULL },
    { "{NOPE}zzz", "CRAM-MD5", LOOKUP_RETRY, NULL },
};

static struct scheme_word word_of(struct slice password)
{
    return (struct scheme_word){ password, "joe@example.org" };
}

static void test_vectors(void)
{
    struct scheme_word good = word_of(slice_of(WORD)), bad = word_of(SLICE("another word")),
                       with_nul = word_of(SLICE(WORD "\0x"));
    struct err err;

    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
        struct slice stored = slice_of(vectors[i].stored);
        bool cut = slice_starts(stored, "{PLAIN-TRUNC}6");

        if (scheme_verify(stored, NULL, &good, &err) != vectors[i].good ||
            scheme_verify(stored, NULL, &bad, &err) != vectors[i].bad ||
            (!cut && scheme_verify(stored, NULL, &with_nul, &err) == SCHEME_MATCH)) {
            fprintf(stderr, "%s\n", vectors[i].stored);
            assert(false);
        }
    }
    struct scheme_word abc = { SLICE("abc"), NULL }, empty = { SLICE(""), NULL }, nobody = { slice_of(WORD), NULL };
    assert(scheme_verify(SLICE("abc"), "PLAIN", &abc, &err) == SCHEME_MATCH);
    assert(scheme_verify(SLICE("{PLAIN}"), NULL, &empty, &err) == SCHEME_MATCH);
    assert(scheme_verify(SLICE("{DIGEST-MD5}3d3159cde381bcef55bd216f921ccd8a"), NULL, &nobody, &err) ==
           SCHEME_BROKEN);
}

static void test_generated(void)
{
    struct scheme_word good = word_of(slice_of(WORD)), bad = word_of(SLICE("another word"));
    struct err err;
    struct str out;

    for (size_t n = 0; scheme_each(n); n++) {
        bool cut = strcmp(scheme_each(n)->name, "PLAIN-TRUNC") == 0; /* the length is the table's business */
        str_init(&out, SCHEME_STORED_BYTES);
        assert(scheme_generate(scheme_each(n)->name, &good, 0, &out, &err) == 0);
        assert(cut || scheme_verify(str_slice(&out), NULL, &good, &err) == SCHEME_MATCH);
        assert(cut || scheme_verify(str_slice(&out), NULL, &bad, &err) == SCHEME_MISMATCH);
        str_free(&out);
    }
    for (size_t i = 0; i < sizeof made / sizeof *made; i++) {
        str_init(&out, SCHEME_STORED_BYTES);
        int rc = scheme_generate(made[i].scheme, &good, made[i].rounds, &out, &err);
        assert(rc == (made[i].begins ? 0 : -1));
        assert(rc != 0 || (slice_starts(str_slice(&out), made[i].begins) &&
                           scheme_verify(str_slice(&out), NULL, &good, &err) == SCHEME_MATCH));
        assert(rc == 0 || out.len == 0);
        str_free(&out);
    }
}

static void test_costs(void)
{
    for (size_t i = 0; i < sizeof costs / sizeof *costs; i++)
        assert(scheme_cost(slice_of(costs[i].stored), NULL) == costs[i].cost);
    assert(scheme_cost(SLICE("$6$a$b"), "CRYPT") == SCHEME_SLOW);
}

static void test_credentials(void)
{
    struct str salt, raw, hex;
    struct err err;

    str_init(&salt, SCHEME_STORED_BYTES);
    assert(base64_decode(&salt, SLICE("TUprXeEPlY5KZ+6oRBVzIQ==")) == 0);
    for (size_t i = 0; i < sizeof credentials / sizeof *credentials; i++) {
        str_init(&raw, SCHEME_STORED_BYTES);
        str_init(&hex, SCHEME_STORED_BYTES);
        assert(scheme_credentials(slice_of(credentials[i].stored), "PLAIN", credentials[i].wanted, "joe@example.org",
                                  str_slice(&salt), &raw, &err) == credentials[i].found);
        hex_encode(&hex, str_slice(&raw));
        assert(credentials[i].hex == NULL || slice_eq(str_slice(&raw), credentials[i].hex) ||
               slice_eq(str_slice(&hex), credentials[i].hex));
        str_free(&raw);
        str_free(&hex);
    }
    str_free(&salt);
}

int main(void)
{
    test_vectors();
    test_generated();
    test_costs();
    test_credentials();
    return 0;
}
