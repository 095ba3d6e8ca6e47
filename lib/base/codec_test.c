/* base64 and hex: RFC 4648 section 10, and what must be refused */
#include "base/codec.h"

#include <assert.h>
#include <stdio.h>

static const struct {
    const char *plain, *base64;
} pairs[] = { { "", "" },
              { "f", "Zg==" },
              { "fo", "Zm8=" },
              { "foo", "Zm9v" },
              { "foob", "Zm9vYg==" },
              { "fooba", "Zm9vYmE=" },
              { "foobar", "Zm9vYmFy" },
              { "\xff\xfe\xfd", "//79" } };
static const char *const bad64[] = {
    "Z", "Zg", "Zg=", "Zg===", "=", "====", "Z===", "Zm9v\n", " Zm9v", "Zm=v", "Z!=="
};
static const char *const bad16[] = { "0", "0g", "xx", "0 " };

int main(void)
{
    struct str s;

    str_init(&s, STR_UNLIMITED);
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        str_set(&s, ">");
        base64_encode(&s, slice_of(pairs[i].plain));
        assert(strcmp(s.p + 1, pairs[i].base64) == 0);
        str_set(&s, ">");
        assert(base64_decode(&s, slice_of(pairs[i].base64)) == 0 && strcmp(s.p + 1, pairs[i].plain) == 0);
    }
    for (size_t i = 0; i < sizeof bad64 / sizeof *bad64; i++) {
        str_set(&s, "kept");
        if (base64_decode(&s, slice_of(bad64[i])) == 0 || strcmp(s.p, "kept") != 0) {
            printf("accepted \"%s\"\n", bad64[i]);
            return 1;
        }
    }
    str_reset(&s);
    hex_encode(&s, slice_make("\x00\x7f\xff", 3));
    assert(strcmp(s.p, "007fff") == 0);
    str_reset(&s);
    assert(hex_decode(&s, SLICE("007FfF")) == 0 && s.len == 3 && memcmp(s.p, "\x00\x7f\xff", 3) == 0);
    for (size_t i = 0; i < sizeof bad16 / sizeof *bad16; i++) {
        str_set(&s, "kept");
        assert(hex_decode(&s, slice_of(bad16[i])) == -1 && strcmp(s.p, "kept") == 0);
    }
    str_free(&s);
    return 0;
}
