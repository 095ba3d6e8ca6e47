/* task - see task.h */
#include "task.h"

#include "base/mem.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

static struct slice at_most(const char *text, size_t max)
{
    struct slice s = slice_of(text ? text : "");

    return slice_sub(s, 0, s.len < max ? s.len : max);
}

struct msg *task_later(const char *why)
{
    struct msg *m = msg_new("later");

    msg_put(m, "why", at_most(why, AUTH_WORKER_TEXT_BYTES));
    return m;
}

static struct msg *make(enum auth_worker_verdict verdict, const char *user, const char *why, const char *said,
                        bool fault)
{
    struct msg *m = msg_new(auth_worker_verdict_name[verdict]);

    msg_put(m, "user", at_most(user, AUTH_WORKER_NAME_BYTES));
    msg_put(m, "why", at_most(why, AUTH_WORKER_TEXT_BYTES));
    msg_put(m, "said", at_most(said, AUTH_WORKER_TEXT_BYTES));
    msg_put_num(m, "fault", fault);
    return m;
}

struct msg *task_verdict(enum auth_worker_verdict verdict, const char *user, const char *why, const char *said)
{
    return make(verdict, user, why, said, false);
}

struct msg *task_fault(enum auth_worker_verdict verdict, const char *user, const char *why, const char *said)
{
    return make(verdict, user, why, said, true);
}

static int wait_for(int fd, short what)
{
    struct pollfd p = { .fd = fd, .events = what };

    while (poll(&p, 1, -1) < 0)
        if (errno != EINTR)
            return -1;
    return 0;
}

int task_send(int fd, struct msg **m)
{
    int rc;

    while ((rc = msg_send_packet(fd, *m, 0)) < 0 && errno == EAGAIN)
        if (wait_for(fd, POLLOUT) < 0)
            break;
    msg_free(m);
    return rc;
}

static int answer(struct msg *in, int fd)
{
    static const struct {
        const char *name;
        struct msg *(*run)(struct msg *);
    } tasks[] = { { "pam", pam_task },
                  { "password", password_task },
                  { "account", account_task },
                  { "uid", uid_task },
                  { "gid", gid_task } };
    struct msg *out = NULL;

    if (strcmp(msg_name(in), "each") == 0)
        return each_task(in, fd);
    for (size_t n = 0; n < sizeof tasks / sizeof *tasks; n++)
        if (strcmp(msg_name(in), tasks[n].name) == 0)
            out = tasks[n].run(in);
    return out ? task_send(fd, &out) : -1;
}

void task_serve(int fd)
{
    struct msg *in;
    int rc = 0;

    while (rc == 0) {
        if (msg_recv_packet(fd, &in) == 0) {
            rc = answer(in, fd);
            msg_free(&in);
        } else if (errno != EAGAIN || wait_for(fd, POLLIN) < 0) {
            break;
        }
    }
}
