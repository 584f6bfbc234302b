/* SPDX-License-Identifier: Apache-2.0 */

#ifndef NIC_EMU_PARSE_H
#define NIC_EMU_PARSE_H 1

/* What the emulated NIC sees in a packet
 * ======================================
 *
 * The fields that rules match on, and whether the packet is one that a NIC may
 * carry through a rule that looks above the network layer ("Packets that the
 * NIC does not carry" in nic.h).
 *
 * Thread-safety: functions of their arguments only. */

#include <stdbool.h>
#include "flow.h"

struct dp_packet;
struct nic_emu_segment;
struct nic_tuple;

struct nic_emu_headers {
    struct flow flow;       /* Metadata is zeros, but for what a
                             * connection-tracking module adds. */

    /* Where the layers begin, as in 'struct dp_packet'. */
    uint16_t l2_pad_size;
    uint16_t l2_5_ofs;
    uint16_t l3_ofs;
    uint16_t l4_ofs;

    /* False for an IP packet that is a fragment, has a bad IPv4 header
     * checksum or lengths that contradict each other or the frame, or that has
     * IPv6 extension headers (which this NIC leaves to software). */
    bool sane;
};

/* Parses 'packet' into 'headers'.  If 'check_l4_csum', a bad checksum of TCP,
 * UDP, ICMP or ICMPv6 makes a packet insane, too.
 *
 * Overwrites the packet's metadata.  Everything else in the packet is as it
 * was when the function returns. */
void nic_emu_parse(struct dp_packet *packet, bool check_l4_csum,
                   struct nic_emu_headers *headers);

/* Returns true if the packet may pass a connection-tracking module: sane, and
 * UDP, or TCP with ACK and without FIN, SYN and RST.  Then stores its tuple in
 * '*tuple', all bytes of it. */
bool nic_emu_headers_tuple(const struct nic_emu_headers *headers,
                           struct nic_tuple *tuple);

/* Returns true if the packet, whose headers are 'headers', is sane and TCP.
 * Then stores in '*seg' what windows (nic-emu-window.h) look at. */
bool nic_emu_headers_segment(const struct nic_emu_headers *headers,
                             const struct dp_packet *packet,
                             struct nic_emu_segment *seg);

#endif /* nic-emu-parse.h */
