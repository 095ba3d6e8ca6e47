/*
 * internal - what the files of lib/ipc share; nobody else includes it
 */
#ifndef IPC_INTERNAL_H
#define IPC_INTERNAL_H
#include "ipc/msg.h"

struct msg_value { /* offsets into the body */
    uint32_t name, value, value_len;
    uint8_t name_len;
    bool taken;
};
struct msg {
    char name[MSG_NAME_BYTES + 1];
    uint32_t id;
    bool bad;
    struct str body;
    struct msg_value *values;
    size_t count, cap, taken, cursor;
    int fds[MSG_FDS];
    size_t fds_count, fds_taken;
    uint32_t lent;       /* bit n: fds[n] is the caller's */
    size_t fds_promised; /* as the frame says; checked against what came beside it */
};
int msg_parse(struct str *frame, struct msg **out);
#endif
