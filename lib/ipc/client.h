/*
 * client - a kept connection to another daemon, reconnecting, many requests at a time
 *
 * Callers     lib/client/X.c: each wraps one of these and knows the names in X's messages
 * Invariants  connections come from ipc_connector: under master it asks master on the status channel ("introduced",
 *             so a jailed daemon needs no connect()); a command-line tool connects to the path itself
 *             the first frame each way is a greeting with protocol name and version; a mismatch is logged and is a
 *             failure
 *             a request is sent again once over a fresh connection only when it was not yet on the wire, or when
 *             `again_ok`
 *             a server that says MSG_BYE gets no new request; the connection closes when the last answer is in
 * Errors      NULL with errno: the service could not be asked: the caller's answer is "later", never "no"
 */
#ifndef IPC_CLIENT_H
#define IPC_CLIENT_H
#include "ipc/msg.h"

struct ipc_client;
/* service: "private/rewrite", "public/cleanup" (relative to the queue directory), or a path a parameter names.
 * protocol: of the greeting. */
struct ipc_client *ipc_client_new(const char *service, const char *protocol, int version);
void ipc_client_free(struct ipc_client **);
/* Frees *request. The reply is the caller's. Requests of several fibers share the connection; replies are matched by
 * id. */
struct msg *ipc_call(struct ipc_client *, struct msg **request, bool again_ok, int64_t deadline);

/* Says something that nobody answers: 0 when it was sent, which is not yet heard. */
int ipc_tell(struct ipc_client *, struct msg **, int64_t deadline);

/* For conversations of their own (one message into cleanup, one delivery): a private connection, greeting done. */
struct stream *ipc_open(const char *service, const char *protocol, int version, int64_t deadline);
int ipc_greet_server(struct stream *, const char *protocol, int version);
/* A kept private connection may be used for the next conversation: the server has neither closed it nor said bye. */
bool ipc_reusable(struct stream *);

/* How a connection is made: set once by lib/service; default connects a unix socket below the queue directory.
 * Answers an fd or -1. */
typedef int (*ipc_connector)(const char *service, int64_t deadline);
void ipc_set_connector(ipc_connector);
int ipc_connect(const char *service,
                int64_t deadline);              /* a raw connected descriptor, no greeting: foreign protocols */
void ipc_set_queue_directory(const char *path); /* for the default connector */
#endif
