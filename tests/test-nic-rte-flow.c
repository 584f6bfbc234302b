/* SPDX-License-Identifier: Apache-2.0 */

/* The driver for DPDK ports, with a DPDK that fails when it is told to and
 * whose counters are late, as drivers' are. */

#include <config.h>

#define ALLOW_EXPERIMENTAL_API 1

#include "lib/nic-rte-flow.h"

#include <inttypes.h>
#include <limits.h>

#include "lib/nic-rte-flow-private.h"
#include "seq.h"
#include "smap.h"
#include "tests/fake-rte-flow.h"
#include "tests/nic-test.h"

static struct nic *nic;
static nic_port_id ids[FAKE_N_PORTS];
static long long int now_ms;

static void
add_port(int i)
{
    char name[] = { 'p', '0' + i, '\0' };

    ck_assert_int_eq(nic_rte_flow_class.port_add(
                         nic, name, u32_to_odp(i),
                         i ? NIC_PORT_VF : NIC_PORT_UPLINK, &ids[i]), 0);
}

static void
open_nic(void)
{
    struct smap config = SMAP_INITIALIZER(&config);
    struct nic_rte_flow_device device;
    char *error;

    ck_assert_ptr_null(nic_rte_flow_find_device("p0", &device));
    ck_assert_int_eq(device.domain, FAKE_DOMAIN);
    smap_add_format(&config, "domain", "%d", FAKE_DOMAIN);
    ck_assert_int_eq(nic_rte_flow_class.open("dpdk-7", &config, &nic, &error),
                     0);
    smap_destroy(&config);
}

static void
setup(void)
{
    now_ms = 100000;
    open_nic();
    for (int i = 0; i < FAKE_N_PORTS; i++) {
        add_port(i);
    }
}

static void
begin(void)
{
    fake_reset();
    fake.error = EIO;
    for (int i = 0; i < FAKE_N_PORTS; i++) {
        rte_flow_probe_forget(i);
    }
}

static void
end(void)
{
    for (int i = 0; i < FAKE_N_PORTS; i++) {
        nic_rte_flow_class.port_del(nic, ids[i]);
    }
    nic_rte_flow_class.close(nic);
    ck_assert_uint_eq(fake_n_flows(), 0);
    ck_assert_uint_eq(fake_n_handles(), 0);
    nic_test_quiesce();
}

/* Submits 'op'. */
static void
submit(const struct nic_op *op)
{
    nic_rte_flow_class.submit(nic, op, 1, now_ms);
}

/* Returns whether there is a completion, and stores it in '*c'. */
static bool
poll_one(struct nic_completion *c)
{
    return nic_rte_flow_class.poll(nic, c, 1, now_ms);
}

static void
submit_add(int in, struct nic_action action, uint64_t cookie)
{
    struct flow flow = nic_test_flow4(IPPROTO_UDP, 1, 2, 1000 + cookie, 80);
    struct match match;
    struct nic_op op = {
        .type = NIC_OP_RULE_ADD,
        .cookie = cookie,
        .rule.values = nic_test_values(&flow),
    };
    struct nic_template *template;

    match_init_catchall(&match);
    match_set_dl_type(&match, flow.dl_type);
    match_set_dl_tci(&match, 0);
    match_set_nw_proto(&match, flow.nw_proto);
    match_set_nw_frag(&match, 0);
    template = nic_template_create(ids[in], NIC_TABLE_ROOT, &match,
                                   NIC_SLOT_TUPLE, &action, 1);
    op.rule.template = template;
    submit(&op);
    nic_template_unref(template);
}

/* Adds a rule from port 'in' to port 'out'. */
static nic_handle
add_rule(int in, int out)
{
    struct nic_completion c;

    submit_add(in, nic_test_output(ids[out]), 1);
    ck_assert(poll_one(&c));
    ck_assert_int_eq(c.type, NIC_OP_RULE_ADD);
    ck_assert_int_eq(c.error, 0);
    return c.handle;
}

static void
submit_del(enum nic_op_type type, nic_handle handle, uint64_t cookie)
{
    struct nic_op op = { .type = type, .cookie = cookie, .handle = handle };

    submit(&op);
}

static nic_handle
add_egress(int port)
{
    struct nic_op op = {
        .type = NIC_OP_EGRESS_ADD,
        .egress_port = ids[port],
    };
    struct nic_completion c;

    submit(&op);
    ck_assert(poll_one(&c));
    ck_assert_int_eq(c.error, 0);
    return c.handle;
}

static void
count_kind(const char *kind, nic_handle handle OVS_UNUSED,
           const char *description OVS_UNUSED,
           const struct nic_counter *counter OVS_UNUSED, void *n_)
{
    size_t *n = n_;

    *n += !strcmp(kind, "leftover");
}

static size_t
n_leftovers(void)
{
    size_t n = 0;

    nic_rte_flow_class.dump(nic, count_kind, &n);
    return n;
}

/* Lets time pass, until what was left over is tried again. */
static void
retry(void)
{
    struct nic_completion c;

    now_ms = MAX(nic_rte_flow_class.wake_ms(nic, now_ms), now_ms);
    ck_assert(!poll_one(&c));
}

static struct nic_caps
get_caps(void)
{
    struct nic_caps caps;

    nic_rte_flow_class.get_caps(nic, &caps);
    return caps;
}

/* Probing. */

START_TEST(test_trial_hits_nothing)
{
    for (int groups = 0; groups < 2; groups++) {
        begin();
        fake.no_groups = !groups;
        setup();
        ck_assert_uint_gt(fake_n_made(), 0);
        for (size_t i = 0; i < fake_n_made(); i++) {
            const struct rte_flow *flow = fake_made(i);

            if (flow->out_port < 0) {
                continue;
            }
            /* All that were made are trials so far.  Packets come to group 0,
             * and to where a rule leads. */
            ck_assert_int_eq(flow->broadcast_source, true);
            if (groups) {
                ck_assert_uint_ne(flow->group, RTE_FLOW_GROUP_ENTRY);
                for (size_t j = 0; j < fake_n_made(); j++) {
                    ck_assert_int_ne(fake_made(j)->jump, flow->group);
                }
            }
        }
        end();
    }
}
END_TEST

START_TEST(test_no_egress_without_priorities)
{
    begin();
    fake.no_priorities = true;
    setup();
    ck_assert(!get_caps().egress_object);
    end();
}
END_TEST

/* A port is restarted or reset, with other firmware, say. */
START_TEST(test_offer_is_refreshed)
{
    for (int reset = 0; reset < 2; reset++) {
        begin();
        fake.no_nat = true;
        setup();
        ck_assert(!get_caps().nat);

        fake.no_nat = false;
        if (reset) {
            fake_event(2, RTE_ETH_EVENT_INTR_RESET);
        } else {
            nic_rte_flow_port_stopping(2, false);
            nic_rte_flow_port_started(2);
        }
        ck_assert(nic_rte_flow_class.port_changed(nic, ids[2]));
        nic_rte_flow_class.port_del(nic, ids[2]);
        add_port(2);
        ck_assert(get_caps().nat);
        end();
    }
}
END_TEST

/* Rules. */

START_TEST(test_last_count)
{
    struct nic_completion c;
    struct rte_flow *flow;
    nic_handle handle;

    begin();
    setup();
    handle = add_rule(1, 0);
    flow = fake_find(RTE_FLOW_GROUP_RULES, 1);
    fake_hit(flow, 5);
    fake_publish();
    fake_hit(flow, 3);

    /* It hits no more at once. */
    submit_del(NIC_OP_RULE_DEL, handle, 77);
    ck_assert(!poll_one(&c));
    ck_assert(!flow->exists);
    ck_assert_int_eq(nic_rte_flow_class.wake_ms(nic, now_ms),
                     now_ms + RTE_NIC_DRIVER_STALE_MS);

    now_ms += RTE_NIC_DRIVER_STALE_MS - 1;
    ck_assert(!poll_one(&c));
    fake_publish();
    now_ms++;
    ck_assert(poll_one(&c));
    ck_assert_int_eq(c.type, NIC_OP_RULE_DEL);
    ck_assert_int_eq(c.error, 0);
    ck_assert_uint_eq(c.cookie, 77);
    ck_assert_uint_eq(c.final[0].packets, 8);
    ck_assert_uint_eq(c.final[0].bytes, 800);
    ck_assert_uint_eq(fake_n_handles(), 0);
    ck_assert_int_eq(nic_rte_flow_class.wake_ms(nic, now_ms), LLONG_MAX);
    end();
}
END_TEST

START_TEST(test_own_count)
{
    struct nic_completion c;
    nic_handle handle;

    begin();
    fake.no_indirect = true;
    setup();
    handle = add_rule(1, 0);
    fake_hit(fake_find(RTE_FLOW_GROUP_RULES, 1), 5);
    submit_del(NIC_OP_RULE_DEL, handle, 77);
    ck_assert(poll_one(&c));
    ck_assert_int_eq(c.error, 0);
    ck_assert_uint_eq(c.final[0].packets, 5);
    end();
}
END_TEST

/* A port stops while a deletion waits for its last count: there is no time. */
START_TEST(test_last_count_at_stop)
{
    struct nic_completion c;
    nic_handle deleted, remaining;

    begin();
    setup();
    deleted = add_rule(1, 0);
    fake_hit(fake_find(RTE_FLOW_GROUP_RULES, 1), 5);
    remaining = add_rule(2, 0);
    fake_hit(fake_find(RTE_FLOW_GROUP_RULES, 2), 6);
    submit_del(NIC_OP_RULE_DEL, deleted, 77);
    ck_assert(!poll_one(&c));
    fake_publish();
    nic_rte_flow_port_stopping(0, false);
    ck_assert_uint_eq(fake_n_handles(), 0);
    ck_assert_uint_eq(fake_n_flows(), 0);
    ck_assert_int_eq(fake.n_flushes, 0);

    submit_del(NIC_OP_RULE_DEL, remaining, 78);
    ck_assert(poll_one(&c));
    ck_assert_uint_eq(c.cookie, 78);
    ck_assert_uint_eq(c.final[0].packets, 6);
    now_ms += RTE_NIC_DRIVER_STALE_MS;
    ck_assert(poll_one(&c));
    ck_assert_uint_eq(c.cookie, 77);
    ck_assert_uint_eq(c.final[0].packets, 5);
    end();
}
END_TEST

START_TEST(test_counter_is_not_forgotten)
{
    struct nic_completion c;
    nic_handle handle;

    begin();
    setup();
    handle = add_rule(1, 0);
    submit_del(NIC_OP_RULE_DEL, handle, 77);
    ck_assert(!poll_one(&c));
    now_ms += RTE_NIC_DRIVER_STALE_MS;
    fake.fail_handle_destroy = 2;
    ck_assert(poll_one(&c));
    ck_assert_int_eq(c.error, 0);
    ck_assert_uint_eq(fake_n_handles(), 1);
    ck_assert_uint_eq(n_leftovers(), 1);
    retry();
    ck_assert_uint_eq(fake_n_handles(), 1);
    retry();
    ck_assert_uint_eq(fake_n_handles(), 0);
    ck_assert_uint_eq(n_leftovers(), 0);
    end();
}
END_TEST

START_TEST(test_rule_of_port_that_goes)
{
    struct nic_completion c;
    nic_handle handle;

    begin();
    setup();
    handle = add_rule(1, 2);
    fake_hit(fake_find(RTE_FLOW_GROUP_RULES, 1), 4);

    /* The driver refuses; the engine's deletion tries again. */
    fake.fail_destroy = 1;
    nic_rte_flow_class.port_del(nic, ids[2]);
    ck_assert_ptr_nonnull(fake_find(RTE_FLOW_GROUP_RULES, 1));
    nic_rte_flow_class.port_del(nic, ids[1]);
    ck_assert_ptr_null(fake_find(RTE_FLOW_GROUP_RULES, 1));
    submit_del(NIC_OP_RULE_DEL, handle, 77);
    ck_assert(!poll_one(&c));
    fake_publish();
    now_ms += RTE_NIC_DRIVER_STALE_MS;
    ck_assert(poll_one(&c));
    ck_assert_uint_eq(c.final[0].packets, 4);
    end();
}
END_TEST

/* A port stops whose rules the driver does not remove one by one. */
START_TEST(test_stop_with_stubborn_rules)
{
    struct nic_completion c;
    nic_handle handle;

    begin();
    setup();
    handle = add_rule(1, 0);
    fake_hit(fake_find(RTE_FLOW_GROUP_RULES, 1), 5);
    fake_publish();
    fake.fail_destroy = 100;
    nic_rte_flow_port_stopping(0, false);
    ck_assert_int_eq(fake.n_flushes, 1);
    ck_assert_uint_eq(fake_n_flows(), 0);
    ck_assert_uint_eq(fake_n_handles(), 0);
    ck_assert_uint_eq(n_leftovers(), 0);
    fake.fail_destroy = 0;
    submit_del(NIC_OP_RULE_DEL, handle, 77);
    ck_assert(poll_one(&c));
    ck_assert_uint_eq(c.final[0].packets, 5);
    end();
}
END_TEST

/* Resets. */

START_TEST(test_reset_of_one_port)
{
    struct nic_completion c;
    uint64_t seqno;

    begin();
    setup();
    add_rule(1, 0);
    add_rule(2, 0);
    seqno = seq_read(nic_seq());
    fake_event(2, RTE_ETH_EVENT_INTR_RESET);
    ck_assert_int_eq(fake.n_reports, 1);
    ck_assert_uint_eq(seq_read(nic_seq()), seqno);
    ck_assert(!poll_one(&c));
    ck_assert(nic_rte_flow_class.port_changed(nic, ids[2]));
    ck_assert(!nic_rte_flow_class.port_changed(nic, ids[1]));
    ck_assert_ptr_nonnull(fake_find(RTE_FLOW_GROUP_RULES, 1));
    end();
}
END_TEST

START_TEST(test_reset_of_all)
{
    struct nic_completion c;
    uint64_t seqno;

    begin();
    setup();
    add_rule(1, 0);
    add_egress(0);
    seqno = seq_read(nic_seq());
    fake_event(0, RTE_ETH_EVENT_INTR_RESET);
    ck_assert_uint_ne(seq_read(nic_seq()), seqno);
    ck_assert_int_eq(nic_rte_flow_class.wake_ms(nic, now_ms), now_ms);

    /* Some do not go at once. */
    fake.fail_destroy = 3;
    ck_assert(poll_one(&c));
    ck_assert_int_eq(c.type, NIC_OP_RESET);
    ck_assert_uint_ge(n_leftovers(), 2);
    for (int i = 0; i < FAKE_N_PORTS; i++) {
        ck_assert(nic_rte_flow_class.port_changed(nic, ids[i]));
    }
    retry();
    retry();
    ck_assert_uint_eq(n_leftovers(), 0);
    ck_assert_uint_eq(fake_n_handles(), 0);
    ck_assert_ptr_null(fake_find(RTE_FLOW_GROUP_RULES, 1));
    end();
}
END_TEST

/* What a NIC could not remove when it was closed, the next one removes. */
START_TEST(test_leftovers_are_inherited)
{
    struct nic_completion c;

    begin();
    setup();
    fake.fail_destroy = INT_MAX;
    for (int i = 0; i < FAKE_N_PORTS; i++) {
        nic_rte_flow_class.port_del(nic, ids[i]);
    }
    nic_rte_flow_class.close(nic);
    ck_assert_uint_eq(fake_n_flows(), FAKE_N_PORTS);
    open_nic();
    ck_assert_uint_eq(n_leftovers(), FAKE_N_PORTS);
    fake.fail_destroy = 0;
    ck_assert(!poll_one(&c));
    ck_assert_uint_eq(fake_n_flows(), 0);
    nic_rte_flow_class.close(nic);
}
END_TEST

/* The way to the group with rules. */

START_TEST(test_jump_without_room)
{
    struct nic_completion c;

    begin();
    setup();
    nic_rte_flow_class.port_del(nic, ids[1]);
    fake.error = ENOSPC;
    fake.fail_create = 2;
    add_port(1);
    ck_assert_ptr_null(fake_find(RTE_FLOW_GROUP_ENTRY, 1));

    submit_add(1, nic_test_output(ids[0]), 1);
    ck_assert(poll_one(&c));
    ck_assert_int_eq(c.error, ENOSPC);

    /* When there is room, it is there before the rule. */
    add_rule(1, 0);
    ck_assert_int_eq(fake_find(RTE_FLOW_GROUP_ENTRY, 1)->jump,
                     RTE_FLOW_GROUP_RULES);
    ck_assert_ptr_nonnull(fake_find(RTE_FLOW_GROUP_RULES, 1));
    end();
}
END_TEST

START_TEST(test_jump_that_exists)
{
    begin();
    setup();
    fake.fail_destroy = 1;
    nic_rte_flow_class.port_del(nic, ids[1]);
    ck_assert_uint_eq(n_leftovers(), 1);

    /* The old one is not in the way of the new one. */
    add_port(1);
    ck_assert_uint_eq(n_leftovers(), 0);
    add_rule(1, 0);
    ck_assert_int_eq(fake_find(RTE_FLOW_GROUP_ENTRY, 1)->jump,
                     RTE_FLOW_GROUP_RULES);
    end();
}
END_TEST

START_TEST(test_jump_is_refused)
{
    begin();
    setup();
    nic_rte_flow_class.port_del(nic, ids[1]);
    fake.error = ENOTSUP;
    fake.fail_create = 1;
    add_port(1);
    add_rule(1, 0);
    ck_assert_int_eq(fake_find(RTE_FLOW_GROUP_ENTRY, 1)->out_port, 0);
    end();
}
END_TEST

/* Egress objects. */

static int
set_egress(nic_handle handle, int port)
{
    const char *why = NULL;

    return nic_rte_flow_class.egress_set(nic, handle, ids[port], &why);
}

START_TEST(test_egress_moves)
{
    nic_handle handle;
    uint32_t group;

    begin();
    setup();
    handle = add_egress(0);
    group = RTE_FLOW_GROUP_EGRESS + 1;
    ck_assert_int_eq(fake_find(group, -1)->out_port, 0);

    /* The new rule comes first, so that packets see it; the old one stays for
     * a while. */
    fake.fail_destroy = 1;
    ck_assert_int_eq(set_egress(handle, 3), 0);
    ck_assert_int_eq(fake_find(group, -1)->out_port, 3);
    ck_assert_uint_eq(n_leftovers(), 1);

    /* The new rule comes second, and nobody must see the old one. */
    ck_assert_int_eq(set_egress(handle, 2), 0);
    ck_assert_uint_eq(n_leftovers(), 0);
    ck_assert_int_eq(fake_find(group, -1)->out_port, 2);

    /* Back to first... */
    ck_assert_int_eq(set_egress(handle, 3), 0);

    /* ...and second, and neither can be removed. */
    fake.fail_destroy = 2;
    ck_assert_int_eq(set_egress(handle, 2), EIO);
    ck_assert_int_eq(fake_find(group, -1)->out_port, 3);
    ck_assert_uint_eq(n_leftovers(), 1);

    /* While that is so, it is not moved. */
    fake.fail_destroy = 1;
    ck_assert_int_eq(set_egress(handle, 2), EIO);
    ck_assert_int_eq(fake_find(group, -1)->out_port, 3);
    retry();
    ck_assert_uint_eq(n_leftovers(), 0);
    ck_assert_int_eq(set_egress(handle, 2), 0);
    ck_assert_int_eq(fake_find(group, -1)->out_port, 2);
    end();
}
END_TEST

/* What changes packets and leads to a group waits until that has a rule. */
START_TEST(test_egress_without_rule)
{
    struct nic_action action = { .type = NIC_ACTION_EGRESS };
    struct nic_completion c;
    uint32_t group;

    begin();
    setup();
    action.egress = add_egress(3);
    group = RTE_FLOW_GROUP_EGRESS + 1;
    nic_rte_flow_port_stopping(0, false);
    ck_assert_uint_eq(fake_n_flows(), 0);
    nic_rte_flow_class.port_del(nic, ids[0]);
    nic_rte_flow_class.port_del(nic, ids[1]);
    fake.fail_group = group;
    fake.fail_create = 2;
    add_port(0);
    add_port(1);
    ck_assert_ptr_null(fake_find(group, -1));

    fake.fail_create = 1;
    submit_add(1, action, 1);
    ck_assert(poll_one(&c));
    ck_assert_int_eq(c.error, EIO);
    ck_assert_ptr_null(fake_find(RTE_FLOW_GROUP_RULES, 1));

    submit_add(1, action, 2);
    ck_assert(poll_one(&c));
    ck_assert_int_eq(c.error, 0);
    ck_assert_int_eq(fake_find(group, -1)->out_port, 3);
    ck_assert_int_eq(fake_find(RTE_FLOW_GROUP_RULES, 1)->jump, group);
    end();
}
END_TEST

/* Carrier. */

static void
delete_other_port(void)
{
    fake.link_hook = NULL;
    nic_rte_flow_class.port_del(nic, ids[3]);
}

START_TEST(test_link_query_holds_up_nobody)
{
    bool carrier = false;

    begin();
    setup();
    fake.link_hook = delete_other_port;
    ck_assert(nic_rte_flow_get_carrier("p1", &carrier));
    ck_assert(carrier);
    ck_assert_ptr_null(fake.link_hook);
    ck_assert(!nic_rte_flow_get_carrier("p3", &carrier));
    end();
}
END_TEST

static Suite *
suite(void)
{
    Suite *s = suite_create("nic-rte-flow");
    TCase *tc;

    tc = tcase_create("probe");
    tcase_add_test(tc, test_trial_hits_nothing);
    tcase_add_test(tc, test_no_egress_without_priorities);
    tcase_add_test(tc, test_offer_is_refreshed);
    suite_add_tcase(s, tc);

    tc = tcase_create("rules");
    tcase_add_test(tc, test_last_count);
    tcase_add_test(tc, test_own_count);
    tcase_add_test(tc, test_last_count_at_stop);
    tcase_add_test(tc, test_counter_is_not_forgotten);
    tcase_add_test(tc, test_rule_of_port_that_goes);
    tcase_add_test(tc, test_stop_with_stubborn_rules);
    suite_add_tcase(s, tc);

    tc = tcase_create("reset");
    tcase_add_test(tc, test_reset_of_one_port);
    tcase_add_test(tc, test_reset_of_all);
    tcase_add_test(tc, test_leftovers_are_inherited);
    suite_add_tcase(s, tc);

    tc = tcase_create("jump");
    tcase_add_test(tc, test_jump_without_room);
    tcase_add_test(tc, test_jump_that_exists);
    tcase_add_test(tc, test_jump_is_refused);
    suite_add_tcase(s, tc);

    tc = tcase_create("egress");
    tcase_add_test(tc, test_egress_moves);
    tcase_add_test(tc, test_egress_without_rule);
    tcase_add_test(tc, test_link_query_holds_up_nobody);
    suite_add_tcase(s, tc);
    return s;
}

int
main(int argc, char *argv[])
{
    return nic_test_main(argc, argv, suite());
}
