/*
 * answer - what was found, and what is being asked; contract in answer.h
 *
 * A question travels in a fiber of its own (a flight), which ends when the server has answered or is given up. Who
 * asks waits for the flight as long as it has patience, and takes an old answer where there is one and the database
 * gives none. A flight that was sent before somebody came cannot tell that one "none", nor be fresh to him: he waits
 * for it and then asks anew, together with all others who came meanwhile.
 *
 * Questions that are asked ahead are flights like all others, but for one fiber that sends them together (a squadron).
 */
#include "table/sql/answer.h"

#include "base/list.h"
#include "base/log.h"
#include "base/map.h"
#include "base/time.h"
#include "event/event.h"
#include "table/sql/internal.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <sys/random.h>

enum {
    STALE_WAIT_MS = 3000,           /* an old answer is used when the new one has not come by then */
    SILENT_MS = 2500,               /* and at once, when no question at all has been answered for so long */
    OTHERS_MS = 100,                /* longest wait for questions of others before our own are sent */
    ENTRY_BYTES = 256,              /* what an answer costs beside its rows */
    KEY_BYTES = TABLE_DIGEST_BYTES, /* SHA-256 */
};

struct answer { /* one block of memory: rows and all they point at follow */
    size_t uses, bytes;
    struct sql_rows rows;
};
struct flight {
    struct sql_pool *pool;
    struct entry *entry; /* NULL: ended */
    unsigned char key[KEY_BYTES];
    struct sql_question question;
    char *copy; /* of its text and parameters, which may hold a password */
    size_t copy_bytes, rows_max, uses;
    struct sql_sent sent;
    bool ended;
    enum lookup result;
    struct answer *answer; /* FOUND */
    size_t columns;        /* NONE: of the rows that there could have been */
    struct err err;
    struct event_cond done;
};
struct entry {
    struct list used; /* most recently first; only with an answer */
    unsigned char key[KEY_BYTES];
    struct answer *answer;
    int64_t asked; /* when its question was sent */
    struct flight *flight;
};
struct squadron { /* flights that are sent together */
    struct sql_pool *pool;
    const void *table; /* where their askers look first */
    size_t rows_max, count, bytes;
    struct flight *flight[SQL_TOGETHER];
};
struct sql_ahead { /* what one asker looks for next */
    size_t count;
    struct {
        struct sql_for what;
        struct flight *flight;
    } item[SQL_TOGETHER];
};
static struct map *entries;
static struct squadron *forming; /* not sent yet; NULL: none */
static struct list used = { &used, &used };
static size_t bytes;

static void answer_drop(struct answer **ap)
{
    struct answer *a = *ap;

    *ap = NULL;
    if (a && --a->uses == 0) {
        mem_wipe(a, a->bytes);
        free(a);
    }
}

/* One block: names and cells behind the struct, their bytes behind them. */
static struct answer *answer_make(const struct sql_rows *rows)
{
    size_t cells = rows->rows * rows->columns, need = sizeof(struct answer);
    const char **name;
    struct slice *cell;
    struct answer *a;
    char *p;

    need += rows->columns * sizeof *name + cells * sizeof *cell;
    for (size_t i = 0; i < rows->columns; i++)
        need += strlen(rows->name[i]) + 1;
    for (size_t i = 0; i < cells; i++)
        need += rows->cell[i].len + 1;
    a = mem_new(need);
    cell = (struct slice *) (void *) (a + 1);
    name = (const char **) (void *) (cell + cells);
    p = (char *) (name + rows->columns);
    *a = (struct answer){ .uses = 1, .bytes = need, .rows = *rows };
    a->rows.cell = cell;
    a->rows.name = name;
    for (size_t i = 0; i < rows->columns; i++) {
        name[i] = p;
        p = stpcpy(p, rows->name[i]) + 1;
    }
    for (size_t i = 0; i < cells; i++) {
        struct slice from = rows->cell[i];
        cell[i] = slice_make(from.p ? p : NULL, from.len);
        if (from.p)
            memcpy(p, from.p, from.len);
        p += from.len + 1;
    }
    return a;
}

static void answer_copy(const struct answer *a, struct arena *arena, struct sql_rows *out)
{
    size_t cells = a->rows.rows * a->rows.columns;
    const char **name = arena_alloc(arena, a->rows.columns * sizeof *name);
    struct slice *cell = arena_alloc(arena, cells * sizeof *cell);

    for (size_t i = 0; i < a->rows.columns; i++)
        name[i] = arena_strdup(arena, a->rows.name[i]);
    for (size_t i = 0; i < cells; i++) {
        struct slice from = a->rows.cell[i];
        cell[i] = slice_make(from.p ? arena_strndup(arena, from.p, from.len) : NULL, from.len);
    }
    *out = (struct sql_rows){ a->rows.columns, a->rows.rows, name, cell };
}

static void rows_wipe(const struct sql_rows *rows)
{
    for (size_t i = 0; i < rows->rows * rows->columns; i++)
        if (rows->cell[i].len)
            mem_wipe((char *) (uintptr_t) rows->cell[i].p, rows->cell[i].len);
}

size_t sql_answer_bytes(void) { return bytes; }

static size_t cost(const struct answer *a) { return a->bytes + ENTRY_BYTES; }

static void entry_forget_answer(struct entry *e)
{
    if (e->answer == NULL)
        return;
    bytes -= cost(e->answer);
    list_del(&e->used);
    answer_drop(&e->answer);
}

static void entry_drop_if_empty(struct entry *e)
{
    if (e->answer == NULL && e->flight == NULL)
        map_del(entries, slice_make((const char *) e->key, sizeof e->key)); /* frees it */
}

static void entry_remember(struct entry *e, struct answer *a, int64_t asked)
{
    entry_forget_answer(e);
    a->uses++;
    e->answer = a;
    e->asked = asked;
    bytes += cost(a);
    list_prepend(&used, &e->used);
    while (bytes > (size_t) sql_cache_size && !list_empty(&used)) {
        struct entry *last = list_entry(used.prev, struct entry, used);
        entry_forget_answer(last);
        if (last != e)
            entry_drop_if_empty(last);
    }
}

static void key_add(EVP_MD_CTX *digest, const void *p, size_t len)
{
    uint64_t n = len;

    EVP_DigestUpdate(digest, &n, sizeof n);
    if (len)
        EVP_DigestUpdate(digest, p, len);
}

/* A key of the process goes in first: a digest found in its memory is no help in guessing a password. */
static void question_key(const struct sql_pool *p, const struct sql_question *q, size_t rows_max,
                         unsigned char key[KEY_BYTES])
{
    static EVP_MD *sha256; /* fetched once: EVP_sha256() would be looked up at each use */
    static EVP_MD_CTX *digest;
    static unsigned char secret[KEY_BYTES];

    if (digest == NULL) {
        digest = EVP_MD_CTX_new();
        sha256 = EVP_MD_fetch(NULL, "SHA2-256", NULL);
        if (digest == NULL || sha256 == NULL || getrandom(secret, sizeof secret, 0) != (ssize_t) sizeof secret)
            log_fatal("cannot make keys of questions");
    }
    EVP_DigestInit_ex2(digest, sha256, NULL);
    key_add(digest, secret, sizeof secret);
    key_add(digest, &p, sizeof p);
    key_add(digest, &rows_max, sizeof rows_max);
    key_add(digest, q->text, strlen(q->text));
    for (size_t i = 0; i < q->params; i++) {
        bool null = q->param[i].p == NULL;
        key_add(digest, &null, sizeof null);
        key_add(digest, q->param[i].p, q->param[i].len);
    }
    EVP_DigestFinal_ex(digest, key, NULL);
}

static struct entry *entry_find(const unsigned char key[KEY_BYTES])
{
    return entries ? map_get(entries, slice_make((const char *) key, KEY_BYTES)) : NULL;
}

static struct entry *entry_of(const unsigned char key[KEY_BYTES])
{
    struct slice name = slice_make((const char *) key, KEY_BYTES);
    struct entry *e = entry_find(key);

    if (entries == NULL)
        entries = map_new(SIZE_MAX, free);
    if (e == NULL) {
        e = mem_new(sizeof *e);
        memcpy(e->key, key, KEY_BYTES);
        list_init(&e->used);
        map_set(entries, name, e);
    }
    return e;
}

static void flight_drop(struct flight **fp)
{
    struct flight *f = *fp;

    *fp = NULL;
    if (f == NULL || --f->uses > 0)
        return;
    answer_drop(&f->answer);
    mem_wipe(f->copy, f->copy_bytes);
    free(f->copy);
    free(f);
}

/* The question outlives its asker: a copy in one block. */
static void question_copy(struct flight *f, const struct sql_question *q)
{
    size_t text = strlen(q->text) + 1, source = q->source ? strlen(q->source) + 1 : 0;
    size_t head = q->params * sizeof *q->param, need = head + text + source;
    struct slice *param;
    char *p;

    for (size_t i = 0; i < q->params; i++)
        need += q->param[i].len;
    f->copy = mem_new(need);
    f->copy_bytes = need;
    f->question = *q;
    param = (struct slice *) (void *) f->copy;
    f->question.param = param;
    p = f->copy + head;
    f->question.text = memcpy(p, q->text, text);
    p += text;
    if (source)
        f->question.source = memcpy(p, q->source, source);
    p += source;
    for (size_t i = 0; i < q->params; i++) {
        param[i] = slice_make(q->param[i].p ? p : NULL, q->param[i].len);
        if (q->param[i].p)
            memcpy(p, q->param[i].p, q->param[i].len);
        p += q->param[i].len;
    }
}

static void flight_ends(struct flight *f, enum lookup result, const struct sql_rows *rows)
{
    struct entry *e = f->entry;

    f->result = result;
    e->flight = NULL;
    if (f->result == LOOKUP_FOUND) {
        f->answer = answer_make(rows);
        rows_wipe(rows);
        entry_remember(e, f->answer, f->sent.ms);
    } else if (f->result == LOOKUP_NONE) {
        f->columns = rows->columns;
        entry_forget_answer(e);
    }
    entry_drop_if_empty(e);
    f->entry = NULL;
    f->ended = true;
    event_cond_broadcast(&f->done);
    flight_drop(&f);
}

static void fly(void *arg)
{
    struct flight *f = arg;
    struct arena *arena = arena_new();
    struct sql_rows rows;
    enum lookup result = sql_pool_query(f->pool, &f->question, f->rows_max, &f->sent, arena, &rows, &f->err);

    flight_ends(f, result, &rows);
    arena_free(&arena);
}

static void one_ends(void *arg, size_t which, const struct sql_rows *rows)
{
    struct squadron *s = arg;
    struct flight *f = s->flight[which];

    s->flight[which] = NULL;
    flight_ends(f, rows->rows ? LOOKUP_FOUND : LOOKUP_NONE, rows);
}

/* Those that come back without an answer go once more, each for itself: with another connection, host, or fault. */
static void fly_together(void *arg)
{
    struct squadron *s = arg;
    const struct sql_question *question[SQL_TOGETHER];
    struct sql_sent *sent[SQL_TOGETHER];

    if (forming == s)
        forming = NULL;
    for (size_t i = 0; i < s->count; i++) {
        question[i] = &s->flight[i]->question;
        sent[i] = &s->flight[i]->sent;
    }
    sql_pool_query_together(s->pool, question, sent, s->count, s->rows_max, one_ends, s);
    for (size_t i = 0; i < s->count; i++)
        if (s->flight[i])
            fiber_go("sql question", fly, s->flight[i]);
    free(s);
}

static struct flight *flight_new(struct sql_pool *p, struct entry *e, const struct sql_question *q, size_t rows_max)
{
    struct flight *f = mem_new(sizeof *f);

    *f = (struct flight){ .pool = p, .entry = e, .rows_max = rows_max, .uses = 1 };
    memcpy(f->key, e->key, KEY_BYTES);
    question_copy(f, q);
    e->flight = f;
    return f;
}

static struct flight *flight_join(struct sql_pool *p, struct entry *e, const struct sql_question *q, size_t rows_max)
{
    struct flight *f = e->flight;

    if (f == NULL)
        fiber_go("sql question", fly, f = flight_new(p, e, q, rows_max));
    f->uses++;
    return f;
}

/* An answer that may be used while the database gives none. */
static struct answer *stale(const struct entry *e, const struct sql_question *q)
{
    return !q->fresh && e->answer && time_mono_ms() - e->asked < sql_stale_time * 1000 ? e->answer : NULL;
}

static bool recent(int64_t asked) { return time_mono_ms() - asked < sql_cache_time * 1000; }

/* What the flight means to who came at `order`; -1: nothing, ask again. */
static int meaning(const struct flight *f, bool fresh, uint64_t order)
{
    if (f->result == LOOKUP_RETRY || f->sent.order > order)
        return (int) f->result;
    return f->result == LOOKUP_FOUND && !fresh && recent(f->sent.ms) ? (int) LOOKUP_FOUND : -1;
}

/* Waits for the flight, less long where an old answer is at hand and the database is silent. */
static void wait_for(struct flight *f, bool have_stale, int64_t came, int64_t deadline)
{
    int64_t until = deadline;

    if (have_stale && until > came + STALE_WAIT_MS)
        until = came + STALE_WAIT_MS;
    if (have_stale && sql_pool_silent_ms(f->pool) > SILENT_MS)
        until = came;
    while (!f->ended && event_cond_wait(&f->done, until) == 0)
        ;
}

static bool found_nothing_before(const struct table_asked *asked, const unsigned char key[KEY_BYTES],
                                 struct sql_rows *out)
{
    for (size_t i = 0; asked && i < asked->count; i++)
        if (memcmp(asked->none[i].digest, key, KEY_BYTES) == 0) {
            out->columns = asked->none[i].columns;
            return true;
        }
    return false;
}

static void found_nothing(struct table_asked *asked, const unsigned char key[KEY_BYTES], size_t columns)
{
    struct sql_rows known;

    if (asked == NULL || asked->count == TABLE_ASKED || found_nothing_before(asked, key, &known))
        return;
    memcpy(asked->none[asked->count].digest, key, KEY_BYTES);
    asked->none[asked->count++].columns = columns;
}

/* What the flight says to who came at `order` and has waited since `came`; -1: ask again. */
static int answer_of(struct flight *f, bool fresh, uint64_t order, int64_t came, struct answer *old,
                     struct table_asked *asked, struct arena *arena, struct sql_rows *out, struct err *err)
{
    int result;

    wait_for(f, old != NULL, came, came + sql_pool_patience_ms(f->pool));
    result = f->ended ? meaning(f, fresh, order) : LOOKUP_RETRY;
    if (result == LOOKUP_RETRY && old) {
        answer_copy(old, arena, out);
        result = LOOKUP_FOUND;
    } else if (result == LOOKUP_FOUND) {
        answer_copy(f->answer, arena, out);
    } else if (!f->ended) {
        err_set(err, 0, NULL, "no answer from the database in time");
    } else if (result == LOOKUP_RETRY && err) {
        *err = f->err;
    }
    if (result == LOOKUP_NONE)
        found_nothing(asked, f->key, out->columns = f->columns);
    return result;
}

enum lookup sql_answer(struct sql_pool *p, const struct sql_question *q, size_t rows_max, struct arena *arena,
                       struct sql_rows *out, struct err *err)
{
    uint64_t order = q->asked && q->asked->since ? q->asked->since : sql_order();
    int64_t came = time_mono_ms();
    unsigned char key[KEY_BYTES];
    struct answer *old = NULL;
    int result = -1;

    *out = (struct sql_rows){ 0 };
    question_key(p, q, rows_max, key);
    if (found_nothing_before(q->asked, key, out))
        return LOOKUP_NONE;
    while (result < 0) {
        struct entry *e = entry_of(key);
        struct flight *f;

        if (e->answer && !q->fresh && recent(e->asked)) {
            list_del(&e->used);
            list_prepend(&used, &e->used);
            answer_copy(e->answer, arena, out);
            result = LOOKUP_FOUND;
            break;
        }
        old = stale(e, q);
        if (old)
            old->uses++;
        f = flight_join(p, e, q, rows_max);
        result = answer_of(f, q->fresh, order, came, old, q->asked, arena, out, err);
        flight_drop(&f);
        answer_drop(&old);
    }
    return (enum lookup) result;
}

struct plan { /* what one asker will probably ask, in order */
    struct sql_pool *pool;
    const struct sql_question *question;
    const struct sql_for *what;
    size_t count, rows_max;
    struct table_asked *asked;
    unsigned char key[SQL_TOGETHER][KEY_BYTES];
};

/* Sent before this asker came: what it finds may do for him, "none" not. */
static bool foreign(const struct flight *f, const struct table_asked *asked)
{
    return f->sent.order && f->sent.order < asked->since;
}

/* Somebody else's question of words that this asker needs an answer to, too. NULL: none is on its way. */
static struct flight *foreign_of(const struct plan *p)
{
    for (size_t i = 0; i < p->count; i++) {
        const struct entry *e = entry_find(p->key[i]);
        if (e && e->answer)
            break;
        if (e && e->flight && foreign(e->flight, p->asked))
            return e->flight;
    }
    return NULL;
}

/* What is sent after the others' have landed serves this asker and all who came meanwhile. */
static void let_others_land(const struct plan *p)
{
    int64_t until = time_mono_ms() + OTHERS_MS;
    struct flight *f;

    while ((f = foreign_of(p)) != NULL && time_mono_ms() < until) {
        f->uses++;
        while (!f->ended && event_cond_wait(&f->done, until) == 0)
            ;
        flight_drop(&f);
    }
}

static bool has_room(const struct squadron *s, const struct plan *p, size_t need)
{
    return s && s->pool == p->pool && s->rows_max == p->rows_max && s->table == p->what[0].table &&
           s->count < SQL_TOGETHER && s->bytes + need <= SQL_TOGETHER_BYTES;
}

/* The flight of the ith question, its own or the one of the same words. Questions of all who look in the same table
 * first, until they are sent, go together: what keeps one waiting there would keep the others. */
static struct flight *join_squadron(const struct plan *p, size_t i)
{
    struct entry *e = entry_of(p->key[i]);
    size_t need = 0;

    for (size_t n = 0; n < p->question[i].params; n++)
        need += p->question[i].param[n].len;
    if (e->flight == NULL) {
        if (!has_room(forming, p, need)) {
            forming = mem_new(sizeof *forming);
            *forming = (struct squadron){ .pool = p->pool, .table = p->what[0].table, .rows_max = p->rows_max };
            fiber_go("sql questions", fly_together, forming);
        }
        forming->bytes += need;
        forming->flight[forming->count++] = flight_new(p->pool, e, &p->question[i], p->rows_max);
    }
    e->flight->uses++;
    return e->flight;
}

static size_t begin(const struct plan *p)
{
    struct sql_ahead *ahead = p->asked->ahead = mem_new(sizeof *ahead);
    size_t n;

    for (n = 0; n < p->count; n++) {
        const struct entry *e = entry_find(p->key[n]);
        struct sql_rows known;

        if (found_nothing_before(p->asked, p->key[n], &known))
            continue;
        if (e && (e->answer || (e->flight && foreign(e->flight, p->asked))))
            break;
        ahead->item[ahead->count].what = p->what[n];
        ahead->item[ahead->count++].flight = join_squadron(p, n);
    }
    return n;
}

size_t sql_answer_ahead(struct sql_pool *pool, const struct sql_question *q, const struct sql_for *what, size_t count,
                        size_t rows_max, struct table_asked *asked)
{
    struct plan p = {
        .pool = pool, .question = q, .what = what, .count = count, .rows_max = rows_max, .asked = asked
    };

    sql_answer_ahead_end(asked);
    if (p.count > SQL_TOGETHER)
        p.count = SQL_TOGETHER;
    if (asked->since == 0)
        asked->since = sql_order();
    for (size_t i = 0; i < p.count; i++)
        question_key(pool, &q[i], rows_max, p.key[i]);
    let_others_land(&p);
    return begin(&p);
}

int sql_answer_of_ahead(const struct sql_for *what, struct table_asked *asked, struct arena *arena,
                        struct sql_rows *out, struct err *err)
{
    struct sql_ahead *ahead = asked->ahead;

    *out = (struct sql_rows){ 0 };
    for (size_t i = 0; ahead && i < ahead->count; i++)
        if (ahead->item[i].what.table == what->table && strcmp(ahead->item[i].what.key, what->key) == 0) {
            return answer_of(ahead->item[i].flight, false, asked->since, time_mono_ms(), NULL, asked, arena, out,
                             err);
        }
    return -1;
}

void sql_answer_ahead_end(struct table_asked *asked)
{
    for (size_t i = 0; asked->ahead && i < asked->ahead->count; i++)
        flight_drop(&asked->ahead->item[i].flight);
    free(asked->ahead);
    asked->ahead = NULL;
}
