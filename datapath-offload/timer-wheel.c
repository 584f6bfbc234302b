/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>
#include "timer-wheel.h"

#include <limits.h>
#include <stdlib.h>

#include "util.h"

/* Buckets that timer_wheel_wake_ms() looks at: about a second. */
#define TIMER_WHEEL_LOOKAHEAD 64

static struct ovs_list *
bucket_of(const struct timer_wheel *wheel, long long int tick)
{
    return &wheel->buckets[tick % TIMER_WHEEL_BUCKETS];
}

/* The first tick at which a timer with 'deadline_ms' is due. */
static long long int
deadline_to_tick(long long int deadline_ms)
{
    return DIV_ROUND_UP(MAX(deadline_ms, 0), TIMER_WHEEL_TICK_MS);
}

void
timer_wheel_init(struct timer_wheel *wheel, long long int now_ms)
{
    wheel->buckets = xmalloc(TIMER_WHEEL_BUCKETS * sizeof *wheel->buckets);
    for (size_t i = 0; i < TIMER_WHEEL_BUCKETS; i++) {
        ovs_list_init(&wheel->buckets[i]);
    }
    wheel->next_tick = now_ms / TIMER_WHEEL_TICK_MS;
    wheel->n = 0;
}

void
timer_wheel_destroy(struct timer_wheel *wheel)
{
    ovs_assert(!wheel->n);
    free(wheel->buckets);
}

void
timer_node_init(struct timer_node *timer)
{
    ovs_list_init(&timer->node);
}

bool
timer_node_is_set(const struct timer_node *timer)
{
    return !ovs_list_is_empty(&timer->node);
}

void
timer_wheel_set(struct timer_wheel *wheel, struct timer_node *timer,
                long long int deadline_ms)
{
    long long int tick = MAX(deadline_to_tick(deadline_ms), wheel->next_tick);

    timer_wheel_cancel(wheel, timer);
    timer->deadline_ms = deadline_ms;
    ovs_list_push_back(bucket_of(wheel, tick), &timer->node);
    wheel->n++;
}

void
timer_wheel_cancel(struct timer_wheel *wheel, struct timer_node *timer)
{
    if (timer_node_is_set(timer)) {
        ovs_list_remove(&timer->node);
        ovs_list_init(&timer->node);
        wheel->n--;
    }
}

void
timer_wheel_run(struct timer_wheel *wheel, long long int now_ms,
                void (*cb)(struct timer_node *, void *aux), void *aux)
{
    long long int last_tick = now_ms / TIMER_WHEEL_TICK_MS;
    long long int n = MIN(last_tick - wheel->next_tick + 1,
                          TIMER_WHEEL_BUCKETS);
    long long int tick = wheel->next_tick;

    if (n <= 0) {
        return;
    }

    /* Advance first: a timer that 'cb' sets to a past deadline goes to a
     * bucket of the next run. */
    wheel->next_tick = last_tick + 1;

    for (; n > 0; n--, tick++) {
        struct ovs_list due = OVS_LIST_INITIALIZER(&due);
        struct ovs_list *bucket = bucket_of(wheel, tick);
        struct timer_node *timer;

        LIST_FOR_EACH_SAFE (timer, node, bucket) {
            if (deadline_to_tick(timer->deadline_ms) <= last_tick) {
                ovs_list_remove(&timer->node);
                ovs_list_push_back(&due, &timer->node);
            }
        }
        while (!ovs_list_is_empty(&due)) {
            timer = CONTAINER_OF(ovs_list_pop_front(&due), struct timer_node,
                                 node);
            ovs_list_init(&timer->node);
            wheel->n--;
            cb(timer, aux);
        }
    }
}

long long int
timer_wheel_wake_ms(const struct timer_wheel *wheel)
{
    long long int tick = wheel->next_tick;

    if (!wheel->n) {
        return LLONG_MAX;
    }
    while (tick < wheel->next_tick + TIMER_WHEEL_LOOKAHEAD
           && ovs_list_is_empty(bucket_of(wheel, tick))) {
        tick++;
    }
    return tick * TIMER_WHEEL_TICK_MS;
}
