/*
 * source - the text that tables are built from: postmap(1) and aliases(5) sources
 *
 * Callers     texthash and the index builder of lib/table; tools/postmap, postalias
 * Invariants  pure but for warnings, which are Postfix's, with file and line; keys come as written, not folded; a bad
 *             line is warned of and left out
 * Errors      the number of lines left out
 */
#ifndef TABLE_SOURCE_H
#define TABLE_SOURCE_H
#include "base/str.h"

typedef void (*source_fn)(void *ctx, struct slice key, struct slice value, int line);
size_t source_postmap(const char *file, struct slice text, source_fn, void *ctx); /* key white space value */
size_t source_aliases(const char *file, struct slice text, source_fn, void *ctx); /* name: value; the name unquoted */
#endif
