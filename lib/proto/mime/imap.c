/*
 * imap - see imap.h
 *
 * Callers     lib/store, imapd
 * Invariants  pure; a literal is as long as it says
 * Source      RFC 3501 4.3, 7.4.2, 9
 */
#include "proto/mime/imap.h"

#include <stdio.h>
#include <strings.h>

enum { LISTS = 6, ESCAPES_MAX = 4 }; /* more quotes than that are clearer as a literal */

void mime_imap_string(struct str *out, const char *s)
{
    size_t escapes = 0, len = 0;
    bool literal = false;

    if (s == NULL) {
        str_adds(out, "NIL");
        return;
    }
    for (; s[len]; len++) {
        escapes += s[len] == '"' || s[len] == '\\';
        literal |= (unsigned char) s[len] > 127 || s[len] == '\r' || s[len] == '\n';
    }
    if (literal || escapes > ESCAPES_MAX) {
        str_printf(out, "{%zu}\r\n%s", len, s);
        return;
    }
    str_addc(out, '"');
    for (const char *p = s; escapes && *p; p++) {
        if (*p == '"' || *p == '\\')
            str_addc(out, '\\');
        str_addc(out, *p);
    }
    if (escapes == 0)
        str_add(out, s, len);
    str_addc(out, '"');
}

/* Single blanks between words, nothing to be quoted. */
static bool is_plain(const char *s)
{
    bool blank = *s != '\0';

    for (; *s; s++) {
        if (*s == ' ' ? blank : *s == '\t' || *s == '\r' || *s == '\n')
            return false;
        if (*s == '"' || *s == '\\' || (unsigned char) *s > 127)
            return false;
        blank = *s == ' ';
    }
    return !blank;
}

/* Subjects and display names: runs of blanks and line ends become one blank; what needed that, or holds quotes or
 * 8-bit bytes, is sent as a literal. */
static void human_string(struct str *out, const char *s)
{
    struct str flat;
    bool blank = true;

    if (s == NULL) {
        str_adds(out, "NIL");
        return;
    }
    if (is_plain(s)) {
        str_addc(out, '"');
        str_adds(out, s);
        str_addc(out, '"');
        return;
    }
    str_init(&flat, 0);
    for (const char *p = s; *p; p++) {
        bool is_blank = *p == ' ' || *p == '\t' || *p == '\r' || *p == '\n';
        if (!is_blank)
            str_addc(&flat, *p);
        else if (!blank)
            str_addc(&flat, ' ');
        blank = is_blank;
    }
    if (blank && flat.len)
        str_cut(&flat, flat.len - 1);
    if (flat.len)
        str_printf(out, "{%zu}\r\n%s", flat.len, flat.p);
    else
        str_adds(out, "\"\"");
    str_free(&flat);
}

static void addresses(struct str *out, const struct mime_address *a)
{
    if (a == NULL) {
        str_adds(out, "NIL");
        return;
    }
    str_addc(out, '(');
    for (; a; a = a->next) {
        str_addc(out, '(');
        human_string(out, a->name);
        str_addc(out, ' ');
        mime_imap_string(out, a->route);
        str_addc(out, ' ');
        mime_imap_string(out, a->mailbox);
        str_addc(out, ' ');
        mime_imap_string(out, a->host);
        str_addc(out, ')');
    }
    str_addc(out, ')');
}

void mime_imap_envelope(const struct mime_envelope *e, struct str *out)
{
    str_addc(out, '(');
    mime_imap_string(out, e->date);
    str_addc(out, ' ');
    human_string(out, e->subject);
    const struct mime_address *lists[LISTS] = {
        e->from, e->sender ? e->sender : e->from, e->reply_to ? e->reply_to : e->from, e->to, e->cc, e->bcc
    };
    for (size_t i = 0; i < LISTS; i++) {
        str_addc(out, ' ');
        addresses(out, lists[i]);
    }
    str_addc(out, ' ');
    mime_imap_string(out, e->in_reply_to);
    str_addc(out, ' ');
    mime_imap_string(out, e->message_id);
    str_addc(out, ')');
}

static void params(struct str *out, const struct mime_param *p, bool text)
{
    bool charset = false, first = true;

    if (p == NULL && !text) {
        str_adds(out, "NIL");
        return;
    }
    str_addc(out, '(');
    for (; p; p = p->next) {
        charset |= strcasecmp(p->name, "charset") == 0;
        if (!first)
            str_addc(out, ' ');
        mime_imap_string(out, p->name);
        str_addc(out, ' ');
        mime_imap_string(out, p->value);
        first = false;
    }
    if (text && !charset) /* RFC 2046 4.1.2 */
        str_adds(out, first ? "\"charset\" \"us-ascii\"" : " \"charset\" \"us-ascii\"");
    str_addc(out, ')');
}

/* Disposition, language, location. */
static void extension(struct str *out, const struct mime_part *part)
{
    if (part->disposition.type) {
        str_adds(out, " (");
        mime_imap_string(out, part->disposition.type);
        str_addc(out, ' ');
        params(out, part->disposition.params, false);
        str_addc(out, ')');
    } else {
        str_adds(out, " NIL");
    }
    str_adds(out, part->languages ? " (" : " NIL");
    for (size_t i = 0; part->languages && part->languages[i]; i++) {
        if (i)
            str_addc(out, ' ');
        mime_imap_string(out, part->languages[i]);
    }
    str_adds(out, part->languages ? ") " : " ");
    mime_imap_string(out, part->location);
}

static void multipart(struct str *out, const struct mime_part *part, bool extended)
{
    for (const struct mime_part *c = part->child; c; c = c->next)
        mime_imap_structure(c, extended, out);
    if (part->child == NULL) /* a body needs a part: RFC 3501 body-type-mpart = 1*body ... */
        str_printf(out, "(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 0 0%s)",
                   extended ? " NIL NIL NIL NIL" : "");
    str_addc(out, ' ');
    mime_imap_string(out, part->type.subtype);
    if (extended) {
        str_addc(out, ' ');
        params(out, part->type.params, false);
        extension(out, part);
    }
}

static void single(struct str *out, const struct mime_part *part, bool extended)
{
    if (part->kind == MIME_MESSAGE) {
        str_adds(out, "\"message\" \"rfc822\" ");
    } else {
        mime_imap_string(out, part->type.type);
        str_addc(out, ' ');
        mime_imap_string(out, part->type.subtype);
        str_addc(out, ' ');
    }
    params(out, part->type.params, part->kind == MIME_TEXT);
    str_addc(out, ' ');
    mime_imap_string(out, part->id);
    str_addc(out, ' ');
    mime_imap_string(out, part->description);
    str_addc(out, ' ');
    mime_imap_string(out, part->encoding ? part->encoding : "7bit");
    str_addc(out, ' ');
    str_addu(out, part->body.virtual);
    if (part->kind == MIME_TEXT) {
        str_addc(out, ' ');
        str_addu(out, part->body.lines);
    }
    if (part->kind == MIME_MESSAGE && part->child) {
        str_addc(out, ' ');
        mime_imap_envelope(part->child->envelope, out);
        str_addc(out, ' ');
        mime_imap_structure(part->child, extended, out);
        str_printf(out, " %u", part->body.lines);
    }
    if (extended) {
        str_addc(out, ' ');
        mime_imap_string(out, part->md5);
        extension(out, part);
    }
}

void mime_imap_structure(const struct mime_part *part, bool extended, struct str *out)
{
    str_addc(out, '(');
    if (part->kind == MIME_MULTIPART)
        multipart(out, part, extended);
    else
        single(out, part, extended);
    str_addc(out, ')');
}

/* Walking the text of a BODYSTRUCTURE. */
struct walk {
    const char *p, *end;
    bool bad;
};

static bool skip_string(struct walk *w)
{
    if (*w->p == '"') {
        for (w->p++; w->p < w->end && *w->p != '"'; w->p++)
            w->p += *w->p == '\\' && w->p + 1 < w->end;
        if (w->p < w->end) {
            w->p++;
            return true;
        }
        return false;
    }
    size_t n = 0;
    for (w->p++; w->p < w->end && ascii_isdigit(*w->p) && n < SIZE_MAX / 20; w->p++)
        n = n * 10 + (size_t) (*w->p - '0');
    if (w->end - w->p < 3 || memcmp(w->p, "}\r\n", 3) != 0 || (size_t) (w->end - w->p - 3) < n)
        return false;
    w->p += 3 + n;
    return true;
}

/* One value: a string, an atom, or a list with all in it. */
static void skip_value(struct walk *w)
{
    size_t depth = 0;

    do {
        if (w->p >= w->end) {
            w->bad = true;
        } else if (*w->p == '"' || *w->p == '{') {
            w->bad = !skip_string(w);
        } else if (*w->p == '(') {
            depth++;
            w->p++;
        } else if (*w->p == ')') {
            w->bad = depth == 0;
            depth -= depth > 0;
            w->p++;
        } else if (*w->p == ' ') {
            w->p++;
        } else {
            while (w->p < w->end && *w->p != ' ' && *w->p != ')' && *w->p != '(')
                w->p++;
        }
    } while (!w->bad && depth);
}

static void copy_value(struct walk *w, struct str *out)
{
    const char *from = w->p;

    skip_value(w);
    str_add(out, from, (size_t) (w->p - from));
}

static void blank(struct walk *w, struct str *out)
{
    if (w->p < w->end && *w->p == ' ') {
        w->p++;
        if (out)
            str_addc(out, ' ');
    } else {
        w->bad = true;
    }
}

static void body(struct walk *w, struct str *out, size_t depth);

/* Type to size are seven values; text has its lines, a message its envelope, body and lines behind them. */
static void body_single(struct walk *w, struct str *out, size_t depth)
{
    struct slice type, all = slice_make(w->p, (size_t) (w->end - w->p));
    bool message = slice_casestarts(all, "\"message\" \"rfc822\" ");

    for (int i = 0; i < 7 && !w->bad; i++) {
        if (i)
            blank(w, out);
        copy_value(w, out);
    }
    type = slice_sub(all, 0, 7);
    if (!w->bad && w->p + 1 < w->end && slice_caseeq(type, "\"text\" ")) {
        blank(w, out);
        copy_value(w, out);
    } else if (!w->bad && message && w->p + 1 < w->end && w->p[1] == '(') {
        blank(w, out);
        copy_value(w, out);
        blank(w, out);
        body(w, out, depth + 1);
        blank(w, out);
        copy_value(w, out);
    }
}

static void body(struct walk *w, struct str *out, size_t depth)
{
    if (w->p >= w->end || *w->p != '(' || depth > MIME_DEPTH_MAX + 1) {
        w->bad = true;
        return;
    }
    w->p++;
    str_addc(out, '(');
    if (w->p < w->end && *w->p == '(') {
        while (!w->bad && w->p < w->end && *w->p == '(')
            body(w, out, depth + 1);
        blank(w, out);
        copy_value(w, out);
    } else {
        body_single(w, out, depth);
    }
    while (!w->bad && w->p < w->end && *w->p != ')') {
        blank(w, NULL);
        skip_value(w);
    }
    if (w->p >= w->end)
        w->bad = true;
    else
        w->p++;
    str_addc(out, ')');
}

int mime_imap_body(struct slice structure, struct str *out)
{
    struct walk w = { structure.p, structure.p + structure.len, false };
    size_t had = out->len;

    body(&w, out, 0);
    if (w.bad || w.p != w.end) {
        str_cut(out, had);
        return -1;
    }
    return 0;
}
