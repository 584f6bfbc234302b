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

START_TEST(test_modify_field)
{
    struct rte_flow_action_modify_field dst = {
        .operation = RTE_FLOW_MODIFY_SET,
        .dst.field = RTE_FLOW_FIELD_IPV4_DST,
        .src = { .field = RTE_FLOW_FIELD_VALUE, .value = { 172, 16, 0, 9 } },
        .width = 32,
    };
    struct rte_flow_action_modify_field port = {
        .operation = RTE_FLOW_MODIFY_SET,
        .dst.field = RTE_FLOW_FIELD_UDP_PORT_SRC,
        .src = { .field = RTE_FLOW_FIELD_VALUE, .value = { 0x12, 0x34 } },
        .width = 16,
    };
    struct rte_flow_action_modify_field dscp = {
        .operation = RTE_FLOW_MODIFY_SET,
        .dst.field = RTE_FLOW_FIELD_IPV4_DSCP,
        .src = { .field = RTE_FLOW_FIELD_VALUE, .value = { 10 } },
        .width = 6,
    };
    struct frame in = udp, out = udp;
    struct rule r;

    rule_from(&r, VF0);
    match_udp80(&r);
    action(&r, RTE_FLOW_ACTION_TYPE_MODIFY_FIELD, &dst);
    action(&r, RTE_FLOW_ACTION_TYPE_MODIFY_FIELD, &port);
    action(&r, RTE_FLOW_ACTION_TYPE_MODIFY_FIELD, &dscp);
    rule_to(&r, P1);
    rule_add(&r);
    in.tos = 0xff;
    out.dst = IP(172, 16, 0, 9);
    out.sport = 0x1234;
    out.tos = 10 << 2 | 3;
    carried(VF0, &in, P1, &out);

    dst.width = 16;
    rule_refused(&r, RTE_FLOW_ERROR_TYPE_ACTION_CONF, &dst, "as a whole");
    dst.width = 32;
    dst.operation = RTE_FLOW_MODIFY_ADD;
    rule_refused(&r, RTE_FLOW_ERROR_TYPE_ACTION_CONF, &dst, "added");
    dst.operation = RTE_FLOW_MODIFY_SET;
    port.dst.field = RTE_FLOW_FIELD_TCP_PORT_SRC;
    rule_refused(&r, RTE_FLOW_ERROR_TYPE_ACTION, &r.actions[1], "TCP");
}
END_TEST

START_TEST(test_tcp)
{
    const struct rte_flow_item_tcp spec = {
        .hdr = { .dst_port = RTE_BE16(80), .tcp_flags = 0 },
    };
    const struct rte_flow_item_tcp mask = {
        .hdr = { .dst_port = RTE_BE16(0xffff),
                 .tcp_flags = (RTE_TCP_FIN_FLAG | RTE_TCP_SYN_FLAG
                               | RTE_TCP_RST_FLAG) },
    };
    const struct rte_flow_item_ipv4 no_frag = { .hdr.src_addr = 0 };
    const struct rte_flow_item_ipv4 frag_mask = {
        .hdr.fragment_offset = RTE_BE16(0x3fff)
    };
    struct frame tcp = udp;
    struct rule r;

    tcp.proto = IPPROTO_TCP;
    rule_from(&r, P0);
    item(&r, RTE_FLOW_ITEM_TYPE_ETH, NULL, NULL);
    item(&r, RTE_FLOW_ITEM_TYPE_IPV4, &no_frag, &frag_mask);
    item(&r, RTE_FLOW_ITEM_TYPE_TCP, &spec, &mask);
    action(&r, RTE_FLOW_ACTION_TYPE_COUNT, NULL);
    rule_to(&r, VF0);
    rule_add(&r);

    carried(P0, &tcp, VF0, &tcp);
    tcp.flags = RTE_TCP_ACK_FLAG | RTE_TCP_PSH_FLAG;
    carried(P0, &tcp, VF0, &tcp);
    tcp.flags = RTE_TCP_ACK_FLAG | RTE_TCP_FIN_FLAG;
    missed(P0, &tcp);
    tcp.flags = RTE_TCP_SYN_FLAG;
    missed(P0, &tcp);
    tcp.flags = 0;
    tcp.frag_off = RTE_IPV4_HDR_MF_FLAG;
    missed(P0, &tcp);
    tcp.frag_off = 100;
    missed(P0, &tcp);
    missed(P0, &udp);
}
END_TEST

START_TEST(test_ipv6)
{
    struct rte_flow_item_ipv6 spec = { .has_frag_ext = 0 };
    struct rte_flow_item_ipv6 mask = { .has_frag_ext = 1 };
    struct rte_flow_action_set_ipv6 src;
    const struct rte_flow_action_set_tp dport = { .port = RTE_BE16(53) };
    const struct rte_flow_action_set_ttl ttl = { .ttl_value = 7 };
    struct frame in = udp, out;
    struct rule r;

    fill_ipv6(spec.hdr.dst_addr, udp.dst);
    memset(mask.hdr.dst_addr, 0xff, sizeof mask.hdr.dst_addr);
    fill_ipv6(src.ipv6_addr, 77);
    rule_from(&r, P0);
    item(&r, RTE_FLOW_ITEM_TYPE_ETH, NULL, NULL);
    item(&r, RTE_FLOW_ITEM_TYPE_IPV6, &spec, &mask);
    item(&r, RTE_FLOW_ITEM_TYPE_UDP, NULL, NULL);
    action(&r, RTE_FLOW_ACTION_TYPE_SET_IPV6_SRC, &src);
    action(&r, RTE_FLOW_ACTION_TYPE_SET_TP_DST, &dport);
    action(&r, RTE_FLOW_ACTION_TYPE_SET_TTL, &ttl);
    rule_to(&r, VF0);
    rule_add(&r);

    in.ipv6 = true;
    out = in;
    out.src = 77;
    out.dport = 53;
    out.ttl = 7;
    carried(P0, &in, VF0, &out);
    in.dst++;
    missed(P0, &in);
    missed(P0, &udp);
}
END_TEST

START_TEST(test_vlan)
{
    const struct rte_flow_item_vlan spec = { .tci = RTE_BE16(5) };
    const struct rte_flow_item_vlan mask = { .tci = RTE_BE16(0xfff) };
    const struct rte_flow_item_eth ipv4 = {
        .type = RTE_BE16(RTE_ETHER_TYPE_IPV4)
    };
    const struct rte_flow_item_eth type_mask = { .type = RTE_BE16(0xffff) };
    const struct rte_flow_action_of_push_vlan push = {
        .ethertype = RTE_BE16(RTE_ETHER_TYPE_VLAN)
    };
    const struct rte_flow_action_of_set_vlan_vid vid = {
        .vlan_vid = RTE_BE16(99)
    };
    const struct rte_flow_action_of_set_vlan_pcp pcp = { .vlan_pcp = 3 };
    struct frame tagged = udp, out = udp;
    struct rule r;

    /* From p0, tag 5 goes; untagged packets get one; others miss. */
    tagged.vlan[0] = 0x1000 | 5;
    rule_from(&r, P0);
    item(&r, RTE_FLOW_ITEM_TYPE_ETH, NULL, NULL);
    item(&r, RTE_FLOW_ITEM_TYPE_VLAN, &spec, &mask);
    item(&r, RTE_FLOW_ITEM_TYPE_IPV4, NULL, NULL);
    action(&r, RTE_FLOW_ACTION_TYPE_OF_POP_VLAN, NULL);
    rule_to(&r, VF0);
    rule_add(&r);
    rule_from(&r, P0);
    item(&r, RTE_FLOW_ITEM_TYPE_ETH, &ipv4, &type_mask);
    item(&r, RTE_FLOW_ITEM_TYPE_IPV4, NULL, NULL);
    action(&r, RTE_FLOW_ACTION_TYPE_OF_PUSH_VLAN, &push);
    action(&r, RTE_FLOW_ACTION_TYPE_OF_SET_VLAN_VID, &vid);
    action(&r, RTE_FLOW_ACTION_TYPE_OF_SET_VLAN_PCP, &pcp);
    rule_to(&r, VF1);
    rule_add(&r);

    carried(P0, &tagged, VF0, &udp);
    out.vlan[0] = 0x1000 | 3 << 13 | 99;
    carried(P0, &udp, VF1, &out);
    tagged.vlan[0] = 0x1000 | 6;
    missed(P0, &tagged);

    /* Without a word about tags, a pattern matches with and without. */
    rule_from(&r, P0);
    match_udp80(&r);
    r.attr.priority = 1;
    rule_to(&r, VF0);
    rule_add(&r);
    carried(P0, &tagged, VF0, &tagged);

    rule_from(&r, P1);
    match_udp80(&r);
    action(&r, RTE_FLOW_ACTION_TYPE_OF_POP_VLAN, NULL);
    rule_to(&r, VF0);
    rule_refused(&r, RTE_FLOW_ERROR_TYPE_ACTION, &r.actions[0], "tag");
}
END_TEST

START_TEST(test_priorities)
{
    struct rte_flow *flow;
    struct rule r;

    rule_from(&r, P0);
    r.attr.priority = 5;
    rule_to(&r, VF1);
    rule_add(&r);
    carried(P0, &udp, VF1, &udp);
    flow = add_udp80(P0, VF0);
    carried(P0, &udp, VF0, &udp);
    ck_assert(!rte_flow_destroy(P0, flow, NULL));
    carried(P0, &udp, VF1, &udp);

    /* One for all ports is no worse for that. */
    rule_init(&r, 0);
    r.attr.priority = 4;
    action(&r, RTE_FLOW_ACTION_TYPE_DROP, NULL);
    rule_add(&r);
    dropped(P0, &udp);
    dropped(VF1, &udp);
}
END_TEST

START_TEST(test_groups)
{
    const struct rte_flow_action_set_tp dport = { .port = RTE_BE16(81) };
    static const struct rte_flow_item_udp spec = {
        .hdr.dst_port = RTE_BE16(81)
    };
    static const struct rte_flow_item_udp mask = {
        .hdr.dst_port = RTE_BE16(0xffff)
    };
    struct rte_flow *flow, *egress;
    struct frame out = udp;
    struct rule r;

    rule_from(&r, P0);
    match_udp80(&r);
    action(&r, RTE_FLOW_ACTION_TYPE_SET_TP_DST, &dport);
    action(&r, RTE_FLOW_ACTION_TYPE_COUNT, NULL);
    rule_jump(&r, 7);
    flow = rule_add(&r);

    /* The jump leads nowhere: the packet is as it came, and nobody counts. */
    missed(P0, &udp);
    query(flow, false, 0, 0);

    /* The group sees what has become of the packet. */
    rule_from(&r, P0);
    r.attr.group = 7;
    item(&r, RTE_FLOW_ITEM_TYPE_ETH, NULL, NULL);
    item(&r, RTE_FLOW_ITEM_TYPE_IPV4, NULL, NULL);
    item(&r, RTE_FLOW_ITEM_TYPE_UDP, &spec, &mask);
    rule_jump(&r, 1000);
    rule_add(&r);
    rule_init(&r, 1000);
    action(&r, RTE_FLOW_ACTION_TYPE_COUNT, NULL);
    rule_to(&r, VF0);
    egress = rule_add(&r);
    out.dport = 81;
    carried(P0, &udp, VF0, &out);
    query(flow, false, 1, 92);
    query(egress, false, 1, 92);

    ck_assert(!rte_flow_destroy(P0, egress, NULL));
    missed(P0, &udp);

    rule_init(&r, 3);
    rule_jump(&r, 3);
    rule_refused(&r, RTE_FLOW_ERROR_TYPE_ACTION_CONF, &r.jump, "own group");
}
END_TEST

START_TEST(test_software)
{
    const struct rte_flow_action_set_tp dport = { .port = RTE_BE16(81) };
    struct rte_flow_action_ethdev sw = { .port_id = VF1 };
    struct rte_flow_item_ethdev from = { .port_id = VF0 };
    struct frame out = udp;
    struct rte_mbuf *m;
    struct rule r;

    /* To the software of another port, changed. */
    rule_from(&r, P0);
    match_udp80(&r);
    action(&r, RTE_FLOW_ACTION_TYPE_SET_TP_DST, &dport);
    action(&r, RTE_FLOW_ACTION_TYPE_PORT_REPRESENTOR, &sw);
    rule_add(&r);
    arrive(P0, &udp);
    ck_assert_ptr_null(receive(P0));
    out.dport = 81;
    m = receive(VF1);
    ck_assert_uint_eq(m->port, VF1);
    frame_check(m, &out);
    nothing_left();

    /* What the software sends. */
    rule_init(&r, 0);
    item(&r, RTE_FLOW_ITEM_TYPE_PORT_REPRESENTOR, &from, NULL);
    match_udp80(&r);
    rule_to(&r, P1);
    rule_add(&r);
    m = frame_build(&udp);
    ck_assert_uint_eq(rte_eth_tx_burst(VF0, 0, &m, 1), 1);
    frame_check(left_by(P1), &udp);
    nothing_left();
    m = frame_build(&out);
    ck_assert_uint_eq(rte_eth_tx_burst(VF0, 0, &m, 1), 1);
    frame_check(left_by(VF0), &out);
    missed(VF0, &udp);
}
END_TEST

START_TEST(test_indirect)
{
    const struct rte_flow_indir_action_conf conf = { .transfer = 1 };
    const struct rte_flow_action count = {
        .type = RTE_FLOW_ACTION_TYPE_COUNT
    };
    struct rte_flow_query_count q = { .reset = 0 };
    struct rte_flow_action_handle *handle;
    struct rte_flow *flows[2];
    struct rte_flow_error error;
    struct rule r;

    handle = rte_flow_action_handle_create(P0, &conf, &count, &error);
    ck_assert_msg(handle, "%s", error.message);
    for (int i = 0; i < 2; i++) {
        rule_from(&r, i ? P1 : P0);
        match_udp80(&r);
        action(&r, RTE_FLOW_ACTION_TYPE_INDIRECT, handle);
        rule_to(&r, VF0);
        flows[i] = rule_add(&r);
    }
    carried(P0, &udp, VF0, &udp);
    carried(P1, &udp, VF0, &udp);
    carried(P1, &udp, VF0, &udp);
    ck_assert(!rte_flow_action_handle_query(P0, handle, &q, NULL));
    ck_assert_uint_eq(q.hits, 3);
    ck_assert_uint_eq(q.bytes, 3 * 92);

    ck_assert_int_eq(rte_flow_action_handle_destroy(P0, handle, NULL),
                     -EBUSY);
    ck_assert(!rte_flow_destroy(P0, flows[1], NULL));
    ck_assert(!rte_flow_action_handle_query(P0, handle, &q, NULL));
    ck_assert_uint_eq(q.hits, 3);
    ck_assert(!rte_flow_destroy(P0, flows[0], NULL));
    ck_assert(!rte_flow_action_handle_destroy(P0, handle, NULL));
    ck_assert_int_eq(rte_flow_action_handle_query(P0, handle, &q, NULL),
                     -ENOENT);
}
END_TEST

/* What is refused, with the exact cause. */
/* Without ct-module=true. */
START_TEST(test_no_conntrack)
{
    const struct rte_flow_indir_action_conf conf = { .transfer = 1 };
    const struct rte_flow_action_conntrack profile = { .enable = 1 };
    const struct rte_flow_action a = {
        .type = RTE_FLOW_ACTION_TYPE_CONNTRACK, .conf = &profile
    };
    const struct rte_flow_item_conntrack valid = {
        .flags = RTE_FLOW_CONNTRACK_PKT_STATE_VALID
    };
    struct rule r;

    ck_assert_ptr_null(rte_flow_action_handle_create(P0, &conf, &a, NULL));
    ck_assert_int_eq(rte_errno, ENOTSUP);
    rule_init(&r, 1);
    item(&r, RTE_FLOW_ITEM_TYPE_CONNTRACK, &valid, NULL);
    rule_to(&r, VF0);
    rule_refused(&r, RTE_FLOW_ERROR_TYPE_ITEM, &r.items[0], "module");
}
END_TEST

START_TEST(test_refused)
{
    const struct rte_flow_action_set_ipv4 ip = { .ipv4_addr = 1 };
    const struct rte_flow_action_set_ipv6 ip6 = { .ipv6_addr = { 1 } };
    struct rte_flow_item_ethdev bad_port = { .port_id = 30 };
    struct rte_flow_action_ethdev bad_to = { .port_id = 30 };
    struct rte_flow_item_ipv4 spec = { .hdr.packet_id = 1 };
    struct rte_flow_item_ipv4 mask = { .hdr.packet_id = 1 };
    struct rule r;

    rule_from(&r, P0);
    rule_to(&r, VF0);
    r.attr.transfer = 0;
    r.attr.ingress = 1;
    rule_refused(&r, RTE_FLOW_ERROR_TYPE_ATTR_TRANSFER, &r.attr, "transfer");
    r.attr.transfer = 1;
    r.attr.ingress = 0;
    r.attr.egress = 1;
    rule_refused(&r, RTE_FLOW_ERROR_TYPE_ATTR, NULL, "egress");

    rule_init(&r, 0);
    item(&r, RTE_FLOW_ITEM_TYPE_REPRESENTED_PORT, &bad_port, NULL);
    rule_to(&r, VF0);
    rule_refused(&r, RTE_FLOW_ERROR_TYPE_ITEM_SPEC, &bad_port, "this NIC");

    rule_from(&r, P0);
    action(&r, RTE_FLOW_ACTION_TYPE_REPRESENTED_PORT, &bad_to);
    rule_refused(&r, RTE_FLOW_ERROR_TYPE_ACTION_CONF, &bad_to, "this NIC");

    /* Items. */
    rule_from(&r, P0);
    item(&r, RTE_FLOW_ITEM_TYPE_ETH, NULL, NULL);
    item(&r, RTE_FLOW_ITEM_TYPE_IPV4, &spec, &mask);
    rule_to(&r, VF0);
    rule_refused(&r, RTE_FLOW_ERROR_TYPE_ITEM_MASK, &mask, "cannot be match");
    r.items[2].last = &spec;
    rule_refused(&r, RTE_FLOW_ERROR_TYPE_ITEM_LAST, &spec, "ranges");
    rule_from(&r, P0);
    item(&r, RTE_FLOW_ITEM_TYPE_ETH, NULL, NULL);
    item(&r, RTE_FLOW_ITEM_TYPE_VXLAN, NULL, NULL);
    rule_to(&r, VF0);
    rule_refused(&r, RTE_FLOW_ERROR_TYPE_ITEM, &r.items[2], "cannot be");
    rule_from(&r, P0);
    item(&r, RTE_FLOW_ITEM_TYPE_ETH, NULL, NULL);
    item(&r, RTE_FLOW_ITEM_TYPE_UDP, NULL, NULL);
    rule_to(&r, VF0);
    rule_refused(&r, RTE_FLOW_ERROR_TYPE_ITEM, &r.items[2], "must come first");
    rule_from(&r, P0);
    item(&r, RTE_FLOW_ITEM_TYPE_IPV4, NULL, NULL);
    item(&r, RTE_FLOW_ITEM_TYPE_ETH, NULL, NULL);
    rule_to(&r, VF0);
    rule_refused(&r, RTE_FLOW_ERROR_TYPE_ITEM, &r.items[2], "too late");

    /* Actions. */
    rule_from(&r, P0);
    match_udp80(&r);
    action(&r, RTE_FLOW_ACTION_TYPE_COUNT, NULL);
    rule_refused(&r, RTE_FLOW_ERROR_TYPE_ACTION, &r.actions[1], "decides");
    rule_to(&r, VF0);
    action(&r, RTE_FLOW_ACTION_TYPE_SET_IPV4_SRC, &ip);
    rule_refused(&r, RTE_FLOW_ERROR_TYPE_ACTION, &r.actions[2], "comes after");
    r.n_actions--;
    action(&r, RTE_FLOW_ACTION_TYPE_DROP, NULL);
    rule_refused(&r, RTE_FLOW_ERROR_TYPE_ACTION, &r.actions[2], "comes after");
    rule_from(&r, P0);
    match_udp80(&r);
    action(&r, RTE_FLOW_ACTION_TYPE_SET_IPV6_SRC, &ip6);
    rule_to(&r, VF0);
    rule_refused(&r, RTE_FLOW_ERROR_TYPE_ACTION, &r.actions[0], "IPv6");
    rule_from(&r, P0);
    action(&r, RTE_FLOW_ACTION_TYPE_DEC_TTL, NULL);
    rule_to(&r, VF0);
    rule_refused(&r, RTE_FLOW_ERROR_TYPE_ACTION, &r.actions[0], "not be IP");
    rule_from(&r, P0);
    action(&r, RTE_FLOW_ACTION_TYPE_RSS, &ip);
    rule_to(&r, VF0);
    rule_refused(&r, RTE_FLOW_ERROR_TYPE_ACTION, &r.actions[0], "not known");
    missed(P0, &udp);
}
END_TEST

/* Faults, carrier, resets. */

static int n_events[RTE_ETH_EVENT_MAX][N_PORTS];

static int
event(uint16_t port, enum rte_eth_event_type type, void *aux, void *ret)
{
    (void) aux;
    (void) ret;
    n_events[type][port]++;
    return 0;
}

START_TEST(test_faults)
{
    struct rte_flow *flow;
    struct rule r;

    rule_from(&r, P0);
    match_udp80(&r);
    rule_to(&r, VF0);
    telemetry_ok("/net_emu/fault,net_emu0,fail-add,1");
    ck_assert_ptr_null(rule_try(&r));
    ck_assert_int_eq(rte_errno, EIO);
    telemetry_ok("/net_emu/fault,net_emu0,full,1");
    ck_assert_ptr_null(rule_try(&r));
    ck_assert_int_eq(rte_errno, ENOSPC);
    missed(P0, &udp);

    flow = rule_add(&r);
    telemetry_ok("/net_emu/fault,net_emu0,fail-del");
    ck_assert_int_eq(rte_flow_destroy(P0, flow, NULL), -EIO);
    carried(P0, &udp, VF0, &udp);
    telemetry_ok("/net_emu/fault,net_emu0,hold");
    ck_assert_int_eq(rte_flow_destroy(P0, flow, NULL), -EBUSY);
    carried(P0, &udp, VF0, &udp);
    ck_assert_ptr_nonnull(strstr(telemetry("/net_emu/show,net_emu0"),
                                 "\"faults\":\"hold\""));
    telemetry_ok("/net_emu/fault,net_emu0,none");
    ck_assert(!rte_flow_destroy(P0, flow, NULL));
    missed(P0, &udp);

    ck_assert_ptr_nonnull(strstr(telemetry("/net_emu/fault,net_emu0,x"),
                                 "error"));
    ck_assert_ptr_nonnull(strstr(telemetry("/net_emu/reset,x"), "error"));
    ck_assert_ptr_nonnull(strstr(telemetry("/net_emu/list"), "net_emu0"));
}
END_TEST

START_TEST(test_carrier)
{
    struct rte_eth_link link;

    add_udp80(P0, VF0);
    memset(n_events, 0, sizeof n_events);
    telemetry_ok("/net_emu/carrier,net_emu0,vf0,down");
    ck_assert_int_eq(n_events[RTE_ETH_EVENT_INTR_LSC][VF0], 1);
    ck_assert(!rte_eth_link_get_nowait(VF0, &link));
    ck_assert(!link.link_status);
    dropped(P0, &udp);
    telemetry_ok("/net_emu/carrier,net_emu0,vf0,down");
    ck_assert_int_eq(n_events[RTE_ETH_EVENT_INTR_LSC][VF0], 1);
    telemetry_ok("/net_emu/carrier,net_emu0,vf0,auto");
    ck_assert_int_eq(n_events[RTE_ETH_EVENT_INTR_LSC][VF0], 2);
    ck_assert(!rte_eth_link_get_nowait(VF0, &link));
    ck_assert(link.link_status);
    carried(P0, &udp, VF0, &udp);
    ck_assert_int_eq(n_events[RTE_ETH_EVENT_INTR_LSC][P0], 0);
}
END_TEST

START_TEST(test_reset)
{
    struct rte_flow *flow = add_udp80(P0, VF0);

    memset(n_events, 0, sizeof n_events);
    telemetry_ok("/net_emu/reset,net_emu0");
    for (int port = 0; port < N_PORTS; port++) {
        ck_assert_int_eq(n_events[RTE_ETH_EVENT_INTR_RESET][port], 1);
    }
    missed(P0, &udp);

    /* The application does not know which rules are gone. */
    query(flow, false, 0, 0);
    ck_assert(!rte_flow_destroy(P0, flow, NULL));
    add_udp80(P0, VF0);
    carried(P0, &udp, VF0, &udp);
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
    tcase_add_test(tcase, test_modify_field);
    tcase_add_test(tcase, test_tcp);
    tcase_add_test(tcase, test_ipv6);
    tcase_add_test(tcase, test_vlan);
    tcase_add_test(tcase, test_priorities);
    tcase_add_test(tcase, test_groups);
    tcase_add_test(tcase, test_software);
    tcase_add_test(tcase, test_indirect);
    tcase_add_test(tcase, test_no_conntrack);
    tcase_add_test(tcase, test_refused);
    tcase_add_test(tcase, test_faults);
    tcase_add_test(tcase, test_carrier);
    tcase_add_test(tcase, test_reset);
    suite_add_tcase(suite, tcase);
    for (int port = 0; port < N_PORTS; port++) {
        rte_eth_dev_callback_register(port, RTE_ETH_EVENT_INTR_LSC, event,
                                      NULL);
        rte_eth_dev_callback_register(port, RTE_ETH_EVENT_INTR_RESET, event,
                                      NULL);
    }
    return unit_test_run(suite);
}
