/*
 * request - one request of the flush service, from bytes
 *
 * Callers     flush.c
 * Invariants  pure
 * Errors      -1: malformed, or longer than FLUSH_REQUEST_BYTES
 */
#ifndef QMGR_FLUSH_REQUEST_H
#define QMGR_FLUSH_REQUEST_H
#include "base/str.h"
#include "queue/dir.h"

enum { FLUSH_REQUEST_BYTES = 4096, FLUSH_SITE_BYTES = 1024 };
enum flush_what { FLUSH_UNKNOWN, FLUSH_NOTHING, FLUSH_SEND_FILE, FLUSH_SEND_SITE };
struct flush_request {
    enum flush_what what;
    char queue_id[QUEUE_ID_BYTES], site[FLUSH_SITE_BYTES]; /* "" where it is not given */
};
/* 1: read; 0: more bytes are needed; -1: malformed. */
int flush_request_parse(struct slice bytes, struct flush_request *out);
#endif
