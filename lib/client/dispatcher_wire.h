/*
 * dispatcher_wire - words in the frames between login, dispatcher and users' processes
 *
 * Callers     lib/client/dispatcher.c, authd/dispatcher
 */
#ifndef CLIENT_DISPATCHER_WIRE_H
#define CLIENT_DISPATCHER_WIRE_H
#include "client/dispatcher.h"

enum { DISPATCHER_PATH_BYTES = 4096 };
#define DISPATCHER_W_SESSION     "session" /* login to dispatcher, and dispatcher to the user's process */
#define DISPATCHER_W_STOP        "stop"    /* dispatcher to the user's process: the mail system stops */
#define DISPATCHER_W_TAKEN       "taken"   /* the user's process to dispatcher: {session} */
#define DISPATCHER_W_ENDED       "ended"   /* the user's process to dispatcher: {session} */
#define DISPATCHER_W_SLEEP       "sleep" /* the user's process to dispatcher: the session, and struct dispatcher_sleep */
#define DISPATCHER_W_OK          "ok"    /* answers to login: {pid, reason} */
#define DISPATCHER_W_LIMIT       "limit"
#define DISPATCHER_W_DENIED      "denied"
#define DISPATCHER_W_UNAVAILABLE "unavailable"
const char *dispatcher_answer_name(enum dispatcher_answer);
enum { DISPATCHER_NOTIFY_BYTES = 256, DISPATCHER_SLEEP_MS_MAX = 24 * 3600 * 1000 };
void dispatcher_sleep_encode(struct msg *, const struct dispatcher_sleep *);
/* notify lives in *m; the descriptors are the caller's. -1: closed what there was. */
int dispatcher_sleep_decode(struct msg *m, struct dispatcher_sleep *out);
#endif
