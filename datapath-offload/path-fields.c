/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>
#include "path-private.h"

#include "util.h"

const struct flow *
path_tuple_fields(void)
{
    static struct ovsthread_once once = OVSTHREAD_ONCE_INITIALIZER;
    static struct flow_wildcards wc;

    if (ovsthread_once_start(&once)) {
        memset(&wc, 0, sizeof wc);
        WC_MASK_FIELD(&wc, nw_src);
        WC_MASK_FIELD(&wc, nw_dst);
        WC_MASK_FIELD(&wc, ipv6_src);
        WC_MASK_FIELD(&wc, ipv6_dst);
        WC_MASK_FIELD(&wc, tp_src);
        WC_MASK_FIELD(&wc, tp_dst);
        ovsthread_once_done(&once);
    }
    return &wc.masks;
}

const struct flow *
path_wire_fields(void)
{
    static struct ovsthread_once once = OVSTHREAD_ONCE_INITIALIZER;
    static struct flow_wildcards wc;

    if (ovsthread_once_start(&once)) {
        memset(&wc, 0, sizeof wc);
        wc.masks = *path_tuple_fields();
        WC_MASK_FIELD(&wc, dl_dst);
        WC_MASK_FIELD(&wc, dl_src);
        WC_MASK_FIELD(&wc, dl_type);
        WC_MASK_FIELD(&wc, vlans);
        WC_MASK_FIELD(&wc, ipv6_label);
        WC_MASK_FIELD(&wc, nw_frag);
        WC_MASK_FIELD(&wc, nw_tos);
        WC_MASK_FIELD(&wc, nw_ttl);
        WC_MASK_FIELD(&wc, nw_proto);
        WC_MASK_FIELD(&wc, tcp_flags);
        ovsthread_once_done(&once);
    }
    return &wc.masks;
}

const struct flow *
path_ct_fields(void)
{
    static struct ovsthread_once once = OVSTHREAD_ONCE_INITIALIZER;
    static struct flow_wildcards wc;

    if (ovsthread_once_start(&once)) {
        memset(&wc, 0, sizeof wc);
        WC_MASK_FIELD(&wc, ct_state);
        WC_MASK_FIELD(&wc, ct_zone);
        WC_MASK_FIELD(&wc, ct_mark);
        WC_MASK_FIELD(&wc, ct_label);
        WC_MASK_FIELD(&wc, ct_nw_proto);
        WC_MASK_FIELD(&wc, ct_nw_src);
        WC_MASK_FIELD(&wc, ct_nw_dst);
        WC_MASK_FIELD(&wc, ct_ipv6_src);
        WC_MASK_FIELD(&wc, ct_ipv6_dst);
        WC_MASK_FIELD(&wc, ct_tp_src);
        WC_MASK_FIELD(&wc, ct_tp_dst);
        ovsthread_once_done(&once);
    }
    return &wc.masks;
}

const struct flow *
path_pipeline_fields(void)
{
    static struct ovsthread_once once = OVSTHREAD_ONCE_INITIALIZER;
    static struct flow_wildcards wc;

    if (ovsthread_once_start(&once)) {
        memset(&wc, 0, sizeof wc);
        wc.masks = *path_ct_fields();
        WC_MASK_FIELD(&wc, in_port);
        WC_MASK_FIELD(&wc, recirc_id);
        WC_MASK_FIELD(&wc, skb_priority);
        WC_MASK_FIELD(&wc, pkt_mark);
        WC_MASK_FIELD(&wc, packet_type);
        ovsthread_once_done(&once);
    }
    return &wc.masks;
}

enum offload_reason
path_check_fields(const struct megaflow *flow)
{
    const struct flow *wire = path_wire_fields();
    const struct flow *pipeline = path_pipeline_fields();
    size_t idx;

    FLOWMAP_FOR_EACH_INDEX (idx, flow->match->mask->masks.map) {
        if (miniflow_get(&flow->match->mask->masks, idx)
            & ~(flow_u64_value(wire, idx) | flow_u64_value(pipeline, idx))) {
            return REASON_MATCH;
        }
    }
    return REASON_NONE;
}

uint8_t *
path_field(struct flow *flow, enum nic_field field, ovs_be16 dl_type,
           size_t *len)
{
    bool ipv4 = dl_type == htons(ETH_TYPE_IP);

    switch (field) {
#define FIELD(MEMBER)                                                   \
        *len = sizeof flow->MEMBER;                                     \
        return (uint8_t *) &flow->MEMBER
    case NIC_FIELD_ETH_SRC:
        FIELD(dl_src);
    case NIC_FIELD_ETH_DST:
        FIELD(dl_dst);
    case NIC_FIELD_IP_SRC:
        if (ipv4) {
            FIELD(nw_src);
        }
        FIELD(ipv6_src);
    case NIC_FIELD_IP_DST:
        if (ipv4) {
            FIELD(nw_dst);
        }
        FIELD(ipv6_dst);
    case NIC_FIELD_IP_TOS:
        FIELD(nw_tos);
    case NIC_FIELD_IP_TTL:
        FIELD(nw_ttl);
    case NIC_FIELD_IPV6_LABEL:
        FIELD(ipv6_label);
    case NIC_FIELD_TP_SRC:
        FIELD(tp_src);
    case NIC_FIELD_TP_DST:
        FIELD(tp_dst);
#undef FIELD
    case NIC_FIELD_VLAN_TCI:
    default:
        OVS_NOT_REACHED();
    }
}

unsigned int
path_field_part(enum nic_field field)
{
    switch (field) {
    case NIC_FIELD_IP_SRC:
    case NIC_FIELD_TP_SRC:
        return NIC_TUPLE_SRC;

    case NIC_FIELD_IP_DST:
    case NIC_FIELD_TP_DST:
        return NIC_TUPLE_DST;

    case NIC_FIELD_ETH_SRC:
    case NIC_FIELD_ETH_DST:
    case NIC_FIELD_VLAN_TCI:
    case NIC_FIELD_IP_TOS:
    case NIC_FIELD_IP_TTL:
    case NIC_FIELD_IPV6_LABEL:
    default:
        return 0;
    }
}

bool
path_tags_find(const struct path_tags *tags, size_t pos, size_t *idx,
               union flow_vlan_hdr *pushed)
{
    if (pos < tags->n_pushed) {
        *pushed = tags->pushed[tags->n_pushed - 1 - pos];
        return false;
    }
    *idx = pos - tags->n_pushed + tags->n_popped;
    return true;
}

bool
path_tags_push(struct path_tags *tags, ovs_be16 tpid, ovs_be16 tci)
{
    union flow_vlan_hdr *tag;

    if (tags->n_pushed == ARRAY_SIZE(tags->pushed)) {
        return false;
    }
    tag = &tags->pushed[tags->n_pushed++];
    tag->tpid = tpid;
    tag->tci = tci | htons(VLAN_CFI);
    return true;
}

void
path_tags_pop(struct path_tags *tags)
{
    if (tags->n_pushed) {
        tags->n_pushed--;
    } else {
        tags->n_popped++;
    }
}
