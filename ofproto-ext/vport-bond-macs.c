/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>
#include "vport-bond-macs.h"

#include <stdlib.h>
#include <string.h>

#include "flow.h"
#include "hash.h"
#include "openvswitch/hmap.h"
#include "openvswitch/list.h"
#include "openvswitch/thread.h"
#include "packets.h"
#include "timeval.h"
#include "util.h"

/* A vport of a bond. */
struct macs_port {
    struct hmap_node node;          /* In 'ports'. */
    char *bond;
    odp_port_t entry;
    struct ovs_list macs;           /* Contains 'struct mac's, the one that was
                                     * used last in front. */
    size_t n;
};

struct mac {
    struct hmap_node node;          /* In 'all_macs', by address. */
    struct ovs_list list_node;      /* In 'macs' of 'port'. */
    struct macs_port *port;
    struct vport_bond_mac mac;
};

/* An address for which a learning packet was sent. */
struct announced {
    struct hmap_node node;          /* In 'all_announced', by address. */
    struct ovs_list list_node;      /* In 'announced_list', oldest first. */
    struct eth_addr mac;
    long long int expires_ms;
};

static struct ovs_mutex mutex = OVS_MUTEX_INITIALIZER;
static struct hmap ports OVS_GUARDED_BY(mutex) = HMAP_INITIALIZER(&ports);
static struct hmap all_macs OVS_GUARDED_BY(mutex)
    = HMAP_INITIALIZER(&all_macs);
static struct hmap all_announced OVS_GUARDED_BY(mutex)
    = HMAP_INITIALIZER(&all_announced);
static struct ovs_list announced_list OVS_GUARDED_BY(mutex)
    = OVS_LIST_INITIALIZER(&announced_list);

static uint32_t
hash_port(const char *bond, odp_port_t entry)
{
    return hash_string(bond, odp_to_u32(entry));
}

static struct macs_port *
port_find(const char *bond, odp_port_t entry)
    OVS_REQUIRES(mutex)
{
    struct macs_port *port;

    HMAP_FOR_EACH_WITH_HASH (port, node, hash_port(bond, entry), &ports) {
        if (port->entry == entry && !strcmp(port->bond, bond)) {
            return port;
        }
    }
    return NULL;
}

static void
mac_delete(struct mac *mac)
    OVS_REQUIRES(mutex)
{
    struct macs_port *port = mac->port;

    hmap_remove(&all_macs, &mac->node);
    ovs_list_remove(&mac->list_node);
    free(mac);
    if (!--port->n) {
        hmap_remove(&ports, &port->node);
        free(port->bond);
        free(port);
    }
}

static struct mac *
mac_find(const char *bond, struct eth_addr addr, uint16_t vlan)
    OVS_REQUIRES(mutex)
{
    struct mac *mac;

    HMAP_FOR_EACH_WITH_HASH (mac, node, hash_mac(addr, 0, 0), &all_macs) {
        if (eth_addr_equals(mac->mac.mac, addr) && mac->mac.vlan == vlan
            && !strcmp(mac->port->bond, bond)) {
            return mac;
        }
    }
    return NULL;
}

/* Returns any entry with 'addr', of whatever bond and VLAN, or null. */
static struct mac *
mac_find_any(struct eth_addr addr)
    OVS_REQUIRES(mutex)
{
    struct mac *mac;

    HMAP_FOR_EACH_WITH_HASH (mac, node, hash_mac(addr, 0, 0), &all_macs) {
        if (eth_addr_equals(mac->mac.mac, addr)) {
            return mac;
        }
    }
    return NULL;
}

void
vport_bond_macs_seen(const char *bond, odp_port_t entry,
                     struct eth_addr addr, uint16_t vlan)
{
    struct macs_port *port;
    struct mac *mac;

    if (eth_addr_is_multicast(addr) || eth_addr_is_zero(addr)) {
        return;
    }

    ovs_mutex_lock(&mutex);
    mac = mac_find(bond, addr, vlan);
    if (mac && mac->port->entry == entry) {
        ovs_list_remove(&mac->list_node);
        ovs_list_push_front(&mac->port->macs, &mac->list_node);
        goto out;
    } else if (mac) {
        mac_delete(mac);
    }

    port = port_find(bond, entry);
    if (!port) {
        port = xzalloc(sizeof *port);
        port->bond = xstrdup(bond);
        port->entry = entry;
        ovs_list_init(&port->macs);
        hmap_insert(&ports, &port->node, hash_port(bond, entry));
    } else if (port->n >= VPORT_BOND_MACS_MAX) {
        mac_delete(CONTAINER_OF(ovs_list_back(&port->macs), struct mac,
                                list_node));
    }
    mac = xzalloc(sizeof *mac);
    mac->port = port;
    mac->mac.mac = addr;
    mac->mac.vlan = vlan;
    hmap_insert(&all_macs, &mac->node, hash_mac(addr, 0, 0));
    ovs_list_push_front(&port->macs, &mac->list_node);
    port->n++;
out:
    ovs_mutex_unlock(&mutex);
}

void
vport_bond_macs_moved_away(struct eth_addr addr)
{
    struct mac *mac;

    ovs_mutex_lock(&mutex);
    while ((mac = mac_find_any(addr)) != NULL) {
        mac_delete(mac);
    }
    ovs_mutex_unlock(&mutex);
}

void
vport_bond_macs_forget(const char *bond, odp_port_t entry)
{
    struct macs_port *port;

    ovs_mutex_lock(&mutex);
    port = port_find(bond, entry);
    if (port) {
        /* The last one frees the port. */
        for (size_t n = port->n; n; n--) {
            mac_delete(CONTAINER_OF(ovs_list_front(&port->macs), struct mac,
                                    list_node));
        }
    }
    ovs_mutex_unlock(&mutex);
}

size_t
vport_bond_macs_get(const char *bond, odp_port_t entry,
                    struct vport_bond_mac macs[VPORT_BOND_MACS_MAX])
{
    struct macs_port *port;
    size_t n = 0;

    ovs_mutex_lock(&mutex);
    port = port_find(bond, entry);
    if (port) {
        struct mac *mac;

        LIST_FOR_EACH (mac, list_node, &port->macs) {
            macs[n++] = mac->mac;
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
