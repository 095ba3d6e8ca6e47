/*
 * host - one database server of several: where it is, and whether it is worth a try
 *
 * Callers     pool.c only
 * Invariants  a server that failed is set aside, longer each time up to retry_interval; one answer brings it back
 *             its name is asked of the resolver by one fiber at a time, and an old answer serves while DNS is dead
 * Units       milliseconds of time_mono_ms()
 */
#ifndef TABLE_SQL_HOST_H
#define TABLE_SQL_HOST_H
#include "event/event.h"
#include "table/sql/connection.h"

#include <netinet/in.h>

struct sql_host {
    char *spec;   /* as it is written, for the log */
    char *name;   /* host name, numeric address, or path of a unix socket; path NULL: libmariadb's own */
    bool local;   /* a unix socket */
    bool literal; /* name is an address */
    unsigned port;
    int64_t aside_until; /* 0: sound */
    unsigned failures;   /* in a row */
    int64_t full_until;  /* it takes no further connection */
    int64_t answered;    /* the last sign of life */
    int64_t looked;      /* the last time that a slow answer made us look whether it lives */
    size_t members;      /* connections to it */
    size_t opening;      /* attempts to connect that are under way */
    struct sql_said said[SQL_KINDS];
    char *addresses;             /* numeric, blanks between; NULL: never known */
    char good[INET6_ADDRSTRLEN]; /* the one that answered last */
    int64_t addresses_until;
    struct fiber *resolving;
    struct event_cond resolved;
    char why[ERR_TEXT_BYTES]; /* the name has no address */
};
/* Reads `hosts`; empty is "localhost". The array lives as long as the process. -1: a word that is no host. */
int sql_hosts_parse(const char *hosts, struct sql_host **out, size_t *count, struct err *);
bool sql_host_sound(const struct sql_host *);
bool sql_host_due(const struct sql_host *, int64_t now); /* set aside, and the time is over */
/* The next to try: sound ones before those whose time aside is over, sockets before addresses, any of the equals. NULL:
 * none, or each is being tried. */
struct sql_host *sql_host_choose(struct sql_host *, size_t count, int64_t now);
struct sql_connection *sql_host_connect(struct sql_host *, const struct sql_connect *, int64_t timeout_ms,
                                        struct sql_fault *); /* in a fiber */
void sql_host_down(struct sql_host *, const struct sql_fault *, int64_t longest_ms);
void sql_host_up(struct sql_host *);
#endif
