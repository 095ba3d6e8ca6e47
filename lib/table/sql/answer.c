/*
 * answer - what was found, and what is being asked; contract in answer.h
 *
 * A question travels in a fiber of its own (a flight), which ends when the server has answered or is given up. Who
 * asks waits for the flight as long as it has patience, and takes an old answer where there is one and the database
 * gives none. A flight that was sent before somebody came cannot tell that one "none", nor be fresh to him: he waits
 * for it and then asks anew, together with all others who came meanwhile.
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
    ENTRY_BYTES = 256,              /* what an answer costs beside its rows */
    KEY_BYTES = TABLE_DIGEST_BYTES, /* SHA-256 */
};

struct answer { /* one block of memory: rows and all they point at follow */
    size_t uses, bytes;
    struct sql_rows rows;
};
struct flight {
    struct sql_pool *pool;
    struct entry *entry;
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
static struct map *entries;
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

static struct entry *entry_of(const unsigned char key[KEY_BYTES])
{
    struct slice name = slice_make((const char *) key, KEY_BYTES);
    struct entry *e;

    if (entries == NULL)
        entries = map_new(SIZE_MAX, free);
    e = map_get(entries, name);
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

static void fly(void *arg)
{
    struct flight *f = arg;
    struct arena *arena = arena_new();
    struct entry *e = f->entry;
    struct sql_rows rows;

    f->result = sql_pool_query(f->pool, &f->question, f->rows_max, &f->sent, arena, &rows, &f->err);
    e->flight = NULL;
    if (f->result == LOOKUP_FOUND) {
        f->answer = answer_make(&rows);
        rows_wipe(&rows);
        entry_remember(e, f->answer, f->sent.ms);
    } else if (f->result == LOOKUP_NONE) {
        f->columns = rows.columns;
        entry_forget_answer(e);
    }
    entry_drop_if_empty(e);
    f->entry = NULL;
    f->ended = true;
    event_cond_broadcast(&f->done);
    arena_free(&arena);
    flight_drop(&f);
}

static struct flight *flight_join(struct sql_pool *p, struct entry *e, const struct sql_question *q, size_t rows_max)
{
    struct flight *f = e->flight;

    if (f == NULL) {
        f = mem_new(sizeof *f);
        *f = (struct flight){ .pool = p, .entry = e, .rows_max = rows_max, .uses = 1 };
        question_copy(f, q);
        e->flight = f;
        fiber_go("sql question", fly, f);
    }
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
static int meaning(const struct flight *f, const struct sql_question *q, uint64_t order)
{
    if (f->result == LOOKUP_RETRY || f->sent.order > order)
        return (int) f->result;
    return f->result == LOOKUP_FOUND && !q->fresh && recent(f->sent.ms) ? (int) LOOKUP_FOUND : -1;
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

static bool found_nothing_before(const struct sql_question *q, const unsigned char key[KEY_BYTES],
                                 struct sql_rows *out)
{
    for (size_t i = 0; q->asked && i < q->asked->count; i++)
        if (memcmp(q->asked->none[i].digest, key, KEY_BYTES) == 0) {
            out->columns = q->asked->none[i].columns;
            return true;
        }
    return false;
}

static void found_nothing(const struct sql_question *q, const unsigned char key[KEY_BYTES], size_t columns)
{
    if (q->asked == NULL || q->asked->count == TABLE_ASKED)
        return;
    memcpy(q->asked->none[q->asked->count].digest, key, KEY_BYTES);
    q->asked->none[q->asked->count++].columns = columns;
}

enum lookup sql_answer(struct sql_pool *p, const struct sql_question *q, size_t rows_max, struct arena *arena,
                       struct sql_rows *out, struct err *err)
{
    uint64_t order = sql_order();
    int64_t came = time_mono_ms(), patience = sql_pool_patience_ms(p);
    unsigned char key[KEY_BYTES];
    struct answer *old = NULL;
    int result = -1;

    *out = (struct sql_rows){ 0 };
    question_key(p, q, rows_max, key);
    if (found_nothing_before(q, key, out))
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
        wait_for(f, old != NULL, came, came + patience);
        result = f->ended ? meaning(f, q, order) : LOOKUP_RETRY;
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
            found_nothing(q, key, out->columns = f->columns);
        flight_drop(&f);
        answer_drop(&old);
    }
    return (enum lookup) result;
}
