/*
 * pam - one conversation with the modules of a service of pam.d
 *
 * Callers     task.c
 * Invariants  a module that asks anything unseen gets the password, one that asks anything seen the user's name; what
 *             it says beside that is remembered for who wants it shown
 *             modules may not hold a failure back (pam_fail_delay): authd does, for all in the same way and without a
 *             process that sleeps
 * Errors      a library or a service that cannot be used is "later"; what a module says of the user is a verdict
 * Source      pam(3), pam_conv(3); which calls in which order, PAM_TTY and PAM_RUSER: Dovecot 2.3, passdb pam
 */
#include "pam_directory.h"
#include "task.h"

#include "base/mem.h"

#include <security/pam_appl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TTY           "dovecot" /* pam_access and others have rules for it */
#define PAM_DIRECTORY "/etc/pam.d"
const char *pam_directory;

struct talk {
    const char *user, *password;
    char said[AUTH_WORKER_TEXT_BYTES];
};

static void remember(struct talk *t, const char *text)
{
    size_t len = text ? strcspn(text, "\r\n") : 0;

    if (len == 0)
        return;
    len = len < sizeof t->said ? len : sizeof t->said - 1;
    memcpy(t->said, text, len);
    t->said[len] = '\0';
}

static void drop(struct pam_response *r, int count)
{
    for (int n = 0; n < count; n++)
        if (r[n].resp) {
            mem_wipe(r[n].resp, strlen(r[n].resp));
            free(r[n].resp);
        }
    free(r);
}

static int converse(int count, const struct pam_message **messages, struct pam_response **out, void *ctx)
{
    struct pam_response *r;
    struct talk *t = ctx;

    *out = NULL;
    if (count <= 0 || count > PAM_MAX_NUM_MSG)
        return PAM_CONV_ERR;
    r = mem_array((size_t) count, sizeof *r);
    for (int n = 0; n < count; n++)
        switch (messages[n]->msg_style) {
        case PAM_PROMPT_ECHO_ON: r[n].resp = mem_strdup(t->user); break;
        case PAM_PROMPT_ECHO_OFF: r[n].resp = mem_strdup(t->password); break;
        case PAM_ERROR_MSG:
        case PAM_TEXT_INFO: remember(t, messages[n]->msg); break;
        default: drop(r, count); return PAM_CONV_ERR;
        }
    *out = r;
    return PAM_SUCCESS;
}

/* libpam would sleep, up to half as long again as a module asks for. */
static void no_delay(int status, unsigned microseconds, void *ctx)
{
    (void) status;
    (void) microseconds;
    (void) ctx;
}

struct conversation {
    const char *service, *user, *password, *rhost;
    bool setcred, session;
    struct talk talk;
    char why[AUTH_WORKER_TEXT_BYTES];
    bool fault; /* a step failed that no password can mend */
};

/* PAM_SYSTEM_ERR is what pam_exec makes of a program that says no: it must count as a wrong password. */
static enum auth_worker_verdict verdict_of(int status)
{
    switch (status) {
    case PAM_SUCCESS: return AUTH_WORKER_OK;
    case PAM_USER_UNKNOWN: return AUTH_WORKER_UNKNOWN;
    case PAM_NEW_AUTHTOK_REQD:
    case PAM_ACCT_EXPIRED: return AUTH_WORKER_EXPIRED;
    case PAM_OPEN_ERR:
    case PAM_SYMBOL_ERR:
    case PAM_SERVICE_ERR:
    case PAM_BUF_ERR:
    case PAM_AUTHINFO_UNAVAIL:
    case PAM_ABORT:
    case PAM_MODULE_UNKNOWN: return AUTH_WORKER_LATER;
    default: return AUTH_WORKER_MISMATCH;
    }
}

static int step(struct conversation *c, pam_handle_t *h, const char *name, int status)
{
    if (status != PAM_SUCCESS)
        snprintf(c->why, sizeof c->why, "%s() failed: %s", name, pam_strerror(h, status));
    c->fault = status != PAM_SUCCESS;
    return status;
}

/* libpam uses the service "other", which refuses, where a service has no file. */
static void explain(struct conversation *c, int status)
{
    const char *directory = pam_directory ? pam_directory : PAM_DIRECTORY;
    char path[sizeof PAM_DIRECTORY + AUTH_WORKER_TEXT_BYTES];
    size_t len = strlen(c->why);

    c->fault = false;
    snprintf(path, sizeof path, "%s/%s", directory, c->service);
    if (status == PAM_USER_UNKNOWN)
        snprintf(c->why, sizeof c->why, "unknown user");
    else if (status == PAM_AUTH_ERR && (c->fault = access(path, F_OK) < 0))
        snprintf(c->why + len, sizeof c->why - len, " (%.200s missing?)", path);
    else if (status == PAM_AUTH_ERR)
        snprintf(c->why + len, sizeof c->why - len, " (Password mismatch?)");
}

static int run(struct conversation *c, pam_handle_t *h)
{
    int status = step(c, h, "pam_authenticate", pam_authenticate(h, 0));

    explain(c, status);
    if (status == PAM_SUCCESS && c->setcred)
        status = step(c, h, "pam_setcred", pam_setcred(h, PAM_ESTABLISH_CRED));
    if (status == PAM_SUCCESS)
        status = step(c, h, "pam_acct_mgmt", pam_acct_mgmt(h, 0));
    if (status == PAM_SUCCESS && c->session) {
        status = step(c, h, "pam_open_session", pam_open_session(h, 0));
        if (status == PAM_SUCCESS)
            status = step(c, h, "pam_close_session", pam_close_session(h, 0));
    }
    return status;
}

static int open_handle(struct conversation *c, const struct pam_conv *conv, pam_handle_t **h)
{
    const void *delay = (const void *) (uintptr_t) no_delay;
    int status = pam_directory ? pam_start_confdir(c->service, c->user, conv, pam_directory, h)
                               : pam_start(c->service, c->user, conv, h);

    if (status != PAM_SUCCESS)
        return step(c, NULL, "pam_start", status);
    if (c->rhost[0])
        pam_set_item(*h, PAM_RHOST, c->rhost);
    pam_set_item(*h, PAM_RUSER, c->user);
    pam_set_item(*h, PAM_TTY, TTY);
    pam_set_item(*h, PAM_FAIL_DELAY, delay);
    return PAM_SUCCESS;
}

static struct msg *talk_to(struct conversation *c)
{
    const struct pam_conv conv = { converse, &c->talk };
    const void *item = NULL;
    pam_handle_t *h = NULL;
    struct msg *out;
    int status = open_handle(c, &conv, &h);

    if (status != PAM_SUCCESS)
        return task_verdict(AUTH_WORKER_LATER, c->user, c->why, NULL);
    status = run(c, h);
    const char *user = status == PAM_SUCCESS && pam_get_item(h, PAM_USER, &item) == PAM_SUCCESS ? item : c->user;
    if (user == NULL || strlen(user) > AUTH_WORKER_NAME_BYTES)
        out = task_verdict(AUTH_WORKER_LATER, c->user, "PAM_USER is gone, or too long", NULL);
    else
        out = (c->fault ? task_fault : task_verdict)(verdict_of(status), user, c->why, c->talk.said);
    pam_end(h, status);
    return out;
}

/* A name of a file in pam.d, and no path. */
static bool is_service(const char *name)
{
    return *name && *name != '.' &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-@") == strlen(name);
}

struct msg *pam_task(struct msg *in)
{
    struct conversation c = { .service = msg_get_str(in, "service", AUTH_WORKER_SERVICE_BYTES) };
    struct slice password;
    struct msg *out = NULL;

    c.user = msg_get_str(in, "user", AUTH_WORKER_NAME_BYTES);
    password = msg_get(in, "password", AUTH_WORKER_PASSWORD_BYTES);
    c.rhost = msg_get_str(in, "rhost", AUTH_WORKER_ADDRESS_BYTES);
    c.setcred = msg_get_num(in, "setcred", 0, 1);
    c.session = msg_get_num(in, "session", 0, 1);
    msg_get_num(in, "uses", 1, AUTH_WORKER_USES_MAX);
    if (msg_done(in) && memchr(password.p, '\0', password.len) == NULL) {
        c.password = password.p; /* a value ends in a NUL */
        c.talk = (struct talk){ .user = c.user, .password = c.password };
        out = is_service(c.service) ? talk_to(&c)
                                    : task_verdict(AUTH_WORKER_LATER, c.user, "not the name of a PAM service", NULL);
    }
    mem_wipe((char *) (uintptr_t) password.p, password.len);
    return out;
}
