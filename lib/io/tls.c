/* tls - OpenSSL's contexts and sessions; contract in tls.h */
#include "io/tls_internal.h"

#include "base/mem.h"
#include "base/str.h"

#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TICKET_KEYS_MAX = 4, TICKET_NAME_BYTES = 16, TICKET_HMAC_BYTES = 32, TICKET_AES_BYTES = 32 };

struct tls_ctx {
    SSL_CTX *ssl;
    EVP_CIPHER *ticket_cipher;
    bool server, require;
    char *chain_files, *cert_file, *key_file, *eccert_file, *eckey_file, *ca_file, *ca_path, *protocols, *cipher_list,
        *ciphersuites, *session_id_context;
    bool prefer_server_ciphers, ask_peer_certificate, tickets;
    unsigned char keys[TICKET_KEYS_MAX][TLS_TICKET_KEY_BYTES];
    size_t key_count;
};

void tls_why_openssl(struct tls_why *why, const char *what)
{
    unsigned long e = ERR_peek_last_error();
    const char *reason = ERR_reason_error_string(e);

    snprintf(why->text, sizeof why->text, "%s: %s", what, reason ? reason : strerror(errno));
    ERR_clear_error();
}

static int fail(struct tls_why *why, const char *what, const char *name)
{
    char text[TLS_WHY_BYTES];

    snprintf(text, sizeof text, "%s %s", what, name);
    tls_why_openssl(why, text);
    return -1;
}

/* ">=TLSv1.2, <=TLSv1.3", "!SSLv3, !TLSv1" or a plain list, as Postfix's *_tls_protocols. */
static const struct {
    const char *name;
    int version;
    uint64_t off;
} versions[] = {
    { "SSLv2", 2, 0 },
    { "SSLv3", SSL3_VERSION, SSL_OP_NO_SSLv3 },
    { "TLSv1", TLS1_VERSION, SSL_OP_NO_TLSv1 },
    { "TLSv1.1", TLS1_1_VERSION, SSL_OP_NO_TLSv1_1 },
    { "TLSv1.2", TLS1_2_VERSION, SSL_OP_NO_TLSv1_2 },
    { "TLSv1.3", TLS1_3_VERSION, SSL_OP_NO_TLSv1_3 },
};

static int version_of(struct slice name)
{
    for (size_t i = 0; i < sizeof versions / sizeof *versions; i++)
        if (slice_caseeq(name, versions[i].name))
            return (int) i;
    return -1;
}

static int set_protocols(SSL_CTX *ctx, const char *text, struct tls_why *why)
{
    struct slice rest = slice_of(text ? text : ""), word;
    uint64_t excluded = 0, included = 0;

    while (slice_word(&rest, " \t\r\n,:", &word)) {
        struct slice name = word;
        bool at_least = slice_starts(word, ">="), at_most = slice_starts(word, "<=");
        if (at_least || at_most)
            name = slice_sub(word, 2, word.len);
        else if (slice_starts(word, "!"))
            name = slice_sub(word, 1, word.len);
        int v = version_of(name);
        if (v < 0 && !((at_least || at_most) && name.len == 0)) {
            snprintf(why->text, sizeof why->text, "unknown TLS protocol \"%.*s\"", (int) word.len, word.p);
            return -1;
        }
        if (at_least && v >= 0)
            SSL_CTX_set_min_proto_version(ctx,
                                          versions[v].version < SSL3_VERSION ? SSL3_VERSION : versions[v].version);
        else if (at_most && v >= 0)
            SSL_CTX_set_max_proto_version(ctx, versions[v].version);
        else if (v >= 0 && word.p[0] == '!')
            excluded |= versions[v].off;
        else if (v >= 0)
            included |= versions[v].off;
    }
    if (included)
        for (size_t i = 0; i < sizeof versions / sizeof *versions; i++)
            if (!(included & versions[i].off))
                excluded |= versions[i].off;
    SSL_CTX_set_options(ctx, excluded | SSL_OP_NO_SSLv3);
    return 0;
}

static bool set(const char *s) { return s && *s; }

static int use_pair(SSL_CTX *ctx, const char *cert, const char *key, struct tls_why *why)
{
    if (!set(cert))
        return 0;
    if (SSL_CTX_use_certificate_chain_file(ctx, cert) != 1)
        return fail(why, "cannot load certificate file", cert);
    if (SSL_CTX_use_PrivateKey_file(ctx, set(key) ? key : cert, SSL_FILETYPE_PEM) != 1)
        return fail(why, "cannot load private key file", set(key) ? key : cert);
    if (SSL_CTX_check_private_key(ctx) != 1)
        return fail(why, "the private key does not belong to the certificate in", cert);
    return 0;
}

/* A chain file holds the key first, then its certificate and the chain (Postfix's order), or is followed by one that
 * does. */
static int use_chain_files(SSL_CTX *ctx, const char *files, struct tls_why *why)
{
    struct slice rest = slice_of(files), word;
    char *key = NULL;
    int rc = 0;

    while (rc == 0 && slice_word(&rest, " \t\r\n,", &word)) {
        char *file = mem_strndup(word.p, word.len);
        BIO *bio = BIO_new_file(file, "r");
        EVP_PKEY *pkey = bio ? PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL) : NULL;
        bool has_cert = false;
        if (bio) {
            X509 *cert;
            (void) BIO_reset(bio);
            ERR_clear_error();
            cert = PEM_read_bio_X509(bio, NULL, NULL, NULL);
            has_cert = cert != NULL;
            X509_free(cert);
            ERR_clear_error();
        }
        if (bio == NULL || (pkey == NULL && !has_cert))
            rc = fail(why, "cannot load chain file", file);
        else if (has_cert)
            rc = use_pair(ctx, file, pkey ? file : key, why);
        if (pkey && !has_cert) {
            free(key);
            key = mem_strdup(file);
        }
        EVP_PKEY_free(pkey);
        BIO_free(bio);
        free(file);
    }
    free(key);
    return rc;
}

/* OpenSSL asks for a key by name (decrypting) or for the newest (encrypting): RFC 5077 section 4. 2 asks to issue a
 * new ticket. */
static int ticket_key(SSL *ssl, unsigned char name[16], unsigned char iv[EVP_MAX_IV_LENGTH], EVP_CIPHER_CTX *cipher,
                      EVP_MAC_CTX *mac, int encrypt)
{
    struct tls_ctx *t = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
    size_t k = 0;

    if (encrypt) {
        if (t->key_count == 0 || RAND_bytes(iv, 16) != 1)
            return 0;
        memcpy(name, t->keys[0], TICKET_NAME_BYTES);
    } else {
        while (k < t->key_count && memcmp(name, t->keys[k], TICKET_NAME_BYTES) != 0)
            k++;
        if (k == t->key_count)
            return 0;
    }
    unsigned char *hmac_key = t->keys[k] + TICKET_NAME_BYTES, *aes_key = hmac_key + TICKET_HMAC_BYTES;
    OSSL_PARAM params[] = { OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, hmac_key, TICKET_HMAC_BYTES),
                            OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char[]){ "SHA256" }, 0),
                            OSSL_PARAM_construct_end() };
    if (EVP_MAC_CTX_set_params(mac, params) != 1 ||
        EVP_CipherInit_ex(cipher, t->ticket_cipher, NULL, aes_key, iv, encrypt) != 1)
        return -1;
    return encrypt || k == 0 ? 1 : 2;
}

static int set_sessions(struct tls_ctx *t, SSL_CTX *ctx, struct ossl_lib_ctx_st *library, struct tls_why *why)
{
    const char *id = set(t->session_id_context) ? t->session_id_context : "posthorn";

    SSL_CTX_set_app_data(ctx, t);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    if (!t->server)
        return 0;
    if (SSL_CTX_set_session_id_context(ctx, (const unsigned char *) id,
                                       (unsigned) (strlen(id) < 32 ? strlen(id) : 32)) != 1)
        return fail(why, "cannot set the session context", id);
    if (t->tickets) {
        t->ticket_cipher = EVP_CIPHER_fetch(library, "AES-256-CBC", NULL); /* else it is looked for at each ticket */
        if (t->ticket_cipher == NULL)
            return fail(why, "cannot encrypt tickets with", "AES-256-CBC");
        SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, ticket_key);
    } else {
        SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
    }
    /* One is enough for a client that comes again, and each is a record of its own to make and send. */
    SSL_CTX_set_num_tickets(ctx, t->tickets ? 1 : 0);
    return 0;
}

/* A client whose certificate is not trusted goes on as one that has shown none: tls_info says which. */
static int go_on(int trusted, X509_STORE_CTX *store)
{
    (void) trusted;
    (void) store;
    return 1;
}

/* Of a client with nothing to trust: which chain might be built from what the server sent decides nothing, and to look for
 * it costs more than to check the server's signature. */
static int trust_nobody(X509_STORE_CTX *store, void *arg)
{
    struct tls_ctx *t = arg;

    if (t->require) /* it fails, and says of what */
        return X509_verify_cert(store);
    X509_STORE_CTX_set_error(store, X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY);
    return 0;
}

static int fill_context(struct tls_ctx *t, SSL_CTX *ctx, struct ossl_lib_ctx_st *library, struct tls_why *why)
{
    SSL_CTX_set_mode(ctx,
                     SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(ctx, 1); /* a record by one read, not its head and then the rest */
    SSL_CTX_set_options(ctx, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_set_security_level(ctx, 0); /* what is allowed is the configuration's choice, as in Postfix and Dovecot */
    if (set_protocols(ctx, t->protocols, why) < 0)
        return -1;
    if (set(t->cipher_list) && SSL_CTX_set_cipher_list(ctx, t->cipher_list) != 1)
        return fail(why, "no cipher is left by", t->cipher_list);
    if (set(t->ciphersuites) && SSL_CTX_set_ciphersuites(ctx, t->ciphersuites) != 1)
        return fail(why, "no cipher is left by", t->ciphersuites);
    if (t->prefer_server_ciphers)
        SSL_CTX_set_options(ctx, SSL_OP_CIPHER_SERVER_PREFERENCE);
    if (set(t->chain_files)) {
        if (use_chain_files(ctx, t->chain_files, why) < 0)
            return -1;
    } else if (use_pair(ctx, t->cert_file, t->key_file, why) < 0 ||
               use_pair(ctx, t->eccert_file, t->eckey_file, why) < 0) {
        return -1;
    }
    if (set(t->ca_file) && SSL_CTX_load_verify_file(ctx, t->ca_file) != 1)
        return fail(why, "cannot load trusted certificates from", t->ca_file);
    if (set(t->ca_path) && SSL_CTX_load_verify_dir(ctx, t->ca_path) != 1)
        return fail(why, "cannot use directory of trusted certificates", t->ca_path);
    if (t->server && t->ask_peer_certificate) {
        SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, go_on);
        if (set(t->ca_file)) /* which certificates are worth showing */
            SSL_CTX_set_client_CA_list(ctx, SSL_load_client_CA_file(t->ca_file));
    }
    if (t->server && !set(t->ca_file) &&
        !set(t->ca_path)) /* no authority to complete the chain with: not sought for each client */
        SSL_CTX_set_mode(ctx, SSL_MODE_NO_AUTO_CHAIN);
    if (t->server)
        SSL_CTX_set_dh_auto(ctx, 1);
    else if (!set(t->ca_file) && !set(t->ca_path))
        SSL_CTX_set_cert_verify_callback(ctx, trust_nobody, t);
    return set_sessions(t, ctx, library, why);
}

struct tls_ctx *tls_ctx_new(const struct tls_config *c, struct tls_why *why)
{
    struct tls_ctx *t = mem_new(sizeof *t);

    t->server = c->server;
    t->chain_files = mem_strdup(c->chain_files);
    t->cert_file = mem_strdup(c->cert_file);
    t->key_file = mem_strdup(c->key_file);
    t->eccert_file = mem_strdup(c->eccert_file);
    t->eckey_file = mem_strdup(c->eckey_file);
    t->ca_file = mem_strdup(c->ca_file);
    t->ca_path = mem_strdup(c->ca_path);
    t->protocols = mem_strdup(c->protocols);
    t->cipher_list = mem_strdup(c->cipher_list);
    t->ciphersuites = mem_strdup(c->ciphersuites);
    t->session_id_context = mem_strdup(c->session_id_context);
    t->prefer_server_ciphers = c->prefer_server_ciphers;
    t->ask_peer_certificate = c->ask_peer_certificate;
    t->tickets = c->tickets;
    t->ssl = SSL_CTX_new_ex(c->library, NULL, t->server ? TLS_server_method() : TLS_client_method());
    if (t->ssl == NULL)
        (void) fail(why, "cannot make a TLS context", "");
    if (t->ssl == NULL || fill_context(t, t->ssl, c->library, why) < 0)
        tls_ctx_free(&t);
    return t;
}

void tls_ctx_free(struct tls_ctx **tp)
{
    struct tls_ctx *t = *tp;

    if (t == NULL)
        return;
    SSL_CTX_free(t->ssl);
    EVP_CIPHER_free(t->ticket_cipher);
    mem_wipe(t->keys, sizeof t->keys);
    char *owned[] = { t->chain_files, t->cert_file, t->key_file,    t->eccert_file,  t->eckey_file,        t->ca_file,
                      t->ca_path,     t->protocols, t->cipher_list, t->ciphersuites, t->session_id_context };
    for (size_t i = 0; i < sizeof owned / sizeof *owned; i++)
        free(owned[i]);
    free(t);
    *tp = NULL;
}

void tls_ctx_ticket_keys(struct tls_ctx *t, const unsigned char *keys, size_t count)
{
    t->key_count = count < TICKET_KEYS_MAX ? count : TICKET_KEYS_MAX;
    memcpy(t->keys, keys, t->key_count * TLS_TICKET_KEY_BYTES);
}

void tls_ctx_verify(struct tls_ctx *t, bool require) { t->require = require; }
bool tls_ctx_requires_verification(const struct tls_ctx *t) { return t->require; }
SSL *tls_ctx_session(struct tls_ctx *t) { return SSL_new(t->ssl); }

static void copy(char *out, size_t size, const char *text)
{
    size_t len = text ? strnlen(text, size - 1) : 0;

    if (len)
        memcpy(out, text, len);
    out[len] = '\0';
}

static void describe_key(EVP_PKEY *key, int signature, char *out, size_t size)
{
    const char *name = signature == EVP_PKEY_RSA_PSS ? "RSA-PSS"
                       : signature                   ? OBJ_nid2sn(signature)
                                                     : EVP_PKEY_get0_type_name(key);

    if (signature == EVP_PKEY_EC)
        name = "ECDSA";
    else if (signature == EVP_PKEY_RSA)
        name = "RSA";
    if (key && (signature == EVP_PKEY_RSA || signature == EVP_PKEY_RSA_PSS))
        snprintf(out, size, "%s (%d bits)", name, EVP_PKEY_get_bits(key));
    else
        copy(out, size, name);
}

static void describe_peer(SSL *ssl, X509 *cert, struct tls_info *i)
{
    static const char digits[] = "0123456789ABCDEF";
    unsigned char md[EVP_MAX_MD_SIZE];
    unsigned int len = 0;

    X509_NAME_get_text_by_NID(X509_get_subject_name(cert), NID_commonName, i->peer_subject, sizeof i->peer_subject);
    X509_NAME_get_text_by_NID(X509_get_issuer_name(cert), NID_commonName, i->peer_issuer, sizeof i->peer_issuer);
    char *at = i->peer_fingerprint;
    if (X509_digest(cert, EVP_sha256(), md, &len) == 1)
        for (unsigned k = 0; k < len && at + 4 <= i->peer_fingerprint + sizeof i->peer_fingerprint; k++) {
            if (k > 0)
                *at++ = ':';
            *at++ = digits[md[k] >> 4];
            *at++ = digits[md[k] & 15];
        }
    *at = '\0';
    i->peer_verified = SSL_get_verify_result(ssl) == X509_V_OK;
}

void tls_describe(SSL *ssl, bool server, struct tls_info *i)
{
    const SSL_CIPHER *cipher = SSL_get_current_cipher(ssl);
    const char *sni = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    X509 *peer = SSL_get1_peer_certificate(ssl);
    int group = (int) SSL_get_negotiated_group(ssl), signature = 0, digest = 0;
    EVP_PKEY *key = NULL;

    copy(i->protocol, sizeof i->protocol, SSL_get_version(ssl));
    copy(i->cipher, sizeof i->cipher, SSL_CIPHER_get_name(cipher));
    i->bits = SSL_CIPHER_get_bits(cipher, &i->alg_bits);
    copy(i->sni, sizeof i->sni, sni);
    i->reused = SSL_session_reused(ssl) == 1;
    if (group > 0 && !i->reused)
        copy(i->kex, sizeof i->kex, OBJ_nid2sn(group & 0xffff));
    if (server) {
        X509 *own = SSL_get_certificate(ssl);
        SSL_get_signature_type_nid(ssl, &signature);
        SSL_get_signature_nid(ssl, &digest);
        key = own ? X509_get0_pubkey(own) : NULL;
    } else {
        SSL_get_peer_signature_type_nid(ssl, &signature);
        SSL_get_peer_signature_nid(ssl, &digest);
        key = peer ? X509_get0_pubkey(peer) : NULL;
    }
    if (signature)
        describe_key(key, signature, i->server_signature, sizeof i->server_signature);
    if (digest)
        copy(i->server_digest, sizeof i->server_digest, OBJ_nid2sn(digest));
    if (peer)
        describe_peer(ssl, peer, i);
    X509_free(peer);
}

static int end_point(SSL *ssl, struct str *out)
{
    unsigned char hash[EVP_MAX_MD_SIZE];
    X509 *own = SSL_get_certificate(ssl);
    int md = NID_undef;
    unsigned len = 0;

    if (own == NULL || X509_get_signature_info(own, &md, NULL, NULL, NULL) != 1 || md == NID_undef)
        return -1;
    if (md == NID_md5 || md == NID_sha1)
        md = NID_sha256;
    if (X509_digest(own, EVP_get_digestbynid(md), hash, &len) != 1)
        return -1;
    str_add(out, hash, len);
    return 0;
}

static int first_finished(SSL *ssl, struct str *out)
{
    unsigned char finished[EVP_MAX_MD_SIZE];
    size_t len = SSL_session_reused(ssl) ? SSL_get_finished(ssl, finished, sizeof finished)
                                         : SSL_get_peer_finished(ssl, finished, sizeof finished);

    if (len == 0 || len > sizeof finished)
        return -1;
    str_add(out, finished, len);
    return 0;
}

static int exported(SSL *ssl, struct str *out)
{
    static const char label[] = "EXPORTER-Channel-Binding";
    enum { BINDING_BYTES = 32 };
    unsigned char key[BINDING_BYTES];

    if (SSL_export_keying_material(ssl, key, sizeof key, label, sizeof label - 1, NULL, 0, 0) != 1)
        return -1;
    str_add(out, key, sizeof key);
    return 0;
}

/* Before TLS 1.3 the master secret binds two connections apart only with RFC 7627's extension. */
int tls_binding(SSL *ssl, const char *type, struct str *out)
{
    bool tls13 = SSL_version(ssl) >= TLS1_3_VERSION, unique = tls13 || SSL_get_extms_support(ssl) == 1;

    if (strcmp(type, "tls-server-end-point") == 0)
        return end_point(ssl, out);
    if (strcmp(type, "tls-unique") == 0)
        return unique && !tls13 ? first_finished(ssl, out) : -1;
    if (strcmp(type, "tls-exporter") == 0)
        return unique ? exported(ssl, out) : -1;
    return -1;
}

int tls_peer_name(SSL *ssl, const char *field, struct str *out)
{
    X509 *peer = SSL_get1_peer_certificate(ssl);
    int nid = OBJ_txt2nid(field), at = -1, rc = -1;
    X509_NAME *subject = peer ? X509_get_subject_name(peer) : NULL;
    unsigned char *text = NULL;

    if (subject && nid != NID_undef)
        at = X509_NAME_get_index_by_NID(subject, nid, -1);
    if (at >= 0) {
        int len = ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
        if (len > 0 && memchr(text, '\0', (size_t) len) == NULL) {
            str_add(out, text, (size_t) len);
            rc = 0;
        }
    }
    OPENSSL_free(text);
    X509_free(peer);
    return rc;
}

bool tls_field_exists(const char *field) { return OBJ_txt2nid(field) != NID_undef; }
