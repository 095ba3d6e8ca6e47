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
};
struct build;
struct build *build_new(const char *file, const struct build_options *,
                        struct err *);                                          /* file without ".cdb"; or NULL */
void build_add(struct build *, struct slice key, struct slice value, int line); /* line 0: not of a source */
bool build_remove(struct build *, struct slice key);                            /* was it there? */
int build_load(struct build *, const char *index, struct err *); /* what an index holds; absent: nothing */
size_t build_read(struct build *, enum build_syntax, const char *name, struct slice text); /* lines left out */
/* source: whose mode and owner the index gets; NULL: mode 0644. Frees b, also after an error. */
int build_finish(struct build **b, const struct stat *source, struct err *);
void build_cancel(struct build **);
/* All in one: FILE -> FILE.cdb. */
int build_file(const char *file, enum build_syntax, const struct build_options *, struct err *);
/* Does alias_maps or alias_database name this table? Then its source is aliases(5). */
enum build_syntax build_syntax_of(const char *spec);
#endif
