/* record, dir, writer, reader, envelope: tables, and a file written and read back */
#include "queue/file.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const struct {
    const char *in;
    size_t len;
    int rc, type;
    size_t data;
} heads[] = {
    { "E\0", 2, 1, 'E', 0 },
    { "N\3abc", 5, 1, 'N', 3 },
    { "N\3ab", 4, 0, 0, 0 },
    { "N", 1, 0, 0, 0 },
    { "", 0, 0, 0, 0 },
    { "N\x80\x80\x80\x80\1", 6, -1, 0, 0 },
    { "N\xff\xff\xff\x7f", 5, -1, 0, 0 },
    { "N\x83\0abc", 6, 1, 'N', 3 },
    { "N\x80", 2, 0, 0, 0 },
};

static void test_record(void)
{
    struct str out;

    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
        struct slice in = slice_make(heads[i].in, heads[i].len);
        struct record rec = { 0 };
        assert(record_get(&in, &rec) == heads[i].rc);
        assert(rec.type == heads[i].type && rec.data.len == heads[i].data);
        assert(in.len == (heads[i].rc == 1 ? 0 : heads[i].len));
    }
    str_init(&out, STR_UNLIMITED);
    for (size_t n = 0; n <= 20000; n += 127) {
        char *big = mem_new(n + 1);
        struct record rec;
        str_reset(&out);
        record_put(&out, REC_NORM, slice_make(big, n));
        struct slice in = str_slice(&out);
        assert(record_get(&in, &rec) == 1 && rec.data.len == n && in.len == 0);
        free(big);
    }
    str_free(&out);
}

/* What a real Postfix made of these: see the survey, section 7. */
static const struct {
    const char *id;
    bool is_long;
    long inode;
    const char *path;
} ids[] = {
    { "4AA05AA49A9", false, 0xAA49A9, "deferred/4/4AA05AA49A9" },
    { "05C8BA72674", false, 0xA72674, "deferred/0/05C8BA72674" },
    { "4jX7x14195z1d6cC", true, -2, "deferred/8/4jX7x14195z1d6cC" },
    { "A", false, -1, "deferred/A/A" },
    { "x_y", false, -1, "deferred/x/x_y" },
};

static void test_ids(void)
{
    char id[QUEUE_ID_BYTES], path[QUEUE_PATH_BYTES];

    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
        ino_t inode = 0;
        assert(queue_id_valid(ids[i].id) && queue_id_is_long(ids[i].id) == ids[i].is_long);
        int rc = queue_id_inode(ids[i].id, &inode);
        assert(rc == (ids[i].inode == -1 ? -1 : 0));
        assert(ids[i].inode < 0 || inode == (ino_t) ids[i].inode);
        queue_path(path, "deferred", ids[i].id);
        assert(strcmp(path, ids[i].path) == 0);
        queue_path(path, "active", ids[i].id);
        assert(strlen(path) == strlen("active/") + strlen(ids[i].id));
    }
    assert(!queue_id_valid("") && !queue_id_valid("../x") && !queue_id_valid("a.b") && !queue_id_valid("a/b"));
    for (ino_t inode = 1; inode < (ino_t) 1 << 60; inode *= 37) {
        ino_t back;
        for (int form = 0; form < 2; form++) {
            queue_id_make(id, form, 1795313613565609, inode);
            assert(queue_id_is_long(id) == form && queue_id_inode(id, &back) == 0 && back == inode);
        }
    }
    queue_id_make(id, true, 1795313613565609, 1);
    assert(strncmp(id + 6, "4195z", 5) == 0);
    queue_path(path, "defer", id);
    assert(strncmp(path, "defer/8/", 8) == 0);
    queue_id_make(id, false, 1795313613000042, 0xABCDEF);
    assert(strcmp(id, "0002AABCDEF") == 0);
}

static void test_size(void)
{
    static const struct {
        const char *in;
        int rc;
        int64_t bytes, rcpt;
    } cases[] = {
        { "            311             429               3               0             311               0", 0, 311,
          3 },
        { "17", 0, 17, 0 },
        { "1 2 3", 0, 1, 3 },
        { "", -1, 0, 0 },
        { "-1 2 3", -1, 0, 0 },
        { "1 x 3", -1, 0, 0 },
    };
    char text[QUEUE_SIZE_RECORD_BYTES];

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct queue_size s;
        assert(queue_size_parse(slice_of(cases[i].in), &s) == cases[i].rc);
        if (cases[i].rc == 0)
            assert(s.data_bytes == cases[i].bytes && s.recipients == cases[i].rcpt);
    }
    queue_size_text(&(struct queue_size){ 311, 429, 3, 0, 311, 0 }, text);
    assert(strlen(text) == 95 && strncmp(text, "            311             429", 31) == 0);
}

static int write_file(char id[QUEUE_ID_BYTES], size_t recipients)
{
    struct queue_writer *w = queue_writer_new("incoming", false, 0);
    struct queue_size size = { .recipients = (int64_t) recipients };
    char text[QUEUE_SIZE_RECORD_BYTES];
    struct str rec;

    assert(w);
    strcpy(id, queue_writer_id(w));
    str_init(&rec, STR_UNLIMITED);
    queue_size_text(&size, text);
    record_puts(&rec, REC_SIZE, text);
    record_puts(&rec, REC_TIME, "1795313613 886855");
    record_attr(&rec, "create_time", "1795313631");
    record_attr(&rec, "rewrite_context", "local");
    record_puts(&rec, REC_FROM, "root@example.test");
    record_puts(&rec, REC_PTR, "              0");
    for (size_t i = 0; i < recipients; i++) {
        if (i == 1)
            record_attr(&rec, "notify_flags", "2");
        record_attr(&rec, "dsn_orig_rcpt", "rfc822;all@example.test");
        record_puts(&rec, REC_ORCP, "all@example.test");
        record_printf(&rec, REC_RCPT, "r%zu@example.test", i);
    }
    queue_writer_raw(w, str_slice(&rec));
    queue_writer_record(w, REC_MESG, SLICE(""));
    size.data_offset = queue_writer_offset(w);
    queue_writer_record(w, REC_NORM, SLICE("Subject: x"));
    queue_writer_record(w, REC_CONT, SLICE("long "));
    queue_writer_record(w, REC_NORM, SLICE("line"));
    size.data_bytes = queue_writer_offset(w) - size.data_offset;
    queue_writer_record(w, REC_XTRA, SLICE(""));
    queue_writer_record(w, REC_FILT, SLICE("smtp:[127.0.0.1]:10025"));
    queue_writer_record(w, REC_END, SLICE(""));
    str_free(&rec);
    return queue_writer_finish(&w, &size);
}

static void test_file(void)
{
    char id[QUEUE_ID_BYTES];
    struct stat st;
    struct queue_envelope e;
    struct err err;
    int fd;

    assert(write_file(id, 3) == 0);
    fd = queue_open("incoming", id, O_RDWR);
    assert(fd >= 0 && fstat(fd, &st) == 0 && queue_is_ready(&st));
    assert(strcmp(queue_find(id, &st), "incoming") == 0);
    assert(queue_envelope_read(fd, 100, &e, &err) == 0);
    assert(e.recipient_count == 3 && e.done == 0 && e.more == 0 && e.size.recipients == 3);
    assert(e.arrival_usec == 1795313613886855 && e.create_time == 1795313631);
    assert(strcmp(e.sender, "root@example.test") == 0 && strcmp(e.rewrite_context, "local") == 0);
    assert(strcmp(e.filter, "smtp:[127.0.0.1]:10025") == 0);
    assert(strcmp(e.recipients[1].address, "r1@example.test") == 0 && e.recipients[1].notify == 2);
    assert(e.recipients[2].notify == 0 && strcmp(e.recipients[2].original, "all@example.test") == 0);
    assert(queue_mark_done(fd, e.recipients[1].offset) == 0 && queue_mark_done(fd, e.recipients[1].offset) == 0);
    assert(queue_mark_done(fd, e.recipients[1].offset + 1) < 0 && errno == EBADMSG);

    struct queue_content *c = queue_content_open(fd, &e.size);
    struct slice piece;
    bool ends;
    assert(queue_content_next(c, &piece, &ends) == 1 && ends && slice_eq(piece, "Subject: x"));
    assert(queue_content_next(c, &piece, &ends) == 1 && !ends && slice_eq(piece, "long "));
    assert(queue_content_next(c, &piece, &ends) == 1 && ends && slice_eq(piece, "line"));
    assert(queue_content_next(c, &piece, &ends) == 0);
    queue_content_free(&c);
    queue_envelope_free(&e);

    assert(queue_envelope_read(fd, 100, &e, &err) == 0 && e.recipient_count == 2 && e.done == 1);
    queue_envelope_free(&e);
    close(fd);
    assert(queue_move(id, "incoming", "deferred") == 0);
    assert(strcmp(queue_find(id, &st), "deferred") == 0);
    struct queue_scan *scan = queue_scan_open("deferred");
    const char *path;
    assert(strcmp(queue_scan_next(scan, &path), id) == 0 && strncmp(path, "deferred/", 9) == 0);
    assert(queue_scan_next(scan, &path) == NULL);
    queue_scan_free(&scan);
    assert(queue_remove("deferred", id) == 0 && queue_find(id, &st) == NULL && errno == ENOENT);
}

/* Every recipient is seen once, however many are taken at a time. */
static void test_parts(void)
{
    char id[QUEUE_ID_BYTES];
    struct err err;

    assert(write_file(id, 1000) == 0);
    int fd = queue_open("incoming", id, O_RDWR);
    for (size_t part = 1; part < 1200; part = part * 3 + 1) {
        struct queue_envelope e;
        size_t seen = 0;
        assert(queue_envelope_read(fd, part, &e, &err) == 0);
        do {
            for (size_t i = 0; i < e.recipient_count; i++, seen++) {
                char want[64];
                snprintf(want, sizeof want, "r%zu@example.test", seen);
                assert(strcmp(e.recipients[i].address, want) == 0);
                assert(strcmp(e.recipients[i].original, "all@example.test") == 0);
                assert(e.recipients[i].notify == (seen == 1 ? 2 : 0));
            }
        } while (e.more && queue_envelope_more(fd, part, &e, &err) == 0);
        assert(seen == 1000);
        assert(strcmp(e.filter, "smtp:[127.0.0.1]:10025") == 0);
        queue_envelope_free(&e);
    }
    close(fd);
}

static void test_cancel_and_damage(void)
{
    struct queue_writer *w = queue_writer_new("incoming", true, 0);
    char id[QUEUE_ID_BYTES];
    struct stat st;
    struct queue_envelope e;
    struct err err;
    int fd;

    strcpy(id, queue_writer_id(w));
    assert(queue_find(id, &st) && !queue_is_ready(&st));
    queue_writer_record(w, REC_NORM, SLICE("x"));
    queue_writer_cancel(&w);
    assert(queue_find(id, &st) == NULL);

    assert(write_file(id, 3) == 0);
    fd = queue_open("incoming", id, O_RDWR);
    assert(fstat(fd, &st) == 0);
    for (off_t cut = st.st_size - 1; cut >= 0; cut--) { /* no prefix of a file is a whole file */
        assert(ftruncate(fd, cut) == 0);
        assert(queue_envelope_read(fd, 100, &e, &err) < 0 && errno == EBADMSG);
    }
    close(fd);
    queue_remove("incoming", id);

    /* pointers: forwards, backwards without end */
    fd = open("loop", O_RDWR | O_CREAT, 0600);
    struct str s;
    str_init(&s, STR_UNLIMITED);
    record_puts(&s, REC_TIME, "1 1");
    record_puts(&s, REC_PTR, "              0");
    off_t back = (off_t) s.len;
    record_puts(&s, REC_FROM, "");
    record_printf(&s, REC_PTR, "%15ld", (long) back);
    assert(write(fd, s.p, s.len) == (ssize_t) s.len);
    assert(queue_envelope_read(fd, 1, &e, &err) < 0 && errno == EBADMSG);
    close(fd);
    str_free(&s);
}

static void test_user_attributes(void)
{
    static char endless[QUEUE_USER_WORD_BYTES + 10] = "rfc822;";
    const struct {
        const char *name, *value;
        bool may;
    } rows[] = {
        { "trace_flags", "512", true },
        { "trace_flags", "70000", false },
        { "trace_flags", "x", false },
        { "notify_flags", "15", true },
        { "notify_flags", "99", false },
        { "ret_flags", "3", true },
        { "ret_flags", "9", false },
        { "rewrite_context", "local", true },
        { "rewrite_context", "else", false },
        { "envelope_id", "ab+20c", true },
        { "envelope_id", "a b", false },
        { "dsn_orig_rcpt", "rfc822;a b@c", true },
        { "dsn_orig_rcpt", "rfc 822;a", false },
        { "dsn_orig_rcpt", "a@b", false },
        { "dsn_orig_rcpt", endless, false },
        { "log_client_address", "1.2.3.4", false },
        { "sasl_username", "root", false },
    };

    memset(endless + strlen(endless), 'x', sizeof endless - strlen("rfc822;") - 1);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert(queue_user_attribute(slice_of(rows[i].name), slice_of(rows[i].value)) == rows[i].may);
}

int main(void)
{
    char dir[] = "/tmp/queue_test.XXXXXX";

    assert(mkdtemp(dir) && chdir(dir) == 0);
    assert(mkdir("incoming", 0700) == 0 && mkdir("deferred", 0700) == 0);
    conf_hash_queue_depth = 1;
    test_record();
    test_ids();
    test_size();
    test_file();
    test_parts();
    test_cancel_and_damage();
    test_user_attributes();
    char *cmd = mem_printf("rm -rf %s", dir);
    assert(chdir("/") == 0 && system(cmd) == 0);
    free(cmd);
    return 0;
}
