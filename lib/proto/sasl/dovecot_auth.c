/*
 * dovecot_auth - split and escape the lines of the Dovecot auth protocol
 *
 * Callers     lib/client/auth.c, authd
 * Invariants  pure
 */
#include "proto/sasl/dovecot_auth.h"

int dovecot_auth_parse(struct slice line, struct dovecot_auth_line *out)
{
    struct slice rest = line, word;

    out->count = 0;
    out->verb = slice_make("", 0);
    if (line.len > DOVECOT_AUTH_LINE_BYTES || !slice_split(&rest, '\t', &out->verb) || out->verb.len == 0)
        return -1;
    while (slice_split(&rest, '\t', &word)) {
        if (out->count == DOVECOT_AUTH_FIELDS)
            return -1;
        out->field[out->count++] = word;
    }
    return 0;
}

int dovecot_auth_number(const struct dovecot_auth_line *line, size_t at, uint32_t *out)
{
    uint64_t n;

    if (at >= line->count || slice_u64(line->field[at], UINT32_MAX, &n))
        return -1;
    *out = (uint32_t) n;
    return 0;
}

bool dovecot_auth_field(const struct dovecot_auth_line *line, size_t from, const char *name, struct slice *value)
{
    size_t len = strlen(name);

    for (size_t i = from; i < line->count; i++) {
        struct slice f = line->field[i];

        if (!slice_starts(f, name))
            continue;
        if (f.len == len) {
            *value = slice_sub(f, len, 0);
            return true;
        }
        if (f.p[len] == '=') {
            *value = slice_sub(f, len + 1, f.len);
            return true;
        }
    }
    return false;
}

static const struct {
    char plain, escaped;
} escapes[] = { { '\t', 't' }, { '\n', 'n' }, { '\r', 'r' }, { 0, '0' }, { 1, '1' } };

void dovecot_auth_unescape(struct str *out, struct slice in)
{
    for (size_t i = 0; i < in.len; i++) {
        char c = in.p[i];

        if (c == 1 && i + 1 < in.len) {
            c = in.p[++i];
            for (size_t k = 0; k < sizeof escapes / sizeof *escapes; k++)
                if (escapes[k].escaped == c) {
                    c = escapes[k].plain;
                    break;
                }
        }
        str_addc(out, c);
    }
}

void dovecot_auth_escape(struct str *out, struct slice in)
{
    for (size_t i = 0; i < in.len; i++) {
        char c = in.p[i];
        size_t k = 0;

        while (k < sizeof escapes / sizeof *escapes && escapes[k].plain != c)
            k++;
        if (k < sizeof escapes / sizeof *escapes) {
            str_addc(out, 1);
            c = escapes[k].escaped;
        }
        str_addc(out, c);
    }
}
