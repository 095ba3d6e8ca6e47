/*
 * tool - what the queue's commands share: configuration, complaints, exit codes
 *
 * Callers     sendmail, postdrop, postqueue, postsuper, postcat
 * Invariants  a set-gid command that a user runs takes no configuration directory but the default one and those of
 *             alternate_config_directories
 * Errors      tool_fatal says "NAME: fatal: text" and ends with a status of sysexits.h
 */
#ifndef TOOLS_TOOL_H
#define TOOLS_TOOL_H
#include "conf/param.h"
#include <stdbool.h>
#include <stddef.h>
#include <sysexits.h>

/* First of all. */
void tool_start(const char *argv0);
const char *tool_name(void);
/* Reads main.cf. config_dir: of -c, or NULL. privileged: set-gid. Ends the process when it cannot be used. */
void tool_config(const char *config_dir, bool set_gid);
void tool_log_too(void);     /* to the mail log besides standard error; after tool_config */
void tool_enter_queue(void); /* chdir to queue_directory */
_Noreturn void tool_fatal(int status, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
_Noreturn void tool_print_params(void); /* --params: what postconf and the manual read */
void tool_help(const char *usage);      /* --help: prints and ends with 0 */
/* Is the real user in the list that this parameter holds? A list that cannot be read ends the process. */
bool tool_user_may(const char *parameter);
const char *tool_user(void); /* name of the real user, or its number */
/* Bytes to a trigger socket below the queue directory; -1: nobody listens. */
int tool_trigger(const char *service, const char *bytes);

#endif
