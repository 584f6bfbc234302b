/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>
#include "nic-emu-parse.h"

#include <netinet/in.h>
#include <netinet/icmp6.h>
#include <netinet/ip6.h>

#include "csum.h"
#include "dp-packet.h"
#include "nic-emu-window.h"
#include "nic-rule.h"
#include "packets.h"
#include "unaligned.h"
#include "util.h"

/* Returns true if the L4 checksum of the 'len' bytes at 'l4' is right, or if
 * 'flow' is not of a protocol that is checked. */
static bool
l4_csum_ok(const struct dp_packet *packet, const struct flow *flow,
           const void *l3, const void *l4, size_t len)
{
    if (dp_packet_l4_checksum_bad(packet)) {
        return false;
    }
    if (dp_packet_l4_checksum_valid(packet)
        || dp_packet_hwol_tx_l4_checksum(packet)) {
        return true;
    }

    if (flow->dl_type == htons(ETH_TYPE_IPV6)) {
        switch (flow->nw_proto) {
        case IPPROTO_TCP:
        case IPPROTO_UDP:
        case IPPROTO_ICMPV6:
            return !packet_csum_upperlayer6(l3, l4, flow->nw_proto, len);
        default:
            return true;
        }
    }

    switch (flow->nw_proto) {
    case IPPROTO_UDP: {
        const struct udp_header *udp = l4;

        if (!udp->udp_csum) {
            return true;
        }
    }
        /* Fall through. */
    case IPPROTO_TCP:
        return !csum_finish(csum_continue(packet_csum_pseudoheader(l3), l4,
                                          len));
    case IPPROTO_ICMP:
        return !csum(l4, len);
    default:
        return true;
    }
}

/* Returns true if the header of 'len' bytes at 'l4' is complete and its own
 * idea of lengths agrees with 'len'. */
static bool
l4_lengths_ok(const struct flow *flow, const void *l4, size_t len)
{
    switch (flow->nw_proto) {
    case IPPROTO_TCP: {
        const struct tcp_header *tcp = l4;

        if (len < TCP_HEADER_LEN) {
            return false;
        }

        size_t header_len = TCP_OFFSET(tcp->tcp_ctl) * 4;
        return header_len >= TCP_HEADER_LEN && header_len <= len;
    }
    case IPPROTO_UDP: {
        const struct udp_header *udp = l4;

        return len >= UDP_HEADER_LEN && ntohs(udp->udp_len) == len;
    }
    default:
        return true;
    }
}

static bool
is_sane(const struct dp_packet *packet, const struct flow *flow,
        bool check_l4_csum)
{
    const uint8_t *l3 = dp_packet_l3(packet);
    const uint8_t *l4 = dp_packet_l4(packet);
    size_t len;

    if (!is_ip_any(flow)) {
        return true;
    }

    /* Without 'l4' already the extraction found the lengths to be wrong. */
    if (!l3 || !l4 || flow->nw_frag) {
        return false;
    }

    if (flow->dl_type == htons(ETH_TYPE_IP)) {
        const struct ip_header *ip = ALIGNED_CAST(const struct ip_header *,
                                                  l3);
        size_t header_len = IP_IHL(ip->ip_ihl_ver) * 4;

        if (IP_VER(ip->ip_ihl_ver) != 4 || dp_packet_ip_checksum_bad(packet)) {
            return false;
        }
        if (!dp_packet_ip_checksum_valid(packet)
            && !dp_packet_hwol_is_ipv4(packet)
            && csum(ip, header_len)) {
            return false;
        }
        len = ntohs(ip->ip_tot_len) - header_len;
    } else {
        const struct ovs_16aligned_ip6_hdr *ip6;

        ip6 = ALIGNED_CAST(const struct ovs_16aligned_ip6_hdr *, l3);
        if (ip6->ip6_vfc >> 4 != 6 || l4 != l3 + sizeof *ip6) {
            return false;
        }
        len = ntohs(ip6->ip6_plen);
    }

    return (l4_lengths_ok(flow, l4, len)
            && (!check_l4_csum || l4_csum_ok(packet, flow, l3, l4, len)));
}

void
nic_emu_parse(struct dp_packet *packet, bool check_l4_csum,
              struct nic_emu_headers *headers)
{
    uint16_t l2_pad_size = packet->l2_pad_size;
    uint16_t l2_5_ofs = packet->l2_5_ofs;
    uint16_t l3_ofs = packet->l3_ofs;
    uint16_t l4_ofs = packet->l4_ofs;
    bool rss_valid = dp_packet_rss_valid(packet);

    pkt_metadata_init(&packet->md, 0);
    flow_extract(packet, &headers->flow);
    headers->sane = is_sane(packet, &headers->flow, check_l4_csum);

    headers->l2_pad_size = packet->l2_pad_size;
    headers->l2_5_ofs = packet->l2_5_ofs;
    headers->l3_ofs = packet->l3_ofs;
    headers->l4_ofs = packet->l4_ofs;

    packet->l2_pad_size = l2_pad_size;
    packet->l2_5_ofs = l2_5_ofs;
    packet->l3_ofs = l3_ofs;
    packet->l4_ofs = l4_ofs;
    if (!rss_valid) {
        /* The extraction may have computed a hash. */
        *dp_packet_ol_flags_ptr(packet) &= ~DP_PACKET_OL_RSS_HASH;
    }
}

bool
nic_emu_headers_tuple(const struct nic_emu_headers *headers,
                      struct nic_tuple *tuple)
{
    const struct flow *flow = &headers->flow;

    if (!headers->sane || !is_ip_any(flow)) {
        return false;
    }

    switch (flow->nw_proto) {
    case IPPROTO_TCP:
        if ((ntohs(flow->tcp_flags) & (TCP_FIN | TCP_SYN | TCP_RST | TCP_ACK))
            != TCP_ACK) {
            return false;
        }
        break;
    case IPPROTO_UDP:
        break;
    default:
        return false;
    }

    memset(tuple, 0, sizeof *tuple);
    if (flow->dl_type == htons(ETH_TYPE_IP)) {
        tuple->src.ipv4 = flow->nw_src;
        tuple->dst.ipv4 = flow->nw_dst;
    } else {
        tuple->src.ipv6 = flow->ipv6_src;
        tuple->dst.ipv6 = flow->ipv6_dst;
    }
    tuple->tp_src = flow->tp_src;
    tuple->tp_dst = flow->tp_dst;
    return true;
}

/* Options of TCP. */
enum {
    TCP_OPTION_END,
    TCP_OPTION_NOP,
    TCP_OPTION_SACK = 5
};

/* Returns the highest end of what the 'len' bytes of TCP options in 'options'
 * acknowledge selectively, or 'ack' if that is higher. */
static uint32_t
parse_sack(const uint8_t *options, size_t len, uint32_t ack)
{
    while (len >= 2 && options[0] != TCP_OPTION_END) {
        size_t size = options[0] == TCP_OPTION_NOP ? 1 : options[1];

        if (!size || size > len) {
            break;
        }
        if (options[0] == TCP_OPTION_SACK) {
            for (size_t i = 2; i + 8 <= size; i += 8) {
                ovs_be32 end;

                memcpy(&end, &options[i + 4], sizeof end);
                if ((int32_t) (ntohl(end) - ack) > 0) {
                    ack = ntohl(end);
                }
            }
        }
        options += size;
        len -= size;
    }
    return ack;
}

bool
nic_emu_headers_segment(const struct nic_emu_headers *headers,
                        const struct dp_packet *packet,
                        struct nic_emu_segment *seg)
{
    const struct flow *flow = &headers->flow;
    const struct tcp_header *tcp;
    size_t l4_len, header_len;
    const uint8_t *l3;

    if (!headers->sane || !is_ip_any(flow) || flow->nw_proto != IPPROTO_TCP) {
        return false;
    }
    l3 = (const uint8_t *) dp_packet_data(packet) + headers->l3_ofs;
    tcp = ALIGNED_CAST(const struct tcp_header *,
                       l3 + (headers->l4_ofs - headers->l3_ofs));
    if (flow->dl_type == htons(ETH_TYPE_IP)) {
        l4_len = (ntohs(ALIGNED_CAST(const struct ip_header *,
                                     l3)->ip_tot_len)
                  - (headers->l4_ofs - headers->l3_ofs));
    } else {
        l4_len = ntohs(ALIGNED_CAST(const struct ovs_16aligned_ip6_hdr *,
                                    l3)->ip6_plen);
    }
    header_len = TCP_OFFSET(tcp->tcp_ctl) * 4;

    seg->flags = TCP_FLAGS(tcp->tcp_ctl);
    seg->win = ntohs(tcp->tcp_winsz);
    seg->seq = ntohl(get_16aligned_be32(&tcp->tcp_seq));
    seg->ack = ntohl(get_16aligned_be32(&tcp->tcp_ack));
    seg->sack = parse_sack((const uint8_t *) (tcp + 1),
                           header_len - sizeof *tcp, seg->ack);
    seg->len = l4_len - header_len;
    return true;
}
