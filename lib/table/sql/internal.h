/*
 * internal - what pool.c and answer.c tell each other
 *
 * Callers     lib/table/sql only
 */
#ifndef TABLE_SQL_INTERNAL_H
#define TABLE_SQL_INTERNAL_H
#include "table/sql/pool.h"

extern int64_t sql_connection_limit, sql_question_timeout, sql_cache_time, sql_cache_size, sql_stale_time;

/* When a question went to a server: by the clock, and in the order of all events of this process. */
struct sql_sent {
    int64_t ms;     /* 0: not yet */
    uint64_t order; /* of sql_order() */
};
size_t sql_answer_bytes(void); /* what is remembered takes */
uint64_t sql_order(void);      /* larger at each call; never 0 */

/* Asks the database, whatever is remembered. Waits as long as the server is alive; the asker's patience is answer.c's
 * business. In a fiber. */
enum lookup sql_pool_query(struct sql_pool *, const struct sql_question *, size_t rows_max, struct sql_sent *,
                           struct arena *, struct sql_rows *out, struct err *);
/* Several, sent together; fn for each that was answered, as in sql_connection_ask_together. The rest, perhaps all, is the
 * caller's to ask one by one. */
void sql_pool_query_together(struct sql_pool *, const struct sql_question *const *, struct sql_sent *const *sent,
                             size_t count, size_t rows_max, void (*fn)(void *ctx, size_t, const struct sql_rows *),
                             void *ctx);
int64_t sql_pool_silent_ms(const struct sql_pool *);   /* since when it owes answers and gives none; 0: it does not */
int64_t sql_pool_patience_ms(const struct sql_pool *); /* how long an asker waits */
#endif
