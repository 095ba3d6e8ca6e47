/*
 * dispatcher_serve - the process of one user: a fiber for each client that dispatcher sends
 *
 * Callers     imapd, pop3d: their `spawned` entry
 * Invariants  returns when dispatcher has closed the control channel and the last session has ended; sessions at hand
 *             outlive a dispatcher that restarts. When dispatcher says that the mail system stops, and on SIGTERM,
 *             sessions are cancelled: they say so to their clients
 *             a process whose directory was removed ends with its next session: a new one sees what stands there now
 * Ownership   the session function owns session->fd when it sets it to -1; all else stays the caller's
 */
#ifndef CLIENT_DISPATCHER_SERVE_H
#define CLIENT_DISPATCHER_SERVE_H
#include "client/dispatcher.h"

/* root: the Maildir as this process sees it. */
typedef void (*dispatcher_session_fn)(struct dispatcher_link *, struct dispatcher_session *, const char *root);
void dispatcher_serve(int control_fd, const char *directory, dispatcher_session_fn);
#endif
