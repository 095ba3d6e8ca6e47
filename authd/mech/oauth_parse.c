/*
 * oauth_parse - see oauth_parse.h
 */
#include "oauth_parse.h"

#define END '\x01'
enum { HEADER_BYTES = 3 * GS2_NAME_BYTES + 16 }; /* each byte of a name may be escaped */

/* The value of the one pair with this name; a name twice could mean two users to two readers. NULL when absent. */
static const char *find(struct slice rest, const char *prefix, struct slice *out)
{
    struct slice pair;

    *out = (struct slice){ NULL, 0 };
    while (slice_split(&rest, END, &pair))
        if (slice_starts(pair, prefix)) {
            if (out->p)
                return "a field comes twice";
            *out = slice_sub(pair, strlen(prefix), pair.len);
        }
    return out->p ? NULL : "Missing username or token";
}

/* RFC 6750 2.1; the scheme's name in any case. */
static const char *find_token(struct slice pairs, struct slice *token)
{
    const char *why = find(pairs, "auth=", token);

    if (why)
        return why;
    if (!slice_casestarts(*token, "bearer "))
        return "not a bearer token";
    *token = slice_trim(slice_sub(*token, strlen("bearer "), token->len));
    return token->len > 0 ? NULL : "Missing username or token";
}

/* The header, with the comma at its end that some clients leave out (Dovecot lets them), and what follows it. */
static int split_header(struct slice in, char header[HEADER_BYTES], struct slice *head, struct slice *pairs)
{
    ptrdiff_t end = slice_find(in, END);
    size_t len = end < 0 ? in.len : (size_t) end;

    if (end <= 0 || len + 1 >= HEADER_BYTES)
        return -1;
    memcpy(header, in.p, len);
    if (header[len - 1] != ',')
        header[len++] = ',';
    *head = slice_make(header, len);
    *pairs = slice_sub(in, (size_t) end, in.len);
    return 0;
}

const char *oauth_parse_bearer(struct slice in, struct oauth_message *out)
{
    char header[HEADER_BYTES];
    struct slice head, pairs;

    if (split_header(in, header, &head, &pairs) != 0 || gs2_parse(head, &out->header) != 0 ||
        out->header.rest.len > 0)
        return "Invalid gs2-header in request";
    out->header.binding = out->header.rest = (struct slice){ "", 0 }; /* they lie in this function's own bytes */
    if (out->header.flag == 'p')
        return "Client requested and used channel-binding";
    out->user = slice_make(out->header.authzid, out->header.authzid_len);
    if (out->user.len == 0)
        return "Missing username or token";
    return find_token(pairs, &out->token);
}

const char *oauth_parse_xoauth2(struct slice in, struct oauth_message *out)
{
    const char *why = find(in, "user=", &out->user);

    if (why == NULL)
        why = find_token(in, &out->token);
    return why == NULL && out->user.len == 0 ? "Missing username or token" : why;
}
