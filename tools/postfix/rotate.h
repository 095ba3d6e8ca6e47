/*
 * rotate - "postfix logrotate": maillog_file gets a name with the time, a fresh one is begun, the old one is packed
 *
 * Callers     tools/postfix/postfix.c
 * Errors      -1 after logging; the log goes on under its old name when it could not be renamed
 */
#ifndef TOOLS_POSTFIX_ROTATE_H
#define TOOLS_POSTFIX_ROTATE_H
#include "conf/param.h"

extern const struct param rotate_params[];
int postfix_logrotate(void (*reload)(void)); /* reload: makes postlogd begin the new file; nothing when nobody runs */
#endif
