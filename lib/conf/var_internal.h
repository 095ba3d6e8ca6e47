/*
 * var_internal - what var.c and var_function.c share; nobody else includes it
 *
 * Callers     lib/conf/var.c, var_function.c
 */
#ifndef CONF_VAR_INTERNAL_H
#define CONF_VAR_INTERNAL_H
#include "conf/var.h"

struct var_run { /* one var_expand */
    const struct var_scope *scope;
    struct err *err;
    bool failed;
    bool names; /* var_names: both branches are walked */
    int depth;
};
/* Notes the first failure. */
void var_fail(struct var_run *, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* written: through scope->put. */
void var_walk(struct var_run *, struct slice text, bool written, struct str *out);
bool var_lookup(struct var_run *, struct slice name, struct str *out); /* a plain name; false: unknown */
void var_unknown(struct var_run *, struct slice name, struct str *out);

/* "a;b;c" at the top level of braces; backslashes at that level are taken off. The field is new text in *out. */
bool var_field(struct slice *rest, struct str *out);
/* The function that begins `inside`, what stands between the braces. False: it is none. */
bool var_function(struct var_run *, struct slice inside, bool written, struct str *out);
bool var_is_if(struct slice inside);
#endif
