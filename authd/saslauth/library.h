/*
 * library - libsasl2's server side as the administrator has set it up: configuration files, verifiers, plug-ins
 *
 * Callers     authd/saslauth
 * Invariants  libsasl2 has one application in a process: the name of its configuration file
 *             a file that libsasl2 would open below / is taken from below the queue directory where it exists there:
 *             Debian's smtpd is chrooted, so saslauthd's socket and sasldb2 are often there
 * Errors      -1 after logging
 */
#ifndef AUTHD_SASLAUTH_LIBRARY_H
#define AUTHD_SASLAUTH_LIBRARY_H
#include "../mech.h"
#include "service/service.h"

extern struct service_path library_paths[];
extern const char *library_application; /* $smtpd_sasl_path */

int library_open(
    const char *config_path); /* before the jail: reads the files, loads the plug-ins, offers mechanisms */
bool library_stale(void);     /* a configuration file, or the place of sasldb2, has changed */

/* What libsasl2 says while it works for one exchange, in whatever thread. */
struct library_log {
    struct str lines; /* "level text\n" */
};
void library_log_init(struct library_log *);
void library_log_begin(struct library_log *); /* of this thread, until library_log_end */
void library_log_end(void);
void library_log_write(struct library_log *); /* to the log, in a fiber; empties it */

extern const struct mech_engine saslauth_engine;
#endif
