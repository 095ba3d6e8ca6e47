/*
 * check - see check.h
 */
#include "check.h"
#include "base/log.h"
#include "base/time.h"
#include "conf/var.h"
#include "jwt.h"
#include "key.h"

#include <stdio.h>

enum { URL_BYTES = 64 << 10, VALUE_BYTES = 64 << 10, NAME_LOG_BYTES = 128 };

/* --- variables --- */

static const char *variable(const struct check *c, const char *name)
{
    for (size_t n = 0; n < c->vars; n++)
        if (strcmp(c->var[n].name, name) == 0)
            return c->var[n].value;
    return "";
}

/* "oauth2:name" and "oauth2:name:what it is where it is not said". */
static const char *claimed(const struct check *c, struct slice name)
{
    struct slice head;

    for (size_t n = 0; n < c->claims.count; n++)
        if (slice_eq(name, c->claims.claim[n].name))
            return c->claims.claim[n].value;
    if (slice_find(name, ':') < 0)
        return "";
    slice_split(&name, ':', &head);
    for (size_t n = 0; n < c->claims.count; n++)
        if (slice_eq(head, c->claims.claim[n].name))
            return c->claims.claim[n].value;
    return arena_strndup(c->arena, name.p, name.len);
}

static const char *get(void *ctx, struct slice name)
{
    const struct check *c = ctx;

    if (slice_starts(name, "oauth2:"))
        return claimed(c, slice_sub(name, strlen("oauth2:"), name.len));
    if (slice_eq(name, "password"))
        return c->token;
    for (size_t n = 0; n < c->vars; n++)
        if (slice_eq(name, c->var[n].name))
            return c->var[n].value;
    return NULL;
}

static const char *get_user(void *ctx, struct slice name)
{
    return slice_eq(name, "user") ? (const char *) ctx : NULL;
}

static const char *expand(const struct check *c, const char *text, const struct var_scope *scope, const char *what,
                          struct err *err)
{
    const char *result = NULL;
    struct err why;
    struct str out;

    str_init(&out, VALUE_BYTES);
    if (var_expand(text, scope, &out, &why) != 0 || memchr(out.p, '\0', out.len))
        err_set(err, 0, NULL, "%s: %s: %s", c->source->file, what, why.text);
    else
        result = arena_strndup(c->arena, out.p, out.len);
    mem_wipe(out.p, out.len);
    str_free(&out);
    return result;
}

/* --- questions to the server --- */

static void add_escaped(struct str *out, const char *text)
{
    for (; *text; text++)
        if (ascii_isalnum(*text) || strchr("-._~", *text))
            str_addc(out, *text);
        else
            str_printf(out, "%%%02X", (unsigned char) *text);
}

static void add_field(struct str *form, const char *name, const char *value)
{
    str_printf(form, "%s%s=", form->len > 0 ? "&" : "", name);
    add_escaped(form, value);
}

/* An address as a URL has it; "" without one. */
static const char *place_of(const struct check *c, const char *ip, const char *port)
{
    const char *address = variable(c, ip), *number = variable(c, port);

    if (address[0] == '\0' || number[0] == '\0')
        return address;
    return arena_printf(c->arena, strchr(address, ':') ? "[%s]:%s" : "%s:%s", address, number);
}

static const char *header(const struct check *c, const char *name, const char *value)
{
    for (const char *p = value; *p; p++)
        if (!ascii_isprint(*p))
            return NULL;
    return value[0] ? arena_printf(c->arena, "X-Dovecot-Auth-%s: %s", name, value) : NULL;
}

static void say(const struct check *c, const char *question, const struct oauth2_url *place, long status)
{
    if (c->source->config.debug)
        log_info("%s: user %.*s: %s at %s port %u: status %ld", c->source->file, NAME_LOG_BYTES, variable(c, "user"),
                 question, place->host, place->port, status);
}

/* What was said, into the claims. 400, 401 and 403 refuse the token (RFC 6750 3.1) or the password (RFC 6749 5.2), but not
 * where a form with our own name was posted for introspection: then it is we who are refused (RFC 7662 2.3). */
static enum oauth2_verdict read_answer(struct check *c, const char *what, const struct http_question *q, long status,
                                       struct slice body, struct err *err)
{
    enum { OK = 200, MULTIPLE = 300, BAD_REQUEST = 400, UNAUTHORIZED = 401, FORBIDDEN = 403 };
    bool refusal = q->post == NULL || q->place == &c->source->config.grant;
    struct err why = { .text = "" };
    const char *said;
    bool silent = q->place == &c->source->config.tokeninfo && slice_trim(body).len == 0; /* the status says enough */
    int rc = silent ? 0 : claims_parse(body, c->arena, &c->claims, &why);

    if (refusal && (status == BAD_REQUEST || status == UNAUTHORIZED || status == FORBIDDEN)) {
        err_set(err, 0, NULL, "%s failed: Invalid token", what);
        return OAUTH2_MISMATCH;
    }
    said = claims_get(&c->claims, "token_type");
    if (rc == 0 && said && !slice_caseeq(slice_of(said), "bearer"))
        rc = err_set(&why, 0, NULL, "Expected Bearer token, got '%.20s'", said);
    if (status < OK || status >= MULTIPLE)
        rc = err_set(&why, 0, NULL, "%s port %u answered with status %ld", q->place->host, q->place->port, status);
    if (rc != 0)
        err_set(err, 0, NULL, "%s failed: %s", what, why.text);
    return rc == 0 ? OAUTH2_VALID : OAUTH2_LATER;
}

static enum oauth2_verdict ask(struct check *c, const char *what, struct http_question *q, struct err *err)
{
    enum oauth2_verdict verdict = OAUTH2_LATER;
    struct err why = { .text = "" };
    struct str body;
    long status = 0;

    if (c->source->config.send_auth_headers) {
        q->header[0] = header(c, "Service", variable(c, "service"));
        q->header[1] = header(c, "Local", place_of(c, "lip", "lport"));
        q->header[2] = header(c, "Remote", place_of(c, "rip", "rport"));
    }
    str_init(&body, HTTP_BODY_BYTES);
    if (http_ask(c->source->http, q, &status, &body, &why) != 0) {
        err_set(err, 0, NULL, "%s failed: %s", what, why.text);
    } else {
        verdict = read_answer(c, what, q, status, str_slice(&body), err);
        say(c, what, q->place, status);
    }
    mem_wipe(body.p, body.len);
    str_free(&body);
    return verdict;
}

static const char *with_token(const struct check *c, const struct oauth2_url *place)
{
    struct str url;
    const char *text;

    str_init(&url, URL_BYTES);
    str_adds(&url, place->text);
    add_escaped(&url, c->token);
    text = arena_strndup(c->arena, url.p, url.len);
    mem_wipe(url.p, url.len);
    str_free(&url);
    return text;
}

static enum oauth2_verdict ask_form(struct check *c, const char *what, struct http_question *q, struct str *form,
                                    struct err *err)
{
    enum oauth2_verdict v = OAUTH2_MISMATCH;

    q->post = form->p;
    if (str_over(form))
        err_set(err, 0, NULL, "%s failed: the question is too long", what);
    else
        v = ask(c, what, q, err);
    mem_wipe(form->p, form->len);
    str_free(form);
    return v;
}

static enum oauth2_verdict ask_tokeninfo(struct check *c, struct err *err)
{
    const struct oauth2_url *place = &c->source->config.tokeninfo;
    struct http_question q = { .place = place, .url = with_token(c, place), .bearer = c->token };

    return ask(c, "Token validation", &q, err);
}

static enum oauth2_verdict introspect(struct check *c, struct err *err)
{
    const struct oauth2_config *g = &c->source->config;
    struct http_question q = { .place = &g->introspection, .url = g->introspection.text };
    static const char what[] = "Introspection";
    const char *active;
    enum oauth2_verdict v;
    struct str form;

    switch (g->mode) {
    case OAUTH2_AUTH: q.bearer = c->token; break;
    case OAUTH2_GET: q.url = with_token(c, q.place); break;
    default: break;
    }
    if (g->mode == OAUTH2_POST) {
        str_init(&form, URL_BYTES);
        add_field(&form, "token", c->token);
        if (g->client_id[0])
            add_field(&form, "client_id", g->client_id);
        if (g->client_secret[0])
            add_field(&form, "client_secret", g->client_secret);
        v = ask_form(c, what, &q, &form, err);
    } else {
        v = ask(c, what, &q, err);
    }
    active = claims_get(&c->claims, "active");
    if (v == OAUTH2_VALID && active && strcmp(active, "false") == 0) { /* RFC 7662 2.2 */
        err_set(err, 0, NULL, "%s failed: the token is not active", what);
        v = OAUTH2_MISMATCH;
    }
    return v;
}

/* The user's password becomes a token. */
static enum oauth2_verdict grant(struct check *c, struct err *err)
{
    const struct oauth2_config *g = &c->source->config;
    struct http_question q = { .place = &g->grant, .url = g->grant.text };
    static const char what[] = "Password grant";
    enum oauth2_verdict v;
    const char *said;
    struct str form;

    str_init(&form, URL_BYTES);
    add_field(&form, "grant_type", "password");
    add_field(&form, "username", variable(c, "user"));
    add_field(&form, "password", c->token);
    add_field(&form, "client_id", g->client_id);
    if (g->client_secret[0])
        add_field(&form, "client_secret", g->client_secret);
    if (g->scope[0])
        add_field(&form, "scope", g->scope);
    v = ask_form(c, what, &q, &form, err);
    said = claims_get(&c->claims, "error");
    if (v == OAUTH2_MISMATCH && (said == NULL || strcmp(said, "invalid_grant") != 0)) {
        err_set(err, 0, NULL, "%s failed: %.100s", what,
                said ? said : "OAuth2 server returned failure without error field");
        return OAUTH2_LATER; /* it refuses us, not the user */
    }
    if (v != OAUTH2_VALID)
        return v;
    if ((c->token = claims_get(&c->claims, "access_token")) == NULL) {
        err_set(err, 0, NULL, "%s failed: OAuth2 token missing from reply", what);
        return OAUTH2_LATER;
    }
    return OAUTH2_VALID;
}

/* --- without a question --- */

static enum oauth2_verdict check_locally(struct check *c, struct err *err)
{
    const struct oauth2_config *g = &c->source->config;
    struct jwt *t = arena_alloc(c->arena, sizeof *t);
    enum oauth2_verdict v = OAUTH2_MISMATCH;
    struct err why = { .text = "" };
    struct str key;

    str_init(&key, KEY_FILE_BYTES);
    if (jwt_parse(slice_of(c->token), c->arena, t, &why) == 0 &&
        jwt_valid(t, time_now(), &(struct jwt_wanted){ g->issuers, g->client_id, g->scope }, &why) == 0) {
        enum lookup found = key_read(g->keys, t->party, t->algorithm, t->key_id, &key, &why);
        if (found == LOOKUP_RETRY)
            v = OAUTH2_LATER;
        else if (found == LOOKUP_FOUND && jwt_signed(t, str_slice(&key), &why) == 0)
            v = OAUTH2_VALID;
    }
    mem_wipe(key.p, key.len);
    str_free(&key);
    if (v != OAUTH2_VALID) {
        err_set(err, 0, NULL, "Local validation failed: %s", why.text);
        return v;
    }
    for (size_t n = 0; n < t->claims.count; n++)
        claims_set(&c->claims, t->claims.claim[n].name, t->claims.claim[n].value);
    return v;
}

/* --- what the claims must say --- */

static enum oauth2_verdict enabled(const struct check *c, struct err *err)
{
    const struct oauth2_config *g = &c->source->config;
    const char *value;

    if (g->active_attribute[0] == '\0')
        return OAUTH2_VALID;
    value = claims_get(&c->claims, g->active_attribute);
    if (value && (g->active_value[0] == '\0' || strcmp(value, g->active_value) == 0))
        return OAUTH2_VALID;
    err_set(err, 0, NULL, "Provided token is not valid");
    return OAUTH2_MISMATCH;
}

static enum oauth2_verdict right_user(struct check *c, struct err *err)
{
    const struct oauth2_config *g = &c->source->config;
    const char *value = claims_get(&c->claims, g->username_attribute), *wanted, *given;

    if (value == NULL) {
        err_set(err, 0, NULL, "No username returned");
        return OAUTH2_LATER;
    }
    wanted = expand(c, g->username_format, &(struct var_scope){ .get = get, .ctx = c }, "username_format", err);
    given = expand(c, g->username_format, &(struct var_scope){ .get = get_user, .ctx = (void *) (uintptr_t) value },
                   "username_format", err);
    if (wanted == NULL || given == NULL)
        return OAUTH2_LATER;
    if (strcmp(wanted, given) == 0)
        return OAUTH2_VALID;
    err_set(err, 0, NULL, "Username '%.*s' did not match '%.*s'", NAME_LOG_BYTES, wanted, NAME_LOG_BYTES, given);
    return OAUTH2_UNKNOWN;
}

static enum oauth2_verdict meant_for_us(const struct check *c, struct err *err)
{
    const struct oauth2_config *g = &c->source->config;
    const char *scope = claims_get(&c->claims, "scope"), *audience = claims_get(&c->claims, "aud");
    struct slice rest = slice_of(g->scope), word;

    while (slice_word(&rest, " ", &word))
        if (!claims_list(scope, " \t", word)) {
            err_set(err, 0, NULL, "Token is not valid for scope '%.100s'%s", g->scope,
                    scope ? "" : " (it has none; for \"aud\" there is the setting audience)");
            return OAUTH2_DISABLED;
        }
    for (rest = slice_of(g->audience); slice_word(&rest, " ", &word);)
        if (!claims_list(audience, " \t", word)) {
            err_set(err, 0, NULL, "Token audience does not include '%.100s'", g->audience);
            return OAUTH2_DISABLED;
        }
    return OAUTH2_VALID;
}

/* pass_attrs: "name=value name=value", each value a text with %variables. */
static enum oauth2_verdict take_fields(struct check *c, struct err *err)
{
    struct slice rest = slice_of(c->source->config.pass_attrs), word;

    while (slice_word(&rest, " \t", &word)) {
        ptrdiff_t eq = slice_find(word, '=');
        const char *name = arena_strndup(c->arena, word.p, eq < 0 ? word.len : (size_t) eq), *value = "";
        if (eq >= 0)
            value = expand(c, arena_strndup(c->arena, word.p + eq + 1, word.len - (size_t) eq - 1),
                           &(struct var_scope){ .get = get, .ctx = c }, "pass_attrs", err);
        if (value == NULL)
            return OAUTH2_LATER;
        if (name[0] == '\0' || claims_set(&c->fields, name, value) != 0) {
            err_set(err, 0, NULL, "%s: pass_attrs: a field without a name, or too many", c->source->file);
            return OAUTH2_LATER;
        }
    }
    return OAUTH2_VALID;
}

static enum oauth2_verdict judge(struct check *c, struct err *err)
{
    enum oauth2_verdict v = enabled(c, err);

    if (v == OAUTH2_VALID)
        v = right_user(c, err);
    if (v == OAUTH2_VALID)
        v = meant_for_us(c, err);
    return v == OAUTH2_VALID ? take_fields(c, err) : v;
}

/* --- all of it --- */

/* RFC 6750 2.1 has fewer; what is not of this kind could break a header. */
static bool is_token(const char *text)
{
    for (const char *p = text; *p; p++)
        if (*p <= ' ' || *p > '~')
            return false;
    return text[0] != '\0';
}

/* Where there is an introspection_url it is asked, whatever tokeninfo_url has said: so does Debian's Dovecot. */
static enum oauth2_verdict ask_server(struct check *c, bool granted, struct err *err)
{
    const struct oauth2_config *g = &c->source->config;
    enum oauth2_verdict v = OAUTH2_VALID;

    if (g->tokeninfo.text[0] && !granted)
        v = ask_tokeninfo(c, err);
    if (v == OAUTH2_VALID && g->introspection.text[0])
        v = introspect(c, err);
    return v;
}

enum oauth2_verdict check_token(struct check *c, struct err *err)
{
    const struct oauth2_config *g = &c->source->config;
    enum oauth2_verdict v = OAUTH2_VALID;

    if (!g->use_grant_password && !is_token(c->token)) {
        err_set(err, 0, NULL, "Invalid token");
        return OAUTH2_MISMATCH;
    }
    if (g->use_grant_password)
        v = grant(c, err);
    if (v == OAUTH2_VALID && !is_token(c->token)) {
        err_set(err, 0, NULL, "the server granted what is no token");
        v = OAUTH2_LATER;
    }
    if (v == OAUTH2_VALID)
        v = g->mode == OAUTH2_LOCAL ? check_locally(c, err) : ask_server(c, g->use_grant_password, err);
    return v == OAUTH2_VALID ? judge(c, err) : v;
}

/* "exp" of RFC 7519 and RFC 7662; "expires_in" of RFC 6749 5.1, from now. */
int64_t check_until(const struct check *c)
{
    const char *at = claims_get(&c->claims, "exp"), *left = claims_get(&c->claims, "expires_in");
    int64_t seconds;

    if (at && claims_seconds(at, &seconds) == 0)
        return seconds > 0 ? seconds : 1;
    if (left && claims_seconds(left, &seconds) == 0)
        return time_now() + seconds;
    return 0;
}
