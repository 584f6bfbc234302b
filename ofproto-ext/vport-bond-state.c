/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>
#include "vport-bond-state.h"

#include <stdlib.h>
#include <string.h>

#include "timeval.h"
#include "util.h"

static void
get_uplink_state(const struct vport_bond_uplink *uplink,
                 struct vport_bond_uplink_state *state)
{
    *state = (struct vport_bond_uplink_state) {
        .name = xstrdup(uplink->name),
        .odp_port = uplink->odp_port,
        .carrier = uplink->carrier,
        .enabled = uplink->enabled,
        .eligible = uplink->eligible,
        .usable = uplink->usable,
        .damped = vport_bond_uplink_is_damped(uplink),
        .since_ms = uplink->since_ms,
        .due_in_ms = vport_bond_uplink_due_in(uplink, time_msec()),
        .n_losses = uplink->n_losses,
    };
    for (int i = 0; i < N_VPORT_CLASSES; i++) {
        state->n_vports += uplink->n_vports[i];
    }
}

static void
get_vport_state(const struct vport_bond_vport *vport,
                struct vport_bond_vport_state *state)
{
    const struct vport_bond_outcome *outcome = vport->aux;

    *state = (struct vport_bond_vport_state) {
        .name = xstrdup(vport->name),
        .odp_port = vport->odp_port,
        .id = vport->id,
        .primary = nullable_xstrdup(vport->primary),
        .home = vport->home ? xstrdup(vport->home->name) : NULL,
        .current = vport->current ? xstrdup(vport->current->name) : NULL,
        .by_hand = vport->by_hand,
        .n_moves = vport->n_moves,
        .last_move_ms = vport->last_move_ms,
        .duration_usec = outcome->duration_usec,
        .nic_done_usec = outcome->nic_done_usec,
        .done_usec = outcome->done_usec,
        .announced = outcome->announced,
        .n_macs = outcome->n_macs,
    };
}

void
vport_bond_state_init(struct vport_bond_state *state,
                      const struct vport_bond *bond, const char *dp_type,
                      const char *dp_name)
{
    const struct vport_bond_uplink *uplink;
    const struct vport_bond_vport *vport;

    memset(state, 0, sizeof *state);
    state->name = xstrdup(bond->name);
    state->dp_type = xstrdup(dp_type);
    state->dp_name = xstrdup(dp_name);
    state->settings = bond->settings;
    state->uplinks = xmalloc(MAX(1, ovs_list_size(&bond->uplinks))
                             * sizeof *state->uplinks);
    LIST_FOR_EACH (uplink, node, &bond->uplinks) {
        get_uplink_state(uplink, &state->uplinks[state->n_uplinks++]);
    }
    state->vports = xmalloc(MAX(1, hmap_count(&bond->vports))
                            * sizeof *state->vports);
    LIST_FOR_EACH (vport, list_node, &bond->vport_list) {
        get_vport_state(vport, &state->vports[state->n_vports++]);
    }
}

static int
compare_states(const void *a_, const void *b_)
{
    const struct vport_bond_state *a = a_, *b = b_;

    return strcmp(a->name, b->name);
}

void
vport_bond_states_sort(struct vport_bond_state *states, size_t n)
{
    if (n) {
        qsort(states, n, sizeof *states, compare_states);
    }
}

void
vport_bond_states_free(struct vport_bond_state *states, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct vport_bond_state *state = &states[i];

        for (size_t j = 0; j < state->n_uplinks; j++) {
            free(state->uplinks[j].name);
        }
        for (size_t j = 0; j < state->n_vports; j++) {
            free(state->vports[j].name);
            free(state->vports[j].primary);
            free(state->vports[j].home);
            free(state->vports[j].current);
        }
        free(state->uplinks);
        free(state->vports);
        free(state->name);
        free(state->dp_type);
        free(state->dp_name);
    }
    free(states);
}
