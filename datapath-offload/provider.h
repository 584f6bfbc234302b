/* SPDX-License-Identifier: Apache-2.0 */

#ifndef PROVIDER_H
#define PROVIDER_H 1

/* The netdev-offload provider
 * ===========================
 *
 * OVS's official way in: a 'struct netdev_flow_api' to which dpif-netdev gives
 * the megaflows of the ports that it owns.  It passes them on to the engine
 * and answers questions about statistics from memory; it never waits and never
 * refuses.  Which ports are ours is decided by offload-config.h.
 *
 * Up to OVS 3.6.
 */

#include <stdbool.h>
#include "openvswitch/types.h"

struct dpif_flow_attrs;
struct dpif_flow_stats;
struct engine;
struct netdev;

/* Registers the provider, which feeds 'engine'.  Once, by the main thread. */
void provider_register(struct engine *engine);

/* Returns true if 'netdev' is ours now.  Any RCU-registered thread. */
bool provider_owns(const struct netdev *netdev);

/* netdev_flow_get() for one copy of a megaflow, of PMD thread 'pmd_id', at
 * address 'copy'.  'fresh' tells that the copy was not told anything yet.  It
 * also answers for a port that was ours: what a NIC carried stays part of the
 * megaflow's statistics.  Any RCU-registered thread. */
int provider_flow_get(struct netdev *netdev, const ovs_u128 *ufid,
                      unsigned int pmd_id, const void *copy, bool fresh,
                      struct dpif_flow_stats *, struct dpif_flow_attrs *);

/* A megaflow of a port that is not ours now was removed.  Returns true if it
 * was handed to us when the port was: then nobody else knows of it. */
bool provider_flow_gone(struct netdev *netdev, const ovs_u128 *ufid);

/* Hands all megaflows that start at datapath port 'odp_port' to the provider:
 * OVS does so only when it installs them.  In ovs-dpif-netdev.c. */
void provider_reread_megaflows(const char *dpif_type, odp_port_t odp_port);

/* Returns true if OVS's offload threads have nothing queued or under way.  In
 * ovs-dpif-netdev.c.  Any thread. */
bool provider_queues_are_idle(void);

#endif /* provider.h */
