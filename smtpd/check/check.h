/*
 * smtpd check - may this client do this: the restrictions
 *
 * A restriction list is compiled once, before the jail, into items: a row of the table in table.c and its argument.
 * engine.c walks a list; each family of restrictions has a file.
 *
 * Callers     smtpd/ (the functions at the end), smtpd/check/ (the rest)
 * Invariants  an unknown restriction, a restriction whose table cannot be named and a list without relay control stop
 *             the start; at run time doubt is "451 4.3.0 <x>: Temporary lookup failure", never permission
 * Source      postfix.md section 5; the words are Postfix's
 */
#ifndef SMTPD_CHECK_H
#define SMTPD_CHECK_H
#include "session.h"

#include "client/rewrite.h"
#include "table/match.h"
#include "table/table.h"

enum smtpd_stage {
    SMTPD_STAGE_CLIENT,
    SMTPD_STAGE_HELO,
    SMTPD_STAGE_SENDER,
    SMTPD_STAGE_RELAY,
    SMTPD_STAGE_RECIPIENT,
    SMTPD_STAGE_DATA,
    SMTPD_STAGE_END_OF_DATA,
    SMTPD_STAGE_ETRN,
    SMTPD_STAGES,
};
enum smtpd_verdict { SMTPD_DUNNO, SMTPD_PERMIT, SMTPD_REJECT };
enum smtpd_argument { SMTPD_ARG_NONE, SMTPD_ARG_TABLE, SMTPD_ARG_SECONDS };

struct smtpd_item;
struct smtpd_list { /* a compiled parameter or restriction class */
    const char *name;
    size_t count;
    struct smtpd_item *items;
    bool busy; /* being compiled: a class that names itself */
};
struct smtpd_check { /* one evaluation */
    struct smtpd_session *s;
    enum smtpd_stage stage;
    const char *object; /* what the words name: <x> */
    const char *class;  /* "Recipient address" */
    bool warn;          /* warn_if_reject stands in front */
    unsigned depth;     /* lists inside lists */
    struct smtpd_defer defer_if_reject;
    bool sender_known, recipient_known; /* the unlisted checks were made */
    int64_t since_us;                   /* it began then */
    char reply[SMTPD_REPLY_BYTES];      /* of a REJECT */
    int code;
};
struct smtpd_restriction {
    const char *name;
    enum smtpd_argument argument;
    bool relay_control; /* in relay or recipient restrictions: keeps strangers out */
    enum smtpd_verdict (*run)(struct smtpd_check *, const struct smtpd_item *);
};
struct smtpd_item {
    const struct smtpd_restriction *restriction; /* NULL: a class */
    struct smtpd_list *list;
    struct maps *maps; /* SMTPD_ARG_TABLE */
    int64_t seconds;
};
extern const struct smtpd_restriction smtpd_restrictions[]; /* ends with name NULL */
const struct smtpd_restriction *smtpd_restriction_find(const char *name);
const struct smtpd_restriction *smtpd_restriction_of_stage(enum smtpd_stage); /* what "type:table" alone means */

/* compile.c */
void smtpd_compile_all(void); /* fatal when a parameter is wrong */
const struct smtpd_list *smtpd_compiled(enum smtpd_stage);
const struct smtpd_list *smtpd_compiled_class(enum smtpd_stage, const char *name); /* for access tables; NULL */
struct smtpd_compile_error {
    char text[256];
};
struct smtpd_list *smtpd_compile(const char *parameter, const char *text, enum smtpd_stage,
                                 struct smtpd_compile_error *); /* NULL after filling the error */
void smtpd_list_free(struct smtpd_list **);

/* engine.c */
enum smtpd_verdict smtpd_run_list(struct smtpd_check *, const struct smtpd_list *);
/* The verdict, with its log line; text: without code and status. Code and status agree in class afterwards. */
enum smtpd_verdict smtpd_refuse(struct smtpd_check *, int code, const char *dsn, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
enum smtpd_verdict smtpd_refuse_retry(struct smtpd_check *, const char *object); /* Temporary lookup failure */
enum smtpd_verdict smtpd_defer_if_permit(struct smtpd_check *, int code, const char *dsn, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
enum smtpd_verdict smtpd_defer_if_reject(struct smtpd_check *, int code, const char *dsn, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* A word of an access table or a policy: what it does. */
enum smtpd_verdict smtpd_access_action(struct smtpd_check *, const char *table, const char *key, const char *value,
                                       const char *object, const char *class);

/* unlisted.c */
enum smtpd_verdict smtpd_unlisted_recipient(struct smtpd_check *);
enum smtpd_verdict smtpd_unlisted_sender(struct smtpd_check *);
void smtpd_unlisted_pre_jail(void);
void smtpd_generic_pre_jail(void);

#define SMTPD_RUN(name) enum smtpd_verdict smtpd_check_##name(struct smtpd_check *, const struct smtpd_item *)
SMTPD_RUN(permit);
SMTPD_RUN(reject);
SMTPD_RUN(defer);
SMTPD_RUN(defer_if_permit);
SMTPD_RUN(defer_if_reject);
SMTPD_RUN(warn_if_reject);
SMTPD_RUN(sleep);
SMTPD_RUN(permit_inet_interfaces);
SMTPD_RUN(permit_mynetworks);
SMTPD_RUN(permit_sasl_authenticated);
SMTPD_RUN(permit_tls_all_clientcerts);
SMTPD_RUN(reject_plaintext_session);
SMTPD_RUN(reject_unauth_pipelining);
SMTPD_RUN(reject_multi_recipient_bounce);
SMTPD_RUN(reject_unknown_client_hostname);
SMTPD_RUN(reject_unknown_reverse_client_hostname);
SMTPD_RUN(check_client_access);
SMTPD_RUN(check_reverse_client_hostname_access);
SMTPD_RUN(check_helo_access);
SMTPD_RUN(check_sender_access);
SMTPD_RUN(check_recipient_access);
SMTPD_RUN(check_sasl_access);
SMTPD_RUN(reject_invalid_helo_hostname);
SMTPD_RUN(reject_non_fqdn_helo_hostname);
SMTPD_RUN(reject_unknown_helo_hostname);
SMTPD_RUN(reject_non_fqdn_sender);
SMTPD_RUN(reject_unknown_sender_domain);
SMTPD_RUN(reject_unlisted_sender);
SMTPD_RUN(reject_sender_login_mismatch);
SMTPD_RUN(reject_authenticated_sender_login_mismatch);
SMTPD_RUN(reject_known_sender_login_mismatch);
SMTPD_RUN(reject_unauthenticated_sender_login_mismatch);
SMTPD_RUN(reject_non_fqdn_recipient);
SMTPD_RUN(reject_unknown_recipient_domain);
SMTPD_RUN(reject_unlisted_recipient);
SMTPD_RUN(permit_auth_destination);
SMTPD_RUN(reject_unauth_destination);
SMTPD_RUN(defer_unauth_destination);
#undef SMTPD_RUN
void smtpd_login_pre_jail(void);

/* For the commands: NULL, or the reply that refuses, valid until the next check. Logged. */
void smtpd_check_pre_jail(void); /* fatal when a restriction cannot be honoured */
const char *smtpd_check_client(struct smtpd_session *);
const char *smtpd_check_helo(struct smtpd_session *, const char *name);
const char *smtpd_check_mail(struct smtpd_session *, const char *sender);
const char *smtpd_check_rcpt(struct smtpd_session *, const char *recipient);
const char *smtpd_check_data(struct smtpd_session *);
const char *smtpd_check_end_of_data(struct smtpd_session *);
/* message_size_limit and queue_minfree; size 0 where the client said nothing. 0, or -1 with the reply. */
int smtpd_check_size(uint64_t size, struct err *);
#endif
