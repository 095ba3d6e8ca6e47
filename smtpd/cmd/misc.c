/*
 * smtpd cmd misc - RSET NOOP VRFY QUIT
 *
 * Callers     smtpd/command.c
 * Source      RFC 5321 4.1.1.5 to 4.1.1.10
 */
#include "check/check.h"
#include "cmd/cmd.h"
#include "params.h"

#include "proto/addr/addr.h"

int smtpd_cmd_rset(struct smtpd_session *s, struct slice args)
{
    if (args.len) {
        smtpd_reply(s, "501 5.5.4 Syntax: RSET");
        return -1;
    }
    smtpd_session_reset_mail(s);
    smtpd_reply(s, "250 2.0.0 Ok");
    return 0;
}

int smtpd_cmd_noop(struct smtpd_session *s, struct slice args)
{
    (void) args;
    smtpd_reply(s, "250 2.0.0 Ok");
    return 0;
}

int smtpd_cmd_vrfy(struct smtpd_session *s, struct slice args)
{
    const char *denied;
    struct str address;
    size_t used;
    int answer = -1;

    if (smtpd_disable_vrfy_command) {
        smtpd_reply(s, "502 5.5.1 VRFY command is disabled");
        return -1;
    }
    if (args.len == 0) {
        smtpd_reply(s, "501 5.5.4 Syntax: VRFY address");
        return -1;
    }
    str_init(&address, ADDR_BYTES);
    if (addr_path_parse(args, 0, &address, &used) || address.len == 0) {
        smtpd_reply(s, "501 5.1.3 Bad recipient address syntax");
    } else if ((denied = smtpd_check_rcpt(s, address.p)) != NULL) {
        smtpd_reply(s, "%s", denied);
    } else {
        smtpd_reply(s, "252 2.0.0 %s", address.p);
        answer = 0;
    }
    s->recipient = NULL;
    str_free(&address);
    return answer;
}

int smtpd_cmd_quit(struct smtpd_session *s, struct slice args)
{
    (void) args;
    smtpd_reply(s, "221 2.0.0 Bye");
    s->closing = true;
    return 0;
}
