/* session_test - plays the conversations of tests/proto/pop3 against sessions on a scratch Maildir */
#include "session.h"
#include "../tests/proto/converse.h"

static void run(int fd, const char *root)
{
    struct pop3d_start start = { .user = "u@example.test", .id = "test", .root = root, .separator = '/' };

    pop3d_session_run(fd, &start);
}

static void all(void *arg)
{
    (void) arg;
    converse_all(run, "tests/proto/pop3/*.txt");
}

int main(void)
{
    event_run(all, NULL);
    return 0;
}
