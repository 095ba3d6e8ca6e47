/*
 * permissions - "postfix set-permissions": owners and modes as they must be
 *
 * Callers     tools/postfix/postfix.c
 * Invariants  a directory that is missing is made; what somebody else put into the queue stays his
 *             no path below a directory of mail_owner's is followed by name: he may change it while we look
 * Errors      -1 after logging; the rest is done all the same
 * Privilege   root
 */
#ifndef TOOLS_POSTFIX_PERMISSIONS_H
#define TOOLS_POSTFIX_PERMISSIONS_H
int postfix_set_permissions(void);
#endif
