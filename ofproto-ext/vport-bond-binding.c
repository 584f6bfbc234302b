/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>
#include "vport-bond-binding.h"

#include <stdlib.h>
#include <string.h>

#include "cmap.h"
#include "flow.h"
#include "hash.h"
#include "odp-util.h"
#include "ovs-atomic.h"
#include "ovs-rcu.h"
#include "util.h"

struct vport_bond_binding {
    struct cmap_node node;          /* In 'bindings'. */
    char *bond;
    odp_port_t entry;
    uint32_t id;
};

static struct cmap bindings = CMAP_INITIALIZER;
static atomic_count n_bindings = ATOMIC_COUNT_INIT(0);

static uint32_t
hash_binding(const char *bond, odp_port_t entry)
{
    return hash_string(bond, odp_to_u32(entry));
}

static struct vport_bond_binding *
binding_find(const char *bond, odp_port_t entry)
{
    struct vport_bond_binding *binding;

    CMAP_FOR_EACH_WITH_HASH (binding, node, hash_binding(bond, entry),
                             &bindings) {
        if (binding->entry == entry && !strcmp(binding->bond, bond)) {
            return binding;
        }
    }
    return NULL;
}

bool
vport_bond_any_active(void)
{
    return atomic_count_get(&n_bindings) != 0;
}

bool
vport_bond_is_active(const char *bond)
{
    return vport_bond_any_active() && binding_find(bond, ODPP_NONE);
}

bool
vport_bond_lookup_id(const char *bond, odp_port_t entry, uint32_t *id)
{
    const struct vport_bond_binding *binding;

    if (!vport_bond_any_active()) {
        return false;
    }
    binding = binding_find(bond, entry);
    if (!binding && entry != ODPP_NONE) {
        binding = binding_find(bond, ODPP_NONE);
    }
    if (binding) {
        *id = binding->id;
    }
    return binding != NULL;
}

static void
binding_free(struct vport_bond_binding *binding)
{
    free(binding->bond);
    free(binding);
}

struct vport_bond_binding *
vport_bond_binding_add(const char *bond, odp_port_t entry, uint32_t id)
{
    struct vport_bond_binding *binding = xmalloc(sizeof *binding);

    binding->bond = xstrdup(bond);
    binding->entry = entry;
    binding->id = id;
    cmap_insert(&bindings, &binding->node, hash_binding(bond, entry));
    atomic_count_inc(&n_bindings);
    return binding;
}

void
vport_bond_binding_remove(struct vport_bond_binding *binding)
{
    cmap_remove(&bindings, &binding->node,
                hash_binding(binding->bond, binding->entry));
    atomic_count_dec(&n_bindings);
    ovsrcu_postpone(binding_free, binding);
}
