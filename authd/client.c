/*
 * client - the client side of the Dovecot auth protocol: AUTH, CONT, CANCEL
 *
 * Callers     smtpd, login, Exim, a real Postfix or Dovecot: private/auth and private/auth-login
 * Invariants  the greeting waits a moment for the client's VERSION, which says whether it can bind to a channel; to a
 *             client that listens first it goes out unasked
 *             each request is a fiber, so answers interleave; a FAIL waits for auth_failure_delay and then for a tick
 *             common to all, so that its moment tells nothing of the hash
 *             what breaks the protocol ends the connection, as Dovecot does; it is never a FAIL
 * Units       DOVECOT_AUTH_LINE_BYTES a line, AUTHD_REQUESTS_MAX requests a connection, OUTPUT_BYTES unsent
 * Source      Dovecot's auth-protocol.txt 1.2; channel binding of 1.3
 */
#include "authd.h"
#include "base/codec.h"
#include "base/log.h"
#include "base/map.h"
#include "base/time.h"
#include "mech.h"
#include "penalty.h"
#include "proto/sasl/dovecot_auth.h"
#include <errno.h>
#include <inttypes.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    OUTPUT_BYTES = 4 << 20,
    OUTPUT_PAUSE_BYTES = 50000,
    ID_TEXT_BYTES = 16,
    FAILURE_TICK_MS = 200,
    GREETING_MS = 50,
    CHALLENGE_BYTES = 48, /* "<pid.connection." */
};

struct conn {
    struct stream *stream;
    bool login, ended, greeted;
    uint64_t minor, number; /* number: CUID, unique within the process */
    char challenge[CHALLENGE_BYTES];
    uint32_t cpid;
    char cookie[2 * AUTHD_COOKIE_RANDOM_BYTES + 1];
    struct map *requests;      /* id as text to struct request */
    struct event_cond changed; /* output was added or sent, a request ended */
    struct str out;
    bool writing;
};
struct request {
    struct conn *conn;
    uint32_t id;
    const struct mech *mech;
    struct arena *arena;
    struct authd_request *auth;
    uint64_t claim_ahead;                      /* pid of the master that will claim it; 0: not known */
    bool nologin, cancelled, asked, has_input; /* asked: a challenge waits for its response */
    bool aside;                                /* and that is for the front end, not for its client */
    bool final_ok;                             /* final data may come with OK */
    bool binding_shown;
    struct str input; /* decoded: the client's last response */
    bool initial_given;
    struct event_cond wake;
    int64_t deadline;
};

static struct slice id_key(uint32_t id, char text[ID_TEXT_BYTES])
{
    return slice_make(text, (size_t) snprintf(text, ID_TEXT_BYTES, "%" PRIu32, id));
}

/* Requests add lines from their fibers; this one sends them. */
static void writer(void *arg)
{
    struct conn *c = arg;

    while (!c->ended) {
        if (c->out.len == 0) {
            if (event_cond_wait(&c->changed, EVENT_NEVER) != 0)
                break;
            continue;
        }
        ssize_t n = write(stream_fd(c->stream), c->out.p, c->out.len);
        if (n > 0)
            str_drop(&c->out, (size_t) n);
        else if (n < 0 && errno != EAGAIN && errno != EINTR)
            break;
        else if (event_wait_fd(stream_fd(c->stream), EVENT_WRITE, EVENT_NEVER) < 0)
            break;
        if (c->out.len < OUTPUT_PAUSE_BYTES)
            event_cond_broadcast(&c->changed);
    }
    c->ended = true;
    c->writing = false;
    event_cond_broadcast(&c->changed);
}

/* What a client sends and is sent: passwords only with auth_debug_passwords. */
static void debug_in(struct slice line)
{
    static const char *const secrets[] = { "\tresp=", "CONT\t" };
    const char *hidden = "";

    for (size_t n = 0; !authd_debug_passwords && n < sizeof secrets / sizeof *secrets; n++) {
        const char *at = memmem(line.p, line.len, secrets[n], strlen(secrets[n]));
        if (at) {
            line.len = (size_t) (at - line.p) + strlen(secrets[n]);
            hidden = "<hidden>";
        }
    }
    if (authd_debug)
        log_info("Debug: client in: %.*s%s", (int) line.len, line.p, hidden);
}

static void debug_out(struct slice line)
{
    const char *resp = memmem(line.p, line.len, "\tresp=", 6);

    if (authd_debug && line.len > 0)
        log_info("Debug: client out: %.*s",
                 (int) (resp && !authd_debug_passwords ? resp - line.p : (ptrdiff_t) line.len - 1), line.p);
}

static void send_line(struct conn *c, struct str *line)
{
    debug_out(str_slice(line));
    if (!str_over(line) && !c->ended)
        str_addslice(&c->out, str_slice(line));
    str_reset(line);
    event_cond_broadcast(&c->changed);
}

static void greet_first(struct conn *c)
{
    static uint64_t connections;

    c->number = ++connections;
    snprintf(c->challenge, sizeof c->challenge, "<%lx.%" PRIx64 ".", (long) getpid(), c->number);
    str_printf(&c->out, "%s\t%d\t%d\n", DOVECOT_AUTH_VERSION, DOVECOT_AUTH_MAJOR, DOVECOT_AUTH_CLIENT_MINOR);
}

static bool shown(const struct conn *c, const struct mech *m)
{
    return !(m->flags & DOVECOT_AUTH_CHANNEL_BINDING) || c->minor >= DOVECOT_AUTH_MINOR_BINDING;
}

static void greet(struct conn *c)
{
    unsigned char random[AUTHD_COOKIE_RANDOM_BYTES];
    struct str hex;

    if (RAND_bytes(random, sizeof random) != 1)
        log_fatal("no random bytes");
    str_init(&hex, sizeof c->cookie);
    hex_encode(&hex, slice_make((char *) random, sizeof random));
    snprintf(c->cookie, sizeof c->cookie, "%s", hex.p);
    str_free(&hex);
    for (size_t n = 0; n < mech_count(); n++) {
        if (!shown(c, mech_at(n)))
            continue;
        dovecot_auth_begin(&c->out, DOVECOT_AUTH_MECH);
        dovecot_auth_put(&c->out, slice_of(mech_at(n)->name));
        dovecot_auth_put_flags(&c->out, mech_at(n)->flags);
        dovecot_auth_end(&c->out);
    }
    str_printf(&c->out, "%s\t%ld\n%s\t%" PRIu64 "\n%s\t%s\n%s\n", DOVECOT_AUTH_SPID, (long) getpid(),
               DOVECOT_AUTH_CUID, c->number, DOVECOT_AUTH_COOKIE, c->cookie, DOVECOT_AUTH_DONE);
    c->greeted = true;
    event_cond_broadcast(&c->changed);
}

static void request_end(struct request *r)
{
    char text[ID_TEXT_BYTES];
    struct conn *c = r->conn;

    map_take(c->requests, id_key(r->id, text));
    mem_wipe(r->input.p, r->input.len);
    str_free(&r->input);
    arena_free(&r->arena);
    free(r);
    event_cond_broadcast(&c->changed);
}

static bool over(const struct request *r) { return r->cancelled || r->conn->ended; }

/* Until the failure may be told; false when nobody waits for it any more. */
static bool delay(struct request *r, bool at_once)
{
    int64_t until = time_mono_ms() + authd_failure_delay_seconds * 1000;

    until += FAILURE_TICK_MS - until % FAILURE_TICK_MS;
    while (!at_once && !over(r) && time_mono_ms() < until)
        if (event_cond_wait(&r->wake, until) != 0 && errno == ECANCELED)
            return false;
    return !over(r);
}

static void put_user(const struct authd_request *r, struct str *line)
{
    dovecot_auth_put_value(line, "user", slice_of(r->user[0] ? r->user : r->original_user));
}

/* What the passdbs said, then under which names. */
static void put_fields(const struct authd_request *r, struct str *line)
{
    authd_fields_write(&r->fields, line);
    if (r->original_user[0] && strcmp(r->original_user, r->user) != 0 &&
        !authd_fields_has(&r->fields, "original_user"))
        dovecot_auth_put_value(line, "original_user", slice_of(r->original_user));
    if (r->master_user && !authd_fields_has(&r->fields, "auth_user"))
        dovecot_auth_put_value(line, "auth_user", slice_of(r->master_user));
}

static void fail(struct request *r, const char *code, const char *reason, bool at_once)
{
    struct str line;

    if (!delay(r, at_once || r->auth->nodelay))
        return;
    str_init(&line, DOVECOT_AUTH_LINE_BYTES);
    dovecot_auth_begin(&line, DOVECOT_AUTH_FAIL);
    dovecot_auth_put_num(&line, r->id);
    if (r->auth->original_user[0])
        put_user(r->auth, &line);
    if (code)
        dovecot_auth_put_value(&line, "code", slice_of(code));
    if (reason)
        dovecot_auth_put_value(&line, "reason", slice_of(reason));
    put_fields(r->auth, &line);
    dovecot_auth_end(&line);
    send_line(r->conn, &line);
    str_free(&line);
}

/* The penalty of who has failed before; once for each request. */
static bool hold(struct authd_request *auth)
{
    struct request *r = auth->holder;
    int64_t until = time_mono_ms() + (authd_penalty ? penalty_seconds(auth) : 0) * 1000;

    auth->hold = NULL;
    while (!over(r) && time_mono_ms() < until)
        if (event_cond_wait(&r->wake, until) != 0 && errno == ECANCELED)
            return false;
    return !over(r);
}

static void refuse(struct request *r, enum verify_answer verdict, const char *reason)
{
    static const char *const codes[] = {
        [VERIFY_LATER] = "temp_fail", [VERIFY_DISABLED] = "user_disabled", [VERIFY_EXPIRED] = "pass_expired"
    };

    const char *code = codes[verdict];
    if (verdict == VERIFY_FAIL && r->auth->master_user) /* the master is one, but cannot be that user */
        code = "authz_fail";
    if (verdict == VERIFY_FAIL || verdict == VERIFY_DISABLED)
        penalty_failed(r->auth);
    if (reason == NULL)
        reason = r->auth->reason;
    fail(r, code, reason ? reason : verdict == VERIFY_EXPIRED ? "Password expired" : NULL, false);
}

/* delay_until of the passdb; false when nobody waits for the answer any more. */
static bool hold_back(struct request *r)
{
    int64_t until = time_mono_ms() + (r->auth->delay_until - time_now()) * 1000;

    while (r->auth->delay_until != 0 && !over(r) && time_mono_ms() < until)
        if (event_cond_wait(&r->wake, until) != 0 && errno == ECANCELED)
            return false;
    return !over(r);
}

static void succeed(struct request *r, struct slice final)
{
    struct conn *c = r->conn;
    struct str line;

    penalty_succeeded(r->auth);
    if (authd_fields_has(&r->auth->fields, "nologin")) /* whatever its value: the word is what clients look for */
        authd_fields_add(&r->auth->fields, r->arena, "nologin", NULL);
    if (!hold_back(r))
        return;
    bool claimed = c->login && !r->nologin && !authd_fields_has(&r->auth->fields, "nologin");
    bool ahead = claimed && r->claim_ahead && authd_master_tell(r->claim_ahead, c->cookie, r->id, c->cpid, r->auth);
    if (over(r))
        return;
    if (claimed && !ahead && !authd_claim_put(c->cookie, r->id, c->cpid, r->auth)) {
        log_warn("%d logins wait for their master: refused one", AUTHD_CLAIMS_MAX);
        fail(r, "temp_fail", NULL, false);
        return;
    }
    str_init(&line, DOVECOT_AUTH_LINE_BYTES);
    dovecot_auth_begin(&line, DOVECOT_AUTH_OK);
    dovecot_auth_put_num(&line, r->id);
    put_user(r->auth, &line);
    put_fields(r->auth, &line);
    if (final.len > 0) {
        str_adds(&line, "\tresp=");
        base64_encode(&line, final);
    }
    dovecot_auth_end(&line);
    send_line(c, &line);
    str_free(&line);
}

/* Sends CONT, waits for the client's. -1: nobody waits any more, or not in time. */
static int ask(struct request *r, struct str *line)
{
    dovecot_auth_end(line);
    mem_wipe(r->input.p, r->input.len);
    str_reset(&r->input);
    r->has_input = false;
    r->asked = true;
    send_line(r->conn, line);
    while (!r->has_input && !over(r))
        if (event_cond_wait(&r->wake, r->deadline) != 0)
            return -1;
    return over(r) ? -1 : 0;
}

static int challenge(struct request *r, struct slice data)
{
    struct str line;

    str_init(&line, DOVECOT_AUTH_LINE_BYTES);
    dovecot_auth_begin(&line, DOVECOT_AUTH_CONT);
    dovecot_auth_put_num(&line, r->id);
    str_addc(&line, '\t');
    base64_encode(&line, data);
    int rc = ask(r, &line);
    str_free(&line);
    return rc;
}

/* mech_front's: the data of its channel are known to the front end alone. */
static int binding(void *ctx, const char *type, struct str *data)
{
    struct request *r = ctx;
    struct str line, kept = r->input; /* the mechanism is at work on it */
    int rc;

    str_init(&r->input, MECH_BINDING_BYTES);
    str_init(&line, DOVECOT_AUTH_LINE_BYTES);
    dovecot_auth_begin(&line, DOVECOT_AUTH_CONT);
    dovecot_auth_put_num(&line, r->id);
    dovecot_auth_put(&line, SLICE(DOVECOT_AUTH_ASIDE));
    dovecot_auth_put_value(&line, DOVECOT_AUTH_BINDING, slice_of(type));
    r->aside = true;
    rc = ask(r, &line);
    r->aside = false;
    if (rc == 0 && !str_over(&r->input))
        str_addslice(data, str_slice(&r->input));
    str_free(&r->input);
    r->input = kept;
    str_free(&line);
    return rc;
}

/* Final data of the server: beside OK where the client can carry them, else a challenge with an empty response. */
static bool final(struct request *r, struct str *out)
{
    if (out->len == 0 || r->final_ok)
        return true;
    if (challenge(r, str_slice(out)) != 0 || r->input.len > 0)
        return false;
    str_reset(out);
    return true;
}

static void converse(struct request *r, struct mech_exchange *x)
{
    enum mech_step step;
    struct str out;

    str_init(&out, MECH_DATA_BYTES);
    do {
        str_reset(&out);
        step = mech_step(x, r->has_input || r->initial_given ? str_slice(&r->input) : (struct slice){ NULL, 0 },
                         &out);
        r->initial_given = false;
    } while (step == MECH_CONTINUE && !over(r) && challenge(r, str_slice(&out)) == 0);
    if (over(r) && mech_refused(x))
        penalty_failed(r->auth);
    else if (over(r))
        ; /* nobody waits */
    else if (step == MECH_CONTINUE && !mech_refused(x))
        fail(r, NULL, "Authentication request timed out", false);
    else if (step == MECH_DONE && final(r, &out))
        succeed(r, str_slice(&out));
    else
        refuse(r, step == MECH_DONE ? VERIFY_FAIL : mech_result(x), mech_reason(x));
    str_free(&out);
}

static void run(void *arg)
{
    struct request *r = arg;
    const struct mech_front front = { binding, r, r->binding_shown, r->conn->challenge };

    if (authd_require_client_cert && !r->auth->peer.valid_client_cert) {
        authd_request_info(r->auth, "Client didn't present valid SSL certificate");
        fail(r, NULL, NULL, false);
    } else {
        struct mech_exchange *x = mech_new(r->mech, r->auth, &front);
        /* A plaintext mechanism tells first which guess it is. */
        if (r->mech->flags & DOVECOT_AUTH_PLAINTEXT || hold(r->auth))
            converse(r, x);
        mech_free(&x);
    }
    request_end(r);
}

static int violation(const char *what)
{
    log_warn("a client broke the auth protocol: %s", what);
    return -1;
}

/* resp= must be the last word (checked), and its meaning when empty depends on the client's version. */
static int initial_response(struct request *r, const struct dovecot_auth_line *line, bool *bad_base64)
{
    struct slice resp;

    *bad_base64 = false;
    if (!dovecot_auth_value(line, 3, "resp", &resp))
        return 0;
    if (resp.p != line->word[line->count - 1].p + strlen("resp="))
        return violation("resp= is not the last word");
    if (resp.len == 0 && r->conn->minor < DOVECOT_AUTH_MINOR_EMPTY_RESP)
        return 0;
    r->initial_given = true;
    if (!slice_eq(resp, "=") && base64_decode(&r->input, resp) != 0)
        *bad_base64 = true;
    return 0;
}

static int on_auth(struct conn *c, const struct dovecot_auth_line *line)
{
    char text[ID_TEXT_BYTES];
    const struct mech *mech = mech_find(dovecot_auth_word(line, 2));
    struct slice ignored;
    uint64_t id;
    bool bad_base64;

    if (c->cpid == 0)
        return violation("AUTH before CPID");
    if (slice_u64(dovecot_auth_word(line, 1), UINT32_MAX, &id) != 0 || id == 0)
        return violation("an id that is no number");
    if (map_get(c->requests, id_key((uint32_t) id, text)) != NULL)
        return violation("an id that is in use");
    if (mech == NULL || !shown(c, mech))
        return violation("a mechanism that was not offered");
    if (!dovecot_auth_value(line, 3, "service", &ignored) || ignored.len == 0)
        return violation("AUTH without service=");

    struct request *r = mem_new(sizeof *r);
    *r = (struct request){ .conn = c, .id = (uint32_t) id, .mech = mech, .arena = arena_new() };
    str_init(&r->input, MECH_DATA_BYTES);
    const struct authd_peer peer = authd_peer_parse(line, 3, r->arena);
    r->auth = authd_request_new(r->arena, &peer, mech->name);
    r->auth->hold = hold;
    r->auth->holder = r;
    r->auth->client_pid = arena_printf(r->arena, "%" PRIu32, c->cpid);
    r->nologin = dovecot_auth_value(line, 3, "nologin", &ignored);
    if (!dovecot_auth_value(line, 3, DOVECOT_AUTH_CLAIM_AHEAD, &ignored) ||
        slice_u64(ignored, INT32_MAX, &r->claim_ahead) != 0)
        r->claim_ahead = 0;
    r->auth->will_claim = c->login && !r->nologin;
    r->final_ok = dovecot_auth_value(line, 3, "final-resp-ok", &ignored);
    r->binding_shown = dovecot_auth_value(line, 3, DOVECOT_AUTH_BINDING, &ignored);
    r->deadline = time_mono_ms() + AUTHD_REQUEST_SECONDS * 1000;
    if (initial_response(r, line, &bad_base64) != 0 || !map_set(c->requests, id_key(r->id, text), r)) {
        request_end(r);
        return violation("AUTH that cannot be begun");
    }
    if (bad_base64) {
        fail(r, "invalid_base64", "Invalid base64 data in initial response", true);
        request_end(r);
    } else {
        fiber_go("auth request", run, r);
    }
    return 0;
}

static struct request *named(struct conn *c, const struct dovecot_auth_line *line)
{
    char text[ID_TEXT_BYTES];
    uint64_t id;

    if (slice_u64(dovecot_auth_word(line, 1), UINT32_MAX, &id) != 0)
        return NULL;
    return map_get(c->requests, id_key((uint32_t) id, text));
}

static int on_cont(struct conn *c, const struct dovecot_auth_line *line)
{
    struct request *r = named(c, line);
    struct slice data = dovecot_auth_word(line, 2);

    if (r == NULL) /* it has timed out meanwhile, and was told so */
        return 0;
    if (!r->asked) /* the mechanism may be at work on the last response, in r->input */
        return violation("CONT that nobody asked for");
    if (r->aside != slice_eq(data, DOVECOT_AUTH_ASIDE) ||
        (r->aside && !dovecot_auth_value(line, 3, DOVECOT_AUTH_BINDING, &data)))
        return violation("CONT that does not answer what was asked");
    str_reserve(&r->input, data.len);
    if (base64_decode(&r->input, data) != 0) {
        r->cancelled = true;
        struct str reply;
        str_init(&reply, DOVECOT_AUTH_LINE_BYTES);
        str_printf(&reply, "%s\t%" PRIu32 "\tcode=invalid_base64\treason=Invalid base64 data in continued response\n",
                   DOVECOT_AUTH_FAIL, r->id);
        send_line(c, &reply);
        str_free(&reply);
    }
    r->asked = false;
    r->has_input = true;
    event_cond_broadcast(&r->wake);
    return 0;
}

static int on_cancel(struct conn *c, const struct dovecot_auth_line *line)
{
    struct request *r = named(c, line);

    if (r) {
        r->cancelled = true;
        event_cond_broadcast(&r->wake);
    }
    return 0;
}

static int on_cpid(struct conn *c, const struct dovecot_auth_line *line)
{
    uint64_t pid;

    if (c->cpid != 0 || slice_u64(dovecot_auth_word(line, 1), UINT32_MAX, &pid) != 0 || pid == 0)
        return violation("CPID twice, or no number");
    c->cpid = (uint32_t) pid;
    return 0;
}

static int handle(struct conn *c, struct str *text, bool first)
{
    static const struct {
        const char *name;
        int (*run)(struct conn *, const struct dovecot_auth_line *);
    } commands[] = { { DOVECOT_AUTH_CPID, on_cpid },
                     { DOVECOT_AUTH_AUTH, on_auth },
                     { DOVECOT_AUTH_CONT, on_cont },
                     { DOVECOT_AUTH_CANCEL, on_cancel } };
    struct dovecot_auth_line line;
    uint64_t major;

    debug_in(str_slice(text));
    if (dovecot_auth_split(text->p, text->len, &line) != 0)
        return violation("a line that cannot be split");
    if (first) {
        if (!slice_eq(line.word[0], DOVECOT_AUTH_VERSION) ||
            slice_u64(dovecot_auth_word(&line, 1), UINT32_MAX, &major) != 0 || major != DOVECOT_AUTH_MAJOR ||
            slice_u64(dovecot_auth_word(&line, 2), UINT32_MAX, &c->minor) != 0)
            return violation("it does not begin with VERSION 1");
        if (!c->greeted)
            greet(c);
        return 0;
    }
    for (size_t n = 0; n < sizeof commands / sizeof *commands; n++)
        if (slice_eq(line.word[0], commands[n].name))
            return commands[n].run(c, &line);
    return violation("an unknown command");
}

static void wake_all(struct conn *c)
{
    struct slice key;
    void *value;

    for (size_t at = 0; map_next(c->requests, &at, &key, &value);)
        event_cond_broadcast(&((struct request *) value)->wake);
}

void authd_client_serve(struct stream *stream, bool login)
{
    struct conn c = { .stream = stream, .login = login, .requests = map_new(AUTHD_REQUESTS_MAX, NULL) };
    enum stream_eol eol;
    struct str text;
    bool first = true;

    struct authd_conn known = { .fd = stream_fd(stream), .requests = c.requests };
    authd_conn_add(&known);
    str_init(&c.out, OUTPUT_BYTES);
    str_init(&text, DOVECOT_AUTH_LINE_BYTES);
    greet_first(&c);
    c.writing = true;
    fiber_go("auth output", writer, &c);
    if (event_wait_fd(stream_fd(stream), EVENT_READ, time_mono_ms() + GREETING_MS) < 0 && errno == ETIMEDOUT)
        greet(&c);
    while (!c.ended) {
        if (c.out.len >= OUTPUT_PAUSE_BYTES) { /* who does not read answers asks nothing more */
            if (event_cond_wait(&c.changed, EVENT_NEVER) != 0)
                break;
            continue;
        }
        mem_wipe(text.p, text.len);
        str_reset(&text);
        if (stream_line(stream, &text, DOVECOT_AUTH_LINE_BYTES, &eol) != 0 || eol == STREAM_EOF ||
            handle(&c, &text, first) != 0)
            break;
        first = false;
    }
    c.ended = true;
    event_forget_fd(stream_fd(stream));
    event_cond_broadcast(&c.changed);
    authd_conn_remove(&known);
    fiber_shield(true);
    while (c.writing || map_count(c.requests) > 0) { /* their fibers point here; a hash is waited for */
        wake_all(&c);
        event_cond_wait(&c.changed, EVENT_NEVER);
    }
    fiber_shield(false);
    mem_wipe(text.p, text.len);
    str_free(&text);
    str_free(&c.out);
    map_free(&c.requests);
}
