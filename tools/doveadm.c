/*
 * doveadm - Dovecot's administration command, as far as Posthorn has it: pw
 *
 * Callers     people, PostfixAdmin (writes the password and a line end twice to standard input, once with -t)
 * Invariants  the words and exit codes are Dovecot's: 0 done, 64 usage, 75 a hash that does not match or is none
 *             passwords are wiped; on a terminal they are not shown
 * Privilege   the caller's; opens no files
 */
#include "../authd/scheme/scheme.h"
#include "base/mem.h"
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>
#include <termios.h>
#include <unistd.h>

enum { EXIT_FATAL = EX_TEMPFAIL, TRIES = 3 };
static const char usage_text[] =
    "usage: doveadm [-c FILE] [-O] pw [-l] [-p PASSWORD] [-r ROUNDS] [-s SCHEME] [-t HASH] [-u USER] [-V]\n"
    "  pw           make a password hash, or check one\n"
    "    -l         list the schemes\n"
    "    -p WORD    the password; without it, it is asked for (twice) or read from standard input\n"
    "    -r N       rounds of the scheme (BLF-CRYPT, SHA256-CRYPT, SHA512-CRYPT, ARGON2I, ARGON2ID)\n"
    "    -s SCHEME  the scheme, with .b64 or .hex behind it for another encoding; default CRYPT (bcrypt)\n"
    "    -t HASH    check the password against {SCHEME}hash\n"
    "    -u USER    accepted; no scheme here needs the user's name\n"
    "    -V         check the new hash too\n";

struct options {
    const char *scheme, *test;
    struct str password;
    bool has_password, verify, list;
    uint64_t rounds;
};

static int usage(FILE *to, int code)
{
    fputs(usage_text, to);
    return code;
}

/* One line from standard input, not shown when it is a terminal; -1 at its end. */
static int read_line(const char *prompt, struct str *out)
{
    bool terminal = isatty(STDIN_FILENO) == 1;
    struct termios old, quiet;
    int c, got = 0;

    if (terminal) {
        fputs(prompt, stderr);
        if (tcgetattr(STDIN_FILENO, &old) == 0) {
            quiet = old;
            quiet.c_lflag &= ~(tcflag_t) ECHO;
            tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet);
        } else {
            terminal = false;
        }
    }
    str_reset(out);
    while ((c = getchar()) != EOF && c != '\n') {
        str_addc(out, (char) c);
        got = 1;
    }
    if (terminal) {
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &old);
        fputc('\n', stderr);
    }
    return c == EOF && !got ? -1 : 0;
}

static int ask(struct options *o)
{
    struct str again;
    int rc = -1;

    str_init(&again, SCHEME_PASSWORD_BYTES);
    for (int n = 0; n < TRIES && rc != 0; n++) {
        if (read_line(o->test ? "Enter password to verify: " : "Enter new password: ", &o->password) != 0)
            break;
        if (o->test)
            rc = 0;
        else if (read_line("Retype new password: ", &again) != 0)
            break;
        else if (slice_same(str_slice(&o->password), str_slice(&again)))
            rc = 0;
        else
            fputs("Error: Passwords don't match!\n", stderr);
    }
    mem_wipe(again.p, again.len);
    str_free(&again);
    if (rc != 0)
        fputs("Fatal: no password was given\n", stderr);
    else if (str_over(&o->password)) {
        fputs("Fatal: the password is too long\n", stderr);
        rc = -1;
    }
    return rc;
}

static int list(void)
{
    const struct scheme *s;

    for (size_t n = 0; (s = scheme_each(n)) != NULL; n++)
        printf("%s ", s->name);
    putchar('\n');
    return EX_OK;
}

static int check(const char *hash, struct slice password)
{
    struct err err = { 0 };

    if (!scheme_usable(slice_of(hash), NULL, &err)) {
        if (hash[0] != '{')
            fprintf(stderr, "Fatal: %s\n", err.text);
        else
            fprintf(stderr, "Fatal: reverse decode check failed: %s\n",
                    strncmp(err.text, "Unknown scheme", strlen("Unknown scheme")) == 0 ? "Unknown scheme" : err.text);
        return EXIT_FATAL;
    }
    switch (scheme_verify(slice_of(hash), NULL, password, &err)) {
    case SCHEME_MATCH: return EX_OK;
    case SCHEME_MISMATCH:
        fputs("Fatal: reverse password verification check failed: Password mismatch\n", stderr);
        return EXIT_FATAL;
    case SCHEME_BROKEN: break;
    }
    fprintf(stderr, "Fatal: reverse password verification check failed: %s\n", err.text);
    return EXIT_FATAL;
}

static int pw(struct options *o)
{
    struct err err;
    struct str made;
    int code = EX_OK;

    if (!o->has_password && ask(o) != 0)
        return EXIT_FATAL;
    if (o->test) {
        code = check(o->test, str_slice(&o->password));
        if (code == EX_OK)
            printf("%s (verified)\n", o->test);
        return code;
    }
    str_init(&made, SCHEME_STORED_BYTES);
    if (scheme_generate(o->scheme, str_slice(&o->password), o->rounds, &made, &err) != 0) {
        fprintf(stderr, "Fatal: %s\n", err.text);
        code = EXIT_FATAL;
    } else if (!o->verify || (code = check(made.p, str_slice(&o->password))) == EX_OK) {
        printf("%s%s\n", made.p, o->verify ? " (verified)" : "");
    }
    str_free(&made);
    return code;
}

static int pw_option(struct options *o, int c)
{
    switch (c) {
    case 'l': o->list = true; return 0;
    case 'p':
        str_set(&o->password, optarg);
        o->has_password = true;
        mem_wipe(optarg, strlen(optarg)); /* ps shows the arguments */
        return str_over(&o->password) ? -1 : 0;
    case 'r': return slice_u64(slice_of(optarg), UINT32_MAX, &o->rounds);
    case 's': o->scheme = optarg; return 0;
    case 't': o->test = optarg; return 0;
    case 'V': o->verify = true; return 0;
    case 'u': return 0;
    default: return -1;
    }
}

static int pw_main(int argc, char **argv)
{
    struct options o = { .scheme = "CRYPT" };
    int c, code;

    str_init(&o.password, SCHEME_PASSWORD_BYTES);
    optind = 1;
    while ((c = getopt(argc, argv, "+lp:r:s:t:u:V")) != -1)
        if (pw_option(&o, c) != 0)
            return usage(stderr, EX_USAGE);
    if (optind < argc) {
        fprintf(stderr, "Error: Extraneous arguments found: %s\n", argv[optind]);
        return EX_USAGE;
    }
    code = o.list ? list() : pw(&o);
    mem_wipe(o.password.p, o.password.len);
    str_free(&o.password);
    if (fflush(stdout) != 0) {
        fprintf(stderr, "Fatal: write: %s\n", strerror(errno));
        return EXIT_FATAL;
    }
    return code;
}

int main(int argc, char **argv)
{
    static const struct option longs[] = { { "help", no_argument, NULL, 'h' }, { NULL, 0, NULL, 0 } };
    int c;

    while ((c = getopt_long(argc, argv, "+c:Of:Dv", longs, NULL)) != -1) {
        if (c == 'h')
            return usage(stdout, EX_OK);
        if (c == '?')
            return usage(stderr, EX_USAGE);
    }
    if (optind == argc)
        return usage(stderr, EX_USAGE);
    if (strcmp(argv[optind], "pw") != 0) {
        fprintf(stderr, "doveadm: Fatal: unknown command %s: only pw is known\n", argv[optind]);
        return EX_USAGE;
    }
    if (optind + 1 < argc && strcmp(argv[optind + 1], "--help") == 0)
        return usage(stdout, EX_OK);
    return pw_main(argc - optind, argv + optind);
}
