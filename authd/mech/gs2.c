/*
 * gs2 - parses the GS2 header
 *
 * Callers     see gs2.h
 */
#include "gs2.h"

/* saslname: "=2C" and "=3D" stand for a comma and an equals sign. */
static int decode_name(struct slice in, char *out, size_t size, size_t *len)
{
    size_t to = 0;

    for (size_t n = 0; n < in.len; n++) {
        char c = in.p[n];

        if (c == '\0' || to + 1 >= size)
            return -1;
        if (c == '=') {
            struct slice code = slice_sub(in, n + 1, 2);
            if (slice_eq(code, "2C"))
                c = ',';
            else if (!slice_eq(code, "3D"))
                return -1;
            n += 2;
        }
        out[to++] = c;
    }
    out[to] = '\0';
    *len = to;
    return 0;
}

static bool binding_name(struct slice name)
{
    for (size_t n = 0; n < name.len; n++)
        if (!ascii_isalnum(name.p[n]) && name.p[n] != '.' && name.p[n] != '-')
            return false;
    return name.len > 0;
}

int gs2_parse(struct slice in, struct gs2 *out)
{
    struct slice flag, authzid;

    *out = (struct gs2){ .rest = in };
    if (!slice_split(&out->rest, ',', &flag) || flag.len == 0 || !slice_split(&out->rest, ',', &authzid) ||
        out->rest.p == NULL)
        return -1;
    out->flag = flag.p[0];
    if (out->flag == 'p') {
        out->binding = slice_sub(flag, 2, flag.len);
        if (!slice_starts(flag, "p=") || !binding_name(out->binding))
            return -1;
    } else if ((out->flag != 'n' && out->flag != 'y') || flag.len != 1) {
        return -1;
    }
    if (authzid.len == 0)
        return 0;
    if (!slice_starts(authzid, "a="))
        return -1;
    return decode_name(slice_sub(authzid, 2, authzid.len), out->authzid, sizeof out->authzid, &out->authzid_len);
}
