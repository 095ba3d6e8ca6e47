/*
 * oauth2 - checks tokens: by an identity server's word, or by their signature
 *
 * Callers     authd, through lib/client/oauth2.h
 * Invariants  serves the files that auth_passdb names with "oauth2:" and nothing else
 *             each question is a fiber: a slow server holds up its own users alone
 * Errors      "later" for all that is in doubt
 * Privilege   own user, no chroot, no thread; may read the directories of local_validation_key_dict, and open sockets of
 *             the network when a file names a URL. The files themselves, certificates and keys are read before the jail
 */
#include "base/log.h"
#include "base/mem.h"
#include "check.h"
#include "client/oauth2_wire.h"
#include "service/service.h"

enum { PATHS_MAX = 32 };

static const char *user_name;
static const struct param own_params[] = {
    { .name = "oauth2_user",
      .type = PARAM_STRING,
      .str = &user_name,
      .def = "$login_user",
      .min = 1,
      .doc = "Account that oauth2 runs as, which checks tokens for authd; it must be able to read the keys of "
             "local_validation_key_dict." },
    { .type = PARAM_END },
};
static const struct param *const params[] = { own_params, NULL };
static struct service_path paths[PATHS_MAX + 1];
static struct service oauth2;

static void may_read(const char *directory)
{
    size_t n = 0;

    while (n < PATHS_MAX && paths[n].path && strcmp(paths[n].path, directory) != 0)
        n++;
    if (n == PATHS_MAX)
        log_fatal("more than %d directories of keys", PATHS_MAX);
    paths[n] = (struct service_path){ .path = directory, .optional = true };
    oauth2.may |= MAY_OPEN;
}

static int open_sources(void)
{
    conf_registry_open();
    if (http_start() != 0)
        return -1;
    if (source_open_all(may_read))
        oauth2.may |= MAY_INET;
    return 0;
}

static bool take_variables(struct msg *in, struct check *c, struct oauth2_var *var)
{
    struct slice name;

    while (msg_next(in, "name", OAUTH2_NAME_BYTES, &name)) {
        if (c->vars == OAUTH2_VARS || memchr(name.p, '\0', name.len))
            return false;
        var[c->vars++] = (struct oauth2_var){
            arena_strndup(c->arena, name.p, name.len),
            arena_strdup(c->arena, msg_get_str(in, "value", OAUTH2_VALUE_BYTES)),
        };
    }
    c->var = var;
    return msg_done(in);
}

static enum oauth2_verdict check(struct check *c, const char *file, struct err *err)
{
    c->source = source_find(file);
    if (c->source == NULL) {
        log_warn("request for unauthorized file: \"%.200s\": no passdb names it", file);
        err_set(err, 0, NULL, "%.200s: the oauth2 service does not serve it", file);
        return OAUTH2_LATER;
    }
    if (c->source->http == NULL) {
        *err = c->source->broken;
        return OAUTH2_LATER;
    }
    return check_token(c, err);
}

static void on_check(struct service_conn *conn, struct msg *in)
{
    static const char *const names[] = OAUTH2_VERDICTS;
    struct arena *a = arena_new();
    struct check *c = arena_alloc(a, sizeof *c);
    struct oauth2_var *var = arena_alloc(a, OAUTH2_VARS * sizeof *var);
    const char *file = msg_get_str(in, "source", OAUTH2_SOURCE_BYTES);
    char *token = arena_strdup(a, msg_get_str(in, "token", OAUTH2_TOKEN_BYTES));
    enum oauth2_verdict verdict = OAUTH2_LATER;
    struct err err = { .text = "" };
    struct msg *reply;

    c->arena = a;
    c->token = token;
    if (take_variables(in, c, var))
        verdict = check(c, file, &err);
    else
        err_set(&err, 0, NULL, "the request is malformed");
    reply = msg_new(names[verdict]);
    msg_put_str(reply, "why", verdict == OAUTH2_VALID ? "" : err.text);
    msg_put_str(reply, "openid", c->source && c->source->http ? c->source->config.openid_configuration : "");
    msg_put_str(reply, "variables", c->source && c->source->http ? c->source->config.variables : "user");
    msg_put_num(reply, "until", verdict == OAUTH2_VALID ? check_until(c) : 0);
    for (size_t n = 0; verdict == OAUTH2_VALID && n < c->fields.count; n++) {
        msg_put_str(reply, "name", c->fields.claim[n].name);
        msg_put_str(reply, "value", c->fields.claim[n].value);
    }
    service_reply(conn, &reply);
    mem_wipe(token, strlen(token));
    arena_free(&a);
}

static bool stale(void)
{
    const char *file;

    if (!source_stale(&file))
        return false;
    log_info("%s has changed -- restarting", file);
    return true;
}

static const struct service_request requests[] = { { .name = OAUTH2_CHECK, .run = on_check }, { .name = NULL } };
static struct service oauth2 = {
    .name = "oauth2",
    .summary = "checks tokens for authd, by asking identity servers or by their signature",
    .jail = JAIL_USER,
    .solitary = true, /* one pool of connections */
    .user = "$oauth2_user",
    .paths = paths,
    .params = params,
    .protocol = OAUTH2_PROTOCOL,
    .version = OAUTH2_VERSION,
    .requests = requests,
    .pre_jail = open_sources,
    .post_jail = http_run,
    .stale = stale,
};

int main(int argc, char **argv) { return service_main(&oauth2, argc, argv); }
