/*
 * username - realm, characters and format of a user's name
 *
 * Callers     see username.h
 * Source      Dovecot's auth_username_chars, auth_default_realm, auth_username_format, applied in this order
 */
#include "username.h"

static struct slice pick(struct slice name, char variable)
{
    ptrdiff_t at = slice_rfind(name, '@');

    switch (variable) {
    case 'u': return name;
    case 'n': return at < 0 ? name : slice_sub(name, 0, (size_t) at);
    case 'd': return at < 0 ? SLICE("") : slice_sub(name, (size_t) at + 1, name.len);
    default: return (struct slice){ NULL, 0 };
    }
}

/* Expands the format; -1 at a variable that does not exist. */
static int expand(const char *format, struct slice name, struct str *out)
{
    for (const char *p = format; *p; p++) {
        char modifier = 0;

        if (*p != '%') {
            str_addc(out, *p);
            continue;
        }
        if (*++p == '%') {
            str_addc(out, '%');
            continue;
        }
        if (*p == 'L' || *p == 'U')
            modifier = *p++;
        struct slice part = pick(name, *p);
        if (part.p == NULL)
            return -1;
        for (size_t i = 0; i < part.len; i++)
            str_addc(out, modifier == 'L'   ? ascii_lower(part.p[i])
                          : modifier == 'U' ? ascii_upper(part.p[i])
                                            : part.p[i]);
    }
    return 0;
}

int username_rules_check(const struct username_rules *rules, struct err *err)
{
    struct str out;
    int rc;

    str_init(&out, USERNAME_BYTES);
    rc = expand(rules->format, SLICE("user@domain"), &out);
    if (rc != 0)
        err_set(err, 0, NULL, "auth_username_format = %s: only %%u %%n %%d with the modifiers L and U are known",
                rules->format);
    else if (out.len == 0)
        rc = err_set(err, 0, NULL, "auth_username_format is empty");
    str_free(&out);
    return rc;
}

static int check_path(struct slice name, struct err *err)
{
    if (memchr(name.p, '/', name.len) || memchr(name.p, '\0', name.len) || slice_eq(name, ".") ||
        slice_eq(name, ".."))
        return err_set(err, 0, NULL, "Username holds a character that no mailbox can be named with");
    for (size_t i = 0; i < name.len; i++)
        if ((unsigned char) name.p[i] < ' ')
            return err_set(err, 0, NULL, "Username holds a control character");
    return 0;
}

int username_canonical(const struct username_rules *rules, struct slice name, struct str *out, struct err *err)
{
    struct str full;
    int rc = 0;

    if (name.len == 0)
        return err_set(err, 0, NULL, "Empty username");
    str_init(&full, USERNAME_BYTES);
    str_addslice(&full, name);
    if (rules->default_realm[0] && slice_find(name, '@') < 0)
        str_printf(&full, "@%s", rules->default_realm);
    for (size_t i = 0; rules->chars[0] && rc == 0 && i < name.len; i++)
        if (name.p[i] == '\0' || strchr(rules->chars, name.p[i]) == NULL)
            rc = err_set(err, 0, NULL, "Username character disallowed by auth_username_chars: 0x%02x",
                         (unsigned char) name.p[i]);
    if (rc == 0) {
        expand(rules->format, str_slice(&full), out);
        if (str_over(&full) || str_over(out) || out->len == 0)
            rc = err_set(err, 0, NULL, "Username is too long, or empty");
        else
            rc = check_path(str_slice(out), err);
    }
    str_free(&full);
    return rc;
}
