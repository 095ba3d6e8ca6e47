/*
 * nss_probe - a library of accounts that nsswitch.conf can name: one account of its own, and names that never come back
 *
 * Callers     tests/system/test_system_users.py, in the place of libnss_hesiod.so.2
 * Invariants  "pnss" is uid 2300, at home in $home of /etc/nss_probe; a name that begins with "phang" waits for ever;
 *             nobody else is known
 */
#include <errno.h>
#include <nss.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum nss_status _nss_hesiod_getpwnam_r(const char *name, struct passwd *out, char *text, size_t size, int *error);

enum nss_status _nss_hesiod_getpwnam_r(const char *name, struct passwd *out, char *text, size_t size, int *error)
{
    FILE *f;

    if (strncmp(name, "phang", strlen("phang")) == 0)
        for (;;)
            pause();
    if (strcmp(name, "pnss") != 0)
        return NSS_STATUS_NOTFOUND;
    f = fopen("/etc/nss_probe", "re");
    if (f == NULL || size < 64 || fgets(text, (int) size, f) == NULL) {
        *error = EAGAIN;
        return NSS_STATUS_TRYAGAIN;
    }
    fclose(f);
    text[strcspn(text, "\n")] = '\0';
    *out = (struct passwd){ .pw_name = "pnss",
                            .pw_passwd = "x",
                            .pw_uid = 2300,
                            .pw_gid = 2101,
                            .pw_gecos = "",
                            .pw_dir = text,
                            .pw_shell = "/bin/sh" };
    return NSS_STATUS_SUCCESS;
}
