/*
 * master - the master and userdb side of the Dovecot auth protocol: USER, PASS, LIST, REQUEST
 *
 * Callers     dispatcher (private/auth-master), lmtpd and virtual (private/auth-userdb), a real Dovecot's lmtp,
 *             doveadm
 * Invariants  one question at a time on a connection; REQUEST only on the master socket: it names a user by a login
 * Errors      a table that cannot be asked is FAIL, never NOTFOUND
 * Source      Dovecot's auth-protocol.txt, master protocol 1.1
 */
#include "authd.h"
#include "base/log.h"
#include "cache.h"
#include "passdb.h"
#include "proto/sasl/dovecot_auth.h"
#include "userdb.h"
#include "base/time.h"
#include <errno.h>
#include <inttypes.h>
#include <sys/socket.h>
#include <unistd.h>

enum { LIST_BYTES = 256 << 20 };
static struct stream *told; /* the master that is told of logins before it asks; NULL: none */
static uint64_t told_pid;
struct question {
    struct stream *stream;
    const struct dovecot_auth_line *line;
    uint32_t id;
    struct arena *arena;
    struct str *reply;
    bool master;
    uid_t only; /* whom the client may ask about, AUTHD_ANY_UID: everybody */
};

static void begin(struct question *q, const char *word)
{
    dovecot_auth_begin(q->reply, word);
    dovecot_auth_put_num(q->reply, q->id);
}

static void fail(struct question *q, const char *reason)
{
    begin(q, DOVECOT_AUTH_FAIL);
    if (reason)
        dovecot_auth_put_value(q->reply, "reason", slice_of(reason));
    dovecot_auth_end(q->reply);
}

static void not_found(struct question *q)
{
    begin(q, DOVECOT_AUTH_NOTFOUND);
    dovecot_auth_end(q->reply);
}

/* How the user has logged in. */
static void add_login(struct authd_request *r)
{
    const char *auth_user = r->master_user ? r->master_user : r->original_user;

    if (r->master_user)
        authd_fields_add(&r->userdb, r->arena, "master_user", r->master_user);
    authd_fields_add(&r->userdb, r->arena, "auth_mech", r->mech);
    if (authd_fields_has(&r->fields, "anonymous"))
        authd_fields_add(&r->userdb, r->arena, "anonymous", NULL);
    if (strcmp(auth_user, r->user) != 0)
        authd_fields_add(&r->userdb, r->arena, "auth_user", auth_user);
}

static bool may_know(const struct question *q, const struct authd_request *r)
{
    const char *uid = authd_fields_get(&r->userdb, "uid");
    uint64_t n;

    if (q->only == AUTHD_ANY_UID || (uid && slice_u64(slice_of(uid), UINT32_MAX, &n) == 0 && n == q->only))
        return true;
    log_warn(
        "client doesn't have lookup permissions for this user: userdb uid (%s) doesn't match peer uid (%u) (another "
        "mode than 0666 of the socket, in unix_listeners, lets it ask)",
        uid ? uid : "not known", (unsigned) q->only);
    return false;
}

static void user(struct question *q, struct authd_request *r, bool login)
{
    struct err err;

    switch (authd_userdb(r, &err)) {
    case LOOKUP_FOUND:
        if (!may_know(q, r)) {
            fail(q, NULL);
            break;
        }
        if (login)
            add_login(r);
        begin(q, DOVECOT_AUTH_USER);
        dovecot_auth_put(q->reply, slice_of(r->user));
        authd_fields_write(&r->userdb, q->reply);
        dovecot_auth_end(q->reply);
        break;
    case LOOKUP_NONE: not_found(q); break;
    case LOOKUP_RETRY:
        authd_request_warn(r, "%s", err.text);
        fail(q, r->tempfail ? authd_fields_get(&r->userdb, "reason") : NULL);
        break;
    }
}

/* The request of USER and PASS; NULL after the answer that the name deserves, *rc then says what to return. */
static struct authd_request *named(struct question *q, int *rc)
{
    const struct authd_peer peer = authd_peer_parse(q->line, 3, q->arena);
    struct authd_request *r = authd_request_new(q->arena, &peer, "");
    struct err err;

    *rc = peer.service[0] ? 0 : -1; /* as Dovecot: it ends the connection */
    if (*rc != 0)
        return NULL;
    if (authd_request_name(r, dovecot_auth_word(q->line, 2), &err) == 0)
        return r;
    authd_request_info(r, "%s", err.text);
    not_found(q);
    return NULL;
}

static int on_user(struct question *q)
{
    int rc;
    struct authd_request *r = named(q, &rc);

    if (r && r->login_user) /* "user*master" is a way to log in, and no user */
        not_found(q);
    else if (r)
        user(q, r, false);
    return rc;
}

static int on_pass(struct question *q)
{
    int rc;
    struct authd_request *r = named(q, &rc);
    struct err err;

    if (r == NULL)
        return rc;
    if (q->only != AUTHD_ANY_UID) {
        log_warn("a client of uid %u may not do a PASS lookup", (unsigned) q->only);
        fail(q, NULL);
        return 0;
    }
    switch (authd_passdb_lookup(r, &err)) {
    case LOOKUP_FOUND:
        begin(q, DOVECOT_AUTH_PASS);
        dovecot_auth_put_value(q->reply, "user", slice_of(r->user));
        authd_fields_write(&r->fields, q->reply);
        dovecot_auth_end(q->reply);
        break;
    case LOOKUP_NONE: not_found(q); break;
    case LOOKUP_RETRY:
        authd_request_warn(r, "%s", err.text);
        fail(q, NULL);
        break;
    }
    return 0;
}

static void list_one(void *ctx, struct slice name)
{
    struct question *q = ctx;

    begin(q, DOVECOT_AUTH_LIST);
    dovecot_auth_put(q->reply, name);
    dovecot_auth_end(q->reply);
}

static int on_list(struct question *q)
{
    int rc = -1;

    if (q->only != AUTHD_ANY_UID)
        log_warn("a client of uid %u may not list users", (unsigned) q->only);
    else
        rc = authd_userdb_each(list_one, q);

    begin(q, DOVECOT_AUTH_DONE);
    if (rc != 0)
        dovecot_auth_put(q->reply, SLICE("fail"));
    dovecot_auth_end(q->reply);
    return 0;
}

static int on_request(struct question *q)
{
    struct slice cookie = dovecot_auth_word(q->line, 4);
    struct authd_request *r;
    uint64_t pid, id;

    if (!q->master)
        return -1;
    if (slice_u64(dovecot_auth_word(q->line, 2), UINT32_MAX, &pid) != 0 ||
        slice_u64(dovecot_auth_word(q->line, 3), UINT32_MAX, &id) != 0 ||
        cookie.len != 2 * AUTHD_COOKIE_RANDOM_BYTES || memchr(cookie.p, '\0', cookie.len))
        return -1;
    r = authd_claim_take(arena_strndup(q->arena, cookie.p, cookie.len), (uint32_t) id, (uint32_t) pid);
    if (r == NULL) {
        log_warn("master asked for login %" PRIu64 " of process %" PRIu64 ", which nobody has made", id, pid);
        fail(q, NULL);
        return 0;
    }
    for (size_t n = 5; n < q->line->count; n++)
        if (slice_eq(q->line->word[n], DOVECOT_AUTH_CLAIM_AHEAD))
            authd_fields_add(&r->userdb, r->arena, DOVECOT_AUTH_CLAIM_AHEAD, NULL);
    user(q, r, true);
    struct arena *a = r->arena;
    arena_free(&a);
    return 0;
}

/* Its answer leaves before the first claim. */
static int on_claims(struct question *q)
{
    uint64_t pid;

    if (!q->master || q->only != AUTHD_ANY_UID || slice_u64(dovecot_auth_word(q->line, 2), INT32_MAX, &pid) != 0 ||
        pid == 0)
        return -1;
    begin(q, DOVECOT_AUTH_OK);
    dovecot_auth_end(q->reply);
    stream_write(q->stream, q->reply->p, q->reply->len);
    str_reset(q->reply);
    if (stream_flush(q->stream) == 0) {
        told = q->stream;
        told_pid = pid;
    }
    return 0;
}

/* A line is sent whole, or not at all: who is told reads only what it needs. */
static bool tell(struct slice line)
{
    ssize_t n = send(stream_fd(told), line.p, line.len, MSG_DONTWAIT | MSG_NOSIGNAL);

    if (n == (ssize_t) line.len)
        return true;
    if (n > 0 || (n < 0 && errno != EAGAIN)) {
        shutdown(stream_fd(told), SHUT_RDWR);
        told = NULL;
    }
    return false;
}

bool authd_master_tell(uint64_t master, const char *cookie, uint32_t id, uint32_t client_pid,
                       const struct authd_request *from)
{
    struct arena *a;
    struct authd_request *r;
    struct str line;
    struct err err;
    bool done = false;

    if (told == NULL || master != told_pid)
        return false;
    a = arena_new();
    r = authd_request_copy(from, a);
    str_init(&line, DOVECOT_AUTH_LINE_BYTES);
    if (authd_userdb(r, &err) == LOOKUP_FOUND && told && master == told_pid) {
        add_login(r);
        dovecot_auth_begin(&line, DOVECOT_AUTH_CLAIM);
        dovecot_auth_put_num(&line, (uint64_t) time_mono_ms() + AUTHD_REQUEST_SECONDS * 1000);
        dovecot_auth_put_num(&line, client_pid);
        dovecot_auth_put_num(&line, id);
        dovecot_auth_put(&line, slice_of(cookie));
        dovecot_auth_put(&line, slice_of(r->user));
        authd_fields_write(&r->userdb, &line);
        dovecot_auth_end(&line);
        done = !str_over(&line) && tell(str_slice(&line));
    }
    str_free(&line);
    arena_free(&a);
    return done;
}

/* CACHE-FLUSH id [users]: without users all of it. */
static int on_cache_flush(struct question *q)
{
    size_t went = 0;
    struct err err;

    if (!q->master || q->only != AUTHD_ANY_UID)
        return -1;
    if (q->line->count == 2)
        went = cache_flush(NULL);
    for (size_t n = 2; n < q->line->count; n++) {
        struct authd_request *r = authd_request_new(q->arena, &(struct authd_peer){ 0 }, "");
        if (authd_request_name(r, q->line->word[n], &err) == 0)
            went += cache_flush(r->user);
    }
    begin(q, DOVECOT_AUTH_OK);
    dovecot_auth_put_num(q->reply, went);
    dovecot_auth_end(q->reply);
    return 0;
}

static int handle(struct question *q)
{
    static const struct {
        const char *name;
        int (*run)(struct question *);
    } commands[] = { { DOVECOT_AUTH_USER, on_user },     { DOVECOT_AUTH_PASS, on_pass },
                     { DOVECOT_AUTH_LIST, on_list },     { DOVECOT_AUTH_REQUEST, on_request },
                     { DOVECOT_AUTH_CLAIMS, on_claims }, { DOVECOT_AUTH_CACHE_FLUSH, on_cache_flush } };
    uint64_t id;

    if (slice_u64(dovecot_auth_word(q->line, 1), UINT32_MAX, &id) != 0)
        return -1;
    q->id = (uint32_t) id;
    for (size_t n = 0; n < sizeof commands / sizeof *commands; n++)
        if (slice_eq(q->line->word[0], commands[n].name))
            return commands[n].run(q);
    return slice_eq(q->line->word[0], DOVECOT_AUTH_CPID) ? 0 : -1;
}

void authd_master_serve(struct stream *stream, bool master, uid_t only)
{
    struct str text, reply;
    struct dovecot_auth_line line;
    enum stream_eol eol;
    bool first = true;

    struct authd_conn known = { .fd = stream_fd(stream) };
    authd_conn_add(&known);
    str_init(&text, DOVECOT_AUTH_LINE_BYTES);
    str_init(&reply, LIST_BYTES); /* LIST may name every user */
    stream_printf(stream, "%s\t%d\t%d\n%s\t%ld\n", DOVECOT_AUTH_VERSION, DOVECOT_AUTH_MAJOR,
                  DOVECOT_AUTH_MASTER_MINOR, DOVECOT_AUTH_SPID, (long) getpid());
    for (;;) {
        str_reset(&text);
        if (stream_line(stream, &text, DOVECOT_AUTH_LINE_BYTES, &eol) != 0 || eol == STREAM_EOF)
            break;
        if (dovecot_auth_split(text.p, text.len, &line) != 0)
            break;
        if (first != slice_eq(line.word[0], DOVECOT_AUTH_VERSION) ||
            (first && !slice_eq(dovecot_auth_word(&line, 1), "1")))
            break;
        if (!first) {
            struct question q = {
                .stream = stream, .line = &line, .arena = arena_new(), .reply = &reply, .master = master, .only = only
            };
            str_reset(&reply);
            int rc = handle(&q);
            stream_write(stream, reply.p, reply.len);
            arena_free(&q.arena);
            if (rc != 0) {
                log_warn("a master broke the auth protocol: ended its connection");
                break;
            }
        }
        first = false;
    }
    if (told == stream)
        told = NULL;
    authd_conn_remove(&known);
    stream_flush(stream);
    str_free(&text);
    str_free(&reply);
}
