/*
 * oauth2 - tokens checked by authd/oauth2, the one process that talks to identity servers
 *
 * Callers     authd (passdb oauth2)
 * Invariants  a source is served when auth_passdb names it with "oauth2:": its file's path, as it stands there
 *             many questions may be open at a time; a slow identity server holds up those that ask it alone
 * Ownership   the reply's texts live in the arena given
 * Errors      OAUTH2_LATER with reply.why: what is in doubt; why is fit for a log, never with a token
 */
#ifndef CLIENT_OAUTH2_H
#define CLIENT_OAUTH2_H
#include "base/mem.h"
#include "base/str.h"

enum oauth2_verdict { OAUTH2_VALID, OAUTH2_MISMATCH, OAUTH2_UNKNOWN, OAUTH2_DISABLED, OAUTH2_LATER };
struct oauth2_var { /* of conf/var.h: long names, "passdb:x" and "userdb:x" too. What is not given is unknown */
    const char *name, *value;
};
struct oauth2_reply {
    const char *why;       /* "" when valid */
    const char *variables; /* of the request, that the answer depends on beside the token: names, blanks between */
    const char *openid;    /* openid_configuration_url of the source; "" */
    int64_t valid_until;   /* Unix time at which the token expires; 0: not said */
    size_t fields;         /* pass_attrs, expanded */
    const char **name, **value;
};
/* In a fiber. */
enum oauth2_verdict oauth2_check(const char *source, struct slice token, const struct oauth2_var *, size_t vars,
                                 struct arena *, struct oauth2_reply *);
#endif
