/*
 * decode - see decode.h
 *
 * Callers     imapd, lib/sieve
 * Invariants  a decoder holds at most one escape; output grows with input by a constant factor
 * Errors      damaged bytes are skipped (base64) or passed on (quoted-printable); wrong characters become U+FFFD
 * Source      RFC 2045 6.7, 6.8; RFC 2047 2, 6.2; RFC 5051
 */
#include "proto/mime/decode.h"
#include "base/codec.h"
#include "base/mem.h"

#include <stdlib.h>
#include <strings.h>
#include <unicode/ucnv.h>
#include <unicode/unorm2.h>
#include <unicode/ustring.h>

enum mime_encoding mime_encoding_of(const char *name)
{
    static const struct {
        const char *name;
        enum mime_encoding encoding;
    } names[] = { { "7bit", MIME_IDENTITY }, { "8bit", MIME_IDENTITY },       { "binary", MIME_IDENTITY },
                  { "base64", MIME_BASE64 }, { "quoted-printable", MIME_QP }, { "", MIME_IDENTITY } };

    if (name == NULL)
        return MIME_IDENTITY;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcasecmp(names[i].name, name) == 0)
            return names[i].encoding;
    return MIME_UNKNOWN;
}

void mime_decoder_init(struct mime_decoder *d, enum mime_encoding e) { *d = (struct mime_decoder){ .encoding = e }; }

static void feed_base64(struct mime_decoder *d, struct slice in, struct str *out)
{
    for (size_t i = 0; i < in.len; i++) {
        int v = base64_value(in.p[i]);
        if (in.p[i] == '=') { /* padding: the next group may begin anew (joined bodies) */
            d->bits = d->count = 0;
            continue;
        }
        if (v < 0)
            continue;
        d->bits = (d->bits << 6 | (unsigned) v) & 0xffffff;
        if (++d->count > 1)
            str_addc(out, (char) (d->bits >> (6 - 2 * (d->count - 1))));
        if (d->count == 4)
            d->count = d->bits = 0;
    }
}

static int hex_digit(char c)
{
    if (ascii_isdigit(c))
        return c - '0';
    c = ascii_lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* held begins with "=" (an escape) or with blanks that count only when the line goes on. */
static void flush_held(struct mime_decoder *d, struct str *out)
{
    str_add(out, d->held, d->held_len);
    d->held_len = 0;
}

static void hold(struct mime_decoder *d, char c, struct str *out)
{
    if (d->held_len == sizeof d->held)
        flush_held(d, out);
    d->held[d->held_len++] = c;
}

static void feed_escape(struct mime_decoder *d, char c, struct str *out)
{
    hold(d, c, out);
    if (c == '\n') { /* soft line break, perhaps with blanks before its end */
        d->held_len = 0;
        return;
    }
    if (c == ' ' || c == '\t' || c == '\r')
        return;
    if (d->held_len == 2 && hex_digit(c) >= 0)
        return;
    if (d->held_len == 3 && hex_digit(d->held[1]) >= 0 && hex_digit(c) >= 0) {
        str_addc(out, (char) ((unsigned) hex_digit(d->held[1]) << 4 | (unsigned) hex_digit(c)));
        d->held_len = 0;
        return;
    }
    flush_held(d, out);
}

static void feed_qp(struct mime_decoder *d, struct slice in, struct str *out)
{
    for (size_t i = 0; i < in.len; i++) {
        char c = in.p[i];
        if (d->held_len && d->held[0] == '=') {
            feed_escape(d, c, out);
        } else if (c == ' ' || c == '\t') {
            hold(d, c, out);
        } else if (c == '\n' || c == '\r') { /* blanks at the end of a line were added on the way */
            d->held_len = 0;
            str_addc(out, c);
        } else {
            flush_held(d, out);
            if (c == '=')
                hold(d, c, out);
            else
                str_addc(out, c);
        }
    }
}

void mime_decoder_feed(struct mime_decoder *d, struct slice in, struct str *out)
{
    if (d->encoding == MIME_BASE64)
        feed_base64(d, in, out);
    else if (d->encoding == MIME_QP)
        feed_qp(d, in, out);
    else
        str_addslice(out, in);
}

void mime_decoder_end(struct mime_decoder *d, struct str *out)
{
    if (d->encoding == MIME_QP && d->held_len && d->held[0] == '=')
        flush_held(d, out);
    d->held_len = 0;
    d->ended = true;
}

enum { UNITS = 1024 };
struct mime_charset {
    UConverter *from; /* NULL: UTF-8 or ASCII, checked here */
    char tail[4];     /* the start of a character that the next piece completes */
    size_t tail_len;
};

static bool plain_name(const char *name)
{
    return name == NULL || *name == '\0' || strcasecmp(name, "us-ascii") == 0 || strcasecmp(name, "ascii") == 0 ||
           strcasecmp(name, "utf-8") == 0 || strcasecmp(name, "utf8") == 0;
}

struct mime_charset *mime_charset_open(const char *name)
{
    struct mime_charset *cs = mem_new(sizeof *cs);
    UErrorCode err = U_ZERO_ERROR;

    if (!plain_name(name)) {
        cs->from = ucnv_open(name, &err);
        if (U_FAILURE(err))
            cs->from = NULL;
    }
    return cs;
}

bool mime_charset_known(const char *name)
{
    UErrorCode err = U_ZERO_ERROR;
    UConverter *c;

    if (plain_name(name))
        return true;
    c = ucnv_open(name, &err);
    if (c)
        ucnv_close(c);
    return U_SUCCESS(err);
}

void mime_charset_close(struct mime_charset **cs)
{
    if (*cs == NULL)
        return;
    if ((*cs)->from)
        ucnv_close((*cs)->from);
    free(*cs);
    *cs = NULL;
}

/* Length of the character that begins here: 0 when wrong; more than len when it needs more bytes. */
static size_t utf8_length(const unsigned char *p, size_t len)
{
    size_t want = *p < 0x80                 ? 1
                  : *p >= 0xc2 && *p < 0xe0 ? 2
                  : *p >= 0xe0 && *p < 0xf0 ? 3
                  : *p >= 0xf0 && *p < 0xf5 ? 4
                                            : 0;

    for (size_t i = 1; i < want && i < len; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    if (want > 1 && len >= want && !utf8_valid(slice_make((const char *) p, want)))
        return 0;
    return want;
}

static void feed_utf8(struct mime_charset *cs, struct slice in, bool last, struct str *out)
{
    struct str joined;

    str_init(&joined, 0);
    if (in.p == NULL)
        in = (struct slice){ "", 0 };
    if (cs->tail_len) {
        str_add(&joined, cs->tail, cs->tail_len);
        str_addslice(&joined, in);
        in = str_slice(&joined);
        cs->tail_len = 0;
    }
    while (in.len) {
        size_t n = utf8_length((const unsigned char *) in.p, in.len);
        if (n > in.len && !last) {
            memcpy(cs->tail, in.p, in.len);
            cs->tail_len = in.len;
            break;
        }
        if (n == 0 || n > in.len) {
            str_adds(out, "\xef\xbf\xbd");
            n = 1;
        } else {
            str_add(out, in.p, n);
        }
        in = slice_make(in.p + n, in.len - n);
    }
    str_free(&joined);
}

static void add_units(const UChar *u, int32_t n, struct str *out)
{
    char utf8[UNITS * 3 + 4];
    int32_t len = 0;
    UErrorCode err = U_ZERO_ERROR;

    u_strToUTF8WithSub(utf8, sizeof utf8, &len, u, n, 0xfffd, NULL, &err);
    if (U_SUCCESS(err))
        str_add(out, utf8, (size_t) len);
}

void mime_charset_feed(struct mime_charset *cs, struct slice in, bool last, struct str *out)
{
    const char *p = in.p ? in.p : "", *end = p + in.len;
    UChar units[UNITS], *at;
    UErrorCode err;

    if (cs->from == NULL) {
        feed_utf8(cs, in, last, out);
        return;
    }
    do {
        err = U_ZERO_ERROR;
        at = units;
        ucnv_toUnicode(cs->from, &at, units + UNITS - 2, &p, end, NULL, last, &err);
        if (at > units && U16_IS_LEAD(at[-1]) && err == U_BUFFER_OVERFLOW_ERROR) { /* do not cut a pair */
            UErrorCode one = U_ZERO_ERROR;
            ucnv_toUnicode(cs->from, &at, at + 1, &p, end, NULL, last, &one);
        }
        add_units(units, (int32_t) (at - units), out);
    } while (err == U_BUFFER_OVERFLOW_ERROR);
}

/* "=?charset?q?text?=" at the start of v. Answers its length, 0 when it is none. */
static size_t encoded_word(struct slice v, char charset[64], char *how, struct slice *text)
{
    size_t i = 2, from;

    if (v.len < 8 || v.p[0] != '=' || v.p[1] != '?')
        return 0;
    while (i < v.len && v.p[i] != '?' && !ascii_isspace(v.p[i]))
        i++;
    if (i >= v.len || v.p[i] != '?' || i - 2 > 63 || i + 3 >= v.len || v.p[i + 2] != '?')
        return 0;
    memcpy(charset, v.p + 2, i - 2);
    charset[i - 2] = '\0';
    if (strchr(charset, '*')) /* RFC 2231 section 5: language */
        *strchr(charset, '*') = '\0';
    *how = ascii_lower(v.p[i + 1]);
    for (from = i += 3; i + 1 < v.len; i++) {
        if (v.p[i] == '?' && v.p[i + 1] == '=') {
            *text = slice_make(v.p + from, i - from);
            return *how == 'q' || *how == 'b' ? i + 2 : 0;
        }
        if (v.p[i] == '\n')
            return 0;
    }
    return 0;
}

static void decode_word(char how, struct slice text, struct str *raw)
{
    if (how == 'b') {
        struct mime_decoder d;
        mime_decoder_init(&d, MIME_BASE64);
        mime_decoder_feed(&d, text, raw);
        return;
    }
    for (size_t i = 0; i < text.len; i++) {
        if (text.p[i] == '=' && i + 2 < text.len && hex_digit(text.p[i + 1]) >= 0 && hex_digit(text.p[i + 2]) >= 0) {
            str_addc(raw, (char) ((unsigned) hex_digit(text.p[i + 1]) << 4 | (unsigned) hex_digit(text.p[i + 2])));
            i += 2;
        } else {
            str_addc(raw, text.p[i] == '_' ? ' ' : text.p[i]);
        }
    }
}

/* Bytes of neighbouring words of one charset are decoded together: senders cut characters in two. */
static void flush_words(struct str *raw, const char *charset, struct str *out)
{
    struct mime_charset *cs;

    if (raw->len == 0)
        return;
    cs = mime_charset_open(charset);
    mime_charset_feed(cs, str_slice(raw), true, out);
    mime_charset_close(&cs);
    str_reset(raw);
}

void mime_decode_words(struct slice v, struct str *out)
{
    char charset[64], now[64] = "", how;
    struct mime_charset *plain = mime_charset_open(NULL);
    struct slice text;
    struct str raw;
    size_t n, i = 0;

    str_init(&raw, 0);
    while (i < v.len) {
        struct slice rest = slice_sub(v, i, v.len);
        if (*rest.p == '=' && (n = encoded_word(rest, charset, &how, &text)) > 0) {
            if (strcasecmp(charset, now) != 0) {
                flush_words(&raw, now, out);
                memcpy(now, charset, sizeof now);
            }
            decode_word(how, text, &raw);
            size_t blanks = i + n; /* RFC 2047 6.2: blanks between words are not shown */
            while (blanks < v.len && ascii_isspace(v.p[blanks]))
                blanks++;
            i = encoded_word(slice_sub(v, blanks, v.len), charset, &how, &text) ? blanks : i + n;
            continue;
        }
        flush_words(&raw, now, out);
        if (*rest.p != '\n' && (*rest.p != '\r' || rest.len < 2 || rest.p[1] != '\n'))
            mime_charset_feed(plain, slice_make(rest.p, 1), false, out);
        i++;
    }
    flush_words(&raw, now, out);
    mime_charset_feed(plain, (struct slice){ "", 0 }, true, out);
    mime_charset_close(&plain);
    str_free(&raw);
}

static UChar *to_units(struct slice utf8, int32_t *len)
{
    UErrorCode err = U_ZERO_ERROR;
    UChar *u = mem_array(utf8.len + 1, sizeof *u);

    u_strFromUTF8WithSub(u, (int32_t) utf8.len + 1, len, utf8.p, (int32_t) utf8.len, 0xfffd, NULL, &err);
    if (U_FAILURE(err))
        *len = 0;
    return u;
}

static void casemap_units(struct slice utf8, struct str *out)
{
    const UNormalizer2 *nfkd;
    UErrorCode err = U_ZERO_ERROR;
    int32_t len, upper_len, n;
    UChar *u = to_units(utf8, &len), *upper = mem_array((size_t) len * 3 + 1, sizeof *u), *dec;

    upper_len = u_strToUpper(upper, len * 3 + 1, u, len, "", &err);
    nfkd = unorm2_getNFKDInstance(&err);
    if (U_SUCCESS(err)) {
        n = unorm2_normalize(nfkd, upper, upper_len, NULL, 0, &err);
        err = U_ZERO_ERROR;
        dec = mem_array((size_t) n + 1, sizeof *dec);
        unorm2_normalize(nfkd, upper, upper_len, dec, n + 1, &err);
        for (int32_t i = 0; U_SUCCESS(err) && i < n;) {
            int32_t piece = n - i < UNITS ? n - i : UNITS;
            if (piece == UNITS && U16_IS_LEAD(dec[i + piece - 1]))
                piece--;
            add_units(dec + i, piece, out);
            i += piece;
        }
        free(dec);
    }
    free(u);
    free(upper);
}

void mime_casemap(struct slice utf8, struct str *out)
{
    if (slice_is_ascii(utf8)) {
        for (size_t i = 0; i < utf8.len; i++)
            str_addc(out, ascii_upper(utf8.p[i]));
    } else if (utf8.len < INT32_MAX / 8) {
        casemap_units(utf8, out);
    }
}
