/*
 * qmgr - what the queue manager is told
 *
 * On public/qmgr (protocol "qmgr"): arrived {queue_id}, which has no answer: that file of incoming/ is complete
 * and durable. Or Postfix's triggers, one byte each and no greeting: D scan deferred, I scan incoming, A ignore time
 * stamps, F ignore what is known about dead sites, W the wake-up timer.
 *
 * Callers     cleanup (arrived); postqueue, postsuper, postfix flush (triggers)
 * Errors      none that matter: mail that nobody announced is found by the next scan of incoming/
 */
#ifndef CLIENT_QMGR_H
#define CLIENT_QMGR_H

#define QMGR_PROTOCOL "qmgr"
enum { QMGR_VERSION = 2 };
enum {
    QMGR_SCAN_DEFERRED = 'D',
    QMGR_SCAN_INCOMING = 'I',
    QMGR_SCAN_ALL = 'A',
    QMGR_FLUSH_DEAD = 'F',
    QMGR_WAKEUP = 'W'
};
#define QMGR_TRIGGER_FLUSH "FADI" /* what postqueue -f sends */

/* In a fiber. 0 when it was sent. */
int qmgr_arrived(const char *queue_id);
int qmgr_trigger(const char *bytes);
#endif
