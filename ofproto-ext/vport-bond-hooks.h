/* SPDX-License-Identifier: Apache-2.0 */

#ifndef VPORT_BOND_HOOKS_H
#define VPORT_BOND_HOOKS_H 1

/* What the hooked units of ofproto tell each other
 * ================================================
 *
 * For a bond with vports, translation takes this way:
 *
 *   xlate_actions() (ovs-ofproto-dpif-xlate.c)   notes in 'vport_bond_xlate'
 *       by which datapath port the packet entered;
 *
 *   bond_get_recirc_id_and_hash_basis() and its like (ovs-bond.c)   look up
 *       the id for it, so that the action becomes lb_output(id);
 *
 *   bond_choose_output_member() (ovs-bond.c)   names a member that only stands
 *       for the bond, and notes the source address. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "openvswitch/types.h"
#include "ovs-thread.h"

struct bond;
struct flow;

/* The translation that is under way in a thread. */
struct vport_bond_xlate {
    odp_port_t entry;               /* The port by which the packet entered the
                                     * datapath, ODPP_NONE if by none. */
    bool learn;                     /* May have side effects. */
    const struct bond *bond;        /* The bond that 'lb_output' was chosen for
                                     * last. */
    uint32_t id;                    /* The id that it was chosen with. */
    int learned_vlan;               /* In which the source was learned last,
                                     * -1 if it was not. */
    const struct flow *flow;        /* The packet, null if not known. */
    bool reflected;                 /* It is a learning packet of ours. */
};
DECLARE_EXTERN_PER_THREAD_DATA(struct vport_bond_xlate, vport_bond_xlate);

/* Ports and bonds that translation knows, from ovs-ofproto-dpif-xlate.c.
 * Main thread. */

struct vport_bond_port {
    const char *name;
    odp_port_t odp_port;
    bool in_kernel;                 /* Its device is one of the kernel's. */
    bool is_vm;                     /* Not LOCAL, no tunnel, no bond member. */
    const struct bond *bond;        /* That it is a member of, or null. */
    const void *ofproto;            /* 'struct ofproto_dpif'. */
    const void *backer;
};

struct vport_bond_ovs_bond {
    const char *name;
    const struct bond *bond;
    const void *ofproto;
    const void *backer;
    const char *dp_type;
    const char *dp_name;
    bool lb_output_supported;
};

struct vport_bond_topology {
    struct vport_bond_port *ports;  /* Ports of datapaths, no patch ports. */
    size_t n_ports;
    struct vport_bond_ovs_bond *bonds;
    size_t n_bonds;
};

/* Strings in '*topology' are valid until the ports change. */
void vport_bond_get_topology(struct vport_bond_topology *topology);
void vport_bond_topology_destroy(struct vport_bond_topology *);

/* Returns a number that changes whenever ports or bonds did. */
unsigned int vport_bond_topology_seq(void);

/* State of a bond in OVS, from ovs-bond.c.  Main thread. */
void vport_bond_get_delays(const struct bond *, int *updelay_ms,
                           int *downdelay_ms);
void vport_bond_get_member(const struct bond *, const char *name,
                           bool *enabled, bool *enabling);

/* Makes OVS revalidate flows in its next round.  Main thread. */
void vport_bond_revalidate(void);

#endif /* vport-bond-hooks.h */
