/* SPDX-License-Identifier: Apache-2.0 */

#ifndef DP_REGISTRY_H
#define DP_REGISTRY_H 1

/* Numbers for datapaths
 * =====================
 *
 * Ports, megaflows and connections belong to a datapath.  OVS names it by a
 * string in one place ("netdev", "dummy"), by its connection tracker in
 * another.  Here each type of userspace datapath has a small number; 0 is
 * none.
 *
 * Thread-safe.
 */

#include <stdint.h>

struct conntrack;

/* Returns the number of the datapath type, assigned if necessary. */
uint32_t dp_registry_id(const char *dpif_type);

/* Returns the type that has this number, or null. */
const char *dp_registry_type(uint32_t dp);

/* 'ct' tracks connections of the datapath type from now on. */
void dp_registry_add(const struct conntrack *ct, const char *dpif_type);

/* 'ct' is about to be destroyed. */
void dp_registry_remove(const struct conntrack *ct);

/* Returns the number of the datapath whose connections 'ct' tracks, or 0. */
uint32_t dp_registry_find(const struct conntrack *ct);

/* Calls 'cb' for the connection tracker of each datapath, with a lock that
 * keeps it from being destroyed. */
void dp_registry_for_each(void (*cb)(struct conntrack *, uint32_t dp,
                                     void *aux),
                          void *aux);

#endif /* dp-registry.h */
