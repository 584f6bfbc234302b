/* SPDX-License-Identifier: Apache-2.0 */

#ifndef VPORT_BOND_IDS_H
#define VPORT_BOND_IDS_H 1

/* Life of an id
 * =============
 *
 * Each pair of a bond and a vport has an *id*, and datapath actions say
 * lb_output(id).
 *
 * The main thread allocates it ('alloc').  Translation can find it
 * (vport_bond_lookup_id()) after the datapath knows it.  When the vport or the
 * bond goes, translation does not find it any more, but megaflows still name
 * it: it is *retired*, and
 *
 *   - *lingers* in the datapath for VPORT_BOND_LINGER_MS, in which
 *     revalidation replaces them, and as long as a NIC uses it.  (OVS says
 *     that a revalidation has ended to the bridge's own threads only.  One
 *     that takes longer than 2 s makes OVS lower the number of megaflows.)
 *     Before its owner goes its lingering ends at once;
 *
 *   - then it is *due*: the watcher's thread takes it and makes the datapath
 *     and NICs forget it;
 *
 *   - then it is *forgotten*: the main thread frees it ('free').
 *
 * Thread-safety
 * -------------
 *
 * A 'struct vport_bond_retired_ids' is guarded by the watcher's mutex
 * (vport-bond-watcher.h), which who calls a function that takes it must hold.
 * Each of these functions is either the main thread's or the watcher's
 * thread's. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "openvswitch/list.h"

struct vport_bond_dp;
struct vport_bond_dp_class;

/* How long an id that nobody should use any more stays in the datapath:
 * several times what the slowest revalidation takes. */
#define VPORT_BOND_LINGER_MS 30000

/* What the main thread does for the watcher. */
struct vport_bond_ids {
    /* Allocates and frees ids.  'owner' is what the bond belongs to. */
    uint32_t (*alloc)(const void *owner);
    void (*free)(uint32_t id);

    /* VPORT_BOND_LINGER_MS, less in tests. */
    int linger_ms;
};

/* Ids that translation does not give out any more. */
struct vport_bond_retired_ids {
    struct ovs_list lingering;
    struct ovs_list due;
    struct ovs_list forgotten;

    /* How many there are, those included that the watcher's thread is working
     * on. */
    size_t n;
};
#define VPORT_BOND_RETIRED_IDS_INITIALIZER(RETIRED)                 \
    {                                                               \
        .lingering = OVS_LIST_INITIALIZER(&(RETIRED)->lingering),   \
        .due = OVS_LIST_INITIALIZER(&(RETIRED)->due),               \
        .forgotten = OVS_LIST_INITIALIZER(&(RETIRED)->forgotten),   \
    }

/* The main thread's. */

/* Lets 'id' linger, which translation does not find any more, with a reference
 * to 'dp' of its own. */
void vport_bond_ids_retire(struct vport_bond_retired_ids *, uint32_t id,
                           const void *owner, struct vport_bond_dp *dp,
                           int linger_ms);

/* Makes the ids of 'owner' that linger due; if it is null, those whose time
 * has come. */
void vport_bond_ids_expire(struct vport_bond_retired_ids *,
                           const void *owner);

/* Makes all ids that linger due. */
void vport_bond_ids_expire_all(struct vport_bond_retired_ids *);

/* Returns when vport_bond_ids_expire() is to be called, LLONG_MAX if no id
 * lingers. */
long long int vport_bond_ids_wake_ms(const struct vport_bond_retired_ids *);

/* Frees those that are forgotten. */
void vport_bond_ids_free(struct vport_bond_retired_ids *,
                         const struct vport_bond_ids *);

/* The watcher's thread's, in this order. */

/* Moves those that are due to 'taken', which it initializes. */
void vport_bond_ids_take_due(struct vport_bond_retired_ids *,
                             struct ovs_list *taken);

/* Makes datapaths and NICs forget the ids in 'taken'.  No mutex may be
 * held. */
void vport_bond_ids_forget(const struct ovs_list *taken,
                           const struct vport_bond_dp_class *);

/* Gives back the references of the ids in 'taken' to their datapaths, with the
 * watcher's mutex held. */
void vport_bond_ids_unref_dps(const struct ovs_list *taken);

/* Gives 'taken', which have been forgotten, back. */
void vport_bond_ids_give_back(struct vport_bond_retired_ids *,
                              struct ovs_list *taken);

#endif /* vport-bond-ids.h */
