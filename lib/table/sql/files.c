/* files - certificates, keys and my.cnf files, read before the jail; contract in files.h */
#include "table/sql/files.h"

#include "base/file.h"
#include "base/log.h"
#include "base/time.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILE_BYTES = 8 << 20, OPTION_BYTES = 1 << 20, INCLUDE_DEPTH = 8, STALE_LOOK_MS = 1000 };

/* A file that was read: it is held open, so that its exchange is seen where no name leads any more. */
struct watched {
    struct watched *next;
    char *path;
    int fd;
    struct stat st;
};
static struct watched *watched;

static int read_watched(const char *path, struct str *out, struct err *err)
{
    struct watched *w = mem_new(sizeof *w);

    w->fd = open(path, O_RDONLY | O_CLOEXEC);
    if (w->fd < 0 || fstat(w->fd, &w->st) < 0 || file_read_str(w->fd, out) < 0) {
        err_set(err, 0, NULL, "%s: %s", path, strerror(errno));
        if (w->fd >= 0)
            close(w->fd);
        free(w);
        return -1;
    }
    w->path = mem_strdup(path);
    w->next = watched;
    watched = w;
    return 0;
}

bool sql_pool_stale(const char **path)
{
    static int64_t looked;
    static const char *changed;
    int64_t now = time_mono_ms();

    if (changed == NULL && now - looked >= STALE_LOOK_MS) {
        looked = now;
        for (const struct watched *w = watched; w; w = w->next) {
            struct stat st;
            if (fstat(w->fd, &st) < 0 || st.st_nlink == 0 || st.st_size != w->st.st_size ||
                st.st_mtim.tv_sec != w->st.st_mtim.tv_sec || st.st_mtim.tv_nsec != w->st.st_mtim.tv_nsec)
                changed = w->path;
        }
    }
    *path = changed;
    return changed != NULL;
}

/* Where libmariadb finds the text from now on; lives as long as the process. */
static char *in_memory(const char *name, struct slice text, struct err *err)
{
    int fd = memfd_create(name, MFD_CLOEXEC);

    if (fd >= 0 && file_write_all(fd, text.p, text.len) == 0)
        return mem_printf("/proc/self/fd/%d", fd);
    err_set(err, 0, NULL, "%s: cannot keep a copy in memory: %s", name, strerror(errno));
    if (fd >= 0)
        close(fd);
    return NULL;
}

static int keep_file(const char **name, struct err *err)
{
    struct str text;
    char *copy = NULL;

    if (*name == NULL)
        return 0;
    str_init(&text, FILE_BYTES);
    if (read_watched(*name, &text, err) == 0)
        copy = in_memory(*name, str_slice(&text), err);
    if (text.len)
        mem_wipe(text.p, text.len);
    str_free(&text);
    free((char *) (uintptr_t) *name);
    *name = copy;
    return copy ? 0 : -1;
}

/* A directory of certificates under the names that c_rehash gave them, "HASH.0": all in one. */
static int add_directory(const char *path, struct str *out, struct err *err)
{
    DIR *dir = opendir(path);
    struct dirent *d;

    if (dir == NULL)
        return err_set(err, 0, NULL, "%s: %s", path, strerror(errno));
    while ((d = readdir(dir)) != NULL) {
        const char *dot = strrchr(d->d_name, '.');
        if (dot == NULL || dot - d->d_name != 8 || !ascii_isdigit(dot[1]))
            continue;
        char *file = mem_printf("%s/%s", path, d->d_name);
        if (file_read(file, out) < 0)
            log_warn("%s: %s", file, strerror(errno));
        str_addc(out, '\n');
        free(file);
    }
    closedir(dir);
    return 0;
}

static int keep_authorities(struct sql_connect *how, struct err *err)
{
    struct str text;
    char *copy = NULL;

    if (how->tls_ca_path == NULL)
        return keep_file(&how->tls_ca_file, err);
    str_init(&text, FILE_BYTES);
    if ((how->tls_ca_file == NULL || read_watched(how->tls_ca_file, &text, err) == 0) &&
        add_directory(how->tls_ca_path, &text, err) == 0)
        copy = in_memory(how->tls_ca_path, str_slice(&text), err);
    str_free(&text);
    free((char *) (uintptr_t) how->tls_ca_file);
    free((char *) (uintptr_t) how->tls_ca_path);
    how->tls_ca_file = copy;
    how->tls_ca_path = NULL;
    return copy ? 0 : -1;
}

enum kind { TEXT, YES, SECONDS, HOST, PORT, SOCKET };
static const struct setting {
    const char *name;
    enum kind kind;
    size_t at;
} settings[] = {
    { "user", TEXT, offsetof(struct sql_connect, user) },
    { "password", TEXT, offsetof(struct sql_connect, password) },
    { "database", TEXT, offsetof(struct sql_connect, dbname) },
    { "default-character-set", TEXT, offsetof(struct sql_connect, charset) },
    { "ssl-cert", TEXT, offsetof(struct sql_connect, tls_cert_file) },
    { "ssl-key", TEXT, offsetof(struct sql_connect, tls_key_file) },
    { "ssl-ca", TEXT, offsetof(struct sql_connect, tls_ca_file) },
    { "ssl-capath", TEXT, offsetof(struct sql_connect, tls_ca_path) },
    { "ssl-cipher", TEXT, offsetof(struct sql_connect, tls_ciphers) },
    { "ssl-verify-server-cert", YES, offsetof(struct sql_connect, tls_verify) },
    { "connect-timeout", SECONDS, offsetof(struct sql_connect, connect_timeout) },
    { "host", HOST, 0 },
    { "port", PORT, 0 },
    { "socket", SOCKET, 0 },
};

struct options {
    struct sql_connect *how;
    char *host, *port, *socket;
    bool ours; /* the group that the reader stands in is one we want */
};

static void set_text(char **to, struct slice value)
{
    free(*to);
    *to = mem_strndup(value.p, value.len);
}

static void option_set(struct options *o, const struct setting *s, struct slice value)
{
    char *field = (char *) o->how + s->at;
    uint64_t n;

    switch (s->kind) {
    case TEXT:
        if (*(const char **) (void *) field == NULL)
            *(const char **) (void *) field = mem_strndup(value.p, value.len);
        break;
    case YES:
        *(bool *) field |= !slice_eq(value, "0") && !slice_caseeq(value, "off") && !slice_caseeq(value, "false");
        break;
    case SECONDS:
        if (*(int64_t *) (void *) field == 0 && slice_u64(value, 3600, &n) == 0)
            *(int64_t *) (void *) field = (int64_t) n * 1000;
        break;
    case HOST: set_text(&o->host, value); break;
    case PORT: set_text(&o->port, value); break;
    case SOCKET: set_text(&o->socket, value); break;
    }
}

/* The value as my.cnf writes it: quotes, and \s \n \t \r \b \\ for what they stand for. */
static void option_value(struct slice raw, struct str *out)
{
    raw = slice_trim(raw);
    if (raw.len >= 2 && (raw.p[0] == '"' || raw.p[0] == '\'') && raw.p[raw.len - 1] == raw.p[0])
        raw = slice_sub(raw, 1, raw.len - 2);
    for (size_t i = 0; i < raw.len; i++) {
        static const char letter[] = "sntrb\\", means[] = " \n\t\r\b\\";
        const char *l = raw.p[i] == '\\' && i + 1 < raw.len ? strchr(letter, raw.p[i + 1]) : NULL;
        if (l && *l) {
            str_addc(out, means[l - letter]);
            i++;
        } else {
            str_addc(out, raw.p[i]);
        }
    }
}

static void option_line(struct options *o, struct slice line, const char *path, int number)
{
    ptrdiff_t equals = slice_find(line, '=');
    struct slice name = slice_trim(equals < 0 ? line : slice_sub(line, 0, (size_t) equals));
    struct str value;
    char key[64];

    snprintf(key, sizeof key, "%.*s", (int) name.len, name.p);
    for (char *c = key; *c; c++)
        if (*c == '_')
            *c = '-';
    str_init(&value, OPTION_BYTES);
    if (equals >= 0)
        option_value(slice_sub(line, (size_t) equals + 1, SIZE_MAX), &value);
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++)
        if (strcmp(settings[i].name, key) == 0) {
            option_set(o, &settings[i], str_slice(&value));
            key[0] = '\0';
        }
    if (key[0] && o->how->option_file) /* the usual places are for all clients of this machine */
        log_info("%s, line %d: %s is not used here", path, number, key);
    if (value.len)
        mem_wipe(value.p, value.len);
    str_free(&value);
}

static bool group_wanted(struct slice group, const char *own)
{
    return slice_eq(group, "client") || slice_eq(group, "client-server") || slice_eq(group, "client-mariadb") ||
           (own && slice_eq(group, own));
}

static int option_file(struct options *o, const char *path, int depth, struct err *err);

static int option_include(struct options *o, struct slice line, int depth, struct err *err)
{
    bool directory = slice_starts(line, "!includedir");
    struct slice name = slice_trim(slice_sub(line, directory ? 11 : 8, SIZE_MAX));
    char *path = mem_strndup(name.p, name.len);
    struct dirent **list = NULL;
    int rc = 0, n;

    if (!directory) {
        rc = option_file(o, path, depth + 1, err);
    } else if ((n = scandir(path, &list, NULL, alphasort)) >= 0) {
        for (int i = 0; i < n; i++) {
            if (rc == 0 && slice_caseends(slice_of(list[i]->d_name), ".cnf")) {
                char *file = mem_printf("%s/%s", path, list[i]->d_name);
                rc = option_file(o, file, depth + 1, err);
                free(file);
            }
            free(list[i]);
        }
        free(list);
    }
    free(path);
    return rc;
}

static int option_file(struct options *o, const char *path, int depth, struct err *err)
{
    struct slice rest, line;
    struct str text;
    int rc = 0, number = 0;

    if (depth > INCLUDE_DEPTH)
        return err_set(err, 0, NULL, "%s: included too deep", path);
    str_init(&text, OPTION_BYTES);
    if (read_watched(path, &text, err) < 0) {
        str_free(&text);
        return -1;
    }
    o->ours = false;
    for (rest = str_slice(&text); rc == 0 && slice_split(&rest, '\n', &line);) {
        number++;
        line = slice_trim(line);
        if (line.len == 0 || line.p[0] == '#' || line.p[0] == ';')
            continue;
        if (slice_starts(line, "!include"))
            rc = option_include(o, line, depth, err);
        else if (line.p[0] == '[')
            o->ours = group_wanted(slice_trim(slice_sub(line, 1, line.len - 2)), o->how->option_group);
        else if (o->ours)
            option_line(o, line, path, number);
    }
    mem_wipe(text.p, text.len);
    str_free(&text);
    return rc;
}

/* Without a word on hosts, or with "localhost", libmariadb's users expect what the option file says. */
static void use_place(const struct options *o)
{
    const char *hosts = o->how->hosts;

    if (hosts && strcmp(hosts, "localhost") != 0)
        return;
    if (o->host && strcmp(o->host, "localhost") != 0)
        o->how->hosts = o->port ? mem_printf("inet:[%s]:%s", o->host, o->port) : mem_printf("inet:[%s]", o->host);
    else if (o->socket)
        o->how->hosts = mem_printf("unix:%s", o->socket);
}

static int read_options(struct sql_connect *how, struct err *err)
{
    static const char *const usual[] = { "/etc/my.cnf", "/etc/mysql/my.cnf" };
    struct options o = { .how = how };
    int rc = 0;

    if (how->option_file)
        rc = option_file(&o, how->option_file, 0, err);
    else if (how->option_group)
        for (size_t i = 0; rc == 0 && i < sizeof usual / sizeof *usual; i++)
            if (access(usual[i], F_OK) == 0)
                rc = option_file(&o, usual[i], 0, err);
    if (rc == 0)
        use_place(&o);
    free(o.host);
    free(o.port);
    free(o.socket);
    return rc;
}

int sql_files_read(struct sql_connect *how, struct err *err)
{
    if (read_options(how, err) < 0 || keep_authorities(how, err) < 0 || keep_file(&how->tls_cert_file, err) < 0)
        return -1;
    return keep_file(&how->tls_key_file, err);
}
