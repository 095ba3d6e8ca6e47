/*
 * header - what happens to one header, and which headers are added
 *
 * Callers     content.c
 * Invariants  a header is written as it came unless one of its addresses changed; then only that address is replaced
 * Source      RFC 5322 3.6 (which headers a message must have), RFC 2047 (full names outside ASCII)
 */
#include "base/codec.h"
#include "base/log.h"
#include "base/time.h"
#include "conf/param.h"
#include "message.h"
#include "proto/addr/addr.h"

#include <stdio.h>
#include <strings.h>

enum { /* headers_seen; resent headers stand RESENT_SHIFT bits higher */
       SEEN_DATE = 1,
       SEEN_FROM = 2,
       SEEN_MESSAGE_ID = 4,
       SEEN_RECIPIENT = 8,
       RESENT_SHIFT = 8,
       WORD_BYTES = 45, /* of text in one encoded word: 75 characters, RFC 2047 2 */
       LINE_PIECE_BYTES = 998 * 2,
};

static const struct rule {
    const char *name;
    unsigned seen;
    enum address_class class; /* 0: holds no addresses that are rewritten */
} rules[] = {
    { "From", SEEN_FROM, HEADER_SENDER },
    { "Sender", 0, HEADER_SENDER },
    { "Reply-To", 0, HEADER_SENDER },
    { "Errors-To", 0, HEADER_SENDER },
    { "Return-Receipt-To", 0, HEADER_SENDER },
    { "Disposition-Notification-To", 0, HEADER_SENDER },
    { "Mail-Followup-To", 0, HEADER_SENDER },
    { "To", SEEN_RECIPIENT, HEADER_RECIPIENT },
    { "Cc", SEEN_RECIPIENT, HEADER_RECIPIENT },
    { "Bcc", SEEN_RECIPIENT, HEADER_RECIPIENT },
    { "Apparently-To", SEEN_RECIPIENT, HEADER_RECIPIENT },
    { "Date", SEEN_DATE, 0 },
    { "Message-Id", SEEN_MESSAGE_ID, 0 },
};

static void put_lines(struct message *m, struct slice text)
{
    struct slice line;

    while (!message_failed(m) && slice_split(&text, '\n', &line)) {
        while (line.len > LINE_PIECE_BYTES) {
            queue_writer_record(m->writer, REC_CONT, slice_sub(line, 0, LINE_PIECE_BYTES));
            line = slice_sub(line, LINE_PIECE_BYTES, line.len);
        }
        queue_writer_record(m->writer, REC_NORM, line);
    }
}

static bool is_dropped(struct slice name)
{
    struct slice rest = slice_of(cleanup_drop_headers), word;

    while (slice_word(&rest, ", \t\r\n", &word)) {
        if (word.len && word.p[word.len - 1] == ':')
            word.len--;
        if (word.len == name.len && strncasecmp(word.p, name.p, name.len) == 0)
            return true;
    }
    return false;
}

/* Replaces the addresses that change; true when one did, the header is then in *out. */
static bool rewrite_addresses(struct message *m, struct slice field, size_t value_at, enum address_class class,
                              struct str *out)
{
    struct addr_list list = { .in = slice_sub(field, value_at, field.len) };
    struct addr_item item;
    struct str internal;
    size_t copied = 0;
    bool changed = false;

    str_init(&internal, REWRITE_ADDRESS_BYTES);
    str_addslice(out, slice_sub(field, 0, value_at));
    while (!message_failed(m) && addr_list_next(&list, &item, &internal)) {
        if (item.kind != ADDR_MAILBOX || internal.len == 0)
            continue;
        const char *now = address_canonical(m, internal.p, class, m->rewriting);
        if (now == NULL || strcmp(now, internal.p) == 0)
            continue;
        changed = true;
        str_addslice(out, slice_sub(list.in, copied, item.at - copied));
        addr_quote(out, slice_of(now));
        copied = item.at + item.len;
    }
    str_addslice(out, slice_sub(list.in, copied, list.in.len));
    str_free(&internal);
    return changed && !str_over(out);
}

static void log_message_id(struct message *m, const char *label, struct slice value)
{
    value = slice_trim(value);
    log_info("%s: %s=%.*s", message_id(m), label, (int) (value.len > 1000 ? 1000 : value.len), value.p);
}

static void count_hop(struct message *m)
{
    if (++m->received >= cleanup_hopcount_limit) {
        log_warn("%s: message rejected: hopcount exceeded", message_id(m));
        message_fail(m, 554, "5.4.6", "Error: too many hops");
    }
}

static void note_encoding(struct message *m, struct slice value)
{
    value = slice_trim(value);
    if (cleanup_detect_8bit && m->encoding == NULL && slice_caseeq(value, "8bit"))
        m->encoding = "8bit";
}

void header_field(struct message *m, struct slice field)
{
    size_t colon = (size_t) slice_find(field, ':'), name_len = colon;
    const struct rule *rule = NULL;
    bool resent;
    struct slice name, base;

    while (name_len && (field.p[name_len - 1] == ' ' || field.p[name_len - 1] == '\t'))
        name_len--;
    name = base = slice_sub(field, 0, name_len);
    resent = slice_casestarts(name, "Resent-");
    if (resent)
        base = slice_sub(name, strlen("Resent-"), name.len);
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
        if (slice_caseeq(base, rules[i].name))
            rule = &rules[i];
    if (rule) {
        m->headers_seen |= resent ? rule->seen << RESENT_SHIFT : rule->seen;
        m->resent = m->resent || resent;
    }
    if (!slice_is_ascii(field))
        m->size.sendopts |= m->flags & (CLEANUP_SMTPUTF8 | CLEANUP_AUTOUTF8) ? QUEUE_SMTPUTF8_HEADER : 0;
    struct slice value = slice_sub(field, colon + 1, field.len);
    if (slice_caseeq(name, "Received"))
        count_hop(m);
    else if (slice_caseeq(name, "Content-Transfer-Encoding"))
        note_encoding(m, value);
    else if (rule && rule->seen == SEEN_MESSAGE_ID)
        log_message_id(m, resent ? "resent-message-id" : "message-id", value);
    if (is_dropped(name) || message_failed(m))
        return;
    struct str out;
    str_init(&out, (size_t) conf_header_size_limit * 2);
    if (rule && rule->class && m->rewriting != REWRITING_NONE &&
        rewrite_addresses(m, field, colon + 1, rule->class, &out))
        field = str_slice(&out);
    put_lines(m, field);
    str_free(&out);
}

/* RFC 2047 for what is not ASCII, quotes for what is no phrase. */
static void put_name(struct str *out, const char *name)
{
    struct slice rest = slice_of(name);
    bool plain = true;

    if (!slice_is_ascii(rest)) {
        const char *charset = utf8_valid(rest) ? "utf-8" : "unknown-8bit";
        while (rest.len) {
            size_t n = rest.len < WORD_BYTES ? rest.len : WORD_BYTES;
            while (n < rest.len && n > 1 && ((unsigned char) rest.p[n] & 0xc0) == 0x80)
                n--; /* a character is not split between words */
            str_printf(out, "=?%s?B?", charset);
            base64_encode(out, slice_sub(rest, 0, n));
            rest = slice_sub(rest, n, rest.len);
            str_adds(out, rest.len ? "?=\n " : "?=");
        }
        return;
    }
    for (const char *p = name; *p; p++)
        plain = plain && (ascii_isalnum(*p) || strchr(" !#$%&'*+-/=?^_`{|}~", *p));
    if (!plain)
        str_addc(out, '"');
    for (const char *p = name; *p; p++) {
        if (!plain && (*p == '"' || *p == '\\'))
            str_addc(out, '\\');
        str_addc(out, ascii_isprint(*p) ? *p : ' ');
    }
    if (!plain)
        str_addc(out, '"');
}

static void add_from(struct message *m, const char *prefix)
{
    struct str out;

    str_init(&out, STR_UNLIMITED);
    str_printf(&out, "%sFrom: ", prefix);
    if (*m->sender == 0) {
        str_adds(&out, "MAILER-DAEMON");
    } else if (m->full_name && *m->full_name) {
        put_name(&out, m->full_name);
        str_adds(&out, " <");
        addr_quote(&out, slice_of(m->sender));
        str_addc(&out, '>');
    } else {
        addr_quote(&out, slice_of(m->sender));
    }
    put_lines(m, str_slice(&out));
    str_free(&out);
}

static void add_message_id(struct message *m, const char *prefix)
{
    char stamp[32] = "", text[600];
    time_t now = time_now();
    struct tm tm;

    if (!queue_id_is_long(message_id(m)) && gmtime_r(&now, &tm))
        strftime(stamp, sizeof stamp, "%Y%m%d%H%M%S.", &tm);
    snprintf(text, sizeof text, "%sMessage-Id: <%s%s@%.300s>", prefix, stamp, message_id(m), conf_myhostname);
    put_lines(m, slice_of(text));
    log_info("%s: %s=<%s%s@%.300s>", message_id(m), m->resent ? "resent-message-id" : "message-id", stamp,
             message_id(m), conf_myhostname);
}

static void add_date(struct message *m, const char *prefix)
{
    char date[TIME_TEXT_BYTES], text[TIME_TEXT_BYTES + 32];

    time_rfc5322((time_t) (m->arrival_usec / 1000000), date);
    snprintf(text, sizeof text, "%sDate: %s", prefix, date);
    put_lines(m, slice_of(text));
}

void header_end(struct message *m)
{
    const char *prefix = m->resent ? "Resent-" : "";
    unsigned seen = m->resent ? m->headers_seen >> RESENT_SHIFT : m->headers_seen;

    if (m->rewriting != REWRITING_NONE || cleanup_always_add_headers) {
        if ((seen & SEEN_MESSAGE_ID) == 0)
            add_message_id(m, prefix);
        if ((seen & SEEN_DATE) == 0)
            add_date(m, prefix);
        if ((seen & SEEN_FROM) == 0)
            add_from(m, prefix);
    } else if ((m->headers_seen & SEEN_MESSAGE_ID) == 0) {
        log_info("%s: message-id=<>", message_id(m));
    }
    if (*cleanup_undisclosed_header && (seen & SEEN_RECIPIENT) == 0)
        put_lines(m, slice_of(cleanup_undisclosed_header));
}
