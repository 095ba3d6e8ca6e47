/*
 * doveadm - Dovecot's administration command, as far as Posthorn has it
 *
 * Callers     people, PostfixAdmin
 * Privilege   the caller's
 */
#include "doveadm.h"
#include "conf/param.h"
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

static const struct doveadm_command *const commands[] = { &doveadm_auth, &doveadm_pw, &doveadm_user };
enum { COMMANDS = sizeof commands / sizeof *commands };

static int usage(FILE *to, int code)
{
    fputs("usage: doveadm [-Dv] [-O] [-c FILE] [-o SETTING=VALUE] COMMAND ...\n", to);
    for (size_t n = 0; n < COMMANDS; n++)
        fprintf(to, "  %s %s", commands[n]->name, commands[n]->usage);
    return code;
}

static void override(char *setting)
{
    char *value = strchr(setting, '=');

    *value++ = '\0';
    conf_override(setting, value);
}

static int run(int argc, char **argv)
{
    for (size_t n = 0; n < COMMANDS; n++) {
        if (strcmp(argv[0], commands[n]->name) != 0)
            continue;
        if (argc > 1 && strcmp(argv[1], "--help") == 0) {
            printf("usage: doveadm %s %s", commands[n]->name, commands[n]->usage);
            return EX_OK;
        }
        optind = 1;
        return commands[n]->run(argc, argv);
    }
    fprintf(stderr, "doveadm: Fatal: unknown command %s\n", argv[0]);
    return usage(stderr, EX_USAGE);
}

int main(int argc, char **argv)
{
    static const struct option longs[] = { { "help", no_argument, NULL, 'h' }, { NULL, 0, NULL, 0 } };
    int c, code;

    while ((c = getopt_long(argc, argv, "+c:Of:Dvo:", longs, NULL)) != -1) {
        if (c == 'h')
            return usage(stdout, EX_OK);
        if (c == '?')
            return usage(stderr, EX_USAGE);
        if (c == 'o' && strchr(optarg, '='))
            override(optarg);
    }
    if (optind == argc)
        return usage(stderr, EX_USAGE);
    code = run(argc - optind, argv + optind);
    if (fflush(stdout) != 0) {
        fprintf(stderr, "Fatal: write: %s\n", strerror(errno));
        return DOVEADM_FATAL;
    }
    return code;
}
