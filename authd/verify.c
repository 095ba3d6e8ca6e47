/*
 * verify - is this the user's password?
 *
 * Callers     authd/mech.c (libsasl2's callback, in a fiber), authd/master.c
 * Invariants  the hash is computed in a thread; at most auth_hash_limit at a time, since each may want 64 MiB
 *             a user who does not exist costs the hash of the last one who did: time tells nobody who exists
 *             no password reaches the log; copies are wiped
 * Errors      a table that fails or a stored password that cannot be used is VERIFY_LATER, never "wrong"
 */
#include "authd.h"
#include "base/log.h"
#include "event/event.h"
#include "passwd.h"
#include "scheme/scheme.h"

struct job {
    struct slice stored, password;
    enum scheme_answer answer;
    struct err err;
};
static struct str decoy;        /* a stored password; lives as long as the process */
static struct event_sem hashes; /* set with the first job */
static bool hashes_set;

static void say(const struct authd_peer *peer, const char *user, const char *what)
{
    log_info("%s(%s%s%s%s%s%s): %s", passwd_kind(), user, peer->rip[0] ? "," : "", peer->rip,
             peer->session[0] ? ",<" : "", peer->session, peer->session[0] ? ">" : "", what);
}

static void hash(void *arg)
{
    struct job *job = arg;

    job->answer = scheme_verify(job->stored, PASSWD_DEFAULT_SCHEME, job->password, &job->err);
}

static enum scheme_answer check(struct job *job)
{
    if (!hashes_set) {
        hashes.permits = (size_t) authd_hash_limit;
        hashes_set = true;
    }
    job->answer = SCHEME_BROKEN;
    err_set(&job->err, 0, NULL, "cancelled");
    if (event_sem_get(&hashes, EVENT_NEVER) != 0)
        return SCHEME_BROKEN;
    event_offload(hash, job);
    event_sem_put(&hashes);
    return job->answer;
}

static void keep_decoy(const char *stored)
{
    if (strcmp(decoy.p ? decoy.p : "", stored) == 0)
        return;
    if (decoy.max == 0)
        str_init(&decoy, SCHEME_STORED_BYTES);
    mem_wipe(decoy.p, decoy.len);
    str_set(&decoy, stored);
}

static int canonical(struct slice name, struct arena *a, struct verify_result *out, struct err *err)
{
    struct str user;
    int rc;

    *out = (struct verify_result){ .user = "" };
    str_init(&user, USERNAME_BYTES);
    rc = username_canonical(&authd_username_rules, name, &user, err);
    if (rc == 0)
        out->user = arena_strndup(a, user.p, user.len);
    str_free(&user);
    return rc;
}

static void copy_fields(const struct passwd_entry *entry, struct verify_result *out)
{
    for (size_t n = 0; n < entry->extras; n++) {
        const char *name = entry->extra[n].name, *value = entry->extra[n].value;

        if (strncmp(name, "userdb_", 7) == 0)
            continue;
        if (strcmp(name, "nodelay") == 0)
            out->nodelay = true;
        authd_fields_add(&out->fields, name, value[0] ? value : NULL);
    }
}

/* Dovecot's passdb fields that restrict a login; those we do not know must not be passed over. */
static bool restricted(const struct passwd_entry *entry)
{
    static const char *const names[] = { "allow_nets",     "allow_real_nets", "deny",        "fail",
                                         "noauthenticate", "proxy",           "proxy_maybe", "delay_until",
                                         "nopassword",     "k5principals" };

    for (size_t n = 0; n < sizeof names / sizeof *names; n++)
        if (passwd_extra(entry, names[n]))
            return true;
    return false;
}

static enum verify_answer check_user(const struct passwd_entry *entry, struct slice password,
                                     const struct authd_peer *peer, const char *user)
{
    struct job job = { .stored = slice_of(entry->password), .password = password };

    if (restricted(entry)) {
        log_warn("%s(%s): the entry restricts logins by a field that is not supported: nobody may log in",
                 passwd_kind(), user);
        return VERIFY_LATER;
    }
    if (entry->password[0] == '\0') { /* a user without a password cannot log in with one */
        if (authd_verbose)
            say(peer, user, "no password is set");
        return VERIFY_FAIL;
    }
    keep_decoy(entry->password);
    switch (check(&job)) {
    case SCHEME_MATCH: return VERIFY_OK;
    case SCHEME_MISMATCH:
        if (authd_verbose)
            say(peer, user, "Password mismatch");
        return VERIFY_FAIL;
    case SCHEME_BROKEN: break;
    }
    log_warn("%s(%s): %s", passwd_kind(), user, job.err.text);
    return VERIFY_LATER;
}

enum verify_answer authd_verify(struct slice name, struct slice password, const struct authd_peer *peer,
                                struct arena *a, struct verify_result *out)
{
    struct passwd_entry entry;
    enum lookup found = LOOKUP_NONE;
    struct err err;
    struct job job;
    char wasted[SCHEME_STORED_BYTES + 1];

    if (canonical(name, a, out, &err) != 0) {
        if (authd_verbose)
            say(peer, "?", err.text);
    } else {
        found = passwd_find(out->user, a, &entry, &err);
    }
    if (found == LOOKUP_RETRY) {
        log_warn("%s(%s): %s", passwd_kind(), out->user, err.text);
        return VERIFY_LATER;
    }
    if (found == LOOKUP_FOUND) {
        copy_fields(&entry, out);
        enum verify_answer answer = check_user(&entry, password, peer, out->user);
        mem_wipe((char *) (uintptr_t) entry.password, strlen(entry.password));
        return answer;
    }
    if (authd_verbose && out->user[0])
        say(peer, out->user, "unknown user");
    if (decoy.len > 0) { /* another login may replace the decoy meanwhile: a copy for the thread */
        memcpy(wasted, decoy.p, decoy.len + 1);
        job = (struct job){ .stored = slice_make(wasted, decoy.len), .password = password };
        check(&job);
        mem_wipe(wasted, sizeof wasted);
    }
    return VERIFY_FAIL;
}

enum lookup authd_verify_lookup(struct slice name, struct arena *a, struct verify_result *out, struct err *err)
{
    struct passwd_entry entry;
    enum lookup found;

    if (canonical(name, a, out, err) != 0)
        return LOOKUP_NONE;
    found = passwd_find(out->user, a, &entry, err);
    if (found != LOOKUP_FOUND)
        return found;
    copy_fields(&entry, out);
    mem_wipe((char *) (uintptr_t) entry.password, strlen(entry.password));
    return LOOKUP_FOUND;
}
