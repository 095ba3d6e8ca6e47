// LINK: authd_core
/* sasl_fuzz - first messages of SCRAM and OAUTHBEARER, answers of DIGEST-MD5; challenges of servers to our client */
#include "../authd/mech/digest_md5.h"
#include "../authd/mech/gs2.h"
#include "proto/sasl/client.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *, size_t);

/* Each line is a challenge. */
static void challenges(struct slice in)
{
    static const struct sasl_client_login login = {
        .user = "u", .password = "p", .service = "smtp", .host = "h", .nonce = "n"
    };
    const struct sasl_client_mech *m;

    for (size_t n = 0; (m = sasl_client_at(n)) != NULL; n++) {
        struct sasl_client *c = sasl_client_new(m, &login);
        struct slice rest = in, line;
        struct str out;
        struct err err;
        bool good = true;

        str_init(&out, SASL_CLIENT_BYTES);
        sasl_client_first(c, &out);
        while (good && slice_split(&rest, '\n', &line)) {
            str_reset(&out);
            good = sasl_client_next(c, line, &out, &err) == 0;
        }
        if (sasl_client_end(c, &err) == 0 && slice_starts(slice_of(sasl_client_name(m)), "SCRAM-") && in.len < 30)
            abort(); /* nobody proves that much in so few bytes */
        str_free(&out);
        sasl_client_free(&c);
    }
}

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
    challenges(in);
    return 0;
}
