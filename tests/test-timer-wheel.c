/* SPDX-License-Identifier: Apache-2.0 */

/* Timing wheel: a timer fires once, never early, and late by less than a tick;
 * random settings against a simple model. */

#include <config.h>

#include <check.h>
#include <limits.h>
#include <stdlib.h>

#include "datapath-offload/timer-wheel.h"
#include "random.h"
#include "unit-test.h"
#include "util.h"

struct timer {
    struct timer_node node;
    long long int deadline_ms;      /* Model: LLONG_MAX if not set. */
    int n_fired;
};

static long long int now_ms;

static void
fired(struct timer_node *node, void *aux OVS_UNUSED)
{
    struct timer *timer = CONTAINER_OF(node, struct timer, node);

    if (timer_node_is_set(node) || now_ms < timer->deadline_ms) {
        ck_abort_msg("fired early");
    }
    timer->deadline_ms = LLONG_MAX;
    timer->n_fired++;
}

START_TEST(test_fires_once)
{
    struct timer_wheel wheel;
    struct timer timer = { .deadline_ms = 1234, .n_fired = 0 };

    timer_wheel_init(&wheel, 0);
    ck_assert_int_eq(timer_wheel_wake_ms(&wheel), LLONG_MAX);
    timer_node_init(&timer.node);
    timer_wheel_set(&wheel, &timer.node, 1234);
    for (now_ms = 0; now_ms < 3000; now_ms++) {
        timer_wheel_run(&wheel, now_ms, fired, NULL);
        ck_assert_int_eq(timer.n_fired,
                         now_ms >= ROUND_UP(1234, TIMER_WHEEL_TICK_MS));
    }
    timer_wheel_destroy(&wheel);
}
END_TEST

START_TEST(test_wake_is_not_late)
{
    struct timer_wheel wheel;
    struct timer timer = { .deadline_ms = 400000, .n_fired = 0 };
    int n_wakes = 0;

    /* Several revolutions away: sleeping as told must not miss it. */
    timer_wheel_init(&wheel, 1000);
    timer_node_init(&timer.node);
    timer_wheel_set(&wheel, &timer.node, 400000);
    for (now_ms = 1000; !timer.n_fired; n_wakes++) {
        long long int wake_ms = timer_wheel_wake_ms(&wheel);

        ck_assert_int_ge(wake_ms, now_ms - TIMER_WHEEL_TICK_MS);
        now_ms = MAX(now_ms + 1, wake_ms);
        timer_wheel_run(&wheel, now_ms, fired, NULL);
        ck_assert_int_lt(now_ms, 400000 + 2 * TIMER_WHEEL_TICK_MS);
    }
    ck_assert_int_lt(n_wakes, 1000);
    timer_wheel_destroy(&wheel);
}
END_TEST

START_TEST(test_random)
{
    enum { N = 300 };
    struct timer timers[N];
    struct timer_wheel wheel;

    random_set_seed(_i + 1);
    now_ms = random_range(1000000);
    timer_wheel_init(&wheel, now_ms);
    for (int i = 0; i < N; i++) {
        timer_node_init(&timers[i].node);
        timers[i].deadline_ms = LLONG_MAX;
        timers[i].n_fired = 0;
    }
    for (int step = 0; step < 5000; step++) {
        struct timer *timer = &timers[random_range(N)];

        if (random_range(4)) {
            /* Past, near, and beyond a revolution. */
            static const int ranges[] = { 100, 5000, 500000 };

            timer->deadline_ms = (now_ms - 50
                                  + random_range(ranges[random_range(3)]));
            timer_wheel_set(&wheel, &timer->node, timer->deadline_ms);
        } else {
            timer->deadline_ms = LLONG_MAX;
            timer_wheel_cancel(&wheel, &timer->node);
        }

        now_ms += random_range(random_range(100) ? 20 : 300000);
        timer_wheel_run(&wheel, now_ms, fired, NULL);
        bool ok = true;
        for (int i = 0; i < N; i++) {
            ok &= ((timers[i].deadline_ms != LLONG_MAX)
                   == timer_node_is_set(&timers[i].node));
            /* A timer set to the past waits for the next tick. */
            ok &= timers[i].deadline_ms > now_ms - 400 - TIMER_WHEEL_TICK_MS;
        }
        ck_assert(ok);
    }
    now_ms += 1000000;
    timer_wheel_run(&wheel, now_ms, fired, NULL);
    ck_assert_int_eq(wheel.n, 0);
    timer_wheel_destroy(&wheel);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("timer-wheel");
    TCase *tcase = tcase_create("all");

    tcase_add_test(tcase, test_fires_once);
    tcase_add_test(tcase, test_wake_is_not_late);
    tcase_add_loop_test(tcase, test_random, 0, 10);
    suite_add_tcase(suite, tcase);
    return unit_test_run(suite);
}
