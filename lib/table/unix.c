/*
 * unix - passwd.byname and group.byname: the system's accounts as table lines
 *
 * Invariants  a daemon in a chroot does not see /etc/passwd: there it is proxy:unix:passwd.byname
 * Errors      RETRY when the system's databases cannot be asked
 */
#include "base/log.h"
#include "table/internal.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>

enum { RECORD_BYTES = 65536 };

static int unix_open(struct table *t, struct err *err)
{
    if (strcmp(t->name, "passwd.byname") != 0 && strcmp(t->name, "group.byname") != 0)
        return err_set(err, 0, NULL, "unknown table: %s (there are unix:passwd.byname and unix:group.byname)",
                       t->spec);
    return 0;
}

/* What the C library answers for "no such name" differs by back end, see getpwnam_r(3). */
static enum lookup absent(struct table *t, const char *key, int error)
{
    if (error == 0 || error == ENOENT || error == ESRCH)
        return LOOKUP_NONE;
    log_warn("%s: lookup of \"%.100s\": %s", t->spec, key, strerror(error));
    return LOOKUP_RETRY;
}

static enum lookup passwd(struct table *t, const char *key, struct str *out)
{
    char *buf = malloc(RECORD_BYTES);
    struct passwd pw, *found = NULL;
    int error = buf ? getpwnam_r(key, &pw, buf, RECORD_BYTES, &found) : ENOMEM;

    if (found)
        str_printf(out, "%s:%s:%ld:%ld:%s:%s:%s", pw.pw_name, pw.pw_passwd, (long) pw.pw_uid, (long) pw.pw_gid,
                   pw.pw_gecos, pw.pw_dir, pw.pw_shell);
    free(buf);
    return found ? LOOKUP_FOUND : absent(t, key, error);
}

static enum lookup group(struct table *t, const char *key, struct str *out)
{
    char *buf = malloc(RECORD_BYTES);
    struct group gr, *found = NULL;
    int error = buf ? getgrnam_r(key, &gr, buf, RECORD_BYTES, &found) : ENOMEM;

    if (found) {
        str_printf(out, "%s:%s:%ld:", gr.gr_name, gr.gr_passwd, (long) gr.gr_gid);
        for (char **m = gr.gr_mem; *m; m++)
            str_printf(out, m == gr.gr_mem ? "%s" : ",%s", *m);
    }
    free(buf);
    return found ? LOOKUP_FOUND : absent(t, key, error);
}

static enum lookup unix_lookup(struct table *t, const char *key, struct str *out)
{
    return t->name[0] == 'p' ? passwd(t, key, out) : group(t, key, out);
}

const struct table_type table_unix = { .name = "unix", .open = unix_open, .lookup = unix_lookup };
