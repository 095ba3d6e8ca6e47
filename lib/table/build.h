/*
 * build - a cdb index from pairs: FILE.cdb, replaced as a whole
 *
 * Callers     lib/table/cdb.c (an index that is missing at start), tools/postmap, tools/postalias
 * Invariants  the index is written as FILE.cdb.tmp.PID, synced, and renamed: a reader sees the old one or the new one
 * Errors      -1 with *err; nothing is left behind
 */
#ifndef TABLE_BUILD_H
#define TABLE_BUILD_H
#include "base/err.h"
#include "base/str.h"

#include <sys/stat.h>

enum build_duplicate { BUILD_DUP_WARN, BUILD_DUP_IGNORE, BUILD_DUP_REPLACE, BUILD_DUP_ERROR };
enum build_syntax { BUILD_POSTMAP, BUILD_ALIASES };
struct build_options {
    enum build_duplicate duplicate; /* of a key that is there: the first stays, unless REPLACE */
    bool keep_case;                 /* keys are not folded */
    bool own_mode;                  /* do not take mode and owner of the source */
    bool files;                     /* build_read: values are names of files; their contents are kept, as base64 */
};
struct build;
struct build *build_new(const char *file, const struct build_options *,
                        struct err *);                                          /* file without ".cdb"; or NULL */
void build_add(struct build *, struct slice key, struct slice value, int line); /* line 0: not of a source */
void build_put(struct build *, struct slice key,
               struct slice value);                              /* as it stands: not folded, in place of another */
bool build_remove(struct build *, struct slice key);             /* was it there? */
int build_load(struct build *, const char *index, struct err *); /* what an index holds; absent: nothing */
size_t build_read(struct build *, enum build_syntax, const char *name, struct slice text); /* lines left out */
/* source: whose mode and owner the index gets; NULL: mode 0644. Frees b, also after an error. */
int build_finish(struct build **b, const struct stat *source, struct err *);
void build_cancel(struct build **);
/* Instead of a file: a descriptor of a cdb in memory; -1 with *err. Frees b. */
int build_finish_in_memory(struct build **b, struct err *);
bool build_refused(const struct build *); /* it has duplicates that the options forbid: build_finish will say so */
/* Each pair, in order, until fn answers -1: that is then the answer. */
int build_each(const struct build *, int (*fn)(void *ctx, struct slice key, struct slice value), void *ctx);

/* import.c. FILE.db is what Postfix keeps for hash: and btree:, FILE.cdb what we do. */
enum build_state {
    BUILD_CURRENT,   /* FILE.cdb is there, and no FILE.db is newer */
    BUILD_OVERTAKEN, /* Postfix has built FILE.db since, or there is no FILE.cdb beside it */
    BUILD_MISSING,   /* neither; the source is there */
    BUILD_NOTHING,
};
enum build_state build_state(const char *file);
/* What FILE.db holds, read by the postmap command. Forks: before threads and jail. -1 with *err. */
int build_import(struct build *, const char *file, struct err *);
int build_add_pairs(struct build *, struct slice text); /* cdbmake's form; -1: malformed */
/* Contents of files named in a list, a line end between each two, appended. -1 with *err. */
int build_read_files(struct slice names, struct str *out, struct err *);
/* All in one: FILE -> FILE.cdb. */
int build_file(const char *file, enum build_syntax, const struct build_options *, struct err *);
/* Does alias_maps or alias_database name this table? Then its source is aliases(5). */
enum build_syntax build_syntax_of(const char *spec);
#endif
