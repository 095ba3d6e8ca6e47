/*
 * smtpd command - the table of commands and what holds for all of them
 *
 * The order of the table is that of the counters in "disconnect from".
 *
 * Callers     session.c
 * Invariants  one row a command; a command runs only when the session's state allows it
 * Source      RFC 5321 4.1.1, 4.1.4; RFC 2920 3.1 (which commands end a group)
 */
#include "cmd/cmd.h"
#include "params.h"

#include "base/log.h"

#include <stdio.h>

const struct smtpd_command smtpd_commands[] = {
    { "HELO", SMTPD_JUNK | SMTPD_PLAIN | SMTPD_LAST, smtpd_cmd_helo },
    { "EHLO", SMTPD_JUNK | SMTPD_PLAIN | SMTPD_LAST, smtpd_cmd_ehlo },
    { "STARTTLS", SMTPD_PLAIN | SMTPD_LAST, smtpd_cmd_starttls },
    { "AUTH", SMTPD_LAST, smtpd_cmd_auth },
    { "MAIL", 0, smtpd_cmd_mail },
    { "RCPT", 0, smtpd_cmd_rcpt },
    { "DATA", SMTPD_LAST, smtpd_cmd_data },
    { "BDAT", 0, smtpd_cmd_bdat },
    { "RSET", SMTPD_JUNK, smtpd_cmd_rset },
    { "NOOP", SMTPD_JUNK | SMTPD_PLAIN | SMTPD_LAST, smtpd_cmd_noop },
    { "VRFY", SMTPD_JUNK | SMTPD_LAST, smtpd_cmd_vrfy },
    { "QUIT", SMTPD_PLAIN, smtpd_cmd_quit },
    { NULL, SMTPD_JUNK, NULL }, /* unknown */
};
enum { COMMANDS = sizeof smtpd_commands / sizeof *smtpd_commands, UNKNOWN = COMMANDS - 1, PIPELINED_BYTES = 100 };
_Static_assert((int) COMMANDS <= (int) SMTPD_COMMANDS_MAX, "the counters of a session are too few");

/* " name=good", and "/total" where it differs. By hand: each session's end says ten of them. */
static void count(struct str *out, const char *name, unsigned good, unsigned total, bool both)
{
    str_addc(out, ' ');
    for (; *name; name++)
        str_addc(out, ascii_lower(*name));
    str_addc(out, '=');
    str_addu(out, good);
    if (good != total || both) {
        str_addc(out, '/');
        str_addu(out, total);
    }
}

void smtpd_command_counts(const struct smtpd_session *s, struct str *out)
{
    unsigned total = 0, good = 0;

    for (size_t i = 0; i < COMMANDS; i++) {
        const struct smtpd_count *c = &s->counts[i];

        total += c->total;
        good += c->good;
        if (c->total > 0)
            count(out, smtpd_commands[i].verb ? smtpd_commands[i].verb : "unknown", c->good, c->total, false);
    }
    count(out, "commands", good, total, total == 0);
}

/* The first line that comes where the client had to wait for us. */
static bool sent_ahead(struct smtpd_session *s, const char *verb)
{
    const char *bytes;
    ssize_t n;

    if (s->alone || s->pipelining_logged || stream_buffered(s->stream) == 0)
        return false; /* what comes through a pipe is all there at once */
    n = stream_peek(s->stream, &bytes);
    if (n <= 0)
        return false;
    s->pipelining_logged = true;
    struct slice ahead = slice_make(bytes, n > PIPELINED_BYTES ? PIPELINED_BYTES : (size_t) n);
    struct str shown;
    str_init(&shown, STR_UNLIMITED);
    for (size_t i = 0; i < ahead.len; i++) {
        if (ahead.p[i] == '\r')
            str_adds(&shown, "\\r");
        else if (ahead.p[i] == '\n')
            str_adds(&shown, "\\n");
        else
            str_addc(&shown, ahead.p[i]);
    }
    log_info("improper command pipelining after %s from %s: %s", verb, s->peer.namaddr, shown.p);
    str_free(&shown);
    return true;
}

static bool junk_over(struct smtpd_session *s, const struct smtpd_command *c)
{
    return (c->flags & SMTPD_JUNK) && (int64_t) s->junk++ > smtpd_junk_command_limit;
}

static int run_unknown(struct smtpd_session *s, struct slice line, struct slice verb)
{
    if (smtpd_lists_forbidden(verb) || slice_find(verb, ':') > 0) { /* a header: somebody sends mail without SMTP */
        log_warn("non-SMTP command from %s: %.*s", s->peer.namaddr, (int) (line.len > 100 ? 100 : line.len), line.p);
        smtpd_reply(s, "221 2.7.0 Error: I can break rules, too. Goodbye.");
        s->closing = true;
        return -1;
    }
    smtpd_reply(s, "500 5.5.2 Error: command not recognized");
    return -1;
}

static int run_known(struct smtpd_session *s, const struct smtpd_command *c, struct slice args)
{
    if (!s->alone && smtpd_tls_level() == SMTPD_TLS_ENCRYPT && stream_tls(s->stream) == NULL &&
        !(c->flags & SMTPD_PLAIN)) {
        smtpd_reply(s, "530 5.7.0 Must issue a STARTTLS command first");
        return -1;
    }
    /* Without ESMTP no command may be sent ahead. */
    if (((c->flags & SMTPD_LAST) || !s->esmtp) && c->run != smtpd_cmd_quit && sent_ahead(s, c->verb) &&
        smtpd_forbid_unauth_pipelining) {
        smtpd_reply(s, "554 5.5.0 Error: SMTP protocol synchronization");
        s->closing = true;
        return -1;
    }
    return c->run(s, args);
}

void smtpd_command_run(struct smtpd_session *s, struct slice line)
{
    struct slice verb, args;
    size_t at = 0;
    int answer;

    smtp_command_split(line, &verb, &args);
    if (verb.len == 0) {
        smtpd_reply(s, "500 5.5.2 Error: bad syntax");
        s->errors++;
        return;
    }
    if (smtpd_lists_noop(verb)) {
        smtpd_reply(s, "250 2.0.0 Ok");
        if ((int64_t) s->junk++ > smtpd_junk_command_limit)
            s->errors++;
        return;
    }
    while (at < UNKNOWN && !slice_caseeq(verb, smtpd_commands[at].verb))
        at++;
    s->where = at == UNKNOWN ? "UNKNOWN" : smtpd_commands[at].verb;
    s->counts[at].total++;
    if (s->client_denied != NULL && smtpd_commands[at].run != smtpd_cmd_quit) {
        smtpd_reply(s, "503 5.7.0 Error: access denied for %s", s->peer.namaddr);
        answer = -1;
    } else if (at == UNKNOWN) {
        answer = run_unknown(s, line, verb);
    } else {
        answer = run_known(s, &smtpd_commands[at], args);
    }
    if (answer == 0)
        s->counts[at].good++;
    if (answer != 0 || junk_over(s, &smtpd_commands[at]))
        s->errors++;
}
