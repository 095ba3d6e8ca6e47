/*
 * proxy - proxy:type:name, and mysql:name, are looked up by authd/proxymap, which sees files that a jailed daemon does not
 *
 * Invariants  one connection a process, shared by all tables; keys are folded there, as the flags say
 *             found answers of a database are kept as long as proxymap says, at most PROXY_KEEP_MS; "none" never
 * Errors      RETRY when proxymap cannot be asked or does not serve the table
 */
#include "table/proxy.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/time.h"
#include "conf/param.h"
#include "event/event.h"
#include "ipc/client.h"
#include "table/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct ipc_client *proxymap; /* lives as long as the process */

enum { FORGET_MS = 2 * PROXY_KEEP_MS };

struct kept { /* a found answer */
    int64_t until;
    size_t len;
    char value[];
};
static struct map *kept; /* by question_of; wiped when they go */
static struct event_timer *forgetting;

static void kept_free(void *p)
{
    struct kept *k = p;

    mem_wipe(k->value, k->len);
    free(k);
}

/* What the first table is asked for the first key: the rest does not matter to an answer that it gave. */
static void question_of(const struct proxy_question *q, struct str *out)
{
    str_init(out, STR_UNLIMITED);
    str_printf(out, "%u %s", q->flags, q->spec[0]);
    str_add(out, "", 1);
    str_adds(out, q->key[0]);
}

static bool known(struct slice question, struct str *out)
{
    struct kept *k = kept ? map_get(kept, question) : NULL;

    if (k && k->until <= time_mono_ms()) {
        map_del(kept, question);
        k = NULL;
    }
    if (k)
        str_add(out, k->value, k->len);
    return k != NULL;
}

/* What nobody asks for again does not stay. */
static void forget(void *unused)
{
    int64_t now = time_mono_ms();
    struct slice question;
    void *k;

    (void) unused;
    for (size_t at = 0; map_next(kept, &at, &question, &k);)
        if (((struct kept *) k)->until <= now)
            map_del(kept, question);
    if (map_count(kept))
        event_timer_reset(forgetting, FORGET_MS);
    else
        event_timer_free(&forgetting);
}

static void keep(struct slice question, struct slice value, int64_t milliseconds)
{
    struct kept *k;

    if (value.len > PROXY_KEPT_BYTES || milliseconds == 0)
        return;
    if (kept == NULL)
        kept = map_new(PROXY_KEPT, kept_free);
    if (map_count(kept) == PROXY_KEPT)
        map_clear(kept);
    if (forgetting == NULL)
        forgetting = event_timer_new(FORGET_MS, forget, NULL);
    k = mem_new(sizeof *k + value.len);
    k->until = time_mono_ms() + milliseconds;
    k->len = value.len;
    memcpy(k->value, value.p, value.len);
    map_set(kept, question, k);
}

static enum proxy_answer read_reply(struct msg *reply, const struct proxy_question *q, struct str *out,
                                    struct proxy_place *at, int64_t *keep_ms)
{
    const char *status = msg_name(reply);

    if (strcmp(status, "none") != 0) {
        at->table = (size_t) msg_get_num(reply, "at", 0, (int64_t) q->specs - 1);
        at->key = (size_t) msg_get_num(reply, "key", 0, (int64_t) q->keys - 1);
    }
    if (strcmp(status, "found") == 0) {
        struct slice value = msg_get(reply, "value", TABLE_VALUE_BYTES);
        *keep_ms = msg_get_num(reply, "keep_ms", 0, PROXY_KEEP_MS);
        if (msg_done(reply)) {
            str_addslice(out, value);
            return PROXY_FOUND;
        }
    } else if (strcmp(status, "none") == 0 && msg_done(reply)) {
        return PROXY_NONE;
    } else if (strcmp(status, "denied") == 0 && msg_done(reply)) {
        return PROXY_DENIED;
    }
    return PROXY_RETRY;
}

static enum proxy_answer ask(const struct proxy_question *q, struct str *out, struct proxy_place *at,
                             int64_t *keep_ms)
{
    struct msg *request = msg_new("lookup"), *reply;
    enum proxy_answer answer;

    if (proxymap == NULL)
        proxymap = ipc_client_new(PROXY_SERVICE, PROXY_PROTOCOL, PROXY_VERSION);
    *at = (struct proxy_place){ 0 };
    for (size_t i = 0; i < q->specs; i++)
        msg_put_str(request, "table", q->spec[i]);
    msg_put_num(request, "flags", q->flags);
    for (size_t i = 0; i < q->keys; i++)
        msg_put_str(request, "key", q->key[i]);
    reply = ipc_call(proxymap, &request, true, time_mono_ms() + conf_ipc_timeout * 1000);
    if (reply == NULL)
        return PROXY_AWAY;
    answer = read_reply(reply, q, out, at, keep_ms);
    msg_free(&reply);
    return answer;
}

enum proxy_answer proxy_ask(const struct proxy_question *q, struct str *out, struct proxy_place *at)
{
    int64_t keep_ms;

    return ask(q, out, at, &keep_ms);
}

/* The same, from what is kept where it can be. */
static enum proxy_answer kept_or_ask(const struct proxy_question *q, struct str *out, struct proxy_place *at)
{
    enum proxy_answer answer = PROXY_FOUND;
    size_t start = out->len;
    int64_t keep_ms = 0;
    struct str question;

    *at = (struct proxy_place){ 0 };
    question_of(q, &question);
    if (!known(str_slice(&question), out)) {
        answer = ask(q, out, at, &keep_ms);
        if (answer == PROXY_FOUND && at->table == 0 && at->key == 0 && !str_over(out))
            keep(str_slice(&question), slice_make(out->p + start, out->len - start), keep_ms);
    }
    str_free(&question);
    return answer;
}

/* What proxymap knows it by; NULL: it is looked up here. */
static const char *spec_of(const struct table *t)
{
    return t->type == &table_proxy ? t->name : t->type == &table_mysql ? t->spec : NULL;
}

size_t proxy_run(struct table *const *table, size_t count, bool partial)
{
    size_t n = 0;

    while (n < count && n < PROXY_TABLES && table[n]->type && spec_of(table[n]) && table[n]->error == NULL &&
           table[n]->flags == table[0]->flags && !(partial && table_full_key_only(table[n])))
        n++;
    return n;
}

static enum lookup too_long(struct table *t, const char *key, struct str *out)
{
    return table_lookup(t, key, out); /* says so */
}

enum lookup proxy_find(struct table *const *table, size_t count, const char *const *key, size_t keys, struct str *out,
                       struct proxy_place *at)
{
    const char *spec[PROXY_TABLES];
    struct proxy_question q = { .spec = spec, .specs = count, .key = key, .keys = keys, .flags = table[0]->flags };
    const struct table *t;
    enum proxy_answer answer;

    *at = (struct proxy_place){ 0 };
    for (size_t i = 0; i < keys; i++)
        if (strlen(key[i]) > TABLE_KEY_BYTES)
            return too_long(table[0], key[i], out);
    for (size_t i = 0; i < count; i++)
        spec[i] = spec_of(table[i]);
    answer = kept_or_ask(&q, out, at);
    t = table[at->table];
    switch (answer) {
    case PROXY_FOUND: return LOOKUP_FOUND;
    case PROXY_NONE: return LOOKUP_NONE;
    case PROXY_DENIED:
        if (table_say(table[at->table]))
            log_warn("%s: the proxymap service does not serve this table: no parameter names it", t->spec);
        break;
    case PROXY_AWAY:
        if (table_say(table[at->table]))
            log_warn("%s: the proxymap service cannot be asked: %s", t->spec, strerror(errno));
        break;
    case PROXY_RETRY: break; /* proxymap has said why */
    }
    return LOOKUP_RETRY;
}

static int proxy_open(struct table *t, struct err *err)
{
    if (strchr(t->name, ':') == NULL)
        return err_set(err, 0, NULL, "%s: expected proxy:type:name", t->spec);
    return 0;
}

static enum lookup proxy_lookup(struct table *t, const char *key, struct str *out)
{
    struct proxy_place at;

    return proxy_find(&t, 1, &key, 1, out, &at);
}

static int mysql_open(struct table *t, struct err *err)
{
    return *t->name ? 0 : err_set(err, 0, NULL, "%s: expected mysql:/file", t->spec);
}

const struct table_type table_proxy = {
    .name = "proxy", .traits = TABLE_OWN_CASE, .open = proxy_open, .lookup = proxy_lookup
};
/* The database's password stays in proxymap, whoever names the table. */
const struct table_type table_mysql = {
    .name = "mysql", .traits = TABLE_OWN_CASE, .open = mysql_open, .lookup = proxy_lookup
};
