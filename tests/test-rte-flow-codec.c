/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>

/* For handles of indirect actions. */
#define ALLOW_EXPERIMENTAL_API 1

#include "lib/rte-flow-codec.h"

#include "tests/nic-test.h"

#define MAC_A ETH_ADDR_C(02,00,00,00,00,0a)
#define MAC_B ETH_ADDR_C(02,00,00,00,00,0b)

static const struct rte_codec_place place = {
    .style = RTE_CODEC_SET,
    .in_ethdev = 3,
    .out_ethdev = 5,
    .out_group = 77,
};

static struct rte_codec codec;
static struct match match;
static struct nic_action actions[NIC_MAX_ACTIONS];
static size_t n_actions;

static struct nic_action *
add_action(enum nic_action_type type)
{
    struct nic_action *a = &actions[n_actions++];

    memset(a, 0, sizeof *a);
    a->type = type;
    return a;
}

static void
add_set(enum nic_field field, const void *value, size_t len)
{
    struct nic_action *a = add_action(NIC_ACTION_SET);

    a->set.field = field;
    memcpy(a->set.value, value, len);
    memset(a->set.mask, 0xff, len);
}

static void
begin(ovs_be16 dl_type, uint8_t nw_proto)
{
    n_actions = 0;
    match_init_catchall(&match);
    if (dl_type) {
        match_set_dl_type(&match, dl_type);
        match_set_dl_tci(&match, 0);
    }
    if (nw_proto) {
        match_set_nw_proto(&match, nw_proto);
        match_set_nw_frag(&match, 0);
    }
}

/* Encodes what was set up, with 'slots'. */
static const char *
encode_slots(enum nic_slots slots, const struct nic_values *values,
             enum rte_codec_style style)
{
    struct rte_codec_place p = place;
    struct nic_template *t;
    const char *why;

    p.style = style;
    ck_assert_ptr_null(nic_template_check(1, NIC_TABLE_ROOT, &match, slots,
                                          actions, n_actions));
    t = nic_template_create(1, NIC_TABLE_ROOT, &match, slots, actions,
                            n_actions);
    memset(&codec, 0xee, sizeof codec);
    why = rte_codec_encode(&codec, t, values, &p);

    /* A check without ports says the same. */
    ck_assert_int_eq(!why, !rte_codec_check(t, style));
    nic_template_unref(t);
    return why;
}

static void
encode(void)
{
    const char *why;

    add_action(NIC_ACTION_OUTPUT)->port = 2;
    why = encode_slots(NIC_SLOT_NONE, NULL, RTE_CODEC_SET);
    ck_assert_msg(!why, "%s", why);
}

/* Encoding must be refused, with 'part' in the reason. */
static void
refuse(const char *part)
{
    const char *why;

    add_action(NIC_ACTION_OUTPUT)->port = 2;
    why = encode_slots(NIC_SLOT_NONE, NULL, RTE_CODEC_SET);
    ck_assert_msg(why && strstr(why, part), "\"%s\" expected, not \"%s\"",
                  part, why ? why : "");
}

static void
check_items(const enum rte_flow_item_type types[], size_t n)
{
    ck_assert_uint_eq(codec.n_items, n + 2);
    ck_assert_int_eq(codec.items[0].type,
                     RTE_FLOW_ITEM_TYPE_REPRESENTED_PORT);
    ck_assert_uint_eq(codec.specs[0].ethdev.port_id, 3);
    ck_assert_uint_eq(codec.masks[0].ethdev.port_id, UINT16_MAX);
    for (size_t i = 0; i < n; i++) {
        ck_assert_int_eq(codec.items[i + 1].type, types[i]);
        ck_assert_ptr_eq(codec.items[i + 1].spec, &codec.specs[i + 1]);
        ck_assert_ptr_eq(codec.items[i + 1].mask, &codec.masks[i + 1]);
        ck_assert_ptr_null(codec.items[i + 1].last);
    }
    ck_assert_int_eq(codec.items[n + 1].type, RTE_FLOW_ITEM_TYPE_END);
}
#define CHECK_ITEMS(...)                                                \
    check_items((const enum rte_flow_item_type[]) { __VA_ARGS__ },      \
                ARRAY_SIZE(((const enum rte_flow_item_type[]) {         \
                            __VA_ARGS__ })))

/* The actions must be COUNT, then 'types', then END. */
static void
check_actions(const enum rte_flow_action_type types[], size_t n)
{
    ck_assert_uint_eq(codec.n_actions, n + 2);
    ck_assert_int_eq(codec.actions[0].type, RTE_FLOW_ACTION_TYPE_COUNT);
    for (size_t i = 0; i < n; i++) {
        ck_assert_int_eq(codec.actions[i + 1].type, types[i]);
    }
    ck_assert_int_eq(codec.actions[n + 1].type, RTE_FLOW_ACTION_TYPE_END);
}
#define CHECK_ACTIONS(...)                                              \
    check_actions((const enum rte_flow_action_type[]) { __VA_ARGS__ },  \
                  ARRAY_SIZE(((const enum rte_flow_action_type[]) {     \
                              __VA_ARGS__ })))

#define ITEM(NAME) RTE_FLOW_ITEM_TYPE_##NAME
#define ACTION(NAME) RTE_FLOW_ACTION_TYPE_##NAME

START_TEST(test_tcp)
{
    struct nic_values values;
    const char *why;

    begin(htons(ETH_TYPE_IP), IPPROTO_TCP);
    match_set_dl_src(&match, (struct eth_addr) MAC_A);
    match_set_dl_dst_masked(&match, (struct eth_addr) MAC_B,
                            (struct eth_addr) ETH_ADDR_C(ff,ff,ff,00,00,00));
    match_set_nw_tos_masked(&match, 0xb8, 0xfc);
    match_set_nw_ttl(&match, 64);
    match_set_tcp_flags_masked(&match, htons(TCP_ACK),
                               htons(TCP_FIN | TCP_SYN | TCP_RST | TCP_ACK));
    add_action(NIC_ACTION_OUTPUT)->port = 2;

    memset(&values, 0, sizeof values);
    values.tuple.src.ipv4 = htonl(0x0a000001);
    values.tuple.dst.ipv4 = htonl(0x0a000002);
    values.tuple.tp_src = htons(1000);
    values.tuple.tp_dst = htons(80);
    why = encode_slots(NIC_SLOT_TUPLE, &values, RTE_CODEC_SET);
    ck_assert_msg(!why, "%s", why);

    CHECK_ITEMS(ITEM(ETH), ITEM(IPV4), ITEM(TCP));
    ck_assert_mem_eq(&codec.specs[1].eth.hdr.src_addr,
                     (&(struct eth_addr) MAC_A), 6);
    ck_assert_mem_eq(&codec.masks[1].eth.hdr.src_addr, &eth_addr_exact, 6);
    ck_assert_mem_eq(&codec.masks[1].eth.hdr.dst_addr, "\xff\xff\xff\0\0\0",
                     6);
    ck_assert_uint_eq(codec.specs[1].eth.hdr.ether_type, htons(0x0800));
    ck_assert_uint_eq(codec.masks[1].eth.hdr.ether_type, 0xffff);

    ck_assert_uint_eq(codec.specs[2].ipv4.hdr.src_addr, htonl(0x0a000001));
    ck_assert_uint_eq(codec.masks[2].ipv4.hdr.src_addr, UINT32_MAX);
    ck_assert_uint_eq(codec.specs[2].ipv4.hdr.dst_addr, htonl(0x0a000002));
    ck_assert_uint_eq(codec.masks[2].ipv4.hdr.dst_addr, UINT32_MAX);
    ck_assert_uint_eq(codec.specs[2].ipv4.hdr.type_of_service, 0xb8);
    ck_assert_uint_eq(codec.masks[2].ipv4.hdr.type_of_service, 0xfc);
    ck_assert_uint_eq(codec.specs[2].ipv4.hdr.time_to_live, 64);
    ck_assert_uint_eq(codec.masks[2].ipv4.hdr.time_to_live, 0xff);
    ck_assert_uint_eq(codec.specs[2].ipv4.hdr.next_proto_id, IPPROTO_TCP);
    ck_assert_uint_eq(codec.masks[2].ipv4.hdr.next_proto_id, 0xff);
    ck_assert_uint_eq(codec.specs[2].ipv4.hdr.fragment_offset, 0);
    ck_assert_uint_eq(codec.masks[2].ipv4.hdr.fragment_offset,
                      htons(0x3fff));
    ck_assert_uint_eq(codec.masks[2].ipv4.hdr.version_ihl, 0);

    ck_assert_uint_eq(codec.specs[3].tcp.hdr.src_port, htons(1000));
    ck_assert_uint_eq(codec.masks[3].tcp.hdr.src_port, UINT16_MAX);
    ck_assert_uint_eq(codec.specs[3].tcp.hdr.dst_port, htons(80));
    ck_assert_uint_eq(codec.masks[3].tcp.hdr.dst_port, UINT16_MAX);
    ck_assert_uint_eq(codec.specs[3].tcp.hdr.tcp_flags, 0x10);
    ck_assert_uint_eq(codec.masks[3].tcp.hdr.tcp_flags, 0x17);
    ck_assert_uint_eq(codec.masks[3].tcp.hdr.data_off, 0);

    CHECK_ACTIONS(ACTION(REPRESENTED_PORT));
    ck_assert_uint_eq(codec.confs[1].ethdev.port_id, 5);
}
END_TEST

START_TEST(test_ipv6_udp)
{
    struct in6_addr addr = { .s6_addr = { 0x20, 0x01, [15] = 7 } };

    begin(htons(ETH_TYPE_IPV6), IPPROTO_UDP);
    match_set_ipv6_dst(&match, &addr);
    match_set_nw_tos_masked(&match, 0x28, 0xff);
    match_set_ipv6_label(&match, htonl(0x12345));
    match_set_tp_dst(&match, htons(53));
    encode();
    CHECK_ITEMS(ITEM(ETH), ITEM(IPV6), ITEM(UDP));
    ck_assert_uint_eq(codec.specs[1].eth.hdr.ether_type, htons(0x86dd));
    ck_assert_mem_eq(codec.specs[2].ipv6.hdr.dst_addr, &addr, 16);
    ck_assert_mem_eq(codec.masks[2].ipv6.hdr.dst_addr, &in6addr_exact, 16);
    ck_assert_mem_eq(codec.masks[2].ipv6.hdr.src_addr, &in6addr_any, 16);
    ck_assert_uint_eq(codec.specs[2].ipv6.hdr.vtc_flow, htonl(0x02812345));
    ck_assert_uint_eq(codec.masks[2].ipv6.hdr.vtc_flow, htonl(0x0fffffff));
    ck_assert_uint_eq(codec.specs[2].ipv6.hdr.proto, IPPROTO_UDP);
    ck_assert_uint_eq(codec.specs[2].ipv6.has_frag_ext, 0);
    ck_assert_uint_eq(codec.masks[2].ipv6.has_frag_ext, 1);
    ck_assert_uint_eq(codec.specs[3].udp.hdr.dst_port, htons(53));
    ck_assert_uint_eq(codec.masks[3].udp.hdr.dst_port, UINT16_MAX);
    ck_assert_uint_eq(codec.masks[3].udp.hdr.src_port, 0);
}
END_TEST

START_TEST(test_sctp)
{
    begin(htons(ETH_TYPE_IP), IPPROTO_SCTP);
    match_set_tp_src(&match, htons(9));
    encode();
    CHECK_ITEMS(ITEM(ETH), ITEM(IPV4), ITEM(SCTP));
    ck_assert_uint_eq(codec.specs[3].sctp.hdr.src_port, htons(9));
    ck_assert_uint_eq(codec.masks[3].sctp.hdr.src_port, UINT16_MAX);
}
END_TEST

/* A zero that is matched is part of the mask. */
START_TEST(test_zero_values)
{
    begin(htons(ETH_TYPE_IP), IPPROTO_TCP);
    match_set_nw_tos_masked(&match, 0, 0xff);
    match_set_tcp_flags_masked(&match, 0, htons(0xfff));
    encode();
    CHECK_ITEMS(ITEM(ETH), ITEM(IPV4), ITEM(TCP));
    ck_assert_uint_eq(codec.masks[2].ipv4.hdr.type_of_service, 0xff);
    ck_assert_uint_eq(codec.masks[3].tcp.hdr.tcp_flags, 0xff);
    ck_assert_uint_eq(codec.masks[3].tcp.hdr.data_off, 0xf);
}
END_TEST

/* Rules about nw_proto never match fragments, whatever the template says. */
START_TEST(test_fragments_are_excluded)
{
    begin(htons(ETH_TYPE_IP), 0);
    match_set_nw_proto(&match, IPPROTO_UDP);
    encode();
    ck_assert_uint_eq(codec.masks[2].ipv4.hdr.fragment_offset,
                      htons(0x3fff));

    begin(htons(ETH_TYPE_IP), IPPROTO_UDP);
    match_set_nw_frag(&match, FLOW_NW_FRAG_ANY);
    refuse("fragments");
}
END_TEST

START_TEST(test_tags)
{
    /* No tag, and no Ethernet type that would say so. */
    begin(0, 0);
    match_set_dl_tci(&match, 0);
    encode();
    CHECK_ITEMS(ITEM(ETH));
    ck_assert_uint_eq(codec.specs[1].eth.has_vlan, 0);
    ck_assert_uint_eq(codec.masks[1].eth.has_vlan, 1);

    /* One tag. */
    begin(htons(ETH_TYPE_IP), 0);
    match_set_dl_tci_masked(&match, htons(VLAN_CFI | 0x2005),
                            htons(VLAN_CFI | VLAN_VID_MASK));
    encode();
    CHECK_ITEMS(ITEM(ETH), ITEM(VLAN), ITEM(IPV4));
}
END_TEST

START_TEST(test_one_tag)
{
    begin(htons(ETH_TYPE_ARP), 0);
    match_set_dl_tci_masked(&match, htons(VLAN_CFI | 0x2005),
                            htons(VLAN_CFI | VLAN_VID_MASK));
    encode();
    CHECK_ITEMS(ITEM(ETH), ITEM(VLAN));
    ck_assert_uint_eq(codec.specs[1].eth.hdr.ether_type, htons(0x8100));
    ck_assert_uint_eq(codec.specs[2].vlan.hdr.vlan_tci
                      & codec.masks[2].vlan.hdr.vlan_tci, htons(5));
    ck_assert_uint_eq(codec.masks[2].vlan.hdr.vlan_tci, htons(0x0fff));
    ck_assert_uint_eq(codec.specs[2].vlan.hdr.eth_proto, htons(0x0806));
    ck_assert_uint_eq(codec.masks[2].vlan.hdr.eth_proto, 0xffff);
}
END_TEST

START_TEST(test_two_tags)
{
    begin(htons(ETH_TYPE_IP), 0);
    match.flow.vlans[0].tpid = htons(ETH_TYPE_VLAN_8021AD);
    match.flow.vlans[0].tci = htons(VLAN_CFI | 7);
    match.flow.vlans[1].tpid = htons(ETH_TYPE_VLAN_8021Q);
    match.flow.vlans[1].tci = htons(VLAN_CFI | 8);
    match.wc.masks.vlans[0].qtag = OVS_BE32_MAX;
    match.wc.masks.vlans[1].qtag = OVS_BE32_MAX;
    match_set_nw_src(&match, htonl(0x01020304));
    encode();
    CHECK_ITEMS(ITEM(ETH), ITEM(VLAN), ITEM(VLAN), ITEM(IPV4));
    ck_assert_uint_eq(codec.specs[1].eth.hdr.ether_type, htons(0x88a8));
    ck_assert_uint_eq(codec.specs[2].vlan.hdr.vlan_tci, htons(7));
    ck_assert_uint_eq(codec.specs[2].vlan.hdr.eth_proto, htons(0x8100));
    ck_assert_uint_eq(codec.specs[3].vlan.hdr.vlan_tci, htons(8));
    ck_assert_uint_eq(codec.specs[3].vlan.hdr.eth_proto, htons(0x0800));
}
END_TEST

START_TEST(test_refused_matches)
{
    begin(htons(ETH_TYPE_IP), 0);
    match_set_ct_state_masked(&match, 0x22, 0x22);
    refuse("connection tracking");

    begin(htons(ETH_TYPE_ARP), 0);
    match_set_nw_src(&match, htonl(1));
    refuse("not be IPv4");

    begin(htons(ETH_TYPE_IP), IPPROTO_ICMP);
    match_set_tp_src(&match, htons(8));
    refuse("may not have them");

    begin(htons(ETH_TYPE_IP), 0);
    match_set_tp_src(&match, htons(8));
    refuse("may not have them");

    begin(0, 0);
    match.wc.masks.dl_type = htons(0xff00);
    refuse("part of an Ethernet type");

    begin(0, 0);
    match_set_metadata(&match, htonll(1));
    refuse("lacks a field");

    begin(htons(ETH_TYPE_MPLS), 0);
    match.wc.masks.mpls_lse[0] = OVS_BE32_MAX;
    refuse("lacks a field");

    begin(htons(ETH_TYPE_IP), 0);
    match_set_tun_id(&match, htonll(1));
    refuse("lacks a field");
}
END_TEST

START_TEST(test_nat_set)
{
    struct nic_values values;
    const char *why;

    begin(htons(ETH_TYPE_IP), IPPROTO_UDP);
    add_action(NIC_ACTION_SET_TUPLE)->parts = NIC_TUPLE_SRC | NIC_TUPLE_DST;
    add_action(NIC_ACTION_EGRESS)->egress = 1234;
    memset(&values, 0, sizeof values);
    values.rewrite.src.ipv4 = htonl(0x0a000001);
    values.rewrite.dst.ipv4 = htonl(0x0a000002);
    values.rewrite.tp_src = htons(1);
    values.rewrite.tp_dst = htons(2);
    why = encode_slots(NIC_SLOT_TUPLE | NIC_SLOT_REWRITE, &values,
                       RTE_CODEC_SET);
    ck_assert_msg(!why, "%s", why);
    CHECK_ACTIONS(ACTION(SET_IPV4_SRC), ACTION(SET_TP_SRC),
                  ACTION(SET_IPV4_DST), ACTION(SET_TP_DST), ACTION(JUMP));
    ck_assert_uint_eq(codec.confs[1].ipv4.ipv4_addr, htonl(0x0a000001));
    ck_assert_uint_eq(codec.confs[2].tp.port, htons(1));
    ck_assert_uint_eq(codec.confs[3].ipv4.ipv4_addr, htonl(0x0a000002));
    ck_assert_uint_eq(codec.confs[4].tp.port, htons(2));
    ck_assert_uint_eq(codec.confs[5].jump.group, 77);

    why = encode_slots(NIC_SLOT_TUPLE | NIC_SLOT_REWRITE, &values,
                       RTE_CODEC_MODIFY_FIELD);
    ck_assert_msg(!why, "%s", why);
    CHECK_ACTIONS(ACTION(MODIFY_FIELD), ACTION(MODIFY_FIELD),
                  ACTION(MODIFY_FIELD), ACTION(MODIFY_FIELD), ACTION(JUMP));
    ck_assert_int_eq(codec.confs[1].modify.operation, RTE_FLOW_MODIFY_SET);
    ck_assert_int_eq(codec.confs[1].modify.dst.field,
                     RTE_FLOW_FIELD_IPV4_SRC);
    ck_assert_int_eq(codec.confs[1].modify.src.field, RTE_FLOW_FIELD_VALUE);
    ck_assert_mem_eq(codec.confs[1].modify.src.value, "\x0a\0\0\1", 4);
    ck_assert_uint_eq(codec.confs[1].modify.width, 32);
    ck_assert_int_eq(codec.confs[4].modify.dst.field,
                     RTE_FLOW_FIELD_UDP_PORT_DST);
    ck_assert_mem_eq(codec.confs[4].modify.src.value, "\0\2", 2);
    ck_assert_uint_eq(codec.confs[4].modify.width, 16);
}
END_TEST

START_TEST(test_sets)
{
    struct eth_addr mac = MAC_A;
    struct in6_addr addr = { .s6_addr = { 0xfe, 0x80, [15] = 1 } };
    uint8_t ttl = 63;

    begin(htons(ETH_TYPE_IPV6), IPPROTO_TCP);
    add_set(NIC_FIELD_ETH_SRC, &mac, sizeof mac);
    add_set(NIC_FIELD_ETH_DST, &mac, sizeof mac);
    add_set(NIC_FIELD_IP_SRC, &addr, sizeof addr);
    add_set(NIC_FIELD_IP_TTL, &ttl, sizeof ttl);
    encode();
    CHECK_ACTIONS(ACTION(SET_MAC_SRC), ACTION(SET_MAC_DST),
                  ACTION(SET_IPV6_SRC), ACTION(SET_TTL),
                  ACTION(REPRESENTED_PORT));
    ck_assert_mem_eq(codec.confs[1].mac.mac_addr, &mac, 6);
    ck_assert_mem_eq(codec.confs[3].ipv6.ipv6_addr, &addr, 16);
    ck_assert_uint_eq(codec.confs[4].ttl.ttl_value, 63);
}
END_TEST

/* DSCP can be set, ECN only to what it is. */
START_TEST(test_tos)
{
    uint8_t tos = 0xba;

    begin(htons(ETH_TYPE_IP), 0);
    add_set(NIC_FIELD_IP_TOS, &tos, 1);
    refuse("ECN");

    begin(htons(ETH_TYPE_IP), 0);
    match_set_nw_tos_masked(&match, 0x02, 0x03);
    add_set(NIC_FIELD_IP_TOS, &tos, 1);
    encode();
    CHECK_ACTIONS(ACTION(SET_IPV4_DSCP), ACTION(REPRESENTED_PORT));
    ck_assert_uint_eq(codec.confs[1].dscp.dscp, 0x2e);

    begin(htons(ETH_TYPE_IP), 0);
    match_set_nw_tos_masked(&match, 0x01, 0x03);
    add_set(NIC_FIELD_IP_TOS, &tos, 1);
    refuse("ECN");

    begin(htons(ETH_TYPE_IPV6), 0);
    add_set(NIC_FIELD_IP_TOS, &tos, 1);
    actions[0].set.mask[0] = 0xfc;
    encode();
    CHECK_ACTIONS(ACTION(SET_IPV6_DSCP), ACTION(REPRESENTED_PORT));
}
END_TEST

/* Part of a field is set if what the packet has in the rest is known. */
START_TEST(test_parts)
{
    ovs_be32 addr = htonl(0x0a000001);

    begin(htons(ETH_TYPE_IP), 0);
    add_set(NIC_FIELD_IP_DST, &addr, 4);
    actions[0].set.mask[3] = 0;
    refuse("part of a field");

    begin(htons(ETH_TYPE_IP), 0);
    match_set_nw_dst(&match, htonl(0x01020304));
    add_set(NIC_FIELD_IP_DST, &addr, 4);
    actions[0].set.mask[3] = 0;
    encode();
    CHECK_ACTIONS(ACTION(SET_IPV4_DST), ACTION(REPRESENTED_PORT));
    ck_assert_uint_eq(codec.confs[1].ipv4.ipv4_addr, htonl(0x0a000004));

    /* It is not what the match says any more. */
    begin(htons(ETH_TYPE_IP), 0);
    match_set_nw_dst(&match, htonl(0x01020304));
    add_set(NIC_FIELD_IP_DST, &addr, 4);
    add_set(NIC_FIELD_IP_DST, &addr, 4);
    actions[1].set.mask[3] = 0;
    refuse("part of a field");
}
END_TEST

START_TEST(test_vlan_actions)
{
    ovs_be16 tci = htons(0x6009);
    struct nic_action *a;

    begin(htons(ETH_TYPE_IP), 0);
    match_set_dl_tci_masked(&match, htons(VLAN_CFI | 5),
                            htons(VLAN_CFI | VLAN_VID_MASK));
    add_action(NIC_ACTION_POP_VLAN);
    a = add_action(NIC_ACTION_PUSH_VLAN);
    a->vlan.tpid = htons(ETH_TYPE_VLAN_8021AD);
    a->vlan.tci = htons(VLAN_CFI | 0xa00b);
    add_set(NIC_FIELD_VLAN_TCI, &tci, 2);
    a = &actions[n_actions - 1];
    a->set.mask[0] = 0x0f;
    encode();
    CHECK_ACTIONS(ACTION(OF_POP_VLAN), ACTION(OF_PUSH_VLAN),
                  ACTION(OF_SET_VLAN_VID), ACTION(OF_SET_VLAN_PCP),
                  ACTION(OF_SET_VLAN_VID), ACTION(REPRESENTED_PORT));
    ck_assert_uint_eq(codec.confs[2].push_vlan.ethertype, htons(0x88a8));
    ck_assert_uint_eq(codec.confs[3].vlan_vid.vlan_vid, htons(0x00b));
    ck_assert_uint_eq(codec.confs[4].vlan_pcp.vlan_pcp, 5);
    ck_assert_uint_eq(codec.confs[5].vlan_vid.vlan_vid, htons(9));

    begin(htons(ETH_TYPE_IP), 0);
    add_action(NIC_ACTION_POP_VLAN);
    refuse("may be or not");

    begin(htons(ETH_TYPE_IP), 0);
    add_set(NIC_FIELD_VLAN_TCI, &tci, 2);
    refuse("may have none");

    begin(htons(ETH_TYPE_IP), 0);
    match_set_dl_vlan(&match, htons(5), 0);
    add_set(NIC_FIELD_VLAN_TCI, &tci, 2);
    actions[0].set.mask[1] = 0xf0;
    refuse("part of a VLAN id");
}
END_TEST

START_TEST(test_refused_actions)
{
    uint16_t value = htons(1);
    ovs_be32 label = htonl(1);

    begin(htons(ETH_TYPE_IP), 0);
    add_action(NIC_ACTION_OUTPUT)->port = 2;
    refuse("more than once");

    begin(0, 0);
    add_set(NIC_FIELD_IP_TTL, &value, 1);
    refuse("may not be IP");

    begin(htons(ETH_TYPE_IP), IPPROTO_SCTP);
    add_set(NIC_FIELD_TP_SRC, &value, 2);
    refuse("neither TCP nor UDP");

    begin(htons(ETH_TYPE_IPV6), 0);
    add_set(NIC_FIELD_IPV6_LABEL, &label, 4);
    refuse("flow label");
}
END_TEST

START_TEST(test_drop_and_counter)
{
    struct rte_codec_place p = place;
    struct nic_template *t;

    begin(htons(ETH_TYPE_IP), 0);
    add_action(NIC_ACTION_DROP);
    t = nic_template_create(1, NIC_TABLE_ROOT, &match, NIC_SLOT_NONE, actions,
                            n_actions);
    p.counter = (struct rte_flow_action_handle *) &codec;
    ck_assert_ptr_null(rte_codec_encode(&codec, t, NULL, &p));
    ck_assert_uint_eq(codec.n_actions, 3);
    ck_assert_int_eq(codec.actions[0].type, RTE_FLOW_ACTION_TYPE_INDIRECT);
    ck_assert_ptr_eq(codec.actions[0].conf, &codec);
    ck_assert_int_eq(codec.actions[1].type, RTE_FLOW_ACTION_TYPE_DROP);
    nic_template_unref(t);
}
END_TEST

/* The item for ports is there, and names none. */
START_TEST(test_any_port)
{
    rte_codec_begin(&codec);
    rte_codec_put_any_port(&codec);
    rte_codec_put_any_frame(&codec);
    rte_codec_put_output(&codec, 3);
    rte_codec_end(&codec);
    ck_assert_uint_eq(codec.n_items, 3);
    ck_assert_int_eq(codec.items[0].type, RTE_FLOW_ITEM_TYPE_REPRESENTED_PORT);
    ck_assert_ptr_null(codec.items[0].spec);
    ck_assert_ptr_null(codec.items[0].mask);
    ck_assert_int_eq(codec.items[1].type, RTE_FLOW_ITEM_TYPE_ETH);
    ck_assert_int_eq(codec.items[2].type, RTE_FLOW_ITEM_TYPE_END);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("rte-flow-codec");
    TCase *tc = tcase_create("encode");

    tcase_add_test(tc, test_tcp);
    tcase_add_test(tc, test_ipv6_udp);
    tcase_add_test(tc, test_sctp);
    tcase_add_test(tc, test_zero_values);
    tcase_add_test(tc, test_fragments_are_excluded);
    tcase_add_test(tc, test_tags);
    tcase_add_test(tc, test_one_tag);
    tcase_add_test(tc, test_two_tags);
    tcase_add_test(tc, test_refused_matches);
    tcase_add_test(tc, test_nat_set);
    tcase_add_test(tc, test_sets);
    tcase_add_test(tc, test_tos);
    tcase_add_test(tc, test_parts);
    tcase_add_test(tc, test_vlan_actions);
    tcase_add_test(tc, test_refused_actions);
    tcase_add_test(tc, test_drop_and_counter);
    tcase_add_test(tc, test_any_port);
    suite_add_tcase(suite, tc);
    return unit_test_run(suite);
}
