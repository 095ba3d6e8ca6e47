/*
 * postqueue - lists the mail queue and has it tried again
 *
 * Callers     users, mailq, monitoring; set-gid setgid_group to reach public/showq, public/qmgr
 * Invariants  control characters in what the queue holds never reach the terminal
 * Errors      EX_UNAVAILABLE when the mail system is down and the caller may not read the queue himself
 */
#include "base/log.h"
#include "client/qmgr.h"
#include "ipc/client.h"
#include "proto/addr/addr.h"
#include "queue/file.h"
#include "queue/listing.h"
#include "tool.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static const char usage[] =
    "usage: postqueue -f | postqueue -i queueid | postqueue -j | postqueue -p | postqueue -s site\n"
    "  -p  list the queue            -j  the same, one JSON object a line\n"
    "  -f  try all queued mail now   -i  try that message now   -s  try mail for that site now\n"
    "  -c config_dir, -v\n";
enum { REASON_COLUMN = 76, SHORT_ID_WIDTH = 11, LONG_ID_WIDTH = 17 };

/* ---- reading the list ---- */
struct reader {
    FILE *from;
    char *name, *value;
    size_t name_cap, value_cap;
};

_Noreturn static void malformed(void) { tool_fatal(EX_SOFTWARE, "malformed showq server response"); }

static char *read_text(FILE *from, char **buf, size_t *cap)
{
    ssize_t n = getdelim(buf, cap, 0, from);

    if (n <= 0 || (*buf)[n - 1] != 0)
        malformed();
    return *buf;
}

/* The next attribute; false at the end of a list. */
static bool next_attribute(struct reader *r)
{
    if (*read_text(r->from, &r->name, &r->name_cap) == 0)
        return false;
    read_text(r->from, &r->value, &r->value_cap);
    return true;
}

struct message {
    char *queue, *id, *sender;
    int64_t time, size;
    bool expired;
};
/* How one message is shown. */
struct shape {
    void (*begin)(const struct message *);
    void (*recipient)(const char *address, const char *reason, size_t count); /* reason "": none */
    void (*end)(void);
};

static int64_t number(const char *text)
{
    int64_t n;

    if (slice_i64(slice_of(text), INT64_MIN / 2, INT64_MAX / 2, &n) < 0)
        malformed();
    return n;
}

static void take_head(const struct reader *r, struct message *m)
{
    if (strcmp(r->name, "queue_name") == 0)
        m->queue = mem_strdup(r->value);
    else if (strcmp(r->name, "queue_id") == 0)
        m->id = mem_strdup(r->value);
    else if (strcmp(r->name, "time") == 0)
        m->time = number(r->value);
    else if (strcmp(r->name, "size") == 0)
        m->size = number(r->value);
    else if (strcmp(r->name, "forced_expire") == 0)
        m->expired = number(r->value) != 0;
    else if (strcmp(r->name, "sender") == 0)
        m->sender = mem_strdup(r->value);
}

/* One message, whose first attribute was read; false when there was none: the end. */
static bool show_message(struct reader *r, const struct shape *shape, int64_t *bytes)
{
    struct message m = { NULL };
    char *address = NULL, *reason = NULL;
    size_t count = 0;
    bool any = false;

    while (next_attribute(r)) {
        any = true;
        if (strcmp(r->name, "recipient") == 0) {
            if (count == 0 && (m.queue == NULL || m.id == NULL || m.sender == NULL))
                malformed();
            if (count++ == 0)
                shape->begin(&m);
            if (address)
                shape->recipient(address, reason ? reason : "", count - 1);
            free(address);
            free(reason);
            address = mem_strdup(r->value);
            reason = NULL;
        } else if (strcmp(r->name, "reason") == 0) {
            free(reason);
            reason = mem_strdup(r->value);
        } else {
            take_head(r, &m);
        }
    }
    if (any) {
        if (m.queue == NULL || m.id == NULL || m.sender == NULL)
            malformed();
        if (count == 0)
            shape->begin(&m);
        if (address)
            shape->recipient(address, reason ? reason : "", count);
        shape->end();
        *bytes += m.size;
    }
    free(address);
    free(reason);
    free(m.queue);
    free(m.id);
    free(m.sender);
    return any;
}

static FILE *open_list(void);

static size_t show_all(const struct shape *shape, void (*before_first)(void), int64_t *bytes)
{
    struct reader r = { .from = open_list() };
    size_t messages = 0;

    while (next_attribute(&r))
        if (strcmp(r.name, "protocol") != 0 || strcmp(r.value, QUEUE_LISTING_PROTOCOL) != 0)
            malformed();
    for (;;) {
        int c = getc(r.from); /* the heading comes before the first message, if there is one */
        if (c == EOF)
            malformed();
        ungetc(c, r.from);
        if (c && messages == 0 && before_first)
            before_first();
        if (!show_message(&r, shape, bytes))
            break;
        messages++;
    }
    free(r.name);
    free(r.value);
    fclose(r.from);
    return messages;
}

/* ---- -p ---- */
static char *last_reason;

static void put_harmless(const char *text)
{
    bool utf8 = utf8_valid(slice_of(text));

    for (; *text; text++) {
        unsigned char c = (unsigned char) *text;
        putchar(c < ' ' || c == 127 || (c >= 128 && !utf8) ? '?' : c);
    }
}

static void heading(void)
{
    puts(conf_enable_long_queue_ids ? "----Queue ID----- --Size-- ---Arrival Time---- --Sender/Recipient------"
                                    : "-Queue ID-  --Size-- ----Arrival Time---- -Sender/Recipient-------");
}

static bool first_message = true;

static void text_begin(const struct message *m)
{
    char date[64] = "", id[QUEUE_ID_BYTES + 4];
    time_t t = (time_t) m->time;
    struct tm tm;

    if (!first_message)
        putchar('\n');
    first_message = false;
    if (localtime_r(&t, &tm))
        strftime(date, sizeof date, "%a %b %e %H:%M:%S %Y", &tm);
    snprintf(id, sizeof id, "%.*s%s%s", QUEUE_ID_BYTES - 1, m->id,
             strcmp(m->queue, QUEUE_ACTIVE) == 0 ? "*"
             : strcmp(m->queue, QUEUE_HOLD) == 0 ? "!"
                                                 : "",
             m->expired ? "#" : "");
    if (conf_enable_long_queue_ids)
        printf("%-*s %8ld %19.19s ", LONG_ID_WIDTH, id, (long) m->size, date);
    else
        printf("%-*s %7ld %20.20s ", SHORT_ID_WIDTH, id, (long) m->size, date);
    put_harmless(m->sender);
    putchar('\n');
    free(last_reason);
    last_reason = NULL;
}

static void text_recipient(const char *address, const char *reason, size_t count)
{
    (void) count;
    if (*reason && (last_reason == NULL || strcmp(last_reason, reason) != 0)) {
        size_t len = strlen(reason);
        printf("%*s(", len < REASON_COLUMN ? (int) (REASON_COLUMN - len) : 0, "");
        put_harmless(reason);
        puts(")");
        free(last_reason);
        last_reason = mem_strdup(reason);
    } else if (*reason == 0 && last_reason) {
        printf("%*s(reason unavailable)\n", REASON_COLUMN - (int) strlen("reason unavailable"), "");
        free(last_reason);
        last_reason = NULL;
    }
    if (conf_enable_long_queue_ids)
        printf("%-*s %8s %-19s ", LONG_ID_WIDTH, "", "", "");
    else
        printf("%-*s %7s %-20s ", SHORT_ID_WIDTH, "", "", "");
    put_harmless(address);
    putchar('\n');
}

static void text_end(void) {}

static void list_text(void)
{
    static const struct shape shape = { text_begin, text_recipient, text_end };
    int64_t bytes = 0;
    size_t messages = show_all(&shape, heading, &bytes);

    if (messages == 0)
        puts("Mail queue is empty");
    else
        printf("\n-- %ld Kbytes in %zu Request%s.\n", (long) (bytes / 1024), messages, messages == 1 ? "" : "s");
}

/* ---- -j ---- */
static void put_json(const char *text)
{
    bool utf8 = utf8_valid(slice_of(text));

    putchar('"');
    for (; *text; text++) {
        unsigned char c = (unsigned char) *text;
        switch (c) {
        case '"': fputs("\\\"", stdout); break;
        case '\\': fputs("\\\\", stdout); break;
        case '\b': fputs("\\b", stdout); break;
        case '\f': fputs("\\f", stdout); break;
        case '\n': fputs("\\n", stdout); break;
        case '\r': fputs("\\r", stdout); break;
        case '\t': fputs("\\t", stdout); break;
        default:
            if (c < ' ' || c == 127)
                printf("\\u%04X", c);
            else
                putchar(c >= 128 && !utf8 ? '?' : c);
        }
    }
    putchar('"');
}

static void json_begin(const struct message *m)
{
    fputs("{\"queue_name\": ", stdout);
    put_json(m->queue);
    fputs(", \"queue_id\": ", stdout);
    put_json(m->id);
    printf(", \"arrival_time\": %ld, \"message_size\": %ld, \"forced_expire\": %s, \"sender\": ", (long) m->time,
           (long) m->size, m->expired ? "true" : "false");
    put_json(m->sender);
    fputs(", \"recipients\": [", stdout);
}

static void json_recipient(const char *address, const char *reason, size_t count)
{
    (void) count;
    fputs(first_message ? "{\"address\": " : ", {\"address\": ", stdout);
    first_message = false;
    put_json(address);
    if (*reason) {
        fputs(", \"delay_reason\": ", stdout);
        put_json(reason);
    }
    putchar('}');
}

static void json_end(void)
{
    puts("]}");
    first_message = true; /* of recipients, here */
}

static void list_json(void)
{
    static const struct shape shape = { json_begin, json_recipient, json_end };
    int64_t bytes = 0;

    show_all(&shape, NULL, &bytes);
}

/* ---- where the list comes from ---- */
static int put_file(void *ctx, struct slice bytes)
{
    return fwrite(bytes.p, 1, bytes.len, ctx) == bytes.len ? 0 : -1;
}

static FILE *open_list(void)
{
    int fd = ipc_connect("public/showq", 0);
    FILE *f;

    if (fd >= 0) {
        f = fdopen(fd, "r");
        if (f == NULL)
            tool_fatal(EX_OSERR, "fdopen: %s", strerror(errno));
        return f;
    }
    if (access(QUEUE_ACTIVE, R_OK | X_OK) < 0)
        tool_fatal(EX_UNAVAILABLE,
                   "Queue report unavailable - mail system is down (Connect to the %s showq service: %s)",
                   conf_mail_name, strerror(errno));
    log_warn("Mail system is down -- accessing queue directly (Connect to the %s showq service: %s)", conf_mail_name,
             strerror(errno));
    f = tmpfile();
    if (f == NULL || queue_listing(put_file, f) < 0 || fflush(f) != 0 || fseek(f, 0, SEEK_SET) < 0)
        tool_fatal(EX_OSERR, "temporary file: %s", strerror(errno));
    return f;
}

static void flush_all(void)
{
    (void) tool_trigger("public/pickup", "W");
    if (tool_trigger("public/qmgr", QMGR_TRIGGER_FLUSH) < 0)
        tool_fatal(EX_UNAVAILABLE, "Cannot flush mail queue - mail system is down");
}

/* The flush service of Postfix: attributes as on public/showq; its status is 0 when it did it. */
static void flush_some(const char *request, const char *attribute, const char *value)
{
    int fd = ipc_connect("public/flush", 0);
    struct reader r = { NULL };
    const char *status = "";

    if (fd < 0)
        tool_fatal(EX_UNAVAILABLE, "Cannot flush mail queue - mail system is down");
    r.from = fdopen(fd, "r+");
    if (r.from == NULL)
        tool_fatal(EX_OSERR, "fdopen: %s", strerror(errno));
    while (next_attribute(&r)) /* its greeting: protocol=queue_flush_protocol */
        continue;
    fseek(r.from, 0, SEEK_CUR); /* from reading to writing */
    fprintf(r.from, "request%c%s%c%s%c%s%c%c", 0, request, 0, attribute, 0, value, 0, 0);
    fflush(r.from);
    while (next_attribute(&r))
        if (strcmp(r.name, "status") == 0)
            status = mem_strdup(r.value);
    fclose(r.from);
    if (strcmp(status, "4") == 0)
        tool_fatal(EX_UNAVAILABLE, "Flush service is not configured for destination \"%s\"", value);
    if (strcmp(status, "3") == 0)
        tool_fatal(EX_USAGE, "Invalid request: \"%s\"", value);
    if (strcmp(status, "0") != 0)
        tool_fatal(EX_UNAVAILABLE, "Cannot flush mail queue - mail system is down");
}

/* What may stand behind the @ of an address. */
static bool is_site(const char *site)
{
    struct slice s = slice_of(site);

    return s.len > 0 && (s.p[0] == '[' ? addr_literal_valid(s) : addr_domain_utf8_valid(s));
}

static void flush_site(const char *site)
{
    if (!is_site(site))
        tool_fatal(EX_UNAVAILABLE, "Cannot flush mail queue - invalid destination: \"%.100s\"", site);
    flush_some("send_site", "site", site);
}

static void need(const char *parameter, const char *what)
{
    if (!tool_user_may(parameter))
        tool_fatal(EX_NOPERM, "User %s(%ld) is not allowed to %s", tool_user(), (long) getuid(), what);
}

int main(int argc, char **argv)
{
    static const struct option longs[] = { { "help", no_argument, NULL, 'H' }, { NULL, 0, NULL, 0 } };
    const char *config = NULL, *argument = NULL;
    int mode = 0;

    tool_start(argv[0]);
    log_tag("postqueue");
    for (int c; (c = getopt_long(argc, argv, "c:fi:jps:v", longs, NULL)) != -1;) {
        switch (c) {
        case 'c': config = optarg; break;
        case 'v': log_verbose(1); break;
        case 'H': tool_help(usage); break;
        case 'f':
        case 'j':
        case 'p':
        case 'i':
        case 's':
            if (mode && mode != c)
                tool_fatal(EX_USAGE, "only one of -f, -i, -j, -p, -s");
            mode = c;
            argument = optarg;
            break;
        default: mode = '?';
        }
        if (mode == '?')
            break;
    }
    if (mode == 0 || mode == '?' || optind < argc)
        tool_fatal(EX_USAGE,
                   "usage: postqueue -f | postqueue -i queueid | postqueue -j | postqueue -p | postqueue -s site");
    tool_config(config, true);
    tool_enter_queue();
    if (mode == 'p' || mode == 'j')
        need("authorized_mailq_users", "view the mail queue");
    else
        need("authorized_flush_users", "flush the mail queue");
    switch (mode) {
    case 'p': list_text(); break;
    case 'j': list_json(); break;
    case 'f': flush_all(); break;
    case 'i':
        if (!queue_id_valid(argument))
            tool_fatal(EX_UNAVAILABLE, "Cannot flush queue ID - invalid name: \"%.100s\"", argument);
        flush_some("send_file", "queue_id", argument);
        break;
    case 's': flush_site(argument); break;
    }
    if (fflush(stdout) != 0 || ferror(stdout))
        tool_fatal(EX_IOERR, "write output: %s", strerror(errno));
    return EXIT_SUCCESS;
}
