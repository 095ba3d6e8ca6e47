/*
 * services - master.cf and the built-in services become struct unit
 *
 * Invariants  a service is known by name, type and private; at a reload its sockets, processes and counters stay
 *             a service whose program does not exist is named once and has no endpoint: its clients are refused, all
 *             others run
 * Errors      a master.cf that cannot be read: nothing changes
 */
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "conf/builtin.h"
#include "conf/param.h"
#include "master.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SAID_MAX = 1000 };

struct list services = { &services, &services };

/* Programs that fork a process for each user; master gives them no endpoint (lib/service/spawner.c). */
static const char *const spawners[] = { "imapd", "pop3d", "mailboxd", NULL };

static bool in_list(const char *const *list, const char *name)
{
    for (; *list; list++)
        if (strcmp(*list, name) == 0)
            return true;
    return false;
}

static bool disabled(const char *name, const char *type)
{
    struct slice rest = slice_of(master_disabled), word;
    bool off = false;

    while (slice_word(&rest, ", \t\r\n", &word)) {
        ptrdiff_t slash = slice_rfind(word, '/');
        if (slash < 0)
            off |= slice_eq(word, type);
        else
            off |= slice_eq(slice_sub(word, 0, (size_t) slash), name) &&
                   slice_eq(slice_sub(word, (size_t) slash + 1, word.len), type);
    }
    return off;
}

static void free_args(char **args)
{
    for (size_t i = 0; args && args[i]; i++)
        free(args[i]);
    free(args);
}

static void free_settings(struct unit *s)
{
    free(s->name);
    free(s->program);
    free(s->path);
    free_args(s->args);
    event_timer_free(&s->wakeup_timer);
}

static struct unit *make(const struct mastercf_service *from)
{
    struct unit *s = mem_new(sizeof *s);

    list_init(&s->node);
    list_init(&s->processes);
    s->name = mem_strdup(from->name);
    s->type = from->type;
    s->private = from->private;
    s->chroot = from->chroot;
    s->unpriv = from->unpriv;
    s->builtin = strcmp(from->file, CONF_BUILTIN_FILE) == 0;
    s->program = mem_strdup(from->program);
    s->path = from->program[0] == '/' ? mem_strdup(from->program)
                                      : mem_printf("%s/%s", conf_daemon_directory, from->program);
    s->spawner = in_list(spawners, from->program);
    s->wakeup = from->wakeup;
    s->wakeup_if_used = from->wakeup_if_used;
    s->max_proc = from->max_proc;
    s->args = mem_array(from->argc + 1, sizeof *s->args);
    for (size_t i = 0; i < from->argc; i++)
        s->args[i] = mem_strdup(from->argv[i]);
    return s;
}

/* A line of master.cf replaces the built-in service whose first name it has. */
static bool replaced(const struct mastercf *m, const struct mastercf_service *builtin)
{
    size_t len = strcspn(builtin->name, ",");

    for (size_t i = 0; i < m->count; i++) {
        const struct mastercf_service *s = &m->service[i];
        if (s != builtin && s->type == builtin->type && strcmp(s->file, CONF_BUILTIN_FILE) != 0 &&
            strlen(s->name) == len && strncmp(s->name, builtin->name, len) == 0)
            return true;
    }
    return false;
}

/* Said at the start and when it is new, not at every reload. */
static bool first_time(const char *path, const struct mastercf_service *from)
{
    static struct map *said;
    char *key = mem_printf("%s %s %s", mastercf_type_name[from->type], from->name, path);
    bool first;

    if (said == NULL)
        said = map_new(SAID_MAX, NULL);
    first = map_get(said, slice_of(key)) == NULL;
    map_set(said, slice_of(key), said);
    free(key);
    return first;
}

static bool wanted(const struct mastercf *m, const struct mastercf_service *from)
{
    const char *type = mastercf_type_name[from->type];
    char *path;
    bool there;

    if (strcmp(from->program, "none") == 0 || disabled(from->name, type))
        return false;
    if (strcmp(from->file, CONF_BUILTIN_FILE) == 0 && replaced(m, from))
        return false;
    path = from->program[0] == '/' ? mem_strdup(from->program)
                                   : mem_printf("%s/%s", conf_daemon_directory, from->program);
    there = access(path, X_OK) == 0;
    if (!there && first_time(path, from))
        log_warn("service %s/%s (%s, line %d) is not started: %s: %s", from->name, type, from->file, from->line, path,
                 strerror(errno));
    free(path);
    return there;
}

static struct unit *same_service(const struct unit *s)
{
    list_each(it, &services)
    {
        struct unit *old = list_entry(it, struct unit, node);
        if (old->type == s->type && old->private == s->private && !old->removed && strcmp(old->name, s->name) == 0)
            return old;
    }
    return NULL;
}

static void close_listeners(struct unit *s)
{
    for (size_t i = 0; i < s->listener_count; i++)
        listen_close(&s->listeners[i]);
    free(s->listeners);
    s->listeners = NULL;
    s->listener_count = 0;
}

void process_retired(struct unit *s)
{
    if (!s->removed || !list_empty(&s->processes))
        return;
    list_del(&s->node);
    close_listeners(s);
    event_timer_free(&s->throttle_timer);
    free_settings(s);
    free(s);
}

static void remove_service(struct unit *s)
{
    s->removed = true;
    for (size_t i = 0; i < s->listener_count; i++)
        if (s->listeners[i].path)
            unlink(s->listeners[i].path);
    close_listeners(s);
    event_timer_free(&s->wakeup_timer);
    process_end_all(s, "reload");
    process_retired(s);
}

/* Sockets that the new settings do not name any more. */
static void unlink_others(const struct unit *old, const struct unit *fresh)
{
    for (size_t i = 0; i < old->listener_count; i++) {
        const char *path = old->listeners[i].path;
        bool stays = path == NULL;
        for (size_t k = 0; !stays && k < fresh->listener_count; k++)
            stays = fresh->listeners[k].path && strcmp(fresh->listeners[k].path, path) == 0;
        if (!stays)
            unlink(path);
    }
}

/* `fresh` has the new settings and sockets; what runs stays with `old`. */
static void renew(struct unit *old, struct unit *fresh)
{
    struct unit keep;
    char *program = mem_strdup(old->path);

    unlink_others(old, fresh);
    close_listeners(old); /* and so nobody waits for old->changed any more */
    free_settings(old);
    keep = *old;
    *old = *fresh;
    old->node = keep.node;
    old->processes = keep.processes;
    old->used = keep.used;
    if (strcmp(old->path, program) == 0) { /* what its processes have said of themselves holds for the next ones */
        old->known = keep.known;
        old->exclusive = keep.exclusive;
        old->solitary = keep.solitary;
        old->overlaps = keep.overlaps;
        old->sessions_max = keep.sessions_max;
    }
    old->throttle_timer = keep.throttle_timer;
    old->throttled = keep.throttled;
    old->held_until = keep.held_until;
    old->wakeup_timer = NULL;
    free(program);
    free(fresh);
}

static void wakeup_tick(void *arg)
{
    struct unit *s = arg;

    if (!s->wakeup_if_used || s->used)
        process_wakeup(s);
}

static void start_service(struct unit *s)
{
    service_watch(s);
    if (s->wakeup > 0) {
        s->wakeup_timer = event_timer_every((int64_t) s->wakeup * 1000, wakeup_tick, s);
        wakeup_tick(s);
    }
}

static int adopt(const struct mastercf_service *from, bool first, struct list *next)
{
    struct unit *s = make(from), *old = same_service(s);

    if (listen_open(s, old) < 0) {
        bool builtin = s->builtin;
        if (builtin || !first)
            log_warn("service %s/%s (%s, line %d) is not started", s->name, mastercf_type_name[s->type], from->file,
                     from->line);
        close_listeners(s);
        free_settings(s);
        free(s);
        return builtin || !first ? 0 : -1;
    }
    if (old) {
        process_end_all(old, "reload");
        renew(old, s);
        s = old;
        list_del(&s->node);
    }
    list_append(next, &s->node);
    return 0;
}

static int read_services(struct mastercf *m)
{
    char *path = mem_printf("%s/master.cf", conf_dir());
    struct err err;
    int rc = mastercf_parse(m, CONF_BUILTIN_FILE, slice_of(conf_builtin_services), &err);

    if (rc == 0)
        rc = mastercf_read(path, m, &err);
    if (rc < 0)
        log_error("%s", err.text);
    free(path);
    return rc;
}

int services_load(bool first)
{
    struct mastercf m = { 0 };
    struct list next;
    int rc = read_services(&m);

    if (rc < 0) {
        mastercf_free(&m);
        return -1;
    }
    list_init(&next);
    for (size_t i = 0; i < m.count && rc == 0; i++)
        if (wanted(&m, &m.service[i]))
            rc = adopt(&m.service[i], first, &next);
    list_each(it, &services)
    {
        struct unit *s = list_entry(it, struct unit, node);
        if (!s->removed)
            remove_service(s);
    }
    list_each(it, &next)
    {
        list_del(it);
        list_append(&services, it);
    }
    mastercf_free(&m);
    if (rc == 0)
        list_each(it, &services)
        {
            struct unit *s = list_entry(it, struct unit, node);
            if (!s->removed)
                start_service(s);
        }
    return rc;
}

struct unit *service_find(const char *name, bool private_endpoint)
{
    list_each(it, &services)
    {
        struct unit *s = list_entry(it, struct unit, node);
        for (size_t i = 0; i < s->listener_count && s->private == private_endpoint; i++) {
            const char *path = s->listeners[i].path;
            if (path && path[0] != '/' && strcmp(strchr(path, '/') + 1, name) == 0)
                return s;
        }
    }
    return NULL;
}

struct unit *service_of_program(const char *program)
{
    list_each(it, &services)
    {
        struct unit *s = list_entry(it, struct unit, node);
        if (!s->removed && strcmp(s->program, program) == 0)
            return s;
    }
    return NULL;
}
