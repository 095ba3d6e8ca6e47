/* keeper - see keeper.h */
#include "client/keeper.h"
#include "client/dispatcher_wire.h"

#include <unistd.h>

struct msg *keeper_hold_encode(int client_fd, const struct dispatcher_sleep *how)
{
    struct msg *m = msg_new(KEEPER_W_HOLD);

    msg_put_fd(m, client_fd);
    dispatcher_sleep_encode(m, how);
    return m;
}

int keeper_hold_decode(struct msg *m, int *client_fd, struct dispatcher_sleep *how)
{
    int fd = msg_take_fd(m);

    if (dispatcher_sleep_decode(m, how) < 0) {
        if (fd >= 0)
            close(fd);
        return -1;
    }
    *client_fd = fd;
    return 0;
}
