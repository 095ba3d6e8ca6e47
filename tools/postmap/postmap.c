/*
 * postmap, postalias, newaliases - build, query and change lookup tables
 *
 * One program by three names: postalias reads aliases(5) sources, newaliases builds every table of alias_database.
 *
 * Callers     administrators, and their scripts: options and exit status are Postfix's
 * Invariants  an index is built beside the old one and renamed over it
 *             hash: and btree: give FILE.cdb, and FILE.db for the day when Postfix is swapped back; a FILE.db that is there
 *             always follows. Built without libdb, it is moved to FILE.db.old instead: none is better than a stale one
 * Errors      exit status 1: a key was not found, or something failed; the reason is on standard error
 */
#include "base/codec.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "conf/param.h"
#include "event/event.h"
#include "ipc/client.h"
#include "table/build.h"
#include "table/proxy.h"
#include "table/sql/mysql.h"
#include "table/table.h"
#include "berkeley.h"
#include "message.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { STDIN_BYTES = 1 << 30, SOURCE_BYTES = 1 << 30, SPECS_MAX = 1000 };
enum action { ACTION_BUILD, ACTION_INCREMENT, ACTION_QUERY, ACTION_DELETE, ACTION_DUMP };

static const char usage[] =
    "usage: %s [-bfFhimoprsvw] [-c config_dir] [-d key] [-q key] [type:]file ...\n"
    "  build the index of each file; a file without type has $default_database_type\n"
    "  -i add entries from standard input    -s list all entries\n"
    "  -q key look up, -d key delete (\"-\": keys from standard input)\n"
    "  -f do not fold keys to lower case     -r replace duplicates   -w ignore duplicates\n"
    "  -p, -o do not take mode and owner of the source\n"
    "  -F values are names of files; what is looked up are their contents\n"
    "  -h, -b with -q -: a message is on standard input; its headers, its body lines are keys\n"
    "  -m with them: those of MIME parts too\n";
enum { OPTION_HELP = 1000, OPTION_PAIRS }; /* no letter */
static const struct option long_options[] = { { "help", no_argument, NULL, OPTION_HELP },
                                              { "pairs", required_argument, NULL, OPTION_PAIRS },
                                              { NULL, 0, NULL, 0 } };

/* The command of this process. */
static enum action action;
static enum build_syntax syntax;
static struct build_options options;
static const char *key;
static unsigned message;     /* enum message_keys: of what is on standard input */
static const char *pairs_of; /* --pairs */
static const char *specs[SPECS_MAX];
static int spec_count, status;

/* Splits "type:file"; the type is new memory. */
static char *type_of(const char *spec, const char **file)
{
    const char *colon = strchr(spec, ':');

    if (colon == NULL || memchr(spec, '/', (size_t) (colon - spec))) {
        *file = spec;
        return mem_strdup(conf_default_database_type);
    }
    *file = colon + 1;
    return mem_strndup(spec, (size_t) (colon - spec));
}

static bool ours(const char *type) { return strcmp(type, "hash") == 0 || strcmp(type, "btree") == 0; }

static int can_build(const char *type, const char *spec)
{
    if (ours(type) || strcmp(type, "cdb") == 0)
        return 0;
    log_error("unsupported map type for this operation: %s", spec);
    return -1;
}

static void set_db_aside(const char *file, const char *db)
{
    char *old = mem_printf("%s.old", db);

    if (access(db, F_OK) == 0) {
        if (rename(db, old) == 0)
            log_info("%s.cdb is the index now; %s was moved to %s", file, db, old);
        else
            log_warn("move %s away: %s", db, strerror(errno));
    }
    free(old);
}

/* Before FILE.cdb: which of the two is newer says whose it is. */
static int write_db(const char *type, const char *file, const struct build *b, const struct stat *source,
                    struct err *err)
{
    char *db = mem_printf("%s.db", file);
    enum berkeley_kind kind = strcmp(type, "btree") == 0 ? BERKELEY_BTREE : BERKELEY_HASH;
    bool there = access(db, F_OK) == 0;
    int rc = 0;

    if (berkeley_here() && (ours(type) || there)) {
        if (!ours(type))
            (void) berkeley_kind(db, &kind);
        rc = berkeley_write(db, kind, b, options.own_mode ? NULL : source, err);
    } else {
        set_db_aside(file, db);
    }
    free(db);
    return rc;
}

static int read_stdin(struct str *text)
{
    char buf[16384];
    ssize_t n;

    while ((n = file_read_all(STDIN_FILENO, buf, sizeof buf)) > 0)
        str_add(text, buf, (size_t) n);
    if (n == 0 && !str_over(text))
        return 0;
    log_error("read standard input: %s", n < 0 ? strerror(errno) : "too much");
    return -1;
}

/* Opens the index for changes: what it holds is loaded. */
static struct build *load(const char *type, const char *file, struct err *err)
{
    struct build *b = build_new(file, &options, err);
    char *index = mem_printf("%s.cdb", file);
    int rc = 0;

    if (b)
        rc = ours(type) && build_state(file) == BUILD_OVERTAKEN ? build_import(b, file, err)
                                                                : build_load(b, index, err);
    if (rc < 0)
        build_cancel(&b);
    free(index);
    return b;
}

/* Debian's postalias puts these into each of its files, as NIS once wanted. */
static void nis_entries(struct build *b)
{
    char when[32];

    snprintf(when, sizeof when, "%10ld", (long) time(NULL));
    build_put(b, SLICE("YP_LAST_MODIFIED"), slice_of(when));
    build_put(b, SLICE("YP_MASTER_NAME"), slice_of(conf_myhostname));
    build_put(b, SLICE("@"), SLICE("@"));
}

static int finish(struct build **b, const char *type, const char *file, struct err *err)
{
    struct stat st, *source = stat(file, &st) == 0 ? &st : NULL;

    if (syntax == BUILD_ALIASES)
        nis_entries(*b);
    if (!build_refused(*b) && write_db(type, file, *b, source, err) < 0) {
        build_cancel(b);
        return -1;
    }
    return build_finish(b, source, err);
}

static int increment(const char *type, const char *file, struct err *err)
{
    struct build *b = load(type, file, err);
    struct str text;
    int rc = -1;

    if (b == NULL)
        return -1;
    str_init(&text, STDIN_BYTES);
    if (read_stdin(&text) == 0) {
        build_read(b, syntax, "stdin", str_slice(&text));
        rc = finish(&b, type, file, err);
    } else {
        err_set(err, 0, NULL, "%s.cdb is left as it is", file);
        build_cancel(&b);
    }
    str_free(&text);
    return rc;
}

static int from_source(const char *type, const char *file, struct err *err)
{
    struct build *b = build_new(file, &options, err);
    struct str text;
    int rc = -1;

    if (b == NULL)
        return -1;
    str_init(&text, SOURCE_BYTES);
    if (file_read(file, &text) == 0) {
        build_read(b, syntax, file, str_slice(&text));
        rc = finish(&b, type, file, err);
    } else {
        err_set(err, 0, NULL, "open %s: %s", file, strerror(errno));
        build_cancel(&b);
    }
    str_free(&text);
    return rc;
}

static void build_one(const char *spec)
{
    const char *file;
    char *type = type_of(spec, &file);
    struct err err;
    int rc = can_build(type, spec);

    if (rc == 0) {
        rc = action == ACTION_INCREMENT ? increment(type, file, &err) : from_source(type, file, &err);
        if (rc < 0)
            log_error("%s", err.text);
    }
    if (rc < 0)
        status = 1;
    free(type);
}

/* For build_import: the pairs of FILE.db. */
static int print_import(void *ctx, struct slice k, struct slice value)
{
    (void) ctx;
    printf("+%zu,%zu:", k.len, value.len);
    fwrite(k.p, 1, k.len, stdout);
    fputs("->", stdout);
    fwrite(value.p, 1, value.len, stdout);
    return putchar('\n') == EOF ? -1 : 0;
}

static int pairs(const char *file)
{
    char *db = mem_printf("%s.db", file);
    struct err err;
    int rc = berkeley_read(db, print_import, NULL, &err);

    if (rc < 0)
        log_error("%s", err.text);
    else if (putchar('\n') == EOF || fflush(stdout) == EOF)
        rc = -1;
    free(db);
    return rc < 0 ? 1 : 0;
}

static bool (*each_fn)(const char *, bool show_key);
static void one_of_message(void *any, const char *what) { *(bool *) any |= each_fn(what, true); }

static bool each_of_message(void)
{
    struct str text;
    bool any = false;

    str_init(&text, STDIN_BYTES);
    if (read_stdin(&text) == 0)
        message_keys(str_slice(&text), message, one_of_message, &any);
    str_free(&text);
    return any;
}

/* Runs fn for the key, or for each line of standard input when it is "-". */
static void each_key(bool (*fn)(const char *, bool show_key))
{
    char *line = NULL;
    size_t room = 0;
    ssize_t n;
    bool any = false;

    each_fn = fn;
    if (strcmp(key, "-") != 0) {
        any = fn(key, false);
    } else if (message) {
        any = each_of_message();
    } else {
        while ((n = getline(&line, &room, stdin)) > 0) {
            if (line[n - 1] == '\n')
                line[n - 1] = 0;
            if (fn(line, true))
                any = true;
        }
        free(line);
    }
    if (!any)
        status = 1;
}

static struct table *open_table(const char *spec)
{
    const char *file;
    char *type = type_of(spec, &file), *full = mem_printf("%s:%s", type, file);
    struct table *t = table_open(full, options.keep_case ? 0 : TABLE_FOLD);

    free(full);
    free(type);
    return t;
}

/* A database is asked by the running service where that serves the table, else by this program: the same code. */
static enum lookup look_up(struct table *t, const char *what, struct str *out)
{
    const char *spec = table_spec(t);
    const struct proxy_question q = { .spec = &spec, .specs = 1, .key = &what, .keys = 1, .flags = TABLE_FOLD };
    struct proxy_place at;

    if (strncmp(spec, "mysql:", 6) == 0 && !options.keep_case)
        switch (proxy_ask(&q, out, &at)) {
        case PROXY_FOUND: return LOOKUP_FOUND;
        case PROXY_NONE: return LOOKUP_NONE;
        case PROXY_RETRY: return LOOKUP_RETRY;
        case PROXY_DENIED:
        case PROXY_AWAY: break;
        }
    return table_error(t) ? LOOKUP_RETRY : table_lookup(t, what, out);
}

/* -F: what the value stands for. An index holds base64 of the contents; a text says which files. */
static int contents(const char *spec, struct slice value, struct str *out, struct err *err)
{
    static const char *const texts[] = { "texthash:", "inline:", "static:", "regexp:", "pcre:", "cidr:" };

    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (strncmp(spec, texts[i], strlen(texts[i])) == 0)
            return build_read_files(value, out, err);
    str_reserve(out, value.len);
    if (base64_decode(out, value) != 0)
        return err_set(err, 0, NULL, "malformed BASE64 value: %.30s", value.p);
    return 0;
}

static void print_value(struct table *t, const char *what, bool show_key, struct str *value)
{
    struct str text;
    struct err err;

    if (show_key)
        printf("%s\t", what);
    if (!options.files) {
        puts(value->p);
        return;
    }
    str_init(&text, STDIN_BYTES);
    if (contents(table_spec(t), str_slice(value), &text, &err) != 0) {
        log_error("table %s: key %s: %s", table_spec(t), what, err.text);
        exit(1);
    }
    fwrite(text.p, 1, text.len, stdout);
    putchar('\n');
    str_free(&text);
}

/* The first table with the key answers. */
static bool query_one(const char *what, bool show_key)
{
    bool found = false;

    for (int i = 0; i < spec_count && !found; i++) {
        struct table *t = open_table(specs[i]);
        struct str value;
        enum lookup answer;

        str_init(&value, TABLE_VALUE_BYTES);
        answer = look_up(t, what, &value);
        if (answer == LOOKUP_RETRY) {
            log_error("table %s: query error: %s", table_spec(t),
                      table_error(t) ? table_error(t) : "try again later");
            exit(1);
        }
        found = answer == LOOKUP_FOUND;
        if (found && value.len == 0)
            log_warn("table %s: key %s: empty string result is not allowed", table_spec(t), what);
        if (found)
            print_value(t, what, show_key, &value);
        str_free(&value);
        if (spec_count > 1)
            table_close(&t);
    }
    return found;
}

static struct build *changing;

static bool delete_one(const char *what, bool show_key)
{
    (void) show_key;
    return build_remove(changing, slice_of(what));
}

static void delete_from(const char *spec)
{
    const char *file;
    char *type = type_of(spec, &file);
    struct err err;

    if (can_build(type, spec) < 0) {
        status = 1;
    } else if ((changing = load(type, file, &err)) == NULL) {
        log_error("%s", err.text);
        status = 1;
    } else {
        each_key(delete_one);
        if (finish(&changing, type, file, &err) < 0) {
            log_error("%s", err.text);
            status = 1;
        }
    }
    free(type);
}

static void print_pair(void *ctx, struct slice k, struct slice value)
{
    const char *spec = ctx;
    struct str text;
    struct err err;

    if (options.files) {
        char *copy = mem_strndup(value.p, value.len);
        str_init(&text, STDIN_BYTES);
        if (contents(spec, slice_of(copy), &text, &err) == 0)
            printf("%.*s\t%.*s\n", (int) k.len, k.p, (int) text.len, text.p);
        else
            log_warn("table %s: key %.*s: %s", spec, (int) k.len, k.p, err.text);
        str_free(&text);
        free(copy);
        return;
    }
    printf("%.*s%s\t%.*s\n", (int) k.len, k.p, syntax == BUILD_ALIASES ? ":" : "", (int) value.len, value.p);
}

static void dump(const char *spec)
{
    struct table *t = open_table(spec);

    if (table_each(t, print_pair, (char *) (uintptr_t) table_spec(t)) < 0) {
        log_error("table %s: %s", spec, table_error(t) ? table_error(t) : "it cannot be listed");
        status = 1;
    }
    table_close(&t);
}

static void run(void *arg)
{
    (void) arg;
    if (action == ACTION_QUERY)
        each_key(query_one);
    for (int i = 0; i < spec_count; i++) {
        if (action == ACTION_BUILD || action == ACTION_INCREMENT)
            build_one(specs[i]);
        else if (action == ACTION_DELETE)
            delete_from(specs[i]);
        else if (action == ACTION_DUMP)
            dump(specs[i]);
    }
    sql_pool_close_all();
    event_stop(); /* the connection to proxymap would be kept for ever */
}

static void add_specs(const char *list)
{
    struct slice rest = slice_of(list), word;

    while (slice_word(&rest, ", \t\r\n", &word) && spec_count < SPECS_MAX)
        specs[spec_count++] = mem_strndup(word.p, word.len);
    if (spec_count == 0)
        log_warn("alias_database is empty: there is nothing to build");
}

static int parse(int argc, char **argv, const char **directory)
{
    int letter;

    while ((letter = getopt_long(argc, argv, "Nc:d:fijnopq:rsuUvwbhmF", long_options, NULL)) != -1)
        switch (letter) {
        case 'c': *directory = optarg; break;
        case 'd': action = ACTION_DELETE, key = optarg; break;
        case 'q': action = ACTION_QUERY, key = optarg; break;
        case 's': action = ACTION_DUMP; break;
        case 'i': action = ACTION_INCREMENT; break;
        case 'f': options.keep_case = true; break;
        case 'r': options.duplicate = BUILD_DUP_REPLACE; break;
        case 'w': options.duplicate = BUILD_DUP_IGNORE; break;
        case 'o':
        case 'p': options.own_mode = true; break;
        case 'F': options.files = true; break;
        case 'h': message |= MESSAGE_HEADERS; break;
        case 'b': message |= MESSAGE_BODY; break;
        case 'm': message |= MESSAGE_MIME; break;
        case 'v': log_verbose(1); break;
        case 'N':
        case 'n':
        case 'u':
        case 'U': break; /* how keys end and are encoded: an index of ours has one form */
        case OPTION_PAIRS: pairs_of = optarg; break;
        case OPTION_HELP: fprintf(stdout, usage, program_invocation_short_name); return -1;
        case '?': fprintf(stderr, usage, program_invocation_short_name); return 1;
        default: log_error("option -%c is not supported", letter); return 1;
        }
    if (message == MESSAGE_MIME) {
        log_warn("ignoring -m option without -b or -h");
        message = 0;
    } else if (message && (action != ACTION_QUERY || strcmp(key, "-") != 0)) {
        log_error("specify -b -h or -m only with \"-q -\"");
        return 1;
    }
    return 0;
}

int main(int argc, char **argv)
{
    static const struct param *const params[] = { sql_pool_params, NULL };
    const char *directory = NULL;
    int rc = (log_tag(program_invocation_short_name), parse(argc, argv, &directory));
    bool newaliases = strcmp(program_invocation_short_name, "newaliases") == 0;

    if (rc)
        return rc < 0 ? 0 : rc;
    if (strcmp(program_invocation_short_name, "postmap") != 0)
        syntax = BUILD_ALIASES;
    if (conf_open(directory) < 0 || conf_load(params) < 0)
        return 1;
    if (pairs_of)
        return pairs(pairs_of);
    sql_tables_register();
    ipc_set_queue_directory(conf_queue_directory);
    for (int i = optind; i < argc && spec_count < SPECS_MAX; i++)
        specs[spec_count++] = argv[i];
    if (newaliases)
        add_specs(conf_value("alias_database"));
    if (spec_count == 0 && !newaliases) {
        fprintf(stderr, usage, program_invocation_short_name);
        return 1;
    }
    event_run(run, NULL);
    if (fflush(stdout) == EOF || ferror(stdout)) {
        log_error("write to standard output failed");
        status = 1;
    }
    return status;
}
