/*
 * downgrade - 8-bit parts as quoted-printable, for a host that takes 7-bit mail only
 *
 * Callers     smtp (where the server does not offer 8BITMIME)
 * Invariants  pure; the answer does not depend on how lines were cut into pieces; memory is bounded by FIELD_BYTES and
 *             one output line; a part that does not declare itself 8bit or binary passes as it is, as in Postfix
 * Ownership   the tree is borrowed and must be that of the same bytes, each line ended by one LF
 * Source      RFC 6152 3, RFC 2045 6.7. Postfix labels message/partial and message/delivery-status "7bit" above
 *             encoded text, which no reader decodes; here the label tells the truth.
 */
#ifndef MIME_DOWNGRADE_H
#define MIME_DOWNGRADE_H
#include "proto/mime/part.h"

struct mime_downgrade;
typedef void mime_downgrade_put(void *ctx, struct slice piece, bool ends_line);
struct mime_downgrade *mime_downgrade_new(struct arena *, const struct mime_part *root, mime_downgrade_put *,
                                          void *ctx);
void mime_downgrade_feed(struct mime_downgrade *, struct slice piece, bool ends_line);
void mime_downgrade_end(struct mime_downgrade *); /* puts what is held, and frees it */
#endif
