/* introduce_test - no spelling of a path leads a daemon to a service of ours that its row does not name */
#include "base/mem.h"
#include "conf/param.h"
#include "master.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* In place of services.c and process.c: auth-master and cleanup are services of ours. */
struct unit *service_find(const char *name, bool private_endpoint)
{
    static struct unit unit;

    if (strcmp(name, "auth-master") == 0)
        return private_endpoint ? &unit : NULL;
    return strcmp(name, "cleanup") == 0 && !private_endpoint ? &unit : NULL;
}
int process_tell(struct process *p, struct msg **m, uint32_t id)
{
    (void) p, (void) m, (void) id;
    return -1;
}
struct process *process_ref(struct process *p) { return p; }
void process_unref(struct process *p) { (void) p; }

static const struct {
    const char *program, *target; /* "@": the queue directory, "!": a directory beside it */
    int refused;
    bool foreign;
} rows[] = {
    { "smtpd", "public/cleanup", 0, false },
    { "smtpd", "@/public/cleanup", 0, false },
    { "smtpd", "@//public//cleanup", 0, false },
    { "smtpd", "private/auth-master", EACCES, false },
    { "smtpd", "@/private/auth-master", EACCES, false },
    { "smtpd", "private//auth-master", EACCES, false },
    { "smtpd", "./private/auth-master", EACCES, false },
    { "smtpd", "@//private/auth-master", EACCES, false },
    { "smtpd", "@/./private/auth-master", EACCES, false },
    { "smtpd", "public/../private/auth-master", EACCES, false },
    { "smtpd", "!/link", EACCES, false },
    { "smtpd", "!/policy", 0, true },
    { "smtpd", "private/policy", 0, true },
    { "smtpd", "!/nobody", ENOENT, false },
    { "pickup", "!/policy", EACCES, false },
    { "dispatcher", "private/auth-master", 0, false },
    { "qmgr", "private/auth-master", 0, false },
    { "stranger", "public/cleanup", EACCES, false },
};

static void touch(const char *path)
{
    int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);

    assert(fd >= 0);
    close(fd);
}

int main(void)
{
    char top[] = "/tmp/introduceXXXXXX";

    assert(mkdtemp(top) && chdir(top) == 0);
    assert(mkdir("queue", 0700) == 0 && mkdir("queue/private", 0700) == 0 && mkdir("queue/public", 0700) == 0);
    touch("queue/private/auth-master");
    touch("queue/private/policy");
    touch("queue/public/cleanup");
    touch("policy");
    assert(symlink("queue/private/auth-master", "link") == 0);
    conf_queue_directory = mem_printf("%s/queue", top);
    assert(chdir("queue") == 0);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const char *rest = rows[i].target + (strchr("@!", rows[i].target[0]) != NULL);
        const char *base = rows[i].target[0] == '@' ? conf_queue_directory : rows[i].target[0] == '!' ? top : "";
        char *target = mem_printf("%s%s", base, rest), *path;
        bool foreign;

        assert(introduce_judge(rows[i].program, target, &path, &foreign) == rows[i].refused);
        assert((path != NULL) == (rows[i].refused == 0));
        assert(rows[i].refused || foreign == rows[i].foreign);
        free(path);
        free(target);
    }
    assert(chdir(top) == 0 && unlink("link") == 0 && unlink("policy") == 0 && unlink("queue/private/policy") == 0 &&
           unlink("queue/private/auth-master") == 0 && unlink("queue/public/cleanup") == 0 &&
           rmdir("queue/private") == 0 && rmdir("queue/public") == 0 && rmdir("queue") == 0 && rmdir(top) == 0);
    free((char *) conf_queue_directory);
    return 0;
}
