/*
 * imap_test - messages and what Dovecot 2.3.19 answered for them
 *
 * testdata holds one file: records of name, message, ENVELOPE, BODYSTRUCTURE, BODY and RFC822.SIZE, each with its
 * length. Each message is fed whole and in pieces of every small size: the answer may not depend on it.
 */
#include "base/file.h"
#include "proto/mime/imap.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

static struct slice take(struct slice *in)
{
    char *end;
    size_t n = strtoul(in->p, &end, 10);
    size_t head = (size_t) (end - in->p) + 1;

    assert(head < in->len && n < in->len - head);
    struct slice s = slice_make(in->p + head, n);
    *in = slice_sub(*in, head + n + 1, in->len);
    return s;
}

static int compare(const char *what, struct slice name, const struct str *got, struct slice want)
{
    if (slice_same(str_slice(got), want))
        return 0;
    fprintf(stderr, "%.*s %s:\n  got  %s\n  want %.*s\n", (int) name.len, name.p, what, got->p, (int) want.len,
            want.p);
    return 1;
}

static int check(struct slice name, struct slice message, const struct slice want[4], size_t piece)
{
    struct arena *a = arena_new();
    struct mime_parser *p = mime_parser_new(a);
    struct str out, body;
    int bad = 0;

    str_init(&out, 0);
    str_init(&body, 0);
    for (size_t i = 0; i < message.len; i += piece) {
        struct slice s = slice_sub(message, i, piece);
        char *copy = mem_strndup(s.p, s.len); /* exact size: ASan sees a read past the piece */
        mime_parser_feed(p, copy, s.len);
        free(copy);
    }
    struct mime_part *root = mime_parser_end(p);
    mime_imap_envelope(root->envelope, &out);
    bad += compare("ENVELOPE", name, &out, want[0]);
    str_reset(&out);
    mime_imap_structure(root, true, &out);
    bad += compare("BODYSTRUCTURE", name, &out, want[1]);
    assert(mime_imap_body(str_slice(&out), &body) == 0);
    bad += compare("BODY from BODYSTRUCTURE", name, &body, want[2]);
    str_reset(&out);
    mime_imap_structure(root, false, &out);
    bad += compare("BODY", name, &out, want[2]);
    str_reset(&out);
    str_printf(&out, "%llu", (unsigned long long) (root->header.virtual + root->body.virtual));
    bad += compare("SIZE", name, &out, want[3]);
    str_reset(&out);
    mime_part_pack(root, &out);
    struct mime_part *copy = mime_part_unpack(str_slice(&out), a);
    assert(copy && copy->body.virtual == root->body.virtual);
    str_reset(&body);
    mime_part_pack(copy, &body);
    assert(slice_same(str_slice(&body), str_slice(&out)));
    str_free(&out);
    str_free(&body);
    arena_free(&a);
    return bad;
}

int main(void)
{
    static const size_t pieces[] = { 1000000, 1, 2, 3, 7, 83, 85 };
    struct str file;
    struct slice in, want[4];
    size_t count = 0;
    int bad = 0;

    str_init(&file, 64 << 20);
    assert(file_read("lib/proto/mime/testdata/dovecot.answers", &file) == 0);
    in = str_slice(&file);
    while (in.len) {
        struct slice name = take(&in), message = take(&in);
        for (size_t i = 0; i < 4; i++)
            want[i] = take(&in);
        for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++)
            if (check(name, message, want, pieces[i]) && ++bad)
                break;
        count++;
    }
    str_free(&file);
    fprintf(stderr, "%zu messages, %d differ\n", count, bad);
    assert(bad == 0 && count > 400);
    return 0;
}
