/*
 * authd - questions to authd's master and userdb sockets, over kept connections
 *
 * Callers     see authd.h
 * Invariants  an idle connection has no open question; one that failed in any way is closed, never kept
 * Errors      everything but a clear answer is LOOKUP_RETRY
 */
#include "client/authd.h"
#include "client/authd_ahead.h"
#include "base/log.h"
#include "conf/param.h"
#include "conf/var.h"
#include "event/event.h"
#include "io/stream.h"
#include "ipc/client.h"
#include "proto/sasl/dovecot_auth.h"
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

enum { GREETING_LINES = 16, IDLE_KEPT = 8, PLACE_BYTES = 4096 };

struct authd_client {
    char *service;
    uint32_t last_id;
    struct stream *idle[IDLE_KEPT];
    size_t idle_count;
    struct event_sem permits;
    struct authd_ahead *ahead; /* NULL before the first claim */
    bool opening;              /* a connection for it */
};

struct authd_client *authd_client_new(const char *service)
{
    struct authd_client *c = mem_new(sizeof *c);

    c->service = mem_strdup(service);
    c->permits.permits = AUTHD_CONNECTIONS;
    return c;
}

static void close_idle(struct authd_client *c)
{
    while (c->idle_count > 0)
        stream_free(&c->idle[--c->idle_count]);
}

void authd_client_free(struct authd_client **client)
{
    struct authd_client *c = *client;

    if (c == NULL)
        return;
    close_idle(c);
    authd_ahead_free(&c->ahead);
    free(c->service);
    free(c);
    *client = NULL;
}

/* One line, split; *text owns its bytes. */
static int read_line(struct stream *l, struct str *text, struct dovecot_auth_line *out)
{
    enum stream_eol eol;

    str_reset(text);
    if (stream_line(l, text, DOVECOT_AUTH_LINE_BYTES, &eol) != 0)
        return -1;
    if (eol == STREAM_EOF || dovecot_auth_split(text->p, text->len, out) != 0) {
        errno = EPROTO;
        return -1;
    }
    return 0;
}

static int greet(struct stream *l, struct str *text)
{
    struct dovecot_auth_line line;

    stream_printf(l, "%s\t%d\t%d\n", DOVECOT_AUTH_VERSION, DOVECOT_AUTH_MAJOR, DOVECOT_AUTH_MASTER_MINOR);
    for (int n = 0; n < GREETING_LINES; n++) {
        if (read_line(l, text, &line) != 0)
            return -1;
        if (slice_eq(line.word[0], DOVECOT_AUTH_SPID))
            return 0;
        if (slice_eq(line.word[0], DOVECOT_AUTH_VERSION) && !slice_eq(dovecot_auth_word(&line, 1), "1"))
            break;
        /* A client socket says MECH: the wrong one was named. */
        if (slice_eq(line.word[0], DOVECOT_AUTH_MECH))
            break;
    }
    errno = EPROTO;
    return -1;
}

static struct stream *open_link(struct authd_client *c, struct str *text, int64_t deadline)
{
    int fd = ipc_connect(c->service, deadline);
    struct stream *l;

    if (fd < 0)
        return NULL;
    l = stream_new(fd);
    stream_deadline(l, deadline);
    if (greet(l, text) == 0)
        return l;
    int saved = errno;
    stream_free(&l);
    errno = saved ? saved : ECONNRESET;
    return NULL;
}

/* Sends the question, reads the line that answers it. */
static int ask(struct stream *l, struct slice question, uint32_t id, int64_t deadline, struct str *text,
               struct dovecot_auth_line *reply)
{
    uint64_t got;

    stream_deadline(l, deadline);
    stream_write(l, question.p, question.len);
    if (read_line(l, text, reply) != 0)
        return -1;
    if (slice_u64(dovecot_auth_word(reply, 1), UINT32_MAX, &got) == 0 && got == id)
        return 0;
    errno = EPROTO;
    return -1;
}

/* A kept connection may lead to a process that is being replaced: *kept_out tells that one answered. */
static int call(struct authd_client *c, struct slice question, uint32_t id, int64_t deadline, struct str *text,
                struct dovecot_auth_line *reply, bool *kept_out)
{
    int rc = -1;

    if (event_sem_get(&c->permits, deadline) != 0)
        return -1;
    for (bool kept = true; rc != 0 && kept;) {
        struct stream *l;

        kept = c->idle_count > 0;
        l = kept ? c->idle[--c->idle_count] : open_link(c, text, deadline);
        if (l == NULL)
            break;
        *kept_out = kept;
        rc = ask(l, question, id, deadline, text, reply);
        if (rc == 0 && c->idle_count < IDLE_KEPT && stream_buffered(l) == 0) {
            c->idle[c->idle_count++] = l;
            continue;
        }
        int saved = errno;
        stream_free(&l); /* one that was kept may have been closed meanwhile: ask again over a fresh one */
        errno = saved;
        if (rc != 0 && (saved == ETIMEDOUT || saved == ECANCELED))
            break;
    }
    event_sem_put(&c->permits);
    return rc;
}

static const char *copy(struct arena *a, struct slice s) { return arena_strndup(a, s.p, s.len); }

struct place {
    const struct authd_user *user;
    const char *protocol, *uid, *gid;
};

static const char *variable(void *ctx, struct slice name)
{
    const struct place *p = ctx;
    const struct {
        const char *name, *value;
    } known[] = { { "user", p->user->user },
                  { "home", p->user->home },
                  { "service", p->protocol },
                  { "uid", p->uid },
                  { "gid", p->gid } };

    for (size_t n = 0; n < sizeof known / sizeof *known; n++)
        if (slice_eq(name, known[n].name))
            return known[n].value;
    return NULL;
}

/* mail_home, mail_location or the userdb's "mail", with the user's variables. */
static const char *expanded(const struct authd_user *u, const char *protocol, const char *text, struct arena *a,
                            struct err *err)
{
    struct place p = { .user = u, .protocol = protocol, .uid = "", .gid = "" };
    const char *result = NULL;
    struct str out;

    if (strchr(u->user, '/') || strcmp(u->user, "..") == 0) {
        err_set(err, 0, NULL, "user %.200s: the name cannot be part of a path", u->user);
        return NULL;
    }
    if (u->has_uid)
        p.uid = arena_printf(a, "%u", (unsigned) u->uid);
    if (u->has_gid)
        p.gid = arena_printf(a, "%u", (unsigned) u->gid);
    str_init(&out, PLACE_BYTES);
    if (var_expand(text, &(struct var_scope){ variable, NULL, &p }, &out, err) == 0)
        result = arena_strndup(a, out.p, out.len);
    str_free(&out);
    return result;
}

static void find_mail(struct authd_user *u, struct arena *a)
{
    struct mail_location *l = &u->location;
    struct err err;

    if (u->mail[0] == '\0') {
        l->root = u->home;
    } else if (mail_location_parse(u->mail, u->home, a, l, &err) < 0) {
        *l = (struct mail_location){ .root = "", .inbox = "", .control = "", .index = "" };
        u->problem = arena_strdup(a, err.text);
    }
    u->maildir = l->inbox[0] ? l->inbox : l->root;
}

/* What the userdb has not said. */
static int settle(struct authd_user *u, const char *protocol, struct arena *a, struct err *err)
{
    const char *mail = u->mail[0] ? u->mail : conf_mail_location;

    if (u->home[0] == '\0' && conf_mail_home && conf_mail_home[0]) {
        const char *home = expanded(u, protocol, conf_mail_home, a, err);
        if (home == NULL)
            return -1;
        size_t len = strlen(home);
        while (len > 1 && home[len - 1] == '/')
            len--;
        u->home = arena_strndup(a, home, len);
    }
    if (mail && mail[0] && (u->mail = expanded(u, protocol, mail, a, err)) == NULL)
        return -1;
    find_mail(u, a);
    return 0;
}

static int set_id(struct slice value, bool *has, uint32_t *out)
{
    uint64_t n;

    if (slice_u64(value, UINT32_MAX - 1, &n) != 0)
        return -1;
    *out = (uint32_t) n;
    *has = true;
    return 0;
}

int authd_user_parse(const struct dovecot_auth_line *line, size_t from, const char *protocol, struct arena *a,
                     struct authd_user *out, struct err *err)
{
    *out = (struct authd_user){ .user = "", .home = "", .mail = "", .maildir = "", .problem = "" };
    out->location = (struct mail_location){ .root = "", .inbox = "", .control = "", .index = "" };
    (void) err_set(err, 0, NULL, "a reply that cannot be read");
    if (line->count <= from || line->word[from].len == 0)
        return -1;
    out->user = copy(a, line->word[from]);
    for (size_t n = from + 1; n < line->count; n++) {
        struct slice word = line->word[n], value = SLICE("");
        ptrdiff_t eq = slice_find(word, '=');

        if (eq >= 0) {
            value = slice_sub(word, (size_t) eq + 1, word.len);
            word.len = (size_t) eq;
        }
        if (slice_eq(word, "uid")) {
            if (set_id(value, &out->has_uid, &out->uid) != 0)
                return -1;
        } else if (slice_eq(word, "gid")) {
            if (set_id(value, &out->has_gid, &out->gid) != 0)
                return -1;
        } else if (slice_eq(word, "home")) {
            while (value.len > 1 && value.p[value.len - 1] == '/')
                value.len--;
            out->home = copy(a, value);
        } else if (slice_eq(word, "mail")) {
            out->mail = copy(a, value);
        } else if (out->extras < AUTHD_EXTRA_MAX) {
            out->extra[out->extras++] = (struct authd_extra){ copy(a, word), copy(a, value) };
        }
    }
    return settle(out, protocol, a, err);
}

const char *authd_user_extra(const struct authd_user *u, const char *name)
{
    for (size_t n = 0; n < u->extras; n++)
        if (strcmp(u->extra[n].name, name) == 0)
            return u->extra[n].value;
    return NULL;
}

static enum lookup answer(const struct dovecot_auth_line *reply, const char *protocol, struct arena *a,
                          struct authd_user *out, struct err *err)
{
    struct err why;
    struct slice reason = SLICE("authentication service has a fault");

    if (slice_eq(reply->word[0], DOVECOT_AUTH_NOTFOUND))
        return LOOKUP_NONE;
    if (slice_eq(reply->word[0], DOVECOT_AUTH_USER)) {
        if (authd_user_parse(reply, 2, protocol, a, out, &why) == 0)
            return LOOKUP_FOUND;
        log_warn("userdb: %s", why.text);
        err_set(err, 451, "4.3.0", "authentication service: a reply that cannot be used");
        return LOOKUP_RETRY;
    }
    if (slice_eq(reply->word[0], DOVECOT_AUTH_FAIL))
        dovecot_auth_value(reply, 2, "reason", &reason);
    err_set(err, 451, "4.3.0", "%.*s", (int) (reason.len > 200 ? 200 : reason.len), reason.p);
    return LOOKUP_RETRY;
}

static enum lookup lookup(struct authd_client *c, struct str *question, uint32_t id, const char *protocol,
                          struct arena *a, struct authd_user *out, int64_t deadline, struct err *err)
{
    struct dovecot_auth_line reply;
    enum lookup found = LOOKUP_RETRY;
    bool kept = false;
    struct str text;
    int rc;

    str_init(&text, DOVECOT_AUTH_LINE_BYTES);
    dovecot_auth_end(question);
    rc = call(c, str_slice(question), id, deadline, &text, &reply, &kept);
    if (rc == 0 && kept && slice_eq(reply.word[0], DOVECOT_AUTH_FAIL)) {
        close_idle(c);
        rc = call(c, str_slice(question), id, deadline, &text, &reply, &kept);
    }
    if (rc != 0)
        err_set(err, 451, "4.3.0", "%s: %s", c->service, errno ? strerror(errno) : "connection closed");
    else
        found = answer(&reply, protocol, a, out, err);
    str_free(&text);
    str_free(question);
    return found;
}

static uint32_t next_id(struct authd_client *c)
{
    if (++c->last_id == 0)
        c->last_id = 1;
    return c->last_id;
}

enum lookup authd_client_user(struct authd_client *c, const char *protocol, struct slice user, struct arena *a,
                              struct authd_user *out, int64_t deadline, struct err *err)
{
    uint32_t id = next_id(c);
    struct str q;

    str_init(&q, DOVECOT_AUTH_LINE_BYTES);
    dovecot_auth_begin(&q, DOVECOT_AUTH_USER);
    dovecot_auth_put_num(&q, id);
    dovecot_auth_put(&q, user);
    dovecot_auth_put_value(&q, "service", slice_of(protocol));
    if (str_over(&q)) { /* longer than any user's name */
        str_free(&q);
        return LOOKUP_NONE;
    }
    return lookup(c, &q, id, protocol, a, out, deadline, err);
}

/* From now on claims come before they are asked for, where that works. */
static void open_ahead(struct authd_client *c, int64_t deadline)
{
    struct dovecot_auth_line reply;
    uint32_t id = next_id(c);
    struct str text, q;
    struct stream *l;

    c->opening = true;
    str_init(&text, DOVECOT_AUTH_LINE_BYTES);
    str_init(&q, DOVECOT_AUTH_LINE_BYTES);
    dovecot_auth_begin(&q, DOVECOT_AUTH_CLAIMS);
    dovecot_auth_put_num(&q, id);
    dovecot_auth_put_num(&q, (uint64_t) getpid());
    dovecot_auth_end(&q);
    l = open_link(c, &text, deadline);
    if (l && ask(l, str_slice(&q), id, deadline, &text, &reply) == 0 && slice_eq(reply.word[0], DOVECOT_AUTH_OK))
        authd_ahead_begin(c->ahead, l);
    else
        stream_free(&l);
    str_free(&q);
    str_free(&text);
    c->opening = false;
}

static bool told_ahead(struct authd_client *c, const char *protocol, uint32_t client_pid, uint32_t request,
                       const char *cookie, struct arena *a, struct authd_user *out)
{
    struct dovecot_auth_line line;
    struct str text;
    struct err err;
    bool good;

    str_init(&text, DOVECOT_AUTH_LINE_BYTES);
    good = authd_ahead_take(c->ahead, client_pid, request, cookie, &text, &line) &&
           authd_user_parse(&line, AUTHD_AHEAD_USER, protocol, a, out, &err) == 0;
    str_free(&text);
    return good;
}

enum lookup authd_client_request(struct authd_client *c, const char *protocol, uint32_t client_pid, uint32_t request,
                                 const char *cookie, struct arena *a, struct authd_user *out, int64_t deadline,
                                 struct err *err)
{
    enum lookup found;
    struct str q;

    if (c->ahead == NULL)
        c->ahead = authd_ahead_new();
    if (told_ahead(c, protocol, client_pid, request, cookie, a, out))
        return LOOKUP_FOUND;
    uint32_t id = next_id(c);
    str_init(&q, DOVECOT_AUTH_LINE_BYTES);
    dovecot_auth_begin(&q, DOVECOT_AUTH_REQUEST);
    dovecot_auth_put_num(&q, id);
    dovecot_auth_put_num(&q, client_pid);
    dovecot_auth_put_num(&q, request);
    dovecot_auth_put(&q, slice_of(cookie));
    dovecot_auth_put(&q, SLICE(DOVECOT_AUTH_CLAIM_AHEAD));
    found = lookup(c, &q, id, protocol, a, out, deadline, err);
    if (found == LOOKUP_FOUND && authd_user_extra(out, DOVECOT_AUTH_CLAIM_AHEAD) && !c->opening &&
        !authd_ahead_open(c->ahead))
        open_ahead(c, deadline);
    return found;
}

/* Dovecot's words: administrators look for them. */
static bool in_range(const char *user, const char *what, const char *kind, int64_t id, int64_t first, int64_t last)
{
    if (id >= first && (last == 0 || id <= last))
        return true;
    log_error("user %s: Mail access for users with %s %lld not permitted (see %s_valid_%s in main.cf, %s from userdb "
              "lookup)",
              user, what, (long long) id, id < first ? "first" : "last", kind, kind);
    return false;
}

bool authd_ids_permitted(const char *user, int64_t uid, int64_t gid)
{
    return in_range(user, "UID", "uid", uid, conf_first_valid_uid, conf_last_valid_uid) &&
           in_range(user, "GID", "gid", gid, conf_first_valid_gid, conf_last_valid_gid);
}
