/*
 * master - what the files of master/ share
 *
 * A struct unit is a service of master.cf as it runs. services.c makes them; listen.c opens endpoints; process.c
 * starts, counts and reaps processes; introduce.c connects daemons with each other; spawn.c passes orders to
 * spawners; log.c takes what daemons write to standard error, and master's own lines. master.c has the options, the
 * lock, reload and stop.
 *
 * Invariants  one thread; everything runs in fibers; nothing waits for one daemon alone
 */
#ifndef MASTER_MASTER_H
#define MASTER_MASTER_H
#include "base/list.h"
#include "conf/mastercf.h"
#include "event/event.h"
#include "ipc/msg.h"
#include <sys/socket.h>
#include <sys/types.h>

enum { LISTENERS_MAX = 60, SOCKET_MODE = 0666 };

struct listener {
    int fd;
    struct sockaddr_storage addr; /* inet: what it is bound to */
    socklen_t addr_len;
    char *path; /* others: below the queue directory, or absolute */
    struct fiber *watcher;
};
struct unit {
    struct list node;
    char *name;
    enum mastercf_type type;
    bool private, builtin, spawner, chroot, unpriv;
    char *program; /* base name */
    char *path;    /* of the program */
    char **args;   /* behind the options that master gives; ends with NULL */
    int wakeup;    /* seconds; 0: never */
    bool wakeup_if_used;
    int max_proc;               /* MASTERCF_PROC_DEFAULT, 0 or a number */
    struct listener *listeners; /* at most LISTENERS_MAX; moves when one is added */
    size_t listener_count;

    struct list processes;
    bool used;    /* a process has run since master began */
    bool removed; /* master.cf no longer names it: its last processes are ending */
    bool known;   /* a process has said what follows */
    bool exclusive, solitary, overlaps;
    int64_t sessions_max;
    bool throttled, wakeup_due;
    int64_t held_until;  /* milliseconds: throttled until then */
    int64_t stress_time; /* seconds since 1970 of the last warning about the limit */
    struct event_cond changed;
    struct event_timer *wakeup_timer, *throttle_timer;
};
struct process {
    struct list node;
    struct unit *service; /* NULL after its end */
    pid_t pid;
    int channel;
    size_t refs;
    bool ready, taking, ending, ending_said, wakeup_pending;
    int64_t sessions, uses, quota, started_ms;
    struct event_sem sending;
};
extern struct list services;
extern bool master_stopping, master_foreground;
extern int64_t master_throttle_seconds;
extern const char *master_disabled, *master_imported;

/* services.c: reads master.cf and makes `services` what it says. -1 after logging; nothing has changed then. */
int services_load(bool first);
struct unit *service_find(const char *name, bool private_endpoint); /* by an endpoint's name */
struct unit *service_of_program(const char *program);               /* the first with that program */
void service_watch(struct unit *);                                  /* starts the fibers of its listeners */

/* listen.c: makes service->listeners what name and type say; keeps sockets that stay. -1 after logging. */
int listen_open(struct unit *, const struct unit *before);
void listen_close(struct listener *);

/* sockets.c: unix_listeners */
struct socket_rule {
    char *service, *path; /* absolute, or below the queue directory */
    mode_t mode;
    uid_t uid; /* (uid_t) -1, (gid_t) -1: mail_owner's */
    gid_t gid;
};
int sockets_read(const char *list); /* -1 after logging: the rules of before stay */
/* The next rule for that service from *at (0 at first), which is moved on; NULL: no more. */
const struct socket_rule *sockets_next(const char *service, size_t *at);

/* process.c */
struct process *process_start(struct unit *);
bool process_may_start(struct unit *);
bool process_none_takes(const struct unit *);
void process_wakeup(struct unit *);
void process_end_all(struct unit *, const char *order); /* CHANNEL_STOP or CHANNEL_RELOAD */
void process_reap(void);
size_t process_count(void);               /* of all services */
void process_kill_all(bool postlogd_too); /* names those that it kills */
size_t process_strays(int signo);         /* users' processes, whose spawners are gone; 0 only counts them */
bool process_alive(pid_t);                /* and no zombie */
int process_tell(struct process *, struct msg **, uint32_t id);
struct process *process_ref(struct process *);
void process_unref(struct process *);
void process_retired(struct unit *); /* its service was removed: freed with its last process */

/* introduce.c, spawn.c: questions of daemons; they answer themselves */
void introduce(struct process *, struct msg *);
/* May the program have a connection to that socket? 0: to *path (the caller frees it), as mail_owner when it is
 * *foreign. Else an errno, and *path is NULL. */
int introduce_judge(const char *program, const char *target, char **path, bool *foreign);
/* It cannot be started for longer than a moment, and somebody waits for each of its answers: its clients are better told
 * "later" at once. (Other services are waited for: mail that is under way need not be deferred.) */
bool introduce_refuses(const struct unit *);
void spawn_order(struct process *, struct msg *);
void spawn_answer(struct process *spawner, struct msg *);
void spawn_lost(struct process *spawner, struct unit *); /* it ended: orders under way go to the next */
void spawn_resume(struct unit *);                        /* it may be started again */
void spawn_ready(struct process *spawner);

/* log.c */
void log_open(void);
void log_flush(void); /* at the end: waits a moment */
bool log_at_start(void);
void log_started(void); /* from here on standard error is nobody's */
void log_capture_start(void);
int log_capture_fd(void); /* standard error of daemons */

/* env.c */
char **master_environment(void);
#endif
