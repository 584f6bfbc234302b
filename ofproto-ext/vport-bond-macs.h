/* SPDX-License-Identifier: Apache-2.0 */

#ifndef VPORT_BOND_MACS_H
#define VPORT_BOND_MACS_H 1

/* MAC addresses behind each vport of a bond
 * =========================================
 *
 * When a vport moves to another uplink, learning packets must tell the network
 * where its MAC addresses are now, and only those.  This table holds them as
 * the network has learned them: source address and VLAN of packets that a
 * vport sent through a bond.
 *
 * An address is with the vport that used it last; it is forgotten when OVS
 * learns that it is behind a bond itself (it moved to another host).  At most
 * VPORT_BOND_MACS_MAX are kept per vport, those that were used last.
 *
 * The network may return a learning packet through another uplink, as it is a
 * broadcast.  Whoever learned from that would look for the vport outside, so
 * it is known for a while which addresses were announced.
 *
 * Thread-safety: any thread. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "openvswitch/types.h"

#define VPORT_BOND_MACS_MAX 64

/* How long after a learning packet its reflections may arrive. */
#define VPORT_BOND_REFLECTION_MS 5000

struct vport_bond_mac {
    struct eth_addr mac;
    uint16_t vlan;                  /* 0 if untagged. */
};

/* 'bond' sends packets from 'mac' in 'vlan' that entered by 'entry'. */
void vport_bond_macs_seen(const char *bond, odp_port_t entry,
                          struct eth_addr mac, uint16_t vlan);

/* 'mac' is behind a bond, not behind a vport. */
void vport_bond_macs_moved_away(struct eth_addr mac);

/* Forgets what 'bond' has seen from 'entry'. */
void vport_bond_macs_forget(const char *bond, odp_port_t entry);

/* Stores up to VPORT_BOND_MACS_MAX addresses in 'macs' and returns their
 * number. */
size_t vport_bond_macs_get(const char *bond, odp_port_t entry,
                           struct vport_bond_mac macs[VPORT_BOND_MACS_MAX]);

/* A learning packet for 'mac' is about to be sent. */
void vport_bond_macs_announced(struct eth_addr mac);

/* Returns true if that was within the last VPORT_BOND_REFLECTION_MS. */
bool vport_bond_macs_may_be_reflected(struct eth_addr mac);

#endif /* vport-bond-macs.h */
