/* digest_md5_test - the exchange of RFC 2831 section 4, and answers that are none */
#include "digest_md5.h"
#include "base/codec.h"
#include <assert.h>
#include <openssl/evp.h>
#include <stdio.h>

#define RFC                                                                                                        \
    "charset=utf-8,username=\"chris\",realm=\"elwood.innosoft.com\",nonce=\"OA6MG9tEQGm2hh\",nc=00000001,"         \
    "cnonce=\"OA6MHXh6VqTrRk\",digest-uri=\"imap/elwood.innosoft.com\",response=d388dad90d4bbd760a152321f2143af7," \
    "qop=auth"
#define REST "nonce=n,nc=00000001,cnonce=c,digest-uri=u,response=d388dad90d4bbd760a152321f2143af7"

static const struct {
    const char *in;
    int rc;
    const char *username, *realm;
} cases[] = {
    { RFC, 0, "chris", "elwood.innosoft.com" },
    { "username=chris," REST, 0, "chris", "" },
    { " , username = chris ,\t" REST, 0, "chris", "" },
    { "USERNAME=\"a\\\"b\\\\c,d\",Realm=\"\"," REST, 0, "a\"b\\c,d", "" },
    { "username=chris,maxbuf=65536,cipher=rc4,x=\"y\"," REST, 0, "chris", "" },
    { "username=chris,qop=auth-int," REST, -1, "", "" },
    { "username=chris,charset=latin-1," REST, -1, "", "" },
    { "username=chris,username=joe," REST, -1, "", "" },
    { "username=\"\"," REST, -1, "", "" },
    { "username=\"chris," REST, -1, "", "" },
    { "username=\"chris\\", -1, "", "" },
    { "username=\"chris\"x," REST, -1, "", "" },
    { "username," REST, -1, "", "" },
    { "=chris," REST, -1, "", "" },
    { REST, -1, "", "" },
    { "", -1, "", "" },
    { "garbage", -1, "", "" },
    { "username=u,nonce=n,nc=00000002,cnonce=c,digest-uri=u,response=d388dad90d4bbd760a152321f2143af7", -1, "", "" },
    { "username=u,nonce=n,nc=00000001,cnonce=c,digest-uri=u,response=d388", -1, "", "" },
    { "username=u,nonce=n,nc=00000001,cnonce=c,response=d388dad90d4bbd760a152321f2143af7", -1, "", "" },
};

static void rfc_exchange(void)
{
    unsigned char secret[DIGEST_MD5_HASH_BYTES];
    char hex[DIGEST_MD5_HEX_BYTES + 1];
    struct digest_md5 d;
    struct err err;

    assert(EVP_Digest("chris:elwood.innosoft.com:secret", 32, secret, NULL, EVP_md5(), NULL) == 1);
    assert(digest_md5_parse(SLICE(RFC), &d, &err) == 0);
    digest_md5_response(&d, secret, false, hex);
    assert(slice_eq(d.value[DIGEST_RESPONSE], hex));
    digest_md5_response(&d, secret, true, hex);
    assert(strcmp(hex, "ea40f60335c427b5527b84dbabcdfffd") == 0);
    digest_md5_free(&d);
}

int main(void)
{
    static char longest[DIGEST_MD5_BYTES + 2];
    struct digest_md5 d;
    struct err err;

    for (size_t n = 0; n < sizeof cases / sizeof *cases; n++) {
        int rc = digest_md5_parse(slice_of(cases[n].in), &d, &err);

        if (rc != cases[n].rc || (rc == 0 && (!slice_eq(d.value[DIGEST_USERNAME], cases[n].username) ||
                                              !slice_eq(d.value[DIGEST_REALM], cases[n].realm)))) {
            fprintf(stderr, "%s\n", cases[n].in);
            assert(false);
        }
        digest_md5_free(&d);
    }
    rfc_exchange();
    memset(longest, 'x', sizeof longest - 1);
    assert(digest_md5_parse(slice_make(longest, sizeof longest - 1), &d, &err) == -1);
    digest_md5_free(&d);
    assert(digest_md5_parse(SLICE("username=\"a\0b\"," REST), &d, &err) == -1);
    digest_md5_free(&d);
    return 0;
}
