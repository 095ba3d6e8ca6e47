/*
 * smtpd lists - lists of clients, keywords and commands
 *
 * Callers     session.c, command.c
 * Invariants  opened before the jail
 * Errors      a list that fails exempts nobody, hides nothing and forbids nothing; the failure is logged by its table
 */
#include "params.h"
#include "session.h"

#include "base/log.h"
#include "proto/smtp/reply.h"
#include "table/match.h"
#include "table/table.h"

static struct match *rate_exceptions, *bare_lf_exceptions, *forbidden, *noop, *local_networks, *local_interfaces;
static struct maps *ehlo_maps;
static unsigned ehlo_hidden;

static unsigned features(struct slice list)
{
    struct slice word;
    unsigned bits = 0;

    while (slice_word(&list, ", \t\r\n", &word)) {
        unsigned bit = smtp_ehlo_feature(word);

        if (bit == 0 && !slice_caseeq(word, "silent-discard"))
            log_warn("smtpd_discard_ehlo_keywords: unknown EHLO keyword \"%.*s\"", (int) word.len, word.p);
        bits |= bit;
    }
    return bits;
}

/* local_header_rewrite_clients: the generic permits; tables and certificates need what this list has no place for. */
static void local_clients(void)
{
    struct slice rest = slice_of(smtpd_local_header_rewrite_clients), word;

    while (slice_word(&rest, ", \t\r\n", &word)) {
        if (slice_caseeq(word, "permit_mynetworks"))
            local_networks = match_new("mynetworks", conf_mynetworks);
        else if (slice_caseeq(word, "permit_inet_interfaces"))
            local_interfaces = match_new("inet_interfaces", conf_inet_interfaces);
        else
            log_warn("parameter local_header_rewrite_clients: \"%.*s\" has no effect here", (int) word.len, word.p);
    }
}

void smtpd_lists_pre_jail(void)
{
    static const char *const bare[] = { "yes", "normalize", "no", "note", "reject" };
    size_t i = 0;

    while (i < sizeof bare / sizeof *bare && strcasecmp(smtpd_forbid_bare_newline, bare[i]) != 0)
        i++;
    if (i == sizeof bare / sizeof *bare) {
        log_fatal("bad parameter value: 'smtpd_forbid_bare_newline = %s'", smtpd_forbid_bare_newline);
    }
    rate_exceptions = match_new("smtpd_client_event_limit_exceptions", smtpd_client_event_limit_exceptions);
    bare_lf_exceptions = match_new("smtpd_forbid_bare_newline_exclusions", smtpd_forbid_bare_newline_exclusions);
    forbidden = match_new("smtpd_forbidden_commands", smtpd_forbidden_commands);
    noop = match_new("smtpd_noop_commands", smtpd_noop_commands);
    ehlo_maps = maps_new("smtpd_discard_ehlo_keyword_address_maps", smtpd_discard_ehlo_keyword_address_maps,
                         TABLE_FOLD);
    ehlo_hidden = features(slice_of(smtpd_discard_ehlo_keywords));
    local_clients();
}

unsigned smtpd_lists_ehlo_hidden(const char *address)
{
    unsigned hidden = ehlo_hidden;
    struct str value;

    if (maps_empty(ehlo_maps))
        return hidden;
    str_init(&value, TABLE_VALUE_BYTES);
    if (maps_find(ehlo_maps, address, false, &value) == LOOKUP_FOUND)
        hidden = features(str_slice(&value));
    str_free(&value);
    return hidden;
}

bool smtpd_lists_rate_exempt(const struct smtpd_peer *p)
{
    return match_host(rate_exceptions, p->name, p->address) == LOOKUP_FOUND;
}

bool smtpd_lists_bare_lf_exempt(const struct smtpd_peer *p)
{
    return match_host(bare_lf_exceptions, p->name, p->address) == LOOKUP_FOUND;
}

bool smtpd_lists_local_client(const struct smtpd_peer *p)
{
    if (local_networks != NULL && match_host(local_networks, p->name, p->address) == LOOKUP_FOUND)
        return true;
    return local_interfaces != NULL && (strcmp(p->address, p->server_address) == 0 ||
                                        match_address(local_interfaces, p->address) == LOOKUP_FOUND);
}

static bool listed(struct match *list, struct slice word)
{
    char text[64];

    if (match_empty(list))
        return false;
    snprintf(text, sizeof text, "%.*s", (int) word.len, word.p);
    return match_string(list, text) == LOOKUP_FOUND;
}

bool smtpd_lists_forbidden(struct slice verb) { return listed(forbidden, verb); }

bool smtpd_lists_noop(struct slice verb) { return listed(noop, verb); }
