/* SPDX-License-Identifier: Apache-2.0 */

#ifndef VPORT_BOND_WATCHER_H
#define VPORT_BOND_WATCHER_H 1

/* The thread that moves vports
 * ============================
 *
 * Looks after all bonds with 'other_config:vport-bond=true'.  The main thread
 * says which bonds there are, with their uplinks and vports; the watcher's
 * thread listens to the carrier of the uplinks, lets vport-bond.h decide, and
 * makes it so:
 *
 *   - in the datapath: each pair of bond and vport has an *id*, and datapath
 *     actions say lb_output(id).  The thread is the only one that tells the
 *     datapath where an id leads (dpif_bond_add()), the first time included.
 *     Megaflows do not change when a vport moves.  vport-bond-ids.h tells an
 *     id's life.
 *
 *   - in NICs: one egress update (lib/egress.h).
 *
 *   - in the network: learning packets (RARP) for the MAC addresses of vports
 *     that moved (vport-bond-macs.h).
 *
 * Threads
 * -------
 *
 * The functions are the main thread's.  The watcher's thread never waits for
 * the main thread: what they share is guarded by a mutex that both hold only
 * to compute and to copy.  vport_bond_watcher_configure(), _release(), _move()
 * and _uplink_gone() wait for the watcher's thread, which is a matter of
 * microseconds. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "lib/carrier.h"
#include "openvswitch/types.h"
#include "vport-bond-dp.h"
#include "vport-bond-ids.h"
#include "vport-bond-watched.h"

struct smap;
struct vport_bond_state;

/* Starts the thread.  'sources' are sources of carrier beside the kernel. */
void vport_bond_watcher_start(const struct vport_bond_dp_class *,
                              const struct vport_bond_ids *,
                              const struct carrier_source sources[],
                              unsigned int n_sources);

/* Stops it.  No bond may be left. */
void vport_bond_watcher_stop(void);
bool vport_bond_watcher_is_running(void);

/* Configuration. */

/* Makes the bonds be as 'configs' say, and all others go.  When it returns the
 * datapath knows it.  Returns true if translation changed: flows must be
 * revalidated. */
bool vport_bond_watcher_configure(const struct vport_bond_config configs[],
                                  size_t n);

/* Ends everything that belongs to 'owner', which is about to go, at once.
 * Returns true if it had a bond.  Waits for nobody if there is nothing to
 * end. */
bool vport_bond_watcher_release(const void *owner);

/* Does what is left to the main thread; and wakes it up for that.  run()
 * returns true if translation changed: flows must be revalidated. */
bool vport_bond_watcher_run(void);
void vport_bond_watcher_wait(void);

/* OVS thinks so of uplink 'name' of 'bond'.  Does nothing if it is known, or
 * if there is no such bond. */
void vport_bond_watcher_set_enabled(const char *bond, const char *name,
                                    bool enabled, bool enabling);

/* OVS's delays for 'bond' are so. */
void vport_bond_watcher_set_delays(const char *bond, int updelay_ms,
                                   int downdelay_ms);

/* The datapath port of uplink 'name' is about to be deleted: moves its vports
 * away before it is, without any delay.  Returns true if there is such an
 * uplink; then it stays out of use until vport_bond_watcher_configure() names
 * it again. */
bool vport_bond_watcher_uplink_gone(const char *name);

/* Moves 'vport' of all bonds that have it and have 'uplink'.  Returns null if
 * something moved, otherwise a malloc()'d sentence that says why not. */
char *vport_bond_watcher_move(const char *vport, const char *uplink);

/* State, for people. */

/* Stores in '*statesp' the state of 'bond', or of all bonds if it is null, in
 * the order of names, and returns their number.  The caller frees them with
 * vport_bond_states_free(). */
size_t vport_bond_watcher_get_state(const char *bond,
                                    struct vport_bond_state **statesp);

/* Adds to 'uplinks' for each vport, by name, the uplink that it uses, or
 * "none"; separated by commas if several bonds have it. */
void vport_bond_watcher_get_uplinks(struct smap *uplinks);

/* Returns a number that changes whenever vport_bond_watcher_get_uplinks() may
 * have changed. */
uint64_t vport_bond_watcher_change_seq(void);

#endif /* vport-bond-watcher.h */
