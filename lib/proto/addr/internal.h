/*
 * addr internal - what the files of lib/proto/addr share
 *
 * Callers     lib/proto/addr/ only
 */
#ifndef PROTO_ADDR_INTERNAL_H
#define PROTO_ADDR_INTERNAL_H
#include "base/str.h"

bool addr_is_atext(unsigned char c); /* RFC 5322 atext, and any byte above ASCII */
/* in begins with '"': appends the text; answers the length with both quotes, or -1. */
ptrdiff_t addr_quoted_string(struct slice in, struct str *text);
/* local[@domain] from the start of in; stops before a byte that belongs to neither. Strict: a true dot-string, and a
 * valid domain or literal. */
int addr_spec_parse(struct slice in, bool strict, struct str *internal, size_t *used);
#endif
