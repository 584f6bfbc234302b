/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>

/* For handles of indirect actions. */
#define ALLOW_EXPERIMENTAL_API 1

#include "rte-flow-codec-private.h"

#include <netinet/in.h>
#include <string.h>

#include "flow.h"
#include "packets.h"
#include "util.h"

/* What is known of packets on their way through the actions. */
struct state {
    const struct match *match;      /* When they came. */
    enum rte_codec_style style;
    size_t n_tags;
    uint32_t changed;               /* Bits 1 << NIC_FIELD_*. */
};

/* Returns where 'flow' has 'field', null if it has it nowhere in one piece. */
static const void *
find_field(const struct flow *flow, enum nic_field field)
{
    bool ipv6 = flow->dl_type == htons(ETH_TYPE_IPV6);

    switch (field) {
    case NIC_FIELD_ETH_SRC:
        return &flow->dl_src;
    case NIC_FIELD_ETH_DST:
        return &flow->dl_dst;
    case NIC_FIELD_IP_SRC:
        return ipv6 ? (const void *) &flow->ipv6_src : &flow->nw_src;
    case NIC_FIELD_IP_DST:
        return ipv6 ? (const void *) &flow->ipv6_dst : &flow->nw_dst;
    case NIC_FIELD_IP_TOS:
        return &flow->nw_tos;
    case NIC_FIELD_IP_TTL:
        return &flow->nw_ttl;
    case NIC_FIELD_TP_SRC:
        return &flow->tp_src;
    case NIC_FIELD_TP_DST:
        return &flow->tp_dst;
    case NIC_FIELD_VLAN_TCI:
    case NIC_FIELD_IPV6_LABEL:
    default:
        return NULL;
    }
}

/* Completes 'value', of which 'mask' is to be set, by what the packet has in
 * the other bits, as the match says.  Returns false if it does not say. */
static bool
complete_value(const struct state *state, enum nic_field field, size_t len,
               uint8_t value[], const uint8_t mask[])
{
    struct flow masks = state->match->wc.masks;
    const uint8_t *was, *known;

    /* The family is part of how an address is found. */
    masks.dl_type = state->match->flow.dl_type;
    was = find_field(&state->match->flow, field);
    known = find_field(&masks, field);
    for (size_t i = 0; i < len; i++) {
        if (mask[i] == UINT8_MAX) {
            continue;
        }
        if (!was || state->changed & (1u << field)
            || (uint8_t) (known[i] | mask[i]) != UINT8_MAX) {
            return false;
        }
        value[i] = (value[i] & mask[i]) | (was[i] & ~mask[i]);
    }
    return true;
}

static void
put_modify(struct rte_codec *c, enum rte_flow_field_id id,
           const uint8_t value[], size_t len)
{
    struct rte_flow_action_modify_field *modify;

    modify = &rte_codec_add(c, RTE_FLOW_ACTION_TYPE_MODIFY_FIELD)->modify;
    modify->operation = RTE_FLOW_MODIFY_SET;
    modify->dst.field = id;
    modify->src.field = RTE_FLOW_FIELD_VALUE;
    memcpy(modify->src.value, value, len);
    modify->width = len * 8;
}

/* What sets a whole field. */
struct setter {
    enum rte_flow_action_type type;
    enum rte_flow_field_id id;
};

static struct setter
find_setter(const struct match *match, enum nic_field field)
{
    bool ipv6 = match->flow.dl_type == htons(ETH_TYPE_IPV6);
    bool tcp = match->flow.nw_proto == IPPROTO_TCP;

#define SETTER(ACTION, FIELD)                                           \
    (struct setter) { RTE_FLOW_ACTION_TYPE_##ACTION, RTE_FLOW_FIELD_##FIELD }
    switch (field) {
    case NIC_FIELD_ETH_SRC:
        return SETTER(SET_MAC_SRC, MAC_SRC);
    case NIC_FIELD_ETH_DST:
        return SETTER(SET_MAC_DST, MAC_DST);
    case NIC_FIELD_IP_SRC:
        return (ipv6 ? SETTER(SET_IPV6_SRC, IPV6_SRC)
                : SETTER(SET_IPV4_SRC, IPV4_SRC));
    case NIC_FIELD_IP_DST:
        return (ipv6 ? SETTER(SET_IPV6_DST, IPV6_DST)
                : SETTER(SET_IPV4_DST, IPV4_DST));
    case NIC_FIELD_IP_TTL:
        return (ipv6 ? SETTER(SET_TTL, IPV6_HOPLIMIT)
                : SETTER(SET_TTL, IPV4_TTL));
    case NIC_FIELD_TP_SRC:
        return (tcp ? SETTER(SET_TP_SRC, TCP_PORT_SRC)
                : SETTER(SET_TP_SRC, UDP_PORT_SRC));
    case NIC_FIELD_TP_DST:
        return (tcp ? SETTER(SET_TP_DST, TCP_PORT_DST)
                : SETTER(SET_TP_DST, UDP_PORT_DST));
    case NIC_FIELD_VLAN_TCI:
    case NIC_FIELD_IP_TOS:
    case NIC_FIELD_IPV6_LABEL:
    default:
        OVS_NOT_REACHED();
    }
#undef SETTER
}

/* Puts what sets 'field', of 'len' bytes, to 'value'. */
static void
put_whole_field(struct rte_codec *c, const struct state *state,
                enum nic_field field, const uint8_t value[], size_t len)
{
    struct setter setter = find_setter(state->match, field);

    if (state->style == RTE_CODEC_MODIFY_FIELD) {
        put_modify(c, setter.id, value, len);
    } else {
        /* Each of these consists of the value alone. */
        BUILD_ASSERT_DECL(sizeof(struct rte_flow_action_set_mac) == 6);
        BUILD_ASSERT_DECL(sizeof(struct rte_flow_action_set_ipv4) == 4);
        BUILD_ASSERT_DECL(sizeof(struct rte_flow_action_set_ipv6) == 16);
        BUILD_ASSERT_DECL(sizeof(struct rte_flow_action_set_tp) == 2);
        BUILD_ASSERT_DECL(sizeof(struct rte_flow_action_set_ttl) == 1);
        memcpy(rte_codec_add(c, setter.type), value, len);
    }
}

static const char *
put_set_tos(struct rte_codec *c, const struct state *state, uint8_t value,
            uint8_t mask)
{
    const struct match *match = state->match;
    uint8_t ecn = mask & IP_ECN_MASK;
    bool ipv6 = match->flow.dl_type == htons(ETH_TYPE_IPV6);

    if (ecn && (ecn & ~match->wc.masks.nw_tos
                || ecn & (value ^ match->flow.nw_tos))) {
        return "rte_flow cannot set ECN";
    }
    if (!(mask & IP_DSCP_MASK)) {
        return NULL;
    }
    mask |= IP_ECN_MASK;
    if (!complete_value(state, NIC_FIELD_IP_TOS, 1, &value, &mask)) {
        return "part of DSCP is set";
    }
    rte_codec_add(c, (ipv6 ? RTE_FLOW_ACTION_TYPE_SET_IPV6_DSCP
                   : RTE_FLOW_ACTION_TYPE_SET_IPV4_DSCP))->dscp.dscp
        = value >> 2;
    return NULL;
}

static void
put_tci(struct rte_codec *c, ovs_be16 tci, ovs_be16 mask)
{
    if (mask & htons(VLAN_VID_MASK)) {
        union rte_codec_conf *conf
            = rte_codec_add(c, RTE_FLOW_ACTION_TYPE_OF_SET_VLAN_VID);

        conf->vlan_vid.vlan_vid = tci & htons(VLAN_VID_MASK);
    }
    if (mask & htons(VLAN_PCP_MASK)) {
        union rte_codec_conf *conf
            = rte_codec_add(c, RTE_FLOW_ACTION_TYPE_OF_SET_VLAN_PCP);

        conf->vlan_pcp.vlan_pcp = vlan_tci_to_pcp(tci);
    }
}

static const char *
put_set_tci(struct rte_codec *c, const struct state *state,
            const uint8_t value[], const uint8_t mask[])
{
    ovs_be16 parts[] = { htons(VLAN_VID_MASK), htons(VLAN_PCP_MASK) };
    ovs_be16 tci, tci_mask;

    memcpy(&tci, value, sizeof tci);
    memcpy(&tci_mask, mask, sizeof tci_mask);
    if (!state->n_tags) {
        return "the tag is set of packets that may have none";
    }
    for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
        if (tci_mask & parts[i] && (tci_mask & parts[i]) != parts[i]) {
            return "part of a VLAN id or priority is set";
        }
    }
    put_tci(c, tci, tci_mask);
    return NULL;
}

/* Puts what sets the bits 'mask_' of 'field' to 'value_'. */
static const char *
put_set(struct rte_codec *c, struct state *state, enum nic_field field,
        const void *value_, const void *mask_)
{
    const struct match *match = state->match;
    size_t len = nic_field_len(field, match->flow.dl_type);
    uint8_t value[NIC_FIELD_MAX_LEN], mask[NIC_FIELD_MAX_LEN];
    const char *why = NULL;

    memcpy(value, value_, len);
    memcpy(mask, mask_, len);
    if (field == NIC_FIELD_VLAN_TCI) {
        return put_set_tci(c, state, value, mask);
    }
    if (field != NIC_FIELD_ETH_SRC && field != NIC_FIELD_ETH_DST
        && !(nic_match_has_type(match) && is_ip_any(&match->flow))) {
        return "a field of IP is set in packets that may not be IP";
    }
    if ((field == NIC_FIELD_TP_SRC || field == NIC_FIELD_TP_DST)
        && !codec_has_proto(match, IPPROTO_TCP)
        && !codec_has_proto(match, IPPROTO_UDP)) {
        return "ports are set of packets that may be neither TCP nor UDP";
    }
    if (field == NIC_FIELD_IPV6_LABEL) {
        return "rte_flow cannot set the IPv6 flow label";
    }
    if (field == NIC_FIELD_IP_TOS) {
        why = put_set_tos(c, state, value[0], mask[0]);
    } else if (!complete_value(state, field, len, value, mask)) {
        why = "part of a field is set, and the rest is not known";
    } else {
        put_whole_field(c, state, field, value, len);
    }
    state->changed |= 1u << field;
    return why;
}

/* Puts what sets the parts 'parts' of the tuple to those of 'rewrite'. */
static const char *
put_set_tuple(struct rte_codec *c, struct state *state, unsigned int parts,
              const struct nic_tuple *rewrite)
{
    struct in6_addr all = in6addr_exact;
    const char *why = NULL;

    if (parts & NIC_TUPLE_SRC) {
        why = put_set(c, state, NIC_FIELD_IP_SRC, &rewrite->src, &all);
        if (!why) {
            why = put_set(c, state, NIC_FIELD_TP_SRC, &rewrite->tp_src, &all);
        }
    }
    if (!why && parts & NIC_TUPLE_DST) {
        why = put_set(c, state, NIC_FIELD_IP_DST, &rewrite->dst, &all);
        if (!why) {
            why = put_set(c, state, NIC_FIELD_TP_DST, &rewrite->tp_dst, &all);
        }
    }
    return why;
}

static const char *
put_push_vlan(struct rte_codec *c, struct state *state,
              const struct nic_action *a)
{
    if (!eth_type_vlan(a->vlan.tpid)) {
        return "a tag is pushed that is not a VLAN tag";
    }
    rte_codec_add(c, RTE_FLOW_ACTION_TYPE_OF_PUSH_VLAN)->push_vlan.ethertype
        = a->vlan.tpid;
    put_tci(c, a->vlan.tci, htons(VLAN_VID_MASK | VLAN_PCP_MASK));
    state->n_tags++;
    return NULL;
}

static const char *
put_pop_vlan(struct rte_codec *c, struct state *state)
{
    if (!state->n_tags) {
        return "a tag is removed that there may be or not";
    }
    rte_codec_add(c, RTE_FLOW_ACTION_TYPE_OF_POP_VLAN);
    c->actions[c->n_actions - 1].conf = NULL;
    state->n_tags--;
    return NULL;
}

const char *
rte_codec_put_actions(struct rte_codec *c, const struct nic_template *t,
                      const struct nic_values *values,
                      const struct match *match,
                      const struct rte_codec_place *place)
{
    struct state state = {
        .match = match,
        .style = place->style,
        .n_tags = codec_count_tags(match),
    };
    const char *why = NULL;

    for (size_t i = 0; !why && i < t->n_actions; i++) {
        const struct nic_action *a = &t->actions[i];

        switch (a->type) {
        case NIC_ACTION_OUTPUT:
        case NIC_ACTION_EGRESS:
            if (i != t->n_actions - 1) {
                why = "a packet cannot be sent more than once";
            } else if (a->type == NIC_ACTION_OUTPUT) {
                rte_codec_put_output(c, place->out_ethdev);
            } else {
                rte_codec_put_jump(c, place->out_group);
            }
            break;
        case NIC_ACTION_DROP:
            rte_codec_put_drop(c);
            break;
        case NIC_ACTION_SET:
            why = put_set(c, &state, a->set.field, a->set.value, a->set.mask);
            break;
        case NIC_ACTION_SET_TUPLE:
            why = put_set_tuple(c, &state, a->parts, &values->rewrite);
            break;
        case NIC_ACTION_PUSH_VLAN:
            why = put_push_vlan(c, &state, a);
            break;
        case NIC_ACTION_POP_VLAN:
            why = put_pop_vlan(c, &state);
            break;
        case NIC_ACTION_CT:
        case NIC_ACTION_CT_CLEAR:
            why = "connection tracking stays with the software";
            break;
        case NIC_ACTION_JUMP:
        case NIC_ACTION_DEC_TTL:
        case NIC_ACTION_WINDOW:
            why = "has an action that only the emulated NIC has";
            break;
        default:
            OVS_NOT_REACHED();
        }
    }
    return why;
}
