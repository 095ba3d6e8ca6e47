/*
 * qmgr internal - what the files of the queue manager share
 *
 * scan.c finds files, active.c takes them into active/ and ends them, message.c resolves and schedules recipients,
 * deliver.c gives entries to agents, agents.c keeps the connections, limits.c reads parameters.
 *
 * Callers     qmgr/ only
 * Invariants  a message in memory is a file in active/, locked (shared) by this process and by agents that have it
 */
#ifndef QMGR_INTERNAL_H
#define QMGR_INTERNAL_H
#include "queue/file.h"
#include "schedule.h"

struct message {
    char id[QUEUE_ID_BYTES];
    struct queue_envelope env;
    int fd; /* -1: not kept open, see message_open */
    int64_t active_us;
    struct job *jobs;
    size_t pending;  /* entries not yet done, and work that holds the message */
    size_t deferred; /* recipients that stay */
    unsigned logs; /* 1 << BOUNCE_LOG_...: which may exist; of a message that just came, those that were written to */
    size_t counted; /* recipients counted against qmgr_message_recipient_limit */
    bool expire;    /* postsuper -e */
    bool flush;     /* postqueue -i: dead destinations are tried */
};

/* Parameters (qmgr.c). Times in seconds. */
extern int64_t qmgr_active_limit, qmgr_recipient_limit, qmgr_recipient_minimum, qmgr_minimal_backoff,
    qmgr_maximal_backoff, qmgr_bounce_lifetime, qmgr_transport_retry, qmgr_agent_seconds, qmgr_queue_run_delay;
extern const char *qmgr_defer_transports;
extern const struct param qmgr_limit_params[];
extern struct schedule qmgr_schedule;

/* scan.c */
void scan_start(void);
void scan_request(bool incoming, bool deferred, bool ignore_time);
void scan_room(void); /* a message has left active/ */
void scan_incoming_in(int64_t seconds);

/* active.c */
size_t active_count(void);
int active_recover(void); /* active/ back to incoming/, at start */
/* Takes QUEUE/ID into active/ and schedules it; does nothing when it is not ready, not due, or gone. */
void active_feed(const char *queue, const char *id, bool ignore_time);
void active_arrived(const char *id); /* likewise, from incoming/: its cleanup says that it is new */
void message_hold(struct message *);
void message_release(struct message *); /* the last one ends the message, in a fiber of its own */
int message_open(struct message *);     /* its descriptor; give it back by message_close */
void message_close(struct message *, int fd);
int message_more(struct message *); /* reads its next recipients */
void message_free(struct message **);

/* message.c */
void message_schedule(struct message *); /* resolves env.recipients and hands them to the schedule */
struct deliver_request message_request(struct message *, int fd, const char *transport, const char *nexthop,
                                       struct deliver_rcpt *, size_t count);
void message_defer(struct message *, const char *transport, const char *nexthop, struct deliver_rcpt *, size_t count,
                   const char *dsn, const char *reason);

/* deliver.c */
void deliver_dispatch(void); /* starts what can be started */
size_t deliver_busy(void);
size_t deliver_max(void); /* deliveries, and as many kept queue files: a quarter of the descriptors each */

/* agents.c */
/* 0 with an answer. -1: *why holds the words for the deferral; recipients that were settled have left *rq. */
int agent_ask(struct transport *, struct deliver_request *, struct deliver_answer *, const char **why);
void agents_sweep(int64_t now); /* closes connections that were not used lately */

/* limits.c */
struct transport *limits_transport(const char *name); /* of qmgr_schedule; made when new. NULL: too many */
int limits_check(void);                               /* -1 after logging a malformed feedback parameter */

/* finish.c */
void message_finish(void *message); /* all recipients read so far have an outcome: a fiber */
void message_corrupt(const char *queue, const char *id);

/* reasons.c */
size_t defer_reasons(const char *id); /* recipients of the message that its defer log names */
#endif
