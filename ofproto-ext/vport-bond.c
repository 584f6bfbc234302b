/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>
#include "vport-bond.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "flow.h"
#include "hash.h"
#include "util.h"

struct vport_bond *
vport_bond_create(const char *name,
                  const struct vport_bond_settings *settings)
{
    struct vport_bond *vb = xzalloc(sizeof *vb);

    vb->name = xstrdup(name);
    vb->settings = *settings;
    ovs_list_init(&vb->uplinks);
    hmap_init(&vb->vports);
    ovs_list_init(&vb->vport_list);
    return vb;
}

void
vport_bond_destroy(struct vport_bond *vb)
{
    struct vport_bond_uplink *uplink;
    struct vport_bond_vport *vport;

    if (!vb) {
        return;
    }
    LIST_FOR_EACH_SAFE (vport, list_node, &vb->vport_list) {
        vport_bond_remove_vport(vb, vport);
    }
    LIST_FOR_EACH_SAFE (uplink, node, &vb->uplinks) {
        vport_bond_remove_uplink(vb, uplink);
    }
    hmap_destroy(&vb->vports);
    free(vb->name);
    free(vb);
}

void
vport_bond_set_settings(struct vport_bond *vb,
                        const struct vport_bond_settings *settings)
{
    vb->settings = *settings;
}

/* Where vports are. */

static void
set_home(struct vport_bond_vport *vport, struct vport_bond_uplink *home)
{
    if (vport->home) {
        vport->home->n_homes[vport->class]--;
    }
    vport->home = home;
    if (home) {
        home->n_homes[vport->class]++;
    }
}

static void
set_current(struct vport_bond_vport *vport, struct vport_bond_uplink *current)
{
    if (vport->current) {
        vport->current->n_vports[vport->class]--;
    }
    vport->current = current;
    if (current) {
        current->n_vports[vport->class]++;
    }
    vport->changed = true;
}

/* Moves 'vport' from the uplink that it uses to 'current'. */
static void
move_to(struct vport_bond_vport *vport, struct vport_bond_uplink *current,
        long long int now_ms)
{
    set_current(vport, current);
    if (vport->placed) {
        vport->n_moves++;
        vport->last_move_ms = now_ms;
    }
}

static unsigned int
total(const unsigned int n[N_VPORT_CLASSES])
{
    unsigned int sum = 0;

    for (int i = 0; i < N_VPORT_CLASSES; i++) {
        sum += n[i];
    }
    return sum;
}

/* Returns true if 'a' is less loaded than 'b' as far as vports of 'class' are
 * concerned.  Virtual machines do not care where the others are; these prefer
 * the uplink with fewer vports at all. */
static bool
less_loaded(const unsigned int a[N_VPORT_CLASSES],
            const unsigned int b[N_VPORT_CLASSES], enum vport_class class)
{
    return (a[class] != b[class] || class == VPORT_VM
            ? a[class] < b[class]
            : total(a) < total(b));
}

/* Returns the uplink that is home to the fewest vports of 'class'. */
static struct vport_bond_uplink *
choose_home(const struct vport_bond *vb, enum vport_class class)
{
    struct vport_bond_uplink *best = NULL;
    struct vport_bond_uplink *uplink;

    LIST_FOR_EACH (uplink, node, &vb->uplinks) {
        if (!best || less_loaded(uplink->n_homes, best->n_homes, class)) {
            best = uplink;
        }
    }
    return best;
}

/* Returns the usable uplink that carries the fewest vports of 'class', or
 * null. */
static struct vport_bond_uplink *
choose_survivor(const struct vport_bond *vb, enum vport_class class)
{
    struct vport_bond_uplink *best = NULL;
    struct vport_bond_uplink *uplink;

    LIST_FOR_EACH (uplink, node, &vb->uplinks) {
        if (uplink->usable
            && (!best
                || less_loaded(uplink->n_vports, best->n_vports, class))) {
            best = uplink;
        }
    }
    return best;
}

/* Uplinks. */

struct vport_bond_uplink *
vport_bond_find_uplink(const struct vport_bond *vb, const char *name)
{
    struct vport_bond_uplink *uplink;

    LIST_FOR_EACH (uplink, node, &vb->uplinks) {
        if (!strcmp(uplink->name, name)) {
            return uplink;
        }
    }
    return NULL;
}

struct vport_bond_uplink *
vport_bond_add_uplink(struct vport_bond *vb, const char *name,
                      odp_port_t odp_port, long long int now_ms)
{
    struct vport_bond_uplink *uplink = xzalloc(sizeof *uplink);
    struct vport_bond_uplink *next;
    struct vport_bond_vport *vport;

    uplink->name = xstrdup(name);
    uplink->odp_port = odp_port;
    uplink->fresh = true;
    uplink->carrier = uplink->carrier_counts = true;
    uplink->enabled = true;
    uplink->eligible = true;
    uplink->usable = true;
    uplink->since_ms = now_ms;
    uplink->due_ms = LLONG_MAX;
    uplink->last_loss_ms = LLONG_MIN;

    /* In the order of names, so that the same configuration has the same
     * result. */
    LIST_FOR_EACH (next, node, &vb->uplinks) {
        if (strcmp(next->name, name) > 0) {
            break;
        }
    }
    ovs_list_insert(next ? &next->node : &vb->uplinks, &uplink->node);

    LIST_FOR_EACH (vport, list_node, &vb->vport_list) {
        if (!vport->home
            || (vport->primary && !vport->by_hand
                && !strcmp(vport->primary, name))) {
            set_home(vport, uplink);
        }
    }
    return uplink;
}

void
vport_bond_remove_uplink(struct vport_bond *vb,
                         struct vport_bond_uplink *uplink)
{
    struct vport_bond_vport *vport;

    ovs_list_remove(&uplink->node);
    LIST_FOR_EACH (vport, list_node, &vb->vport_list) {
        if (vport->current == uplink) {
            set_current(vport, NULL);
        }
        if (vport->home == uplink) {
            vport->by_hand = false;
            set_home(vport, NULL);
            set_home(vport, choose_home(vb, vport->class));
        }
    }
    free(uplink->name);
    free(uplink);
}

void
vport_bond_set_uplink_port(struct vport_bond *vb,
                           struct vport_bond_uplink *uplink,
                           odp_port_t odp_port)
{
    struct vport_bond_vport *vport;

    if (uplink->odp_port != odp_port) {
        uplink->odp_port = odp_port;
        LIST_FOR_EACH (vport, list_node, &vb->vport_list) {
            if (vport->current == uplink) {
                vport->changed = true;
            }
        }
    }
}

/* Returns how long carrier must last until it counts, as 'uplink' flaps. */
static int
damping_ms(const struct vport_bond_uplink *uplink)
{
    int hold_ms = VPORT_BOND_FLAP_HOLD_MS;

    if (uplink->n_flaps < 2) {
        return 0;
    }
    for (unsigned int i = 2; i < uplink->n_flaps; i++) {
        hold_ms = MIN(hold_ms * 2, VPORT_BOND_FLAP_HOLD_MAX_MS);
    }
    return hold_ms;
}

void
vport_bond_set_carrier(struct vport_bond *vb,
                       struct vport_bond_uplink *uplink, bool carrier,
                       long long int now_ms)
{
    if (carrier == uplink->carrier) {
        return;
    }
    uplink->carrier = carrier;

    if (uplink->fresh) {
        uplink->carrier_counts = carrier;
        return;
    }

    if (!carrier) {
        bool again = (uplink->last_loss_ms != LLONG_MIN
                      && (now_ms - uplink->last_loss_ms
                          < VPORT_BOND_FLAP_WINDOW_MS));

        uplink->n_flaps = again ? uplink->n_flaps + 1 : 1;
        uplink->last_loss_ms = now_ms;
        uplink->n_losses++;
    }

    if (carrier == uplink->carrier_counts) {
        /* It went and came back, or the reverse, before it counted. */
        uplink->due_ms = LLONG_MAX;
    } else if (carrier) {
        uplink->due_ms = now_ms + MAX(vb->settings.updelay_ms,
                                      damping_ms(uplink));
    } else {
        uplink->due_ms = now_ms + vb->settings.downdelay_ms;
    }
}

void
vport_bond_set_enabled(struct vport_bond *vb OVS_UNUSED,
                       struct vport_bond_uplink *uplink, bool enabled,
                       bool enabling)
{
    uplink->enabled = enabled;
    uplink->enabling = enabling;
}

void
vport_bond_set_gone(struct vport_bond *vb OVS_UNUSED,
                    struct vport_bond_uplink *uplink, unsigned int reason,
                    bool gone)
{
    uplink->gone = gone ? uplink->gone | reason : uplink->gone & ~reason;
}

/* Vports. */

struct vport_bond_vport *
vport_bond_find_vport(const struct vport_bond *vb, odp_port_t odp_port)
{
    struct vport_bond_vport *vport;

    HMAP_FOR_EACH_WITH_HASH (vport, hmap_node,
                             hash_int(odp_to_u32(odp_port), 0), &vb->vports) {
        if (vport->odp_port == odp_port) {
            return vport;
        }
    }
    return NULL;
}

struct vport_bond_vport *
vport_bond_find_vport_by_name(const struct vport_bond *vb, const char *name)
{
    struct vport_bond_vport *vport;

    LIST_FOR_EACH (vport, list_node, &vb->vport_list) {
        if (!strcmp(vport->name, name)) {
            return vport;
        }
    }
    return NULL;
}

struct vport_bond_vport *
vport_bond_add_vport(struct vport_bond *vb, const char *name,
                     odp_port_t odp_port, enum vport_class class,
                     const char *primary, uint32_t id)
{
    struct vport_bond_vport *vport = xzalloc(sizeof *vport);
    struct vport_bond_uplink *pinned;

    ovs_assert(!vport_bond_find_vport(vb, odp_port));
    vport->name = xstrdup(name);
    vport->odp_port = odp_port;
    vport->class = class;
    vport->id = id;
    vport->primary = nullable_xstrdup(primary);
    vport->changed = true;
    vport->last_move_ms = LLONG_MIN;
    hmap_insert(&vb->vports, &vport->hmap_node,
                hash_int(odp_to_u32(odp_port), 0));
    ovs_list_push_back(&vb->vport_list, &vport->list_node);

    pinned = primary ? vport_bond_find_uplink(vb, primary) : NULL;
    set_home(vport, pinned ? pinned : choose_home(vb, class));
    return vport;
}

void
vport_bond_remove_vport(struct vport_bond *vb, struct vport_bond_vport *vport)
{
    set_current(vport, NULL);
    set_home(vport, NULL);
    hmap_remove(&vb->vports, &vport->hmap_node);
    ovs_list_remove(&vport->list_node);
    free(vport->primary);
    free(vport->name);
    free(vport);
}

void
vport_bond_set_primary(struct vport_bond *vb, struct vport_bond_vport *vport,
                       const char *primary)
{
    struct vport_bond_uplink *pinned;

    if (nullable_string_is_equal(vport->primary, primary)) {
        return;
    }
    free(vport->primary);
    vport->primary = nullable_xstrdup(primary);
    vport->by_hand = false;
    pinned = primary ? vport_bond_find_uplink(vb, primary) : NULL;
    if (pinned) {
        set_home(vport, pinned);
    }
}

char *
vport_bond_move(struct vport_bond *vb, struct vport_bond_vport *vport,
                struct vport_bond_uplink *uplink, long long int now_ms)
{
    if (!uplink->eligible) {
        return xasprintf("%s: uplink %s is not usable now (carrier %s, %s)",
                         vb->name, uplink->name,
                         uplink->carrier ? "up" : "down",
                         uplink->enabled ? "enabled" : "not enabled");
    }
    vport->by_hand = !(vport->primary
                       && !strcmp(vport->primary, uplink->name));
    set_home(vport, uplink);
    if (vport->current != uplink) {
        /* Also if it would not go home by itself ('revert' is false). */
        move_to(vport, uplink, now_ms);
    }
    return NULL;
}

/* Decisions. */

static void
update_uplinks(struct vport_bond *vb, long long int now_ms)
{
    struct vport_bond_uplink *uplink;
    bool any = false;

    LIST_FOR_EACH (uplink, node, &vb->uplinks) {
        bool eligible;

        uplink->fresh = false;
        if (now_ms >= uplink->due_ms) {
            uplink->carrier_counts = uplink->carrier;
            uplink->due_ms = LLONG_MAX;
        }
        eligible = (uplink->carrier_counts && uplink->enabled
                    && !uplink->gone);
        if (eligible != uplink->eligible) {
            uplink->eligible = eligible;
            uplink->since_ms = now_ms;
        }
        any = any || eligible;
    }
    LIST_FOR_EACH (uplink, node, &vb->uplinks) {
        uplink->usable = (any
                          ? uplink->eligible
                          : (uplink->carrier && !uplink->gone
                             && (uplink->enabled || uplink->enabling)));
    }
}

/* Returns the uplink that 'vport' should use. */
static struct vport_bond_uplink *
choose_uplink(const struct vport_bond *vb,
              const struct vport_bond_vport *vport)
{
    bool current_usable = vport->current && vport->current->usable;

    if (vport->home && vport->home->usable
        && (!current_usable || vb->settings.revert)) {
        return vport->home;
    }
    return (current_usable
            ? vport->current
            : choose_survivor(vb, vport->class));
}

static void
update_vport(struct vport_bond *vb, struct vport_bond_vport *vport,
             long long int now_ms)
{
    struct vport_bond_uplink *uplink = choose_uplink(vb, vport);

    if (uplink != vport->current) {
        move_to(vport, uplink, now_ms);
    }
    vport->placed = true;
}

long long int
vport_bond_run(struct vport_bond *vb, long long int now_ms)
{
    long long int wake_ms = LLONG_MAX;
    struct vport_bond_uplink *uplink;
    struct vport_bond_vport *vport;

    update_uplinks(vb, now_ms);

    /* Those that stay or go home first: where the others go depends on it. */
    LIST_FOR_EACH (vport, list_node, &vb->vport_list) {
        if (vport->home && vport->home->usable) {
            update_vport(vb, vport, now_ms);
        }
    }
    LIST_FOR_EACH (vport, list_node, &vb->vport_list) {
        update_vport(vb, vport, now_ms);
    }

    LIST_FOR_EACH (uplink, node, &vb->uplinks) {
        wake_ms = MIN(wake_ms, uplink->due_ms);
    }
    return wake_ms;
}

void
vport_bond_take_changes(struct vport_bond *vb, vport_bond_change_cb *cb,
                        void *aux)
{
    struct vport_bond_vport *vport;

    LIST_FOR_EACH (vport, list_node, &vb->vport_list) {
        if (vport->changed) {
            vport->changed = false;
            cb(vport, aux);
        }
    }
}

long long int
vport_bond_uplink_due_in(const struct vport_bond_uplink *uplink,
                         long long int now_ms)
{
    return (uplink->due_ms == LLONG_MAX
            ? -1
            : MAX(uplink->due_ms - now_ms, 0));
}

bool
vport_bond_uplink_is_damped(const struct vport_bond_uplink *uplink)
{
    return uplink->due_ms != LLONG_MAX && uplink->carrier
           && damping_ms(uplink) > 0;
}
