/*
 * library - OpenSSL for a client that reads certificates, and no other files of keys
 *
 * OpenSSL 3.0 looks through all formats of keys that it could read (some 80) for each certificate that a server shows: 110
 * us of a client's handshake, a cost that no client built on another library has. Here it knows the public keys of
 * certificates alone, and it takes 30. All else, the check of the server's signature included, is its default provider's.
 *
 * Callers     tests/bench/load.c
 * Errors      NULL: OpenSSL says why
 */
#ifndef BENCH_LIBRARY_H
#define BENCH_LIBRARY_H
#include <openssl/types.h>

OSSL_LIB_CTX *library_of_a_client(void); /* once; lives as long as the process */
#endif
