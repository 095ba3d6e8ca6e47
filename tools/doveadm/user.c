/*
 * doveadm user - what the userdb says of users, or which users it lists
 *
 * Callers     tools/doveadm/doveadm.c
 * Invariants  output and exit codes are Dovecot's to the byte, with the order in which it writes: the table of a plain
 *             lookup comes before the lines between users
 * Errors      67 a user who does not exist, 75 a userdb that cannot be asked
 */
#include "../authd/db.h"
#include "conf/param.h"
#include "conf/var.h"
#include "doveadm.h"
#include "link.h"
#include <getopt.h>
#include <stdlib.h>
#include <unistd.h>

enum { EXPANDED_BYTES = 65536 };
struct options {
    const char *socket, *field, *expression;
    struct link_info info;
    bool userdb_only;
    struct arena *arena;
    struct str tail; /* written behind the table */
};
struct found {
    const char *user;
    const struct dovecot_auth_line *line;
    size_t from; /* its fields in the line */
    struct arena *arena;
};

static struct slice field_name(struct slice word)
{
    ptrdiff_t eq = slice_find(word, '=');

    return eq < 0 ? word : slice_sub(word, 0, (size_t) eq);
}

static struct slice field_value(struct slice word)
{
    ptrdiff_t eq = slice_find(word, '=');

    return eq < 0 ? SLICE("") : slice_sub(word, (size_t) eq + 1, word.len);
}

static bool field(const struct found *f, const char *name, struct slice *value)
{
    return dovecot_auth_value(f->line, f->from, name, value);
}

/* uid, gid, home, mail: from the userdb, else from the parameters. */
static struct slice place(const struct found *f, const char *name)
{
    struct slice value;
    const char *text = "";

    if (field(f, name, &value))
        return value;
    if (strcmp(name, "home") == 0)
        text = conf_value("mail_home");
    else if (strcmp(name, "mail") == 0)
        text = conf_value("mail_location");
    return slice_of(text ? text : "");
}

static const char *const places[] = { "uid", "gid", "home", "mail" };
enum { PLACES = sizeof places / sizeof *places };

static bool is_place(struct slice name)
{
    for (size_t n = 0; n < PLACES; n++)
        if (slice_eq(name, places[n]))
            return true;
    return false;
}

static const char *variable(void *ctx, struct slice name)
{
    const struct found *f = ctx;
    struct slice found = { NULL, 0 };

    if (slice_eq(name, "user"))
        return f->user;
    if (slice_starts(name, "userdb:"))
        name = slice_sub(name, strlen("userdb:"), name.len);
    else if (!is_place(name))
        return NULL;
    for (size_t n = f->from; n < f->line->count && found.p == NULL; n++)
        if (slice_same(field_name(f->line->word[n]), name))
            found = field_value(f->line->word[n]);
    for (size_t n = 0; n < PLACES && found.p == NULL; n++)
        if (slice_eq(name, places[n]))
            found = place(f, places[n]);
    return found.p ? arena_strndup(f->arena, found.p, found.len) : NULL;
}

static int show_expression(const struct options *o, struct found *f)
{
    struct str out;
    struct err err;
    int code = EX_OK;

    str_init(&out, EXPANDED_BYTES);
    if (var_expand(o->expression, &(struct var_scope){ variable, NULL, f }, &out, &err) == 0) {
        printf("%s\n", out.p);
    } else {
        fprintf(stderr, "Error: Failed to expand %s: %s\n", o->expression, err.text);
        code = DOVEADM_FATAL;
    }
    str_free(&out);
    return code;
}

static void show_field(const struct options *o, const struct found *f)
{
    struct slice value;

    if (!o->userdb_only && is_place(slice_of(o->field)))
        value = place(f, o->field);
    else if (!field(f, o->field, &value))
        return;
    printf("%.*s\n", (int) value.len, value.p);
}

static void show_userdb(const struct found *f)
{
    printf("userdb: %s\n  %-10s: %s\n", f->user, "user", f->user);
    for (size_t n = f->from; n < f->line->count; n++) {
        struct slice word = f->line->word[n], name = field_name(word), value = field_value(word);
        if (slice_find(word, '=') < 0)
            printf("  %-10.*s\n", (int) name.len, name.p);
        else
            printf("  %-10.*s: %.*s\n", (int) name.len, name.p, (int) value.len, value.p);
    }
}

static void show_table(const struct found *f)
{
    for (size_t n = 0; n < PLACES; n++) {
        struct slice value = place(f, places[n]);
        printf("%s\t%.*s\n", places[n], (int) value.len, value.p);
    }
    for (size_t n = f->from; n < f->line->count; n++) {
        struct slice word = f->line->word[n], name = field_name(word), value = field_value(word);
        if (!is_place(name))
            printf("%.*s\t%.*s\n", (int) name.len, name.p, (int) value.len, value.p);
    }
}

static int not_found(struct options *o, const char *user)
{
    const char *gap = o->userdb_only ? "" : "\n";

    if (o->field || o->expression)
        fprintf(stderr, "%suserdb lookup: user %s doesn't exist\n", gap, user);
    else
        str_printf(&o->tail, "%suserdb lookup: user %s doesn't exist\n", gap, user);
    return EX_NOUSER;
}

static int failed(const struct options *o, const char *user, const char *why)
{
    if (o->userdb_only)
        fprintf(stderr, "Error: auth-master: userdb lookup(%s): %s\nError: userdb lookup failed for %s\n", user, why,
                user);
    else
        fprintf(stderr, "doveadm(%s)<%ld><>: Error: auth-master: userdb lookup(%s): %s\n", user, (long) getpid(),
                user, why);
    return DOVEADM_FATAL;
}

/* What was held back, where everything is written as it comes. */
static void flush_tail(struct options *o)
{
    fwrite(o->tail.p, 1, o->tail.len, stdout);
    str_reset(&o->tail);
}

static int show(struct options *o, struct link *l, const char *user)
{
    struct slice word = dovecot_auth_word(&l->line, 0), name = dovecot_auth_word(&l->line, 2), reason;
    struct found f = { .line = &l->line, .from = 3, .arena = o->arena };

    if (slice_eq(word, DOVECOT_AUTH_NOTFOUND))
        return not_found(o, user);
    if (!slice_eq(word, DOVECOT_AUTH_USER) || name.len == 0) {
        if (!dovecot_auth_value(&l->line, 2, "reason", &reason))
            return failed(o, user, "Auth USER lookup failed");
        if (!o->userdb_only)
            return failed(o, user, arena_strndup(o->arena, reason.p, reason.len));
        fprintf(stderr, "Error: userdb lookup failed for %s: %.*s\n", user, (int) reason.len, reason.p);
        return DOVEADM_FATAL;
    }
    f.user = arena_strndup(o->arena, name.p, name.len);
    if (o->expression)
        return show_expression(o, &f);
    if (o->field)
        show_field(o, &f);
    else if (o->userdb_only)
        show_userdb(&f);
    else
        show_table(&f);
    return EX_OK;
}

static int look_up(struct options *o, const char *path, char *const *users)
{
    bool table = !o->field && !o->expression && !o->userdb_only;
    struct link l;
    struct err why;
    int code = EX_OK, one;

    if (table)
        puts("field\tvalue");
    for (size_t n = 0; users[n]; n++) {
        struct str line;
        if (n > 0)
            str_addc(&o->tail, '\n');
        if (!table)
            flush_tail(o);
        if (link_open_master(&l, path, &why) != 0) {
            code = failed(o, users[n], why.text);
            continue;
        }
        link_begin(&line, DOVECOT_AUTH_USER, users[n], &o->info);
        if (link_send(&l, &line) != 0 || link_read(&l) != 0)
            one = failed(o, users[n], "the connection was lost");
        else
            one = show(o, &l, users[n]);
        if (one != EX_OK && code != DOVEADM_FATAL)
            code = one;
        link_close(&l);
        if (!table)
            flush_tail(o);
    }
    flush_tail(o);
    return code;
}

static bool wanted(char *const *masks, struct slice user, struct arena *a)
{
    char *name = arena_strndup(a, user.p, user.len), *mask;
    bool match = false;

    ascii_lowercase(name);
    for (size_t n = 0; masks[n] && !match; n++) {
        mask = arena_strdup(a, masks[n]);
        ascii_lowercase(mask);
        match = db_wildcard_match(mask, name);
    }
    return match;
}

static int list(const struct options *o, const char *path, char *const *masks)
{
    struct link l;
    struct err why;
    struct str line;
    int rc = -1;

    if (link_open_master(&l, path, &why) != 0) {
        fprintf(stderr, "Error: auth-master: userdb list: %s\nError: user listing failed\n", why.text);
        return DOVEADM_FATAL;
    }
    link_begin(&line, DOVECOT_AUTH_LIST, NULL, &o->info);
    if (link_send(&l, &line) == 0)
        while (link_read(&l) == 0 && slice_eq(l.line.word[0], DOVECOT_AUTH_LIST)) {
            struct slice user = dovecot_auth_word(&l.line, 2);
            struct arena *a = arena_new();
            if (wanted(masks, user, a))
                printf("%.*s\n", (int) user.len, user.p);
            arena_free(&a);
        }
    if (l.line.count > 0 && slice_eq(l.line.word[0], DOVECOT_AUTH_DONE))
        rc = slice_eq(dovecot_auth_word(&l.line, 2), "fail") ? -1 : 0;
    if (rc != 0)
        fputs("Error: user listing failed\n", stderr);
    link_close(&l);
    return rc == 0 ? EX_OK : DOVEADM_FATAL;
}

static int usage(void)
{
    fprintf(stderr, "doveadm user %s", doveadm_user.usage);
    return EX_USAGE;
}

static int run(int argc, char **argv)
{
    struct options o = { .arena = arena_new() };
    bool wildcards = false;
    int c, code = EX_OK;

    str_init(&o.tail, STR_UNLIMITED);
    while ((c = getopt(argc, argv, "+a:e:f:ux:")) != -1)
        switch (c) {
        case 'a': o.socket = optarg; break;
        case 'e': o.expression = optarg; break;
        case 'f': o.field = optarg; break;
        case 'u': o.userdb_only = true; break;
        case 'x':
            if (o.info.count == LINK_INFO_MAX)
                return usage();
            o.info.word[o.info.count++] = optarg;
            break;
        default: code = EX_USAGE;
        }
    if (code == EX_OK && optind == argc)
        code = usage();
    for (int n = optind; n < argc; n++)
        wildcards |= strpbrk(argv[n], "*?") != NULL;
    if (code == EX_OK) {
        const char *path = link_path(o.socket, "auth-userdb", o.arena);
        code = wildcards ? list(&o, path, argv + optind) : look_up(&o, path, argv + optind);
    }
    str_free(&o.tail);
    arena_free(&o.arena);
    return code;
}

const struct doveadm_command doveadm_user = {
    .name = "user",
    .usage = "[-a <userdb socket path>] [-x <auth info>] [-f field] [-e <value>] [-u] <user mask> [<user mask> "
             "[...]]\n",
    .run = run,
};
