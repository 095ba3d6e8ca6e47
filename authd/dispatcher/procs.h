/*
 * procs - the users' processes that dispatcher knows, and the sessions each has, awake or asleep
 *
 * Callers     dispatcher.c
 * Invariants  one process a key; several hand-overs of one user wait for the one spawn; a process without sessions
 *             that are awake is let go after mail_process_idle_time by closing its control channel, at once while
 *             this process ends, and sooner where more than mail_idle_process_limit wait
 *             a session that sleeps counts as one of its user
 *             a session is its process's when that has said so; one that ends before, by a signal or by itself, or
 *             that stands still, leaves the client to another process: three are tried
 */
#ifndef DISPATCHER_PROCS_H
#define DISPATCHER_PROCS_H
#include "client/dispatcher.h"
#include "conf/param.h"
#include "service/service.h"

struct proc_order {
    const char *key; /* protocol and user */
    const char *program, *directory;
    const char *place[SERVICE_PLACES], *hint; /* see struct service_spawn; "" or NULL: none */
    uid_t uid;
    gid_t gid;
    size_t from_one_address; /* sessions that one address may have; 0: no limit */
    int64_t deadline;        /* time_mono_ms: a process that has not taken the session by then must not take it */
};
extern const struct param procs_params[];

/* Gives the session's descriptor (a duplicate) to the user's process, spawning it first where needed. 0: the process
 * has taken it. -1 after logging, but for EUSERS (the address has as many sessions as it may): no process has it or
 * will take it, and nobody has spoken to the client. */
int procs_send(const struct proc_order *, const struct dispatcher_session *, pid_t *pid);
bool procs_drained(void); /* asked while stopping: lets idle processes go; true when none is left */
#endif
