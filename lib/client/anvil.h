/*
 * anvil - count what clients do
 *
 * Callers     smtpd, login, postscreen
 * Invariants  a connection counted by ANVIL_CONNECT is taken back by ANVIL_DISCONNECT, or by the end of the process
 *             that counted it
 * Errors      false: anvil cannot say; the caller goes on as if the client were within its limits: this service never
 *             stops mail
 */
#ifndef CLIENT_ANVIL_H
#define CLIENT_ANVIL_H
#include <stdbool.h>
#include <stdint.h>

enum anvil_event {
    ANVIL_CONNECT,
    ANVIL_DISCONNECT,
    ANVIL_MESSAGE,
    ANVIL_RECIPIENT,
    ANVIL_NEW_TLS,
    ANVIL_AUTH,
    ANVIL_EVENTS
};
struct anvil_counts {
    int64_t connections; /* open now */
    int64_t rate;        /* events of this kind within anvil_rate_time_unit */
};
/* service: "smtp"; client: a numeric address. */
bool anvil_count(enum anvil_event, const char *service, const char *client, struct anvil_counts *out);
#endif
