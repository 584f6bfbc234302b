/* SPDX-License-Identifier: Apache-2.0 */

/* What the emulated NIC's rules do to packets, each action by itself, against
 * bytes that are composed independently. */

#include <config.h>
#include "lib/nic-emu-pass.h"

#include <errno.h>

#include "csum.h"
#include "lib/nic-emu-ct.h"
#include "tests/nic-emu-table-test.h"

static void
expect_packet(const struct dp_packet *packet, const struct flow *flow,
              size_t l7_len)
{
    struct dp_packet *expected = nic_test_packet(flow, l7_len);

    ck_assert_uint_eq(dp_packet_size(packet), dp_packet_size(expected));
    ck_assert_mem_eq(dp_packet_data(packet), dp_packet_data(expected),
                     dp_packet_size(expected));
    dp_packet_delete(expected);
}

/* Executes packets like 'from' on a rule with 'actions', then output, and
 * checks that they leave like 'to'. */
static void
expect_change(const struct flow *from, const struct nic_action actions[],
              size_t n, const struct nic_values *values,
              const struct flow *to)
{
    struct nic_action all[NIC_MAX_ACTIONS];
    struct dp_packet *packet = nic_test_packet(from, L7_LEN);
    struct nic_emu_outputs outputs;
    struct nic_emu_rule *rule;
    struct nic_counter c;

    memcpy(all, actions, n * sizeof *actions);
    all[n] = nic_test_output(OUT);
    rule = add_rule(from, 0, values ? NIC_SLOT_REWRITE : NIC_SLOT_NONE, all,
                    n + 1, values);
    ck_assert_int_eq(execute_to(packet, &outputs), NIC_EMU_OUTPUT);
    ck_assert_uint_eq(outputs.n, 1);
    ck_assert_uint_eq(outputs.list[0].port, OUT);
    ck_assert_ptr_ne(outputs.list[0].packet, packet);
    expect_packet(outputs.list[0].packet, to, L7_LEN);

    /* It was as received when it hit. */
    nic_emu_rule_counter(rule, &c);
    ck_assert_uint_eq(c.packets, 1);
    ck_assert_uint_eq(c.bytes, dp_packet_size(packet));
    free_outputs(packet, &outputs);
    dp_packet_delete(packet);
    del(rule);
}

START_TEST(test_set)
{
    random_state = 1 + _i;
    for (int i = 0; i < 200; i++) {
        struct flow from = random_flow();
        struct flow to = from;
        struct nic_action action;

        if (has_field(&from, _i)) {
            action = random_set(&to, _i);
            expect_change(&from, &action, 1, NULL, &to);
        }
    }
}
END_TEST

/* The same with the bytes written down. */
START_TEST(test_bytes)
{
    static const uint8_t tagged[] = {
        0x50, 0x54, 0, 0, 0, 0x0a, 0x50, 0x54, 0, 0, 0, 0x09,
        0x88, 0xa8, 0x60, 0x64, 0x81, 0x00, 0x20, 0x05,
        0x08, 0x00, 0x45, 0x00, 0, 31,
    };
    struct nic_action actions[] = {
        push_vlan(ETH_TYPE_VLAN_8021Q, 0x3005),
        push_vlan(ETH_TYPE_VLAN_8021AD, 0x6064),
        nic_test_output(OUT),
    };
    struct flow flow = nic_test_flow4(IPPROTO_UDP, 1, 2, 1000, 53);
    struct dp_packet *packet = nic_test_packet(&flow, 3);
    struct nic_emu_outputs outputs;
    struct nic_emu_rule *rule = add_rule(&flow, 0, 0, actions, 3, NULL);

    ck_assert_int_eq(execute_to(packet, &outputs), NIC_EMU_OUTPUT);
    ck_assert_uint_eq(dp_packet_size(outputs.list[0].packet), 42 + 3 + 8);
    ck_assert_mem_eq(dp_packet_data(outputs.list[0].packet), tagged,
                     sizeof tagged);
    free_outputs(packet, &outputs);
    dp_packet_delete(packet);
    del(rule);
}
END_TEST

START_TEST(test_set_tuple)
{
    random_state = 77;
    for (int i = 0; i < 500; i++) {
        unsigned int parts = 1 + rnd(3);
        struct nic_action action = {
            .type = NIC_ACTION_SET_TUPLE, .parts = parts
        };
        struct flow from = random_flow();
        struct flow to = from, other;
        struct nic_values values;

        do {
            other = random_flow();
        } while (other.dl_type != from.dl_type);
        memset(&values, 0, sizeof values);
        values.rewrite = nic_test_tuple(&other, false);
        if (parts & NIC_TUPLE_SRC) {
            to.nw_src = other.nw_src;
            to.ipv6_src = other.ipv6_src;
            to.tp_src = other.tp_src;
        }
        if (parts & NIC_TUPLE_DST) {
            to.nw_dst = other.nw_dst;
            to.ipv6_dst = other.ipv6_dst;
            to.tp_dst = other.tp_dst;
        }
        expect_change(&from, &action, 1, &values, &to);
    }
}
END_TEST

START_TEST(test_vlan)
{
    random_state = 5;
    for (int i = 0; i < 300; i++) {
        struct flow from = random_flow();
        struct flow to = from;
        struct nic_action actions[8];
        size_t n;

        for (n = 0; n < 1 + rnd(7); n++) {
            if (to.vlans[1].tci || (to.vlans[0].tci && rnd(2))) {
                actions[n] = pop_vlan;
                flow_pop(&to);
            } else {
                uint16_t tci = rnd(65536);

                actions[n] = push_vlan(ETH_TYPE_VLAN_8021Q, tci);
                flow_push(&to, ETH_TYPE_VLAN_8021Q, tci);
            }
        }
        expect_change(&from, actions, n, NULL, &to);
    }
}
END_TEST

/* Many changes at once, and what is above a tag that was pushed before. */
START_TEST(test_combined)
{
    random_state = 6;
    for (int i = 0; i < 500; i++) {
        struct flow from = random_flow();
        struct flow to = from;
        struct nic_action actions[8];
        size_t n = 0;

        if (!to.vlans[1].tci) {
            actions[n++] = push_vlan(ETH_TYPE_VLAN_8021Q, 5);
            flow_push(&to, ETH_TYPE_VLAN_8021Q, 5);
        }
        while (n < 8) {
            enum nic_field field = rnd(NIC_FIELD_TP_DST + 1);

            if (has_field(&to, field)) {
                actions[n++] = random_set(&to, field);
            }
        }
        expect_change(&from, actions, n, NULL, &to);
    }
}
END_TEST

/* Returns the sum of the TCP or UDP packet with its pseudo header, in IPv4: 0
 * if the checksum is right, and how wrong it is otherwise. */
static uint16_t
l4_residue(struct dp_packet *packet)
{
    const uint8_t *ip = (uint8_t *) dp_packet_data(packet) + ETH_HEADER_LEN;
    size_t len = dp_packet_size(packet) - ETH_HEADER_LEN - IP_HEADER_LEN;
    uint32_t partial = 0;

    partial = csum_continue(partial, ip + 12, 8);
    partial = csum_add16(partial, htons(ip[9]));
    partial = csum_add16(partial, htons(len));
    partial = csum_continue(partial, ip + IP_HEADER_LEN, len);
    return (OVS_FORCE uint16_t) csum_finish(partial);
}

START_TEST(test_wrong_checksum)
{
    for (int i = 0; i < 4; i++) {
        uint8_t proto = i & 1 ? IPPROTO_TCP : IPPROTO_UDP;
        size_t ofs = (ETH_HEADER_LEN + IP_HEADER_LEN
                      + (proto == IPPROTO_TCP ? 16 : 6));
        struct flow flow = nic_test_flow4(proto, 1, 2, 1000, 53);
        struct flow to = nic_test_flow4(proto, 7, 8, 2000, 3000);
        struct dp_packet *packet = nic_test_packet(&flow, 10);
        struct nic_values values = {
            .rewrite = nic_test_tuple(&to, false)
        };
        struct nic_action actions[] = {
            { .type = NIC_ACTION_SET_TUPLE,
              .parts = NIC_TUPLE_SRC | NIC_TUPLE_DST },
            nic_test_output(OUT),
        };
        uint8_t *csum = (uint8_t *) dp_packet_data(packet) + ofs;
        struct nic_emu_outputs outputs;
        struct nic_emu_rule *rule;
        uint16_t residue;

        if (i & 2) {
            csum[0] ^= 0x21;
        } else {
            csum[0] = csum[1] = 0;
        }
        residue = l4_residue(packet);
        ck_assert_uint_ne(residue, 0);
        rule = add_rule(&flow, 0, NIC_SLOT_REWRITE, actions, 2, &values);
        ck_assert_int_eq(execute_to(packet, &outputs), NIC_EMU_OUTPUT);
        if (proto == IPPROTO_UDP && !(i & 2)) {
            /* Without a checksum it stays without. */
            csum = (uint8_t *) dp_packet_data(outputs.list[0].packet) + ofs;
            ck_assert(!csum[0] && !csum[1]);
        } else {
            ck_assert_uint_eq(l4_residue(outputs.list[0].packet), residue);
        }
        free_outputs(packet, &outputs);
        dp_packet_delete(packet);
        del(rule);
    }
}
END_TEST

/* Several outputs: each packet as it was at its place in the list. */
START_TEST(test_outputs)
{
    struct flow flow = nic_test_flow4(IPPROTO_TCP, 1, 2, 1000, 80);
    struct nic_emu_egress *e = nic_emu_egress_create(9);
    struct nic_emu_egress *e2 = nic_emu_egress_create(NIC_PORT_NONE);
    struct nic_emu_egress *egresses[] = { e, e2 };
    struct nic_action actions[] = {
        nic_test_output(3),
        nic_test_output(IN),
        set8(NIC_FIELD_IP_TTL, 63),
        nic_test_output(4),
        push_vlan(ETH_TYPE_VLAN_8021Q, 7),
        { .type = NIC_ACTION_EGRESS },
        nic_test_output(5),
        set16(NIC_FIELD_TP_DST, 81),
        { .type = NIC_ACTION_EGRESS },
        pop_vlan,
        { .type = NIC_ACTION_DROP },
    };
    static const nic_port_id ports[] = { 3, IN, 4, 9, 5, NIC_PORT_NONE };
    struct dp_packet *packet = nic_test_packet(&flow, L7_LEN);
    struct nic_emu_outputs outputs;
    struct flow flows[6];
    struct nic_emu_rule *rule;
    struct nic_template *t;
    struct nic_counter c;
    struct match match;

    match_init_catchall(&match);
    match_set_dl_type(&match, flow.dl_type);
    match_set_nw_proto(&match, flow.nw_proto);
    t = nic_template_create(IN, 0, &match, 0, actions, ARRAY_SIZE(actions));
    ck_assert(!nic_emu_check_template(t, NULL));
    ck_assert(!nic_emu_rule_add(table, t, NULL, egresses, &rule));
    nic_template_unref(t);

    flows[0] = flows[1] = flow;
    flow.nw_ttl = 63;
    flows[2] = flow;
    flow_push(&flow, ETH_TYPE_VLAN_8021Q, 7);
    flows[3] = flows[4] = flow;
    flow.tp_dst = htons(81);
    flows[5] = flow;

    ck_assert_int_eq(execute_to(packet, &outputs), NIC_EMU_OUTPUT);
    ck_assert_uint_eq(outputs.n, 6);
    for (size_t i = 0; i < outputs.n; i++) {
        ck_assert_uint_eq(outputs.list[i].port, ports[i]);
        expect_packet(outputs.list[i].packet, &flows[i], L7_LEN);
        for (size_t j = 0; j < i; j++) {
            ck_assert_ptr_ne(outputs.list[i].packet,
                             outputs.list[j].packet);
        }
    }
    free_outputs(packet, &outputs);
    nic_emu_rule_counter(rule, &c);
    ck_assert_uint_eq(c.packets, 1);
    dp_packet_delete(packet);
    del(rule);
    nic_emu_egress_free(e);
    nic_emu_egress_free(e2);
}
END_TEST

/* A packet that leaves once and unchanged is not copied. */
START_TEST(test_no_copy)
{
    struct flow flow = nic_test_flow4(IPPROTO_TCP, 1, 2, 1000, 80);
    struct dp_packet *packet = nic_test_packet(&flow, L7_LEN);
    struct nic_action action = nic_test_output(OUT);
    struct nic_emu_rule *rule = add_rule(&flow, 0, 0, &action, 1, NULL);
    struct nic_emu_outputs outputs;

    ck_assert_int_eq(execute_to(packet, &outputs), NIC_EMU_OUTPUT);
    ck_assert_uint_eq(outputs.n, 1);
    ck_assert_ptr_eq(outputs.list[0].packet, packet);
    dp_packet_delete(packet);
    del(rule);
}
END_TEST

/* More outputs than there is room for: nothing leaves. */
START_TEST(test_too_many_outputs)
{
    struct flow flow = nic_test_flow4(IPPROTO_UDP, 1, 2, 1000, 80);
    struct nic_conn nic_conn = nic_test_conn(&flow, 1);
    struct nic_emu_ct *ct = nic_emu_table_ct(table);
    struct nic_emu_conn *conn;

    ck_assert(!nic_emu_conn_add(ct, &nic_conn, &conn));
    for (int extra = 0; extra < 2; extra++) {
        struct nic_action actions[NIC_MAX_ACTIONS];
        struct nic_emu_rule *rules[2];

        for (int i = 0; i < NIC_MAX_ACTIONS; i++) {
            actions[i] = nic_test_output(10 + i);
        }
        rules[1] = add_rule(&flow, 1, 0, actions,
                            NIC_EMU_MAX_OUTPUTS / 2 + extra, NULL);
        actions[NIC_EMU_MAX_OUTPUTS / 2] = ct_action(1, false, 1);
        rules[0] = add_rule(&flow, 0, 0, actions, NIC_EMU_MAX_OUTPUTS / 2 + 1,
                            NULL);
        ck_assert_int_eq(execute_flow(&flow),
                         extra ? NIC_EMU_MISS : NIC_EMU_OUTPUT);
        ck_assert_uint_eq(n_packets(rules[0]), !extra);
        del(rules[0]);
        del(rules[1]);
    }
    nic_emu_conn_remove(ct, conn);
    nic_emu_conn_free(conn);
}
END_TEST

/* A miss after outputs and changes: see execute_to(). */
START_TEST(test_late_miss)
{
    struct flow flow = nic_test_flow4(IPPROTO_TCP, 1, 2, 1000, 80);
    struct nic_conn nic_conn = nic_test_conn(&flow, 1);
    struct nic_emu_ct *ct = nic_emu_table_ct(table);
    struct nic_action actions[] = {
        nic_test_output(3),
        set8(NIC_FIELD_IP_TTL, 63),
        nic_test_output(4),
        nic_test_output(4),
        push_vlan(ETH_TYPE_VLAN_8021Q, 7),
        ct_action(1, false, NIC_TABLE_NONE),
        set16(NIC_FIELD_TP_SRC, 1),
        nic_test_output(5),
        ct_action(2, false, 1),
    };
    struct nic_emu_rule *rule = add_rule(&flow, 0, 0, actions,
                                         ARRAY_SIZE(actions), NULL);
    struct nic_emu_conn *conn;
    struct nic_counter c[2];

    ck_assert_int_eq(execute_flow(&flow), NIC_EMU_MISS);
    ck_assert(!nic_emu_conn_add(ct, &nic_conn, &conn));
    ck_assert_int_eq(execute_flow(&flow), NIC_EMU_MISS);
    nic_emu_conn_counters(conn, c);
    ck_assert_uint_eq(c[0].packets, 0);
    ck_assert_uint_eq(n_packets(rule), 0);
    nic_emu_conn_remove(ct, conn);
    nic_emu_conn_free(conn);
    del(rule);
}
END_TEST

/* Fragments and the like are not changed above Ethernet. */
START_TEST(test_insane)
{
    struct flow flow = nic_test_flow4(IPPROTO_TCP, 1, 2, 1000, 80);
    struct nic_action change[] = {
        set8(NIC_FIELD_IP_TOS, 4), nic_test_output(OUT)
    };
    struct nic_action tag[] = {
        push_vlan(ETH_TYPE_VLAN_8021Q, 7), nic_test_output(OUT)
    };
    struct match match;

    match_init_catchall(&match);
    match_set_dl_type(&match, flow.dl_type);
    for (int i = 0; i < 3; i++) {
        struct dp_packet *packet;
        struct nic_emu_rule *rule;

        flow.nw_frag = i == 1 ? FLOW_NW_FRAG_ANY : 0;
        packet = nic_test_packet(&flow, L7_LEN);
        if (i == 2) {
            ((uint8_t *) dp_packet_data(packet))[ETH_HEADER_LEN + 10] ^= 1;
        }
        rule = add(nic_template_create(IN, 0, &match, 0, change, 2), NULL);
        ck_assert_int_eq(execute(packet, NULL),
                         i ? NIC_EMU_MISS : NIC_EMU_OUTPUT);
        ck_assert_uint_eq(n_packets(rule), !i);
        del(rule);
        rule = add(nic_template_create(IN, 0, &match, 0, tag, 2), NULL);
        ck_assert_int_eq(execute(packet, NULL), NIC_EMU_OUTPUT);
        del(rule);
        dp_packet_delete(packet);
    }
}
END_TEST

/* Connection tracking. */

/* Rules whose only action is to tell by their port that they hit. */
static struct nic_emu_rule *
add_match(uint32_t table_id, const struct match *match, nic_port_id port)
{
    struct nic_action action = nic_test_output(port);

    return add(nic_template_create(IN, table_id, match, 0, &action, 1), NULL);
}

/* Executes a packet and returns the port that it leaves through, 0 if it is
 * missed. */
static nic_port_id
port_of(const struct flow *flow)
{
    struct dp_packet *packet = nic_test_packet(flow, L7_LEN);
    nic_port_id port = 0;

    if (execute(packet, &port) == NIC_EMU_MISS) {
        port = 0;
    }
    dp_packet_delete(packet);
    return port;
}

/* Everything that a hit sets can be matched, and CT_CLEAR forgets it. */
static void
check_ct_fields(const struct flow *orig, const struct flow *reply)
{
    struct nic_conn nic_conn = nic_test_conn(orig, 9);
    struct nic_emu_ct *ct = nic_emu_table_ct(table);
    const ovs_u128 label = { .u64 = { .lo = 0x1234, .hi = 0xabcd0000 } };
    struct nic_emu_rule *root, *rules[2], *zero;
    struct nic_emu_conn *conn;
    struct match match;

    nic_conn.mark = 0x55;
    nic_conn.label = label;
    ck_assert(!nic_emu_conn_add(ct, &nic_conn, &conn));
    for (int clear = 0; clear < 2; clear++) {
        struct nic_action actions[] = {
            ct_action(9, false, NIC_TABLE_NONE), ct_clear,
            ct_action(9, false, 1),
        };

        root = add_rule(orig, 0, 0, &actions[clear ? 0 : 2], clear ? 3 : 1,
                        NULL);
        for (int i = 0; i < 2; i++) {
            match_init_catchall(&match);
            match_set_ct_state(&match, CS_TRACKED | CS_ESTABLISHED
                               | (i ? CS_REPLY_DIR : 0));
            match_set_ct_zone(&match, 9);
            match_set_ct_mark(&match, 0x55);
            match_set_ct_label(&match, label);
            match_set_ct_nw_proto(&match, orig->nw_proto);
            if (orig->dl_type == htons(ETH_TYPE_IP)) {
                match_set_ct_nw_src(&match, orig->nw_src);
                match_set_ct_nw_dst(&match, orig->nw_dst);
            } else {
                match_set_ct_ipv6_src(&match, &orig->ipv6_src);
                match_set_ct_ipv6_dst(&match, &orig->ipv6_dst);
            }
            match_set_ct_tp_src(&match, orig->tp_src);
            match_set_ct_tp_dst(&match, orig->tp_dst);
            rules[i] = add_match(1, &match, 20 + i);
        }
        ck_assert_uint_eq(port_of(orig), 20);
        ck_assert_uint_eq(port_of(reply), 21);
        del(rules[0]);
        del(rules[1]);
        del(root);
    }

    /* Before CT, and after CT_CLEAR, all of it is zero. */
    struct nic_action actions[] = {
        ct_action(9, false, NIC_TABLE_NONE), ct_clear,
        ct_action(8, false, 1),
    };
    struct nic_emu_conn *conn2;

    memset(&match.flow, 0, sizeof match.flow);
    zero = add_match(0, &match, 30);
    ck_assert_uint_eq(port_of(orig), 30);
    del(zero);
    nic_conn = nic_test_conn(orig, 8);
    ck_assert(!nic_emu_conn_add(ct, &nic_conn, &conn2));
    root = add_rule(orig, 0, 0, actions, 3, NULL);
    match_init_catchall(&match);
    match_set_ct_zone(&match, 8);
    match_set_ct_mark(&match, 0);
    match_set_ct_label(&match, OVS_U128_ZERO);
    rules[0] = add_match(1, &match, 31);
    ck_assert_uint_eq(port_of(orig), 31);
    del(rules[0]);
    del(root);
    nic_emu_conn_remove(ct, conn);
    nic_emu_conn_remove(ct, conn2);
    nic_emu_conn_free(conn);
    nic_emu_conn_free(conn2);
}

START_TEST(test_ct_fields)
{
    struct flow orig = nic_test_flow4(IPPROTO_TCP, 1, 2, 1000, 80);
    struct flow reply = nic_test_flow4(IPPROTO_TCP, 2, 1, 80, 1000);

    check_ct_fields(&orig, &reply);
    orig = nic_test_flow6(IPPROTO_UDP, 1, 2, 1000, 80);
    reply = nic_test_flow6(IPPROTO_UDP, 2, 1, 80, 1000);
    check_ct_fields(&orig, &reply);
}
END_TEST

/* Mark, label and direction as conditions. */
START_TEST(test_ct_conditions)
{
    struct flow orig = nic_test_flow4(IPPROTO_UDP, 1, 2, 1000, 80);
    struct flow reply = nic_test_flow4(IPPROTO_UDP, 2, 1, 80, 1000);
    struct nic_conn nic_conn = nic_test_conn(&orig, 9);
    struct nic_emu_ct *ct = nic_emu_table_ct(table);
    static const struct {
        uint32_t mark, mark_mask;
        ovs_u128 label, label_mask;
        bool orig_only, hit, hit_reply;
    } tests[] = {
        { .hit = true, .hit_reply = true },
        { .mark = 0xf5, .mark_mask = 0x0f, .hit = true, .hit_reply = true },
        { .mark = 0x50, .mark_mask = 0xff },
        { .mark = 0, .mark_mask = 0x01 },
        { .mark = 0, .mark_mask = 0x02, .hit = true, .hit_reply = true },
        { .label = { .u64.hi = 3 }, .label_mask = { .u64.hi = 3 },
          .hit = true, .hit_reply = true },
        { .label = { .u64.hi = 3 }, .label_mask = { .u64.hi = 7 } },
        { .label_mask = { .u64.lo = 1 } },
        { .label_mask = { .u64.lo = 2 }, .hit = true, .hit_reply = true },
        { .orig_only = true, .hit = true },
    };
    struct nic_emu_conn *conn;

    nic_conn.mark = 0x55;
    nic_conn.label = (ovs_u128) { .u64 = { .lo = 1, .hi = 7 } };
    ck_assert(!nic_emu_conn_add(ct, &nic_conn, &conn));
    for (size_t i = 0; i < ARRAY_SIZE(tests); i++) {
        struct nic_action actions[2] = {
            ct_action(9, false, NIC_TABLE_NONE), nic_test_output(OUT)
        };
        struct nic_emu_rule *rule;

        actions[0].ct.mark = tests[i].mark;
        actions[0].ct.mark_mask = tests[i].mark_mask;
        actions[0].ct.label = tests[i].label;
        actions[0].ct.label_mask = tests[i].label_mask;
        actions[0].ct.orig_only = tests[i].orig_only;
        rule = add_rule(&orig, 0, 0, actions, 2, NULL);
        ck_assert_uint_eq(port_of(&orig), tests[i].hit ? OUT : 0);
        ck_assert_uint_eq(port_of(&reply), tests[i].hit_reply ? OUT : 0);
        ck_assert_uint_eq(n_packets(rule),
                          tests[i].hit + tests[i].hit_reply);
        del(rule);
    }
    nic_emu_conn_remove(ct, conn);
    nic_emu_conn_free(conn);
}
END_TEST

/* The tuple decides about the connection once per zone. */
START_TEST(test_ct_again)
{
    struct flow orig = nic_test_flow4(IPPROTO_UDP, 1, 2, 1000, 80);
    struct flow natted = nic_test_flow4(IPPROTO_UDP, 3, 2, 2000, 80);
    struct nic_conn nic_conn = nic_test_conn(&orig, 1);
    struct nic_emu_ct *ct = nic_emu_table_ct(table);
    struct nic_emu_conn *conn, *conn2;
    struct nic_emu_rule *rule, *snat;
    struct nic_counter c[2];
    struct match match;

    nic_conn.tuple[1] = nic_test_tuple(&natted, true);
    nic_conn.nat_parts[0] = NIC_TUPLE_SRC;
    nic_conn.nat_state[0] = CS_SRC_NAT;
    nic_conn.translated[0] = nic_test_tuple(&natted, false);
    nic_conn.nat_parts[1] = NIC_TUPLE_DST;
    nic_conn.nat_state[1] = CS_DST_NAT;
    nic_conn.translated[1] = nic_test_tuple(&orig, true);
    ck_assert(!nic_emu_check_conn(&nic_conn, NULL));
    ck_assert(!nic_emu_conn_add(ct, &nic_conn, &conn));
    nic_conn = nic_test_conn(&natted, 2);
    ck_assert(!nic_emu_conn_add(ct, &nic_conn, &conn2));

    match_init_catchall(&match);
    match_set_ct_state(&match, CS_TRACKED | CS_ESTABLISHED | CS_SRC_NAT);
    snat = add_match(1, &match, 7);

    /* Same zone: found though translated, translated once, counted once. */
    struct nic_action same[] = {
        ct_action(1, true, NIC_TABLE_NONE), ct_action(1, true, NIC_TABLE_NONE),
        ct_action(1, false, 1),
    };
    rule = add_rule(&orig, 0, 0, same, 3, NULL);
    ck_assert_uint_eq(port_of(&orig), 7);
    nic_emu_conn_counters(conn, c);
    ck_assert_uint_eq(c[0].packets, 1);
    del(rule);

    /* The other zone sees the translated packet, and has no +snat. */
    struct nic_action other[] = {
        ct_action(1, true, NIC_TABLE_NONE), ct_action(2, false, 1),
    };
    rule = add_rule(&orig, 0, 0, other, 2, NULL);
    ck_assert_uint_eq(port_of(&orig), 0);
    match_set_ct_state(&match, CS_TRACKED | CS_ESTABLISHED);
    struct nic_emu_rule *plain = add_match(1, &match, 8);
    ck_assert_uint_eq(port_of(&orig), 8);
    nic_emu_conn_counters(conn2, c);
    ck_assert_uint_eq(c[0].packets, 1);
    del(rule);

    /* Back in the first zone, or after CT_CLEAR, it is not found any more. */
    struct nic_action back[] = {
        ct_action(1, true, NIC_TABLE_NONE), ct_action(2, false,
                                                      NIC_TABLE_NONE),
        ct_action(1, false, 1),
    };
    rule = add_rule(&orig, 0, 0, back, 3, NULL);
    ck_assert_uint_eq(port_of(&orig), 0);
    del(rule);
    back[1] = ct_clear;
    rule = add_rule(&orig, 0, 0, back, 3, NULL);
    ck_assert_uint_eq(port_of(&orig), 0);
    del(rule);

    /* Nor if somebody else changed the tuple. */
    back[0].ct.nat = false;
    back[1] = set16(NIC_FIELD_TP_SRC, 1);
    rule = add_rule(&orig, 0, 0, back, 3, NULL);
    ck_assert_uint_eq(port_of(&orig), 0);
    del(rule);
    back[1] = set8(NIC_FIELD_IP_TTL, 1);
    rule = add_rule(&orig, 0, 0, back, 3, NULL);
    ck_assert_uint_eq(port_of(&orig), 8);
    del(rule);

    del(plain);
    del(snat);
    nic_emu_conn_remove(ct, conn);
    nic_emu_conn_remove(ct, conn2);
    nic_emu_conn_free(conn);
    nic_emu_conn_free(conn2);
}
END_TEST

/* Each rule counts the size that the packet had there. */
START_TEST(test_byte_counters)
{
    struct flow flow = nic_test_flow4(IPPROTO_UDP, 1, 2, 1000, 80);
    struct flow tagged = flow;
    struct nic_conn nic_conn = nic_test_conn(&flow, 1);
    struct nic_emu_ct *ct = nic_emu_table_ct(table);
    struct nic_action first[] = {
        push_vlan(ETH_TYPE_VLAN_8021Q, 7), ct_action(1, false, 1)
    };
    struct nic_action second[] = { pop_vlan, nic_test_output(OUT) };
    size_t size = ETH_HEADER_LEN + IP_HEADER_LEN + UDP_HEADER_LEN + L7_LEN;
    struct nic_emu_rule *rules[2];
    struct nic_emu_conn *conn;
    struct nic_counter c[2];

    flow_push(&tagged, ETH_TYPE_VLAN_8021Q, 7);
    ck_assert(!nic_emu_conn_add(ct, &nic_conn, &conn));
    rules[0] = add_rule(&flow, 0, 0, first, 2, NULL);
    rules[1] = add_rule(&tagged, 1, 0, second, 2, NULL);
    ck_assert_uint_eq(port_of(&flow), OUT);
    nic_emu_rule_counter(rules[0], &c[0]);
    ck_assert_uint_eq(c[0].bytes, size);
    nic_emu_rule_counter(rules[1], &c[0]);
    ck_assert_uint_eq(c[0].bytes, size + VLAN_HEADER_LEN);
    nic_emu_conn_counters(conn, c);
    ck_assert_uint_eq(c[0].bytes, size + VLAN_HEADER_LEN);
    nic_emu_conn_remove(ct, conn);
    nic_emu_conn_free(conn);
    del(rules[0]);
    del(rules[1]);
}
END_TEST

int
main(int argc, char *argv[])
{
    Suite *suite = suite_create("nic-emu-pass");
    TCase *tc = tcase_create("nic-emu-pass");

    tcase_set_timeout(tc, 120);
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_loop_test(tc, test_set, 0, NIC_FIELD_TP_DST + 1);
    tcase_add_test(tc, test_bytes);
    tcase_add_test(tc, test_set_tuple);
    tcase_add_test(tc, test_vlan);
    tcase_add_test(tc, test_combined);
    tcase_add_test(tc, test_wrong_checksum);
    tcase_add_test(tc, test_outputs);
    tcase_add_test(tc, test_no_copy);
    tcase_add_test(tc, test_too_many_outputs);
    tcase_add_test(tc, test_late_miss);
    tcase_add_test(tc, test_insane);
    tcase_add_test(tc, test_ct_fields);
    tcase_add_test(tc, test_ct_conditions);
    tcase_add_test(tc, test_ct_again);
    tcase_add_test(tc, test_byte_counters);
    suite_add_tcase(suite, tc);
    return nic_test_main(argc, argv, suite);
}
