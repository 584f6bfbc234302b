/* SPDX-License-Identifier: Apache-2.0 */

#ifndef OFFLOAD_PORTS_H
#define OFFLOAD_PORTS_H 1

/* Datapath ports: which of them are NICs'
 * =======================================
 *
 * Knows the ports that OVS's datapaths have, and attaches them to NICs as the
 * configuration (offload-config.h) says.
 *
 * A port is ours if it is in a userspace datapath and its Interface names a
 * NIC in other_config:nic, or it is a DPDK port whose driver takes flow rules
 * and its Interface names none.  Ownership is decided before OVS's own
 * providers see the port.
 *
 * Thread-safety: main thread only, except offload_ports_find().
 */

#include <stdbool.h>
#include "lib/nic.h"
#include "openvswitch/types.h"

struct engine;
struct engine_thread;
struct netdev;

/* Before it is called ports are only noted. */
void offload_ports_init(struct engine *, struct engine_thread *);

/* Removes all ports, from NICs, too. */
void offload_ports_exit(void);

/* Attaches and detaches ports as configured, and lets OVS choose again who
 * offloads those of which that changed. */
void offload_ports_reconcile(void);

/* Datapath port 'odp_port' with device 'netdev' is about to be inserted in
 * OVS's map of ports that may be offloaded. */
void offload_ports_add(struct netdev *netdev, const char *dpif_type,
                       odp_port_t odp_port);

/* Datapath port 'odp_port' is about to be removed from it. */
void offload_ports_remove(const char *dpif_type, odp_port_t odp_port);

/* OVS has begun to offload: ports that existed before have providers now. */
void offload_ports_hw_offload_enabled(void);

/* Returns true if 'netdev' is a port of one of our NICs, and stores its
 * datapath port number in '*odp_port'.  Any thread. */
bool offload_ports_find(const struct netdev *netdev, odp_port_t *odp_port);

/* Returns true if 'netdev' is to become a port of one of our NICs, which
 * cannot have it yet.  Any thread. */
bool offload_ports_is_waiting(const struct netdev *netdev);

/* Iterates over ports, for commands. */
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
    const char *problem;            /* Null, or why its NIC must be expected
                                     * to refuse rules for packets from it. */
};
void offload_ports_for_each(void (*cb)(const struct offload_port_info *,
                                       void *aux),
                            void *aux);

#endif /* offload-ports.h */
