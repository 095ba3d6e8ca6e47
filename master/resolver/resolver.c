/*
 * resolver - the one process that speaks DNS
 *
 * Callers     smtp, smtpd through lib/client/dns.h
 * Invariants  validates with the root's trust anchor where the name servers let it: if they do not pass on what
 *             validation needs, it says so once and answers "not secure" instead of calling every name bogus
 *             a question is at most DNS_NAME_BYTES long; libunbound joins equal questions and bounds its cache
 * Errors      time-out, SERVFAIL, bogus: "retry" with words
 * Privilege   chroot, network, no files once the jail is closed
 */
#include "service/service.h"

#include "base/log.h"
#include "base/time.h"
#include "client/dns_wire.h"
#include "ubevent.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unbound.h>
#include <unistd.h>

enum { RCODE_SERVFAIL = 2, RCODE_NXDOMAIN = 3 }; /* RFC 1035 4.1.1 */

static const char *forwarders, *stub_zones, *trust_anchor_file, *cache_bytes;
static int64_t timeout_seconds;
static const struct param params[] = {
    { .name = "resolver_forwarders",
      .type = PARAM_STRING,
      .str = &forwarders,
      .def = "",
      .doc = "Name servers to ask, \"address\" or \"address@port\"; empty: those of /etc/resolv.conf, or the root "
             "servers." },
    { .name = "resolver_stub_zones",
      .type = PARAM_STRING,
      .str = &stub_zones,
      .def = "",
      .doc = "Zones with name servers of their own, \"zone=address@port\"; answers from them are not validated." },
    { .name = "resolver_trust_anchor_file",
      .type = PARAM_STRING,
      .str = &trust_anchor_file,
      .def = "/usr/share/dns/root.key",
      .doc = "The root's public key; without it answers are never called secure." },
    { .name = "resolver_cache_size",
      .type = PARAM_STRING,
      .str = &cache_bytes,
      .def = "4m",
      .min = 1,
      .doc = "Memory for cached answers, as libunbound writes sizes." },
    { .name = "resolver_timeout",
      .type = PARAM_SECONDS,
      .num = &timeout_seconds,
      .def = "25s",
      .min = 1,
      .max = 300,
      .doc = "How long one question may take." },
    { .type = PARAM_END },
};

/* Which of the two answers is known once the root's keys were asked for; the other goes with its last question. */
static struct resolver_context {
    struct ub_ctx *ub;
    size_t open; /* questions */
} validating, plain, *in_use;

static int check(int rc, const char *what, const char *value)
{
    if (rc == 0)
        return 0;
    log_error("resolver: %s %s: %s", what, value, ub_strerror(rc));
    return -1;
}

static int set_stub_zones(struct ub_ctx *ctx)
{
    struct slice rest = slice_of(stub_zones), word;

    while (slice_word(&rest, " \t\r\n,", &word)) {
        char zone[DNS_NAME_BYTES], addr[100];
        ptrdiff_t eq = slice_find(word, '=');
        if (eq <= 0 || (size_t) eq >= sizeof zone - 1 || word.len - (size_t) eq > sizeof addr) {
            log_error("resolver_stub_zones: \"%.*s\" is not zone=address@port", (int) word.len, word.p);
            return -1;
        }
        snprintf(zone, sizeof zone, "%.*s", (int) eq, word.p);
        snprintf(addr, sizeof addr, "%.*s", (int) (word.len - (size_t) eq - 1), word.p + eq + 1);
        if (check(ub_ctx_set_option(ctx, "domain-insecure:", zone), "resolver_stub_zones", zone) < 0 ||
            check(ub_ctx_set_stub(ctx, zone, addr, 0), "resolver_stub_zones", addr) < 0)
            return -1;
    }
    return 0;
}

static int set_forwarders(struct ub_ctx *ctx)
{
    struct slice rest = slice_of(forwarders), word;

    if (forwarders[0] == 0) {
        int rc = ub_ctx_resolvconf(ctx, NULL);
        if (rc)
            log_info("/etc/resolv.conf cannot be read (%s): asking the root servers", ub_strerror(rc));
        return 0;
    }
    while (slice_word(&rest, " \t\r\n,", &word)) {
        char addr[100];
        snprintf(addr, sizeof addr, "%.*s", (int) word.len, word.p);
        if (check(ub_ctx_set_fwd(ctx, addr), "resolver_forwarders", addr) < 0)
            return -1;
    }
    return 0;
}

static void nothing(void *ctx, int rcode, void *packet, int len, int sec, char *why, int limited)
{
    (void) ctx, (void) rcode, (void) packet, (void) len, (void) sec, (void) why, (void) limited;
}

static struct ub_ctx *make(bool validate)
{
    static const char *const options[][2] = {
        { "do-not-query-localhost:", "no" },
        { "unblock-lan-zones:", "yes" },
        { "insecure-lan-zones:", "yes" },
        { "infra-host-ttl:",
          "10" }, /* a name server that was away is tried again soon, not after a quarter of an hour */
        /* One thread and a few hosts: tables that begin small, not one for each of four threads. */
        { "msg-cache-slabs:", "1" },
        { "rrset-cache-slabs:", "1" },
        { "infra-cache-slabs:", "1" },
        { "key-cache-slabs:", "1" },
        { "ratelimit-slabs:", "1" },
        { "ip-ratelimit-slabs:", "1" },
        { "use-syslog:", "no" },
        { "logfile:", "" },
        { "verbosity:", "0" },
    };
    struct ub_ctx *ctx = ub_ctx_create_ub_event(ubevent_base());
    int id;

    if (ctx == NULL) {
        log_error("libunbound: cannot make a context");
        return NULL;
    }
    for (size_t i = 0; i < sizeof options / sizeof *options; i++)
        if (check(ub_ctx_set_option(ctx, options[i][0], options[i][1]), "libunbound option", options[i][0]) < 0)
            return NULL;
    if (check(ub_ctx_set_option(ctx, "module-config:", validate ? "validator iterator" : "iterator"), "libunbound",
              "modules") < 0 ||
        check(ub_ctx_set_option(ctx, "rrset-cache-size:", cache_bytes), "resolver_cache_size", cache_bytes) < 0 ||
        check(ub_ctx_set_option(ctx, "msg-cache-size:", cache_bytes), "resolver_cache_size", cache_bytes) < 0 ||
        set_forwarders(ctx) < 0 || set_stub_zones(ctx) < 0)
        return NULL;
    if (validate &&
        check(ub_ctx_add_ta_file(ctx, trust_anchor_file), "resolver_trust_anchor_file", trust_anchor_file) < 0)
        return NULL;
    /* A first question, answered from built-in data, makes libunbound read its files while that is still possible. */
    if (check(ub_resolve_event(ctx, "localhost", DNS_A, 1, NULL, nothing, &id), "libunbound", "start") < 0)
        return NULL;
    (void) ub_ctx_zone_remove(ctx, "test."); /* a zone for tests is a zone like others */
    return ctx;
}

static int before_jail(void)
{
    plain.ub = make(false);
    if (plain.ub == NULL)
        return -1;
    if (trust_anchor_file[0] && access(trust_anchor_file, R_OK) == 0)
        validating.ub = make(true);
    else
        log_info("no trust anchor in \"%s\": answers are not validated by DNSSEC", trust_anchor_file);
    in_use = &plain;
    return 0;
}

struct question {
    struct resolver_context *ctx;
    const char *name;
    int type, rc, id;
    bool done;
    struct event_cond cond;
    struct dns_reply reply;
};

static void answer(struct question *q, int rcode, struct slice packet, int sec, const char *why)
{
    struct dns_message m = { 0 };

    q->reply.status = LOOKUP_RETRY;
    if (sec == 1) {
        q->reply.why = arena_printf(q->reply.arena, "DNSSEC validation failed: %.200s", why ? why : "");
        return;
    }
    /* An answer out of libunbound's cache comes with rcode 0, whatever the packet says: a SERVFAIL that was
     * remembered must not read as "no such records". */
    if (rcode == 0 || rcode == RCODE_NXDOMAIN)
        rcode = dns_message_parse(packet, q->reply.arena, &m) < 0 ? -1 : m.rcode;
    if (rcode != 0 && rcode != RCODE_NXDOMAIN) {
        q->reply.why = rcode == RCODE_SERVFAIL ? "no name server gave an answer (SERVFAIL)"
                                               : "unusable answer from the name server";
        return;
    }
    q->reply.status = m.count ? LOOKUP_FOUND : LOOKUP_NONE;
    q->reply.nxdomain = m.count == 0 && rcode == RCODE_NXDOMAIN;
    q->reply.secure = sec == 2;
    q->reply.ttl = m.ttl;
    q->reply.canonical = m.canonical;
    q->reply.count = m.count;
    q->reply.records = m.records;
}

/* An answer after the question was given up finds done set: ub_cancel keeps libunbound from calling then. */
static void on_answer(void *arg, int rcode, void *packet, int len, int sec, char *why, int limited)
{
    struct question *q = arg;

    (void) limited;
    answer(q, rcode, slice_make(packet, len > 0 ? (size_t) len : 0), sec, why);
    q->done = true;
    event_cond_signal(&q->cond);
}

static void ask_library(void *arg)
{
    struct question *q = arg;

    q->rc = ub_resolve_event(q->ctx->ub, q->name, q->type, 1, q, on_answer, &q->id);
}

static void give_up(void *arg)
{
    struct question *q = arg;

    ub_cancel(q->ctx->ub, q->id);
}

static void delete (void *arg)
{
    struct resolver_context *c = arg;

    ub_ctx_delete(c->ub);
    c->ub = NULL;
}

static void ask(struct question *q)
{
    int64_t deadline = time_mono_ms() + timeout_seconds * 1000;
    struct resolver_context *c = q->ctx;

    q->reply = (struct dns_reply){ .status = LOOKUP_RETRY, .arena = arena_new(), .canonical = "", .why = "" };
    c->open++;
    fiber_on_large_stack(ask_library, q);
    if (q->rc) {
        q->reply.why = ub_strerror(q->rc);
        q->done = true;
    }
    while (!q->done)
        if (event_cond_wait(&q->cond, deadline) < 0 && !q->done) {
            fiber_on_large_stack(give_up, q);
            q->reply.why = "no answer in time";
            break;
        }
    if (--c->open == 0 && c != in_use && c->ub)
        fiber_on_large_stack(delete, c);
}

static void on_lookup(struct service_conn *c, struct msg *in)
{
    struct question q = { .ctx = in_use };
    struct msg *reply;

    q.name = msg_get_str(in, DNS_V_NAME, DNS_NAME_BYTES);
    q.type = (int) msg_get_num(in, DNS_V_TYPE, 1, 65535);
    if (!msg_done(in) || q.name[0] == 0) {
        q.reply = (struct dns_reply){ .status = LOOKUP_RETRY, .why = "malformed question" };
    } else {
        ask(&q);
    }
    reply = dns_wire_reply(&q.reply);
    service_reply(c, &reply);
    dns_reply_free(&q.reply);
}

/* Does the way to the root's keys validate? */
static void probe(void *arg)
{
    struct question q = { .ctx = &validating, .name = ".", .type = 48 };

    (void) arg;
    validating.open++; /* it stays until we know */
    ask(&q);
    validating.open--;
    if (q.reply.status != LOOKUP_RETRY && q.reply.secure)
        in_use = &validating;
    else
        log_info("DNS answers are not validated by DNSSEC: %s",
                 q.reply.why[0] ? q.reply.why : "the name servers do not pass on signatures");
    dns_reply_free(&q.reply);
    struct resolver_context *other = in_use == &plain ? &validating : &plain;
    if (other->open == 0)
        fiber_on_large_stack(delete, other);
}

static int after_jail(void)
{
    if (validating.ub)
        fiber_go("probe", probe, NULL);
    return 0;
}

static const struct param *const param_tables[] = { params, NULL };
static const struct service_request requests[] = { { .name = DNS_REQUEST, .run = on_lookup }, { .name = NULL } };
static const struct service resolver = {
    .name = "resolver",
    .summary = "answers DNS questions of the other daemons",
    .jail = JAIL_CHROOT,
    .may = MAY_INET,
    .params = param_tables,
    .protocol = DNS_PROTOCOL,
    .version = DNS_PROTOCOL_VERSION,
    .requests = requests,
    .solitary = true,
    .pre_jail = before_jail,
    .post_jail = after_jail,
};

int main(int argc, char **argv) { return service_main(&resolver, argc, argv); }
