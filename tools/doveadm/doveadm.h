/*
 * doveadm - what the commands of doveadm share
 *
 * Callers     the files of tools/doveadm
 * Errors      exit codes are Dovecot's: 0 done, 64 usage, 75 the command failed
 */
#ifndef TOOLS_DOVEADM_H
#define TOOLS_DOVEADM_H
#include "base/str.h"
#include <sysexits.h>

enum { DOVEADM_FATAL = EX_TEMPFAIL };

struct doveadm_command {
    const char *name, *usage;          /* usage: lines behind the name, each ends in LF */
    int (*run)(int argc, char **argv); /* argv[0] is the command's name; answers the exit code */
};
extern const struct doveadm_command doveadm_auth, doveadm_pw, doveadm_user;
/* One line from standard input, not shown when it is a terminal; -1 at its end. Wipe it. */
int doveadm_ask(const char *prompt, struct str *out);
#endif
