/*
 * str, slice - an owned string that grows to a limit, and a borrowed view
 *
 * Callers     everybody
 * Invariants  str.p always ends in NUL and may hold NULs inside; len never passes max
 *             once a write would pass max, `over` is set, the string keeps what it had, and every later
 *             write is ignored: write freely, check str_over() at the end
 * Units       bytes
 */
#ifndef BASE_STR_H
#define BASE_STR_H
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { STR_UNLIMITED = 0 }; /* as max: only for what no peer can size */

struct slice { /* borrowed bytes; no NUL at the end */
    const char *p;
    size_t len;
};
struct str {
    char *p;
    size_t len, cap, max;
    bool over;
};

void str_init(struct str *, size_t max); /* allocates nothing before the first byte; p is "" */
void str_free(struct str *);             /* ready for use again, same max */
void str_reset(struct str *);            /* empty, memory kept, `over` cleared */
void str_cut(struct str *, size_t len);  /* keep the first len bytes */
void str_drop(struct str *, size_t len); /* remove the first len bytes */
void str_add(struct str *, const void *p, size_t len);
void str_adds(struct str *, const char *s);
void str_addslice(struct str *, struct slice);
void str_addu(struct str *, uint64_t);                                                     /* decimal */
void str_printf(struct str *, const char *fmt, ...) __attribute__((format(printf, 2, 3))); /* appends */
void str_vprintf(struct str *, const char *fmt, va_list) __attribute__((format(printf, 2, 0)));
void str_set(struct str *, const char *s);   /* reset, then add */
void str_reserve(struct str *, size_t more); /* room for more bytes at p + len, as far as max allows */
char *str_take(struct str *);                /* the caller owns the bytes; the str is empty again */
static inline bool str_over(const struct str *s) { return s->over; }
static inline void str_addc(struct str *s, char c)
{
    if (s->cap - s->len > 1 && !s->over) { /* cap - 1 is at most max */
        s->p[s->len++] = c;
        s->p[s->len] = '\0';
    } else {
        str_add(s, &c, 1);
    }
}
static inline struct slice str_slice(const struct str *s) { return (struct slice){ s->p, s->len }; }

static inline struct slice slice_of(const char *s) { return (struct slice){ s, s ? strlen(s) : 0 }; }
static inline struct slice slice_make(const char *p, size_t len) { return (struct slice){ p, len }; }
#define SLICE(lit) ((struct slice){ "" lit, sizeof(lit) - 1 })
bool slice_eq(struct slice, const char *s);
bool slice_caseeq(struct slice, const char *s); /* ASCII case only */
bool slice_same(struct slice, struct slice);
bool slice_starts(struct slice, const char *prefix);
bool slice_casestarts(struct slice, const char *prefix);
bool slice_caseends(struct slice, const char *suffix);
struct slice slice_sub(struct slice, size_t from, size_t len); /* clipped */
struct slice slice_trim(struct slice);                         /* blanks, tabs, CR, LF at both ends */
ptrdiff_t slice_find(struct slice, char c);                    /* offset, or -1 */
ptrdiff_t slice_rfind(struct slice, char c);
bool slice_split(struct slice *rest, char sep, struct slice *head); /* false when rest is exhausted (p NULL) */
bool slice_word(struct slice *rest, const char *separators, struct slice *word); /* next non-empty word */
int slice_u64(struct slice, uint64_t max, uint64_t *out); /* decimal digits only; -1 and *out unchanged when not */
int slice_i64(struct slice, int64_t min, int64_t max, int64_t *out);

static inline char ascii_lower(char c) { return c >= 'A' && c <= 'Z' ? (char) (c + 32) : c; }
static inline char ascii_upper(char c) { return c >= 'a' && c <= 'z' ? (char) (c - 32) : c; }
static inline bool ascii_isdigit(char c) { return c >= '0' && c <= '9'; }
static inline bool ascii_isalpha(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
static inline bool ascii_isalnum(char c) { return ascii_isalpha(c) || ascii_isdigit(c); }
static inline bool ascii_isspace(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }
static inline bool ascii_isprint(char c) { return c >= ' ' && c < 127; }
void ascii_lowercase(char *s); /* in place */
bool utf8_valid(struct slice); /* RFC 3629: no surrogates, no overlong forms */
bool slice_is_ascii(struct slice);
#endif
