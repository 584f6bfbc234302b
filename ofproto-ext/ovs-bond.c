/* SPDX-License-Identifier: Apache-2.0 */

/* Hooks in OVS's ofproto/bond.c, for bonds with vports (vport-bond-hooks.h);
 * for all others nothing changes.
 *
 *   bond_update_post_recirc_rules, bond_get_recirc_id_and_hash_basis,
 *   bond_use_lb_output_action   The action becomes lb_output(id), whatever the
 *       bond's mode.
 *
 *   bond_choose_output_member   There is always one, even if none is up: the
 *       megaflow must not change when the first comes back.
 *
 *   bond_check_admissibility   Packets are accepted on each member, except
 *       learning packets that come back.
 *
 *   bond_run                The watcher learns what OVS thinks of members.
 *
 *   bond_should_send_learning_packets   The watcher sends them.
 *
 *   netdev_get_carrier      The emulated NIC's carrier, too (all bonds). */

#include <config.h>

#include "datapath-offload/hook-version.h"
#include "lib/nic-emu.h"
#include "netdev.h"
#include "odp-util.h"
#include "ofproto/bond.h"
#include "ofproto/ofproto-dpif.h"
#include "vport-bond-binding.h"
#include "vport-bond-hooks.h"
#include "vport-bond-macs.h"
#include "vport-bond-watcher.h"

static bool
hooked_get_carrier(const struct netdev *netdev)
{
    bool carrier;

    return (netdev_get_carrier(netdev)
            && (!nic_emu_is_active()
                || !nic_emu_get_carrier(netdev_get_name(netdev), &carrier)
                || carrier));
}

void ovs_bond_update_post_recirc_rules(struct bond *, uint32_t *recirc_id,
                                       uint32_t *hash_basis);
void ovs_bond_get_recirc_id_and_hash_basis(struct bond *, uint32_t *recirc_id,
                                           uint32_t *hash_basis);
bool ovs_bond_use_lb_output_action(const struct bond *);
void *ovs_bond_choose_output_member(struct bond *, const struct flow *,
                                    struct flow_wildcards *, uint16_t vlan);
enum bond_verdict ovs_bond_check_admissibility(struct bond *,
                                               const void *member_,
                                               const struct eth_addr dst);
bool ovs_bond_run(struct bond *, enum lacp_status);
bool ovs_bond_should_send_learning_packets(struct bond *);

#define bond_update_post_recirc_rules ovs_bond_update_post_recirc_rules
#define bond_get_recirc_id_and_hash_basis ovs_bond_get_recirc_id_and_hash_basis
#define bond_use_lb_output_action ovs_bond_use_lb_output_action
#define bond_choose_output_member ovs_bond_choose_output_member
#define bond_check_admissibility ovs_bond_check_admissibility
#define bond_run ovs_bond_run
#define bond_should_send_learning_packets ovs_bond_should_send_learning_packets
#define netdev_get_carrier hooked_get_carrier
#include "ofproto/bond.c"
#undef bond_update_post_recirc_rules
#undef bond_get_recirc_id_and_hash_basis
#undef bond_use_lb_output_action
#undef bond_choose_output_member
#undef bond_check_admissibility
#undef bond_run
#undef bond_should_send_learning_packets
#undef netdev_get_carrier

void
vport_bond_revalidate(void)
{
    struct bond *bond;

    ovs_rwlock_wrlock(&rwlock);
    HMAP_FOR_EACH (bond, hmap_node, all_bonds) {
        bond->bond_revalidate = true;
    }
    ovs_rwlock_unlock(&rwlock);
}

/* Translation.  The name of a bond is that of its port and never changes. */

/* Returns true if 'bond' has vports, and stores in '*id' the id for the
 * translation that is under way. */
static bool
lookup_id(const struct bond *bond, uint32_t *id)
{
    struct vport_bond_xlate *xlate = vport_bond_xlate_get();

    if (vport_bond_lookup_id(bond->name, xlate->entry, id)) {
        xlate->bond = bond;
        xlate->id = *id;
        return true;
    }
    xlate->bond = NULL;
    return false;
}

void
bond_update_post_recirc_rules(struct bond *bond, uint32_t *recirc_id,
                              uint32_t *hash_basis)
{
    if (lookup_id(bond, recirc_id)) {
        *hash_basis = 0;
    } else {
        ovs_bond_update_post_recirc_rules(bond, recirc_id, hash_basis);
    }
}

void
bond_get_recirc_id_and_hash_basis(struct bond *bond, uint32_t *recirc_id,
                                  uint32_t *hash_basis)
{
    if (lookup_id(bond, recirc_id)) {
        *hash_basis = 0;
    } else {
        ovs_bond_get_recirc_id_and_hash_basis(bond, recirc_id, hash_basis);
    }
}

/* OVS asks right after it asked for the id, in the same thread. */
bool
bond_use_lb_output_action(const struct bond *bond)
{
    return (vport_bond_xlate_get()->bond == bond
            || ovs_bond_use_lb_output_action(bond));
}

/* Returns the member that stands for 'bond' in translation: always the same
 * one, whatever its state.  What OVS asks of the output port while it
 * translates (its OpenFlow configuration, STP, RSTP, QoS) it asks of this one
 * for all. */
static void *
representative(const struct bond *bond)
{
    const struct bond_member *first = NULL;
    const struct bond_member *member;
    void *aux;

    ovs_rwlock_rdlock(&rwlock);
    HMAP_FOR_EACH (member, hmap_node, &bond->members) {
        if (!first || strcmp(member->name, first->name) < 0) {
            first = member;
        }
    }
    aux = first ? first->aux : NULL;
    ovs_rwlock_unlock(&rwlock);
    return aux;
}

void *
bond_choose_output_member(struct bond *bond, const struct flow *flow,
                          struct flow_wildcards *wc, uint16_t vlan)
{
    const struct vport_bond_xlate *xlate = vport_bond_xlate_get();

    if (xlate->bond != bond) {
        return ovs_bond_choose_output_member(bond, flow, wc, vlan);
    }
    if (xlate->learn && xlate->entry != ODPP_NONE) {
        vport_bond_macs_seen(bond->name, xlate->id, flow->dl_src, vlan,
                             (xlate->learned_vlan >= 0
                              ? xlate->learned_vlan
                              : vlan), time_msec());
    }
    return representative(bond);
}

/* Returns true if the network returns one of our learning packets.  Nothing
 * may be learned from it, neither here nor behind patch ports: a machine that
 * says nothing would be looked for outside.  OVS's own check knows only what
 * this bridge has learned of the machine. */
static bool
is_reflection(void)
{
    struct vport_bond_xlate *xlate = vport_bond_xlate_get();

    if (xlate->flow && xlate->flow->dl_type == htons(ETH_TYPE_RARP)
        && vport_bond_macs_may_be_reflected(xlate->flow->dl_src)) {
        xlate->reflected = true;
        return true;
    }
    return false;
}

enum bond_verdict
bond_check_admissibility(struct bond *bond, const void *member_,
                         const struct eth_addr eth_dst)
{
    enum bond_verdict verdict = BV_DROP_IF_MOVED;
    const struct bond_member *member;
    bool ask_ovs;

    if (!vport_bond_is_active(bond->name)) {
        return ovs_bond_check_admissibility(bond, member_, eth_dst);
    }
    if (is_reflection()) {
        return BV_DROP;
    }

    ovs_rwlock_rdlock(&rwlock);
    member = bond_member_lookup(bond, member_);

    /* With LACP the partner knows of the bond and sends each packet once, and
     * nothing if negotiations failed. */
    ask_ovs = (bond->lacp_status == LACP_NEGOTIATED
               || (bond->lacp_status == LACP_CONFIGURED
                   && !bond->lacp_fallback_ab));
    if (!member) {
        verdict = BV_DROP;
    } else if (eth_addr_is_multicast(eth_dst)
               && bond->active_member != member
               && !bond->all_members_active) {
        /* The network may deliver a copy to each member. */
        verdict = BV_DROP;
    }
    ovs_rwlock_unlock(&rwlock);

    return (ask_ovs
            ? ovs_bond_check_admissibility(bond, member_, eth_dst)
            : verdict);
}

/* The main loop. */

/* Returns true if OVS is going to enable 'member' after a delay. */
static bool
is_enabling(const struct bond_member *member)
{
    return (!member->enabled && member->may_enable
            && member->delay_expires != LLONG_MAX);
}

bool
bond_run(struct bond *bond, enum lacp_status lacp_status)
{
    bool revalidate = ovs_bond_run(bond, lacp_status);
    const struct bond_member *member;

    if (vport_bond_is_active(bond->name)) {
        ovs_rwlock_rdlock(&rwlock);
        HMAP_FOR_EACH (member, hmap_node, &bond->members) {
            vport_bond_watcher_set_enabled(bond->name, member->name,
                                           member->enabled,
                                           is_enabling(member));
        }
        vport_bond_watcher_set_delays(bond->name, bond->updelay,
                                      bond->downdelay);
        ovs_rwlock_unlock(&rwlock);
    }
    return revalidate;
}

bool
bond_should_send_learning_packets(struct bond *bond)
{
    /* Resets what it checks in any case. */
    return (ovs_bond_should_send_learning_packets(bond)
            && !vport_bond_is_active(bond->name));
}

void
vport_bond_get_delays(const struct bond *bond, int *updelay_ms,
                      int *downdelay_ms)
{
    ovs_rwlock_rdlock(&rwlock);
    *updelay_ms = bond->updelay;
    *downdelay_ms = bond->downdelay;
    ovs_rwlock_unlock(&rwlock);
}

void
vport_bond_get_member(const struct bond *bond, const char *name,
                      bool *enabled, bool *enabling)
{
    const struct bond_member *member;

    ovs_rwlock_rdlock(&rwlock);
    member = bond_lookup_member(CONST_CAST(struct bond *, bond), name);
    *enabled = member && member->enabled;
    *enabling = member && is_enabling(member);
    ovs_rwlock_unlock(&rwlock);
}
