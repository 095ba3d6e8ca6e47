// LINK: authd_core
/* sasl_fuzz - first messages of SCRAM and OAUTHBEARER, answers of DIGEST-MD5 */
#include "../authd/mech/digest_md5.h"
#include "../authd/mech/gs2.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *, size_t);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const unsigned char secret[DIGEST_MD5_HASH_BYTES];
    struct slice in = slice_make((const char *) data, size);
    char hex[DIGEST_MD5_HEX_BYTES + 1];
    struct digest_md5 d;
    struct gs2 gs2;
    struct err err;

    if (gs2_parse(in, &gs2) == 0 &&
        (strlen(gs2.authzid) != gs2.authzid_len || gs2.rest.p + gs2.rest.len != in.p + in.len))
        abort();
    if (digest_md5_parse(in, &d, &err) == 0) {
        digest_md5_response(&d, secret, false, hex);
        if (strlen(hex) != DIGEST_MD5_HEX_BYTES)
            abort();
    }
    digest_md5_free(&d);
    return 0;
}
