/*
 * smtpd check access - what an entry of an access table does
 *
 * Callers     the check_*_access restrictions
 * Invariants  one row an action; what is no action is a restriction list, looked up in what was compiled at the start
 * Errors      an entry nobody can obey is "451 4.3.5 Server configuration error", never permission
 * Source      access(5)
 */
#include "check/check.h"
#include "params.h"

#include "base/log.h"
#include "client/cleanup.h"
#include "proto/smtp/reply.h"

#include <stdio.h>

struct entry {
    struct smtpd_check *c;
    const char *table, *key, *object, *class;
    struct slice text; /* behind the action's word */
};

static enum smtpd_verdict bad_entry(const struct entry *e, const char *why)
{
    log_warn("access table %s entry \"%s\" %s", e->table, e->key, why);
    return smtpd_refuse(e->c, 451, "4.3.5", "Server configuration error");
}

/* RFC 3463: a status about an address names the address it is about. */
static void fix_dsn(char dsn[SMTP_DSN_BYTES], const char *class)
{
    static const struct {
        const char *from, *sender;
    } address[] = { { ".1.1", ".1.8" }, { ".1.2", ".1.8" }, { ".1.3", ".1.7" },
                    { ".1.4", ".1.0" }, { ".1.5", ".1.0" }, { ".1.6", ".1.0" } };

    if (strncmp(dsn + 1, ".1.", 3) != 0 || strcmp(class, "Recipient address") == 0)
        return;
    if (strcmp(class, "Sender address") != 0) {
        snprintf(dsn + 1, SMTP_DSN_BYTES - 1, ".0.0");
        return;
    }
    for (size_t i = 0; i < sizeof address / sizeof *address; i++)
        if (strcmp(dsn + 1, address[i].from) == 0) {
            snprintf(dsn + 1, SMTP_DSN_BYTES - 1, "%s", address[i].sender);
            return;
        }
}

/* Takes "x.y.z " off the text. */
static void take_dsn(struct slice *text, const char *standard, char dsn[SMTP_DSN_BYTES], const char *class)
{
    size_t len = smtp_dsn_len(*text, 0);

    snprintf(dsn, SMTP_DSN_BYTES, "%s", standard);
    if (len && len < SMTP_DSN_BYTES) {
        memcpy(dsn, text->p, len);
        dsn[len] = 0;
        *text = slice_trim(slice_sub(*text, len, text->len));
    }
    fix_dsn(dsn, class);
}

static enum smtpd_verdict refuse(const struct entry *e, int code, const char *dsn_standard, const char *words)
{
    char dsn[SMTP_DSN_BYTES];
    struct slice text = e->text;

    take_dsn(&text, dsn_standard, dsn, e->class);
    if (text.len == 0)
        text = slice_of(words);
    return smtpd_refuse(e->c, code, dsn, "<%s>: %s rejected: %.*s", e->object, e->class, (int) text.len, text.p);
}

static enum smtpd_verdict permit(const struct entry *e)
{
    (void) e;
    return SMTPD_PERMIT;
}

static enum smtpd_verdict dunno(const struct entry *e)
{
    (void) e;
    return SMTPD_DUNNO;
}

static enum smtpd_verdict reject(const struct entry *e)
{
    return refuse(e, (int) smtpd_access_map_reject_code, "5.7.1", "Access denied");
}

static enum smtpd_verdict defer(const struct entry *e)
{
    return refuse(e, (int) smtpd_access_map_defer_code, "4.7.1", "Access denied");
}

static enum smtpd_verdict defer_if(const struct entry *e, bool permitted)
{
    char dsn[SMTP_DSN_BYTES];
    struct slice text = e->text;

    take_dsn(&text, "4.7.1", dsn, e->class);
    if (text.len == 0)
        text = SLICE("Service unavailable");
    return permitted ? smtpd_defer_if_permit(e->c, (int) smtpd_access_map_defer_code, dsn, "<%s>: %s rejected: %.*s",
                                             e->object, e->class, (int) text.len, text.p)
                     : smtpd_defer_if_reject(e->c, (int) smtpd_access_map_defer_code, dsn, "<%s>: %s rejected: %.*s",
                                             e->object, e->class, (int) text.len, text.p);
}

static enum smtpd_verdict defer_if_permit(const struct entry *e) { return defer_if(e, true); }
static enum smtpd_verdict defer_if_reject(const struct entry *e) { return defer_if(e, false); }

static void note(const struct entry *e, const char *what, const char *standard)
{
    char text[SMTPD_REPLY_BYTES];

    if (e->text.len)
        snprintf(text, sizeof text, "<%s>: %s %.*s", e->object, e->class, (int) e->text.len, e->text.p);
    else
        snprintf(text, sizeof text, "<%s>: %s %s", e->object, e->class, standard);
    smtpd_log_action(e->c->s, what, text);
}

static enum smtpd_verdict warn(const struct entry *e)
{
    note(e, "warn", "triggers WARN action");
    return SMTPD_DUNNO;
}

static enum smtpd_verdict info(const struct entry *e)
{
    note(e, "info", "triggers INFO action");
    return SMTPD_DUNNO;
}

static struct arena *kept(const struct entry *e)
{
    return e->c->s->mail.arena ? e->c->s->mail.arena : e->c->s->arena;
}

static const char *keep(const struct entry *e) { return arena_strndup(kept(e), e->text.p, e->text.len); }

static void keep_one(const struct entry *e, const char ***list, size_t *count)
{
    if (*count == SMTPD_ACTIONS_MAX)
        return;
    if (*list == NULL)
        *list = arena_alloc(kept(e), SMTPD_ACTIONS_MAX * sizeof **list);
    (*list)[(*count)++] = keep(e);
}

/* Behind warn_if_reject only the log line is wanted. */
static enum smtpd_verdict hold(const struct entry *e)
{
    note(e, "hold", "triggers HOLD action");
    if (!e->c->warn)
        e->c->s->mail.actions.flags |= CLEANUP_HOLD;
    return SMTPD_DUNNO;
}

static enum smtpd_verdict discard(const struct entry *e)
{
    note(e, "discard", "triggers DISCARD action");
    if (e->c->warn)
        return SMTPD_DUNNO;
    e->c->s->mail.actions.flags |= CLEANUP_DISCARD;
    return SMTPD_PERMIT;
}

static void note_target(const struct entry *e, const char *what, const char *verb)
{
    char text[SMTPD_REPLY_BYTES];

    snprintf(text, sizeof text, "<%s>: %s triggers %s %.*s", e->object, e->class, verb, (int) e->text.len, e->text.p);
    smtpd_log_action(e->c->s, what, text);
}

static enum smtpd_verdict filter(const struct entry *e)
{
    if (e->text.len == 0 || e->text.len > SMTPD_TEXT_BYTES || slice_find(e->text, ':') < 0)
        return bad_entry(e, "requires transport:destination");
    note_target(e, "filter", "FILTER");
    if (!e->c->warn)
        e->c->s->mail.actions.filter = keep(e);
    return SMTPD_DUNNO;
}

static enum smtpd_verdict redirect(const struct entry *e)
{
    if (slice_find(e->text, '@') <= 0 || e->text.len > SMTPD_TEXT_BYTES)
        return bad_entry(e, "requires user@domain target");
    note_target(e, "redirect", "REDIRECT");
    if (!e->c->warn)
        e->c->s->mail.actions.redirect = keep(e);
    return SMTPD_DUNNO;
}

static enum smtpd_verdict bcc(const struct entry *e)
{
    struct smtpd_actions *a = &e->c->s->mail.actions;

    if (slice_find(e->text, '@') <= 0 || e->text.len > SMTPD_TEXT_BYTES)
        return bad_entry(e, "requires user@domain target");
    note_target(e, "bcc", "BCC");
    if (!e->c->warn)
        keep_one(e, &a->bcc, &a->bcc_count);
    return SMTPD_DUNNO;
}

static enum smtpd_verdict prepend(const struct entry *e)
{
    struct smtpd_actions *a = &e->c->s->mail.actions;
    ptrdiff_t colon = slice_find(e->text, ':');
    char text[SMTPD_REPLY_BYTES];

    if (e->c->stage == SMTPD_STAGE_END_OF_DATA)
        return bad_entry(e, "with PREPEND must be used before smtpd_end_of_data_restrictions");
    for (ptrdiff_t i = 0; i < colon; i++)
        if (e->text.p[i] <= ' ' || e->text.p[i] >= 127)
            colon = -1;
    if (colon <= 0 || e->text.len > SMTPD_TEXT_BYTES)
        return bad_entry(e, "requires header: text");
    snprintf(text, sizeof text, "%.*s", (int) e->text.len, e->text.p);
    smtpd_log_action(e->c->s, "prepend", text);
    if (!e->c->warn)
        keep_one(e, &a->prepend, &a->prepend_count);
    return SMTPD_DUNNO;
}

static const struct {
    const char *name;
    enum smtpd_verdict (*run)(const struct entry *);
    bool message; /* needs a message to act on: not in client stages that run before MAIL */
} actions[] = {
    { "OK", permit, false },
    { "RELAY", permit, false },
    { "DUNNO", dunno, false },
    { "REJECT", reject, false },
    { "DEFER", defer, false },
    { "DEFER_IF_PERMIT", defer_if_permit, false },
    { "DEFER_IF_REJECT", defer_if_reject, false },
    { "WARN", warn, false },
    { "INFO", info, false },
    { "HOLD", hold, true },
    { "DISCARD", discard, true },
    { "FILTER", filter, true },
    { "REDIRECT", redirect, true },
    { "BCC", bcc, true },
    { "PREPEND", prepend, true },
};

/* "450 4.7.1 text", "521 text": the code ends the session where it says so. */
static enum smtpd_verdict coded(const struct entry *e, struct slice word)
{
    int code = (word.p[0] - '0') * 100 + (word.p[1] - '0') * 10 + (word.p[2] - '0');

    return refuse(e, code, word.p[0] == '4' ? "4.7.1" : "5.7.1", "Access denied");
}

/* Restrictions as a result: compiled for this once; tables are not allowed, they would have to be opened in the jail.
 */
static enum smtpd_verdict restrictions(const struct entry *e, struct slice value)
{
    struct slice word;

    while (slice_word(&value, ", \t\r\n", &word)) {
        const struct smtpd_restriction *r;
        struct smtpd_item item = { 0 };
        char name[100];
        enum smtpd_verdict v;

        if (word.len >= sizeof name || slice_find(word, ':') >= 0)
            return bad_entry(e,
                             "has entry with lookup table: define a restriction class and specify its name instead");
        memcpy(name, word.p, word.len);
        name[word.len] = 0;
        r = smtpd_restriction_find(name);
        if (r == NULL) {
            const struct smtpd_list *class = smtpd_compiled_class(e->c->stage, name);

            if (class == NULL)
                return bad_entry(e, "names an unknown restriction");
            v = smtpd_run_list(e->c, class);
        } else if (r->argument != SMTPD_ARG_NONE) {
            return bad_entry(e,
                             "has entry with lookup table: define a restriction class and specify its name instead");
        } else {
            item.restriction = r;
            v = r->run(e->c, &item);
        }
        if (v != SMTPD_DUNNO)
            return v;
    }
    return SMTPD_DUNNO;
}

static bool all_digits(struct slice word)
{
    for (size_t i = 0; i < word.len; i++)
        if (!ascii_isdigit(word.p[i]))
            return false;
    return word.len > 0;
}

enum smtpd_verdict smtpd_access_action(struct smtpd_check *c, const char *table, const char *key, const char *value,
                                       const char *object, const char *class)
{
    struct entry e = { .c = c, .table = table, .key = key, .object = object, .class = class };
    struct slice rest = slice_of(value), word;

    if (!slice_word(&rest, " \t\r\n", &word))
        return bad_entry(&e, "has empty value");
    e.text = slice_trim(rest);
    log_debug("access table %s: %s: %s", table, key, value);
    for (size_t i = 0; i < sizeof actions / sizeof *actions; i++) {
        if (!slice_caseeq(word, actions[i].name))
            continue;
        if (actions[i].message && !c->s->mail.active) {
            log_warn("access table %s: with smtpd_delay_reject=no, action %s is always skipped in %s restrictions",
                     table, actions[i].name, c->class);
            return SMTPD_DUNNO;
        }
        return actions[i].run(&e);
    }
    if (word.len == 3 && all_digits(word) && (word.p[0] == '4' || word.p[0] == '5'))
        return coded(&e, word);
    if (all_digits(word))
        return SMTPD_PERMIT;
    return restrictions(&e, slice_of(value));
}
