/*
 * smtp command - verbs, paths and parameters
 *
 * Callers     smtpd/cmd, lmtp/cmd
 * Invariants  pure
 * Errors      *err holds the whole reply: code, status, words
 * Source      see command.h
 */
#include "proto/smtp/command.h"
#include "proto/addr/addr.h"

void smtp_command_split(struct slice line, struct slice *verb, struct slice *rest)
{
    size_t at = 0, end;

    line = slice_trim(line);
    while (at < line.len && line.p[at] != ' ' && line.p[at] != '\t')
        at++;
    end = at;
    *verb = slice_sub(line, 0, end);
    *rest = slice_trim(slice_sub(line, end, line.len));
}

enum smtp_path_problem smtp_command_path(struct slice rest, const char *keyword, bool strict, bool empty_ok,
                                         struct str *internal, struct slice *params)
{
    size_t word = strlen(keyword) - 1, used; /* without its colon */
    struct slice at;

    if (rest.len <= word)
        return SMTP_PATH_NO_KEYWORD;
    for (size_t i = 0; i < word; i++)
        if (ascii_upper(rest.p[i]) != keyword[i])
            return SMTP_PATH_NO_KEYWORD;
    at = slice_sub(rest, word, rest.len);
    if (!strict)
        at = slice_trim(at); /* "FROM : <a@b>": some clients put a blank before the colon */
    if (at.len == 0 || at.p[0] != ':')
        return SMTP_PATH_NO_KEYWORD;
    at = slice_sub(at, 1, at.len);
    if (addr_path_parse(at, (strict ? ADDR_PATH_STRICT : 0) | (empty_ok ? ADDR_PATH_EMPTY : 0), internal, &used))
        return SMTP_PATH_SYNTAX;
    *params = slice_trim(slice_sub(at, used, at.len));
    return SMTP_PATH_OK;
}

static int bad_size(struct err *err) { return err_set(err, 501, "5.5.4", "Bad message size syntax"); }

static int mail_size(struct slice value, struct smtp_mail_params *out, struct err *err)
{
    if (value.len == 0 || value.len > 20)
        return bad_size(err);
    for (size_t i = 0; i < value.len; i++)
        if (!ascii_isdigit(value.p[i]))
            return bad_size(err);
    if (slice_u64(value, INT64_MAX, &out->size))
        return err_set(err, 552, "5.3.4", "Message size exceeds file system imposed limit");
    return 0;
}

static int mail_holdfor(struct slice value, struct smtp_mail_params *out, struct err *err)
{
    if (slice_u64(value, 999999999, &out->holdfor) || out->holdfor == 0)
        return err_set(err, 501, "5.5.4", "Bad HOLDFOR parameter syntax");
    return 0;
}

static int mail_body(struct slice value, struct smtp_mail_params *out, struct err *err)
{
    if (slice_caseeq(value, "8BITMIME"))
        out->body = SMTP_BODY_8BITMIME;
    else if (slice_caseeq(value, "7BIT"))
        out->body = SMTP_BODY_7BIT;
    else
        return err_set(err, 555, "5.5.4", "Unsupported option: BODY=%.*s", (int) value.len, value.p);
    return 0;
}

static int mail_ret(struct slice value, struct smtp_mail_params *out, struct err *err)
{
    if (slice_caseeq(value, "FULL"))
        out->ret = SMTP_RET_FULL;
    else if (slice_caseeq(value, "HDRS"))
        out->ret = SMTP_RET_HDRS;
    else
        return err_set(err, 501, "5.5.4", "Bad RET parameter syntax");
    return 0;
}

/* Printable after decoding. */
static bool xtext_ok(struct slice value, size_t max, bool utf8)
{
    struct str text;
    bool ok;

    if (value.len == 0 || value.len > max)
        return false;
    str_init(&text, max * 2);
    ok = (utf8 ? smtp_uxtext_decode(&text, value) : smtp_xtext_decode(&text, value)) == 0 && !str_over(&text) &&
         text.len > 0 && (!utf8 || utf8_valid(str_slice(&text)));
    for (size_t i = 0; ok && i < text.len; i++)
        ok = ascii_isprint(text.p[i]) || (utf8 && (unsigned char) text.p[i] >= 0x80);
    str_free(&text);
    return ok;
}

static int mail_envid(struct slice value, struct smtp_mail_params *out, struct err *err)
{
    if (!xtext_ok(value, SMTP_ENVID_BYTES, false))
        return err_set(err, 501, "5.5.4", "Bad ENVID parameter syntax");
    out->envid = value;
    return 0;
}

static int mail_auth(struct slice value, struct smtp_mail_params *out, struct err *err)
{
    if (!xtext_ok(value, SMTP_ORCPT_BYTES, false))
        return err_set(err, 501, "5.5.4", "Bad AUTH parameter syntax");
    out->auth = value;
    return 0;
}

static int mail_smtputf8(struct slice value, struct smtp_mail_params *out, struct err *err)
{
    (void) value;
    (void) out;
    (void) err;
    return 0;
}

static const struct {
    const char *name;
    bool value;
    unsigned seen;
    int (*parse)(struct slice, struct smtp_mail_params *, struct err *);
} mail_keywords[] = {
    { "SIZE", true, SMTP_MAIL_SIZE, mail_size },
    { "BODY", true, SMTP_MAIL_BODY, mail_body },
    { "RET", true, SMTP_MAIL_RET, mail_ret },
    { "ENVID", true, SMTP_MAIL_ENVID, mail_envid },
    { "AUTH", true, SMTP_MAIL_AUTH, mail_auth },
    { "SMTPUTF8", false, SMTP_MAIL_SMTPUTF8, mail_smtputf8 },
    { "HOLDFOR", true, SMTP_MAIL_HOLDFOR, mail_holdfor },
};

/* "NAME=value" or "NAME" in two. */
static bool split_param(struct slice word, struct slice *name, struct slice *value)
{
    ptrdiff_t eq = slice_find(word, '=');

    *name = eq < 0 ? word : slice_sub(word, 0, (size_t) eq);
    *value = eq < 0 ? slice_sub(word, word.len, 0) : slice_sub(word, (size_t) eq + 1, word.len);
    return eq >= 0;
}

static int unsupported(struct slice word, struct err *err)
{
    return err_set(err, 555, "5.5.4", "Unsupported option: %.*s", (int) word.len, word.p);
}

int smtp_mail_params(struct slice params, unsigned allowed, struct smtp_mail_params *out, struct err *err)
{
    struct slice word, name, value;

    *out = (struct smtp_mail_params){ 0 };
    while (slice_word(&params, " \t", &word)) {
        bool has_value = split_param(word, &name, &value);
        size_t k = 0;

        while (k < sizeof mail_keywords / sizeof *mail_keywords && !slice_caseeq(name, mail_keywords[k].name))
            k++;
        if (k == sizeof mail_keywords / sizeof *mail_keywords || !(mail_keywords[k].seen & allowed) ||
            mail_keywords[k].value != has_value)
            return unsupported(word, err);
        /* RFC 5321 4.1.1.11: one occurrence. Twice SIZE or BODY is tolerated, as Postfix does: the last counts. */
        if ((out->seen & mail_keywords[k].seen) == SMTP_MAIL_RET)
            return err_set(err, 501, "5.5.4", "Bad RET parameter syntax");
        if ((out->seen & mail_keywords[k].seen) == SMTP_MAIL_ENVID)
            return err_set(err, 501, "5.5.4", "Bad ENVID parameter syntax");
        if (mail_keywords[k].parse(value, out, err))
            return -1;
        out->seen |= mail_keywords[k].seen;
    }
    return 0;
}

static int rcpt_notify(struct slice value, struct smtp_rcpt_params *out, struct err *err)
{
    static const struct {
        const char *name;
        unsigned bit;
    } words[] = { { "NEVER", SMTP_NOTIFY_NEVER },
                  { "SUCCESS", SMTP_NOTIFY_SUCCESS },
                  { "FAILURE", SMTP_NOTIFY_FAILURE },
                  { "DELAY", SMTP_NOTIFY_DELAY } };
    struct slice rest = value, word;
    unsigned notify = 0;
    bool bad = value.len == 0;

    while (!bad && slice_split(&rest, ',', &word)) {
        size_t k = 0;

        while (k < sizeof words / sizeof *words && !slice_caseeq(word, words[k].name))
            k++;
        bad = k == sizeof words / sizeof *words;
        if (!bad)
            notify |= words[k].bit;
    }
    if (bad || (notify & SMTP_NOTIFY_NEVER && notify != SMTP_NOTIFY_NEVER) || out->seen & SMTP_RCPT_NOTIFY)
        return err_set(err, 501, "5.5.4", "Error: Bad NOTIFY parameter syntax");
    out->notify = notify;
    return 0;
}

static int rcpt_orcpt(struct slice value, struct smtp_rcpt_params *out, struct err *err)
{
    ptrdiff_t semicolon = slice_find(value, ';');
    struct slice type = slice_sub(value, 0, semicolon < 0 ? 0 : (size_t) semicolon);
    struct slice text = slice_sub(value, semicolon < 0 ? 0 : (size_t) semicolon + 1, value.len);

    if (semicolon <= 0 || out->seen & SMTP_RCPT_ORCPT || !slice_is_ascii(type) ||
        !xtext_ok(text, SMTP_ORCPT_BYTES, slice_caseeq(type, "utf-8")))
        return err_set(err, 501, "5.5.4", "Error: Bad ORCPT parameter syntax");
    for (size_t i = 0; i < type.len; i++)
        if (!ascii_isalnum(type.p[i]) && type.p[i] != '-')
            return err_set(err, 501, "5.5.4", "Error: Bad ORCPT parameter syntax");
    out->orcpt_type = type;
    out->orcpt = text;
    return 0;
}

static const struct {
    const char *name;
    unsigned seen;
    int (*parse)(struct slice, struct smtp_rcpt_params *, struct err *);
} rcpt_keywords[] = {
    { "NOTIFY", SMTP_RCPT_NOTIFY, rcpt_notify },
    { "ORCPT", SMTP_RCPT_ORCPT, rcpt_orcpt },
};

int smtp_rcpt_params(struct slice params, unsigned allowed, struct smtp_rcpt_params *out, struct err *err)
{
    struct slice word, name, value;

    *out = (struct smtp_rcpt_params){ 0 };
    while (slice_word(&params, " \t", &word)) {
        bool has_value = split_param(word, &name, &value);
        size_t k = 0;

        while (k < sizeof rcpt_keywords / sizeof *rcpt_keywords && !slice_caseeq(name, rcpt_keywords[k].name))
            k++;
        if (k == sizeof rcpt_keywords / sizeof *rcpt_keywords || !(rcpt_keywords[k].seen & allowed) || !has_value)
            return unsupported(word, err);
        if (rcpt_keywords[k].parse(value, out, err))
            return -1;
        out->seen |= rcpt_keywords[k].seen;
    }
    return 0;
}

int smtp_command_bdat(struct slice rest, uint64_t *octets, bool *last)
{
    struct slice word;

    if (!slice_word(&rest, " \t", &word) || word.len > 19 || slice_u64(word, INT64_MAX, octets))
        return -1;
    *last = false;
    if (slice_word(&rest, " \t", &word)) {
        if (!slice_caseeq(word, "LAST"))
            return -1;
        *last = true;
    }
    return slice_word(&rest, " \t", &word) ? -1 : 0;
}
