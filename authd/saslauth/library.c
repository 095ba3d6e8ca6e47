/*
 * library - see library.h
 *
 * Callers     authd/saslauth
 * Invariants  libsasl2 calls us from several threads: what they read here does not change after library_open
 *             nothing of level SASL_LOG_PASS is looked at: it holds passwords
 */
#include "library.h"
#include "base/log.h"
#include "base/mem.h"
#include "proto/sasl/dovecot_auth.h"
#include <errno.h>
#include <pthread.h>
#include <sasl/sasl.h>
#include <sasl/saslplug.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    LOG_BYTES = 8192,
    MECHS_MAX = 32,
    NAME_BYTES = 32,
    OPTIONS = 3,
    FILES_MAX = 12,
    PATHS_FIXED = 14,
    PATHS_MAX = 32
};
typedef int (*callback_fn)(void);

const char *library_application;

/* Where plug-ins of Debian look: name service, keys of TLS and Kerberos, clients of MariaDB and LDAP. */
struct service_path library_paths[PATHS_MAX + 1] = {
    { .path = "/dev/urandom" },
    { .path = "/etc/passwd", .optional = true },
    { .path = "/etc/group", .optional = true },
    { .path = "/etc/hosts", .optional = true },
    { .path = "/etc/host.conf", .optional = true },
    { .path = "/etc/gai.conf", .optional = true },
    { .path = "/etc/resolv.conf", .optional = true },
    { .path = "/etc/nsswitch.conf", .optional = true },
    { .path = "/etc/services", .optional = true },
    { .path = "/etc/ssl", .optional = true },
    { .path = "/etc/mysql", .optional = true },
    { .path = "/etc/ldap", .optional = true },
    { .path = "/etc/krb5.conf", .optional = true },
    { .path = "/etc/krb5.keytab", .optional = true },
};

/* Files of options that are also looked for below the queue directory. */
static struct moved {
    const char *option;
    const char *as_written; /* or libsasl2's default */
    bool file;              /* that is opened here, and may be another one tomorrow */
    char *below;
} moved[OPTIONS] = { { .option = "saslauthd_path", .as_written = "/var/run/saslauthd/mux" },
                     { .option = "sasldb_path", .as_written = "/etc/sasldb2", .file = true },
                     { .option = "sql_database", .as_written = "", .file = true } }; /* SQLite's */
static struct watched {
    const char *path;
    bool contents; /* else only which file it is */
    bool exists;
    struct stat seen;
} watched[FILES_MAX];
static size_t watched_count;
static struct mech mechs[MECHS_MAX];
static char names[MECHS_MAX][NAME_BYTES];
static size_t mechs_count;
static _Thread_local struct library_log *current;

static const struct {
    int level;
    const char *words; /* Postfix's */
} levels[] = { { SASL_LOG_ERR, "SASL authentication problem" },
               { SASL_LOG_WARN, "SASL authentication problem" },
               { SASL_LOG_FAIL, "SASL authentication failure" },
               { SASL_LOG_NOTE, NULL },
               { SASL_LOG_DEBUG, NULL } };

static void write_line(int level, struct slice text)
{
    for (size_t n = 0; n < sizeof levels / sizeof *levels; n++)
        if (levels[n].level == level && levels[n].words)
            log_warn("%s: %.*s", levels[n].words, (int) text.len, text.p);
        else if (levels[n].level == level)
            log_debug("libsasl2: %.*s", (int) text.len, text.p);
}

static int on_log(void *ctx, int level, const char *text)
{
    (void) ctx;
    if (text == NULL || level == SASL_LOG_PASS)
        return SASL_OK;
    if (current == NULL)
        write_line(level, slice_of(text));
    else
        str_printf(&current->lines, "%c%s\n", '0' + level, text);
    return SASL_OK;
}

void library_log_init(struct library_log *log) { str_init(&log->lines, LOG_BYTES); }
void library_log_begin(struct library_log *log) { current = log; }
void library_log_end(void) { current = NULL; }

void library_log_write(struct library_log *log)
{
    struct slice rest = str_slice(&log->lines), line;

    while (slice_split(&rest, '\n', &line))
        if (line.len > 1)
            write_line(line.p[0] - '0', slice_sub(line, 1, line.len));
    str_reset(&log->lines);
}

static int on_getopt(void *ctx, const char *plugin, const char *option, const char **result, unsigned *len)
{
    (void) ctx;
    (void) plugin;
    for (size_t n = 0; n < OPTIONS; n++)
        if (strcmp(option, moved[n].option) == 0 && moved[n].below && access(moved[n].below, F_OK) == 0) {
            *result = moved[n].below;
            if (len)
                *len = (unsigned) strlen(moved[n].below);
            return SASL_OK;
        }
    return SASL_FAIL; /* the configuration file says */
}

/* --- locks: an exchange is in one thread at a time, what plug-ins share is not --- */

static void *lock_new(void)
{
    pthread_mutex_t *lock = mem_new(sizeof(pthread_mutex_t));

    pthread_mutex_init(lock, NULL);
    return lock;
}
static int lock_get(void *lock) { return pthread_mutex_lock(lock) == 0 ? SASL_OK : SASL_FAIL; }
static int lock_put(void *lock) { return pthread_mutex_unlock(lock) == 0 ? SASL_OK : SASL_FAIL; }
static void lock_free(void *lock)
{
    pthread_mutex_destroy(lock);
    free(lock);
}

/* --- what the configuration says --- */

static void may_read(const char *path)
{
    size_t n = 0;

    while (n < PATHS_MAX && library_paths[n].path)
        n++;
    if (n == PATHS_MAX)
        log_fatal("more than %d places of SASL configuration", PATHS_MAX - PATHS_FIXED);
    library_paths[n] = (struct service_path){ .path = path, .optional = true };
}

static void watch(const char *path, bool contents)
{
    struct watched *w = &watched[watched_count];

    if (watched_count == FILES_MAX)
        return;
    watched_count++;
    w->path = path;
    w->contents = contents;
    w->exists = stat(path, &w->seen) == 0;
}

bool library_stale(void)
{
    for (size_t n = 0; n < watched_count; n++) {
        const struct watched *w = &watched[n];
        struct stat now;
        bool exists = stat(w->path, &now) == 0;

        if (exists == w->exists && (!exists || (now.st_ino == w->seen.st_ino && now.st_dev == w->seen.st_dev &&
                                                (!w->contents || (now.st_mtim.tv_sec == w->seen.st_mtim.tv_sec &&
                                                                  now.st_mtim.tv_nsec == w->seen.st_mtim.tv_nsec)))))
            continue;
        log_info("%s has changed -- restarting", w->path);
        return true;
    }
    return false;
}

/* A plug-in that is none: what it is given says how libsasl2's configuration is read. */
static int read_options(const sasl_utils_t *utils, int max_version, int *version, sasl_auxprop_plug_t **plug,
                        const char *name)
{
    static sasl_auxprop_plug_t none;

    (void) max_version;
    (void) name;
    for (size_t n = 0; n < OPTIONS; n++) {
        const char *value = NULL;

        if (utils->getopt(utils->getopt_context, NULL, moved[n].option, &value, NULL) == SASL_OK && value)
            moved[n].as_written = mem_strdup(value);
    }
    *version = SASL_AUXPROP_PLUG_VERSION;
    *plug = &none;
    return SASL_NOMECH; /* not to be added */
}

static void find_files(const char *config_path)
{
    struct slice rest = slice_of(config_path), dir;

    while (slice_split(&rest, ':', &dir)) {
        if (dir.len == 0)
            continue;
        may_read(mem_printf("%.*s", (int) dir.len, dir.p));
        watch(mem_printf("%.*s/%s.conf", (int) dir.len, dir.p, library_application), true);
    }
    for (size_t n = 0; n < OPTIONS; n++) {
        if (moved[n].as_written[0] != '/')
            continue;
        moved[n].below = mem_printf("%s%s", conf_queue_directory, moved[n].as_written);
        if (!moved[n].file)
            continue;
        may_read(moved[n].as_written);
        watch(moved[n].as_written, false);
        may_read(moved[n].below);
        watch(moved[n].below, false);
    }
}

/* --- mechanisms --- */

static unsigned flags_of(unsigned security)
{
    static const struct {
        unsigned sasl;
        bool when; /* the flag says so by being set, or by being absent */
        unsigned flag;
    } map[] = { { SASL_SEC_NOPLAINTEXT, false, DOVECOT_AUTH_PLAINTEXT },
                { SASL_SEC_NOACTIVE, false, DOVECOT_AUTH_ACTIVE },
                { SASL_SEC_NODICTIONARY, false, DOVECOT_AUTH_DICTIONARY },
                { SASL_SEC_NOANONYMOUS, false, DOVECOT_AUTH_ANONYMOUS },
                { SASL_SEC_FORWARD_SECRECY, true, DOVECOT_AUTH_FORWARD_SECRECY },
                { SASL_SEC_MUTUAL_AUTH, true, DOVECOT_AUTH_MUTUAL } };
    unsigned out = 0;

    for (size_t n = 0; n < sizeof map / sizeof *map; n++)
        if (((security & map[n].sasl) != 0) == map[n].when)
            out |= map[n].flag;
    return out;
}

static void on_mechanism(server_sasl_mechanism_t *m, sasl_info_callback_stage_t stage, void *rock)
{
    (void) rock;
    for (size_t n = 0; stage == SASL_INFO_LIST_MECH && n < mechs_count; n++)
        if (strcasecmp(mechs[n].name, m->plug->mech_name) == 0)
            mechs[n].flags = flags_of(m->plug->security_flags);
}

/* In the order, and with the choice, of libsasl2 (mech_list). */
static int list_mechanisms(void)
{
    sasl_security_properties_t any = { 0 };
    struct slice rest, name;
    sasl_conn_t *conn = NULL;
    const char *list = "";
    int rc = sasl_server_new("smtp", conf_myhostname, NULL, NULL, NULL, NULL, 0, &conn);

    if (rc == SASL_OK)
        rc = sasl_setprop(conn, SASL_SEC_PROPS, &any);
    if (rc == SASL_OK)
        rc = sasl_listmech(conn, NULL, "", " ", "", &list, NULL, NULL);
    for (rest = slice_of(list); slice_word(&rest, " ", &name);) {
        if (mechs_count == MECHS_MAX || name.len >= NAME_BYTES)
            continue;
        snprintf(names[mechs_count], NAME_BYTES, "%.*s", (int) name.len, name.p);
        mechs[mechs_count] = (struct mech){ .name = names[mechs_count], .engine = &saslauth_engine };
        mechs_count++;
    }
    sasl_dispose(&conn);
    if (rc != SASL_OK)
        return rc;
    rc = sasl_server_plugin_info(NULL, on_mechanism, NULL);
    for (size_t n = 0; n < mechs_count && rc == SASL_OK; n++)
        rc = mech_offer(&mechs[n]) == 0 ? SASL_OK : SASL_NOMEM;
    return rc;
}

int library_open(const char *config_path)
{
    static const sasl_callback_t callbacks[] = { { SASL_CB_GETOPT, (callback_fn) (void (*)(void)) on_getopt, NULL },
                                                 { SASL_CB_LOG, (callback_fn) (void (*)(void)) on_log, NULL },
                                                 { SASL_CB_LIST_END, NULL, NULL } };
    struct library_log unread;
    int rc;

    sasl_set_mutex(lock_new, lock_get, lock_put, lock_free);
    rc = sasl_set_path(SASL_PATH_TYPE_CONFIG, mem_strdup(config_path));
    if (rc == SASL_OK)
        rc = sasl_server_init(callbacks, library_application);
    if (rc == SASL_OK) {
        library_log_init(&unread);
        library_log_begin(&unread); /* it says that this is no plug-in */
        sasl_auxprop_add_plugin("posthorn", read_options);
        library_log_end();
        str_free(&unread.lines);
        find_files(config_path);
        rc = list_mechanisms();
    }
    if (rc == SASL_OK && mechs_count > 0)
        return 0;
    log_error("SASL library: %s (configuration %s.conf in %s)",
              rc == SASL_OK ? "no SASL authentication mechanisms" : sasl_errstring(rc, NULL, NULL),
              library_application, config_path);
    return -1;
}
