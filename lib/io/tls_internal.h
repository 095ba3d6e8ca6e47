/*
 * tls_internal - what tls.c and stream_tls.c share
 */
#ifndef IO_TLS_INTERNAL_H
#define IO_TLS_INTERNAL_H
#include "io/tls.h"
#include <openssl/ssl.h>

SSL *tls_ctx_session(struct tls_ctx *);
bool tls_ctx_requires_verification(const struct tls_ctx *);
void tls_describe(SSL *, bool server, struct tls_info *);
void tls_why_openssl(struct tls_why *, const char *what);
#endif
