/*
 * session_test - conversations with lmtpd over a socket pair, into scratch Maildirs
 */
#include "lmtpd.h"

#include "base/file.h"
#include "base/time.h"
#include "store/message.h"

#include <assert.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[200];

static void serve(void *arg)
{
    struct service_peer peer = { 0 };
    struct stream *s = stream_new((int) (intptr_t) arg);

    lmtpd_session(s, &peer);
    (void) stream_flush(s);
    stream_free(&s);
}

/* Sends all at once (PIPELINING); the answers as one text. */
static char *talk(const char *text, size_t len)
{
    int fds[2];
    struct str out;
    char buf[4096];
    ssize_t n;

    assert(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0);
    fiber_go("lmtpd", serve, (void *) (intptr_t) fds[1]);
    struct stream *s = stream_new(fds[0]);
    stream_write(s, text, len);
    assert(stream_flush(s) == 0);
    shutdown(fds[0], SHUT_WR);
    str_init(&out, 1 << 20);
    while ((n = stream_read(s, buf, sizeof buf)) > 0)
        str_add(&out, buf, (size_t) n);
    stream_free(&s);
    return str_take(&out);
}

static char *mail_of(const char *user)
{
    char path[400];
    struct str text;
    struct dirent *e;
    DIR *d;

    snprintf(path, sizeof path, "%s/mail/example.test/%s/new", dir, user);
    str_init(&text, 1 << 24);
    if ((d = opendir(path)) == NULL)
        return str_take(&text);
    while ((e = readdir(d)) != NULL) {
        if (e->d_name[0] == '.')
            continue;
        size_t had = text.len;
        char file[700];
        snprintf(file, sizeof file, "%s/%s", path, e->d_name);
        assert(file_read(file, &text) == 0);
        char tag[64];
        snprintf(tag, sizeof tag, ",S=%zu,W=", text.len - had);
        assert(strstr(e->d_name, tag));
        unlink(file);
    }
    closedir(d);
    return str_take(&text);
}

static size_t count(const char *text, const char *what)
{
    size_t n = 0;

    for (; (text = strstr(text, what)) != NULL; text++)
        n++;
    return n;
}

#define HELLO "LHLO client.test\r\n"

static void test_delivery(void)
{
    const char one[] = HELLO "MAIL FROM:<s@x.test> BODY=8BITMIME\r\nRCPT TO:<alice+ext@example.test>\r\nDATA\r\n"
                             "Subject: hi\r\n\r\n..dot\r\nbare\rcr\r\n.\r\nQUIT\r\n";
    char *answer = talk(one, sizeof one - 1), *mail = mail_of("alice");

    assert(strstr(answer, "250 2.0.0 <alice+ext@example.test> ") && strstr(answer, " Saved\r\n221 2.0.0 Bye\r\n"));
    assert(strncmp(mail,
                   "Return-Path: <s@x.test>\nDelivered-To: alice+ext@example.test\nReceived: from client.test\n",
                   84) == 0);
    assert(strstr(mail, "\n\tfor <alice+ext@example.test>; ") && strstr(mail, "\nSubject: hi\n\n.dot\nbare\rcr\n"));
    free(answer);
    free(mail);

    const char two[] = HELLO "MAIL FROM:<>\r\nRCPT TO:<alice@example.test>\r\nRCPT TO:<nobody@example.test>\r\n"
                             "RCPT TO:<bob@example.test>\r\nDATA\r\nSubject: two\r\n\r\nx\r\n.\r\n";
    answer = talk(two, sizeof two - 1);
    assert(strstr(answer, "550 5.1.1 <nobody@example.test> User doesn't exist: nobody@example.test\r\n"));
    assert(count(answer, " Saved\r\n") == 2 && strstr(answer, ":R2 Saved"));
    mail = mail_of("alice");
    assert(strstr(mail, "Return-Path: <>\nReceived:") && !strstr(mail, "Delivered-To") && !strstr(mail, "for <"));
    free(mail);
    mail = mail_of("bob");
    assert(strstr(mail, "Subject: two\n\nx\n"));
    free(mail);
    free(answer);
}

static void test_bdat(void)
{
    const char chunks[] = HELLO
        "MAIL FROM:<s@x.test>\r\nRCPT TO:<alice@example.test>\r\nBDAT 14\r\nSubject: c\r\n\r\n"
        "BDAT 9\r\n.\r\nab\r\n..BDAT 3 LAST\r\ncd\r"
        "MAIL FROM:<s@x.test>\r\nBDAT 5 LAST\r\nhelloNOOP\r\n";
    char *answer = talk(chunks, sizeof chunks - 1), *mail = mail_of("alice");

    assert(count(answer, "octets received\r\n") == 2 && count(answer, " Saved\r\n") == 1);
    assert(strstr(mail, "Subject: c\n\n.\nab\n..cd\r\n"));
    assert(strstr(answer, "554 5.5.1 No valid recipients\r\n250 2.0.0 OK\r\n"));
    free(answer);
    free(mail);
}

static void test_refusals(void)
{
    static const struct {
        const char *in, *out;
    } cases[] = {
        { "MAIL FROM:<a@b>\r\n", "503 5.5.1 LHLO needed first\r\n" },
        { "EHLO x\r\n", "500 5.5.1 This is LMTP: say LHLO\r\n" },
        { HELLO "MAIL FROM:<a@b> SIZE=3\r\n", "555 5.5.4 Unsupported parameters\r\n" },
        { HELLO "RCPT TO:<alice@example.test>\r\n", "503 5.5.1 MAIL needed first\r\n" },
        { HELLO "MAIL FROM:<a@b>\r\nDATA\r\n", "554 5.5.1 No valid recipients\r\n" },
        { HELLO "MAIL FROM:<a@b>\r\nMAIL FROM:<a@b>\r\n", "503 5.5.1 MAIL already given\r\n" },
        { HELLO "VRFY a\r\n", "252 2.3.3 Try RCPT instead\r\n" },
        { HELLO "FOO\r\n", "500 5.5.1 Unknown command\r\n" },
        { HELLO "MAIL FROM:<a@b>\r\nRCPT TO:<wrong@example.test>\r\n",
          "451 4.3.0 <wrong@example.test> Temporary internal error\r\n" },
        { HELLO "MAIL FROM:<a@b>\r\nRCPT TO:<mbox@example.test>\r\n",
          "451 4.3.0 <mbox@example.test> Temporary internal error\r\n" },
        { HELLO "BDAT x\r\nQUIT\r\n", "501 5.5.4 Invalid chunk size parameter\r\n" },
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *answer = talk(cases[i].in, strlen(cases[i].in));
        if (!strstr(answer, cases[i].out))
            fprintf(stderr, "%s: %s\n", cases[i].in, answer);
        assert(strstr(answer, cases[i].out));
        free(answer);
    }
    /* The connection breaks in the middle of the data: nothing is delivered, nothing is left in tmp/. */
    const char cut[] = HELLO
        "MAIL FROM:<a@b>\r\nRCPT TO:<alice@example.test>\r\nDATA\r\nSubject: x\r\n\r\n.\n.\r\r\n";
    char *answer = talk(cut, sizeof cut - 1), *mail = mail_of("alice"), path[400];
    assert(!strstr(answer, "Saved") && *mail == '\0');
    free(answer);
    free(mail);
    snprintf(path, sizeof path, "%s/mail/example.test/alice/tmp", dir);
    assert(rmdir(path) == 0 && mkdir(path, 0700) == 0);
}

/* A message over the limit is refused, also for its second recipient; a broken mailbox stops only its own user. */
static void test_limits(void)
{
    struct str text;
    char path[700];

    str_init(&text, 1 << 20);
    str_adds(&text,
             HELLO "MAIL FROM:<a@b>\r\nRCPT TO:<alice@example.test>\r\nRCPT TO:<bob@example.test>\r\nDATA\r\n");
    for (int i = 0; i < 5000; i++)
        str_adds(&text, "0123456789\r\n");
    str_adds(&text, ".\r\n");
    char *answer = talk(text.p, text.len), *mail = mail_of("alice");
    assert(count(answer, "552 5.3.4 ") == 2 && *mail == '\0');
    free(answer);
    free(mail);
    str_free(&text);
    snprintf(path, sizeof path, "rm -rf %s/mail/example.test/alice; touch %s/mail/example.test/alice", dir, dir);
    assert(system(path) == 0);
    const char two[] = HELLO "MAIL FROM:<>\r\nRCPT TO:<alice@example.test>\r\nRCPT TO:<bob@example.test>\r\nDATA\r\n"
                             "Subject: two\r\n\r\nx\r\n.\r\n";
    answer = talk(two, sizeof two - 1);
    assert(
        strstr(answer, "451 4.3.0 <alice@example.test> Temporary internal error\r\n250 2.0.0 <bob@example.test> "));
    mail = mail_of("bob");
    assert(strstr(mail, "Subject: two"));
    free(mail);
    free(answer);
}

static void run(void *arg)
{
    (void) arg;
    test_delivery();
    test_bdat();
    test_refusals();
    test_limits();
    event_stop();
}

int main(void)
{
    static const struct param *const tables[] = { lmtpd_params, userdb_params, mailboxd_params, conf_global_params,
                                                  NULL };
    char text[2000], path[400];

    if (geteuid() == 0) /* no mailbox belongs to root, and all are to be this process's own */
        assert(setresgid(1, 1, 1) == 0 && setresuid(1, 1, 1) == 0);
    snprintf(dir, sizeof dir, "%s/lmtpd-test-%d", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp", (int) getpid());
    assert(mkdir(dir, 0755) == 0);
    snprintf(path, sizeof path, "%s/mail", dir);
    assert(mkdir(path, 0755) == 0);
    int len = snprintf(
        text, sizeof text,
        "myhostname = mail.example.test\nrecipient_delimiter = +\nmessage_size_limit = 20000\n"
        "virtual_mailbox_domains = example.test\nvirtual_mailbox_base = %s/mail\n"
        "virtual_mailbox_maps = inline:{ alice@example.test=example.test/alice/, "
        "bob@example.test=example.test/bob/, wrong@example.test=../x/, mbox@example.test=example.test/m }\n"
        "virtual_uid_maps = static:%u\nvirtual_gid_maps = static:%u\nvirtual_minimum_uid = 1\n",
        dir, (unsigned) geteuid(), (unsigned) getegid());
    snprintf(path, sizeof path, "%s/main.cf", dir);
    FILE *f = fopen(path, "w");
    assert(f && fwrite(text, 1, (size_t) len, f) == (size_t) len && fclose(f) == 0);
    assert(conf_open(dir) == 0 && conf_load(tables) == 0);
    userdb_open();
    event_run(run, NULL);
    snprintf(text, sizeof text, "rm -rf '%s'", dir);
    assert(system(text) == 0);
    return 0;
}
