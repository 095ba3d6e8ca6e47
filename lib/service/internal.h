/*
 * internal - what the files of lib/service share; nobody else includes it
 *
 * service.c: command line, order of the start. serve.c: listeners, sessions, draining. request.c: frames on a
 * connection. channel.c: the daemon's end of the status channel. sink.c: where log lines go. jail*.c: the jail.
 * watch.c: files read before the jail.
 * spawner.c: processes for users.
 */
#ifndef SERVICE_INTERNAL_H
#define SERVICE_INTERNAL_H
#include "base/list.h"
#include "service/jail.h"
#include "service/service.h"

enum { SERVICE_LISTENERS_MAX = 64 };
enum service_kind { KIND_INET, KIND_UNIX, KIND_FIFO, KIND_PASS, KIND_DGRAM, KIND_SPAWNER, KIND_STDIO };

struct service_state { /* the process */
    const struct service *svc;
    const char *name, *type; /* -n, -t */
    enum service_kind kind;
    int listeners[SERVICE_LISTENERS_MAX];
    int listener_count;
    int64_t quota;    /* 0: unlimited */
    int64_t max_idle; /* seconds */
    int64_t max_use;
    bool alone;
    char **argv;
};
extern struct service_state service_state;

/* channel.c */
bool channel_present(void);      /* CHANNEL_FD is master's socket */
void channel_start(void);        /* in a fiber: reads orders from now on */
void channel_say(struct msg **); /* queued; sent in order */

/* serve.c */
void serve(void *unused); /* the first fiber */
enum serve_end { SERVE_RELOAD, SERVE_STOP };
void serve_drain(enum serve_end); /* what RELOAD and STOP of master do, and SIGTERM, idleness, use */
void serve_wakeup(void);
void serve_quota(int64_t sessions);
void serve_idle_from(int64_t ms); /* a service of requests: it had work until then (time_mono_ms) */
bool serve_stale(void);
bool serve_draining(void);
bool serve_stopped(void);
int serve_listen(const char *endpoint); /* --listen */

/* request.c: one connection that speaks frames, to its end */
void request_serve(struct stream *);
void request_bye(void);        /* tells every open connection that this process would like to end */
void request_close_idle(void); /* closes those that stay silent all the same */
/* Connections without a request, and without a state of their own, since then (time_mono_ms). */
int64_t request_idle(int64_t since_ms);
void request_cancel(void); /* the requests that run side by side */

/* sink.c */
void sink_open(const char *program);
void sink_retag(const char *program); /* after a fork: the tag holds the pid */

/* watch.c */
bool watch_any(void);
bool watch_changed(void); /* logged once */

/* spawner.c */
int spawner_main(void);
#endif
