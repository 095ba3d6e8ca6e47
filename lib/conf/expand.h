/*
 * expand - $name and its conditional forms
 *
 * Forms: $name ${name} $(name) ${x?v} ${x?{v}} ${x:v} ${x:{v}} ${x?{v}:{w}} ${{a} == {b} ? {c} : {d}} $$
 * Operators: == != < <= >= >, numeric when both sides are digits; <level and the like compare "major.minor.patch".
 *
 * Callers     lib/conf/param.c; cleanup, local, smtpd for texts that are expanded late
 * Invariants  pure but for the lookup; at most EXPAND_DEPTH nested expansions, EXPAND_BYTES of output
 * Errors      -1 with the words Postfix logs ("empty macro name", "truncated macro reference", ...)
 */
#ifndef CONF_EXPAND_H
#define CONF_EXPAND_H
#include "base/err.h"
#include "base/str.h"

enum { EXPAND_DEPTH = 50, EXPAND_BYTES = 1 << 20 };
struct expand {
    /* The text of a name, which is expanded in turn when `recursive`; NULL: not known, counts as empty. */
    const char *(*lookup)(void *ctx, const char *name);
    void *ctx;
    bool recursive;
};
int expand_text(const struct expand *, struct slice text, struct str *out, struct err *);
/* "3.6", "3.6.1" as a number that compares; -1: malformed. */
int64_t expand_level(struct slice);
#endif
