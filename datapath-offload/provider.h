/* SPDX-License-Identifier: Apache-2.0 */

#ifndef PROVIDER_H
#define PROVIDER_H 1

/* The netdev-offload provider
 * ===========================
 *
 * OVS's official way in: a 'struct netdev_flow_api' to which dpif-netdev gives
 * the megaflows of the ports that it owns.  It never waits and never refuses,
 * and answers questions about statistics from memory.  Which ports are ours is
 * decided by offload-ports.h.
 *
 * What flow_put() and flow_del() tell is not enough: they are called for the
 * first and the last copy of a megaflow, and there may be others that do
 * something else (megaflow-mirror.h).  So they do nothing, and OVS's offload
 * threads tell of each copy as they come to it, with provider_copy_put() and
 * provider_copy_del(), called by a hook (ovs-dpif-netdev.c).
 *
 * Up to OVS 3.6.
 */

#include <stdbool.h>
#include "openvswitch/types.h"

struct dpif_flow_attrs;
struct dpif_flow_stats;
struct engine;
struct match;
struct netdev;
struct nlattr;

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

/* Copy 'copy' of a megaflow of 'netdev' was installed or changed, or is told
 * again.  Ignores those of ports that are not ours, unless they were ours when
 * the megaflow was told first: what NICs carried is still asked for.  Copies
 * its arguments.  Any RCU-registered thread; one at a time for each 'ufid'. */
void provider_copy_put(struct netdev *netdev, const ovs_u128 *ufid,
                       const void *copy, const struct match *match,
                       const struct nlattr *actions, size_t actions_len);

/* Copy 'copy' of a megaflow, told of or not, was removed.  Its address may be
 * that of another one from now on.  Any thread. */
void provider_copy_del(const ovs_u128 *ufid, const void *copy);

/* Hands all megaflows that start at datapath port 'odp_port' to the provider:
 * OVS does so only when it installs them.  In ovs-dpif-netdev.c. */
void provider_reread_megaflows(const char *dpif_type, odp_port_t odp_port);

/* Makes OVS's offload threads, whose data it is, remove what OVS's own
 * provider has put for datapath port 'odp_port', and waits until they have.
 * In ovs-dpif-netdev.c.  Main thread. */
void provider_flush_stock(const char *dpif_type, odp_port_t odp_port);

/* Returns true if OVS's offload threads have nothing queued or under way.  In
 * ovs-dpif-netdev.c.  Any thread. */
bool provider_queues_are_idle(void);

#endif /* provider.h */
