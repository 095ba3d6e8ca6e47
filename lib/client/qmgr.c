/*
 * qmgr client - tell the queue manager that there is work
 *
 * Callers     see qmgr.h
 * Errors      -1 only: nothing is lost when the queue manager does not hear it
 */
#include "client/qmgr.h"
#include "ipc/client.h"
#include "base/time.h"
#include "base/file.h"
#include <string.h>
#include <unistd.h>

enum { ASK_MS = 10000 }; /* longer than this a scan would have found the file */

int qmgr_arrived(const char *queue_id)
{
    static struct ipc_client *client;
    struct msg *m = msg_new("arrived");

    if (client == NULL)
        client = ipc_client_new("public/qmgr", QMGR_PROTOCOL, QMGR_VERSION);
    msg_put_str(m, "queue_id", queue_id);
    return ipc_tell(client, &m, time_mono_ms() + ASK_MS);
}

int qmgr_trigger(const char *bytes)
{
    int fd = ipc_connect("public/qmgr", time_mono_ms() + ASK_MS);
    int status;

    if (fd < 0)
        return -1;
    status = file_write_all(fd, bytes, strlen(bytes));
    close(fd);
    return status;
}
