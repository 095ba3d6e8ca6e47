/*
 * link - doveadm's conversation with authd, or with a Dovecot's auth service
 *
 * Callers     tools/doveadm/user.c, tools/doveadm/auth.c
 * Invariants  one question at a time, by blocking reads; passwords are wiped
 * Errors      -1, with words that name what failed in *why
 * Source      Dovecot's auth-protocol.txt
 */
#ifndef TOOLS_DOVEADM_LINK_H
#define TOOLS_DOVEADM_LINK_H
#include "base/err.h"
#include "base/mem.h"
#include "proto/sasl/dovecot_auth.h"
#include <stdio.h>

enum { LINK_INFO_MAX = 64 };
struct link {
    FILE *in;
    int fd;
    char *text;
    size_t room;
    char cookie[64];
    struct dovecot_auth_line line; /* the last one read */
};
/* Words of -x: "service=imap", "rip=192.0.2.1", as they are. */
struct link_info {
    const char *word[LINK_INFO_MAX];
    size_t count;
};
/* path NULL: private/NAME in the queue directory. Reads main.cf; ends the command with 78 when it cannot. */
const char *link_path(const char *path, const char *name, struct arena *);
int link_open_master(struct link *, const char *path, struct err *why);
int link_open_client(struct link *, const char *path, struct err *why);
void link_close(struct link *);
int link_read(struct link *); /* -1: it has ended */
/* Begins a line with command and id 1, and the words of -x; "service=doveadm" where they name none. */
void link_begin(struct str *line, const char *command, const char *user, const struct link_info *);
int link_send(struct link *, struct str *line);
#endif
