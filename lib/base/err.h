/*
 * err, lookup - the two ways a function says "no"
 *
 * A function that can fail answers 0, or -1 with a struct err fit to send to the peer or to log.
 * A lookup has three answers; doubt is LOOKUP_RETRY, never LOOKUP_NONE: a fault that reads as "no such user" bounces
 * mail.
 */
#ifndef BASE_ERR_H
#define BASE_ERR_H

enum { ERR_TEXT_BYTES = 512, ERR_DSN_BYTES = 12 };
struct err {
    int code;                  /* SMTP reply code where one fits, else 0 */
    char dsn[ERR_DSN_BYTES];   /* RFC 3463 "4.3.0", or "" */
    char text[ERR_TEXT_BYTES]; /* words, without code and dsn; never NULL */
};
enum lookup { LOOKUP_FOUND, LOOKUP_NONE, LOOKUP_RETRY };

/* Fills *err (which may be NULL) and answers -1, so that "return err_set(...)" reads well. dsn may be NULL. */
int err_set(struct err *, int code, const char *dsn, const char *fmt, ...) __attribute__((format(printf, 4, 5)));
#endif
