/*
 * password - see password.h
 *
 * Invariants  copies of stored passwords are wiped
 */
#include "password.h"
#include "authd.h"
#include "event/event.h"

enum { SLOW_AT_A_TIME = 2 };
struct job {
    struct slice stored;
    const struct scheme_word *word;
    const char *scheme;
    enum scheme_answer answer;
    struct err err;
};
struct credentials {
    const char *stored, *scheme, *wanted, *user;
    struct slice salt;
    struct str *raw;
    enum lookup found;
    struct err *err;
};
/* A stored password and its scheme; they live as long as the process. */
static struct str decoy;
static char decoy_scheme[SCHEME_NAME_BYTES + 1];
/* Permits by cost. What takes milliseconds never waits behind what takes tens of them, and what takes microseconds is
 * done at once. */
static struct event_sem lanes[] = {
    [SCHEME_SLOW] = { .permits = SLOW_AT_A_TIME }, [SCHEME_HEAVY] = { .permits = 0 }
};
static bool heavy_set;

static void hash(void *arg)
{
    struct job *job = arg;

    job->answer = scheme_verify(job->stored, job->scheme, job->word, &job->err);
}

static struct event_sem *lane(enum scheme_cost cost)
{
    size_t most = EVENT_THREADS;

    if (!heavy_set)
        lanes[SCHEME_HEAVY].permits = (size_t) authd_hash_limit < most ? (size_t) authd_hash_limit : most;
    heavy_set = true;
    return &lanes[cost];
}

static enum scheme_answer run(struct job *job)
{
    enum scheme_cost cost = scheme_cost(job->stored, job->scheme);

    job->answer = SCHEME_BROKEN;
    err_set(&job->err, 0, NULL, "cancelled");
    if (cost == SCHEME_CHEAP) {
        hash(job);
        return job->answer;
    }
    if (event_sem_get(lane(cost), EVENT_NEVER) != 0)
        return SCHEME_BROKEN;
    (cost == SCHEME_HEAVY ? event_offload_low : event_offload)(hash, job);
    event_sem_put(lane(cost));
    return job->answer;
}

static void keep_decoy(const char *stored, const char *scheme)
{
    if (strcmp(decoy.p ? decoy.p : "", stored) == 0)
        return;
    if (decoy.max == 0)
        str_init(&decoy, SCHEME_STORED_BYTES);
    mem_wipe(decoy.p, decoy.len);
    str_set(&decoy, stored);
    memccpy(decoy_scheme, scheme, 0, sizeof decoy_scheme - 1);
}

enum scheme_answer password_check(const char *stored, const char *default_scheme, const struct scheme_word *word,
                                  struct err *err)
{
    struct job job = { .stored = slice_of(stored), .scheme = default_scheme, .word = word };

    keep_decoy(stored, default_scheme);
    enum scheme_answer answer = run(&job);
    *err = job.err;
    return answer;
}

void password_waste(const struct scheme_word *word)
{
    char copy[SCHEME_STORED_BYTES + 1], scheme[SCHEME_NAME_BYTES + 1];
    struct job job = { .stored = slice_make(copy, decoy.len), .scheme = scheme, .word = word };

    if (decoy.len == 0)
        return;
    memcpy(copy, decoy.p, decoy.len + 1); /* another login may replace the decoy meanwhile */
    memcpy(scheme, decoy_scheme, sizeof scheme);
    run(&job);
    mem_wipe(copy, sizeof copy);
}

static void derive(void *arg)
{
    struct credentials *c = arg;

    c->found = scheme_credentials(slice_of(c->stored), c->scheme, c->wanted, c->user, c->salt, c->raw, c->err);
}

enum lookup password_credentials(const char *stored, const char *default_scheme, const char *wanted, const char *user,
                                 struct slice salt, struct str *raw, struct err *err)
{
    struct credentials c = { stored, default_scheme, wanted, user, salt, raw, LOOKUP_RETRY, err };

    if (!slice_casestarts(slice_of(wanted), "SCRAM-")) { /* a digest, made at once */
        derive(&c);
        return c.found;
    }
    err_set(err, 0, NULL, "cancelled");
    if (event_sem_get(lane(SCHEME_SLOW), EVENT_NEVER) != 0)
        return LOOKUP_RETRY;
    event_offload(derive, &c);
    event_sem_put(lane(SCHEME_SLOW));
    return c.found;
}
