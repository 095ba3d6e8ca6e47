/* account_test - the C library's accounts: root is there on any machine, and who is not is not */
#include "task.h"

#include <assert.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct msg *ask(struct msg *(*task)(struct msg *), const char *field, const char *value)
{
    struct msg *in = msg_new("question"), *out;

    msg_put_str(in, field, value);
    out = task(in);
    msg_free(&in);
    return out;
}

static void test_accounts(void)
{
    struct msg *m = ask(account_task, "user", "root");

    assert(strcmp(msg_name(m), "found") == 0 && strcmp(msg_get_str(m, "user", 100), "root") == 0);
    assert(msg_get_num(m, "uid", 0, 100) == 0 && msg_get_num(m, "gid", 0, 100) == 0);
    assert(strcmp(msg_get_str(m, "home", 1000), getpwnam("root")->pw_dir) == 0 && msg_done(m));
    msg_free(&m);
    m = ask(account_task, "user", "no-such-user-here");
    assert(strcmp(msg_name(m), "none") == 0 && msg_done(m));
    msg_free(&m);
    assert(ask(account_task, "name", "root") == NULL);
}

static void test_numbers(void)
{
    struct msg *m = ask(uid_task, "name", "root");

    assert(strcmp(msg_name(m), "found") == 0 && msg_get_num(m, "id", 0, 100) == 0 && msg_done(m));
    msg_free(&m);
    m = ask(gid_task, "name", getgrgid(0)->gr_name);
    assert(strcmp(msg_name(m), "found") == 0 && msg_get_num(m, "id", 0, 100) == 0 && msg_done(m));
    msg_free(&m);
    m = ask(gid_task, "name", "no-such-group-here");
    assert(strcmp(msg_name(m), "none") == 0);
    msg_free(&m);
}

/* Names between first and last, then the end. */
static bool listed(uint32_t first, uint32_t last, const char *name)
{
    struct msg *in = msg_new("each"), *m;
    bool found = false, ended = false;
    int pair[2], size = 1 << 20;

    assert(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) == 0);
    assert(setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof size) == 0);
    msg_put_num(in, "first", first);
    msg_put_num(in, "last", last);
    assert(each_task(in, pair[0]) == 0);
    msg_free(&in);
    close(pair[0]);
    while (msg_recv_packet(pair[1], &m) == 0) {
        assert(!ended);
        ended = strcmp(msg_name(m), "end") == 0;
        if (!ended)
            found |= strcmp(msg_get_str(m, "user", 1000), name) == 0;
        assert(msg_done(m));
        msg_free(&m);
    }
    assert(ended);
    close(pair[1]);
    return found;
}

static void password(const char *kind, const char *user, const char *verdict)
{
    struct msg *in = msg_new("password"), *m;

    msg_put_str(in, "kind", kind);
    msg_put_str(in, "user", user);
    msg_put_str(in, "password", "surely not the password");
    m = password_task(in);
    assert(m && strcmp(msg_name(m), verdict) == 0);
    msg_free(&in);
    msg_free(&m);
}

int main(void)
{
    test_accounts();
    test_numbers();
    assert(listed(0, 0, "root") && !listed(1, 0, "root") && listed(0, 0, "nobody"));
    assert(!listed(0, getpwnam("nobody")->pw_uid - 1, "nobody"));
    password("passwd", "root", getpwnam("root")->pw_passwd[0] == '*' ? "disabled" : "mismatch");
    password("passwd", "no-such-user-here", "unknown");
    password("shadow", "no-such-user-here", geteuid() == 0 ? "unknown" : "later");
    return 0;
}
