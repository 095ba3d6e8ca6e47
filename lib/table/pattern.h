/*
 * pattern - /text/flags with any delimiter that is no letter or digit; a backslash keeps the next character
 *
 * Callers     lib/table/regexp.c, pcre.c
 */
#ifndef TABLE_PATTERN_H
#define TABLE_PATTERN_H
#include "base/err.h"
#include "base/str.h"

/* Moves *rest behind the flags. */
int pattern_split(struct slice *rest, struct slice *pattern, struct slice *flags, struct err *);
#endif
