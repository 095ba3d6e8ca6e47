/* mysql - from a key to rows to a result; contract in mysql.h */
#include "table/sql/mysql.h"

#include "base/log.h"
#include "base/time.h"
#include "conf/param.h"
#include "table/internal.h"
#include "table/match.h"
#include "table/sql/config.h"

#include <stdlib.h>

enum {
    FILE_BYTES = 1 << 20,
    ROWS_MAX = 65536,
    QUICK_MS = 100, /* a table that takes longer would keep others waiting for the connection */
    NONES = 3,      /* how far it is counted */
    NONES_LIKELY = 2,
};

struct mysql {
    struct sql_config config;
    struct sql_pool *pool;
    struct match *domain; /* NULL: any */
    int nones;            /* of late, up to NONES: will the next question find nothing either? */
    bool quick;           /* the last answer was one, and came in QUICK_MS */
};
struct source {
    struct sql_dovecot config;
    struct sql_pool *pool;
};

static int read_config(struct table *t, struct sql_config *out, struct err *err)
{
    struct str text;
    int rc;

    if (*t->name != '/' && *t->name != '.')
        return sql_config_from_main(t->name, out, err);
    str_init(&text, FILE_BYTES);
    rc = table_read_file(t, t->name, &text, err);
    if (rc == 0) {
        rc = sql_config_parse(t->name, str_slice(&text), out, err);
        t->wrong_text = rc < 0;
    }
    mem_wipe(text.p, text.len);
    str_free(&text);
    return rc;
}

static int mysql_open(struct table *t, struct err *err)
{
    static int depth; /* "domain" may name a table, and that one this file */
    struct mysql *m;

    if (depth > 2)
        return err_set(err, 0, NULL, "%s: tables in \"domain\" are nested too deep", t->spec);
    m = mem_new(sizeof *m);
    if (read_config(t, &m->config, err) < 0) {
        free(m);
        return -1;
    }
    t->state = m;
    m->pool = sql_pool_open(&m->config.connect, t->name);
    depth++;
    if (*m->config.domain)
        m->domain = match_new("domain", m->config.domain);
    depth--;
    return 0;
}

static void mysql_close_table(struct table *t)
{
    struct mysql *m = t->state;

    match_free(&m->domain);
    sql_config_free(&m->config);
    free(m);
}

/* Is the key one of "domain"? Only addresses are, and none without a local part. */
static enum lookup in_domain(struct mysql *m, const char *key)
{
    const char *at = strrchr(key, '@');

    if (m->domain == NULL)
        return LOOKUP_FOUND;
    if (at == NULL || at == key)
        return LOOKUP_NONE;
    return match_string(m->domain, at + 1);
}

static enum lookup results(struct table *t, const char *key, const struct sql_rows *rows, struct str *out)
{
    struct mysql *m = t->state;
    struct str all;
    int64_t count = 0;
    enum lookup answer;

    str_init(&all, TABLE_VALUE_BYTES);
    for (size_t i = 0; i < rows->rows * rows->columns; i++) {
        struct slice cell = rows->cell[i];
        if (cell.p && cell.len == 0)
            log_warn("table \"%s\": empty lookup result for: \"%.200s\" -- ignored", t->spec, key);
        if (sql_template_result(&m->config.template, key, cell, &all))
            count++;
    }
    answer = all.len ? LOOKUP_FOUND : LOOKUP_NONE;
    if (m->config.expansion_limit > 0 && count > m->config.expansion_limit) {
        log_warn("%s: Expansion limit exceeded for key: '%.200s'", t->spec, key);
        answer = LOOKUP_RETRY;
    } else if (str_over(&all)) {
        log_warn("%s: the result for \"%.200s\" is too long", t->spec, key);
        answer = LOOKUP_RETRY;
    } else if (memchr(all.p, 0, all.len) || (conf_smtputf8_enable && !utf8_valid(str_slice(&all)))) {
        log_warn("%s: key \"%.200s\": non-UTF-8 value: malformed UTF-8 or invalid codepoint", t->spec, key);
        answer = LOOKUP_RETRY;
    }
    if (answer == LOOKUP_FOUND)
        str_addslice(out, str_slice(&all));
    str_free(&all);
    return answer;
}

static enum lookup make_question(struct table *t, const char *key, struct arena *arena, struct sql_question *out)
{
    struct mysql *m = t->state;
    struct err err = { .text = "" };
    enum lookup answer = sql_template_query(&m->config.template, key, arena, out, &err);

    if (answer == LOOKUP_RETRY)
        log_warn("%s: %s", t->spec, err.text);
    out->source = t->name;
    return answer;
}

/* *asks: the database was asked, or its answer remembered; else the key is none that it could know. */
static enum lookup rows_of(struct table *t, const char *key, struct table_asked *asked, struct arena *arena,
                           struct sql_rows *out, bool *asks)
{
    struct mysql *m = t->state;
    struct sql_for what = { t, key };
    struct sql_question question;
    struct err err = { .text = "" };
    int early = asked ? sql_pool_ahead_answer(&what, asked, arena, out, &err) : -1;
    enum lookup answer;

    *asks = true;
    if (early >= 0)
        return (enum lookup) early;
    answer = make_question(t, key, arena, &question);
    *asks = answer == LOOKUP_FOUND;
    if (answer != LOOKUP_FOUND)
        return answer;
    question.asked = asked;
    return sql_pool_ask(m->pool, &question, ROWS_MAX, arena, out, &err);
}

static void learn(struct mysql *m, enum lookup answer, int64_t took_ms)
{
    m->quick = answer != LOOKUP_RETRY && took_ms < QUICK_MS;
    if (answer == LOOKUP_NONE && m->nones < NONES)
        m->nones++;
    else if (answer == LOOKUP_FOUND && m->nones > 0)
        m->nones--;
}

static enum lookup ask(struct table *t, const char *key, struct table_asked *asked, struct arena *arena,
                       struct str *out)
{
    struct mysql *m = t->state;
    struct sql_rows rows = { 0 };
    int64_t start = time_mono_ms();
    bool asks;
    enum lookup answer = rows_of(t, key, asked, arena, &rows, &asks);

    if (!asks)
        return answer;
    learn(m, answer, time_mono_ms() - start);
    if (answer == LOOKUP_FOUND)
        return results(t, key, &rows, out);
    if (answer == LOOKUP_NONE && rows.columns == 0 && m->config.require_result_set) {
        log_warn("%s: query failed: query returned no result set (require_result_set = yes)", t->spec);
        return LOOKUP_RETRY;
    }
    return answer;
}

static enum lookup mysql_lookup_asked(struct table *t, const char *key, struct table_asked *asked, struct str *out)
{
    struct arena *arena;
    enum lookup answer;

    if (!utf8_valid(slice_of(key)))
        return LOOKUP_NONE; /* no text of the database is equal to it */
    answer = in_domain(t->state, key);
    if (answer != LOOKUP_FOUND)
        return answer;
    arena = arena_new();
    answer = ask(t, key, asked, arena, out);
    arena_free(&arena);
    return answer;
}

static enum lookup mysql_lookup(struct table *t, const char *key, struct str *out)
{
    return mysql_lookup_asked(t, key, NULL, out);
}

static const struct table_type type_mysql = {
    .name = "mysql",
    .open = mysql_open,
    .lookup = mysql_lookup,
    .lookup_asked = mysql_lookup_asked,
    .close = mysql_close_table,
};

/* table_lookup folds keys: one that is not itself then is left to it. */
static bool is_folded(const struct table *t, const char *key)
{
    struct str folded;
    bool same;

    if (!(t->flags & TABLE_FOLD))
        return true;
    str_init(&folded, STR_UNLIMITED);
    table_fold(&folded, key);
    same = slice_eq(str_slice(&folded), key);
    str_free(&folded);
    return same;
}

/* The table's question for this key, where it may be asked before it is known to be needed. LOOKUP_NONE: there is none. */
static enum lookup question_ahead(struct table *t, const char *key, struct arena *arena, struct sql_question *out)
{
    const struct mysql *m = t->state;
    enum lookup answer;

    if (!m->quick || !is_folded(t, key) || (m->domain && !match_is_plain(m->domain)))
        return LOOKUP_RETRY;
    if (!utf8_valid(slice_of(key)))
        return LOOKUP_NONE;
    answer = in_domain(t->state, key);
    if (answer == LOOKUP_FOUND)
        answer = make_question(t, key, arena, out);
    if (answer == LOOKUP_FOUND && (out->params == 0 || !slice_casestarts(slice_of(out->text), "select ")))
        return LOOKUP_RETRY;
    return answer;
}

static const struct mysql *mysql_of(const struct table *t)
{
    return t && t->type == &type_mysql && t->error == NULL ? t->state : NULL;
}

static bool nothing_likely(const struct table *t)
{
    const struct mysql *m = mysql_of(t);

    return m && m->nones >= NONES_LIKELY;
}

size_t sql_ask_ahead(const struct sql_next *next, size_t count, struct table_asked *asked)
{
    struct sql_question question[SQL_TOGETHER];
    struct sql_for what[SQL_TOGETHER];
    size_t at[SQL_TOGETHER], questions = 0, seen = 0, sent;
    struct sql_pool *pool = NULL;
    bool likely = true;
    struct arena *arena;

    if (count < 2 || !nothing_likely(next[0].table))
        return 1;
    arena = arena_new();
    for (; likely && seen < count && questions < SQL_TOGETHER; seen++) {
        struct table *t = next[seen].table;
        const struct mysql *m = mysql_of(t);
        enum lookup answer = LOOKUP_RETRY;

        if (m && (pool == NULL || pool == m->pool))
            answer = question_ahead(t, next[seen].key, arena, &question[questions]);
        if (answer == LOOKUP_RETRY)
            break;
        if (answer == LOOKUP_NONE)
            continue;
        pool = m->pool;
        what[questions] = (struct sql_for){ t, next[seen].key };
        at[questions++] = seen;
        likely = nothing_likely(t);
    }
    if (questions > 1) {
        sent = sql_pool_ask_ahead(pool, question, what, questions, ROWS_MAX, asked);
        seen = sent < questions ? at[sent] : seen;
    }
    arena_free(&arena);
    return seen ? seen : 1;
}

void sql_asked_end(struct table_asked *asked) { sql_pool_ahead_end(asked); }

static int source_open(struct table *t, struct err *err)
{
    struct source *s = mem_new(sizeof *s);
    struct str text;
    int rc;

    str_init(&text, FILE_BYTES);
    rc = table_read_file(t, t->name, &text, err);
    if (rc == 0) {
        rc = sql_dovecot_parse(t->name, str_slice(&text), &s->config, err);
        t->wrong_text = rc < 0;
    }
    mem_wipe(text.p, text.len);
    str_free(&text);
    if (rc < 0) {
        free(s);
        return -1;
    }
    s->pool = sql_pool_open(&s->config.connect, t->name);
    t->state = s;
    return 0;
}

static void source_close(struct table *t)
{
    struct source *s = t->state;

    sql_dovecot_free(&s->config);
    free(s);
}

static enum lookup source_lookup(struct table *t, const char *key, struct str *out)
{
    (void) key, (void) out;
    log_warn("%s: passdb and userdb ask it, it is no lookup table", t->spec);
    return LOOKUP_RETRY;
}

const struct sql_dovecot *sql_source_config(const struct table *t)
{
    return t->error ? NULL : &((const struct source *) t->state)->config;
}

static int source_unusable(struct table *t, struct err *err)
{
    if (t->error == NULL)
        return 0;
    if (table_say(t))
        log_warn("%s is unavailable. %s", t->spec, t->error);
    return err_set(err, 0, NULL, "%s", t->error);
}

enum lookup sql_source_ask(struct table *t, enum sql_dovecot_query which, bool fresh, const struct var_scope *scope,
                           struct arena *arena, struct sql_rows *out, struct err *err)
{
    struct source *s = t->state;
    struct sql_question question;
    enum lookup answer;

    *out = (struct sql_rows){ 0 };
    if (source_unusable(t, err) < 0)
        return LOOKUP_RETRY;
    answer = sql_dovecot_question(&s->config, which, scope, arena, &question, err);
    if (answer != LOOKUP_FOUND)
        return answer;
    question.source = t->name;
    question.fresh = fresh;
    answer = sql_pool_ask(s->pool, &question, ROWS_MAX, arena, out, err);
    if (answer == LOOKUP_FOUND && which == SQL_DOVECOT_PASSWORD && out->rows > 1) {
        (void) err_set(err, 0, NULL, "%s: Password query returned multiple matches", t->name);
        return LOOKUP_RETRY;
    }
    return answer;
}

static const char *knows_nothing(void *ctx, struct slice name)
{
    (void) ctx, (void) name;
    return NULL;
}

int sql_source_each(struct table *t, sql_row_fn fn, void *ctx, struct err *err)
{
    static const struct var_scope scope = { .get = knows_nothing };
    struct source *s = t->state;
    struct sql_question question;
    struct arena *arena;
    int rc = -1;

    if (source_unusable(t, err) < 0)
        return -1;
    arena = arena_new();
    if (sql_dovecot_question(&s->config, SQL_DOVECOT_ITERATE, &scope, arena, &question, err) == LOOKUP_FOUND) {
        question.source = t->name;
        rc = sql_pool_each(s->pool, &question, fn, ctx, err);
    }
    arena_free(&arena);
    return rc;
}

static const struct table_type type_sql = {
    .name = "sql", .open = source_open, .lookup = source_lookup, .close = source_close
};

void sql_tables_register(void)
{
    table_register(&type_mysql);
    table_register(&type_sql);
}
