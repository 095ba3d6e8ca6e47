/*
 * ubevent - libunbound's pluggable event base on our loop
 *
 * Callers     resolver.c
 * Invariants  an active event is a fiber that waits for its descriptor or time; libunbound's callbacks run on the
 *             thread's own stack (they need more than a fiber has), one at a time, and may add, delete and free any
 *             event, also their own
 */
#ifndef RESOLVER_UBEVENT_H
#define RESOLVER_UBEVENT_H
#include <unbound-event.h>

struct ub_event_base *ubevent_base(void);
#endif
