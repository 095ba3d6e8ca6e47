/*
 * message - a mail message on standard input as keys: "postmap -h", "-b", "-m"
 *
 * Callers     postmap.c
 * Invariants  pure: reads text, calls fn for each key in the order of the message
 *             a header is one key, with the line ends inside it; the empty line behind a header block, boundaries and
 *             what lies between parts are body lines, as in Postfix
 */
#ifndef TOOLS_POSTMAP_MESSAGE_H
#define TOOLS_POSTMAP_MESSAGE_H
#include "base/str.h"

enum message_keys { MESSAGE_HEADERS = 1, MESSAGE_BODY = 2, MESSAGE_MIME = 4 /* parts have headers too */ };
void message_keys(struct slice text, unsigned keys, void (*fn)(void *ctx, const char *key), void *ctx);
#endif
