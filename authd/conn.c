/*
 * conn - the connections of this process, and their end when the process is to be replaced
 *
 * Callers     authd/client.c, authd/master.c; authd.c starts the timer
 * Invariants  shutting down the reading side is all that is done: what was asked is still answered, then the
 *             connection ends as if its peer had closed it, and the peer comes again to the process that follows
 */
#include "authd.h"
#include "event/event.h"
#include "service/service.h"
#include <sys/socket.h>

enum { LOOK_MS = 200 };
static struct list conns; /* lives as long as the process */

static void look(void *unused)
{
    size_t clients = 0;

    (void) unused;
    if (!service_stopping())
        return;
    list_each(it, &conns)
    {
        struct authd_conn *c = list_entry(it, struct authd_conn, node);
        if (c->requests == NULL)
            continue;
        clients++;
        if (map_count(c->requests) == 0)
            shutdown(c->fd, SHUT_RD);
    }
    if (clients > 0 || authd_claims() > 0)
        return;
    list_each(it, &conns) shutdown(list_entry(it, struct authd_conn, node)->fd, SHUT_RD);
}

void authd_conn_start(void)
{
    list_init(&conns);
    event_timer_every(LOOK_MS, look, NULL);
}

void authd_conn_add(struct authd_conn *c) { list_append(&conns, &c->node); }
void authd_conn_remove(struct authd_conn *c) { list_del(&c->node); }
