/*
 * keepers - the processes that hold the sleeping sessions: dispatcher itself holds no descriptor of a sleeper
 *
 * Callers     procs.c
 * Invariants  a session is in one keeper; `end` is called once for each that was taken, in a fiber of its own
 *             the keeper that was begun first is filled first, so that the last ones empty and end; one that holds
 *             nobody for KEEPERS_IDLE_MS is let go
 * Errors      a keeper that dies takes its clients' connections with it: they are told as ended
 */
#ifndef DISPATCHER_KEEPERS_H
#define DISPATCHER_KEEPERS_H
#include "client/dispatcher.h"

enum { KEEPERS_IDLE_MS = 60000 };
/* fd: the client again, now the callee's; -1: it was told BYE, or lost. */
typedef void (*keepers_end_fn)(void *arg, int fd);
/* 0: taken (`end` may have been called already); the caller closes its own descriptors. -1: no keeper can take it. */
int keepers_hold(int client_fd, const struct dispatcher_sleep *, keepers_end_fn end, void *arg);
void keepers_stop(void); /* the mail system stops: each client is told */
#endif
