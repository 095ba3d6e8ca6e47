/*
 * auth - the client side of the Dovecot auth protocol
 *
 * One fiber reads what the service sends and wakes the request it is for; whoever asks writes under a permit of one.
 *
 * Callers     smtpd/cmd/auth.c, authd/login
 * Invariants  a request is in `requests` from its AUTH until OK, FAIL or the loss of the connection; none of them
 *             waits longer than its deadline
 * Errors      a lost connection answers AUTH_RETRY to all that wait
 * Source      dovecot.md 4.2
 */
#include "client/auth.h"

#include "base/codec.h"
#include "base/file.h"
#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/time.h"
#include "event/event.h"
#include "ipc/client.h"
#include "proto/sasl/dovecot_auth.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    READ_BYTES = 4096,
    GREETING_MS = 10000, /* a service that accepts and says nothing */
    COOKIE_BYTES = 65,
    AUTH_BINDING_BYTES = 1024, /* the longest, of a certificate's hash, has 64 */
};
enum state { CLOSED, CLOSING /* unused: its end is on the way */, CONNECTING, GREETING, READY };

struct auth_client {
    char *path;
    enum auth_keep keep;
    int64_t connected_ms, idle_ms, age_ms;
    bool retired;             /* no new requests: freed with its last */
    struct event_timer *idle; /* brief: closes the connection */
    enum state state;
    int fd;
    struct fiber *reader;
    struct event_cond changed;
    struct event_sem writing;
    unsigned failures; /* attempts that failed: who waits for another's attempt learns of it */
    bool version_seen;
    struct auth_mech mechs[AUTH_MECHS_MAX];
    size_t mech_count;
    char cookie[COOKIE_BYTES];
    uint64_t service_pid, connection; /* SPID, CUID; 0: not said */
    uint32_t last_id;
    struct list requests;
    size_t open;
};
struct auth_request {
    struct list node;
    struct auth_client *client;
    uint32_t id;
    bool answered;
    enum auth_answer answer;
    struct event_cond cond;
    struct arena *arena;
    const char *challenge, *user, *reason, *code, *cookie;
    char **fields; /* "name=value", NULL at the end */
    int (*binding)(void *ctx, const char *type, struct str *data);
    void *binding_ctx;
    const char *binding_type; /* the service waits for data of this type; or NULL */
};

struct auth_client *auth_client_new(const char *path, enum auth_keep keep)
{
    struct auth_client *c = mem_new(sizeof *c);

    c->path = mem_strdup(path);
    c->keep = keep;
    c->idle_ms = AUTH_IDLE_MS;
    c->age_ms = AUTH_AGE_MS;
    c->fd = -1;
    c->writing.permits = 1;
    list_init(&c->requests);
    return c;
}

static void answer(struct auth_request *r, enum auth_answer what)
{
    list_del(&r->node);
    r->answer = what;
    r->answered = true;
    event_cond_broadcast(&r->cond);
}

static void lost(struct auth_client *c)
{
    if (c->fd >= 0) {
        event_forget_fd(c->fd);
        close(c->fd);
    }
    c->fd = -1;
    if (c->state != READY && c->state != CLOSING)
        c->failures++;
    c->state = CLOSED;
    list_each(it, &c->requests)
    {
        struct auth_request *r = list_entry(it, struct auth_request, node);

        r->reason = "Connection lost to authentication server";
        answer(r, AUTH_RETRY);
    }
    event_cond_broadcast(&c->changed);
}

void auth_client_free(struct auth_client **cp)
{
    struct auth_client *c = *cp;

    if (c == NULL)
        return;
    if (c->open)
        log_panic("auth_client_free: %zu requests are open", c->open);
    event_timer_free(&c->idle);
    if (c->reader != NULL) {
        fiber_cancel(c->reader);
        fiber_join(c->reader, EVENT_NEVER);
    }
    free(c->path);
    free(c);
    *cp = NULL;
}

static void on_idle(void *arg)
{
    struct auth_client *c = arg;

    event_timer_free(&c->idle);
    if (c->open > 0 || c->state != READY)
        return;
    c->state = CLOSING;
    fiber_cancel(c->reader);
}

/* Nothing is asked at the moment. */
static void rest(struct auth_client *c)
{
    if (c->keep == AUTH_KEEP || c->open > 0)
        return;
    if (c->retired)
        auth_client_free(&c);
    else if (c->idle)
        event_timer_reset(c->idle, c->idle_ms);
    else
        c->idle = event_timer_new(c->idle_ms, on_idle, c);
}

void auth_client_patience(struct auth_client *c, int64_t idle_ms, int64_t age_ms)
{
    c->idle_ms = idle_ms;
    c->age_ms = age_ms;
}

void auth_client_renew(struct auth_client **cp)
{
    struct auth_client *c = *cp;

    if (c->keep == AUTH_KEEP || c->state != READY || time_mono_ms() < c->connected_ms + c->age_ms)
        return;
    *cp = auth_client_new(c->path, c->keep);
    auth_client_patience(*cp, c->idle_ms, c->age_ms);
    c->retired = true;
    rest(c);
}

static int on_mech(struct auth_client *c, const struct dovecot_auth_line *line)
{
    struct slice name = dovecot_auth_word(line, 1);
    struct auth_mech *m;

    if (name.len == 0 || name.len >= AUTH_MECH_NAME_BYTES || c->mech_count == AUTH_MECHS_MAX)
        return 0; /* not ours to offer */
    m = &c->mechs[c->mech_count++];
    *m = (struct auth_mech){ 0 };
    memcpy(m->name, name.p, name.len);
    m->flags = dovecot_auth_flags(line, 2);
    return 0;
}

static int on_version(struct auth_client *c, const struct dovecot_auth_line *line)
{
    uint64_t major;

    if (slice_u64(dovecot_auth_word(line, 1), UINT32_MAX, &major) || major != DOVECOT_AUTH_MAJOR) {
        log_warn("SASL: Protocol version mismatch of %s", c->path);
        return -1;
    }
    c->version_seen = true;
    return 0;
}

static int on_cookie(struct auth_client *c, const struct dovecot_auth_line *line)
{
    struct slice hex = dovecot_auth_word(line, 1);

    snprintf(c->cookie, sizeof c->cookie, "%.*s", (int) hex.len, hex.p);
    return 0;
}

static int on_spid(struct auth_client *c, const struct dovecot_auth_line *line)
{
    return slice_u64(dovecot_auth_word(line, 1), UINT64_MAX, &c->service_pid) == 0 ? 0 : -1;
}

static int on_cuid(struct auth_client *c, const struct dovecot_auth_line *line)
{
    return slice_u64(dovecot_auth_word(line, 1), UINT64_MAX, &c->connection) == 0 ? 0 : -1;
}

static int on_done(struct auth_client *c, const struct dovecot_auth_line *line)
{
    (void) line;
    if (!c->version_seen) {
        log_warn("SASL: %s sent no protocol version", c->path);
        return -1;
    }
    if (c->state == GREETING)
        c->state = READY;
    event_cond_broadcast(&c->changed);
    return 0;
}

static struct auth_request *request_of(struct auth_client *c, const struct dovecot_auth_line *line)
{
    uint64_t id;

    if (slice_u64(dovecot_auth_word(line, 1), UINT32_MAX, &id))
        return NULL;
    list_each(it, &c->requests)
    {
        struct auth_request *r = list_entry(it, struct auth_request, node);
        if (r->id == id)
            return r;
    }
    return NULL;
}

static const char *value(struct auth_request *r, const struct dovecot_auth_line *line, const char *name)
{
    struct slice v;

    return dovecot_auth_value(line, 2, name, &v) ? arena_strndup(r->arena, v.p, v.len) : NULL;
}

static void keep_fields(struct auth_request *r, const struct dovecot_auth_line *line)
{
    size_t n = 0;

    r->fields = arena_alloc(r->arena, (line->count + 1) * sizeof *r->fields);
    for (size_t i = 2; i < line->count; i++)
        r->fields[n++] = arena_strndup(r->arena, line->word[i].p, line->word[i].len);
}

static int on_ok(struct auth_client *c, const struct dovecot_auth_line *line)
{
    struct auth_request *r = request_of(c, line);
    const char *user, *final;

    if (r == NULL)
        return 0; /* cancelled in the meantime */
    user = value(r, line, "user");
    if (user == NULL || *user == 0) {
        r->reason = "missing Dovecot server OK username field";
        answer(r, AUTH_RETRY);
        return 0;
    }
    r->user = user;
    final = value(r, line, "resp");
    r->challenge = final ? final : "";
    keep_fields(r, line);
    answer(r, AUTH_OK);
    return 0;
}

static int on_fail(struct auth_client *c, const struct dovecot_auth_line *line)
{
    struct auth_request *r = request_of(c, line);
    const char *user, *reason, *code;
    struct slice flag;

    if (r == NULL)
        return 0;
    user = value(r, line, "user");
    reason = value(r, line, "reason");
    code = value(r, line, "code");
    if (user != NULL)
        r->user = user;
    r->reason = reason ? reason : "";
    r->code = code ? code : "";
    keep_fields(r, line);
    /* "temp" is the older spelling of code=temp_fail. */
    answer(r,
           dovecot_auth_value(line, 2, "temp", &flag) || strcmp(r->code, "temp_fail") == 0 ? AUTH_RETRY : AUTH_FAIL);
    return 0;
}

static int on_cont(struct auth_client *c, const struct dovecot_auth_line *line)
{
    struct auth_request *r = request_of(c, line);
    struct slice text = dovecot_auth_word(line, 2);

    if (r == NULL)
        return 0;
    r->challenge = arena_strndup(r->arena, text.p, text.len);
    r->binding_type = slice_eq(text, DOVECOT_AUTH_ASIDE) ? value(r, line, DOVECOT_AUTH_BINDING) : NULL;
    r->answer = AUTH_CONTINUE;
    r->answered = true;
    event_cond_broadcast(&r->cond);
    return 0;
}

static const struct {
    const char *command;
    enum state state; /* allowed from here on */
    int (*run)(struct auth_client *, const struct dovecot_auth_line *);
} commands[] = {
    { DOVECOT_AUTH_VERSION, GREETING, on_version },
    { DOVECOT_AUTH_MECH, GREETING, on_mech },
    { DOVECOT_AUTH_COOKIE, GREETING, on_cookie },
    { DOVECOT_AUTH_SPID, GREETING, on_spid },
    { DOVECOT_AUTH_CUID, GREETING, on_cuid },
    { DOVECOT_AUTH_DONE, GREETING, on_done },
    { DOVECOT_AUTH_OK, READY, on_ok },
    { DOVECOT_AUTH_FAIL, READY, on_fail },
    { DOVECOT_AUTH_CONT, READY, on_cont },
};

/* Unknown commands are passed over: what later versions add. */
static int on_line(struct auth_client *c, char *text, size_t len)
{
    struct dovecot_auth_line line;

    if (dovecot_auth_split(text, len, &line)) {
        log_warn("SASL: malformed line of %s", c->path);
        return -1;
    }
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        if (slice_eq(line.word[0], commands[i].command) && c->state >= commands[i].state)
            return commands[i].run(c, &line);
    return 0;
}

static int on_bytes(struct auth_client *c, struct str *in)
{
    ptrdiff_t lf;

    while ((lf = slice_find(str_slice(in), '\n')) >= 0) {
        if (on_line(c, in->p, (size_t) lf))
            return -1;
        str_drop(in, (size_t) lf + 1);
    }
    if (in->len > DOVECOT_AUTH_LINE_BYTES) {
        log_warn("SASL: too long a line of %s", c->path);
        return -1;
    }
    return 0;
}

static void read_all(void *arg)
{
    struct auth_client *c = arg;
    char buf[READ_BYTES];
    struct str in;
    ssize_t n;

    str_init(&in, DOVECOT_AUTH_LINE_BYTES + READ_BYTES);
    do {
        n = read(c->fd, buf, sizeof buf);
        if (n == 0 || (n < 0 && errno != EINTR && errno != EAGAIN))
            break;
        if (n > 0) {
            str_add(&in, buf, (size_t) n);
            if (on_bytes(c, &in))
                break;
        }
        /* What fills no buffer was all there is: a next read would be in vain. */
    } while (n == (ssize_t) sizeof buf || event_wait_fd(c->fd, EVENT_READ, EVENT_NEVER) >= 0);
    str_free(&in);
    lost(c);
}

static int send_all(struct auth_client *c, struct slice text, int64_t deadline)
{
    int failed = 0, fd = c->fd;

    if (event_sem_get(&c->writing, deadline))
        return -1;
    while (text.len && !failed) {
        ssize_t n = c->fd == fd && fd >= 0 ? write(fd, text.p, text.len) : -1;

        if (n >= 0)
            text = slice_sub(text, (size_t) n, text.len);
        else if (c->fd != fd || (errno != EAGAIN && errno != EINTR) ||
                 (errno == EAGAIN && event_wait_fd(fd, EVENT_WRITE, deadline) < 0))
            failed = -1;
    }
    event_sem_put(&c->writing);
    return failed;
}

static int greet(struct auth_client *c, int64_t deadline)
{
    struct str hello;
    int failed;

    str_init(&hello, STR_UNLIMITED);
    dovecot_auth_begin(&hello, DOVECOT_AUTH_VERSION);
    dovecot_auth_put_num(&hello, DOVECOT_AUTH_MAJOR);
    dovecot_auth_put_num(&hello, DOVECOT_AUTH_CLIENT_MINOR);
    dovecot_auth_end(&hello);
    dovecot_auth_begin(&hello, DOVECOT_AUTH_CPID);
    dovecot_auth_put_num(&hello, (uint64_t) getpid());
    dovecot_auth_end(&hello);
    failed = send_all(c, str_slice(&hello), deadline);
    str_free(&hello);
    return failed;
}

static void start(struct auth_client *c, int64_t deadline)
{
    c->state = CONNECTING;
    c->version_seen = false;
    c->mech_count = 0;
    c->cookie[0] = 0;
    c->service_pid = c->connection = 0;
    if (c->reader != NULL) { /* of the connection before; it has ended */
        fiber_join(c->reader, EVENT_NEVER);
        c->reader = NULL;
    }
    c->fd = ipc_connect(c->path, deadline);
    if (c->fd < 0) {
        log_warn("SASL: Connect to Dovecot auth socket '%s' failed: %s", c->path, strerror(errno));
        lost(c);
        return;
    }
    file_set_nonblock(c->fd, true);
    file_set_cloexec(c->fd, true);
    c->state = GREETING;
    c->connected_ms = time_mono_ms();
    c->reader = fiber_new("auth client", read_all, c);
    if (greet(c, deadline) && c->reader != NULL)
        fiber_cancel(c->reader);
}

/* Connected and greeted, or -1. */
static int ready(struct auth_client *c, int64_t deadline)
{
    unsigned failures = c->failures;
    int64_t patience = time_mono_ms() + GREETING_MS;

    if (deadline < patience)
        patience = deadline;
    while (c->state != READY) {
        if (c->failures != failures)
            return -1;
        if (c->state == CLOSED) {
            start(c, patience);
            continue;
        }
        if (event_cond_wait(&c->changed, patience)) {
            if (c->state == GREETING && errno == ETIMEDOUT && c->reader != NULL) {
                log_warn("SASL: no greeting from %s", c->path);
                fiber_cancel(c->reader);
            }
            return -1;
        }
    }
    return 0;
}

int auth_mechs(struct auth_client *c, int64_t deadline, const struct auth_mech **mechs, size_t *count)
{
    if (ready(c, deadline))
        return -1;
    *mechs = c->mechs;
    *count = c->mech_count;
    rest(c);
    return 0;
}

int auth_challenge_begin(const struct auth_client *c, char out[AUTH_CHALLENGE_BYTES])
{
    if (c->state != READY || c->service_pid == 0 || c->connection == 0)
        return -1;
    snprintf(out, AUTH_CHALLENGE_BYTES, "<%" PRIx64 ".%" PRIx64 ".", c->service_pid, c->connection);
    return 0;
}

static void put_text(struct str *out, const char *name, const char *text)
{
    if (text != NULL && *text)
        dovecot_auth_put_value(out, name, slice_of(text));
}

static void put_port(struct str *out, const char *name, unsigned port)
{
    char text[16];

    if (port == 0)
        return;
    snprintf(text, sizeof text, "%u", port);
    dovecot_auth_put_value(out, name, slice_of(text));
}

static void put_peer(struct str *out, const struct auth_peer *peer)
{
    dovecot_auth_put_value(out, "service", slice_of(peer->service));
    if (peer->nologin)
        dovecot_auth_put(out, SLICE("nologin"));
    if (peer->claim_ahead > 0) {
        char pid[24];
        snprintf(pid, sizeof pid, "%" PRId64, peer->claim_ahead);
        dovecot_auth_put_value(out, DOVECOT_AUTH_CLAIM_AHEAD, slice_of(pid));
    }
    put_text(out, "lip", peer->local_ip);
    put_text(out, "rip", peer->remote_ip);
    put_port(out, "lport", peer->local_port);
    put_port(out, "rport", peer->remote_port);
    put_text(out, "session", peer->session);
    put_text(out, "local_name", peer->sni);
    if (peer->tls)
        dovecot_auth_put_value(out, "secured", SLICE("tls"));
    else if (peer->secured)
        dovecot_auth_put(out, SLICE("secured"));
    if (peer->valid_client_cert)
        dovecot_auth_put(out, SLICE("valid-client-cert"));
    put_text(out, "cert_username", peer->cert_username);
    put_text(out, DOVECOT_AUTH_REALM, peer->realm);
    put_text(out, DOVECOT_AUTH_APPLICATION, peer->application);
    if (peer->binding)
        dovecot_auth_put(out, SLICE(DOVECOT_AUTH_BINDING));
}

static enum auth_answer send_and_wait(struct auth_request *r, struct slice text, int64_t deadline)
{
    r->answered = false;
    r->reason = r->code = r->challenge = "";
    r->binding_type = NULL;
    if (send_all(r->client, text, deadline)) {
        if (r->client->reader != NULL)
            fiber_cancel(r->client->reader); /* half a line may be on the wire: this connection is of no use */
        r->reason = "Connection lost to authentication server";
        return r->answer = AUTH_RETRY;
    }
    while (!r->answered) {
        if (event_cond_wait(&r->cond, deadline)) {
            r->reason = "Authentication server did not answer in time";
            return r->answer = AUTH_RETRY;
        }
    }
    return r->answer;
}

/* The service asks us, not the peer. Data that cannot be had are empty: nothing is equal to them. */
static enum auth_answer tell_binding(struct auth_request *r, int64_t deadline)
{
    struct str text, data, coded;

    str_init(&data, AUTH_BINDING_BYTES);
    str_init(&coded, 2 * AUTH_BINDING_BYTES);
    str_init(&text, STR_UNLIMITED);
    if (r->binding == NULL || r->binding(r->binding_ctx, r->binding_type, &data) != 0 || str_over(&data))
        str_reset(&data);
    base64_encode(&coded, str_slice(&data));
    dovecot_auth_begin(&text, DOVECOT_AUTH_CONT);
    dovecot_auth_put_num(&text, r->id);
    dovecot_auth_put(&text, SLICE(DOVECOT_AUTH_ASIDE));
    dovecot_auth_put_value(&text, DOVECOT_AUTH_BINDING, str_slice(&coded));
    dovecot_auth_end(&text);
    send_and_wait(r, str_slice(&text), deadline);
    str_free(&data);
    str_free(&coded);
    str_free(&text);
    return r->answer;
}

static enum auth_answer ask(struct auth_request *r, struct slice text, int64_t deadline)
{
    send_and_wait(r, text, deadline);
    while (r->answer == AUTH_CONTINUE && r->binding_type)
        tell_binding(r, deadline);
    return r->answer;
}

enum auth_answer auth_start(struct auth_client *c, const char *mech, const struct auth_peer *peer,
                            struct slice initial, int64_t deadline, struct auth_request **out)
{
    struct auth_request *r = mem_new(sizeof *r);
    struct str text;

    *out = r;
    r->client = c;
    r->arena = arena_new();
    list_init(&r->node);
    c->open++;
    r->challenge = r->user = r->reason = r->code = r->cookie = "";
    r->answer = AUTH_RETRY;
    r->binding = peer->binding;
    r->binding_ctx = peer->binding_ctx;
    if (c->open > AUTH_REQUESTS_MAX || ready(c, deadline)) {
        r->reason = "Can't connect to authentication server";
        return AUTH_RETRY;
    }
    r->id = ++c->last_id ? c->last_id : ++c->last_id; /* never 0 */
    r->cookie = arena_strdup(r->arena, c->cookie);
    list_append(&c->requests, &r->node);
    str_init(&text, STR_UNLIMITED);
    dovecot_auth_begin(&text, DOVECOT_AUTH_AUTH);
    dovecot_auth_put_num(&text, r->id);
    dovecot_auth_put(&text, slice_of(mech));
    put_peer(&text, peer);
    if (initial.p != NULL)
        dovecot_auth_put_value(&text, "resp", initial); /* must be the last */
    dovecot_auth_end(&text);
    ask(r, str_slice(&text), deadline);
    mem_wipe(text.p, text.len);
    str_free(&text);
    return r->answer;
}

enum auth_answer auth_continue(struct auth_request *r, struct slice response, int64_t deadline)
{
    struct str text;

    if (r->answer != AUTH_CONTINUE || list_empty(&r->node)) {
        r->reason = "Connection lost to authentication server";
        return r->answer = AUTH_RETRY;
    }
    str_init(&text, STR_UNLIMITED);
    dovecot_auth_begin(&text, DOVECOT_AUTH_CONT);
    dovecot_auth_put_num(&text, r->id);
    dovecot_auth_put(&text, response);
    dovecot_auth_end(&text);
    ask(r, str_slice(&text), deadline);
    mem_wipe(text.p, text.len);
    str_free(&text);
    return r->answer;
}

void auth_request_free(struct auth_request **rp)
{
    struct auth_request *r = *rp;

    if (r == NULL)
        return;
    if (!list_empty(&r->node)) {
        struct str text;

        list_del(&r->node);
        str_init(&text, STR_UNLIMITED);
        dovecot_auth_begin(&text, DOVECOT_AUTH_CANCEL);
        dovecot_auth_put_num(&text, r->id);
        dovecot_auth_end(&text);
        if (send_all(r->client, str_slice(&text), time_mono_ms() + GREETING_MS) && r->client->reader != NULL)
            fiber_cancel(r->client->reader);
        str_free(&text);
    }
    r->client->open--;
    rest(r->client);
    arena_free(&r->arena);
    free(r);
    *rp = NULL;
}

const char *auth_challenge(const struct auth_request *r) { return r->challenge; }
const char *auth_user(const struct auth_request *r) { return r->user; }
const char *auth_reason(const struct auth_request *r) { return r->reason; }
const char *auth_code(const struct auth_request *r) { return r->code; }
uint32_t auth_request_id(const struct auth_request *r) { return r->id; }
const char *auth_request_cookie(const struct auth_request *r) { return r->cookie; }

uint32_t auth_request_client_pid(const struct auth_request *r)
{
    (void) r;
    return (uint32_t) getpid();
}

const char *auth_field(const struct auth_request *r, const char *name)
{
    size_t len = strlen(name);

    for (char **f = r->fields; f != NULL && *f != NULL; f++)
        if (strncmp(*f, name, len) == 0 && ((*f)[len] == '=' || (*f)[len] == 0))
            return (*f)[len] == '=' ? *f + len + 1 : *f + len;
    return NULL;
}
