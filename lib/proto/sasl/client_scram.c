/*
 * client_scram - SCRAM without channel binding; contract in client.h
 */
#include "base/codec.h"
#include "base/mem.h"
#include "client_internal.h"
#include <openssl/hmac.h>

enum { SALT_BYTES = 1024 };

static void put_name(struct str *out, const char *name)
{
    for (; *name; name++)
        if (*name == '=' || *name == ',')
            str_adds(out, *name == '=' ? "=3D" : "=2C");
        else
            str_addc(out, *name);
}

static void put_header(const struct sasl_client *c, struct str *out)
{
    str_adds(out, "n,");
    if (*c->authzid) {
        str_adds(out, "a=");
        put_name(out, c->authzid);
    }
    str_addc(out, ',');
}

static void put_bare(const struct sasl_client *c, struct str *out)
{
    str_adds(out, "n=");
    put_name(out, c->user);
    str_printf(out, ",r=%s", c->nonce);
}

bool sasl_client_scram_first(struct sasl_client *c, struct str *out)
{
    put_header(c, out);
    put_bare(c, out);
    return true;
}

/* The next attribute must be this one. */
static bool attribute(struct slice *rest, char name, struct slice *value)
{
    if (!slice_split(rest, ',', value) || value->len < 2 || value->p[0] != name || value->p[1] != '=')
        return false;
    *value = slice_sub(*value, 2, value->len);
    return true;
}

struct server_first {
    struct slice nonce;
    struct str salt;
    uint64_t iterations;
};

static int parse(const struct sasl_client *c, struct slice message, struct server_first *f, struct err *err)
{
    struct slice salt, count, rest = message;

    if (!attribute(&rest, 'r', &f->nonce) || !attribute(&rest, 's', &salt) || !attribute(&rest, 'i', &count) ||
        base64_decode(&f->salt, salt) != 0 || str_over(&f->salt) || f->salt.len == 0 ||
        slice_u64(count, UINT32_MAX, &f->iterations) != 0 || f->iterations == 0)
        return err_set(err, 0, NULL, "the server's message is not SCRAM's");
    if (f->iterations > SASL_CLIENT_ITERATIONS)
        return err_set(err, 0, NULL, "the server wants %lu iterations, more than %d", (unsigned long) f->iterations,
                       SASL_CLIENT_ITERATIONS);
    if (!slice_starts(f->nonce, c->nonce) || f->nonce.len == strlen(c->nonce))
        return err_set(err, 0, NULL, "the server's nonce does not begin with ours");
    return 0;
}

static struct slice mac(const struct sasl_client *c, struct slice key, struct slice data,
                        unsigned char out[EVP_MAX_MD_SIZE])
{
    unsigned len = 0;

    HMAC(c->mech->digest(), key.p, (int) key.len, (const unsigned char *) data.p, data.len, out, &len);
    return slice_make((char *) out, len);
}

/* RFC 5802 section 3: the proof is appended to *out, ServerSignature kept. */
static void prove(struct sasl_client *c, const struct server_first *f, struct slice message, struct str *out)
{
    unsigned char salted[EVP_MAX_MD_SIZE], client[EVP_MAX_MD_SIZE], stored[EVP_MAX_MD_SIZE],
        signature[EVP_MAX_MD_SIZE], server[EVP_MAX_MD_SIZE];
    const EVP_MD *md = c->mech->digest();
    size_t len = (size_t) EVP_MD_get_size(md);
    struct slice key = { (char *) salted, len };

    PKCS5_PBKDF2_HMAC(c->password, (int) strlen(c->password), (const unsigned char *) f->salt.p, (int) f->salt.len,
                      (int) f->iterations, md, (int) len, salted);
    mac(c, key, SLICE("Client Key"), client);
    EVP_Digest(client, len, stored, NULL, md, NULL);
    mac(c, slice_make((char *) stored, len), message, signature);
    for (size_t i = 0; i < len; i++)
        client[i] ^= signature[i];
    base64_encode(out, slice_make((char *) client, len));
    struct slice server_key = mac(c, key, SLICE("Server Key"), server);
    str_adds(&c->expected, "v=");
    base64_encode(&c->expected, mac(c, server_key, message, signature));
    mem_wipe(salted, sizeof salted);
    mem_wipe(client, sizeof client);
    mem_wipe(stored, sizeof stored);
}

static int answer(struct sasl_client *c, struct slice challenge, struct str *out, struct err *err)
{
    struct server_first f = { 0 };
    struct str message, header;
    int rc;

    str_init(&f.salt, SALT_BYTES);
    rc = parse(c, challenge, &f, err);
    if (rc == 0) {
        str_init(&header, SASL_CLIENT_BYTES);
        str_init(&message, 4 * SASL_CLIENT_BYTES);
        put_header(c, &header);
        str_adds(out, "c=");
        base64_encode(out, str_slice(&header));
        str_printf(out, ",r=%.*s", (int) f.nonce.len, f.nonce.p);
        put_bare(c, &message);
        str_addc(&message, ',');
        str_addslice(&message, challenge);
        str_addc(&message, ',');
        str_addslice(&message, str_slice(out));
        str_adds(out, ",p=");
        prove(c, &f, str_slice(&message), out);
        str_free(&header);
        str_free(&message);
    }
    str_free(&f.salt);
    return rc;
}

int sasl_client_scram_next(struct sasl_client *c, struct slice challenge, struct str *out, struct err *err)
{
    if (c->step == 1)
        return answer(c, challenge, out, err);
    if (c->step == 2)
        return sasl_client_proof(c, challenge, err);
    return err_set(err, 0, NULL, "the server asks for more than SCRAM has");
}
