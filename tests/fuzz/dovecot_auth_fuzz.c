// LINK: proto base
/* dovecot_auth_fuzz - lines of the auth protocol; what is written must read back as it was */
#include "proto/sasl/dovecot_auth.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *, size_t);

static void round_trip(struct slice in)
{
    struct dovecot_auth_line line;
    struct slice value;
    struct str out;

    str_init(&out, STR_UNLIMITED);
    dovecot_auth_begin(&out, DOVECOT_AUTH_OK);
    dovecot_auth_put(&out, in);
    dovecot_auth_put_value(&out, "user", in);
    dovecot_auth_end(&out);
    if (slice_find(str_slice(&out), '\n') + 1 != (ptrdiff_t) out.len)
        abort();
    if (dovecot_auth_split(out.p, out.len - 1, &line) || line.count != 3 ||
        !slice_same(dovecot_auth_word(&line, 1), in) || !dovecot_auth_value(&line, 2, "user", &value) ||
        !slice_same(value, in))
        abort();
    str_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct dovecot_auth_line line;
    struct slice value;
    char *copy = malloc(len + 1);

    if (copy == NULL)
        abort();
    if (len)
        memcpy(copy, data, len);
    copy[len] = 0;
    if (dovecot_auth_split(copy, len, &line) == 0)
        dovecot_auth_value(&line, 1, "user", &value);
    free(copy);
    round_trip(slice_make((const char *) data, len));
    return 0;
}
