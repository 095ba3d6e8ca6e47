/* record - encodes and decodes one record; contract in record.h */
#include "queue/record.h"

#include <stdarg.h>
#include <stdio.h>

enum { LENGTH_BYTES_MAX = 4 }; /* 28 bits: more than RECORD_BYTES */

void record_put(struct str *out, int type, struct slice data)
{
    size_t n = data.len;

    str_addc(out, (char) type);
    do {
        unsigned char c = n & 0x7f;
        n >>= 7;
        str_addc(out, (char) (n ? c | 0x80 : c));
    } while (n);
    str_addslice(out, data);
}

void record_puts(struct str *out, int type, const char *data) { record_put(out, type, slice_of(data)); }

void record_printf(struct str *out, int type, const char *fmt, ...)
{
    struct str text;
    va_list ap;

    str_init(&text, RECORD_BYTES);
    va_start(ap, fmt);
    str_vprintf(&text, fmt, ap);
    va_end(ap);
    record_put(out, type, str_slice(&text));
    str_free(&text);
}

void record_attr(struct str *out, const char *name, const char *value)
{
    record_printf(out, REC_ATTR, "%s=%s", name, value);
}

int record_head(const char *p, size_t have, size_t *data_bytes)
{
    size_t n = 0;

    for (size_t i = 0; i < LENGTH_BYTES_MAX; i++) {
        if (i + 1 >= have)
            return 0;
        unsigned char c = (unsigned char) p[i + 1];
        n |= (size_t) (c & 0x7f) << (7 * i);
        if ((c & 0x80) == 0) {
            if (n > RECORD_BYTES)
                return -1;
            *data_bytes = n;
            return (int) i + 2;
        }
    }
    return -1;
}

int record_get(struct slice *in, struct record *out)
{
    size_t len = 0;
    int head = in->len ? record_head(in->p, in->len, &len) : 0;

    if (head <= 0)
        return head;
    if (in->len - (size_t) head < len)
        return 0;
    out->type = (unsigned char) in->p[0];
    out->data = slice_make(in->p + head, len);
    in->p += (size_t) head + len;
    in->len -= (size_t) head + len;
    return 1;
}

const char *record_name(int type)
{
    static const struct {
        char type;
        const char *name;
    } names[] = {
        { REC_SIZE, "message_size" },
        { REC_TIME, "message_arrival_time" },
        { REC_CTIME, "queue_file_create_time" },
        { REC_FULL, "sender_fullname" },
        { REC_INSPECT, "content_inspector" },
        { REC_FILT, "content_filter" },
        { REC_FROM, "sender" },
        { REC_DONE, "done_recipient" },
        { REC_RCPT, "recipient" },
        { REC_ORCP, "original_recipient" },
        { REC_DRCP, "canceled_recipient" },
        { REC_WARN, "warning_message_time" },
        { REC_ATTR, "named_attribute" },
        { REC_KILL, "killed_record" },
        { REC_RDR, "redirect_to" },
        { REC_FLGS, "processing_flags" },
        { REC_DELAY, "delivery_delay" },
        { REC_MILT_COUNT, "milter_count" },
        { REC_MESG, "message_content" },
        { REC_NORM, "regular_text" },
        { REC_DTXT, "padding" },
        { REC_XTRA, "extracted_information" },
        { REC_RRTO, "return_receipt" },
        { REC_ERTO, "errors_to" },
        { REC_PRIO, "priority" },
        { REC_PTR, "pointer_record" },
        { REC_VERP, "verp_delimiters" },
        { REC_DSN_RET, "dsn_return_flags" },
        { REC_DSN_ENVID, "dsn_envelope_id" },
        { REC_DSN_ORCPT, "dsn_original_recipient" },
        { REC_DSN_NOTIFY, "dsn_notify_flags" },
        { REC_END, "message_end" },
    };

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (names[i].type == type)
            return names[i].name;
    return NULL;
}

bool record_is_line(struct slice data)
{
    for (size_t i = 0; i < data.len; i++)
        if (data.p[i] == 0 || data.p[i] == '\r' || data.p[i] == '\n')
            return false;
    return true;
}

int record_split_attr(struct slice data, struct slice *name, struct slice *value)
{
    ptrdiff_t at = slice_find(data, '=');

    if (at <= 0)
        return -1;
    *name = slice_sub(data, 0, (size_t) at);
    *value = slice_sub(data, (size_t) at + 1, data.len);
    return 0;
}
