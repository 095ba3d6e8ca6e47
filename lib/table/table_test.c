/* Every table type: what it answers, and what it says about bad sources. */
#include "table/table.h"
#include "base/file.h"
#include "base/log.h"
#include "conf/param.h"
#include "table/build.h"

#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[] = "/tmp/table_test.XXXXXX";
static char logged[65536];
static int bad;

static void keep_log(void *ctx, enum log_level level, const char *tag, const char *line, size_t len)
{
    (void) ctx, (void) level, (void) tag;
    size_t used = strlen(logged);
    snprintf(logged + used, sizeof logged - used, "%.*s\n", (int) len, line);
}

static void put(const char *name, const char *text)
{
    char path[200];

    snprintf(path, sizeof path, "%s/%s", dir, name);
    assert(file_replace(AT_FDCWD, path, slice_of(text), 0644, false) == 0);
}

static bool there(const char *name)
{
    char path[200];

    snprintf(path, sizeof path, "%s/%s", dir, name);
    return access(path, F_OK) == 0;
}

/* %s in a spec is the directory. */
static const struct {
    const char *spec, *key;
    enum lookup answer;
    const char *value;
} cases[] = {
    { "texthash:%s/map", "one", LOOKUP_FOUND, "1" },
    { "texthash:%s/map", "ONE", LOOKUP_FOUND, "1" },
    { "texthash:%s/map", "two", LOOKUP_FOUND, "2  and  more" },
    { "texthash:%s/map", "three", LOOKUP_NONE, NULL },
    { "texthash:%s/map", "\"a b\"@x", LOOKUP_FOUND, "quoted" },
    { "texthash:%s/absent", "one", LOOKUP_RETRY, NULL },
    { "hash:%s/map", "One", LOOKUP_FOUND, "1" },
    { "btree:%s/map", "one", LOOKUP_FOUND, "1" },
    { "cdb:%s/map", "two", LOOKUP_FOUND, "2  and  more" },
    { "cdb:%s/map", "nobody", LOOKUP_NONE, NULL },
    { "cdb:%s/absent", "one", LOOKUP_RETRY, NULL },
    { "hash:%s/only", "one", LOOKUP_RETRY, NULL },
    { "hash:%s/absent", "one", LOOKUP_RETRY, NULL },
    { "hash:%s/damaged", "one", LOOKUP_RETRY, NULL },
    { "inline:{a=1, {b = x y},C=3}", "B", LOOKUP_FOUND, "x y" },
    { "inline:{a=1, {b = x y},C=3}", "c", LOOKUP_FOUND, "3" },
    { "inline:{a=1}", "b", LOOKUP_NONE, NULL },
    { "inline:{}", "b", LOOKUP_RETRY, NULL },
    { "inline:a=1", "b", LOOKUP_RETRY, NULL },
    { "static:ok", "any", LOOKUP_FOUND, "ok" },
    { "static:{ a b }", "any", LOOKUP_FOUND, "a b" },
    { "fail:x", "any", LOOKUP_RETRY, NULL },
    { "environ:", "TABLE_TEST", LOOKUP_FOUND, "yes" },
    { "unix:passwd.byname", "root", LOOKUP_FOUND, NULL },
    { "unix:passwd.byname", "no-such-user", LOOKUP_NONE, NULL },
    { "unix:group.byname", "root", LOOKUP_FOUND, NULL },
    { "unix:hosts", "root", LOOKUP_RETRY, NULL },
    { "nosuch:x", "any", LOOKUP_RETRY, NULL },
    { "noname", "any", LOOKUP_RETRY, NULL },
    { "unionmap:{static:a, inline:{k=b}}", "k", LOOKUP_FOUND, "a,b" },
    { "unionmap:{static:a, inline:{k=b}}", "l", LOOKUP_FOUND, "a" },
    { "unionmap:{static:a, fail:x}", "l", LOOKUP_RETRY, NULL },
    { "unionmap:{inline:{k=b}}", "l", LOOKUP_NONE, NULL },
    { "pipemap:{inline:{k=b}, inline:{b=c}}", "k", LOOKUP_FOUND, "c" },
    { "pipemap:{inline:{k=x}, inline:{b=c}}", "k", LOOKUP_NONE, NULL },
    { "cidr:{{192.0.2.0/25 low}, {192.0.2.0/24 net}, {2001:db8::/32 six}}", "192.0.2.7", LOOKUP_FOUND, "low" },
    { "cidr:{{192.0.2.0/25 low}, {192.0.2.0/24 net}}", "192.0.2.200", LOOKUP_FOUND, "net" },
    { "cidr:{{[2001:db8::]/32 six}}", "2001:db8::1", LOOKUP_FOUND, "six" },
    { "cidr:{{192.0.2.0/24 net}}", "::ffff:192.0.2.1", LOOKUP_FOUND, "net" },
    { "cidr:{{!192.0.2.0/24 out}}", "198.51.100.1", LOOKUP_FOUND, "out" },
    { "cidr:{{!192.0.2.0/24 out}}", "name.test", LOOKUP_NONE, NULL },
    { "cidr:{{!192.0.2.0/24 out}}", "2001:db8::1", LOOKUP_NONE, NULL },
    { "cidr:{{192.0.2.1/24 bad}}", "192.0.2.1", LOOKUP_NONE, NULL },
    { "regexp:%s/re", "Foo@bar", LOOKUP_FOUND, "hit Foo at bar $" },
    { "regexp:%s/re", "inner-a", LOOKUP_FOUND, "A" },
    { "regexp:%s/re", "a", LOOKUP_NONE, NULL },
    { "regexp:%s/re", "case", LOOKUP_FOUND, "sensitive" },
    { "regexp:%s/re", "CASE", LOOKUP_NONE, NULL },
    { "regexp:%s/re", "x/y", LOOKUP_FOUND, "slash" },
    { "pcre:%s/re", "Foo@bar", LOOKUP_FOUND, "hit Foo at bar $" },
    { "pcre:{{/^(a+)+$/ evil}}", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab", LOOKUP_RETRY, NULL },
    { "pcre:{{!/^a/ not}}", "b", LOOKUP_FOUND, "not" },
    { "pcre:{{/(/ broken},{/b/ b}}", "b", LOOKUP_FOUND, "b" },
};

static void sources(void)
{
    put("map", "# c\nOne\t1\ntwo 2  and\n  more\n\nthree\none again\n\"a b\"@x quoted\n\"open x\n lead\n");
    put("only.db", "not read");
    put("damaged", "a b\n");
    put("damaged.cdb", "xxxxxx");
    put("re", "/^(foo)@(.*)$/ hit $1 at ${2} $$\nif /^inner/\n/a$/ A\nendif\n/case/i sensitive\n/x\\/y/ slash\n"
              "/bad(/ x\n/z/ $3\nendif\n!/./ $1\nif !/./\n");
}

static void types(void)
{
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char spec[400];
        struct table *t;
        struct str out;
        const char *p = strstr(cases[i].spec, "%s");
        enum lookup answer;

        if (p)
            snprintf(spec, sizeof spec, "%.*s%s%s", (int) (p - cases[i].spec), cases[i].spec, dir, p + 2);
        else
            snprintf(spec, sizeof spec, "%s", cases[i].spec);
        t = table_open(spec, TABLE_FOLD);
        str_init(&out, TABLE_VALUE_BYTES);
        answer = table_lookup(t, cases[i].key, &out);
        if (answer != cases[i].answer || (cases[i].value && strcmp(out.p, cases[i].value) != 0)) {
            printf("%s %s: got %d %s\n", spec, cases[i].key, answer, out.p);
            bad++;
        }
        str_free(&out);
        table_close(&t);
    }
}

static const char *const messages[] = {
    "map, line 6: expected format: key whitespace value",
    "map, line 7: duplicate entry: \"one\"",
    "map, line 9: unbalanced '\"' in '\"open x lead' -- ignoring this line",
    "only.db could not be read by \"postmap --pairs ",
    "build it again with postmap",
    "absent: No such file or directory",
    "unsupported dictionary type: nosuch",
    "/re, line 7: Unmatched",
    "re, line 8: out of range replacement index \"3\": skipping this rule",
    "re, line 9: ignoring ENDIF without matching IF",
    "re, line 10: $number found in negative match replacement text: skipping this rule",
    "/re: IF has no matching ENDIF",
    "non-null host address bits in \"192.0.2.1/24\", perhaps you should use \"192.0.2.0/24\" instead",
    "match limit exceeded",
};

static void one_pair(void *ctx, struct slice key, struct slice value)
{
    str_printf(ctx, "%.*s=%.*s;", (int) key.len, key.p, (int) value.len, value.p);
}

static void indexes(void)
{
    char spec[200], path[200];
    struct table *t;
    struct str out;
    struct err err;
    const char *changed;

    assert(there("map.cdb"));
    snprintf(spec, sizeof spec, "cdb:%s/map", dir);
    str_init(&out, STR_UNLIMITED);
    t = table_open(spec, TABLE_FOLD);
    assert(table_each(t, one_pair, &out) == 0);
    assert(strcmp(out.p, "one=1;two=2  and  more;\"a b\"@x=quoted;") == 0);

    /* a replaced index makes the process stale */
    assert(!table_stale(&changed));
    snprintf(path, sizeof path, "%s/map", dir);
    assert(build_file(path, BUILD_POSTMAP, &(struct build_options){ .duplicate = BUILD_DUP_IGNORE }, &err) == 0);
    usleep(1100000);
    assert(table_stale(&changed) && strcmp(changed, spec) == 0);
    table_close(&t);

    /* aliases, and options */
    put("al", "Root: admin,\n  \"|cmd x\"\n\"quoted name\": y\nbad\n");
    snprintf(path, sizeof path, "%s/al", dir);
    assert(build_file(path, BUILD_ALIASES, &(struct build_options){ .duplicate = BUILD_DUP_WARN }, &err) == 0);
    snprintf(spec, sizeof spec, "cdb:%s/al", dir);
    t = table_open(spec, TABLE_FOLD);
    str_reset(&out);
    assert(table_each(t, one_pair, &out) == 0);
    assert(strcmp(out.p, "root=admin,  \"|cmd x\";quoted name=y;") == 0);
    table_close(&t);
    put("dup", "a 1\na 2\n");
    snprintf(path, sizeof path, "%s/dup", dir);
    assert(build_file(path, BUILD_POSTMAP, &(struct build_options){ .duplicate = BUILD_DUP_ERROR }, &err) < 0);
    assert(!there("dup.cdb"));
    str_free(&out);
}

/* An index that cannot be written beside its source: the text answers. */
static void no_place_for_an_index(void)
{
    char path[200], spec[220];
    struct table *t;
    struct str out;

    put("aliases", "Root: admin\n");
    snprintf(path, sizeof path, "%s/aliases.cdb.tmp.%ld", dir, (long) getpid());
    assert(mkdir(path, 0700) == 0); /* in the way of the new index, for root too */
    snprintf(spec, sizeof spec, "hash:%s/aliases", dir);
    conf_override("alias_maps", spec);
    logged[0] = 0;
    str_init(&out, TABLE_VALUE_BYTES);
    t = table_open(spec, TABLE_FOLD);
    assert(table_lookup(t, "ROOT", &out) == LOOKUP_FOUND && strcmp(out.p, "admin") == 0);
    assert(table_lookup(t, "nobody", &out) == LOOKUP_NONE);
    assert(strstr(logged, "is served from its text until \"postalias hash:"));
    table_close(&t);
    str_free(&out);
}

/* What the postmap command says of a FILE.db. */
static int count_pair(void *ctx, struct slice key, struct slice value)
{
    *(size_t *) ctx += key.len * 100 + value.len;
    return 0;
}

static void pairs(void)
{
    static const struct {
        const char *text;
        int rc;
        size_t sum; /* 100 a byte of key, 1 a byte of value */
    } streams[] = {
        { "\n", 0, 0 },
        { "+1,2:a->bc\n+0,0:->\n\n", 0, 102 },
        { "+3,4:a\nb->x->y\n\n", 0, 304 },
        { "", -1, 0 },
        { "+1,2:a->bc\n", -1, 102 },
        { "+1,3:a->bc\n\n", -1, 103 }, /* the value ends in a line end, and the end is missing */
        { "+1,2:a-bc\n\n", -1, 0 },
        { "+1,-2:a->bc\n\n", -1, 0 },
        { "+99999999999999999999,2:a->bc\n\n", -1, 0 },
        { "+1073741824,1073741824:a->bc\n\n", -1, 0 },
        { "+1,2", -1, 0 },
        { "\nmore", -1, 0 },
    };
    static const struct build_options options;
    struct err err;

    for (size_t i = 0; i < sizeof streams / sizeof *streams; i++) {
        struct build *b = build_new("pairs", &options, &err);
        size_t sum = 0;
        int rc = build_add_pairs(b, slice_of(streams[i].text));
        build_each(b, count_pair, &sum);
        if (rc != streams[i].rc || sum != streams[i].sum) {
            printf("pairs %zu: %d, %zu\n", i, rc, sum);
            bad++;
        }
        build_cancel(&b);
    }
}

int main(void)
{
    char cmd[300];

    setenv("TABLE_TEST", "yes", 1);
    assert(mkdtemp(dir));
    log_sink(keep_log, NULL);
    put("main.cf", "compatibility_level = 3.6\nmyhostname=h.test\n");
    assert(conf_open(dir) == 0 && conf_load(NULL) == 0);
    sources();
    types();
    pairs();
    for (size_t i = 0; i < sizeof messages / sizeof *messages; i++)
        if (strstr(logged, messages[i]) == NULL) {
            printf("not logged: %s\n", messages[i]);
            bad++;
        }
    if (bad)
        printf("%s", logged);
    indexes();
    no_place_for_an_index();
    snprintf(cmd, sizeof cmd, "rm -rf %s", dir);
    assert(system(cmd) == 0);
    return bad ? 1 : 0;
}
