/* SPDX-License-Identifier: Apache-2.0 */

/* The emulated NIC as a device of DPDK: ports, and rte_flow's contract, with
 * frames. */

#include <rte_config.h>

#include <check.h>

#include "net-emu-test.h"
#include "unit-test.h"

#define IP(A, B, C, D) ((uint32_t) (A) << 24 | (B) << 16 | (C) << 8 | (D))

static const struct frame udp = {
    .src = IP(10, 0, 0, 1), .dst = IP(10, 0, 0, 2),
    .sport = 1000, .dport = 80, .len = 50, .eth_src = 1, .eth_dst = 2,
};

/* Adds items "eth / ipv4 / udp dst is 80". */
static void
match_udp80(struct rule *r)
{
    static const struct rte_flow_item_udp spec = {
        .hdr.dst_port = RTE_BE16(80)
    };
    static const struct rte_flow_item_udp mask = {
        .hdr.dst_port = RTE_BE16(0xffff)
    };

    item(r, RTE_FLOW_ITEM_TYPE_ETH, NULL, NULL);
    item(r, RTE_FLOW_ITEM_TYPE_IPV4, NULL, NULL);
    item(r, RTE_FLOW_ITEM_TYPE_UDP, &spec, &mask);
}

/* Returns a rule "udp80 from 'from' to 'to'", with a counter. */
static struct rte_flow *
add_udp80(int from, int to)
{
    struct rule r;

    rule_from(&r, from);
    match_udp80(&r);
    action(&r, RTE_FLOW_ACTION_TYPE_COUNT, NULL);
    rule_to(&r, to);
    return rule_add(&r);
}

/* Ports. */

static uint16_t
find(const char *devargs)
{
    struct rte_dev_iterator iterator;
    uint16_t port;

    RTE_ETH_FOREACH_MATCHING_DEV (port, devargs, &iterator) {
        rte_eth_iterator_cleanup(&iterator);
        break;
    }
    return port;
}

START_TEST(test_ports)
{
    uint16_t domain_id = RTE_ETH_DEV_SWITCH_DOMAIN_ID_INVALID;
    struct rte_ether_addr macs[N_PORTS];
    char devargs[64];

    ck_assert_uint_eq(rte_eth_dev_count_avail(), N_PORTS);
    ck_assert_uint_eq(find("net_emu0"), P0);
    ck_assert_uint_eq(find("net_emu0,representor=pf1"), P1);
    ck_assert_uint_eq(find("net_emu0,representor=vf0"), VF0);
    ck_assert_uint_eq(find("net_emu0,representor=1"), VF1);
    ck_assert_uint_eq(find("net_emu0,representor=vf2"), RTE_MAX_ETHPORTS);
    for (uint16_t port = 0; port < N_PORTS; port++) {
        struct rte_eth_dev_info info;
        struct rte_eth_link link;

        ck_assert(!rte_eth_dev_info_get(port, &info));
        if (port) {
            ck_assert_uint_eq(info.switch_info.domain_id, domain_id);
        }
        domain_id = info.switch_info.domain_id;
        ck_assert_uint_ne(domain_id, RTE_ETH_DEV_SWITCH_DOMAIN_ID_INVALID);
        ck_assert(!rte_eth_link_get_nowait(port, &link));
        ck_assert(link.link_status);

        ck_assert(!rte_eth_macaddr_get(port, &macs[port]));
        for (uint16_t i = 0; i < port; i++) {
            ck_assert(!rte_is_same_ether_addr(&macs[i], &macs[port]));
        }
    }

    /* Finds no representors. */
    snprintf(devargs, sizeof devargs,
             "class=eth,mac=" RTE_ETHER_ADDR_PRT_FMT,
             RTE_ETHER_ADDR_BYTES(&macs[P0]));
    ck_assert_uint_eq(find(devargs), P0);
}
END_TEST

START_TEST(test_miss_and_send)
{
    struct rte_eth_stats stats;
    struct rte_mbuf *m;

    rte_eth_stats_reset(VF0);
    missed(VF0, &udp);
    m = frame_build(&udp);
    ck_assert_uint_eq(rte_eth_tx_burst(VF0, 1, &m, 1), 1);
    frame_check(left_by(VF0), &udp);
    nothing_left();
    ck_assert(!rte_eth_stats_get(VF0, &stats));
    ck_assert_uint_eq(stats.ipackets, 1);
    ck_assert_uint_eq(stats.opackets, 1);
    ck_assert_uint_eq(stats.ibytes, 92);
    ck_assert_uint_eq(stats.obytes, 92);
}
END_TEST

/* Rules and their counters. */

START_TEST(test_carried)
{
    struct frame other = udp;
    struct rte_flow *flow = add_udp80(P0, VF0);

    carried(P0, &udp, VF0, &udp);
    missed(P1, &udp);
    other.dport = 81;
    missed(P0, &other);
    query(flow, true, 1, 92);
    query(flow, false, 0, 0);
    carried(P0, &udp, VF0, &udp);
    query(flow, false, 1, 92);

    ck_assert(!rte_flow_destroy(P0, flow, NULL));
    missed(P0, &udp);
}
END_TEST

START_TEST(test_life)
{
    const struct rte_flow_action count = {
        .type = RTE_FLOW_ACTION_TYPE_COUNT
    };
    struct rte_flow_query_count q = { .reset = 0 };
    struct rte_flow *flow = add_udp80(P0, VF0);
    struct rte_flow_error error;
    struct rule r;

    /* The same again. */
    rule_from(&r, P0);
    match_udp80(&r);
    rule_to(&r, VF1);
    ck_assert_ptr_null(rule_try(&r));
    ck_assert_int_eq(rte_errno, EEXIST);
    carried(P0, &udp, VF0, &udp);

    /* Rules belong to the port that they were created on. */
    ck_assert_int_eq(rte_flow_destroy(P1, flow, &error), -ENOENT);
    ck_assert_int_eq(error.type, RTE_FLOW_ERROR_TYPE_HANDLE);
    ck_assert_int_eq(rte_flow_query(P1, flow, &count, &q, &error), -ENOENT);
    ck_assert(!rte_flow_flush(P1, NULL));
    carried(P0, &udp, VF0, &udp);
    ck_assert(!rte_flow_flush(P0, NULL));
    missed(P0, &udp);

    /* A rule without a counter. */
    flow = rule_add(&r);
    ck_assert_int_eq(rte_flow_query(P0, flow, &count, &q, &error), -EINVAL);
    carried(P0, &udp, VF1, &udp);

    /* What has been stopped has no rules. */
    ck_assert(!rte_eth_dev_stop(P0));
    ck_assert_ptr_null(rule_try(&r));
    ck_assert_int_eq(rte_errno, ENODEV);
    ck_assert(!rte_eth_dev_start(P0));
    missed(P0, &udp);
}
END_TEST

START_TEST(test_changes)
{
    const struct rte_flow_action_set_ipv4 src = {
        .ipv4_addr = RTE_BE32(IP(192, 168, 1, 1))
    };
    const struct rte_flow_action_set_ipv4 dst = {
        .ipv4_addr = RTE_BE32(IP(192, 168, 1, 2))
    };
    const struct rte_flow_action_set_tp sport = { .port = RTE_BE16(1234) };
    const struct rte_flow_action_set_tp dport = { .port = RTE_BE16(4321) };
    const struct rte_flow_action_set_mac mac = {
        .mac_addr = { 2, 2, 2, 2, 2, 77 }
    };
    const struct rte_flow_action_set_dscp dscp = { .dscp = 46 };
    struct frame out = udp;
    struct rule r;

    rule_from(&r, P0);
    match_udp80(&r);
    action(&r, RTE_FLOW_ACTION_TYPE_COUNT, NULL);
    action(&r, RTE_FLOW_ACTION_TYPE_SET_MAC_SRC, &mac);
    action(&r, RTE_FLOW_ACTION_TYPE_SET_IPV4_SRC, &src);
    action(&r, RTE_FLOW_ACTION_TYPE_SET_IPV4_DST, &dst);
    action(&r, RTE_FLOW_ACTION_TYPE_SET_TP_SRC, &sport);
    action(&r, RTE_FLOW_ACTION_TYPE_SET_TP_DST, &dport);
    action(&r, RTE_FLOW_ACTION_TYPE_SET_IPV4_DSCP, &dscp);
    action(&r, RTE_FLOW_ACTION_TYPE_DEC_TTL, NULL);
    rule_to(&r, VF1);
    rule_add(&r);

    out.src = IP(192, 168, 1, 1);
    out.dst = IP(192, 168, 1, 2);
    out.sport = 1234;
    out.dport = 4321;
    out.eth_src = 77;
    out.tos = 46 << 2;
    out.ttl = 63;
    carried(P0, &udp, VF1, &out);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("net-emu");
    TCase *tcase = tcase_create("all");

    start_eal("rings=true,profile=kind");
    tcase_add_checked_fixture(tcase, clean, clean);
    tcase_add_test(tcase, test_ports);
    tcase_add_test(tcase, test_miss_and_send);
    tcase_add_test(tcase, test_carried);
    tcase_add_test(tcase, test_life);
    tcase_add_test(tcase, test_changes);
    suite_add_tcase(suite, tcase);
    return unit_test_run(suite);
}
