/*
 * trim - an idle session is small: memory that a fiber once needed goes back to the system
 *
 * A command touches far more of a stack than a fiber that waits for the next one needs, and freed memory stays with
 * malloc. So who has not run for a second loses what is below its stack pointer; once nobody has, malloc and the kept
 * stacks give back what they hold.
 *
 * Invariants  a fiber is looked at once after it last ran, in the order they ran: the cost follows the work done, not
 *             the number of fibers
 */
#include "event/internal.h"

#include "base/log.h"
#include "base/time.h"

#include <malloc.h>

enum { TRIM_AFTER_MS = 1000, QUIET_MAX = 4 };

static struct list ran;
static struct deadline due;
static bool begun;
static event_fn quiet[QUIET_MAX];
static size_t quiet_count;

static void look(struct deadline *d)
{
    int64_t until = time_mono_us() - (int64_t) TRIM_AFTER_MS * 1000;

    while (!list_empty(&ran)) {
        struct fiber *f = list_entry(ran.next, struct fiber, ran);
        if (f->ran_us > until) {
            deadline_set(d, time_mono_ms() + TRIM_AFTER_MS);
            return;
        }
        trim_forget(f);
        if (f->state == FIBER_WAITING)
            fiber_trim_stack(f);
    }
    fiber_trim_stacks();
    for (size_t i = 0; i < quiet_count; i++)
        quiet[i](NULL);
    malloc_trim(0);
}

void event_when_quiet(event_fn fn)
{
    for (size_t i = 0; i < quiet_count; i++)
        if (quiet[i] == fn)
            return;
    if (quiet_count == QUIET_MAX)
        log_panic("event_when_quiet: too many");
    quiet[quiet_count++] = fn;
}

void trim_ran(struct fiber *f)
{
    if (!begun) {
        list_init(&ran);
        due.expire = look;
        begun = true;
    }
    if (f->ran_us)
        list_del(&f->ran);
    f->ran_us = event_loop.turn_us;
    list_append(&ran, &f->ran);
    if (due.at == 0)
        deadline_set(&due, time_mono_ms() + TRIM_AFTER_MS);
}

void trim_forget(struct fiber *f)
{
    if (f->ran_us)
        list_del(&f->ran);
    f->ran_us = 0;
}

void trim_reset(void)
{
    due = (struct deadline){ 0 };
    begun = false;
}
