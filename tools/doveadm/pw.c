/*
 * doveadm pw - makes a password hash, or checks one
 *
 * Callers     tools/doveadm/doveadm.c; PostfixAdmin, which writes the password and a line end twice to a pipe (once
 *             with -t), wants standard error empty and the hash in one read
 * Invariants  the words and exit codes are Dovecot's, but for what would be silent there: the end of input is no
 *             password, and rounds that are no number are refused
 *             passwords are wiped; on a terminal they are not shown
 */
#include "../authd/scheme/scheme.h"
#include "base/mem.h"
#include "doveadm.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>

struct options {
    const char *scheme, *test, *user;
    struct str password;
    bool has_password, verify, list;
    uint64_t rounds;
};

static int read_char(void)
{
    unsigned char c; /* read one at a time: no buffer keeps a password, and none is taken from who reads next */
    ssize_t n;

    do
        n = read(STDIN_FILENO, &c, 1);
    while (n < 0 && errno == EINTR);
    return n == 1 ? c : EOF;
}

int doveadm_ask(const char *prompt, struct str *out)
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
    mem_wipe(out->p, out->len);
    str_reset(out);
    str_reserve(out, out->max);
    while ((c = read_char()) != EOF && c != '\n') {
        str_addc(out, (char) c);
        got = 1;
    }
    if (c == '\n' && out->len > 0 && out->p[out->len - 1] == '\r')
        str_cut(out, out->len - 1);
    if (terminal) {
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &old);
        fputc('\n', stderr);
    }
    return c == EOF && !got ? -1 : 0;
}

/* Asks until the two are the same. */
static int ask_twice(struct options *o)
{
    struct str again;
    int rc = -1;

    str_init(&again, SCHEME_PASSWORD_BYTES);
    while (rc != 0) {
        if (doveadm_ask("Enter new password: ", &o->password) != 0 ||
            doveadm_ask("Retype new password: ", &again) != 0)
            break;
        if (slice_same(str_slice(&o->password), str_slice(&again)))
            rc = 0;
        else
            fputs("Error: Passwords don't match!\n", stderr);
    }
    mem_wipe(again.p, again.len);
    str_free(&again);
    return rc;
}

static int ask(struct options *o)
{
    int rc = o->test ? doveadm_ask("Enter password to verify: ", &o->password) : ask_twice(o);

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

static int check(const char *stored, const struct scheme_word *word)
{
    struct slice scheme, text;
    struct err err = { 0 };

    if (scheme_of(slice_of(stored), NULL, &scheme, &text) != 0) {
        fputs("Fatal: Missing {scheme} prefix from hash\n", stderr);
        return DOVEADM_FATAL;
    }
    if (!scheme_usable(slice_of(stored), NULL, &err)) {
        fprintf(stderr, "Fatal: reverse decode check failed: %s\n", err.text);
        return DOVEADM_FATAL;
    }
    switch (scheme_verify(slice_of(stored), NULL, word, &err)) {
    case SCHEME_MATCH:
        printf("{%.*s}%.*s (verified)\n", (int) scheme.len, scheme.p, (int) text.len, text.p);
        return EX_OK;
    case SCHEME_MISMATCH: err_set(&err, 0, NULL, "Password mismatch"); break;
    case SCHEME_BROKEN: break;
    }
    fprintf(stderr, "Fatal: reverse password verification check failed: %s\n", err.text);
    return DOVEADM_FATAL;
}

static int make(const struct options *o, const struct scheme_word *word)
{
    struct err err;
    struct str made;
    int code = EX_OK;

    str_init(&made, SCHEME_STORED_BYTES);
    if (scheme_generate(o->scheme, word, o->rounds, &made, &err) != 0) {
        fprintf(stderr, "Fatal: %s\n", err.text);
        code = DOVEADM_FATAL;
    } else if (o->verify) {
        code = check(made.p, word);
    } else {
        printf("%s\n", made.p);
    }
    mem_wipe(made.p, made.len);
    str_free(&made);
    return code;
}

static int pw(struct options *o)
{
    struct err err;

    if (!scheme_exists(o->scheme, &err)) {
        fprintf(stderr, "Fatal: %s\n", err.text);
        return DOVEADM_FATAL;
    }
    if (!o->has_password && ask(o) != 0)
        return DOVEADM_FATAL;
    struct scheme_word word = { str_slice(&o->password), o->user };
    return o->test ? check(o->test, &word) : make(o, &word);
}

static int option(struct options *o, int c)
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
    case 'u': o->user = optarg; return 0;
    case 'V': o->verify = true; return 0;
    default: return -1;
    }
}

static int run(int argc, char **argv)
{
    struct options o = { .scheme = "CRYPT" };
    int c, code = EX_OK;

    str_init(&o.password, SCHEME_PASSWORD_BYTES);
    str_reserve(&o.password, SCHEME_PASSWORD_BYTES);
    while (code == EX_OK && (c = getopt(argc, argv, "+lp:r:s:t:u:V")) != -1)
        if (option(&o, c) != 0) {
            fprintf(stderr, "usage: doveadm pw %s", doveadm_pw.usage);
            code = EX_USAGE;
        }
    if (code == EX_OK && optind < argc) {
        fputs("Error: Extraneous arguments found:", stderr);
        for (int n = optind; n < argc; n++)
            fprintf(stderr, " %s", argv[n]);
        fputc('\n', stderr);
        code = EX_USAGE;
    }
    if (code == EX_OK)
        code = o.list ? list() : pw(&o);
    mem_wipe(o.password.p, o.password.len);
    str_free(&o.password);
    return code;
}

const struct doveadm_command doveadm_pw = {
    "pw",
    "[-l] [-p PASSWORD] [-r ROUNDS] [-s SCHEME] [-t HASH] [-u USER] [-V]\n"
    "    -l         list the schemes\n"
    "    -p WORD    the password; without it, it is asked for (twice) or read from standard input\n"
    "    -r N       rounds of the scheme (BLF-CRYPT, SHA256-CRYPT, SHA512-CRYPT, ARGON2I, ARGON2ID, PBKDF2)\n"
    "    -s SCHEME  the scheme, with .b64, .base64 or .hex behind it for another encoding; default CRYPT (bcrypt)\n"
    "    -t HASH    check the password against {SCHEME}hash\n"
    "    -u USER    user@realm, part of a DIGEST-MD5 hash\n"
    "    -V         check the new hash too\n",
    run,
};
