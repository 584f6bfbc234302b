/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>
#include "vport-bond-dp.h"

#include <stdlib.h>
#include <string.h>

#include "util.h"

struct vport_bond_dp *
vport_bond_dp_ref(struct ovs_list *dps, const char *type, const char *name)
{
    struct vport_bond_dp *dp;

    LIST_FOR_EACH (dp, node, dps) {
        if (!strcmp(dp->type, type) && !strcmp(dp->name, name)) {
            dp->n_refs++;
            return dp;
        }
    }
    dp = xzalloc(sizeof *dp);
    dp->type = xstrdup(type);
    dp->name = xstrdup(name);
    dp->n_refs = 1;
    ovs_list_push_back(dps, &dp->node);
    return dp;
}

void
vport_bond_dps_take_unused(struct ovs_list *dps, struct ovs_list *unused)
{
    struct vport_bond_dp *dp;

    ovs_list_init(unused);
    LIST_FOR_EACH_SAFE (dp, node, dps) {
        if (!dp->n_refs) {
            ovs_list_remove(&dp->node);
            ovs_list_push_back(unused, &dp->node);
        }
    }
}

void
vport_bond_dps_close(struct ovs_list *unused,
                     const struct vport_bond_dp_class *dp_class)
{
    struct vport_bond_dp *dp;

    LIST_FOR_EACH_POP (dp, node, unused) {
        if (dp->handle) {
            dp_class->close(dp->handle);
        }
        free(dp->type);
        free(dp->name);
        free(dp);
    }
}
