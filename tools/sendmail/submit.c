/*
 * sendmail submit - a message from standard input as records to postdrop
 *
 * Callers     sendmail.c
 * Invariants  nothing is queued before the whole input was read without error: postdrop wants the end record
 * Source      Postfix's record order: attributes, F, S, recipients, M, text, X, recipients of -t, E
 */
#include "base/file.h"
#include "base/log.h"
#include "proto/addr/addr.h"
#include "sendmail.h"
#include "../tool.h"

#include <errno.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    TRACE_VERIFY = 1 << 9, /* trace_flags as in queue files */
    TRACE_RECORD = 1 << 10,
    REPLY_BYTES = 4096,
    OUTPUT_BYTES = 64 << 10,
};
static int to_postdrop = -1, from_postdrop = -1;
static pid_t postdrop_pid;
static struct str out; /* records not yet written */

_Noreturn static void fail(int status, const char *why)
{
    if (postdrop_pid > 0)
        (void) kill(postdrop_pid, SIGTERM); /* it removes its file and keeps quiet */
    tool_fatal(status, "%s(%ld): %s", tool_user(), (long) getuid(), why);
}

static void start_postdrop(void)
{
    char *path = mem_printf("%s/postdrop", conf_command_directory);
    int in[2], answer[2];

    if (pipe(in) < 0 || pipe(answer) < 0)
        fail(EX_OSERR, strerror(errno));
    postdrop_pid = fork();
    if (postdrop_pid < 0)
        fail(EX_OSERR, strerror(errno));
    if (postdrop_pid == 0) {
        dup2(in[0], STDIN_FILENO);
        dup2(answer[1], STDOUT_FILENO);
        close(in[0]);
        close(in[1]);
        close(answer[0]);
        close(answer[1]);
        setenv("MAIL_CONFIG", conf_dir(), 1);
        execl(path, "postdrop", "-r", (char *) NULL);
        fprintf(stderr, "sendmail: unable to execute %s -r: %s\n", path, strerror(errno));
        _exit(EX_UNAVAILABLE);
    }
    close(in[0]);
    close(answer[1]);
    to_postdrop = in[1];
    from_postdrop = answer[0];
    free(path);
}

static void write_records(void)
{
    if (file_write_all(to_postdrop, out.p, out.len) < 0 && errno != EPIPE) /* postdrop says itself why it ended */
        fail(EX_TEMPFAIL, strerror(errno));
    str_reset(&out);
}

/* Reads postdrop's two lists of attributes; 0 when the last status was 0. */
static int read_answer(void)
{
    char buf[REPLY_BYTES];
    size_t len = 0;
    ssize_t n;
    int64_t status = -1;

    while (len < sizeof buf - 1 && (n = read(from_postdrop, buf + len, sizeof buf - 1 - len)) > 0)
        len += (size_t) n;
    buf[len] = 0;
    for (const char *p = buf; p < buf + len; p += strlen(p) + 1)
        if (strcmp(p, "status") == 0 && p + 7 < buf + len)
            (void) slice_i64(slice_of(p + 7), 0, INT32_MAX, &status); /* what is no number is no success */
    return status == 0 ? 0 : -1;
}

static void finish_postdrop(void)
{
    int answer, status = 0;

    write_records();
    close(to_postdrop);
    answer = read_answer();
    while (waitpid(postdrop_pid, &status, 0) < 0 && errno == EINTR)
        continue;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0 && answer == 0)
        return;
    if (WIFEXITED(status) && WEXITSTATUS(status) != 0)
        fail(WEXITSTATUS(status) == EX_UNAVAILABLE || WEXITSTATUS(status) == EX_NOPERM ? WEXITSTATUS(status)
                                                                                       : EX_TEMPFAIL,
             "the message was not stored");
    fail(EX_TEMPFAIL, "the message was not stored: postdrop ended early");
}

/* The first address of text in internal form; "" for "" and "<>". */
static void one_address(const char *text, struct str *address)
{
    struct addr_list list = { .in = slice_of(text) };
    struct addr_item item;

    str_reset(address);
    while (addr_list_next(&list, &item, address))
        if (item.kind == ADDR_MAILBOX)
            return;
    str_reset(address);
}

static void put_recipients(const char *text, size_t len, int notify)
{
    struct addr_list list = { .in = slice_make(text, len) };
    struct addr_item item;
    struct str address;

    str_init(&address, RECORD_BYTES / 2);
    while (addr_list_next(&list, &item, &address)) {
        if (item.kind != ADDR_MAILBOX || address.len == 0)
            continue;
        for (size_t i = 0; i < address.len; i++)
            if (address.p[i] == '\r' || address.p[i] == '\n') /* a folded header, in quotes */
                address.p[i] = ' ';
        if (notify)
            record_printf(&out, REC_ATTR, "notify_flags=%d", notify);
        record_put(&out, REC_RCPT, str_slice(&address));
    }
    str_free(&address);
}

/* Name of the user for From:, from -F, $NAME or the password file, where & stands for the login name. */
static void put_full_name(const struct submission *s)
{
    const char *name = s->full_name ? s->full_name : getenv("NAME");
    struct passwd *pw = getpwuid(getuid());
    struct str full;

    str_init(&full, ADDR_BYTES);
    if (name) {
        str_adds(&full, name);
    } else if (pw) {
        for (const char *p = pw->pw_gecos ? pw->pw_gecos : ""; *p && !strchr(",;%", *p); p++)
            if (*p == '&' && pw->pw_name[0]) {
                str_addc(&full, ascii_upper(pw->pw_name[0]));
                str_adds(&full, pw->pw_name + 1);
            } else {
                str_addc(&full, *p);
            }
    }
    for (size_t i = 0; i < full.len; i++)
        if (full.p[i] == '\n' || full.p[i] == '\r')
            full.p[i] = ' ';
    if (full.len)
        record_put(&out, REC_FULL, str_slice(&full));
    str_free(&full);
}

static void put_envelope(const struct submission *s, const struct str *sender)
{
    if (s->envid)
        record_attr(&out, "envelope_id", s->envid);
    if (s->ret)
        record_printf(&out, REC_ATTR, "ret_flags=%d", s->ret);
    record_attr(&out, "rewrite_context", s->gateway ? "remote" : "local");
    put_full_name(s);
    record_put(&out, REC_FROM, str_slice(sender));
    if (s->encoding)
        record_attr(&out, "encoding", s->encoding);
    if (s->verify || s->report)
        record_printf(&out, REC_ATTR, "trace_flags=%d", s->verify ? TRACE_VERIFY : TRACE_RECORD);
    if (s->verp)
        record_puts(&out, REC_VERP, s->verp);
    for (const char *const *r = s->recipients; *r; r++)
        put_recipients(*r, strlen(*r), s->notify);
}

/* What -t collects while the header goes by. */
struct headers {
    struct str field;         /* the logical header at hand */
    struct str plain, resent; /* values of recipient headers, comma separated */
    bool ended;
};

static void end_field(struct headers *h)
{
    static const char *const names[] = { "To", "Cc", "Bcc" };
    struct slice field = str_slice(&h->field), name;
    ptrdiff_t colon = slice_find(field, ':');

    if (colon > 0) {
        name = slice_trim(slice_sub(field, 0, (size_t) colon));
        bool resent = slice_casestarts(name, "Resent-");
        if (resent)
            name = slice_sub(name, strlen("Resent-"), name.len);
        for (size_t i = 0; i < 3; i++)
            if (slice_caseeq(name, names[i])) {
                struct str *to = resent ? &h->resent : &h->plain;
                str_addslice(to, slice_sub(field, (size_t) colon + 1, field.len));
                str_addc(to, ',');
            }
    }
    str_reset(&h->field);
}

static void watch_header(struct headers *h, struct slice line)
{
    if (h->ended)
        return;
    if (line.len && (line.p[0] == ' ' || line.p[0] == '\t') && h->field.len) {
        str_addc(&h->field, '\n');
        str_addslice(&h->field, line);
        return;
    }
    end_field(h);
    if (line.len == 0 || slice_find(line, ':') <= 0)
        h->ended = true;
    else
        str_addslice(&h->field, line);
}

static void put_line(struct slice line)
{
    size_t max = (size_t) conf_line_length_limit;

    while (line.len > max) {
        record_put(&out, REC_CONT, slice_sub(line, 0, max));
        line = slice_sub(line, max, line.len);
    }
    record_put(&out, REC_NORM, line);
    if (out.len >= OUTPUT_BYTES)
        write_records();
}

static bool is_unix_from(struct slice line)
{
    while (line.len && line.p[0] == '>')
        line = slice_sub(line, 1, line.len);
    return slice_starts(line, "From ");
}

static void put_message(const struct submission *s, struct headers *h)
{
    const char *fix = conf_value("sendmail_fix_line_endings");
    bool strip = fix == NULL || strcasecmp(fix, "always") == 0, strict = fix && strcasecmp(fix, "strict") == 0;
    bool first = true, top = true;
    char *buf = NULL;
    size_t cap = 0;
    ssize_t n;

    while ((n = getline(&buf, &cap, stdin)) > 0) {
        struct slice line = slice_make(buf, (size_t) n);
        if (line.p[line.len - 1] == '\n')
            line.len--;
        bool cr = line.len && line.p[line.len - 1] == '\r';
        if (first && strict)
            strip = cr;
        first = false;
        if (cr && strip)
            line.len--;
        if (top && is_unix_from(line))
            continue; /* the separator of a mailbox file */
        top = false;
        if (!s->dot_is_text && slice_eq(line, "."))
            break;
        if (s->from_headers)
            watch_header(h, line);
        put_line(line);
    }
    if (ferror(stdin))
        fail(EX_DATAERR, "error reading input");
    end_field(h);
    free(buf);
}

static void put_probe(const struct submission *s, const struct str *sender)
{
    struct str line;

    str_init(&line, RECORD_BYTES / 2);
    str_adds(&line, "From: ");
    addr_quote(&line, str_slice(sender));
    put_line(str_slice(&line));
    put_line(SLICE("Subject: probe"));
    put_line(SLICE("To:"));
    for (const char *const *r = s->recipients; *r; r++) {
        str_set(&line, "\t");
        str_adds(&line, *r);
        if (r[1])
            str_addc(&line, ',');
        put_line(str_slice(&line));
    }
    str_free(&line);
}

void submit(const struct submission *s)
{
    struct headers h = { .ended = false };
    struct str sender;

    str_init(&sender, RECORD_BYTES / 2);
    str_init(&h.field, (size_t) conf_header_size_limit);
    str_init(&h.plain, STR_UNLIMITED);
    str_init(&h.resent, STR_UNLIMITED);
    str_init(&out, STR_UNLIMITED);
    if (s->sender)
        one_address(s->sender, &sender);
    else
        str_adds(&sender, tool_user());
    if (!s->from_headers && *s->recipients == NULL)
        fail(EX_USAGE, "Recipient addresses must be specified on the command line or via the -t option");
    start_postdrop();
    if (s->verp && sender.len == 0)
        tool_fatal(EX_USAGE, "%s(%ld): -V option requires non-null sender address", tool_user(), (long) getuid());
    put_envelope(s, &sender);
    record_puts(&out, REC_MESG, "");
    if (s->verify)
        put_probe(s, &sender);
    else
        put_message(s, &h);
    record_puts(&out, REC_XTRA, "");
    if (s->from_headers) {
        const struct str *list = h.resent.len ? &h.resent : &h.plain;
        size_t before = out.len;
        put_recipients(list->p, list->len, s->notify);
        if (out.len == before && *s->recipients == NULL)
            fail(EX_USAGE, "No recipient addresses found in message header");
    }
    record_puts(&out, REC_END, "");
    finish_postdrop();
    if (s->verify || s->report)
        printf("Mail Delivery Status Report will be mailed to <%s>.\n", sender.p);
    str_free(&h.field);
    str_free(&h.plain);
    str_free(&h.resent);
    str_free(&sender);
    str_free(&out);
}
