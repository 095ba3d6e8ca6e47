/*
 * pool_tls_test - certificates, keys only root can read, the server's name, and the ways to log in
 */
#include "table/sql/test_server.h"

#include <mysql.h>

static void make_certificates(void)
{
    run("cd %s && exec 2>/dev/null && openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 2 "
        "-subj "
        "/CN=test-ca && for n in server client; do openssl req -newkey rsa:2048 -nodes -keyout $n.key -out $n.csr "
        "-subj /CN=$n && printf 'subjectAltName=DNS:db.test' >$n.ext && openssl x509 -req -in $n.csr -CA ca.pem "
        "-CAkey ca.key -CAcreateserial -days 2 -extfile $n.ext -out $n.pem || exit 1; done && "
        "mkdir ca.d && cp ca.pem ca.d/ && ln -s ca.pem ca.d/$(openssl x509 -hash -noout -in ca.pem).0 && "
        "chmod 644 server.key && chmod 600 client.key",
        server_dir);
}

static struct arena *kept;
static const char *in_dir(const char *name) { return arena_printf(kept, "%s/%s", server_dir, name); }

static enum lookup names(const char *host, struct str *out, struct err *err)
{
    (void) err;
    (void) host;
    str_adds(out, "127.0.0.1");
    return LOOKUP_FOUND;
}

static const char cipher[] = "select variable_value <> '' from information_schema.session_status "
                             "where variable_name = 'Ssl_cipher'";

static struct sql_connect by_name(const char *name)
{
    struct sql_connect how = server_connect();

    how.hosts = arena_printf(kept, "inet:%s:%d", name, server_port);
    return how;
}

static void test_names(void)
{
    struct sql_connect how = by_name("db.test");

    expect(sql_pool_open(&how, "plain.cf"), cipher, NULL, LOOKUP_FOUND, "0");
    how.tls_ca_file = in_dir("ca.pem");
    how.tls_verify = true;
    expect(sql_pool_open(&how, "tls.cf"), cipher, NULL, LOOKUP_FOUND, "1");
    how.tls_ca_file = NULL;
    how.tls_ca_path = in_dir("ca.d");
    expect(sql_pool_open(&how, "capath.cf"), cipher, NULL, LOOKUP_FOUND, "1");
    how = by_name("other.test");
    how.tls_ca_file = in_dir("ca.pem");
    expect(sql_pool_open(&how, "unverified.cf"), cipher, NULL, LOOKUP_FOUND, "1");
    how.tls_verify = true;
    expect(sql_pool_open(&how, "name.cf"), cipher, NULL, LOOKUP_RETRY, NULL);
    assert(strstr(server_log, "name.cf: inet:other.test") && strstr(server_log, "the name it is made out to"));
    how = by_name("db.test");
    how.tls_verify = true;
    how.tls_ca_file = in_dir("client.pem"); /* has not signed the server's */
    expect(sql_pool_open(&how, "ca.cf"), cipher, NULL, LOOKUP_RETRY, NULL);
}

static void test_client_certificate(void)
{
    struct sql_connect how = by_name("db.test");
    const char *path;

    server_sql("create user holder identified by 'secret' require x509; grant select on mail.* to holder");
    how.user = "holder";
    how.tls_ca_file = in_dir("ca.pem");
    expect(sql_pool_open(&how, "none.cf"), path_of, "a@x", LOOKUP_RETRY, NULL);
    how.tls_cert_file = in_dir("client.pem");
    how.tls_key_file = in_dir("client.key");
    expect(sql_pool_open(&how, "certificate.cf"), path_of, "a@x", LOOKUP_FOUND, "x/a/");
    assert(!sql_pool_stale(&path));
    run("cd %s && cp client.pem new.pem && mv new.pem client.pem", server_dir);
    event_sleep(1100);
    assert(sql_pool_stale(&path) && strcmp(path, how.tls_cert_file) == 0);
}

static void test_together(void)
{
    static const struct together q[] = {
        { path_of, "n1@x", LOOKUP_NONE, NULL },
        { "select note from box where name = ?", "n2@x", LOOKUP_NONE, NULL },
        { "select nonsense from box where name = ?", "n3@x", LOOKUP_RETRY, NULL },
        { "select length(note), note from box where name = ?", "b@x", LOOKUP_FOUND, "100000" },
        { path_of, "a@x", LOOKUP_FOUND, "x/a/" },
    };
    struct sql_connect how = by_name("db.test");
    struct sql_pool *p;

    how.tls_ca_file = in_dir("ca.pem");
    how.tls_verify = true;
    p = sql_pool_open(&how, "together.cf");
    expect(p, cipher, NULL, LOOKUP_FOUND, "1");
    for (size_t done = 0; done < 2; done++) {
        struct table_asked asked = { .count = 0 };
        assert(begin_together(p, q, done ? 3 : 5, &asked) == (done ? 3 : 5));
        end_together(q, done ? 3 : 5, &asked);
    }
}

/* What my.cnf says where the table's own file is silent. */
static void test_option_file(void)
{
    struct sql_connect how = { .option_group = "mail" };

    run("printf '[client]\\nuser=nobody\\n[other]\\npassword=wrong\\n[mail]\\nuser = \"reader\" \\n"
        "password=secret\\ndatabase = mail\\n!include %s/more.cnf\\n' >%s/my.cnf",
        server_dir, server_dir);
    run("printf '[client]\\nsocket = %s/sock\\nssl_ca=%s/ca.pem\\nloose\\n' >%s/more.cnf", server_dir, server_dir,
        server_dir);
    how.option_file = in_dir("my.cnf");
    how.user = "reader"; /* goes before [client]'s */
    expect(sql_pool_open(&how, "option.cf"), path_of, "a@x", LOOKUP_FOUND, "x/a/");
    expect(sql_pool_open(&how, "option.cf"), cipher, NULL, LOOKUP_FOUND, "1");
}

/* Client plug-ins are loaded by the first pool, before a jail hides them. The server's part of ed25519 is in Debian's
 * mariadb-server, not in mariadb-server-core: where it is missing the test says so. */
static void test_plugins(void)
{
    static const char *const plugins[] = { "mysql_native_password", "ed25519" };
    struct sql_connect how = server_connect();
    MYSQL mysql;

    mysql_init(&mysql);
    assert(mysql_options(&mysql, MYSQL_PLUGIN_DIR, "/nowhere") == 0); /* found among the loaded ones, or not at all */
    assert(mysql_client_find_plugin(&mysql, "client_ed25519", 2));
    assert(mysql_client_find_plugin(&mysql, "caching_sha2_password", 2));
    assert(mysql_client_find_plugin(&mysql, "sha256_password", 2));
    assert(mysql_client_find_plugin(&mysql, "mysql_clear_password", 2) == NULL);
    mysql_close(&mysql);
    for (size_t i = 0; i < sizeof plugins / sizeof *plugins; i++) {
        if (i == 1 && access("/usr/lib/mysql/plugin/auth_ed25519.so", F_OK) < 0) {
            fprintf(stderr, "no login by ed25519: the server has no auth_ed25519.so\n");
            continue;
        }
        if (i == 1)
            server_sql("install soname 'auth_ed25519'");
        char *text = mem_printf("create or replace user other identified via %s using password('se cret'); "
                                "grant select on mail.* to other",
                                plugins[i]);
        server_sql(text);
        how.user = "other";
        how.password = "se cret";
        how.idle_interval = 1000 + (int64_t) i;
        expect(sql_pool_open(&how, plugins[i]), path_of, "a@x", LOOKUP_FOUND, "x/a/");
        free(text);
    }
}

static void all(void *arg)
{
    (void) arg;
    test_names();
    test_client_certificate();
    test_together();
    test_option_file();
    test_plugins();
    sql_pool_close_all();
    event_stop();
}

int main(void)
{
    static char options[512];

    kept = arena_new();
    sql_pool_resolver(names);
    server_new();
    make_certificates();
    snprintf(options, sizeof options, "--ssl-ca=%s/ca.pem --ssl-cert=%s/server.pem --ssl-key=%s/server.key",
             server_dir, server_dir, server_dir);
    server_options = options;
    server_stop(SIGTERM);
    server_start();
    event_run(all, NULL);
    arena_free(&kept);
    return 0;
}
