/*
 * tls_internal - what tls.c and stream_tls.c share
 */
#ifndef IO_TLS_INTERNAL_H
#define IO_TLS_INTERNAL_H
#include "base/str.h"
#include "io/tls.h"
#include <openssl/ssl.h>

SSL *tls_ctx_session(struct tls_ctx *);
bool tls_ctx_requires_verification(const struct tls_ctx *);
void tls_describe(SSL *, bool server, struct tls_info *);
int tls_binding(SSL *, const char *type, struct str *out);
int tls_peer_name(SSL *, const char *field, struct str *out);
void tls_why_openssl(struct tls_why *, const char *what);
#endif
