/*
 * check - the directories of an instance, and what of its configuration is not obeyed
 */
#include "check.h"
#include "layout.h"

#include "../../authd/oauth2/config.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "conf/builtin.h"
#include "conf/mastercf.h"
#include "conf/param.h"
#include "service/jail.h"
#include "table/named.h"
#include "table/sql/mysql.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LANDLOCK_WANTED = 2, LANDLOCK_FULL = 6 };

static struct layout_accounts accounts;

static int make_directory(const char *path, mode_t mode, uid_t uid, gid_t gid)
{
    if (mkdir(path, 0700) < 0 || (geteuid() == 0 && lchown(path, uid, gid) < 0) || chmod(path, mode) < 0) {
        log_error("cannot make directory %s: %s", path, strerror(errno));
        return -1;
    }
    log_warn("created directory %s", path);
    return 0;
}

/* Missing: made. There, but not as it must be: named. */
static int check_directory(const char *path, mode_t mode, uid_t uid, gid_t gid, bool group_matters)
{
    struct stat st;

    if (stat(path, &st) < 0) {
        if (errno == ENOENT)
            return make_directory(path, mode, uid, gid);
        log_error("%s: %s", path, strerror(errno));
        return -1;
    }
    if (!S_ISDIR(st.st_mode)) {
        log_error("%s: not a directory", path);
        return -1;
    }
    if (geteuid() == 0 && st.st_uid != uid)
        log_warn("not owned by uid %u: %s", (unsigned) uid, path);
    if (geteuid() == 0 && group_matters && st.st_gid != gid)
        log_warn("not owned by group %s: %s", conf_setgid_group, path);
    if (st.st_mode & 0022 & ~mode)
        log_warn("writable by others than its owner: %s", path);
    return 0;
}

/* Daemons under accounts of their own reach what is named here only when others may pass each directory above it. */
static void check_way(const char *path)
{
    char *up = mem_strdup(path), *slash;
    struct stat st;

    while (geteuid() == 0 && (slash = strrchr(up, '/')) != NULL && slash > up) {
        *slash = '\0';
        if (stat(up, &st) == 0 && (st.st_mode & S_IXOTH) == 0)
            log_warn("%s (mode %04o) cannot be passed by the daemons' accounts, but leads to %s: chmod o+x %s", up,
                     (unsigned) st.st_mode & 07777, path, up);
    }
    free(up);
}

static int check_directories(void)
{
    int rc = 0;

    if (access(conf_queue_directory, F_OK) < 0 &&
        make_directory(conf_queue_directory, 0755, geteuid() == 0 ? 0 : geteuid(), geteuid() == 0 ? 0 : getegid()) <
            0)
        return -1;
    for (size_t i = 0; i < layout_directory_count; i++) {
        const struct layout_directory *d = &layout_directories[i];
        char *path = mem_printf("%s/%s", conf_queue_directory, d->name);
        uid_t uid = d->mail || geteuid() != 0 ? accounts.mail_uid : 0;
        gid_t gid = d->submit ? accounts.submit_gid : d->mail ? accounts.mail_gid : 0;
        if (check_directory(path, d->mode, uid, gid, d->submit) < 0)
            rc = -1;
        free(path);
    }
    if (check_directory(conf_data_directory, 0700, accounts.mail_uid, accounts.mail_gid, false) < 0)
        rc = -1;
    check_way(conf_queue_directory);
    check_way(conf_data_directory);
    return rc;
}

/* Without it nobody but root submits mail by a command. */
static void check_setgid(void)
{
    struct stat st;

    for (size_t i = 0; geteuid() == 0 && layout_setgid_programs[i]; i++) {
        char *path = mem_printf("%s/%s", conf_command_directory, layout_setgid_programs[i]);
        if (stat(path, &st) == 0 && st.st_gid != accounts.submit_gid)
            log_warn("not owned by group %s: %s (postfix set-permissions mends it)", conf_setgid_group, path);
        else if (stat(path, &st) == 0 && (st.st_mode & 02111) != 02111)
            log_warn("not set-gid or not owner+group+world executable: %s", path);
        free(path);
    }
}

static void check_damaged(void)
{
    char *path = mem_printf("%s/corrupt", conf_queue_directory);
    DIR *dir = opendir(path);
    struct dirent *e;

    while (dir && (e = readdir(dir)) != NULL)
        if (e->d_name[0] != '.')
            log_warn("damaged message: corrupt/%s", e->d_name);
    if (dir)
        closedir(dir);
    free(path);
}

static void unused(void *ctx, const char *where, const char *name, const char *value)
{
    (void) ctx;
    log_warn("%s: unused parameter: %s=%s", where, name, value);
}

static void check_programs(const struct mastercf *m)
{
    for (size_t i = 0; i < m->count; i++) {
        const struct mastercf_service *s = &m->service[i];
        char *path;
        if (strcmp(s->program, "none") == 0)
            continue;
        path = s->program[0] == '/' ? mem_strdup(s->program) : mem_printf("%s/%s", conf_daemon_directory, s->program);
        if (access(path, X_OK) < 0)
            log_warn("%s, line %d: service %s is not started: %s: %s", s->file, s->line, s->name, path,
                     strerror(errno));
        free(path);
    }
}

static void check_oauth2(struct slice name)
{
    char *path = mem_strndup(name.p, name.len);
    struct oauth2_config config;
    struct str text;
    struct err err;

    str_init(&text, OAUTH2_FILE_BYTES);
    if (file_read(path, &text) != 0)
        log_error("%s: %s", path, strerror(errno));
    else if (oauth2_config_parse(path, str_slice(&text), &config, &err) != 0)
        log_error("%s", err.text);
    else
        oauth2_config_free(&config);
    mem_wipe(text.p, text.len);
    str_free(&text);
    free(path);
}

/* Opening says what is wrong in the file. Several values may name one file. */
static void check_database(void *unused, enum table_named_kind kind, struct slice name)
{
    char *spec;

    (void) unused;
    if (kind == TABLE_NAMED_OAUTH2)
        check_oauth2(name);
    if (kind != TABLE_NAMED_SQL && !slice_starts(name, "mysql:"))
        return;
    spec = mem_printf("%s%.*s", kind == TABLE_NAMED_SQL ? "sql:" : "", (int) name.len, name.p);
    (void) table_open(spec, TABLE_FOLD); /* it stays open, so that the next one with this name says nothing */
    free(spec);
}

/* What main.cf and master.cf say and nobody obeys, with file and line. */
static int check_configuration(void)
{
    char *path = mem_printf("%s/master.cf", conf_dir());
    char *registry = mem_printf("%s/%s", conf_daemon_directory, CONF_PARAMS_FILE);
    struct mastercf m = { 0 };
    struct err err;
    int rc = mastercf_parse(&m, CONF_BUILTIN_FILE, slice_of(conf_builtin_services), &err);

    if (rc == 0)
        rc = mastercf_read(path, &m, &err);
    if (rc < 0) {
        log_error("%s", err.text);
    } else {
        check_programs(&m);
        if (access(registry, R_OK) < 0)
            log_warn("%s: %s: unused parameters cannot be told", registry, strerror(errno));
        else if (conf_registry_read(registry) == 0)
            conf_unused(&m, unused, NULL);
        sql_tables_register();
        table_named(check_database, NULL);
    }
    mastercf_free(&m);
    free(registry);
    free(path);
    return rc;
}

static void check_kernel(void)
{
    int abi = jail_landlock_abi();

    if (abi < LANDLOCK_WANTED)
        log_warn("this kernel offers no Landlock (security module \"landlock\" is off, or the kernel is older than "
                 "5.19): daemons are confined by chroot and seccomp alone");
    else if (abi < LANDLOCK_FULL)
        log_info("Landlock ABI %d: signals, TCP ports and truncation are held back by seccomp alone", abi);
}

int postfix_check(bool thorough)
{
    if (layout_accounts(&accounts) < 0 || check_directories() < 0)
        return -1;
    check_damaged();
    if (!thorough)
        return 0;
    check_setgid();
    check_kernel();
    return check_configuration();
}
