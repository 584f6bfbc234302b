/* SPDX-License-Identifier: Apache-2.0 */

#ifndef FLOWER_TEST_H
#define FLOWER_TEST_H 1

/* Random rules for the codec of tc-flower.  Included by one .c file per
 * program.  Everything comes from OVS's random numbers: random_set_seed(). */

#include <netinet/in.h>
#include <string.h>

#include "flow.h"
#include "lib/flower.h"
#include "lib/nic-rule.h"
#include "openvswitch/dynamic-string.h"
#include "packets.h"
#include "random.h"
#include "util.h"

/* Ports (indexes of devices) that rules output to. */
#define FLOWER_TEST_MAX_PORTS 4
struct flower_test_ports {
    uint32_t port[FLOWER_TEST_MAX_PORTS];
    size_t n;
};

/* IPv6 addresses have no masks but prefixes: tc(8) of iproute2 6.1 writes
 * beyond a buffer when it prints another one. */
static bool flower_test_ipv6_prefixes;

static inline void
flower_test_bytes(void *p, size_t len)
{
    random_bytes(p, len);
}

/* Stores in the 'len' bytes at 'mask' a mask that is exact, nothing, a prefix
 * or anything, and in those at 'value' a value that fits it. */
static inline void
flower_test_masked(void *value_, void *mask_, size_t len)
{
    uint8_t *value = value_;
    uint8_t *mask = mask_;

    memset(mask, 0, len);
    switch (random_range(4)) {
    case 0:
        memset(mask, UINT8_MAX, len);
        break;
    case 1:
        memset(mask, UINT8_MAX, random_range(len + 1));
        break;
    case 2:
        if (len == 16 && flower_test_ipv6_prefixes) {
            memset(mask, UINT8_MAX, random_range(len + 1));
        } else {
            flower_test_bytes(mask, len);
        }
        break;
    }
    flower_test_bytes(value, len);
    for (size_t i = 0; i < len; i++) {
        value[i] &= mask[i];
    }
}

/* Adds random tags and an Ethernet type to 'match'.  Returns the number of
 * tags, -1 if it is not known. */
static inline int
flower_test_tags(struct match *match)
{
    struct flow *masks = &match->wc.masks;
    struct flow *flow = &match->flow;
    int n = random_range(4) % 3;
    bool typed = random_range(10) != 0;

    for (int i = 0; i < n; i++) {
        ovs_be16 mask = htons(VLAN_CFI);

        mask |= random_range(4) ? htons(VLAN_VID_MASK) : 0;
        mask |= random_range(2) ? htons(VLAN_PCP_MASK) : 0;
        flow->vlans[i].tpid = htons(random_range(2) ? ETH_TYPE_VLAN_8021Q
                                    : ETH_TYPE_VLAN_8021AD);
        flow->vlans[i].tci = (htons(random_uint16()) & mask)
                             | htons(VLAN_CFI);
        masks->vlans[i].tci = mask;
        masks->vlans[i].tpid = OVS_BE16_MAX;
    }
    if (!typed) {
        return -1;
    }
    if (n < FLOW_MAX_VLAN_HEADERS) {
        masks->vlans[n].tci = OVS_BE16_MAX;
    }
    switch (random_range(8)) {
    case 0:
        match_set_dl_type(match, htons(random_range(2) ? ETH_TYPE_ARP
                                       : 0x88b5));
        break;
    case 1: case 2: case 3:
        match_set_dl_type(match, htons(ETH_TYPE_IPV6));
        break;
    default:
        match_set_dl_type(match, htons(ETH_TYPE_IP));
        break;
    }
    return n;
}

static inline void
flower_test_ip(struct match *match)
{
    static const uint8_t protos[] = {
        IPPROTO_TCP, IPPROTO_TCP, IPPROTO_TCP, IPPROTO_UDP, IPPROTO_UDP,
        IPPROTO_SCTP, IPPROTO_ICMP, IPPROTO_ICMPV6,
    };
    struct flow *masks = &match->wc.masks;
    struct flow *flow = &match->flow;

    if (random_range(8)) {
        match_set_nw_proto(match, protos[random_range(ARRAY_SIZE(protos))]);
    }
    switch (random_range(8)) {
    case 0:
        break;
    case 1:
        match_set_nw_frag_masked(match, FLOW_NW_FRAG_ANY, FLOW_NW_FRAG_ANY);
        break;
    case 2:
        match_set_nw_frag(match, FLOW_NW_FRAG_ANY);
        break;
    case 3:
        match_set_nw_frag(match, FLOW_NW_FRAG_ANY | FLOW_NW_FRAG_LATER);
        break;
    default:
        match_set_nw_frag(match, 0);
        break;
    }
    if (random_range(2)) {
        flower_test_masked(&flow->nw_tos, &masks->nw_tos, 1);
    }
    if (random_range(2)) {
        flower_test_masked(&flow->nw_ttl, &masks->nw_ttl, 1);
    }
    if (flow->dl_type == htons(ETH_TYPE_IP)) {
        flower_test_masked(&flow->nw_src, &masks->nw_src, 4);
        flower_test_masked(&flow->nw_dst, &masks->nw_dst, 4);
    } else {
        flower_test_masked(&flow->ipv6_src, &masks->ipv6_src, 16);
        flower_test_masked(&flow->ipv6_dst, &masks->ipv6_dst, 16);
    }
    if (masks->nw_proto && !(flow->nw_frag & FLOW_NW_FRAG_LATER)) {
        if (flow->nw_proto == IPPROTO_TCP || flow->nw_proto == IPPROTO_UDP
            || flow->nw_proto == IPPROTO_SCTP) {
            flower_test_masked(&flow->tp_src, &masks->tp_src, 2);
            flower_test_masked(&flow->tp_dst, &masks->tp_dst, 2);
        }
        if (flow->nw_proto == IPPROTO_TCP && random_range(2)) {
            masks->tcp_flags = htons(random_uint16() & 0xfff);
            flow->tcp_flags = htons(random_uint16()) & masks->tcp_flags;
        }
    }
}

/* Stores in 'match' a random match.  Returns the number of tags as
 * flower_test_tags(). */
static inline int
flower_test_match(struct match *match)
{
    int n_tags;

    match_init_catchall(match);
    n_tags = flower_test_tags(match);
    if (random_range(2)) {
        flower_test_masked(&match->flow.dl_src, &match->wc.masks.dl_src, 6);
    }
    if (random_range(2)) {
        flower_test_masked(&match->flow.dl_dst, &match->wc.masks.dl_dst, 6);
    }
    if (is_ip_any(&match->flow)) {
        flower_test_ip(match);
    }
    return n_tags;
}

/* Adds to 'actions', which has '*n' elements, one that sets a field which
 * packets of 'match' with 'n_tags' tags may have. */
static inline void
flower_test_set(const struct match *match, int n_tags,
                struct nic_action actions[], size_t *n)
{
    enum nic_field field = random_range(NIC_FIELD_TP_DST + 1);
    struct nic_action *a = &actions[(*n)++];
    bool ip = is_ip_any(&match->flow) && n_tags <= 1;
    bool proto = ip && match->wc.masks.nw_proto && match->wc.masks.nw_frag
                 && !match->flow.nw_frag;
    bool ports = proto && (match->flow.nw_proto == IPPROTO_TCP
                           || match->flow.nw_proto == IPPROTO_UDP);
    size_t len;

    if ((field == NIC_FIELD_VLAN_TCI && n_tags < 1)
        || (field > NIC_FIELD_VLAN_TCI && !ip)
        || ((field == NIC_FIELD_IP_SRC || field == NIC_FIELD_IP_DST)
            && !proto)
        || (field >= NIC_FIELD_TP_SRC && !ports)
        || (field == NIC_FIELD_IPV6_LABEL
            && match->flow.dl_type != htons(ETH_TYPE_IPV6))) {
        field = NIC_FIELD_ETH_DST;
    }
    memset(a, 0, sizeof *a);
    a->type = NIC_ACTION_SET;
    a->set.field = field;
    len = nic_field_len(field, match->flow.dl_type);
    if (field == NIC_FIELD_VLAN_TCI) {
        ovs_be16 mask = htons(random_range(2) ? 0xefff : 0x0fff);
        ovs_be16 value = htons(random_uint16()) & mask;

        memcpy(a->set.mask, &mask, sizeof mask);
        memcpy(a->set.value, &value, sizeof value);
    } else {
        do {
            flower_test_masked(a->set.value, a->set.mask, len);
            if (field == NIC_FIELD_IPV6_LABEL) {
                a->set.mask[0] = a->set.value[0] = 0;
                a->set.mask[1] &= 0x0f;
                a->set.value[1] &= 0x0f;
            }
        } while (is_all_zeros(a->set.mask, len));
    }
}

/* Returns a random rule, and stores its values.  Most can be encoded.
 * 'max_chain' is the greatest egress handle. */
static inline struct nic_template *
flower_test_template(const struct flower_test_ports *ports,
                     uint32_t max_chain, struct nic_values *values)
{
    struct nic_action actions[NIC_MAX_ACTIONS];
    enum nic_slots slots = NIC_SLOT_NONE;
    const struct flow *masks;
    struct match match;
    bool tuple;
    size_t n = 0;
    int n_tags;
    int left;

    memset(values, 0, sizeof *values);
    memset(actions, 0, sizeof actions);
    n_tags = flower_test_match(&match);
    masks = &match.wc.masks;
    tuple = (masks->nw_proto && masks->nw_frag && !match.flow.nw_frag
             && (match.flow.nw_proto == IPPROTO_TCP
                 || match.flow.nw_proto == IPPROTO_UDP));
    if (tuple && random_range(2)) {
        size_t len = match.flow.dl_type == htons(ETH_TYPE_IP) ? 4 : 16;

        slots |= NIC_SLOT_TUPLE;
        flower_test_bytes(&values->tuple.src, len);
        flower_test_bytes(&values->tuple.dst, len);
        values->tuple.tp_src = htons(random_uint16());
        values->tuple.tp_dst = htons(random_uint16());
        if (n_tags <= 1 && random_range(2)) {
            slots |= NIC_SLOT_REWRITE;
            flower_test_bytes(&values->rewrite.src, len);
            flower_test_bytes(&values->rewrite.dst, len);
            values->rewrite.tp_src = htons(random_uint16());
            values->rewrite.tp_dst = htons(random_uint16());
            actions[n].type = NIC_ACTION_SET_TUPLE;
            actions[n++].parts = 1 + random_range(3);
        }
    }

    for (left = random_range(7); left > 0; left--) {
        switch (random_range(4)) {
        case 0:
            actions[n].type = NIC_ACTION_OUTPUT;
            actions[n++].port = ports->port[random_range(ports->n)];
            break;
        case 1:
            if (n_tags > 0 && random_range(2)) {
                actions[n++].type = NIC_ACTION_POP_VLAN;
                n_tags--;
            } else if (n_tags >= 0) {
                actions[n].type = NIC_ACTION_PUSH_VLAN;
                actions[n].vlan.tpid = htons(random_range(2)
                                             ? ETH_TYPE_VLAN_8021Q
                                             : ETH_TYPE_VLAN_8021AD);
                actions[n++].vlan.tci = htons(random_uint16() & 0xefff);
                n_tags++;
            }
            break;
        default:
            flower_test_set(&match, n_tags, actions, &n);
            break;
        }
    }
    switch (random_range(4)) {
    case 0:
        actions[n++].type = NIC_ACTION_DROP;
        break;
    case 1:
        actions[n].type = NIC_ACTION_EGRESS;
        actions[n++].egress = 1 + random_range(max_chain);
        break;
    default:
        actions[n].type = NIC_ACTION_OUTPUT;
        actions[n++].port = ports->port[random_range(ports->n)];
        break;
    }
    return nic_template_create(1, NIC_TABLE_ROOT, &match, slots, actions, n);
}

/* Returns what says which rule 'rule' is, which the caller must free. */
static inline char *
flower_test_to_string(const struct flower_rule *rule)
{
    struct ds ds = DS_EMPTY_INITIALIZER;

    match_format(&rule->match, NULL, &ds, OFP_DEFAULT_PRIORITY);
    ds_put_cstr(&ds, " actions=");
    nic_actions_format(rule->actions, rule->n_actions, &ds);
    return ds_steal_cstr(&ds);
}

#endif /* flower-test.h */
