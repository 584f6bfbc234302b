/* SPDX-License-Identifier: Apache-2.0 */

#ifndef VPORT_BOND_CONFIG_H
#define VPORT_BOND_CONFIG_H 1

/* Configuration of bonds with vports
 * ==================================
 *
 * From the database and from what ports and bonds OVS has, says to the watcher
 * which bonds there are and which vports.  Every port of the bond's datapath
 * is a vport, except the bond's own members and patch ports: packets of any of
 * them may come to leave through the bond.
 *
 * A bad value is reported once, in the log, with key, value and what is
 * allowed; the last good value stays, as long as the row does.
 *
 * Thread-safety: main thread only. */

#include <stddef.h>

struct smap;
struct uuid;

struct vport_bond_iface_row {
    const struct uuid *uuid;
    const char *name;
    const char *port;               /* The port that it belongs to. */
    const struct smap *other_config;
    const struct smap *external_ids;
    int vlan;                       /* Access VLAN of its port, 0 if none. */
};

struct vport_bond_port_row {
    const struct uuid *uuid;
    const char *name;
    const struct smap *other_config;
    size_t n_ifaces;
};

/* Starts the watcher, once, and registers commands. */
void vport_bond_init(void);

/* Applies the rows. */
void vport_bond_config_apply(const struct vport_bond_port_row ports[],
                             size_t n_ports,
                             const struct vport_bond_iface_row ifaces[],
                             size_t n_ifaces);

/* Makes the next call tell the watcher everything: something ended without the
 * configuration. */
void vport_bond_config_invalidate(void);

/* Ends it.  No bridge may be left. */
void vport_bond_exit(void);

/* Registers ovs-appctl commands (vport-bond-commands.c). */
void vport_bond_commands_init(void);

#endif /* vport-bond-config.h */
