/*
 * username - see username.h
 */
#include "username.h"

struct naming {
    const char *user;
    const struct var_scope *others;
};

static const char *get(void *ctx, struct slice name)
{
    const struct naming *n = ctx;

    if (slice_eq(name, "user"))
        return n->user;
    if (n->others == NULL || slice_eq(name, "username") || slice_eq(name, "domain"))
        return NULL; /* made from "user" by var_expand */
    return n->others->get(n->others->ctx, name);
}

static int expand(const char *format, const char *user, const struct var_scope *others, struct str *out,
                  struct err *err)
{
    struct naming n = { user, others };

    return var_expand(format, &(struct var_scope){ .get = get, .ctx = &n }, out, err);
}

int username_path_check(struct slice name, struct err *err)
{
    if (name.len == 0 || name.len > USERNAME_BYTES)
        return err_set(err, 0, NULL, "Username is too long, or empty");
    if (memchr(name.p, '/', name.len) || memchr(name.p, '\0', name.len) || slice_eq(name, ".") ||
        slice_eq(name, ".."))
        return err_set(err, 0, NULL, "Username holds a character that no mailbox can be named with");
    for (size_t i = 0; i < name.len; i++)
        if ((unsigned char) name.p[i] < ' ')
            return err_set(err, 0, NULL, "Username holds a control character");
    return 0;
}

int username_rules_check(const struct username_rules *rules, struct err *err)
{
    if (strlen(rules->translation) % 2 != 0)
        return err_set(err, 0, NULL, "auth_username_translation = %s: an odd number of characters",
                       rules->translation);
    if (strlen(rules->master_separator) > 1)
        return err_set(err, 0, NULL, "auth_master_user_separator = %s: more than one character",
                       rules->master_separator);
    return 0;
}

static char translated(const struct username_rules *rules, char c)
{
    for (const char *p = rules->translation; c && *p; p += 2)
        if (*p == c)
            return p[1];
    return c;
}

/* Realm, translation, characters. */
static int clean(const struct username_rules *rules, struct slice name, struct str *out, struct err *err)
{
    bool plain = rules->default_realm[0] && slice_find(name, '@') < 0;
    struct slice parts[] = { name, slice_of(plain ? "@" : ""), slice_of(plain ? rules->default_realm : "") };

    for (size_t n = 0; n < sizeof parts / sizeof *parts; n++)
        for (size_t i = 0; i < parts[n].len; i++) {
            char c = translated(rules, parts[n].p[i]);
            if (rules->chars[0] && (c == '\0' || strchr(rules->chars, c) == NULL))
                return err_set(err, 0, NULL, "Username character disallowed by auth_username_chars: 0x%02x",
                               (unsigned char) c);
            str_addc(out, c);
        }
    return 0;
}

int username_canonical(const struct username_rules *rules, struct slice name, const struct var_scope *others,
                       struct str *out, struct err *err)
{
    struct str full;
    int rc;

    if (name.len == 0)
        return err_set(err, 0, NULL, "Empty username");
    str_init(&full, USERNAME_BYTES);
    rc = clean(rules, name, &full, err);
    if (rc == 0 && memchr(full.p, '\0', full.len))
        rc = err_set(err, 0, NULL, "Username holds a NUL");
    if (rc == 0 && rules->format[0])
        rc = expand(rules->format, full.p, others, out, err);
    else if (rc == 0)
        str_addslice(out, str_slice(&full));
    if (rc == 0 && (str_over(&full) || str_over(out)))
        rc = err_set(err, 0, NULL, "Username is too long");
    if (rc == 0)
        rc = username_path_check(str_slice(out), err);
    str_free(&full);
    return rc;
}
