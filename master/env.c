/*
 * env - the environment of daemons: what import_environment names, and where the configuration is
 */
#include "base/mem.h"
#include "conf/param.h"
#include "master.h"

#include <stdlib.h>
#include <string.h>

enum { VARIABLES_MAX = 64 };

/* Those of sanitizer builds: their reports reach the log through standard error. */
static const char *const always[] = { "PATH", "ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS", NULL };

static void put(char **env, size_t *n, const char *name, const char *value)
{
    if (value && *n < VARIABLES_MAX)
        env[(*n)++] = mem_printf("%s=%s", name, value);
}

/* Made once a start of a service; the strings are kept, since the child execs and the parent may not free them. */
char **master_environment(void)
{
    static char *kept[VARIABLES_MAX + 1];
    char **env = mem_array(VARIABLES_MAX + 1, sizeof *env);
    struct slice rest = slice_of(master_imported), word;
    size_t n = 0;

    for (size_t i = 0; kept[i]; i++)
        free(kept[i]);
    for (size_t i = 0; always[i]; i++)
        put(env, &n, always[i], getenv(always[i]));
    put(env, &n, "MAIL_CONFIG", conf_dir());
    while (slice_word(&rest, ", \t\r\n", &word)) {
        char *name = mem_strndup(word.p, word.len), *eq = strchr(name, '=');
        if (eq)
            *eq = '\0';
        if (strcmp(name, "MAIL_CONFIG") != 0)
            put(env, &n, name, eq ? eq + 1 : getenv(name));
        free(name);
    }
    env[n] = NULL;
    memcpy(kept, env, (n + 1) * sizeof *env);
    return env;
}
