/* dispatcher_serve - see dispatcher_serve.h */
#include "client/dispatcher_serve.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/time.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

enum { STOP_GRACE_MS = 1000 }; /* for the commands under way; less than login leaves the TLS clients it relays */

struct serve {
    struct dispatcher_link *link;
    const char *directory;
    dispatcher_session_fn run;
    size_t sessions;
    struct event_cond ended;
};
struct one {
    struct serve *serve;
    struct dispatcher_session *session;
};

/* "/" + "/Maildir", "/home/u" + "/": one slash between, none at the end. */
static char *join(const char *directory, const char *maildir)
{
    struct slice d = slice_of(directory), m = slice_of(maildir);

    while (d.len && d.p[d.len - 1] == '/')
        d.len--;
    while (m.len && m.p[0] == '/')
        m = slice_sub(m, 1, m.len);
    while (m.len && m.p[m.len - 1] == '/')
        m.len--;
    if (m.len == 0)
        return d.len ? mem_strndup(d.p, d.len) : mem_strdup("/");
    return mem_printf("%.*s/%.*s", (int) d.len, d.p, (int) m.len, m.p);
}

/* Removed, perhaps made again since: what we stand in is not what its name leads to. */
static bool is_gone(const char *directory)
{
    struct stat st;

    return stat(directory, &st) == 0 && st.st_nlink == 0;
}

static void session(void *arg)
{
    struct one *one = arg;
    struct serve *s = one->serve;
    char *root = join(s->directory, one->session->maildir ? one->session->maildir : "/");

    if (dispatcher_link_taken(s->link, one->session->id) == 0) {
        s->run(s->link, one->session, root);
        if (!one->session->slept)
            dispatcher_link_ended(s->link, one->session->id);
    } else {
        log_info("session <%s>: not taken: dispatcher does not wait for it any more", one->session->id);
    }
    dispatcher_session_free(&one->session);
    free(root);
    free(one);
    if (is_gone(s->directory)) {
        log_warn("the user's directory was removed: the next login gets another process");
        exit(0);
    }
    event_solo(--s->sessions <= 1);
    event_cond_broadcast(&s->ended);
}

void dispatcher_serve(int control_fd, const char *directory, dispatcher_session_fn run)
{
    struct serve s = { .link = dispatcher_link_new(control_fd), .directory = directory, .run = run };
    struct dispatcher_session *next;

    while (dispatcher_link_next(s.link, &next, EVENT_NEVER) == 0) {
        struct one *one = mem_new(sizeof *one);

        one->serve = &s;
        one->session = next;
        event_solo(++s.sessions <= 1);
        fiber_go("session", session, one);
    }
    bool stop = errno == ESHUTDOWN;
    int64_t until = stop ? time_mono_ms() + STOP_GRACE_MS : EVENT_NEVER;
    if (errno != 0 && errno != ECANCELED && errno != ECONNRESET && !stop) /* reset: it died with frames unread */
        log_warn("dispatcher: the control channel failed: %s", strerror(errno));
    fiber_shield(true); /* the sessions are cancelled too, and use what stands on this stack */
    while (s.sessions && time_mono_ms() < until)
        event_cond_wait(&s.ended, until);
    if (stop)
        event_stop();
    while (s.sessions)
        event_cond_wait(&s.ended, EVENT_NEVER);
    fiber_shield(false);
    dispatcher_link_free(&s.link);
}
