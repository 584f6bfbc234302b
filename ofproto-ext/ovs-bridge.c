/* SPDX-License-Identifier: Apache-2.0 */

/* Hooks in OVS's vswitchd/bridge.c.
 *
 *   netdev_set_flow_api_enabled   Called in each main loop after the database
 *       was read and before anything is configured from it: the place where
 *       our configuration is read, so that it is known whose a port is before
 *       the port exists; when the database changed or a device of the kernel
 *       did, since a port may be another device now.
 *
 *   bridge_run, bridge_wait, bridge_exit   Our part of the main loop.
 *
 *   ofproto_port_del        Vports leave an uplink before its port goes.
 *
 *   bridge_init             OVS does not read external_ids of interfaces.
 *
 *   netdev_get_status, netdev_get_change_seq   The uplink that a vport uses is
 *       part of its Interface's status, written whenever it changed. */

#include <config.h>

#include "datapath-offload/hook-version.h"
#include "datapath-offload/offload-ports.h"
#include "datapath-offload/offload.h"
#include "datapath-offload/test-switch.h"
#include "netdev-offload.h"
#include "netdev.h"
#include "ofproto/ofproto-provider.h"
#include "smap.h"
#include "vport-bond-config.h"
#include "vport-bond-hooks.h"
#include "vport-bond-status.h"
#include "vport-bond-watcher.h"
#include "vswitchd/bridge.h"

/* Adds to '*status' the uplinks that 'netdev' uses as a vport. */
static int
hooked_get_status(const struct netdev *netdev, struct smap *status)
{
    const char *uplinks = vport_bond_status_get(netdev_get_name(netdev));
    int error = netdev_get_status(netdev, status);

    if (uplinks) {
        smap_replace(status, "current-uplink", uplinks);
        error = 0;
    }
    return error;
}

/* Both numbers only ever count up. */
static uint64_t
hooked_get_change_seq(const struct netdev *netdev)
{
    return (netdev_get_change_seq(netdev)
            + vport_bond_status_seq(netdev_get_name(netdev)));
}

static int
hooked_ofproto_port_del(struct ofproto *ofproto, ofp_port_t ofp_port)
{
    const struct ofport *ofport = ofproto_get_port(ofproto, ofp_port);

    if (ofport
        && vport_bond_watcher_uplink_gone(netdev_get_name(ofport->netdev))) {
        /* Should it come back at once. */
        vport_bond_config_invalidate();
    }
    return ofproto_port_del(ofproto, ofp_port);
}

static void hooked_set_flow_api_enabled(const struct smap *other_config);

void ovs_bridge_init(const char *remote);
void ovs_bridge_run(void);
void ovs_bridge_wait(void);
void ovs_bridge_exit(bool);

#define netdev_set_flow_api_enabled hooked_set_flow_api_enabled
#define bridge_init ovs_bridge_init
#define bridge_run ovs_bridge_run
#define bridge_wait ovs_bridge_wait
#define bridge_exit ovs_bridge_exit
#define netdev_get_status hooked_get_status
#define netdev_get_change_seq hooked_get_change_seq
#define ofproto_port_del hooked_ofproto_port_del
#include "vswitchd/bridge.c"
#undef netdev_set_flow_api_enabled
#undef bridge_init
#undef bridge_run
#undef bridge_wait
#undef bridge_exit
#undef netdev_get_status
#undef netdev_get_change_seq
#undef ofproto_port_del

/* Reads our configuration from the database. */
static void
read_config(const struct smap *other_config)
{
    struct offload_iface_config *ifaces = NULL;
    const struct ovsrec_interface *row;
    size_t allocated = 0;
    size_t n = 0;

    OVSREC_INTERFACE_FOR_EACH (row, idl) {
        if (n == allocated) {
            ifaces = x2nrealloc(ifaces, &allocated, sizeof *ifaces);
        }
        ifaces[n].name = row->name;
        ifaces[n].other_config = test_switch_iface_config(&row->other_config);
        n++;
    }
    offload_config_set(other_config, ifaces, n);
    free(ifaces);
}

static void
hooked_set_flow_api_enabled(const struct smap *other_config)
{
    static unsigned int seqno;
    static uint64_t devices_seen;
    bool was_enabled = netdev_is_flow_api_enabled();
    uint64_t devices = seq_read(ifaces_changed);
    static bool initialized;

    if (!initialized) {
        initialized = true;
        test_switch_init();
        offload_init();
    }
    other_config = test_switch_ovs_config(other_config);
    if (seqno != ovsdb_idl_get_seqno(idl) || devices_seen != devices) {
        seqno = ovsdb_idl_get_seqno(idl);
        devices_seen = devices;
        read_config(other_config);
    }
    netdev_set_flow_api_enabled(other_config);
    if (!was_enabled && netdev_is_flow_api_enabled()) {
        offload_ports_hw_offload_enabled();
    }
}

/* Configures bonds with vports, if the database or OVS's ports changed. */
static void
configure_vport_bonds(void)
{
    static unsigned int idl_seen, topology_seen;
    struct vport_bond_iface_row *ifaces = NULL;
    struct vport_bond_port_row *ports = NULL;
    size_t n_ifaces = 0, allocated_ifaces = 0;
    size_t n_ports = 0, allocated_ports = 0;
    const struct ovsrec_port *row;

    if (idl_seen == ovsdb_idl_get_seqno(idl)
        && topology_seen == vport_bond_topology_seq()) {
        return;
    }
    idl_seen = ovsdb_idl_get_seqno(idl);
    topology_seen = vport_bond_topology_seq();

    OVSREC_PORT_FOR_EACH (row, idl) {
        if (n_ports == allocated_ports) {
            ports = x2nrealloc(ports, &allocated_ports, sizeof *ports);
        }
        ports[n_ports++] = (struct vport_bond_port_row) {
            .uuid = &row->header_.uuid,
            .name = row->name,
            .other_config = &row->other_config,
            .n_ifaces = row->n_interfaces,
        };
        for (size_t i = 0; i < row->n_interfaces; i++) {
            const struct ovsrec_interface *iface = row->interfaces[i];

            if (n_ifaces == allocated_ifaces) {
                ifaces = x2nrealloc(ifaces, &allocated_ifaces,
                                    sizeof *ifaces);
            }
            ifaces[n_ifaces++] = (struct vport_bond_iface_row) {
                .uuid = &iface->header_.uuid,
                .name = iface->name,
                .port = row->name,
                .other_config = &iface->other_config,
                .external_ids = &iface->external_ids,
                .vlan = row->n_tag ? *row->tag : 0,
            };
        }
    }
    vport_bond_config_apply(ports, n_ports, ifaces, n_ifaces);
    free(ports);
    free(ifaces);
}

void
bridge_init(const char *remote)
{
    ovs_bridge_init(remote);

    /* Reads them, but they alone are no reason to reconfigure everything. */
    ovsdb_idl_add_column(idl, &ovsrec_interface_col_external_ids);
    ovsdb_idl_omit_alert(idl, &ovsrec_interface_col_external_ids);
}

void
bridge_run(void)
{
    ovs_bridge_run();
    offload_run();
    if (ovsdb_idl_has_ever_connected(idl)
        && !ovsdb_idl_is_lock_contended(idl)) {
        vport_bond_init();
        configure_vport_bonds();
        if (vport_bond_watcher_run()) {
            vport_bond_revalidate();
        }
    }
}

void
bridge_wait(void)
{
    ovs_bridge_wait();
    offload_wait();
    vport_bond_watcher_wait();
}

void
bridge_exit(bool delete_datapath)
{
    test_switch_report();
    ovs_bridge_exit(delete_datapath);
    vport_bond_exit();
    vport_bond_status_destroy();
    offload_exit();
}
