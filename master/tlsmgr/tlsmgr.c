/*
 * tlsmgr - makes and keeps the keys of TLS session tickets
 *
 * Callers     smtpd, login: through lib/client/tlsmgr.h
 * Invariants  keys live in this process only and never touch a disk; two are good at a time: the newest seals, the
 *             one before opens
 * Units       a key seals for half of smtpd_tls_session_cache_timeout and opens for as long again (RFC 5077 section
 *             5.5)
 * Privilege   chroot, no files and no network once the jail is closed
 */
#include "service/service.h"

#include "base/log.h"
#include "base/mem.h"
#include "client/tlsmgr_wire.h"

#include <string.h>
#include <sys/random.h>

static int64_t cache_timeout;
static const struct param params[] = {
    { .name = "smtpd_tls_session_cache_timeout",
      .type = PARAM_SECONDS,
      .num = &cache_timeout,
      .def = "3600s",
      .min = 2,
      .max = 8640000,
      .doc = "How long a TLS session may be resumed; ticket keys change twice in this time." },
    { .type = PARAM_END },
};
static unsigned char keys[TLSMGR_KEYS][TLS_TICKET_KEY_BYTES];
static size_t key_count;

static void make_key(void *arg)
{
    (void) arg;
    memmove(keys[1], keys[0], sizeof keys - sizeof keys[0]);
    if (getrandom(keys[0], sizeof keys[0], 0) != (ssize_t) sizeof keys[0])
        log_fatal("getrandom: no random bytes for a ticket key");
    if (key_count < TLSMGR_KEYS)
        key_count++;
}

static int64_t half_life(void) { return cache_timeout / 2; }

static void on_keys(struct service_conn *conn, struct msg *in)
{
    struct msg *reply = service_status(msg_done(in) ? "ok" : "malformed");
    int64_t refresh = half_life() / 4;

    if (strcmp(msg_name(reply), "ok") == 0) {
        msg_put(reply, TLSMGR_V_KEYS, slice_make((const char *) keys, key_count * TLS_TICKET_KEY_BYTES));
        msg_put_num(reply, TLSMGR_V_REFRESH, refresh < 1 ? 1 : refresh > 86400 ? 86400 : refresh);
    }
    service_reply(conn, &reply);
}

static int start(void)
{
    make_key(NULL);
    event_timer_every(half_life() * 1000, make_key, NULL);
    return 0;
}

static void stop(void) { mem_wipe(keys, sizeof keys); }

static const struct param *const param_tables[] = { params, NULL };
static const struct service_request requests[] = { { .name = TLSMGR_REQUEST, .run = on_keys }, { .name = NULL } };
static const struct service tlsmgr = {
    .name = "tlsmgr",
    .summary = "keeps the keys of TLS session tickets",
    .jail = JAIL_CHROOT,
    .params = param_tables,
    .protocol = TLSMGR_PROTOCOL,
    .version = TLSMGR_PROTOCOL_VERSION,
    .requests = requests,
    .solitary = true,
    .post_jail = start,
    .stop = stop,
};

int main(int argc, char **argv) { return service_main(&tlsmgr, argc, argv); }
