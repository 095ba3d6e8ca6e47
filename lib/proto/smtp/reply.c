/*
 * smtp reply - replies and EHLO keywords
 *
 * Callers     see reply.h
 * Invariants  pure
 */
#include "proto/smtp/reply.h"

#include <stdio.h>

void smtp_reply_init(struct smtp_reply *r)
{
    *r = (struct smtp_reply){ 0 };
    str_init(&r->text, SMTP_REPLY_BYTES);
}

void smtp_reply_free(struct smtp_reply *r) { str_free(&r->text); }

void smtp_reply_reset(struct smtp_reply *r)
{
    r->code = 0;
    r->dsn[0] = 0;
    r->lines = 0;
    str_reset(&r->text);
}

size_t smtp_dsn_len(struct slice text, int code)
{
    size_t at = 0;

    if (text.len < 5 || (text.p[0] != '2' && text.p[0] != '4' && text.p[0] != '5') || text.p[1] != '.' ||
        (code && text.p[0] != '0' + code / 100))
        return 0;
    at = 2;
    for (int part = 0; part < 2; part++) {
        size_t digits = 0;

        while (at < text.len && ascii_isdigit(text.p[at])) {
            at++;
            digits++;
        }
        if (digits == 0 || digits > 3)
            return 0;
        if (part == 0 && (at >= text.len || text.p[at++] != '.'))
            return 0;
    }
    return at == text.len || ascii_isspace(text.p[at]) ? at : 0;
}

static struct slice after_code(struct slice line)
{
    return line.len > 4 ? slice_sub(line, 4, line.len) : slice_sub(line, line.len, 0);
}

enum smtp_reply_step smtp_reply_line(struct smtp_reply *r, struct slice line)
{
    struct slice words = after_code(line);
    int code = 0;
    size_t dsn;

    if (line.len < 3 || ++r->lines > SMTP_REPLY_LINES)
        return SMTP_REPLY_BAD;
    for (size_t i = 0; i < 3; i++) {
        if (!ascii_isdigit(line.p[i]))
            return SMTP_REPLY_BAD;
        code = code * 10 + (line.p[i] - '0');
    }
    if (code < 100 || code > 599 || (line.len > 3 && line.p[3] != ' ' && line.p[3] != '-'))
        return SMTP_REPLY_BAD;
    /* RFC 5321 4.2.1 wants one code in all lines; where servers differ the last counts, as in Postfix. */
    r->code = code;
    dsn = smtp_dsn_len(words, code);
    if (dsn && dsn < sizeof r->dsn)
        snprintf(r->dsn, sizeof r->dsn, "%.*s", (int) dsn, words.p);
    if (r->text.len)
        str_addc(&r->text, '\n');
    str_addslice(&r->text, line);
    return line.len > 3 && line.p[3] == '-' ? SMTP_REPLY_MORE : SMTP_REPLY_DONE;
}

struct slice smtp_reply_words(struct slice line)
{
    struct slice words = after_code(line);
    size_t dsn = smtp_dsn_len(words, 0);

    return slice_trim(slice_sub(words, dsn, words.len));
}

static const struct {
    const char *name;
    unsigned bit;
} keywords[] = {
    { "PIPELINING", SMTP_EHLO_PIPELINING },
    { "SIZE", SMTP_EHLO_SIZE },
    { "STARTTLS", SMTP_EHLO_STARTTLS },
    { "AUTH", SMTP_EHLO_AUTH },
    { "ENHANCEDSTATUSCODES", SMTP_EHLO_ENHANCEDSTATUSCODES },
    { "8BITMIME", SMTP_EHLO_8BITMIME },
    { "DSN", SMTP_EHLO_DSN },
    { "SMTPUTF8", SMTP_EHLO_SMTPUTF8 },
    { "CHUNKING", SMTP_EHLO_CHUNKING },
    { "VRFY", SMTP_EHLO_VRFY },
    { "ETRN", SMTP_EHLO_ETRN },
    { "XCLIENT", SMTP_EHLO_XCLIENT },
    { "XFORWARD", SMTP_EHLO_XFORWARD },
    { "REQUIRETLS", SMTP_EHLO_REQUIRETLS },
};

unsigned smtp_ehlo_feature(struct slice keyword)
{
    for (size_t i = 0; i < sizeof keywords / sizeof *keywords; i++)
        if (slice_caseeq(keyword, keywords[i].name))
            return keywords[i].bit;
    return 0;
}

void smtp_ehlo_parse(const struct smtp_reply *r, const char *ignored, struct smtp_ehlo *out)
{
    struct slice rest = str_slice(&r->text), line, word, list = slice_of(ignored);
    unsigned mask = 0;
    bool first = true;

    *out = (struct smtp_ehlo){ 0 };
    while (slice_word(&list, ", \t\r\n", &word))
        mask |= smtp_ehlo_feature(word);
    while (slice_split(&rest, '\n', &line)) {
        struct slice words = after_code(line);
        unsigned bit;

        if (!slice_word(&words, " \t", &word)) {
            first = false;
            continue;
        }
        if (first) {
            out->host = word;
            first = false;
            continue;
        }
        /* "AUTH=PLAIN LOGIN": what old clients wanted to see. */
        if (slice_casestarts(word, "AUTH=")) {
            words = slice_make(word.p + 5, (size_t) (line.p + line.len - word.p) - 5);
            word = slice_sub(word, 0, 4);
        }
        bit = smtp_ehlo_feature(word) & ~mask;
        out->features |= bit;
        if (bit == SMTP_EHLO_SIZE && slice_word(&words, " \t", &word))
            slice_u64(word, INT64_MAX, &out->size);
        if (bit == SMTP_EHLO_AUTH && out->auth.len == 0)
            out->auth = slice_trim(words);
    }
}
