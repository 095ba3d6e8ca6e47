/*
 * sleep - sessions that wait without a process: a descriptor, a few strings and one page of stack each
 *
 * Callers     keeper.c
 * Invariants  wakes once: the client has said something or is gone, a directory has changed, the time is over, or
 *             its fiber is cancelled (then the client is told BYE here)
 *             nothing of what the client says is read
 * Privilege   directories are watched by dnotify on descriptors that the user's process opened: the keeper's own
 *             account may read none of them
 */
#ifndef KEEPER_SLEEP_H
#define KEEPER_SLEEP_H
#include "client/dispatcher.h"

int sleep_open(void); /* before the jail */
enum sleep_end { SLEEP_WAKE, SLEEP_STOP };
/* Waits in this fiber. Takes and closes how->dir_fd. */
enum sleep_end sleep_wait(int client_fd, struct dispatcher_sleep *how);
#endif
