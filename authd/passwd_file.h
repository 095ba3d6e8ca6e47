/*
 * passwd_file - text files of "user:rest" lines, in memory
 *
 * Callers     authd/passwd.c
 * Invariants  a file is read whole and read again when it has changed, looked at once a second at most
 *             a path without %variables is one file, opened before the jail; one with them names a file for each
 *             value, opened when it is first asked for: at most PASSWD_FILES_MAX at a time, PASSWD_FILES_BYTES in all,
 *             the one not asked for longest goes first
 * Errors      three answers; a file that cannot be read is LOOKUP_RETRY for everybody in it; one of many that does not
 *             exist has no users
 * Privilege   read again with authd's own rights: a single file that only root can read makes passwd_files_stale()
 *             true when it changes, and the process starts anew
 */
#ifndef AUTHD_PASSWD_FILE_H
#define AUTHD_PASSWD_FILE_H
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"

enum {
    PASSWD_FILE_BYTES = 256 << 20,
    PASSWD_USERS_MAX = 2000000, /* of one file */
    PASSWD_FILES_MAX = 1000,
    PASSWD_FILES_BYTES = 512 << 20,
};
struct passwd_file;
/* One file, shared by all who name it. Never NULL: a file that cannot be read now is said so in the log. */
struct passwd_file *passwd_file_open(const char *path);
/* One of many, by its expanded path. NULL: it cannot exist ("..", a name too long). Borrowed until the next call. */
struct passwd_file *passwd_file_of(const char *path);
/* What follows "user:"; borrowed until the file is asked again. */
enum lookup passwd_file_find(struct passwd_file *, const char *user, struct slice *rest, struct err *);
/* Each user in it; -1 with words when it cannot be read. */
int passwd_file_each(struct passwd_file *, void (*fn)(void *ctx, struct slice user), void *ctx, struct err *);
bool passwd_file_stale(struct passwd_file *);
void passwd_file_close_all(void);
#endif
