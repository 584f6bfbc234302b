/* SPDX-License-Identifier: Apache-2.0 */

/* Path composition against OVS itself.
 *
 * Packets walk through a pipeline, executed by OVS's own odp_execute_actions()
 * and conntrack.  Where a packet misses, a megaflow is made for it as OVS
 * would do: a random mask of what the packet looks like there, and random
 * actions.  So there are chains of every kind, and packets that take them.
 *
 * What the first ct() of a walk saw becomes the subject of composition.  Then
 * random packets that each composed rule matches walk through the same
 * pipeline, and must leave it as the rule's actions, executed here, say. */

#include <config.h>

#include <check.h>
#include <stdlib.h>

#include "conntrack.h"
#include "datapath-offload/path.h"
#include "dp-packet.h"
#include "odp-execute.h"
#include "odp-util.h"
#include "ovs-rcu.h"
#include "path-test.h"
#include "random.h"
#include "timeval.h"
#include "unit-test.h"
#include "util.h"

#define DP 1
#define IN_PORT 1
#define N_PORTS 4
#define N_ZONES 3
#define EST (CS_TRACKED | CS_ESTABLISHED)
#define MAX_CONNS 64
#define MAX_ENTRIES 128
#define MAX_OUTS 32
#define MAX_RECIRC 12
#define N_WALKS 10

/* A connection, as the test established it in OVS's conntrack. */
struct model_conn {
    uint16_t zone;
    struct nic_tuple seen[2];       /* By ct(), of each direction. */
    struct nic_tuple translated[2];
    unsigned int parts[2];
    uint32_t mark;
    ovs_u128 label;
    struct nat_action_info_t nat;
};

/* A megaflow of the pipeline. */
struct entry {
    struct match match;
    struct ofpbuf actions;
    struct megaflow *megaflow;
    uint32_t recirc_id;
};

/* What comes out of a pipeline. */
struct outs {
    size_t n;
    struct {
        uint32_t port;
        size_t size;
        uint8_t data[256];
    } out[MAX_OUTS];
    size_t stage_size[PATH_MAX_STAGES + 1]; /* Packet's, at each megaflow. */
    size_t n_stages;
    bool miss;                      /* Of a megaflow. */
    bool disturbed;                 /* ct() did anything but find a connection
                                     * as it is. */
};

static struct conntrack *ct;
static struct mf_mirror mirror;
static struct entry entries[MAX_ENTRIES];
static size_t n_entries;
static struct model_conn conns[MAX_CONNS];
static size_t n_conns;
static unsigned int next_unique;
static ovs_be16 dl_type;
static uint8_t nw_proto;

/* The walk that is under way. */
static struct outs *outs;
static struct path_set set;
static bool learning;               /* Make megaflows that are missing. */
static int depth;
static bool saw_ct;                 /* The first ct() is over. */
static uint16_t first_zone;
static struct flow first_flow;      /* The packet at the first ct(). */

/* How much the test has seen. */
static unsigned int n_carried, n_carried_module, n_chains, n_rewritten,
    n_members, n_natted, n_backward, n_complete, n_by_reason[N_REASONS];

static bool
one_in(unsigned int n)
{
    return !random_range(n);
}

static void
get_tuple(const struct flow *flow, struct nic_tuple *tuple)
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

static void
set_tuple(struct flow *flow, const struct nic_tuple *tuple)
{
    if (dl_type == htons(ETH_TYPE_IP)) {
        flow->nw_src = tuple->src.ipv4;
        flow->nw_dst = tuple->dst.ipv4;
    } else {
        flow->ipv6_src = tuple->src.ipv6;
        flow->ipv6_dst = tuple->dst.ipv6;
    }
    flow->tp_src = tuple->tp_src;
    flow->tp_dst = tuple->tp_dst;
}

static struct nic_tuple
reverse(const struct nic_tuple *tuple)
{
    struct nic_tuple r = *tuple;

    r.src = tuple->dst;
    r.dst = tuple->src;
    r.tp_src = tuple->tp_dst;
    r.tp_dst = tuple->tp_src;
    return r;
}

/* An address that nobody else has. */
static union nic_addr
unique_addr(void)
{
    union nic_addr addr;

    memset(&addr, 0, sizeof addr);
    next_unique++;
    if (dl_type == htons(ETH_TYPE_IP)) {
        addr.ipv4 = htonl(0x0a090000 | next_unique);
    } else {
        addr.ipv6.s6_addr[0] = 0x20;
        addr.ipv6.s6_addr[14] = next_unique >> 8;
        addr.ipv6.s6_addr[15] = next_unique;
    }
    return addr;
}

/* One of a few addresses. */
static union nic_addr
pool_addr(void)
{
    union nic_addr addr;

    memset(&addr, 0, sizeof addr);
    if (dl_type == htons(ETH_TYPE_IP)) {
        addr.ipv4 = htonl(0x0a010101 + random_range(3));
    } else {
        addr.ipv6.s6_addr[0] = 0x20;
        addr.ipv6.s6_addr[13] = 1;
        addr.ipv6.s6_addr[15] = 1 + random_range(3);
    }
    return addr;
}

static struct eth_addr
pool_mac(void)
{
    struct eth_addr mac = ETH_ADDR_C(50,54,00,00,00,01);

    mac.ea[5] += random_range(3);
    return mac;
}

/* Makes a packet of 'flow'. */
static struct dp_packet *
make_packet(const struct flow *flow, uint32_t seq, uint32_t ack)
{
    struct dp_packet *packet = dp_packet_new(256);

    flow_compose(packet, flow, NULL, 1);
    pkt_metadata_init(&packet->md, u32_to_odp(IN_PORT));
    *dp_packet_ol_flags_ptr(packet) |= (DP_PACKET_OL_RX_L4_CKSUM_GOOD
                                        | DP_PACKET_OL_RX_IP_CKSUM_GOOD);
    if (flow->nw_proto == IPPROTO_TCP && !flow->nw_frag) {
        struct tcp_header *tcp = dp_packet_l4(packet);

        put_16aligned_be32(&tcp->tcp_seq, htonl(seq));
        put_16aligned_be32(&tcp->tcp_ack, htonl(ack));
        tcp->tcp_winsz = htons(60000);
    }
    return packet;
}

/* A packet with sequence numbers that fit the connections of the test. */
static struct dp_packet *
make_data_packet(const struct flow *flow)
{
    return make_packet(flow, 100, 100);
}

static void
run_conntrack(struct dp_packet *packet, uint16_t zone, bool commit,
              const struct model_conn *conn,
              const struct nat_action_info_t *nat)
{
    struct dp_packet_batch batch;
    uint32_t mark[2] = { conn->mark, UINT32_MAX };
    struct ovs_key_ct_labels label[2];

    memcpy(&label[0], &conn->label, sizeof label[0]);
    memset(&label[1], 0xff, sizeof label[1]);
    dp_packet_batch_init_packet(&batch, packet);
    conntrack_execute(ct, &batch, dl_type, false, commit, zone,
                      commit ? mark : NULL, commit ? label : NULL, 0, 0, NULL,
                      nat, time_msec(), 0);
}

static void
send_first(const struct model_conn *conn, int dir, uint16_t flags,
           uint32_t seq, uint32_t ack, const struct nat_action_info_t *nat)
{
    struct dp_packet *packet;
    struct flow flow;

    memset(&flow, 0, sizeof flow);
    flow.dl_type = dl_type;
    flow.nw_proto = nw_proto;
    flow.nw_ttl = 64;
    flow.tcp_flags = nw_proto == IPPROTO_TCP ? htons(flags) : 0;
    set_tuple(&flow, &conn->seen[dir]);
    packet = make_packet(&flow, seq, ack);
    run_conntrack(packet, conn->zone, !dir, conn, nat);
    ck_assert_msg(packet->md.ct_state & CS_TRACKED
                  && !(packet->md.ct_state & CS_INVALID),
                  "ct_state %x", packet->md.ct_state);
    dp_packet_delete(packet);
}

static struct model_conn *
find_conn(uint16_t zone, const struct nic_tuple *tuple, int *dir)
{
    for (size_t i = 0; i < n_conns; i++) {
        for (*dir = 0; *dir < 2; ++*dir) {
            if (conns[i].zone == zone
                && !memcmp(&conns[i].seen[*dir], tuple, sizeof *tuple)) {
                return &conns[i];
            }
        }
    }
    return NULL;
}

static void
establish(const struct model_conn *conn)
{
    const struct nat_action_info_t *nat = conn->parts[0] ? &conn->nat : NULL;

    send_first(conn, 0, TCP_SYN, 99, 0, nat);
    send_first(conn, 1, TCP_SYN | TCP_ACK, 99, 100, NULL);
    send_first(conn, 0, TCP_ACK, 100, 100, nat);
    send_first(conn, 1, TCP_ACK, 100, 100, NULL);
}

/* Establishes a connection of which 'tuple' is some direction, with or without
 * NAT.  May fail. */
static void
add_conn(uint16_t zone, const struct nic_tuple *tuple)
{
    bool reply = one_in(2), snat = one_in(2), nat = one_in(2);
    struct nat_action_info_t info;
    struct model_conn conn;
    struct nic_tuple other = *tuple;
    int dir;

    if (n_conns == MAX_CONNS) {
        return;
    }
    memset(&conn, 0, sizeof conn);
    memset(&info, 0, sizeof info);
    conn.zone = zone;
    conn.mark = one_in(2) ? 0 : random_range(4);
    conn.label.u64.lo = one_in(2) ? 0 : random_range(4);
    conn.label.u64.hi = one_in(2) ? 0 : 1ULL << 63;

    /* 'seen[0]' and 'translated[0]', by way of the reply. */
    if (!reply) {
        conn.seen[0] = conn.translated[0] = *tuple;
        if (nat && snat) {
            conn.translated[0].src = unique_addr();
            conn.translated[0].tp_src = htons(20000 + next_unique);
        } else if (nat) {
            conn.translated[0].dst = unique_addr();
            conn.translated[0].tp_dst = htons(20000 + next_unique);
        }
    } else {
        other = reverse(tuple);
        conn.translated[0] = conn.seen[0] = other;
        if (nat && snat) {
            conn.seen[0].src = unique_addr();
            conn.seen[0].tp_src = htons(20000 + next_unique);
        } else if (nat) {
            conn.seen[0].dst = unique_addr();
            conn.seen[0].tp_dst = htons(20000 + next_unique);
        }
    }
    conn.seen[1] = reverse(&conn.translated[0]);
    conn.translated[1] = reverse(&conn.seen[0]);
    if (nat) {
        const struct nic_tuple *t = &conn.translated[0];

        conn.parts[0] = snat ? NIC_TUPLE_SRC : NIC_TUPLE_DST;
        conn.parts[1] = snat ? NIC_TUPLE_DST : NIC_TUPLE_SRC;
        info.nat_action = (snat ? NAT_ACTION_SRC | NAT_ACTION_SRC_PORT
                           : NAT_ACTION_DST | NAT_ACTION_DST_PORT);
        if (dl_type == htons(ETH_TYPE_IP)) {
            info.min_addr.ipv4 = snat ? t->src.ipv4 : t->dst.ipv4;
        } else {
            info.min_addr.ipv6 = snat ? t->src.ipv6 : t->dst.ipv6;
        }
        info.max_addr = info.min_addr;
        info.min_port = info.max_port = ntohs(snat ? t->tp_src : t->tp_dst);
    }
    other = reverse(&conn.seen[0]);
    if (find_conn(zone, &conn.seen[0], &dir)
        || find_conn(zone, &conn.seen[1], &dir)
        || find_conn(zone, &other, &dir)
        || !memcmp(&conn.seen[0].src, &conn.seen[0].dst,
                   sizeof conn.seen[0].src)) {
        return;
    }

    conn.nat = info;
    conns[n_conns++] = conn;
    establish(&conn);
}

/* As ct() does, without looking at tags: there may be more of them than
 * flow_extract() sees. */
static void
get_packet_tuple(const struct dp_packet *packet, struct nic_tuple *tuple)
{
    const ovs_be16 *ports = dp_packet_l4(packet);

    memset(tuple, 0, sizeof *tuple);
    if (dl_type == htons(ETH_TYPE_IP)) {
        const struct ip_header *ip = dp_packet_l3(packet);

        tuple->src.ipv4 = get_16aligned_be32(&ip->ip_src);
        tuple->dst.ipv4 = get_16aligned_be32(&ip->ip_dst);
    } else {
        const struct ovs_16aligned_ip6_hdr *ip6 = dp_packet_l3(packet);

        memcpy(&tuple->src.ipv6, &ip6->ip6_src, sizeof tuple->src.ipv6);
        memcpy(&tuple->dst.ipv6, &ip6->ip6_dst, sizeof tuple->dst.ipv6);
    }
    tuple->tp_src = ports[0];
    tuple->tp_dst = ports[1];
}

/* Notes what the first ct() sees. */
static void
get_first(const struct dp_packet *packet)
{
    const struct eth_header *eth = dp_packet_eth(packet);
    struct nic_tuple tuple;

    memset(&first_flow, 0, sizeof first_flow);
    first_flow.recirc_id = packet->md.recirc_id;
    first_flow.dl_type = dl_type;
    first_flow.dl_src = eth->eth_src;
    first_flow.dl_dst = eth->eth_dst;
    if (eth_type_vlan(eth->eth_type)) {
        const struct vlan_eth_header *veth = dp_packet_eth(packet);

        first_flow.vlans[0].tpid = veth->veth_type;
        first_flow.vlans[0].tci = veth->veth_tci | htons(VLAN_CFI);
    }
    get_packet_tuple(packet, &tuple);
    set_tuple(&first_flow, &tuple);
}

/* The connection that 'packet' says it was found to belong to. */
static const struct model_conn *
find_conn_from(uint16_t zone, const struct dp_packet *packet)
{
    const struct pkt_metadata *md = &packet->md;
    struct nic_tuple orig;
    int dir;

    memset(&orig, 0, sizeof orig);
    if (!md->ct_orig_tuple_ipv6) {
        orig.src.ipv4 = md->ct_orig_tuple.ipv4.ipv4_src;
        orig.dst.ipv4 = md->ct_orig_tuple.ipv4.ipv4_dst;
        orig.tp_src = md->ct_orig_tuple.ipv4.src_port;
        orig.tp_dst = md->ct_orig_tuple.ipv4.dst_port;
    } else {
        orig.src.ipv6 = md->ct_orig_tuple.ipv6.ipv6_src;
        orig.dst.ipv6 = md->ct_orig_tuple.ipv6.ipv6_dst;
        orig.tp_src = md->ct_orig_tuple.ipv6.src_port;
        orig.tp_dst = md->ct_orig_tuple.ipv6.dst_port;
    }
    return find_conn(zone, &orig, &dir);
}

/* Executes ct() on 'packet' as dpif-netdev does. */
static void
execute_ct(struct dp_packet *packet, const struct nlattr *action)
{
    const struct ovs_key_ct_labels *label = NULL;
    struct nat_action_info_t nat;
    bool force = false, commit = false, with_nat = false;
    const uint32_t *mark = NULL;
    const struct nlattr *a;
    unsigned int left;
    struct dp_packet_batch batch;
    struct nic_tuple tuple;
    const struct model_conn *conn;
    bool fresh, natted;
    uint16_t zone = 0;
    int dir;

    NL_NESTED_FOR_EACH (a, left, action) {
        switch (nl_attr_type(a)) {
        case OVS_CT_ATTR_ZONE:
            zone = nl_attr_get_u16(a);
            break;
        case OVS_CT_ATTR_FORCE_COMMIT:
            force = true;
            /* Fall through. */
        case OVS_CT_ATTR_COMMIT:
            commit = true;
            break;
        case OVS_CT_ATTR_MARK:
            mark = nl_attr_get(a);
            break;
        case OVS_CT_ATTR_LABELS:
            label = nl_attr_get(a);
            break;
        case OVS_CT_ATTR_NAT:
            with_nat = true;
            break;
        }
    }

    get_packet_tuple(packet, &tuple);
    natted = packet->md.ct_state & (CS_SRC_NAT | CS_DST_NAT);
    fresh = !packet->md.ct_state || packet->md.ct_zone != zone;
    conn = find_conn(zone, &tuple, &dir);
    if (learning) {
        if (fresh && !conn && !one_in(10)) {
            add_conn(zone, &tuple);
        }
        if (!saw_ct) {
            saw_ct = true;
            first_zone = zone;
            get_first(packet);
        }

        /* Megaflows are what is to be learned; connections stay. */
        mark = NULL;
        label = NULL;
        force = commit = false;
    } else if (fresh && !conn) {
        /* Would be created.  (Made of a translated packet, that can make OVS
         * fail an assertion later.) */
        outs->disturbed = true;
        commit = force = false;
    } else if (force && (fresh ? dir == 1 : natted || packet->md.ct_state
                         & CS_REPLY_DIR)) {
        outs->disturbed = true;
        commit = force = false;
    } else if (!fresh && natted && !find_conn_from(zone, packet)) {
        outs->disturbed = true;
        commit = force = false;
    }

    memset(&nat, 0, sizeof nat);
    dp_packet_batch_init_packet(&batch, packet);
    conntrack_execute(ct, &batch, dl_type, force, commit, zone, mark, label,
                      0, 0, NULL, with_nat ? &nat : NULL, time_msec(), 0);

    conn = find_conn_from(zone, packet);
    if (!conn || (packet->md.ct_state & EST) != EST
        || packet->md.ct_state & (CS_NEW | CS_INVALID)
        || packet->md.ct_mark != conn->mark
        || !ovs_u128_equals(packet->md.ct_label, conn->label)) {
        outs->disturbed = true;
    }
}

static void walk(struct dp_packet *, uint32_t recirc_id);

static void
execute_cb(void *aux OVS_UNUSED, struct dp_packet_batch *batch,
           const struct nlattr *action, bool should_steal)
{
    struct dp_packet *packet = batch->packets[0];

    switch (nl_attr_type(action)) {
    case OVS_ACTION_ATTR_OUTPUT:
        if (outs->n < MAX_OUTS) {
            size_t size = dp_packet_size(packet);

            ck_assert(size <= sizeof outs->out[0].data);
            outs->out[outs->n].port = nl_attr_get_u32(action);
            outs->out[outs->n].size = size;
            memcpy(outs->out[outs->n].data, dp_packet_data(packet), size);
            outs->n++;
        }
        break;
    case OVS_ACTION_ATTR_CT:
        execute_ct(packet, action);
        break;
    case OVS_ACTION_ATTR_RECIRC:
        walk(packet, nl_attr_get_u32(action));
        break;
    default:
        OVS_NOT_REACHED();
    }
    if (should_steal) {
        dp_packet_delete_batch(batch, true);
    }
}

static bool
matches(const struct match *match, const struct flow *flow)
{
    for (size_t i = 0; i < FLOW_U64S; i++) {
        if ((flow_u64_value(&match->flow, i) ^ flow_u64_value(flow, i))
            & flow_u64_value(&match->wc.masks, i)) {
            return false;
        }
    }
    return true;
}

static bool
overlap(const struct match *a, const struct match *b)
{
    for (size_t i = 0; i < FLOW_U64S; i++) {
        if ((flow_u64_value(&a->flow, i) ^ flow_u64_value(&b->flow, i))
            & flow_u64_value(&a->wc.masks, i)
            & flow_u64_value(&b->wc.masks, i)) {
            return false;
        }
    }
    return true;
}

/* Masks random bits of 'n' bytes, sometimes all or none. */
static void
random_mask(void *mask_, size_t n)
{
    uint8_t *mask = mask_;
    int how = random_range(8);

    for (size_t i = 0; i < n; i++) {
        mask[i] |= how < 4 ? 0 : how < 6 ? 0xff : random_uint16();
    }
}
#define RANDOM_MASK(MATCH, FIELD)                                             \
    random_mask(&(MATCH)->wc.masks.FIELD, sizeof (MATCH)->wc.masks.FIELD)

/* The match of a megaflow for 'flow'.  With 'exact', of everything. */
static void
random_match(const struct flow *flow, bool exact, struct match *match)
{
    struct flow *mask = &match->wc.masks;

    memset(match, 0, sizeof *match);
    match->flow = *flow;
    memset(&mask->in_port, 0xff, sizeof mask->in_port);
    mask->recirc_id = UINT32_MAX;
    mask->packet_type = OVS_BE32_MAX;
    mask->dl_type = OVS_BE16_MAX;
    mask->nw_frag = UINT8_MAX;
    mask->vlans[0].tci = htons(flow->vlans[0].tci ? VLAN_CFI : 0xffff);
    if (!exact) {
        RANDOM_MASK(match, ct_state);
        RANDOM_MASK(match, ct_zone);
        RANDOM_MASK(match, ct_mark);
        RANDOM_MASK(match, ct_label);
        RANDOM_MASK(match, ct_nw_proto);
        RANDOM_MASK(match, ct_nw_src);
        RANDOM_MASK(match, ct_nw_dst);
        RANDOM_MASK(match, ct_ipv6_src);
        RANDOM_MASK(match, ct_ipv6_dst);
        RANDOM_MASK(match, ct_tp_src);
        RANDOM_MASK(match, ct_tp_dst);
        RANDOM_MASK(match, dl_src);
        RANDOM_MASK(match, dl_dst);
        if (flow->vlans[0].tci && !one_in(3)) {
            RANDOM_MASK(match, vlans[0]);
            if (one_in(3)) {
                mask->vlans[1].tci |= htons(VLAN_CFI);
                RANDOM_MASK(match, vlans[1]);
            }
        }
        if (dl_type == htons(ETH_TYPE_IP)) {
            RANDOM_MASK(match, nw_src);
            RANDOM_MASK(match, nw_dst);
        } else {
            RANDOM_MASK(match, ipv6_src);
            RANDOM_MASK(match, ipv6_dst);
            if (one_in(2)) {
                mask->ipv6_label = htonl(IPV6_LABEL_MASK);
            }
        }
        RANDOM_MASK(match, nw_tos);
        RANDOM_MASK(match, nw_ttl);
        if (one_in(2)) {
            mask->nw_proto = UINT8_MAX;
            RANDOM_MASK(match, tp_src);
            RANDOM_MASK(match, tp_dst);
            if (nw_proto == IPPROTO_TCP) {
                mask->tcp_flags = htons(1 << random_range(9));
            }
        }
    } else {
        for (size_t i = 0; i < FLOW_U64S; i++) {
            ((uint64_t *) mask)[i] = UINT64_MAX;
        }
        mask->dp_hash = 0;
        mask->conj_id = 0;
        memset(&mask->nsh, 0, sizeof mask->nsh);
        memset(&mask->regs, 0, sizeof mask->regs);
        memset(&mask->tunnel, 0, sizeof mask->tunnel);
        memset(&mask->mpls_lse, 0, sizeof mask->mpls_lse);
        memset(&mask->nd_target, 0, sizeof mask->nd_target);
        memset(&mask->pad1, 0, sizeof mask->pad1);
        mask->metadata = 0;
        mask->actset_output = 0;
        mask->arp_sha = mask->arp_tha = eth_addr_zero;
        mask->igmp_group_ip4 = 0;
        mask->pad2 = 0;
        mask->pad3 = 0;
    }
    for (size_t i = 0; i < FLOW_U64S; i++) {
        ((uint64_t *) &match->flow)[i] &= flow_u64_value(mask, i);
    }
}

/* Appends a random SET, and mostly what OVS would match for it. */
static void
random_set(struct ofpbuf *buf, struct match *match, bool early)
{
    struct flow *mask = &match->wc.masks;
    bool ipv4 = dl_type == htons(ETH_TYPE_IP);
    bool strict = !one_in(8);
    union {
        struct ovs_key_ethernet eth;
        struct ovs_key_ipv4 ipv4;
        struct ovs_key_ipv6 ipv6;
        struct ovs_key_tcp tcp;
        uint8_t bytes[64];
    } key, m;
    union nic_addr addr = one_in(2) ? unique_addr() : pool_addr();

    memset(&key, 0, sizeof key);
    memset(&m, 0, sizeof m);
    switch (random_range(early ? 8 : 6)) {
    case 0:
    case 1:
        key.eth.eth_src = pool_mac();
        key.eth.eth_dst = pool_mac();
        memset(one_in(2) ? &m.eth.eth_src : &m.eth.eth_dst, 0xff,
               ETH_ADDR_LEN);
        if (one_in(3)) {
            random_mask(&m.eth, sizeof m.eth);
        }
        if (one_in(4)) {
            put_set(buf, OVS_KEY_ATTR_ETHERNET, &key.eth, sizeof key.eth);
            memset(&m, 0xff, sizeof m);
        } else {
            put_set_masked(buf, OVS_KEY_ATTR_ETHERNET, &key.eth, &m.eth,
                           sizeof key.eth);
        }
        if (strict) {
            for (int i = 0; i < ETH_ADDR_LEN; i++) {
                mask->dl_src.ea[i] |= m.eth.eth_src.ea[i];
                mask->dl_dst.ea[i] |= m.eth.eth_dst.ea[i];
            }
        }
        break;

    case 2:
    case 3:
    case 4:
        if (ipv4) {
            key.ipv4.ipv4_tos = random_uint16();
            key.ipv4.ipv4_ttl = 60 + random_range(5);
            random_mask(&m.ipv4.ipv4_tos, 1);
            m.ipv4.ipv4_ttl = one_in(2) ? 0xff : 0;
            put_set_masked(buf, OVS_KEY_ATTR_IPV4, &key.ipv4, &m.ipv4,
                           sizeof key.ipv4);
            if (strict) {
                mask->nw_tos |= m.ipv4.ipv4_tos;
                mask->nw_ttl |= m.ipv4.ipv4_ttl;
            }
        } else {
            key.ipv6.ipv6_tclass = random_uint16();
            key.ipv6.ipv6_hlimit = 60 + random_range(5);
            key.ipv6.ipv6_label = htonl(random_range(4));
            random_mask(&m.ipv6.ipv6_tclass, 1);
            m.ipv6.ipv6_hlimit = one_in(2) ? 0xff : 0;
            m.ipv6.ipv6_label = one_in(2) ? htonl(IPV6_LABEL_MASK) : 0;
            put_set_masked(buf, OVS_KEY_ATTR_IPV6, &key.ipv6, &m.ipv6,
                           sizeof key.ipv6);
            if (strict) {
                mask->nw_tos |= m.ipv6.ipv6_tclass;
                mask->nw_ttl |= m.ipv6.ipv6_hlimit;
                mask->ipv6_label |= m.ipv6.ipv6_label;
            }
        }
        break;

    case 5:
        key.tcp.tcp_src = htons(1000 + random_range(2));
        key.tcp.tcp_dst = htons(80 + random_range(2));
        memset(one_in(2) ? &m.tcp.tcp_src : &m.tcp.tcp_dst, 0xff, 2);
        put_set_masked(buf, (nw_proto == IPPROTO_TCP ? OVS_KEY_ATTR_TCP
                             : OVS_KEY_ATTR_UDP),
                       &key.tcp, &m.tcp, sizeof key.tcp);
        mask->nw_proto = UINT8_MAX;
        if (strict) {
            mask->tp_src |= m.tcp.tcp_src;
            mask->tp_dst |= m.tcp.tcp_dst;
        }
        break;

    case 6:
    case 7:
        if (ipv4) {
            key.ipv4.ipv4_src = key.ipv4.ipv4_dst = addr.ipv4;
            if (one_in(2)) {
                m.ipv4.ipv4_src = OVS_BE32_MAX;
            } else {
                m.ipv4.ipv4_dst = one_in(4) ? htonl(0xff) : OVS_BE32_MAX;
            }
            put_set_masked(buf, OVS_KEY_ATTR_IPV4, &key.ipv4, &m.ipv4,
                           sizeof key.ipv4);
            if (strict) {
                mask->nw_src |= m.ipv4.ipv4_src;
                mask->nw_dst |= m.ipv4.ipv4_dst;
            }
        } else {
            bool src = one_in(2);

            memcpy(&key.ipv6.ipv6_src, &addr.ipv6, 16);
            memcpy(&key.ipv6.ipv6_dst, &addr.ipv6, 16);
            memset(src ? &m.ipv6.ipv6_src : &m.ipv6.ipv6_dst, 0xff, 16);
            put_set_masked(buf, OVS_KEY_ATTR_IPV6, &key.ipv6, &m.ipv6,
                           sizeof key.ipv6);
            if (strict) {
                memset(src ? &mask->ipv6_src : &mask->ipv6_dst, 0xff, 16);
            }
        }
        break;
    }
}

/* Fills in random actions for packets like 'flow', and what 'match' must have
 * for them. */
static void
random_actions(struct ofpbuf *buf, const struct flow *flow,
               struct match *match)
{
    int n_tags = !!flow->vlans[0].tci + !!flow->vlans[1].tci;
    int n_popped = 0, n_pushed = 0;
    bool has_ct = flow->ct_state != 0;
    int n = random_range(5) + !has_ct;
    bool ct_last = false;

    ofpbuf_init(buf, 256);
    for (int i = 0; i < n; i++) {
        int what = random_range(12);

        ct_last = false;
        if (what < 3) {
            random_set(buf, match, one_in(2));
        } else if (what < 4 && n_tags + n_pushed - n_popped < 2) {
            put_push_vlan(buf, random_range(4));
            n_pushed++;
        } else if (what < 5 && n_pushed + n_tags > n_popped) {
            put_pop_vlan(buf);
            if (n_pushed) {
                n_pushed--;
            } else {
                match->wc.masks.vlans[n_popped].qtag = OVS_BE32_MAX;
                n_popped++;
            }
        } else if (what < 7) {
            put_output(buf, 2 + random_range(N_PORTS));
        } else if (what < 11) {
            struct ct_options o = {
                .zone = one_in(3) ? random_range(N_ZONES) : flow->ct_zone,
                .commit = one_in(3),
                .force = one_in(20),
                .nat = one_in(2),
                .mark_mask = one_in(6) ? random_range(4) : 0,
                .mark = random_range(4),
                .label_mask.u64.hi = one_in(8) ? 1ULL << 63 : 0,
                .label.u64.hi = one_in(2) ? 1ULL << 63 : 0,
            };

            put_ct(buf, &o);
            has_ct = true;
            ct_last = true;
        } else if (one_in(4)) {
            nl_msg_put_flag(buf, OVS_ACTION_ATTR_CT_CLEAR);
        }
    }
    if (ct_last ? !one_in(4) : !has_ct || one_in(4)) {
        put_recirc(buf, 1 + random_range(MAX_RECIRC * 4));
    } else if (!one_in(5)) {
        put_output(buf, 2 + random_range(N_PORTS));
    }
    for (size_t i = 0; i < FLOW_U64S; i++) {
        ((uint64_t *) &match->flow)[i] = (flow_u64_value(flow, i)
                                          & flow_u64_value(&match->wc.masks,
                                                           i));
    }
}

static bool
is_free(const struct match *match)
{
    for (size_t i = 0; i < n_entries; i++) {
        if (overlap(match, &entries[i].match)) {
            return false;
        }
    }
    return true;
}

/* Makes a megaflow for 'flow', which missed. */
static struct entry *
learn(const struct flow *flow)
{
    struct entry *e = &entries[n_entries];
    struct megaflow_program program;
    ovs_u128 ufid;
    bool added;

    if (n_entries == MAX_ENTRIES) {
        return NULL;
    }
    for (int i = 0; ; i++) {
        random_match(flow, i == 5, &e->match);
        random_actions(&e->actions, flow, &e->match);
        if (is_free(&e->match)) {
            break;
        }
        ofpbuf_uninit(&e->actions);
        if (i == 5) {
            return NULL;
        }
    }

    memset(&ufid, 0, sizeof ufid);
    ufid.u32[0] = ++n_entries;
    megaflow_program_parse(e->actions.data, e->actions.size, &program);
    e->recirc_id = flow->recirc_id;
    e->megaflow = mf_mirror_put(&mirror, DP, &ufid, NULL, &e->match,
                                &program, &added);
    ck_assert(added);
    return e;
}

/* Sends 'packet', which is not freed, through the table of 'recirc_id'. */
static void
walk(struct dp_packet *packet, uint32_t recirc_id)
{
    struct entry *e = NULL;
    struct dp_packet_batch batch;
    struct flow flow;

    packet->md.recirc_id = recirc_id;
    flow_extract(packet, &flow);
    for (size_t i = 0; i < n_entries; i++) {
        if (matches(&entries[i].match, &flow)) {
            ck_assert_ptr_eq(e, NULL);
            e = &entries[i];
        }
    }
    if (!e && learning && depth < MAX_RECIRC && flow.dl_type == dl_type) {
        e = learn(&flow);
    }
    if (!e || depth >= PATH_MAX_STAGES) {
        outs->miss = true;
        return;
    }

    outs->stage_size[depth++] = dp_packet_size(packet);
    outs->n_stages = depth;
    dp_packet_batch_init_packet(&batch, dp_packet_clone(packet));
    odp_execute_actions(NULL, &batch, true, e->actions.data, e->actions.size,
                        execute_cb);
    depth--;
}

static void
execute(const struct flow *flow, bool learn_, struct outs *o)
{
    struct dp_packet *packet = make_data_packet(flow);

    memset(o, 0, sizeof *o);
    outs = o;
    learning = learn_;
    saw_ct = false;
    depth = 0;
    walk(packet, 0);
    dp_packet_delete(packet);
}

/* A packet that may come. */
static void
random_packet(struct flow *flow)
{
    struct nic_tuple tuple;

    memset(flow, 0, sizeof *flow);
    flow->in_port.odp_port = u32_to_odp(IN_PORT);
    flow->dl_src = pool_mac();
    flow->dl_dst = pool_mac();
    flow->dl_type = dl_type;
    flow->nw_proto = nw_proto;
    memset(&tuple, 0, sizeof tuple);
    do {
        tuple.src = pool_addr();
        tuple.dst = pool_addr();
    } while (!memcmp(&tuple.src, &tuple.dst, sizeof tuple.src));
    tuple.tp_src = htons(1000 + random_range(2));
    tuple.tp_dst = htons(80 + random_range(2));
    set_tuple(flow, &tuple);
    flow->nw_tos = one_in(2) ? 0 : random_uint16();
    flow->nw_ttl = 60 + random_range(5);
    if (dl_type == htons(ETH_TYPE_IPV6)) {
        flow->ipv6_label = htonl(random_range(4));
    }
    flow->tcp_flags = nw_proto == IPPROTO_TCP ? htons(TCP_ACK) : 0;
    for (int i = 0; i < flow_vlan_limit && one_in(2); i++) {
        flow->vlans[i].tpid = htons(ETH_TYPE_VLAN);
        flow->vlans[i].tci = htons(VLAN_CFI | random_range(4));
    }
}

static nic_port_id
resolve(odp_port_t port, void *aux OVS_UNUSED)
{
    return odp_to_u32(port) + 100;
}

static const struct path_resolver resolver = { .port = resolve };

static enum offload_reason
find_conn_cb(uint16_t zone, const struct nic_tuple *tuple,
             struct path_conn *pc, void *aux OVS_UNUSED)
{
    struct model_conn *conn;
    int dir;

    conn = find_conn(zone, tuple, &dir);
    if (!conn) {
        return REASON_OTHER_ZONE;
    }
    pc->conn = conn;
    pc->reply = dir;
    pc->mark = conn->mark;
    pc->label = conn->label;
    pc->orig = conn->seen[0];
    pc->nat_parts = conn->parts[dir];
    pc->nat_state = (conn->parts[dir] & NIC_TUPLE_SRC ? CS_SRC_NAT
                     : conn->parts[dir] & NIC_TUPLE_DST ? CS_DST_NAT : 0);
    pc->translated = conn->translated[dir];
    return REASON_NONE;
}

/* The emulated NIC of this test: executes actions on bytes. */

static void
set_bytes(void *data_, const uint8_t *value, const uint8_t *mask, size_t n)
{
    uint8_t *data = data_;

    for (size_t i = 0; i < n; i++) {
        data[i] = (data[i] & ~mask[i]) | (value[i] & mask[i]);
    }
}

static void
nic_set(struct dp_packet *packet, enum nic_field field, const void *value,
        const void *mask)
{
    bool ipv4 = dl_type == htons(ETH_TYPE_IP);
    struct eth_header *eth = dp_packet_eth(packet);
    struct ip_header *ip = dp_packet_l3(packet);
    struct ovs_16aligned_ip6_hdr *ip6 = dp_packet_l3(packet);
    ovs_16aligned_be32 *word = &ip6->ip6_ctlun.ip6_un1.ip6_un1_flow;
    uint32_t word6 = ipv4 ? 0 : ntohl(get_16aligned_be32(word));
    uint8_t *l4 = dp_packet_l4(packet);

    switch (field) {
    case NIC_FIELD_ETH_SRC:
        set_bytes(&eth->eth_src, value, mask, ETH_ADDR_LEN);
        break;
    case NIC_FIELD_ETH_DST:
        set_bytes(&eth->eth_dst, value, mask, ETH_ADDR_LEN);
        break;
    case NIC_FIELD_IP_SRC:
        if (ipv4) {
            set_bytes(&ip->ip_src, value, mask, 4);
        } else {
            set_bytes(&ip6->ip6_src, value, mask, 16);
        }
        break;
    case NIC_FIELD_IP_DST:
        if (ipv4) {
            set_bytes(&ip->ip_dst, value, mask, 4);
        } else {
            set_bytes(&ip6->ip6_dst, value, mask, 16);
        }
        break;
    case NIC_FIELD_IP_TOS:
        if (ipv4) {
            set_bytes(&ip->ip_tos, value, mask, 1);
        } else {
            uint8_t tos = word6 >> 20;

            set_bytes(&tos, value, mask, 1);
            put_16aligned_be32(word, htonl((word6 & 0xf00fffff) | tos << 20));
        }
        break;
    case NIC_FIELD_IP_TTL:
        set_bytes((ipv4 ? &ip->ip_ttl : &ip6->ip6_ctlun.ip6_un1.ip6_un1_hlim),
                  value, mask, 1);
        break;
    case NIC_FIELD_IPV6_LABEL: {
        uint32_t v = ntohl(*(const ovs_be32 *) value);
        uint32_t m = ntohl(*(const ovs_be32 *) mask) & 0xfffff;

        ck_assert(!ipv4);
        put_16aligned_be32(word, htonl((word6 & ~m) | (v & m)));
        break;
    }
    case NIC_FIELD_TP_SRC:
        set_bytes(l4, value, mask, 2);
        break;
    case NIC_FIELD_TP_DST:
        set_bytes(l4 + 2, value, mask, 2);
        break;
    case NIC_FIELD_VLAN_TCI:
    default:
        ck_abort();
    }
}

static void
nic_set_tuple(struct dp_packet *packet, const struct nic_tuple *tuple,
              unsigned int parts)
{
    static const uint8_t ones[16] = {
        255, 255, 255, 255, 255, 255, 255, 255,
        255, 255, 255, 255, 255, 255, 255, 255,
    };

    ck_assert(parts);
    if (parts & NIC_TUPLE_SRC) {
        nic_set(packet, NIC_FIELD_IP_SRC, &tuple->src, ones);
        nic_set(packet, NIC_FIELD_TP_SRC, &tuple->tp_src, ones);
    }
    if (parts & NIC_TUPLE_DST) {
        nic_set(packet, NIC_FIELD_IP_DST, &tuple->dst, ones);
        nic_set(packet, NIC_FIELD_TP_DST, &tuple->tp_dst, ones);
    }
}

/* A rule of module mode. */
static struct nic_template *module_rules[MAX_ENTRIES];
static size_t n_module_rules;

/* What NIC_ACTION_CT has left. */
struct nic_ct_state {
    const struct model_conn *conn;
    int dir;
    bool natted;
};

static void
get_fields(struct dp_packet *packet, const struct nic_ct_state *state,
           struct flow *flow)
{
    struct pkt_metadata md = packet->md;

    pkt_metadata_init(&packet->md, ODPP_NONE);
    flow_extract(packet, flow);
    packet->md = md;
    flow->in_port.odp_port = 0;
    if (state && state->conn) {
        const struct model_conn *conn = state->conn;
        unsigned int parts = state->natted ? conn->parts[state->dir] : 0;

        flow->ct_state = (EST | (state->dir ? CS_REPLY_DIR : 0)
                          | (parts & NIC_TUPLE_SRC ? CS_SRC_NAT : 0)
                          | (parts & NIC_TUPLE_DST ? CS_DST_NAT : 0));
        flow->ct_zone = conn->zone;
        flow->ct_mark = conn->mark;
        flow->ct_label = conn->label;
        flow->ct_nw_proto = nw_proto;
        if (dl_type == htons(ETH_TYPE_IP)) {
            flow->ct_nw_src = conn->seen[0].src.ipv4;
            flow->ct_nw_dst = conn->seen[0].dst.ipv4;
        } else {
            flow->ct_ipv6_src = conn->seen[0].src.ipv6;
            flow->ct_ipv6_dst = conn->seen[0].dst.ipv6;
        }
        flow->ct_tp_src = conn->seen[0].tp_src;
        flow->ct_tp_dst = conn->seen[0].tp_dst;
    }
}

/* Executes NIC_ACTION_CT.  Returns false if it misses. */
static bool
nic_ct(struct dp_packet *packet, const struct nic_action *a,
       struct nic_ct_state *state)
{
    if (!state->conn || state->conn->zone != a->ct.zone) {
        struct nic_tuple tuple;
        struct flow flow;

        get_fields(packet, NULL, &flow);
        get_tuple(&flow, &tuple);
        state->conn = find_conn(a->ct.zone, &tuple, &state->dir);
        state->natted = false;
        if (!state->conn) {
            return false;
        }
    }
    if ((state->conn->mark ^ a->ct.mark) & a->ct.mark_mask
        || ((state->conn->label.u64.hi ^ a->ct.label.u64.hi)
            & a->ct.label_mask.u64.hi)
        || ((state->conn->label.u64.lo ^ a->ct.label.u64.lo)
            & a->ct.label_mask.u64.lo)
        || (a->ct.orig_only && state->dir)) {
        return false;
    }
    if (a->ct.nat && !state->natted && state->conn->parts[state->dir]) {
        nic_set_tuple(packet, &state->conn->translated[state->dir],
                      state->conn->parts[state->dir]);
        state->natted = true;
    }
    return true;
}

/* Executes the rule of 'template' and 'values' on 'packet'.  Module mode goes
 * on in other tables, and may miss. */
static void
nic_execute(struct dp_packet *packet, const struct nic_template *template,
            const struct nic_values *values, struct nic_ct_state *state,
            struct outs *o)
{
    for (size_t i = 0; i < template->n_actions; i++) {
        const struct nic_action *a = &template->actions[i];

        switch (a->type) {
        case NIC_ACTION_OUTPUT:
            ck_assert(o->n < MAX_OUTS);
            o->out[o->n].port = a->port - 100;
            o->out[o->n].size = dp_packet_size(packet);
            memcpy(o->out[o->n].data, dp_packet_data(packet),
                   dp_packet_size(packet));
            o->n++;
            break;
        case NIC_ACTION_DROP:
            ck_assert_int_eq(i, template->n_actions - 1);
            return;
        case NIC_ACTION_SET:
            nic_set(packet, a->set.field, a->set.value, a->set.mask);
            break;
        case NIC_ACTION_SET_TUPLE:
            ck_assert(template->slots & NIC_SLOT_REWRITE);
            nic_set_tuple(packet, &values->rewrite, a->parts);
            break;
        case NIC_ACTION_PUSH_VLAN:
            eth_push_vlan(packet, a->vlan.tpid, a->vlan.tci);
            break;
        case NIC_ACTION_POP_VLAN:
            ck_assert(eth_type_vlan(((struct eth_header *)
                                     dp_packet_eth(packet))->eth_type));
            eth_pop_vlan(packet);
            break;
        case NIC_ACTION_CT_CLEAR:
            state->conn = NULL;
            break;
        case NIC_ACTION_JUMP:
        case NIC_ACTION_DEC_TTL:
        case NIC_ACTION_WINDOW:
            OVS_NOT_REACHED();
        case NIC_ACTION_CT:
            if (!nic_ct(packet, a, state)) {
                o->miss = true;
                return;
            }
            if (a->ct.table != NIC_TABLE_NONE) {
                const struct nic_template *next = NULL;
                struct flow flow;

                ck_assert_int_eq(i, template->n_actions - 1);
                get_fields(packet, state, &flow);
                for (size_t j = 0; j < n_module_rules; j++) {
                    if (module_rules[j]->table == a->ct.table
                        && matches(&module_rules[j]->match, &flow)) {
                        ck_assert_ptr_eq(next, NULL);
                        next = module_rules[j];
                    }
                }
                if (!next) {
                    o->miss = true;
                    return;
                }
                nic_execute(packet, next, values, state, o);
                return;
            }
            break;
        case NIC_ACTION_EGRESS:
        default:
            ck_abort();
        }
    }
}

/* Checksums are the NIC's matter, not that of composition. */
static void
clear_checksums(uint8_t *data, size_t size)
{
    struct dp_packet packet;
    struct flow flow;

    dp_packet_use_stub(&packet, data, size);
    dp_packet_set_size(&packet, size);
    pkt_metadata_init(&packet.md, ODPP_NONE);

    /* Tags that flow_extract() does not look at. */
    while (size > 18 && data[12] == 0x81 && data[13] == 0
           && data[16] == 0x81 && data[17] == 0) {
        memmove(data + 12, data + 16, size - 16);
        memset(data + size - 4, data[14], 4);
        size -= 4;
        dp_packet_set_size(&packet, size);
    }
    flow_extract(&packet, &flow);
    if (dp_packet_l4(&packet)) {
        if (flow.dl_type == htons(ETH_TYPE_IP)) {
            ((struct ip_header *) dp_packet_l3(&packet))->ip_csum = 0;
        }
        if (flow.nw_proto == IPPROTO_TCP) {
            ((struct tcp_header *) dp_packet_l4(&packet))->tcp_csum = 0;
        } else {
            ((struct udp_header *) dp_packet_l4(&packet))->udp_csum = 0;
        }
    }
    dp_packet_uninit(&packet);
}

/* Prints the pipeline, for the one who reads why a test failed. */
static void
dump(const struct flow *flow)
{
    struct ds ds = DS_EMPTY_INITIALIZER;

    for (size_t i = 0; i < n_entries; i++) {
        ds_put_format(&ds, "%"PRIuSIZE": ", i);
        match_format(&entries[i].match, NULL, &ds, 0);
        ds_put_cstr(&ds, " actions=");
        format_odp_actions(&ds, entries[i].actions.data,
                           entries[i].actions.size, NULL);
        ds_put_char(&ds, '\n');
    }
    ds_put_cstr(&ds, "packet: ");
    flow_format(&ds, flow, NULL);
    ds_put_cstr(&ds, "\nfirst ct: ");
    flow_format(&ds, &first_flow, NULL);
    ds_put_format(&ds, "\nlimit %d, reason %s\n", flow_vlan_limit,
                  offload_reason_name(set.reason));
    for (size_t i = 0; i < n_conns; i++) {
        ds_put_format(&ds, "zone %u: ", conns[i].zone);
        nic_tuple_format(&conns[i].seen[0], dl_type, &ds);
        ds_put_cstr(&ds, " reply ");
        nic_tuple_format(&conns[i].seen[1], dl_type, &ds);
        ds_put_format(&ds, " mark %x\n", conns[i].mark);
    }
    for (size_t i = 0; i < set.n_chains; i++) {
        for (size_t j = 0; j < set.chains[i].n; j++) {
            ds_put_format(&ds, " %u",
                          set.chains[i].flows[j]->ufid.u32[0] - 1);
        }
        ds_put_char(&ds, '\n');
    }
    fputs(ds_cstr(&ds), stderr);
    ds_destroy(&ds);
}

static bool
outs_equal(struct outs *sw, struct outs *hw)
{
    if (sw->miss || sw->disturbed || sw->n != hw->n) {
        return false;
    }
    for (size_t i = 0; i < sw->n; i++) {
        clear_checksums(sw->out[i].data, sw->out[i].size);
        clear_checksums(hw->out[i].data, hw->out[i].size);
        if (sw->out[i].port != hw->out[i].port
            || sw->out[i].size != hw->out[i].size
            || memcmp(sw->out[i].data, hw->out[i].data, sw->out[i].size)) {
            return false;
        }
    }
    return true;
}

static void
check_equal(const struct flow *flow, struct outs *sw, struct outs *hw)
{
    if (!outs_equal(sw, hw)) {
        dump(flow);
        fprintf(stderr, "software: miss %d disturbed %d\n", sw->miss,
                sw->disturbed);
        for (size_t i = 0; i < sw->n; i++) {
            fprintf(stderr, "to %u:\n", sw->out[i].port);
            ovs_hex_dump(stderr, sw->out[i].data, sw->out[i].size, 0, false);
        }
        fprintf(stderr, "NIC:\n");
        for (size_t i = 0; i < hw->n; i++) {
            fprintf(stderr, "to %u:\n", hw->out[i].port);
            ovs_hex_dump(stderr, hw->out[i].data, hw->out[i].size, 0, false);
        }
        ck_abort_msg("NIC and software differ");
    }
}

/* A packet that 'match' matches, at random where it leaves room. */
static void
random_packet_of(const struct match *match, struct flow *flow)
{
    struct flow noise;

    random_packet(&noise);
    if (one_in(2)) {
        noise.nw_tos = random_uint16();
        noise.nw_ttl = random_uint16() | 1;
        noise.dl_src.ea[5] = random_uint16();
        noise.dl_dst.ea[4] = random_uint16();
        if (noise.vlans[0].tci) {
            noise.vlans[0].tci |= htons(random_uint16() & 0xff);
        }
    }
    if (nw_proto == IPPROTO_TCP) {
        noise.tcp_flags = htons(one_in(4) ? random_range(512)
                                : (TCP_ACK | (random_uint16()
                                              & (TCP_PSH | TCP_ECE
                                                 | TCP_CWR))));
    }
    noise.nw_frag = one_in(8) ? FLOW_NW_FRAG_ANY : 0;
    for (size_t i = 0; i < FLOW_U64S; i++) {
        uint64_t mask = flow_u64_value(&match->wc.masks, i);

        ((uint64_t *) flow)[i] = ((flow_u64_value(&match->flow, i) & mask)
                                  | (flow_u64_value(&noise, i) & ~mask));
    }
    for (int i = 0; i < FLOW_MAX_VLAN_HEADERS; i++) {
        if (flow->vlans[i].tci & htons(VLAN_CFI)) {
            flow->vlans[i].tpid = htons(ETH_TYPE_VLAN);
        } else {
            memset(&flow->vlans[i], 0,
                   (FLOW_MAX_VLAN_HEADERS - i) * sizeof flow->vlans[0]);
        }
    }
    flow->in_port.odp_port = 0;
}

static void
check_packet(const struct flow *flow, const struct match *rules,
             struct nic_template **templates, const struct nic_values *values,
             int byte_deltas[][PATH_MAX_STAGES], size_t n)
{
    struct nic_ct_state state = { .conn = NULL };
    static struct outs sw, hw;
    struct dp_packet *packet;
    struct flow wire;
    bool hit = false;

    packet = make_data_packet(flow);
    get_fields(packet, NULL, &wire);
    for (size_t i = 0; i < n; i++) {
        if (templates[i] && matches(&rules[i], &wire)) {
            struct dp_packet *p = dp_packet_clone(packet);

            ck_assert(!hit);
            hit = true;
            memset(&hw, 0, sizeof hw);
            nic_execute(p, templates[i], &values[i], &state, &hw);
            ck_assert(!hw.miss);
            dp_packet_delete(p);
            execute(flow, false, &sw);
            check_equal(flow, &sw, &hw);
            ck_assert_int_eq(sw.n_stages, set.chains[i].n);
            for (size_t j = 0; j < sw.n_stages; j++) {
                ck_assert_int_eq((int) sw.stage_size[j]
                                 - (int) dp_packet_size(packet),
                                 byte_deltas[i][j]);
            }
            n_carried++;
        }
    }

    /* Module mode. */
    for (size_t i = 0; i < n_module_rules; i++) {
        if (module_rules[i]->table == NIC_TABLE_ROOT
            && matches(&module_rules[i]->match, &wire)
            && (nw_proto != IPPROTO_TCP
                || (ntohs(wire.tcp_flags) & PATH_TCP_FLAGS_MASK)
                == PATH_TCP_FLAGS)) {
            struct dp_packet *p = dp_packet_clone(packet);

            memset(&hw, 0, sizeof hw);
            memset(&state, 0, sizeof state);
            nic_execute(p, module_rules[i], NULL, &state, &hw);
            dp_packet_delete(p);
            if (!hw.miss) {
                execute(flow, false, &sw);
                check_equal(flow, &sw, &hw);
                n_carried_module++;
            }
        }
    }
    dp_packet_delete(packet);
}

/* Composes for the first ct() that 'received' came to, and checks what comes
 * out. */
static void
check_subject(const struct flow *received, const struct outs *sw)
{
    struct match rules[PATH_MAX_CHAINS];
    struct nic_template *templates[PATH_MAX_CHAINS];
    struct nic_values values[PATH_MAX_CHAINS];
    int byte_deltas[PATH_MAX_CHAINS][PATH_MAX_STAGES];
    struct ct_ingress ingress = {
        .in_port = u32_to_odp(IN_PORT),
        .dl_src = first_flow.dl_src,
        .dl_dst = first_flow.dl_dst,
        .vlan = first_flow.vlans[0],
    };
    struct path_subject subject = {
        .dp = DP,
        .dl_type = dl_type,
        .nw_proto = nw_proto,
        .zone = first_zone,
        .ingress = &ingress,
        .find_conn = find_conn_cb,
    };
    bool refused = false, covered = false;
    struct nic_tuple tuple;
    struct flow flow, wire;
    struct dp_packet *packet;
    int dir;

    get_tuple(&first_flow, &tuple);
    subject.tuple = &tuple;
    subject.conn = find_conn(first_zone, &tuple, &dir);
    if (!subject.conn) {
        return;
    }
    path_compose(&mirror, &subject, &set);
    n_by_reason[set.reason]++;

    n_module_rules = 0;
    for (size_t i = 0; i < set.n_chains; i++) {
        const struct path_chain *chain = &set.chains[i];
        const struct megaflow *culprit;
        struct nic_template *again;
        struct path_chain other;
        enum offload_reason reason;

        n_chains++;
        memset(&values[i], 0, sizeof values[i]);
        values[i].tuple = chain->tuple;
        values[i].rewrite = chain->rewrite;
        n_backward += memcmp(&chain->tuple, &tuple, sizeof tuple) != 0;
        ck_assert_int_ge(chain->n_cts, 1);
        ck_assert_ptr_eq(chain->cts[0].conn, subject.conn);
        for (size_t j = 0; j < chain->n_cts; j++) {
            n_members += chain->cts[j].conn != subject.conn;
            n_natted += chain->cts[j].parts != 0;
        }

        templates[i] = path_compile_flat(chain, dl_type, nw_proto, &resolver,
                                         byte_deltas[i], &reason, &culprit);
        if (templates[i]) {
            /* Another connection's would be the same. */
            other = *chain;
            memset(&other.tuple, 0, sizeof other.tuple);
            memset(&other.rewrite, 0, sizeof other.rewrite);
            for (size_t j = 0; j < other.n_cts; j++) {
                other.cts[j].conn = NULL;
            }
            again = path_compile_flat(&other, dl_type, nw_proto, &resolver,
                                      byte_deltas[i], &reason, &culprit);
            ck_assert_mem_eq(&again->match, &templates[i]->match,
                             sizeof again->match);
            ck_assert_int_eq(again->slots, templates[i]->slots);
            ck_assert_mem_eq(again->actions, templates[i]->actions,
                             sizeof again->actions);
            nic_template_unref(again);

            nic_rule_to_match(templates[i], &values[i], &rules[i]);
            n_rewritten += (templates[i]->slots & NIC_SLOT_REWRITE) != 0;
        } else {
            ck_assert(reason != REASON_NONE);
            refused = true;
        }

        for (size_t j = 0; j < chain->n; j++) {
            struct nic_template *t;

            t = path_compile_module(chain->flows[j], &resolver, &reason);
            for (size_t k = 0; t && k < n_module_rules; k++) {
                if (t->table == module_rules[k]->table
                    && !memcmp(&t->match, &module_rules[k]->match,
                               sizeof t->match)) {
                    nic_template_unref(t);
                    t = NULL;
                }
            }
            if (t && n_module_rules < MAX_ENTRIES) {
                module_rules[n_module_rules++] = t;
            } else {
                nic_template_unref(t);
            }
        }
    }

    /* The packet that it is about is carried if nothing was refused.  (What is
     * rewritten before ct() but not by the first megaflow is not followed.) */
    packet = make_data_packet(received);
    get_fields(packet, NULL, &wire);
    dp_packet_delete(packet);
    for (size_t i = 0; i < set.n_chains; i++) {
        covered |= templates[i] && matches(&rules[i], &wire);
    }
    if (!refused && !sw->miss && !sw->disturbed && !first_flow.recirc_id
        && (set.reason == REASON_NONE || set.reason == REASON_NO_MEGAFLOW)) {
        if (!covered) {
            dump(received);
        }
        ck_assert(covered);
        n_complete++;
    }

    check_packet(received, rules, templates, values, byte_deltas,
                 set.n_chains);
    for (size_t i = 0; i < set.n_chains; i++) {
        for (int j = 0; templates[i] && j < 30; j++) {
            random_packet_of(&rules[i], &flow);
            check_packet(&flow, rules, templates, values, byte_deltas,
                 set.n_chains);
        }
    }
    for (int j = 0; j < 20; j++) {
        random_packet(&flow);
        check_packet(&flow, rules, templates, values, byte_deltas,
                 set.n_chains);
    }
    for (size_t i = 0; i < set.n_chains; i++) {
        nic_template_unref(templates[i]);
    }
    for (size_t i = 0; i < n_module_rules; i++) {
        nic_template_unref(module_rules[i]);
    }
}

static void
run_round(void)
{
    struct outs o;

    flow_limit_vlans(1 + random_range(2));
    dl_type = htons(one_in(2) ? ETH_TYPE_IP : ETH_TYPE_IPV6);
    nw_proto = one_in(2) ? IPPROTO_TCP : IPPROTO_UDP;
    n_entries = n_conns = next_unique = 0;
    conntrack_flush(ct, NULL);
    mf_mirror_init(&mirror);

    for (int i = 0; i < N_WALKS; i++) {
        struct flow flow;

        random_packet(&flow);
        execute(&flow, true, &o);

        /* Once more, as it is from now on. */
        if (saw_ct) {
            struct flow seen = first_flow;

            execute(&flow, false, &o);
            first_flow = seen;
            if (o.disturbed) {
                /* Something was changed, or created. */
                conntrack_flush(ct, NULL);
                for (size_t j = 0; j < n_conns; j++) {
                    establish(&conns[j]);
                }
            }
            check_subject(&flow, &o);
        }
    }

    mf_mirror_destroy(&mirror);
    for (size_t i = 0; i < n_entries; i++) {
        ofpbuf_uninit(&entries[i].actions);
    }
}

START_TEST(test_random)
{
    const char *rounds = getenv("PATH_ROUNDS");

    random_set_seed(_i + 1);
    odp_execute_init();
    ct = conntrack_init();
    for (int i = 0; i < (rounds ? atoi(rounds) : 100); i++) {
        run_round();
    }
    conntrack_destroy(ct);
    if (getenv("PATH_VERBOSE")) {
        printf("seed %d: carried %u (module %u), chains %u, rewritten %u, "
               "members %u, nat %u, backward %u, complete %u\n", _i + 1,
               n_carried, n_carried_module, n_chains, n_rewritten, n_members,
               n_natted, n_backward, n_complete);
        for (int i = 0; i < N_REASONS; i++) {
            if (n_by_reason[i]) {
                printf("  %s: %u\n", offload_reason_name(i), n_by_reason[i]);
            }
        }
    }
    ck_assert_int_gt(n_carried, 100);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("path-random");
    TCase *tcase = tcase_create("random");

    tcase_add_loop_test(tcase, test_random, 0, 8);
    suite_add_tcase(suite, tcase);
    return unit_test_run(suite);
}
