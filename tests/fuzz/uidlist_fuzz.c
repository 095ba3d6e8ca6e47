// LINK: store
/* uidlist_fuzz - any bytes as dovecot-uidlist: UIDs rise, names are names, no file name gets two lines' UID */
#include "store/filename.h"
#include "store/uidlist.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>

struct seen {
    uint32_t last;
};

static void on_record(void *ctx, uint32_t uid, struct slice keys, struct slice name)
{
    struct seen *s = ctx;

    assert(uid > s->last && uid < UINT32_MAX);
    assert(name.len && name.len <= 255 && !memchr(name.p, '/', name.len) && !memchr(name.p, '\n', name.len));
    assert(!memchr(keys.p, '\n', keys.len));
    s->last = uid;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct uidlist whole = { 0 }, pieces = { 0 };
    struct seen a = { 0 }, b = { 0 };
    struct slice all = slice_make((const char *) data, size);
    ssize_t used = uidlist_parse(&whole, all, on_record, &a), n;
    size_t at = 0, step = size ? data[size - 1] % 40 + 1u : 1;

    if (used >= 0) { /* whatever the pieces, the same end */
        for (size_t end = 0; end < size;) {
            end = end + step < size ? end + step : size;
            n = uidlist_parse(&pieces, slice_make(all.p + at, end - at), on_record, &b);
            assert(n >= 0);
            at += (size_t) n;
        }
        assert(at == (size_t) used && a.last == b.last && whole.next_uid == pieces.next_uid);
        assert(whole.version == 0 || (whole.uid_validity && whole.next_uid > a.last));
    }
    char name[300];
    struct file_name f;
    size_t len = size < 299 ? size : 299;
    if (len)
        memcpy(name, data, len);
    name[len] = '\0';
    if (file_name_parse(name, &f)) {
        struct str out;
        str_init(&out, 1024);
        file_name_build(&out, f.base, f.flags, f.keywords, f.info);
        struct file_name again;
        if (out.len <= FILE_NAME_BYTES && file_name_parse(out.p, &again))
            assert(again.flags == f.flags && again.keywords == f.keywords && slice_same(again.base, f.base));
        str_free(&out);
    }
    return 0;
}
