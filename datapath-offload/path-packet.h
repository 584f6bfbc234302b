/* SPDX-License-Identifier: Apache-2.0 */

#ifndef PATH_PACKET_H
#define PATH_PACKET_H 1

/* Packets on their way through megaflows
 * ======================================
 *
 * What composition (path.c) knows of the packets of which it looks for the
 * path: as they are at the megaflow where it is, relative to what was
 * received.
 *
 * Thread-safety: none. */

#include <stdbool.h>
#include "path-private.h"

/* What is known of the packets on their way. */
struct path_packet {
    /* As they are now.  'vlans' follow from the next three members. */
    struct flow_probe now;
    union flow_vlan_hdr tag[FLOW_MAX_VLAN_HEADERS];     /* As received... */
    union flow_vlan_hdr tag_known[FLOW_MAX_VLAN_HEADERS]; /* ...these bits. */
    struct path_tags tags;

    /* Bits of 'now', 'vlans' aside, that are not those received any more. */
    struct flow set;

    /* The packet was rewritten before ct(): what is known comes from megaflows
     * alone until the first ct(), which saw what the subject says. */
    bool backward;
    enum offload_reason deferred;   /* To be said if it is the subject's. */
    struct flow_probe received;     /* If 'backward'. */
    struct flow sent, sent_set;     /* 'now.flow' and 'set' at the last output
                                     * that saw another tuple than received, if
                                     * 'backward'. */
    bool has_sent;

    /* Ethernet header, tags or tuple were set, and there was no ct() yet. */
    bool rewritten;

    /* What the last ct() found, if 'tracked'. */
    bool tracked;
    uint16_t zone;
    struct path_conn conn;
    bool natted;                    /* By ct() in 'zone'. */
    bool tuple_set;                 /* By an action since then. */

    bool changed;                   /* The tuple is not the one received. */
};

/* Sets 'parts' of the tuple of 'flow' to those of 'tuple'. */
void path_set_tuple(struct flow *flow, ovs_be16 dl_type,
                    const struct nic_tuple *tuple, unsigned int parts);

/* Stores in '*tuple' that of 'flow'. */
void path_get_tuple(const struct flow *flow, ovs_be16 dl_type,
                    struct nic_tuple *tuple);

/* Stores in 'probe' what is known of packets that were just received,
 * whatever happens to them before ct().  path_probe_init() (path.h) adds what
 * ct() saw. */
void path_probe_init_metadata(struct flow_probe *probe,
                              const struct path_subject *subject);

/* Initializes 'packet' as received, when 'probe' is known of it. */
void path_packet_init(struct path_packet *packet,
                      const struct flow_probe *probe);

/* Adds to what is known of 'packet' what 'flow' matches. */
void path_packet_narrow(struct path_packet *packet,
                        const struct megaflow *flow);

/* 'packet->tags' changed: updates 'vlans' of what is known now. */
void path_packet_update_tags(struct path_packet *packet);

/* Takes over what became known of 'vlans' of 'packet->now'. */
void path_packet_learn_tags(struct path_packet *packet);

/* Sets what 'packet' shows of connection tracking to zero, or to what it shows
 * after ct(). */
void path_packet_clear_ct(struct path_packet *packet);
void path_packet_set_ct(struct path_packet *packet,
                        const struct path_subject *subject);

#endif /* path-packet.h */
