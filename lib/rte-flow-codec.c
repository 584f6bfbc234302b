/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>

/* For handles of indirect actions. */
#define ALLOW_EXPERIMENTAL_API 1

#include "rte-flow-codec-private.h"

#include <netinet/in.h>
#include <string.h>

#include "flow.h"
#include "nic-match.h"
#include "packets.h"
#include "util.h"

/* Pieces. */

void
rte_codec_begin(struct rte_codec *c)
{
    c->n_items = 0;
    c->n_actions = 0;
}

/* Appends an item of 'type'.  Its spec and mask are zeros. */
static size_t
put_item(struct rte_codec *c, enum rte_flow_item_type type)
{
    size_t i = c->n_items++;

    ovs_assert(i < RTE_CODEC_MAX_ITEMS);
    memset(&c->specs[i], 0, sizeof c->specs[i]);
    memset(&c->masks[i], 0, sizeof c->masks[i]);
    c->items[i] = (struct rte_flow_item) {
        .type = type,
        .spec = &c->specs[i],
        .mask = &c->masks[i],
    };
    return i;
}

/* Appends an action of 'type'.  Returns its configuration, zeros. */
union rte_codec_conf *
rte_codec_add(struct rte_codec *c, enum rte_flow_action_type type)
{
    size_t i = c->n_actions++;

    ovs_assert(i < RTE_CODEC_MAX_ACTIONS);
    memset(&c->confs[i], 0, sizeof c->confs[i]);
    c->actions[i] = (struct rte_flow_action) {
        .type = type,
        .conf = &c->confs[i],
    };
    return &c->confs[i];
}

void
rte_codec_put_port(struct rte_codec *c, uint16_t ethdev)
{
    size_t i = put_item(c, RTE_FLOW_ITEM_TYPE_REPRESENTED_PORT);

    c->specs[i].ethdev.port_id = ethdev;
    c->masks[i].ethdev.port_id = UINT16_MAX;
}

/* Without an item for ports some drivers take a rule for one about the port
 * that it is made through, in all groups. */
void
rte_codec_put_any_port(struct rte_codec *c)
{
    size_t i = put_item(c, RTE_FLOW_ITEM_TYPE_REPRESENTED_PORT);

    c->items[i].spec = NULL;
    c->items[i].mask = NULL;
}

void
rte_codec_put_any_frame(struct rte_codec *c)
{
    size_t i = put_item(c, RTE_FLOW_ITEM_TYPE_ETH);

    c->items[i].spec = NULL;
    c->items[i].mask = NULL;
}

void
rte_codec_put_count(struct rte_codec *c, struct rte_flow_action_handle *handle)
{
    if (handle) {
        rte_codec_add(c, RTE_FLOW_ACTION_TYPE_INDIRECT);
        c->actions[c->n_actions - 1].conf = handle;
    } else {
        rte_codec_add(c, RTE_FLOW_ACTION_TYPE_COUNT);
    }
}

void
rte_codec_put_output(struct rte_codec *c, uint16_t ethdev)
{
    rte_codec_add(c, RTE_FLOW_ACTION_TYPE_REPRESENTED_PORT)->ethdev.port_id
        = ethdev;
}

void
rte_codec_put_jump(struct rte_codec *c, uint32_t group)
{
    rte_codec_add(c, RTE_FLOW_ACTION_TYPE_JUMP)->jump.group = group;
}

void
rte_codec_put_drop(struct rte_codec *c)
{
    rte_codec_add(c, RTE_FLOW_ACTION_TYPE_DROP);
    c->actions[c->n_actions - 1].conf = NULL;
}

void
rte_codec_end(struct rte_codec *c)
{
    size_t i = put_item(c, RTE_FLOW_ITEM_TYPE_END);

    c->items[i].spec = NULL;
    c->items[i].mask = NULL;
    rte_codec_add(c, RTE_FLOW_ACTION_TYPE_END);
    c->actions[c->n_actions - 1].conf = NULL;
}

/* Match. */

/* Says what of 'rest', masks that no item takes, rte_flow does not have. */
static const char *
describe_rest(const struct flow *rest)
{
    static const struct flow no_masks;
    const char *why;

    if (flow_equal(rest, &no_masks)) {
        return NULL;
    } else if (rest->nw_frag) {
        return "fragments are matched";
    }
    why = nic_match_describe_rest(rest);
    return why ? why : "rte_flow lacks a field that is matched";
}

/* Sets the Ethernet type that follows item 'i', which is Ethernet or a tag. */
static void
set_next_type(struct rte_codec *c, size_t i, ovs_be16 type)
{
    if (c->items[i].type == RTE_FLOW_ITEM_TYPE_ETH) {
        c->specs[i].eth.hdr.ether_type = type;
        c->masks[i].eth.hdr.ether_type = OVS_BE16_MAX;
    } else {
        c->specs[i].vlan.hdr.eth_proto = type;
        c->masks[i].vlan.hdr.eth_proto = OVS_BE16_MAX;
    }
}

/* Puts Ethernet and tags, and takes them out of 'rest'. */
static const char *
put_eth(struct rte_codec *c, const struct match *match, struct flow *rest)
{
    const struct flow *masks = &match->wc.masks;
    const struct flow *flow = &match->flow;
    size_t item = put_item(c, RTE_FLOW_ITEM_TYPE_ETH);
    size_t n = codec_count_tags(match);

    memcpy(&c->specs[item].eth.hdr.dst_addr, &flow->dl_dst, ETH_ADDR_LEN);
    memcpy(&c->masks[item].eth.hdr.dst_addr, &masks->dl_dst, ETH_ADDR_LEN);
    memcpy(&c->specs[item].eth.hdr.src_addr, &flow->dl_src, ETH_ADDR_LEN);
    memcpy(&c->masks[item].eth.hdr.src_addr, &masks->dl_src, ETH_ADDR_LEN);
    rest->dl_dst = rest->dl_src = eth_addr_zero;

    for (size_t i = 0; i < n; i++) {
        if (masks->vlans[i].tpid != OVS_BE16_MAX
            || !eth_type_vlan(flow->vlans[i].tpid)) {
            return "what type a VLAN tag is of is left open";
        }
        set_next_type(c, item, flow->vlans[i].tpid);
        item = put_item(c, RTE_FLOW_ITEM_TYPE_VLAN);
        c->specs[item].vlan.hdr.vlan_tci = flow->vlans[i].tci & ~TCI_CFI;
        c->masks[item].vlan.hdr.vlan_tci = masks->vlans[i].tci & ~TCI_CFI;
        rest->vlans[i].qtag = 0;
    }
    if (nic_match_has_type(match)) {
        if (ntohs(flow->dl_type) < ETH_TYPE_MIN
            || eth_type_vlan(flow->dl_type)) {
            return "frames of this Ethernet type cannot be matched";
        }
        if (n < FLOW_MAX_VLAN_HEADERS) {
            if (rest->vlans[n].qtag != OVS_BE32_MAX || flow->vlans[n].qtag) {
                return "how many VLAN tags there are is left open";
            }
            rest->vlans[n].qtag = 0;
        }
        set_next_type(c, item, flow->dl_type);
        rest->dl_type = 0;
    } else if (rest->dl_type) {
        return "part of an Ethernet type is matched";
    } else if (n < FLOW_MAX_VLAN_HEADERS
               && rest->vlans[n].qtag == OVS_BE32_MAX
               && !flow->vlans[n].qtag) {
        if (n) {
            c->masks[item].vlan.has_more_vlan = 1;
        } else {
            c->masks[item].eth.has_vlan = 1;
        }
        rest->vlans[n].qtag = 0;
    }
    for (size_t i = 0; i < FLOW_MAX_VLAN_HEADERS; i++) {
        if (rest->vlans[i].qtag) {
            return "VLAN tags are matched that there may be or not";
        }
    }
    return NULL;
}

/* Takes nw_frag out of 'rest' if it says that there are no fragments.  Returns
 * true if it does. */
static bool
take_no_fragment(const struct match *match, struct flow *rest)
{
    uint8_t mask = match->wc.masks.nw_frag & FLOW_NW_FRAG_MASK;

    if (mask & FLOW_NW_FRAG_ANY
        && !(match->flow.nw_frag & mask)) {
        rest->nw_frag = 0;
        return true;
    }
    return false;
}

static void
put_ipv4(struct rte_codec *c, const struct match *match, struct flow *rest)
{
    size_t i = put_item(c, RTE_FLOW_ITEM_TYPE_IPV4);
    struct rte_ipv4_hdr *spec = &c->specs[i].ipv4.hdr;
    struct rte_ipv4_hdr *mask = &c->masks[i].ipv4.hdr;
    const struct flow *masks = &match->wc.masks;
    const struct flow *flow = &match->flow;

    spec->src_addr = flow->nw_src;
    mask->src_addr = masks->nw_src;
    spec->dst_addr = flow->nw_dst;
    mask->dst_addr = masks->nw_dst;
    spec->type_of_service = flow->nw_tos;
    mask->type_of_service = masks->nw_tos;
    spec->time_to_live = flow->nw_ttl;
    mask->time_to_live = masks->nw_ttl;
    spec->next_proto_id = flow->nw_proto;
    mask->next_proto_id = masks->nw_proto;
    if (take_no_fragment(match, rest)) {
        mask->fragment_offset = htons(IP_MORE_FRAGMENTS | IP_FRAG_OFF_MASK);
    }
    rest->nw_src = rest->nw_dst = 0;
    rest->nw_tos = rest->nw_ttl = rest->nw_proto = 0;
}

static void
put_ipv6(struct rte_codec *c, const struct match *match, struct flow *rest)
{
    size_t i = put_item(c, RTE_FLOW_ITEM_TYPE_IPV6);
    struct rte_ipv6_hdr *spec = &c->specs[i].ipv6.hdr;
    struct rte_ipv6_hdr *mask = &c->masks[i].ipv6.hdr;
    const struct flow *masks = &match->wc.masks;
    const struct flow *flow = &match->flow;
    ovs_be32 label_mask = htonl(IPV6_LABEL_MASK);

    memcpy(spec->src_addr, &flow->ipv6_src, sizeof spec->src_addr);
    memcpy(mask->src_addr, &masks->ipv6_src, sizeof mask->src_addr);
    memcpy(spec->dst_addr, &flow->ipv6_dst, sizeof spec->dst_addr);
    memcpy(mask->dst_addr, &masks->ipv6_dst, sizeof mask->dst_addr);
    spec->vtc_flow = (htonl((uint32_t) flow->nw_tos << 20)
                      | (flow->ipv6_label & label_mask));
    mask->vtc_flow = (htonl((uint32_t) masks->nw_tos << 20)
                      | (masks->ipv6_label & label_mask));
    spec->hop_limits = flow->nw_ttl;
    mask->hop_limits = masks->nw_ttl;
    spec->proto = flow->nw_proto;
    mask->proto = masks->nw_proto;
    if (take_no_fragment(match, rest)) {
        c->masks[i].ipv6.has_frag_ext = 1;
    }
    rest->ipv6_src = rest->ipv6_dst = in6addr_any;
    if (!(flow->ipv6_label & ~label_mask)) {
        /* There are no more bits. */
        rest->ipv6_label = 0;
    }
    rest->nw_tos = rest->nw_ttl = rest->nw_proto = 0;
}

/* Puts TCP, UDP or SCTP if something of it is matched. */
static void
put_transport(struct rte_codec *c, const struct match *match,
              struct flow *rest)
{
    const struct flow *masks = &match->wc.masks;
    const struct flow *flow = &match->flow;
    size_t i;

    if (codec_has_proto(match, IPPROTO_TCP)
        && (masks->tp_src || masks->tp_dst || masks->tcp_flags)) {
        struct rte_tcp_hdr *spec, *mask;

        i = put_item(c, RTE_FLOW_ITEM_TYPE_TCP);
        spec = &c->specs[i].tcp.hdr;
        mask = &c->masks[i].tcp.hdr;
        spec->src_port = flow->tp_src;
        mask->src_port = masks->tp_src;
        spec->dst_port = flow->tp_dst;
        mask->dst_port = masks->tp_dst;

        /* The upper four flags share a byte with the data offset. */
        spec->tcp_flags = ntohs(flow->tcp_flags) & 0xff;
        mask->tcp_flags = ntohs(masks->tcp_flags) & 0xff;
        spec->data_off = (ntohs(flow->tcp_flags) >> 8) & 0xf;
        mask->data_off = (ntohs(masks->tcp_flags) >> 8) & 0xf;
        rest->tp_src = rest->tp_dst = 0;
        rest->tcp_flags &= htons(0xf000);
    } else if (codec_has_proto(match, IPPROTO_UDP)
               && (masks->tp_src || masks->tp_dst)) {
        i = put_item(c, RTE_FLOW_ITEM_TYPE_UDP);
        c->specs[i].udp.hdr.src_port = flow->tp_src;
        c->masks[i].udp.hdr.src_port = masks->tp_src;
        c->specs[i].udp.hdr.dst_port = flow->tp_dst;
        c->masks[i].udp.hdr.dst_port = masks->tp_dst;
        rest->tp_src = rest->tp_dst = 0;
    } else if (codec_has_proto(match, IPPROTO_SCTP)
               && (masks->tp_src || masks->tp_dst)) {
        i = put_item(c, RTE_FLOW_ITEM_TYPE_SCTP);
        c->specs[i].sctp.hdr.src_port = flow->tp_src;
        c->masks[i].sctp.hdr.src_port = masks->tp_src;
        c->specs[i].sctp.hdr.dst_port = flow->tp_dst;
        c->masks[i].sctp.hdr.dst_port = masks->tp_dst;
        rest->tp_src = rest->tp_dst = 0;
    }
}

/* Puts 'match'. */
static const char *
put_match(struct rte_codec *c, const struct match *match)
{
    struct flow rest = match->wc.masks;
    const char *why;

    if (match->flow.packet_type == htonl(PT_ETH)) {
        rest.packet_type = 0;
    }
    why = put_eth(c, match, &rest);
    if (why) {
        return why;
    }
    if (nic_match_has_type(match)
        && match->flow.dl_type == htons(ETH_TYPE_IP)) {
        put_ipv4(c, match, &rest);
    } else if (nic_match_has_type(match)
               && match->flow.dl_type == htons(ETH_TYPE_IPV6)) {
        put_ipv6(c, match, &rest);
    }
    put_transport(c, match, &rest);
    return describe_rest(&rest);
}

const char *
rte_codec_encode(struct rte_codec *c, const struct nic_template *t,
                 const struct nic_values *values,
                 const struct rte_codec_place *place)
{
    static const struct nic_values no_values;
    struct match match;
    const char *why;

    if (t->table != NIC_TABLE_ROOT) {
        return "the NIC has one table";
    } else if (t->priority || t->in_port == NIC_PORT_ANY) {
        return "has a priority or no port of its own";
    }
    values = values ? values : &no_values;
    nic_rule_to_match(t, values, &match);
    nic_match_narrow(&match, nic_template_changes_ip(t));

    rte_codec_begin(c);
    rte_codec_put_port(c, place->in_ethdev);
    why = put_match(c, &match);
    if (!why) {
        rte_codec_put_count(c, place->counter);
        why = rte_codec_put_actions(c, t, values, &match, place);
    }
    if (!why) {
        rte_codec_end(c);
    }
    return why;
}

const char *
rte_codec_check(const struct nic_template *t, enum rte_codec_style style)
{
    struct rte_codec_place place = { .style = style };
    struct rte_codec c;

    return rte_codec_encode(&c, t, NULL, &place);
}
