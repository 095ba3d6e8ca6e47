/*
 * client_digest - DIGEST-MD5 with qop=auth; contract in client.h
 *
 * Source      RFC 2831 2.1, 7.1, 7.2: where the server's charset is UTF-8, a name or password that fits into ISO 8859-1
 *             is hashed in that
 */
#include "base/codec.h"
#include "base/mem.h"
#include "client_internal.h"

enum { MD5_BYTES = 16 };
struct challenge {
    struct str realm, nonce;
    bool utf8, nonce_seen, qop_seen, auth, md5_sess;
};

/* token or "quoted string"; false: neither, or no end. */
static bool take_value(struct slice *rest, struct str *out)
{
    size_t n = 0;

    str_reset(out);
    if (rest->len == 0 || rest->p[0] != '"') {
        while (n < rest->len && rest->p[n] != ',' && !ascii_isspace(rest->p[n]))
            str_addc(out, rest->p[n++]);
    } else {
        for (n = 1; n < rest->len && rest->p[n] != '"'; n++) {
            if (rest->p[n] == '\\' && ++n == rest->len)
                return false;
            str_addc(out, rest->p[n]);
        }
        if (n++ >= rest->len)
            return false;
    }
    *rest = slice_sub(*rest, n, rest->len);
    return !str_over(out);
}

static bool has_word(struct slice list, const char *word)
{
    struct slice one;

    while (slice_word(&list, ", \t", &one))
        if (slice_caseeq(one, word))
            return true;
    return false;
}

static int keep(struct challenge *c, struct slice name, const struct str *value)
{
    struct slice text = str_slice(value);

    if (slice_caseeq(name, "realm") && c->realm.len == 0) {
        str_addslice(&c->realm, text); /* of several the first, as libsasl2 */
    } else if (slice_caseeq(name, "nonce")) {
        if (c->nonce_seen)
            return -1;
        c->nonce_seen = true;
        str_addslice(&c->nonce, text);
    } else if (slice_caseeq(name, "qop")) {
        c->qop_seen = true;
        c->auth = has_word(text, "auth");
    } else if (slice_caseeq(name, "charset")) {
        c->utf8 = slice_caseeq(text, "utf-8");
    } else if (slice_caseeq(name, "algorithm")) {
        c->md5_sess = slice_caseeq(text, "md5-sess");
    }
    return 0;
}

static void skip(struct slice *rest, bool commas)
{
    size_t n = 0;

    while (n < rest->len && ((commas && rest->p[n] == ',') || ascii_isspace(rest->p[n])))
        n++;
    *rest = slice_sub(*rest, n, rest->len);
}

static int parse(struct slice rest, struct challenge *c)
{
    struct str value;
    int rc = 0;

    str_init(&value, SASL_CLIENT_BYTES);
    while (rc == 0) {
        skip(&rest, true);
        if (rest.len == 0)
            break;
        ptrdiff_t equal = slice_find(rest, '=');
        if (equal <= 0) {
            rc = -1;
            break;
        }
        struct slice name = slice_trim(slice_sub(rest, 0, (size_t) equal));
        rest = slice_sub(rest, (size_t) equal + 1, rest.len);
        skip(&rest, false);
        rc = take_value(&rest, &value) ? keep(c, name, &value) : -1;
    }
    str_free(&value);
    return rc == 0 && c->nonce_seen && c->nonce.len > 0 && c->md5_sess && (c->auth || !c->qop_seen) ? 0 : -1;
}

/* As it is hashed. */
static void put_hashed(struct str *out, const char *text, bool utf8)
{
    const unsigned char *p = (const unsigned char *) text;
    bool latin = utf8 && utf8_valid(slice_of(text));

    for (const unsigned char *q = p; latin && *q; q++)
        latin = *q < 0xc4; /* above: a character that ISO 8859-1 does not have */
    if (!latin) {
        str_adds(out, text);
        return;
    }
    for (; *p; p++)
        if (*p < 0x80)
            str_addc(out, (char) *p);
        else {
            str_addc(out, (char) ((p[0] & 0x03) << 6 | (p[1] & 0x3f)));
            p++;
        }
}

static void md5(struct slice text, unsigned char out[MD5_BYTES])
{
    EVP_Digest(text.p, text.len, out, NULL, EVP_md5(), NULL);
}

static void put_hex(struct str *out, struct slice text)
{
    unsigned char sum[MD5_BYTES];

    md5(text, sum);
    hex_encode(out, slice_make((char *) sum, sizeof sum));
}

/* response-value of 2.1.2.1, with the verb of the client ("AUTHENTICATE") or of the server (""). */
static void response(const struct sasl_client *c, const struct challenge *ch, const char *verb, struct str *out)
{
    unsigned char secret[MD5_BYTES];
    struct str text, hex;

    str_init(&text, 4 * SASL_CLIENT_BYTES);
    str_init(&hex, 4 * SASL_CLIENT_BYTES);
    put_hashed(&text, c->user, ch->utf8);
    str_addc(&text, ':');
    put_hashed(&text, ch->realm.p, ch->utf8);
    str_addc(&text, ':');
    put_hashed(&text, c->password, ch->utf8);
    md5(str_slice(&text), secret);
    mem_wipe(text.p, text.len);
    str_reset(&text);
    str_add(&text, secret, sizeof secret);
    str_printf(&text, ":%s:%s", ch->nonce.p, c->nonce);
    if (*c->authzid)
        str_printf(&text, ":%s", c->authzid);
    put_hex(&hex, str_slice(&text));
    mem_wipe(text.p, text.len);
    str_printf(&hex, ":%s:00000001:%s:auth:", ch->nonce.p, c->nonce);
    str_reset(&text);
    str_printf(&text, "%s:%s/%s", verb, c->service, c->host);
    put_hex(&hex, str_slice(&text));
    put_hex(out, str_slice(&hex));
    mem_wipe(secret, sizeof secret);
    str_free(&text);
    str_free(&hex);
}

static void put_quoted(struct str *out, const char *name, const char *value)
{
    str_printf(out, ",%s=\"", name);
    for (; *value; value++) {
        if (*value == '"' || *value == '\\')
            str_addc(out, '\\');
        str_addc(out, *value);
    }
    str_addc(out, '"');
}

static void answer(struct sasl_client *c, const struct challenge *ch, struct str *out)
{
    str_adds(out, ch->utf8 ? "charset=utf-8,nc=00000001" : "nc=00000001");
    put_quoted(out, "username", c->user);
    if (ch->realm.len > 0)
        put_quoted(out, "realm", ch->realm.p);
    put_quoted(out, "nonce", ch->nonce.p);
    put_quoted(out, "cnonce", c->nonce);
    str_printf(out, ",digest-uri=\"%s/%s\",qop=auth,response=", c->service, c->host);
    response(c, ch, "AUTHENTICATE", out);
    if (*c->authzid)
        put_quoted(out, "authzid", c->authzid);
    str_adds(&c->expected, "rspauth=");
    response(c, ch, "", &c->expected);
}

int sasl_client_digest_next(struct sasl_client *c, struct slice challenge, struct str *out, struct err *err)
{
    struct challenge ch = { 0 };
    int rc = 0;

    if (c->step == 2)
        return sasl_client_proof(c, challenge, err);
    if (c->step > 2)
        return err_set(err, 0, NULL, "the server asks for more than DIGEST-MD5 has");
    str_init(&ch.realm, SASL_CLIENT_BYTES);
    str_init(&ch.nonce, SASL_CLIENT_BYTES);
    if (memchr(challenge.p, '\0', challenge.len) == NULL && parse(challenge, &ch) == 0)
        answer(c, &ch, out);
    else
        rc = err_set(err, 0, NULL, "the server's challenge is not DIGEST-MD5's, or asks for more than qop=auth");
    str_free(&ch.realm);
    str_free(&ch.nonce);
    return rc;
}
