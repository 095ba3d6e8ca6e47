/*
 * account - users and groups of the system, and their passwords
 *
 * Callers     task.c
 * Invariants  asks the C library, and so whatever nsswitch.conf names
 * Errors      an error of the library that is not a plain "no" is "later"
 */
#include "../scheme/scheme.h"
#include "task.h"

#include <crypt.h>
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <shadow.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ENTRY_BYTES = 4096, ENTRY_BYTES_MAX = 1 << 20 };
#define DEFAULT_SCHEME "CRYPT"

/* What getpwnam_r and its like return, with a buffer that grows. */
struct entry {
    char *text;
    size_t bytes;
    int error;
};

static bool grow(struct entry *e)
{
    if (e->text && (e->error != ERANGE || e->bytes >= ENTRY_BYTES_MAX))
        return false;
    free(e->text);
    e->bytes = e->bytes ? 2 * e->bytes : ENTRY_BYTES;
    e->text = mem_new(e->bytes);
    return true;
}

static void wipe(struct entry *e)
{
    mem_wipe(e->text, e->bytes);
    free(e->text);
}

/* Some libraries say it so. */
static bool is_no(int error) { return error == 0 || error == ENOENT || error == ESRCH; }

static struct passwd *find_user(struct entry *e, const char *name, struct passwd *pw)
{
    struct passwd *found = NULL;

    while (grow(e))
        e->error = getpwnam_r(name, pw, e->text, e->bytes, &found);
    return found;
}

static struct msg *not_found(const struct entry *e, const char *call)
{
    char why[AUTH_WORKER_TEXT_BYTES];

    if (is_no(e->error))
        return msg_new("none");
    snprintf(why, sizeof why, "%s() failed: %s", call, strerror(e->error));
    return task_later(why);
}

struct msg *account_task(struct msg *in)
{
    const char *user = msg_get_str(in, "user", AUTH_WORKER_NAME_BYTES);
    struct entry e = { 0 };
    struct passwd pw;
    struct msg *out;

    if (!msg_done(in))
        return NULL;
    if (find_user(&e, user, &pw) == NULL) {
        out = not_found(&e, "getpwnam");
    } else if (strlen(pw.pw_dir) > AUTH_WORKER_HOME_BYTES || strlen(pw.pw_name) > AUTH_WORKER_NAME_BYTES) {
        out = task_later("the name or home of the user is too long");
    } else {
        out = msg_new("found");
        msg_put_str(out, "user", pw.pw_name);
        msg_put_num(out, "uid", pw.pw_uid);
        msg_put_num(out, "gid", pw.pw_gid);
        msg_put_str(out, "home", pw.pw_dir);
    }
    wipe(&e);
    return out;
}

static struct msg *number(uint32_t id)
{
    struct msg *out = msg_new("found");

    msg_put_num(out, "id", id);
    return out;
}

struct msg *uid_task(struct msg *in)
{
    const char *name = msg_get_str(in, "name", AUTH_WORKER_NAME_BYTES);
    struct entry e = { 0 };
    struct passwd pw;
    struct msg *out;

    if (!msg_done(in))
        return NULL;
    out = find_user(&e, name, &pw) ? number(pw.pw_uid) : not_found(&e, "getpwnam");
    wipe(&e);
    return out;
}

struct msg *gid_task(struct msg *in)
{
    const char *name = msg_get_str(in, "name", AUTH_WORKER_NAME_BYTES);
    struct group gr, *found = NULL;
    struct entry e = { 0 };
    struct msg *out;

    if (!msg_done(in))
        return NULL;
    while (grow(&e))
        e.error = getgrnam_r(name, &gr, e.text, e.bytes, &found);
    out = found ? number(gr.gr_gid) : not_found(&e, "getgrnam");
    wipe(&e);
    return out;
}

static bool in_range(const struct passwd *pw, uint32_t first, uint32_t last)
{
    return pw->pw_uid >= first && (last == 0 || pw->pw_uid <= last) && strlen(pw->pw_name) <= AUTH_WORKER_NAME_BYTES;
}

int each_task(struct msg *in, int fd)
{
    uint32_t first = (uint32_t) msg_get_num(in, "first", 0, UINT32_MAX),
             last = (uint32_t) msg_get_num(in, "last", 0, UINT32_MAX);
    const struct passwd *pw;
    struct msg *m;
    int rc = 0;

    if (!msg_done(in))
        return -1;
    setpwent();
    while (rc == 0 && (errno = 0, pw = getpwent()) != NULL)
        if (in_range(pw, first, last)) {
            m = msg_new("user");
            msg_put_str(m, "user", pw->pw_name);
            rc = task_send(fd, &m);
        }
    m = is_no(errno) ? msg_new("end") : task_later(strerror(errno));
    endpwent();
    if (rc < 0)
        msg_free(&m);
    return rc < 0 ? -1 : task_send(fd, &m);
}

/* --- passwords --- */

/* Who does not exist costs a hash too, of the kind that this system makes. */
static void waste(const struct scheme_word *word)
{
    char setting[CRYPT_GENSALT_OUTPUT_SIZE];
    struct err err;

    if (crypt_gensalt_rn(NULL, 0, NULL, 0, setting, (int) sizeof setting))
        (void) scheme_verify(slice_of(setting), DEFAULT_SCHEME, word, &err);
}

static struct msg *verify(const char *user, const char *stored, const struct scheme_word *word)
{
    struct err err;

    if (stored[0] == '\0' || stored[0] == '*' || stored[0] == '!') {
        waste(word);
        return task_verdict(AUTH_WORKER_DISABLED, user, "invalid password field", NULL);
    }
    switch (scheme_verify(slice_of(stored), DEFAULT_SCHEME, word, &err)) {
    case SCHEME_MATCH: return task_verdict(AUTH_WORKER_OK, user, NULL, NULL);
    case SCHEME_MISMATCH: return task_verdict(AUTH_WORKER_MISMATCH, user, "Password mismatch", NULL);
    case SCHEME_BROKEN: break;
    }
    return task_verdict(AUTH_WORKER_LATER, user, err.text, NULL);
}

static struct msg *check(const char *kind, const char *user, const struct scheme_word *word)
{
    bool shadow = strcmp(kind, "shadow") == 0;
    const char *name = NULL, *stored = NULL;
    struct spwd sp, *sp_found = NULL;
    struct entry e = { 0 };
    struct passwd pw;
    struct msg *out;

    if (shadow) {
        while (grow(&e))
            e.error = getspnam_r(user, &sp, e.text, e.bytes, &sp_found);
        if (sp_found)
            name = sp.sp_namp, stored = sp.sp_pwdp;
    } else if (find_user(&e, user, &pw)) {
        name = pw.pw_name, stored = pw.pw_passwd;
    }
    if (stored) {
        out = verify(name, stored, word);
    } else if (is_no(e.error)) {
        waste(word);
        out = task_verdict(AUTH_WORKER_UNKNOWN, user, "unknown user", NULL);
    } else {
        char why[AUTH_WORKER_TEXT_BYTES];
        snprintf(why, sizeof why, "%s() failed: %s", shadow ? "getspnam" : "getpwnam", strerror(e.error));
        out = task_verdict(AUTH_WORKER_LATER, user, why, NULL);
    }
    wipe(&e);
    return out;
}

struct msg *password_task(struct msg *in)
{
    const char *kind = msg_get_str(in, "kind", AUTH_WORKER_SERVICE_BYTES),
               *user = msg_get_str(in, "user", AUTH_WORKER_NAME_BYTES);
    struct slice password = msg_get(in, "password", AUTH_WORKER_PASSWORD_BYTES);
    struct msg *out = NULL;

    if (msg_done(in))
        out = check(kind, user, &(struct scheme_word){ password, user });
    mem_wipe((char *) (uintptr_t) password.p, password.len);
    return out;
}
