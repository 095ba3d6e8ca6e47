/*
 * db_test - elements of auth_passdb and auth_userdb
 */
#include "db.h"
#include <assert.h>
#include <stdio.h>

static const struct {
    enum db_kind kind;
    const char *list, *shown; /* shown NULL: refused */
} lists[] = {
    { DB_PASSDB, "", "" },
    { DB_PASSDB, "passwd-file:/etc/users", "passwd-file|/etc/users|" },
    { DB_PASSDB, "sql:/a, static", "sql|/a| static||" },
    { DB_PASSDB, "table:cdb:/etc/users", "table|cdb:/etc/users|" },
    { DB_PASSDB, "{ passwd-file:scheme=CRYPT /etc/%d/users, master=yes, pass = yes, skip=authenticated }",
      "passwd-file|scheme=CRYPT /etc/%d/users|master pass skip1 success3 " },
    { DB_PASSDB, "{ static:password={PLAIN}x, deny=yes, result_internalfail=return-fail, }",
      "static|password={PLAIN}x|deny internal2 " },
    { DB_PASSDB, "{ sql:/a, default_fields=uid=1 gid=2, override_fields={allow_nets=10.0.0.0/8,192.0.2.1} }",
      "sql|/a|default(uid=1 gid=2) override(allow_nets=10.0.0.0/8,192.0.2.1) " },
    { DB_PASSDB, "{ {static:user=a,b}, username_filter=!x *, mechanisms=plain login }",
      "static|user=a,b|filter(!x *) mechs(plain login) " },
    { DB_USERDB, "{ sql:/a, skip=found, result_success=continue-ok } virtual", "sql|/a|skip1 success4  virtual||" },
    { DB_USERDB, "{ sql:/a, skip=authenticated }", NULL },
    { DB_USERDB, "{ sql:/a, deny=yes }", NULL },
    { DB_PASSDB, "{ sql:/a, skip=found }", NULL },
    { DB_PASSDB, "{ sql:/a, colour=red }", NULL },
    { DB_PASSDB, "{ sql:/a, deny=perhaps }", NULL },
    { DB_PASSDB, "{ sql:/a, deny }", NULL },
    { DB_PASSDB, "{ sql:/a, result_success=maybe }", NULL },
    { DB_PASSDB, "{ sql:/a, pass=yes, result_success=return }", NULL },
    { DB_PASSDB, "{ sql:/a, deny=yes, master=yes }", NULL },
    { DB_PASSDB, "{ sql:/a", NULL },
    { DB_PASSDB, "{}", NULL },
    { DB_PASSDB, ":/a", NULL },
    { DB_PASSDB, "/etc/users", NULL },
};

static void show(const struct db_entry *e, char *out, size_t room)
{
    size_t at = (size_t) snprintf(out, room, "%s|%s|%s%s%s", e->driver, e->args, e->deny ? "deny " : "",
                                  e->master ? "master " : "", e->pass ? "pass " : "");

    if (e->skip)
        at += (size_t) snprintf(out + at, room - at, "skip%d ", (int) e->skip);
    if (e->on_success != DB_RETURN_OK)
        at += (size_t) snprintf(out + at, room - at, "success%d ", (int) e->on_success);
    if (e->on_failure != DB_CONTINUE)
        at += (size_t) snprintf(out + at, room - at, "failure%d ", (int) e->on_failure);
    if (e->on_internalfail != DB_CONTINUE)
        at += (size_t) snprintf(out + at, room - at, "internal%d ", (int) e->on_internalfail);
    if (e->default_fields[0])
        at += (size_t) snprintf(out + at, room - at, "default(%s) ", e->default_fields);
    if (e->override_fields[0])
        at += (size_t) snprintf(out + at, room - at, "override(%s) ", e->override_fields);
    if (e->username_filter[0])
        at += (size_t) snprintf(out + at, room - at, "filter(%s) ", e->username_filter);
    if (e->mechanisms[0])
        snprintf(out + at, room - at, "mechs(%s) ", e->mechanisms);
}

static void test_lists(void)
{
    struct arena *a = arena_new();
    struct db_entry e[DB_MAX];
    struct err err;
    size_t count;

    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        char text[1000] = "";
        int rc = db_list_parse(lists[i].kind, lists[i].list, a, e, &count, &err);

        assert(rc == (lists[i].shown ? 0 : -1));
        for (size_t n = 0; rc == 0 && n < count; n++) {
            if (n > 0)
                strcat(text, " ");
            show(&e[n], text + strlen(text), sizeof text - strlen(text));
        }
        if (rc == 0 && strcmp(text, lists[i].shown) != 0)
            printf("%s\n  is  %s\n  not %s\n", lists[i].list, text, lists[i].shown);
        assert(rc != 0 || strcmp(text, lists[i].shown) == 0);
    }
    struct str many;
    str_init(&many, STR_UNLIMITED);
    for (int n = 0; n <= DB_MAX; n++)
        str_adds(&many, "static ");
    assert(db_list_parse(DB_PASSDB, many.p, a, e, &count, &err) == -1);
    str_free(&many);
    arena_free(&a);
}

static const struct {
    const char *filter, *user;
    bool accepted;
} filters[] = {
    { "", "a", true },
    { "*", "a", true },
    { "*@x.test", "a@x.test", true },
    { "*@x.test", "a@y.test", false },
    { "*@x.test a@y.test", "a@y.test", true },
    { "!a*", "b", true },
    { "!a*", "abc", false },
    { "* !a@*", "a@x", false },
    { "!a@* *", "a@x", false },
    { "a?c", "abc", true },
    { "a?c", "abbc", false },
    { "a*b*c", "aXbYbZc", true },
    { "a*b*c", "aXbYbZ", false },
    { "A*", "abc", false },
};
static const struct {
    const char *mechanisms, *mech;
    bool accepted;
} mechs[] = {
    { "", "PLAIN", true },          { "", "", true },       { "plain login", "LOGIN", true },
    { "plain", "CRAM-MD5", false }, { "plain", "", false }, { "none plain", "", true },
};

int main(void)
{
    test_lists();
    for (size_t i = 0; i < sizeof filters / sizeof *filters; i++)
        assert(db_username_accepted(filters[i].filter, filters[i].user) == filters[i].accepted);
    for (size_t i = 0; i < sizeof mechs / sizeof *mechs; i++)
        assert(db_mechanism_accepted(mechs[i].mechanisms, mechs[i].mech) == mechs[i].accepted);
    return 0;
}
