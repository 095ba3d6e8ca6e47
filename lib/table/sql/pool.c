/*
 * pool - connections to one database, and who gets one; contract in pool.h
 *
 * A question takes an idle connection or waits for the first that is given back or opened. One connection is opened
 * at a time, when somebody has waited GROW_MS; if that takes longer than HEDGE_MS, the next host is tried beside it.
 * A question that was sent keeps its connection until the server answers or shows no sign of life: closing it earlier
 * would leave the server with the work and free our place for more of the same.
 */
#include "table/sql/internal.h"

#include "base/list.h"
#include "base/log.h"
#include "base/map.h"
#include "base/time.h"
#include "conf/param.h"
#include "table/sql/answer.h"
#include "table/sql/files.h"
#include "table/sql/host.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    CONNECT_MS = 2000,
    IDLE_MS = 60000,
    RETRY_MS = 60000,
    ABSENT_LONGEST_MS = 5000, /* while no host is there: trying one that is not even listening costs nothing */
    GROW_MS = 5,
    HEDGE_MS = 300,
    SLOW_MS = 1000, /* no answer for so long: is the host alive? */
    SLOW_AGAIN_MS = 5000,
    LINGER_MS = 3600000,
    SENDS = 2,
    SOURCES = 1000,
};

int64_t sql_connection_limit, sql_question_timeout, sql_cache_time, sql_cache_size, sql_stale_time;

const struct param sql_pool_params[] = {
    { .name = "sql_connection_limit",
      .type = PARAM_INT,
      .num = &sql_connection_limit,
      .def = "20",
      .min = 1,
      .max = 10000,
      .doc =
          "Connections that the lookup service opens at most to one database. One is opened when a question has to "
          "wait for those at hand." },
    { .name = "sql_question_timeout",
      .type = PARAM_SECONDS,
      .num = &sql_question_timeout,
      .def = "10s",
      .min = 1,
      .max = 3600,
      .doc = "How long a lookup waits for the database before its answer is \"later\"." },
    { .name = "sql_cache_time",
      .type = PARAM_SECONDS,
      .num = &sql_cache_time,
      .def = "2s",
      .max = 86400,
      .doc = "How long a row that was found in a database is used again without asking. A change shows after at most "
             "this time, and one second more to a daemon that has just asked; 0: at once. Rows that were not found "
             "are never remembered." },
    { .name = "sql_cache_size",
      .type = PARAM_BYTES,
      .num = &sql_cache_size,
      .def = "33554432",
      .doc = "Memory that remembered rows take at most; the least recently used go first." },
    { .name = "sql_stale_time",
      .type = PARAM_SECONDS,
      .num = &sql_stale_time,
      .def = "1h",
      .max = 2592000,
      .doc = "How old a remembered row may be to be used while the database does not answer: it is away, refuses, or "
             "takes longer than three seconds. 0 uses none." },
    { .type = PARAM_END },
};

struct member {       /* a connection of the pool */
    struct list link; /* idle, most recently used first, or busy */
    struct sql_pool *pool;
    struct sql_connection *connection;
    struct sql_host *host;
    int64_t since; /* when it became idle */
};
struct waiter { /* a question without a connection; lives on its fiber's stack */
    struct list link;
    struct member *got;
    bool failed;
    int64_t since;
    struct event_cond woken;
};
struct attempt { /* a connection being opened */
    struct list link;
    struct sql_pool *pool;
    struct sql_host *host;
    int64_t since;
    bool aside; /* only to see whether the host is there: nobody waits for it */
};
struct sql_pool {
    struct list link;
    struct sql_connect wanted, how; /* as it was asked for; with what its files say */
    char *source;
    char *refused; /* what is wrong with the parameters; NULL: nothing */
    struct sql_host *host;
    size_t hosts;
    struct list idle, busy, waiting, attempts;
    size_t members, waiters, asked; /* asked: questions sent and not answered */
    int64_t asked_since, answered;  /* asked is not 0 since; the last answer of any kind */
    struct sql_fault fault;         /* why the last attempt failed */
    struct event_timer *growing, *reaping;
};
static struct list pools = { &pools, &pools };
static struct map *sources; /* name -> struct sql_said: faults of single questions */

static void grow(struct sql_pool *);

uint64_t sql_order(void)
{
    static uint64_t order;

    return ++order;
}

static size_t limit(void) { return sql_connection_limit > 0 ? (size_t) sql_connection_limit : 1; }

static const char *keep(const char *s) { return s && *s ? mem_strdup(s) : NULL; } /* "" says nothing */
static bool same(const char *a, const char *b) { return strcmp(a ? a : "", b ? b : "") == 0; }

static bool same_connect(const struct sql_connect *a, const struct sql_connect *b)
{
    return same(a->hosts, b->hosts) && same(a->user, b->user) && same(a->password, b->password) &&
           same(a->dbname, b->dbname) && same(a->charset, b->charset) && same(a->option_file, b->option_file) &&
           same(a->option_group, b->option_group) && same(a->tls_cert_file, b->tls_cert_file) &&
           same(a->tls_key_file, b->tls_key_file) && same(a->tls_ca_file, b->tls_ca_file) &&
           same(a->tls_ca_path, b->tls_ca_path) && same(a->tls_ciphers, b->tls_ciphers) &&
           a->tls_verify == b->tls_verify && a->connect_timeout == b->connect_timeout &&
           a->read_timeout == b->read_timeout && a->idle_interval == b->idle_interval &&
           a->retry_interval == b->retry_interval;
}

static void copy_connect(struct sql_connect *to, const struct sql_connect *from)
{
    *to = *from;
    to->hosts = keep(from->hosts);
    to->user = keep(from->user);
    to->password = keep(from->password);
    to->dbname = keep(from->dbname);
    to->charset = keep(from->charset);
    to->option_file = keep(from->option_file);
    to->option_group = keep(from->option_group);
    to->tls_cert_file = keep(from->tls_cert_file);
    to->tls_key_file = keep(from->tls_key_file);
    to->tls_ca_file = keep(from->tls_ca_file);
    to->tls_ca_path = keep(from->tls_ca_path);
    to->tls_ciphers = keep(from->tls_ciphers);
}

static void check_parameters(struct sql_pool *p)
{
    struct err err = { 0 };

    copy_connect(&p->how, &p->wanted);
    if (sql_connection_library(&err) < 0 || sql_files_read(&p->how, &err) < 0)
        p->refused = mem_strdup(err.text);
    else if (p->how.charset && !sql_connection_charset_safe(p->how.charset))
        p->refused = mem_printf("charset %s: text in it cannot be quoted safely; use utf8mb4", p->how.charset);
    else if (sql_hosts_parse(p->how.hosts, &p->host, &p->hosts, &err) < 0)
        p->refused = mem_strdup(err.text);
    if (p->how.connect_timeout <= 0)
        p->how.connect_timeout = CONNECT_MS;
    if (p->how.idle_interval <= 0)
        p->how.idle_interval = IDLE_MS;
    if (p->how.retry_interval <= 0)
        p->how.retry_interval = RETRY_MS;
    if (p->refused)
        log_warn("%s: %s", p->source, p->refused);
}

struct sql_pool *sql_pool_open(const struct sql_connect *how, const char *source)
{
    struct sql_pool *p;

    list_each(it, &pools)
    {
        p = list_entry(it, struct sql_pool, link);
        if (same_connect(&p->wanted, how))
            return p;
    }
    p = mem_new(sizeof *p);
    copy_connect(&p->wanted, how);
    p->source = mem_strdup(source);
    list_init(&p->idle);
    list_init(&p->busy);
    list_init(&p->waiting);
    list_init(&p->attempts);
    list_append(&pools, &p->link);
    check_parameters(p);
    return p;
}

static bool another_sound(const struct sql_pool *p, const struct sql_host *h)
{
    for (size_t i = 0; i < p->hosts; i++)
        if (&p->host[i] != h && sql_host_sound(&p->host[i]))
            return true;
    return false;
}

static void member_close(struct member *m)
{
    list_del(&m->link);
    m->pool->members--;
    m->host->members--;
    if (m->host->members == 0)
        m->host->full_until = 0; /* there may be room where we were */
    sql_connection_close(&m->connection);
    free(m);
}

/* Closes idle connections to a host (NULL: to all) that were last used before `since`. They leave the list at once:
 * closing waits, and nobody may take one meanwhile. */
static void close_idle(struct sql_pool *p, const struct sql_host *h, int64_t since)
{
    struct list gone;

    list_init(&gone);
    list_each(it, &p->idle)
    {
        struct member *m = list_entry(it, struct member, link);
        if ((h == NULL || m->host == h) && m->since <= since) {
            list_del(&m->link);
            list_append(&gone, &m->link);
        }
    }
    list_each(it, &gone) member_close(list_entry(it, struct member, link));
}

static void host_failed(struct sql_pool *p, struct sql_host *h, const struct sql_fault *f)
{
    int64_t longest = p->how.retry_interval;
    enum sql_kind kind = sql_fault_kind(f);
    bool others = another_sound(p, h);
    char tail[128] = "the rest waits";

    if (kind == SQL_ABSENT && !others && longest > ABSENT_LONGEST_MS)
        longest = ABSENT_LONGEST_MS;
    sql_host_down(h, f, longest);
    if (others)
        snprintf(tail, sizeof tail, "other hosts are asked");
    else if ((kind == SQL_DENIED || kind == SQL_FULL) && h->members)
        snprintf(tail, sizeof tail, "the connections at hand are used");
    else if (sql_stale_time > 0)
        snprintf(tail, sizeof tail, "answers of the last %lld s are used, the rest waits",
                 (long long) sql_stale_time);
    sql_fault_say(&h->said[kind], p->source, h->spec, f, tail);
    p->fault = *f;
}

static void reap(void *arg)
{
    struct sql_pool *p = arg;
    const struct member *oldest;

    close_idle(p, NULL, time_mono_ms() - p->how.idle_interval);
    event_timer_free(&p->reaping);
    if (list_empty(&p->idle))
        return;
    oldest = list_entry(p->idle.prev, struct member, link);
    p->reaping = event_timer_new(oldest->since + p->how.idle_interval - time_mono_ms() + 1, reap, p);
}

/* To the question that has waited longest, or to the idle ones. */
static void offer(struct sql_pool *p, struct member *m)
{
    struct waiter *w = list_first(&p->waiting, struct waiter, link);

    list_del(&m->link);
    if (w) {
        list_del(&w->link);
        list_append(&p->busy, &m->link);
        w->got = m;
        event_cond_signal(&w->woken);
        return;
    }
    m->since = time_mono_ms();
    list_prepend(&p->idle, &m->link);
    if (p->reaping == NULL)
        p->reaping = event_timer_new(p->how.idle_interval + 1, reap, p);
}

/* The host was tried and gave no sign of life: what is asked of it will not be answered either. */
static void abort_asked(struct sql_pool *p, const struct sql_host *h, int64_t tried)
{
    list_each(it, &p->busy)
    {
        struct member *m = list_entry(it, struct member, link);
        if (m->host == h && h->answered <= tried)
            sql_connection_abort(m->connection);
    }
}

static void attempt_failed(struct attempt *a, const struct sql_fault *f)
{
    struct sql_pool *p = a->pool;
    enum sql_kind kind = sql_fault_kind(f);

    p->members--;
    if (fiber_cancelled())
        return;
    if (kind == SQL_DENIED || kind == SQL_FULL)
        a->host->answered = time_mono_ms();
    host_failed(p, a->host, f);
    if (kind == SQL_HUNG)
        abort_asked(p, a->host, a->since);
    if (kind == SQL_HUNG || kind == SQL_ABSENT)
        close_idle(p, a->host, EVENT_NEVER);
}

static void attempt_body(void *arg)
{
    struct attempt *a = arg;
    struct sql_pool *p = a->pool;
    struct sql_fault fault;
    struct sql_connection *c = sql_host_connect(a->host, &p->how, p->how.connect_timeout, &fault);

    list_del(&a->link);
    a->host->opening--;
    if (c) {
        struct member *m = mem_new(sizeof *m);
        *m = (struct member){ .pool = p, .connection = c, .host = a->host };
        list_init(&m->link);
        a->host->members++;
        sql_host_up(a->host);
        bool said = false;
        for (int i = 0; i < SQL_KINDS; i++)
            said |= sql_fault_over(&a->host->said[i]);
        if (said)
            log_info("%s: %s: the database answers again", p->source, a->host->spec);
        if (p->members > limit())
            member_close(m);
        else
            offer(p, m);
    } else {
        attempt_failed(a, &fault);
    }
    grow(p);
    free(a);
}

static void attempt_start(struct sql_pool *p, struct sql_host *h, bool aside)
{
    struct attempt *a = mem_new(sizeof *a);

    *a = (struct attempt){ .pool = p, .host = h, .since = time_mono_ms(), .aside = aside };
    list_append(&p->attempts, &a->link);
    h->opening++;
    p->members++;
    fiber_go("sql connect", attempt_body, a);
}

static bool room(const struct sql_pool *p) { return p->members < limit(); }

/* Hosts that were set aside long enough are looked at again, beside the questions. */
static void look_at_aside(struct sql_pool *p, int64_t now)
{
    for (size_t i = 0; i < p->hosts; i++)
        if (sql_host_due(&p->host[i], now) && p->host[i].opening == 0 && another_sound(p, &p->host[i]) && room(p))
            attempt_start(p, &p->host[i], true);
}

static size_t attempts_younger(const struct sql_pool *p, int64_t since)
{
    size_t n = 0;

    list_each(it, &p->attempts)
    {
        const struct attempt *a = list_entry(it, struct attempt, link);
        n += !a->aside && a->since > since;
    }
    return n;
}

static void fail_waiters(struct sql_pool *p)
{
    struct waiter *w;

    while ((w = list_first(&p->waiting, struct waiter, link)) != NULL) {
        list_del(&w->link);
        w->failed = true;
        event_cond_signal(&w->woken);
    }
}

static void grow_again(void *arg) { grow(arg); }

static void grow_later(struct sql_pool *p, int64_t ms)
{
    if (p->growing == NULL)
        p->growing = event_timer_new(ms, grow_again, p);
    else
        event_timer_reset(p->growing, ms);
}

/* While questions wait: opens the next connection when it is due, and tells them when there is no hope. */
static void grow(struct sql_pool *p)
{
    struct waiter *head = list_first(&p->waiting, struct waiter, link);
    int64_t now = time_mono_ms();
    struct sql_host *h = NULL;

    if (head == NULL)
        return;
    if (attempts_younger(p, now - HEDGE_MS) == 0 && room(p) &&
        (list_empty(&p->busy) || now - head->since >= GROW_MS)) {
        h = sql_host_choose(p->host, p->hosts, now);
        if (h)
            attempt_start(p, h, false);
    }
    if (list_empty(&p->attempts) && list_empty(&p->busy))
        fail_waiters(p);
    else
        grow_later(p, list_empty(&p->attempts) && now - head->since < GROW_MS ? GROW_MS : HEDGE_MS);
}

static struct member *idle_member(struct sql_pool *p)
{
    struct member *best = NULL;

    list_each(it, &p->idle)
    {
        struct member *m = list_entry(it, struct member, link);
        if (m->host->local)
            best = m;
        if (best == NULL)
            best = m;
        if (best->host->local)
            break;
    }
    return best;
}

/* A connection, busy from now on; NULL with *fault. */
static struct member *take(struct sql_pool *p, int64_t deadline, struct sql_fault *fault)
{
    struct member *m = list_empty(&p->waiting) ? idle_member(p) : NULL;
    struct waiter w = { .since = time_mono_ms() };

    look_at_aside(p, w.since);
    if (m) {
        list_del(&m->link);
        list_append(&p->busy, &m->link);
        return m;
    }
    if (p->waiters == SQL_WAITING) {
        snprintf(fault->text, sizeof fault->text, "%d questions wait for a connection", SQL_WAITING);
        return NULL;
    }
    p->waiters++;
    list_append(&p->waiting, &w.link);
    grow(p);
    while (w.got == NULL && !w.failed && event_cond_wait(&w.woken, deadline) == 0)
        ;
    list_del(&w.link);
    p->waiters--;
    if (w.got == NULL && w.failed)
        *fault = p->fault;
    else if (w.got == NULL)
        snprintf(fault->text, sizeof fault->text, "all connections are in use");
    return w.got;
}

/* A question has had no answer for a while: a new connection tells whether the host is alive. Beyond the limit too, for
 * the moment: all others may be waiting like this one. */
static int64_t is_it_alive(void *ctx)
{
    const struct member *m = ctx;
    struct sql_host *h = m->host;
    int64_t now = time_mono_ms(), silent = now - h->answered, looked = now - h->looked;

    if (silent < SLOW_MS)
        return SLOW_MS - silent;
    if (h->opening || looked < SLOW_AGAIN_MS)
        return SLOW_MS;
    h->looked = now;
    attempt_start(m->pool, h, true);
    return SLOW_AGAIN_MS;
}

/* One question on its way: to whom its rows go, and what became of it. */
struct errand {
    const struct sql_question *question;
    size_t rows_max;
    struct sql_sent *sent;
    struct arena *arena;
    struct sql_rows *out;
    sql_row_fn fn; /* NULL: rows go to *out */
    void *ctx;
    bool had_rows; /* fn saw some: it must not see them again */
    struct sql_fault fault;
};

static enum sql_outcome send_once(struct sql_pool *p, struct member *m, struct errand *e)
{
    struct sql_watch watch = { SLOW_MS, is_it_alive, m };
    int64_t now = time_mono_ms(), deadline = now + LINGER_MS;
    enum sql_outcome outcome;

    *e->sent = (struct sql_sent){ now, sql_order() };
    if (p->asked++ == 0)
        p->asked_since = now;
    if (e->fn)
        outcome = sql_connection_each(m->connection, e->question, deadline, &watch, e->fn, e->ctx, &e->had_rows,
                                      &e->fault);
    else
        outcome = sql_connection_ask(m->connection, e->question, e->rows_max, deadline, &watch, e->arena, e->out,
                                     &e->fault);
    p->asked--;
    if (outcome != SQL_LOST)
        p->answered = m->host->answered = time_mono_ms();
    return outcome;
}

/* Gives the connection back, or what is left of it away. true: worth asking again. A connection that breaks says little
 * about its host: it may have been idle for too long, or killed. Two in a row, the second opened after the first broke,
 * say that the host is no good. */
static bool after_send(struct sql_pool *p, struct member *m, enum sql_outcome outcome, const struct sql_fault *fault,
                       const struct sql_host **lost)
{
    struct sql_host *h = m->host;
    enum sql_kind kind = sql_fault_kind(fault);

    if (outcome == SQL_DONE && sql_connection_sound(m->connection)) {
        offer(p, m);
        return false;
    }
    if (outcome != SQL_DONE && kind == SQL_ABSENT && (outcome == SQL_FAULT || (*lost && *lost == h)) &&
        !fiber_cancelled())
        host_failed(p, h, fault);
    if (sql_connection_sound(m->connection) && kind != SQL_RIGHTS) {
        offer(p, m);
    } else {
        member_close(m);
        if (outcome == SQL_LOST)
            close_idle(p, h, EVENT_NEVER);
        grow(p);
    }
    *lost = h;
    return outcome == SQL_LOST || (outcome == SQL_FAULT && (kind == SQL_AGAIN || kind == SQL_ABSENT));
}

static void say_fault(const struct sql_pool *p, const struct sql_question *q, const struct sql_fault *f)
{
    const char *source = q->source ? q->source : p->source;
    struct sql_said *said;

    if (sources == NULL)
        sources = map_new(SOURCES, free);
    said = map_get(sources, slice_of(source));
    if (said == NULL) {
        said = mem_new(sizeof *said);
        if (!map_set(sources, slice_of(source), said)) {
            free(said);
            return;
        }
    }
    sql_fault_say(said, source, NULL, f, NULL);
}

/* Sends it, and once more where that may help. */
static enum sql_outcome run_errand(struct sql_pool *p, struct errand *e, struct err *err)
{
    int64_t deadline = time_mono_ms() + sql_pool_patience_ms(p);
    enum sql_outcome outcome = SQL_LOST;
    const struct sql_host *lost = NULL;
    bool again = true;

    if (p->refused)
        snprintf(e->fault.text, sizeof e->fault.text, "%s", p->refused);
    for (int sends = 0; !p->refused && again && sends < SENDS && !e->had_rows && !fiber_cancelled(); sends++) {
        struct member *m = take(p, deadline, &e->fault);
        if (m == NULL)
            break;
        outcome = send_once(p, m, e);
        again = after_send(p, m, outcome, &e->fault, &lost);
    }
    if (outcome == SQL_FAULT)
        say_fault(p, e->question, &e->fault);
    if (outcome != SQL_DONE)
        err_set(err, 0, NULL, "%s: %s", e->question->source ? e->question->source : p->source, e->fault.text);
    return outcome;
}

enum lookup sql_pool_query(struct sql_pool *p, const struct sql_question *q, size_t rows_max, struct sql_sent *sent,
                           struct arena *arena, struct sql_rows *out, struct err *err)
{
    struct errand e = { .question = q, .rows_max = rows_max, .sent = sent, .arena = arena, .out = out };

    *out = (struct sql_rows){ 0 };
    if (run_errand(p, &e, err) == SQL_DONE)
        return out->rows ? LOOKUP_FOUND : LOOKUP_NONE;
    *out = (struct sql_rows){ 0 };
    return LOOKUP_RETRY;
}

struct together {
    struct sql_pool *pool;
    struct member *member;
    void (*fn)(void *, size_t, const struct sql_rows *);
    void *ctx;
};

static void answered(void *arg, size_t which, const struct sql_rows *rows)
{
    struct together *t = arg;

    t->pool->answered = t->member->host->answered = time_mono_ms();
    t->fn(t->ctx, which, rows);
}

void sql_pool_query_together(struct sql_pool *p, const struct sql_question *const *q, struct sql_sent *const *sent,
                             size_t count, size_t rows_max, void (*fn)(void *, size_t, const struct sql_rows *),
                             void *ctx)
{
    struct sql_fault fault = { 0 };
    const struct sql_host *lost = NULL;
    struct member *m = p->refused ? NULL : take(p, time_mono_ms() + sql_pool_patience_ms(p), &fault);
    struct sql_watch watch = { SLOW_MS, is_it_alive, m };
    struct together t = { p, m, fn, ctx };
    int64_t now = time_mono_ms();
    enum sql_outcome outcome;

    if (m == NULL)
        return;
    for (size_t i = 0; i < count; i++)
        *sent[i] = (struct sql_sent){ now, sql_order() };
    if (p->asked++ == 0)
        p->asked_since = now;
    outcome = sql_connection_ask_together(m->connection, q, count, rows_max, now + LINGER_MS, &watch, answered, &t,
                                          &fault);
    p->asked--;
    after_send(p, m, outcome, &fault, &lost);
}

int sql_pool_each(struct sql_pool *p, const struct sql_question *q, sql_row_fn fn, void *ctx, struct err *err)
{
    struct sql_sent sent;
    struct errand e = { .question = q, .sent = &sent, .fn = fn, .ctx = ctx };

    return run_errand(p, &e, err) == SQL_DONE ? 0 : -1;
}

int64_t sql_pool_silent_ms(const struct sql_pool *p)
{
    int64_t last = p->answered > p->asked_since ? p->answered : p->asked_since;

    return p->asked ? time_mono_ms() - last : 0;
}

int64_t sql_pool_patience_ms(const struct sql_pool *p)
{
    if (p->how.read_timeout > 0)
        return p->how.read_timeout;
    return sql_question_timeout > 0 ? sql_question_timeout * 1000 : EVENT_NEVER / 2;
}

enum lookup sql_pool_ask(struct sql_pool *p, const struct sql_question *q, size_t rows_max, struct arena *arena,
                         struct sql_rows *out, struct err *err)
{
    return sql_answer(p, q, rows_max, arena, out, err);
}

size_t sql_pool_ask_ahead(struct sql_pool *p, const struct sql_question *q, const struct sql_for *what, size_t count,
                          size_t rows_max, struct table_asked *asked)
{
    return sql_answer_ahead(p, q, what, count, rows_max, asked);
}

int sql_pool_ahead_answer(const struct sql_for *what, struct table_asked *asked, struct arena *arena,
                          struct sql_rows *out, struct err *err)
{
    return sql_answer_of_ahead(what, asked, arena, out, err);
}

void sql_pool_ahead_end(struct table_asked *asked) { sql_answer_ahead_end(asked); }

void sql_pool_close_all(void)
{
    list_each(it, &pools)
    {
        struct sql_pool *p = list_entry(it, struct sql_pool, link);
        event_timer_free(&p->reaping);
        event_timer_free(&p->growing);
        close_idle(p, NULL, EVENT_NEVER);
    }
}

bool sql_pool_networked(void)
{
    list_each(it, &pools)
    {
        const struct sql_pool *p = list_entry(it, struct sql_pool, link);
        for (size_t i = 0; i < p->hosts; i++)
            if (!p->host[i].local)
                return true;
    }
    return false;
}

void sql_pool_escape(struct str *out, struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.p[i], escaped = c == '\0' ? '0' : c == '\n' ? 'n' : c == '\r' ? 'r' : c == '\032' ? 'Z' : c;

        if (escaped != c || c == '\\' || c == '\'' || c == '"')
            str_addc(out, '\\');
        str_addc(out, escaped);
    }
}
