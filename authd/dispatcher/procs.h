/*
 * procs - the users' processes that dispatcher knows, and the sessions each has, awake or asleep
 *
 * Callers     dispatcher.c
 * Invariants  one process a key; several hand-overs of one user wait for the one spawn; a process without sessions
 *             that are awake is let go after mail_process_idle_time by closing its control channel
 *             a session that sleeps counts as one of its user
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
};
extern const struct param procs_params[];

/* Gives the session's descriptor (a duplicate) to the user's process, spawning it first where needed. 0; -1 after
 * logging, but for EUSERS: the address has as many sessions as it may. */
int procs_send(const struct proc_order *, const struct dispatcher_session *, pid_t *pid);
bool procs_drained(void); /* asked while stopping: lets idle processes go; true when none is left */
#endif
