/*
 * deliver - one delivery: the queue manager's request to an agent, and the agent's bookkeeping
 *
 * On private/TRANSPORT (protocol "deliver"), one connection one delivery at a time, kept and reused:
 *   deliver {queue file as a descriptor, what struct deliver_request holds}
 *   answered by done {deferred, logs, dsn, reason}, or malformed
 * deferred: how many recipients stay in the queue. logs: which logs of the message the agent has written to. dsn and reason are set when the destination as a whole could not
 * be used (no connection, refused greeting): the queue manager then thinks of its other mail for that place.
 *
 * Callers     qmgr: deliver_ask. Agents (smtp, lmtp, virtual, error, discard...): deliver_serve and deliver_sent,
 *             _defer, _bounce
 * Invariants  a recipient is marked done (R becomes D, in place) only after its mail is safe elsewhere, or its
 *             failure is durable in the bounce log. Each recipient gets exactly one outcome; what an agent leaves
 *             open is
 *             deferred. Marking fails: logged, the recipient is delivered again (never lost)
 * Units       times are microseconds of CLOCK_REALTIME; offsets are bytes in the queue file
 * Ownership   a request and its strings live until the agent's function returns
 * Privilege   an agent needs no access to the queue directory: the descriptor is all
 */
#ifndef CLIENT_DELIVER_H
#define CLIENT_DELIVER_H
#include "base/err.h"
#include "base/mem.h"
#include "client/bounce.h"
#include "ipc/msg.h"
#include "service/service.h"
#include <stdbool.h>
#include <stdint.h>

#define DELIVER_PROTOCOL "deliver"
enum { DELIVER_VERSION = 2, DELIVER_RCPTS_MAX = 5000, DELIVER_ADDRESS_BYTES = 2048, DELIVER_TEXT_BYTES = 4096 };

/* Flags of a queue file's trace_flags, as Postfix stores them. */
enum { DELIVER_MTA_VERIFY = 1 << 8, DELIVER_USER_VERIFY = 1 << 9, DELIVER_RECORD = 1 << 10 };
/* sendopts of a queue file. */
enum { DELIVER_UTF8_REQUESTED = 1, DELIVER_UTF8_HEADER = 2, DELIVER_UTF8_SENDER = 4 };

enum deliver_outcome { DELIVER_OPEN, DELIVER_DONE, DELIVER_DEFERRED };
struct deliver_rcpt {
    const char *address;          /* where it goes, internal form: no quotes, no <> */
    const char *original;         /* before aliasing; "" when unknown */
    const char *orcpt;            /* DSN ORCPT "type;address", or "" */
    int64_t offset;               /* of its R record */
    int notify;                   /* NOTIFY bits, 0: the client said nothing */
    enum deliver_outcome outcome; /* the agent's side */
};
struct deliver_request {
    int fd; /* the queue file; shared offset: use pread, or lib/queue's reader by offset */
    const char *queue_id, *transport, *nexthop, *sender;
    const char *encoding, *envid;
    int ret; /* DSN RET */
    unsigned trace_flags, sendopts;
    int64_t data_offset;   /* of the first content record */
    int64_t data_size;     /* content in record bytes: logged as size= */
    int64_t content_bytes; /* content as a client would send it, 0 when unknown */
    const char *client_name, *client_address, *client_port, *client_protocol, *client_helo;
    const char *log_origin, *log_ident, *rewrite_context, *sasl_method, *sasl_username, *sasl_sender;
    int64_t arrival_us; /* the message came in */
    int64_t active_us;  /* it became active */
    struct deliver_rcpt *rcpts;
    size_t rcpt_count;
    /* The agent's side. Set the last two anew for each connection; 0: not known. */
    int64_t agent_us;     /* the agent got the request */
    int64_t connected_us; /* connection made, greeting and TLS done */
    int connection_uses;  /* >1 is logged as conn_use=N */
    struct arena *arena;  /* for what the agent makes during this delivery */
    /* The answer. */
    size_t deferred;
    unsigned logs; /* bit 1 << BOUNCE_LOG_... */
    char dead_dsn[ERR_DSN_BYTES];
    char dead_reason[DELIVER_TEXT_BYTES];
};
struct deliver_result {                /* strings are borrowed for the call; NULL counts as absent */
    const char *relay;                 /* as logged: "local", "host[addr]:25", "none" */
    const char *dsn;                   /* "2.0.0"; its first digit is made to fit the outcome */
    const char *text;                  /* what stands in parentheses */
    const char *diag_type, *diag_text; /* "smtp" and what the remote host said */
    const char *mta_name;              /* remote host, type dns */
    const char *action; /* of a success report: NULL is "delivered", "relayed" where the next host will not report */
};

/* The agent's side. `run` settles the recipients; then the answer is sent. In a service's request "deliver":
 *   static void on_deliver(struct service_conn *c, struct msg *in) { deliver_serve(c, in, run); } */
void deliver_serve(struct service_conn *, struct msg *in, void (*run)(struct deliver_request *));
/* A probe ("sendmail -bv", address verification): the agent finds out whether it could deliver and says so by the
 * same functions, _sent for yes, without delivering. */
bool deliver_verify(const struct deliver_request *);
void deliver_sent(struct deliver_request *, struct deliver_rcpt *, const struct deliver_result *);
void deliver_defer(struct deliver_request *, struct deliver_rcpt *, const struct deliver_result *);
void deliver_bounce(struct deliver_request *, struct deliver_rcpt *,
                    const struct deliver_result *); /* soft_bounce: defers */
void deliver_defer_open(struct deliver_request *,
                        const struct deliver_result *); /* every recipient without outcome */
void deliver_bounce_open(struct deliver_request *, const struct deliver_result *);
/* No recipient of this destination can be reached now. */
void deliver_dead(struct deliver_request *, const char *dsn, const char *reason);
/* "5.1.1 words" into status and words; without a status, the fallback. For error, retry and discard. */
void deliver_split_dsn(const char *text, const char *fallback, char dsn[ERR_DSN_BYTES], const char **words);
bool deliver_wants_success(const struct deliver_rcpt *); /* NOTIFY=SUCCESS */

/* The queue manager's side: over a stream of ipc_open("private/TRANSPORT", DELIVER_PROTOCOL, ...). */
enum { DELIVER_LOGS = 1 << BOUNCE_LOG_BOUNCE | 1 << BOUNCE_LOG_DEFER | 1 << BOUNCE_LOG_TRACE };
struct deliver_answer {
    size_t deferred;
    unsigned logs;                /* 1 << BOUNCE_LOG_... */
    char dead_dsn[ERR_DSN_BYTES]; /* "" when the destination is alive */
    char dead_reason[DELIVER_TEXT_BYTES];
};
/* 0 with an answer; -1: the agent is gone or spoke nonsense, or, with EBADMSG, it is well but refused this request.
 * Which recipients it settled stands in the queue file. */
int deliver_ask(struct stream *, const struct deliver_request *, struct deliver_answer *);

/* Pure, for the test and the fuzzer: what deliver_ask sends and deliver_serve reads. */
struct msg *deliver_encode(const struct deliver_request *);
/* NULL: malformed. The caller closes fd and frees arena, which holds the request. */
struct deliver_request *deliver_decode(struct msg *);

/* "delay=1.2, delays=0.1/0.01/0.5/0.59" */
enum { DELIVER_DELAYS_BYTES = 128 };
void deliver_delays(const struct deliver_request *, int64_t now_us, char out[DELIVER_DELAYS_BYTES]);
#endif
