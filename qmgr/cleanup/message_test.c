/* cleanup from records to queue file: each row is one message, with a main.cf of its own */
#include "base/file.h"
#include "client/qmgr.h"
#include "conf/param.h"
#include "event/event.h"
#include "message.h"

#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* In place of the rewrite service and the queue manager. */
static bool rewrite_down;
static char arrived[QUEUE_ID_BYTES];

enum lookup rewrite_canonical(enum rewrite_context context, const char *address, struct str *out)
{
    if (rewrite_down)
        return LOOKUP_RETRY;
    str_adds(out, address);
    if (strchr(address, '@') == NULL)
        str_adds(out, context == REWRITE_LOCAL ? "@here.test" : "@remote.invalid");
    return LOOKUP_FOUND;
}

int qmgr_arrived(const char *id)
{
    struct stat st;
    const char *queue = queue_find(id, &st);

    assert(queue && strcmp(queue, "incoming") == 0 && queue_is_ready(&st)); /* told only of what is complete */
    snprintf(arrived, sizeof arrived, "%s", id);
    return 0;
}

static const char aliases[] =
    "virtual_alias_maps = inline:{{all@a.test=x@a.test,y@b.test},{x@a.test=x@a.test,z@c.test},"
    "{@old.test=@new.test},{bad@a.test=},{ping@a.test=pong@a.test},{pong@a.test=ping@a.test}}\n"
    "recipient_delimiter = +\n";

/* Records as "Ttext|Ttext|..."; a file dumped likewise, without C, c, T, and with ids and dates as "#". */
static const struct row {
    const char *name, *conf;
    unsigned flags;
    const char *in;
    int code;
    const char *out;
} rows[] = {
    { "plain", "", CLEANUP_EXTERNAL, "T9 9|Sme|Ryou@b.test|M|NFrom: a@b|NDate: d|NMessage-Id: <i>|N|Nhi|X|E", 0,
      "Sme@here.test|Adsn_orig_rcpt=rfc822;you@b.test|Oyou@b.test|Ryou@b.test|M|NFrom: a@b|NDate: d|NMessage-Id: "
      "<i>|N|"
      "Nhi|X|E" },
    { "local mail is completed", "", CLEANUP_EXTERNAL,
      "T9 9|Arewrite_context=local|FJ. D|Sme|Ryou|M|NTo: you (c), \"q r\" <w>,|N\tme@x.y|NBcc: b|Nreturn-path: "
      "<x>|N|Nt|X|E",
      0,
      "Arewrite_context=local|FJ. D|Sme@here.test|Adsn_orig_rcpt=rfc822;you|Oyou|Ryou@here.test|M|"
      "NTo: you@here.test (c), \"q r\" <w@here.test>,|N\tme@x.y|NMessage-Id: #|NDate: #|NFrom: \"J. D\" "
      "<me@here.test>|N|"
      "Nt|X|E" },
    { "a stranger's headers stay", "", CLEANUP_EXTERNAL,
      "T9 9|Arewrite_context=remote|Sme@x|Ryou@x|M|NTo: you|Nno header|X|E", 0,
      "Arewrite_context=remote|Sme@x|Adsn_orig_rcpt=rfc822;you@x|Oyou@x|Ryou@x|M|NTo: you|N|Nno header|X|E" },
    { "aliases", aliases, CLEANUP_EXTERNAL, "T9 9|S|n6|Rall+e@a.test|Rk@old.test|M|N|X|E", 0,
      "S|Anotify_flags=4|Adsn_orig_rcpt=rfc822;all+e@a.test|Oall+e@a.test|Rx+e@a.test|Anotify_flags=4|"
      "Adsn_orig_rcpt=rfc822;all+e@a.test|Oall+e@a.test|Ry+e@b.test|Anotify_flags=4|Adsn_orig_rcpt=rfc822;all+e@a."
      "test|"
      "Oall+e@a.test|Rz+e@c.test|Adsn_orig_rcpt=rfc822;k@old.test|Ok@old.test|Rk@new.test|M|N|X|E" },
    { "an alias without address defers", aliases, CLEANUP_EXTERNAL, "T9 9|S|Rbad@a.test|M|N|X|E", 451, NULL },
    { "an alias loop defers", aliases, CLEANUP_EXTERNAL, "T9 9|S|Rping@a.test|M|N|X|E", 451, NULL },
    { "a table that fails defers", "virtual_alias_maps = fail:x\n", CLEANUP_EXTERNAL, "T9 9|S|Ra@b|M|N|X|E", 451,
      NULL },
    { "no aliases asked", aliases, 0, "T9 9|S|Rall@a.test|M|N|X|E", 0,
      "S|Adsn_orig_rcpt=rfc822;all@a.test|Oall@a.test|Rall@a.test|M|N|X|E" },
    { "duplicates", "", CLEANUP_EXTERNAL, "T9 9|S|Ra@b|RA@B|Ra@b|M|N|X|Ra@b|E", 0,
      "S|Adsn_orig_rcpt=rfc822;a@b|Oa@b|Ra@b|Adsn_orig_rcpt=rfc822;A@B|OA@B|RA@B|M|N|X|E" },
    { "copies", "always_bcc = log\nsender_bcc_maps = inline:{{s@t=sb@t}}\nrecipient_bcc_maps = inline:{{a@b=rb@t}}\n",
      CLEANUP_EXTERNAL, "T9 9|Ss@t|Ra@b|M|N|X|E", 0,
      "Ss@t|Adsn_orig_rcpt=rfc822;a@b|Oa@b|Ra@b|Anotify_flags=1|Orb@t|Rrb@t|M|N|X|Anotify_flags=1|Osb@t|Rsb@t|"
      "Anotify_flags=1|Olog@here.test|Rlog@here.test|E" },
    { "canonical and masquerade",
      "canonical_maps = inline:{{me@here.test=first.last@h.test}}\nmasquerade_domains = dom\n", CLEANUP_EXTERNAL,
      "T9 9|Arewrite_context=local|Sme|Ra@b|M|NFrom: me|NReply-To: x@sub.dom|NDate: x|NMessage-Id: i|X|E", 0,
      "Arewrite_context=local|Sfirst.last@h.test|Adsn_orig_rcpt=rfc822;a@b|Oa@b|Ra@b|M|NFrom: first.last@h.test|"
      "NReply-To: x@dom|NDate: x|NMessage-Id: i|X|E" },
    { "filter, redirect, encoding", "", CLEANUP_EXTERNAL,
      "T9 9|Lsmtp:x|>r@d|S|Aencoding=8bit|Ra@b|M|N|LLo|Nng|LEnd|X|E", 0,
      "S|Aencoding=8bit|Adsn_orig_rcpt=rfc822;a@b|Oa@b|Ra@b|M|N|LLo|Nng|LEnd|N|X|Lsmtp:x|>r@d|Aencoding=8bit|E" },
    { "too big", "message_size_limit = 20\n", CLEANUP_EXTERNAL, "T9 9|S|Ra@b|M|N|N123456789012345678901|X|E", 552,
      NULL },
    { "loop", "hopcount_limit = 2\n", CLEANUP_EXTERNAL, "T9 9|S|Ra@b|M|NReceived: 1|NReceived: 2|N|X|E", 554, NULL },
    { "nobody", "", CLEANUP_EXTERNAL, "T9 9|S|M|N|X|E", 550, NULL },
    { "no sender", "", CLEANUP_EXTERNAL, "T9 9|Ra@b|M|N|X|E", 451, NULL },
    { "no end", "", CLEANUP_EXTERNAL, "T9 9|S|Ra@b|M|N|X", 451, NULL },
    { "stray CR and LF in the content", "", CLEANUP_EXTERNAL,
      "T9 9|S|Ra@b|M|NSubject: x\nBcc: y\r|N|Na\r\n.|L.\r|N\n.\r\nQUIT|X|E", 0,
      "S|Adsn_orig_rcpt=rfc822;a@b|Oa@b|Ra@b|M|NSubject: x Bcc: y |N|Na  .|L. |N .  QUIT|X|E" },
    { "stray CR is kept on demand", "cleanup_replace_stray_cr_lf = no\n", CLEANUP_EXTERNAL,
      "T9 9|S|Ra@b|M|N|Na\rb|X|E", 0, "S|Adsn_orig_rcpt=rfc822;a@b|Oa@b|Ra@b|M|N|Na\rb|X|E" },
    { "a sender of two lines", "", CLEANUP_EXTERNAL, "T9 9|Sa@b\r\nDATA|Ra@b|M|N|X|E", 451, NULL },
    { "an attribute of two lines", "", CLEANUP_EXTERNAL, "T9 9|Aenvelope_id=x\nDATA|S|Ra@b|M|N|X|E", 451, NULL },
    { "pointer from a client", "", CLEANUP_EXTERNAL, "T9 9|S|p1|Ra@b|M|N|X|E", 451, NULL },
};

static void parse(struct str *out, const char *in)
{
    struct slice rest = slice_of(in), one;

    while (slice_split(&rest, '|', &one))
        record_put(out, one.p[0], slice_sub(one, 1, one.len));
}

static void dump(const char *id, struct str *out)
{
    int fd = queue_open("incoming", id, O_RDONLY);
    struct queue_reader *r = queue_reader_new(fd);
    struct record rec;

    while (queue_reader_next(r, &rec, NULL) == 1) {
        if (rec.type == REC_SIZE || rec.type == REC_TIME || slice_starts(rec.data, "create_time="))
            continue;
        if (out->len)
            str_addc(out, '|');
        str_addc(out, (char) rec.type);
        if (rec.type == REC_NORM && slice_starts(rec.data, "Message-Id: <2"))
            str_adds(out, "Message-Id: #");
        else if (rec.type == REC_NORM && slice_starts(rec.data, "Date: Thu, "))
            str_adds(out, "Date: #");
        else
            str_addslice(out, rec.data);
    }
    queue_reader_free(&r);
    close(fd);
}

static bool queue_empty(void)
{
    struct queue_scan *scan = queue_scan_open("incoming");
    bool empty = queue_scan_next(scan, NULL) == NULL;

    queue_scan_free(&scan);
    return empty;
}

static void configure(const char *text)
{
    static const struct param *const tables[] = { cleanup_params, queue_params, NULL };
    char conf[4000];

    snprintf(conf, sizeof conf, "compatibility_level=3.6\nmyhostname=here.test\nmydestination=\n%s", text);
    assert(file_replace(AT_FDCWD, "main.cf", slice_of(conf), 0600, false) == 0);
    assert(conf_open(".") == 0 && conf_load(tables) == 0 && cleanup_params_open() == 0);
}

static int send_message(unsigned flags, const char *in, struct err *err)
{
    struct message *m = message_new(flags, err);
    struct str records;
    int rc;

    assert(m);
    str_init(&records, STR_UNLIMITED);
    parse(&records, in);
    message_records(m, str_slice(&records));
    rc = message_commit(m, err);
    message_free(&m);
    str_free(&records);
    fiber_yield(); /* the queue manager is told by a fiber of its own */
    return rc;
}

static void run(void *unused)
{
    (void) unused;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct err err = { 0 };
        struct str out;
        configure(rows[i].conf);
        str_init(&out, STR_UNLIMITED);
        arrived[0] = 0;
        send_message(rows[i].flags, rows[i].in, &err);
        if (arrived[0])
            dump(arrived, &out);
        if (err.code != rows[i].code || (rows[i].out && strcmp(out.p, rows[i].out) != 0)) {
            fprintf(stderr, "%s: code %d\n got  %s\n want %s\n", rows[i].name, err.code, out.p,
                    rows[i].out ? rows[i].out : "");
            abort();
        }
        if (arrived[0])
            assert(queue_remove("incoming", arrived) == 0);
        assert(queue_empty()); /* a refused message leaves nothing */
        str_free(&out);
    }
    struct err err = { 0 };
    rewrite_down = true;
    assert(send_message(CLEANUP_EXTERNAL, rows[0].in, &err) < 0 && err.code == 451 && queue_empty());
    rewrite_down = false;
    arrived[0] = 0;
    assert(send_message(CLEANUP_EXTERNAL | CLEANUP_HOLD, rows[0].in, &err) == 0 && queue_empty() && !arrived[0]);
    assert(send_message(CLEANUP_EXTERNAL | CLEANUP_DISCARD, rows[0].in, &err) == 0 && queue_empty() && !arrived[0]);
    event_stop();
}

int main(void)
{
    char dir[] = "/tmp/cleanup_test.XXXXXX";

    assert(mkdtemp(dir) && chdir(dir) == 0);
    assert(mkdir("incoming", 0700) == 0 && mkdir("hold", 0700) == 0);
    event_run(run, NULL);
    char *cmd = mem_printf("rm -rf %s", dir);
    assert(chdir("/") == 0 && system(cmd) == 0);
    free(cmd);
    return 0;
}
