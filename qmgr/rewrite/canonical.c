/*
 * canonical - the canonical form of an address: user@fully.qualified.domain
 */
#include "rewrite_internal.h"

/* "a!b!c" becomes "b!c@a". */
static bool swap_bang(struct str *a)
{
    struct slice whole = str_slice(a), host, rest;
    ptrdiff_t bang = slice_find(whole, '!');
    struct str swapped;

    if (bang < 0)
        return false;
    host = slice_sub(whole, 0, (size_t) bang);
    rest = slice_sub(whole, (size_t) bang + 1, whole.len);
    str_init(&swapped, STR_UNLIMITED);
    str_addslice(&swapped, rest);
    str_addc(&swapped, '@');
    str_addslice(&swapped, host);
    str_reset(a);
    str_addslice(a, str_slice(&swapped));
    str_free(&swapped);
    return true;
}

static void strip_route(struct str *a)
{
    ptrdiff_t colon = slice_find(str_slice(a), ':');

    if (a->len && a->p[0] == '@' && colon > 0 && (size_t) colon + 1 < a->len)
        str_drop(a, (size_t) colon + 1);
}

static void add_domain(struct str *a, const char *origin)
{
    ptrdiff_t percent = slice_rfind(str_slice(a), '%');

    if (rewrite_swap_bangpath && swap_bang(a))
        return;
    if (rewrite_percent_hack && percent >= 0)
        a->p[percent] = '@';
    else if (rewrite_at_myorigin && *origin)
        str_printf(a, "@%s", origin);
}

void rewrite_form(enum rewrite_context context, struct str *a)
{
    const char *origin = context == REWRITE_LOCAL ? conf_myorigin : conf_remote_header_rewrite_domain;
    const char *parent = context == REWRITE_LOCAL ? conf_mydomain : conf_remote_header_rewrite_domain;
    struct slice domain;
    ptrdiff_t at;

    if (a->len == 1 && a->p[0] == '@')
        str_reset(a); /* a lone "@" is the null address */
    if (a->len == 0)
        return;
    strip_route(a);
    if (slice_find(str_slice(a), '@') < 0)
        add_domain(a, origin);
    at = slice_rfind(str_slice(a), '@');
    if (at < 0)
        return;
    domain = slice_sub(str_slice(a), (size_t) at + 1, a->len);
    if (domain.len && rewrite_dot_mydomain && *parent && domain.p[0] != '[' && slice_find(domain, '.') < 0)
        str_printf(a, ".%s", parent);
    /* One dot at the end goes; "@." and ".." stay, and are refused later under their own name. */
    if (a->len >= 2 && a->p[a->len - 1] == '.' && a->p[a->len - 2] != '.' && a->p[a->len - 2] != '@')
        str_cut(a, a->len - 1);
}
