/*
 * tlsmgr_wire - the words between tlsmgr and its callers
 *
 * Callers     master/tlsmgr and lib/client/tlsmgr.c, nobody else
 * Request     keys {}; reply: ok {keys, refresh}: TLS_TICKET_KEY_BYTES a key, newest first; seconds until they should
 *             be asked again
 */
#ifndef CLIENT_TLSMGR_WIRE_H
#define CLIENT_TLSMGR_WIRE_H
#define TLSMGR_PROTOCOL  "tlsmgr"
#define TLSMGR_REQUEST   "keys"
#define TLSMGR_V_KEYS    "keys"
#define TLSMGR_V_REFRESH "refresh"
enum { TLSMGR_PROTOCOL_VERSION = 1, TLSMGR_KEYS = 2 };
#endif
