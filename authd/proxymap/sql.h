/*
 * sql - the requests of authd: one row for a passdb or userdb, or all users
 *
 * Callers     proxymap.c; the words are those of lib/table/proxy.h
 * Errors      "retry" with the reason: it goes into authd's log and holds no text of a variable or cell
 */
#ifndef PROXYMAP_SQL_H
#define PROXYMAP_SQL_H
#include "service/service.h"

void sql_on_ask(struct service_conn *, struct msg *in);
void sql_on_each(struct service_conn *, struct msg *in); /* in order: it sends frames of its own */
#endif
