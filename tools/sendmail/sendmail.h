/*
 * sendmail - one message of the command line
 *
 * Callers     tools/sendmail/sendmail.c fills it, tools/sendmail/submit.c sends it
 */
#ifndef TOOLS_SENDMAIL_H
#define TOOLS_SENDMAIL_H
#include "base/mem.h"
#include "queue/record.h"
#include <strings.h>

struct submission {
    const char *sender;    /* -f as given; NULL: the user */
    const char *full_name; /* -F; NULL: $NAME or the password file */
    const char *encoding;  /* "7bit", "8bit" or NULL */
    const char *envid, *verp, *alias_database, *fix_line_endings;
    const char *const *recipients; /* as given; ends with NULL */
    int notify, ret;               /* DSN_* */
    bool dot_is_text, from_headers, gateway;
    bool verify; /* -bv: no message is read, only the way is tried */
    bool report; /* -v: tell by mail how it went */
};
void submit(const struct submission *); /* ends the process when it cannot */
#endif
