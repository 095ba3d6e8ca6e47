/*
 * sleep - sessions that wait without a process: a descriptor, a few strings and one page of stack each
 *
 * Callers     procs.c
 * Invariants  wakes once: the client has said something or is gone, a directory has changed, the time is over, or
 *             dispatcher stops (then the client is told BYE here)
 *             nothing of what the client says is read
 *             where descriptors are short (three a session, RLIMIT_NOFILE), a session goes back to a process at once
 * Privilege   directories are watched by dnotify on descriptors that the user's process opened: dispatcher's own
 *             account may read none of them
 */
#ifndef DISPATCHER_SLEEP_H
#define DISPATCHER_SLEEP_H
#include "client/dispatcher.h"

int sleep_open(void); /* before the jail */
enum sleep_end { SLEEP_WAKE, SLEEP_STOP };
/* Waits in this fiber. Takes and closes how->dir_fd. */
enum sleep_end sleep_wait(struct dispatcher_session *, struct dispatcher_sleep *how);
#endif
