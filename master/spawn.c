/*
 * spawn - dispatcher's orders for processes of users, passed to the spawner of that program
 *
 * Callers     process.c, for "spawn" of dispatcher and the answers of spawners
 * Invariants  only dispatcher may order; uid and gid are within bounds (the spawner checks again); the directory is
 *             absolute
 *             an order waits until its spawner is ready; one whose spawner dies is refused
 */
#include "base/log.h"
#include "base/mem.h"
#include "conf/param.h"
#include "master.h"
#include "service/channel.h"
#include "service/jail.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct order {
    struct list node;
    struct process *asker, *spawner; /* spawner NULL: not passed on yet */
    uint32_t asker_id, id;
    char *program;
    struct msg *msg; /* until it is passed on */
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
    msg_free(&o->msg);
    free(o->program);
    free(o);
}

static void refuse(struct process *p, uint32_t id, int error)
{
    struct msg *m = msg_new(CHANNEL_REFUSED);

    msg_put_num(m, "errno", error);
    process_tell(p, &m, id);
}

static void refuse_order(struct order *o, int error)
{
    struct msg *m = msg_new(CHANNEL_REFUSED);

    msg_put_num(m, "errno", error);
    finish(o, &m);
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
    o->spawner = process_ref(spawner);
    process_tell(spawner, &o->msg, o->id);
}

static bool in_bounds(int64_t uid, int64_t gid, const char *directory)
{
    if (directory[0] != '/')
        return false;
    return geteuid() != 0 || (uid >= service_minimum_uid && gid >= service_minimum_uid && uid > 0 && gid > 0);
}

void spawn_order(struct process *p, struct msg *m)
{
    char *program = mem_strdup(msg_get_str(m, "program", CHANNEL_NAME_BYTES));
    char *directory = mem_strdup(msg_get_str(m, "directory", CHANNEL_PATH_BYTES));
    int64_t uid = msg_get_num(m, "uid", 0, UINT32_MAX - 1), gid = msg_get_num(m, "gid", 0, UINT32_MAX - 1);
    int fd = msg_take_fd(m);
    struct unit *s = service_of_program(program);
    struct order *o;

    if (!msg_done(m) || strcmp(p->service->program, "dispatcher") != 0 || !in_bounds(uid, gid, directory)) {
        log_warn("process %s, pid %ld: refused to start %s for uid %lld, gid %lld in %s", p->service->program,
                 (long) p->pid, program, (long long) uid, (long long) gid, directory);
        refuse(p, msg_id(m), EPERM);
    } else if (s == NULL || !s->spawner || s->throttled) {
        refuse(p, msg_id(m), s ? EAGAIN : ENOENT);
    } else {
        o = mem_new(sizeof *o);
        *o = (struct order){ .asker = process_ref(p), .asker_id = msg_id(m), .id = ++last_id, .program = program };
        program = NULL;
        o->msg = msg_new(CHANNEL_SPAWN);
        msg_put_str(o->msg, "directory", directory);
        msg_put_num(o->msg, "uid", uid);
        msg_put_num(o->msg, "gid", gid);
        msg_put_fd(o->msg, fd);
        list_append(&orders, &o->node);
        struct process *spawner = running(s);
        if (spawner && spawner->ready)
            pass_on(o, spawner);
        else if (spawner == NULL && (!process_may_start(s) || process_start(s) == NULL) && list_empty(&s->processes))
            refuse_order(o, EAGAIN);
    }
    if (fd >= 0)
        close(fd);
    free(program);
    free(directory);
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

/* Orders that the spawner had taken are refused; those that wait for one get a new one. */
void spawn_lost(struct process *spawner)
{
    struct unit *again = NULL;

    list_each(it, &orders)
    {
        struct order *o = list_entry(it, struct order, node);
        if (o->spawner == spawner)
            refuse_order(o, EAGAIN);
        else if (o->spawner == NULL)
            again = service_of_program(o->program);
    }
    if (again && running(again) == NULL && (!process_may_start(again) || process_start(again) == NULL))
        list_each(it, &orders)
        {
            struct order *o = list_entry(it, struct order, node);
            if (o->spawner == NULL && strcmp(o->program, again->program) == 0)
                refuse_order(o, EAGAIN);
        }
}
