/*
 * fields - "name=value" words: what a database says of a user, and what an answer says
 *
 * Callers     the files of authd/
 * Invariants  a name stands once: adding it again replaces its value, in place
 *             names and values are borrowed: they live in the arena given, or longer
 * Units       AUTHD_FIELDS_MAX words; one more sets `over`, and an answer that is `over` is "later": a field that
 *             restricts a login must not get lost
 */
#ifndef AUTHD_FIELDS_H
#define AUTHD_FIELDS_H
#include "base/mem.h"
#include "base/str.h"

enum { AUTHD_FIELDS_MAX = 96 };
struct authd_field {
    const char *name, *value; /* value NULL: a bare word, or a column that is NULL */
};
struct authd_fields {
    size_t count, room;
    bool over;
    struct authd_field *field;
};
void authd_fields_add(struct authd_fields *, struct arena *, const char *name, const char *value);
void authd_fields_remove(struct authd_fields *, const char *name);
bool authd_fields_has(const struct authd_fields *, const char *name);
const char *authd_fields_get(const struct authd_fields *, const char *name); /* NULL: absent, or without a value */
/* A copy of the words as they are now, for authd_fields_back. */
struct authd_fields authd_fields_copy(const struct authd_fields *, struct arena *);
/* "name=value name word": the form of default_fields and of a passwd-file's extra fields; blanks separate. */
void authd_fields_parse(struct authd_fields *, struct arena *, struct slice text);
/* Dovecot's suffixes: "home:protected" does not replace a value, "home:remove" takes it away. The name without it. */
enum authd_field_mode { AUTHD_FIELD_SET, AUTHD_FIELD_PROTECTED, AUTHD_FIELD_REMOVE };
const char *authd_field_name(const char *name, struct arena *, enum authd_field_mode *);
/* As words of a line of the auth protocol; one with an empty value is a bare word, as Dovecot writes it. */
void authd_fields_write(const struct authd_fields *, struct str *line);
#endif
