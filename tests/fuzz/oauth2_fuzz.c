// LINK: oauth2_core authd_core
/*
 * Tokens, JSON, the client's messages of OAUTHBEARER and XOAUTH2, and dovecot-oauth2.conf.ext. No text makes a signature
 * good, and no error tells a value of the file.
 */
#include "../authd/mech/oauth_parse.h"
#include "../authd/oauth2/config.h"
#include "../authd/oauth2/jwt.h"
#include "base/codec.h"
#include "base/log.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define SECRET "xyzzySECRET"
enum { NOW = 1000000 };

static void listen(void *ctx, enum log_level level, const char *tag, const char *text, size_t len)
{
    (void) ctx, (void) level, (void) tag, (void) len;
    if (strstr(text, SECRET))
        abort();
}

static void token(struct slice in)
{
    static const struct jwt_wanted wanted = { "a b", "me", "mail" };
    struct arena *a = arena_new();
    struct jwt *t = arena_alloc(a, sizeof *t);
    struct err err;

    if (jwt_parse(in, a, t, &err) == 0) {
        (void) jwt_valid(t, NOW, &wanted, &err);
        if (jwt_signed(t, SLICE("bm9ib2R5IGtub3dzIHRoaXMgc2VjcmV0"), &err) == 0)
            abort();
    }
    arena_free(&a);
}

/* A header and claims, the line between them, as a token has them. */
static void made_token(struct slice in)
{
    struct slice rest = in, part;
    struct str text;

    str_init(&text, STR_UNLIMITED);
    for (int n = 0; n < 2 && slice_split(&rest, '\n', &part); n++) {
        size_t from = text.len;
        base64_encode(&text, part);
        while (text.len > from && text.p[text.len - 1] == '=')
            str_cut(&text, text.len - 1);
        for (size_t i = from; i < text.len; i++)
            text.p[i] = text.p[i] == '+' ? '-' : text.p[i] == '/' ? '_' : text.p[i];
        str_addc(&text, '.');
    }
    str_adds(&text, "c2lnbmF0dXJl");
    token(str_slice(&text));
    str_free(&text);
}

static void json(struct slice in)
{
    struct arena *a = arena_new();
    struct claims *c = arena_alloc(a, sizeof *c);
    struct err err;
    int64_t seconds;

    if (claims_parse(in, a, c, &err) == 0)
        for (size_t n = 0; n < c->count; n++)
            if (!utf8_valid(slice_of(c->claim[n].value)) ||
                (claims_seconds(c->claim[n].value, &seconds) == 0 && seconds < 0))
                abort();
    arena_free(&a);
}

static void file(struct slice in)
{
    struct oauth2_config c;
    struct err err = { .text = "" };
    struct str text;

    if (memmem(in.p, in.len, SECRET, sizeof SECRET - 1))
        return;
    str_init(&text, STR_UNLIMITED);
    str_adds(&text, "client_secret = " SECRET "\nintrospection_url = http://u:" SECRET "@h/\n");
    str_addslice(&text, in);
    if (oauth2_config_parse("o.ext", str_slice(&text), &c, &err) == 0)
        oauth2_config_free(&c);
    if (strstr(err.text, SECRET))
        abort();
    str_free(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice in = slice_make((const char *) data, size);
    struct oauth_message m;

    log_sink(listen, NULL);
    if (oauth_parse_bearer(in, &m) == NULL && (m.user.len == 0 || m.token.len == 0))
        abort();
    if (oauth_parse_xoauth2(in, &m) == NULL && (m.user.len == 0 || m.token.len == 0))
        abort();
    token(in);
    made_token(in);
    json(in);
    file(in);
    return 0;
}
