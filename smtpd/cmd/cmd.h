/*
 * smtpd cmd - the commands, one family a file
 *
 * Callers     smtpd/command.c: its table names each once
 * Errors      0, or -1 after an error reply
 */
#ifndef SMTPD_CMD_H
#define SMTPD_CMD_H
#include "session.h"

int smtpd_cmd_helo(struct smtpd_session *, struct slice args);
int smtpd_cmd_ehlo(struct smtpd_session *, struct slice args);
int smtpd_cmd_starttls(struct smtpd_session *, struct slice args);
int smtpd_cmd_auth(struct smtpd_session *, struct slice args);
int smtpd_cmd_mail(struct smtpd_session *, struct slice args);
int smtpd_cmd_rcpt(struct smtpd_session *, struct slice args);
int smtpd_cmd_data(struct smtpd_session *, struct slice args);
int smtpd_cmd_bdat(struct smtpd_session *, struct slice args);
int smtpd_cmd_rset(struct smtpd_session *, struct slice args);
int smtpd_cmd_noop(struct smtpd_session *, struct slice args);
int smtpd_cmd_vrfy(struct smtpd_session *, struct slice args);
int smtpd_cmd_quit(struct smtpd_session *, struct slice args);
#endif
