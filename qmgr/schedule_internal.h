/* schedule_internal - what schedule.c and feedback.c tell each other about a destination */
#ifndef QMGR_SCHEDULE_INTERNAL_H
#define QMGR_SCHEDULE_INTERNAL_H
#include "schedule.h"

void dest_success(struct dest *);
bool dest_failure(struct dest *, const char *dsn, const char *reason, int64_t dead_until); /* true: it is dead now */
void dest_update(struct dest *);                                                           /* ready or not */
void dest_forget(struct dest *); /* frees it when nothing needs it */
#endif
