/* master.cf: the eight columns, options, braces, and what is refused. */
#include "conf/mastercf.h"

#include <assert.h>
#include <stdio.h>

static const char good[] = "# comment\n"
                           "smtp inet n - y - - smtpd\n"
                           "  -o syslog_name=postfix/x -v\n"
                           "# between\n"
                           "  -o { smtpd_client_restrictions = permit_mynetworks, reject } -vv\n"
                           "qmgr unix n - n 300 1 qmgr\n"
                           "tlsmgr unix - - y 1000? 1 tlsmgr\n"
                           "qmgr fifo n y n 60 0 old\n"
                           "pipe unix - n n - 5 pipe flags=F user=a:b argv=/bin/x {a b} ${recipient}\n"
                           "smtp inet n - y - 7 smtpd\n";

static const struct {
    const char *line, *message;
} bad[] = {
    { "smtp inet n - y - smtpd", "f, line 1: bad field count in \"smtp inet n - y - smtpd\"" },
    { "smtp tcp n - y - - smtpd", "bad transport type: \"tcp\"" },
    { "x unix z - y - - smtpd", "bad private field: \"z\"" },
    { "x unix - z y - - smtpd", "bad unprivileged field:" },
    { "x unix - - z - - smtpd", "bad chroot field:" },
    { "x unix - - y 5s - smtpd", "bad wakeup time: \"5s\"" },
    { "x unix - - y - many smtpd", "bad process limit: \"many\"" },
    { "x inet y - y - - smtpd", "inet service cannot be private: \"x\"" },
    { "x unix - - y - - ../smtpd", "must be a file name" },
    { "x unix - - y - - smtpd -o", "an option needs a value" },
    { "x unix - - y - - smtpd -o foo", "bad -o option: \"foo\"" },
    { "x unix - - y - - smtpd -o {foo = bar", "missing '}'" },
    { " x unix - - y - - smtpd", "must not start with whitespace" },
};

int main(void)
{
    struct mastercf m = { 0 };
    struct mastercf_service *s;
    struct err err;
    int wrong = 0;

    if (mastercf_parse(&m, "master.cf", slice_of(good), &err) < 0) {
        printf("%s\n", err.text);
        return 1;
    }
    assert(m.count == 5);
    s = mastercf_find(&m, "smtp", "inet");
    assert(s == &m.service[0] && s->max_proc == 7 && s->option_count == 0 && s->line == 10 && !s->private &&
           s->chroot);
    s = mastercf_find(&m, "qmgr", "unix");
    assert(s && s->wakeup == 300 && !s->wakeup_if_used && s->max_proc == 1 && !s->private && s->unpriv && !s->chroot);
    s = mastercf_find(&m, "tlsmgr", "unix");
    assert(s && s->wakeup == 1000 && s->wakeup_if_used && s->private);
    s = mastercf_find(&m, "pipe", "unix");
    assert(s && s->argc == 5 && strcmp(s->argv[3], "a b") == 0 && strcmp(s->raw_argv[3], "{a b}") == 0 &&
           strcmp(s->argv[4], "${recipient}") == 0 && !s->unpriv);
    mastercf_free(&m);

    assert(mastercf_parse(&m, "m", slice_make(good, (size_t) (strstr(good, "qmgr unix") - good)), &err) == 0);
    s = &m.service[0];
    assert(s->option_count == 2 && s->verbose == 3 && strcmp(s->options[0].value, "postfix/x") == 0);
    assert(strcmp(s->options[1].name, "smtpd_client_restrictions") == 0 &&
           strcmp(s->options[1].value, "permit_mynetworks, reject") == 0 && s->max_proc == MASTERCF_PROC_DEFAULT);
    mastercf_free(&m);

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        err.text[0] = 0;
        if (mastercf_parse(&m, "f", slice_of(bad[i].line), &err) == 0 || strstr(err.text, bad[i].message) == NULL) {
            printf("%s: got \"%s\"\n", bad[i].line, err.text);
            wrong++;
        }
        mastercf_free(&m);
    }
    return wrong ? 1 : 0;
}
