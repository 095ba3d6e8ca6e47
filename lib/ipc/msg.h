/*
 * msg - a frame of named values: what our daemons say to each other
 *
 * On the wire: u32 length of the rest (big endian, at most MSG_BYTES); u8 length + request name; u32 id; u8 number of
 * descriptors; then for each value u8 name length, name, u32 value length, value. Descriptors travel beside the first
 * byte by SCM_RIGHTS, at most MSG_FDS; the number says how many must have come.
 *
 * Callers     lib/client/ (both ends of every private protocol), lib/service
 * Invariants  bounded; names are [a-z0-9_]; a name may repeat only where both sides use the list calls
 *             a reader takes each value once; msg_done says whether all was taken and nothing was missing, malformed
 *             or surplus
 *             reading frames and reading the stream may alternate
 *             a frame named MSG_BYE is swallowed by msg_recv: it says that the server would like the client to close
 * Ownership   the msg owns bytes and descriptors; msg_take_fd hands one over
 * Errors      getters never fail loudly: they mark the message bad and give a harmless value; ask msg_done before
 *             acting
 */
#ifndef IPC_MSG_H
#define IPC_MSG_H
#include "base/str.h"
#include "io/stream.h"

enum { MSG_BYTES = 4 << 20, MSG_FDS = 16, MSG_NAME_BYTES = 64, MSG_VALUES = 1 << 17, MSG_PACKET_BYTES = 16 << 10 };
#define MSG_BYE "bye"

struct msg;
struct msg *msg_new(const char *name); /* request name, or status of a reply */
void msg_free(struct msg **);
const char *msg_name(const struct msg *);
uint32_t msg_id(const struct msg *);

void msg_put(struct msg *, const char *name, struct slice value);
void msg_put_str(struct msg *, const char *name, const char *value);
void msg_put_num(struct msg *, const char *name, int64_t value);
void msg_put_fd(struct msg *, int fd);  /* duplicated: the caller keeps its own */
void msg_lend_fd(struct msg *, int fd); /* not duplicated: the caller keeps it open until the message is freed */

struct slice msg_get(struct msg *, const char *name,
                     size_t max); /* borrowed from the msg; marks bad when absent or longer than max */
const char *msg_get_str(struct msg *, const char *name, size_t max); /* also bad when it holds a NUL; "" then */
int64_t msg_get_num(struct msg *, const char *name, int64_t min, int64_t max);
bool msg_has(const struct msg *, const char *name); /* for values that may be left out; then take it with a getter */
bool msg_next(struct msg *, const char *name, size_t max,
              struct slice *out);   /* walks a repeated name; false at the end */
int msg_take_fd(struct msg *);      /* close-on-exec; -1 and bad when there is none */
size_t msg_fds(const struct msg *); /* descriptors not yet taken */
bool msg_done(struct msg *);        /* everything taken, nothing bad */

/* Frames on a stream (blocking in a fiber). Answer 0; -1 with errno, EPROTO for a malformed frame, errno 0 at a clean
 * end. The stream's timeout and deadline hold. One fiber may send while another receives; two that send take turns
 * themselves. */
int msg_send(struct stream *, struct msg *, uint32_t id);
int msg_recv(struct stream *, struct msg **out);     /* with descriptors; a unix stream socket */
int msg_recv_any(struct stream *, struct msg **out); /* MSG_BYE is not swallowed here */
/* Waits until there is something to receive, and reads nothing of it: no descriptor is open here before msg_recv. */
int msg_wait(struct stream *);

/* Sending on a bare non-blocking socket. *sent: bytes that went out, also after an error. */
int msg_send_fd(int fd, struct msg *, uint32_t id, int64_t deadline, size_t *sent);

/* One frame a packet, at most MSG_PACKET_BYTES: SOCK_SEQPACKET. These never wait: EAGAIN. */
int msg_send_packet(int fd, struct msg *, uint32_t id);
int msg_recv_packet(int fd, struct msg **out);

/* Pure forms, for tests and fuzzing. */
void msg_encode(const struct msg *, uint32_t id, struct str *out);
int msg_decode(struct slice frame, struct msg **out); /* frame without its length word; -1: malformed */
#endif
