/*
 * schedule - which delivery comes next
 *
 *   transport        a delivery agent of master.cf, with its limits
 *     dest           a next hop (with a recipient limit of 1: a recipient): concurrency window, dead or alive
 *     job            the recipients of one message for this transport, in order of arrival
 *       peer         those of them for one dest
 *         entry      recipients that travel together: one delivery
 *
 * Transports take turns. Within one, the oldest job that has something deliverable goes first; a small job may pass a
 * big one once the big one's deliveries have earned it enough slots. Within a job its destinations take turns.
 *
 * Callers     qmgr only
 * Invariants  pure: no I/O, no clock, no parameters: the caller passes limits and milliseconds of time_mono_ms()
 *             an entry is in one peer's list (waiting) or out with the caller (busy)
 * Ownership   the schedule owns everything but the message pointer and the recipients' strings, which must live until
 *             the entry is done; schedule_done and schedule_drop free the entry
 */
#ifndef QMGR_SCHEDULE_H
#define QMGR_SCHEDULE_H
#include "base/list.h"
#include "base/map.h"
#include "client/deliver.h"

enum feedback_form { FEEDBACK_CONSTANT, FEEDBACK_INVERSE, FEEDBACK_ROOT };
struct feedback { /* how much one delivery moves the window: value, value/window, value/sqrt(window) */
    double value;
    enum feedback_form form;
};
struct limits {
    int64_t concurrency, initial_concurrency; /* for a destination; concurrency 0: no limit */
    int64_t recipients;                       /* of an entry */
    int64_t cohorts;                          /* pseudo-cohorts of failures until a destination is dead; 0: never */
    int64_t rate_delay_ms;                    /* between two deliveries to a destination */
    int64_t slot_cost, slot_loan, slot_discount, slot_minimum;
    int64_t deliveries; /* of the transport at a time */
    struct feedback positive, negative;
};
int feedback_parse(const char *text, struct feedback *); /* "1", "0.5/concurrency", "1/sqrt_concurrency" */

struct message;
struct transport {
    struct list at; /* in schedule.transports */
    char *name;
    struct limits limits;
    struct list jobs; /* with waiting entries, in the order in which they are tried */
    struct map *dests;
    size_t busy, ready; /* deliveries under way; destinations that could take one now */
    uint64_t tag;       /* changes when a destination becomes ready: blocked jobs are looked at again */
    int64_t dead_until;
    char dead_dsn[ERR_DSN_BYTES];
    char dead_reason[ERR_TEXT_BYTES];
    void *user; /* the caller's: connections to the agent */
};
struct dest {
    struct transport *transport;
    char *key, *nexthop;
    struct list peers; /* with waiting entries */
    size_t busy, waiting;
    double window, success, failure, cohorts;
    bool ready, held; /* held: rate delay */
    int64_t dead_until;
    char dead_dsn[ERR_DSN_BYTES];
    char dead_reason[DELIVER_TEXT_BYTES];
};
struct job {
    struct list at; /* in transport->jobs while entries wait */
    struct transport *transport;
    struct message *message;
    struct list peers;
    size_t waiting, busy, selected, slots_used, looked_at;
    uint64_t blocked_tag;
    int64_t since_ms;
    bool single;      /* one recipient an entry, whatever the transport takes */
    struct job *next; /* the message's other jobs */
};
struct entry {
    struct list at;
    struct peer *peer;
    struct message *message;
    struct dest *dest;
    struct deliver_rcpt *rcpts;
    size_t count, cap;
};

struct schedule {
    struct list transports;
    struct map *names;
};
void schedule_init(struct schedule *);
struct transport *schedule_find(struct schedule *, const char *name); /* NULL: make it */
struct transport *schedule_make(struct schedule *, const char *name, const struct limits *);

struct job *job_new(struct transport *, struct message *, int64_t now);
/* Adds a recipient to the job: into the last waiting entry for that next hop while it has room. The strings of *r are
 * borrowed. How many entries came of it (0 or 1). */
size_t job_add(struct job *, const char *nexthop, const struct deliver_rcpt *r);
void job_start(struct job *); /* all recipients added: from now on it is scheduled */
void job_free(struct job **); /* no entries any more */

struct entry *schedule_next(struct schedule *, int64_t now); /* NULL: nothing can be delivered now */
enum verdict { VERDICT_ALIVE, VERDICT_DEAD, VERDICT_NONE /* says nothing about the destination */ };
/* A delivery has ended. True: the destination has just died: take its waiting entries by schedule_take. */
bool schedule_done(struct entry **, enum verdict, const char *dsn, const char *reason, int64_t dead_until);
void schedule_release(struct dest *); /* the rate delay is over */

/* Dead destinations and transports: whose waiting entries are taken one by one to be deferred. */
struct dest *schedule_dead_dest(struct transport *, const char *nexthop, const char *rcpt, int64_t now);
void transport_kill(struct transport *, const char *dsn, const char *reason, int64_t until);
bool transport_dead(struct transport *, int64_t now);
struct entry *schedule_take_dest(struct dest *);
struct entry *schedule_take_transport(struct transport *);
void schedule_drop(struct entry **); /* an entry taken, deferred by the caller */
void dest_revive(struct dest *);
void schedule_revive(struct schedule *);             /* trigger F: nothing is dead any more */
void schedule_sweep(struct schedule *, int64_t now); /* forgets destinations that were dead long enough */
#endif
