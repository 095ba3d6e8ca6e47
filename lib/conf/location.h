/*
 * location - Dovecot's mail_location, as far as Maildir goes
 *
 * Callers     lib/client/authd.c (of each user), authd (the parameter, at start), lmtpd (has it an index elsewhere)
 * Invariants  what is not obeyed is an error that names it; paths are absolute, without a slash at the end
 * Ownership   texts live in the arena
 * Errors      -1 with *err for the log
 * Source      "maildir:PATH[:KEY=VALUE]...", "~" is the home, "::" a colon
 */
#ifndef CONF_LOCATION_H
#define CONF_LOCATION_H
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"

struct mail_location {
    const char *root;    /* LAYOUT=maildir++: the INBOX and, as .a.b, the others; LAYOUT=fs: the others are a/b */
    const char *inbox;   /* INBOX=; "": the root */
    const char *control; /* CONTROL=: uidlists, keywords, subscriptions; "": beside the mail */
    const char *index;   /* INDEX=; "": beside the mail */
    bool no_index;       /* INDEX=MEMORY */
    bool fs;             /* LAYOUT=fs */
};
/* home: "" when unknown; then "~" is an error. */
int mail_location_parse(const char *text, const char *home, struct arena *, struct mail_location *out, struct err *);
/* The options alone, of a text whose %variables are not expanded. */
int mail_location_check(const char *text, struct err *);
bool mail_location_index_elsewhere(const char *text);
#endif
