/*
 * tls - OpenSSL behind one wrapper
 *
 * Callers     lib/io/stream.c for the bytes; daemons make contexts before their jail (keys are root's), sessions
 *             after
 * Invariants  SSL_MODE_RELEASE_BUFFERS; no renegotiation; no compression; TLS 1.0 and later only as configured
 * Errors      functions that can fail for reasons a log should name fill struct tls_why
 */
#ifndef IO_TLS_H
#define IO_TLS_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TLS_WHY_BYTES = 256, TLS_NAME_BYTES = 256 };
struct tls_why {
    char text[TLS_WHY_BYTES];
};
struct tls_info {
    char protocol[16]; /* "TLSv1.3" */
    char cipher[64];
    int bits, alg_bits;        /* used and of the algorithm */
    char kex[64];              /* "X25519"; "" where unknown */
    char server_signature[64]; /* "RSA-PSS (2048 bits)"; "" where unknown */
    char server_digest[32];    /* "SHA256" */
    char sni[TLS_NAME_BYTES];  /* what the client asked for, or "" */
    bool reused;
    bool peer_verified; /* chain trusted and name matched where one was asked for */
    char peer_subject[TLS_NAME_BYTES], peer_issuer[TLS_NAME_BYTES], peer_fingerprint[130]; /* sha256, AA:BB:.. */
};

/* How a side is set up; strings are borrowed for the call. NULL or "" means not set. */
struct tls_config {
    bool server;
    const char *chain_files; /* smtpd_tls_chain_files: key and certificates, comma or blank separated */
    const char *cert_file, *key_file, *eccert_file, *eckey_file;
    const char *ca_file, *ca_path;
    const char *protocols;    /* ">=TLSv1.2", "!SSLv2, !SSLv3", "TLSv1.2 TLSv1.3" as Postfix writes them */
    const char *cipher_list;  /* OpenSSL cipher list, up to TLS 1.2 */
    const char *ciphersuites; /* of TLS 1.3, the first is preferred; NULL: OpenSSL's */
    bool prefer_server_ciphers;
    bool ask_peer_certificate; /* server: ask for one; a client without a trusted one goes on (peer_verified) */
    const char *session_id_context;
    bool tickets;
    struct ossl_lib_ctx_st *library; /* NULL: OpenSSL's default */
};
/* A field of a certificate's subject that can be asked for: "commonName", "emailAddress". */
bool tls_field_exists(const char *field);
struct tls_ctx;
struct tls_ctx *tls_ctx_new(const struct tls_config *, struct tls_why *); /* NULL: why says file and reason */
void tls_ctx_free(struct tls_ctx **);
/* Session ticket keys of 80 bytes each (16 name, 32 HMAC, 32 AES-256), newest first; from tlsmgr. */
enum { TLS_TICKET_KEY_BYTES = 80 };
void tls_ctx_ticket_keys(struct tls_ctx *, const unsigned char *keys, size_t count);
/* Client: verify the chain and this name (NULL: any name); without a call nothing is verified. */
void tls_ctx_verify(struct tls_ctx *, bool require);
#endif
