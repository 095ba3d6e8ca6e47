/*
 * dovecot_auth - splits and writes the lines of the Dovecot authentication protocol
 *
 * Callers     authd, lib/client/auth, lib/client/authd
 * Invariants  see dovecot_auth.h
 */
#include "proto/sasl/dovecot_auth.h"
#include <inttypes.h>

static const struct {
    char raw, code;
} escapes[] = { { '\001', '1' }, { '\t', 't' }, { '\n', 'n' }, { '\r', 'r' }, { '\0', '0' } };
static const struct {
    const char *word;
    unsigned flag;
} flag_words[] = {
    { "private", DOVECOT_AUTH_PRIVATE },     { "anonymous", DOVECOT_AUTH_ANONYMOUS },
    { "plaintext", DOVECOT_AUTH_PLAINTEXT }, { "dictionary", DOVECOT_AUTH_DICTIONARY },
    { "active", DOVECOT_AUTH_ACTIVE },       { "forward-secrecy", DOVECOT_AUTH_FORWARD_SECRECY },
    { "mutual-auth", DOVECOT_AUTH_MUTUAL },  { "channel-binding", DOVECOT_AUTH_CHANNEL_BINDING },
};

static int unescape(char *p, size_t *len)
{
    size_t to = 0;

    for (size_t from = 0; from < *len; from++) {
        if (p[from] != '\001') {
            p[to++] = p[from];
            continue;
        }
        if (++from == *len)
            return -1;
        size_t k = 0;
        while (k < sizeof escapes / sizeof *escapes && escapes[k].code != p[from])
            k++;
        if (k == sizeof escapes / sizeof *escapes)
            return -1;
        p[to++] = escapes[k].raw;
    }
    *len = to;
    return 0;
}

int dovecot_auth_split(char *line, size_t len, struct dovecot_auth_line *out)
{
    size_t count = 0, at = 0;

    out->count = 0;
    for (;;) {
        char *tab = memchr(line + at, '\t', len - at);
        size_t end = tab ? (size_t) (tab - line) : len, word_len = end - at;

        if (count == DOVECOT_AUTH_WORDS || unescape(line + at, &word_len) != 0)
            return -1;
        out->word[count++] = slice_make(line + at, word_len);
        if (tab == NULL)
            break;
        at = end + 1;
    }
    out->count = count;
    return 0;
}

struct slice dovecot_auth_word(const struct dovecot_auth_line *line, size_t n)
{
    return n < line->count ? line->word[n] : SLICE("");
}

bool dovecot_auth_value(const struct dovecot_auth_line *line, size_t from, const char *name, struct slice *value)
{
    size_t name_len = strlen(name);

    for (size_t n = from; n < line->count; n++) {
        struct slice word = line->word[n];

        if (word.len < name_len || memcmp(word.p, name, name_len) != 0)
            continue;
        if (word.len == name_len) {
            *value = SLICE("");
            return true;
        }
        if (word.p[name_len] == '=') {
            *value = slice_sub(word, name_len + 1, word.len);
            return true;
        }
    }
    return false;
}

static void put_escaped(struct str *out, struct slice text)
{
    size_t plain = 0;

    for (size_t i = 0; i < text.len; i++) {
        size_t k = 0;
        while (k < sizeof escapes / sizeof *escapes && escapes[k].raw != text.p[i])
            k++;
        if (k == sizeof escapes / sizeof *escapes)
            continue;
        str_add(out, text.p + plain, i - plain);
        str_addc(out, '\001');
        str_addc(out, escapes[k].code);
        plain = i + 1;
    }
    str_add(out, text.p + plain, text.len - plain);
}

void dovecot_auth_begin(struct str *out, const char *command) { str_adds(out, command); }

void dovecot_auth_put(struct str *out, struct slice word)
{
    str_addc(out, '\t');
    put_escaped(out, word);
}

void dovecot_auth_put_num(struct str *out, uint64_t number) { str_printf(out, "\t%" PRIu64, number); }

void dovecot_auth_put_value(struct str *out, const char *name, struct slice value)
{
    str_addc(out, '\t');
    put_escaped(out, slice_of(name)); /* a database may have named the field */
    str_addc(out, '=');
    put_escaped(out, value);
}

void dovecot_auth_end(struct str *out) { str_addc(out, '\n'); }

unsigned dovecot_auth_flags(const struct dovecot_auth_line *line, size_t from)
{
    unsigned flags = 0;

    for (size_t n = from; n < line->count; n++)
        for (size_t k = 0; k < sizeof flag_words / sizeof *flag_words; k++)
            if (slice_eq(line->word[n], flag_words[k].word))
                flags |= flag_words[k].flag;
    return flags;
}

void dovecot_auth_put_flags(struct str *out, unsigned flags)
{
    for (size_t k = 0; k < sizeof flag_words / sizeof *flag_words; k++)
        if (flags & flag_words[k].flag)
            dovecot_auth_put(out, slice_of(flag_words[k].word));
}
