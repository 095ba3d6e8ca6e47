/*
 * channel - what a daemon and master say to each other on the status channel
 *
 * SOCK_SEQPACKET, one frame of ipc/msg.h a packet, ids chosen by who asks.
 *   daemon to master
 *     ready   {exclusive, solitary, overlaps, sessions_max}
 *                                                  once, jailed and about to accept; sessions_max 0: no limit
 *     status  {sessions, taking, ending, uses}     whenever it matters; taking 0: master watches the listeners again;
 *                                                  ending 1: it takes none any more, and says each change at once
 *     connect {service}                            answered by granted + descriptor, or refused {errno}
 *     spawn   {program, directory, uid, gid} + fd  dispatcher, lmtpd, virtual; answered by spawned {pid} or refused {errno}
 *   master to daemon
 *     stop {}      end within seconds            reload {}    end when the sessions have ended
 *     wakeup {}    the wake-up timer             quota {sessions}   the process's share of an explicit maxproc
 *     spawn {directory, uid, gid} + fd           to a spawner; answered by spawned {pid} or refused {errno}
 *
 * Callers     lib/service (the daemon's end), master (the other)
 * Invariants  descriptor CHANNEL_FD in every daemon; listeners follow
 * Errors      end of file: master is gone, the daemon ends as by stop
 */
#ifndef SERVICE_CHANNEL_H
#define SERVICE_CHANNEL_H
#include "ipc/msg.h"
#include <sys/types.h>

enum { CHANNEL_FD = 3, CHANNEL_FIRST_LISTENER = 4, CHANNEL_PATH_BYTES = 1024, CHANNEL_NAME_BYTES = 256 };
#define CHANNEL_READY   "ready"
#define CHANNEL_STATUS  "status"
#define CHANNEL_CONNECT "connect"
#define CHANNEL_GRANTED "granted"
#define CHANNEL_REFUSED "refused"
#define CHANNEL_SPAWN   "spawn"
#define CHANNEL_SPAWNED "spawned"
#define CHANNEL_STOP    "stop"
#define CHANNEL_RELOAD  "reload"
#define CHANNEL_WAKEUP  "wakeup"
#define CHANNEL_QUOTA   "quota"
/* Values of an order to spawn, beside program, directory, hint, uid, gid: struct service_spawn's places. */
extern const char *const channel_place[];
#endif
