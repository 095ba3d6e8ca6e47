// LINK: bounce_core client queue table proto service ipc conf base
/* bounce_log_fuzz - bounce and defer logs from any bytes; what is written must read back as it was; notices of them
 */
#include "../../qmgr/bounce/bounce_internal.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *, size_t);

static void again(const struct bounce_rcpt *r)
{
    struct bounce_rcpt back;
    struct str text, buf;

    str_init(&text, STR_UNLIMITED);
    str_init(&buf, STR_UNLIMITED);
    logfile_format(r, &text);
    struct slice rest = str_slice(&text);
    if (!logfile_next(&rest, &buf, &back) || back.notify != r->notify || strlen(back.reason) > LOGFILE_LINE_BYTES)
        abort();
    if (logfile_next(&rest, &buf, &back)) /* one record stays one record */
        abort();
    str_free(&buf);
    str_free(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bounce_mail mail = { .queue_id = "Q", .sender = "s@x", .envid = "", .encoding = "" };
    struct report rp = { .mail = &mail, .to = "s@x", .notice_id = "N", .host = "h", .mail_name = "Postfix" };
    struct slice log = slice_make((const char *) data, size), rest = log;
    struct bounce_rcpt r;
    struct str buf, out;

    str_init(&buf, STR_UNLIMITED);
    while (logfile_next(&rest, &buf, &r))
        again(&r);
    str_free(&buf);
    str_init(&out, STR_UNLIMITED);
    rp.log = log;
    for (int kind = REPORT_FAILURE; kind <= REPORT_STATUS; kind++) {
        rp.kind = (enum report_kind) kind;
        report_head(&rp, &out);
        report_tail(&rp, &out);
    }
    str_free(&out);
    return 0;
}
