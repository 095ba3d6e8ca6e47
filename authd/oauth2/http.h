/*
 * http - questions to an identity server: libcurl's multi interface in this process's loop
 *
 * Callers     authd/oauth2/source.c (http_open), check.c (http_ask)
 * Invariants  one client for each configuration file; a client has at most max_parallel_connections open, further
 *             questions wait, and those of other files do not
 *             http and https only; no redirect is followed, no proxy of the environment used; an answer is at most
 *             HTTP_BODY_BYTES, and so are its headers; every question ends within its time
 *             host names are looked up in /etc/hosts as it was at start, then asked of the resolver daemon: no thread, no other socket than to the server
 *             certificates are loaded before the jail and checked against the name in the URL, unless the file says
 *             tls_allow_invalid_cert
 * Errors      http_ask: -1 with words that hold neither URL nor token: "later"
 */
#ifndef OAUTH2_HTTP_H
#define OAUTH2_HTTP_H
#include "config.h"

enum { HTTP_BODY_BYTES = 64 << 10, HTTP_HEADERS = 4 };
struct http_client;
struct http_question {
    const struct oauth2_url *place;
    const char *url;                  /* of that place, with what was appended */
    const char *bearer;               /* token in the Authorization header; NULL: none */
    const char *post;                 /* body in the form of a web form; NULL: GET */
    const char *header[HTTP_HEADERS]; /* "Name: value"; NULL: none */
};
int http_start(void); /* before the jail, once: -1 after logging */
int http_run(void);   /* in the jail */
/* Before the jail. The configuration outlives the client, which lives as long as the process. NULL with words. */
struct http_client *http_open(const struct oauth2_config *, struct err *);
/* In a fiber. Appends the body to *body (whose limit counts when it is smaller). *status: of HTTP. */
int http_ask(struct http_client *, const struct http_question *, long *status, struct str *body, struct err *);
#endif
