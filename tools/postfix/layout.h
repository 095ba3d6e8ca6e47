/*
 * layout - which directories and set-gid programs an instance has, and whose they are
 *
 * Callers     check.c, permissions.c
 * Invariants  modes are those of Debian's postfix package
 */
#ifndef TOOLS_POSTFIX_LAYOUT_H
#define TOOLS_POSTFIX_LAYOUT_H
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum { LAYOUT_SETGID_MODE = 02755 };
struct layout_directory {
    const char *name; /* below queue_directory */
    mode_t mode;
    bool mail;   /* mail_owner's, else root's */
    bool submit; /* of group setgid_group */
    bool files;  /* what lies in it is mail_owner's too */
};
extern const struct layout_directory layout_directories[];
extern const size_t layout_directory_count;
extern const char *const layout_setgid_programs[]; /* in command_directory; ends with NULL */

struct layout_accounts {
    uid_t mail_uid;
    gid_t mail_gid, submit_gid;
};
/* mail_owner and setgid_group; for an ordinary user, himself. -1 after logging. */
int layout_accounts(struct layout_accounts *out);
#endif
