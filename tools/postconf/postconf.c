/*
 * postconf - shows and changes main.cf and master.cf
 *
 * Callers     administrators, scripts: the output is Postfix's
 * Invariants  a file is changed through a copy and a rename; comments and order stay
 * Errors      exit status 1 with a line on standard error; unknown and unused names are warned of
 */
#include "base/log.h"
#include "base/mem.h"
#include "conf/param.h"
#include "internal.h"
#include "table/table.h"

#include <getopt.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>

static const char usage[] =
    "usage: postconf [-dfhHnoqvx] [-c dir] [-o name=value] [name ...]      show parameters\n"
    "       postconf [-e] name=value ... | -X name ... | -# name ...       change main.cf\n"
    "       postconf -M[fx] [service[/type] ...] | -Me name/type=line | -MX name/type | -M# name/type\n"
    "       postconf -F[fhHx] [service[/type[/field]] ...] | -Fe service/type/field=value\n"
    "       postconf -P[fhHx] [service[/type[/name]] ...] | -Pe service/type/name=value | -PX service/type/name\n"
    "       postconf -m | -l | -a | -A                   table types, lock types, SASL server and client types\n"
    "       postconf -C class,...                        builtin, service, user, all: parameters of these\n"
    "       postconf -T compile-version | run-version | public-key-algorithms    the TLS library\n"
    "Manual: postconf(1)\n";

enum { OPTION_HELP = 1000 }; /* no letter */
static const struct option long_options[] = { { "help", no_argument, NULL, OPTION_HELP }, { NULL, 0, NULL, 0 } };
static const struct {
    char letter;
    unsigned mode;
} modes[] = {
    { 'd', MODE_DEFAULTS }, { 'n', MODE_SET },       { 'e', MODE_EDIT },
    { 'X', MODE_REMOVE },   { '#', MODE_COMMENT },   { 'x', MODE_EXPAND },
    { 'f', MODE_FOLD },     { 'h', MODE_HIDE_NAME }, { 'H', MODE_HIDE_VALUE },
};

static unsigned mode_of(int letter)
{
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++)
        if (modes[i].letter == letter)
            return modes[i].mode;
    return 0;
}

static int list(int what)
{
    static const char *const locks[] = { "flock", "fcntl", "dotlock", NULL },
                             *const servers[] = { "cyrus", "dovecot", NULL }, *const clients[] = { "cyrus", NULL };
    const char *const *names = what == 'm' ? table_types() : what == 'l' ? locks : what == 'a' ? servers : clients;

    for (; *names; names++)
        puts(*names);
    return 0;
}

/* -T: what the TLS library says of itself. */
static int tls(const char *what)
{
    static const char *const algorithms[] = { "dsa", "ecdsa", "rsa", NULL };

    if (strcmp(what, "compile-version") == 0)
        puts(OPENSSL_VERSION_TEXT);
    else if (strcmp(what, "run-version") == 0)
        puts(OpenSSL_version(OPENSSL_VERSION));
    else if (strcmp(what, "public-key-algorithms") == 0)
        for (const char *const *name = algorithms; *name; name++)
            puts(*name);
    else {
        log_warn("unknown 'postconf -T' mode: %s", what);
        return 1;
    }
    return 0;
}

static unsigned classes_of(const char *list)
{
    static const struct {
        const char *name;
        unsigned class;
    } classes[] = {
        { "builtin", CLASS_BUILTIN }, { "service", CLASS_SERVICE }, { "user", CLASS_USER }, { "all", CLASS_ALL }
    };
    struct slice rest = slice_of(list), word;
    unsigned out = 0;

    while (slice_word(&rest, ", \t\r\n", &word)) {
        size_t i = 0;

        while (i < sizeof classes / sizeof *classes && !slice_caseeq(word, classes[i].name))
            i++;
        if (i == sizeof classes / sizeof *classes)
            log_fatal("unknown -C option value \"%.*s\" in \"%s\"", (int) word.len, word.p, list);
        out |= classes[i].class;
    }
    return out;
}

static void override(const char *arg)
{
    char *name = mem_strdup(arg), *equals = strchr(name, '=');

    if (equals == NULL)
        log_fatal("-o: missing '=' after attribute name: \"%s\"", arg);
    *equals = 0;
    conf_override(name, equals + 1);
    free(name);
}

struct command {
    unsigned mode;
    int what;         /* M, F, P, or m, l, a, A, T; 0: main.cf */
    const char *tls;  /* -T; NULL: not asked */
    unsigned classes; /* -C */
    bool quiet;
    const char *directory;
    const char *overrides[100];
    int override_count;
};

static int parse(int argc, char **argv, struct command *c)
{
    int letter;

    while ((letter = getopt_long(argc, argv, "aAbc:C:deEfFhHjlmMno:pPqtT:vxX#", long_options, NULL)) != -1) {
        if (letter == OPTION_HELP || letter == '?') {
            fputs(usage, letter == '?' ? stderr : stdout);
            return letter == '?' ? 1 : -1;
        }
        if (mode_of(letter))
            c->mode |= mode_of(letter);
        else if (strchr("MFPmlaA", letter))
            c->what = letter;
        else if (letter == 'T')
            c->tls = optarg;
        else if (letter == 'C')
            c->classes = classes_of(optarg);
        else if (letter == 'c')
            c->directory = optarg;
        else if (letter == 'o' && c->override_count < 100)
            c->overrides[c->override_count++] = optarg;
        else if (letter == 'q')
            c->quiet = true;
        else if (letter == 'v')
            log_verbose(1);
        else if (letter != 'p') {
            log_error("option -%c is not supported", letter);
            return 1;
        }
    }
    for (int i = optind; i < argc && c->what == 0; i++)
        if (strchr(argv[i], '=') && !(c->mode & (MODE_REMOVE | MODE_COMMENT)))
            c->mode |= MODE_EDIT;
    for (int i = optind; i < argc && c->what && strchr("MFP", c->what); i++)
        if (strchr(argv[i], '=') && !(c->mode & (MODE_REMOVE | MODE_COMMENT)))
            c->mode |= MODE_EDIT;
    return 0;
}

int main(int argc, char **argv)
{
    struct command c = { .classes = CLASS_ALL };
    int rc = (log_tag("postconf"), parse(argc, argv, &c));

    if (rc)
        return rc < 0 ? 0 : rc;
    if (c.what && strchr("mlaA", c.what))
        return list(c.what);
    if (c.tls)
        return tls(c.tls);
    enum master_view view = c.what == 'M' ? VIEW_SERVICES : c.what == 'F' ? VIEW_FIELDS : VIEW_PARAMETERS;
    char **args = argv + optind;
    int count = argc - optind;

    if (!(c.mode & MODE_DEFAULTS) && conf_open(c.directory) < 0) /* defaults depend on no file */
        return 1;
    if (c.directory || getenv("MAIL_CONFIG"))
        conf_override("config_directory", conf_dir());
    if (c.mode & MODE_CHANGES)
        return c.what ? master_edit(view, c.mode, args, count) : main_edit(c.mode, args, count);
    for (int i = 0; i < c.override_count; i++)
        override(c.overrides[i]);
    conf_load(NULL); /* what is wrong was logged; it is shown as it is written */
    conf_registry_open();
    rc = c.what ? master_show(view, c.mode, args, count) : main_show(c.mode, c.classes, args, count, !c.quiet);
    if (fflush(stdout) == EOF || ferror(stdout)) {
        log_error("write to standard output failed");
        rc = 1;
    }
    return rc;
}
