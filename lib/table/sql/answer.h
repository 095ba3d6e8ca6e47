/*
 * answer - rows that were found, remembered for a while; questions that are on their way, asked once
 *
 * Callers     pool.c only
 * Invariants  at most sql_cache_size bytes, the least recently used go first; wiped when they go
 *             remembered under a digest of pool, text, parameters and row limit: nothing of a question is kept
 * Errors      as sql_pool_ask, sql_pool_ask_ahead
 */
#ifndef TABLE_SQL_ANSWER_H
#define TABLE_SQL_ANSWER_H
#include "table/sql/pool.h"

enum lookup sql_answer(struct sql_pool *, const struct sql_question *, size_t rows_max, struct arena *,
                       struct sql_rows *out, struct err *);
size_t sql_answer_ahead(struct sql_pool *, const struct sql_question *, const struct sql_for *, size_t count,
                        size_t rows_max, struct table_asked *);
int sql_answer_of_ahead(const struct sql_for *, struct table_asked *, struct arena *, struct sql_rows *out,
                        struct err *);
void sql_answer_ahead_end(struct table_asked *);
#endif
