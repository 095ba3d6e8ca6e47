/*
 * smtpd check compile - restriction parameters into lists
 *
 * Callers     smtpd.c before the jail: tables are opened here
 * Invariants  compiled lists live as long as the process; classes belong to this file, a list only points at them
 * Errors      a fatal log line that names the parameter: smtpd does not start
 */
#include "check/check.h"
#include "params.h"

#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>

enum { ITEMS_MAX = 1000, CLASSES_MAX = 200, DEPTH_MAX = 20 };

static const struct {
    const char *name;
    const char *const *value;
} parameters[SMTPD_STAGES] = {
    [SMTPD_STAGE_CLIENT] = { "smtpd_client_restrictions", &smtpd_client_restrictions },
    [SMTPD_STAGE_HELO] = { "smtpd_helo_restrictions", &smtpd_helo_restrictions },
    [SMTPD_STAGE_SENDER] = { "smtpd_sender_restrictions", &smtpd_sender_restrictions },
    [SMTPD_STAGE_RELAY] = { "smtpd_relay_restrictions", &smtpd_relay_restrictions },
    [SMTPD_STAGE_RECIPIENT] = { "smtpd_recipient_restrictions", &smtpd_recipient_restrictions },
    [SMTPD_STAGE_DATA] = { "smtpd_data_restrictions", &smtpd_data_restrictions },
    [SMTPD_STAGE_END_OF_DATA] = { "smtpd_end_of_data_restrictions", &smtpd_end_of_data_restrictions },
    [SMTPD_STAGE_ETRN] = { "smtpd_etrn_restrictions", &smtpd_etrn_restrictions },
};
static struct smtpd_list *compiled[SMTPD_STAGES];
/* A class means another thing at each stage: "type:table" alone in it is the stage's access check. */
static struct smtpd_list *classes[SMTPD_STAGES][CLASSES_MAX];
static size_t class_count;
static const char *class_names[CLASSES_MAX];

static int complain(struct smtpd_compile_error *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static int complain(struct smtpd_compile_error *e, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(e->text, sizeof e->text, fmt, ap);
    va_end(ap);
    return -1;
}

/* The next word: blanks and commas separate, { } keep together (without the braces). */
static bool next_word(struct slice *rest, struct slice *word)
{
    size_t at = 0, depth = 0, start;

    while (at < rest->len && (ascii_isspace(rest->p[at]) || rest->p[at] == ','))
        at++;
    start = at;
    for (; at < rest->len; at++) {
        char c = rest->p[at];

        if (c == '{')
            depth++;
        else if (c == '}' && depth)
            depth--;
        else if (depth == 0 && (ascii_isspace(c) || c == ','))
            break;
    }
    *word = slice_sub(*rest, start, at - start);
    *rest = slice_sub(*rest, at, rest->len);
    if (word->len > 1 && word->p[0] == '{' && word->p[word->len - 1] == '}')
        *word = slice_trim(slice_sub(*word, 1, word->len - 2));
    return word->len > 0;
}

static const char *class_text(const char *name)
{
    for (size_t i = 0; i < class_count; i++)
        if (strcmp(class_names[i], name) == 0)
            return conf_value(name);
    return NULL;
}

static struct smtpd_list *class_at(const char *parameter, const char *name, enum smtpd_stage stage,
                                   struct smtpd_compile_error *e)
{
    size_t i = 0;
    const char *text;

    while (i < class_count && strcmp(class_names[i], name) != 0)
        i++;
    if (i == class_count)
        return NULL;
    if (classes[stage][i] != NULL) {
        if (!classes[stage][i]->busy)
            return classes[stage][i];
        complain(e, "parameter %s: restriction class %s contains itself", parameter, name);
        return NULL;
    }
    text = class_text(name);
    if (text == NULL || *text == 0) {
        complain(e, "restriction class `%s' needs a definition", name);
        return NULL;
    }
    classes[stage][i] = mem_new(sizeof(struct smtpd_list));
    classes[stage][i]->busy = true;
    struct smtpd_list *made = smtpd_compile(name, text, stage, e);
    if (made == NULL) {
        free(classes[stage][i]);
        classes[stage][i] = NULL;
        return NULL;
    }
    *classes[stage][i] = *made;
    free(made);
    return classes[stage][i];
}

static void set_table(struct smtpd_item *item, const char *parameter, const char *table)
{
    item->maps = maps_new(parameter, table, TABLE_FOLD | TABLE_EMPTY_OK);
}

static int argument(struct smtpd_item *item, const char *parameter, struct slice *rest, struct smtpd_compile_error *e)
{
    struct slice word;
    char *text;
    int failed = 0;

    if (item->restriction->argument == SMTPD_ARG_NONE)
        return 0;
    if (!next_word(rest, &word))
        return complain(e, "parameter %s: restriction %s needs an argument", parameter, item->restriction->name);
    text = mem_strndup(word.p, word.len);
    if (item->restriction->argument == SMTPD_ARG_TABLE) {
        if (strchr(text, ':') == NULL)
            failed = complain(e, "parameter %s: restriction %s: bad argument \"%s\": need maptype:mapname", parameter,
                              item->restriction->name, text);
        else
            set_table(item, parameter, text);
    } else if (slice_i64(word, 0, 3600, &item->seconds)) {
        failed = complain(e, "parameter %s: restriction %s must be followed by number", parameter,
                          item->restriction->name);
    }
    free(text);
    return failed;
}

static int add(struct smtpd_list *list, const char *parameter, const char *name, struct slice *rest,
               enum smtpd_stage stage, struct smtpd_compile_error *e)
{
    struct smtpd_item item = { .restriction = smtpd_restriction_find(name) };

    if (list->count == ITEMS_MAX)
        return complain(e, "parameter %s: more than %d restrictions", parameter, ITEMS_MAX);
    if (item.restriction != NULL) {
        if (argument(&item, parameter, rest, e))
            return -1;
    } else if (strchr(name, ':') != NULL) {
        item.restriction = smtpd_restriction_of_stage(stage);
        if (item.restriction == NULL)
            return complain(e, "parameter %s: a table alone (%s) has no meaning here", parameter, name);
        set_table(&item, parameter, name);
    } else {
        e->text[0] = 0;
        item.list = class_at(parameter, name, stage, e);
        if (item.list == NULL)
            return e->text[0] ? -1 : complain(e, "parameter %s: unknown smtpd restriction: \"%s\"", parameter, name);
    }
    list->items = mem_grow(list->items, list->count + 1, sizeof *list->items);
    list->items[list->count++] = item;
    return 0;
}

void smtpd_list_free(struct smtpd_list **lp)
{
    struct smtpd_list *list = *lp;

    if (list == NULL)
        return;
    for (size_t i = 0; i < list->count; i++)
        maps_free(&list->items[i].maps);
    free(list->items);
    free((char *) list->name);
    free(list);
    *lp = NULL;
}

struct smtpd_list *smtpd_compile(const char *parameter, const char *text, enum smtpd_stage stage,
                                 struct smtpd_compile_error *e)
{
    static int depth;
    struct smtpd_list *list = mem_new(sizeof *list);
    struct slice rest = slice_of(text), word;
    int failed = 0;

    list->name = mem_strdup(parameter);
    if (++depth > DEPTH_MAX)
        failed = complain(e, "parameter %s: classes inside classes more than %d deep", parameter, DEPTH_MAX);
    while (!failed && next_word(&rest, &word)) {
        char *name = mem_strndup(word.p, word.len);

        failed = add(list, parameter, name, &rest, stage, e);
        free(name);
    }
    depth--;
    if (failed)
        smtpd_list_free(&list);
    return list;
}

static bool has_relay_control(const struct smtpd_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        const struct smtpd_item *item = &list->items[i];

        /* Behind warn_if_reject nothing is refused. */
        if (item->restriction != NULL && item->restriction->run == smtpd_check_warn_if_reject)
            i++;
        else if (item->restriction ? item->restriction->relay_control : has_relay_control(item->list))
            return true;
        /* What follows an unconditional permit is never reached. */
        else if (item->restriction != NULL && item->restriction->run == smtpd_check_permit)
            return false;
    }
    return false;
}

static void read_classes(void)
{
    struct slice rest = slice_of(smtpd_restriction_classes), word;

    while (class_count < CLASSES_MAX && next_word(&rest, &word))
        class_names[class_count++] = mem_strndup(word.p, word.len);
}

void smtpd_compile_all(void)
{
    struct smtpd_compile_error e;

    read_classes();
    for (size_t i = 0; i < SMTPD_STAGES; i++) {
        compiled[i] = smtpd_compile(parameters[i].name, *parameters[i].value, (enum smtpd_stage) i, &e);
        if (compiled[i] == NULL)
            log_fatal("%s", e.text);
    }
    /* Access tables may name a class: all must be known and good at every stage that has such a table. */
    for (size_t i = 0; i < class_count; i++)
        for (size_t k = 0; k <= SMTPD_STAGE_RECIPIENT; k++)
            if (class_at("smtpd_restriction_classes", class_names[i], (enum smtpd_stage) k, &e) == NULL)
                log_fatal("%s", e.text);
    if (!has_relay_control(compiled[SMTPD_STAGE_RELAY]) && !has_relay_control(compiled[SMTPD_STAGE_RECIPIENT]))
        log_fatal("in parameter smtpd_relay_restrictions or smtpd_recipient_restrictions, specify at least one "
                  "working instance of: reject_unauth_destination, defer_unauth_destination, reject, defer, "
                  "defer_if_permit or check_relay_domains");
}

const struct smtpd_list *smtpd_compiled(enum smtpd_stage stage) { return compiled[stage]; }

const struct smtpd_list *smtpd_compiled_class(enum smtpd_stage stage, const char *name)
{
    for (size_t i = 0; i < class_count; i++)
        if (strcmp(class_names[i], name) == 0)
            return classes[stage][i];
    return NULL;
}
