/* Where mail goes, and what addresses become; a configuration each group. */
#include "base/log.h"
#include "rewrite_internal.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const char main_cf[] =
    "compatibility_level = 3.6\nmyhostname = mail.here.test\nmydomain = here.test\nmyorigin = $mydomain\n"
    "mydestination = $myhostname, $mydomain, inline:{broken.test=x}\nrecipient_delimiter = +\n"
    "inet_interfaces = 127.0.0.1\nparent_domain_matches_subdomains = relay_domains\n"
    "virtual_alias_domains = alias.test\nvirtual_mailbox_domains = box.test, inline:{two.test=x}\n"
    "virtual_transport = lmtp:unix:private/dovecot-lmtp\nrelay_domains = relay.test\nrelayhost = [smart.test]:587\n"
    "transport_maps = inline:{ {u@over.test = smtp:[one.test]}, {over.test = lmtp:}, {.over.test = :[two.test]},"
    " {keep.test = :}, {dead.test = error:5.7.1 not here}, {mute.test = error:}, {v@box.test = discard:gone}}\n"
    "sender_dependent_relayhost_maps = inline:{s@x.test=[own.test], @y.test=DUNNO, <>=[null.test]}\n"
    "sender_dependent_default_transport_maps = inline:{t@x.test=slow:, t2@x.test=slow:[z.test]}\n"
    "relocated_maps = inline:{{gone@here.test = new@else.test}}\n";

#define SMART "[smart.test]:587"
static const struct {
    const char *sender, *address;
    enum lookup answer;
    const char *transport, *nexthop, *recipient;
    enum rewrite_class class;
    bool routed;
} cases[] = {
    { "s", "u@here.test", 0, "local", "mail.here.test", "u@here.test", REWRITE_CLASS_LOCAL, false },
    { "s", "u+x@HERE.test.", 0, "local", "mail.here.test", "u+x@HERE.test", REWRITE_CLASS_LOCAL, false },
    { "s", "u", 0, "local", "mail.here.test", "u@mail.here.test", REWRITE_CLASS_LOCAL, false },
    { "s", "", 0, "local", "mail.here.test", "MAILER-DAEMON@mail.here.test", REWRITE_CLASS_LOCAL, false },
    { "s", "u@[127.0.0.1]", 0, "local", "mail.here.test", "u@[127.0.0.1]", REWRITE_CLASS_LOCAL, false },
    { "s", "u@alias.test", 0, "error", "5.1.1 User unknown in virtual alias table", "u@alias.test",
      REWRITE_CLASS_VIRTUAL_ALIAS, false },
    { "s", "u@box.test", 0, "lmtp", "unix:private/dovecot-lmtp", "u@box.test", REWRITE_CLASS_VIRTUAL_MAILBOX, false },
    { "s", "u@Two.test", 0, "lmtp", "unix:private/dovecot-lmtp", "u@Two.test", REWRITE_CLASS_VIRTUAL_MAILBOX, false },
    { "s", "v@box.test", 0, "discard", "gone", "v@box.test", REWRITE_CLASS_VIRTUAL_MAILBOX, false },
    { "s", "u@relay.test", 0, "relay", SMART, "u@relay.test", REWRITE_CLASS_RELAY, false },
    { "s", "u@sub.relay.test", 0, "relay", SMART, "u@sub.relay.test", REWRITE_CLASS_RELAY, false },
    { "s", "u@else.test", 0, "smtp", SMART, "u@else.test", REWRITE_CLASS_DEFAULT, false },
    { "s", "u@[192.0.2.1]", 0, "smtp", SMART, "u@[192.0.2.1]", REWRITE_CLASS_DEFAULT, false },
    { "s@x.test", "u@else.test", 0, "smtp", "[own.test]", "u@else.test", REWRITE_CLASS_DEFAULT, false },
    { "z@y.test", "u@else.test", 0, "smtp", SMART, "u@else.test", REWRITE_CLASS_DEFAULT, false },
    { "", "u@else.test", 0, "smtp", "[null.test]", "u@else.test", REWRITE_CLASS_DEFAULT, false },
    { "t@x.test", "u@else.test", 0, "slow", SMART, "u@else.test", REWRITE_CLASS_DEFAULT, false },
    { "t2@x.test", "u@else.test", 0, "slow", "[z.test]", "u@else.test", REWRITE_CLASS_DEFAULT, false },
    { "s", "u+e@over.test", 0, "smtp", "[one.test]", "u+e@over.test", REWRITE_CLASS_DEFAULT, false },
    { "s", "w@over.test", 0, "lmtp", "over.test", "w@over.test", REWRITE_CLASS_DEFAULT, false },
    { "s", "w@a.b.over.test", 0, "smtp", "[two.test]", "w@a.b.over.test", REWRITE_CLASS_DEFAULT, false },
    { "s", "u@keep.test", 0, "smtp", SMART, "u@keep.test", REWRITE_CLASS_DEFAULT, false },
    { "s", "u@dead.test", 0, "error", "5.7.1 not here", "u@dead.test", REWRITE_CLASS_DEFAULT, false },
    { "s", "u@mute.test", 0, "error", "Address is undeliverable", "u@mute.test", REWRITE_CLASS_DEFAULT, false },
    { "s", "gone@here.test", 0, "error", "5.1.6 User has moved to new@else.test", "gone@here.test",
      REWRITE_CLASS_LOCAL, false },
    /* routes: what the local domain hid */
    { "s", "u%else.test@here.test", 0, "smtp", SMART, "u@else.test", REWRITE_CLASS_DEFAULT, true },
    { "s", "else.test!u@here.test", 0, "smtp", SMART, "u@else.test", REWRITE_CLASS_DEFAULT, true },
    { "s", "u@else.test@here.test", 0, "smtp", SMART, "u@else.test", REWRITE_CLASS_DEFAULT, true },
    { "s", "u%here.test@here.test", 0, "local", "mail.here.test", "u@here.test", REWRITE_CLASS_LOCAL, true },
    { "s", "u%x.test@relay.test", 0, "relay", SMART, "u%x.test@relay.test", REWRITE_CLASS_RELAY, true },
    { "s", "u@x.test@relay.test", 0, "relay", SMART, "u@x.test@relay.test", REWRITE_CLASS_RELAY, true },
    /* not addresses */
    { "s", "u@", 0, "error", "5.1.3 bad address syntax", "u@", REWRITE_CLASS_LOCAL, false },
    { "s", "u@else..test", 0, "error", "5.1.3 bad address syntax", "u@else..test", REWRITE_CLASS_DEFAULT, false },
    { "s", "u@[1.2.3]", 0, "error", "5.1.3 bad address syntax", "u@[1.2.3]", REWRITE_CLASS_DEFAULT, false },
    { "s", "@else.test", 0, "error", "5.1.3 bad address syntax", "@else.test", REWRITE_CLASS_DEFAULT, false },
};
static const struct {
    enum rewrite_context context;
    const char *in, *out;
} forms[] = {
    { REWRITE_LOCAL, "u", "u@here.test" },
    { REWRITE_LOCAL, "", "" },
    { REWRITE_LOCAL, "@", "" },
    { REWRITE_LOCAL, "u@x", "u@x" },
    { REWRITE_LOCAL, "u@x.test.", "u@x.test" },
    { REWRITE_LOCAL, "u@x.test..", "u@x.test.." },
    { REWRITE_LOCAL, "u@.", "u@." },
    { REWRITE_LOCAL, "x.test!u", "u@x.test" },
    { REWRITE_LOCAL, "a!b!u", "b!u@a" },
    { REWRITE_LOCAL, "u%x.test", "u@x.test" },
    { REWRITE_LOCAL, "a%b%x.test", "a%b@x.test" },
    { REWRITE_LOCAL, "@a,@b:u@x.test", "u@x.test" },
    { REWRITE_LOCAL, "a!u@x.test", "a!u@x.test" },
    { REWRITE_LOCAL, "b!u@[1.2.3.4]", "b!u@[1.2.3.4]" },
    { REWRITE_LOCAL, "a@b%c@x.test", "a@b%c@x.test" },
    { REWRITE_REMOTE, "u@x.test", "u@x.test" },
    { REWRITE_REMOTE, "u", "u" },
    { REWRITE_REMOTE, "u@x.test.", "u@x.test" },
};
static const struct {
    const char *parameter, *value;
} faults[] = { { "mydestination", "fail:x" },
               { "virtual_alias_domains", "fail:x" },
               { "virtual_mailbox_domains", "fail:x" },
               { "relay_domains", "fail:x" },
               { "transport_maps", "fail:x" },
               { "sender_dependent_relayhost_maps", "fail:x" },
               { "relocated_maps", "texthash:/no/such/file" } };

static char dir[] = "/tmp/resolve_test.XXXXXX", path[100];
static const struct param *const tables[] = { rewrite_params, NULL };

static void silent(void *ctx, enum log_level level, const char *tag, const char *line, size_t len)
{
    (void) ctx, (void) level, (void) tag, (void) line, (void) len;
}

static void configure(const char *parameter, const char *value)
{
    FILE *f = fopen(path, "w");

    assert(f && fputs(main_cf, f) >= 0 && fclose(f) == 0 && conf_open(dir) == 0);
    if (parameter)
        conf_override(parameter, value);
    assert(conf_load(tables) == 0);
    rewrite_open();
}

static int resolve_all(void)
{
    int bad = 0;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct arena *arena = arena_new();
        struct rewrite_route r = { .transport = "" };
        enum lookup answer = rewrite_route_of(cases[i].sender, cases[i].address, arena, &r);
        if (answer != LOOKUP_FOUND || strcmp(r.transport, cases[i].transport) != 0 ||
            strcmp(r.nexthop, cases[i].nexthop) != 0 || strcmp(r.recipient, cases[i].recipient) != 0 ||
            r.class != cases[i].class || r.routed != cases[i].routed) {
            printf("%s: got %d %s:%s %s class %d routed %d\n", cases[i].address, answer, r.transport,
                   answer ? "" : r.nexthop, answer ? "" : r.recipient, (int) r.class, r.routed);
            bad++;
        }
        arena_free(&arena);
    }
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        struct str s;
        str_init(&s, STR_UNLIMITED);
        str_adds(&s, forms[i].in);
        rewrite_form(forms[i].context, &s);
        if (strcmp(s.p, forms[i].out) != 0) {
            printf("%s: got %s\n", forms[i].in, s.p);
            bad++;
        }
        str_free(&s);
    }
    return bad;
}

/* What rewrite_complete says of an address holds whatever the parameters are. */
static int complete_all(void)
{
    bool *const flag[] = { &rewrite_swap_bangpath, &rewrite_percent_hack, &rewrite_at_myorigin,
                           &rewrite_dot_mydomain };
    enum { FLAGS = sizeof flag / sizeof *flag };
    int bad = 0, complete = 0;

    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++)
        for (unsigned set = 0; set < 1u << FLAGS && rewrite_complete(forms[i].in); set++) {
            struct str s;
            for (size_t n = 0; n < FLAGS; n++)
                *flag[n] = set >> n & 1;
            str_init(&s, STR_UNLIMITED);
            str_adds(&s, forms[i].in);
            rewrite_form(forms[i].context, &s);
            bad += strcmp(s.p, forms[i].in) != 0;
            complete++;
            str_free(&s);
        }
    return bad + (complete == 0);
}

/* A table that fails is "later", whatever the class. Each in a process of its own: lists are opened once. */
static int fault(size_t i)
{
    struct arena *arena = arena_new();
    struct rewrite_route r;
    enum lookup answer;

    configure(faults[i].parameter, faults[i].value);
    answer = rewrite_route_of("s", "u@nowhere.test", arena, &r);
    arena_free(&arena);
    if (answer != LOOKUP_RETRY)
        printf("%s = %s: got %d\n", faults[i].parameter, faults[i].value, answer);
    return answer != LOOKUP_RETRY;
}

int main(int argc, char **argv)
{
    int bad = 0;

    log_sink(silent, NULL);
    assert(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/main.cf", dir);
    if (argc > 1) {
        bad = fault((size_t) atoi(argv[1]));
    } else {
        configure(NULL, NULL);
        bad = resolve_all() + complete_all();
        for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
            char command[500];
            snprintf(command, sizeof command, "'%s' %zu", argv[0], i);
            bad += system(command) != 0;
        }
    }
    unlink(path);
    rmdir(dir);
    return bad ? 1 : 0;
}
