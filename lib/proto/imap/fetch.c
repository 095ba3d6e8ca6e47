/* fetch - the items of FETCH; the tables are the grammar. Contract: fetch.h */
#include "proto/imap/fetch.h"
#include "proto/imap/print.h"

static const struct {
    const char *name;
    enum imap_fetch_what what;
} simple[] = {
    { "UID", IMAP_FETCH_UID },
    { "FLAGS", IMAP_FETCH_FLAGS },
    { "INTERNALDATE", IMAP_FETCH_INTERNALDATE },
    { "RFC822.SIZE", IMAP_FETCH_SIZE },
    { "ENVELOPE", IMAP_FETCH_ENVELOPE },
    { "BODYSTRUCTURE", IMAP_FETCH_BODYSTRUCTURE },
    { "BODY", IMAP_FETCH_BODY },
};

/* The same bytes under the names of RFC 1730. */
static const struct {
    const char *name;
    enum imap_section_what what;
    bool peek;
} old_names[] = {
    { "RFC822.HEADER", IMAP_SECTION_HEADER, true },
    { "RFC822.TEXT", IMAP_SECTION_TEXT, false },
    { "RFC822.PEEK", IMAP_SECTION_ALL, true },
    { "RFC822", IMAP_SECTION_ALL, false },
};

static const struct {
    const char *name;
    enum imap_fetch_what what[5];
    size_t count;
} macros[] = {
    { "ALL", { IMAP_FETCH_FLAGS, IMAP_FETCH_INTERNALDATE, IMAP_FETCH_SIZE, IMAP_FETCH_ENVELOPE }, 4 },
    { "FAST", { IMAP_FETCH_FLAGS, IMAP_FETCH_INTERNALDATE, IMAP_FETCH_SIZE }, 3 },
    { "FULL",
      { IMAP_FETCH_FLAGS, IMAP_FETCH_INTERNALDATE, IMAP_FETCH_SIZE, IMAP_FETCH_ENVELOPE, IMAP_FETCH_BODY },
      5 },
};

static struct imap_fetch_item *add(struct imap_arg *a, struct imap_fetch *f)
{
    if (f->count == IMAP_FETCH_ITEMS) {
        imap_arg_fail(a, "Too many FETCH items.");
        return NULL;
    }
    return &f->items[f->count++];
}

static int add_simple(struct imap_arg *a, struct imap_fetch *f, enum imap_fetch_what what)
{
    for (size_t i = 0; i < f->count; i++) {
        if (f->items[i].what == what && what != IMAP_FETCH_SECTION)
            return 0; /* asked for twice, answered once */
    }
    struct imap_fetch_item *item = add(a, f);
    if (item == NULL)
        return -1;
    item->what = what;
    item->peek = true;
    for (size_t i = 0; i < sizeof simple / sizeof *simple; i++) {
        if (simple[i].what == what)
            item->label = simple[i].name;
    }
    return 0;
}

static int header_fields(struct imap_arg *a, struct imap_section *s)
{
    if (imap_arg_space(a) != 0)
        return -1;
    if (!imap_arg_char(a, '('))
        return imap_arg_fail(a, "Invalid BODY[..] parameter: missing header list.");
    s->fields = arena_alloc(a->arena, IMAP_FIELDS * sizeof *s->fields);
    while (imap_arg_peek(a) == ' ')
        a->p++;
    while (!imap_arg_char(a, ')')) {
        struct slice name;

        if (imap_arg_astring(a, &name) != 0)
            return -1;
        if (s->field_count == IMAP_FIELDS)
            return imap_arg_fail(a, "Too many header names.");
        char *copy = arena_strndup(a->arena, name.p, name.len);
        for (size_t i = 0; i < name.len; i++)
            copy[i] = ascii_upper(copy[i]);
        s->fields[s->field_count++] = slice_make(copy, name.len);
        while (imap_arg_peek(a) == ' ')
            a->p++;
    }
    return s->field_count ? 0 : imap_arg_fail(a, "Invalid BODY[..] parameter: missing header list.");
}

/* Behind '[' up to and including ']'. */
static int section(struct imap_arg *a, struct imap_section *s)
{
    *s = (struct imap_section){ .what = IMAP_SECTION_ALL };
    while (ascii_isdigit(imap_arg_peek(a))) {
        uint64_t n;

        if (imap_arg_number(a, UINT32_MAX, &n) != 0 || n == 0 || s->depth == IMAP_PART_DEPTH) {
            a->error = "Invalid BODY[..] part number.";
            return -1;
        }
        s->part[s->depth++] = (uint32_t) n;
        if (imap_arg_char(a, ']'))
            return 0;
        if (!imap_arg_char(a, '.'))
            return imap_arg_fail(a, "Invalid BODY[..] section.");
    }
    if (s->depth == 0 && imap_arg_char(a, ']'))
        return 0;
    if (imap_arg_word(a, "HEADER.FIELDS.NOT"))
        s->what = IMAP_SECTION_FIELDS_NOT;
    else if (imap_arg_word(a, "HEADER.FIELDS"))
        s->what = IMAP_SECTION_FIELDS;
    else if (imap_arg_word(a, "HEADER"))
        s->what = IMAP_SECTION_HEADER;
    else if (imap_arg_word(a, "TEXT"))
        s->what = IMAP_SECTION_TEXT;
    else if (s->depth && imap_arg_word(a, "MIME"))
        s->what = IMAP_SECTION_MIME;
    else
        return imap_arg_fail(a, "Invalid BODY[..] section.");
    if ((s->what == IMAP_SECTION_FIELDS || s->what == IMAP_SECTION_FIELDS_NOT) && header_fields(a, s) != 0)
        return -1;
    return imap_arg_char(a, ']') ? 0 : imap_arg_fail(a, "Missing ']'.");
}

static void section_label(struct str *out, const struct imap_fetch_item *item)
{
    static const char *const names[] = {
        [IMAP_SECTION_ALL] = "",
        [IMAP_SECTION_HEADER] = "HEADER",
        [IMAP_SECTION_FIELDS] = "HEADER.FIELDS (",
        [IMAP_SECTION_FIELDS_NOT] = "HEADER.FIELDS.NOT (",
        [IMAP_SECTION_TEXT] = "TEXT",
        [IMAP_SECTION_MIME] = "MIME",
    };
    const struct imap_section *s = &item->section;

    str_adds(out, "BODY[");
    for (size_t i = 0; i < s->depth; i++)
        str_printf(out, i ? ".%u" : "%u", s->part[i]);
    if (s->depth && s->what != IMAP_SECTION_ALL)
        str_addc(out, '.');
    str_adds(out, names[s->what]);
    for (size_t i = 0; i < s->field_count; i++) {
        if (i)
            str_addc(out, ' ');
        imap_print_astring(out, s->fields[i]);
    }
    str_adds(out, s->field_count ? ")]" : "]");
    if (item->partial)
        str_printf(out, "<%u>", item->offset);
}

static int body_section(struct imap_arg *a, struct imap_fetch *f, bool peek)
{
    struct imap_fetch_item *item = add(a, f);
    struct str label;
    uint64_t n;

    if (item == NULL || section(a, &item->section) != 0)
        return -1;
    item->what = IMAP_FETCH_SECTION;
    item->peek = peek;
    if (imap_arg_char(a, '<')) {
        item->partial = true;
        if (imap_arg_number(a, UINT32_MAX, &n) != 0)
            return -1;
        item->offset = (uint32_t) n;
        if (!imap_arg_char(a, '.') || imap_arg_number(a, UINT32_MAX, &n) != 0 || n == 0 || !imap_arg_char(a, '>'))
            return imap_arg_fail(a, "Invalid BODY[..]<..> range.");
        item->length = (uint32_t) n;
    }
    str_init(&label, STR_UNLIMITED);
    section_label(&label, item);
    item->label = arena_strndup(a->arena, label.p, label.len);
    str_free(&label);
    return 0;
}

static int one_item(struct imap_arg *a, struct imap_fetch *f)
{
    if (imap_arg_word(a, "BODY.PEEK"))
        return imap_arg_char(a, '[') ? body_section(a, f, true) : imap_arg_fail(a, "Invalid FETCH item.");
    for (size_t i = 0; i < sizeof old_names / sizeof *old_names; i++) {
        if (!imap_arg_word(a, old_names[i].name))
            continue;
        struct imap_fetch_item *item = add(a, f);
        if (item == NULL)
            return -1;
        *item = (struct imap_fetch_item){ .what = IMAP_FETCH_SECTION,
                                          .peek = old_names[i].peek,
                                          .label = old_names[i].name,
                                          .section.what = old_names[i].what };
        return 0;
    }
    for (size_t i = 0; i < sizeof simple / sizeof *simple; i++) {
        if (!imap_arg_word(a, simple[i].name))
            continue;
        if (imap_arg_peek(a) == '[')
            return simple[i].what == IMAP_FETCH_BODY && imap_arg_char(a, '[')
                       ? body_section(a, f, false)
                       : imap_arg_fail(a, "Invalid FETCH item.");
        return add_simple(a, f, simple[i].what);
    }
    return imap_arg_fail(a, imap_arg_end(a) ? "Missing arguments." : "Unknown FETCH item.");
}

int imap_fetch_parse(struct imap_arg *a, struct imap_fetch *out)
{
    *out = (struct imap_fetch){ .items = arena_alloc(a->arena, IMAP_FETCH_ITEMS * sizeof *out->items) };
    for (size_t i = 0; i < sizeof macros / sizeof *macros; i++) {
        if (!imap_arg_word(a, macros[i].name))
            continue;
        for (size_t k = 0; k < macros[i].count; k++)
            add_simple(a, out, macros[i].what[k]);
        return imap_arg_done(a);
    }
    if (!imap_arg_char(a, '('))
        return one_item(a, out) != 0 ? -1 : imap_arg_done(a);
    while (imap_arg_peek(a) == ' ')
        a->p++;
    for (;;) {
        if (one_item(a, out) != 0)
            return -1;
        if (imap_arg_char(a, ')'))
            return imap_arg_done(a);
        if (imap_arg_space(a) != 0)
            return -1;
        if (imap_arg_char(a, ')'))
            return imap_arg_done(a);
    }
}
