/* SPDX-License-Identifier: Apache-2.0 */

/* Carrier watcher: real devices in a network namespace of the test's own, and
 * another source. */

#include <config.h>

#include <check.h>
#include <errno.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/carrier.h"
#include "openvswitch/poll-loop.h"
#include "openvswitch/shash.h"
#include "openvswitch/vlog.h"
#include "seq.h"
#include "timeval.h"
#include "unit-test.h"
#include "util.h"

#define TIMEOUT_MS 10000

static bool have_namespace;

/* What the callback was told last, and how often. */
static struct shash told = SHASH_INITIALIZER(&told);
static int n_calls;

static void
told_cb(const char *name, enum carrier_state state, void *aux OVS_UNUSED)
{
    shash_replace(&told, name, (void *) (uintptr_t) state);
    n_calls++;
}

static enum carrier_state
told_state(const char *name)
{
    const void *state = shash_find_data(&told, name);

    return (uintptr_t) state;
}

static void OVS_PRINTF_FORMAT(1, 2)
run(const char *format, ...)
{
    char *command;
    va_list args;

    va_start(args, format);
    command = xvasprintf(format, args);
    va_end(args);
    if (system(command)) {
        ck_abort_msg("failed: %s", command);
    }
    free(command);
}

/* Runs 'w' until it told that 'name' is in 'state'. */
static void
wait_for(struct carrier_watcher *w, const char *name,
         enum carrier_state state)
{
    long long int deadline = time_msec() + TIMEOUT_MS;

    for (;;) {
        carrier_watcher_run(w);
        if (told_state(name) == state) {
            ck_assert_int_eq(carrier_watcher_get(w, name), state);
            return;
        }
        if (time_msec() >= deadline) {
            ck_abort_msg("%s is %s, not %s", name,
                         carrier_state_to_string(told_state(name)),
                         carrier_state_to_string(state));
        }
        carrier_watcher_wait(w);
        poll_timer_wait_until(deadline);
        poll_block();
    }
}

/* Runs 'w' until it has handled everything that happened before: the kernel
 * tells of a device that is made after it. */
static void
drain(struct carrier_watcher *w)
{
    static int n;
    char name[16];

    snprintf(name, sizeof name, "mark%d", n++);
    carrier_watcher_add(w, name, true);
    run("ip link add %s type veth peer name %s-p && ip link set %s up && "
        "ip link set %s-p up", name, name, name, name);
    wait_for(w, name, CARRIER_UP);
    carrier_watcher_remove(w, name);
    run("ip link del %s", name);
}

static struct carrier_watcher *
create_watcher(void)
{
    struct carrier_watcher *w;

    ck_assert_int_eq(carrier_watcher_create(NULL, 0, told_cb, NULL, &w), 0);
    return w;
}

static void
setup(void)
{
    shash_clear(&told);
    n_calls = 0;
    if (have_namespace) {
        run("ip link add a0 type veth peer name b0 && ip link set a0 up && "
            "ip link set b0 up");
    }
}

static void
teardown(void)
{
    if (have_namespace) {
        run("for d in a0 a1; do ip link del $d 2>/dev/null; done; :");
    }
    shash_clear(&told);
}

START_TEST(test_far_end)
{
    struct carrier_watcher *w = create_watcher();

    carrier_watcher_add(w, "a0", true);
    wait_for(w, "a0", CARRIER_UP);
    for (int i = 0; i < 3; i++) {
        run("ip link set b0 down");
        wait_for(w, "a0", CARRIER_DOWN);
        run("ip link set b0 up");
        wait_for(w, "a0", CARRIER_UP);
    }
    run("ip link set a0 down");
    wait_for(w, "a0", CARRIER_DOWN);
    carrier_watcher_destroy(w);
}
END_TEST

START_TEST(test_state_at_start)
{
    struct carrier_watcher *w;

    run("ip link set b0 down");
    w = create_watcher();
    carrier_watcher_add(w, "a0", true);
    wait_for(w, "a0", CARRIER_DOWN);
    carrier_watcher_add(w, "nobody", true);
    ck_assert_int_eq(told_state("nobody"), CARRIER_UNKNOWN);
    ck_assert_int_eq(carrier_watcher_get(w, "a1"), CARRIER_UNKNOWN);
    carrier_watcher_destroy(w);
}
END_TEST

START_TEST(test_deleted)
{
    struct carrier_watcher *w = create_watcher();

    carrier_watcher_add(w, "a0", true);
    wait_for(w, "a0", CARRIER_UP);
    run("ip link del a0");
    wait_for(w, "a0", CARRIER_GONE);

    /* It comes back, another device of the same name. */
    run("ip link add a0 type veth peer name b0 && ip link set a0 up && "
        "ip link set b0 up");
    wait_for(w, "a0", CARRIER_UP);
    carrier_watcher_destroy(w);
}
END_TEST

START_TEST(test_renamed)
{
    struct carrier_watcher *w = create_watcher();

    carrier_watcher_add(w, "a0", true);
    carrier_watcher_add(w, "a1", true);
    wait_for(w, "a0", CARRIER_UP);
    run("ip link set a0 down && ip link set a0 name a1 && ip link set a1 up");
    wait_for(w, "a0", CARRIER_GONE);
    wait_for(w, "a1", CARRIER_UP);
    carrier_watcher_destroy(w);
}
END_TEST

/* Not every device with that name is the kernel's. */
START_TEST(test_namesake)
{
    struct carrier_watcher *w = create_watcher();

    run("ip link set b0 down");
    carrier_watcher_add(w, "a0", false);
    ck_assert_int_eq(told_state("a0"), CARRIER_UNKNOWN);
    run("ip link set b0 up");
    drain(w);
    run("ip link del a0");
    drain(w);
    ck_assert_int_eq(told_state("a0"), CARRIER_UNKNOWN);
    carrier_watcher_destroy(w);
}
END_TEST

START_TEST(test_only_watched)
{
    struct carrier_watcher *w = create_watcher();
    int n;

    carrier_watcher_add(w, "a0", true);
    carrier_watcher_add(w, "a0", true);
    ck_assert_int_eq(n_calls, 2);
    wait_for(w, "a0", CARRIER_UP);

    /* Nothing is told of others, nor twice the same. */
    drain(w);
    n = n_calls;
    run("ip link set a0 mtu 1400; ip link set b0 mtu 1400");
    drain(w);
    ck_assert_int_le(n_calls - n, 3);
    ck_assert(!shash_find(&told, "b0"));

    /* Watched as often as it was added. */
    carrier_watcher_remove(w, "a0");
    run("ip link set b0 down");
    wait_for(w, "a0", CARRIER_DOWN);
    carrier_watcher_remove(w, "a0");
    run("ip link set b0 up");
    drain(w);
    ck_assert_int_eq(told_state("a0"), CARRIER_DOWN);
    carrier_watcher_destroy(w);
}
END_TEST

START_TEST(test_bridge_port)
{
    struct carrier_watcher *w = create_watcher();

    /* A bridge speaks of its ports, too; that a port leaves it is not the end
     * of the device. */
    carrier_watcher_add(w, "a0", true);
    wait_for(w, "a0", CARRIER_UP);
    run("ip link add brx type bridge && ip link set a0 master brx");
    drain(w);
    run("ip link set a0 nomaster && ip link del brx");
    drain(w);
    ck_assert_int_eq(told_state("a0"), CARRIER_UP);
    carrier_watcher_destroy(w);
}
END_TEST

START_TEST(test_overrun)
{
    struct carrier_watcher *w = create_watcher();
    struct carrier_stats stats;

    carrier_watcher_add(w, "a0", true);
    wait_for(w, "a0", CARRIER_UP);
    ck_assert_int_eq(carrier_watcher_limit_buffer(w, 1), 0);

    /* More messages than fit while nobody reads, the one that matters last. */
    run("for i in $(seq 50); do ip link set b0 mtu $((1300 + i)); "
        "ip link set a0 mtu $((1300 + i)); done; ip link set b0 down");
    wait_for(w, "a0", CARRIER_DOWN);
    carrier_watcher_get_stats(w, &stats);
    ck_assert_uint_ge(stats.n_overruns, 1);
    ck_assert_uint_ge(stats.n_dumps, 2);
    carrier_watcher_destroy(w);
}
END_TEST

/* Another source: knows "emu0" and, against the kernel, "a0". */

static bool source_carrier, source_knows_a0;

static bool
source_get(const char *name, bool *carrier)
{
    if (!strcmp(name, "emu0") || (source_knows_a0 && !strcmp(name, "a0"))) {
        *carrier = source_carrier;
        return true;
    }
    return false;
}

START_TEST(test_source)
{
    struct carrier_source source = { source_get, seq_create() };
    struct carrier_watcher *w;

    /* Works without the kernel as well. */
    carrier_watcher_create(&source, 1, told_cb, NULL, &w);
    source_carrier = true;
    carrier_watcher_add(w, "emu0", false);
    ck_assert_int_eq(told_state("emu0"), CARRIER_UP);
    source_carrier = false;
    carrier_watcher_run(w);
    ck_assert_int_eq(told_state("emu0"), CARRIER_UP);
    seq_change(source.seq);
    wait_for(w, "emu0", CARRIER_DOWN);
    source_carrier = true;
    seq_change(source.seq);
    wait_for(w, "emu0", CARRIER_UP);

    if (have_namespace) {
        /* Both must agree that there is carrier. */
        source_knows_a0 = true;
        carrier_watcher_add(w, "a0", true);
        wait_for(w, "a0", CARRIER_UP);
        source_carrier = false;
        seq_change(source.seq);
        wait_for(w, "a0", CARRIER_DOWN);
        source_carrier = true;
        seq_change(source.seq);
        wait_for(w, "a0", CARRIER_UP);
        run("ip link set b0 down");
        wait_for(w, "a0", CARRIER_DOWN);
        source_knows_a0 = false;
    }
    carrier_watcher_destroy(w);
    seq_destroy(source.seq);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("carrier");
    TCase *kernel = tcase_create("kernel");
    TCase *source = tcase_create("source");

    vlog_set_levels(NULL, VLF_ANY_DESTINATION, VLL_OFF);
    have_namespace = (!unshare(CLONE_NEWNET)
                      || !unshare(CLONE_NEWUSER | CLONE_NEWNET));
    if (!have_namespace) {
        printf("no network namespace (%s): kernel devices are not tested\n",
               ovs_strerror(errno));
    } else {
        tcase_add_checked_fixture(kernel, setup, teardown);
        tcase_add_test(kernel, test_far_end);
        tcase_add_test(kernel, test_state_at_start);
        tcase_add_test(kernel, test_deleted);
        tcase_add_test(kernel, test_renamed);
        tcase_add_test(kernel, test_namesake);
        tcase_add_test(kernel, test_only_watched);
        tcase_add_test(kernel, test_bridge_port);
        tcase_add_test(kernel, test_overrun);
        suite_add_tcase(suite, kernel);
    }
    tcase_add_checked_fixture(source, setup, teardown);
    tcase_add_test(source, test_source);
    suite_add_tcase(suite, source);
    return unit_test_run(suite);
}
