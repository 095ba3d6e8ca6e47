/* rewrite - asks qmgr/rewrite over one kept connection, and remembers answers for a moment */
#include "client/rewrite.h"
#include "base/log.h"
#include "base/map.h"
#include "base/time.h"
#include "conf/param.h"
#include "event/event.h"
#include "ipc/client.h"

#include <stdlib.h>
#include <string.h>

enum { FORGET_MS = 2 * REWRITE_CACHE_MS };

static struct ipc_client *client; /* lives as long as the process */
static struct map *answers;       /* question -> struct answer */
static struct event_timer *forgetting;

struct answer {
    int64_t expires, asked_us;
    const char *address;
    struct rewrite_route route;
    char text[]; /* what the two point at */
};

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

/* What nobody asks for again would stay for the life of the process. */
static void forget(void *unused)
{
    int64_t now = time_mono_ms();
    struct slice question;
    void *a;

    (void) unused;
    for (size_t at = 0; map_next(answers, &at, &question, &a);)
        if (((struct answer *) a)->expires <= now)
            map_del(answers, question);
    if (map_count(answers))
        event_timer_reset(forgetting, FORGET_MS);
    else
        event_timer_free(&forgetting);
}

static struct answer *keep(struct slice question, size_t text_bytes)
{
    struct answer *a = mem_new(sizeof *a + text_bytes);

    if (answers == NULL)
        answers = map_new(REWRITE_CACHE_ENTRIES, free);
    if (map_count(answers) == REWRITE_CACHE_ENTRIES)
        map_clear(answers);
    if (forgetting == NULL)
        forgetting = event_timer_new(FORGET_MS, forget, NULL);
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

static const char *put(char **at, const char *text)
{
    char *p = *at;

    *at = stpcpy(p, text) + 1;
    return p;
}

static bool too_long(const char *address)
{
    if (strlen(address) <= REWRITE_ADDRESS_BYTES)
        return false;
    log_warn("an address of %zu bytes is too long to be rewritten", strlen(address));
    return true;
}

bool rewrite_complete(const char *address)
{
    const char *at = strrchr(address, '@');

    return at && *address != '@' && strchr(at, '.') && address[strlen(address) - 1] != '.';
}

enum lookup rewrite_canonical(enum rewrite_context context, const char *address, struct str *out)
{
    struct msg *request, *reply;
    struct answer *a;
    struct str question;
    enum lookup result = LOOKUP_RETRY;

    if (too_long(address))
        return LOOKUP_RETRY;
    if (rewrite_complete(address)) {
        str_adds(out, address);
        return str_over(out) ? LOOKUP_RETRY : LOOKUP_FOUND;
    }
    str_init(&question, STR_UNLIMITED);
    str_printf(&question, "c%d %s", (int) context, address);
    if ((a = cached(str_slice(&question))) == NULL) {
        request = msg_new("rewrite");
        msg_put_num(request, "context", context);
        msg_put_str(request, "address", address);
        reply = ask(request);
        const char *canonical = reply ? msg_get_str(reply, "address", REWRITE_ADDRESS_BYTES) : NULL;
        if (canonical && msg_done(reply)) {
            a = keep(str_slice(&question), strlen(canonical) + 1);
            a->address = put(&(char *){ a->text }, canonical);
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
    const char *transport = msg_get_str(reply, "transport", REWRITE_ADDRESS_BYTES);
    const char *nexthop = msg_get_str(reply, "nexthop", REWRITE_ADDRESS_BYTES);
    const char *recipient = msg_get_str(reply, "recipient", REWRITE_ADDRESS_BYTES);
    int64_t class = msg_get_num(reply, "class", REWRITE_CLASS_LOCAL, REWRITE_CLASS_DEFAULT);
    bool routed = msg_get_num(reply, "routed", 0, 1);

    if (!msg_done(reply) || *transport == '\0') {
        log_warn("malformed answer of the rewrite service");
        return NULL;
    }
    struct answer *a = keep(question, strlen(transport) + strlen(nexthop) + strlen(recipient) + 3);
    char *at = a->text;
    a->route = (struct rewrite_route){ .transport = put(&at, transport),
                                       .nexthop = put(&at, nexthop),
                                       .recipient = put(&at, recipient),
                                       .class = (enum rewrite_class) class,
                                       .routed = routed,
                                       .error = strcmp(transport, conf_error_service_name) == 0 };
    return a;
}

static bool may_be_refused(const struct rewrite_route *route)
{
    return route->class == REWRITE_CLASS_DEFAULT || route->error;
}

enum lookup rewrite_resolve(const char *sender, const char *address, struct arena *arena, struct rewrite_route *out)
{
    return rewrite_resolve_since(0, sender, address, arena, out);
}

enum lookup rewrite_resolve_since(int64_t since_us, const char *sender, const char *address, struct arena *arena,
                                  struct rewrite_route *out)
{
    struct msg *request, *reply;
    struct answer *a;
    struct str question;
    int64_t now = time_mono_us();

    if (too_long(address) || too_long(sender))
        return LOOKUP_RETRY;
    str_init(&question, STR_UNLIMITED);
    str_printf(&question, "r%s", sender);
    str_add(&question, "", 1); /* a NUL between the two: neither holds one */
    str_adds(&question, address);
    a = cached(str_slice(&question));
    if (a == NULL || (a->asked_us < since_us && may_be_refused(&a->route))) {
        a = NULL;
        request = msg_new("resolve");
        msg_put_str(request, "sender", sender);
        msg_put_str(request, "address", address);
        reply = ask(request);
        if (reply)
            a = read_route(reply, str_slice(&question));
        if (a)
            a->asked_us = now;
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
