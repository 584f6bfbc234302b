/* SPDX-License-Identifier: Apache-2.0 */

#ifndef VPORT_BOND_STATE_H
#define VPORT_BOND_STATE_H 1

/* A bond with vports at one moment, for people
 * ============================================
 *
 * A copy of what a 'struct vport_bond' holds and of what became of its moves,
 * with nothing that may change or go.
 *
 * Thread-safety: none. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "openvswitch/types.h"
#include "vport-bond.h"

enum vport_bond_announced {
    VPORT_BOND_NOT_MOVED,           /* Nothing to announce yet. */
    VPORT_BOND_ANNOUNCED,           /* 'n_macs' addresses. */
    VPORT_BOND_NOT_ANNOUNCED,       /* No address is known. */
};

/* What became of a vport's last move.  A vport's 'aux' points to it. */
struct vport_bond_outcome {
    long long int duration_usec;
    long long int nic_done_usec;    /* When NICs had followed (time_usec()). */
    long long int done_usec;        /* When it was over (time_usec()). */
    enum vport_bond_announced announced;
    unsigned int n_macs;
};

struct vport_bond_uplink_state {
    char *name;
    odp_port_t odp_port;
    bool carrier, enabled, eligible, usable, damped;
    long long int since_ms;         /* Since when eligible, or not. */
    long long int due_in_ms;        /* Until its carrier counts, or -1. */
    uint64_t n_losses;
    unsigned int n_vports;
};

struct vport_bond_vport_state {
    char *name;
    odp_port_t odp_port;
    uint32_t id;
    char *primary;                  /* Null if not pinned. */
    char *home;                     /* Null if there are no uplinks. */
    char *current;                  /* Null if packets are dropped. */
    bool by_hand;
    uint64_t n_moves;
    long long int last_move_ms;     /* LLONG_MIN if it never moved. */
    long long int duration_usec;    /* Of the last move: from the event to the
                                     * end of its update. */
    long long int nic_done_usec;    /* When NICs had followed (time_usec()). */
    long long int done_usec;        /* That end (time_usec()). */
    enum vport_bond_announced announced;
    unsigned int n_macs;
};

struct vport_bond_state {
    char *name;
    char *dp_type;
    char *dp_name;
    struct vport_bond_settings settings;
    struct vport_bond_uplink_state *uplinks;
    size_t n_uplinks;
    struct vport_bond_vport_state *vports;
    size_t n_vports;
};

/* Copies 'bond' and its vports' outcomes to '*state'. */
void vport_bond_state_init(struct vport_bond_state *state,
                           const struct vport_bond *bond, const char *dp_type,
                           const char *dp_name);

/* Sorts 'n' states by name. */
void vport_bond_states_sort(struct vport_bond_state *, size_t n);

/* Frees an array of 'n' states. */
void vport_bond_states_free(struct vport_bond_state *, size_t n);

#endif /* vport-bond-state.h */
