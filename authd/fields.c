/*
 * fields - see fields.h
 */
#include "fields.h"
#include "proto/sasl/dovecot_auth.h"

static size_t find(const struct authd_fields *f, const char *name)
{
    size_t n = 0;

    while (n < f->count && strcmp(f->field[n].name, name) != 0)
        n++;
    return n;
}

void authd_fields_add(struct authd_fields *f, struct arena *a, const char *name, const char *value)
{
    size_t n = find(f, name);

    if (n == AUTHD_FIELDS_MAX) {
        f->over = true;
        return;
    }
    if (f->field == NULL || n == f->room) {
        size_t room = f->room ? 2 * f->room : 8;
        struct authd_field *more = arena_alloc(a, room * sizeof *more);
        if (f->field)
            memcpy(more, f->field, f->count * sizeof *more);
        f->field = more;
        f->room = room;
    }
    f->field[n] = (struct authd_field){ name, value };
    if (n == f->count)
        f->count++;
}

void authd_fields_remove(struct authd_fields *f, const char *name)
{
    size_t n = find(f, name);

    if (n == f->count)
        return;
    f->count--;
    memmove(&f->field[n], &f->field[n + 1], (f->count - n) * sizeof f->field[n]);
}

bool authd_fields_has(const struct authd_fields *f, const char *name) { return find(f, name) < f->count; }

const char *authd_fields_get(const struct authd_fields *f, const char *name)
{
    size_t n = find(f, name);

    return n < f->count ? f->field[n].value : NULL;
}

struct authd_fields authd_fields_copy(const struct authd_fields *f, struct arena *a)
{
    struct authd_fields copy = { .over = f->over };

    for (size_t n = 0; n < f->count; n++)
        authd_fields_add(&copy, a, f->field[n].name, f->field[n].value);
    return copy;
}

void authd_fields_parse(struct authd_fields *f, struct arena *a, struct slice text)
{
    struct slice word;

    while (slice_word(&text, " \t", &word)) {
        ptrdiff_t eq = slice_find(word, '=');
        if (eq < 0)
            authd_fields_add(f, a, arena_strndup(a, word.p, word.len), NULL);
        else
            authd_fields_add(f, a, arena_strndup(a, word.p, (size_t) eq),
                             arena_strndup(a, word.p + eq + 1, word.len - (size_t) eq - 1));
    }
}

const char *authd_field_name(const char *name, struct arena *a, enum authd_field_mode *mode)
{
    struct slice all = slice_of(name);
    const char *suffix = "";

    *mode = AUTHD_FIELD_SET;
    if (slice_caseends(all, ":protected")) {
        *mode = AUTHD_FIELD_PROTECTED;
        suffix = ":protected";
    } else if (slice_caseends(all, ":remove")) {
        *mode = AUTHD_FIELD_REMOVE;
        suffix = ":remove";
    }
    return *suffix ? arena_strndup(a, name, all.len - strlen(suffix)) : name;
}

void authd_fields_write(const struct authd_fields *f, struct str *line)
{
    for (size_t n = 0; n < f->count; n++)
        if (f->field[n].value && f->field[n].value[0])
            dovecot_auth_put_value(line, f->field[n].name, slice_of(f->field[n].value));
        else
            dovecot_auth_put(line, slice_of(f->field[n].name));
}
