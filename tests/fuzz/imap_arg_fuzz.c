// LINK: proto base
/* imap_arg_fuzz - every reader of lib/proto/imap on the same bytes */
#include "proto/imap/fetch.h"
#include "proto/imap/mailbox.h"
#include "proto/imap/print.h"
#include "proto/imap/search.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void one_mailbox(struct slice in)
{
    struct str utf8, again;

    if (in.len > 1000)
        return;
    str_init(&utf8, 8000);
    str_init(&again, 8000);
    if (imap_mailbox_decode(in, &utf8) == 0 &&
        (imap_mailbox_encode(str_slice(&utf8), &again) != 0 || !slice_same(str_slice(&again), in)))
        abort(); /* one name has one spelling */
    imap_mailbox_match(in, slice_of("INBOX/some/name"), '/');
    str_free(&utf8);
    str_free(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice in = { (const char *) data, size };
    struct arena *arena = arena_new();
    struct imap_arg a;
    struct imap_fetch fetch;
    struct imap_search_program program;
    struct imap_flags flags;
    struct imap_set set;
    struct slice word;
    struct str out;
    int64_t when;

    imap_arg_init(&a, in, arena);
    imap_fetch_parse(&a, &fetch);
    imap_arg_init(&a, in, arena);
    imap_search_parse(&a, &program);
    imap_arg_init(&a, in, arena);
    if (imap_set_parse(&a, &set) == 0) {
        imap_set_resolve(&set, 100);
        if (set.count && !imap_set_has(&set, imap_set_last(&set)))
            abort();
    }
    str_init(&out, 1 << 20);
    imap_arg_init(&a, in, arena);
    if (imap_arg_flags(&a, &flags) == 0)
        imap_print_flags(&out, flags.system, flags.keywords, flags.keyword_count);
    imap_arg_init(&a, in, arena);
    imap_arg_date_time(&a, &when);
    imap_arg_init(&a, in, arena);
    imap_arg_skip_list(&a, 16);
    imap_arg_init(&a, in, arena);
    if (imap_arg_astring(&a, &word) == 0) {
        struct slice back;

        str_reset(&out);
        imap_print_astring(&out, word);
        imap_arg_init(&a, str_slice(&out), arena);
        if (!str_over(&out) && (imap_arg_astring(&a, &back) != 0 || !slice_same(word, back)))
            abort(); /* what is printed reads as the same */
    }
    one_mailbox(in);
    str_free(&out);
    arena_free(&arena);
    return 0;
}
