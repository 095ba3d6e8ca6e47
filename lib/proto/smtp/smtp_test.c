/* smtp_test - command lines, parameters, xtext, data, replies: each a table */
#include "proto/smtp/command.h"
#include "proto/smtp/data.h"
#include "proto/smtp/reply.h"

#include <assert.h>
#include <stdio.h>

enum { ALL = 0xff };

static const struct {
    const char *in;
    int code;
    unsigned seen;
    uint64_t size;
} mails[] = {
    { "", 0, 0, 0 },
    { "SIZE=100", 0, SMTP_MAIL_SIZE, 100 },
    { "size=0 body=8bitmime", 0, SMTP_MAIL_SIZE | SMTP_MAIL_BODY, 0 },
    { "SIZE=-1", 501, 0, 0 },
    { "SIZE=", 501, 0, 0 },
    { "SIZE", 555, 0, 0 },
    { "SIZE=99999999999999999999", 552, 0, 0 },
    { "BODY=BINARYMIME", 555, 0, 0 },
    { "RET=HDRS ENVID=a+2Bb", 0, SMTP_MAIL_RET | SMTP_MAIL_ENVID, 0 },
    { "RET=X", 501, 0, 0 },
    { "RET=FULL RET=HDRS", 501, 0, 0 },
    { "ENVID=a+2", 501, 0, 0 },
    { "ENVID=a+00", 501, 0, 0 },
    { "AUTH=<>", 0, SMTP_MAIL_AUTH, 0 },
    { "SMTPUTF8", 0, SMTP_MAIL_SMTPUTF8, 0 },
    { "SMTPUTF8=1", 555, 0, 0 },
    { "HOLDFOR=60", 0, SMTP_MAIL_HOLDFOR, 0 },
    { "HOLDFOR=0", 501, 0, 0 },
    { "X=1", 555, 0, 0 },
};

static const struct {
    const char *in;
    int code;
    unsigned notify;
    const char *type, *orcpt;
} rcpts[] = {
    { "", 0, 0, "", "" },
    { "NOTIFY=NEVER", 0, 1, "", "" },
    { "NOTIFY=SUCCESS,failure,DELAY", 0, 14, "", "" },
    { "NOTIFY=NEVER,DELAY", 501, 0, "", "" },
    { "NOTIFY=", 501, 0, "", "" },
    { "NOTIFY=SUCCESS,", 501, 0, "", "" },
    { "NOTIFY", 555, 0, "", "" },
    { "ORCPT=rfc822;a+40b.c", 0, 0, "rfc822", "a+40b.c" },
    { "ORCPT=utf-8;\\x{F6}@b", 0, 0, "utf-8", "\\x{F6}@b" },
    { "ORCPT=rfc822", 501, 0, "", "" },
    { "ORCPT=;a", 501, 0, "", "" },
    { "ORCPT=rfc822;a ORCPT=rfc822;b", 501, 0, "", "" },
    { "FOO=1", 555, 0, "", "" },
};

static void test_params(void)
{
    for (size_t i = 0; i < sizeof mails / sizeof *mails; i++) {
        struct smtp_mail_params out;
        struct err err = { 0 };

        assert((smtp_mail_params(slice_of(mails[i].in), ALL, &out, &err) == 0) == (mails[i].code == 0));
        assert(err.code == mails[i].code);
        if (mails[i].code == 0)
            assert(out.seen == mails[i].seen && out.size == mails[i].size);
    }
    for (size_t i = 0; i < sizeof rcpts / sizeof *rcpts; i++) {
        struct smtp_rcpt_params out;
        struct err err = { 0 };

        assert((smtp_rcpt_params(slice_of(rcpts[i].in), ALL, &out, &err) == 0) == (rcpts[i].code == 0));
        assert(err.code == rcpts[i].code);
        if (rcpts[i].code == 0)
            assert(out.notify == rcpts[i].notify && slice_eq(out.orcpt_type, rcpts[i].type) &&
                   slice_eq(out.orcpt, rcpts[i].orcpt));
    }
    struct smtp_mail_params out;
    struct err err;
    assert(smtp_mail_params(slice_of("SMTPUTF8"), ALL & ~(unsigned) SMTP_MAIL_SMTPUTF8, &out, &err) == -1);
    assert(err.code == 555 && strcmp(err.text, "Unsupported option: SMTPUTF8") == 0);
}

static const struct {
    const char *in;
    bool strict;
    enum smtp_path_problem problem;
    const char *internal, *params;
} paths[] = {
    { "FROM:<a@b> SIZE=1", true, SMTP_PATH_OK, "a@b", "SIZE=1" },
    { "from:<>", true, SMTP_PATH_OK, "", "" },
    { "FROM: <a@b>  X Y", false, SMTP_PATH_OK, "a@b", "X Y" },
    { "FROM: <a@b>", true, SMTP_PATH_SYNTAX, "", "" },
    { "FROM : a@b X", false, SMTP_PATH_OK, "a@b", "X" },
    { "from :<a@b>", false, SMTP_PATH_OK, "a@b", "" },
    { "TO:<a@b>", false, SMTP_PATH_NO_KEYWORD, "", "" },
    { "FRO", false, SMTP_PATH_NO_KEYWORD, "", "" },
    { "", false, SMTP_PATH_NO_KEYWORD, "", "" },
    { "FROM:", false, SMTP_PATH_SYNTAX, "", "" },
};

static void test_commands(void)
{
    struct slice verb, rest;
    uint64_t n;
    bool last;

    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        struct slice params = SLICE("");
        struct str out;

        str_init(&out, STR_UNLIMITED);
        assert(smtp_command_path(slice_of(paths[i].in), "FROM:", paths[i].strict, true, &out, &params) ==
               paths[i].problem);
        if (paths[i].problem == SMTP_PATH_OK)
            assert(strcmp(out.p, paths[i].internal) == 0 && slice_eq(params, paths[i].params));
        str_free(&out);
    }
    smtp_command_split(slice_of("  mail   FROM:<a>  "), &verb, &rest);
    assert(slice_eq(verb, "mail") && slice_eq(rest, "FROM:<a>"));
    smtp_command_split(slice_of("   "), &verb, &rest);
    assert(verb.len == 0 && rest.len == 0);
    assert(smtp_command_bdat(slice_of("86 LAST"), &n, &last) == 0 && n == 86 && last);
    assert(smtp_command_bdat(slice_of("0"), &n, &last) == 0 && n == 0 && !last);
    assert(smtp_command_bdat(slice_of("x"), &n, &last) && smtp_command_bdat(slice_of("1 2"), &n, &last));
    assert(smtp_command_bdat(slice_of(""), &n, &last) && smtp_command_bdat(slice_of("1 LAST x"), &n, &last));
    assert(smtp_command_bdat(slice_of("-1"), &n, &last));
}

static void collect(void *ctx, enum smtp_data_piece piece, struct slice s)
{
    str_addslice(ctx, s);
    str_adds(ctx, piece == SMTP_DATA_LINE ? "|" : "~");
}

static const struct {
    const char *in, *out, *rest;
    bool chunked, done;
    uint64_t bare_lf, bare_cr;
} datas[] = {
    { "a\r\n.\r\nX", "a|", "X", false, true, 0, 0 },
    { ".\r\n", "", "", false, true, 0, 0 },
    { "..a\r\n.\r\n", ".a|", "", false, true, 0, 0 },
    { "..\r\n.\r\n", ".|", "", false, true, 0, 0 },
    { ".x\r\n.\r\n", "x|", "", false, true, 0, 0 },
    { "a\n.\n.\r\n", "a|.|.|", "", false, false, 2, 0 },
    { "a\n.\r\nb\r\n.\r\n", "a|.|b|", "", false, true, 1, 0 },
    { "a\r\n.\nb\r\n.\r\n", "a|.|b|", "", false, true, 1, 0 },
    { "a\r\n.\r\r\n.\r\n", "a|\r|", "", false, true, 0, 1 },
    { "a\rb\r\n.\r\n", "a\rb|", "", false, true, 0, 1 },
    { "\r\n.\r\n", "|", "", false, true, 0, 0 },
    { "abcdefghijkl\r\n.\r\n", "abcdefgh~ijkl|", "", false, true, 0, 0 },
    { ".bcdefghijkl\r\n.\r\n", "bcdefghi~jkl|", "", false, true, 0, 0 },
    { "abcdefgh\r\n.\r\n", "abcdefgh|", "", false, true, 0, 0 },
    { ".a\r\n.\r\n", ".a|.|", "", true, false, 0, 0 },
    { "a\r\nb", "a|b|", "", true, false, 0, 0 },
};

/* Every cut of the input into two must give the same; long lines may be cut elsewhere, so parts are joined. */
static void run_data(size_t i, size_t cut)
{
    struct slice in = slice_of(datas[i].in), first = slice_sub(in, 0, cut);
    struct smtp_data d;
    struct str out;
    size_t used;

    smtp_data_init(&d, 8, datas[i].chunked);
    str_init(&out, STR_UNLIMITED);
    used = smtp_data_feed(&d, first, collect, &out);
    assert(used == first.len || d.done);
    if (!d.done)
        used += smtp_data_feed(&d, slice_sub(in, cut, in.len), collect, &out);
    if (datas[i].chunked)
        smtp_data_finish(&d, collect, &out);
    if (cut) {
        char joined[64], wanted[64];
        size_t a = 0, b = 0;

        for (const char *p = out.p; *p; p++)
            if (*p != '~')
                joined[a++] = *p;
        for (const char *p = datas[i].out; *p; p++)
            if (*p != '~')
                wanted[b++] = *p;
        assert(a == b && memcmp(joined, wanted, a) == 0);
    } else {
        if (strcmp(out.p, datas[i].out) != 0)
            fprintf(stderr, "data %zu: %s\n", i, out.p);
        assert(strcmp(out.p, datas[i].out) == 0);
    }
    assert(d.done == datas[i].done && strcmp(datas[i].in + used, datas[i].rest) == 0);
    assert(d.bare_lf == datas[i].bare_lf && d.bare_cr == datas[i].bare_cr);
    smtp_data_free(&d);
    str_free(&out);
}

static void test_data(void)
{
    struct str out;

    for (size_t i = 0; i < sizeof datas / sizeof *datas; i++)
        for (size_t cut = 0; cut <= strlen(datas[i].in); cut++)
            run_data(i, cut);
    str_init(&out, STR_UNLIMITED);
    smtp_data_stuff(&out, SLICE(".a"), true, false);
    smtp_data_stuff(&out, SLICE(".b"), false, true);
    smtp_data_stuff(&out, SLICE("c"), true, true);
    assert(strcmp(out.p, "..a.b\r\nc\r\n") == 0);
    str_free(&out);
}

static void test_xtext(void)
{
    struct str out, back;

    str_init(&out, STR_UNLIMITED);
    str_init(&back, STR_UNLIMITED);
    smtp_xtext_encode(&out, SLICE("a+b=c d\x01"));
    assert(strcmp(out.p, "a+2Bb+3Dc+20d+01") == 0);
    assert(smtp_xtext_decode(&back, str_slice(&out)) == 0 && strcmp(back.p, "a+b=c d\x01") == 0);
    assert(smtp_xtext_decode(&back, SLICE("a+")) == -1 && smtp_xtext_decode(&back, SLICE("a b")) == -1);
    str_reset(&out);
    str_reset(&back);
    smtp_uxtext_encode(&out, SLICE("\xc3\xb6@b\\"));
    assert(strcmp(out.p, "\\x{F6}@b\\x{5C}") == 0);
    assert(smtp_uxtext_decode(&back, str_slice(&out)) == 0 && strcmp(back.p, "\xc3\xb6@b\\") == 0);
    assert(smtp_uxtext_decode(&back, SLICE("\\x{110000}")) == -1 && smtp_uxtext_decode(&back, SLICE("\\x{")) == -1);
    str_free(&out);
    str_free(&back);
}

static void test_reply(void)
{
    struct smtp_reply r;
    struct smtp_ehlo ehlo;

    smtp_reply_init(&r);
    assert(smtp_reply_line(&r, SLICE("250-mail.example hello")) == SMTP_REPLY_MORE);
    assert(smtp_reply_line(&r, SLICE("250-SIZE 1000")) == SMTP_REPLY_MORE);
    assert(smtp_reply_line(&r, SLICE("250-AUTH=PLAIN LOGIN")) == SMTP_REPLY_MORE);
    assert(smtp_reply_line(&r, SLICE("250-starttls")) == SMTP_REPLY_MORE);
    assert(smtp_reply_line(&r, SLICE("250 XWHATEVER")) == SMTP_REPLY_DONE);
    smtp_ehlo_parse(&r, "starttls", &ehlo);
    assert(ehlo.features == (SMTP_EHLO_SIZE | SMTP_EHLO_AUTH) && ehlo.size == 1000);
    assert(slice_eq(ehlo.auth, "PLAIN LOGIN") && slice_eq(ehlo.host, "mail.example"));
    smtp_reply_reset(&r);
    assert(smtp_reply_line(&r, SLICE("550 5.1.1 no such user")) == SMTP_REPLY_DONE);
    assert(r.code == 550 && strcmp(r.dsn, "5.1.1") == 0);
    assert(slice_eq(smtp_reply_words(str_slice(&r.text)), "no such user"));
    smtp_reply_reset(&r);
    assert(smtp_reply_line(&r, SLICE("550")) == SMTP_REPLY_DONE && r.dsn[0] == 0);
    assert(smtp_reply_line(&r, SLICE("hello")) == SMTP_REPLY_BAD &&
           smtp_reply_line(&r, SLICE("25")) == SMTP_REPLY_BAD);
    assert(smtp_reply_line(&r, SLICE("250_x")) == SMTP_REPLY_BAD &&
           smtp_reply_line(&r, SLICE("999 x")) == SMTP_REPLY_BAD);
    assert(smtp_dsn_len(SLICE("5.1.1 x"), 250) == 0 && smtp_dsn_len(SLICE("5.1.1x"), 0) == 0);
    smtp_reply_free(&r);
}

int main(void)
{
    test_params();
    test_commands();
    test_xtext();
    test_data();
    test_reply();
}
