/*
 * envelope - what IMAP's ENVELOPE tells of a header
 *
 * Callers     mime/part.c, lib/store, imapd
 * Source      RFC 3501 7.4.2; defaults of Sender and Reply-To are filled in when printed (proto/mime/imap.h)
 */
#ifndef MIME_ENVELOPE_H
#define MIME_ENVELOPE_H
#include "proto/mime/address.h"
#include "proto/mime/field.h"

struct mime_envelope {
    const char *date, *in_reply_to, *message_id; /* unfolded, raw; NULL: absent */
    const char *subject;                         /* raw, still folded: how it is printed depends on its line ends */
    struct mime_address *from, *sender, *reply_to, *to, *cc, *bcc;
};
struct mime_envelope *mime_envelope(struct slice header, struct arena *);
/* One field at a time, for streaming: ignores fields that are none of an envelope's. */
void mime_envelope_field(struct mime_envelope *, const struct mime_field *, struct arena *);
/* Date: of a header: seconds since 1970 and the zone; false when it cannot be read. RFC 5322 3.3 and 4.3. */
bool mime_date(struct slice value, int64_t *seconds, int *zone_minutes);
/* RFC 5256 2.1 base subject (for SORT and THREAD) in UTF-8. */
void mime_base_subject(struct slice value, struct str *out, bool *is_reply);
#endif
