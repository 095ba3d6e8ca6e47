/*
 * sockets - unix_listeners: sockets that services have beside those of master.cf, and whose they are
 *
 * Dovecot's "unix_listener PATH { mode user group }", which puts the auth and LMTP sockets into somebody else's queue
 * directory.
 *
 * Invariants  pure but for the account names, which are looked up when the list is read
 * Errors      a malformed list, an unknown account: nothing changes, and the start fails
 */
#include "base/log.h"
#include "base/mem.h"
#include "conf/lines.h"
#include "conf/param.h"
#include "master.h"

#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>

enum { RULES_MAX = 200, MODE_MAX = 0777 };

static struct socket_rule rules[RULES_MAX];
static size_t rule_count;

static void free_rules(struct socket_rule *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free(list[i].service);
        free(list[i].path);
    }
}

static int set_mode(struct socket_rule *r, const char *value)
{
    char *end;
    unsigned long mode = strtoul(value, &end, 8);

    if (*value < '0' || *value > '7' || *end != '\0' || mode > MODE_MAX)
        return -1;
    r->mode = (mode_t) mode;
    return 0;
}

static int set_user(struct socket_rule *r, const char *value)
{
    struct passwd *pw = getpwnam(value);

    if (pw == NULL)
        return -1;
    r->uid = pw->pw_uid;
    return 0;
}

static int set_group(struct socket_rule *r, const char *value)
{
    struct group *gr = getgrnam(value);

    if (gr == NULL)
        return -1;
    r->gid = gr->gr_gid;
    return 0;
}

static int set_option(struct socket_rule *r, struct slice word, const char **why)
{
    static const struct {
        const char *name, *why;
        int (*set)(struct socket_rule *, const char *);
    } options[] = { { "mode", "mode is not an octal number", set_mode },
                    { "user", "no such user", set_user },
                    { "group", "no such group", set_group } };
    struct slice name, value;
    char *text;
    int rc = -1;

    *why = "not of the form name=value";
    if (lines_pair(word, &name, &value, why) < 0)
        return -1;
    *why = "neither mode, user nor group";
    text = mem_strndup(value.p, value.len);
    for (size_t i = 0; i < sizeof options / sizeof *options; i++)
        if (slice_eq(name, options[i].name)) {
            *why = options[i].why;
            rc = options[i].set(r, text);
            break;
        }
    free(text);
    return rc;
}

/* "{ SERVICE PATH mode=0660 user=U group=G }" */
static int read_rule(struct slice word, struct socket_rule *r, const char **why)
{
    struct slice service, path, option;

    *r = (struct socket_rule){ .mode = SOCKET_MODE, .uid = (uid_t) -1, .gid = (gid_t) -1 };
    *why = "not in braces";
    if (word.p[0] != '{' || lines_unbrace(&word, why) < 0)
        return -1;
    *why = "a service and the path of its socket are needed";
    if (!slice_word(&word, " \t\r\n", &service) || !slice_word(&word, " \t\r\n", &path))
        return -1;
    *why = "the path is neither absolute nor below private/ or public/";
    if (path.p[0] != '/' && !slice_starts(path, "private/") && !slice_starts(path, "public/"))
        return -1;
    while (slice_word(&word, " \t\r\n", &option))
        if (set_option(r, option, why) < 0)
            return -1;
    r->service = mem_strndup(service.p, service.len);
    r->path = mem_strndup(path.p, path.len);
    return 0;
}

int sockets_read(const char *list)
{
    static struct socket_rule fresh[RULES_MAX];
    struct slice rest = slice_of(list), word;
    const char *why = "too many sockets";
    size_t count = 0;

    while (lines_word(&rest, ", \t\r\n", &word)) {
        if (count == RULES_MAX || read_rule(word, &fresh[count], &why) < 0) {
            log_error("unix_listeners: %.*s: %s", (int) word.len, word.p, why);
            free_rules(fresh, count);
            return -1;
        }
        count++;
    }
    free_rules(rules, rule_count);
    memcpy(rules, fresh, sizeof rules);
    rule_count = count;
    return 0;
}

/* A service with several endpoints is known by its first name. */
static bool is_for(const struct socket_rule *r, const char *service)
{
    size_t len = strcspn(service, ",");

    return strlen(r->service) == len && strncmp(r->service, service, len) == 0;
}

const struct socket_rule *sockets_next(const char *service, size_t *at)
{
    while (*at < rule_count)
        if (is_for(&rules[(*at)++], service))
            return &rules[*at - 1];
    return NULL;
}
