/* sockets_test - unix_listeners: what it may say, and that a faulty list changes nothing */
#include "base/log.h"
#include "master.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char *const faulty[] = {
    "auth private/auth",
    "{ auth }",
    "{ }",
    "{ auth private/auth",
    "{ auth etc/auth }",
    "{ auth private/auth mode=999 }",
    "{ auth private/auth mode= }",
    "{ auth private/auth mode=10777 }",
    "{ auth private/auth mode=-1 }",
    "{ auth private/auth user=no-such-user-here }",
    "{ auth private/auth group=no-such-group-here }",
    "{ auth private/auth owner=root }",
    "{ auth private/auth 0660 }",
    "{ auth /a }, auth",
};

static void discard(void *ctx, enum log_level level, const char *tag, const char *text, size_t len)
{
    (void) ctx, (void) level, (void) tag, (void) len;
    assert(strstr(text, "unix_listeners: "));
}

int main(void)
{
    const struct socket_rule *r;
    size_t at = 0;

    log_sink(discard, NULL);
    assert(sockets_read("") == 0 && sockets_next("auth,auth-login", &at) == NULL);
    assert(
        sockets_read("{ auth /q/private/auth mode=0660 user=root group=root }, { dovecot-lmtp private/x mode=600 }\n"
                     "{ auth private/auth }") == 0);
    r = sockets_next("auth,auth-login,auth-master", &at);
    assert(r && strcmp(r->path, "/q/private/auth") == 0 && r->mode == 0660 && r->uid == 0 && r->gid == 0);
    r = sockets_next("auth,auth-login,auth-master", &at);
    assert(r && strcmp(r->path, "private/auth") == 0 && r->mode == SOCKET_MODE && r->uid == (uid_t) -1);
    assert(sockets_next("auth,auth-login,auth-master", &at) == NULL);
    at = 0;
    assert(sockets_next("dovecot", &at) == NULL);
    at = 0;
    assert((r = sockets_next("dovecot-lmtp", &at)) != NULL && r->mode == 0600);
    for (size_t i = 0; i < sizeof faulty / sizeof *faulty; i++)
        if (sockets_read(faulty[i]) == 0) {
            printf("taken: %s\n", faulty[i]);
            return 1;
        }
    at = 0;
    assert((r = sockets_next("dovecot-lmtp", &at)) != NULL && strcmp(r->path, "private/x") == 0);
    return 0;
}
