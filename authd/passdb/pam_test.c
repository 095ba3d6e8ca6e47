/* pam_test - args of the passdb driver pam: what is taken, what stops the start */
#include "../passdb.h"
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

static const struct {
    const char *args, *error; /* NULL: taken */
    const char *cache_key;
} cases[] = {
    { "", NULL, NULL },
    { "imap", NULL, NULL },
    { "*", NULL, NULL },
    { "%s", NULL, NULL },
    { "%Ls-x", NULL, NULL },
    { "session=yes setcred=yes failure_show_msg=yes max_requests=12 *", NULL, NULL },
    { "-session imap", NULL, NULL },
    { "session=yes", NULL, NULL },
    { "setcred=no", NULL, NULL },
    { "cache_key=%u%r%s imap", NULL, "%u imap %u%r%s" },
    { "cache_key=%r *", NULL, "%u %s %r" }, /* never without the user */
    { "max_requests=0 imap", NULL, NULL },
    { "max_requests=x imap", "max_requests=x: no number", NULL },
    { "max_requests=-1 imap", "max_requests=-1: no number", NULL },
    { "max_requests=99999999999 imap", "no number", NULL },
    { "imap pop3", "unknown setting imap", NULL },
    { "wrong=yes imap", "unknown setting wrong=yes", NULL },
    { "session=maybe imap", "unknown setting session=maybe", NULL },
    { "-what", "unknown setting -what", NULL },
    { "%{nosuch}", "nosuch", NULL },
    { "cache_key=%{nosuch} imap", "nosuch", NULL },
};

int main(void)
{
    for (size_t n = 0; n < sizeof cases / sizeof *cases; n++) {
        struct passdb p = { .driver = &passdb_pam, .entry = { .driver = "pam", .args = cases[n].args } };
        struct arena *a = arena_new();
        struct err err = { 0 };
        int rc = passdb_pam.open(&p, a, &err);
        bool good = cases[n].error ? rc != 0 && strstr(err.text, cases[n].error) : rc == 0;
        if (good && rc == 0)
            good = cases[n].cache_key ? p.cache_key && strcmp(p.cache_key, cases[n].cache_key) == 0
                                      : p.cache_key == NULL;
        if (!good) {
            fprintf(stderr, "\"%s\": %d %s, key %s\n", cases[n].args, rc, err.text,
                    p.cache_key ? p.cache_key : "none");
            abort();
        }
        arena_free(&a);
    }
    return 0;
}
