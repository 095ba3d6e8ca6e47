/*
 * socket - how libmariadb connects, reads, writes and waits: through the loop
 *
 * libmariadb does its input and output through a table of functions (ma_pvio.h, its interface for I/O plug-ins). Ours
 * waits in the fiber that made the call, so that its plain calls may be used in fibers. Its own way not to block, the
 * _start and _cont calls, blocks in the TLS handshake and in getaddrinfo (3.3), and wants a second stack for each
 * connection.
 *
 * Callers     connection.c only
 * Invariants  a MYSQL is part of a struct sql_socket; its address is found already: nothing is asked of DNS here, and
 *             the name given to mysql_real_connect is what the server's certificate is compared with
 *             after one wait that failed (deadline, cancellation, sql_socket_abort) every other fails at once
 */
#ifndef TABLE_SQL_SOCKET_H
#define TABLE_SQL_SOCKET_H
#include "table/sql/connection.h"

#include <mysql.h>

enum { SQL_GATHERED = 16384 };

struct sql_socket {
    MYSQL mysql;
    const struct sql_address *to; /* while connecting */
    int fd;                       /* -1: none */
    bool asked;                   /* written since the last read */
    bool gathers;                 /* what is written waits for sql_socket_send */
    char *gathered;               /* SQL_GATHERED bytes */
    size_t gathered_bytes;
    bool broken; /* a wait failed */
    bool late;   /* because of the deadline */
    int64_t deadline;
    const struct sql_watch *watch; /* NULL: nobody wants to know of waits */
    int64_t watch_at;
};
int sql_socket_install(MYSQL *, struct err *); /* once, before the first connection; -1: an unknown libmariadb */
void sql_socket_abort(struct sql_socket *);
/* What is written between the two leaves in one piece, up to SQL_GATHERED bytes of it. Under TLS each write is a piece. */
void sql_socket_gather(struct sql_socket *);
void sql_socket_send(struct sql_socket *);
void sql_socket_free(struct sql_socket *);
#endif
