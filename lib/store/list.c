/*
 * list - all mailboxes of a store, and who is subscribed to what
 *
 * Callers     imapd (LIST, LSUB, SUBSCRIBE, UNSUBSCRIBE)
 * Invariants  at most STORE_MAILBOXES_MAX entries; the file of subscriptions is replaced under its dotlock
 * Source      Dovecot's subscriptions file: version 2 ("V\t2", an empty line, then names whose levels are separated
 *             by tabs, control bytes as \001 and a letter), version 1 (a name a line with the storage's "." or our
 *             separator)
 */
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "store/dotlock.h"
#include "store/internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <unistd.h>

enum { SUBSCRIPTIONS_BYTES = 16 << 20 };
#define SUBSCRIPTIONS      "subscriptions"
#define SUBSCRIPTIONS_LOCK "subscriptions.lock"

static int read_file(struct store *st, struct str *text)
{
    char buf[8192];
    ssize_t n = 0;
    int fd = openat(st->control_fd, SUBSCRIPTIONS, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

    if (fd < 0)
        return errno == ENOENT ? 0 : -1;
    while (!str_over(text) && (n = file_read_all(fd, buf, sizeof buf)) > 0)
        str_add(text, buf, (size_t) n);
    close(fd);
    return n < 0 || str_over(text) ? -1 : 0;
}

/* A line of the file as a name; NULL: none of ours. */
static char *name_of_line(const struct store *st, struct slice line, bool version2)
{
    struct str name;

    str_init(&name, STORE_NAME_BYTES);
    for (size_t i = 0; i < line.len; i++) {
        char c = line.p[i];
        if (version2 && c == '\001' && i + 1 < line.len) {
            c = line.p[++i];
            str_addc(&name, c == '1' ? '\001' : c == 't' ? '\t' : c == 'n' ? '\n' : c == 'r' ? '\r' : c);
        } else {
            str_addc(&name, version2 ? (c == '\t' ? st->separator : c) : c == '.' ? st->separator : c);
        }
    }
    if (str_over(&name) || (strcasecmp(name.p, "INBOX") != 0 && !store_name_valid(st, name.p))) {
        str_free(&name);
        return NULL;
    }
    return str_take(&name);
}

static void line_of_name(const struct store *st, struct str *out, const char *name)
{
    for (; *name; name++)
        str_addc(out, *name == st->separator ? '\t' : *name);
    str_addc(out, '\n');
}

static struct slice body_of(struct slice text, bool *version2)
{
    *version2 = slice_starts(text, "V\t2\n");
    return *version2 ? slice_sub(text, slice_starts(text, "V\t2\n\n") ? 5 : 4, text.len) : text;
}

bool store_subscribed_each(struct store *st, void (*fn)(void *ctx, const char *name), void *ctx)
{
    struct slice rest, line;
    struct str text;
    bool version2, good;
    char *name;

    str_init(&text, SUBSCRIPTIONS_BYTES);
    good = read_file(st, &text) == 0;
    rest = body_of(str_slice(&text), &version2);
    while (good && slice_split(&rest, '\n', &line))
        if (line.len && (name = name_of_line(st, line, version2)) != NULL) {
            fn(ctx, name);
            free(name);
        }
    str_free(&text);
    return good;
}

/* Lines that are none of our names (another namespace's, unreadable ones) stay as they are. */
static void change(const struct store *st, struct slice old, const char *name, bool on, struct str *out)
{
    struct slice rest, line;
    bool version2, found = false;
    char *other;

    str_adds(out, "V\t2\n\n");
    rest = body_of(old, &version2);
    while (slice_split(&rest, '\n', &line)) {
        if (line.len == 0)
            continue;
        other = name_of_line(st, line, version2);
        bool same = other &&
                    (strcmp(other, name) == 0 || (strcasecmp(other, "INBOX") == 0 && strcasecmp(name, "INBOX") == 0));
        found |= same;
        if (!same || on) {
            if (other && !version2) {
                line_of_name(st, out, other);
            } else {
                str_addslice(out, line);
                str_addc(out, '\n');
            }
        }
        free(other);
    }
    if (on && !found)
        line_of_name(st, out, name);
}

enum store_why store_subscribe(struct store *st, const char *name, bool on)
{
    struct str old, new;
    enum store_why why = STORE_OK;
    char *plain;
    int lock;

    if (!store_name_valid(st, name))
        return store_fail(st, STORE_BAD_NAME, "not a mailbox name");
    if ((lock = dotlock_take(st->control_fd, SUBSCRIPTIONS_LOCK)) < 0)
        return store_fail_errno(st, "lock", SUBSCRIPTIONS);
    plain = store_canonical(st, name);
    str_init(&old, SUBSCRIPTIONS_BYTES);
    str_init(&new, SUBSCRIPTIONS_BYTES);
    if (read_file(st, &old) < 0) {
        why = store_fail_errno(st, "read", SUBSCRIPTIONS);
    } else {
        change(st, str_slice(&old), plain, on, &new);
        if (str_over(&new))
            why = STORE_LIMIT;
        else if (!slice_same(str_slice(&old), str_slice(&new)) &&
                 file_replace(st->control_fd, SUBSCRIPTIONS, str_slice(&new), 0600, true) < 0)
            why = store_fail_errno(st, "write", SUBSCRIPTIONS);
    }
    dotlock_release(st->control_fd, SUBSCRIPTIONS_LOCK, lock);
    str_free(&old);
    str_free(&new);
    free(plain);
    return why;
}

struct listing {
    struct store *store;
    struct arena *arena;
    struct map *names; /* name -> struct store_entry */
    bool missing, marked, full;
};

static struct store_entry *entry_of(struct listing *l, const char *name, unsigned fresh)
{
    struct store_entry *e = map_get(l->names, slice_of(name));

    if (e)
        return e;
    e = arena_alloc(l->arena, sizeof *e);
    e->name = arena_strdup(l->arena, name);
    e->attributes = fresh;
    if (!map_set(l->names, slice_of(name), e))
        l->full = true;
    return e;
}

static void add_parents(struct listing *l, const char *name)
{
    char *parent = mem_strdup(name), *sep;

    while ((sep = strrchr(parent, l->store->separator)) != NULL) {
        *sep = '\0';
        entry_of(l, parent, STORE_NOSELECT_ATTR)->attributes |= STORE_CHILDREN;
    }
    free(parent);
}

static void on_subscribed(void *ctx, const char *name)
{
    struct listing *l = ctx;
    const char *key = strcasecmp(name, "INBOX") == 0 ? "INBOX" : name;

    if (l->missing || map_get(l->names, slice_of(key)))
        entry_of(l, key, STORE_MISSING | STORE_NOSELECT_ATTR)->attributes |= STORE_SUBSCRIBED;
}

static bool holds_something(struct store *st, const char *path)
{
    int at = store_open_mail(st, path), fd = openat(at, "new", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    struct dirent *e;
    bool found = false;

    while (dir && !found && (e = readdir(dir)) != NULL)
        found = e->d_name[0] != '.';
    if (dir)
        closedir(dir);
    else if (fd >= 0)
        close(fd);
    if (at >= 0)
        close(at);
    return found;
}

static bool add_folder(void *ctx, const char *name, const char *path, bool selectable)
{
    struct listing *l = ctx;
    struct store_entry *e = entry_of(l, name, selectable ? 0 : STORE_NOSELECT_ATTR);

    if (selectable)
        e->attributes &= ~(unsigned) STORE_NOSELECT_ATTR;
    if (selectable && l->marked && holds_something(l->store, path))
        e->attributes |= STORE_MARKED;
    add_parents(l, name);
    return !l->full;
}

static int by_name(const void *a, const void *b)
{
    const struct store_entry *x = a, *y = b;
    bool ix = strcmp(x->name, "INBOX") == 0, iy = strcmp(y->name, "INBOX") == 0;

    return ix || iy ? iy - ix : strcmp(x->name, y->name);
}

static void hand_out(struct listing *l, struct store_list *out)
{
    struct slice key;
    void *value;

    out->entries = arena_alloc(l->arena, (map_count(l->names) + 1) * sizeof *out->entries);
    for (size_t at = 0; map_next(l->names, &at, &key, &value);) {
        struct store_entry *e = &out->entries[out->count++];
        *e = *(struct store_entry *) value;
        for (const struct store_special *s = l->store->special; s->name; s++)
            if (strcmp(s->name, e->name) == 0 && !(e->attributes & STORE_NOSELECT_ATTR))
                e->special_use = s->use;
    }
    qsort(out->entries, out->count, sizeof *out->entries, by_name);
}

enum store_why store_list(struct store *st, bool missing, bool marked, struct arena *a, struct store_list *out)
{
    struct listing l = {
        .store = st, .arena = a, .names = map_new(STORE_MAILBOXES_MAX, NULL), .missing = missing, .marked = marked
    };
    enum store_why why = STORE_OK;

    *out = (struct store_list){ 0 };
    (void) add_folder(&l, "INBOX", ".", true);
    store_each(st, add_folder, &l);
    if (!store_subscribed_each(st, on_subscribed, &l))
        log_warn("%s: the subscriptions cannot be read", st->root);
    if (l.full)
        why = store_fail(st, STORE_LIMIT, "more than %d mailboxes", STORE_MAILBOXES_MAX);
    else
        hand_out(&l, out);
    map_free(&l.names);
    return why;
}
