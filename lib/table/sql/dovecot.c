/*
 * dovecot - names and values of dovecot-sql.conf.ext; contract in dovecot.h
 *
 * Source      Dovecot 2.3 documentation "SQL" and example-config; corner cases as Debian's 2.3.19 reads them
 */
#include "table/sql/dovecot.h"

#include "base/log.h"
#include "conf/settings.h"
#include "table/sql/question.h"

#include <strings.h>

enum { LINE_BYTES = 1 << 20, HOSTS_BYTES = 16384, CONNECT_SECONDS = 5, READ_SECONDS = 30, SECONDS_MAX = 86400 };

struct reading {
    const char *file;
    struct sql_dovecot *out;
    struct err *err;
    const char *driver, *connect;
    int connect_line;
};

static int complain(const struct reading *r, int line, const char *why)
{
    return err_set(r->err, 0, NULL, "%s line %d: %s", r->file, line, why);
}

static int set(void *ctx, int line, struct slice name, const char *value)
{
    struct reading *r = ctx;
    struct sql_dovecot *o = r->out;

    if (slice_eq(name, "driver")) {
        r->driver = value;
    } else if (slice_eq(name, "connect")) {
        r->connect = value;
        r->connect_line = line;
    } else if (slice_eq(name, "default_pass_scheme")) {
        o->default_pass_scheme = value;
    } else if (slice_eq(name, "password_query")) {
        o->query[SQL_DOVECOT_PASSWORD] = value;
    } else if (slice_eq(name, "user_query")) {
        o->query[SQL_DOVECOT_USER] = value;
    } else if (slice_eq(name, "iterate_query")) {
        o->query[SQL_DOVECOT_ITERATE] = value;
    } else if (slice_eq(name, "update_query")) {
        log_warn("%s line %d: update_query is not used: no mechanism here stores new credentials", r->file, line);
    } else if (!slice_eq(name, "userdb_warning_disable")) { /* there is no such warning */
        log_warn("%s line %d: Unknown setting: %.*s", r->file, line, name.len > 100 ? 100 : (int) name.len, name.p);
    }
    return 0;
}

/* What connect says, before hosts and port are put together. */
struct connection {
    const char *hosts; /* blanks between */
    const char *port, *ssl_verify, *client_flags, *connect_timeout, *read_timeout, *write_timeout;
    const char *user, *password, *dbname, *option_file, *option_group, *ssl_cert, *ssl_key, *ssl_ca, *ssl_ca_path,
        *ssl_cipher;
};

static const char **field(struct connection *c, struct slice name)
{
    const struct {
        const char *name, **at;
    } fields[] = {
        { "port", &c->port },
        { "ssl_verify_server_cert", &c->ssl_verify },
        { "client_flags", &c->client_flags },
        { "connect_timeout", &c->connect_timeout },
        { "read_timeout", &c->read_timeout },
        { "write_timeout", &c->write_timeout },
        { "user", &c->user },
        { "password", &c->password },
        { "dbname", &c->dbname },
        { "option_file", &c->option_file },
        { "option_group", &c->option_group },
        { "ssl_cert", &c->ssl_cert },
        { "ssl_key", &c->ssl_key },
        { "ssl_ca", &c->ssl_ca },
        { "ssl_ca_path", &c->ssl_ca_path },
        { "ssl_cipher", &c->ssl_cipher },
    };

    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        if (slice_eq(name, fields[i].name))
            return fields[i].at;
    return NULL;
}

/* The next "name=value"; a value in quotes may hold blanks, and only then the quotes are not part of it: Dovecot knows
 * no quotes here, and passwords that begin with one exist. 1, 0 at the end, -1: a word without "=". */
static int next_pair(struct slice *rest, struct slice *name, struct slice *value)
{
    struct slice word, quoted;
    ptrdiff_t equals, end;

    if (!slice_word(rest, " ", &word))
        return 0;
    equals = slice_find(word, '=');
    *name = slice_sub(word, 0, equals < 0 ? word.len : (size_t) equals);
    if (equals < 0)
        return -1;
    *value = slice_sub(word, (size_t) equals + 1, word.len);
    if (value->len == 0 || (*value->p != '\'' && *value->p != '"') ||
        (value->len > 1 && value->p[value->len - 1] == *value->p))
        return 1;
    quoted = slice_make(value->p + 1, (size_t) (rest->p + rest->len - value->p) - 1);
    end = slice_find(quoted, *value->p);
    if (end < 0 || ((size_t) end + 1 < quoted.len && quoted.p[end + 1] != ' '))
        return 1;
    *value = slice_sub(quoted, 0, (size_t) end);
    *rest = slice_sub(quoted, (size_t) end + 1, quoted.len);
    return 1;
}

static int read_connect(struct reading *r, struct connection *c)
{
    struct arena *a = r->out->arena;
    struct slice rest = slice_of(r->connect), name, value;
    int more;

    while ((more = next_pair(&rest, &name, &value)) > 0) {
        const char **at = field(c, name);
        const char *text = arena_strndup(a, value.p, value.len);
        if (slice_eq(name, "host") || slice_eq(name, "hostaddr"))
            c->hosts = c->hosts ? arena_printf(a, "%s %s", c->hosts, text) : text;
        else if (at)
            *at = text;
        else
            return err_set(r->err, 0, NULL, "%s line %d: Unknown connect string: %.*s", r->file, r->connect_line,
                           name.len > 100 ? 100 : (int) name.len, name.p);
    }
    return more < 0 ? complain(r, r->connect_line, "Missing value in connect string") : 0;
}

static int seconds(struct reading *r, const char *text, int64_t def, const char *why, int64_t *milliseconds)
{
    uint64_t n = (uint64_t) def;

    if (text && (slice_u64(slice_of(text), SECONDS_MAX, &n) < 0 || n == 0))
        return complain(r, r->connect_line, why);
    *milliseconds = (int64_t) n * 1000;
    return 0;
}

/* Hosts as struct sql_connect wants them. */
static int put_hosts(struct reading *r, const struct connection *c)
{
    struct slice rest = slice_of(c->hosts ? c->hosts : ""), host;
    uint64_t port = 0;
    struct str out;

    if (c->hosts == NULL)
        return complain(r, r->connect_line, "No hosts given in connect string");
    if (c->port && (slice_u64(slice_of(c->port), UINT16_MAX, &port) < 0 || port == 0))
        return complain(r, r->connect_line, "Invalid port in connect string");
    str_init(&out, HOSTS_BYTES);
    while (slice_word(&rest, " ", &host)) {
        str_adds(&out, out.len ? " " : "");
        if (*host.p == '/')
            str_printf(&out, "unix:%.*s", (int) host.len, host.p);
        else if (port && !slice_eq(host, "localhost")) /* that is the socket, whatever the port */
            str_printf(&out, "inet:%.*s:%u", (int) host.len, host.p, (unsigned) port);
        else
            str_addslice(&out, host);
    }
    r->out->connect.hosts = arena_strdup(r->out->arena, out.p);
    bool over = str_over(&out);
    str_free(&out);
    return over ? complain(r, r->connect_line, "too many hosts in connect string") : 0;
}

static int put_connect(struct reading *r, const struct connection *c)
{
    struct sql_connect *to = &r->out->connect;
    int64_t writing;

    if (put_hosts(r, c) < 0 ||
        seconds(r, c->connect_timeout, CONNECT_SECONDS, "Invalid connect_timeout", &to->connect_timeout) < 0 ||
        seconds(r, c->read_timeout, READ_SECONDS, "Invalid read_timeout", &to->read_timeout) < 0 ||
        seconds(r, c->write_timeout, READ_SECONDS, "Invalid write_timeout", &writing) < 0)
        return -1;
    if (c->client_flags && strcmp(c->client_flags, "0") != 0)
        log_warn("%s line %d: client_flags is not used: the connection sets what it needs", r->file, r->connect_line);
    to->tls_verify = c->ssl_verify && strcasecmp(c->ssl_verify, "yes") == 0;
    if (c->ssl_verify && !to->tls_verify && strcasecmp(c->ssl_verify, "no") != 0)
        return complain(r, r->connect_line, "Invalid ssl_verify_server_cert");
    to->user = c->user ? c->user : "";
    to->password = c->password ? c->password : "";
    to->dbname = c->dbname ? c->dbname : "";
    to->option_file = c->option_file;
    to->option_group = c->option_group ? c->option_group : "client";
    to->tls_cert_file = c->ssl_cert;
    to->tls_key_file = c->ssl_key;
    to->tls_ca_file = c->ssl_ca;
    to->tls_ca_path = c->ssl_ca_path;
    to->tls_ciphers = c->ssl_cipher;
    return 0;
}

static int finish(struct reading *r)
{
    struct connection c = { 0 };

    if (r->driver == NULL)
        return err_set(r->err, 0, NULL, "%s: driver is not set", r->file);
    if (strcmp(r->driver, "mysql") != 0)
        return err_set(r->err, 0, NULL, "%s: Unknown database driver '%.50s' (there is mysql)", r->file, r->driver);
    if (r->connect == NULL)
        return err_set(r->err, 0, NULL, "%s: connect is not set", r->file);
    return read_connect(r, &c) < 0 ? -1 : put_connect(r, &c);
}

static void add_name(void *ctx, struct slice name)
{
    struct str *out = ctx;

    str_adds(out, out->len ? " " : "");
    str_addslice(out, name);
}

static void find_variables(struct sql_dovecot *d)
{
    struct str names;

    str_init(&names, LINE_BYTES);
    for (int i = 0; i < SQL_DOVECOT_QUERIES; i++) {
        str_reset(&names);
        var_names(d->query[i], add_name, &names);
        d->variables[i] = arena_strdup(d->arena, names.p);
    }
    str_free(&names);
}

int sql_dovecot_parse(const char *file, struct slice text, struct sql_dovecot *out, struct err *err)
{
    struct reading r = { .file = file, .out = out, .err = err };
    int rc;

    *out = (struct sql_dovecot){
        .arena = arena_new(),
        .default_pass_scheme = "MD5",
        .query = { "SELECT username, domain, password FROM users WHERE username = '%n' AND domain = '%d'",
                   "SELECT home, uid, gid FROM users WHERE username = '%n' AND domain = '%d'",
                   "SELECT username, domain FROM users" },
    };
    rc = settings_read(file, text, out->arena, set, &r, err);
    if (rc == 0)
        rc = finish(&r);
    if (rc < 0)
        sql_dovecot_free(out);
    else
        find_variables(out);
    return rc;
}

void sql_dovecot_free(struct sql_dovecot *d) { arena_free(&d->arena); }

struct expansion {
    const struct var_scope *scope;
    struct sql_mix mix;
    bool malformed;
};

static const char *get(void *ctx, struct slice name)
{
    const struct var_scope *scope = ((struct expansion *) ctx)->scope;

    return scope->get(scope->ctx, name);
}

static void put(void *ctx, struct str *out, struct slice value)
{
    struct expansion *e = ctx;

    (void) out; /* the mix's own text: the value is noted at its end */
    e->malformed = e->malformed || !utf8_valid(value);
    sql_mix_value(&e->mix, value);
}

enum lookup sql_dovecot_question(const struct sql_dovecot *d, enum sql_dovecot_query which,
                                 const struct var_scope *scope, struct arena *arena, struct sql_question *out,
                                 struct err *err)
{
    static const char *const names[] = { "password_query", "user_query", "iterate_query" };
    struct expansion e = { .scope = scope };
    const struct var_scope own = { .get = get, .put = put, .ctx = &e };
    struct err why = { .text = "" };

    sql_mix_init(&e.mix, arena);
    if (var_expand(d->query[which], &own, &e.mix.text, &why) < 0) {
        sql_mix_free(&e.mix);
        (void) err_set(err, 0, NULL, "Failed to expand %s: %s", names[which], why.text);
        return LOOKUP_RETRY;
    }
    if (e.malformed) {
        sql_mix_free(&e.mix);
        return LOOKUP_NONE;
    }
    return sql_mix_finish(&e.mix, out, err) < 0 ? LOOKUP_RETRY : LOOKUP_FOUND;
}
