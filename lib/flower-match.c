/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>
#include "flower-private.h"

#include <libmnl/libmnl.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <netinet/in.h>
#include <string.h>

#include "flow.h"
#include "nic-match.h"
#include "packets.h"
#include "util.h"

/* Packets that have a field. */
enum scope {
    SCOPE_ANY,
    SCOPE_IP,
    SCOPE_IPV4,
    SCOPE_IPV6,
    SCOPE_TCP,
    SCOPE_UDP,
    SCOPE_SCTP,
};

/* A field of packets that is a key with a mask. */
struct key {
    enum scope scope;
    uint16_t attr, mask_attr;
    size_t ofs, len;                /* In struct flow. */
};

#define KEY(SCOPE, ATTR, FIELD)                                         \
    { SCOPE, TCA_FLOWER_KEY_##ATTR, TCA_FLOWER_KEY_##ATTR##_MASK,       \
      offsetof(struct flow, FIELD), MEMBER_SIZEOF(struct flow, FIELD) }

static const struct flow no_masks;

static const struct key keys[] = {
    KEY(SCOPE_ANY, ETH_DST, dl_dst),
    KEY(SCOPE_ANY, ETH_SRC, dl_src),
    KEY(SCOPE_IP, IP_TOS, nw_tos),
    KEY(SCOPE_IP, IP_TTL, nw_ttl),
    KEY(SCOPE_IPV4, IPV4_SRC, nw_src),
    KEY(SCOPE_IPV4, IPV4_DST, nw_dst),
    KEY(SCOPE_IPV6, IPV6_SRC, ipv6_src),
    KEY(SCOPE_IPV6, IPV6_DST, ipv6_dst),
    KEY(SCOPE_TCP, TCP_SRC, tp_src),
    KEY(SCOPE_TCP, TCP_DST, tp_dst),
    KEY(SCOPE_TCP, TCP_FLAGS, tcp_flags),
    KEY(SCOPE_UDP, UDP_SRC, tp_src),
    KEY(SCOPE_UDP, UDP_DST, tp_dst),
    KEY(SCOPE_SCTP, SCTP_SRC, tp_src),
    KEY(SCOPE_SCTP, SCTP_DST, tp_dst),
};

/* The keys of each tag. */
static const struct {
    uint16_t id, prio, next_type;
} tag_keys[FLOW_MAX_VLAN_HEADERS] = {
    { TCA_FLOWER_KEY_VLAN_ID, TCA_FLOWER_KEY_VLAN_PRIO,
      TCA_FLOWER_KEY_VLAN_ETH_TYPE },
    { TCA_FLOWER_KEY_CVLAN_ID, TCA_FLOWER_KEY_CVLAN_PRIO,
      TCA_FLOWER_KEY_CVLAN_ETH_TYPE },
};

/* Bits of tcp_flags. */
#define TCP_FLAGS_MASK 0x0fff

#define TCI_PCP htons(VLAN_PCP_MASK)
#define TCI_VID htons(VLAN_VID_MASK)
#define TCI_CFI htons(VLAN_CFI)

static bool
in_scope(const struct match *match, enum scope scope)
{
    const struct flow *flow = &match->flow;
    bool ip = nic_match_has_type(match) && is_ip_any(flow);
    bool proto = ip && match->wc.masks.nw_proto == UINT8_MAX;

    switch (scope) {
    case SCOPE_ANY:
        return true;
    case SCOPE_IP:
        return ip;
    case SCOPE_IPV4:
        return ip && flow->dl_type == htons(ETH_TYPE_IP);
    case SCOPE_IPV6:
        return ip && flow->dl_type == htons(ETH_TYPE_IPV6);
    case SCOPE_TCP:
        return proto && flow->nw_proto == IPPROTO_TCP;
    case SCOPE_UDP:
        return proto && flow->nw_proto == IPPROTO_UDP;
    case SCOPE_SCTP:
        return proto && flow->nw_proto == IPPROTO_SCTP;
    default:
        OVS_NOT_REACHED();
    }
}

/* Says what of 'rest', masks that no key takes, flower does not have. */
static const char *
describe_rest(const struct flow *rest)
{
    const char *why;

    if (flow_equal(rest, &no_masks)) {
        return NULL;
    } else if (rest->ipv6_label) {
        return "tc-flower cannot match the IPv6 flow label";
    }
    why = nic_match_describe_rest(rest);
    return why ? why : "tc-flower lacks a field that is matched";
}

/* Tags. */

int
flower_match_tags(const struct match *match,
                  ovs_be16 tpids[FLOW_MAX_VLAN_HEADERS])
{
    int n = 0;

    while (nic_match_has_tag(match, n)) {
        tpids[n] = match->flow.vlans[n].tpid;
        n++;
    }
    return nic_match_has_type(match) ? n : -1;
}

uint16_t
flower_protocol(const struct match *match)
{
    return (nic_match_has_tag(match, 0) ? ntohs(match->flow.vlans[0].tpid)
            : nic_match_has_type(match) ? ntohs(match->flow.dl_type)
            : ETH_P_ALL);
}

/* Puts the Ethernet types and tags of 'match', and takes them out of
 * 'rest'. */
static const char *
put_tags(struct flower_encoder *e, const struct match *match,
         struct flow *rest)
{
    uint16_t type_attr = TCA_FLOWER_KEY_ETH_TYPE;
    const struct flow *flow = &match->flow;
    size_t i;

    for (i = 0; nic_match_has_tag(match, i); i++) {
        ovs_be16 tci_mask = match->wc.masks.vlans[i].tci;
        ovs_be16 tci = flow->vlans[i].tci;

        if (rest->vlans[i].tpid != OVS_BE16_MAX
            || !eth_type_vlan(flow->vlans[i].tpid)) {
            return "tc-flower cannot leave open what type a VLAN tag is of";
        }
        flower_put(e, type_attr, &flow->vlans[i].tpid,
                   sizeof flow->vlans[i].tpid);
        if (tci_mask & TCI_VID) {
            uint16_t vid = vlan_tci_to_vid(tci);

            if ((tci_mask & TCI_VID) != TCI_VID) {
                return "tc-flower cannot match part of a VLAN id";
            }
            flower_put(e, tag_keys[i].id, &vid, sizeof vid);
        }
        if (tci_mask & TCI_PCP) {
            uint8_t pcp = vlan_tci_to_pcp(tci);

            if ((tci_mask & TCI_PCP) != TCI_PCP) {
                return "tc-flower cannot match part of a VLAN priority";
            }
            flower_put(e, tag_keys[i].prio, &pcp, sizeof pcp);
        }
        rest->vlans[i].qtag = 0;
        type_attr = tag_keys[i].next_type;
    }

    if (nic_match_has_type(match)) {
        uint16_t type = ntohs(flow->dl_type);

        if (type < ETH_TYPE_MIN || eth_type_vlan(flow->dl_type)) {
            return "tc-flower cannot match frames of this Ethernet type";
        }
        if (i < FLOW_MAX_VLAN_HEADERS) {
            if (rest->vlans[i].qtag != OVS_BE32_MAX || flow->vlans[i].qtag) {
                return "tc-flower cannot leave open how many VLAN tags there "
                       "are";
            }
            rest->vlans[i].qtag = 0;
        }
        flower_put(e, type_attr, &flow->dl_type, sizeof flow->dl_type);
        rest->dl_type = 0;
    } else if (rest->dl_type) {
        return "tc-flower cannot match part of the Ethernet type";
    }
    for (i = 0; i < FLOW_MAX_VLAN_HEADERS; i++) {
        if (rest->vlans[i].qtag) {
            return "tc-flower cannot match these VLAN tags without the "
                   "Ethernet type";
        }
    }
    return NULL;
}

static bool
get_tags(const struct nlattr *tb[], uint16_t protocol, struct match *match)
{
    struct flow *masks = &match->wc.masks;
    struct flow *flow = &match->flow;
    ovs_be16 type = htons(protocol);
    size_t i = 0;

    if (protocol == ETH_P_ALL) {
        return !tb[TCA_FLOWER_KEY_ETH_TYPE] && !tb[TCA_FLOWER_KEY_VLAN_ID]
               && !tb[TCA_FLOWER_KEY_VLAN_PRIO]
               && !tb[TCA_FLOWER_KEY_VLAN_ETH_TYPE]
               && !tb[TCA_FLOWER_KEY_CVLAN_ID]
               && !tb[TCA_FLOWER_KEY_CVLAN_PRIO]
               && !tb[TCA_FLOWER_KEY_CVLAN_ETH_TYPE];
    }
    while (eth_type_vlan(type)) {
        const struct nlattr *id, *prio, *next;
        ovs_be16 tci = TCI_CFI;
        ovs_be16 tci_mask = TCI_CFI;

        if (i == FLOW_MAX_VLAN_HEADERS) {
            return false;
        }
        id = tb[tag_keys[i].id];
        prio = tb[tag_keys[i].prio];
        next = tb[tag_keys[i].next_type];
        if (id) {
            uint16_t vid;

            if (!flower_get(id, &vid, sizeof vid) || vid > VLAN_VID_MASK) {
                return false;
            }
            tci |= htons(vid);
            tci_mask |= TCI_VID;
        }
        if (prio) {
            uint8_t pcp;

            if (!flower_get(prio, &pcp, sizeof pcp) || pcp > 7) {
                return false;
            }
            tci |= htons(pcp << VLAN_PCP_SHIFT);
            tci_mask |= TCI_PCP;
        }
        flow->vlans[i].tpid = type;
        flow->vlans[i].tci = tci;
        masks->vlans[i].tpid = OVS_BE16_MAX;
        masks->vlans[i].tci = tci_mask;
        i++;
        if (!next) {
            type = 0;
        } else if (!flower_get(next, &type, sizeof type)) {
            return false;
        }
    }
    for (size_t j = i; j < FLOW_MAX_VLAN_HEADERS; j++) {
        if (tb[tag_keys[j].id] || tb[tag_keys[j].prio]
            || tb[tag_keys[j].next_type]) {
            return false;
        }
    }
    if (type) {
        if (ntohs(type) < ETH_TYPE_MIN) {
            return false;
        }
        flow->dl_type = type;
        masks->dl_type = OVS_BE16_MAX;
        if (i < FLOW_MAX_VLAN_HEADERS) {
            masks->vlans[i].qtag = OVS_BE32_MAX;
        }
    }

    /* The kernel dumps the innermost type here. */
    if (tb[TCA_FLOWER_KEY_ETH_TYPE]) {
        ovs_be16 eth_type;

        return (flower_get(tb[TCA_FLOWER_KEY_ETH_TYPE], &eth_type,
                           sizeof eth_type)
                && (eth_type == type || eth_type == htons(protocol)));
    }
    return i > 0;
}

/* Fragments. */

static const char *
put_frag(struct flower_encoder *e, const struct match *match,
         struct flow *rest)
{
    uint8_t mask = match->wc.masks.nw_frag & FLOW_NW_FRAG_MASK;
    uint8_t frag = match->flow.nw_frag & mask;
    uint32_t flags = 0, flags_mask = 0;
    ovs_be32 wire;

    if (!mask || !in_scope(match, SCOPE_IP)) {
        return NULL;
    }
    if (mask == FLOW_NW_FRAG_LATER) {
        return "tc-flower cannot tell packets that are not later fragments";
    }
    flags_mask = TCA_FLOWER_KEY_FLAGS_IS_FRAGMENT;
    if (frag) {
        flags = TCA_FLOWER_KEY_FLAGS_IS_FRAGMENT;
        if (mask & FLOW_NW_FRAG_LATER) {
            flags_mask |= TCA_FLOWER_KEY_FLAGS_FRAG_IS_FIRST;
            if (!(frag & FLOW_NW_FRAG_LATER)) {
                flags |= TCA_FLOWER_KEY_FLAGS_FRAG_IS_FIRST;
            }
        }
    }
    wire = htonl(flags);
    flower_put(e, TCA_FLOWER_KEY_FLAGS, &wire, sizeof wire);
    wire = htonl(flags_mask);
    flower_put(e, TCA_FLOWER_KEY_FLAGS_MASK, &wire, sizeof wire);
    rest->nw_frag = 0;
    return NULL;
}

static bool
get_frag(const struct nlattr *tb[], struct match *match)
{
    const uint32_t first = TCA_FLOWER_KEY_FLAGS_FRAG_IS_FIRST;
    const uint32_t any = TCA_FLOWER_KEY_FLAGS_IS_FRAGMENT;
    uint32_t flags, mask;
    ovs_be32 wire;

    if (!tb[TCA_FLOWER_KEY_FLAGS] && !tb[TCA_FLOWER_KEY_FLAGS_MASK]) {
        return true;
    }
    if (!flower_get(tb[TCA_FLOWER_KEY_FLAGS_MASK], &wire, sizeof wire)) {
        return false;
    }
    mask = ntohl(wire);
    if (!flower_get(tb[TCA_FLOWER_KEY_FLAGS], &wire, sizeof wire)) {
        return false;
    }
    flags = ntohl(wire) & mask;
    if (!in_scope(match, SCOPE_IP) || mask & ~(first | any)
        || !(mask & any)) {
        return false;
    }
    if (!(flags & any)) {
        if (mask & first) {
            return false;
        }
        match->wc.masks.nw_frag = FLOW_NW_FRAG_MASK;
    } else {
        match->flow.nw_frag = FLOW_NW_FRAG_ANY;
        match->wc.masks.nw_frag = FLOW_NW_FRAG_ANY;
        if (mask & first) {
            match->wc.masks.nw_frag = FLOW_NW_FRAG_MASK;
            if (!(flags & first)) {
                match->flow.nw_frag |= FLOW_NW_FRAG_LATER;
            }
        }
    }
    return true;
}

/* All. */

const char *
flower_put_match(struct flower_encoder *e, const struct match *match)
{
    struct flow rest = match->wc.masks;
    const char *why;

    why = put_tags(e, match, &rest);
    if (!why) {
        why = put_frag(e, match, &rest);
    }
    if (why) {
        return why;
    }
    if (rest.nw_proto && in_scope(match, SCOPE_IP)) {
        if (rest.nw_proto != UINT8_MAX) {
            return "tc-flower cannot match part of the IP protocol";
        }
        flower_put(e, TCA_FLOWER_KEY_IP_PROTO, &match->flow.nw_proto,
                   sizeof match->flow.nw_proto);
        rest.nw_proto = 0;
    }
    for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
        const struct key *key = &keys[i];
        uint8_t *mask = (uint8_t *) &rest + key->ofs;

        if (in_scope(match, key->scope) && !is_all_zeros(mask, key->len)) {
            flower_put(e, key->attr, (const uint8_t *) &match->flow + key->ofs,
                       key->len);
            flower_put(e, key->mask_attr, mask, key->len);
            memset(mask, 0, key->len);
        }
    }
    return describe_rest(&rest);
}

static bool
get_key(const struct nlattr *tb[], const struct key *key, struct match *match)
{
    const struct nlattr *mask_attr = tb[key->mask_attr];
    uint8_t *value = (uint8_t *) &match->flow + key->ofs;
    uint8_t *mask = (uint8_t *) &match->wc.masks + key->ofs;

    if (!tb[key->attr]) {
        return !mask_attr;
    }
    if (!in_scope(match, key->scope)
        || !flower_get(tb[key->attr], value, key->len)) {
        return false;
    }
    if (!mask_attr) {
        memset(mask, UINT8_MAX, key->len);
    } else if (!flower_get(mask_attr, mask, key->len)) {
        return false;
    }
    if (key->attr == TCA_FLOWER_KEY_TCP_FLAGS) {
        match->wc.masks.tcp_flags &= htons(TCP_FLAGS_MASK);
    }
    for (size_t i = 0; i < key->len; i++) {
        value[i] &= mask[i];
    }
    return true;
}

/* Returns true if 'attr' is something that a rule can match. */
static bool
is_known(uint16_t attr)
{
    switch (attr) {
    case TCA_FLOWER_ACT:
    case TCA_FLOWER_FLAGS:
    case TCA_FLOWER_IN_HW_COUNT:
    case TCA_FLOWER_KEY_ETH_TYPE:
    case TCA_FLOWER_KEY_VLAN_ID:
    case TCA_FLOWER_KEY_VLAN_PRIO:
    case TCA_FLOWER_KEY_VLAN_ETH_TYPE:
    case TCA_FLOWER_KEY_CVLAN_ID:
    case TCA_FLOWER_KEY_CVLAN_PRIO:
    case TCA_FLOWER_KEY_CVLAN_ETH_TYPE:
    case TCA_FLOWER_KEY_IP_PROTO:
    case TCA_FLOWER_KEY_FLAGS:
    case TCA_FLOWER_KEY_FLAGS_MASK:
        return true;
    default:
        for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
            if (attr == keys[i].attr || attr == keys[i].mask_attr) {
                return true;
            }
        }
        return false;
    }
}

const char *
flower_get_match(const struct nlattr *tb[], uint16_t protocol,
                 struct match *match)
{
    static const char malformed[] = "the keys of the filter are malformed";

    match_init_catchall(match);
    for (size_t i = 0; i <= TCA_FLOWER_MAX; i++) {
        if (tb[i] && !is_known(i)) {
            return "the filter has a key that no rule has";
        }
    }
    if (!get_tags(tb, protocol, match)) {
        /* Of a protocol for all frames, only what needs no type is left. */
        return protocol == ETH_P_ALL
               ? "the filter's protocol does not fit its keys" : malformed;
    }
    if (tb[TCA_FLOWER_KEY_IP_PROTO]) {
        if (!in_scope(match, SCOPE_IP)
            || !flower_get(tb[TCA_FLOWER_KEY_IP_PROTO], &match->flow.nw_proto,
                           sizeof match->flow.nw_proto)) {
            return malformed;
        }
        match->wc.masks.nw_proto = UINT8_MAX;
    }
    if (!get_frag(tb, match)) {
        return malformed;
    }
    /* Several keys are one field of the rule, but of different scopes. */
    for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
        if (!get_key(tb, &keys[i], match)) {
            return malformed;
        }
    }
    return NULL;
}
