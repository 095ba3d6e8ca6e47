/* main.cf through conf_open and conf_load: values, overrides, bounds, places. */
#include "conf/param.h"
#include "base/log.h"
#include "base/str.h"
#include "conf/maincf.h"
#include "conf/mastercf.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static int64_t number, seconds, days, bytes;
static bool yes;
static const char *text, *raw, *must;
static const struct param table[] = {
    { .name = "t_number", .type = PARAM_INT, .num = &number, .def = "${stress?{1}:{20}}", .min = 1, .max = 50 },
    { .name = "t_seconds", .type = PARAM_SECONDS, .num = &seconds, .def = "${stress?{10}:{300}}s" },
    { .name = "t_days", .type = PARAM_SECONDS, .num = &days, .def = "5d" },
    { .name = "t_bytes", .type = PARAM_BYTES, .num = &bytes, .def = "100" },
    { .name = "t_yes",
      .type = PARAM_BOOL,
      .yes = &yes,
      .def = "${{$compatibility_level} <level {1} ? {yes} : {no}}" },
    { .name = "t_text", .type = PARAM_STRING, .str = &text, .def = "$myhostname/$t_number" },
    { .name = "t_raw", .type = PARAM_RAW, .str = &raw, .def = "$myhostname" },
    { .name = "t_must", .type = PARAM_STRING, .str = &must, .def = "x", .min = 1 },
    { .name = "default_destination_rate_delay", .type = PARAM_STRING, .def = "0s" },
    { .type = PARAM_END },
};
static const struct param *const tables[] = { table, NULL };
static char dir[] = "/tmp/param_test.XXXXXX";
static char last[4096]; /* all lines logged since `open_with` */

static void keep_log(void *ctx, enum log_level level, const char *tag, const char *line, size_t len)
{
    (void) ctx, (void) level, (void) tag;
    size_t used = strlen(last);
    snprintf(last + used, sizeof last - used, "%.*s\n", (int) len, line);
}

static int open_with(const char *main_cf)
{
    char path[100];

    last[0] = 0;
    snprintf(path, sizeof path, "%s/main.cf", dir);
    FILE *f = fopen(path, "w");
    assert(f && fputs(main_cf, f) >= 0 && fclose(f) == 0);
    return conf_open(dir);
}

static int load(const char *main_cf) { return open_with(main_cf) < 0 ? -1 : conf_load(tables); }

static void values(void)
{
    const char *file;
    int line;

    assert(load("myhostname = mail.one.test\n") == 0);
    assert(number == 20 && seconds == 300 && days == 5 * 86400 && bytes == 100 && yes && last[0] == 0);
    assert(strcmp(text, "mail.one.test/20") == 0 && strcmp(raw, "$myhostname") == 0);
    assert(strcmp(conf_mydomain, "one.test") == 0 && strcmp(conf_myorigin, "mail.one.test") == 0);
    assert(strcmp(conf_mydestination, "mail.one.test, localhost.one.test, localhost") == 0);
    assert(strcmp(conf_syslog_name, "postfix") == 0);

    assert(load("myhostname = a.test\n# comment\nt_days = 2\n\nt_text = one,\n # inside\n\n  two\nt_days = 3h\n"
                "compatibility_level = 3.6\nrelay_rate = 7 $t_days\n") == 0);
    assert(days == 3 * 3600 && strcmp(text, "one,  two") == 0 && !yes);
    assert(strstr(last, "main.cf, line 9: overriding earlier entry: t_days=2"));
    assert(conf_where("t_text", &file, &line) && line == 5 && !conf_where("t_number", &file, &line));
    assert(strcmp(conf_value("relay_rate"), "7 3h") == 0 && conf_value("nobody") == NULL);

    assert(open_with("t_number = 7\nmyhostname=a.test\n") == 0);
    conf_override("t_number", "9");
    conf_override("stress", "yes");
    assert(conf_load(tables) == 0 && number == 9 && seconds == 10);
    char *out;
    assert(conf_expand("<$t_number>", &out) == 0 && strcmp(out, "<9>") == 0);
    free(out);
}

static const struct {
    const char *main_cf, *message;
} faults[] = {
    { "a b\n", "main.cf, line 1: missing '=' after attribute name: \"a b\"" },
    { "x=1\n= y\n", "main.cf, line 2: missing attribute name: \"= y\"" },
    { "t_number = 0\n", "main.cf, line 1: the value is too small: t_number = 0" },
    { "t_number = 51\n", "the value is too large: t_number = 51" },
    { "\nt_number = many\n", "main.cf, line 2: bad numerical configuration: t_number = many" },
    { "t_number = 99999999999999999999\n", "bad numerical configuration" },
    { "t_days = 3y\n", "bad time value: t_days = 3y" },
    { "t_days =\n", "bad time value: t_days =" },
    { "t_yes = perhaps\n", "bad boolean configuration: t_yes = perhaps" },
    { "t_must =\n", "the value may not be empty: t_must =" },
    { "t_text = ${x\n", "main.cf, line 1: parameter t_text: macro processing error: truncated macro reference" },
    { "t_text = $a\na = $b\nb = $a\n", "unreasonable macro call nesting" },
};

static void on_unused(void *ctx, const char *where, const char *name, const char *value)
{
    struct str *s = ctx;
    const char *base = strrchr(where, '/');
    str_printf(s, "%s %s=%s;", base ? base + 1 : where, name, value);
}

static void unused(void)
{
    struct mastercf m = { 0 };
    struct err err;
    struct str got;

    str_init(&got, STR_UNLIMITED);
    assert(load("myhostname=a.test\nmine = x\nother = y\nt_text = $mine\nrelay_rate_delay = 1\n"
                "relay_destination_rate_delay = 1s\nt_must = mysql:users\nusers_hosts = h\nrelay_recipient_limit = "
                "5\n") == 0);
    assert(mastercf_parse(&m, "master.cf", slice_of("relay unix - - n - - smtp -o foo=bar -o t_yes=no\n"), &err) ==
           0);
    conf_unused(&m, on_unused, &got);
    assert(strcmp(got.p, "main.cf, line 3 other=y;main.cf, line 5 relay_rate_delay=1;"
                         "main.cf, line 9 relay_recipient_limit=5;master.cf, line 1 foo=bar;") == 0);
    mastercf_free(&m);
    str_free(&got);
}

/* A name stands once, and has words for the manual. */
static void global_table(void)
{
    for (const struct param *p = conf_global_params; p->type != PARAM_END; p++) {
        assert(p->doc && *p->doc);
        for (const struct param *q = p + 1; q->type != PARAM_END; q++)
            if (strcmp(p->name, q->name) == 0) {
                printf("%s stands twice\n", p->name);
                abort();
            }
    }
}

int main(void)
{
    int bad = 0;

    global_table();

    assert(mkdtemp(dir));
    log_sink(keep_log, NULL);
    values();
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++)
        if (load(faults[i].main_cf) == 0 || strstr(last, faults[i].message) == NULL) {
            printf("%s: got %s\n", faults[i].main_cf, last);
            bad++;
        }
    /* myhostname and mydomain may name each other */
    assert(load("myhostname = mail.$mydomain\n") == 0 && strcmp(conf_myhostname, "mail.localdomain") == 0);
    assert(load("mydomain = d.test\nmyhostname = mail.$mydomain\n") == 0 &&
           strcmp(conf_myhostname, "mail.d.test") == 0);
    char cf[200];
    snprintf(cf, sizeof cf, "myorigin = %s/mailname\nt_text=$myorigin\n", dir);
    char name[100];
    snprintf(name, sizeof name, "%s/mailname", dir);
    FILE *f = fopen(name, "w");
    assert(f && fputs("origin.test\nrest\n", f) >= 0 && fclose(f) == 0);
    assert(load(cf) == 0 && strcmp(conf_myorigin, "origin.test") == 0 && strcmp(text, "origin.test") == 0);
    unlink(name);
    unused();
    snprintf(name, sizeof name, "%s/main.cf", dir);
    unlink(name);
    rmdir(dir);
    return bad ? 1 : 0;
}
