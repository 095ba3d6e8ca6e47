/*
 * authd - questions to authd's master and userdb sockets, over kept connections
 *
 * Callers     see authd.h
 * Invariants  an idle connection has no open question; one that failed in any way is closed, never kept
 * Errors      everything but a clear answer is LOOKUP_RETRY
 */
#include "client/authd.h"
#include "base/log.h"
#include "event/event.h"
#include "io/stream.h"
#include "ipc/client.h"
#include "proto/sasl/dovecot_auth.h"
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

enum { GREETING_LINES = 16, IDLE_KEPT = 8 };

struct authd_client {
    char *service;
    uint32_t last_id;
    struct stream *idle[IDLE_KEPT];
    size_t idle_count;
    struct event_sem permits;
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

/* Dovecot's mail_location, as far as Maildir goes: "maildir:PATH[:OPTION..]", "~" is the home. */
static const char *maildir_of(const struct authd_user *u, struct arena *a)
{
    struct slice path = slice_of(u->mail);
    const char *text;
    size_t len;

    if (path.len == 0)
        return u->home;
    if (!slice_casestarts(path, "maildir:"))
        return "";
    path = slice_sub(path, strlen("maildir:"), path.len);
    ptrdiff_t end = slice_find(path, ':');
    if (end >= 0)
        path.len = (size_t) end;
    if (path.len > 0 && path.p[0] == '~')
        text = arena_printf(a, "%s%.*s", u->home, (int) (path.len - 1), path.p + 1);
    else
        text = copy(a, path);
    for (len = strlen(text); len > 1 && text[len - 1] == '/';)
        len--;
    return text[0] == '/' ? arena_strndup(a, text, len) : "";
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

int authd_user_parse(const struct dovecot_auth_line *line, size_t from, struct arena *a, struct authd_user *out)
{
    *out = (struct authd_user){ .user = "", .home = "", .mail = "", .maildir = "" };
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
    out->maildir = maildir_of(out, a);
    return 0;
}

const char *authd_user_extra(const struct authd_user *u, const char *name)
{
    for (size_t n = 0; n < u->extras; n++)
        if (strcmp(u->extra[n].name, name) == 0)
            return u->extra[n].value;
    return NULL;
}

static enum lookup answer(const struct dovecot_auth_line *reply, struct arena *a, struct authd_user *out,
                          struct err *err)
{
    struct slice reason = SLICE("authentication service has a fault");

    if (slice_eq(reply->word[0], DOVECOT_AUTH_NOTFOUND))
        return LOOKUP_NONE;
    if (slice_eq(reply->word[0], DOVECOT_AUTH_USER)) {
        if (authd_user_parse(reply, 2, a, out) == 0)
            return LOOKUP_FOUND;
        err_set(err, 451, "4.3.0", "authentication service: a reply that cannot be read");
        return LOOKUP_RETRY;
    }
    if (slice_eq(reply->word[0], DOVECOT_AUTH_FAIL))
        dovecot_auth_value(reply, 2, "reason", &reason);
    err_set(err, 451, "4.3.0", "%.*s", (int) (reason.len > 200 ? 200 : reason.len), reason.p);
    return LOOKUP_RETRY;
}

static enum lookup lookup(struct authd_client *c, struct str *question, uint32_t id, struct arena *a,
                          struct authd_user *out, int64_t deadline, struct err *err)
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
        found = answer(&reply, a, out, err);
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
    return lookup(c, &q, id, a, out, deadline, err);
}

enum lookup authd_client_request(struct authd_client *c, uint32_t client_pid, uint32_t request, const char *cookie,
                                 struct arena *a, struct authd_user *out, int64_t deadline, struct err *err)
{
    uint32_t id = next_id(c);
    struct str q;

    str_init(&q, DOVECOT_AUTH_LINE_BYTES);
    dovecot_auth_begin(&q, DOVECOT_AUTH_REQUEST);
    dovecot_auth_put_num(&q, id);
    dovecot_auth_put_num(&q, client_pid);
    dovecot_auth_put_num(&q, request);
    dovecot_auth_put(&q, slice_of(cookie));
    return lookup(c, &q, id, a, out, deadline, err);
}
