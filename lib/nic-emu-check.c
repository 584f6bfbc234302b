/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>
#include "nic-emu-check.h"

#include <netinet/in.h>

#include "flow.h"
#include "nic-emu-edit.h"
#include "nic.h"
#include "packets.h"
#include "util.h"

static const struct nic_caps all_caps = {
    .ct_module = true,
    .ipv6 = true,
    .nat = true,
    .vlan = true,
    .ttl = true,
    .multi_output = true,
    .label_bits = 128,
};

static const char no_module[] = "the NIC has no connection-tracking module";
static const char no_ipv6[] = "the NIC cannot match IPv6";
static const char no_nat[] = "the NIC cannot set addresses and ports";
static const char no_vlan[] = "the NIC cannot change VLAN tags";
static const char no_label[] = "the NIC does not have these bits of ct_label";

/* Returns true if 'flow' is zero everywhere. */
static bool
flow_is_zero(const struct flow *flow)
{
    for (size_t i = 0; i < FLOW_U64S; i++) {
        if (flow_u64_value(flow, i)) {
            return false;
        }
    }
    return true;
}

/* Returns true if 'label' has only the lower 'n' bits. */
static bool
label_fits(ovs_u128 label, unsigned int n)
{
    return ((n >= 64 || !(n ? label.u64.lo >> n : label.u64.lo))
            && (n >= 128
                || !(n > 64 ? label.u64.hi >> (n - 64) : label.u64.hi)));
}

static bool
matches_ct(const struct flow *masks)
{
    return (masks->ct_state || masks->ct_zone || masks->ct_mark
            || !ovs_u128_is_zero(masks->ct_label)
            || masks->ct_nw_proto || masks->ct_nw_src || masks->ct_nw_dst
            || ipv6_addr_is_set(&masks->ct_ipv6_src)
            || ipv6_addr_is_set(&masks->ct_ipv6_dst)
            || masks->ct_tp_src || masks->ct_tp_dst);
}

static const char *
check_match(const struct match *match, const struct nic_caps *caps)
{
    const struct flow *masks = &match->wc.masks;
    struct flow rest = *masks;

    if (matches_ct(masks) && !caps->ct_module) {
        return no_module;
    }
    if (!label_fits(masks->ct_label, caps->label_bits)) {
        return no_label;
    }
    if (match->flow.dl_type == htons(ETH_TYPE_IPV6)
        && masks->dl_type == OVS_BE16_MAX && !caps->ipv6) {
        return no_ipv6;
    }

    /* What is left after everything that packets have, or that the NIC knows
     * itself, must be empty. */
    rest.ct_state = 0;
    rest.ct_zone = 0;
    rest.ct_mark = 0;
    rest.ct_label = OVS_U128_ZERO;
    rest.ct_nw_proto = 0;
    rest.packet_type = 0;
    memset(&rest.dl_dst, 0, (sizeof rest - offsetof(struct flow, dl_dst)));
    return flow_is_zero(&rest) ? NULL : "cannot match metadata";
}

/* Returns the number of VLAN tags that packets of 'match' certainly have. */
static int
matched_tags(const struct match *match)
{
    int n = 0;

    while (n < FLOW_MAX_VLAN_HEADERS
           && (match->wc.masks.vlans[n].tci & match->flow.vlans[n].tci
               & htons(VLAN_CFI))) {
        n++;
    }
    return n;
}

static bool
has_ports(const struct match *match)
{
    return (match->wc.masks.nw_proto == UINT8_MAX
            && (match->flow.nw_proto == IPPROTO_TCP
                || match->flow.nw_proto == IPPROTO_UDP));
}

static const char *
check_set(enum nic_field field, const struct match *match, int n_tags,
          const struct nic_caps *caps)
{
    if (nic_emu_edit_is_tuple(field) && !caps->nat) {
        return no_nat;
    }
    if (nic_emu_edit_is_ip(field)
        && (match->wc.masks.dl_type != OVS_BE16_MAX
            || !is_ip_any(&match->flow))) {
        return "sets a field of IP in packets that may not be IP";
    }

    switch (field) {
    case NIC_FIELD_ETH_SRC:
    case NIC_FIELD_ETH_DST:
    case NIC_FIELD_IP_SRC:
    case NIC_FIELD_IP_DST:
    case NIC_FIELD_IP_TOS:
        return NULL;
    case NIC_FIELD_VLAN_TCI:
        return (!caps->vlan ? no_vlan
                : !n_tags ? "sets the tag of packets that may have none"
                : NULL);
    case NIC_FIELD_IP_TTL:
        return caps->ttl ? NULL : "the NIC cannot set TTL and hop limit";
    case NIC_FIELD_IPV6_LABEL:
        return (match->flow.dl_type == htons(ETH_TYPE_IPV6) ? NULL
                : "sets the flow label of packets that are not IPv6");
    case NIC_FIELD_TP_SRC:
    case NIC_FIELD_TP_DST:
        return (has_ports(match) ? NULL
                : "sets ports of packets that may be neither TCP nor UDP");
    default:
        OVS_NOT_REACHED();
    }
}

static const char *
check_ct(const struct nic_action *a, const struct nic_caps *caps)
{
    return (!caps->ct_module ? no_module
            : a->ct.nat && !caps->nat ? no_nat
            : !label_fits(a->ct.label_mask, caps->label_bits) ? no_label
            : NULL);
}

const char *
nic_emu_check_template(const struct nic_template *template,
                       const struct nic_caps *caps)
{
    const struct match *match = &template->match;
    int n_tags = matched_tags(match);
    const char *reason;
    int n_outputs = 0;

    caps = caps ? caps : &all_caps;
    reason = check_match(match, caps);
    for (size_t i = 0; !reason && i < template->n_actions; i++) {
        const struct nic_action *a = &template->actions[i];

        switch (a->type) {
        case NIC_ACTION_OUTPUT:
        case NIC_ACTION_EGRESS:
            if (n_outputs++ && !caps->multi_output) {
                reason = "the NIC cannot send a packet more than once";
            }
            break;
        case NIC_ACTION_DROP:
            break;
        case NIC_ACTION_CT:
            reason = check_ct(a, caps);
            break;
        case NIC_ACTION_SET:
            reason = check_set(a->set.field, match, n_tags, caps);
            break;
        case NIC_ACTION_SET_TUPLE:
            reason = (!caps->nat ? no_nat
                      : !has_ports(match) ? "cannot set a tuple that is "
                                            "neither TCP nor UDP"
                      : NULL);
            break;
        case NIC_ACTION_PUSH_VLAN:
            n_tags++;
            reason = (!caps->vlan ? no_vlan
                      : !eth_type_vlan(a->vlan.tpid) ? "pushes a tag that is "
                                                       "not a VLAN tag"
                      : NULL);
            break;
        case NIC_ACTION_POP_VLAN:
            reason = (!caps->vlan ? no_vlan
                      : !n_tags ? "pops the tag of packets that may have none"
                      : NULL);
            n_tags--;
            break;
        case NIC_ACTION_CT_CLEAR:
            reason = caps->ct_module ? NULL : no_module;
            break;
        case NIC_ACTION_JUMP:
            break;
        case NIC_ACTION_DEC_TTL:
            reason = check_set(NIC_FIELD_IP_TTL, match, n_tags, caps);
            break;
        case NIC_ACTION_WINDOW:
            reason = (!caps->ct_module ? no_module
                      : match->wc.masks.nw_proto != UINT8_MAX
                      || match->flow.nw_proto != IPPROTO_TCP
                      ? "checks windows of packets that may not be TCP"
                      : NULL);
            break;
        default:
            OVS_NOT_REACHED();
        }
    }
    return reason;
}

/* Returns true if 'a' and 'b' of Ethernet type 'dl_type' are the same. */
static bool
tuple_equals(const struct nic_tuple *a, const struct nic_tuple *b,
             ovs_be16 dl_type)
{
    bool addrs = (dl_type == htons(ETH_TYPE_IP)
                  ? (a->src.ipv4 == b->src.ipv4 && a->dst.ipv4 == b->dst.ipv4)
                  : (ipv6_addr_equals(&a->src.ipv6, &b->src.ipv6)
                     && ipv6_addr_equals(&a->dst.ipv6, &b->dst.ipv6)));

    return addrs && a->tp_src == b->tp_src && a->tp_dst == b->tp_dst;
}

const char *
nic_emu_check_conn(const struct nic_conn *conn, const struct nic_caps *caps)
{
    caps = caps ? caps : &all_caps;
    if (!caps->ct_module) {
        return no_module;
    }
    if (conn->dl_type != htons(ETH_TYPE_IP)
        && conn->dl_type != htons(ETH_TYPE_IPV6)) {
        return "connections must be IPv4 or IPv6";
    }
    if (conn->dl_type == htons(ETH_TYPE_IPV6) && !caps->ipv6) {
        return no_ipv6;
    }
    if (conn->nw_proto != IPPROTO_TCP && conn->nw_proto != IPPROTO_UDP) {
        return "connections must be TCP or UDP";
    }
    if (tuple_equals(&conn->tuple[0], &conn->tuple[1], conn->dl_type)) {
        return "both directions look the same";
    }
    if ((conn->nat_parts[0] | conn->nat_parts[1])
        & ~(NIC_TUPLE_SRC | NIC_TUPLE_DST)) {
        return "translates unknown parts of the tuple";
    }
    if ((conn->nat_state[0] | conn->nat_state[1])
        & ~(CS_SRC_NAT | CS_DST_NAT)) {
        return "translation sets unknown bits of ct_state";
    }
    if ((conn->nat_parts[0] || conn->nat_parts[1]) && !caps->nat) {
        return no_nat;
    }
    if (!label_fits(conn->label, caps->label_bits)) {
        return no_label;
    }
    return NULL;
}
