/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>
#include "net-emu-spec.h"

#include <errno.h>
#include <netinet/in.h>

#include <rte_config.h>
#include <rte_flow.h>

#include "net-emu-ct.h"
#include "net-emu-private.h"
#include "nic-emu-window.h"
#include "openvswitch/match.h"
#include "packets.h"
#include "util.h"

/* Layers of a pattern, in the order in which items must come. */
enum layer {
    LAYER_NONE,                     /* May come anywhere. */
    LAYER_START,
    LAYER_PORT,
    LAYER_ETH,
    LAYER_VLAN,
    LAYER_L3,
    LAYER_L4
};

struct parser {
    struct net_emu *nic;
    struct net_emu_spec *spec;
    struct rte_flow_error *error;
    const struct rte_flow_item *item;
    enum layer layer;               /* Of the last item. */
    int n_vlans;

    /* The EtherType that follows the last Ethernet or VLAN item, if that said
     * so. */
    bool has_type;
    ovs_be16 type;
    uint8_t nw_proto;               /* 0 if not known. */
};

static int
refuse(const struct parser *p, enum rte_flow_error_type type,
       const char *message)
{
    const void *cause = (type == RTE_FLOW_ERROR_TYPE_ITEM_SPEC
                         ? p->item->spec
                         : type == RTE_FLOW_ERROR_TYPE_ITEM_LAST
                         ? p->item->last
                         : type == RTE_FLOW_ERROR_TYPE_ITEM_MASK
                         && p->item->mask ? p->item->mask : p->item);

    return rte_flow_error_set(p->error, ENOTSUP, type, cause, message);
}

/* Stores in 'spec' and 'mask' the 'size' bytes of what the item wants to
 * match, zeros if it only wants the layer to exist.  Refuses bits that are not
 * in 'known'. */
static int
get_item(const struct parser *p, const void *default_mask, const void *known_,
         void *spec_, void *mask_, size_t size)
{
    const uint8_t *known = known_;
    uint8_t *spec = spec_;
    uint8_t *mask = mask_;

    memset(spec, 0, size);
    memset(mask, 0, size);
    if (p->item->last) {
        return refuse(p, RTE_FLOW_ERROR_TYPE_ITEM_LAST,
                      "ranges cannot be matched");
    }
    if (!p->item->spec) {
        return p->item->mask ? refuse(p, RTE_FLOW_ERROR_TYPE_ITEM,
                                      "the item has a mask but no value")
               : 0;
    }
    memcpy(mask, p->item->mask ? p->item->mask : default_mask, size);
    for (size_t i = 0; i < size; i++) {
        if (mask[i] & ~known[i]) {
            return refuse(p, RTE_FLOW_ERROR_TYPE_ITEM_MASK,
                          "the item has a field that cannot be matched");
        }
        spec[i] = ((const uint8_t *) p->item->spec)[i] & mask[i];
    }
    return 0;
}

/* Makes the match one for packets that have a tag at 'place', or that have
 * none. */
static void
match_tag(struct match *match, int place, bool present)
{
    if (place < FLOW_MAX_VLAN_HEADERS) {
        match->wc.masks.vlans[place].tci |= htons(VLAN_CFI);
        if (present) {
            match->flow.vlans[place].tci |= htons(VLAN_CFI);
        }
    }
}

static void
match_tpid(struct match *match, int place, ovs_be16 tpid)
{
    match->flow.vlans[place].tpid = tpid;
    match->wc.masks.vlans[place].tpid = OVS_BE16_MAX;
}

/* The last Ethernet or VLAN item is followed by 'type', if not 0, as the next
 * item says, or the pattern does not go on. */
static int
end_l2(struct parser *p, ovs_be16 type)
{
    struct match *match = &p->spec->match;

    if (p->has_type) {
        if (type && p->type != type) {
            return refuse(p, RTE_FLOW_ERROR_TYPE_ITEM,
                          "the EtherType before is another one");
        }
        if (eth_type_vlan(p->type)) {
            if (p->n_vlans >= FLOW_MAX_VLAN_HEADERS) {
                return refuse(p, RTE_FLOW_ERROR_TYPE_ITEM,
                              "too many VLAN tags");
            }
            match_tag(match, p->n_vlans, true);
            match_tpid(match, p->n_vlans, p->type);
            return 0;
        }
        match_tag(match, p->n_vlans, false);
        type = p->type;
    }
    if (type) {
        match_set_dl_type(match, type);
    }
    p->has_type = false;
    return 0;
}

/* Items. */

static int
parse_port(struct parser *p)
{
    bool old = p->item->type == RTE_FLOW_ITEM_TYPE_PORT_ID;
    struct net_emu_spec *spec = p->spec;
    uint32_t port_id, mask;

    if (p->item->last) {
        return refuse(p, RTE_FLOW_ERROR_TYPE_ITEM_LAST,
                      "ranges cannot be matched");
    }
    spec->has_port_item = true;
    if (!p->item->spec) {
        /* Every port. */
        return (p->item->mask
                || p->item->type != RTE_FLOW_ITEM_TYPE_REPRESENTED_PORT
                ? refuse(p, RTE_FLOW_ERROR_TYPE_ITEM, "the port must be named")
                : 0);
    }
    if (old) {
        const struct rte_flow_item_port_id *m = p->item->mask;

        port_id = ((const struct rte_flow_item_port_id *)
                   p->item->spec)->id;
        mask = (m ? m : &rte_flow_item_port_id_mask)->id;
    } else {
        const struct rte_flow_item_ethdev *m = p->item->mask;

        port_id = ((const struct rte_flow_item_ethdev *)
                   p->item->spec)->port_id;
        mask = (m ? m : &rte_flow_item_ethdev_mask)->port_id;
    }
    if ((mask & UINT16_MAX) != UINT16_MAX) {
        return refuse(p, RTE_FLOW_ERROR_TYPE_ITEM_MASK,
                      "one port must be named");
    }
    spec->in = (port_id < RTE_MAX_ETHPORTS
                ? net_emu_port_by_id(p->nic, port_id) : NULL);
    if (!spec->in) {
        return refuse(p, RTE_FLOW_ERROR_TYPE_ITEM_SPEC,
                      "the port is not one of this NIC");
    }
    spec->from_software
        = p->item->type == RTE_FLOW_ITEM_TYPE_PORT_REPRESENTOR;
    spec->in_port = (spec->from_software ? spec->in->sw_id
                     : spec->in->wire_id);
    return 0;
}

static int
parse_eth(struct parser *p)
{
    const struct rte_flow_item_eth known = {
        .dst.addr_bytes = "\xff\xff\xff\xff\xff\xff",
        .src.addr_bytes = "\xff\xff\xff\xff\xff\xff",
        .type = OVS_BE16_MAX,
        .has_vlan = 1,
    };
    struct match *match = &p->spec->match;
    struct rte_flow_item_eth spec, mask;
    int error = get_item(p, &rte_flow_item_eth_mask, &known, &spec, &mask,
                         sizeof spec);

    if (error) {
        return error;
    }
    if (mask.type && mask.type != OVS_BE16_MAX) {
        return refuse(p, RTE_FLOW_ERROR_TYPE_ITEM_MASK,
                      "an EtherType is matched as a whole");
    }
    memcpy(&match->flow.dl_dst, &spec.dst, sizeof spec.dst);
    memcpy(&match->wc.masks.dl_dst, &mask.dst, sizeof mask.dst);
    memcpy(&match->flow.dl_src, &spec.src, sizeof spec.src);
    memcpy(&match->wc.masks.dl_src, &mask.src, sizeof mask.src);
    if (mask.has_vlan) {
        match_tag(match, 0, spec.has_vlan);
    }
    p->has_type = mask.type != 0;
    p->type = spec.type;
    return 0;
}

static int
parse_vlan(struct parser *p)
{
    const struct rte_flow_item_vlan known = {
        .tci = htons(VLAN_VID_MASK | VLAN_PCP_MASK),
        .inner_type = OVS_BE16_MAX,
        .has_more_vlan = 1,
    };
    struct match *match = &p->spec->match;
    struct rte_flow_item_vlan spec, mask;
    int n = p->n_vlans;
    int error = get_item(p, &rte_flow_item_vlan_mask, &known, &spec, &mask,
                         sizeof spec);

    if (error) {
        return error;
    }
    if (n >= FLOW_MAX_VLAN_HEADERS) {
        return refuse(p, RTE_FLOW_ERROR_TYPE_ITEM, "too many VLAN tags");
    }
    if (mask.inner_type && mask.inner_type != OVS_BE16_MAX) {
        return refuse(p, RTE_FLOW_ERROR_TYPE_ITEM_MASK,
                      "an EtherType is matched as a whole");
    }
    if (p->has_type) {
        if (!eth_type_vlan(p->type)) {
            return refuse(p, RTE_FLOW_ERROR_TYPE_ITEM,
                          "the EtherType before is not that of a VLAN tag");
        }
        match_tpid(match, n, p->type);
    }
    match_tag(match, n, true);
    match->flow.vlans[n].tci |= spec.tci;
    match->wc.masks.vlans[n].tci |= mask.tci;
    if (mask.has_more_vlan) {
        match_tag(match, n + 1, spec.has_more_vlan);
    }
    p->n_vlans++;
    p->has_type = mask.inner_type != 0;
    p->type = spec.inner_type;
    return 0;
}

/* The pattern matches IP protocol 'proto' where 'mask' is 1. */
static void
match_proto(struct parser *p, uint8_t proto, uint8_t mask)
{
    match_set_nw_proto_masked(&p->spec->match, proto, mask);
    p->nw_proto = mask == UINT8_MAX ? proto : 0;
}

static int
parse_ipv4(struct parser *p)
{
    const struct rte_flow_item_ipv4 known = {
        .hdr = {
            .type_of_service = UINT8_MAX,
            .fragment_offset = htons(IP_FRAG_OFF_MASK | IP_MORE_FRAGMENTS),
            .time_to_live = UINT8_MAX,
            .next_proto_id = UINT8_MAX,
            .src_addr = OVS_BE32_MAX,
            .dst_addr = OVS_BE32_MAX,
        },
    };
    struct match *match = &p->spec->match;
    struct rte_flow_item_ipv4 spec, mask;
    int error = get_item(p, &rte_flow_item_ipv4_mask, &known, &spec, &mask,
                         sizeof spec);

    error = error ? error : end_l2(p, htons(ETH_TYPE_IP));
    if (error) {
        return error;
    }
    if (mask.hdr.fragment_offset) {
        bool all = mask.hdr.fragment_offset == known.hdr.fragment_offset;

        if (spec.hdr.fragment_offset
            || (!all && mask.hdr.fragment_offset != htons(IP_FRAG_OFF_MASK))) {
            return refuse(p, RTE_FLOW_ERROR_TYPE_ITEM_MASK,
                          "of fragment_offset, only 0 with mask 0x3fff (no "
                          "fragment) or 0x1fff (no later fragment)");
        }
        match->wc.masks.nw_frag = (all ? FLOW_NW_FRAG_MASK
                                   : FLOW_NW_FRAG_LATER);
    }
    match->flow.nw_tos = spec.hdr.type_of_service;
    match->wc.masks.nw_tos = mask.hdr.type_of_service;
    match->flow.nw_ttl = spec.hdr.time_to_live;
    match->wc.masks.nw_ttl = mask.hdr.time_to_live;
    match_set_nw_src_masked(match, spec.hdr.src_addr, mask.hdr.src_addr);
    match_set_nw_dst_masked(match, spec.hdr.dst_addr, mask.hdr.dst_addr);
    match_proto(p, spec.hdr.next_proto_id, mask.hdr.next_proto_id);
    return 0;
}

static int
parse_ipv6(struct parser *p)
{
    struct rte_flow_item_ipv6 known = {
        .hdr = {
            .vtc_flow = htonl(0x0fffffff),
            .proto = UINT8_MAX,
            .hop_limits = UINT8_MAX,
        },
        .has_frag_ext = 1,
    };
    struct match *match = &p->spec->match;
    struct rte_flow_item_ipv6 spec, mask;
    struct in6_addr addr, addr_mask;
    int error;

    memset(known.hdr.src_addr, 0xff, sizeof known.hdr.src_addr);
    memset(known.hdr.dst_addr, 0xff, sizeof known.hdr.dst_addr);
    error = get_item(p, &rte_flow_item_ipv6_mask, &known, &spec, &mask,
                     sizeof spec);
    error = error ? error : end_l2(p, htons(ETH_TYPE_IPV6));
    if (error) {
        return error;
    }
    match->flow.nw_tos = ntohl(spec.hdr.vtc_flow) >> 20;
    match->wc.masks.nw_tos = ntohl(mask.hdr.vtc_flow) >> 20;
    match->flow.ipv6_label = spec.hdr.vtc_flow & htonl(IPV6_LABEL_MASK);
    match->wc.masks.ipv6_label = mask.hdr.vtc_flow & htonl(IPV6_LABEL_MASK);
    match->flow.nw_ttl = spec.hdr.hop_limits;
    match->wc.masks.nw_ttl = mask.hdr.hop_limits;
    memcpy(&addr, spec.hdr.src_addr, sizeof addr);
    memcpy(&addr_mask, mask.hdr.src_addr, sizeof addr);
    match_set_ipv6_src_masked(match, &addr, &addr_mask);
    memcpy(&addr, spec.hdr.dst_addr, sizeof addr);
    memcpy(&addr_mask, mask.hdr.dst_addr, sizeof addr);
    match_set_ipv6_dst_masked(match, &addr, &addr_mask);
    if (mask.has_frag_ext) {
        match->flow.nw_frag = spec.has_frag_ext ? FLOW_NW_FRAG_ANY : 0;
        match->wc.masks.nw_frag = FLOW_NW_FRAG_ANY;
    }
    match_proto(p, spec.hdr.proto, mask.hdr.proto);
    return 0;
}

/* The pattern has an item for IP protocol 'proto'. */
static int
start_l4(struct parser *p, uint8_t proto)
{
    if (p->layer != LAYER_L3) {
        return refuse(p, RTE_FLOW_ERROR_TYPE_ITEM,
                      "an item for IPv4 or IPv6 must come first");
    }
    if (p->nw_proto && p->nw_proto != proto) {
        return refuse(p, RTE_FLOW_ERROR_TYPE_ITEM,
                      "the protocol before is another one");
    }
    match_proto(p, proto, UINT8_MAX);
    return 0;
}

/* Matches ports, or what has their place in 'struct flow'. */
static void
match_ports(struct parser *p, ovs_be16 src, ovs_be16 src_mask, ovs_be16 dst,
            ovs_be16 dst_mask)
{
    match_set_tp_src_masked(&p->spec->match, src, src_mask);
    match_set_tp_dst_masked(&p->spec->match, dst, dst_mask);
}

static int
parse_tcp(struct parser *p)
{
    const struct rte_flow_item_tcp known = {
        .hdr = {
            .src_port = OVS_BE16_MAX,
            .dst_port = OVS_BE16_MAX,
            .tcp_flags = UINT8_MAX,
        },
    };
    struct rte_flow_item_tcp spec, mask;
    int error = get_item(p, &rte_flow_item_tcp_mask, &known, &spec, &mask,
                         sizeof spec);

    error = error ? error : start_l4(p, IPPROTO_TCP);
    if (!error) {
        match_ports(p, spec.hdr.src_port, mask.hdr.src_port,
                    spec.hdr.dst_port, mask.hdr.dst_port);
        match_set_tcp_flags_masked(&p->spec->match,
                                   htons(spec.hdr.tcp_flags),
                                   htons(mask.hdr.tcp_flags));
    }
    return error;
}

static int
parse_udp(struct parser *p)
{
    const struct rte_flow_item_udp known = {
        .hdr = { .src_port = OVS_BE16_MAX, .dst_port = OVS_BE16_MAX },
    };
    struct rte_flow_item_udp spec, mask;
    int error = get_item(p, &rte_flow_item_udp_mask, &known, &spec, &mask,
                         sizeof spec);

    error = error ? error : start_l4(p, IPPROTO_UDP);
    if (!error) {
        match_ports(p, spec.hdr.src_port, mask.hdr.src_port,
                    spec.hdr.dst_port, mask.hdr.dst_port);
    }
    return error;
}

static int
parse_sctp(struct parser *p)
{
    const struct rte_flow_item_sctp known = {
        .hdr = { .src_port = OVS_BE16_MAX, .dst_port = OVS_BE16_MAX },
    };
    struct rte_flow_item_sctp spec, mask;
    int error = get_item(p, &rte_flow_item_sctp_mask, &known, &spec, &mask,
                         sizeof spec);

    error = error ? error : start_l4(p, IPPROTO_SCTP);
    if (!error) {
        match_ports(p, spec.hdr.src_port, mask.hdr.src_port,
                    spec.hdr.dst_port, mask.hdr.dst_port);
    }
    return error;
}

static int
parse_icmp(struct parser *p)
{
    const struct rte_flow_item_icmp known = {
        .hdr = { .icmp_type = UINT8_MAX, .icmp_code = UINT8_MAX },
    };
    struct rte_flow_item_icmp spec, mask;
    int error = get_item(p, &rte_flow_item_icmp_mask, &known, &spec, &mask,
                         sizeof spec);

    error = error ? error : start_l4(p, IPPROTO_ICMP);
    if (!error) {
        match_ports(p, htons(spec.hdr.icmp_type), htons(mask.hdr.icmp_type),
                    htons(spec.hdr.icmp_code), htons(mask.hdr.icmp_code));
    }
    return error;
}

static int
parse_icmp6(struct parser *p)
{
    const struct rte_flow_item_icmp6 known = {
        .type = UINT8_MAX,
        .code = UINT8_MAX,
    };
    struct rte_flow_item_icmp6 spec, mask;
    int error = get_item(p, &rte_flow_item_icmp6_mask, &known, &spec, &mask,
                         sizeof spec);

    error = error ? error : start_l4(p, IPPROTO_ICMPV6);
    if (!error) {
        match_ports(p, htons(spec.type), htons(mask.type), htons(spec.code),
                    htons(mask.code));
    }
    return error;
}

/* Meaning of the verdict on a packet: nic-emu-window.h. */
static int
parse_conntrack(struct parser *p)
{
    const struct rte_flow_item_conntrack known = { .flags = UINT32_MAX };
    struct rte_flow_item_conntrack spec, mask;
    int error;

    if (!net_emu_ct_max(p->nic)) {
        return refuse(p, RTE_FLOW_ERROR_TYPE_ITEM,
                      "the NIC has no connection-tracking module");
    }
    if (p->spec->match.wc.masks.ct_mark) {
        return refuse(p, RTE_FLOW_ERROR_TYPE_ITEM,
                      "a packet has one connection");
    }
    error = get_item(p, &rte_flow_item_conntrack_mask, &known, &spec, &mask,
                     sizeof spec);
    if (!error && spec.flags & ~NIC_EMU_WINDOW_ALL) {
        error = refuse(p, RTE_FLOW_ERROR_TYPE_ITEM_SPEC,
                       "there are no such flags");
    }
    if (!error) {
        match_set_ct_mark_masked(&p->spec->match, spec.flags,
                                 mask.flags & NIC_EMU_WINDOW_ALL);
    }
    return error;
}

static const struct kind {
    enum rte_flow_item_type type;
    enum layer layer;
    int (*parse)(struct parser *);
} kinds[] = {
    { RTE_FLOW_ITEM_TYPE_REPRESENTED_PORT, LAYER_PORT, parse_port },
    { RTE_FLOW_ITEM_TYPE_PORT_REPRESENTOR, LAYER_PORT, parse_port },
    { RTE_FLOW_ITEM_TYPE_PORT_ID, LAYER_PORT, parse_port },
    { RTE_FLOW_ITEM_TYPE_ETH, LAYER_ETH, parse_eth },
    { RTE_FLOW_ITEM_TYPE_VLAN, LAYER_VLAN, parse_vlan },
    { RTE_FLOW_ITEM_TYPE_IPV4, LAYER_L3, parse_ipv4 },
    { RTE_FLOW_ITEM_TYPE_IPV6, LAYER_L3, parse_ipv6 },
    { RTE_FLOW_ITEM_TYPE_TCP, LAYER_L4, parse_tcp },
    { RTE_FLOW_ITEM_TYPE_UDP, LAYER_L4, parse_udp },
    { RTE_FLOW_ITEM_TYPE_SCTP, LAYER_L4, parse_sctp },
    { RTE_FLOW_ITEM_TYPE_ICMP, LAYER_L4, parse_icmp },
    { RTE_FLOW_ITEM_TYPE_ICMP6, LAYER_L4, parse_icmp6 },
    { RTE_FLOW_ITEM_TYPE_CONNTRACK, LAYER_NONE, parse_conntrack },
};

static const struct kind *
kind_find(enum rte_flow_item_type type)
{
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        if (kinds[i].type == type) {
            return &kinds[i];
        }
    }
    return NULL;
}

int
net_emu_spec_pattern(struct net_emu *nic, struct net_emu_spec *spec,
                     const struct rte_flow_item pattern[],
                     struct rte_flow_error *error)
{
    struct parser p = {
        .nic = nic,
        .spec = spec,
        .error = error,
        .layer = LAYER_START,
    };
    int retval = 0;

    match_init_catchall(&spec->match);
    spec->in_port = NIC_PORT_ANY;
    spec->in = NULL;
    spec->has_port_item = false;
    spec->from_software = false;
    if (!pattern) {
        return rte_flow_error_set(error, EINVAL,
                                  RTE_FLOW_ERROR_TYPE_ITEM_NUM, NULL,
                                  "there is no pattern");
    }
    for (p.item = pattern; p.item->type != RTE_FLOW_ITEM_TYPE_END; p.item++) {
        const struct kind *kind = kind_find(p.item->type);

        if (p.item->type == RTE_FLOW_ITEM_TYPE_VOID) {
            continue;
        }
        if (!kind) {
            return refuse(&p, RTE_FLOW_ERROR_TYPE_ITEM,
                          "the item cannot be matched");
        }
        if (kind->layer != LAYER_NONE
            && (kind->layer < p.layer
                || (kind->layer == p.layer && kind->layer != LAYER_VLAN))) {
            return refuse(&p, RTE_FLOW_ERROR_TYPE_ITEM,
                          "the item comes too late");
        }
        if (kind->layer == LAYER_VLAN && p.layer < LAYER_ETH) {
            return refuse(&p, RTE_FLOW_ERROR_TYPE_ITEM,
                          "an item for Ethernet must come first");
        }
        retval = kind->parse(&p);
        if (retval) {
            return retval;
        }
        if (kind->layer != LAYER_NONE) {
            p.layer = kind->layer;
        }
    }
    spec->n_vlan_items = p.n_vlans;
    return p.layer < LAYER_L3 ? end_l2(&p, 0) : 0;
}
