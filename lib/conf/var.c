/*
 * var - the walk over a format: offset, width, modifiers and names; contract in var.h
 *
 * Source      Dovecot 2.3 documentation "Config Variables"; corner cases as Debian's 2.3.19 answers (var_test.c)
 */
#include "conf/var_internal.h"

#include <openssl/evp.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

enum { MODIFIERS_MAX = 10, MD5_BYTES = 16, NAME_SHOWN = 100, HOST_NAME_BYTES = 256 };

struct form {
    int64_t offset, width;
    bool zero; /* width pads with zeros and does not cut */
    char modifier[MODIFIERS_MAX];
    size_t modifiers;
};

static const struct {
    char letter;
    const char *name;
} letters[] = {
    { 'u', "user" },    { 'n', "username" }, { 'd', "domain" }, { 's', "service" },  { 'h', "home" },
    { 'l', "lip" },     { 'r', "rip" },      { 'p', "pid" },    { 'w', "password" }, { 'm', "mech" },
    { 'c', "secured" }, { 'a', "lport" },    { 'b', "rport" },  { 'k', "cert" },
};
static const struct {
    const char *alias, *name;
} aliases[] = {
    { "local_ip", "lip" },
    { "local_port", "lport" },
    { "remote_ip", "rip" },
    { "remote_port", "rport" },
    { "real_local_ip", "real_lip" },
    { "real_local_port", "real_lport" },
    { "real_remote_ip", "real_rip" },
    { "real_remote_port", "real_rport" },
    { "mechanism", "mech" },
    { "original_user", "orig_user" },
    { "original_username", "orig_username" },
    { "original_domain", "orig_domain" },
};

void var_fail(struct var_run *run, const char *fmt, ...)
{
    char text[ERR_TEXT_BYTES];
    va_list args;

    if (run->failed)
        return;
    run->failed = true;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    (void) err_set(run->err, 0, NULL, "%s", text);
}

void var_unknown(struct var_run *run, struct slice name, struct str *out)
{
    int shown = name.len > NAME_SHOWN ? NAME_SHOWN : (int) name.len;

    var_fail(run, "Unknown variable '%%%.*s'", shown, name.p);
    str_printf(out, "UNSUPPORTED_VARIABLE_%.*s", shown, name.p);
}

static const char *const parts[] = { "domain_first", "domain_last", "username", "domain" };

/* The part of an address that a name such as "orig_domain" stands for; false: it is no such name. */
static bool from_user(struct var_run *run, struct slice name, struct str *out)
{
    size_t part = 0;
    struct str user;
    const char *value;
    struct slice all, domain = { "", 0 };
    ptrdiff_t at;

    while (part < sizeof parts / sizeof *parts && !slice_caseends(name, parts[part]))
        part++;
    if (part == sizeof parts / sizeof *parts)
        return false;
    str_init(&user, NAME_SHOWN);
    str_addslice(&user, slice_sub(name, 0, name.len - strlen(parts[part])));
    str_adds(&user, "user");
    value = str_over(&user) ? NULL : run->scope->get(run->scope->ctx, str_slice(&user));
    str_free(&user);
    if (value == NULL)
        return false;
    all = slice_of(value);
    at = slice_find(all, '@');
    if (at >= 0)
        domain = slice_sub(all, (size_t) at + 1, all.len);
    if (part == 0 && (at = slice_find(domain, '@')) >= 0)
        domain.len = (size_t) at;
    if (part == 1 && (at = slice_rfind(domain, '@')) >= 0)
        domain = slice_sub(domain, (size_t) at + 1, domain.len);
    at = slice_find(all, '@');
    str_addslice(out, part == 2 ? slice_sub(all, 0, at < 0 ? all.len : (size_t) at) : domain);
    return true;
}

bool var_lookup(struct var_run *run, struct slice name, struct str *out)
{
    const char *value;
    char host[HOST_NAME_BYTES];

    if (name.len == 0)
        return false;
    for (size_t i = 0; i < sizeof aliases / sizeof *aliases; i++)
        if (slice_eq(name, aliases[i].alias)) {
            name = slice_of(aliases[i].name);
            break;
        }
    value = run->scope->get(run->scope->ctx, name);
    if (value) {
        str_adds(out, value);
        return true;
    }
    if (slice_eq(name, "hostname") && gethostname(host, sizeof host) == 0) {
        host[sizeof host - 1] = 0;
        str_adds(out, host);
        return true;
    }
    return from_user(run, name, out);
}

/* Replaces the text from `from` on. */
static void replace(struct str *s, const struct str *by)
{
    str_reset(s);
    str_addslice(s, str_slice(by));
}

static void each_char(struct str *s, char (*change)(char))
{
    for (size_t i = 0; i < s->len; i++)
        s->p[i] = change(s->p[i]);
}

static void reverse(struct str *s)
{
    for (size_t i = 0, j = s->len; i + 1 < j; i++) {
        char c = s->p[i];
        s->p[i] = s->p[--j];
        s->p[j] = c;
    }
}

static void escape(struct str *s)
{
    struct str out;

    str_init(&out, VAR_VALUE_BYTES);
    for (size_t i = 0; i < s->len; i++) {
        if (s->p[i] == '"' || s->p[i] == '\'' || s->p[i] == '\\')
            str_addc(&out, '\\');
        str_addc(&out, s->p[i]);
    }
    replace(s, &out);
    s->over = s->over || out.over;
    str_free(&out);
}

static void hexadecimal(struct str *s)
{
    uint64_t n = 0;

    (void) slice_u64(str_slice(s), UINT64_MAX, &n); /* what is no number counts as 0 */
    str_reset(s);
    str_printf(s, "%llx", (unsigned long long) n);
}

static void ldap_domain(struct str *s)
{
    struct str out;

    str_init(&out, VAR_VALUE_BYTES);
    for (size_t i = 0; i < s->len; i++)
        if (s->p[i] == '.')
            str_adds(&out, ",dc=");
        else
            str_addc(&out, s->p[i]);
    replace(s, &out);
    s->over = s->over || out.over;
    str_free(&out);
}

static void md5(struct str *s, unsigned char digest[MD5_BYTES])
{
    if (EVP_Digest(s->p, s->len, digest, NULL, EVP_md5(), NULL) != 1)
        memset(digest, 0, MD5_BYTES);
}

static void md5_text(struct str *s)
{
    unsigned char digest[MD5_BYTES];

    md5(s, digest);
    str_reset(s);
    for (size_t i = 0; i < sizeof digest; i++)
        str_printf(s, "%02x", digest[i]);
}

/* %H and %N: the width is a modulus, the offset the least number of digits. */
static void put_hash(struct str *s, uint64_t value, struct form *form)
{
    char digits[20];
    int n;

    if (form->width > 0)
        value %= (uint64_t) form->width;
    n = snprintf(digits, sizeof digits, "%x", (unsigned) value);
    str_reset(s);
    for (int64_t zeros = form->offset - n; zeros > 0; zeros--)
        str_addc(s, '0');
    str_adds(s, digits);
    form->width = form->offset = 0;
}

/* The hash of the dragon book (P. J. Weinberger's). */
static uint64_t sum_hash(struct slice s)
{
    uint32_t h = 0, high;

    for (size_t i = 0; i < s.len; i++) {
        h = (h << 4) + (unsigned char) s.p[i];
        high = h & 0xf0000000U;
        h = (h ^ (high >> 24)) & ~high;
    }
    return h;
}

static uint64_t md5_hash(struct str *s)
{
    unsigned char digest[MD5_BYTES];
    uint64_t value = 0;

    md5(s, digest);
    for (size_t i = 0; i < sizeof value; i++)
        value = value << 8 | digest[i];
    return value;
}

static void modify(struct str *s, struct form *form)
{
    for (size_t i = 0; i < form->modifiers; i++)
        switch (form->modifier[i]) {
        case 'L': each_char(s, ascii_lower); break;
        case 'U': each_char(s, ascii_upper); break;
        case 'E': escape(s); break;
        case 'X': hexadecimal(s); break;
        case 'R': reverse(s); break;
        case 'H': put_hash(s, sum_hash(str_slice(s)), form); break;
        case 'N': put_hash(s, md5_hash(s), form); break;
        case 'M': md5_text(s); break;
        case 'D': ldap_domain(s); break;
        default: /* T: only what trails, whatever its name says */
            while (s->len && ascii_isspace(s->p[s->len - 1]))
                str_cut(s, s->len - 1);
        }
}

static struct slice clip(struct slice s, const struct form *form)
{
    uint64_t skip = form->offset > 0 ? (uint64_t) form->offset : 0;
    int64_t width = form->width;

    if (form->offset < 0 && s.len > (uint64_t) -form->offset)
        skip = s.len - (uint64_t) -form->offset;
    s = slice_sub(s, skip < s.len ? (size_t) skip : s.len, s.len);
    if (width == 0 || form->zero)
        return s;
    if (width < 0)
        width = (int64_t) s.len + width;
    return slice_sub(s, 0, width < 0 ? s.len : (size_t) width);
}

static void write_value(struct var_run *run, struct str *value, struct form *form, bool written, struct str *out)
{
    struct slice text;
    struct str padded;

    modify(value, form);
    if (str_over(value))
        var_fail(run, "a value is longer than %d bytes", VAR_VALUE_BYTES);
    text = clip(str_slice(value), form);
    str_init(&padded, VAR_VALUE_BYTES);
    if (form->zero && form->width > 0 && text.len < (uint64_t) form->width) {
        for (uint64_t zeros = (uint64_t) form->width - text.len; zeros; zeros--)
            str_addc(&padded, '0');
        str_addslice(&padded, text);
        text = str_slice(&padded);
    }
    if (written && run->scope->put)
        run->scope->put(run->scope->ctx, out, text);
    else
        str_addslice(out, text);
    str_free(&padded);
}

static int64_t take_number(struct slice *in)
{
    int64_t n = 0;

    while (in->len && ascii_isdigit(*in->p)) {
        if (n <= VAR_WIDTH_MAX)
            n = n * 10 + (*in->p - '0');
        *in = slice_sub(*in, 1, in->len);
    }
    return n > VAR_WIDTH_MAX ? VAR_WIDTH_MAX : n;
}

static bool take_char(struct slice *in, char c)
{
    if (in->len == 0 || *in->p != c)
        return false;
    *in = slice_sub(*in, 1, in->len);
    return true;
}

static void take_form(struct slice *in, struct form *form)
{
    bool minus = take_char(in, '-'); /* before a width alone it means nothing */

    form->zero = take_char(in, '0');
    form->width = take_number(in);
    if (take_char(in, '.')) {
        form->offset = minus ? -form->width : form->width;
        form->zero = take_char(in, '0');
        minus = take_char(in, '-');
        form->width = take_number(in);
        if (minus)
            form->width = -form->width;
    }
    while (in->len && form->modifiers < MODIFIERS_MAX && *in->p && strchr("LUEXRHNMDT", *in->p)) {
        form->modifier[form->modifiers++] = *in->p;
        *in = slice_sub(*in, 1, in->len);
    }
}

/* Length of "{...}", escapes and inner braces minded; 0: it does not end. */
static size_t braces(struct slice in)
{
    size_t depth = 0;

    for (size_t i = 0; i < in.len; i++)
        if (in.p[i] == '\\')
            i++;
        else if (in.p[i] == '{')
            depth++;
        else if (in.p[i] == '}' && --depth == 0)
            return i + 1;
    return 0;
}

static bool plain(const struct form *form) { return !form->modifiers && !form->width && !form->offset; }

static void braced(struct var_run *run, struct slice inside, struct form *form, bool written, struct str *out)
{
    struct str value;

    if (plain(form) && var_is_if(inside)) {
        (void) var_function(run, inside, written, out);
        return;
    }
    str_init(&value, VAR_VALUE_BYTES);
    if (var_function(run, inside, false, &value) || var_lookup(run, inside, &value))
        write_value(run, &value, form, written, out);
    else
        var_unknown(run, inside, out);
    str_free(&value);
}

static void single(struct var_run *run, const char *letter, struct form *form, bool written, struct str *out)
{
    struct slice name = slice_make(letter, 1);
    struct str value;

    for (size_t i = 0; i < sizeof letters / sizeof *letters; i++)
        if (letters[i].letter == *letter) {
            name = slice_of(letters[i].name);
            break;
        }
    str_init(&value, VAR_VALUE_BYTES);
    if (*letter == '%')
        str_addc(out, '%');
    else if (var_lookup(run, name, &value))
        write_value(run, &value, form, written, out);
    else
        var_unknown(run, slice_make(letter, 1), out);
    str_free(&value);
}

void var_walk(struct var_run *run, struct slice text, bool written, struct str *out)
{
    if (run->depth >= VAR_DEPTH) {
        var_fail(run, "variables are nested too deep");
        return;
    }
    run->depth++;
    while (text.len) {
        ptrdiff_t percent = slice_find(text, '%');
        struct form form = { 0 };
        size_t n;

        str_addslice(out, slice_sub(text, 0, percent < 0 ? text.len : (size_t) percent));
        if (percent < 0)
            break;
        text = slice_sub(text, (size_t) percent + 1, text.len);
        take_form(&text, &form);
        if (text.len == 0)
            break; /* nothing behind the last "%": it vanishes */
        n = *text.p == '{' ? braces(text) : 0;
        if (n)
            braced(run, slice_sub(text, 1, n - 2), &form, written, out);
        else
            single(run, text.p, &form, written, out);
        text = slice_sub(text, n ? n : 1, text.len);
    }
    run->depth--;
}

int var_expand(const char *text, const struct var_scope *scope, struct str *out, struct err *err)
{
    struct var_run run = { .scope = scope, .err = err };

    var_walk(&run, slice_of(text), true, out);
    if (str_over(out))
        var_fail(&run, "the expanded text is longer than %zu bytes", out->max);
    return run.failed ? -1 : 0;
}

struct names {
    void (*fn)(void *, struct slice);
    void *ctx;
};

static const char *note_name(void *ctx, struct slice name)
{
    const struct names *n = ctx;

    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (slice_caseends(name, parts[i]))
            return NULL; /* its "user" is asked for next */
    if (!slice_eq(name, "hostname"))
        n->fn(n->ctx, name);
    return "";
}

void var_names(const char *text, void (*fn)(void *, struct slice), void *ctx)
{
    struct names n = { fn, ctx };
    const struct var_scope scope = { .get = note_name, .ctx = &n };
    struct var_run run = { .scope = &scope, .names = true };
    struct str out;

    str_init(&out, VAR_VALUE_BYTES);
    var_walk(&run, slice_of(text), false, &out);
    str_free(&out);
}
