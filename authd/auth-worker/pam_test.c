/* pam_test - conversations with Linux-PAM's own test modules, by services in a directory of the test's */
#include "base/str.h"
#include "pam_directory.h"
#include "task.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char directory[] = "/tmp/posthorn-pam.XXXXXX";

static void service(const char *name, const char *lines)
{
    char path[200];

    snprintf(path, sizeof path, "%s/%s", directory, name);
    FILE *f = fopen(path, "w");
    assert(f && fputs(lines, f) >= 0 && fclose(f) == 0);
}

static struct msg *question(const char *name, const char *user, const char *password, bool setcred, bool session)
{
    struct msg *m = msg_new("pam");

    msg_put_str(m, "service", name);
    msg_put_str(m, "user", user);
    msg_put_str(m, "password", password);
    msg_put_str(m, "rhost", "192.0.2.9");
    msg_put_num(m, "setcred", setcred);
    msg_put_num(m, "session", session);
    msg_put_num(m, "uses", 1);
    return m;
}

static struct {
    char name[32], user[64], why[AUTH_WORKER_TEXT_BYTES + 1], said[AUTH_WORKER_TEXT_BYTES + 1];
    bool fault;
} got;

static void talk(const char *name, bool setcred, bool session)
{
    struct msg *in = question(name, "joe", "secret", setcred, session), *out = pam_task(in);

    assert(out);
    snprintf(got.name, sizeof got.name, "%s", msg_name(out));
    snprintf(got.user, sizeof got.user, "%s", msg_get_str(out, "user", AUTH_WORKER_NAME_BYTES));
    snprintf(got.why, sizeof got.why, "%s", msg_get_str(out, "why", AUTH_WORKER_TEXT_BYTES));
    got.fault = msg_get_num(out, "fault", 0, 1);
    snprintf(got.said, sizeof got.said, "%s", msg_get_str(out, "said", AUTH_WORKER_TEXT_BYTES));
    assert(msg_done(out) && strstr(got.why, "secret") == NULL);
    msg_free(&in);
    msg_free(&out);
}

/* What each step may answer, and what becomes of it. */
static const struct {
    const char *auth, *cred, *acct, *open, *close;
    bool setcred, session;
    const char *verdict, *why;
} cases[] = {
    { "success", "success", "success", "success", "success", true, true, "ok", "" },
    { "auth_err", "success", "success", "success", "success", false, false, "mismatch",
      "pam_authenticate() failed: Authentication failure (Password mismatch?)" },
    { "perm_denied", "success", "success", "success", "success", false, false, "mismatch",
      "pam_authenticate() failed: Permission denied" },
    { "maxtries", "success", "success", "success", "success", false, false, "mismatch", NULL },
    { "system_err", "success", "success", "success", "success", false, false, "mismatch", NULL },
    { "cred_insufficient", "success", "success", "success", "success", false, false, "mismatch", NULL },
    { "user_unknown", "success", "success", "success", "success", false, false, "unknown", "unknown user" },
    { "authinfo_unavail", "success", "success", "success", "success", false, false, "later", NULL },
    { "service_err", "success", "success", "success", "success", false, false, "later", NULL },
    { "open_err", "success", "success", "success", "success", false, false, "later", NULL },
    { "symbol_err", "success", "success", "success", "success", false, false, "later", NULL },
    { "buf_err", "success", "success", "success", "success", false, false, "later", NULL },
    { "abort", "success", "success", "success", "success", false, false, "later", NULL },
    { "success", "success", "new_authtok_reqd", "success", "success", false, false, "expired", NULL },
    { "success", "success", "acct_expired", "success", "success", false, false, "expired",
      "pam_acct_mgmt() failed: User account has expired" },
    { "success", "success", "user_unknown", "success", "success", false, false, "unknown", NULL },
    { "success", "success", "perm_denied", "success", "success", false, false, "mismatch", NULL },
    { "success", "cred_err", "success", "success", "success", false, true, "ok", "" },
    { "success", "cred_err", "success", "success", "success", true, false, "mismatch",
      "pam_setcred() failed: Failure setting user credentials" },
    { "success", "success", "success", "session_err", "success", true, false, "ok", "" },
    { "success", "success", "success", "session_err", "success", false, true, "mismatch",
      "pam_open_session() failed: Cannot make/remove an entry for the specified session" },
    { "success", "success", "success", "success", "session_err", false, true, "mismatch",
      "pam_close_session() failed: Cannot make/remove an entry for the specified session" },
};

static void test_verdicts(void)
{
    for (size_t n = 0; n < sizeof cases / sizeof *cases; n++) {
        char lines[1000];
        snprintf(lines, sizeof lines,
                 "auth required pam_debug.so auth=%s cred=%s\naccount required pam_debug.so acct=%s\n"
                 "session required pam_debug.so open_session=%s close_session=%s\n",
                 cases[n].auth, cases[n].cred, cases[n].acct, cases[n].open, cases[n].close);
        service("case", lines);
        talk("case", cases[n].setcred, cases[n].session);
        if (strcmp(got.name, cases[n].verdict) != 0 || (cases[n].why && strcmp(got.why, cases[n].why) != 0)) {
            fprintf(stderr, "case %zu: %s: %s\n", n, got.name, got.why);
            abort();
        }
        /* A step behind the password, or a file that is missing: the administrator is told. */
        assert(strcmp(got.user, "joe") == 0);
        assert(got.fault == (strcmp(cases[n].auth, "success") == 0 && strcmp(got.name, "ok") != 0));
    }
}

static void test_services(void)
{
    static const char *const no_service[] = { "", "..", "../case", "/etc/pam.d/login", "a/b", ".hidden", "a b" };

    talk("nofile", false, false);
    assert(strcmp(got.name, "mismatch") == 0 && strstr(got.why, "/nofile missing?)") && got.fault);
    for (size_t n = 0; n < sizeof no_service / sizeof *no_service; n++) {
        talk(no_service[n], false, false);
        assert(strcmp(got.name, "later") == 0 && strcmp(got.why, "not the name of a PAM service") == 0);
    }
    service("nomodule", "auth required pam_nosuch.so\n");
    talk("nomodule", false, false);
    assert(strcmp(got.name, "later") == 0);
}

/* What a module asks and says: it gets the password, and the program's environment tells what it was told. */
static void test_conversation(void)
{
    char lines[1000], text[300];

    service("said", "auth required pam_exec.so quiet stdout /bin/echo go away\nauth required pam_deny.so\n");
    talk("said", false, false);
    assert(strcmp(got.name, "mismatch") == 0 && strcmp(got.said, "go away") == 0);

    snprintf(text, sizeof text, "%s/program", directory);
    FILE *f = fopen(text, "w");
    assert(f &&
           fputs("#!/bin/sh\n[ \"$(tr -d '\\0')\" = secret ] && [ \"$PAM_USER $PAM_RHOST $PAM_TTY $PAM_RUSER\" = "
                 "\"joe 192.0.2.9 dovecot joe\" ]\n",
                 f) >= 0);
    fchmod(fileno(f), 0755);
    assert(fclose(f) == 0);
    snprintf(lines, sizeof lines,
             "auth required pam_exec.so expose_authtok quiet %s\naccount required pam_permit.so\n", text);
    service("check", lines);
    talk("check", false, false);
    assert(strcmp(got.name, "ok") == 0);

    /* Slow to say no: the module may not hold it back. */
    service("delay", "auth optional pam_faildelay.so delay=60000000\nauth required pam_deny.so\n");
    alarm(30);
    talk("delay", false, false);
    alarm(0);
    assert(strcmp(got.name, "mismatch") == 0);
}

static void test_malformed(void)
{
    struct msg *in = msg_new("pam");

    assert(pam_task(in) == NULL);
    msg_free(&in);
    in = question("case", "joe", "x", false, false);
    msg_put_str(in, "surplus", "1");
    assert(pam_task(in) == NULL);
    msg_free(&in);
    in = msg_new("pam");
    msg_put_str(in, "service", "case");
    msg_put_str(in, "user", "joe");
    msg_put(in, "password", slice_make("a\0b", 3));
    msg_put_str(in, "rhost", "");
    msg_put_num(in, "setcred", 0);
    msg_put_num(in, "session", 0);
    msg_put_num(in, "uses", 1);
    assert(pam_task(in) == NULL);
    msg_free(&in);
}

int main(void)
{
    char command[300];

    if (access("/lib/x86_64-linux-gnu/security/pam_debug.so", F_OK) < 0 &&
        access("/lib/aarch64-linux-gnu/security/pam_debug.so", F_OK) < 0) {
        fprintf(stderr, "skipped: Linux-PAM's pam_debug is not there\n");
        return 0;
    }
    assert(mkdtemp(directory));
    pam_directory = directory;
    service("other", "auth required pam_deny.so\naccount required pam_deny.so\n");
    test_verdicts();
    test_services();
    test_conversation();
    test_malformed();
    snprintf(command, sizeof command, "rm -rf %s", directory);
    return system(command) == 0 ? 0 : 1;
}
