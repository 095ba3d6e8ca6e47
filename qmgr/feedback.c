/*
 * feedback - how many deliveries a destination takes at a time, and when it counts as dead
 *
 * Each success opens the window a little, each failure of the destination as a whole closes it; a pseudo-cohort is as
 * many failures in a row as the window is wide.
 *
 * Callers     schedule.c, qmgr
 * Invariants  1 <= window <= limits.concurrency (when that is not 0)
 */
#include "schedule_internal.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

int feedback_parse(const char *text, struct feedback *out)
{
    static const struct {
        const char *word;
        enum feedback_form form;
    } forms[] = { { "", FEEDBACK_CONSTANT },
                  { "/concurrency", FEEDBACK_INVERSE },
                  { "/sqrt_concurrency", FEEDBACK_ROOT } };
    char *end;
    double value = strtod(text, &end);
    struct slice rest = slice_trim(slice_of(end));

    if (end == text || !(value >= 0 && value <= 1))
        return -1;
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++)
        if (slice_eq(rest, forms[i].word)) {
            *out = (struct feedback){ value, forms[i].form };
            return 0;
        }
    return -1;
}

static double weight(const struct feedback *f, double window)
{
    return f->form == FEEDBACK_INVERSE ? f->value / window
           : f->form == FEEDBACK_ROOT  ? f->value / sqrt(window)
                                       : f->value;
}

void dest_success(struct dest *d)
{
    const struct limits *l = &d->transport->limits;
    double step = weight(&l->positive, d->window);

    d->cohorts = 0;
    if (l->concurrency == 0 || d->window >= (double) l->concurrency)
        return;
    /* Only a window that is used grows: else it would say nothing about what the destination can bear. */
    if (d->window >= (double) d->busy + (double) l->initial_concurrency)
        return;
    d->success += step;
    while (d->success + step / 2 >= 1) {
        d->window += 1;
        d->success -= 1;
        d->failure = 0;
    }
    if (d->window > (double) l->concurrency)
        d->window = (double) l->concurrency;
}

bool dest_failure(struct dest *d, const char *dsn, const char *reason, int64_t dead_until)
{
    const struct limits *l = &d->transport->limits;
    double step = weight(&l->negative, d->window);

    d->cohorts += 1 / d->window;
    if (l->cohorts > 0 && d->cohorts * (1 + 1e-9) >= (double) l->cohorts) {
        d->dead_until = dead_until;
        snprintf(d->dead_dsn, sizeof d->dead_dsn, "%s", dsn);
        snprintf(d->dead_reason, sizeof d->dead_reason, "%s", reason);
        return true;
    }
    d->failure -= step;
    while (d->failure - step / 2 < 0) {
        d->window -= 1;
        d->success = 0;
        d->failure += 1;
    }
    if (d->window < 1)
        d->window = 1;
    return false;
}

void dest_revive(struct dest *d)
{
    if (d->dead_until == 0)
        return;
    d->dead_until = 0;
    d->window = (double) d->transport->limits.initial_concurrency;
    d->success = d->failure = d->cohorts = 0;
    dest_update(d);
    dest_forget(d);
}

static void revive_dests(struct transport *t, int64_t now)
{
    struct slice key;
    void *value;

    for (size_t at = 0; map_next(t->dests, &at, &key, &value);) {
        struct dest *d = value;
        if (d->dead_until != 0 && d->dead_until <= now)
            dest_revive(d);
    }
}

void schedule_sweep(struct schedule *s, int64_t now)
{
    list_each(n, &s->transports) revive_dests(list_entry(n, struct transport, at), now);
}

void schedule_revive(struct schedule *s)
{
    list_each(n, &s->transports)
    {
        struct transport *t = list_entry(n, struct transport, at);
        t->dead_until = 0;
        revive_dests(t, INT64_MAX);
    }
}

void transport_kill(struct transport *t, const char *dsn, const char *reason, int64_t until)
{
    t->dead_until = until;
    snprintf(t->dead_dsn, sizeof t->dead_dsn, "%s", dsn);
    snprintf(t->dead_reason, sizeof t->dead_reason, "%s", reason);
}

bool transport_dead(struct transport *t, int64_t now)
{
    if (t->dead_until != 0 && t->dead_until <= now)
        t->dead_until = 0;
    return t->dead_until != 0;
}
