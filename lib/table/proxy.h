/*
 * proxy - the words between authd/proxymap and those who ask it
 *
 * "lookup" {table*, flags, key*}: for each key, in order, the tables are asked in order until one has an answer: "found"
 * {at, key, value, keep_ms}, "none" {}, "retry" {at, key}, "denied" {at, key}: no parameter names the table. at, key: which of them,
 * from 0. keep_ms: how long the asker may take the value for the answer of this table to this key; 0
 * unless it was the first of both (where others said none before, somebody may be inserted there any moment).
 * "sql" {source, query, fresh, name*, value*}: a query of a dovecot-sql.conf.ext, "password" or "user", with its
 * variables; fresh 1: no remembered answer will do. Answers "found" {scheme, variables, column*, cell*}, "none" {scheme,
 * variables}, "retry" {why}, "denied" {}: no parameter names the source. With "then", another source, a "found" may end with
 * {then_variables, then_column*, then_cell*}: the first row of that one's "user" query, for the same variables.
 * Each name is followed by its value, each column by its cell; a cell is "" for SQL NULL, else "=" and its text.
 * "sql_each" {source}: iterate_query, on a connection of its own: "row" {column*, cell*} any number of times, then
 * "end" {}, "retry" {why} or "denied" {}.
 *
 * Callers     lib/table/proxy.c, lib/client/proxymap.c, authd/proxymap; tools/postmap
 */
#ifndef TABLE_PROXY_H
#define TABLE_PROXY_H
#include <stddef.h>

#define PROXY_SERVICE  "private/proxymap"
#define PROXY_PROTOCOL "proxymap"
enum {
    PROXY_VERSION = 5,
    PROXY_FLAGS_MAX = 255,
    PROXY_TABLES = 16, /* of one lookup */
    PROXY_KEYS = 16,
    PROXY_SOURCE_BYTES = 4096,
    PROXY_NAME_BYTES = 256, /* of a variable or a column */
    PROXY_VALUE_BYTES = 128 << 10,
    PROXY_CELL_BYTES = 1 << 20,
    PROXY_VARIABLES = 200,
    PROXY_COLUMNS = 256,
    PROXY_WHY_BYTES = 512,
    PROXY_VARIABLES_BYTES = 65536,
    PROXY_KEEP_MS = 1000,    /* at most */
    PROXY_KEPT = 1000,       /* answers in one process */
    PROXY_KEPT_BYTES = 1024, /* of one */
};

struct str;
/* DENIED: no parameter names the table. AWAY, with errno: the service cannot be asked. */
enum proxy_answer { PROXY_FOUND, PROXY_NONE, PROXY_RETRY, PROXY_DENIED, PROXY_AWAY };
struct proxy_question {
    const char *const *spec; /* "type:name" */
    const char *const *key;
    size_t specs, keys; /* at most PROXY_TABLES, PROXY_KEYS */
    unsigned flags;     /* of the tables */
};
struct proxy_place { /* whose answer it is, and to which key */
    size_t table, key;
};
enum proxy_answer proxy_ask(const struct proxy_question *, struct str *out, struct proxy_place *at); /* in a fiber */
#endif
