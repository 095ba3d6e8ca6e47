/* rewrite - asks qmgr/rewrite over one kept connection, and remembers answers for a moment */
#include "client/rewrite.h"
#include "base/log.h"
#include "base/map.h"
#include "base/time.h"
#include "conf/param.h"
#include "ipc/client.h"

#include <stdlib.h>

static struct ipc_client *client; /* lives as long as the process */
static struct map *answers;       /* question -> struct answer */

struct answer {
    int64_t expires;
    struct arena *arena;
    const char *address;
    struct rewrite_route route;
};

static void answer_free(void *p)
{
    struct answer *a = p;

    arena_free(&a->arena);
    free(a);
}

void rewrite_flush(void)
{
    if (answers)
        map_clear(answers);
}

static struct answer *cached(struct slice question)
{
    struct answer *a = answers ? map_get(answers, question) : NULL;

    if (a && a->expires <= time_mono_ms()) {
        map_del(answers, question);
        a = NULL;
    }
    return a;
}

static struct answer *keep(struct slice question)
{
    struct answer *a = mem_new(sizeof *a);

    if (answers == NULL)
        answers = map_new(REWRITE_CACHE_ENTRIES, answer_free);
    if (map_count(answers) == REWRITE_CACHE_ENTRIES)
        map_clear(answers);
    a->arena = arena_new();
    a->expires = time_mono_ms() + REWRITE_CACHE_MS;
    map_set(answers, question, a);
    return a;
}

/* NULL: ask later. A reply "ok" is the caller's. */
static struct msg *ask(struct msg *request)
{
    struct msg *reply;

    if (client == NULL)
        client = ipc_client_new(REWRITE_SERVICE, REWRITE_PROTOCOL, REWRITE_VERSION);
    reply = ipc_call(client, &request, true, time_mono_ms() + conf_ipc_timeout * 1000);
    if (reply == NULL)
        log_warn("the rewrite service cannot be asked");
    else if (strcmp(msg_name(reply), "ok") != 0)
        msg_free(&reply);
    return reply;
}

static const char *copy(struct arena *a, struct msg *reply, const char *name)
{
    return arena_strdup(a, msg_get_str(reply, name, REWRITE_ADDRESS_BYTES));
}

static bool too_long(const char *address)
{
    if (strlen(address) <= REWRITE_ADDRESS_BYTES)
        return false;
    log_warn("an address of %zu bytes is too long to be rewritten", strlen(address));
    return true;
}

enum lookup rewrite_canonical(enum rewrite_context context, const char *address, struct str *out)
{
    struct msg *request, *reply;
    struct answer *a;
    struct str question;
    enum lookup result = LOOKUP_RETRY;

    if (too_long(address))
        return LOOKUP_RETRY;
    str_init(&question, STR_UNLIMITED);
    str_printf(&question, "c%d %s", (int) context, address);
    if ((a = cached(str_slice(&question))) == NULL) {
        request = msg_new("rewrite");
        msg_put_num(request, "context", context);
        msg_put_str(request, "address", address);
        reply = ask(request);
        if (reply) {
            a = keep(str_slice(&question));
            a->address = copy(a->arena, reply, "address");
            if (!msg_done(reply)) {
                map_del(answers, str_slice(&question));
                a = NULL;
            }
        }
        msg_free(&reply);
    }
    if (a) {
        str_adds(out, a->address);
        result = str_over(out) ? LOOKUP_RETRY : LOOKUP_FOUND;
    }
    str_free(&question);
    return result;
}

static struct answer *read_route(struct msg *reply, struct slice question)
{
    struct answer *a = keep(question);

    a->route.transport = copy(a->arena, reply, "transport");
    a->route.nexthop = copy(a->arena, reply, "nexthop");
    a->route.recipient = copy(a->arena, reply, "recipient");
    a->route.class = (enum rewrite_class) msg_get_num(reply, "class", REWRITE_CLASS_LOCAL, REWRITE_CLASS_DEFAULT);
    a->route.routed = msg_get_num(reply, "routed", 0, 1);
    a->route.error = strcmp(a->route.transport, conf_error_service_name) == 0;
    if (msg_done(reply) && *a->route.transport)
        return a;
    log_warn("malformed answer of the rewrite service");
    map_del(answers, question);
    return NULL;
}

enum lookup rewrite_resolve(const char *sender, const char *address, struct arena *arena, struct rewrite_route *out)
{
    struct msg *request, *reply;
    struct answer *a;
    struct str question;

    if (too_long(address) || too_long(sender))
        return LOOKUP_RETRY;
    str_init(&question, STR_UNLIMITED);
    str_printf(&question, "r%s", sender);
    str_add(&question, "", 1); /* a NUL between the two: neither holds one */
    str_adds(&question, address);
    if ((a = cached(str_slice(&question))) == NULL) {
        request = msg_new("resolve");
        msg_put_str(request, "sender", sender);
        msg_put_str(request, "address", address);
        reply = ask(request);
        if (reply)
            a = read_route(reply, str_slice(&question));
        msg_free(&reply);
    }
    str_free(&question);
    if (a == NULL)
        return LOOKUP_RETRY;
    *out = a->route;
    out->transport = arena_strdup(arena, a->route.transport);
    out->nexthop = arena_strdup(arena, a->route.nexthop);
    out->recipient = arena_strdup(arena, a->route.recipient);
    return LOOKUP_FOUND;
}
