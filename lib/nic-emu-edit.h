/* SPDX-License-Identifier: Apache-2.0 */

#ifndef NIC_EMU_EDIT_H
#define NIC_EMU_EDIT_H 1

/* How the emulated NIC changes packets
 * ====================================
 *
 * One function for each kind of change that nic-rule.h knows.  Checksums are
 * updated, not computed anew: they stay as right or wrong as they were.
 *
 * A packet must have its offsets of layers set.  Changes keep them.
 *
 * Every function returns false, and leaves the packet alone, if the packet
 * does not have what is to be changed.
 *
 * Thread-safety: functions of their arguments only. */

#include <stdbool.h>
#include "nic-rule.h"

struct dp_packet;

/* What packets must be for a change above Ethernet. */
struct nic_emu_edit_proto {
    ovs_be16 dl_type;       /* ETH_TYPE_IP, ETH_TYPE_IPV6, or anything else,
                             * which has no fields above Ethernet. */
    uint8_t nw_proto;       /* IPPROTO_TCP, IPPROTO_UDP, or anything else,
                             * which has no ports. */
};

/* Sets the bits 'mask' of 'field' to those of 'value', both as in struct
 * nic_action. */
bool nic_emu_edit_set(struct dp_packet *packet,
                      const struct nic_emu_edit_proto *proto,
                      enum nic_field field, const uint8_t *value,
                      const uint8_t *mask);

/* Sets the parts 'parts' (enum nic_tuple_part) of the tuple. */
bool nic_emu_edit_set_tuple(struct dp_packet *packet,
                            const struct nic_emu_edit_proto *proto,
                            unsigned int parts,
                            const struct nic_tuple *tuple);

/* Subtracts one from the TTL or hop limit. */
bool nic_emu_edit_dec_ttl(struct dp_packet *packet,
                          const struct nic_emu_edit_proto *proto);

bool nic_emu_edit_push_vlan(struct dp_packet *packet, ovs_be16 tpid,
                            ovs_be16 tci);
bool nic_emu_edit_pop_vlan(struct dp_packet *packet);

/* Returns true if a change of 'field' changes the tuple of a connection. */
bool nic_emu_edit_is_tuple(enum nic_field field);

/* Returns true if 'field' is of IP or above. */
bool nic_emu_edit_is_ip(enum nic_field field);

#endif /* nic-emu-edit.h */
