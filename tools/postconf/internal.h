/*
 * postconf internal - what the files of tools/postconf share
 */
#ifndef TOOLS_POSTCONF_INTERNAL_H
#define TOOLS_POSTCONF_INTERNAL_H
#include "base/str.h"
#include "conf/mastercf.h"

enum postconf_mode {                        /* flags */
                     MODE_DEFAULTS = 1,     /* -d */
                     MODE_SET = 2,          /* -n */
                     MODE_EDIT = 4,         /* -e */
                     MODE_REMOVE = 8,       /* -X */
                     MODE_COMMENT = 16,     /* -# */
                     MODE_EXPAND = 32,      /* -x */
                     MODE_FOLD = 64,        /* -f */
                     MODE_HIDE_NAME = 128,  /* -h */
                     MODE_HIDE_VALUE = 256, /* -H */
                     MODE_CHANGES = MODE_EDIT | MODE_REMOVE | MODE_COMMENT,
};
enum { FOLD_COLUMNS = 80, FOLD_INDENT = 4 };
enum postconf_class { CLASS_BUILTIN = 1, CLASS_SERVICE = 2, CLASS_USER = 4, CLASS_ALL = 7 }; /* -C */

/* print.c */
void print_pair(unsigned mode, const char *name, const char *value);
/* Words of text, single blanks between; with MODE_FOLD broken at FOLD_COLUMNS. `column`: what the line holds already.
 */
void print_words(unsigned mode, struct str *out, size_t column, struct slice text);
void print_service(unsigned mode, const struct mastercf_service *, struct str *out);

/* main_cf.c: 0, or an exit status */
int main_show(unsigned mode, unsigned classes, char **names, int count, bool warn);
int main_edit(unsigned mode, char **args, int count);

/* master_cf.c: name/type patterns, "*" stands for any */
enum master_view { VIEW_SERVICES, VIEW_FIELDS, VIEW_PARAMETERS };
int master_show(enum master_view, unsigned mode, char **patterns, int count);
int master_edit(enum master_view, unsigned mode, char **args, int count);

/* edit.c: rewrites a configuration file, comments and order kept. Each logical line (its physical lines as they are)
 * goes to fn, which appends what shall stand instead and answers true, or answers false: it stays. */
typedef bool (*edit_fn)(void *ctx, struct slice logical, struct str *out);
/* finish appends what is new at the end; may be NULL. */
int edit_file(const char *path, edit_fn, void (*finish)(void *ctx, struct str *out), void *ctx);
#endif
