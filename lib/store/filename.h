/*
 * filename - names of message files
 *
 * Callers     lib/store, lib/deliver
 * Invariants  pure but for file_name_new; whatever stands in a name that we do not know is kept
 * Source      https://cr.yp.to/proto/maildir.html; Dovecot: ",S=" physical and ",W=" CRLF size in the base name,
 *             ":2," and letters D F P R S T, a to z for keywords, a further "," and more text
 */
#ifndef STORE_FILENAME_H
#define STORE_FILENAME_H
#include "base/str.h"

enum { FILE_NAME_BYTES = 255, FILE_KEYWORDS = 26 };
#define FILE_SIZE_UNKNOWN UINT64_MAX

struct file_name {
    struct slice base;          /* what identifies the message: all before ":" */
    struct slice info;          /* behind ":2,"; p NULL: there is no ":2," */
    uint64_t physical, virtual; /* S= and W=, FILE_SIZE_UNKNOWN */
    uint8_t flags;              /* enum mail_flag */
    uint32_t keywords;          /* bit n: letter 'a' + n */
};
/* When it arrived, as the name tells it; 0 where it does not. */
void file_name_arrival(const char *name, uint64_t *seconds, uint64_t *micros);
bool file_name_parse(const char *name, struct file_name *out); /* false: not a message file */
/* base + ":2," + the letters, unknown letters and the text behind of the old info kept. */
void file_name_build(struct str *out, struct slice base, uint8_t flags, uint32_t keywords, struct slice old_info);
/* "secs.MusecPpid.host" and a counter: never given twice by this process; sizes are added when known. */
void file_name_new(struct str *out, uint64_t physical, uint64_t virtual);
#endif
