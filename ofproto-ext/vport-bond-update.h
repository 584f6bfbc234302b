/* SPDX-License-Identifier: Apache-2.0 */

#ifndef VPORT_BOND_UPDATE_H
#define VPORT_BOND_UPDATE_H 1

/* Bringing about what was decided
 * ===============================
 *
 * An *update* says where the id of a vport is to lead.  A round's updates are
 * applied, to datapaths and NICs, all before the first vport is announced to
 * the network.
 *
 * Thread-safety: the watcher's thread only (vport-bond-watcher.h); with no
 * mutex held. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "openvswitch/types.h"

struct vport_bond_dp;
struct vport_bond_dp_class;
struct watched_bond;

/* Where an id is to lead, and what is to be told about it. */
struct vport_bond_update {
    struct vport_bond_dp *dp;
    char *bond;
    char *vport;
    odp_port_t entry;
    uint32_t id;
    odp_port_t port;                /* ODPP_NONE: nowhere. */
    odp_port_t *members;
    size_t n_members;
    bool members_only;              /* It leads where it led before. */
    bool announce;
    struct eth_addr attached_mac;
    uint16_t vlan;

    /* Results. */
    int error;
    long long int nic_done_usec;    /* When all were done in NICs. */
    long long int done_usec;        /* When it was done in the datapath. */
    unsigned int n_macs;
};

struct vport_bond_updates {
    struct watched_bond *bond;      /* Whose changes are being taken. */
    struct vport_bond_update *array;
    size_t n, allocated;
};

/* Appends an update with all members zero and returns it, valid until the next
 * call.  The strings and 'members' that the caller puts there become part of
 * it. */
struct vport_bond_update *vport_bond_updates_add(struct vport_bond_updates *);
void vport_bond_updates_destroy(struct vport_bond_updates *);

/* Brings about 'updates' in datapaths and NICs, and notes the results. */
void vport_bond_updates_apply(struct vport_bond_updates *updates,
                              const struct vport_bond_dp_class *);

/* Sends learning packets for those vports that have moved. */
void vport_bond_updates_announce(struct vport_bond_updates *,
                                 const struct vport_bond_dp_class *);

/* Returns true if the vport of an applied update is to be announced. */
bool vport_bond_update_announces(const struct vport_bond_update *);

/* Returns true if some vport leads elsewhere now.  What failed is tried again,
 * and must not wake the watcher's thread up for that. */
bool vport_bond_updates_any_done(const struct vport_bond_updates *);

#endif /* vport-bond-update.h */
