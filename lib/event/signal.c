/*
 * signal - handlers note the number and wake the loop; the function runs in a fiber
 */
#include "event/internal.h"

#include "base/log.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>

enum { SIGNALS = 65 };
static struct {
    event_fn fn;
    void *arg;
} handlers[SIGNALS];
static atomic_bool pending[SIGNALS];

static void on_signal(int signo)
{
    if (signo > 0 && signo < SIGNALS) {
        atomic_store(&pending[signo], true);
        loop_wake();
    }
}

void event_signal(int signo, event_fn fn, void *arg)
{
    struct sigaction sa = { .sa_flags = SA_RESTART };

    if (signo <= 0 || signo >= SIGNALS)
        log_panic("event_signal: no such signal: %d", signo);
    loop_init();
    handlers[signo].fn = fn;
    handlers[signo].arg = arg;
    sa.sa_handler = fn ? on_signal : SIG_DFL;
    sigemptyset(&sa.sa_mask);
    if (sigaction(signo, &sa, NULL) < 0)
        log_fatal("cannot handle signal %d: %s", signo, strerror(errno));
}

void signal_dispatch(void)
{
    for (int i = 1; i < SIGNALS; i++)
        if (atomic_exchange(&pending[i], false) && handlers[i].fn)
            fiber_go("signal", handlers[i].fn, handlers[i].arg);
}

void signal_reset(void)
{
    for (int i = 1; i < SIGNALS; i++) {
        if (handlers[i].fn)
            signal(i, SIG_DFL);
        handlers[i].fn = NULL;
        atomic_store(&pending[i], false);
    }
}
