/*
 * envelope - see envelope.h
 *
 * Callers     mime/part.c, lib/store, imapd
 * Invariants  of Date, Subject, Message-ID and In-Reply-To the last field counts; addresses of repeated fields add up
 * Source      RFC 3501 7.4.2; RFC 5322 3.3, 4.3; RFC 5256 2.1
 */
#include "proto/mime/envelope.h"
#include "base/time.h"
#include "proto/mime/decode.h"
#include "proto/mime/lex.h"

#include <stddef.h>
#include <strings.h>

static const struct {
    const char *name;
    enum { UNFOLDED, FOLDED, ADDRESSES } how;
    size_t at;
} fields[] = {
    { "Date", UNFOLDED, offsetof(struct mime_envelope, date) },
    { "Subject", FOLDED, offsetof(struct mime_envelope, subject) },
    { "From", ADDRESSES, offsetof(struct mime_envelope, from) },
    { "Sender", ADDRESSES, offsetof(struct mime_envelope, sender) },
    { "Reply-To", ADDRESSES, offsetof(struct mime_envelope, reply_to) },
    { "To", ADDRESSES, offsetof(struct mime_envelope, to) },
    { "Cc", ADDRESSES, offsetof(struct mime_envelope, cc) },
    { "Bcc", ADDRESSES, offsetof(struct mime_envelope, bcc) },
    { "In-Reply-To", UNFOLDED, offsetof(struct mime_envelope, in_reply_to) },
    { "Message-ID", UNFOLDED, offsetof(struct mime_envelope, message_id) },
};

static const char *copy(struct slice v, bool folded, struct arena *a)
{
    struct str s;
    const char *text;

    str_init(&s, 0);
    if (!folded) {
        mime_unfold(&s, v);
    } else {
        while (v.len) {
            size_t n = strnlen(v.p, v.len);
            str_add(&s, v.p, n);
            if (n < v.len)
                str_adds(&s, "\xef\xbf\xbd");
            n += n < v.len;
            v = slice_sub(v, n, v.len - n);
        }
    }
    text = arena_strndup(a, s.p, s.len);
    str_free(&s);
    return text;
}

void mime_envelope_field(struct mime_envelope *env, const struct mime_field *f, struct arena *a)
{
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        if (!slice_caseeq(f->name, fields[i].name))
            continue;
        void *at = (char *) env + fields[i].at;
        if (fields[i].how == ADDRESSES) {
            struct mime_address **tail = at;
            while (*tail)
                tail = &(*tail)->next;
            *tail = mime_addresses(f->value, a);
        } else {
            *(const char **) at = copy(f->value, fields[i].how == FOLDED, a);
        }
        return;
    }
}

struct mime_envelope *mime_envelope(struct slice header, struct arena *a)
{
    struct mime_envelope *env = arena_alloc(a, sizeof *env);
    struct mime_field f;

    while (mime_field_next(&header, &f))
        mime_envelope_field(env, &f, a);
    return env;
}

static int month_of(struct slice w)
{
    static const char names[] = "janfebmaraprmayjunjulaugsepoctnovdec";

    for (int i = 0; i < 12 && w.len >= 3; i++)
        if (strncasecmp(w.p, names + 3 * i, 3) == 0)
            return i + 1;
    return 0;
}

/* RFC 5322 4.3: names, "+hhmm"; military and unknown zones count as -0000. */
static int zone_of(struct slice w)
{
    static const struct {
        const char *name;
        int minutes;
    } zones[] = { { "EST", -300 }, { "EDT", -240 }, { "CST", -360 }, { "CDT", -300 },
                  { "MST", -420 }, { "MDT", -360 }, { "PST", -480 }, { "PDT", -420 } };
    uint64_t n;

    if (w.len == 5 && (*w.p == '+' || *w.p == '-') && slice_u64(slice_sub(w, 1, 4), 9999, &n) == 0) {
        int minutes = (int) (n / 100) * 60 + (int) (n % 100);
        return *w.p == '-' ? -minutes : minutes;
    }
    for (size_t i = 0; i < sizeof zones / sizeof *zones; i++)
        if (slice_caseeq(w, zones[i].name))
            return zones[i].minutes;
    return 0;
}

/* Words of the date without comments. */
static size_t date_words(struct slice value, struct str *text, struct slice *words, size_t max)
{
    struct slice rest, w;
    size_t n = 0, depth = 0;

    for (size_t i = 0; i < value.len; i++) {
        char c = value.p[i];
        if (c == '(')
            depth++;
        if (depth == 0)
            str_addc(text, c == ',' || c == '\0' ? ' ' : c);
        if (c == ')' && depth)
            depth--;
    }
    rest = str_slice(text);
    while (n < max && slice_word(&rest, " \t\r\n", &w))
        words[n++] = w;
    return n;
}

bool mime_date(struct slice value, int64_t *seconds, int *zone)
{
    struct slice words[8], part, clock;
    uint64_t day, year, hms[3] = { 0 };
    struct str text;
    size_t n, i = 0, k = 0;
    bool good = false;

    str_init(&text, 1024);
    n = date_words(value, &text, words, 8);
    if (n && ascii_isalpha(*words[0].p))
        i++;
    if (n < i + 3 || slice_u64(words[i], 31, &day) < 0 || month_of(words[i + 1]) == 0 ||
        slice_u64(words[i + 2], 9999, &year) < 0)
        goto out;
    if (words[i + 2].len < 4)
        year += year < 50 ? 2000 : 1900;
    *zone = n > i + 4 ? zone_of(words[i + 4]) : 0;
    if (n > i + 3) {
        clock = words[i + 3];
        while (k < 3 && slice_split(&clock, ':', &part))
            if (slice_u64(part, 60, &hms[k++]) < 0)
                goto out;
    }
    good = time_from_civil((int) year, month_of(words[i + 1]), (int) day, (int) hms[0], (int) hms[1],
                           (int) (hms[2] > 59 ? 59 : hms[2]), *zone, seconds) == 0;
out:
    str_free(&text);
    return good;
}

/* "Re:", "Fw[x]:", "Fwd:" and blobs "[...]" before them. 0 when there is none. */
static size_t leader_length(struct slice s)
{
    static const char *const words[] = { "re", "fwd", "fw" };
    size_t i = 0;

    for (;;) { /* blobs, when a leader follows */
        size_t j = i;
        if (j < s.len && s.p[j] == '[') {
            while (j < s.len && s.p[j] != ']')
                j++;
            if (j < s.len) {
                for (j++; j < s.len && s.p[j] == ' '; j++)
                    ;
                i = j;
                continue;
            }
        }
        break;
    }
    for (size_t k = 0; k < 3; k++) {
        struct slice rest = slice_sub(s, i, s.len);
        size_t j = strlen(words[k]);
        if (!slice_casestarts(rest, words[k]))
            continue;
        while (j < rest.len && rest.p[j] == ' ')
            j++;
        if (j < rest.len && rest.p[j] == '[') {
            while (j < rest.len && rest.p[j] != ']')
                j++;
            j += j < rest.len;
        }
        while (j < rest.len && rest.p[j] == ' ')
            j++;
        if (j < rest.len && rest.p[j] == ':')
            return i + j + 1;
    }
    return 0;
}

void mime_base_subject(struct slice value, struct str *out, bool *is_reply)
{
    struct str text, flat;
    struct slice s;
    size_t n;
    bool again = true;

    str_init(&text, 65536);
    str_init(&flat, 65536);
    mime_decode_words(value, &text);
    for (size_t i = 0; i < text.len; i++) /* RFC 5256 2.1 (1): blanks become one */
        if (!ascii_isspace(text.p[i]))
            str_addc(&flat, text.p[i]);
        else if (flat.len && flat.p[flat.len - 1] != ' ')
            str_addc(&flat, ' ');
    *is_reply = false;
    for (s = slice_trim(str_slice(&flat)); again;) {
        again = false;
        while (slice_caseends(s, "(fwd)")) {
            s = slice_trim(slice_sub(s, 0, s.len - 5));
            *is_reply = again = true;
        }
        while ((n = leader_length(s)) > 0) {
            s = slice_trim(slice_sub(s, n, s.len));
            *is_reply = again = true;
        }
        ptrdiff_t close = s.len && *s.p == '[' ? slice_find(s, ']') : -1;
        struct slice behind = close > 0 ? slice_trim(slice_sub(s, (size_t) close + 1, s.len))
                                        : (struct slice){ NULL, 0 };
        if (behind.len) {
            s = behind;
            again = true;
        } else if (slice_casestarts(s, "[fwd:") && s.p[s.len - 1] == ']') {
            s = slice_trim(slice_sub(s, 5, s.len - 6));
            *is_reply = again = true;
        }
    }
    str_addslice(out, s);
    str_free(&text);
    str_free(&flat);
}
