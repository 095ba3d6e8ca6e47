/*
 * pool - child processes that run what may block, one request at a time each
 *
 * Callers     authd/auth-worker/auth-worker.c
 * Invariants  at most auth_worker_max_count children a pool, made as they are needed; the pools do not wait for each
 *             other. A child that is late is killed with all that it has started; one that dies is another's problem
 *             only when it held that one's request
 *             a child holds no descriptor but the one that leads here
 *             one user has at most a quarter of the children, so that whoever hangs a module is not in everybody's way
 * Errors      -1 with words: no child was free in time, it did not answer in time, or it died
 * Privilege   children of POOL_PAM stay root; those of POOL_ACCOUNTS become mail_owner
 */
#ifndef AUTH_WORKER_POOL_H
#define AUTH_WORKER_POOL_H
#include "base/err.h"
#include "conf/param.h"
#include "ipc/msg.h"

extern const struct param pool_params[];
enum pool { POOL_PAM, POOL_ACCOUNTS, POOLS };
struct child;

int pool_start(void);        /* before the loop; -1 after logging */
int64_t pool_deadline(void); /* auth_worker_timeout from now */
/* A child of that pool, which nobody else has until it is given back. user: whom the request is about, "" for nobody.
 * Waits. NULL with words. */
struct child *pool_take(enum pool, const char *user, int64_t deadline, struct err *);
int pool_send(struct child *, struct msg *, struct err *);
int pool_receive(struct child *, int64_t deadline, struct msg **, struct err *); /* one answer */
/* uses: requests that a child may answer before it ends; 0: this was its last. A child that has failed ends. */
void pool_give_back(struct child *, int64_t uses);
void pool_end(void);
#endif
