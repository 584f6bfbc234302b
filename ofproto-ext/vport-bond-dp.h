/* SPDX-License-Identifier: Apache-2.0 */

#ifndef VPORT_BOND_DP_H
#define VPORT_BOND_DP_H 1

/* Datapaths where bonds with vports are
 * =====================================
 *
 * A datapath is in a list of its user's, the watcher (vport-bond-watcher.h),
 * as long as bonds or ids need it, and open from the first use until then.
 *
 * Thread-safety
 * -------------
 *
 * The list and 'n_refs' are guarded by the watcher's mutex: who calls a
 * function that takes the list holds it.  'handle' and what is done with it
 * are the watcher's thread's, with no mutex held. */

#include <stdint.h>
#include "openvswitch/list.h"
#include "openvswitch/types.h"

struct dp_packet;

/* What the watcher's thread does to a datapath. */
struct vport_bond_dp_class {
    /* Opens the datapath 'name' of 'type'.  Returns null if it fails. */
    void *(*open)(const char *type, const char *name);
    void (*close)(void *dp);

    /* Makes lb_output('id') lead to 'port', ODPP_NONE for nowhere, or makes
     * the datapath forget 'id'.  Returns 0 or a positive errno value. */
    int (*set)(void *dp, uint32_t id, odp_port_t port);
    int (*del)(void *dp, uint32_t id);

    /* Sends 'packet', which stays the caller's, out of 'port'. */
    int (*send)(void *dp, odp_port_t port, struct dp_packet *packet);
};

/* Real datapaths, through the watcher's own dpif handle. */
extern const struct vport_bond_dp_class vport_bond_dpif_class;

/* A datapath.  Created by the main thread, freed by the watcher's. */
struct vport_bond_dp {
    struct ovs_list node;           /* Of the watcher. */
    char *type;
    char *name;
    unsigned int n_refs;            /* Bonds, and ids that linger or are to be
                                     * deleted. */
    void *handle;                   /* Null if not open. */
};

/* Returns the datapath 'name' of 'type' in 'dps', where it is put if it is not
 * there yet, with one reference more, which the caller gives back by counting
 * 'n_refs' down. */
struct vport_bond_dp *vport_bond_dp_ref(struct ovs_list *dps,
                                        const char *type, const char *name);

/* Moves those of 'dps' to which there is no reference to 'unused', which it
 * initializes. */
void vport_bond_dps_take_unused(struct ovs_list *dps,
                                struct ovs_list *unused);

/* Closes and frees the datapaths in 'unused'. */
void vport_bond_dps_close(struct ovs_list *unused,
                          const struct vport_bond_dp_class *);

#endif /* vport-bond-dp.h */
