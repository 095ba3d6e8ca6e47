/* expand_test - mysql_table(5) templates: what is asked for a key, and what comes of a value. Which keys are asked for and
 * what the results are is as Debian's postmap 3.7.11 has it. */
#include "table/sql/expand.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

static struct arena *arena;

#define NOT_ASKED "-"
static const struct {
    const char *query, *key, *text; /* text: parameters behind it as <...>; "-": not asked; "!": cannot be made */
} queries[] = {
    { "SELECT v FROM t WHERE k='%s'", "u@d.org", "SELECT v FROM t WHERE k=?<u@d.org>" },
    { "SELECT v FROM t WHERE k = '%s' AND a = '1'", "x' OR '1'='1",
      "SELECT v FROM t WHERE k = ? AND a = '1'<x' OR '1'='1>" },
    { "SELECT CONCAT('<%u|%d|%1|%2|%S|%U|%D>')", "u@d.example.org",
      "SELECT CONCAT(?)<<u|d.example.org|org|example|u@d.example.org|u|d.example.org>>" },
    { "SELECT '%u'", "nodomain", "SELECT ?<nodomain>" },
    { "SELECT '%u'", "@dom", NOT_ASKED },
    { "SELECT '%u'", "u@", "SELECT ?<u>" },
    { "SELECT '%d'", "nodomain", NOT_ASKED },
    { "SELECT '%d'", "u@", NOT_ASKED },
    { "SELECT '%s'", "u@", "SELECT ?<u@>" },
    { "SELECT '%s'", "", NOT_ASKED },
    { "SELECT '%1'", "u@d", "SELECT ?<d>" },
    { "SELECT '%2'", "u@d", NOT_ASKED },
    { "SELECT '%1 %2'", "example.org", NOT_ASKED },
    { "SELECT '%1 %2 %3'", "a@.example.org", NOT_ASKED },
    { "SELECT '%1 %2 %3'", "a@x..org", NOT_ASKED },
    { "SELECT '%1 %2 %3'", "a@example.org.", NOT_ASKED },
    { "SELECT '%9%1'", "a@1.2.3.4.5.6.7.8.9.10.11", "SELECT ?<311>" },
    { "SELECT '%u %d'", "a@b@c.d", "SELECT ?<a@b c.d>" },
    { "SELECT '100%%'", "x", "SELECT '100%'" },
    { "SELECT v FROM t WHERE k LIKE '%%@%d'", "u%_@d%_", "SELECT v FROM t WHERE k LIKE ?<%@d%_>" },
    { "SELECT a FROM t WHERE k=\"%s\"", "it's \"q\"", "SELECT a FROM t WHERE k=?<it's \"q\">" },
    { "SELECT a FROM t WHERE k IN ('postmaster', '%u', \"%s\")", "a@b",
      "SELECT a FROM t WHERE k IN ('postmaster', ?, ?)<a><a@b>" },
    { "SELECT a FROM t WHERE k='it''s %u'", "a'b", "SELECT a FROM t WHERE k=?<it's a'b>" },
    /* Where a parameter cannot stand, the value is escaped. */
    { "SELECT a AS '%u' FROM t WHERE k='%s'", "o'x@\\", "SELECT a AS 'o\\'x' FROM t WHERE k=?<o'x@\\>" },
    { "SELECT a '%u'", "o'x", "SELECT a 'o\\'x'" },
    { "SELECT a AS \"%u\"", "o\"x'\\", "SELECT a AS \"o\"\"x\\'\\\\\"" },
    { "SELECT 'a' '%u'", "o'x", "SELECT 'a' 'o\\'x'" },
    { "SELECT '%u' 'a'", "o'x", "SELECT 'o\\'x' 'a'" },
    { "SELECT '%u''%d'", "o'x@d", "SELECT ?<o'x'd>" },
    { "SELECT N'%u', DATE '%d'", "o'x@d", "SELECT N'o\\'x', DATE 'd'" },
    { "SELECT 'a\\'%u'", "o'x", "SELECT 'a\\'o\\'x'" },
    { "SELECT 'a\\%u'", "'x", "!" },
    { "SELECT '%u", "x", "!" },
    { "SELECT a /* '%u' */ FROM t -- '%d'\nWHERE k='%s' # %s", "*/ x@\n;",
      "SELECT a /* '' */ FROM t -- ''\nWHERE k=? # <*/ x@\n;>" },
    { "SELECT /*!50000 a,*/ '%u'", "*/", "SELECT /*!50000 a,*/ '*/'" },
    { "SELECT /*!%u, 1 */ '%u'", "x */", "SELECT /*!?, 1 */ 'x */'<x */>" },
    { "SELECT /*%u! 1 ` */ FROM `t`", "*/", "!" },
    { "SELECT 5--'%u'", "x", "SELECT 5--?<x>" },
    { "SELECT a FROM `t`%s", "x; DROP", "!" },
    /* Outside of quotes. */
    { "SELECT a FROM t WHERE id = %s", "12", "SELECT a FROM t WHERE id = 12" },
    { "SELECT a FROM t WHERE id = %s", "1 OR 1=1", "SELECT a FROM t WHERE id = ?<1 OR 1=1>" },
    { "SELECT a FROM t WHERE id = %s", "id", "SELECT a FROM t WHERE id = ?<id>" },
    { "SELECT a FROM t WHERE id IN (%u,%d)", "a@b", "SELECT a FROM t WHERE id IN (?,?)<a><b>" },
    { "SELECT a FROM t_%1 WHERE k='%s'", "a@b", "SELECT a FROM t_b WHERE k=?<a@b>" },
    { "SELECT a FROM t_%1 WHERE k='%s'", "a@b-c", "!" },
    { "SELECT a FROM t_%1 WHERE k='%s'", "a@b.c`; --", "!" },
    { "SELECT a FROM %1 WHERE k='%s'", "a@tab", "SELECT a FROM tab WHERE k=?<a@tab>" },
    { "SELECT a FROM %1 WHERE k='%s'", "a@tab;x", "SELECT a FROM ? WHERE k=?<tab;x><a@tab;x>" },
    { "SELECT a FROM `%d`.t", "a@b.`c", "SELECT a FROM `b.``c`.t" },
    { "SELECT %u%d", "a@b", "SELECT ab" },
    { "SELECT %u%d", "a@b c", "!" },
    { "SELECT %u.%d", "a@b", "SELECT a.b" },
    { "SELECT @%u", "a", "SELECT @a" },
    { "SELECT '?' FROM t WHERE k='%s'", "x", "SELECT '?' FROM t WHERE k=?<x>" },
    { "SELECT ? FROM t WHERE k='%s'", "x", "!" },
    { "CALL find('%s', '%d')", "a@b", "CALL find(?, ?)<a@b><b>" },
};

static void ask(size_t i)
{
    struct sql_template t = { .query = queries[i].query, .result_format = "%s" };
    struct sql_question q;
    struct err err = { .text = "" };
    struct str got;
    enum lookup answer;

    assert(sql_template_check(&t) == NULL);
    answer = sql_template_query(&t, queries[i].key, arena, &q, &err);
    str_init(&got, STR_UNLIMITED);
    str_adds(&got, answer == LOOKUP_FOUND ? q.text : answer == LOOKUP_NONE ? NOT_ASKED : "!");
    for (size_t n = 0; answer == LOOKUP_FOUND && n < q.params; n++)
        str_printf(&got, "<%.*s>", (int) q.param[n].len, q.param[n].p);
    if (strcmp(got.p, queries[i].text) != 0) {
        fprintf(stderr, "%s for %s:\n%s\nexpected\n%s\n%s\n", queries[i].query, queries[i].key, got.p,
                queries[i].text, err.text);
        abort();
    }
    assert(strstr(err.text, queries[i].key) == NULL || *queries[i].key == 0 || answer == LOOKUP_FOUND);
    str_free(&got);
}

static const struct {
    const char *format, *key, *value, *result; /* "-": passed over */
} results[] = {
    { "%s", "u@d", "r1@x.y", "r1@x.y" },
    { "<%s>", "u@d", "r3", "<r3>" },
    { "%u|%d", "u@d", "r1@x.y", "r1|x.y" },
    { "%u|%d", "u@d", "r3", NOT_ASKED },
    { "%u", "u@d", "r3", "r3" },
    { "%S %U %D %1 %2 %%", "u@d.example.org", "r", "u@d.example.org u d.example.org org example %" },
    { "const", "u@d", "r", "const" },
    { "[%d]", "u", "x@", NOT_ASKED },
    { "[%u]", "u", "x@", "[x]" },
    { "[%u]", "u", "@x", NOT_ASKED },
    { "[%d]", "u", "@x", "[x]" },
    { "%s", "u", "", NOT_ASKED },
};

static void result(size_t i)
{
    struct sql_template t = { .query = "SELECT 1", .result_format = results[i].format };
    struct str out;
    bool got;

    assert(sql_template_check(&t) == NULL);
    str_init(&out, STR_UNLIMITED);
    got = sql_template_result(&t, results[i].key, slice_of(results[i].value), &out);
    if (strcmp(got ? out.p : NOT_ASKED, results[i].result) != 0) {
        fprintf(stderr, "%s of %s: %s, expected %s\n", results[i].format, results[i].value, out.p, results[i].result);
        abort();
    }
    str_free(&out);
}

static void limits(void)
{
    struct sql_template t = { .query = "SELECT '%s'", .result_format = "%D" };
    struct sql_template many = { .query = "", .result_format = "%s" };
    static const char *const wrong[] = { "%x", "%", "%0", "a%%%" };
    struct sql_question q;
    struct err err;
    struct str out;

    /* What the result format wants of the key decides too. */
    assert(sql_template_check(&t) == NULL && sql_template_query(&t, "multi", arena, &q, &err) == LOOKUP_NONE);
    t.result_format = "%4";
    assert(sql_template_check(&t) == NULL && sql_template_query(&t, "u@a.b.c", arena, &q, &err) == LOOKUP_NONE);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        t.query = wrong[i];
        assert(sql_template_check(&t) == wrong[i]);
        t.query = "SELECT 1";
        t.result_format = wrong[i];
        assert(sql_template_check(&t) == wrong[i]);
    }
    t.result_format = "%s";
    str_init(&out, STR_UNLIMITED);
    assert(sql_template_result(&t, "k", SLICE("a"), &out) && sql_template_result(&t, "k", SLICE("b"), &out));
    assert(strcmp(out.p, "a,b") == 0);
    str_reset(&out);
    str_adds(&out, "SELECT ");
    for (int i = 0; i < 300; i++)
        str_adds(&out, "'%s',");
    many.query = out.p;
    assert(sql_template_check(&many) == NULL);
    assert(sql_template_query(&many, "key", arena, &q, &err) == LOOKUP_RETRY && strstr(err.text, "too long"));
    str_free(&out);
}

int main(void)
{
    arena = arena_new();
    for (size_t i = 0; i < sizeof queries / sizeof *queries; i++)
        ask(i);
    for (size_t i = 0; i < sizeof results / sizeof *results; i++)
        result(i);
    limits();
    arena_free(&arena);
    return 0;
}
