/* config - names and values of mysql_table(5); contract in config.h */
#include "table/sql/config.h"

#include "base/log.h"
#include "conf/lines.h"
#include "conf/param.h"

#include <stddef.h>
#include <strings.h>

enum { SECONDS_MAX = 1 << 30 };

/* What is written, before it is checked: each with the place that an error names. */
struct written {
    const char *hosts, *user, *password, *dbname, *query, *table, *select_field, *where_field, *additional_conditions,
        *result_format, *domain, *option_file, *option_group, *tls_cert_file, *tls_key_file, *tls_ca_file,
        *tls_ca_path, *tls_ciphers, *tls_verify_cert, *charset, *expansion_limit, *require_result_set, *idle_interval,
        *retry_interval;
};
static const struct setting {
    const char *name;
    size_t at;
    const char *def;
    bool must; /* may not be empty */
} settings[] = {
#define ROW(name, field, def, must)                      \
    {                                                    \
        name, offsetof(struct written, field), def, must \
    }
    ROW("hosts", hosts, "", false),
    ROW("user", user, "", false),
    ROW("password", password, "", false),
    ROW("dbname", dbname, "", true),
    ROW("query", query, "", false),
    ROW("table", table, "", false),
    ROW("select_field", select_field, "", false),
    ROW("where_field", where_field, "", false),
    ROW("additional_conditions", additional_conditions, "", false),
    ROW("result_format", result_format, "%s", true),
    ROW("domain", domain, "", false),
    ROW("option_file", option_file, "", false),
    ROW("option_group", option_group, "client", false),
    ROW("tls_cert_file", tls_cert_file, "", false),
    ROW("tls_key_file", tls_key_file, "", false),
    ROW("tls_CAfile", tls_ca_file, "", false),
    ROW("tls_CApath", tls_ca_path, "", false),
    ROW("tls_ciphers", tls_ciphers, "", false),
    ROW("tls_verify_cert", tls_verify_cert, "no", true),
    ROW("charset", charset, "utf8mb4", true),
    ROW("expansion_limit", expansion_limit, "0", true),
    ROW("require_result_set", require_result_set, "yes", true),
    ROW("idle_interval", idle_interval, "60", true),
    ROW("retry_interval", retry_interval, "60", true),
#undef ROW
};
enum { SETTINGS = sizeof settings / sizeof *settings };

struct reading {
    const char *file;
    struct written written;
    int line[SETTINGS]; /* 0: the default */
    struct err *err;
};

static const char **slot(struct written *w, size_t i)
{
    return (const char **) (void *) ((char *) w + settings[i].at);
}

static int complain(const struct reading *r, const char *const *value, const char *why)
{
    for (size_t i = 0; i < SETTINGS; i++)
        if ((const char *) value == (const char *) &r->written + settings[i].at) {
            if (r->line[i] > 0)
                return err_set(r->err, 0, NULL, "%s, line %d: %s: %s", r->file, r->line[i], settings[i].name, why);
            return err_set(r->err, 0, NULL, "%s: %s: %s", r->file, settings[i].name, why);
        }
    return -1;
}

static int number(const struct reading *r, const char *const *value, int64_t min, int64_t max, int64_t *out)
{
    return slice_i64(slice_of(*value), min, max, out) < 0 ? complain(r, value, "bad numerical configuration") : 0;
}

static int yes_or_no(const struct reading *r, const char *const *value, bool *out)
{
    *out = strcasecmp(*value, "yes") == 0;
    return *out || strcasecmp(*value, "no") == 0 ? 0 : complain(r, value, "bad boolean configuration");
}

/* The old form: a table, two columns, and conditions. */
static int old_query(const struct reading *r, struct sql_config *c)
{
    const struct written *w = &r->written;
    const char *const *must[] = { &w->table, &w->select_field, &w->where_field };

    for (size_t i = 0; i < sizeof must / sizeof *must; i++)
        if (**must[i] == 0)
            return complain(r, must[i], "it is empty, and so is query");
    c->template.query = arena_printf(c->arena, "SELECT %s FROM %s WHERE %s = '%%s' %s", w->select_field, w->table,
                                     w->where_field, w->additional_conditions);
    return 0;
}

static int check_templates(const struct reading *r, struct sql_config *c)
{
    const struct written *w = &r->written;
    const char *wrong = sql_template_check(&c->template);

    if (wrong == NULL)
        return 0;
    if (wrong == c->template.result_format)
        return complain(r, &w->result_format, "invalid result template");
    return complain(r, *w->query ? &w->query : &w->additional_conditions, "invalid query template");
}

static int take(const struct reading *r, struct sql_config *c)
{
    const struct written *w = &r->written;
    struct sql_connect *to = &c->connect;
    int64_t idle, retry;

    for (size_t i = 0; i < SETTINGS; i++)
        if (settings[i].must && **slot((struct written *) w, i) == 0)
            return complain(r, slot((struct written *) w, i), "bad string length 0 < 1");
    if (number(r, &w->expansion_limit, INT64_MIN, INT64_MAX, &c->expansion_limit) < 0 ||
        number(r, &w->idle_interval, 0, SECONDS_MAX, &idle) < 0 ||
        number(r, &w->retry_interval, 0, SECONDS_MAX, &retry) < 0 ||
        yes_or_no(r, &w->require_result_set, &c->require_result_set) < 0 ||
        yes_or_no(r, &w->tls_verify_cert, &to->tls_verify) < 0)
        return -1;
    to->idle_interval = idle * 1000;
    to->retry_interval = retry * 1000;
    to->hosts = *w->hosts ? w->hosts : "localhost";
    to->user = w->user;
    to->password = w->password;
    to->dbname = w->dbname;
    to->charset = w->charset;
    to->option_file = w->option_file;
    to->option_group = w->option_group;
    to->tls_cert_file = w->tls_cert_file;
    to->tls_key_file = w->tls_key_file;
    to->tls_ca_file = w->tls_ca_file;
    to->tls_ca_path = w->tls_ca_path;
    to->tls_ciphers = w->tls_ciphers;
    c->domain = w->domain;
    c->template.query = w->query;
    c->template.result_format = w->result_format;
    if (*w->query == 0 && old_query(r, c) < 0)
        return -1;
    return check_templates(r, c);
}

static void begin(struct reading *r, struct sql_config *c, const char *file, struct err *err)
{
    *c = (struct sql_config){ .arena = arena_new() };
    *r = (struct reading){ .file = file, .err = err };
    for (size_t i = 0; i < SETTINGS; i++)
        *slot(&r->written, i) = settings[i].def;
}

static void set(struct reading *r, struct sql_config *c, struct slice name, struct slice value, int line)
{
    for (size_t i = 0; i < SETTINGS; i++)
        if (slice_eq(name, settings[i].name)) {
            if (r->line[i])
                log_warn("%s, line %d: overriding earlier entry: %s", r->file, line, settings[i].name);
            r->line[i] = line;
            *slot(&r->written, i) = arena_strndup(c->arena, value.p, value.len);
            return;
        }
    log_warn("%s, line %d: unused parameter: %.*s", r->file, line, name.len > 100 ? 100 : (int) name.len, name.p);
}

int sql_config_parse(const char *file, struct slice text, struct sql_config *out, struct err *err)
{
    struct reading r;
    struct lines lines;
    struct slice line, name, value;
    const char *why;
    int rc = 0;

    begin(&r, out, file, err);
    lines_init(&lines, text);
    while (rc == 0 && lines_next(&lines, &line)) {
        if (ascii_isspace(line.p[0]))
            log_warn("%s, line %d: logical line must not start with whitespace", file, lines.first);
        else if (memchr(line.p, 0, line.len))
            rc = err_set(err, 0, NULL, "%s, line %d: the line holds a NUL byte", file, lines.first);
        else if (lines_pair(line, &name, &value, &why) < 0)
            rc = err_set(err, 0, NULL, "%s, line %d: %s", file, lines.first, why);
        else
            set(&r, out, name, value, lines.first);
    }
    lines_fini(&lines);
    if (rc == 0)
        rc = take(&r, out);
    if (rc < 0)
        sql_config_free(out);
    return rc;
}

int sql_config_from_main(const char *name, struct sql_config *out, struct err *err)
{
    struct reading r;
    bool any = false;
    int rc;

    begin(&r, out, "main.cf", err);
    for (size_t i = 0; i < SETTINGS; i++) {
        const char *value = conf_value(arena_printf(out->arena, "%s_%s", name, settings[i].name));
        if (value == NULL)
            continue;
        any = true;
        *slot(&r.written, i) = arena_strdup(out->arena, value);
    }
    rc = any ? take(&r, out)
             : err_set(err, 0, NULL, "it names neither a file (\"/...\") nor parameters %.100s_hosts, ...", name);
    if (rc < 0)
        sql_config_free(out);
    return rc;
}

void sql_config_free(struct sql_config *c) { arena_free(&c->arena); }
