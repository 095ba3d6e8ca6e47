/* print - quoting. Contract: print.h */
#include "proto/imap/print.h"

static void add_literal(struct str *out, struct slice s)
{
    str_printf(out, "{%zu}\r\n", s.len);
    for (size_t i = 0; i < s.len; i++)
        str_addc(out, s.p[i] ? s.p[i] : (char) 0x80);
}

void imap_print_string(struct str *out, struct slice s)
{
    size_t room = s.len;

    if (s.len > IMAP_QUOTED_BYTES) {
        add_literal(out, s);
        return;
    }
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char) s.p[i];

        if (c >= 0x80 || c == 0 || c == '\r' || c == '\n') {
            add_literal(out, s);
            return;
        }
    }
    str_reserve(out, room + 2);
    str_addc(out, '"');
    for (size_t i = 0; i < s.len; i++) {
        if (s.p[i] == '"' || s.p[i] == '\\')
            str_addc(out, '\\');
        str_addc(out, s.p[i]);
    }
    str_addc(out, '"');
}

void imap_print_nstring(struct str *out, struct slice s)
{
    if (s.p == NULL)
        str_adds(out, "NIL");
    else
        imap_print_string(out, s);
}

void imap_print_astring(struct str *out, struct slice s)
{
    bool atom = s.len > 0 && s.len <= IMAP_QUOTED_BYTES && !slice_caseeq(s, "NIL");

    for (size_t i = 0; atom && i < s.len; i++)
        atom = (imap_arg_is_atom_char(s.p[i]) || s.p[i] == ']') && (unsigned char) s.p[i] < 0x80;
    if (atom)
        str_addslice(out, s);
    else
        imap_print_string(out, s);
}

void imap_print_flags(struct str *out, unsigned system, const struct slice *keywords, size_t count)
{
    static const struct {
        unsigned bit;
        const char *name;
    } order[] = {
        { IMAP_ANSWERED, "\\Answered" }, { IMAP_FLAGGED, "\\Flagged" }, { IMAP_DELETED, "\\Deleted" },
        { IMAP_SEEN, "\\Seen" },         { IMAP_DRAFT, "\\Draft" },     { IMAP_RECENT, "\\Recent" },
    };
    const char *blank = "";

    for (size_t i = 0; i < sizeof order / sizeof *order; i++) {
        if (system & order[i].bit) {
            str_adds(out, blank);
            str_adds(out, order[i].name);
            blank = " ";
        }
    }
    for (size_t i = 0; i < count; i++) {
        str_adds(out, blank);
        str_addslice(out, keywords[i]);
        blank = " ";
    }
}
