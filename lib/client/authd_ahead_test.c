/* authd_ahead_test - claims that come before they are asked for: each once, in its time, for who knows it */
#include "client/authd_ahead.h"
#include "base/time.h"
#include "event/event.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct authd_ahead *ahead;
static int far;

static void begin(void)
{
    int ends[2];

    assert(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == 0);
    ahead = authd_ahead_new();
    assert(!authd_ahead_open(ahead));
    authd_ahead_begin(ahead, stream_new(ends[0]));
    assert(authd_ahead_open(ahead));
    far = ends[1];
}

static void end(void)
{
    authd_ahead_free(&ahead);
    if (far >= 0)
        close(far);
}

static void say(const char *text) { assert(write(far, text, strlen(text)) == (ssize_t) strlen(text)); }

static void claim(int64_t in_ms, unsigned pid, unsigned request, const char *cookie, const char *user)
{
    char text[200];

    snprintf(text, sizeof text, "CLAIM\t%" PRId64 "\t%u\t%u\t%s\t%s\tuid=7\n", time_mono_ms() + in_ms, pid, request,
             cookie, user);
    say(text);
}

/* The user, or "". */
static const char *taken(unsigned pid, unsigned request, const char *cookie)
{
    static char user[100];
    struct dovecot_auth_line line;
    struct str text;

    str_init(&text, DOVECOT_AUTH_LINE_BYTES);
    bool found = authd_ahead_take(ahead, pid, request, cookie, &text, &line);
    snprintf(user, sizeof user, "%.*s", found ? (int) line.word[AUTHD_AHEAD_USER].len : 0,
             found ? line.word[AUTHD_AHEAD_USER].p : "");
    assert(!found || slice_eq(line.word[AUTHD_AHEAD_USER + 1], "uid=7"));
    str_free(&text);
    return user;
}

static void test_claims(void)
{
    begin();
    assert(taken(1, 1, "aa")[0] == '\0');
    claim(5000, 1, 1, "aa", "joe");
    claim(5000, 1, 2, "aa", "ann");
    claim(5000, 11, 2, "aa", "bob");
    assert(taken(2, 1, "aa")[0] == '\0' && taken(1, 1, "ab")[0] == '\0' && taken(1, 12, "aa")[0] == '\0');
    assert(strcmp(taken(1, 2, "aa"), "ann") == 0 && strcmp(taken(1, 1, "aa"), "joe") == 0);
    assert(taken(1, 1, "aa")[0] == '\0' && taken(1, 2, "aa")[0] == '\0'); /* once */
    claim(-1, 3, 1, "aa", "late");
    assert(taken(3, 1, "aa")[0] == '\0');
    say("CLAIM\t99999999");
    assert(taken(4, 1, "aa")[0] == '\0' && authd_ahead_open(ahead)); /* half a line is none yet */
    say("9999\t4\t1\taa\teve\tuid=7\n");
    assert(strcmp(taken(4, 1, "aa"), "eve") == 0);
    close(far);
    far = -1;
    assert(strcmp(taken(11, 2, "aa"), "bob") == 0 && !authd_ahead_open(ahead)); /* what was told counts still */
    end();
}

/* More than there is room for, most of them late. */
static void test_many(void)
{
    const unsigned all = AUTHD_AHEAD_MAX * 3 / 2, late = all * 3 / 5;

    begin();
    for (unsigned i = 0; i < all; i++) {
        claim(i < late ? -1 : 60000, 1, i, "aa", "joe");
        if (i % 50 == 0)
            (void) taken(2, 1, "aa");
    }
    for (unsigned i = late; i < all; i++)
        assert(strcmp(taken(1, i, "aa"), "joe") == 0);
    assert(authd_ahead_open(ahead));
    end();
}

static void test_nonsense(void)
{
    static const char *const lines[] = { "\n", "OK\t1\n", "CLAIM\t1\t2\t3\taa\n", "CLAIM\tx\t2\t3\taa\tjoe\n",
                                         "CLAIM\t-1\t2\t3\taa\tjoe\n" };

    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        begin();
        say(lines[i]);
        assert(taken(2, 3, "aa")[0] == '\0' && !authd_ahead_open(ahead));
        end();
    }
    begin();
    char *long_key = mem_printf("CLAIM\t9999999999999\t2\t3\t%0200d\tjoe\n", 1);
    say(long_key);
    assert(taken(2, 3, "aa")[0] == '\0' && !authd_ahead_open(ahead));
    free(long_key);
    end();
    begin();
    for (int i = 0; i < 5; i++) { /* a line without an end */
        char part[4000];
        memset(part, 'x', sizeof part);
        assert(write(far, part, sizeof part) == sizeof part);
        (void) taken(2, 3, "aa");
    }
    assert(!authd_ahead_open(ahead));
    end();
}

static void all(void *unused)
{
    (void) unused;
    test_claims();
    test_many();
    test_nonsense();
}

int main(void)
{
    alarm(60);
    event_run(all, NULL);
    return 0;
}
