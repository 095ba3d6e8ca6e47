/*
 * pool - questions to MariaDB or MySQL: connections kept, hosts chosen, answers joined and remembered
 *
 * Callers     lib/table/sql: the mysql: table and dovecot-sql.conf.ext; authd/proxymap and tools/postmap run them
 * Invariants  opened before the jail, asked in a fiber after it; nothing here blocks the loop
 *             one pool for equal connection parameters: at most sql_connection_limit connections, opened as they are
 *             needed; a question waits for another only while all of them are in use
 *             identical questions in flight are asked once. A found answer is served again for sql_cache_time from
 *             the moment it was asked for, and for sql_stale_time while the database does not answer: no connection,
 *             a refusal, or silence for three seconds. "None" is never
 *             remembered beyond the request that asked it, nor shared with who asked after it was on its way: who was
 *             inserted a moment ago is found
 *             what one asker will probably ask next goes in one piece with what he asks now, over one connection: one
 *             wake of the server and of us for all. Each question is still its own, with its own answer or fault; what a
 *             lost connection left unanswered is asked again one by one, as if it had never been sent
 * Units       milliseconds in struct sql_connect; 0 means the default
 * Ownership   a pool lives as long as the process; rows are the caller's arena's. Remembered answers are wiped when
 *             they go: there are passwords among them
 * Errors      RETRY for every fault, with *err fit to log; the pool itself logs a fault, with source, host and cure,
 *             once a minute, so that callers need not
 */
#ifndef TABLE_SQL_POOL_H
#define TABLE_SQL_POOL_H
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "conf/param.h"
#include "table/table.h"

enum {
    SQL_RESULT_BYTES = 4 << 20,
    SQL_HOSTS = 64,
    SQL_WAITING = 4000,        /* questions for a connection of one pool */
    SQL_TOGETHER = 16,         /* questions in one piece */
    SQL_TOGETHER_BYTES = 8192, /* of their parameters: no server that is busy writing keeps us from sending that */
};

extern int64_t sql_cache_time;               /* seconds */
extern const struct param sql_pool_params[]; /* sql_connection_limit, sql_cache_time, ...: for who opens pools */

struct sql_connect {
    const char *hosts; /* blanks or commas between; "unix:/path", "inet:host:port", "host", "host:port" */
    const char *user, *password, *dbname, *charset; /* charset NULL: utf8mb4 */
    const char *option_file, *option_group;
    const char *tls_cert_file, *tls_key_file, *tls_ca_file, *tls_ca_path, *tls_ciphers;
    bool tls_verify;
    int64_t connect_timeout, read_timeout, idle_interval, retry_interval;
};
struct sql_question {
    const char *text; /* '?' where a parameter stands, one each; params 0: as it is */
    size_t params;
    const struct slice *param;
    struct table_asked *asked; /* what its asker has asked before; NULL: nothing that helps */
    bool fresh;                /* no answer that was asked for before this moment will do */
    const char *source;        /* the file it comes from, for the log; NULL: the one that opened the pool */
};
struct sql_rows {
    size_t columns, rows;
    const char *const *name;
    const struct slice *cell; /* [row * columns + column]; p NULL: SQL NULL */
};
struct sql_pool;
struct sql_pool *sql_pool_open(const struct sql_connect *, const char *source); /* equal ones share; never NULL */
/* FOUND with at least one row, NONE (out->columns 0: the statement has no rows to give, as UPDATE), or RETRY. More than rows_max rows (or SQL_RESULT_BYTES) is RETRY too. */
enum lookup sql_pool_ask(struct sql_pool *, const struct sql_question *, size_t rows_max, struct arena *,
                         struct sql_rows *out, struct err *);
/* Begins with questions of one asker, the later of use to him only if all before find nothing, and remembers them in
 * *asked under what they are for. One with an answer at hand, and those behind it, are left out: how many are not. None may
 * be fresh; all have parameters. May wait, for a question of the same words that somebody else has asked. */
struct sql_for {
    const void *table;
    const char *key; /* borrowed until sql_pool_ahead_end */
};
size_t sql_pool_ask_ahead(struct sql_pool *, const struct sql_question *, const struct sql_for *, size_t count,
                          size_t rows_max, struct table_asked *);
/* The answer to a question that was begun with, as sql_pool_ask; -1: there is none such, or it is of no use. */
int sql_pool_ahead_answer(const struct sql_for *, struct table_asked *, struct arena *, struct sql_rows *out,
                          struct err *);
void sql_pool_ahead_end(struct table_asked *);
/* Each row as it arrives, however many: nothing is joined or remembered. fn may wait; -1 from it ends the question. 0, or
 * -1 with *err: rows are missing. */
typedef int (*sql_row_fn)(void *ctx, const struct sql_rows *one);
int sql_pool_each(struct sql_pool *, const struct sql_question *, sql_row_fn, void *ctx, struct err *);
/* For text between quotes that cannot be a parameter: safe in every charset that sql_pool_open accepts; our sessions
 * are without NO_BACKSLASH_ESCAPES and ANSI_QUOTES whatever sql_mode the server has. */
void sql_pool_escape(struct str *out, struct slice text);
bool sql_pool_networked(void);          /* one of the pools opened so far has a server that is not a unix socket */
bool sql_pool_stale(const char **path); /* a certificate, key or option file of a pool was exchanged: start anew */
void sql_pool_close_all(void);          /* says good-bye to the servers; in a fiber, at the end of the process */

/* Who finds the addresses of a host name: numeric ones into *out, blanks between. In a fiber; NONE and RETRY as a
 * lookup. The process that owns the pools sets it; getaddrinfo in a thread until then. */
typedef enum lookup (*sql_resolve_fn)(const char *host, struct str *out, struct err *);
void sql_pool_resolver(sql_resolve_fn);
#endif
