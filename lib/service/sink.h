/*
 * sink - the pieces of log lines and of their sockets that daemons, master, postlogd and postlog share
 *
 * Callers     lib/service, master, master/postlogd, tools/postlog
 * Errors      -1: no such facility; no socket
 */
#ifndef SERVICE_SINK_H
#define SERVICE_SINK_H
#include <stdbool.h>
#include <stddef.h>

void sink_setup(void); /* host name and facility, after conf_load */
int sink_facility(const char *name);
int sink_connect(const char *path); /* a connected datagram socket */
int sink_find(bool *postlogd);      /* what main.cf says: public/postlog or /dev/log; -1 when neither listens */
/* One line, without a line end: for syslog "<PRI>DATE TAG: TEXT", else "DATE HOST TAG: TEXT". Its length. */
int sink_line(char *out, size_t size, bool syslog_form, int priority, const char *tag, const char *text);
#endif
