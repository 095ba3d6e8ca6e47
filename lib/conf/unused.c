/*
 * unused - settings that nothing obeys, and those that a service has by its name
 *
 * A name is in use when a parameter table has it, when another value names it ($name), when it belongs to a service
 * of master.cf (relay_destination_concurrency_limit) or to a restriction class, or to a database that a value
 * configures in main.cf (mysql:NAME and NAME_hosts).
 */
#include "base/map.h"
#include "base/mem.h"
#include "conf/maincf.h"
#include "conf/mastercf.h"
#include "conf/param.h"

#include <stdlib.h>

static const char time_limit[] = "_time_limit", time_limit_def[] = "$command_time_limit";
static const struct {
    const char *suffix, *def;
} service_param[] = {
    { "_destination_concurrency_limit", "$default_destination_concurrency_limit" },
    { "_destination_recipient_limit", "$default_destination_recipient_limit" },
    { "_destination_concurrency_positive_feedback", "$default_destination_concurrency_positive_feedback" },
    { "_destination_concurrency_negative_feedback", "$default_destination_concurrency_negative_feedback" },
    { "_destination_concurrency_failed_cohort_limit", "$default_destination_concurrency_failed_cohort_limit" },
    { "_initial_destination_concurrency", "$initial_destination_concurrency" },
    { "_destination_rate_delay", "$default_destination_rate_delay" },
    { "_transport_rate_delay", "$default_transport_rate_delay" },
    { "_recipient_limit", "$default_recipient_limit" },
    { "_extra_recipient_limit", "$default_extra_recipient_limit" },
    { "_recipient_refill_limit", "$default_recipient_refill_limit" },
    { "_recipient_refill_delay", "$default_recipient_refill_delay" },
    { "_minimum_delivery_slots", "$default_minimum_delivery_slots" },
    { "_delivery_slot_cost", "$default_delivery_slot_cost" },
    { "_delivery_slot_loan", "$default_delivery_slot_loan" },
    { "_delivery_slot_discount", "$default_delivery_slot_discount" },
};
enum { SERVICE_PARAMS = sizeof service_param / sizeof *service_param };
static const char *const database_type[] = { "ldap:", "mysql:", "pgsql:", "sqlite:", "memcache:" };

static bool name_char(char c) { return ascii_isalnum(c) || c == '_'; }

static void note_names(struct map *used, struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        size_t from = i + 1, n = 0;
        if (text.p[i] != '$')
            continue;
        if (from < text.len && (text.p[from] == '{' || text.p[from] == '('))
            from++;
        while (from + n < text.len && name_char(text.p[from + n]))
            n++;
        if (n)
            map_set(used, slice_sub(text, from, n), used);
    }
}

static bool named_after(const struct mastercf *m, const char *name, const char *suffix)
{
    size_t len = strlen(name), n = strlen(suffix);

    if (len <= n || strcmp(name + len - n, suffix) != 0)
        return false;
    for (size_t s = 0; m && s < m->count; s++)
        if (strlen(m->service[s].name) == len - n && memcmp(m->service[s].name, name, len - n) == 0)
            return true;
    return false;
}

/* Who knows the parameter that is the default obeys those of services too. */
static bool obeyed(const char *def) { return conf_known_get(def + 1) != NULL; }

static bool of_service(const struct mastercf *m, const char *name)
{
    for (size_t i = 0; i < SERVICE_PARAMS; i++)
        if (obeyed(service_param[i].def) && named_after(m, name, service_param[i].suffix))
            return true;
    return obeyed(time_limit_def) && named_after(m, name, time_limit);
}

void conf_service_params(const struct mastercf *m, void (*fn)(void *ctx, const char *name, const char *def),
                         void *ctx)
{
    static const struct {
        const char *program;
        bool transport, time_limit;
    } kinds[] = { { "pipe", true, true },  { "spawn", false, true }, { "smtp", true, false },
                  { "lmtp", true, false }, { "local", true, false }, { "virtual", true, false },
                  { "error", true, false } };

    for (size_t s = 0; s < m->count; s++)
        for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
            const char *service = m->service[s].name;
            char *name;

            if (strcmp(m->service[s].program, kinds[k].program) != 0)
                continue;
            for (size_t i = 0; kinds[k].transport && i < SERVICE_PARAMS; i++) {
                name = mem_printf("%s%s", service, service_param[i].suffix);
                if (obeyed(service_param[i].def) && conf_known_get(name) == NULL)
                    fn(ctx, name, service_param[i].def);
                free(name);
            }
            name = mem_printf("%s%s", service, time_limit);
            if (kinds[k].time_limit && obeyed(time_limit_def) && conf_known_get(name) == NULL)
                fn(ctx, name, time_limit_def);
            free(name);
        }
}

static bool restriction_class(const char *name)
{
    const char *classes = conf_value("smtpd_restriction_classes");
    struct slice rest = slice_of(classes), word;

    while (classes && slice_word(&rest, ", \t\r\n", &word))
        if (slice_eq(word, name))
            return true;
    return false;
}

/* NAME_key, where some value says TYPE:NAME */
static bool of_database(struct slice value, const char *name)
{
    for (size_t t = 0; t < sizeof database_type / sizeof *database_type; t++) {
        size_t skip = strlen(database_type[t]);
        for (size_t i = 0; i + skip < value.len; i++) {
            struct slice rest = slice_sub(value, i, value.len);
            size_t n = 0;
            if (!slice_starts(rest, database_type[t]))
                continue;
            while (skip + n < rest.len && name_char(rest.p[skip + n]))
                n++;
            if (n && strlen(name) > n && memcmp(name, rest.p + skip, n) == 0 && name[n] == '_')
                return true;
        }
    }
    return false;
}

struct search {
    const struct mastercf *m;
    struct map *used;
};

static bool in_use(const struct search *s, const char *name)
{
    const struct maincf *main_cf = conf_main();

    if (conf_known_get(name) || map_get(s->used, slice_of(name)) || of_service(s->m, name) || restriction_class(name))
        return true;
    for (size_t i = 0; i < main_cf->count; i++)
        if (of_database(slice_of(main_cf->setting[i]->value), name))
            return true;
    return false;
}

void conf_unused(const struct mastercf *m,
                 void (*fn)(void *ctx, const char *where, const char *name, const char *value), void *ctx)
{
    const struct maincf *main_cf = conf_main();
    struct search s = { m, map_new(SIZE_MAX, NULL) };

    for (size_t i = 0; i < main_cf->count; i++)
        note_names(s.used, slice_of(main_cf->setting[i]->value));
    for (size_t i = 0; m && i < m->count; i++)
        for (size_t a = 0; a < m->service[i].argc; a++)
            note_names(s.used, slice_of(m->service[i].argv[a]));
    for (size_t i = 0; i < conf_known_count(); i++)
        if (conf_known_at(i)->def)
            note_names(s.used, slice_of(conf_known_at(i)->def));
    for (size_t i = 0; i < main_cf->count; i++) {
        const struct maincf_setting *v = main_cf->setting[i];
        char *where = mem_printf("%s, line %d", main_cf->file, v->line);
        if (!in_use(&s, v->name))
            fn(ctx, where, v->name, v->value);
        free(where);
    }
    for (size_t i = 0; m && i < m->count; i++)
        for (size_t o = 0; o < m->service[i].option_count; o++) {
            const struct mastercf_option *v = &m->service[i].options[o];
            char *where = mem_printf("%s, line %d", m->service[i].file, m->service[i].line);
            if (!in_use(&s, v->name))
                fn(ctx, where, v->name, v->value);
            free(where);
        }
    map_free(&s.used);
}
