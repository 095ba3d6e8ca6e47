/*
 * imapd/cmd/list - LIST, LSUB
 *
 * Invariants  the store's list is sorted and names each parent, so one walk answers '%' too; subscriptions may name
 *             what no longer exists, and there parents are made up for LSUB
 * Source      RFC 3501 6.3.8, 6.3.9; 3348 (CHILDREN); 6154 (SPECIAL-USE)
 */
#include "cmd/cmd.h"
#include "proto/imap/mailbox.h"
#include "proto/imap/print.h"

struct list {
    struct imapd_session *s;
    struct slice pattern;
    bool special_only; /* LIST (SPECIAL-USE) */
    bool special_told; /* options were given: of the attributes only what they name */
    char separator;
};

static void line(struct list *l, const char *command, const char *attributes, struct slice name)
{
    struct str *out = &l->s->out;

    str_printf(out, "* %s (%s) \"%c\" ", command, attributes, l->separator);
    imap_print_astring(out, name);
    imapd_untagged(l->s);
}

/* Reference and pattern; a pattern that starts at the root needs no reference in a single namespace. */
static int arguments(struct imapd_session *s, struct imap_arg *a, struct slice *pattern, bool *empty)
{
    struct slice reference, rest;

    if (imap_arg_astring(a, &reference) != 0 || imap_arg_space(a) != 0 || imap_arg_pattern(a, &rest) != 0)
        return -1;
    if (reference.len + rest.len > STORE_NAME_BYTES)
        return imap_arg_fail(a, "Pattern too long.");
    *empty = rest.len == 0;
    *pattern = slice_of(arena_printf(s->arena, "%.*s%.*s", (int) reference.len, reference.p, (int) rest.len, rest.p));
    return 0;
}

/* RFC 6154 section 3: LIST (SPECIAL-USE), and RETURN (SPECIAL-USE). RFC 5258's other options
 * are not known. */
static int options(struct imap_arg *a, bool *special)
{
    if (!imap_arg_char(a, '('))
        return 0;
    while (imap_arg_peek(a) != ')') {
        if (imap_arg_word(a, "SPECIAL-USE"))
            *special = true;
        else
            return imap_arg_fail(a, "Unknown LIST option.");
        if (imap_arg_peek(a) == ' ')
            imap_arg_space(a);
    }
    a->p++;
    return 1;
}

static void one(struct list *l, const struct store_entry *e)
{
    struct str words;
    bool plain = !l->special_only && !l->special_told;

    if (!imap_mailbox_match(l->pattern, slice_of(e->name), l->separator) || (l->special_only && !e->special_use))
        return;
    str_init(&words, 200);
    if (e->attributes & STORE_NOSELECT_ATTR)
        str_adds(&words, "\\Noselect ");
    if (plain)
        str_adds(&words, e->attributes & STORE_CHILDREN ? "\\HasChildren " : "\\HasNoChildren ");
    if (e->special_use)
        str_printf(&words, "%s ", e->special_use);
    str_cut(&words, words.len ? words.len - 1 : 0);
    line(l, "LIST", words.p, slice_of(e->name));
    str_free(&words);
}

void imapd_cmd_list(struct imapd_session *s, struct imap_arg *a)
{
    struct list l = { .s = s, .separator = store_separator(s->store) };
    struct store_list all;
    enum store_why why;
    bool empty = false;
    int rc = options(a, &l.special_only);

    if (rc < 0 || (rc > 0 && imap_arg_space(a) != 0) || arguments(s, a, &l.pattern, &empty) != 0)
        return;
    if (!imap_arg_end(a)) {
        if (imap_arg_space(a) != 0)
            return;
        if (!imap_arg_word(a, "RETURN") || imap_arg_space(a) != 0 || options(a, &l.special_told) <= 0) {
            imap_arg_fail(a, "Invalid arguments.");
            return;
        }
    }
    if (imap_arg_done(a) != 0)
        return;
    if (empty) { /* asks for the separator */
        line(&l, "LIST", "\\Noselect", slice_of(""));
        imapd_answer(s, "OK List completed.");
        return;
    }
    why = store_list(s->store, false, false, s->arena, &all);
    if (why != STORE_OK) {
        imapd_answer_why(s, why, "LIST", NULL);
        return;
    }
    for (size_t i = 0; i < all.count; i++) {
        one(&l, &all.entries[i]);
        fiber_slice();
    }
    imapd_answer(s, "OK List completed.");
}

/* A subscribed name that the pattern does not reach shows its first parent that the pattern does: RFC 3501 6.3.9. */
static void parent(struct list *l, const struct store_list *all, size_t self, const char **last)
{
    struct slice name = slice_of(all->entries[self].name);

    for (size_t i = 1; i < name.len; i++) {
        struct slice up = slice_sub(name, 0, i);
        bool subscribed = false;

        if (name.p[i] != l->separator || !imap_mailbox_match(l->pattern, up, l->separator))
            continue;
        for (size_t k = 0; k < all->count && !subscribed; k++)
            subscribed = slice_eq(up, all->entries[k].name) && all->entries[k].attributes & STORE_SUBSCRIBED;
        if (!subscribed && (*last == NULL || !slice_eq(up, *last))) {
            line(l, "LSUB", "\\Noselect", up);
            *last = arena_strndup(l->s->arena, up.p, up.len);
        }
        return;
    }
}

void imapd_cmd_lsub(struct imapd_session *s, struct imap_arg *a)
{
    struct list l = { .s = s, .separator = store_separator(s->store) };
    struct store_list all;
    const char *last_parent = NULL;
    enum store_why why;
    bool empty = false;

    if (arguments(s, a, &l.pattern, &empty) != 0 || imap_arg_done(a) != 0)
        return;
    why = store_list(s->store, true, false, s->arena, &all);
    if (why != STORE_OK) {
        imapd_answer_why(s, why, "LSUB", NULL);
        return;
    }
    for (size_t i = 0; i < all.count && !empty; i++) {
        const struct store_entry *e = &all.entries[i];

        if (!(e->attributes & STORE_SUBSCRIBED))
            continue;
        if (imap_mailbox_match(l.pattern, slice_of(e->name), l.separator))
            line(&l, "LSUB", e->special_use ? e->special_use : "",
                 slice_of(e->name)); /* a mailbox that is gone, too */
        else if (l.pattern.len && l.pattern.p[l.pattern.len - 1] == '%')
            parent(&l, &all, i, &last_parent);
        fiber_slice();
    }
    imapd_answer(s, "OK Lsub completed.");
}
