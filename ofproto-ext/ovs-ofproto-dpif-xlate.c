/* SPDX-License-Identifier: Apache-2.0 */

/* Hooks in OVS's ofproto/ofproto-dpif-xlate.c, for bonds with vports
 * (vport-bond-hooks.h).
 *
 *   xlate_actions, xlate_resume   By which datapath port the packet entered,
 *       also behind patch ports and after recirculation.
 *
 *   mac_learning_update     An address that is learned on a bond is not behind
 *       a vport any more; others are in use.
 *
 *   xlate_txn_commit        Ports or bonds may have changed.
 *
 *   xlate_remove_ofproto    What belongs to a bridge must end before it. */

#include <config.h>

#include "datapath-offload/hook-version.h"
#include "dpif.h"
#include "mac-learning.h"
#include "netdev-linux.h"
#include "netdev-linux-private.h"
#include "odp-util.h"
#include "ofproto/ofproto-dpif-xlate.h"
#include "vport-bond-binding.h"
#include "vport-bond-config.h"
#include "vport-bond-hooks.h"
#include "vport-bond-macs.h"
#include "vport-bond-watcher.h"

DEFINE_EXTERN_PER_THREAD_DATA(vport_bond_xlate,
                              { .entry = ODP_PORT_C(UINT32_MAX) });

static bool
hooked_mac_learning_update(struct mac_learning *ml, struct eth_addr src,
                           int vlan, bool is_gratuitous_arp, bool is_bond,
                           void *in_port)
{
    if (vport_bond_any_active()) {
        vport_bond_xlate_get()->learned_vlan = vlan;
        if (is_bond) {
            vport_bond_macs_moved_away(src, vlan);
        } else {
            vport_bond_macs_used(src, vlan, time_msec());
        }
    }
    return mac_learning_update(ml, src, vlan, is_gratuitous_arp, is_bond,
                               in_port);
}

enum xlate_error ovs_xlate_actions(struct xlate_in *, struct xlate_out *);
enum ofperr ovs_xlate_resume(struct ofproto_dpif *,
                             const struct ofputil_packet_in_private *,
                             struct ofpbuf *odp_actions,
                             enum slow_path_reason *, struct flow *,
                             struct xlate_cache *);
void ovs_xlate_txn_commit(void);
void ovs_xlate_remove_ofproto(struct ofproto_dpif *);

#define xlate_actions ovs_xlate_actions
#define xlate_resume ovs_xlate_resume
#define xlate_txn_commit ovs_xlate_txn_commit
#define xlate_remove_ofproto ovs_xlate_remove_ofproto
#define mac_learning_update hooked_mac_learning_update

/* A coverage counter has the function's name as well. */
#define ovs_xlate_actions_add xlate_actions_add
#include "ofproto/ofproto-dpif-xlate.c"
#undef xlate_actions
#undef xlate_resume
#undef xlate_txn_commit
#undef xlate_remove_ofproto
#undef mac_learning_update
#undef ovs_xlate_actions_add

/* Returns the datapath port of OpenFlow port 'ofp_port' of 'ofproto'. */
static odp_port_t
entry_of_ofp_port(const struct ofproto_dpif *ofproto, ofp_port_t ofp_port)
{
    struct xlate_cfg *xcfg = ovsrcu_get(struct xlate_cfg *, &xcfgp);
    const struct xbridge *xbridge = (xcfg
                                     ? xbridge_lookup(xcfg, ofproto)
                                     : NULL);

    return xbridge ? ofp_port_to_odp_port(xbridge, ofp_port) : ODPP_NONE;
}

/* Returns the port by which the packet of 'xin' entered the datapath.
 *
 * Upcalls and revalidation start from a flow as the datapath has it, with a
 * datapath port.  All others start from an OpenFlow port, and either are
 * traced, or bring the actions or the rule with them. */
static odp_port_t
entry_of(const struct xlate_in *xin)
{
    if (!xin->trace && !xin->rule && !xin->ofpacts) {
        return xin->upcall_flow->in_port.odp_port;
    }
    return entry_of_ofp_port(xin->ofproto,
                             xin->upcall_flow->in_port.ofp_port);
}

/* Translations nest: that of a packet that a tunnel needs, for example. */
enum xlate_error
xlate_actions(struct xlate_in *xin, struct xlate_out *xout)
{
    struct vport_bond_xlate *xlate = vport_bond_xlate_get();
    struct vport_bond_xlate saved = *xlate;
    enum xlate_error error;

    xlate->entry = entry_of(xin);
    xlate->learn = xin->allow_side_effects && !xin->trace;
    xlate->bond = NULL;
    xlate->learned_vlan = -1;
    xlate->flow = &xin->flow;
    xlate->reflected = false;
    error = ovs_xlate_actions(xin, xout);
    if (xlate->reflected) {
        /* It is true for a short time only: each packet is to be asked
         * about. */
        xout->slow |= SLOW_ACTION;
    }
    *xlate = saved;
    return error;
}

enum ofperr
xlate_resume(struct ofproto_dpif *ofproto,
             const struct ofputil_packet_in_private *pin,
             struct ofpbuf *odp_actions, enum slow_path_reason *slow,
             struct flow *flow, struct xlate_cache *xcache)
{
    struct vport_bond_xlate *xlate = vport_bond_xlate_get();
    struct vport_bond_xlate saved = *xlate;
    enum ofperr error;

    xlate->entry = entry_of_ofp_port(
        ofproto, pin->base.flow_metadata.flow.in_port.ofp_port);
    xlate->learn = true;
    xlate->bond = NULL;
    xlate->learned_vlan = -1;
    xlate->flow = NULL;
    error = ovs_xlate_resume(ofproto, pin, odp_actions, slow, flow, xcache);
    *xlate = saved;
    return error;
}

/* Ports and bonds. */

static unsigned int topology_seq;

unsigned int
vport_bond_topology_seq(void)
{
    return topology_seq;
}

void
xlate_txn_commit(void)
{
    ovs_xlate_txn_commit();
    topology_seq++;
}

void
xlate_remove_ofproto(struct ofproto_dpif *ofproto)
{
    /* Translation must not find any more what ends now; what it found before
     * leads nowhere, as the bridge and its ports are going. */
    if (vport_bond_watcher_release(ofproto)) {
        vport_bond_config_invalidate();
    }
    ovs_xlate_remove_ofproto(ofproto);
}

static void
add_bond(struct vport_bond_topology *t, size_t *allocated,
         const struct xbundle *xbundle)
{
    const struct ofproto_dpif *ofproto = xbundle->xbridge->ofproto;
    const struct dpif *dpif = ofproto->backer->dpif;

    if (t->n_bonds >= *allocated) {
        t->bonds = x2nrealloc(t->bonds, allocated, sizeof *t->bonds);
    }
    t->bonds[t->n_bonds++] = (struct vport_bond_ovs_bond) {
        .name = xbundle->name,
        .bond = xbundle->bond,
        .ofproto = ofproto,
        .backer = ofproto->backer,
        .dp_type = ofproto->backer->type,
        .dp_name = dpif_base_name(dpif),
        .lb_output_supported = ofproto->backer->rt_support.lb_output_action,
    };
}

static void
add_port(struct vport_bond_topology *t, size_t *allocated,
         const struct xport *xport)
{
    const struct bond *bond = xport->xbundle ? xport->xbundle->bond : NULL;
    const struct ofproto_dpif *ofproto = xport->xbridge->ofproto;

    if (t->n_ports >= *allocated) {
        t->ports = x2nrealloc(t->ports, allocated, sizeof *t->ports);
    }
    t->ports[t->n_ports++] = (struct vport_bond_port) {
        .name = netdev_get_name(xport->netdev),
        .odp_port = xport->odp_port,
        .in_kernel = is_netdev_linux_class(netdev_get_class(xport->netdev)),
        .is_vm = (xport->ofp_port != OFPP_LOCAL && !xport->is_tunnel
                  && !bond),
        .bond = bond,
        .ofproto = ofproto,
        .backer = ofproto->backer,
    };
}

static int
compare_ports(const void *a_, const void *b_)
{
    const struct vport_bond_port *a = a_, *b = b_;
    uint32_t a_port = odp_to_u32(a->odp_port);
    uint32_t b_port = odp_to_u32(b->odp_port);

    return (a->backer != b->backer
            ? (a->backer < b->backer ? -1 : 1)
            : a_port != b_port ? (a_port < b_port ? -1 : 1)
            : strcmp(a->name, b->name));
}

void
vport_bond_get_topology(struct vport_bond_topology *t)
{
    struct xlate_cfg *xcfg = ovsrcu_get(struct xlate_cfg *, &xcfgp);
    size_t allocated_bonds = 0, allocated_ports = 0;
    const struct xbundle *xbundle;
    const struct xport *xport;

    memset(t, 0, sizeof *t);
    if (!xcfg) {
        return;
    }
    HMAP_FOR_EACH (xbundle, hmap_node, &xcfg->xbundles) {
        if (xbundle->bond) {
            add_bond(t, &allocated_bonds, xbundle);
        }
    }
    HMAP_FOR_EACH (xport, hmap_node, &xcfg->xports) {
        if (xport->odp_port != ODPP_NONE && !xport->peer) {
            add_port(t, &allocated_ports, xport);
        }
    }
    if (t->n_ports) {
        /* In an order that does not depend on addresses in memory. */
        qsort(t->ports, t->n_ports, sizeof *t->ports, compare_ports);
    }
}

void
vport_bond_topology_destroy(struct vport_bond_topology *t)
{
    free(t->ports);
    free(t->bonds);
}
