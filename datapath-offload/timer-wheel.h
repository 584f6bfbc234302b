/* SPDX-License-Identifier: Apache-2.0 */

#ifndef TIMER_WHEEL_H
#define TIMER_WHEEL_H 1

/* Timing wheel
 * ============
 *
 * Holds very many timers of which few are near their deadline.  Setting and
 * cancelling one is O(1), whatever the number of others.
 *
 * A hashed wheel: a timer hangs in the bucket of its deadline modulo one
 * revolution (TIMER_WHEEL_BUCKETS * TIMER_WHEEL_TICK_MS, about 131 s).  A
 * timer farther away is looked at once per revolution.
 *
 * A timer fires at the first timer_wheel_run() at or after its deadline
 * rounded up to a tick, never before the deadline.
 *
 * Thread-safety: none.
 */

#include <stdbool.h>
#include <stddef.h>
#include "openvswitch/list.h"

#define TIMER_WHEEL_TICK_MS 16
#define TIMER_WHEEL_BUCKETS 8192

struct timer_node {
    struct ovs_list node;           /* Empty list if the timer is not set. */
    long long int deadline_ms;
};

struct timer_wheel {
    struct ovs_list *buckets;       /* TIMER_WHEEL_BUCKETS of timer_node. */
    long long int next_tick;        /* First tick that was not run yet. */
    size_t n;                       /* Timers that are set. */
};

void timer_wheel_init(struct timer_wheel *, long long int now_ms);

/* All timers must have been cancelled. */
void timer_wheel_destroy(struct timer_wheel *);

void timer_node_init(struct timer_node *);
bool timer_node_is_set(const struct timer_node *);

/* Sets 'timer' to fire at 'deadline_ms', instead of any earlier setting.  A
 * deadline in the past fires at the next run. */
void timer_wheel_set(struct timer_wheel *, struct timer_node *timer,
                     long long int deadline_ms);

/* No effect if 'timer' is not set. */
void timer_wheel_cancel(struct timer_wheel *, struct timer_node *timer);

/* Calls 'cb' for each timer that is due at 'now_ms', after unsetting it; 'cb'
 * may set and cancel any timer and free the one that it is called for. */
void timer_wheel_run(struct timer_wheel *, long long int now_ms,
                     void (*cb)(struct timer_node *, void *aux), void *aux);

/* Returns a time when timer_wheel_run() should be called next: at or before
 * the first tick at which something is due, at most about a second away.
 * LLONG_MAX if no timer is set. */
long long int timer_wheel_wake_ms(const struct timer_wheel *);

#endif /* timer-wheel.h */
