/* SPDX-License-Identifier: Apache-2.0 */

#ifndef NIC_EMU_TABLE_TEST_H
#define NIC_EMU_TABLE_TEST_H 1

/* What the unit tests of the emulated NIC's table engine share: one engine,
 * what it does with a packet from port IN, and random actions.  Included by
 * one .c file per program. */

#include "lib/nic-emu-check.h"
#include "lib/nic-emu-grace.h"
#include "lib/nic-emu-pass.h"
#include "lib/nic-emu-table.h"
#include "tests/nic-test.h"
#include "tests/rnd.h"

#define IN 1
#define OUT 2
#define L7_LEN 11

static struct nic_emu_table *table;

static inline void
setup(void)
{
    table = nic_emu_table_create();
}

static inline void
teardown(void)
{
    nic_emu_table_destroy(table);
    nic_test_quiesce();
}

/* Executes 'packet' and checks that it is as it was, metadata aside.  What
 * leaves is in '*outputs', and the caller's. */
static inline enum nic_emu_verdict
execute_to(struct dp_packet *packet, struct nic_emu_outputs *outputs)
{
    /* With headroom, as OVS's copy of an empty packet has no memory else. */
    struct dp_packet *copy = dp_packet_clone_with_headroom(packet, 16);
    enum nic_emu_verdict verdict;

    nic_emu_section_enter();
    verdict = nic_emu_table_execute(table, IN, packet, 42, outputs);
    nic_emu_section_leave();

    ck_assert_uint_eq(dp_packet_size(packet), dp_packet_size(copy));
    ck_assert(!dp_packet_size(copy)
              || !memcmp(dp_packet_data(packet), dp_packet_data(copy),
                         dp_packet_size(copy)));
    ck_assert_uint_eq(packet->l2_pad_size, copy->l2_pad_size);
    ck_assert_uint_eq(packet->l2_5_ofs, copy->l2_5_ofs);
    ck_assert_uint_eq(packet->l3_ofs, copy->l3_ofs);
    ck_assert_uint_eq(packet->l4_ofs, copy->l4_ofs);
    ck_assert_int_eq(dp_packet_rss_valid(packet), dp_packet_rss_valid(copy));
    dp_packet_delete(copy);
    return verdict;
}

/* Frees what left, but for 'packet'. */
static inline void
free_outputs(const struct dp_packet *packet, struct nic_emu_outputs *outputs)
{
    for (size_t i = 0; i < outputs->n; i++) {
        if (outputs->list[i].packet != packet) {
            dp_packet_delete(outputs->list[i].packet);
        }
    }
}

/* The same, and stores the port of the last output in '*out', if not null. */
static inline enum nic_emu_verdict
execute(struct dp_packet *packet, nic_port_id *out)
{
    struct nic_emu_outputs outputs;
    enum nic_emu_verdict verdict = execute_to(packet, &outputs);

    if (verdict == NIC_EMU_OUTPUT) {
        if (out) {
            *out = outputs.list[outputs.n - 1].port;
        }
        free_outputs(packet, &outputs);
    }
    return verdict;
}

static inline enum nic_emu_verdict
execute_flow(const struct flow *flow)
{
    struct dp_packet *packet = nic_test_packet(flow, 10);
    enum nic_emu_verdict verdict = execute(packet, NULL);

    dp_packet_delete(packet);
    return verdict;
}

/* Adds a rule and drops the reference to 't'. */
static inline struct nic_emu_rule *
add(struct nic_template *t, const struct nic_values *values)
{
    struct nic_emu_rule *rule;

    ck_assert(!nic_emu_check_template(t, NULL));
    ck_assert_int_eq(nic_emu_rule_add(table, t, values, NULL, &rule), 0);
    nic_template_unref(t);
    return rule;
}

static inline void
del(struct nic_emu_rule *rule)
{
    nic_emu_rule_remove(table, rule);
    nic_emu_rule_free(rule);
}

static inline uint64_t
n_packets(const struct nic_emu_rule *rule)
{
    struct nic_counter c;

    nic_emu_rule_counter(rule, &c);
    return c.packets;
}

/* Actions. */

static inline struct nic_action
set_masked(enum nic_field field, const void *value, const void *mask,
           size_t len)
{
    struct nic_action a;

    memset(&a, 0, sizeof a);
    a.type = NIC_ACTION_SET;
    a.set.field = field;
    memcpy(a.set.value, value, len);
    if (mask) {
        memcpy(a.set.mask, mask, len);
    } else {
        memset(a.set.mask, 0xff, len);
    }
    return a;
}

static inline struct nic_action
set8(enum nic_field field, uint8_t value)
{
    return set_masked(field, &value, NULL, sizeof value);
}

static inline struct nic_action
set16(enum nic_field field, uint16_t value)
{
    ovs_be16 be = htons(value);

    return set_masked(field, &be, NULL, sizeof be);
}

static inline struct nic_action
push_vlan(uint16_t tpid, uint16_t tci)
{
    return (struct nic_action) {
        .type = NIC_ACTION_PUSH_VLAN,
        .vlan = { .tpid = htons(tpid), .tci = htons(tci) },
    };
}

static const struct nic_action pop_vlan = { .type = NIC_ACTION_POP_VLAN };
static const struct nic_action ct_clear = { .type = NIC_ACTION_CT_CLEAR };

static inline struct nic_action
ct_action(uint16_t zone, bool nat, uint32_t next)
{
    return (struct nic_action) {
        .type = NIC_ACTION_CT,
        .ct = { .zone = zone, .nat = nat, .table = next },
    };
}

static inline void
flow_push(struct flow *flow, uint16_t tpid, uint16_t tci)
{
    flow->vlans[1] = flow->vlans[0];
    flow->vlans[0].tpid = htons(tpid);
    flow->vlans[0].tci = htons(tci | VLAN_CFI);
}

static inline void
flow_pop(struct flow *flow)
{
    flow->vlans[0] = flow->vlans[1];
    flow->vlans[1] = (union flow_vlan_hdr) { .qtag = 0 };
}

/* Adds a rule for packets of the protocols and the number of tags of
 * 'flow'. */
static inline struct nic_emu_rule *
add_rule(const struct flow *flow, uint32_t table_id, enum nic_slots slots,
         const struct nic_action actions[], size_t n,
         const struct nic_values *values)
{
    struct match match;

    match_init_catchall(&match);
    match_set_dl_type(&match, flow->dl_type);
    match_set_nw_proto(&match, flow->nw_proto);
    for (int i = 0; i < FLOW_MAX_VLAN_HEADERS; i++) {
        match.wc.masks.vlans[i].tci = htons(VLAN_CFI);
        match.flow.vlans[i].tci = flow->vlans[i].tci & htons(VLAN_CFI);
    }
    return add(nic_template_create(IN, table_id, &match, slots, actions, n),
               values);
}

static inline struct flow
random_flow(void)
{
    uint8_t proto = rnd(2) ? IPPROTO_TCP : IPPROTO_UDP;
    struct flow flow = (rnd(2)
                        ? nic_test_flow4(proto, rnd(256), rnd(256), 0, 0)
                        : nic_test_flow6(proto, rnd(256), rnd(256), 0, 0));

    flow.tp_src = htons(rnd(65536));
    flow.tp_dst = htons(rnd(65536));
    flow.nw_tos = rnd(256);
    flow.nw_ttl = 1 + rnd(255);
    if (flow.dl_type == htons(ETH_TYPE_IPV6)) {
        flow.ipv6_label = htonl(rnd(0x100000));
    }
    for (int n = rnd(3); n; n--) {
        flow_push(&flow, rnd(2) ? ETH_TYPE_VLAN_8021Q : ETH_TYPE_VLAN_8021AD,
                  rnd(65536));
    }
    return flow;
}

/* Returns where 'field' is in 'flow', of its full length. */
static inline void *
flow_field(struct flow *flow, enum nic_field field)
{
    bool ipv6 = flow->dl_type == htons(ETH_TYPE_IPV6);

    switch (field) {
    case NIC_FIELD_ETH_SRC: return &flow->dl_src;
    case NIC_FIELD_ETH_DST: return &flow->dl_dst;
    case NIC_FIELD_VLAN_TCI: return &flow->vlans[0].tci;
    case NIC_FIELD_IP_SRC:
        return ipv6 ? (void *) &flow->ipv6_src : &flow->nw_src;
    case NIC_FIELD_IP_DST:
        return ipv6 ? (void *) &flow->ipv6_dst : &flow->nw_dst;
    case NIC_FIELD_IP_TOS: return &flow->nw_tos;
    case NIC_FIELD_IP_TTL: return &flow->nw_ttl;
    case NIC_FIELD_IPV6_LABEL: return &flow->ipv6_label;
    case NIC_FIELD_TP_SRC: return &flow->tp_src;
    case NIC_FIELD_TP_DST: return &flow->tp_dst;
    default: OVS_NOT_REACHED();
    }
}

/* A random change of 'field', which 'flow' has, applied to 'flow' as well. */
static inline struct nic_action
random_set(struct flow *flow, enum nic_field field)
{
    size_t len = nic_field_len(field, flow->dl_type);
    uint8_t value[NIC_FIELD_MAX_LEN], mask[NIC_FIELD_MAX_LEN];
    uint8_t *bytes = flow_field(flow, field);
    bool exact = rnd(2);

    for (size_t i = 0; i < len; i++) {
        uint8_t m;

        value[i] = rnd(256);
        mask[i] = m = exact ? 0xff : rnd(256);
        if (field == NIC_FIELD_VLAN_TCI && !i) {
            m &= ~0x10;
        } else if (field == NIC_FIELD_IPV6_LABEL) {
            m &= i == 0 ? 0 : i == 1 ? 0x0f : 0xff;
        }
        bytes[i] = (bytes[i] & ~m) | (value[i] & m);
    }
    return set_masked(field, value, mask, len);
}

static inline bool
has_field(const struct flow *flow, enum nic_field field)
{
    return (field == NIC_FIELD_IPV6_LABEL
            ? flow->dl_type == htons(ETH_TYPE_IPV6)
            : field == NIC_FIELD_VLAN_TCI
            ? (flow->vlans[0].tci & htons(VLAN_CFI)) != 0
            : true);
}

#endif /* nic-emu-table-test.h */
