// LINK: proto base
/* mime_fuzz - any bytes as a message: parse, print, pack, decode; the pieces of a second feed must not matter */
#include "proto/mime/decode.h"
#include "proto/mime/imap.h"

#include <assert.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *a = arena_new();
    struct str one, two;
    struct slice all = slice_make((const char *) data, size);
    size_t step = size ? data[0] % 90 + 1u : 1;

    str_init(&one, 0);
    str_init(&two, 0);
    struct mime_part *root = mime_parse(all, a);
    mime_imap_structure(root, true, &one);
    mime_imap_envelope(root->envelope, &one);
    struct mime_parser *p = mime_parser_new(a);
    for (size_t i = 0; i < size; i += step)
        mime_parser_feed(p, data + i, size - i < step ? size - i : step);
    struct mime_part *again = mime_parser_end(p);
    mime_imap_structure(again, true, &two);
    mime_imap_envelope(again->envelope, &two);
    assert(slice_same(str_slice(&one), str_slice(&two)));
    assert(root->header.physical + root->body.physical == size);
    str_reset(&two);
    (void) mime_imap_body(all, &two);
    (void) mime_part_unpack(all, a);
    str_reset(&two);
    mime_part_pack(root, &two);
    assert(mime_part_unpack(str_slice(&two), a));
    str_reset(&two);
    mime_decode_words(all, &two);
    assert(utf8_valid(str_slice(&two)));
    bool reply;
    int64_t seconds;
    int zone;
    mime_base_subject(all, &two, &reply);
    (void) mime_date(all, &seconds, &zone);
    struct mime_typed typed;
    (void) mime_content_type(all, a, &typed);
    (void) mime_param_get(&typed, "name", a);
    str_free(&one);
    str_free(&two);
    arena_free(&a);
    return 0;
}
