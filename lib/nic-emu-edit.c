/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>
#include "nic-emu-edit.h"

#include <netinet/in.h>
#include <netinet/ip6.h>

#include "csum.h"
#include "dp-packet.h"
#include "packets.h"
#include "unaligned.h"
#include "util.h"

/* Returns the bits of 'old' where 'mask' is 0 and those of 'value' where it is
 * 1, of the 'len' bytes at each of them, in 'new'. */
static void
mix(const void *old_, const uint8_t *value, const uint8_t *mask, size_t len,
    void *new_)
{
    const uint8_t *old = old_;
    uint8_t *new = new_;

    for (size_t i = 0; i < len; i++) {
        new[i] = (old[i] & ~mask[i]) | (value[i] & mask[i]);
    }
}

static bool
has_vlan(const struct dp_packet *packet)
{
    const struct vlan_eth_header *veh = dp_packet_data(packet);

    return (dp_packet_size(packet) >= sizeof *veh
            && eth_type_vlan(veh->veth_type));
}

bool
nic_emu_edit_is_ip(enum nic_field field)
{
    switch (field) {
    case NIC_FIELD_IP_SRC:
    case NIC_FIELD_IP_DST:
    case NIC_FIELD_IP_TOS:
    case NIC_FIELD_IP_TTL:
    case NIC_FIELD_IPV6_LABEL:
    case NIC_FIELD_TP_SRC:
    case NIC_FIELD_TP_DST:
        return true;
    case NIC_FIELD_ETH_SRC:
    case NIC_FIELD_ETH_DST:
    case NIC_FIELD_VLAN_TCI:
    default:
        return false;
    }
}

bool
nic_emu_edit_is_tuple(enum nic_field field)
{
    return (field == NIC_FIELD_IP_SRC || field == NIC_FIELD_IP_DST
            || field == NIC_FIELD_TP_SRC || field == NIC_FIELD_TP_DST);
}

/* Layer 2. */

static bool
set_eth(struct dp_packet *packet, bool dst, const uint8_t *value,
        const uint8_t *mask)
{
    struct eth_header *eth = dp_packet_data(packet);
    struct eth_addr *addr;

    if (dp_packet_size(packet) < sizeof *eth) {
        return false;
    }
    addr = dst ? &eth->eth_dst : &eth->eth_src;
    mix(addr, value, mask, sizeof *addr, addr);
    return true;
}

static bool
set_vlan_tci(struct dp_packet *packet, const uint8_t *value,
             const uint8_t *mask_)
{
    struct vlan_eth_header *veh = dp_packet_data(packet);
    uint8_t mask[2] = { mask_[0] & ~(VLAN_CFI >> 8), mask_[1] };

    if (!has_vlan(packet)) {
        return false;
    }
    mix(&veh->veth_tci, value, mask, sizeof mask, &veh->veth_tci);
    return true;
}

bool
nic_emu_edit_push_vlan(struct dp_packet *packet, ovs_be16 tpid, ovs_be16 tci)
{
    if (dp_packet_size(packet) < ETH_HEADER_LEN) {
        return false;
    }
    eth_push_vlan(packet, tpid, tci);
    return true;
}

bool
nic_emu_edit_pop_vlan(struct dp_packet *packet)
{
    if (!has_vlan(packet)) {
        return false;
    }
    eth_pop_vlan(packet);
    return true;
}

/* Layer 3. */

static void
set_ipv4_addr(struct dp_packet *packet, bool dst, ovs_be32 new)
{
    struct ip_header *ip = dp_packet_l3(packet);
    ovs_16aligned_be32 *addr = dst ? &ip->ip_dst : &ip->ip_src;

    if (get_16aligned_be32(addr) != new) {
        packet_set_ipv4_addr(packet, addr, new);
    }
}

static void
set_ipv6_addr(struct dp_packet *packet, uint8_t nw_proto, bool dst,
              const struct in6_addr *new)
{
    struct ovs_16aligned_ip6_hdr *ip6 = dp_packet_l3(packet);
    union ovs_16aligned_in6_addr *addr = dst ? &ip6->ip6_dst : &ip6->ip6_src;

    if (memcmp(addr, new, sizeof *new)) {
        packet_set_ipv6_addr(packet, nw_proto, addr->be32, new, true);
    }
}

static void
set_addr_masked(struct dp_packet *packet,
                const struct nic_emu_edit_proto *proto, bool dst,
                const uint8_t *value, const uint8_t *mask)
{
    if (proto->dl_type == htons(ETH_TYPE_IP)) {
        struct ip_header *ip = dp_packet_l3(packet);
        ovs_be32 new;

        mix(dst ? &ip->ip_dst : &ip->ip_src, value, mask, sizeof new, &new);
        set_ipv4_addr(packet, dst, new);
    } else {
        struct ovs_16aligned_ip6_hdr *ip6 = dp_packet_l3(packet);
        struct in6_addr new;

        mix(dst ? &ip6->ip6_dst : &ip6->ip6_src, value, mask, sizeof new,
            &new);
        set_ipv6_addr(packet, proto->nw_proto, dst, &new);
    }
}

static void
set_tos(struct dp_packet *packet, const struct nic_emu_edit_proto *proto,
        const uint8_t *value, const uint8_t *mask)
{
    uint8_t old, new;

    if (proto->dl_type == htons(ETH_TYPE_IP)) {
        struct ip_header *ip = dp_packet_l3(packet);

        old = ip->ip_tos;
        mix(&old, value, mask, 1, &new);
        if (old != new) {
            ip->ip_csum = recalc_csum16(ip->ip_csum, htons(old), htons(new));
            ip->ip_tos = new;
        }
    } else {
        struct ovs_16aligned_ip6_hdr *ip6 = dp_packet_l3(packet);

        ovs_be32 flow = get_16aligned_be32(&ip6->ip6_flow);

        old = ntohl(flow) >> 20;
        mix(&old, value, mask, 1, &new);
        put_16aligned_be32(&ip6->ip6_flow, ((flow & ~htonl(0xffu << 20))
                                            | htonl((uint32_t) new << 20)));
    }
}

static void
set_ttl(struct dp_packet *packet, const struct nic_emu_edit_proto *proto,
        const uint8_t *value, const uint8_t *mask)
{
    if (proto->dl_type == htons(ETH_TYPE_IP)) {
        struct ip_header *ip = dp_packet_l3(packet);
        uint8_t old = ip->ip_ttl, new;

        mix(&old, value, mask, 1, &new);
        if (old != new) {
            ip->ip_csum = recalc_csum16(ip->ip_csum, htons(old << 8),
                                        htons(new << 8));
            ip->ip_ttl = new;
        }
    } else {
        struct ovs_16aligned_ip6_hdr *ip6 = dp_packet_l3(packet);

        mix(&ip6->ip6_hlim, value, mask, 1, &ip6->ip6_hlim);
    }
}

bool
nic_emu_edit_dec_ttl(struct dp_packet *packet,
                     const struct nic_emu_edit_proto *proto)
{
    const uint8_t mask = UINT8_MAX;
    uint8_t ttl;

    if (proto->dl_type == htons(ETH_TYPE_IP)) {
        const struct ip_header *ip = dp_packet_l3(packet);

        ttl = ip->ip_ttl - 1;
    } else if (proto->dl_type == htons(ETH_TYPE_IPV6)) {
        const struct ovs_16aligned_ip6_hdr *ip6 = dp_packet_l3(packet);

        ttl = ip6->ip6_hlim - 1;
    } else {
        return false;
    }
    set_ttl(packet, proto, &ttl, &mask);
    return true;
}

static bool
set_ipv6_label(struct dp_packet *packet,
               const struct nic_emu_edit_proto *proto, const uint8_t *value,
               const uint8_t *mask)
{
    struct ovs_16aligned_ip6_hdr *ip6 = dp_packet_l3(packet);
    const ovs_be32 label_mask = htonl(IPV6_LABEL_MASK);
    ovs_be32 old, new;

    if (proto->dl_type != htons(ETH_TYPE_IPV6)) {
        return false;
    }
    old = get_16aligned_be32(&ip6->ip6_flow);
    mix(&old, value, mask, sizeof new, &new);
    put_16aligned_be32(&ip6->ip6_flow, (old & ~label_mask)
                                       | (new & label_mask));
    return true;
}

/* Layer 4. */

static bool
has_ports(const struct nic_emu_edit_proto *proto)
{
    return proto->nw_proto == IPPROTO_TCP || proto->nw_proto == IPPROTO_UDP;
}

/* TCP and UDP have their ports in the same place. */
static const ovs_be16 *
get_ports(const struct dp_packet *packet)
{
    return dp_packet_l4(packet);
}

static void
set_ports(struct dp_packet *packet, uint8_t nw_proto, ovs_be16 src,
          ovs_be16 dst)
{
    const ovs_be16 *ports = get_ports(packet);

    if (ports[0] == src && ports[1] == dst) {
        return;
    }
    if (nw_proto == IPPROTO_TCP) {
        packet_set_tcp_port(packet, src, dst);
    } else {
        packet_set_udp_port(packet, src, dst);
    }
}

static bool
set_port_masked(struct dp_packet *packet,
                const struct nic_emu_edit_proto *proto, bool dst,
                const uint8_t *value, const uint8_t *mask)
{
    ovs_be16 ports[2];

    if (!has_ports(proto)) {
        return false;
    }
    memcpy(ports, get_ports(packet), sizeof ports);
    mix(&ports[dst], value, mask, sizeof ports[dst], &ports[dst]);
    set_ports(packet, proto->nw_proto, ports[0], ports[1]);
    return true;
}

bool
nic_emu_edit_set(struct dp_packet *packet,
                 const struct nic_emu_edit_proto *proto, enum nic_field field,
                 const uint8_t *value, const uint8_t *mask)
{
    if (nic_emu_edit_is_ip(field) && proto->dl_type != htons(ETH_TYPE_IP)
        && proto->dl_type != htons(ETH_TYPE_IPV6)) {
        return false;
    }

    switch (field) {
    case NIC_FIELD_ETH_SRC:
    case NIC_FIELD_ETH_DST:
        return set_eth(packet, field == NIC_FIELD_ETH_DST, value, mask);
    case NIC_FIELD_VLAN_TCI:
        return set_vlan_tci(packet, value, mask);
    case NIC_FIELD_IP_SRC:
    case NIC_FIELD_IP_DST:
        set_addr_masked(packet, proto, field == NIC_FIELD_IP_DST, value,
                        mask);
        return true;
    case NIC_FIELD_IP_TOS:
        set_tos(packet, proto, value, mask);
        return true;
    case NIC_FIELD_IP_TTL:
        set_ttl(packet, proto, value, mask);
        return true;
    case NIC_FIELD_IPV6_LABEL:
        return set_ipv6_label(packet, proto, value, mask);
    case NIC_FIELD_TP_SRC:
    case NIC_FIELD_TP_DST:
        return set_port_masked(packet, proto, field == NIC_FIELD_TP_DST,
                               value, mask);
    default:
        OVS_NOT_REACHED();
    }
}

bool
nic_emu_edit_set_tuple(struct dp_packet *packet,
                       const struct nic_emu_edit_proto *proto,
                       unsigned int parts, const struct nic_tuple *tuple)
{
    bool src = parts & NIC_TUPLE_SRC;
    bool dst = parts & NIC_TUPLE_DST;
    const ovs_be16 *ports;

    if (!has_ports(proto)) {
        return false;
    }
    if (proto->dl_type == htons(ETH_TYPE_IP)) {
        if (src) {
            set_ipv4_addr(packet, false, tuple->src.ipv4);
        }
        if (dst) {
            set_ipv4_addr(packet, true, tuple->dst.ipv4);
        }
    } else if (proto->dl_type == htons(ETH_TYPE_IPV6)) {
        if (src) {
            set_ipv6_addr(packet, proto->nw_proto, false, &tuple->src.ipv6);
        }
        if (dst) {
            set_ipv6_addr(packet, proto->nw_proto, true, &tuple->dst.ipv6);
        }
    } else {
        return false;
    }

    ports = get_ports(packet);
    set_ports(packet, proto->nw_proto, src ? tuple->tp_src : ports[0],
              dst ? tuple->tp_dst : ports[1]);
    return true;
}
