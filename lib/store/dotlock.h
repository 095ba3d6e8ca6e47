/*
 * dotlock - Dovecot's lock of a file: FILE.lock beside it
 *
 * Callers     store/uidlist.c, store/keywords.c, store/subscribe.c
 * Invariants  the lock is ours when the file could be made (O_EXCL); a lock not touched for DOTLOCK_STALE_SECONDS is
 *             taken away, one of ours whose maker has died at once; a wait lasts at most DOTLOCK_WAIT_SECONDS
 * Errors      -1 with errno; EAGAIN: somebody else kept it
 */
#ifndef STORE_DOTLOCK_H
#define STORE_DOTLOCK_H
#include <stdbool.h>

enum { DOTLOCK_STALE_SECONDS = 120, DOTLOCK_WAIT_SECONDS = 122, DOTLOCK_PAUSE_MS = 5 }; /* between two tries */
int dotlock_take(int dir_fd, const char *lock_name);                  /* a descriptor for dotlock_release */
bool dotlock_held(int lock_fd);                                       /* nobody has taken it away since */
void dotlock_release(int dir_fd, const char *lock_name, int lock_fd); /* another's lock of that name stays */
#endif
