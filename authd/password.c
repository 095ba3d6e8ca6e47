/*
 * password - see password.h
 *
 * Invariants  copies of stored passwords are wiped
 */
#include "password.h"
#include "authd.h"
#include "event/event.h"

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
static struct event_sem hashes; /* set with the first job */
static bool hashes_set;

static void hash(void *arg)
{
    struct job *job = arg;

    job->answer = scheme_verify(job->stored, job->scheme, job->word, &job->err);
}

static int take_permit(void)
{
    if (!hashes_set) {
        hashes.permits = (size_t) authd_hash_limit;
        hashes_set = true;
    }
    return event_sem_get(&hashes, EVENT_NEVER);
}

static enum scheme_answer run(struct job *job)
{
    job->answer = SCHEME_BROKEN;
    err_set(&job->err, 0, NULL, "cancelled");
    if (take_permit() != 0)
        return SCHEME_BROKEN;
    event_offload(hash, job);
    event_sem_put(&hashes);
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
    if (take_permit() != 0)
        return LOOKUP_RETRY;
    event_offload(derive, &c);
    event_sem_put(&hashes);
    return c.found;
}
