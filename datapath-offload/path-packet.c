/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>
#include "path-packet.h"

#include <string.h>

#include "packets.h"
#include "path-private.h"
#include "util.h"

/* State of an established connection after ct(). */
#define EST_STATE (CS_TRACKED | CS_ESTABLISHED)

void
path_set_tuple(struct flow *flow, ovs_be16 dl_type,
               const struct nic_tuple *tuple, unsigned int parts)
{
    if (parts & NIC_TUPLE_SRC) {
        if (dl_type == htons(ETH_TYPE_IP)) {
            flow->nw_src = tuple->src.ipv4;
        } else {
            flow->ipv6_src = tuple->src.ipv6;
        }
        flow->tp_src = tuple->tp_src;
    }
    if (parts & NIC_TUPLE_DST) {
        if (dl_type == htons(ETH_TYPE_IP)) {
            flow->nw_dst = tuple->dst.ipv4;
        } else {
            flow->ipv6_dst = tuple->dst.ipv6;
        }
        flow->tp_dst = tuple->tp_dst;
    }
}

void
path_get_tuple(const struct flow *flow, ovs_be16 dl_type,
               struct nic_tuple *tuple)
{
    memset(tuple, 0, sizeof *tuple);
    if (dl_type == htons(ETH_TYPE_IP)) {
        tuple->src.ipv4 = flow->nw_src;
        tuple->dst.ipv4 = flow->nw_dst;
    } else {
        tuple->src.ipv6 = flow->ipv6_src;
        tuple->dst.ipv6 = flow->ipv6_dst;
    }
    tuple->tp_src = flow->tp_src;
    tuple->tp_dst = flow->tp_dst;
}

/* Makes 'fields' known. */
static void
know(struct flow *known, const struct flow *fields)
{
    for (size_t i = 0; i < FLOW_U64S; i++) {
        ((uint64_t *) known)[i] |= flow_u64_value(fields, i);
    }
}

void
path_probe_init_metadata(struct flow_probe *probe,
                         const struct path_subject *subject)
{
    struct flow *flow = &probe->flow;
    struct flow *known = &probe->known;

    memset(probe, 0, sizeof *probe);

    /* dp_hash is left unknown: a megaflow that matches it is refused. */
    flow->in_port.odp_port = subject->ingress->in_port;
    memset(&known->in_port, 0xff, sizeof known->in_port);
    known->recirc_id = UINT32_MAX;
    known->skb_priority = UINT32_MAX;
    known->pkt_mark = UINT32_MAX;
    known->packet_type = OVS_BE32_MAX;
    memset(&known->tunnel, 0xff, sizeof known->tunnel);
    know(known, path_ct_fields());

    flow->dl_type = subject->dl_type;
    known->dl_type = OVS_BE16_MAX;
    flow->nw_proto = subject->nw_proto;
    known->nw_proto = UINT8_MAX;
    known->nw_frag = UINT8_MAX;
    if (subject->nw_proto == IPPROTO_TCP) {
        flow->tcp_flags = htons(PATH_TCP_FLAGS);
        known->tcp_flags = htons(PATH_TCP_FLAGS_MASK);
    } else {
        known->tcp_flags = OVS_BE16_MAX;
    }
}

void
path_probe_init(struct flow_probe *probe, const struct path_subject *subject)
{
    struct flow *flow = &probe->flow;
    struct flow *known = &probe->known;

    path_probe_init_metadata(probe, subject);
    flow->dl_src = subject->ingress->dl_src;
    flow->dl_dst = subject->ingress->dl_dst;
    memset(&known->dl_src, 0xff, sizeof known->dl_src);
    memset(&known->dl_dst, 0xff, sizeof known->dl_dst);

    /* A tag more than OVS looks at would have hidden the IP header. */
    flow->vlans[0] = subject->ingress->vlan;
    known->vlans[0].qtag = OVS_BE32_MAX;
    if (!flow->vlans[0].qtag || flow_vlan_limit < 2) {
        known->vlans[1].qtag = OVS_BE32_MAX;
    }

    path_set_tuple(flow, subject->dl_type, subject->tuple,
                   NIC_TUPLE_SRC | NIC_TUPLE_DST);
    /* Addresses of the other family are known to be zero. */
    know(known, path_tuple_fields());
}

void
path_packet_update_tags(struct path_packet *packet)
{
    for (size_t pos = 0; pos < FLOW_MAX_VLAN_HEADERS; pos++) {
        union flow_vlan_hdr *value = &packet->now.flow.vlans[pos];
        union flow_vlan_hdr *known = &packet->now.known.vlans[pos];
        size_t idx;

        if (!path_tags_find(&packet->tags, pos, &idx, value)) {
            known->qtag = OVS_BE32_MAX;
        } else if (idx < FLOW_MAX_VLAN_HEADERS) {
            *value = packet->tag[idx];
            *known = packet->tag_known[idx];
        } else {
            value->qtag = 0;
            known->qtag = OVS_BE32_MAX;
        }
    }
}

void
path_packet_learn_tags(struct path_packet *packet)
{
    for (size_t pos = 0; pos < FLOW_MAX_VLAN_HEADERS; pos++) {
        union flow_vlan_hdr pushed;
        size_t idx;

        if (path_tags_find(&packet->tags, pos, &idx, &pushed)
            && idx < FLOW_MAX_VLAN_HEADERS) {
            packet->tag[idx] = packet->now.flow.vlans[pos];
            packet->tag_known[idx] = packet->now.known.vlans[pos];
        }
    }
}

void
path_packet_narrow(struct path_packet *packet, const struct megaflow *flow)
{
    flow_probe_narrow(&packet->now, flow);
    path_packet_learn_tags(packet);
}

void
path_packet_clear_ct(struct path_packet *packet)
{
    for (size_t i = 0; i < FLOW_U64S; i++) {
        ((uint64_t *) &packet->now.flow)[i]
            &= ~flow_u64_value(path_ct_fields(), i);
    }
}

void
path_packet_set_ct(struct path_packet *packet,
                   const struct path_subject *subject)
{
    const struct path_conn *conn = &packet->conn;
    struct flow *flow = &packet->now.flow;

    path_packet_clear_ct(packet);
    flow->ct_state = EST_STATE | (conn->reply ? CS_REPLY_DIR : 0);
    if (packet->natted) {
        flow->ct_state |= conn->nat_state;
    }
    flow->ct_zone = packet->zone;
    flow->ct_mark = conn->mark;
    flow->ct_label = conn->label;
    flow->ct_nw_proto = subject->nw_proto;
    if (subject->dl_type == htons(ETH_TYPE_IP)) {
        flow->ct_nw_src = conn->orig.src.ipv4;
        flow->ct_nw_dst = conn->orig.dst.ipv4;
    } else {
        flow->ct_ipv6_src = conn->orig.src.ipv6;
        flow->ct_ipv6_dst = conn->orig.dst.ipv6;
    }
    flow->ct_tp_src = conn->orig.tp_src;
    flow->ct_tp_dst = conn->orig.tp_dst;
}

void
path_packet_init(struct path_packet *packet, const struct flow_probe *probe)
{
    memset(packet, 0, sizeof *packet);
    packet->now = *probe;
    path_packet_learn_tags(packet);
}
