/*
 * params - cleanup's parameters, and what is opened because of them
 *
 * Callers     cleanup.c before the jail (cleanup_params_open); every step reads the values
 * Invariants  tables and the machine's own addresses are read before the jail, which hides both
 * Errors      -1 after logging which parameter cannot be used: the process does not start
 */
#include "base/log.h"
#include "conf/param.h"
#include "message.h"
#include "table/match.h"

int64_t cleanup_alias_expansion_limit, cleanup_alias_recursion_limit, cleanup_alias_length_limit,
    cleanup_duplicate_limit, cleanup_hopcount_limit, cleanup_attribute_limit;
bool cleanup_always_add_headers, cleanup_original_recipient, cleanup_detect_8bit, cleanup_replace_stray;
const char *cleanup_drop_headers, *cleanup_undisclosed_header, *cleanup_always_bcc;
struct cleanup_maps cleanup_maps;
unsigned cleanup_canonical_classes, cleanup_sender_classes, cleanup_recipient_classes, cleanup_masquerade_classes;
bool cleanup_propagate_canonical, cleanup_propagate_virtual;

static const char *canonical_maps, *sender_canonical_maps, *recipient_canonical_maps, *sender_bcc_maps,
    *recipient_bcc_maps, *canonical_classes, *sender_classes, *recipient_classes, *masquerade_classes,
    *masquerade_domains, *masquerade_exceptions;

#define TEXT(n, target, d, text)                                                       \
    {                                                                                  \
        .name = (n), .type = PARAM_STRING, .str = &(target), .def = (d), .doc = (text) \
    }
#define NUMBER(n, target, d, low, text)                                                           \
    {                                                                                             \
        .name = (n), .type = PARAM_INT, .num = &(target), .def = (d), .min = (low), .doc = (text) \
    }
#define YESNO(n, target, d, text)                                                    \
    {                                                                                \
        .name = (n), .type = PARAM_BOOL, .yes = &(target), .def = (d), .doc = (text) \
    }
const struct param cleanup_params[] = {
    TEXT("canonical_maps", canonical_maps, "", "Tables that replace addresses of envelope and headers."),
    TEXT("sender_canonical_maps", sender_canonical_maps, "", "Like canonical_maps, before it, for senders."),
    TEXT("recipient_canonical_maps", recipient_canonical_maps, "", "Like canonical_maps, before it, for recipients."),
    TEXT("canonical_classes", canonical_classes,
         "envelope_sender, envelope_recipient, header_sender, header_recipient",
         "Addresses that canonical_maps applies to."),
    TEXT("sender_canonical_classes", sender_classes, "envelope_sender, header_sender",
         "Addresses that sender_canonical_maps applies to."),
    TEXT("recipient_canonical_classes", recipient_classes, "envelope_recipient, header_recipient",
         "Addresses that recipient_canonical_maps applies to."),
    TEXT("masquerade_domains", masquerade_domains, "",
         "Domains whose subdomains are cut off sender addresses; a domain behind ! keeps its own."),
    TEXT("masquerade_exceptions", masquerade_exceptions, "", "User names that are not masqueraded."),
    TEXT("masquerade_classes", masquerade_classes, "envelope_sender, header_sender, header_recipient",
         "Addresses that masquerade_domains applies to."),
    TEXT("always_bcc", cleanup_always_bcc, "", "Address that gets a copy of each message."),
    TEXT("sender_bcc_maps", sender_bcc_maps, "", "Tables from sender to an address that gets a copy."),
    TEXT("recipient_bcc_maps", recipient_bcc_maps, "", "Tables from recipient to an address that gets a copy."),
    TEXT("message_drop_headers", cleanup_drop_headers, "bcc, content-length, resent-bcc, return-path",
         "Headers that are removed from each message."),
    TEXT("undisclosed_recipients_header", cleanup_undisclosed_header, "",
         "Header added to a message whose own headers name no recipient."),
    YESNO("always_add_missing_headers", cleanup_always_add_headers, "no",
          "Add missing From, Date and Message-Id to mail of remote clients too."),
    YESNO("enable_original_recipient", cleanup_original_recipient, "yes",
          "Keep recipients apart that were one address before aliasing but are logged as different originals."),
    YESNO("detect_8bit_encoding_header", cleanup_detect_8bit, "yes",
          "Take a message for 8bit when its Content-Transfer-Encoding says so."),
    YESNO("cleanup_replace_stray_cr_lf", cleanup_replace_stray, "yes",
          "Write a blank for each CR or LF in the content that ends no line: other hosts take it for a line end."),
    NUMBER("duplicate_filter_limit", cleanup_duplicate_limit, "1000", 1,
           "Recipients of one message that are remembered to find duplicates."),
    NUMBER("hopcount_limit", cleanup_hopcount_limit, "50", 1, "Received: headers of a message that is looping."),
    NUMBER("queue_file_attribute_count_limit", cleanup_attribute_limit, "100", 1,
           "Named attributes in one queue file."),
    NUMBER("virtual_alias_expansion_limit", cleanup_alias_expansion_limit, "1000", 1,
           "Addresses that one recipient may become by virtual_alias_maps."),
    NUMBER("virtual_alias_recursion_limit", cleanup_alias_recursion_limit, "1000", 1,
           "Steps from alias to alias of one recipient."),
    NUMBER("virtual_alias_address_length_limit", cleanup_alias_length_limit, "1000", 1,
           "Bytes of an address that virtual_alias_maps may give."),
    { .type = PARAM_END },
};

static int read_classes(const char *parameter, const char *text, unsigned *out)
{
    static const struct {
        const char *word;
        unsigned class;
    } words[] = { { "envelope_sender", ENVELOPE_SENDER },
                  { "envelope_recipient", ENVELOPE_RECIPIENT },
                  { "header_sender", HEADER_SENDER },
                  { "header_recipient", HEADER_RECIPIENT } };
    struct slice rest = slice_of(text), word;

    *out = 0;
    while (slice_word(&rest, ", \t\r\n", &word)) {
        size_t i = 0;
        while (i < sizeof words / sizeof *words && !slice_caseeq(word, words[i].word))
            i++;
        if (i == sizeof words / sizeof *words) {
            log_error("%s: unknown address class \"%.*s\"", parameter, (int) word.len, word.p);
            return -1;
        }
        *out |= words[i].class;
    }
    return 0;
}

static bool listed(const char *list, const char *want)
{
    struct slice rest = slice_of(list), word;

    while (slice_word(&rest, ", \t\r\n", &word))
        if (slice_caseeq(word, want))
            return true;
    return false;
}

static void open_maps(struct maps **maps, const char *parameter, const char *list)
{
    if (*maps)
        maps_free(maps);
    *maps = maps_new(parameter, list, TABLE_FOLD);
}

int cleanup_params_open(void)
{
    if (read_classes("canonical_classes", canonical_classes, &cleanup_canonical_classes) < 0 ||
        read_classes("sender_canonical_classes", sender_classes, &cleanup_sender_classes) < 0 ||
        read_classes("recipient_canonical_classes", recipient_classes, &cleanup_recipient_classes) < 0 ||
        read_classes("masquerade_classes", masquerade_classes, &cleanup_masquerade_classes) < 0)
        return -1;
    cleanup_propagate_canonical = listed(conf_propagate_unmatched_extensions, "canonical");
    cleanup_propagate_virtual = listed(conf_propagate_unmatched_extensions, "virtual");
    match_local_open(); /* which domains are local decides about the keys "user" and "@domain" */
    open_maps(&cleanup_maps.canonical, "canonical_maps", canonical_maps);
    open_maps(&cleanup_maps.sender_canonical, "sender_canonical_maps", sender_canonical_maps);
    open_maps(&cleanup_maps.recipient_canonical, "recipient_canonical_maps", recipient_canonical_maps);
    open_maps(&cleanup_maps.alias, "virtual_alias_maps", conf_virtual_alias_maps);
    open_maps(&cleanup_maps.sender_bcc, "sender_bcc_maps", sender_bcc_maps);
    open_maps(&cleanup_maps.recipient_bcc, "recipient_bcc_maps", recipient_bcc_maps);
    return 0;
}

const char *cleanup_masquerade(const char *local, const char *domain)
{
    struct slice rest = slice_of(masquerade_domains), word;
    size_t len = strlen(domain);

    if (rest.len == 0 || listed(masquerade_exceptions, local))
        return NULL;
    while (slice_word(&rest, ", \t\r\n", &word)) {
        bool keep = word.len && word.p[0] == '!';
        if (keep)
            word = slice_sub(word, 1, word.len);
        if (word.len == 0 || word.len > len)
            continue;
        const char *tail = domain + (len - word.len);
        if (!slice_caseeq(word, tail) || (tail > domain && tail[-1] != '.'))
            continue;
        return keep || tail == domain ? NULL : tail;
    }
    return NULL;
}
