/*
 * schedule - transports, jobs and entries: who is next
 *
 * Callers     qmgr; see schedule.h
 * Invariants  dest.waiting, job.waiting and the lists agree; transport.ready counts its destinations with .ready set
 * Units       milliseconds of the monotonic clock
 */
#include "schedule_internal.h"
#include "base/mem.h"
#include <stdlib.h>

enum { TRANSPORTS_MAX = 10000, DESTS_MAX = 1 << 20, CANDIDATES_MAX = 1000 /* looked at for one preemption */ };

struct peer {
    struct list in_job, in_dest; /* linked while entries wait */
    struct job *job;
    struct dest *dest;
    struct list waiting;
    struct entry *last; /* of them: takes more recipients while it has room */
    size_t count, busy;
};

void schedule_init(struct schedule *s)
{
    list_init(&s->transports);
    s->names = map_new(TRANSPORTS_MAX, NULL);
}

struct transport *schedule_find(struct schedule *s, const char *name) { return map_get(s->names, slice_of(name)); }

struct transport *schedule_make(struct schedule *s, const char *name, const struct limits *limits)
{
    struct transport *t = mem_new(sizeof *t);

    if (!map_set(s->names, slice_of(name), t)) {
        free(t);
        return NULL;
    }
    t->name = mem_strdup(name);
    t->limits = *limits;
    t->dests = map_new(DESTS_MAX, NULL);
    t->tag = 1;
    list_init(&t->jobs);
    list_append(&s->transports, &t->at);
    return t;
}

static bool under_window(const struct dest *d)
{
    return d->transport->limits.rate_delay_ms > 0
               ? d->busy == 0
               : (d->transport->limits.concurrency == 0 || (double) d->busy < d->window);
}

void dest_update(struct dest *d)
{
    bool ready = d->waiting > 0 && !d->held && d->dead_until == 0 && under_window(d);

    if (ready == d->ready)
        return;
    d->ready = ready;
    if (ready) {
        d->transport->ready++;
        d->transport->tag++;
    } else
        d->transport->ready--;
}

void dest_forget(struct dest *d)
{
    if (d->waiting > 0 || d->busy > 0 || d->held || d->dead_until != 0)
        return;
    if (d->ready)
        d->transport->ready--;
    map_del(d->transport->dests, slice_of(d->key));
    free(d->key);
    free(d->nexthop);
    free(d);
}

/* With one recipient a delivery, the limits are the recipient's. */
static char *dest_key(const struct transport *t, const char *nexthop, const char *rcpt)
{
    char *key = t->limits.recipients == 1 ? mem_printf("%s %s", nexthop, rcpt) : mem_strdup(nexthop);

    ascii_lowercase(key);
    return key;
}

static struct dest *dest_get(struct transport *t, const char *nexthop, const char *rcpt)
{
    char *key = dest_key(t, nexthop, rcpt);
    struct dest *d = map_get(t->dests, slice_of(key));

    if (d != NULL) {
        free(key);
        return d;
    }
    d = mem_new(sizeof *d);
    d->transport = t;
    d->key = key;
    d->nexthop = mem_strdup(nexthop);
    d->window = (double) t->limits.initial_concurrency;
    list_init(&d->peers);
    (void) map_set(t->dests, slice_of(key), d); /* recipients in memory are fewer than DESTS_MAX */
    return d;
}

struct dest *schedule_dead_dest(struct transport *t, const char *nexthop, const char *rcpt, int64_t now)
{
    char *key = dest_key(t, nexthop, rcpt);
    struct dest *d = map_get(t->dests, slice_of(key));

    free(key);
    if (d == NULL || d->dead_until == 0)
        return NULL;
    if (d->dead_until > now)
        return d;
    dest_revive(d);
    return NULL;
}

struct job *job_new(struct transport *t, struct message *m, int64_t now)
{
    struct job *j = mem_new(sizeof *j);

    j->transport = t;
    j->message = m;
    j->since_ms = now;
    list_init(&j->at);
    list_init(&j->peers);
    return j;
}

static struct peer *peer_get(struct job *j, struct dest *d)
{
    struct peer *p;

    /* The newest peer of a destination is this job's, when it has one: jobs are filled one after the other. */
    if (!list_empty(&d->peers)) {
        p = list_entry(d->peers.prev, struct peer, in_dest);
        if (p->job == j)
            return p;
    }
    p = mem_new(sizeof *p);
    p->job = j;
    p->dest = d;
    list_init(&p->waiting);
    list_append(&j->peers, &p->in_job);
    list_append(&d->peers, &p->in_dest);
    return p;
}

size_t job_add(struct job *j, const char *nexthop, const struct deliver_rcpt *r)
{
    struct dest *d = dest_get(j->transport, nexthop, r->address);
    struct peer *p = peer_get(j, d);
    struct entry *e = p->last;
    int64_t limit = j->single ? 1 : j->transport->limits.recipients;
    size_t most = (size_t) (limit > 0 ? limit : DELIVER_RCPTS_MAX);
    size_t made = 0;

    if (e == NULL || e->count >= most || e->count >= DELIVER_RCPTS_MAX) {
        e = mem_new(sizeof *e);
        e->peer = p;
        e->message = j->message;
        e->dest = d;
        list_append(&p->waiting, &e->at);
        p->last = e;
        p->count++;
        d->waiting++;
        j->waiting++;
        made = 1;
    }
    if (e->count == e->cap) {
        e->cap = e->cap ? e->cap * 2 : 1;
        e->rcpts = mem_grow(e->rcpts, e->cap, sizeof *e->rcpts);
    }
    e->rcpts[e->count++] = *r;
    return made;
}

void job_start(struct job *j)
{
    if (j->waiting == 0)
        return;
    list_append(&j->transport->jobs, &j->at);
    list_each(n, &j->peers) dest_update(list_entry(n, struct peer, in_job)->dest);
}

void job_free(struct job **j)
{
    list_del(&(*j)->at);
    free(*j);
    *j = NULL;
}

static void entry_out(struct entry *e) /* no longer waiting */
{
    struct peer *p = e->peer;

    list_del(&e->at);
    if (p->last == e)
        p->last = NULL;
    p->busy++;
    e->dest->waiting--;
    if (--p->count == 0) {
        list_del(&p->in_job);
        list_del(&p->in_dest);
    }
    if (--p->job->waiting == 0)
        list_del(&p->job->at);
}

static struct entry *take(struct peer *p)
{
    struct entry *e = list_first(&p->waiting, struct entry, at);
    struct job *j = p->job;

    list_del(&p->in_job); /* its destinations take turns */
    list_append(&j->peers, &p->in_job);
    entry_out(e);
    j->selected++;
    j->busy++;
    e->dest->busy++;
    j->transport->busy++;
    dest_update(e->dest);
    return e;
}

/* The first job's deliveries earn slots, one for slot_cost of them; a job whose entries fit into what was earned
 * (less the discount, plus the loan) goes in front. Of several, the one that waits longest for its size. */
static void preempt(struct transport *t, int64_t now)
{
    const struct limits *l = &t->limits;
    struct job *head = list_first(&t->jobs, struct job, at), *best = NULL;
    size_t cost = (size_t) l->slot_cost, looked = 0;
    double best_score = 0;

    if (cost == 0 || head == NULL || head->selected + head->waiting < (size_t) l->slot_minimum * cost ||
        head->selected < head->looked_at + cost)
        return;
    head->looked_at = head->selected;
    size_t earned = head->selected - head->slots_used;
    size_t possible = earned + head->waiting;
    list_each(n, &t->jobs)
    {
        struct job *j = list_entry(n, struct job, at);
        size_t need = j->waiting * cost;
        size_t price = need * (size_t) (100 - l->slot_discount) / 100;
        double score;

        if (++looked > CANDIDATES_MAX)
            break;
        if (j == head || j->selected > 0 || need > possible || price > earned + (size_t) l->slot_loan * cost)
            continue;
        score = (double) (now + 1 - j->since_ms) / (double) j->waiting;
        if (best == NULL || score > best_score) {
            best = j;
            best_score = score;
        }
    }
    if (best == NULL)
        return;
    size_t used = best->waiting * cost;
    head->slots_used += used < earned ? used : earned;
    list_del(&best->at);
    list_prepend(&t->jobs, &best->at);
}

static struct entry *transport_next(struct transport *t, int64_t now)
{
    preempt(t, now);
    list_each(n, &t->jobs)
    {
        struct job *j = list_entry(n, struct job, at);

        if (j->blocked_tag == t->tag)
            continue;
        list_each(at, &j->peers)
        {
            struct peer *p = list_entry(at, struct peer, in_job);
            if (p->dest->ready)
                return take(p);
        }
        j->blocked_tag = t->tag;
    }
    return NULL;
}

struct entry *schedule_next(struct schedule *s, int64_t now)
{
    list_each(n, &s->transports)
    {
        struct transport *t = list_entry(n, struct transport, at);
        struct entry *e;

        if (t->ready == 0 || t->busy >= (size_t) t->limits.deliveries)
            continue;
        e = transport_next(t, now);
        if (e != NULL) { /* the next turn is another's */
            list_del(&t->at);
            list_append(&s->transports, &t->at);
            return e;
        }
    }
    return NULL;
}

static void entry_free(struct entry **e)
{
    struct peer *p = (*e)->peer;

    if (--p->busy == 0 && p->count == 0)
        free(p);
    free((*e)->rcpts);
    free(*e);
    *e = NULL;
}

bool schedule_done(struct entry **e, enum verdict verdict, const char *dsn, const char *reason, int64_t dead_until)
{
    struct dest *d = (*e)->dest;
    bool died = false;

    (*e)->peer->job->busy--;
    d->transport->busy--;
    if (verdict == VERDICT_ALIVE)
        dest_success(d);
    else if (verdict == VERDICT_DEAD && d->dead_until == 0)
        died = dest_failure(d, dsn, reason, dead_until);
    d->busy--;
    if (d->transport->limits.rate_delay_ms > 0)
        d->held = true;
    entry_free(e);
    dest_update(d);
    if (!died)
        dest_forget(d);
    return died;
}

void schedule_release(struct dest *d)
{
    d->held = false;
    dest_update(d);
    dest_forget(d);
}

struct entry *schedule_take_dest(struct dest *d)
{
    struct peer *p = list_first(&d->peers, struct peer, in_dest);
    struct entry *e;

    if (p == NULL)
        return NULL;
    e = list_first(&p->waiting, struct entry, at);
    entry_out(e);
    dest_update(d);
    return e;
}

struct entry *schedule_take_transport(struct transport *t)
{
    struct job *j = list_first(&t->jobs, struct job, at);
    struct peer *p = j ? list_first(&j->peers, struct peer, in_job) : NULL;

    return p ? schedule_take_dest(p->dest) : NULL;
}

void schedule_drop(struct entry **e)
{
    struct dest *d = (*e)->dest;

    entry_free(e);
    dest_forget(d);
}
