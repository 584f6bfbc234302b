/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>
#include "vport-bond-macs.h"

#include <stdlib.h>
#include <string.h>

#include "cmap.h"
#include "flow.h"
#include "hash.h"
#include "openvswitch/hmap.h"
#include "openvswitch/list.h"
#include "openvswitch/thread.h"
#include "ovs-atomic.h"
#include "ovs-rcu.h"
#include "packets.h"
#include "timeval.h"
#include "util.h"

/* What is behind one id. */
struct behind {
    struct hmap_node node;          /* In 'all_behind', by 'id'. */
    uint32_t id;
    char *bond;
    struct ovs_list macs;           /* Contains 'struct mac's. */
    size_t n;
};

/* Does not change while it is in 'all_macs', except for 'used_ms'. */
struct mac {
    struct cmap_node node;          /* In 'all_macs', by address. */
    struct ovs_list list_node;      /* In 'macs' of 'behind'. */
    struct behind *behind;
    struct vport_bond_mac mac;
    uint16_t learned_vlan;
    atomic_llong used_ms;
};

/* An address for which a learning packet was sent. */
struct announced {
    struct hmap_node node;          /* In 'all_announced', by address. */
    struct ovs_list list_node;      /* In 'announced_list', oldest first. */
    struct eth_addr mac;
    long long int expires_ms;
};

/* Held by writers.  Those who look up addresses in 'all_macs' take no lock, so
 * that translation does only for an address that it has not seen before. */
static struct ovs_mutex mutex = OVS_MUTEX_INITIALIZER;
static struct cmap all_macs = CMAP_INITIALIZER;
static struct hmap all_behind OVS_GUARDED_BY(mutex)
    = HMAP_INITIALIZER(&all_behind);
static struct hmap all_announced OVS_GUARDED_BY(mutex)
    = HMAP_INITIALIZER(&all_announced);
static struct ovs_list announced_list OVS_GUARDED_BY(mutex)
    = OVS_LIST_INITIALIZER(&announced_list);

static struct behind *
behind_find(uint32_t id)
    OVS_REQUIRES(mutex)
{
    struct behind *behind;

    HMAP_FOR_EACH_WITH_HASH (behind, node, hash_int(id, 0), &all_behind) {
        if (behind->id == id) {
            return behind;
        }
    }
    return NULL;
}

static struct behind *
behind_create(const char *bond, uint32_t id)
    OVS_REQUIRES(mutex)
{
    struct behind *behind = xzalloc(sizeof *behind);

    behind->id = id;
    behind->bond = xstrdup(bond);
    ovs_list_init(&behind->macs);
    hmap_insert(&all_behind, &behind->node, hash_int(id, 0));
    return behind;
}

static void
behind_free(struct behind *behind)
{
    free(behind->bond);
    free(behind);
}

static long long int
used_ms(const struct mac *mac)
{
    long long int ms;

    atomic_read_relaxed(&CONST_CAST(struct mac *, mac)->used_ms, &ms);
    return ms;
}

static uint32_t
hash_addr(struct eth_addr addr)
{
    return hash_mac(addr, 0, 0);
}

static void
mac_delete(struct mac *mac)
    OVS_REQUIRES(mutex)
{
    struct behind *behind = mac->behind;

    cmap_remove(&all_macs, &mac->node, hash_addr(mac->mac.mac));
    ovs_list_remove(&mac->list_node);
    ovsrcu_postpone(free, mac);
    if (!--behind->n) {
        hmap_remove(&all_behind, &behind->node);
        ovsrcu_postpone(behind_free, behind);
    }
}

/* Returns the entry of 'addr' in 'vlan', as it leaves through 'bond', or
 * null. */
static struct mac *
mac_find(const char *bond, struct eth_addr addr, uint16_t vlan)
{
    struct mac *mac;

    CMAP_FOR_EACH_WITH_HASH (mac, node, hash_addr(addr), &all_macs) {
        if (eth_addr_equals(mac->mac.mac, addr) && mac->mac.vlan == vlan
            && !strcmp(mac->behind->bond, bond)) {
            return mac;
        }
    }
    return NULL;
}

/* Returns an entry of 'addr' that was learned in 'vlan', or null. */
static struct mac *
mac_find_learned(struct eth_addr addr, uint16_t vlan)
{
    struct mac *mac;

    CMAP_FOR_EACH_WITH_HASH (mac, node, hash_addr(addr), &all_macs) {
        if (eth_addr_equals(mac->mac.mac, addr)
            && mac->learned_vlan == vlan) {
            return mac;
        }
    }
    return NULL;
}

/* Makes room for another address behind 'behind'. */
static void
evict(struct behind *behind)
    OVS_REQUIRES(mutex)
{
    struct mac *oldest = NULL;
    struct mac *mac;

    LIST_FOR_EACH (mac, list_node, &behind->macs) {
        if (!oldest || used_ms(mac) < used_ms(oldest)) {
            oldest = mac;
        }
    }
    mac_delete(oldest);
}

static void
mac_insert(const char *bond, uint32_t id, struct eth_addr addr,
           uint16_t vlan, uint16_t learned_vlan, long long int now_ms)
    OVS_REQUIRES(mutex)
{
    struct behind *behind = behind_find(id);
    struct mac *mac;

    if (!behind) {
        behind = behind_create(bond, id);
    } else if (behind->n >= VPORT_BOND_MACS_MAX) {
        evict(behind);
    }
    mac = xzalloc(sizeof *mac);
    mac->behind = behind;
    mac->mac.mac = addr;
    mac->mac.vlan = vlan;
    mac->learned_vlan = learned_vlan;
    atomic_init(&mac->used_ms, now_ms);
    ovs_list_push_back(&behind->macs, &mac->list_node);
    behind->n++;
    cmap_insert(&all_macs, &mac->node, hash_addr(addr));
}

void
vport_bond_macs_seen(const char *bond, uint32_t id, struct eth_addr addr,
                     uint16_t vlan, uint16_t learned_vlan,
                     long long int now_ms)
{
    struct mac *mac;

    if (eth_addr_is_multicast(addr) || eth_addr_is_zero(addr)) {
        return;
    }
    mac = mac_find(bond, addr, vlan);
    if (mac && mac->behind->id == id && mac->learned_vlan == learned_vlan) {
        atomic_store_relaxed(&mac->used_ms, now_ms);
        return;
    }

    ovs_mutex_lock(&mutex);
    mac = mac_find(bond, addr, vlan);
    if (mac) {
        mac_delete(mac);
    }
    mac_insert(bond, id, addr, vlan, learned_vlan, now_ms);
    ovs_mutex_unlock(&mutex);
}

void
vport_bond_macs_used(struct eth_addr addr, uint16_t vlan,
                     long long int now_ms)
{
    struct mac *mac;

    CMAP_FOR_EACH_WITH_HASH (mac, node, hash_addr(addr), &all_macs) {
        if (eth_addr_equals(mac->mac.mac, addr)
            && mac->learned_vlan == vlan) {
            atomic_store_relaxed(&mac->used_ms, now_ms);
        }
    }
}

void
vport_bond_macs_moved_away(struct eth_addr addr, uint16_t vlan)
{
    struct mac *mac;

    if (!mac_find_learned(addr, vlan)) {
        return;
    }
    ovs_mutex_lock(&mutex);
    while ((mac = mac_find_learned(addr, vlan)) != NULL) {
        mac_delete(mac);
    }
    ovs_mutex_unlock(&mutex);
}

void
vport_bond_macs_forget(uint32_t id)
{
    struct behind *behind;

    ovs_mutex_lock(&mutex);
    behind = behind_find(id);
    if (behind) {
        /* The last one ends 'behind'. */
        for (size_t n = behind->n; n; n--) {
            mac_delete(CONTAINER_OF(ovs_list_front(&behind->macs), struct mac,
                                    list_node));
        }
    }
    ovs_mutex_unlock(&mutex);
}

size_t
vport_bond_macs_get(uint32_t id, bool aged, long long int now_ms,
                    struct vport_bond_mac macs[VPORT_BOND_MACS_MAX])
{
    long long int since_ms = now_ms - VPORT_BOND_MAC_AGE_MS;
    struct behind *behind;
    size_t n = 0;

    ovs_mutex_lock(&mutex);
    behind = behind_find(id);
    if (behind) {
        struct mac *mac;

        LIST_FOR_EACH (mac, list_node, &behind->macs) {
            if (aged || used_ms(mac) > since_ms) {
                macs[n++] = mac->mac;
            }
        }
    }
    ovs_mutex_unlock(&mutex);
    return n;
}

/* Reflections. */

static struct announced *
announced_find(struct eth_addr addr)
    OVS_REQUIRES(mutex)
{
    struct announced *announced;

    HMAP_FOR_EACH_WITH_HASH (announced, node, hash_mac(addr, 0, 0),
                             &all_announced) {
        if (eth_addr_equals(announced->mac, addr)) {
            return announced;
        }
    }
    return NULL;
}

/* Frees what is older than reflections are. */
static void
expire_announced(long long int now_ms)
    OVS_REQUIRES(mutex)
{
    struct announced *announced;

    LIST_FOR_EACH_SAFE (announced, list_node, &announced_list) {
        if (announced->expires_ms > now_ms) {
            break;
        }
        hmap_remove(&all_announced, &announced->node);
        ovs_list_remove(&announced->list_node);
        free(announced);
    }
}

void
vport_bond_macs_announced(struct eth_addr addr)
{
    long long int now_ms = time_msec();
    struct announced *announced;

    ovs_mutex_lock(&mutex);
    expire_announced(now_ms);
    announced = announced_find(addr);
    if (announced) {
        ovs_list_remove(&announced->list_node);
    } else {
        announced = xmalloc(sizeof *announced);
        announced->mac = addr;
        hmap_insert(&all_announced, &announced->node, hash_mac(addr, 0, 0));
    }
    announced->expires_ms = now_ms + VPORT_BOND_REFLECTION_MS;
    ovs_list_push_back(&announced_list, &announced->list_node);
    ovs_mutex_unlock(&mutex);
}

bool
vport_bond_macs_may_be_reflected(struct eth_addr addr)
{
    bool found;

    ovs_mutex_lock(&mutex);
    expire_announced(time_msec());
    found = announced_find(addr) != NULL;
    ovs_mutex_unlock(&mutex);
    return found;
}
