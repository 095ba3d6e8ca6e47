/*
 * switch_bench - what one switch from a fiber to the loop and into the next costs
 */
#include "event/event.h"

#include "base/time.h"

#include <stdio.h>

enum { ROUNDS = 2000000 };

static void ping(void *arg)
{
    (void) arg;
    for (int i = 0; i < ROUNDS; i++)
        fiber_yield();
}

static void pair(void *arg)
{
    fiber_go("ping", ping, arg);
    fiber_go("pong", ping, arg);
}

int main(void)
{
    int64_t start = time_mono_us();

    event_run(pair, NULL);
    printf("%.1f ns a yield (two switches and a turn of the ready queue)\n",
           (double) (time_mono_us() - start) * 1000 / (2.0 * ROUNDS));
    return 0;
}
