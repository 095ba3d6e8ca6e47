/* check_test - restriction lists: what they decide and say; no other daemon is there, so what needs one must defer */
#include "check/check.h"
#include "params.h"

#include "client/cleanup.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum peer { STRANGER, FRIEND };
/* Recipient restrictions; the sender is s@send.example, HELO is "client", unless the row says otherwise. */
static const struct {
    const char *list;
    enum peer peer;
    const char *user, *sender, *recipient, *helo;
    enum smtpd_verdict verdict;
    const char *reply;
} cases[] = {
    { "", STRANGER, NULL, "s@x.example", "r@y.example", "c", SMTPD_DUNNO, "" },
    { "permit, reject", STRANGER, NULL, "s@x.example", "r@y.example", "c", SMTPD_PERMIT, "" },
    { "reject, permit", STRANGER, NULL, "s@x.example", "r@y.example", "c", SMTPD_REJECT,
      "554 5.7.1 <r@y.example>: Recipient address rejected: Access denied" },
    { "defer", STRANGER, NULL, "s@x.example", "r@y.example", "c", SMTPD_REJECT,
      "450 4.3.2 <r@y.example>: Recipient address rejected: Try again later" },
    { "permit_mynetworks, reject", FRIEND, NULL, "s@x.example", "r@y.example", "c", SMTPD_PERMIT, "" },
    { "permit_mynetworks, permit_sasl_authenticated, reject", STRANGER, NULL, "s@x.example", "r@y.example", "c",
      SMTPD_REJECT, "554 5.7.1 <r@y.example>: Recipient address rejected: Access denied" },
    { "permit_mynetworks permit_sasl_authenticated reject", STRANGER, "joe", "s@x.example", "r@y.example", "c",
      SMTPD_PERMIT, "" },
    { "warn_if_reject reject, permit", STRANGER, NULL, "s@x.example", "r@y.example", "c", SMTPD_PERMIT, "" },
    { "warn_if_reject strict, permit", STRANGER, NULL, "s", "r@y.example", "c", SMTPD_PERMIT, "" },
    { "warn_if_reject strict, reject", STRANGER, NULL, "s", "r@y.example", "c", SMTPD_REJECT,
      "554 5.7.1 <r@y.example>: Recipient address rejected: Access denied" },
    { "warn_if_reject permit_mynetworks, reject", STRANGER, NULL, "s@x.example", "r@y.example", "c", SMTPD_REJECT,
      "554 5.7.1 <r@y.example>: Recipient address rejected: Access denied" },
    { "defer_if_reject, reject", STRANGER, NULL, "s@x.example", "r@y.example", "c", SMTPD_REJECT,
      "450 4.7.0 <r@y.example>: Recipient address rejected: defer_if_reject requested" },
    /* Who may relay cannot be found out without rewrite: nobody may. */
    { "reject_unauth_destination", STRANGER, NULL, "s@x.example", "r@y.example", "c", SMTPD_REJECT,
      "451 4.3.0 <r@y.example>: Temporary lookup failure" },
    { "warn_if_reject reject_unauth_destination, permit", STRANGER, NULL, "s@x.example", "r@y.example", "c",
      SMTPD_REJECT, "451 4.3.0 <r@y.example>: Temporary lookup failure" },
    { "permit_auth_destination", STRANGER, NULL, "s@x.example", "r@y.example", "c", SMTPD_REJECT,
      "451 4.3.0 <r@y.example>: Temporary lookup failure" },
    { "reject_unlisted_recipient", STRANGER, NULL, "s@x.example", "r@y.example", "c", SMTPD_REJECT,
      "451 4.3.0 <r@y.example>: Temporary lookup failure" },
    /* names */
    { "reject_non_fqdn_recipient", STRANGER, NULL, "s@x.example", "r@y", "c", SMTPD_REJECT,
      "504 5.5.2 <r@y>: Recipient address rejected: need fully-qualified address" },
    { "reject_non_fqdn_recipient", STRANGER, NULL, "s@x.example", "Postmaster", "c", SMTPD_DUNNO, "" },
    { "reject_non_fqdn_recipient", STRANGER, NULL, "s@x.example", "r@[192.0.2.1]", "c", SMTPD_DUNNO, "" },
    { "reject_non_fqdn_sender", STRANGER, NULL, "s", "r@y.example", "c", SMTPD_REJECT,
      "504 5.5.2 <s>: Sender address rejected: need fully-qualified address" },
    { "reject_non_fqdn_sender", STRANGER, NULL, "", "r@y.example", "c", SMTPD_DUNNO, "" },
    { "reject_non_fqdn_helo_hostname", STRANGER, NULL, "", "r@y.example", "c", SMTPD_REJECT,
      "504 5.5.2 <c>: Helo command rejected: need fully-qualified hostname" },
    { "reject_non_fqdn_helo_hostname", STRANGER, NULL, "", "r@y.example", "[IPv6:::1]", SMTPD_DUNNO, "" },
    { "reject_invalid_helo_hostname", STRANGER, NULL, "", "r@y.example", "a..b", SMTPD_REJECT,
      "501 5.5.2 <a..b>: Helo command rejected: Invalid name" },
    { "reject_invalid_helo_hostname", STRANGER, NULL, "", "r@y.example", "c", SMTPD_DUNNO, "" },
    { "reject_unknown_client_hostname", STRANGER, NULL, "", "r@y.example", "c", SMTPD_REJECT,
      "450 4.7.25 Client host rejected: cannot find your hostname, [203.0.113.9]" },
    { "reject_unknown_client_hostname", FRIEND, NULL, "", "r@y.example", "c", SMTPD_DUNNO, "" },
    { "reject_plaintext_session", STRANGER, NULL, "", "r@y.example", "c", SMTPD_REJECT,
      "450 4.7.1 Session encryption is required" },
    { "reject_multi_recipient_bounce", STRANGER, NULL, "", "r@y.example", "c", SMTPD_DUNNO, "" },
    /* tables and their actions */
    { "check_recipient_access inline:{r@y.example=OK}, reject", STRANGER, NULL, "", "r@y.example", "c", SMTPD_PERMIT,
      "" },
    { "inline:{y.example=REJECT}", STRANGER, NULL, "", "R@Y.example", "c", SMTPD_REJECT,
      "554 5.7.1 <R@Y.example>: Recipient address rejected: Access denied" },
    { "check_recipient_access inline:{{r@=550 5.1.1 gone}}", STRANGER, NULL, "", "r@y.example", "c", SMTPD_REJECT,
      "550 5.1.1 <r@y.example>: Recipient address rejected: gone" },
    { "check_recipient_access inline:{{y.example=450 later}}", STRANGER, NULL, "", "r@y.example", "c", SMTPD_REJECT,
      "450 4.7.1 <r@y.example>: Recipient address rejected: later" },
    { "check_recipient_access inline:{{y.example=DUNNO}} permit", STRANGER, NULL, "", "r@y.example", "c",
      SMTPD_PERMIT, "" },
    { "check_recipient_access inline:{{y.example=12345}} reject", STRANGER, NULL, "", "r@y.example", "c",
      SMTPD_PERMIT, "" },
    { "check_sender_access inline:{{<>=REJECT no bounces}}", STRANGER, NULL, "", "r@y.example", "c", SMTPD_REJECT,
      "554 5.7.1 <>: Sender address rejected: no bounces" },
    { "check_sender_access inline:{{x.example=REJECT 5.1.1 gone}}", STRANGER, NULL, "s@x.example", "r@y.example", "c",
      SMTPD_REJECT, "554 5.1.8 <s@x.example>: Sender address rejected: gone" },
    { "check_client_access inline:{{203.0.113=REJECT}}", STRANGER, NULL, "", "r@y.example", "c", SMTPD_REJECT,
      "554 5.7.1 <unknown[203.0.113.9]>: Client host rejected: Access denied" },
    { "check_client_access inline:{{friend.example=OK}}, reject", FRIEND, NULL, "", "r@y.example", "c", SMTPD_PERMIT,
      "" },
    { "check_helo_access inline:{{c=DEFER}}", STRANGER, NULL, "", "r@y.example", "c", SMTPD_REJECT,
      "450 4.7.1 <c>: Helo command rejected: Access denied" },
    { "check_recipient_access inline:{{y.example=permit_mynetworks, reject}}", STRANGER, NULL, "", "r@y.example", "c",
      SMTPD_REJECT, "554 5.7.1 <r@y.example>: Recipient address rejected: Access denied" },
    { "check_recipient_access inline:{{y.example=greedy}}", STRANGER, NULL, "", "r@y.example", "c", SMTPD_REJECT,
      "554 5.7.1 <r@y.example>: Recipient address rejected: Access denied" },
    { "check_recipient_access inline:{{y.example=nonsense}}", STRANGER, NULL, "", "r@y.example", "c", SMTPD_REJECT,
      "451 4.3.5 Server configuration error" },
    { "check_recipient_access inline:{{y.example=FILTER nothing}}", STRANGER, NULL, "", "r@y.example", "c",
      SMTPD_REJECT, "451 4.3.5 Server configuration error" },
    { "check_recipient_access fail:x, permit", STRANGER, NULL, "", "r@y.example", "c", SMTPD_REJECT,
      "451 4.3.0 <r@y.example>: Temporary lookup failure" },
    { "greedy", FRIEND, NULL, "", "r@y.example", "c", SMTPD_PERMIT, "" },
    { "check_recipient_access inline:{{y.example=DISCARD}}, reject", STRANGER, NULL, "", "r@y.example", "c",
      SMTPD_PERMIT, "" },
};

static struct smtpd_session session(size_t i)
{
    struct smtpd_session s = { .where = "RCPT", .helo = cases[i].helo, .protocol = "ESMTP", .esmtp = true };
    int ends[2];

    if (pipe(ends))
        abort();
    s.stream = stream_pair(ends[0], ends[1]);
    s.arena = arena_new();
    s.peer = cases[i].peer == FRIEND ? (struct smtpd_peer){ .family = AF_INET,
                                                            .address = "192.0.2.7",
                                                            .name = "friend.example",
                                                            .reverse_name = "friend.example",
                                                            .namaddr = "friend.example[192.0.2.7]",
                                                            .server_address = "192.0.2.1" }
                                     : (struct smtpd_peer){ .family = AF_INET,
                                                            .address = "203.0.113.9",
                                                            .name = "unknown",
                                                            .reverse_name = "unknown",
                                                            .namaddr = "unknown[203.0.113.9]",
                                                            .name_status = SMTPD_NAME_PERM,
                                                            .reverse_status = SMTPD_NAME_PERM,
                                                            .server_address = "192.0.2.1" };
    s.sasl_user = cases[i].user;
    s.recipient = cases[i].recipient;
    s.mail.active = true;
    s.mail.sender = cases[i].sender;
    return s;
}

static void run(size_t i)
{
    struct smtpd_compile_error e = { "" };
    struct smtpd_list *list = smtpd_compile("smtpd_recipient_restrictions", cases[i].list, SMTPD_STAGE_RECIPIENT, &e);
    struct smtpd_session s = session(i);
    struct smtpd_check c = {
        .s = &s, .stage = SMTPD_STAGE_RECIPIENT, .object = s.recipient, .class = "Recipient address"
    };
    enum smtpd_verdict v;

    if (list == NULL)
        fprintf(stderr, "%s: %s\n", cases[i].list, e.text);
    assert(list != NULL);
    v = smtpd_run_list(&c, list);
    if (v != cases[i].verdict || (v == SMTPD_REJECT && strcmp(c.reply, cases[i].reply) != 0))
        fprintf(stderr, "%s: verdict %d %s\n", cases[i].list, (int) v, c.reply);
    assert(v == cases[i].verdict);
    if (v == SMTPD_REJECT)
        assert(strcmp(c.reply, cases[i].reply) == 0);
    smtpd_list_free(&list);
    stream_free(&s.stream);
    arena_free(&s.arena);
}

static void test_broken(void)
{
    static const struct {
        const char *list, *error;
    } broken[] = {
        { "permit, reject_unknown_nonsense",
          "parameter smtpd_recipient_restrictions: unknown smtpd restriction: \"reject_unknown_nonsense\"" },
        { "check_client_access",
          "parameter smtpd_recipient_restrictions: restriction check_client_access needs an argument" },
        { "check_client_access permit",
          "parameter smtpd_recipient_restrictions: restriction check_client_access: bad "
          "argument \"permit\": need maptype:mapname" },
        { "sleep x", "parameter smtpd_recipient_restrictions: restriction sleep must be followed by number" },
        { "check_policy_service unix:x",
          "parameter smtpd_recipient_restrictions: unknown smtpd restriction: \"check_policy_service\"" },
    };

    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        struct smtpd_compile_error e = { "" };

        assert(smtpd_compile("smtpd_recipient_restrictions", broken[i].list, SMTPD_STAGE_RECIPIENT, &e) == NULL);
        if (strcmp(e.text, broken[i].error) != 0)
            fprintf(stderr, "%s\n", e.text);
        assert(strcmp(e.text, broken[i].error) == 0);
    }
}

static void test_defer_if_permit(void)
{
    struct smtpd_compile_error e;
    struct smtpd_list *list;
    struct smtpd_session s = session(0);
    struct smtpd_check c = {
        .s = &s, .stage = SMTPD_STAGE_RECIPIENT, .object = "r@y.example", .class = "Recipient address"
    };

    list = smtpd_compile("x", "defer_if_permit, permit", SMTPD_STAGE_RECIPIENT, &e);
    assert(smtpd_run_list(&c, list) == SMTPD_PERMIT);
    smtpd_list_free(&list);
    assert(s.defer_if_permit.active);
    assert(strcmp(s.defer_if_permit.text,
                  "450 4.7.0 <r@y.example>: Recipient address rejected: defer_if_permit requested") == 0);
    stream_free(&s.stream);
    arena_free(&s.arena);
}

static void test_actions(void)
{
    struct smtpd_compile_error e;
    struct smtpd_list *made;
    struct smtpd_session s = session(0);
    struct smtpd_check c = {
        .s = &s, .stage = SMTPD_STAGE_RECIPIENT, .object = "r@y.example", .class = "Recipient address"
    };
    const char *list = "check_recipient_access inline:{{y.example=HOLD why}}, "
                       "check_recipient_access inline:{{y.example=FILTER smtp:[127.0.0.1]:10025}}, "
                       "check_recipient_access inline:{{y.example=REDIRECT a@b.example}}, "
                       "check_recipient_access inline:{{y.example=BCC c@d.example}}, "
                       "warn_if_reject check_recipient_access inline:{{y.example=BCC never@d.example}}, "
                       "check_recipient_access inline:{{y.example=PREPEND X-Seen: yes}}";

    s.mail.arena = arena_new();
    made = smtpd_compile("x", list, SMTPD_STAGE_RECIPIENT, &e);
    assert(smtpd_run_list(&c, made) == SMTPD_DUNNO);
    smtpd_list_free(&made);
    assert(s.mail.actions.flags == CLEANUP_HOLD);
    assert(strcmp(s.mail.actions.filter, "smtp:[127.0.0.1]:10025") == 0);
    assert(strcmp(s.mail.actions.redirect, "a@b.example") == 0);
    assert(s.mail.actions.bcc_count == 1 && strcmp(s.mail.actions.bcc[0], "c@d.example") == 0);
    assert(s.mail.actions.prepend_count == 1 && strcmp(s.mail.actions.prepend[0], "X-Seen: yes") == 0);
    stream_free(&s.stream);
    arena_free(&s.mail.arena);
    arena_free(&s.arena);
}

static int nobody(const char *service_path, int64_t deadline)
{
    (void) service_path;
    (void) deadline;
    return -1;
}

static void all(void *arg)
{
    (void) arg;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        run(i);
    test_broken();
    test_defer_if_permit();
    test_actions();
    event_stop();
}

int main(void)
{
    char dir[] = "/tmp/check_test.XXXXXX", path[64];
    const struct param *tables[] = { conf_global_params, smtpd_params, NULL };
    FILE *f;

    assert(mkdtemp(dir) != NULL);
    snprintf(path, sizeof path, "%s/main.cf", dir);
    f = fopen(path, "w");
    assert(f != NULL);
    fprintf(f,
            "compatibility_level = 3.6\nqueue_directory = %s\nmynetworks = 192.0.2.0/24\n"
            "smtpd_restriction_classes = greedy, strict\ngreedy = permit_mynetworks, reject\n"
            "strict = reject_non_fqdn_sender, reject\n",
            dir);
    fclose(f);
    assert(conf_open(dir) == 0 && conf_load(tables) == 0);
    unlink(path);
    rmdir(dir);
    ipc_set_connector(nobody);
    smtpd_check_pre_jail();
    event_run(all, NULL);
}
