/*
 * message - what one message of an open mailbox holds
 *
 * Callers     imapd, pop3d
 * Invariants  answers come from the index where it has them; else the file is read once, parsed, and the index learns
 *             all of it
 * Errors      STORE_EXPUNGED when the file is gone
 * Units       size in bytes with CRLF line ends (RFC822.SIZE); date: INTERNALDATE, seconds since 1970
 */
#ifndef STORE_MESSAGE_H
#define STORE_MESSAGE_H
#include "store/mailbox.h"
#include <sys/types.h>

enum store_why message_size(struct mailbox *, uint32_t seq, uint64_t *virtual_bytes);
enum store_why message_date(struct mailbox *, uint32_t seq, int64_t *seconds);
/* Both are borrowed until the next such call. guid: base file name, or G of the uidlist. */
const char *message_guid(struct mailbox *, uint32_t seq);
/* POP3 UIDL where a record of dovecot-uidlist overrides it (key P); NULL: none. */
const char *message_pop3_uidl(struct mailbox *, uint32_t seq);
enum store_why message_envelope(struct mailbox *, uint32_t seq, struct str *out);                 /* "(...)" */
enum store_why message_structure(struct mailbox *, uint32_t seq, bool extended, struct str *out); /* "(...)" */
/* Fields of these names in the message's order, CRLF line ends, without the empty line. */
enum store_why message_fields(struct mailbox *, uint32_t seq, const char *const *names, size_t n, struct str *out);
/* Offsets and sizes of all parts (struct mime_part without strings). */
enum store_why message_parts(struct mailbox *, uint32_t seq, struct arena *, struct mime_part **out);

/* The bytes, with CRLF line ends whatever the file has. */
struct message_file;
enum store_why message_open(struct mailbox *, uint32_t seq, struct message_file **out);
void message_close(struct message_file **);
/* From physical offset `from` on, `len` physical bytes; the first `skip` bytes of the CRLF view are left out. */
void message_range(struct message_file *, uint64_t from, uint64_t len, uint64_t skip);
ssize_t message_read(struct message_file *, void *buf, size_t len); /* 0 at the end of the range; -1 errno */
uint64_t message_physical_bytes(const struct message_file *);
uint64_t message_virtual_bytes(const struct message_file *); /* with CRLF line ends */
/* True when the file's bytes are the CRLF view already: message_fd may then be sent with stream_sendfile. */
bool message_is_crlf(const struct message_file *);
int message_fd(const struct message_file *);
void message_trim(struct mailbox *); /* no message is read for now: gives back the buffers kept between them */
#endif
