/* stale_test - when a process with a table that cannot be used starts anew */
#include "table/internal.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static bool wrong_text;

static int toy_open(struct table *t, struct err *err)
{
    struct str text;
    int rc;

    str_init(&text, 1000);
    rc = table_read_file(t, t->name, &text, err);
    str_free(&text);
    t->wrong_text = rc == 0 && wrong_text;
    return rc < 0 ? -1 : err_set(err, 0, NULL, "a line is wrong");
}

static enum lookup toy_lookup(struct table *t, const char *key, struct str *out)
{
    (void) t, (void) key, (void) out;
    return LOOKUP_NONE;
}

static const struct table_type toy = { .name = "toy", .open = toy_open, .lookup = toy_lookup };
static char path[] = "/tmp/stale_test.XXXXXX";

static struct table *open_toy(bool wrong)
{
    char spec[100];

    wrong_text = wrong;
    snprintf(spec, sizeof spec, "toy:%s", path);
    return table_open(spec, 0);
}

/* Asks again once a second has passed: that often the answer may change. */
static bool stale(void)
{
    const char *spec;

    usleep(1050000);
    return table_stale(&spec);
}

static void put(const char *text)
{
    FILE *f = fopen(path, "w");

    assert(f && fputs(text, f) >= 0 && fclose(f) == 0);
}

int main(void)
{
    int fd = mkstemp(path);
    struct table *t;

    assert(fd >= 0 && close(fd) == 0);
    table_register(&toy);
    /* By the clock, unless only the file can cure it. */
    t = open_toy(false);
    assert(table_error(t) && !stale());
    t->opened -= TABLE_REOPEN_SECONDS;
    assert(stale());
    table_close(&t);
    t = open_toy(true);
    t->opened -= TABLE_REOPEN_SECONDS;
    assert(!stale());
    put("x");
    assert(stale());
    table_close(&t);
    /* A file that cannot be opened: by the clock, or by looking where names can be seen. */
    unlink(path);
    t = open_toy(false);
    t->opened -= TABLE_REOPEN_SECONDS;
    assert(stale());
    table_sees_names();
    assert(!stale());
    put("x");
    assert(stale());
    table_close(&t);
    /* What is wrong is logged once a minute. */
    t = open_toy(true);
    assert(table_say(t) && !table_say(t));
    t->said -= 60000;
    assert(table_say(t));
    table_close(&t);
    unlink(path);
    return 0;
}
