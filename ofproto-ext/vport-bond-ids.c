/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>
#include "vport-bond-ids.h"

#include <limits.h>
#include <stdlib.h>

#include "lib/egress.h"
#include "ovs-rcu.h"
#include "timeval.h"
#include "util.h"
#include "vport-bond-dp.h"
#include "vport-bond-macs.h"

struct retired_id {
    struct ovs_list node;
    const void *owner;
    struct vport_bond_dp *dp;
    uint32_t id;
    long long int expires_ms;
};

static void
forget_macs(uint32_t *id)
{
    vport_bond_macs_forget(*id);
    free(id);
}

void
vport_bond_ids_retire(struct vport_bond_retired_ids *ids, uint32_t id,
                      const void *owner, struct vport_bond_dp *dp,
                      int linger_ms)
{
    struct retired_id *old = xmalloc(sizeof *old);
    uint32_t *copy = xmemdup(&id, sizeof id);

    /* Those that found the binding before may go on to see addresses. */
    ovsrcu_postpone(forget_macs, copy);
    old->owner = owner;
    old->dp = dp;
    old->dp->n_refs++;
    old->id = id;
    old->expires_ms = time_msec() + linger_ms;
    ovs_list_push_back(&ids->lingering, &old->node);
    ids->n++;
}

void
vport_bond_ids_expire(struct vport_bond_retired_ids *ids, const void *owner)
{
    long long int now_ms = time_msec();
    struct retired_id *old;

    LIST_FOR_EACH_SAFE (old, node, &ids->lingering) {
        if (owner
            ? old->owner == owner
            : old->expires_ms <= now_ms && !egress_is_attached(old->id)) {
            ovs_list_remove(&old->node);
            ovs_list_push_back(&ids->due, &old->node);
        }
    }
}

void
vport_bond_ids_expire_all(struct vport_bond_retired_ids *ids)
{
    ovs_list_push_back_all(&ids->due, &ids->lingering);
}

long long int
vport_bond_ids_wake_ms(const struct vport_bond_retired_ids *ids)
{
    long long int wake_ms = LLONG_MAX;
    const struct retired_id *old;

    LIST_FOR_EACH (old, node, &ids->lingering) {
        wake_ms = MIN(wake_ms, MAX(old->expires_ms,
                                   time_msec() + EGRESS_RETRY_MS));
    }
    return wake_ms;
}

void
vport_bond_ids_free(struct vport_bond_retired_ids *ids,
                    const struct vport_bond_ids *ops)
{
    struct retired_id *old;

    LIST_FOR_EACH_POP (old, node, &ids->forgotten) {
        ops->free(old->id);
        free(old);
        ids->n--;
    }
}

void
vport_bond_ids_take_due(struct vport_bond_retired_ids *ids,
                        struct ovs_list *taken)
{
    ovs_list_init(taken);
    ovs_list_push_back_all(taken, &ids->due);
}

void
vport_bond_ids_forget(const struct ovs_list *taken,
                      const struct vport_bond_dp_class *dp_class)
{
    const struct retired_id *old;

    LIST_FOR_EACH (old, node, taken) {
        egress_remove(old->id);
        if (old->dp->handle) {
            dp_class->del(old->dp->handle, old->id);
        }
    }
}

void
vport_bond_ids_unref_dps(const struct ovs_list *taken)
{
    const struct retired_id *old;

    LIST_FOR_EACH (old, node, taken) {
        old->dp->n_refs--;
    }
}

void
vport_bond_ids_give_back(struct vport_bond_retired_ids *ids,
                         struct ovs_list *taken)
{
    ovs_list_push_back_all(&ids->forgotten, taken);
}
