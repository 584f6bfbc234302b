/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>
#include "nic-match.h"

#include "flow.h"
#include "nic-rule.h"
#include "packets.h"
#include "util.h"

/* Bits of tcp_flags. */
#define TCP_FLAGS_MASK 0x0fff

#define TCI_CFI htons(VLAN_CFI)

bool
nic_match_has_type(const struct match *match)
{
    return match->wc.masks.dl_type == OVS_BE16_MAX;
}

/* Returns true if 'match' says that there is no tag 'i' if there are all those
 * before. */
static bool
lacks_tag(const struct match *match, size_t i)
{
    return (i < FLOW_MAX_VLAN_HEADERS
            && match->wc.masks.vlans[i].tci & ~match->flow.vlans[i].tci
               & TCI_CFI);
}

bool
nic_match_has_tag(const struct match *match, size_t i)
{
    return (i < FLOW_MAX_VLAN_HEADERS
            && match->wc.masks.vlans[i].tci & match->flow.vlans[i].tci
               & TCI_CFI);
}

bool
nic_template_changes_ip(const struct nic_template *template)
{
    for (size_t i = 0; i < template->n_actions; i++) {
        const struct nic_action *a = &template->actions[i];

        if (a->type == NIC_ACTION_SET_TUPLE
            || (a->type == NIC_ACTION_SET
                && a->set.field != NIC_FIELD_ETH_SRC
                && a->set.field != NIC_FIELD_ETH_DST
                && a->set.field != NIC_FIELD_VLAN_TCI)) {
            return true;
        }
    }
    return false;
}

void
nic_match_narrow(struct match *match, bool changes_ip)
{
    struct flow *masks = &match->wc.masks;

    if (nic_match_has_type(match)) {
        size_t i;

        for (i = 0; nic_match_has_tag(match, i); i++) {
            if (!masks->vlans[i].tpid) {
                masks->vlans[i].tpid = OVS_BE16_MAX;
                match->flow.vlans[i].tpid = htons(ETH_TYPE_VLAN_8021Q);
            }
        }
        if (i < FLOW_MAX_VLAN_HEADERS && !masks->vlans[i].qtag) {
            masks->vlans[i].qtag = OVS_BE32_MAX;
        }
        if (is_ip_any(&match->flow) && !masks->nw_frag
            && (changes_ip || masks->nw_proto)) {
            match_set_nw_frag(match, 0);
        }
    }
    nic_match_canonicalize(match);
}

void
nic_match_canonicalize(struct match *match)
{
    struct flow *masks = &match->wc.masks;
    struct flow *flow = &match->flow;

    for (size_t i = 0; i < FLOW_MAX_VLAN_HEADERS; i++) {
        if (lacks_tag(match, i)) {
            /* None of its bits is set, then, or it matches nothing. */
            if (!flow->vlans[i].qtag) {
                masks->vlans[i].qtag = OVS_BE32_MAX;
            }
            for (size_t j = i + 1; j < FLOW_MAX_VLAN_HEADERS; j++) {
                if (!flow->vlans[j].qtag) {
                    masks->vlans[j].qtag = 0;
                }
            }
            break;
        }
    }

    /* Every packet is an Ethernet frame. */
    if (flow->packet_type == htonl(PT_ETH)) {
        masks->packet_type = 0;
    }

    /* There are no more flags. */
    if (!(flow->tcp_flags & htons(~TCP_FLAGS_MASK))) {
        masks->tcp_flags &= htons(TCP_FLAGS_MASK);
    }

    /* Only a fragment can be a later one. */
    if (masks->nw_frag & FLOW_NW_FRAG_ANY
        && !(flow->nw_frag & FLOW_NW_FRAG_MASK)) {
        masks->nw_frag |= FLOW_NW_FRAG_LATER;
    } else if (masks->nw_frag & flow->nw_frag & FLOW_NW_FRAG_LATER) {
        masks->nw_frag |= FLOW_NW_FRAG_ANY;
        flow->nw_frag |= FLOW_NW_FRAG_ANY;
    }
}

const char *
nic_match_describe_rest(const struct flow *rest)
{
    if (rest->ct_state || rest->ct_zone || rest->ct_mark
        || !ovs_u128_is_zero(rest->ct_label) || rest->ct_nw_proto) {
        return "connection tracking is matched, which stays with the software";
    } else if (!eth_addr_is_zero(rest->arp_sha)
               || !eth_addr_is_zero(rest->arp_tha)
               || rest->nw_src || rest->nw_dst) {
        return "addresses are matched in packets that may not be IPv4";
    } else if (ipv6_addr_is_set(&rest->ipv6_src)
               || ipv6_addr_is_set(&rest->ipv6_dst)) {
        return "addresses are matched in packets that may not be IPv6";
    } else if (rest->tp_src || rest->tp_dst || rest->tcp_flags) {
        return ("ports or TCP flags are matched in packets that may not have "
                "them");
    } else if (rest->nw_tos || rest->nw_ttl || rest->nw_frag
               || rest->nw_proto) {
        return "fields of IP are matched in packets that may not be IP";
    }
    return NULL;
}
