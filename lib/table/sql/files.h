/*
 * files - what stands in files of their own: certificates, keys, and my.cnf's settings
 *
 * Callers     pool.c only, before the jail
 * Invariants  files are read once, as whoever starts the process (root): a key may be 0600. libmariadb then opens
 *             copies that live in memory, by names below /proc/self/fd
 *             what the question's own file says goes before what an option file says
 * Errors      -1 with *err: "FILE: reason"; settings that nothing here obeys are logged, once, with file and line
 */
#ifndef TABLE_SQL_FILES_H
#define TABLE_SQL_FILES_H
#include "table/sql/pool.h"

/* Changes *how, whose strings are the heap's: settings of its option file come in, names of files become names of copies. */
int sql_files_read(struct sql_connect *how, struct err *);
#endif
