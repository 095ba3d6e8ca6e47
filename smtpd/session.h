/*
 * smtpd session - one SMTP conversation and the message it is about
 *
 *
 * Callers     the files of smtpd/
 * Invariants  one fiber owns a session; nothing in it is shared with another
 * Ownership   `arena` lives as long as the connection, `mail.arena` as long as the transaction
 * Units       bytes
 */
#ifndef SMTPD_SESSION_H
#define SMTPD_SESSION_H
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "io/stream.h"
#include "proto/smtp/command.h"
#include "service/service.h"

#include <netinet/in.h>

enum {
    SMTPD_REPLY_BYTES = 2048,
    SMTPD_TEXT_BYTES = 1000, /* of one action of an access table that is kept: PREPEND, FILTER, ... */
    SMTPD_ACTIONS_MAX = 100, /* such actions a message */
    SMTPD_DROP_ID_BYTES = 64,
    SMTPD_HELO_BYTES = 512, /* what exceeds it is cut off */
    SMTPD_IPC_MS = 3600 * 1000,
};

/* How a name was found out; the order is that of trust. */
enum smtpd_name_status { SMTPD_NAME_OK, SMTPD_NAME_FORGED, SMTPD_NAME_TEMP, SMTPD_NAME_PERM };
struct smtpd_peer {
    int family;              /* AF_INET, AF_INET6, AF_UNSPEC without a network */
    const char *address;     /* "192.0.2.1", "2001:db8::1", "unknown" */
    const char *rfc_address; /* the same with "IPv6:" where it needs it */
    const char *port;
    const char *name;         /* verified, else "unknown" */
    const char *reverse_name; /* not verified */
    enum smtpd_name_status name_status, reverse_status;
    const char *namaddr; /* "name[address]" for the log */
    const char *server_address, *server_port;
};

/* One line of the command table: how often, how often well. */
enum { SMTPD_COMMANDS_MAX = 24 };
struct smtpd_count {
    unsigned total, good;
};

/* What access tables said of the message. */
struct smtpd_actions {
    unsigned flags;       /* enum cleanup_flag: HOLD, DISCARD */
    const char *filter;   /* NULL, or transport:nexthop */
    const char *redirect; /* NULL, or an address */
    size_t bcc_count, prepend_count;
    const char **bcc, **prepend; /* SMTPD_ACTIONS_MAX of each, made with the first; header lines */
};

enum smtpd_data_state { SMTPD_NO_DATA, SMTPD_BDAT_MORE, SMTPD_BDAT_FAILED };
struct smtpd_mail {
    struct arena *arena;
    bool active;        /* MAIL was accepted */
    const char *sender; /* internal form, "" for <> */
    unsigned rcpt_count, rcpt_overshoot;
    const char *rcpt; /* the last one accepted */
    struct smtp_mail_params params;
    bool smtputf8;
    struct cleanup *cleanup;
    struct smtpd_drop *drop; /* instead of cleanup in "sendmail -bs" */
    const char *queue_id;
    char drop_id[SMTPD_DROP_ID_BYTES];
    struct smtpd_actions actions;
    enum smtpd_data_state data;
    struct smtpd_content *content;
    uint64_t size;
    int64_t arrival_us;
};

struct smtpd_defer { /* defer_if_permit, defer_if_reject: remembered until the list is decided */
    bool active;
    int code;
    const char *dsn, *text;
};

struct smtpd_session {
    struct stream *stream;
    struct arena *arena;
    struct smtpd_peer peer;
    bool alone;        /* "sendmail -bs": standard input, messages go through postdrop */
    const char *where; /* stage in log lines: CONNECT, EHLO, MAIL, RCPT, DATA, END-OF-MESSAGE */
    const char *helo;  /* NULL before HELO; else helo_name */
    char helo_name[SMTPD_HELO_BYTES];
    const char *protocol; /* "SMTP" or "ESMTP" */
    bool esmtp;
    unsigned hidden; /* EHLO features that are not announced (enum smtp_feature) */
    bool sasl_offered;
    const char *sasl_user, *sasl_method; /* NULL before AUTH */
    struct smtpd_count counts[SMTPD_COMMANDS_MAX];
    unsigned errors, junk;
    bool pipelining_logged;
    bool rate_exempt, counted; /* anvil */
    bool bare_lf_exempt;
    bool local_client;  /* header addresses are completed for it */
    bool closing;       /* the reply just sent was the last */
    const char *reason; /* how the session ended, when not by QUIT: "lost connection", "timeout", "too many errors" */
    const char *client_denied;          /* smtpd_delay_reject = no: the reply to everything but QUIT */
    char *denied;                       /* the reply of the last refusal: SMTPD_REPLY_BYTES, made with the first */
    struct smtpd_defer defer_if_permit; /* without smtpd_delay_reject kept from stage to stage */
    const char *recipient;              /* of the present RCPT, for checks and log */
    int64_t mail_us;                    /* when the last MAIL came, time_mono_us */
    const char *sender_log;
    struct smtpd_mail mail;
};

/* session.c */
void smtpd_session_serve(struct stream *, const struct service_peer *);
void smtpd_session_fail(struct smtpd_session *, const char *reason); /* ends it after this command */
void smtpd_session_reset_mail(struct smtpd_session *);
bool smtpd_session_sleep(int64_t seconds); /* false: cancelled */

/* reply.c */
void smtpd_reply(struct smtpd_session *, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void smtpd_reply_err(struct smtpd_session *, const struct err *); /* "code dsn text" */
void smtpd_reply_more(struct smtpd_session *, const char *fmt, ...) __attribute__((format(printf, 2, 3))); /* raw */
/* "QID: what: WHERE from NAMADDR: text; from=<> to=<> proto= helo=<>" */
void smtpd_log_action(struct smtpd_session *, const char *what, const char *text);
const char *smtpd_queue_id(const struct smtpd_session *); /* or "NOQUEUE" */

/* command.c */
enum smtpd_command_flag {
    SMTPD_JUNK = 1,   /* counts towards smtpd_junk_command_limit */
    SMTPD_PLAIN = 2,  /* allowed before a mandatory STARTTLS */
    SMTPD_LAST = 4,   /* the client must wait for the reply: RFC 2920 3.1 */
    SMTPD_HIDDEN = 8, /* not in the statistics of disconnect by its own name */
};
struct smtpd_command {
    const char *verb;
    unsigned flags;
    int (*run)(struct smtpd_session *, struct slice args); /* 0, or -1 after an error reply: counted */
};
extern const struct smtpd_command smtpd_commands[];
void smtpd_command_run(struct smtpd_session *, struct slice line);
void smtpd_command_counts(const struct smtpd_session *, struct str *out);

/* peer.c */
void smtpd_peer_init(struct smtpd_session *, const struct service_peer *);
void smtpd_peer_namaddr(struct smtpd_session *);

/* message.c: into cleanup. */
int smtpd_message_open(struct smtpd_session *); /* -1 after a reply */
void smtpd_message_rcpt(struct smtpd_session *, const char *address, const struct smtp_rcpt_params *);
void smtpd_message_begin(struct smtpd_session *); /* M and the headers of ours */
void smtpd_message_content(struct smtpd_session *, bool line_ends, struct slice);
void smtpd_message_cancel(struct smtpd_session *);
int smtpd_message_end(struct smtpd_session *, struct err *); /* X, E, and the answer of cleanup */

/* cmd/data.c */
struct smtpd_content;
void smtpd_content_free(struct smtpd_content **);

/* cmd/auth.c */
void smtpd_auth_pre_jail(void);
void smtpd_auth_post_jail(void);
/* "PLAIN LOGIN" that may be used in this session now; "" when there is none or AUTH is not offered. */
void smtpd_auth_mechs(struct smtpd_session *, struct str *out);
bool smtpd_auth_exempt(const struct smtpd_session *); /* smtpd_sasl_exceptions_networks */

/* tls.c */
enum smtpd_tls_level { SMTPD_TLS_NONE, SMTPD_TLS_MAY, SMTPD_TLS_ENCRYPT };
void smtpd_tls_pre_jail(void);
void smtpd_tls_post_jail(void);
enum smtpd_tls_level smtpd_tls_level(void);
bool smtpd_tls_available(void);
int smtpd_tls_start(struct smtpd_session *); /* the handshake; -1: the session is over */

/* rate.c: how often this client does what; answered by anvil. */
enum smtpd_rate { SMTPD_RATE_CONNECT, SMTPD_RATE_MAIL, SMTPD_RATE_RCPT, SMTPD_RATE_TLS, SMTPD_RATE_AUTH };
/* 0, or -1 after a reply: over the limit. */
int smtpd_rate_event(struct smtpd_session *, enum smtpd_rate);
void smtpd_rate_disconnect(struct smtpd_session *);

/* lists.c: tables and lists that are no restrictions, opened before the jail. */
void smtpd_lists_pre_jail(void);
unsigned smtpd_lists_ehlo_hidden(const char *address);
bool smtpd_lists_rate_exempt(const struct smtpd_peer *);
bool smtpd_lists_bare_lf_exempt(const struct smtpd_peer *);
bool smtpd_lists_local_client(const struct smtpd_peer *);
bool smtpd_lists_forbidden(struct slice verb);
bool smtpd_lists_noop(struct slice verb);

/* drop.c: "sendmail -bs": messages go through postdrop, as the calling user. */
struct smtpd_drop;
struct smtpd_drop *smtpd_drop_open(struct err *); /* NULL with *err */
void smtpd_drop_record(struct smtpd_drop *, int type, struct slice);
int smtpd_drop_end(struct smtpd_drop **, char *id, size_t bytes, struct err *); /* id: the name in maildrop/ */
void smtpd_drop_cancel(struct smtpd_drop **);

#endif
