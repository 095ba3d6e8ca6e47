/* session_test - plays the conversations of tests/proto/imap against sessions on a scratch Maildir */
#include "session.h"
#include "conf/param.h"
#include "../tests/proto/converse.h"

static void run(int fd, const char *root)
{
    struct imapd_start start = { .user = "u@example.test", .id = "test", .root = root, .separator = '/' };

    imapd_session_run(fd, &start);
}

static void all(void *arg)
{
    (void) arg;
    conf_message_size_limit = 100000;
    imapd_idle_notify_seconds = 120;
    converse_all(run, "tests/proto/imap/*.txt");
}

int main(void)
{
    event_run(all, NULL);
    return 0;
}
