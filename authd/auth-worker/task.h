/*
 * task - what a child does: takes a request, runs the library, answers
 *
 * Callers     authd/auth-worker/pool.c, in the child
 * Invariants  one thread, blocking, no loop and no fibers; copies of passwords are wiped
 *             a request that is malformed ends the child
 */
#ifndef AUTH_WORKER_TASK_H
#define AUTH_WORKER_TASK_H
#include "client/auth_worker.h"
#include "ipc/msg.h"

void task_serve(int fd); /* until the other end closes */

/* Pure but for the library that each asks. The message is one of the answers of client/auth_worker.h; NULL: the request
 * is malformed. */
struct msg *pam_task(struct msg *in);
struct msg *password_task(struct msg *in);
struct msg *account_task(struct msg *in);
struct msg *uid_task(struct msg *in);
struct msg *gid_task(struct msg *in);
/* Sends by itself; -1: malformed, or nobody listens. */
int each_task(struct msg *in, int fd);
int task_send(int fd, struct msg **); /* waits for room */

/* "later" of a look-up; a verdict with its words, any NULL; the same where why is for the administrator. */
struct msg *task_later(const char *why);
struct msg *task_verdict(enum auth_worker_verdict, const char *user, const char *why, const char *said);
struct msg *task_fault(enum auth_worker_verdict, const char *user, const char *why, const char *said);
#endif
