/* addr_test - paths, quoting, extensions, lists, domains: each a table */
#include "proto/addr/addr.h"

#include <assert.h>
#include <stdio.h>

static const struct {
    const char *in;
    unsigned flags;
    int answer;
    const char *internal;
    size_t used;
} paths[] = {
    { "<a@b.example>", 0, 0, "a@b.example", 13 },
    { "<a@b.example> SIZE=3", ADDR_PATH_STRICT, 0, "a@b.example", 13 },
    { "<>", ADDR_PATH_EMPTY, 0, "", 2 },
    { "<>", 0, -1, "", 0 },
    { " <a@b> X", 0, 0, "a@b", 6 },
    { " <a@b> X", ADDR_PATH_STRICT, -1, "", 0 },
    { "< a@b >", 0, 0, "a@b", 7 },
    { "< a@b >", ADDR_PATH_STRICT, -1, "", 0 },
    { "a@b SIZE=3", 0, 0, "a@b", 3 },
    { "a@b", ADDR_PATH_STRICT, -1, "", 0 },
    { "<\"a b\"@c.d>", ADDR_PATH_STRICT, 0, "a b@c.d", 11 },
    { "<\"a\\\"b>c\"@c.d>", ADDR_PATH_STRICT, 0, "a\"b>c@c.d", 14 },
    { "<\"x\\\n\"@c>", 0, -1, "", 0 },
    { "<@r1,@r2:a@b.c>", ADDR_PATH_STRICT, 0, "a@b.c", 15 },
    { "<@r1,@r2 a@b.c>", 0, -1, "", 0 },
    { "<a@[192.0.2.1]>", ADDR_PATH_STRICT, 0, "a@[192.0.2.1]", 15 },
    { "<a@[IPv6:2001:db8::1]>", ADDR_PATH_STRICT, 0, "a@[IPv6:2001:db8::1]", 22 },
    { "<a@[IPv6:2001:zz::1]>", ADDR_PATH_STRICT, -1, "", 0 },
    { "<a@[192.0.2.1>", 0, -1, "", 0 },
    { "<postmaster>", ADDR_PATH_STRICT, 0, "postmaster", 12 },
    { "<a..b@c.d>", ADDR_PATH_STRICT, -1, "", 0 },
    { "<a..b@c.d>", 0, 0, "a..b@c.d", 10 },
    { "<.a@c.d>", ADDR_PATH_STRICT, -1, "", 0 },
    { "<a.@c.d>", ADDR_PATH_STRICT, -1, "", 0 },
    { "<a@-b.c>", ADDR_PATH_STRICT, -1, "", 0 },
    { "<a@b@c>", 0, -1, "", 0 },
    { "<a@>", 0, -1, "", 0 },
    { "<@b>", 0, -1, "", 0 },
    { "<\"\">", ADDR_PATH_EMPTY, -1, "", 0 },
    { "<\"\"@c>", 0, 0, "@c", 6 },
    { "<\"a@b\">", 0, -1, "", 0 },
    { "<\"a@b\"@c>", 0, 0, "a@b@c", 9 },
    { "<a b@c>", 0, -1, "", 0 },
    { "<a@b>SIZE=1", 0, -1, "", 0 },
    { "<a@b", 0, -1, "", 0 },
    { "", ADDR_PATH_EMPTY, -1, "", 0 },
    { "<j\xc3\xb6rg@b\xc3\xbc.de>", ADDR_PATH_STRICT, 0, "j\xc3\xb6rg@b\xc3\xbc.de", 14 },
    { "<j\xc3@b.de>", 0, -1, "", 0 },
    { "<a%b@c>", 0, 0, "a%b@c", 7 },
    { "<h!u@c>", 0, 0, "h!u@c", 7 },
    { "<a\x01@c>", 0, -1, "", 0 },
};

static const struct {
    const char *internal, *external;
} quotes[] = {
    { "a@b", "a@b" },
    { "a b@c", "\"a b\"@c" },
    { "a\"b@c", "\"a\\\"b\"@c" },
    { "a..b@c", "\"a..b\"@c" },
    { "@c", "\"\"@c" },
    { "a@b@c", "\"a@b\"@c" },
    { "postmaster", "postmaster" },
    { "", "" },
    { "a\\b@[192.0.2.1]", "\"a\\\\b\"@[192.0.2.1]" },
    { "\xc3\xb6@x", "\xc3\xb6@x" },
};

static const struct {
    const char *local, *delimiters, *base, *extension;
    bool owner, split;
} extensions[] = {
    { "user+ext", "+", "user", "ext", true, true },
    { "user+", "+", "user", "", true, true },
    { "+ext", "+", "+ext", "", true, false },
    { "user", "+", "user", "", true, false },
    { "user+ext", "", "user+ext", "", true, false },
    { "a-b+c", "+-", "a", "b+c", true, true },
    { "owner-x", "-", "owner-x", "", true, false },
    { "owner-x", "-", "owner", "x", false, true },
    { "x-request", "-", "x-request", "", true, false },
    { "Mailer-Daemon", "-", "Mailer-Daemon", "", false, false },
    { "double-bounce", "-", "double-bounce", "", false, false },
};

/* Items as "kind:address|name" joined by ";". */
static const struct {
    const char *in, *out;
    bool malformed;
} lists[] = {
    { "a@b", "M:a@b|", false },
    { "a@b, c@d", "M:a@b|;M:c@d|", false },
    { "A B <a@b>", "M:a@b|A B", false },
    { "\"A, B\" <a@b>, c", "M:a@b|A, B;M:c|", false },
    { "a@b (Al (x) B)", "M:a@b|Al (x) B", false },
    { "G: a@b, C <c@d>; , e@f", "G:|G;M:a@b|;M:c@d|C;E:|;M:e@f|", false },
    { "undisclosed-recipients:;", "G:|undisclosed-recipients;E:|", false },
    { "<>", "M:|", false },
    { "X <@r:a@b>", "M:a@b|X", false },
    { "\"q u\"@b", "M:q u@b|", false },
    { "a . b @ c . d", "M:a.b@c.d|", false },
    { "a@b c@d, x@y", "M:x@y|", true },
    { "A <a@b, x@y", "M:x@y|", true },
    { ",,,", "", false },
    { "", "", false },
    { "a@b\r\n ,\tc@d", "M:a@b|;M:c@d|", false },
    { "A <a@[192.0.2.1]>", "M:a@[192.0.2.1]|A", false },
    { "(only a comment)", "", false },
    { "\"open", "", true },
    { "\xc3\x96 <\xc3\xb6@x>", "M:\xc3\xb6@x|\xc3\x96", false },
};

static void test_paths(void)
{
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        struct str out;
        size_t used = 0;
        int answer;

        str_init(&out, STR_UNLIMITED);
        str_adds(&out, "=");
        answer = addr_path_parse(slice_of(paths[i].in), paths[i].flags, &out, &used);
        if (answer != paths[i].answer || strcmp(out.p + 1, paths[i].internal) != 0 || used != paths[i].used)
            fprintf(stderr, "path %s: %d %s %zu\n", paths[i].in, answer, out.p, used);
        assert(answer == paths[i].answer && strcmp(out.p + 1, paths[i].internal) == 0 && used == paths[i].used);
        str_free(&out);
    }
}

static void test_quotes(void)
{
    for (size_t i = 0; i < sizeof quotes / sizeof *quotes; i++) {
        struct str out, back;

        str_init(&out, STR_UNLIMITED);
        str_init(&back, STR_UNLIMITED);
        addr_quote(&out, slice_of(quotes[i].internal));
        assert(strcmp(out.p, quotes[i].external) == 0);
        assert(addr_unquote(&back, str_slice(&out)) == 0);
        assert(strcmp(back.p, quotes[i].internal) == 0);
        str_free(&out);
        str_free(&back);
    }
}

static void test_extensions(void)
{
    for (size_t i = 0; i < sizeof extensions / sizeof *extensions; i++) {
        struct slice base, ext;

        assert(addr_split_extension(slice_of(extensions[i].local), extensions[i].delimiters, extensions[i].owner,
                                    &base, &ext) == extensions[i].split);
        assert(slice_eq(base, extensions[i].base) && slice_eq(ext, extensions[i].extension));
    }
}

static void test_lists(void)
{
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        struct addr_list list = { .in = slice_of(lists[i].in) };
        struct addr_item item;
        struct str internal, all;

        str_init(&internal, STR_UNLIMITED);
        str_init(&all, STR_UNLIMITED);
        while (addr_list_next(&list, &item, &internal)) {
            assert(item.at + item.len <= list.in.len);
            str_printf(&all, "%s%c:%s|", all.len ? ";" : "", "MGE"[item.kind], internal.p);
            addr_name_text(&all, item.name);
        }
        if (strcmp(all.p, lists[i].out) != 0 || list.malformed != lists[i].malformed)
            fprintf(stderr, "list %s: %s %d\n", lists[i].in, all.p, list.malformed);
        assert(strcmp(all.p, lists[i].out) == 0 && list.malformed == lists[i].malformed);
        str_free(&internal);
        str_free(&all);
    }
}

static void test_domains(void)
{
    static const char *const good[] = { "a", "a.b", "a-b.c_d", "1a.2", "xn--bcher-kva.example" };
    static const char *const bad[] = { "x[192.0.2.1]: SASL LOGIN authentication failed",
                                       "",
                                       ".",
                                       "a.",
                                       ".a",
                                       "a..b",
                                       "-a",
                                       "a-",
                                       "a.-b",
                                       "a b",
                                       "1.2.3.4",
                                       "a@b" };
    struct str out;

    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert(addr_domain_valid(slice_of(good[i])));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert(!addr_domain_valid(slice_of(bad[i])));
    str_init(&out, STR_UNLIMITED);
    assert(addr_domain_to_ascii(&out, slice_of("B\xc3\xbc"
                                               "cher.example")) == 0);
    assert(strcmp(out.p, "xn--bcher-kva.example") == 0);
    str_reset(&out);
    assert(addr_domain_to_utf8(&out, slice_of("xn--bcher-kva.Example")) == 0);
    assert(strcmp(out.p, "b\xc3\xbc"
                         "cher.example") == 0);
    assert(addr_domain_to_utf8(&out, slice_of("xn--\xff")) == -1);
    str_reset(&out);
    addr_fold(&out, slice_of("\xc3\x96"
                             "A"));
    assert(strcmp(out.p, "\xc3\xb6"
                         "a") == 0);
    str_reset(&out);
    addr_fold(&out, slice_of("\xff"
                             "A"));
    assert(strcmp(out.p, "\xff"
                         "a") == 0);
    assert(addr_domain_same(slice_of("B\xc3\x9c"
                                     "CHER.example"),
                            slice_of("xn--bcher-kva.example")));
    assert(addr_same(slice_of("A@B"), slice_of("a@b")) && !addr_same(slice_of("a@b"), slice_of("a@c")));
    assert(addr_domain_qualified(slice_of("a.b")) && !addr_domain_qualified(slice_of("a.")));
    assert(!addr_domain_qualified(slice_of("localhost")) && addr_domain_qualified(slice_of("[1.2.3.4]")));
    str_free(&out);
}

static void test_verp(void)
{
    static const struct {
        const char *sender, *delimiters, *rcpt, *want;
    } cases[] = {
        { "list@x.test", "+=", "user@y.test", "list+user=y.test@x.test" },
        { "list@x.test", "-=", "a+b@y.test", "list-a+b=y.test@x.test" },
        { "list", "+=", "user@y.test", "list+user=y.test" },
        { "list@x.test", "+=", "user", "list+user@x.test" },
        { "a@b@x.test", "+=", "c@d@y.test", "a@b+c@d=y.test@x.test" },
    };
    struct str out;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        str_init(&out, STR_UNLIMITED);
        addr_verp(&out, slice_of(cases[i].sender), cases[i].delimiters, slice_of(cases[i].rcpt));
        assert(strcmp(out.p, cases[i].want) == 0);
        str_free(&out);
    }
    assert(addr_verp_delimiters(slice_of("+="), "-=+") && addr_verp_delimiters(slice_of("--"), "-=+"));
    assert(!addr_verp_delimiters(slice_of("+"), "-=+") && !addr_verp_delimiters(slice_of("+=-"), "-=+"));
    assert(!addr_verp_delimiters(slice_of("+#"), "-=+"));
}

int main(void)
{
    test_verp();
    test_paths();
    test_quotes();
    test_extensions();
    test_lists();
    test_domains();
}
