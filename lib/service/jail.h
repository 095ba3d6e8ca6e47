/*
 * jail - gives up what a daemon does not need
 *
 * Callers     lib/service/service.c, lib/service/spawner.c, tests/system/jailprobe.c
 * Invariants  the order: Landlock rules are opened, chroot, groups, uid, no_new_privs, Landlock, seccomp; nothing is
 *             given up half: a step that fails ends the process
 *             without root: no chroot and no change of uid; Landlock and seccomp stay
 *             seccomp answers EPERM to what is not on the list of allowed calls, so that a library that tries
 *             something new sees an error; it kills for calls that only an intruder makes (jail_calls.c). Calls that
 *             take a path are refused unless MAY_OPEN, and then Landlock (and chroot) say where
 *             a kernel without Landlock, or with an older one, gets what it can: abi_max lowers it for tests
 * Privilege   root, or the user who runs the whole
 */
#ifndef SERVICE_JAIL_H
#define SERVICE_JAIL_H
#include "service/service.h"

/* Parameters of every daemon, and of master, about the jail. */
extern const struct param service_params[];
extern int64_t service_landlock_abi_max;
extern const char *service_mail_access_groups;

/* The jail of a daemon: the process is in the queue directory. Ends the process when it cannot be closed. */
void jail_close(const struct service *, int landlock_abi_max);
/* The jail of a spawned process: user->directory is a path of the outside; *directory tells what it is inside. */
void jail_close_user(const struct service *, const struct service_user *, int landlock_abi_max,
                     const char **directory);
/* A spawner: root with nothing but fork, and what jail_close_user needs. */
void jail_close_spawner(void);
/* "name", "$parameter", "123", "static:123" (as in virtual_uid_maps): who that is. Of several words the first counts
 * that says something about every mailbox: a parameter without a value, or which names another table, is passed over.
 * -1 after logging. */
int jail_user(const char *spec, uid_t *, gid_t *, char name[64]);
/* May a process of a user have these ids? NULL, or which parameter forbids it. */
const char *jail_ids_forbidden(int64_t uid, int64_t gid);
/* Looks mail_access_groups up, before the first use of them. -1 after logging. */
int jail_mail_groups(void);
/* The groups of a process that works as a mail user: gid, those of the account where it has a name, and
 * mail_access_groups. -1 with errno. */
int jail_set_mail_groups(const char *name, gid_t gid);
int jail_landlock_abi(void); /* 0: the kernel has none */

/* Pieces, for jail.c. */
int jail_landlock_prepare(const struct service *, int abi);           /* ruleset descriptor, -1 when abi is 0 */
int jail_landlock_prepare_user(const struct service_user *, int abi); /* its directory and places */
void jail_landlock_enforce(int ruleset);
void jail_calls(const struct service *);
/* A spawner, for its children: jail_calls is then quick in each. */
void jail_calls_prepare(const struct service *);
void jail_calls_spawner(void);
#endif
