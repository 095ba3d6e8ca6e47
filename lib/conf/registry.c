/*
 * registry - where the parameter list of all daemons is: posthorn.params, made by the build
 */
#include "base/log.h"
#include "base/mem.h"
#include "conf/param.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PATH_BYTES = 4096 };

int conf_registry_open(void)
{
    static const char *const beside[] = { "", "../daemons/", "../lib/posthorn/" };
    const char *daemons = conf_value("daemon_directory");
    char exe[PATH_BYTES], *path, *slash;
    ssize_t n;
    int rc = -1;

    path = mem_printf("%s/" CONF_PARAMS_FILE, daemons ? daemons : ".");
    if (access(path, R_OK) == 0) {
        rc = conf_registry_read(path);
        free(path);
        return rc;
    }
    free(path);
    n = readlink("/proc/self/exe", exe, sizeof exe - 1);
    exe[n > 0 ? n : 0] = 0;
    if ((slash = strrchr(exe, '/')) != NULL)
        slash[1] = 0;
    for (size_t i = 0; slash && i < sizeof beside / sizeof *beside; i++) {
        path = mem_printf("%s%s" CONF_PARAMS_FILE, exe, beside[i]);
        bool there = access(path, R_OK) == 0;
        if (there)
            rc = conf_registry_read(path);
        free(path);
        if (there)
            return rc;
    }
    log_warn("%s is neither in daemon_directory nor near this program: parameters of the daemons are not known",
             CONF_PARAMS_FILE);
    return -1;
}
