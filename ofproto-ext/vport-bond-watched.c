/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>
#include "vport-bond-watched.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "odp-util.h"
#include "openvswitch/shash.h"
#include "timeval.h"
#include "util.h"
#include "vport-bond-binding.h"
#include "vport-bond-dp.h"
#include "vport-bond-ids.h"
#include "vport-bond-state.h"
#include "vport-bond-update.h"

/* What the model's vports carry in 'aux'. */
struct vport_ext {
    struct vport_bond_outcome outcome; /* First: see vport-bond-state.h. */
    struct vport_bond_binding *binding; /* Null if not published. */
    bool in_datapath;               /* The datapath knows the id. */
    struct eth_addr attached_mac;
    uint16_t vlan;
};
BUILD_ASSERT_DECL(!offsetof(struct vport_ext, outcome));

struct watched_bond *
watched_bond_create(const struct vport_bond_config *config,
                    struct ovs_list *dps)
{
    struct watched_bond *bond = xzalloc(sizeof *bond);

    bond->owner = config->owner;
    bond->dp = vport_bond_dp_ref(dps, config->dp_type, config->dp_name);
    bond->model = vport_bond_create(config->name, &config->settings);
    return bond;
}

/* Ends the use of 'vport''s id and removes 'vport'.  Returns true if
 * translation has known it. */
static bool
retire_vport(struct watched_bond *bond, struct vport_bond_vport *vport,
             const struct vport_bond_ids *ids,
             struct vport_bond_retired_ids *retired)
{
    struct vport_ext *ext = vport->aux;
    bool was_published = ext->binding != NULL;

    if (was_published) {
        vport_bond_binding_remove(ext->binding);
    }
    vport_bond_ids_retire(retired, vport->id, bond->owner, bond->dp,
                          ids->linger_ms);
    free(ext);
    vport_bond_remove_vport(bond->model, vport);
    return was_published;
}

bool
watched_bond_destroy(struct watched_bond *bond,
                     const struct vport_bond_ids *ids,
                     struct vport_bond_retired_ids *retired)
{
    struct vport_bond_vport *vport;
    bool changed = false;

    LIST_FOR_EACH_SAFE (vport, list_node, &bond->model->vport_list) {
        changed |= retire_vport(bond, vport, ids, retired);
    }
    bond->dp->n_refs--;
    vport_bond_destroy(bond->model);
    free(bond);
    return changed;
}

static void
configure_uplinks(struct watched_bond *bond,
                  const struct vport_bond_config *config)
{
    struct vport_bond_uplink *uplink;

    for (size_t i = 0; i < config->n_uplinks; i++) {
        const struct vport_bond_uplink_config *c = &config->uplinks[i];

        uplink = vport_bond_find_uplink(bond->model, c->name);
        if (!uplink) {
            uplink = vport_bond_add_uplink(bond->model, c->name, c->odp_port,
                                           time_msec());
            bond->members_changed = true;
        } else if (uplink->odp_port != c->odp_port) {
            bond->members_changed = true;
        }
        uplink->in_kernel = c->in_kernel;
        vport_bond_set_uplink_port(bond->model, uplink, c->odp_port);
        vport_bond_set_gone(bond->model, uplink,
                            VPORT_BOND_NO_PORT_IN_DATAPATH, false);
        vport_bond_set_enabled(bond->model, uplink, c->enabled, c->enabling);
    }
    LIST_FOR_EACH_SAFE (uplink, node, &bond->model->uplinks) {
        bool found = false;

        for (size_t i = 0; i < config->n_uplinks && !found; i++) {
            found = !strcmp(config->uplinks[i].name, uplink->name);
        }
        if (!found) {
            vport_bond_remove_uplink(bond->model, uplink);
            bond->members_changed = true;
        }
    }
}

static void
configure_vport(struct watched_bond *bond,
                const struct vport_bond_vport_config *config,
                const struct vport_bond_ids *ids)
{
    struct vport_bond_vport *vport;
    struct vport_ext *ext;

    vport = vport_bond_find_vport(bond->model, config->odp_port);
    if (!vport) {
        vport = vport_bond_add_vport(bond->model, config->name,
                                     config->odp_port, config->class,
                                     config->primary,
                                     ids->alloc(bond->owner));
        vport->aux = xzalloc(sizeof(struct vport_ext));
    }
    vport_bond_set_primary(bond->model, vport, config->primary);
    ext = vport->aux;
    ext->attached_mac = config->attached_mac;
    ext->vlan = config->vlan;
}

static bool
configure_vports(struct watched_bond *bond,
                 const struct vport_bond_config *config,
                 const struct vport_bond_ids *ids,
                 struct vport_bond_retired_ids *retired)
{
    const struct vport_bond_vport_config no_port = {
        .name = VPORT_BOND_NO_PORT,
        .odp_port = ODPP_NONE,
        .class = VPORT_OTHER,
    };
    struct vport_bond_vport *vport;
    struct shash wanted = SHASH_INITIALIZER(&wanted);
    bool changed = false;

    for (size_t i = 0; i < config->n_vports; i++) {
        shash_add_once(&wanted, config->vports[i].name, &config->vports[i]);
    }
    LIST_FOR_EACH_SAFE (vport, list_node, &bond->model->vport_list) {
        const struct vport_bond_vport_config *c
            = shash_find_data(&wanted, vport->name);

        if (vport->odp_port != ODPP_NONE
            && (!c || c->odp_port != vport->odp_port
                || c->class != vport->class)) {
            changed |= retire_vport(bond, vport, ids, retired);
        }
    }
    shash_destroy(&wanted);

    configure_vport(bond, &no_port, ids);
    for (size_t i = 0; i < config->n_vports; i++) {
        configure_vport(bond, &config->vports[i], ids);
    }
    return changed;
}

bool
watched_bond_configure(struct watched_bond *bond,
                       const struct vport_bond_config *config,
                       const struct vport_bond_ids *ids,
                       struct vport_bond_retired_ids *retired)
{
    vport_bond_set_settings(bond->model, &config->settings);
    configure_uplinks(bond, config);
    return configure_vports(bond, config, ids, retired);
}

bool
watched_bond_publish(struct watched_bond *bond)
{
    struct vport_bond_vport *vport;
    bool changed = false;

    LIST_FOR_EACH (vport, list_node, &bond->model->vport_list) {
        struct vport_ext *ext = vport->aux;

        if (!ext->binding && ext->in_datapath) {
            ext->binding = vport_bond_binding_add(bond->model->name,
                                                  vport->odp_port,
                                                  vport->id);
            changed = true;
        }
    }
    return changed;
}

static void
take_change(struct vport_bond_vport *vport, void *updates_)
{
    struct vport_bond_updates *updates = updates_;
    struct watched_bond *bond = updates->bond;
    struct vport_ext *ext = vport->aux;
    struct vport_bond_uplink *uplink;
    struct vport_bond_update *u;

    u = vport_bond_updates_add(updates);
    u->dp = bond->dp;
    u->bond = xstrdup(bond->model->name);
    u->vport = xstrdup(vport->name);
    u->entry = vport->odp_port;
    u->id = vport->id;
    u->port = vport->current ? vport->current->odp_port : ODPP_NONE;
    u->members = xmalloc(MAX(1, ovs_list_size(&bond->model->uplinks))
                         * sizeof *u->members);
    LIST_FOR_EACH (uplink, node, &bond->model->uplinks) {
        u->members[u->n_members++] = uplink->odp_port;
    }
    u->announce = vport->n_moves && vport->current;
    u->attached_mac = ext->attached_mac;
    u->vlan = ext->vlan;
}

/* Takes all vports of 'bond' that did not change otherwise. */
static void
take_members(struct watched_bond *bond, struct vport_bond_updates *updates)
{
    struct vport_bond_vport *vport;

    LIST_FOR_EACH (vport, list_node, &bond->model->vport_list) {
        if (!vport->changed) {
            take_change(vport, updates);
            updates->array[updates->n - 1].members_only = true;
        }
    }
    bond->members_changed = false;
}

void
watched_bond_take_changes(struct watched_bond *bond,
                          struct vport_bond_updates *updates)
{
    updates->bond = bond;
    if (bond->members_changed) {
        take_members(bond, updates);
    }
    vport_bond_take_changes(bond->model, take_change, updates);
}

bool
watched_bond_note_done(struct vport_bond_vport *vport,
                       const struct vport_bond_update *u,
                       long long int event_usec)
{
    struct vport_ext *ext = vport->aux;

    ext->in_datapath = true;
    if (!vport->n_moves) {
        return false;
    }
    ext->outcome.duration_usec = u->done_usec - event_usec;
    ext->outcome.nic_done_usec = u->nic_done_usec;
    ext->outcome.done_usec = u->done_usec;
    return true;
}

void
watched_bond_note_announcement(struct vport_bond_vport *vport,
                               const struct vport_bond_update *u)
{
    struct vport_ext *ext = vport->aux;

    ext->outcome.n_macs = u->n_macs;
    ext->outcome.announced = (u->n_macs
                              ? VPORT_BOND_ANNOUNCED
                              : VPORT_BOND_NOT_ANNOUNCED);
}
