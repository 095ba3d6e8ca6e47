/*
 * config - the file behind "mysql:/path": main.cf's lines without $name, or parameters NAME_hosts, NAME_user, ... of
 * main.cf behind "mysql:NAME"
 *
 * Callers     mysql.c
 * Invariants  no text of a line gets into an error or the log: it may be the password
 * Ownership   all texts live in the arena of the struct
 * Errors      -1 with "FILE, line N: reason"; names that nothing obeys are warned of, with file and line
 * Source      Postfix mysql_table(5)
 */
#ifndef TABLE_SQL_CONFIG_H
#define TABLE_SQL_CONFIG_H
#include "table/sql/expand.h"
#include "table/sql/pool.h"

struct sql_config {
    struct arena *arena;
    struct sql_connect connect;
    struct sql_template template;
    const char *domain;      /* pattern list; "": any */
    int64_t expansion_limit; /* 0 or less: none */
    bool require_result_set;
};
int sql_config_parse(const char *file, struct slice text, struct sql_config *out, struct err *);
int sql_config_from_main(const char *name, struct sql_config *out, struct err *);
void sql_config_free(struct sql_config *);
#endif
