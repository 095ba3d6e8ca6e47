/*
 * keeper - words in the frames between dispatcher and the keepers of its sleeping sessions
 *
 * A connection is one keeper process. It says how many sessions it takes (ROOM), then gets them (HOLD); the id of a
 * HOLD frame is dispatcher's number for the session and comes back with its end.
 *
 * Callers     authd/dispatcher, authd/keeper
 * Ownership   a decoded frame's descriptors are the caller's
 */
#ifndef CLIENT_KEEPER_H
#define CLIENT_KEEPER_H
#include "client/dispatcher.h"

#define KEEPER_SERVICE  "private/keeper"
#define KEEPER_PROTOCOL "keeper"
enum { KEEPER_VERSION = 1, KEEPER_SESSIONS_MAX = 100000 };

#define KEEPER_W_ROOM  "room"  /* keeper: {sessions} */
#define KEEPER_W_HOLD  "hold"  /* dispatcher: the client, and struct dispatcher_sleep */
#define KEEPER_W_STOP  "stop"  /* dispatcher: all clients are to be told BYE */
#define KEEPER_W_WAKE  "wake"  /* keeper: the client, who is to be served again */
#define KEEPER_W_ENDED "ended" /* keeper: the client was told BYE */

struct msg *keeper_hold_encode(int client_fd, const struct dispatcher_sleep *how);
/* how->notify lives in *m. -1: what cannot be used; its descriptors are closed. */
int keeper_hold_decode(struct msg *m, int *client_fd, struct dispatcher_sleep *how);
#endif
