/* SPDX-License-Identifier: Apache-2.0 */

#ifndef VPORT_BOND_MACS_H
#define VPORT_BOND_MACS_H 1

/* MAC addresses behind each vport of a bond
 * =========================================
 *
 * When a vport moves to another uplink, learning packets must tell the network
 * where its MAC addresses are now, and only those.  This table holds them as
 * the network has learned them: source address and VLAN of packets that a
 * vport sent through a bond.  A vport of a bond is known by its id, see
 * vport-bond-watcher.h.
 *
 * An address is with the vport that used it last; it is forgotten when OVS
 * learns that it is behind a bond itself (it moved to another host).  As in
 * OVS's own table it is *learned* for VPORT_BOND_MAC_AGE_MS after it was used
 * last; after that it is known only as one that was seen.  At most
 * VPORT_BOND_MACS_MAX are kept per vport, those that were used last.
 *
 * The network may return a learning packet through another uplink, as it is a
 * broadcast.  Whoever learned from that would look for the vport outside, so
 * it is known for a while which addresses were announced.
 *
 * Thread-safety: any RCU-registered thread.  An address that is known already
 * costs no lock. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "openvswitch/types.h"

#define VPORT_BOND_MACS_MAX 64

/* OVS's default, mac-aging-time. */
#define VPORT_BOND_MAC_AGE_MS (300 * 1000)

/* How long after a learning packet its reflections may arrive. */
#define VPORT_BOND_REFLECTION_MS 5000

struct vport_bond_mac {
    struct eth_addr mac;
    uint16_t vlan;                  /* 0 if untagged. */
};

/* 'bond' sends packets from 'mac', tagged with 'vlan', with lb_output('id').
 * The bond's bridge has them in 'learned_vlan', which is not the same if the
 * bond is an access port or has a native VLAN. */
void vport_bond_macs_seen(const char *bond, uint32_t id, struct eth_addr mac,
                          uint16_t vlan, uint16_t learned_vlan,
                          long long int now_ms);

/* OVS has learned, once more, that 'mac' is in 'learned_vlan' behind a port
 * that is no bond. */
void vport_bond_macs_used(struct eth_addr mac, uint16_t learned_vlan,
                          long long int now_ms);

/* OVS has learned that 'mac' is in 'learned_vlan' behind a bond. */
void vport_bond_macs_moved_away(struct eth_addr mac, uint16_t learned_vlan);

/* Forgets what was seen with lb_output('id').  Translation must not use it any
 * more. */
void vport_bond_macs_forget(uint32_t id);

/* Stores up to VPORT_BOND_MACS_MAX addresses in 'macs' and returns their
 * number: those that are learned or, if 'aged', all that were seen. */
size_t vport_bond_macs_get(uint32_t id, bool aged, long long int now_ms,
                           struct vport_bond_mac macs[VPORT_BOND_MACS_MAX]);

/* A learning packet for 'mac' is about to be sent. */
void vport_bond_macs_announced(struct eth_addr mac);

/* Returns true if that was within the last VPORT_BOND_REFLECTION_MS. */
bool vport_bond_macs_may_be_reflected(struct eth_addr mac);

#endif /* vport-bond-macs.h */
