/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>
#include "vport-bond-update.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "coverage.h"
#include "dp-packet.h"
#include "lib/egress.h"
#include "odp-util.h"
#include "openvswitch/vlog.h"
#include "packets.h"
#include "timeval.h"
#include "util.h"
#include "vport-bond-dp.h"
#include "vport-bond-macs.h"

VLOG_DEFINE_THIS_MODULE(vport_bond_update);

COVERAGE_DEFINE(vport_bond_announce);

struct vport_bond_update *
vport_bond_updates_add(struct vport_bond_updates *updates)
{
    struct vport_bond_update *u;

    if (updates->n >= updates->allocated) {
        updates->array = x2nrealloc(updates->array, &updates->allocated,
                                    sizeof *updates->array);
    }
    u = &updates->array[updates->n++];
    memset(u, 0, sizeof *u);
    return u;
}

void
vport_bond_updates_destroy(struct vport_bond_updates *updates)
{
    for (size_t i = 0; i < updates->n; i++) {
        free(updates->array[i].bond);
        free(updates->array[i].vport);
        free(updates->array[i].members);
    }
    free(updates->array);
}

/* Brings about 'updates' in NICs. */
static void
apply_to_nics(struct vport_bond_updates *updates)
{
    struct egress_target *targets;
    long long int done_usec;

    targets = xmalloc(updates->n * sizeof *targets);
    for (size_t i = 0; i < updates->n; i++) {
        const struct vport_bond_update *u = &updates->array[i];

        targets[i] = (struct egress_target) {
            .id = u->id,
            .dp_type = u->dp->type,
            .port = u->port,
            .members = u->members,
            .n_members = u->n_members,
        };
    }
    egress_set(targets, updates->n);
    free(targets);

    done_usec = time_usec();
    for (size_t i = 0; i < updates->n; i++) {
        updates->array[i].nic_done_usec = done_usec;
    }
}

/* Brings about 'updates' in datapaths. */
static void
apply_to_dps(struct vport_bond_updates *updates,
             const struct vport_bond_dp_class *dp_class)
{
    static struct vlog_rate_limit rl = VLOG_RATE_LIMIT_INIT(60, 60);

    for (size_t i = 0; i < updates->n; i++) {
        struct vport_bond_update *u = &updates->array[i];

        if (u->members_only) {
            continue;
        }
        if (!u->dp->handle) {
            u->dp->handle = dp_class->open(u->dp->type, u->dp->name);
        }
        u->error = (u->dp->handle
                    ? dp_class->set(u->dp->handle, u->id, u->port)
                    : ENODEV);
        u->done_usec = time_usec();
        if (u->error) {
            VLOG_WARN_RL(&rl, "bond %s: datapath %s@%s refused to move "
                         "vport %s (%s)", u->bond, u->dp->type, u->dp->name,
                         u->vport, ovs_strerror(u->error));
        }
    }
}

void
vport_bond_updates_apply(struct vport_bond_updates *updates,
                         const struct vport_bond_dp_class *dp_class)
{
    /* NICs first: they carry most of the packets. */
    if (updates->n) {
        apply_to_nics(updates);
        apply_to_dps(updates, dp_class);
    }
}

bool
vport_bond_updates_any_done(const struct vport_bond_updates *updates)
{
    for (size_t i = 0; i < updates->n; i++) {
        if (!updates->array[i].error) {
            return true;
        }
    }
    return false;
}

bool
vport_bond_update_announces(const struct vport_bond_update *u)
{
    return (u->announce && !u->members_only && !u->error
            && u->port != ODPP_NONE);
}

/* Sends learning packets for 'u', which has moved. */
static void
announce(struct vport_bond_update *u,
         const struct vport_bond_dp_class *dp_class)
{
    struct vport_bond_mac macs[VPORT_BOND_MACS_MAX];
    size_t n = vport_bond_macs_get(u->id, false, time_msec(), macs);

    if (!n && !eth_addr_is_zero(u->attached_mac)) {
        macs[0].mac = u->attached_mac;
        macs[0].vlan = u->vlan;
        n = 1;
    } else if (!n) {
        n = vport_bond_macs_get(u->id, true, time_msec(), macs);
    }
    for (size_t i = 0; i < n; i++) {
        struct dp_packet *packet = dp_packet_new(0);

        vport_bond_macs_announced(macs[i].mac);
        compose_rarp(packet, macs[i].mac);
        if (macs[i].vlan) {
            eth_push_vlan(packet, htons(ETH_TYPE_VLAN), htons(macs[i].vlan));
        }
        if (!dp_class->send(u->dp->handle, u->port, packet)) {
            u->n_macs++;
            COVERAGE_INC(vport_bond_announce);
        }
        dp_packet_delete(packet);
    }
}

void
vport_bond_updates_announce(struct vport_bond_updates *updates,
                            const struct vport_bond_dp_class *dp_class)
{
    for (size_t i = 0; i < updates->n; i++) {
        struct vport_bond_update *u = &updates->array[i];

        if (vport_bond_update_announces(u)) {
            announce(u, dp_class);
        }
    }
}
