/* schedule_test - which delivery comes next, windows, dead destinations */
#include "schedule.h"
#include <assert.h>
#include <stdio.h>

static const struct limits plain = { .concurrency = 3,
                                     .initial_concurrency = 2,
                                     .recipients = 2,
                                     .cohorts = 1,
                                     .deliveries = 100,
                                     .positive = { 1, FEEDBACK_CONSTANT },
                                     .negative = { 1, FEEDBACK_CONSTANT } };
static struct schedule s;

/* A message is its name here: the schedule only carries the pointer. */
static struct message *message(const char *name) { return (struct message *) (uintptr_t) name; }
static const char *name_of(const struct entry *e) { return (const char *) e->message; }

static struct job *job(struct transport *t, const char *name, const char *nexthop, int rcpts, int64_t now)
{
    static const char *const users[] = { "a@x", "b@x", "c@x", "d@x", "e@x", "f@x", "g@x", "h@x", "i@x", "j@x" };
    struct job *j = job_new(t, message(name), now);

    for (int i = 0; i < rcpts; i++)
        (void) job_add(j, nexthop, &(struct deliver_rcpt){ .address = users[i % 10] });
    job_start(j);
    return j;
}

static void done(struct entry *e) { assert(!schedule_done(&e, VERDICT_ALIVE, NULL, NULL, 0)); }

static void test_grouping_and_window(void)
{
    struct transport *t = schedule_make(&s, "group", &plain);
    struct job *j = job(t, "m", "next", 9, 0);
    struct entry *e[3];

    assert(j->waiting == 5); /* 2 + 2 + 2 + 2 + 1 */
    e[0] = schedule_next(&s, 0);
    e[1] = schedule_next(&s, 0);
    assert(e[0]->count == 2 && e[1]->count == 2 && schedule_next(&s, 0) == NULL); /* initial concurrency 2 */
    done(e[0]);                                                                   /* a success opens the window */
    e[0] = schedule_next(&s, 0);
    e[2] = schedule_next(&s, 0);
    assert(e[0] != NULL && e[2] != NULL && schedule_next(&s, 0) == NULL); /* and no further than the limit */
    done(e[0]);
    done(e[1]);
    done(e[2]);
    e[0] = schedule_next(&s, 0);
    assert(e[0]->count == 1 && schedule_next(&s, 0) == NULL);
    done(e[0]);
    assert(map_count(t->dests) == 0); /* nothing left behind */
    job_free(&j);
}

static void test_dead(void)
{
    struct transport *t = schedule_make(&s, "dead", &plain);
    struct job *a = job(t, "a", "gone", 6, 0), *b = job(t, "b", "here", 1, 0);
    struct entry *e1 = schedule_next(&s, 0), *e2 = schedule_next(&s, 0), *e;
    size_t taken = 0;

    assert(e1->dest == e2->dest && strcmp(e1->dest->nexthop, "gone") == 0);
    struct dest *d = e1->dest;
    /* The window is 2: two failures in a row are one cohort. */
    assert(!schedule_done(&e1, VERDICT_DEAD, "4.4.1", "refused", 1000));
    assert(schedule_done(&e2, VERDICT_DEAD, "4.4.1", "refused", 1000));
    while ((e = schedule_take_dest(d)) != NULL) {
        taken += e->count;
        schedule_drop(&e);
    }
    assert(taken == 2);
    e = schedule_next(&s, 0); /* others are not held up */
    assert(strcmp(name_of(e), "b") == 0);
    done(e);
    assert(schedule_dead_dest(t, "GONE", "x", 999) == d); /* case does not matter */
    assert(schedule_dead_dest(t, "gone", "x", 1000) == NULL && map_count(t->dests) == 0);
    job_free(&a);
    /* Forgotten by the sweep when nobody asks. */
    a = job(t, "a", "gone", 4, 0);
    e1 = schedule_next(&s, 0);
    e2 = schedule_next(&s, 0);
    assert(!schedule_done(&e1, VERDICT_DEAD, "4.4.1", "refused", 1000));
    assert(schedule_done(&e2, VERDICT_DEAD, "4.4.1", "refused", 1000));
    schedule_sweep(&s, 999);
    assert(map_count(t->dests) == 1);
    schedule_sweep(&s, 1000);
    assert(map_count(t->dests) == 0);
    job_free(&a);
    job_free(&b);
}

static void test_recipient_limit_one(void)
{
    struct limits l = plain;

    l.recipients = 1;
    l.initial_concurrency = 1;
    struct transport *t = schedule_make(&s, "single", &l);
    struct job *j = job(t, "m", "next", 3, 0);
    struct entry *e[3];

    for (int i = 0; i < 3; i++) { /* the window is the recipient's */
        e[i] = schedule_next(&s, 0);
        assert(e[i] != NULL && e[i]->count == 1);
    }
    assert(map_count(t->dests) == 3);
    for (int i = 0; i < 3; i++)
        done(e[i]);
    job_free(&j);
}

static void test_transports_take_turns(void)
{
    struct limits l = plain;

    l.concurrency = 0;
    l.initial_concurrency = 100;
    struct transport *t = schedule_make(&s, "turn1", &l), *u = schedule_make(&s, "turn2", &l);
    struct job *a = job(t, "a", "n", 6, 0), *b = job(u, "b", "n", 6, 0);
    struct entry *e[6];
    char order[8] = "";

    for (int i = 0; i < 6; i++) {
        e[i] = schedule_next(&s, 0);
        order[i] = *name_of(e[i]);
    }
    assert(strcmp(order, "ababab") == 0);
    for (int i = 0; i < 6; i++)
        done(e[i]);
    job_free(&a);
    job_free(&b);
}

/* A mailing list does not hold up a single message behind it. */
static void test_preemption(void)
{
    struct limits l = plain;

    l.concurrency = l.initial_concurrency = 1000;
    l.recipients = 1;
    l.slot_cost = 5;
    l.slot_loan = 3;
    l.slot_discount = 50;
    l.slot_minimum = 3;
    struct transport *t = schedule_make(&s, "slots", &l);
    struct job *big = job(t, "big", "n", 200, 0), *small = job(t, "small", "n", 2, 10);
    struct entry *e;
    int position = 0;

    for (int i = 1; (e = schedule_next(&s, 20 + i)) != NULL; i++) {
        if (position == 0 && strcmp(name_of(e), "small") == 0)
            position = i;
        done(e);
    }
    assert(position > 1 && position < 30);
    job_free(&big);
    job_free(&small);
}

static void test_transport_dead(void)
{
    struct transport *t = schedule_make(&s, "broken", &plain);
    struct job *j = job(t, "m", "n1", 3, 0);
    struct entry *e;
    size_t taken = 0;

    (void) job_add(j, "n2", &(struct deliver_rcpt){ .address = "z@x" });
    transport_kill(t, "4.3.0", "mail transport unavailable", 60000);
    while ((e = schedule_take_transport(t)) != NULL) {
        taken += e->count;
        schedule_drop(&e);
    }
    assert(taken == 4 && transport_dead(t, 59999) && !transport_dead(t, 60000) && schedule_next(&s, 0) == NULL);
    job_free(&j);
}

static void test_rate_delay(void)
{
    struct limits l = plain;

    l.rate_delay_ms = 100;
    struct transport *t = schedule_make(&s, "slow", &l);
    struct job *j = job(t, "m", "n", 4, 0);
    struct entry *e = schedule_next(&s, 0);
    struct dest *d = e->dest;

    assert(schedule_next(&s, 0) == NULL);
    done(e);
    assert(schedule_next(&s, 0) == NULL);
    schedule_release(d);
    e = schedule_next(&s, 0);
    assert(e != NULL);
    done(e);
    schedule_release(d);
    job_free(&j);
}

static const struct {
    const char *text;
    int status;
    double value;
    enum feedback_form form;
} feedbacks[] = {
    { "1", 0, 1, FEEDBACK_CONSTANT },
    { "0.5/concurrency", 0, 0.5, FEEDBACK_INVERSE },
    { "1 /sqrt_concurrency", 0, 1, FEEDBACK_ROOT },
    { "2", -1, 0, FEEDBACK_CONSTANT },
    { "x", -1, 0, FEEDBACK_CONSTANT },
    { "1/x", -1, 0, FEEDBACK_CONSTANT },
    { "", -1, 0, FEEDBACK_CONSTANT },
    { "nan", -1, 0, FEEDBACK_CONSTANT },
};

int main(void)
{
    schedule_init(&s);
    for (size_t i = 0; i < sizeof feedbacks / sizeof *feedbacks; i++) {
        struct feedback f = { 0 };
        assert(feedback_parse(feedbacks[i].text, &f) == feedbacks[i].status);
        assert(f.value >= feedbacks[i].value && f.value <= feedbacks[i].value && f.form == feedbacks[i].form);
    }
    test_grouping_and_window();
    test_dead();
    test_recipient_limit_one();
    test_transports_take_turns();
    test_preemption();
    test_transport_dead();
    test_rate_delay();
    return 0;
}
