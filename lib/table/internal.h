/*
 * internal - what the types of lib/table share
 *
 * Callers     lib/table only
 * Invariants  a type's open() reads all it needs or holds descriptors: lookups open nothing
 */
#ifndef TABLE_INTERNAL_H
#define TABLE_INTERNAL_H
#include "table/table.h"

#include <sys/stat.h>
#include <time.h>

struct match;

enum { TABLE_SOURCE_BYTES = 1 << 30, TABLE_FILES = 3 };
enum { TABLE_ALIASES = 256 }; /* flag: the text of a texthash is an aliases(5) source */

enum table_trait {
    TABLE_FULL_KEY = 1, /* wants one full key, no parts of it */
    TABLE_OWN_CASE = 2, /* sees keys as they are */
};
struct table_type {
    const char *name;
    unsigned traits;
    int (*open)(struct table *, struct err *); /* name is what stands behind "type:"; sets state */
    enum lookup (*lookup)(struct table *, const char *key, struct str *out);
    enum lookup (*lookup_asked)(struct table *, const char *key, struct table_asked *, struct str *out); /* or NULL */
    int (*each)(struct table *, void (*fn)(void *, struct slice, struct slice), void *ctx); /* NULL: cannot */
    void (*close)(struct table *);
};
struct table {
    const struct table_type *type; /* NULL: no such type */
    char *spec;
    const char *name;
    unsigned flags;
    void *state;
    char *error;     /* why it cannot be used */
    bool wrong_text; /* of its file: nothing but a change of that cures it */
    int64_t said;    /* when its present trouble was logged; 0: not yet */
    size_t uses;
    time_t opened;
    struct table_file {
        int fd;
        struct stat st;
    } file[TABLE_FILES]; /* watched for changes */
    size_t files;
    char *unread; /* path of a file that could not be opened, and what stood there then (st_ino 0: nothing) */
    struct stat unread_st;
    struct table *next;
};
extern const struct table_type table_cdb, table_hash, table_btree, table_texthash, table_inline, table_static,
    table_environ, table_fail, table_unix, table_regexp, table_pcre, table_cidr, table_union, table_pipe, table_proxy,
    table_mysql;

/* A type of this program's own, before those of lib/table: lib/table/sql. Before the first table is opened. */
void table_register(const struct table_type *);
/* Log it now? Once a minute for a table that cannot be asked. */
bool table_say(struct table *);
/* Watches fd, which the table owns from here on. */
void table_watch(struct table *, int fd);
/* Reads the file of a table and watches it. -1 with *err: "open FILE: reason". */
int table_read_file(struct table *, const char *path, struct str *text, struct err *);
void table_fold(struct str *out, const char *key);
/* proxy.c: how many of these, from the first, proxymap can be asked for in one question (0: none); and asking. *at: whose
 * answer it is, and to which key. */
size_t proxy_run(struct table *const *table, size_t count, bool partial);
struct proxy_place;
enum lookup proxy_find(struct table *const *table, size_t count, const char *const *key, size_t keys, struct str *out,
                       struct proxy_place *at);
/* maps.c: several keys, the first that any table knows wins. Only for maps that say maps_together: one question then. */
enum { MAPS_KEYS = 16 };
struct maps;
bool maps_together(const struct maps *);
enum lookup maps_find_first(struct maps *, const char *const *key, size_t keys, struct str *out, size_t *at);
/* local.c: match_local asks no table. */
bool match_local_is_plain(void);
bool match_is_plain(const struct match *);
#endif
