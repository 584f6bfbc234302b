/* SPDX-License-Identifier: Apache-2.0 */

#ifndef DP_BOND_STATS_H
#define DP_BOND_STATS_H 1

/* What a userspace datapath sent through lb_output(id).  dpif has bytes
 * only. */

#include <stdbool.h>
#include <stdint.h>

struct dp_bond_stats {
    uint64_t packets;
    uint64_t bytes;
};

/* Stores in '*stats' what datapath 'name' of 'type' sent through lb_output
 * ('id') and returns true, or returns false and stores zeros if it does not
 * know the id.  Any RCU-registered thread. */
bool dp_bond_stats_get(const char *type, const char *name, uint32_t id,
                       struct dp_bond_stats *stats);

#endif /* dp-bond-stats.h */
