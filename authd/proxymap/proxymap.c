/*
 * proxymap - looks up tables for daemons whose jail hides them
 *
 * Callers     every daemon with a proxy: table, through lib/table/proxy.c
 * Invariants  serves the tables that a parameter of main.cf, a -o of master.cf or a default names with "proxy:", and
 *             no other: what a broken-in daemon may ask was decided by the administrator
 *             tables are opened before the jail; account lookups may block and run in a thread
 * Errors      "retry" for a table that fails, "denied" for one that nothing names
 * Privilege   mail_owner, no chroot; Landlock: /etc and what the C library asks about accounts, for reading
 */
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "conf/lines.h"
#include "conf/maincf.h"
#include "conf/mastercf.h"
#include "service/service.h"
#include "table/proxy.h"
#include "table/table.h"

#include <grp.h>
#include <pwd.h>
#include <stdlib.h>

static const char prefix[] = "proxy:";
enum { PREFIX_BYTES = sizeof prefix - 1, VARIANTS = 2 };
static const unsigned variant_flags[VARIANTS] = { TABLE_FOLD, TABLE_FOLD | TABLE_NO_SUBST };

struct served {
    struct table *variant[VARIANTS];
    bool blocks; /* its lookups leave the process */
};
static struct map *tables; /* "type:name" -> struct served */

static void serve(struct slice spec)
{
    struct served *s;
    char *z;

    if (spec.len == 0 || map_get(tables, spec))
        return;
    s = mem_new(sizeof *s);
    z = mem_strndup(spec.p, spec.len);
    for (int i = 0; i < VARIANTS; i++)
        s->variant[i] = table_open(z, variant_flags[i]);
    s->blocks = slice_starts(spec, "unix:");
    map_set(tables, spec, s);
    free(z);
}

/* Each "proxy:type:name" of a value, wherever it stands: lists, restrictions, members of a union. */
static void find_tables(const char *value)
{
    for (const char *at = value; at && (at = strstr(at, prefix)) != NULL; at += PREFIX_BYTES) {
        struct slice rest = slice_of(at + PREFIX_BYTES), word;
        if (at > value && at[-1] != '!' && strchr(", \t\r\n{", at[-1]) == NULL)
            continue;
        if (lines_word(&rest, ", \t\r\n", &word))
            serve(word);
    }
}

static void find_in_main(void)
{
    const struct maincf *main_cf = conf_main();

    for (size_t i = 0; i < main_cf->count; i++)
        find_tables(conf_value(main_cf->setting[i]->name));
    for (size_t i = 0; i < conf_known_count(); i++)
        find_tables(conf_value(conf_known_at(i)->name));
}

static void find_in_master(void)
{
    struct mastercf m = { 0 };
    struct err err;
    char *path = mem_printf("%s/master.cf", conf_dir()), *value;

    if (mastercf_read(path, &m, &err) < 0)
        log_warn("%s", err.text);
    for (size_t i = 0; i < m.count; i++)
        for (size_t o = 0; o < m.service[i].option_count; o++)
            if (conf_expand(m.service[i].options[o].value, &value) == 0) {
                find_tables(value);
                free(value);
            }
    mastercf_free(&m);
    free(path);
}

static int open_tables(void)
{
    conf_registry_open(); /* without it only main.cf's own values count; it has said so */
    tables = map_new(SIZE_MAX, NULL);
    find_in_main();
    find_in_master();
    /* The C library loads what nsswitch.conf names at the first question: not possible in the jail. */
    (void) getpwnam("root");
    (void) getgrnam("root");
    return 0;
}

struct question {
    struct table *table;
    const char *key;
    struct str *out;
    enum lookup answer;
};

static void look(void *arg)
{
    struct question *q = arg;

    q->answer = table_lookup(q->table, q->key, q->out);
}

static struct msg *answer(const char *spec, unsigned flags, const char *key)
{
    const struct served *s = map_get(tables, slice_of(spec));
    struct question q = { .key = key, .answer = LOOKUP_RETRY };
    struct msg *reply;
    struct str value;

    if (s == NULL) {
        log_warn("request for unauthorized table: \"%.200s\": no parameter names it with proxy:", spec);
        return service_status("denied");
    }
    for (int i = 0; i < VARIANTS; i++)
        if (variant_flags[i] == flags)
            q.table = s->variant[i];
    if (q.table == NULL) {
        log_warn("request for table \"%.200s\" with flags %u, which nothing here uses", spec, flags);
        return service_status("retry");
    }
    str_init(&value, TABLE_VALUE_BYTES);
    q.out = &value;
    if (s->blocks)
        event_offload(look, &q);
    else
        look(&q);
    reply = service_status(q.answer == LOOKUP_FOUND ? "found" : q.answer == LOOKUP_NONE ? "none" : "retry");
    if (q.answer == LOOKUP_FOUND)
        msg_put(reply, "value", str_slice(&value));
    str_free(&value);
    return reply;
}

static void on_lookup(struct service_conn *c, struct msg *in)
{
    const char *spec = msg_get_str(in, "table", TABLE_KEY_BYTES);
    unsigned flags = (unsigned) msg_get_num(in, "flags", 0, PROXY_FLAGS_MAX);
    const char *key = msg_get_str(in, "key", TABLE_KEY_BYTES);
    struct msg *reply = msg_done(in) ? answer(spec, flags, key) : service_status("retry");

    service_reply(c, &reply);
}

static const struct service_path paths[] = { { .path = "/etc" },
                                             { .path = "/run/systemd/userdb", .optional = true },
                                             { .path = "/var/run/nscd", .optional = true },
                                             { .path = NULL } };
static const struct service_request requests[] = { { .name = "lookup", .run = on_lookup }, { .name = NULL } };
static const struct service proxymap = {
    .name = "proxymap",
    .summary = "looks up proxy: tables for daemons whose jail hides them",
    .jail = JAIL_USER,
    .may = MAY_OPEN | MAY_UNIX | MAY_THREADS,
    .paths = paths,
    .protocol = PROXY_PROTOCOL,
    .version = PROXY_VERSION,
    .requests = requests,
    .pre_jail = open_tables,
    .stale = table_restart,
};

int main(int argc, char **argv) { return service_main(&proxymap, argc, argv); }
