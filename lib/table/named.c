/* named - a search for words in every value; contract in named.h */
#include "table/named.h"

#include "base/log.h"
#include "base/mem.h"
#include "conf/lines.h"
#include "conf/maincf.h"
#include "conf/mastercf.h"
#include "conf/param.h"

#include <stdlib.h>

struct search {
    void (*fn)(void *, enum table_named_kind, struct slice);
    void *ctx;
};

/* The word at `at`, which may stand inside braces of a list. */
static struct slice word_at(const char *at)
{
    struct slice rest = slice_of(at), word = { "", 0 };
    size_t depth = 0;

    (void) lines_word(&rest, ", \t\r\n", &word);
    for (size_t i = 0; i < word.len; i++)
        if (word.p[i] == '{')
            depth++;
        else if (word.p[i] == '}' && depth-- == 0)
            return slice_sub(word, 0, i);
    return word;
}

/* Each "PREFIXname" that begins a word. */
static void find(const struct search *s, const char *value, const char *prefix, bool keep_prefix,
                 enum table_named_kind kind)
{
    size_t len = strlen(prefix);

    for (const char *at = value; (at = strstr(at, prefix)) != NULL; at += len) {
        struct slice name;
        if (at > value && at[-1] != '!' && at[-1] != ':' && strchr(", \t\r\n{", at[-1]) == NULL)
            continue;
        name = word_at(at + len);
        if (name.len)
            s->fn(s->ctx, kind, keep_prefix ? slice_make(at, len + name.len) : name);
    }
}

static void search_value(const struct search *s, const char *parameter, const char *value)
{
    if (value == NULL)
        return;
    find(s, value, "proxy:", false, TABLE_NAMED_TABLE);
    find(s, value, "mysql:", true, TABLE_NAMED_TABLE);
    if (strcmp(parameter, "auth_passdb") == 0 || strcmp(parameter, "auth_userdb") == 0)
        find(s, value, "sql:", false, TABLE_NAMED_SQL);
    if (strcmp(parameter, "auth_passdb") == 0)
        find(s, value, "oauth2:", false, TABLE_NAMED_OAUTH2);
}

static void search_main(const struct search *s)
{
    const struct maincf *main_cf = conf_main();

    for (size_t i = 0; i < main_cf->count; i++)
        search_value(s, main_cf->setting[i]->name, conf_value(main_cf->setting[i]->name));
    for (size_t i = 0; i < conf_known_count(); i++)
        search_value(s, conf_known_at(i)->name, conf_value(conf_known_at(i)->name));
}

static void search_master(const struct search *s)
{
    struct mastercf m = { 0 };
    struct err err;
    char *path = mem_printf("%s/master.cf", conf_dir()), *value;

    if (mastercf_read(path, &m, &err) < 0)
        log_warn("%s", err.text);
    for (size_t i = 0; i < m.count; i++)
        for (size_t o = 0; o < m.service[i].option_count; o++)
            if (conf_expand(m.service[i].options[o].value, &value) == 0) {
                search_value(s, m.service[i].options[o].name, value);
                free(value);
            }
    mastercf_free(&m);
    free(path);
}

void table_named(void (*fn)(void *, enum table_named_kind, struct slice), void *ctx)
{
    const struct search s = { fn, ctx };

    search_main(&s);
    search_master(&s);
}
