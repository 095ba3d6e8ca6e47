/*
 * table - "type:name": one lookup table, and the list of tables that a parameter names
 *
 * Callers     every daemon with a table parameter; tools/postmap, qmgr/rewrite, authd/proxymap
 *
 * Invariants  opening needs privilege (pre_jail), looking up needs none; "proxy:" asks authd/proxymap and needs a
 * fiber keys are folded (TABLE_FOLD) unless the type says otherwise: regexp and pcre see the key as it is regexp,
 * pcre and cidr get one full key, never parts of it; maps_find and maps_address see to that
 *
 * Ownership   a table belongs to who opened it; the same table named twice is opened once and counted
 *
 * Errors      a table that cannot be opened or read answers LOOKUP_RETRY each time and says so in the log once a minute,
 *             with file and cure; a process that holds such a table is stale after TABLE_REOPEN_SECONDS
 *             maps_*: an empty result is LOOKUP_RETRY as in Postfix, unless TABLE_EMPTY_OK
 */
#ifndef TABLE_TABLE_H
#define TABLE_TABLE_H
#include "base/err.h"
#include "base/str.h"

enum {
    TABLE_FOLD = 1,     /* fold keys of indexed tables; nearly everybody wants it */
    TABLE_NO_SUBST = 2, /* refuse $1 in results: uid, gid, mailbox tables (a client must not choose a path) */
    TABLE_EMPTY_OK = 4, /* an empty result is a result */
};
enum { TABLE_VALUE_BYTES = 1 << 20, TABLE_KEY_BYTES = 16384, TABLE_REOPEN_SECONDS = 60 };

struct table;
struct table *table_open(const char *spec, unsigned flags); /* never NULL */
void table_close(struct table **);
const char *table_spec(const struct table *);
const char *table_error(const struct table *);  /* why it cannot be used; NULL when it can */
bool table_full_key_only(const struct table *); /* regexp, pcre, cidr, ... */
/* Appends the result to *out (which should have a max of TABLE_VALUE_BYTES). */
enum lookup table_lookup(struct table *, const char *key, struct str *out);
/* What one asker has asked on the way to its answer, by digests: a question that found nothing is not asked again for his
 * next key or table (a catch-all is the same question for user@domain and @domain). Zero-initialised is empty. Who lets
 * sql_ask_ahead (table/sql/mysql.h) add to it calls sql_asked_end. */
enum { TABLE_ASKED = 32, TABLE_DIGEST_BYTES = 32 };
struct table_asked {
    size_t count;
    struct {
        unsigned char digest[TABLE_DIGEST_BYTES];
        size_t columns;
    } none[TABLE_ASKED];
    uint64_t since;          /* lib/table/sql: what is sent from then on is news to him. 0: from each question on */
    struct sql_ahead *ahead; /* and what is on its way to him already */
};
enum lookup table_lookup_asked(struct table *, const char *key, struct table_asked *, struct str *out);
/* Calls fn for each pair, in the order of the table; -1 when the type cannot be listed. */
int table_each(struct table *, void (*fn)(void *ctx, struct slice key, struct slice value), void *ctx);
/* A file behind a table of this process was replaced or written: spec says which. Asked between sessions; asks the
 * held descriptors (a chroot hides the names), at most once a second. */
bool table_stale(const char **spec);
/* The names of files mean in the jail what they meant before it: a file that could not be opened is waited for by looking,
 * not by starting anew after TABLE_REOPEN_SECONDS. */
void table_sees_names(void);
bool table_restart(void);             /* table_stale, logged once in Postfix's words: for struct service's `stale` */
const char *const *table_types(void); /* sorted names, NULL at the end: postconf -m */

/* The tables of one parameter, in order; the first that has an answer wins, a RETRY on the way ends the search. */
struct maps;
struct maps *maps_new(const char *parameter, const char *list, unsigned flags); /* never NULL; list may be "" */
void maps_free(struct maps **);
bool maps_empty(const struct maps *); /* no table at all */
const char *maps_list(const struct maps *);
/* partial: the key is a part of what is asked for: tables that want the full key are passed over. */
enum lookup maps_find(struct maps *, const char *key, bool partial, struct str *out);

/* Each pair of each table; -1 when one of them cannot be listed. */
int maps_each(struct maps *, void (*fn)(void *ctx, struct slice key, struct slice value), void *ctx);

/* Keys of an address, tried in this order (postfix.md section 3). */
enum {
    MAPS_FULL = 1,               /* user+ext@dom */
    MAPS_NOEXT = 2,              /* user@dom */
    MAPS_LOCALPART_IF_LOCAL = 4, /* user+ext, user: when dom is $myorigin or local */
    MAPS_LOCALPART_AT_LOCAL = 8, /* user+ext@, user@: likewise */
    MAPS_AT_DOMAIN = 16,         /* @dom */
    MAPS_DOMAIN = 32,            /* dom */
    MAPS_PARENT = 64,            /* parents of dom as "parent" */
    MAPS_DOT_PARENT = 128,       /* parents of dom as ".parent" */
    MAPS_LOCALPART_AT = 256,     /* user+ext@, user@ */
    MAPS_ADDRESS = MAPS_FULL | MAPS_NOEXT | MAPS_LOCALPART_IF_LOCAL | MAPS_AT_DOMAIN, /* canonical, virtual, ... */
    MAPS_ACCESS = MAPS_FULL | MAPS_NOEXT | MAPS_DOMAIN | MAPS_LOCALPART_AT, /* add MAPS_PARENT or MAPS_DOT_PARENT */
};
/* ext (may be NULL): when a key without the extension matched, the extension with its delimiter ("+ext"), a view into
 * address; empty otherwise: for propagate_unmatched_extensions. */
enum lookup maps_address(struct maps *, const char *address, unsigned keys, struct str *out, struct slice *ext);
/* access(5) keys of a host name (parents as the flags say) and of a numeric address (1.2.3.4, 1.2.3, 1.2, 1). */
enum lookup maps_domain(struct maps *, const char *name, unsigned keys, struct str *out);
enum lookup maps_host_address(struct maps *, const char *address, struct str *out);
/* MAPS_PARENT or MAPS_DOT_PARENT, as parent_domain_matches_subdomains says of "smtpd_access_maps", "transport_maps"..
 */
unsigned maps_parent_style(const char *parameter);
#endif
