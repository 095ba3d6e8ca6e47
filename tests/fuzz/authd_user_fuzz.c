// LINK: authd_core
/*
 * A login name and a user's entry, separated by a NUL: the name's one spelling, the entry's fields and what they mean.
 * Then both as an element of auth_passdb.
 */
#include "../../authd/authd.h"
#include "../../authd/db.h"
#include "../../authd/passdb_row.h"
#include "../../authd/passwd.h"
#include "../../authd/userdb.h"
#include "base/log.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void quiet(void *ctx, enum log_level level, const char *tag, const char *text, size_t len)
{
    (void) ctx;
    (void) level;
    (void) tag;
    (void) text;
    (void) len;
}

static void entry(struct authd_request *r, struct slice line)
{
    struct passwd_entry e;
    struct passdb_row row = { 0 };
    struct authd_fields fields = { 0 };
    struct err err;

    if (passwd_parse(line, r->arena, &e) != 0)
        return;
    (void) passdb_row_apply(r, &e.extra, "PLAIN", &row, &err);
    authd_fields_parse(&fields, r->arena, line);
    for (size_t n = 0; n < fields.count; n++)
        (void) authd_userdb_set(r, &fields.field[n], &err);
    struct str out;
    str_init(&out, 1 << 20);
    authd_fields_write(&r->userdb, &out);
    authd_fields_write(&r->fields, &out);
    if (memchr(out.p, '\n', out.len))
        abort(); /* a field may not end the line it stands in */
    str_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice all = slice_make((const char *) data, size), rest = all, name;
    struct authd_peer peer = { .rip = "192.0.2.1", .service = "imap" };
    struct db_entry entries[DB_MAX];
    struct arena *a = arena_new();
    struct authd_request *r = authd_request_new(a, &peer, "PLAIN");
    struct err err;
    size_t count;

    log_sink(quiet, NULL);
    authd_username_rules = (struct username_rules){ "%Lu", "", "", "realm.test", "*" };
    slice_split(&rest, '\0', &name);
    if (authd_request_name(r, name, &err) == 0 && (strchr(r->user, '/') || r->user[0] == '\0'))
        abort();
    if (rest.p)
        entry(r, rest);
    char *text = arena_strndup(a, all.p, all.len);
    (void) db_list_parse(DB_PASSDB, text, a, entries, &count, &err);
    (void) db_list_parse(DB_USERDB, text, a, entries, &count, &err);
    (void) db_username_accepted(text, "user@domain");
    arena_free(&a);
    return 0;
}
