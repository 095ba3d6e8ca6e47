/* config_test - both kinds of files: what they mean, what is wrong with them, and that no secret gets out of them */
#include "base/log.h"
#include "table/sql/config.h"
#include "table/sql/dovecot.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

static char logged[8192];

static void keep(void *ctx, enum log_level level, const char *tag, const char *text, size_t len)
{
    size_t used = strlen(logged);

    (void) ctx, (void) level, (void) tag;
    snprintf(logged + used, sizeof logged - used, "%.*s\n", (int) len, text);
}

static struct err err;

static int parse(const char *text, struct sql_config *c)
{
    logged[0] = err.text[0] = 0;
    return sql_config_parse("t.cf", slice_of(text), c, &err);
}

static void whole(void)
{
    struct sql_config c;

    assert(
        parse(
            "# all\nhosts = unix:/s inet:h:3307,\n  other\nuser=u\npassword = p $x = y # not a comment\ndbname = d\n"
            "query = SELECT '$myhostname'\n  FROM t WHERE k='%s'\nresult_format = <%s>\ndomain = a.b, hash:/x\n"
            "expansion_limit = 7\noption_file = /o\noption_group =\ntls_cert_file = /c\ntls_key_file=/k\n"
            "tls_CAfile=/ca\ntls_CApath = /cp\ntls_ciphers = HIGH\ntls_verify_cert = YES\n"
            "require_result_set = no\ncharset = latin1\nidle_interval = 5\nretry_interval = 0\n",
            &c) == 0);
    assert(logged[0] == 0);
    assert(strcmp(c.connect.hosts, "unix:/s inet:h:3307,  other") == 0 && strcmp(c.connect.user, "u") == 0);
    assert(strcmp(c.connect.password, "p $x = y # not a comment") == 0 && strcmp(c.connect.dbname, "d") == 0);
    assert(strcmp(c.template.query, "SELECT '$myhostname'  FROM t WHERE k='%s'") == 0);
    assert(strcmp(c.template.result_format, "<%s>") == 0 && strcmp(c.domain, "a.b, hash:/x") == 0);
    assert(c.expansion_limit == 7 && strcmp(c.connect.option_file, "/o") == 0 && *c.connect.option_group == 0);
    assert(strcmp(c.connect.tls_cert_file, "/c") == 0 && strcmp(c.connect.tls_key_file, "/k") == 0);
    assert(strcmp(c.connect.tls_ca_file, "/ca") == 0 && strcmp(c.connect.tls_ca_path, "/cp") == 0);
    assert(strcmp(c.connect.tls_ciphers, "HIGH") == 0 && c.connect.tls_verify && !c.require_result_set);
    assert(strcmp(c.connect.charset, "latin1") == 0 && c.connect.idle_interval == 5000);
    sql_config_free(&c);
}

static void defaults(void)
{
    struct sql_config c;

    assert(
        parse(
            "dbname=d\ntable = mailbox\nselect_field = dir\nwhere_field = user\nadditional_conditions = and x='%d'\n",
            &c) == 0);
    assert(strcmp(c.template.query, "SELECT dir FROM mailbox WHERE user = '%s' and x='%d'") == 0);
    assert(strcmp(c.template.result_format, "%s") == 0 && strcmp(c.connect.hosts, "localhost") == 0);
    assert(strcmp(c.connect.option_group, "client") == 0 && strcmp(c.connect.charset, "utf8mb4") == 0);
    assert(c.expansion_limit == 0 && c.require_result_set && !c.connect.tls_verify && *c.domain == 0);
    assert(c.connect.idle_interval == 60000 && c.connect.retry_interval == 60000);
    sql_config_free(&c);
    /* A query goes before the old form; the last of two lines wins. */
    assert(parse("dbname=d\ntable=t\nquery = SELECT 1\nquery = SELECT 2\n", &c) == 0);
    assert(strcmp(c.template.query, "SELECT 2") == 0 &&
           strstr(logged, "t.cf, line 4: overriding earlier entry: query"));
    sql_config_free(&c);
}

static const struct {
    const char *text, *error;
} wrong[] = {
    { "query = SELECT 1\n", "t.cf: dbname: bad string length 0 < 1" },
    { "dbname =\nquery = SELECT 1\n", "t.cf, line 1: dbname: bad string length 0 < 1" },
    { "dbname=d\n", "t.cf: table: it is empty, and so is query" },
    { "dbname=d\ntable=t\nselect_field=s\n", "t.cf: where_field: it is empty, and so is query" },
    { "dbname=d\nquery = SELECT '%x'\n", "t.cf, line 2: query: invalid query template" },
    { "dbname=d\nquery = SELECT 1\n\nresult_format = %\n", "t.cf, line 4: result_format: invalid result template" },
    { "dbname=d\nquery = SELECT 1\nresult_format =\n", "t.cf, line 3: result_format: bad string length 0 < 1" },
    { "dbname=d\nquery = SELECT 1\nexpansion_limit = x\n",
      "t.cf, line 3: expansion_limit: bad numerical configuration" },
    { "dbname=d\nquery = SELECT 1\nexpansion_limit =\n", "t.cf, line 3: expansion_limit: bad string length 0 < 1" },
    { "dbname=d\nquery = SELECT 1\nidle_interval = 1m\n",
      "t.cf, line 3: idle_interval: bad numerical configuration" },
    { "dbname=d\nquery = SELECT 1\nrequire_result_set = maybe\n",
      "t.cf, line 3: require_result_set: bad boolean configuration" },
    { "dbname=d\nquery = SELECT 1\ntls_verify_cert = 1\n",
      "t.cf, line 3: tls_verify_cert: bad boolean configuration" },
    { "dbname=d\npassword secret\n", "t.cf, line 2: missing '=' after attribute name" },
    { "dbname=d\n= secret\n", "t.cf, line 2: missing attribute name" },
};

static void errors(void)
{
    struct sql_config c;

    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        if (parse(wrong[i].text, &c) == 0 || strcmp(err.text, wrong[i].error) != 0) {
            fprintf(stderr, "%s: \"%s\", expected \"%s\"\n", wrong[i].text, err.text, wrong[i].error);
            abort();
        }
    assert(parse("dbname=d\nquery=SELECT 1\npasswd = secret\n foo\n", &c) == 0);
    assert(strcmp(logged, "warning: t.cf, line 3: unused parameter: passwd\n") == 0);
    sql_config_free(&c);
    assert(parse("  user = secret\ndbname=d\nquery=SELECT 1\n", &c) == 0);
    assert(strcmp(logged, "warning: t.cf, line 1: logical line must not start with whitespace\n") == 0);
    sql_config_free(&c);
}

static int parse_dovecot(const char *text, struct sql_dovecot *d)
{
    logged[0] = err.text[0] = 0;
    return sql_dovecot_parse("s.ext", slice_of(text), d, &err);
}

#define DRIVER "driver = mysql\n"
static const struct {
    const char *connect, *hosts, *password; /* hosts "!...": an error */
} connects[] = {
    { "host=/run/s user=u password=p dbname=d", "unix:/run/s", "p" },
    { "host=a host=b host=/s port=3307 password=p", "inet:a:3307 inet:b:3307 unix:/s", "p" },
    { "host=localhost port=3307 password=a=b", "localhost", "a=b" },
    { "host=db.example.test password=\"o\"", "db.example.test", "\"o\"" },
    { "host=a password='o x' dbname=d", "a", "o x" },
    { "host=a password='o x dbname=d", "!s.ext line 2: Missing value in connect string", NULL },
    { "user=u dbname=x", "!s.ext line 2: No hosts given in connect string", NULL },
    { "host=a foo=secret", "!s.ext line 2: Unknown connect string: foo", NULL },
    { "host=a secret", "!s.ext line 2: Missing value in connect string", NULL },
    { "host=a port=x", "!s.ext line 2: Invalid port in connect string", NULL },
    { "host=a read_timeout=0", "!s.ext line 2: Invalid read_timeout", NULL },
    { "host=a ssl_verify_server_cert=maybe", "!s.ext line 2: Invalid ssl_verify_server_cert", NULL },
};

static void connecting(void)
{
    struct sql_dovecot d;
    char text[500];

    for (size_t i = 0; i < sizeof connects / sizeof *connects; i++) {
        bool fails = connects[i].hosts[0] == '!';
        snprintf(text, sizeof text, DRIVER "connect = %s\n", connects[i].connect);
        if (parse_dovecot(text, &d) == (fails ? 0 : -1) ||
            strcmp(fails ? err.text : d.connect.hosts, connects[i].hosts + fails) != 0 ||
            (!fails && strcmp(d.connect.password, connects[i].password) != 0)) {
            fprintf(stderr, "%s: \"%s\", expected \"%s\"\n", text, fails ? err.text : d.connect.hosts,
                    connects[i].hosts);
            abort();
        }
        if (!fails)
            sql_dovecot_free(&d);
    }
    assert(parse_dovecot(DRIVER "connect = host=h user=u dbname=d connect_timeout=2 read_timeout=9 option_file=/o "
                                "option_group=g ssl_ca=/ca ssl_ca_path=/cp ssl_cert=/c ssl_key=/k ssl_cipher=HIGH "
                                "ssl_verify_server_cert=yes\n",
                         &d) == 0);
    assert(d.connect.connect_timeout == 2000 && d.connect.read_timeout == 9000 && d.connect.tls_verify);
    assert(strcmp(d.connect.user, "u") == 0 && strcmp(d.connect.dbname, "d") == 0);
    assert(strcmp(d.connect.option_file, "/o") == 0 && strcmp(d.connect.option_group, "g") == 0);
    assert(strcmp(d.connect.tls_ca_file, "/ca") == 0 && strcmp(d.connect.tls_ca_path, "/cp") == 0);
    assert(strcmp(d.connect.tls_cert_file, "/c") == 0 && strcmp(d.connect.tls_key_file, "/k") == 0);
    assert(strcmp(d.connect.tls_ciphers, "HIGH") == 0);
    sql_dovecot_free(&d);
}

#define CONNECT DRIVER "connect = host=h\n"
static void settings(void)
{
    struct sql_dovecot d;

    assert(parse_dovecot(CONNECT, &d) == 0 && strcmp(d.default_pass_scheme, "MD5") == 0);
    assert(strstr(d.query[SQL_DOVECOT_PASSWORD], "password FROM users WHERE username = '%n' AND domain = '%d'"));
    sql_dovecot_free(&d);
    assert(parse_dovecot(" # c\n" CONNECT
                         "default_pass_scheme = ARGON2I\npassword_query = SELECT a \\\n  FROM t # it's\n"
                         "user_query = \"SELECT 'x' AS \\\"home\\\"\"\niterate_query = SELECT '#'#b\n"
                         "userdb_warning_disable = yes\nupdate_query = UPDATE x\npasword_query = secret\n",
                         &d) == 0);
    assert(strcmp(d.default_pass_scheme, "ARGON2I") == 0 && strcmp(d.query[0], "SELECT a FROM t") == 0);
    assert(strcmp(d.query[1], "SELECT 'x' AS \"home\"") == 0 && strcmp(d.query[2], "SELECT '#'") == 0);
    assert(strstr(logged, "s.ext line 8: Ambiguous '#' character") &&
           strstr(logged, "s.ext line 10: update_query is not"));
    assert(strstr(logged, "s.ext line 11: Unknown setting: pasword_query\n") && !strstr(logged, "secret"));
    sql_dovecot_free(&d);
    assert(parse_dovecot("connect = host=h\n", &d) < 0 && strcmp(err.text, "s.ext: driver is not set") == 0);
    assert(parse_dovecot("driver = pgsql\nconnect = host=h\n", &d) < 0 &&
           strstr(err.text, "Unknown database driver 'pgsql'"));
    assert(parse_dovecot(DRIVER, &d) < 0 && strcmp(err.text, "s.ext: connect is not set") == 0);
    assert(parse_dovecot(CONNECT "secret\n", &d) < 0 && strcmp(err.text, "s.ext line 3: Expecting '='") == 0);
}

static const char *user;
static const char *get(void *ctx, struct slice name)
{
    (void) ctx;
    return slice_eq(name, "user") ? user : slice_eq(name, "password") ? "p'w" : NULL;
}

static void questions(void)
{
    const struct var_scope scope = { .get = get };
    struct arena *a = arena_new();
    struct sql_question q;
    struct sql_dovecot d;

    assert(parse_dovecot(CONNECT
                         "password_query = SELECT '%u' AS user, password FROM t WHERE n = '%Ln' AND d='%d' AND p = "
                         "MD5('%w')\nuser_query = SELECT '%{nosuch}'\niterate_query = SELECT '%{if;a;eq;a;%u;}'\n",
                         &d) == 0);
    user = "O'Brien@example.test";
    assert(sql_dovecot_question(&d, SQL_DOVECOT_PASSWORD, &scope, a, &q, &err) == LOOKUP_FOUND && q.params == 4);
    assert(strcmp(q.text, "SELECT ? AS user, password FROM t WHERE n = ? AND d=? AND p = MD5(?)") == 0);
    assert(slice_eq(q.param[0], user) && slice_eq(q.param[1], "o'brien") && slice_eq(q.param[3], "p'w"));
    assert(sql_dovecot_question(&d, SQL_DOVECOT_ITERATE, &scope, a, &q, &err) == LOOKUP_FOUND && q.params == 1);
    assert(sql_dovecot_question(&d, SQL_DOVECOT_USER, &scope, a, &q, &err) == LOOKUP_RETRY);
    assert(strcmp(err.text, "Failed to expand user_query: Unknown variable '%nosuch'") == 0);
    user = "a\xff@b";
    assert(sql_dovecot_question(&d, SQL_DOVECOT_PASSWORD, &scope, a, &q, &err) == LOOKUP_NONE);
    sql_dovecot_free(&d);
    arena_free(&a);
}

int main(void)
{
    log_sink(keep, NULL);
    whole();
    defaults();
    errors();
    connecting();
    settings();
    questions();
    return 0;
}
