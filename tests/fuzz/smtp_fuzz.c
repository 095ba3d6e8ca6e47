// LINK: proto base
/* smtp_fuzz - command lines, parameters, xtext, data in any chunks, replies */
#include "proto/smtp/command.h"
#include "proto/smtp/data.h"
#include "proto/smtp/reply.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *, size_t);

static void collect(void *ctx, enum smtp_data_piece piece, struct slice s)
{
    str_addslice(ctx, s);
    if (piece == SMTP_DATA_LINE)
        str_add(ctx, "\r\n", 2);
}

/* One feed or two: the content must be the same. */
static void content(struct slice in, bool chunked, size_t cut, struct str *out)
{
    struct smtp_data d;
    size_t used;

    smtp_data_init(&d, 16, chunked);
    used = smtp_data_feed(&d, slice_sub(in, 0, cut), collect, out);
    if (!d.done)
        used += smtp_data_feed(&d, slice_sub(in, cut, in.len), collect, out);
    if (used > in.len || (!d.done && used != in.len))
        abort();
    smtp_data_finish(&d, collect, out);
    smtp_data_free(&d);
}

static void commands(struct slice in)
{
    struct smtp_mail_params mail;
    struct smtp_rcpt_params rcpt;
    struct slice verb, rest, params;
    struct err err;
    struct str s;
    uint64_t n;
    bool last;

    str_init(&s, STR_UNLIMITED);
    smtp_command_split(in, &verb, &rest);
    smtp_command_path(rest, "FROM:", false, true, &s, &params);
    smtp_command_path(in, "TO:", true, false, &s, &params);
    smtp_mail_params(in, ~0u, &mail, &err);
    smtp_rcpt_params(in, ~0u, &rcpt, &err);
    smtp_command_bdat(in, &n, &last);
    str_reset(&s);
    smtp_xtext_encode(&s, in);
    struct str back;
    str_init(&back, STR_UNLIMITED);
    if (smtp_xtext_decode(&back, str_slice(&s)) || !slice_same(str_slice(&back), in))
        abort();
    str_reset(&back);
    smtp_uxtext_decode(&back, in);
    smtp_uxtext_encode(&back, in);
    str_free(&back);
    str_free(&s);
}

static void replies(struct slice in)
{
    struct smtp_reply r;
    struct smtp_ehlo ehlo;
    struct slice rest = in, line;

    smtp_reply_init(&r);
    while (slice_split(&rest, '\n', &line)) {
        if (smtp_reply_line(&r, line) == SMTP_REPLY_DONE) {
            smtp_ehlo_parse(&r, "size", &ehlo);
            smtp_reply_words(str_slice(&r.text));
            smtp_reply_reset(&r);
        }
    }
    smtp_reply_free(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct slice in = slice_make((const char *) data, len);
    struct str one, two;

    commands(in);
    replies(in);
    for (int chunked = 0; chunked < 2; chunked++) {
        str_init(&one, STR_UNLIMITED);
        str_init(&two, STR_UNLIMITED);
        content(in, chunked, len, &one);
        content(in, chunked, len ? data[0] % len : 0, &two);
        if (!slice_same(str_slice(&one), str_slice(&two)))
            abort();
        str_free(&one);
        str_free(&two);
    }
    return 0;
}
