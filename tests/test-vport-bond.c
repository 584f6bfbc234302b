/* SPDX-License-Identifier: Apache-2.0 */

/* Decisions of a bond with vports: each rule of vport-bond.h with virtual
 * time, and random events against what must always hold. */

#include <config.h>

#include <check.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "odp-util.h"
#include "ofproto-ext/vport-bond.h"
#include "random.h"
#include "unit-test.h"
#include "util.h"

#define UPLINK_PORT 100

static struct vport_bond *vb;
static long long int now_ms;

static struct vport_bond_uplink *
uplink(const char *name)
{
    struct vport_bond_uplink *u = vport_bond_find_uplink(vb, name);

    if (!u) {
        ck_abort_msg("no uplink %s", name);
    }
    return u;
}

/* Adds uplinks p0 to p'n'-1 and unpinned vports v0 to v'n_vports'-1. */
static void
make_bond(int n, int n_vports, int updelay_ms, int downdelay_ms, bool revert)
{
    struct vport_bond_settings settings = {
        .updelay_ms = updelay_ms,
        .downdelay_ms = downdelay_ms,
        .revert = revert,
    };
    char name[16];

    vb = vport_bond_create("bond0", &settings);
    for (int i = 0; i < n; i++) {
        snprintf(name, sizeof name, "p%d", i);
        vport_bond_add_uplink(vb, name, u32_to_odp(UPLINK_PORT + i), now_ms);
    }
    for (int i = 0; i < n_vports; i++) {
        snprintf(name, sizeof name, "v%d", i);
        vport_bond_add_vport(vb, name, u32_to_odp(i), VPORT_VM, NULL, i + 1);
    }
    vport_bond_run(vb, now_ms);
}

static void
setup(void)
{
    now_ms = 1000000;
}

static void
teardown(void)
{
    vport_bond_destroy(vb);
    vb = NULL;
}

static long long int
run(void)
{
    return vport_bond_run(vb, now_ms);
}

static void
carrier(const char *name, bool up)
{
    vport_bond_set_carrier(vb, uplink(name), up, now_ms);
    run();
}

static void
enabled(const char *name, bool enabled_, bool enabling)
{
    vport_bond_set_enabled(vb, uplink(name), enabled_, enabling);
    run();
}

static struct vport_bond_vport *
vport(const char *name)
{
    return vport_bond_find_vport_by_name(vb, name);
}

/* Returns the name of the uplink that 'name' uses, "-" if none. */
static const char *
where(const char *name)
{
    const struct vport_bond_uplink *u = vport(name)->current;

    return u ? u->name : "-";
}

static int
n_on(const char *name)
{
    return uplink(name)->n_vports[VPORT_VM];
}

static void
count_change(struct vport_bond_vport *v OVS_UNUSED, void *n_)
{
    int *n = n_;

    ++*n;
}

static int
n_changes(void)
{
    int n = 0;

    vport_bond_take_changes(vb, count_change, &n);
    return n;
}

START_TEST(test_spread)
{
    /* Evenly, in the same way each time, and they stay put. */
    make_bond(2, 5, 0, 0, true);
    ck_assert_int_eq(n_on("p0"), 3);
    ck_assert_int_eq(n_on("p1"), 2);
    ck_assert_str_eq(where("v0"), "p0");
    ck_assert_str_eq(where("v1"), "p1");
    ck_assert_str_eq(where("v2"), "p0");
    ck_assert_int_eq(n_changes(), 5);
    for (int i = 0; i < 10; i++) {
        now_ms += 10000;
        ck_assert_int_eq(run(), LLONG_MAX);
    }
    ck_assert_int_eq(n_changes(), 0);
    ck_assert_int_eq(vport("v0")->n_moves, 0);

    /* A vport that goes makes room for the next. */
    vport_bond_remove_vport(vb, vport("v0"));
    vport_bond_remove_vport(vb, vport("v2"));
    vport_bond_add_vport(vb, "v9", u32_to_odp(9), VPORT_VM, NULL, 9);
    run();
    ck_assert_str_eq(where("v9"), "p0");
    ck_assert_int_eq(n_changes(), 1);

    /* A new uplink takes nobody away, but gets the next. */
    vport_bond_add_uplink(vb, "p2", u32_to_odp(UPLINK_PORT + 2), now_ms);
    run();
    ck_assert_int_eq(n_changes(), 0);
    vport_bond_add_vport(vb, "v10", u32_to_odp(10), VPORT_VM, NULL, 10);
    run();
    ck_assert_str_eq(where("v10"), "p2");
}
END_TEST

START_TEST(test_classes)
{
    /* Ports that are not virtual machines' do not disturb the balance. */
    make_bond(2, 0, 0, 0, true);
    vport_bond_add_vport(vb, "(none)", ODPP_NONE, VPORT_OTHER, NULL, 1);
    vport_bond_add_vport(vb, "br0", u32_to_odp(50), VPORT_OTHER, NULL, 2);
    vport_bond_add_vport(vb, "br1", u32_to_odp(51), VPORT_OTHER, NULL, 3);
    for (int i = 0; i < 4; i++) {
        char name[16];

        snprintf(name, sizeof name, "v%d", i);
        vport_bond_add_vport(vb, name, u32_to_odp(i), VPORT_VM, NULL, i + 4);
    }
    run();
    ck_assert_int_eq(n_on("p0"), 2);
    ck_assert_int_eq(n_on("p1"), 2);
    ck_assert_int_eq(uplink("p0")->n_vports[VPORT_OTHER], 2);
    ck_assert_int_eq(uplink("p1")->n_vports[VPORT_OTHER], 1);
    ck_assert_ptr_eq(vport_bond_find_vport(vb, ODPP_NONE), vport("(none)"));
}
END_TEST

START_TEST(test_pinned)
{
    make_bond(2, 0, 0, 0, true);
    vport_bond_add_vport(vb, "v0", u32_to_odp(0), VPORT_VM, "p1", 1);
    vport_bond_add_vport(vb, "v1", u32_to_odp(1), VPORT_VM, "p1", 2);
    vport_bond_add_vport(vb, "v2", u32_to_odp(2), VPORT_VM, NULL, 3);
    run();
    ck_assert_str_eq(where("v0"), "p1");
    ck_assert_str_eq(where("v1"), "p1");
    ck_assert_str_eq(where("v2"), "p0");

    /* Pinned elsewhere; unpinned, it stays. */
    vport_bond_set_primary(vb, vport("v0"), "p0");
    run();
    ck_assert_str_eq(where("v0"), "p0");
    ck_assert_int_eq(vport("v0")->n_moves, 1);
    vport_bond_set_primary(vb, vport("v0"), NULL);
    run();
    ck_assert_str_eq(where("v0"), "p0");

    /* The primary leaves the bond and comes back. */
    vport_bond_remove_uplink(vb, uplink("p1"));
    run();
    ck_assert_str_eq(where("v1"), "p0");
    vport_bond_add_uplink(vb, "p1", u32_to_odp(UPLINK_PORT + 7), now_ms);
    run();
    ck_assert_str_eq(where("v1"), "p1");
    ck_assert_str_eq(where("v0"), "p0");
}
END_TEST

START_TEST(test_failover_and_recovery)
{
    make_bond(2, 4, 0, 0, true);
    n_changes();
    now_ms += 5;
    carrier("p0", false);
    ck_assert_int_eq(n_on("p1"), 4);
    ck_assert_int_eq(n_changes(), 2);
    ck_assert_int_eq(vport("v0")->last_move_ms, now_ms);
    ck_assert(!uplink("p0")->eligible);
    ck_assert_int_eq(uplink("p0")->since_ms, now_ms);

    /* Told again what is known: nothing happens. */
    carrier("p0", false);
    ck_assert_int_eq(n_changes(), 0);

    now_ms += 1000;
    carrier("p0", true);
    ck_assert_str_eq(where("v0"), "p0");
    ck_assert_str_eq(where("v1"), "p1");
    ck_assert_str_eq(where("v2"), "p0");
    ck_assert_int_eq(n_changes(), 2);
    ck_assert_int_eq(vport("v0")->n_moves, 2);
    ck_assert_int_eq(vport("v1")->n_moves, 0);
}
END_TEST

START_TEST(test_no_revert)
{
    make_bond(2, 4, 0, 0, false);
    carrier("p0", false);
    now_ms += 20000;
    carrier("p0", true);
    ck_assert_int_eq(n_on("p1"), 4);

    /* When they have to move again they go home. */
    carrier("p1", false);
    ck_assert_int_eq(n_on("p0"), 4);
}
END_TEST

START_TEST(test_delays)
{
    make_bond(2, 2, 300, 100, true);
    carrier("p0", false);
    ck_assert_str_eq(where("v0"), "p0");
    ck_assert_int_eq(run(), now_ms + 100);
    now_ms += 99;
    run();
    ck_assert_str_eq(where("v0"), "p0");
    now_ms++;
    ck_assert_int_eq(run(), LLONG_MAX);
    ck_assert_str_eq(where("v0"), "p1");

    now_ms += 50000;
    carrier("p0", true);
    ck_assert_str_eq(where("v0"), "p1");
    ck_assert_int_eq(vport_bond_uplink_due_in(uplink("p0"), now_ms), 300);
    now_ms += 299;
    run();
    ck_assert_str_eq(where("v0"), "p1");
    now_ms++;
    run();
    ck_assert_str_eq(where("v0"), "p0");
    ck_assert_int_eq(vport_bond_uplink_due_in(uplink("p0"), now_ms), -1);

    /* A loss shorter than the delay, and a return shorter than the delay. */
    now_ms += 50000;
    n_changes();
    carrier("p0", false);
    now_ms += 50;
    carrier("p0", true);
    now_ms += 1000;
    ck_assert_int_eq(run(), LLONG_MAX);
    ck_assert_int_eq(n_changes(), 0);
    now_ms += 50000;
    carrier("p0", false);
    now_ms += 100;
    run();
    ck_assert_str_eq(where("v0"), "p1");
    now_ms += 50000;
    carrier("p0", true);
    now_ms += 100;
    carrier("p0", false);
    now_ms += 1000;
    run();
    ck_assert_str_eq(where("v0"), "p1");
}
END_TEST

START_TEST(test_gone)
{
    /* No delay brings a device or a port back, whatever their order. */
    make_bond(2, 2, 0, 5000, true);
    vport_bond_set_gone(vb, uplink("p0"), VPORT_BOND_NO_DEVICE, true);
    run();
    ck_assert_str_eq(where("v0"), "p1");
    vport_bond_set_gone(vb, uplink("p0"), VPORT_BOND_NO_PORT_IN_DATAPATH,
                        true);
    vport_bond_set_gone(vb, uplink("p0"), VPORT_BOND_NO_DEVICE, false);
    run();
    ck_assert_str_eq(where("v0"), "p1");

    /* Nor is it better than nothing. */
    vport_bond_set_gone(vb, uplink("p1"), VPORT_BOND_NO_DEVICE, true);
    run();
    ck_assert_str_eq(where("v0"), "-");
    vport_bond_set_gone(vb, uplink("p0"), VPORT_BOND_NO_PORT_IN_DATAPATH,
                        false);
    run();
    ck_assert_str_eq(where("v0"), "p0");
    ck_assert_str_eq(where("v1"), "p0");
}
END_TEST

START_TEST(test_ovs_state)
{
    /* OVS's word counts at once; carrier alone is not enough. */
    make_bond(2, 2, 300, 100, true);
    enabled("p0", false, false);
    ck_assert_str_eq(where("v0"), "p1");
    carrier("p0", true);
    ck_assert_str_eq(where("v0"), "p1");
    enabled("p0", true, false);
    ck_assert_str_eq(where("v0"), "p0");
}
END_TEST

START_TEST(test_damping)
{
    int hold_ms = VPORT_BOND_FLAP_HOLD_MS;

    make_bond(2, 2, 0, 0, true);
    carrier("p0", false);
    now_ms += 10;
    carrier("p0", true);
    ck_assert_str_eq(where("v0"), "p0");
    ck_assert(!vport_bond_uplink_is_damped(uplink("p0")));

    /* From the second loss on a return must last. */
    for (int i = 0; i < 8; i++) {
        now_ms += 10;
        carrier("p0", false);
        ck_assert_str_eq(where("v0"), "p1");
        now_ms += 10;
        carrier("p0", true);
        ck_assert_str_eq(where("v0"), "p1");
        ck_assert(vport_bond_uplink_is_damped(uplink("p0")));
        ck_assert_int_eq(vport_bond_uplink_due_in(uplink("p0"), now_ms),
                         hold_ms);
        hold_ms = MIN(hold_ms * 2, VPORT_BOND_FLAP_HOLD_MAX_MS);
    }
    ck_assert_int_eq(vport("v0")->n_moves, 3);
    now_ms += VPORT_BOND_FLAP_HOLD_MAX_MS;
    run();
    ck_assert_str_eq(where("v0"), "p0");

    /* After a while it is forgotten. */
    now_ms += VPORT_BOND_FLAP_WINDOW_MS;
    carrier("p0", false);
    now_ms += 10;
    carrier("p0", true);
    ck_assert_str_eq(where("v0"), "p0");
}
END_TEST

START_TEST(test_all_down)
{
    make_bond(2, 4, 1000, 0, true);
    carrier("p0", false);
    carrier("p1", false);
    ck_assert_str_eq(where("v0"), "-");
    ck_assert_str_eq(where("v1"), "-");

    /* The first one up takes all, without delay, although OVS is only about to
     * enable it. */
    enabled("p0", false, false);
    enabled("p1", false, false);
    now_ms += 100;
    carrier("p1", true);
    ck_assert_str_eq(where("v0"), "-");
    enabled("p1", false, true);
    ck_assert_int_eq(n_on("p1"), 4);

    /* The other one counts as ever, and each goes home when it may. */
    enabled("p0", false, true);
    carrier("p0", true);
    ck_assert_int_eq(n_on("p0") + n_on("p1"), 4);
    now_ms += 1000;
    enabled("p0", true, false);
    enabled("p1", true, false);
    ck_assert_int_eq(n_on("p0"), 2);
    ck_assert_int_eq(n_on("p1"), 2);
}
END_TEST

START_TEST(test_more_uplinks)
{
    /* Those of a dead uplink are spread over all survivors. */
    make_bond(4, 12, 0, 0, true);
    ck_assert_int_eq(n_on("p3"), 3);
    carrier("p3", false);
    ck_assert_int_eq(n_on("p0"), 4);
    ck_assert_int_eq(n_on("p1"), 4);
    ck_assert_int_eq(n_on("p2"), 4);
    carrier("p0", false);
    ck_assert_int_eq(n_on("p1"), 6);
    ck_assert_int_eq(n_on("p2"), 6);
    n_changes();
    vport_bond_remove_uplink(vb, uplink("p1"));
    run();
    ck_assert_int_eq(n_on("p2"), 12);
    ck_assert_int_eq(n_changes(), 6);
    now_ms += 20000;
    carrier("p3", true);
    carrier("p0", true);
    ck_assert_int_eq(n_on("p0") + n_on("p2") + n_on("p3"), 12);
    ck_assert_int_eq(n_on("p0"), 4);
    ck_assert_int_eq(n_on("p2"), 4);
}
END_TEST

START_TEST(test_by_hand)
{
    char *error;

    make_bond(2, 0, 0, 0, true);
    vport_bond_add_vport(vb, "v0", u32_to_odp(0), VPORT_VM, "p0", 1);
    run();
    ck_assert_ptr_null(vport_bond_move(vb, vport("v0"), uplink("p1"),
                                       now_ms));
    run();
    ck_assert_str_eq(where("v0"), "p1");
    ck_assert(vport("v0")->by_hand);

    /* It comes back there, too. */
    carrier("p1", false);
    ck_assert_str_eq(where("v0"), "p0");
    carrier("p1", true);
    ck_assert_str_eq(where("v0"), "p1");

    /* Not to a dead uplink. */
    carrier("p0", false);
    error = vport_bond_move(vb, vport("v0"), uplink("p0"), now_ms);
    ck_assert_str_eq(error, "bond0: uplink p0 is not usable now "
                     "(carrier down, enabled)");
    free(error);
    run();
    ck_assert_str_eq(where("v0"), "p1");

    /* Pinning anew ends it. */
    now_ms += 20000;
    carrier("p0", true);
    vport_bond_set_primary(vb, vport("v0"), NULL);
    vport_bond_set_primary(vb, vport("v0"), "p0");
    run();
    ck_assert_str_eq(where("v0"), "p0");
    ck_assert(!vport("v0")->by_hand);
}
END_TEST

START_TEST(test_port_number)
{
    make_bond(2, 2, 0, 0, true);
    n_changes();
    vport_bond_set_uplink_port(vb, uplink("p0"), u32_to_odp(77));
    run();
    ck_assert_int_eq(n_changes(), 1);
    ck_assert_int_eq(vport("v0")->n_moves, 0);
}
END_TEST

START_TEST(test_down_from_the_start)
{
    make_bond(1, 2, 1000, 1000, true);
    vport_bond_add_uplink(vb, "p1", u32_to_odp(UPLINK_PORT + 1), now_ms);
    vport_bond_set_carrier(vb, uplink("p1"), false, now_ms);
    vport_bond_add_vport(vb, "v2", u32_to_odp(2), VPORT_VM, "p1", 3);
    ck_assert_int_eq(run(), LLONG_MAX);
    ck_assert_str_eq(where("v2"), "p0");
    ck_assert_int_eq(uplink("p1")->n_losses, 0);
}
END_TEST

START_TEST(test_no_uplinks)
{
    make_bond(0, 2, 0, 0, true);
    ck_assert_str_eq(where("v0"), "-");
    ck_assert_int_eq(n_changes(), 2);
    vport_bond_add_uplink(vb, "p0", u32_to_odp(UPLINK_PORT), now_ms);
    run();
    ck_assert_str_eq(where("v0"), "p0");
    ck_assert_str_eq(where("v1"), "p0");
}
END_TEST

/* What must hold after each decision. */
static void
check_invariants(int n_uplinks, int n_vports)
{
    struct vport_bond_uplink *u;
    struct vport_bond_vport *v;
    bool any_eligible = false;
    bool any_usable = false;
    bool ok = true;
    int n = 0;

    LIST_FOR_EACH (u, node, &vb->uplinks) {
        any_eligible |= u->eligible;
        any_usable |= u->usable;
        ok &= !u->eligible || (u->carrier_counts && u->enabled);
    }
    LIST_FOR_EACH (u, node, &vb->uplinks) {
        unsigned int n_here = 0, n_home = 0;

        LIST_FOR_EACH (v, list_node, &vb->vport_list) {
            n_here += v->current == u;
            n_home += v->home == u;
        }
        ok &= n_here == u->n_vports[VPORT_VM];
        ok &= n_home == u->n_homes[VPORT_VM];
        ok &= !any_eligible || u->usable == u->eligible;
        n++;
    }
    ok &= n == n_uplinks;
    n = 0;
    LIST_FOR_EACH (v, list_node, &vb->vport_list) {
        ok &= any_usable ? v->current && v->current->usable : !v->current;
        ok &= n_uplinks ? v->home != NULL : !v->home;
        ok &= !(vb->settings.revert && v->home && v->home->usable
                && v->current != v->home);
        n++;
    }
    ok &= n == n_vports;
    ck_assert(ok);
}

START_TEST(test_random)
{
    enum { N_UPLINKS = 4, N_VPORTS = 20 };
    bool present[N_UPLINKS] = { false };
    bool vports[N_VPORTS] = { false };
    int n_uplinks = 0, n_vports = 0;
    long long int wake_ms = LLONG_MAX;

    random_set_seed(_i + 1);
    make_bond(0, 0, random_range(2) * 200, random_range(2) * 100, _i & 1);
    for (int step = 0; step < 3000; step++) {
        int u = random_range(N_UPLINKS);
        int v = random_range(N_VPORTS);
        char u_name[16], v_name[16];

        snprintf(u_name, sizeof u_name, "p%d", u);
        snprintf(v_name, sizeof v_name, "v%d", v);
        switch (random_range(12)) {
        case 0:
            if (present[u]) {
                vport_bond_remove_uplink(vb, uplink(u_name));
            } else {
                vport_bond_add_uplink(vb, u_name, u32_to_odp(u), now_ms);
            }
            present[u] = !present[u];
            n_uplinks += present[u] ? 1 : -1;
            break;
        case 1:
            if (vports[v]) {
                vport_bond_remove_vport(vb, vport(v_name));
            } else {
                vport_bond_add_vport(vb, v_name, u32_to_odp(v), VPORT_VM,
                                     present[u] ? u_name : NULL, v);
            }
            vports[v] = !vports[v];
            n_vports += vports[v] ? 1 : -1;
            break;
        case 2:
            if (present[u] && vports[v]) {
                free(vport_bond_move(vb, vport(v_name), uplink(u_name),
                                     now_ms));
            }
            break;
        case 3:
            if (present[u]) {
                vport_bond_set_enabled(vb, uplink(u_name), random_range(3),
                                       random_range(2));
            }
            break;
        case 4:
        case 5:
        case 6:
            if (present[u]) {
                vport_bond_set_carrier(vb, uplink(u_name), random_range(3),
                                       now_ms);
            }
            break;
        default:
            now_ms += random_range(random_range(5) ? 100 : 20000);
            break;
        }
        wake_ms = run();
        ck_assert(wake_ms > now_ms);
        check_invariants(n_uplinks, n_vports);
        n_changes();
        wake_ms = run();
        ck_assert_int_eq(n_changes(), 0);
    }

    /* When all is well again and quiet everybody is at home. */
    for (int u = 0; u < N_UPLINKS; u++) {
        char name[16];

        snprintf(name, sizeof name, "p%d", u);
        if (present[u]) {
            vport_bond_set_carrier(vb, uplink(name), true, now_ms);
            vport_bond_set_enabled(vb, uplink(name), true, false);
        }
    }
    now_ms += VPORT_BOND_FLAP_HOLD_MAX_MS;
    run();
    if (vb->settings.revert) {
        struct vport_bond_vport *v;

        LIST_FOR_EACH (v, list_node, &vb->vport_list) {
            ck_assert_ptr_eq(v->current, v->home);
        }
    }
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("vport-bond");
    TCase *tcase = tcase_create("all");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, test_spread);
    tcase_add_test(tcase, test_classes);
    tcase_add_test(tcase, test_pinned);
    tcase_add_test(tcase, test_failover_and_recovery);
    tcase_add_test(tcase, test_no_revert);
    tcase_add_test(tcase, test_delays);
    tcase_add_test(tcase, test_gone);
    tcase_add_test(tcase, test_ovs_state);
    tcase_add_test(tcase, test_damping);
    tcase_add_test(tcase, test_all_down);
    tcase_add_test(tcase, test_more_uplinks);
    tcase_add_test(tcase, test_by_hand);
    tcase_add_test(tcase, test_port_number);
    tcase_add_test(tcase, test_down_from_the_start);
    tcase_add_test(tcase, test_no_uplinks);
    tcase_add_loop_test(tcase, test_random, 0, 20);
    suite_add_tcase(suite, tcase);
    return unit_test_run(suite);
}
