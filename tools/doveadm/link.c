/*
 * link - see link.h
 */
#include "link.h"
#include "conf/param.h"
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sysexits.h>
#include <unistd.h>

/* main.cf is wanted for the queue directory and for what the userdb leaves open; with a socket that was named it may be
 * absent. */
const char *link_path(const char *path, const char *name, struct arena *a)
{
    const struct param *const tables[] = { NULL };
    const char *directory = getenv("MAIL_CONFIG");
    char *main_cf = mem_printf("%s/main.cf", directory ? directory : "/etc/postfix");
    bool there = access(main_cf, R_OK) == 0;

    free(main_cf);
    if ((path == NULL || there) && (conf_open(NULL) != 0 || conf_load(tables) != 0))
        exit(EX_CONFIG);
    if (path)
        return path;
    return arena_printf(a, "%s/private/%s", conf_value("queue_directory"), name);
}

static int connect_to(struct link *l, const char *path, struct err *why)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    size_t len = strlen(path);

    *l = (struct link){ .fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0) };
    if (len >= sizeof addr.sun_path)
        errno = ENAMETOOLONG;
    else
        memcpy(addr.sun_path, path, len + 1);
    if (l->fd >= 0 && len < sizeof addr.sun_path && connect(l->fd, (struct sockaddr *) &addr, sizeof addr) == 0 &&
        (l->in = fdopen(l->fd, "r")) != NULL)
        return 0;
    err_set(why, 0, NULL, "connect(%s) failed: %s", path, strerror(errno));
    if (l->fd >= 0)
        close(l->fd);
    *l = (struct link){ .fd = -1 };
    return -1;
}

void link_close(struct link *l)
{
    if (l->in)
        fclose(l->in);
    free(l->text);
    *l = (struct link){ .fd = -1 };
}

int link_read(struct link *l)
{
    ssize_t len = getline(&l->text, &l->room, l->in);

    if (len <= 0 || l->text[len - 1] != '\n')
        return -1;
    return dovecot_auth_split(l->text, (size_t) len - 1, &l->line);
}

int link_send(struct link *l, struct str *line)
{
    size_t done = 0;

    dovecot_auth_end(line);
    while (!str_over(line) && done < line->len) {
        ssize_t n = send(l->fd, line->p + done, line->len - done, MSG_NOSIGNAL);
        if (n < 0 && errno != EINTR)
            break;
        done += n > 0 ? (size_t) n : 0;
    }
    int rc = !str_over(line) && done == line->len ? 0 : -1;
    mem_wipe(line->p, line->len);
    str_free(line);
    return rc;
}

/* Reads the greeting to its last word. */
static int greet(struct link *l, const char *path, int minor, const char *last, struct err *why)
{
    struct str line;

    str_init(&line, DOVECOT_AUTH_LINE_BYTES);
    dovecot_auth_begin(&line, DOVECOT_AUTH_VERSION);
    dovecot_auth_put_num(&line, DOVECOT_AUTH_MAJOR);
    dovecot_auth_put_num(&line, (uint64_t) minor);
    if (link_send(l, &line) == 0)
        while (link_read(l) == 0) {
            struct slice word = dovecot_auth_word(&l->line, 1);
            if (slice_eq(l->line.word[0], DOVECOT_AUTH_VERSION) && !slice_eq(word, "1"))
                break;
            if (slice_eq(l->line.word[0], DOVECOT_AUTH_COOKIE))
                snprintf(l->cookie, sizeof l->cookie, "%.*s", (int) word.len, word.p);
            if (slice_eq(l->line.word[0], last))
                return 0;
        }
    link_close(l);
    return err_set(why, 0, NULL, "%s: it does not speak as an auth service", path);
}

int link_open_master(struct link *l, const char *path, struct err *why)
{
    if (connect_to(l, path, why) != 0)
        return -1;
    return greet(l, path, DOVECOT_AUTH_MASTER_MINOR, DOVECOT_AUTH_SPID, why);
}

int link_open_client(struct link *l, const char *path, struct err *why)
{
    struct str line;

    if (connect_to(l, path, why) != 0 || greet(l, path, DOVECOT_AUTH_CLIENT_MINOR, DOVECOT_AUTH_DONE, why) != 0)
        return -1;
    str_init(&line, DOVECOT_AUTH_LINE_BYTES);
    dovecot_auth_begin(&line, DOVECOT_AUTH_CPID);
    dovecot_auth_put_num(&line, (uint64_t) getpid());
    return link_send(l, &line);
}

void link_begin(struct str *line, const char *command, const char *user, const struct link_info *info)
{
    bool service = false;

    str_init(line, DOVECOT_AUTH_LINE_BYTES);
    dovecot_auth_begin(line, command);
    dovecot_auth_put_num(line, 1);
    if (user)
        dovecot_auth_put(line, slice_of(user));
    for (size_t n = 0; n < info->count; n++)
        service |= strncmp(info->word[n], "service=", strlen("service=")) == 0;
    if (!service)
        dovecot_auth_put_value(line, "service", SLICE("doveadm"));
    for (size_t n = 0; n < info->count; n++)
        dovecot_auth_put(line, slice_of(info->word[n]));
}
