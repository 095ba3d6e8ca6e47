/*
 * config - see config.h
 */
#include "config.h"
#include "base/log.h"
#include "conf/settings.h"
#include "conf/var.h"

#include <curl/curl.h>
#include <stddef.h>

enum { NAME_LOG_BYTES = 100, MILLISECONDS_MAX = 3600000, CONNECTIONS_MAX = 1000, TIMEOUT_MS = 60000 };

enum type { TEXT, URL, YES_NO, NUMBER, MODE, KEYS, INERT };
struct setting {
    const char *name;
    enum type type;
    size_t at;
    const char *why; /* INERT: what becomes of it instead */
};
#define AT(member) offsetof(struct oauth2_config, member)
static const struct setting settings[] = {
    { "tokeninfo_url", URL, AT(tokeninfo), NULL },
    { "introspection_url", URL, AT(introspection), NULL },
    { "grant_url", URL, AT(grant), NULL },
    { "introspection_mode", MODE, AT(mode), NULL },
    { "force_introspection", YES_NO, AT(force_introspection), NULL },
    { "local_validation_key_dict", KEYS, AT(keys), NULL },
    { "username_format", TEXT, AT(username_format), NULL },
    { "username_attribute", TEXT, AT(username_attribute), NULL },
    { "active_attribute", TEXT, AT(active_attribute), NULL },
    { "active_value", TEXT, AT(active_value), NULL },
    { "scope", TEXT, AT(scope), NULL },
    { "audience", TEXT, AT(audience), NULL },
    { "issuers", TEXT, AT(issuers), NULL },
    { "client_id", TEXT, AT(client_id), NULL },
    { "client_secret", TEXT, AT(client_secret), NULL },
    { "pass_attrs", TEXT, AT(pass_attrs), NULL },
    { "openid_configuration_url", TEXT, AT(openid_configuration), NULL },
    { "use_grant_password", YES_NO, AT(use_grant_password), NULL },
    { "send_auth_headers", YES_NO, AT(send_auth_headers), NULL },
    { "timeout_msecs", NUMBER, AT(timeout_ms), NULL },
    { "max_idle_time_msecs", NUMBER, AT(idle_ms), NULL },
    { "max_parallel_connections", NUMBER, AT(connections), NULL },
    { "max_pipelined_requests", INERT, 0, "one request at a time goes over a connection" },
    { "tls_ca_cert_file", TEXT, AT(tls_ca_file), NULL },
    { "tls_ca_cert_dir", TEXT, AT(tls_ca_dir), NULL },
    { "tls_cert_file", TEXT, AT(tls_cert_file), NULL },
    { "tls_key_file", TEXT, AT(tls_key_file), NULL },
    { "tls_cipher_suite", TEXT, AT(tls_ciphers), NULL },
    { "tls_allow_invalid_cert", YES_NO, AT(tls_allow_invalid_cert), NULL },
    { "debug", YES_NO, AT(debug), NULL },
    { "rawlog_dir", INERT, 0, "tokens are never written to a file" },
};

struct reading {
    struct oauth2_config *out;
    struct err *err;
    int line;
};

static int complain(const struct reading *r, const char *name, const char *why)
{
    return err_set(r->err, 0, NULL, "%s line %d: %s: %s", r->out->file, r->line, name, why);
}

static const char *part(CURLU *u, CURLUPart what, struct arena *a)
{
    char *text = NULL;
    const char *copy = NULL;

    if (curl_url_get(u, what, &text, CURLU_DEFAULT_PORT) == CURLUE_OK)
        copy = arena_strdup(a, text);
    curl_free(text);
    return copy;
}

/* -1: not a URL of http or https with a host. */
static int parse_url(const char *text, struct arena *a, struct oauth2_url *out)
{
    CURLU *u = curl_url();
    int rc = -1;
    uint64_t port;

    if (u && curl_url_set(u, CURLUPART_URL, text, 0) == CURLUE_OK) {
        const char *scheme = part(u, CURLUPART_SCHEME, a), *host = part(u, CURLUPART_HOST, a),
                   *number = part(u, CURLUPART_PORT, a);
        bool tls = scheme && strcmp(scheme, "https") == 0;
        if (host && number && (tls || (scheme && strcmp(scheme, "http") == 0)) &&
            slice_u64(slice_of(number), UINT16_MAX, &port) == 0 && port > 0) {
            struct slice bare = slice_of(host);
            if (bare.len > 2 && bare.p[0] == '[')
                bare = slice_sub(bare, 1, bare.len - 2);
            *out = (struct oauth2_url){ text, arena_strndup(a, bare.p, bare.len), (unsigned) port, tls };
            rc = 0;
        }
    }
    curl_url_cleanup(u);
    return rc;
}

/* "fs:posix:prefix=/etc/dovecot/keys/", its other options separated by colons. */
static const char *key_directory(const char *uri, struct arena *a)
{
    static const char fs[] = "fs:posix:";
    struct slice rest = slice_of(uri), word;
    const char *found = NULL;

    if (!slice_starts(rest, fs))
        return NULL;
    rest = slice_sub(rest, strlen(fs), rest.len);
    while (slice_split(&rest, ':', &word))
        if (slice_starts(word, "prefix=/"))
            found = arena_strndup(a, word.p + strlen("prefix="), word.len - strlen("prefix="));
        else if (word.len > 0)
            return NULL; /* an option that says how files are named or written */
    return found;
}

static int yes_no(const char *value, bool *out)
{
    static const char *const yes[] = { "yes", "y", "true", "1" }, *const no[] = { "no", "n", "false", "0" };

    for (size_t n = 0; n < sizeof yes / sizeof *yes; n++)
        if (slice_caseeq(slice_of(value), yes[n])) {
            *out = true;
            return 0;
        } else if (slice_caseeq(slice_of(value), no[n])) {
            *out = false;
            return 0;
        }
    return -1;
}

static int mode_of(const char *value, enum oauth2_introspection *out)
{
    static const char *const names[] = {
        [OAUTH2_AUTH] = "auth", [OAUTH2_GET] = "get", [OAUTH2_POST] = "post", [OAUTH2_LOCAL] = "local"
    };

    for (size_t n = 0; n < sizeof names / sizeof *names; n++)
        if (strcmp(value, names[n]) == 0 || (value[0] == '\0' && n == OAUTH2_AUTH)) {
            *out = (enum oauth2_introspection) n;
            return 0;
        }
    return -1;
}

static int set_one(struct reading *r, const struct setting *s, const char *value)
{
    struct oauth2_config *c = r->out;
    char *at = (char *) c + s->at;
    uint64_t number;

    switch (s->type) {
    case TEXT: *(const char **) (void *) at = value; return 0;
    case URL:
        if (value[0] && parse_url(value, c->arena, (struct oauth2_url *) (void *) at) != 0)
            return complain(r, s->name, "a URL that begins with http:// or https:// was expected");
        return 0;
    case YES_NO: return yes_no(value, (bool *) at) == 0 ? 0 : complain(r, s->name, "yes or no was expected");
    case NUMBER:
        if (slice_u64(slice_of(value), MILLISECONDS_MAX, &number) != 0)
            return complain(r, s->name, "a number was expected, at most 3600000");
        *(int64_t *) (void *) at = (int64_t) number;
        return 0;
    case MODE:
        return mode_of(value, &c->mode) == 0 ? 0 : complain(r, s->name, "auth, get, post or local was expected");
    case KEYS:
        c->keys = value[0] ? key_directory(value, c->arena) : "";
        return c->keys ? 0 : complain(r, s->name, "of dictionaries there is fs:posix:prefix=/directory/");
    case INERT: log_warn("%s line %d: %s is not used: %s", c->file, r->line, s->name, s->why); return 0;
    }
    return -1;
}

static int set(void *ctx, int line, struct slice name, const char *value)
{
    struct reading *r = ctx;

    r->line = line;
    for (size_t n = 0; n < sizeof settings / sizeof *settings; n++)
        if (slice_eq(name, settings[n].name))
            return set_one(r, &settings[n], value);
    return err_set(r->err, 0, NULL, "%s line %d: Unknown setting: %.*s", r->out->file, line,
                   name.len > NAME_LOG_BYTES ? NAME_LOG_BYTES : (int) name.len, name.p);
}

static int consistent(const struct oauth2_config *c, struct err *err)
{
    const char *why = NULL;

    if (c->tokeninfo.text[0] == '\0' && c->introspection.text[0] == '\0' && c->keys[0] == '\0' &&
        (c->grant.text[0] == '\0' || c->client_id[0] == '\0'))
        why = "Password grant, tokeninfo, introspection URL or validation key dictionary must be given";
    else if (c->mode == OAUTH2_LOCAL && c->keys[0] == '\0')
        why = "local_validation_key_dict is required for local introspection.";
    else if (c->use_grant_password && (c->grant.text[0] == '\0' || c->client_id[0] == '\0'))
        why = "use_grant_password needs grant_url and client_id";
    else if (c->mode != OAUTH2_LOCAL && !c->use_grant_password && c->tokeninfo.text[0] == '\0' &&
             c->introspection.text[0] == '\0')
        why = "neither tokeninfo_url nor introspection_url says where a token is checked";
    else if (c->force_introspection && c->introspection.text[0] == '\0' && c->mode != OAUTH2_LOCAL)
        why = "force_introspection needs introspection_url";
    else if (c->active_value[0] && c->active_attribute[0] == '\0')
        why = "Cannot have empty active_attribute is active_value is set";
    else if (c->username_attribute[0] == '\0')
        why = "username_attribute may not be empty";
    else if ((c->tls_cert_file[0] == '\0') != (c->tls_key_file[0] == '\0'))
        why = "tls_cert_file and tls_key_file need each other";
    else if (c->connections < 1 || c->connections > CONNECTIONS_MAX)
        why = "max_parallel_connections: from 1 to 1000";
    return why ? err_set(err, 0, NULL, "%s: %s", c->file, why) : 0;
}

static void add_variable(void *ctx, struct slice name)
{
    struct str *out = ctx;

    if (slice_starts(name, "oauth2:"))
        return;
    str_addc(out, ' ');
    str_addslice(out, name);
}

static const char *variables_of(const struct oauth2_config *c)
{
    const char *names;
    struct str out;

    str_init(&out, SETTINGS_LINE_BYTES);
    str_adds(&out, "user");
    var_names(c->username_format, add_variable, &out);
    var_names(c->pass_attrs, add_variable, &out);
    names = arena_strndup(c->arena, out.p, out.len);
    str_free(&out);
    return names;
}

int oauth2_config_parse(const char *file, struct slice text, struct oauth2_config *out, struct err *err)
{
    static const struct oauth2_url nowhere = { "", "", 0, false };
    struct reading r = { .out = out, .err = err };
    struct oauth2_url checked;
    int rc;

    *out = (struct oauth2_config){
        .arena = arena_new(),
        .tokeninfo = nowhere,
        .introspection = nowhere,
        .grant = nowhere,
        .keys = "",
        .username_format = "%Lu",
        .username_attribute = "email",
        .active_attribute = "",
        .active_value = "",
        .scope = "",
        .audience = "",
        .issuers = "",
        .client_id = "",
        .client_secret = "",
        .pass_attrs = "",
        .openid_configuration = "",
        .tls_ca_file = "",
        .tls_ca_dir = "",
        .tls_cert_file = "",
        .tls_key_file = "",
        .tls_ciphers = "HIGH:!SSLv2",
        .idle_ms = 60000,
        .connections = 10,
    };
    out->file = arena_strdup(out->arena, file);
    rc = settings_read(out->file, text, out->arena, set, &r, err);
    if (rc == 0)
        rc = consistent(out, err);
    if (rc == 0 && out->openid_configuration[0] && parse_url(out->openid_configuration, out->arena, &checked) != 0)
        rc = err_set(err, 0, NULL, "%s: openid_configuration_url: not a URL of http or https", out->file);
    if (out->timeout_ms == 0)
        out->timeout_ms = TIMEOUT_MS;
    out->variables = variables_of(out);
    if (rc != 0)
        oauth2_config_free(out);
    return rc;
}

void oauth2_config_free(struct oauth2_config *c) { arena_free(&c->arena); }
