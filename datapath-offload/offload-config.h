/* SPDX-License-Identifier: Apache-2.0 */

#ifndef OFFLOAD_CONFIG_H
#define OFFLOAD_CONFIG_H 1

/* Configuration: which NICs there are, which ports are theirs
 * ===========================================================
 *
 * Takes what OVSDB says (doc/reference.md lists the keys) and what OVS's
 * datapaths have for ports, and keeps NICs open and ports attached
 * accordingly. A bad value is reported once, with the key, the value and what
 * is allowed; the last good one stays in force.
 *
 * A port is ours if it is in a userspace datapath and its Interface names a
 * NIC in other_config:nic.  Ownership is decided before OVS's own providers
 * see the port.
 *
 * Thread-safety: main thread only, except offload_config_find_port().
 */

#include <stdbool.h>
#include <stddef.h>
#include "lib/nic.h"
#include "openvswitch/types.h"

struct engine;
struct engine_thread;
struct netdev;
struct smap;

/* One row of the Interface table. */
struct offload_iface_config {
    const char *name;
    const struct smap *other_config;
};

void offload_config_init(struct engine *, struct engine_thread *);

/* Removes all ports from NICs and closes the NICs.  The engine's thread does
 * not run any more. */
void offload_config_exit(void);

/* Applies what OVSDB says: other_config of table Open_vSwitch, and the
 * interfaces. */
void offload_config_set(const struct smap *ovs_other_config,
                        const struct offload_iface_config *, size_t n);

/* Goes on with what takes time.  To be called in each main loop. */
void offload_config_run(void);
void offload_config_wait(void);

/* Datapath port 'odp_port' with device 'netdev' is about to be inserted in
 * OVS's map of ports that may be offloaded. */
void offload_config_port_added(struct netdev *netdev, const char *dpif_type,
                               odp_port_t odp_port);

/* Datapath port 'odp_port' is about to be removed from it. */
void offload_config_port_removed(const char *dpif_type, odp_port_t odp_port);

/* OVS has begun to offload: ports that existed before have providers now. */
void offload_config_hw_offload_enabled(void);

/* Returns true if 'netdev' is a port of one of our NICs, and stores its
 * datapath port number in '*odp_port'.  Any thread. */
bool offload_config_find_port(const struct netdev *netdev,
                              odp_port_t *odp_port);

/* Iterates over NICs and ports, for commands. */
struct offload_port_info {
    const char *name;
    const char *dpif_type;
    odp_port_t odp_port;
    struct nic *nic;                /* Null if it is not ours. */
    nic_port_id id;
    enum nic_port_role role;
    bool ct_offload;
    const char *owner;              /* Who owns it, and */
    const char *why;                /* ...why. */
};
void offload_config_for_each_nic(void (*cb)(struct nic *, const char *config,
                                            void *aux),
                                 void *aux);
void offload_config_for_each_port(void (*cb)(const struct offload_port_info *,
                                             void *aux),
                                  void *aux);
struct nic *offload_config_find_nic(const char *name);

#endif /* offload-config.h */
