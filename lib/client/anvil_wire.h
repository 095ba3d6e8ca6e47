/*
 * anvil_wire - the words between anvil and its callers
 *
 * Callers     master/anvil and lib/client/anvil.c, nobody else
 * Request     count {event, ident}; reply: ok {connections, rate}, unknown {}
 */
#ifndef CLIENT_ANVIL_WIRE_H
#define CLIENT_ANVIL_WIRE_H
#define ANVIL_PROTOCOL      "anvil"
#define ANVIL_REQUEST       "count"
#define ANVIL_V_EVENT       "event"
#define ANVIL_V_IDENT       "ident"
#define ANVIL_V_CONNECTIONS "connections"
#define ANVIL_V_RATE        "rate"
enum { ANVIL_PROTOCOL_VERSION = 1, ANVIL_IDENT_BYTES = 256 };
#endif
