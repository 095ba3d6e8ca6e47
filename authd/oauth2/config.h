/*
 * config - one dovecot-oauth2.conf.ext: where tokens are checked, and what a good answer must say
 *
 * Callers     authd/oauth2/source.c; tools/postfix/check.c
 * Invariants  every setting is obeyed, or the file is refused with its line; what can change nothing here is warned of
 *             no value gets into an error or the log: client_secret, and user names in URLs, stand there
 * Ownership   texts live in the arena of the struct
 * Errors      -1 with "FILE line N: reason", or "FILE: reason" for what is missing
 * Source      Dovecot 2.3 documentation "Open Authentication v2.0 database"; as Debian's 2.3.19 reads it, with its
 *             later security fixes (audience; every word of scope is wanted)
 */
#ifndef OAUTH2_CONFIG_H
#define OAUTH2_CONFIG_H
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"

enum { OAUTH2_FILE_BYTES = 1 << 20 };
enum oauth2_introspection { OAUTH2_AUTH, OAUTH2_GET, OAUTH2_POST, OAUTH2_LOCAL };
struct oauth2_url { /* of http and https only */
    const char *text;
    const char *host; /* name, or address without brackets */
    unsigned port;
    bool tls;
};
struct oauth2_config {
    struct arena *arena;
    const char *file;
    struct oauth2_url tokeninfo, introspection, grant; /* text "": not asked */
    enum oauth2_introspection mode;
    bool force_introspection, use_grant_password, send_auth_headers, tls_allow_invalid_cert, debug;
    const char *keys; /* directory with keys, of local_validation_key_dict; "": none */
    const char *username_format, *username_attribute, *active_attribute, *active_value;
    const char *scope, *audience, *issuers; /* blanks between; "": anything */
    const char *client_id, *client_secret, *pass_attrs, *openid_configuration;
    const char *variables; /* of the request: names that an answer depends on, blanks between; one may come twice */
    const char *tls_ca_file, *tls_ca_dir, *tls_cert_file, *tls_key_file, *tls_ciphers;
    int64_t timeout_ms, idle_ms, connections;
};
int oauth2_config_parse(const char *file, struct slice text, struct oauth2_config *out, struct err *);
void oauth2_config_free(struct oauth2_config *);
#endif
