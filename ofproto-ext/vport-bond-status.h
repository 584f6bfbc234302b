/* SPDX-License-Identifier: Apache-2.0 */

#ifndef VPORT_BOND_STATUS_H
#define VPORT_BOND_STATUS_H 1

/* What Interface rows say of their uplinks
 * ========================================
 *
 * OVS writes the status of an interface when its netdev's number of changes
 * differs from the one it saw last.  A copy of what the watcher says, brought
 * up to date only when something moved, adds a number per vport to that, so
 * that a move costs the main loop nothing for all the other interfaces.
 *
 * Thread-safety: main thread only. */

#include <stdint.h>

/* Returns the names of the uplinks that 'vport' uses, separated by commas, or
 * "none"; or null if no bond has such a vport.  Valid until the next call. */
const char *vport_bond_status_get(const char *vport);

/* Returns a number that counts up whenever vport_bond_status_get() changes its
 * answer for 'vport'. */
uint64_t vport_bond_status_seq(const char *vport);

void vport_bond_status_destroy(void);

#endif /* vport-bond-status.h */
