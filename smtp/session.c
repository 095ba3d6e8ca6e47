/*
 * session - a connection to a host that has let us in: greeting, EHLO or LHLO, STARTTLS, AUTH
 *
 * Callers     attempt.c, transaction.c
 * Invariants  after STARTTLS everything the server said before is forgotten (RFC 3207 section 4.2)
 *             level "encrypt": no mail without TLS; level "may": a handshake that fails is followed by one more
 *             connection without it
 * Errors      *why in Postfix's words; every problem here says that the host cannot be used now
 * Source      RFC 5321 3.1, 4.2; RFC 3207; RFC 2033 (LMTP)
 */
#include "smtp_internal.h"
#include "ipc/client.h"
#include "conf/param.h"
#include "base/log.h"
#include "base/time.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <arpa/inet.h>
#include <strings.h>
#include <unistd.h>

enum { LINE_BYTES = 4096, CONNECT_SECONDS_MAX = 3600 };

void why_set(struct why *why, bool permanent, const char *dsn, const char *fmt, ...)
{
    va_list args;

    *why = (struct why){ .permanent = permanent };
    snprintf(why->dsn, sizeof why->dsn, "%s", dsn);
    va_start(args, fmt);
    vsnprintf(why->text, sizeof why->text, fmt, args);
    va_end(args);
}

static void add_place(const struct session *s, struct why *why)
{
    snprintf(why->relay, sizeof why->relay, "%s", s->relay);
    snprintf(why->mta, sizeof why->mta, "%s", s->host);
}

void session_lost(const struct session *s, struct why *why)
{
    if (errno == ETIMEDOUT)
        why_set(why, false, "4.4.2", "conversation with %s timed out while %s", s->namaddr, s->doing);
    else if (errno == EBADMSG)
        why_set(why, false, "4.3.0", "malformed reply from %s while %s", s->namaddr, s->doing);
    else
        why_set(why, false, "4.4.2", "lost connection with %s while %s", s->namaddr, s->doing);
    snprintf(why->relay, sizeof why->relay, "%s", s->relay);
}

void session_text(const struct session *s, char *out, size_t bytes)
{
    size_t len = s->reply.text.len < bytes - 1 ? s->reply.text.len : bytes - 1;

    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char) s->reply.text.p[i];
        out[i] = c == '\n' ? ' ' : c < ' ' || c == 127 ? '?' : (char) c;
    }
    out[len] = '\0';
}

static void from_reply(const struct session *s, struct why *why, const char *verb, const char *command)
{
    char said[WHY_BYTES - 512], dsn[ERR_DSN_BYTES];
    bool permanent = s->reply.code / 100 == 5;

    session_text(s, said, sizeof said);
    snprintf(dsn, sizeof dsn, "%.11s", s->reply.dsn[0] ? s->reply.dsn : permanent ? "5.0.0" : "4.0.0");
    why_set(why, permanent, dsn, "host %s %s: %s%s%s%s", s->namaddr, verb, said, command ? " (in reply to " : "",
            command ? command : "", command ? ")" : "");
    snprintf(why->diag, sizeof why->diag, "%s", said);
    add_place(s, why);
}

void session_refused(const struct session *s, const char *command, struct why *why)
{
    from_reply(s, why, "said", command);
}

/* One command is one line, whatever an old queue file holds. */
void session_say(struct session *s, const char *fmt, ...)
{
    struct str line;
    va_list args;

    str_init(&line, STR_UNLIMITED);
    va_start(args, fmt);
    str_vprintf(&line, fmt, args);
    va_end(args);
    for (size_t i = 0; i < line.len; i++)
        if (line.p[i] == '\r' || line.p[i] == '\n')
            line.p[i] = '?';
    str_add(&line, "\r\n", 2);
    stream_write(s->stream, line.p, line.len);
    str_free(&line);
}

int session_get(struct session *s, int64_t seconds, const char *doing, struct why *why)
{
    enum smtp_reply_step step = SMTP_REPLY_MORE;
    enum stream_eol eol;
    struct str line;

    s->doing = doing;
    smtp_reply_reset(&s->reply);
    stream_timeout(s->stream, seconds * 1000);
    str_init(&line, LINE_BYTES);
    while (step == SMTP_REPLY_MORE) {
        str_reset(&line);
        errno = 0;
        if (stream_line(s->stream, &line, LINE_BYTES, &eol) < 0 && errno != EMSGSIZE) {
            session_lost(s, why);
            str_free(&line);
            return -1;
        }
        step = smtp_reply_line(&s->reply, str_slice(&line));
    }
    str_free(&line);
    if (step == SMTP_REPLY_DONE)
        return 0;
    errno = EBADMSG;
    session_lost(s, why);
    return -1;
}

static int open_unix(const struct nexthop *n, struct session *s, struct why *why)
{
    int64_t deadline = time_mono_ms() + (opt.connect_timeout > 0 ? opt.connect_timeout : CONNECT_SECONDS_MAX) * 1000;
    int fd = ipc_connect(n->host, deadline);

    snprintf(s->host, sizeof s->host, "%s", conf_myhostname);
    snprintf(s->addr, sizeof s->addr, "%.100s", n->host);
    snprintf(s->namaddr, sizeof s->namaddr, "%s[%s]", s->host, n->host);
    snprintf(s->relay, sizeof s->relay, "%s", s->namaddr);
    s->unix_path = true;
    if (fd < 0)
        why_set(why, false, "4.4.1", "connect to %s: %s", s->namaddr, strerror(errno));
    return fd;
}

static socklen_t bind_address(int family, struct sockaddr_storage *out)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *) out;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *) out;

    *out = (struct sockaddr_storage){ .ss_family = (sa_family_t) family };
    if (family == AF_INET && *opt.bind_address && inet_pton(AF_INET, opt.bind_address, &v4->sin_addr) == 1)
        return sizeof *v4;
    if (family == AF_INET6 && *opt.bind_address6 && inet_pton(AF_INET6, opt.bind_address6, &v6->sin6_addr) == 1)
        return sizeof *v6;
    return 0;
}

static int open_inet(const struct host *h, struct session *s, struct why *why)
{
    int64_t deadline = time_mono_ms() + (opt.connect_timeout > 0 ? opt.connect_timeout : CONNECT_SECONDS_MAX) * 1000;
    struct sockaddr_storage from;
    socklen_t from_len = bind_address(h->addr.ss_family, &from);
    char addr[64], port[16];
    int fd;

    io_address_text((const struct sockaddr *) &h->addr, h->len, addr, port);
    snprintf(s->host, sizeof s->host, "%s", h->name);
    snprintf(s->addr, sizeof s->addr, "%s", addr);
    snprintf(s->namaddr, sizeof s->namaddr, "%s[%s]", s->host, addr);
    snprintf(s->relay, sizeof s->relay, "%s:%s", s->namaddr, port);
    fd = io_connect((const struct sockaddr *) &h->addr, h->len, from_len ? (struct sockaddr *) &from : NULL, from_len,
                    deadline);
    if (fd < 0)
        why_set(why, false, "4.4.1", "connect to %s: %s", s->relay, strerror(errno));
    return fd;
}

static void log_tls(const struct session *s)
{
    const struct tls_info *i = stream_tls(s->stream);
    char more[256] = "";

    if (opt.tls_loglevel < 1 || i == NULL)
        return;
    if (i->kex[0] != '\0')
        snprintf(more, sizeof more, " key-exchange %s%s%s%s%s", i->kex,
                 i->server_signature[0] ? " server-signature " : "", i->server_signature,
                 i->server_digest[0] ? " server-digest " : "", i->server_digest);
    log_info("%s TLS connection established to %s: %s with cipher %s (%d/%d bits)%s",
             i->peer_verified     ? "Trusted"
             : i->peer_subject[0] ? "Untrusted"
                                  : "Anonymous",
             s->relay, i->protocol, i->cipher, i->bits, i->alg_bits, more);
}

static int handshake(struct session *s, struct why *why)
{
    struct tls_why tls;

    s->doing = "performing the TLS handshake";
    if (stream_tls_client(s->stream, smtp_tls_ctx, s->host, time_mono_ms() + opt.starttls_timeout * 1000, &tls) ==
        0) {
        log_tls(s);
        return 0;
    }
    log_info("SSL_connect error to %s: %s", s->relay, tls.text);
    why_set(why, false, "4.7.5", "Cannot start TLS: handshake failure");
    add_place(s, why);
    s->again_plain = smtp_tls_level < TLS_LEVEL_ENCRYPT && !opt.wrappermode;
    return -1;
}

static int greeting(struct session *s, struct why *why)
{
    if (session_get(s, opt.helo_timeout, "receiving the initial server greeting", why) < 0)
        return -1;
    if (s->reply.code / 100 == 2)
        return 0;
    from_reply(s, why, "refused to talk to me", NULL);
    if (opt.skip_5xx_greeting && why->permanent) {
        why->permanent = false;
        why->dsn[0] = '4';
    }
    return -1;
}

static int hello(struct session *s, struct why *why)
{
    const char *verb = smtp_is_lmtp ? "LHLO" : opt.never_ehlo ? "HELO" : "EHLO";
    struct smtp_ehlo ehlo;

    for (;;) {
        char doing[64], command[32];

        snprintf(doing, sizeof doing, "performing the %s handshake", verb);
        snprintf(command, sizeof command, "%s command", verb);
        session_say(s, "%s %s", verb, opt.helo_name);
        int status = session_get(s, opt.helo_timeout, doing, why);
        s->doing = "performing the greeting";
        if (status < 0)
            return -1;
        if (s->reply.code / 100 == 2)
            break;
        if (strcmp(verb, "EHLO") != 0 || s->reply.code == 421) {
            from_reply(s, why, "refused to talk to me", command);
            why->permanent = false;
            why->dsn[0] = '4';
            return -1;
        }
        verb = "HELO";
    }
    s->features = 0;
    s->size_limit = 0;
    s->mechanisms[0] = '\0';
    if (strcmp(verb, "HELO") == 0)
        return 0;
    smtp_ehlo_parse(&s->reply, opt.discard_keywords, &ehlo);
    s->features = ehlo.features;
    s->size_limit = ehlo.size;
    if (ehlo.auth.len < sizeof s->mechanisms)
        snprintf(s->mechanisms, sizeof s->mechanisms, "%.*s", (int) ehlo.auth.len, ehlo.auth.p);
    if (s->loop_check && slice_caseeq(ehlo.host, conf_myhostname)) {
        log_warn("host %s greeted me with my own hostname %s", s->relay, conf_myhostname);
        why_set(why, true, "5.4.6", "mail for %s loops back to myself", s->host);
        return -1;
    }
    return 0;
}

static int start_tls(struct session *s, bool plain, struct why *why)
{
    if (smtp_tls_level == TLS_LEVEL_NONE || plain || stream_tls(s->stream) != NULL)
        return 0;
    if (!(s->features & SMTP_EHLO_STARTTLS)) {
        if (smtp_tls_level < TLS_LEVEL_ENCRYPT)
            return 0;
        why_set(why, false, "4.7.4", "TLS is required, but was not offered by host %s", s->namaddr);
        add_place(s, why);
        return -1;
    }
    session_say(s, "STARTTLS");
    if (session_get(s, opt.starttls_timeout, "performing the STARTTLS handshake", why) < 0)
        return -1;
    if (s->reply.code / 100 != 2) {
        if (smtp_tls_level < TLS_LEVEL_ENCRYPT)
            return 0;
        from_reply(s, why, "refused to start TLS", "STARTTLS command");
        why->permanent = false;
        why->dsn[0] = '4';
        return -1;
    }
    return handshake(s, why) < 0 ? -1 : hello(s, why);
}

struct session *session_open(struct deliver_request *rq, const struct nexthop *n, const struct host *h, bool plain,
                             bool *again_plain, struct why *why)
{
    struct session *s = mem_new(sizeof *s);
    int fd = h == NULL ? open_unix(n, s, why) : open_inet(h, s, why);
    bool good = fd >= 0;

    *again_plain = false;
    list_init(&s->at);
    smtp_reply_init(&s->reply);
    s->loop_check = !smtp_is_lmtp && h != NULL && ntohs(((const struct sockaddr_in *) &h->addr)->sin_port) == 25;
    s->opened_ms = time_mono_ms();
    if (!good)
        log_info("%s", why->text);
    else {
        s->stream = stream_new(fd);
        good = (!opt.wrappermode || handshake(s, why) == 0) && greeting(s, why) == 0 && hello(s, why) == 0 &&
               start_tls(s, plain, why) == 0 && session_auth(s, rq, why) == 0;
        *again_plain = s->again_plain;
    }
    if (good)
        return s;
    session_close(&s, false);
    return NULL;
}

void session_close(struct session **s, bool quit)
{
    struct session *old = *s;
    struct why ignored;

    *s = NULL;
    list_del(&old->at);
    if (quit && old->stream != NULL) {
        session_say(old, "QUIT");
        stream_timeout(old->stream, opt.quit_timeout * 1000);
        if (stream_flush(old->stream) == 0 && !opt.skip_quit_response)
            (void) session_get(old, opt.quit_timeout, "sending QUIT", &ignored);
    }
    if (old->stream != NULL)
        stream_free(&old->stream);
    smtp_reply_free(&old->reply);
    free(old->key);
    free(old);
}
