/* SPDX-License-Identifier: Apache-2.0 */

#ifndef VPORT_BOND_WATCHED_H
#define VPORT_BOND_WATCHED_H 1

/* A bond that the watcher looks after
 * ===================================
 *
 * Makes the model (vport-bond.h) of a bond be as it is configured, gives its
 * vports ids, and turns what the model decides into updates
 * (vport-bond-update.h).
 *
 * Thread-safety
 * -------------
 *
 * Guarded by the watcher's mutex (vport-bond-watcher.h), as are the datapaths
 * and the retired ids that functions take.  watched_bond_publish() and what
 * comes before it are the main thread's, the rest is the watcher's
 * thread's. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "openvswitch/hmap.h"
#include "openvswitch/list.h"
#include "openvswitch/types.h"
#include "vport-bond.h"

struct vport_bond_dp;
struct vport_bond_ids;
struct vport_bond_retired_ids;
struct vport_bond_update;
struct vport_bond_updates;

/* The name of the vport that stands for packets of no port: packet-outs from
 * the controller, OVS's own. */
#define VPORT_BOND_NO_PORT "(none)"

/* Configuration. */

struct vport_bond_uplink_config {
    const char *name;
    odp_port_t odp_port;
    bool in_kernel;                 /* Its device is one of the kernel's. */
    bool enabled, enabling;         /* See vport-bond.h. */
};

struct vport_bond_vport_config {
    const char *name;
    odp_port_t odp_port;
    enum vport_class class;
    const char *primary;            /* An uplink of the bond, or null. */
    struct eth_addr attached_mac;   /* Zero if not known. */
    uint16_t vlan;                  /* Of 'attached_mac', 0 if untagged. */
};

struct vport_bond_config {
    const char *name;
    const void *owner;
    const char *dp_type;
    const char *dp_name;
    struct vport_bond_settings settings;
    const struct vport_bond_uplink_config *uplinks;
    size_t n_uplinks;
    const struct vport_bond_vport_config *vports;
    size_t n_vports;                /* VPORT_BOND_NO_PORT not included. */
};

struct watched_bond {
    struct hmap_node node;          /* Of the watcher, by name. */
    const void *owner;
    struct vport_bond_dp *dp;
    struct vport_bond *model;
    bool seen;                      /* In the configuration being applied. */
    bool members_changed;           /* Since the watcher's thread looked. */
};

/* Returns a new bond, without uplinks and vports, in a datapath of 'dps'. */
struct watched_bond *watched_bond_create(const struct vport_bond_config *,
                                         struct ovs_list *dps);

/* Removes 'bond', with the use of its ids, which go to 'retired'.  Returns
 * true if translation has known any of them. */
bool watched_bond_destroy(struct watched_bond *bond,
                          const struct vport_bond_ids *,
                          struct vport_bond_retired_ids *retired);

/* Makes 'bond' be as configured.  Returns true if translation has known the id
 * of a vport that went. */
bool watched_bond_configure(struct watched_bond *bond,
                            const struct vport_bond_config *,
                            const struct vport_bond_ids *,
                            struct vport_bond_retired_ids *);

/* Lets translation know the ids that the datapath knows.  Returns true if
 * there were new ones. */
bool watched_bond_publish(struct watched_bond *);

/* Appends what changed about 'bond' since the last call. */
void watched_bond_take_changes(struct watched_bond *bond,
                               struct vport_bond_updates *);

/* Notes that 'vport' leads where 'u' says, because of what was noticed at
 * 'event_usec'.  Returns true if that is a move, false if it is the first
 * place where it leads. */
bool watched_bond_note_done(struct vport_bond_vport *vport,
                            const struct vport_bond_update *u,
                            long long int event_usec);

/* Notes that 'vport' was announced, as 'u' says. */
void watched_bond_note_announcement(struct vport_bond_vport *vport,
                                    const struct vport_bond_update *u);

#endif /* vport-bond-watched.h */
