/*
 * fields - words of an answer
 *
 * Callers     the files of authd/
 */
#include "authd.h"
#include "proto/sasl/dovecot_auth.h"

void authd_fields_add(struct authd_fields *f, const char *name, const char *value)
{
    if (f->count < AUTHD_FIELDS_MAX) {
        f->field[f->count].name = name;
        f->field[f->count++].value = value;
    }
}

void authd_fields_write(const struct authd_fields *f, struct str *line)
{
    for (size_t n = 0; n < f->count; n++)
        if (f->field[n].value)
            dovecot_auth_put_value(line, f->field[n].name, slice_of(f->field[n].value));
        else
            dovecot_auth_put(line, slice_of(f->field[n].name));
}
