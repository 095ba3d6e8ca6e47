/*
 * oauth2 - see oauth2.h
 */
#include "client/oauth2.h"
#include "base/time.h"
#include "client/oauth2_wire.h"
#include "ipc/client.h"

#include <errno.h>

enum { ASK_MS = 145000 }; /* below the time that an authentication has */

static struct ipc_client *oauth2; /* lives as long as the process */

static enum oauth2_verdict later(struct oauth2_reply *out, const char *why)
{
    *out = (struct oauth2_reply){ .why = why, .openid = "", .variables = "user" };
    return OAUTH2_LATER;
}

static bool take_fields(struct msg *m, struct arena *a, struct oauth2_reply *out)
{
    struct slice text;

    out->name = arena_alloc(a, OAUTH2_FIELDS * sizeof *out->name);
    out->value = arena_alloc(a, OAUTH2_FIELDS * sizeof *out->value);
    while (out->fields < OAUTH2_FIELDS && msg_next(m, "name", OAUTH2_NAME_BYTES, &text)) {
        out->name[out->fields] = arena_strndup(a, text.p, text.len);
        out->value[out->fields++] = arena_strdup(a, msg_get_str(m, "value", OAUTH2_VALUE_BYTES));
    }
    return msg_done(m);
}

static enum oauth2_verdict read_answer(struct msg *m, struct arena *a, struct oauth2_reply *out)
{
    static const char *const names[] = OAUTH2_VERDICTS;

    for (size_t n = 0; n < sizeof names / sizeof *names; n++)
        if (strcmp(msg_name(m), names[n]) == 0) {
            out->why = arena_strdup(a, msg_get_str(m, "why", OAUTH2_WHY_BYTES));
            out->openid = arena_strdup(a, msg_get_str(m, "openid", OAUTH2_VALUE_BYTES));
            out->variables = arena_strdup(a, msg_get_str(m, "variables", OAUTH2_VALUE_BYTES));
            out->valid_until = msg_get_num(m, "until", 0, INT64_MAX);
            return take_fields(m, a, out) ? (enum oauth2_verdict) n
                                          : later(out, "the oauth2 service gave a malformed answer");
        }
    return later(out, "the oauth2 service gave a malformed answer");
}

enum oauth2_verdict oauth2_check(const char *source, struct slice token, const struct oauth2_var *var, size_t vars,
                                 struct arena *a, struct oauth2_reply *out)
{
    struct msg *m, *reply;
    enum oauth2_verdict verdict;

    *out = (struct oauth2_reply){ .why = "", .openid = "", .variables = "user" };
    if (token.len > OAUTH2_TOKEN_BYTES) {
        out->why = "Invalid token";
        return OAUTH2_MISMATCH;
    }
    if (oauth2 == NULL)
        oauth2 = ipc_client_new(OAUTH2_SERVICE, OAUTH2_PROTOCOL, OAUTH2_VERSION);
    m = msg_new(OAUTH2_CHECK);
    msg_put_str(m, "source", source);
    msg_put(m, "token", token);
    for (size_t n = 0; n < vars; n++) {
        msg_put_str(m, "name", var[n].name);
        msg_put_str(m, "value", var[n].value);
    }
    reply = ipc_call(oauth2, &m, true, time_mono_ms() + ASK_MS);
    if (reply == NULL)
        return later(out, arena_printf(a, "the oauth2 service cannot be asked: %s", strerror(errno)));
    verdict = read_answer(reply, a, out);
    msg_free(&reply);
    return verdict;
}
