/* SPDX-License-Identifier: Apache-2.0 */

#ifndef RTE_FLOW_CODEC_H
#define RTE_FLOW_CODEC_H 1

/* Rules of a NIC as flow rules of DPDK
 * ====================================
 *
 * Turns a rule (nic-rule.h) into the items and actions of DPDK's rte_flow, in
 * transfer mode: the rule is the embedded switch's, not a port's.
 *
 *     REPRESENTED_PORT{in_ethdev} / eth / vlan / vlan / ipv4 or ipv6 / tcp,
 *     udp or sctp
 *
 *     COUNT / what changes the packet / REPRESENTED_PORT{out_ethdev}, DROP or
 *     JUMP{group}
 *
 * Nothing is ever left out: what cannot be expressed is refused, with a
 * sentence that says what.  Whether a driver takes the result is another
 * question, which only rte_flow_validate() can answer.
 *
 * Where rte_flow cannot leave something open, fewer packets match, which is
 * right for a rule whose misses go to software: the Ethernet type is that of
 * the frame, so that a rule with one has to match how many VLAN tags there
 * are; and fragments never match a rule about nw_proto or anything above it,
 * or one that changes IP or anything above.
 *
 * Thread-safety: none is needed, there is no state.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <rte_flow.h>
#include "lib/nic-rule.h"

/* How fields are set. */
enum rte_codec_style {
    /* RTE_FLOW_ACTION_TYPE_MODIFY_FIELD for whole addresses, ports and TTL;
     * the actions of RTE_CODEC_SET for the rest. */
    RTE_CODEC_MODIFY_FIELD,

    /* One action per kind of field: RTE_FLOW_ACTION_TYPE_SET_IPV4_SRC etc. */
    RTE_CODEC_SET,
};

/* Port, two tags, Ethernet, IP, transport, end. */
#define RTE_CODEC_MAX_ITEMS 7

/* A NIC_ACTION_PUSH_VLAN makes three actions, NIC_ACTION_SET_TUPLE four.  The
 * counter, and the end. */
#define RTE_CODEC_MAX_ACTIONS (NIC_MAX_ACTIONS * 3 + 4 + 2)

union rte_codec_item {
    struct rte_flow_item_ethdev ethdev;
    struct rte_flow_item_eth eth;
    struct rte_flow_item_vlan vlan;
    struct rte_flow_item_ipv4 ipv4;
    struct rte_flow_item_ipv6 ipv6;
    struct rte_flow_item_tcp tcp;
    struct rte_flow_item_udp udp;
    struct rte_flow_item_sctp sctp;
};

union rte_codec_conf {
    struct rte_flow_action_count count;
    struct rte_flow_action_ethdev ethdev;
    struct rte_flow_action_jump jump;
    struct rte_flow_action_set_mac mac;
    struct rte_flow_action_set_ipv4 ipv4;
    struct rte_flow_action_set_ipv6 ipv6;
    struct rte_flow_action_set_tp tp;
    struct rte_flow_action_set_ttl ttl;
    struct rte_flow_action_set_dscp dscp;
    struct rte_flow_action_of_push_vlan push_vlan;
    struct rte_flow_action_of_set_vlan_vid vlan_vid;
    struct rte_flow_action_of_set_vlan_pcp vlan_pcp;
    struct rte_flow_action_modify_field modify;
};

/* Items and actions, each array ended with its END, with what they point to.
 * Must not be copied. */
struct rte_codec {
    struct rte_flow_item items[RTE_CODEC_MAX_ITEMS];
    struct rte_flow_action actions[RTE_CODEC_MAX_ACTIONS];
    size_t n_items, n_actions;      /* With END. */
    union rte_codec_item specs[RTE_CODEC_MAX_ITEMS];
    union rte_codec_item masks[RTE_CODEC_MAX_ITEMS];
    union rte_codec_conf confs[RTE_CODEC_MAX_ACTIONS];
};

/* What a rule's ports and objects are in DPDK. */
struct rte_codec_place {
    enum rte_codec_style style;
    uint16_t in_ethdev;             /* Of the template's 'in_port'. */
    uint16_t out_ethdev;            /* Of the port of its NIC_ACTION_OUTPUT. */
    uint32_t out_group;             /* Of its NIC_ACTION_EGRESS. */

    /* Counter shared with nobody, or null: one that belongs to the rule. */
    struct rte_flow_action_handle *counter;
};

/* Stores in '*codec' the rule made of 'template' and 'values'.  'values' may
 * be null: then those of the slots are zeros.  Returns null, or static text
 * that says what cannot be expressed; '*codec' is undefined then. */
const char *rte_codec_encode(struct rte_codec *codec,
                             const struct nic_template *template,
                             const struct nic_values *values,
                             const struct rte_codec_place *place);

/* Returns null if 'template' can be expressed with 'style', otherwise static
 * text. */
const char *rte_codec_check(const struct nic_template *template,
                            enum rte_codec_style style);

/* Pieces for rules that come from no template.  rte_codec_begin() first,
 * rte_codec_end() last. */
void rte_codec_begin(struct rte_codec *);
void rte_codec_put_port(struct rte_codec *, uint16_t ethdev);
void rte_codec_put_any_port(struct rte_codec *);
void rte_codec_put_any_frame(struct rte_codec *);
void rte_codec_put_count(struct rte_codec *,
                         struct rte_flow_action_handle *);
void rte_codec_put_output(struct rte_codec *, uint16_t ethdev);
void rte_codec_put_jump(struct rte_codec *, uint32_t group);
void rte_codec_put_drop(struct rte_codec *);
void rte_codec_end(struct rte_codec *);

#endif /* rte-flow-codec.h */
