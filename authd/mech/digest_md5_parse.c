/*
 * digest_md5_parse - see digest_md5.h
 *
 * Callers     see digest_md5.h
 */
#define OPENSSL_SUPPRESS_DEPRECATED /* see simple.c */
#include "base/codec.h"
#include "base/mem.h"
#include "digest_md5.h"
#include <openssl/md5.h>
#include <stdio.h>

static const char *const names[DIGEST_NAMES] = {
    [DIGEST_USERNAME] = "username",
    [DIGEST_REALM] = "realm",
    [DIGEST_NONCE] = "nonce",
    [DIGEST_CNONCE] = "cnonce",
    [DIGEST_NC] = "nc",
    [DIGEST_QOP] = "qop",
    [DIGEST_URI] = "digest-uri",
    [DIGEST_RESPONSE] = "response",
    [DIGEST_CHARSET] = "charset",
    [DIGEST_AUTHZID] = "authzid",
};

static bool blank(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

static void skip(struct slice *rest, bool commas)
{
    while (rest->len > 0 && (blank(rest->p[0]) || (commas && rest->p[0] == ',')))
        *rest = slice_sub(*rest, 1, rest->len);
}

static int quoted(struct slice *rest, struct str *to)
{
    size_t n = 1;

    for (; n < rest->len && rest->p[n] != '"'; n++) {
        if (rest->p[n] == '\\' && ++n == rest->len)
            return -1;
        if (rest->p[n] == '\0')
            return -1;
        str_addc(to, rest->p[n]);
    }
    if (n >= rest->len)
        return -1;
    *rest = slice_sub(*rest, n + 1, rest->len);
    return 0;
}

static void token(struct slice *rest, struct str *to)
{
    size_t n = 0;

    while (n < rest->len && rest->p[n] != ',' && !blank(rest->p[n]))
        str_addc(to, rest->p[n++]);
    *rest = slice_sub(*rest, n, rest->len);
}

static int one(struct slice *rest, struct digest_md5 *d, struct err *err)
{
    ptrdiff_t eq = slice_find(*rest, '=');
    size_t from = d->text.len, which = 0;

    if (eq <= 0)
        return err_set(err, 0, NULL, "a directive without a value");
    struct slice name = slice_trim(slice_sub(*rest, 0, (size_t) eq));
    while (which < DIGEST_NAMES && !slice_caseeq(name, names[which]))
        which++;
    *rest = slice_sub(*rest, (size_t) eq + 1, rest->len);
    skip(rest, false);
    if (rest->len > 0 && rest->p[0] == '"') {
        if (quoted(rest, &d->text) != 0)
            return err_set(err, 0, NULL, "a quoted text that does not end");
    } else {
        token(rest, &d->text);
    }
    skip(rest, false);
    if (rest->len > 0 && rest->p[0] != ',')
        return err_set(err, 0, NULL, "no comma between two directives");
    if (which == DIGEST_NAMES) /* auth-param, maxbuf, cipher: nothing to us */
        return 0;
    if (d->value[which].p)
        return err_set(err, 0, NULL, "%s twice", names[which]);
    d->value[which] = slice_make(d->text.p + from, d->text.len - from);
    return 0;
}

static int complete(struct digest_md5 *d, struct err *err)
{
    static const enum digest_md5_name needed[] = { DIGEST_USERNAME, DIGEST_NONCE, DIGEST_CNONCE,
                                                   DIGEST_NC,       DIGEST_URI,   DIGEST_RESPONSE };

    for (size_t n = 0; n < sizeof needed / sizeof *needed; n++)
        if (d->value[needed[n]].len == 0)
            return err_set(err, 0, NULL, "no %s", names[needed[n]]);
    if (memchr(d->text.p, '\0', d->text.len))
        return err_set(err, 0, NULL, "a NUL");
    if (!slice_eq(d->value[DIGEST_NC], "00000001"))
        return err_set(err, 0, NULL, "a nonce is used once");
    if (d->value[DIGEST_QOP].p && !slice_caseeq(d->value[DIGEST_QOP], "auth"))
        return err_set(err, 0, NULL, "qop is not auth");
    if (d->value[DIGEST_CHARSET].p && !slice_caseeq(d->value[DIGEST_CHARSET], "utf-8"))
        return err_set(err, 0, NULL, "charset is not utf-8");
    if (d->value[DIGEST_RESPONSE].len != DIGEST_MD5_HEX_BYTES)
        return err_set(err, 0, NULL, "response is not 32 digits");
    return 0;
}

int digest_md5_parse(struct slice in, struct digest_md5 *out, struct err *err)
{
    struct slice rest = in;

    *out = (struct digest_md5){ 0 };
    str_init(&out->text, DIGEST_MD5_BYTES);
    str_reserve(&out->text, DIGEST_MD5_BYTES); /* values point into it */
    if (in.len > DIGEST_MD5_BYTES)
        return err_set(err, 0, NULL, "longer than %d bytes", DIGEST_MD5_BYTES);
    for (skip(&rest, true); rest.len > 0; skip(&rest, true))
        if (one(&rest, out, err) != 0)
            return -1;
    return complete(out, err);
}

void digest_md5_free(struct digest_md5 *d) { str_free(&d->text); }

static void part(MD5_CTX *ctx, struct slice text)
{
    MD5_Update(ctx, ":", 1);
    MD5_Update(ctx, text.p, text.len);
}

static void finish(MD5_CTX *ctx, char hex[DIGEST_MD5_HEX_BYTES + 1])
{
    unsigned char md[MD5_DIGEST_LENGTH];

    MD5_Final(md, ctx);
    for (size_t n = 0; n < sizeof md; n++)
        snprintf(hex + 2 * n, 3, "%02x", md[n]);
    mem_wipe(md, sizeof md);
}

void digest_md5_response(const struct digest_md5 *d, const unsigned char secret[DIGEST_MD5_HASH_BYTES], bool server,
                         char hex[DIGEST_MD5_HEX_BYTES + 1])
{
    char a1[DIGEST_MD5_HEX_BYTES + 1], a2[DIGEST_MD5_HEX_BYTES + 1];
    MD5_CTX ctx;

    MD5_Init(&ctx);
    MD5_Update(&ctx, secret, DIGEST_MD5_HASH_BYTES);
    part(&ctx, d->value[DIGEST_NONCE]);
    part(&ctx, d->value[DIGEST_CNONCE]);
    if (d->value[DIGEST_AUTHZID].len > 0) /* an empty one, as gsasl sends, was not hashed by it either */
        part(&ctx, d->value[DIGEST_AUTHZID]);
    finish(&ctx, a1);
    MD5_Init(&ctx);
    if (!server)
        MD5_Update(&ctx, "AUTHENTICATE", strlen("AUTHENTICATE"));
    part(&ctx, d->value[DIGEST_URI]);
    finish(&ctx, a2);
    MD5_Init(&ctx);
    MD5_Update(&ctx, a1, DIGEST_MD5_HEX_BYTES);
    part(&ctx, d->value[DIGEST_NONCE]);
    part(&ctx, d->value[DIGEST_NC]);
    part(&ctx, d->value[DIGEST_CNONCE]);
    part(&ctx, SLICE("auth"));
    part(&ctx, slice_make(a2, DIGEST_MD5_HEX_BYTES));
    finish(&ctx, hex);
    mem_wipe(a1, sizeof a1);
}
