/*
 * decode - transfer encodings, encoded words and charsets: text as a person reads it, in UTF-8
 *
 * Callers     imapd (SEARCH, SORT), lib/sieve
 * Invariants  pure but for ICU's tables; damaged input gives what can be read, never an error; output is valid UTF-8
 * Source      RFC 2045 6, RFC 2047, RFC 2231
 */
#ifndef MIME_DECODE_H
#define MIME_DECODE_H
#include "base/str.h"

/* Transfer decoding, streaming: state survives between pieces. */
enum mime_encoding { MIME_IDENTITY, MIME_BASE64, MIME_QP, MIME_UNKNOWN };
enum mime_encoding mime_encoding_of(const char *name); /* NULL: MIME_IDENTITY; 7bit, 8bit, binary likewise */
struct mime_decoder {
    enum mime_encoding encoding;
    unsigned bits, count;
    char held[80]; /* an escape or trailing blanks that the next piece decides */
    size_t held_len;
    bool ended;
};
void mime_decoder_init(struct mime_decoder *, enum mime_encoding);
void mime_decoder_feed(struct mime_decoder *, struct slice in, struct str *out);
void mime_decoder_end(struct mime_decoder *, struct str *out);

/* Charsets, streaming; an unknown name passes ASCII and gives U+FFFD for the rest. */
struct mime_charset;
struct mime_charset *
mime_charset_open(const char *name); /* NULL, "": us-ascii; bytes above 127 that are UTF-8 pass */
void mime_charset_feed(struct mime_charset *, struct slice in, bool last, struct str *out);
void mime_charset_close(struct mime_charset **);
bool mime_charset_known(const char *name);

/* A header value: unfolded, RFC 2047 words decoded. */
void mime_decode_words(struct slice value, struct str *out);
/* For comparing as i;unicode-casemap does (RFC 5051): upper-cased, decomposed. */
void mime_casemap(struct slice utf8, struct str *out);
#endif
