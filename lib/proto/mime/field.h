/*
 * field - the header of a message, field by field, and the structured values MIME puts there
 *
 * Callers     mime/part.c, mime/envelope.c, lib/store, imapd, lmtpd
 * Invariants  pure; never reads outside its slice; accepts CRLF and LF line ends, folded lines, NULs
 * Ownership   slices point into the input; what is built lives in the arena given
 * Units       bytes
 * Source      RFC 5322 2.2, 3.2; RFC 2045 5.1; RFC 2231
 */
#ifndef MIME_FIELD_H
#define MIME_FIELD_H
#include "base/mem.h"
#include "base/str.h"

enum { MIME_PARAMS_MAX = 64, MIME_VALUE_BYTES = 16384, MIME_NAME_BYTES = 256 };

struct mime_field {
    struct slice name;  /* without blanks before the colon */
    struct slice value; /* after the colon, still folded, without the last line end; leading blanks kept */
    struct slice whole; /* all lines of the field with their line ends, as they stand */
};
/* Next field of a header. False at the empty line or the end of the bytes; then *rest is the body (p NULL: no empty
 * line). A line without a colon is given as a field with an empty name. */
bool mime_field_next(struct slice *rest, struct mime_field *out);
/* First field of that name (ASCII case ignored); false when there is none. */
bool mime_field_find(struct slice header, const char *name, struct mime_field *out);
/* Line ends removed, the blank of a folded line kept, as Dovecot hands values on; cut at max bytes. */
void mime_unfold(struct str *out, struct slice value);

struct mime_param {
    const char *name,
        *value; /* quotes removed; RFC 2231 pieces joined under "filename" or "filename*", still encoded */
    struct mime_param *next;
};
struct mime_typed {            /* Content-Type and Content-Disposition */
    const char *type;          /* as written; NULL: unreadable */
    const char *subtype;       /* NULL for a disposition */
    struct mime_param *params; /* in order, those of RFC 2231 last */
};
bool mime_content_type(struct slice value, struct arena *, struct mime_typed *out);
bool mime_disposition(struct slice value, struct arena *, struct mime_typed *out);
/* Value of a parameter in UTF-8, RFC 2231 pieces joined and decoded, RFC 2047 words decoded; NULL when absent. */
const char *mime_param_get(const struct mime_typed *, const char *name, struct arena *);
#endif
