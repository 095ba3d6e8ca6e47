/*
 * doveadm auth - test, login, lookup, cache flush
 *
 * Callers     tools/doveadm/doveadm.c
 * Invariants  output and exit codes are Dovecot's to the byte; passwords are wiped
 * Errors      77 a login that fails, 67 a user who does not exist, 75 a passdb that cannot be asked
 */
#include "base/codec.h"
#include "doveadm.h"
#include "link.h"
#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

enum { PASSWORD_BYTES = 4096 };
struct options {
    const char *auth, *master, *field, *master_user;
    struct link_info info;
    struct arena *arena;
};
struct subcommand {
    const char *name, *usage, *letters;
    int (*run)(struct options *, char **argv, int argc);
};

/* What follows the words of an answer: one a line. */
static void print_words(const struct dovecot_auth_line *line, size_t from)
{
    for (size_t n = from; n < line->count; n++)
        printf("  %.*s\n", (int) line->word[n].len, line->word[n].p);
}

static void send_login(struct link *l, const struct options *o, const char *user, struct slice password)
{
    struct str line, plain;

    str_init(&plain, PASSWORD_BYTES + DOVECOT_AUTH_LINE_BYTES);
    str_reserve(&plain, PASSWORD_BYTES + DOVECOT_AUTH_LINE_BYTES);
    str_adds(&plain, o->master_user ? user : "");
    str_addc(&plain, '\0');
    str_adds(&plain, o->master_user ? o->master_user : user);
    str_addc(&plain, '\0');
    str_addslice(&plain, password);
    str_init(&line, DOVECOT_AUTH_LINE_BYTES);
    str_reserve(&line, DOVECOT_AUTH_LINE_BYTES);
    dovecot_auth_begin(&line, DOVECOT_AUTH_AUTH);
    dovecot_auth_put_num(&line, 1);
    dovecot_auth_put(&line, SLICE("PLAIN"));
    struct str words;
    link_begin(&words, "", NULL, &o->info); /* the words of -x, behind a command and an id that are not wanted */
    str_addslice(&line, slice_sub(str_slice(&words), strlen("\t1"), words.len));
    str_free(&words);
    str_adds(&line, "\tresp=");
    base64_encode(&line, str_slice(&plain));
    mem_wipe(plain.p, plain.len);
    str_free(&plain);
    link_send(l, &line);
}

/* 0 when the password is the user's; l stays open. */
static int log_in(struct options *o, struct link *l, const char *socket, const char *user, struct slice password)
{
    const char *path = link_path(o->auth, socket, o->arena);
    struct err why;

    if (link_open_client(l, path, &why) != 0) {
        fprintf(stderr, "Error: auth-client: conn unix:%s: %s\n", path, why.text);
        return EX_NOPERM;
    }
    send_login(l, o, user, password);
    if (link_read(l) != 0) {
        fprintf(stderr, "Error: auth-client: conn unix:%s: Disconnected unexpectedly\n", path);
        return EX_NOPERM;
    }
    bool good = slice_eq(l->line.word[0], DOVECOT_AUTH_OK);
    printf("passdb: %s auth %s\n", user, good ? "succeeded" : "failed");
    if (l->line.count > 2) {
        puts("extra fields:");
        print_words(&l->line, 2);
    }
    return good ? EX_OK : EX_NOPERM;
}

/* The user and the password: arguments, or the password from standard input. */
static int credentials(char **argv, int argc, struct str *password)
{
    str_init(password, PASSWORD_BYTES);
    if (argc > 2) {
        fputs("Error: Extraneous arguments found:", stderr);
        for (int n = 2; n < argc; n++)
            fprintf(stderr, " %s", argv[n]);
        fputc('\n', stderr);
        return -1;
    }
    if (argc == 2) {
        str_set(password, argv[1]);
        mem_wipe(argv[1], strlen(argv[1])); /* ps shows the arguments */
        return 0;
    }
    if (doveadm_ask("Password: ", password) == 0)
        return 0;
    fputs("Fatal: no password was given\n", stderr);
    return -1;
}

static int test(struct options *o, char **argv, int argc)
{
    struct str password;
    struct link l = { .fd = -1 };
    int code = credentials(argv, argc, &password) != 0 ? EX_USAGE
                                                       : log_in(o, &l, "auth", argv[0], str_slice(&password));

    mem_wipe(password.p, password.len);
    str_free(&password);
    link_close(&l);
    return code;
}

/* What a master gets for the login that l has just made. */
static int claim(struct options *o, const struct link *l)
{
    const char *path = link_path(o->master, "auth-master", o->arena);
    struct link m;
    struct str line;
    struct err why;
    int code = EX_NOPERM;

    if (link_open_master(&m, path, &why) != 0) {
        fprintf(stderr, "Error: auth-master: login: %s\n", why.text);
    } else {
        str_init(&line, DOVECOT_AUTH_LINE_BYTES);
        dovecot_auth_begin(&line, DOVECOT_AUTH_REQUEST);
        dovecot_auth_put_num(&line, 1);
        dovecot_auth_put_num(&line, (uint64_t) getpid());
        dovecot_auth_put_num(&line, 1);
        dovecot_auth_put(&line, slice_of(l->cookie));
        if (link_send(&m, &line) == 0 && link_read(&m) == 0 && slice_eq(m.line.word[0], DOVECOT_AUTH_USER)) {
            puts("userdb extra fields:");
            print_words(&m.line, 2);
            code = EX_OK;
        } else {
            fputs("Error: auth-master: login: Login auth request failed: Internal auth failure\n", stderr);
        }
        link_close(&m);
    }
    if (code != EX_OK)
        fputs("Error: userdb lookup failed: Internal error occurred. Refer to server log for more information.\n",
              stderr);
    return code;
}

static int login(struct options *o, char **argv, int argc)
{
    struct str password;
    struct link l = { .fd = -1 };
    int code = credentials(argv, argc, &password) != 0 ? EX_USAGE
                                                       : log_in(o, &l, "auth-login", argv[0], str_slice(&password));

    if (code == EX_OK)
        code = claim(o, &l);
    mem_wipe(password.p, password.len);
    str_free(&password);
    link_close(&l);
    return code;
}

static void show(const struct options *o, const char *asked, const struct dovecot_auth_line *line)
{
    struct slice value;

    if (o->field) {
        if (dovecot_auth_value(line, 2, o->field, &value))
            printf("%.*s\n", (int) value.len, value.p);
        return;
    }
    printf("passdb: %s\n", asked);
    for (size_t n = 2; n < line->count; n++) {
        struct slice word = line->word[n];
        ptrdiff_t eq = slice_find(word, '=');
        if (eq < 0)
            printf("  %-10.*s\n", (int) word.len, word.p);
        else
            printf("  %-10.*s: %.*s\n", (int) eq, word.p, (int) (word.len - (size_t) eq - 1), word.p + eq + 1);
    }
}

static int look_up_one(struct options *o, const char *path, const char *user)
{
    struct slice reason = SLICE("");
    struct str line;
    struct link l;
    struct err why;
    int code = DOVEADM_FATAL;

    if (link_open_master(&l, path, &why) != 0) {
        fprintf(stderr, "Error: auth-master: passdb lookup(%s): %s\nError: passdb lookup failed for %s\n", user,
                why.text, user);
        return code;
    }
    link_begin(&line, DOVECOT_AUTH_PASS, user, &o->info);
    if (link_send(&l, &line) != 0 || link_read(&l) != 0) {
        fprintf(stderr, "Error: auth-master: passdb lookup(%s): Disconnected unexpectedly\n", user);
    } else if (slice_eq(l.line.word[0], DOVECOT_AUTH_PASS)) {
        show(o, user, &l.line);
        code = EX_OK;
    } else if (slice_eq(l.line.word[0], DOVECOT_AUTH_NOTFOUND)) {
        fprintf(o->field ? stderr : stdout, "passdb lookup: user %s doesn't exist\n", user);
        code = EX_NOUSER;
    } else {
        dovecot_auth_value(&l.line, 2, "reason", &reason);
        fprintf(stderr, "Error: passdb lookup failed for %s%s%.*s\n", user, reason.len ? ": " : "", (int) reason.len,
                reason.p);
    }
    link_close(&l);
    return code;
}

static int lookup(struct options *o, char **argv, int argc)
{
    const char *path = link_path(o->auth, "auth-userdb", o->arena);
    int code = EX_OK;

    for (int n = 0; n < argc; n++) {
        if (n > 0)
            putchar('\n');
        int one = look_up_one(o, path, argv[n]);
        if (one != EX_OK && code != DOVEADM_FATAL)
            code = one;
    }
    return code;
}

static int cache_flush(struct options *o, char **argv, int argc)
{
    const char *path = link_path(o->auth, "auth-master", o->arena);
    uint64_t went = 0;
    struct str line;
    struct link l;
    struct err why;
    int code = EX_OK;

    if (link_open_master(&l, path, &why) != 0) {
        fprintf(stderr, "Error: auth-master: auth cache flush: %s\n", why.text);
        return DOVEADM_FATAL;
    }
    str_init(&line, DOVECOT_AUTH_LINE_BYTES);
    dovecot_auth_begin(&line, DOVECOT_AUTH_CACHE_FLUSH);
    dovecot_auth_put_num(&line, 1);
    for (int n = 0; n < argc; n++)
        dovecot_auth_put(&line, slice_of(argv[n]));
    if (link_send(&l, &line) != 0 || link_read(&l) != 0 || !slice_eq(l.line.word[0], DOVECOT_AUTH_OK) ||
        slice_u64(dovecot_auth_word(&l.line, 2), UINT64_MAX, &went) != 0) {
        fputs("Error: auth-master: auth cache flush: the service refuses\n", stderr);
        code = DOVEADM_FATAL;
    } else {
        printf("%" PRIu64 " cache entries flushed\n", went);
    }
    link_close(&l);
    return code;
}

static const struct subcommand subcommands[] = {
    { "cache flush", "", "+a:", cache_flush },
    { "login",
      "[-a <auth-login socket path>] [-m <auth-master socket path>] [-x <auth info>] [-M <master user>] <user> "
      "[<password>]",
      "+a:m:M:x:", login },
    { "lookup", "[-a <userdb socket path>] [-x <auth info>] [-f field] <user> [<user> [...]]", "+a:f:x:", lookup },
    { "test", "[-a <auth socket path>] [-x <auth info>] [-M <master user>] <user> [<password>]", "+a:M:x:", test },
};
enum { SUBCOMMANDS = sizeof subcommands / sizeof *subcommands };

static int usage(void)
{
    fputs("usage: doveadm [-Dv] [-f <formatter>] auth <command> [<args>]\n", stderr);
    for (size_t n = 0; n < SUBCOMMANDS; n++) {
        struct slice rest = slice_of(subcommands[n].name), word;
        slice_split(&rest, ' ', &word);
        fprintf(stderr, "  %-12.*s %.*s%s\n", (int) word.len, word.p, (int) rest.len, rest.p ? rest.p : "",
                subcommands[n].usage);
    }
    return EX_USAGE;
}

static int option(struct options *o, int c)
{
    switch (c) {
    case 'a': o->auth = optarg; return 0;
    case 'm': o->master = optarg; return 0;
    case 'M': o->master_user = optarg; return 0;
    case 'f': o->field = optarg; return 0;
    case 'x':
        if (o->info.count == LINK_INFO_MAX)
            return -1;
        o->info.word[o->info.count++] = optarg;
        return 0;
    default: return -1;
    }
}

static int run_sub(const struct subcommand *s, int argc, char **argv)
{
    struct options o = { 0 };
    int c, code = EX_OK;

    while (code == EX_OK && (c = getopt(argc, argv, s->letters)) != -1)
        if (option(&o, c) != 0)
            code = EX_USAGE;
    if (code == EX_OK && optind == argc && s->run != cache_flush) {
        fprintf(stderr, "doveadm auth %s %s\n", s->name, s->usage);
        code = EX_USAGE;
    }
    if (code != EX_OK)
        return code;
    o.arena = arena_new();
    code = s->run(&o, argv + optind, argc - optind);
    arena_free(&o.arena);
    return code;
}

static int run(int argc, char **argv)
{
    for (size_t n = 0; n < SUBCOMMANDS; n++) {
        struct slice rest = slice_of(subcommands[n].name), word;
        int words = 1;
        bool same = true;

        for (; slice_word(&rest, " ", &word); words++)
            same = same && words < argc && slice_eq(word, argv[words]);
        if (same)
            return run_sub(&subcommands[n], argc - words + 1, argv + words - 1);
    }
    return usage();
}

const struct doveadm_command doveadm_auth = {
    .name = "auth",
    .usage =
        "test|login|lookup|cache flush ...\n"
        "    cache flush [-a SOCKET] [USER ...]                             forget what auth_cache holds\n"
        "    login  [-a SOCKET] [-m SOCKET] [-x INFO] [-M MASTER] USER [PASSWORD]  log in, show the userdb's fields\n"
        "    lookup [-a SOCKET] [-x INFO] [-f FIELD] USER ...               show the passdb's fields\n"
        "    test   [-a SOCKET] [-x INFO] [-M MASTER] USER [PASSWORD]       is this the password?\n",
    .run = run,
};
