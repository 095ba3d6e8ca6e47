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
#define DISPATCHER_W_ENDED       "ended"   /* the user's process to dispatcher: {session} */
#define DISPATCHER_W_OK          "ok"      /* answers to login: {pid, reason} */
#define DISPATCHER_W_LIMIT       "limit"
#define DISPATCHER_W_DENIED      "denied"
#define DISPATCHER_W_UNAVAILABLE "unavailable"
const char *dispatcher_answer_name(enum dispatcher_answer);
#endif
