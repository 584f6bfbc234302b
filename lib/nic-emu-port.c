/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>
#include "nic-emu-port.h"

#include <errno.h>
#include <string.h>

#include "hash.h"
#include "nic-emu-grace.h"
#include "openvswitch/thread.h"
#include "ovs-rcu.h"
#include "util.h"

/* All ports of all NICs, by name. */
static struct cmap by_name = CMAP_INITIALIZER;
static struct ovs_mutex by_name_mutex = OVS_MUTEX_INITIALIZER;

void
nic_emu_ports_init(struct nic_emu_ports *ports)
{
    cmap_init(&ports->by_id);
    ovs_list_init(&ports->list);
    ports->last_id = NIC_PORT_NONE;
    shash_init(&ports->remembered);
}

void
nic_emu_ports_destroy(struct nic_emu_ports *ports)
{
    ovs_assert(ovs_list_is_empty(&ports->list));
    cmap_destroy(&ports->by_id);
    shash_destroy(&ports->remembered);
}

static uint32_t
hash_id(nic_port_id id)
{
    return hash_int(id, 0);
}

/* Returns the lowest place that no port of 'role' has. */
static unsigned int
free_place(const struct nic_emu_ports *ports, enum nic_port_role role)
{
    for (unsigned int place = 0; ; place++) {
        const struct nic_emu_port *port;
        bool taken = false;

        LIST_FOR_EACH (port, list_node, &ports->list) {
            if (port->role == role && port->place == place) {
                taken = true;
                break;
            }
        }
        if (!taken) {
            return place;
        }
    }
}

/* Inserts 'port' into the list, which is in the order of ids. */
static void
list_insert(struct nic_emu_ports *ports, struct nic_emu_port *port)
{
    struct nic_emu_port *next;

    LIST_FOR_EACH (next, list_node, &ports->list) {
        if (next->id > port->id) {
            ovs_list_insert(&next->list_node, &port->list_node);
            return;
        }
    }
    ovs_list_push_back(&ports->list, &port->list_node);
}

int
nic_emu_port_add(struct nic_emu_ports *ports, const char *name,
                 odp_port_t odp_port, enum nic_port_role role,
                 struct nic_emu_port **portp)
{
    struct shash_node *remembered;
    struct nic_emu_port *port;
    int error = 0;

    ovs_mutex_lock(&by_name_mutex);
    if (nic_emu_port_by_name(name)) {
        error = EEXIST;
    } else {
        port = xzalloc(sizeof *port);
        port->owner = ports;
        port->name = xstrdup(name);
        port->odp_port = odp_port;
        port->role = role;
        port->place = free_place(ports, role);
        atomic_init(&port->carrier, true);

        remembered = shash_find(&ports->remembered, name);
        if (remembered) {
            port->id = (uintptr_t) remembered->data;
            shash_delete(&ports->remembered, remembered);
        } else {
            port->id = ++ports->last_id;
        }
        list_insert(ports, port);

        nic_emu_publish(&port->published);
        cmap_insert(&ports->by_id, &port->id_node, hash_id(port->id));
        cmap_insert(&by_name, &port->name_node, hash_string(name, 0));
        *portp = port;
    }
    ovs_mutex_unlock(&by_name_mutex);
    return error;
}

static void
port_free(struct nic_emu_port *port)
{
    free(port->name);
    free(port);
}

void
nic_emu_port_del(struct nic_emu_ports *ports, struct nic_emu_port *port)
{
    ovs_mutex_lock(&by_name_mutex);
    cmap_remove(&by_name, &port->name_node, hash_string(port->name, 0));
    ovs_mutex_unlock(&by_name_mutex);

    cmap_remove(&ports->by_id, &port->id_node, hash_id(port->id));
    ovs_list_remove(&port->list_node);
    ovsrcu_postpone(port_free, port);
}

struct nic_emu_port *
nic_emu_port_by_name(const char *name)
{
    struct nic_emu_port *port;

    CMAP_FOR_EACH_WITH_HASH (port, name_node, hash_string(name, 0),
                             &by_name) {
        if (nic_emu_published(&port->published)
            && !strcmp(port->name, name)) {
            return port;
        }
    }
    return NULL;
}

struct nic_emu_port *
nic_emu_port_by_id(const struct nic_emu_ports *ports, nic_port_id id)
{
    struct nic_emu_port *port;

    CMAP_FOR_EACH_WITH_HASH (port, id_node, hash_id(id), &ports->by_id) {
        if (nic_emu_published(&port->published) && port->id == id) {
            return port;
        }
    }
    return NULL;
}

bool
nic_emu_port_get_carrier(const struct nic_emu_port *port)
{
    bool carrier;

    atomic_read_relaxed(&CONST_CAST(struct nic_emu_port *, port)->carrier,
                        &carrier);
    return carrier;
}

void
nic_emu_port_set_carrier(struct nic_emu_port *port, bool carrier)
{
    atomic_store_relaxed(&port->carrier, carrier);
}

bool
nic_emu_ports_reach(const struct nic_emu_ports *ports, nic_port_id from_id,
                    nic_port_id to_id)
{
    const struct nic_emu_port *from = nic_emu_port_by_id(ports, from_id);
    const struct nic_emu_port *to = nic_emu_port_by_id(ports, to_id);
    const struct nic_emu_port *port;
    unsigned int n_uplinks = 0;
    unsigned int n_before = 0;      /* Uplinks at a place before that of 'to'.
                                     * Uplinks may have gone, so that places
                                     * have gaps. */

    if (!from || !to || from->role != NIC_PORT_VF
        || to->role != NIC_PORT_UPLINK) {
        return true;
    }
    LIST_FOR_EACH (port, list_node, &ports->list) {
        if (port->role == NIC_PORT_UPLINK) {
            n_uplinks++;
            n_before += port->place < to->place;
        }
    }
    return n_before == from->place % n_uplinks;
}

void
nic_emu_ports_remember(struct nic_emu_ports *ports, const char *name,
                       nic_port_id id)
{
    const struct shash_node *node;

    SHASH_FOR_EACH (node, &ports->remembered) {
        if ((uintptr_t) node->data == id) {
            return;
        }
    }
    shash_replace(&ports->remembered, name, (void *) (uintptr_t) id);
    ports->last_id = MAX(ports->last_id, id);
}

void
nic_emu_ports_forget(struct nic_emu_ports *ports)
{
    shash_clear(&ports->remembered);
}
