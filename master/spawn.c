/*
 * spawn - orders for processes of users, passed to the spawner of that program
 *
 * Callers     process.c, for "spawn" of daemons and the answers of spawners
 * Invariants  a daemon may order what `rights` says and nothing else; uid and gid are within bounds (the spawner checks again); the directory is
 *             absolute
 *             an order waits until its spawner is ready, also while that is held back for a moment; an order whose
 *             spawner dies is given to the next one, once
 */
#include "base/log.h"
#include "base/mem.h"
#include "base/time.h"
#include "conf/param.h"
#include "master.h"
#include "service/channel.h"
#include "service/jail.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { HELD_MS = 2000 }; /* how long an order may wait for a spawner that is held back */

struct order {
    struct list node;
    struct process *asker, *spawner; /* spawner NULL: not passed on yet */
    uint32_t asker_id, id;
    char *program, *directory, *place[SERVICE_PLACES], *hint;
    int64_t uid, gid;
    int fd;
    bool again; /* a spawner died with it */
};
/* Who may have processes of which program. */
static const struct {
    const char *asker, *program;
} rights[] = {
    { "dispatcher", "imapd" }, { "dispatcher", "pop3d" }, { "lmtpd", "mailboxd" }, { "virtual", "mailboxd" }
};
static struct list orders = { &orders, &orders };
static uint32_t last_id;

static void finish(struct order *o, struct msg **answer)
{
    process_tell(o->asker, answer, o->asker_id);
    list_del(&o->node);
    process_unref(o->asker);
    if (o->spawner)
        process_unref(o->spawner);
    if (o->fd >= 0)
        close(o->fd);
    free(o->program);
    free(o->directory);
    for (int i = 0; i < SERVICE_PLACES; i++)
        free(o->place[i]);
    free(o->hint);
    free(o);
}

static void refuse_order(struct order *o, int error)
{
    struct msg *m = msg_new(CHANNEL_REFUSED);

    msg_put_num(m, "errno", error);
    finish(o, &m);
}

static struct unit *unit_of_spawner(const char *program)
{
    struct unit *s = service_of_program(program);

    return s && s->spawner ? s : NULL;
}

static struct process *running(const struct unit *s)
{
    list_each(it, &s->processes)
    {
        struct process *p = list_entry(it, struct process, node);
        if (!p->ending)
            return p;
    }
    return NULL;
}

static void pass_on(struct order *o, struct process *spawner)
{
    struct msg *m = msg_new(CHANNEL_SPAWN);

    o->spawner = process_ref(spawner);
    o->id = ++last_id;
    msg_put_str(m, "directory", o->directory);
    for (int i = 0; i < SERVICE_PLACES; i++)
        msg_put_str(m, channel_place[i], o->place[i]);
    msg_put_str(m, "hint", o->hint);
    msg_put_num(m, "uid", o->uid);
    msg_put_num(m, "gid", o->gid);
    msg_put_fd(m, o->fd);
    process_tell(spawner, &m, o->id);
}

static bool in_bounds(int64_t uid, int64_t gid, const char *directory)
{
    if (directory[0] != '/')
        return false;
    return geteuid() != 0 || jail_ids_forbidden(uid, gid) == NULL;
}

/* Orders that wait for this spawner: starts it, unless it runs already or is held back for a moment. */
void spawn_resume(struct unit *s)
{
    bool wanted = false;

    list_each(it, &orders)
    {
        struct order *o = list_entry(it, struct order, node);
        wanted |= o->spawner == NULL && strcmp(o->program, s->program) == 0;
    }
    if (!wanted || (s->throttled && s->held_until - time_mono_ms() <= HELD_MS))
        return;
    if (!list_empty(&s->processes) || (process_may_start(s) && process_start(s)))
        return; /* one that is ending: its end asks again */
    list_each(it, &orders)
    {
        struct order *o = list_entry(it, struct order, node);
        if (o->spawner == NULL && strcmp(o->program, s->program) == 0)
            refuse_order(o, EAGAIN);
    }
}

static bool may_order(const char *asker, const char *program)
{
    const char *base = strrchr(asker, '/');

    for (size_t i = 0; i < sizeof rights / sizeof *rights; i++)
        if (strcmp(rights[i].asker, base ? base + 1 : asker) == 0 && strcmp(rights[i].program, program) == 0)
            return true;
    return false;
}

void spawn_order(struct process *p, struct msg *m)
{
    struct order *o = mem_new(sizeof *o);
    struct unit *s;

    o->asker = process_ref(p);
    o->asker_id = msg_id(m);
    o->program = mem_strdup(msg_get_str(m, "program", CHANNEL_NAME_BYTES));
    o->directory = mem_strdup(msg_get_str(m, "directory", CHANNEL_PATH_BYTES));
    for (int i = 0; i < SERVICE_PLACES; i++)
        o->place[i] = mem_strdup(msg_get_str(m, channel_place[i], CHANNEL_PATH_BYTES));
    o->hint = mem_strdup(msg_get_str(m, "hint", SERVICE_HINT_BYTES));
    o->uid = msg_get_num(m, "uid", 0, UINT32_MAX - 1);
    o->gid = msg_get_num(m, "gid", 0, UINT32_MAX - 1);
    o->fd = msg_take_fd(m);
    list_append(&orders, &o->node);
    s = unit_of_spawner(o->program);
    if (!msg_done(m) || !may_order(p->service->program, o->program) || !in_bounds(o->uid, o->gid, o->directory)) {
        log_warn("process %s, pid %ld: refused to start %s for uid %lld, gid %lld in %s", p->service->program,
                 (long) p->pid, o->program, (long long) o->uid, (long long) o->gid, o->directory);
        refuse_order(o, EPERM);
    } else if (s == NULL) {
        refuse_order(o, ENOENT);
    } else {
        struct process *spawner = running(s);
        if (spawner && spawner->ready)
            pass_on(o, spawner);
        else
            spawn_resume(s);
    }
}

void spawn_ready(struct process *spawner)
{
    list_each(it, &orders)
    {
        struct order *o = list_entry(it, struct order, node);
        if (o->spawner == NULL && strcmp(o->program, spawner->service->program) == 0)
            pass_on(o, spawner);
    }
}

void spawn_answer(struct process *spawner, struct msg *m)
{
    list_each(it, &orders)
    {
        struct order *o = list_entry(it, struct order, node);
        struct msg *answer;
        if (o->id != msg_id(m) || o->spawner != spawner)
            continue;
        if (strcmp(msg_name(m), CHANNEL_SPAWNED) == 0) {
            answer = msg_new(CHANNEL_SPAWNED);
            msg_put_num(answer, "pid", msg_get_num(m, "pid", 1, INT32_MAX));
        } else {
            answer = msg_new(CHANNEL_REFUSED);
            msg_put_num(answer, "errno", msg_get_num(m, "errno", 1, 4095));
        }
        finish(o, &answer);
        return;
    }
}

void spawn_lost(struct process *spawner, struct unit *s)
{
    list_each(it, &orders)
    {
        struct order *o = list_entry(it, struct order, node);
        if (o->spawner != spawner)
            continue;
        process_unref(o->spawner);
        o->spawner = NULL;
        if (o->again)
            refuse_order(o, EAGAIN);
        else
            o->again = true;
    }
    spawn_resume(s);
}
