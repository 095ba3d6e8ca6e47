// LINK: proto base
/* dovecot_auth_fuzz - lines of the auth protocol; escaping must be undone by unescaping */
#include "proto/sasl/dovecot_auth.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *, size_t);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct slice in = slice_make((const char *) data, len), value;
    struct dovecot_auth_line line;
    struct str out, back;
    uint32_t n;

    str_init(&out, STR_UNLIMITED);
    str_init(&back, STR_UNLIMITED);
    if (dovecot_auth_parse(in, &line) == 0) {
        dovecot_auth_number(&line, 0, &n);
        if (dovecot_auth_field(&line, 1, "user", &value))
            dovecot_auth_unescape(&out, value);
    }
    str_reset(&out);
    dovecot_auth_escape(&out, in);
    dovecot_auth_unescape(&back, str_slice(&out));
    if (!slice_same(str_slice(&back), in) || slice_find(str_slice(&out), '\n') >= 0)
        abort();
    str_free(&out);
    str_free(&back);
    return 0;
}
