/*
 * smtp internal - what the files of the SMTP and LMTP client share
 *
 * Callers     smtp/ only
 */
#ifndef SMTP_INTERNAL_H
#define SMTP_INTERNAL_H
#include "base/list.h"
#include "client/deliver.h"
#include "io/stream.h"
#include "proto/smtp/reply.h"
#include <netinet/in.h>
#include <sys/socket.h>

enum { HOST_BYTES = 256, RELAY_BYTES = 700, WHY_BYTES = 2048, HOSTS_MAX = 200, MECHANISMS_BYTES = 500 };

/* Parameters: smtp_ or lmtp_. Times in seconds. */
struct smtp_options {
    int64_t connect_timeout, helo_timeout, starttls_timeout, mail_timeout, rcpt_timeout, data_init_timeout,
        data_xfer_timeout, data_done_timeout, quit_timeout, mx_address_limit, mx_session_limit, line_length_limit,
        cache_seconds, reuse_seconds, reuse_count, tls_loglevel;
    const char *tcp_port, *helo_name, *address_preference, *fallback_relay, *discard_keywords, *bind_address,
        *bind_address6, *tls_level, *tls_ca_file, *tls_ca_path, *tls_protocols, *tls_mandatory_protocols,
        *tls_chain_files, *tls_cert_file, *tls_key_file, *sasl_password_maps, *sasl_security_options,
        *sasl_tls_security_options, *sasl_verified_security_options, *sasl_mechanism_filter, *sasl_type, *sasl_path,
        *sasl_delimiter;
    bool randomize, skip_5xx_greeting, skip_quit_response, wrappermode, cache_on_demand, never_ehlo, disable_dns,
        ignore_mx_error, defer_no_mx_address, keep_8bit, sasl_enable, sasl_soft_bounce, sender_auth, send_authzid;
};
extern struct smtp_options opt;
extern bool smtp_is_lmtp;
enum tls_level { TLS_LEVEL_NONE, TLS_LEVEL_MAY, TLS_LEVEL_ENCRYPT };
extern enum tls_level smtp_tls_level;
extern struct tls_ctx *smtp_tls_ctx;

/* Why something did not work: status, words, and what the remote host said, for the report. */
struct why {
    char dsn[ERR_DSN_BYTES];
    char text[WHY_BYTES];
    char diag[WHY_BYTES]; /* "550 5.1.1 ...", or "" */
    char mta[HOST_BYTES]; /* who said so */
    char relay[RELAY_BYTES];
    bool permanent;
};
void why_set(struct why *, bool permanent, const char *dsn, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* nexthop.c: pure */
struct nexthop {
    bool unix_path, literal; /* literal: in brackets, no MX lookup */
    char host[HOST_BYTES];   /* host, address or path */
    char port[32];           /* "" : the default */
};
bool nexthop_next(struct slice *list, bool lmtp, struct nexthop *out, bool *bad); /* false: no more */
int nexthop_port(const char *name);                                               /* 1..65535, or -1 */

/* hosts.c */
struct host {
    const char *name;
    uint16_t preference;
    struct sockaddr_storage addr;
    socklen_t len;
    uint32_t shuffle;
};
struct hosts {
    struct host *list;
    size_t count;
};
/* In the order to try. 0; -1 with *why. */
int hosts_find(const struct nexthop *, struct arena *, struct hosts *, struct why *);
void hosts_sort(struct host *, size_t count, const char *preference); /* pure: by MX preference, then shuffle */
void hosts_own_addresses(void);                                       /* before the jail: getifaddrs */
bool hosts_is_own(const struct sockaddr *);

/* session.c */
struct session {
    struct stream *stream;
    char host[HOST_BYTES], addr[128];
    char namaddr[RELAY_BYTES - 20]; /* host[addr] */
    char relay[RELAY_BYTES];        /* host[addr]:port */
    char *key;                      /* of the cache */
    struct smtp_reply reply;
    unsigned features; /* enum smtp_feature */
    uint64_t size_limit;
    char mechanisms[MECHANISMS_BYTES]; /* AUTH */
    const char *doing;                 /* for "lost connection while ..." */
    int uses;
    int64_t opened_ms;
    bool loop_check, unix_path;
    struct list at; /* in the cache */
    int64_t until_ms;
    bool again_plain; /* the handshake failed at level "may": try without TLS */
};
/* NULL with *why. plain: without TLS although it might be offered. */
struct session *session_open(struct deliver_request *, const struct nexthop *, const struct host *, bool plain,
                             bool *again_plain, struct why *);
void session_close(struct session **, bool quit);
/* Commands. session_say buffers; session_get flushes and reads one reply: 0, or -1 with *why (connection lost, timed
 * out, garbage). */
void session_say(struct session *, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
int session_get(struct session *, int64_t seconds, const char *doing, struct why *);
void session_lost(const struct session *, struct why *);            /* from errno and session->doing */
void session_text(const struct session *, char *out, size_t bytes); /* the reply, one line of printable words */
/* *why for a reply that says no, "host X[a] said: ... (in reply to COMMAND)". */
void session_refused(const struct session *, const char *command, struct why *);

/* auth.c */
int session_auth(struct session *, const struct deliver_request *, struct why *);
int auth_open(void); /* before the jail */

/* cache.c */
struct session *cache_take(const char *key);
void cache_keep(struct session **); /* closes it where it may not be kept */

/* content.c. May 8-bit parts become quoted-printable for this server? Then the size is not known beforehand. */
bool content_may_change(const struct session *, const struct deliver_request *);
/* 0; -1: the connection failed; -2: the queue file failed (errno) */
int content_send(struct session *, const struct deliver_request *);

/* transaction.c */
struct attempt {
    struct deliver_request *rq;
    struct why **rcpt_why; /* for each recipient: its last trouble, or NULL */
    struct why why;        /* of the attempt as a whole */
    bool reached;          /* some host let us in */
};
/* Sends the message for the open recipients; settles those with a final answer. 0: the session may be used again. -1:
 * it is of no use any more. */
int transaction(struct session *, struct attempt *);
void attempt_trouble(struct attempt *, const struct why *); /* for each open recipient */

/* attempt.c */
void smtp_deliver(struct deliver_request *);
#endif
