/* SPDX-License-Identifier: Apache-2.0 */

#ifndef VPORT_BOND_BINDING_H
#define VPORT_BOND_BINDING_H 1

/* Which id packets of a vport say in lb_output(id)
 * ================================================
 *
 * The map from bond and vport to id that translation reads.  Its only writer
 * is the watcher's configuration (vport-bond-watcher.h), in the main thread.
 *
 * Thread-safety
 * -------------
 *
 * Functions that look up may be called by any RCU-registered thread and take
 * no lock.  The others are the main thread's. */

#include <stdbool.h>
#include <stdint.h>
#include "openvswitch/types.h"

struct vport_bond_binding;

/* Returns true if there is any bond with vports. */
bool vport_bond_any_active(void);

/* Returns true if 'bond' is a bond with vports. */
bool vport_bond_is_active(const char *bond);

/* Stores in '*id' what packets that entered the datapath by 'entry' (ODPP_NONE
 * if by no port) and leave through 'bond' are to say, and returns true; or
 * returns false if 'bond' is no bond with vports.  A port that the bond does
 * not know is treated like ODPP_NONE. */
bool vport_bond_lookup_id(const char *bond, odp_port_t entry, uint32_t *id);

/* Makes 'id' be found for 'bond' and 'entry'.  A bond is one with vports as
 * long as it has a binding for ODPP_NONE. */
struct vport_bond_binding *vport_bond_binding_add(const char *bond,
                                                  odp_port_t entry,
                                                  uint32_t id);

/* Ends that.  Threads that found it before may go on to use the id until they
 * quiesce. */
void vport_bond_binding_remove(struct vport_bond_binding *);

#endif /* vport-bond-binding.h */
