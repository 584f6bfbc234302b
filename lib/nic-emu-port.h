/* SPDX-License-Identifier: Apache-2.0 */

#ifndef NIC_EMU_PORT_H
#define NIC_EMU_PORT_H 1

/* Ports of emulated NICs
 * ======================
 *
 * The ports of one NIC are a 'struct nic_emu_ports'.  All ports of all NICs
 * can also be found by the name of their device.
 *
 * Places
 * ------
 *
 * Each port has a place among the ports of its role: the lowest number that
 * was free when it was added.  With separate eSwitches it says which uplink a
 * vf reaches.
 *
 * Ids
 * ---
 *
 * Ids are counted up and not used again.  A NIC that still holds rules of an
 * earlier life knows its ports of that time by their names: a port that is
 * remembered (nic_emu_ports_remember()) gets its old id back, as a NIC's
 * physical ports have the same numbers for ever.
 *
 * Thread-safety
 * -------------
 *
 * nic_emu_port_by_name(), nic_emu_port_by_id() and reading a port may be done
 * by any RCU-registered thread; a port is valid until that thread quiesces.
 * The other functions are called by one thread at a time, except that
 * functions that take a const argument may also be called under the lock under
 * which others change it. */

#include <stdbool.h>
#include <stddef.h>
#include "cmap.h"
#include "nic.h"
#include "openvswitch/list.h"
#include "openvswitch/shash.h"
#include "ovs-atomic.h"

struct nic_emu_port {
    struct cmap_node name_node;     /* In the map of all ports by name. */
    struct cmap_node id_node;       /* In 'by_id' of 'owner'. */
    struct ovs_list list_node;      /* In 'list' of 'owner'. */
    atomic_bool published;

    /* Immutable. */
    struct nic_emu_ports *owner;
    nic_port_id id;
    char *name;
    odp_port_t odp_port;
    enum nic_port_role role;
    unsigned int place;

    atomic_bool carrier;
};

struct nic_emu_ports {
    struct cmap by_id;              /* Contains 'struct nic_emu_port's. */
    struct ovs_list list;           /* The same, in the order of their ids. */
    nic_port_id last_id;            /* Highest id given out. */
    struct shash remembered;        /* Name to id, as data pointer. */
};

void nic_emu_ports_init(struct nic_emu_ports *);

/* Destroys 'ports', which is empty.  Its memory must be freed through RCU. */
void nic_emu_ports_destroy(struct nic_emu_ports *ports);

/* Adds a port, with carrier.  Returns 0 and stores the port in '*portp', or
 * EEXIST if a port of any NIC has this name. */
int nic_emu_port_add(struct nic_emu_ports *, const char *name,
                     odp_port_t odp_port, enum nic_port_role role,
                     struct nic_emu_port **portp);

/* Removes a port and frees it as soon as RCU allows. */
void nic_emu_port_del(struct nic_emu_ports *, struct nic_emu_port *);

/* Returns a port or null. */
struct nic_emu_port *nic_emu_port_by_name(const char *name);
struct nic_emu_port *nic_emu_port_by_id(const struct nic_emu_ports *,
                                        nic_port_id);

bool nic_emu_port_get_carrier(const struct nic_emu_port *);
void nic_emu_port_set_carrier(struct nic_emu_port *, bool carrier);

/* With separate eSwitches, returns true if packets from port 'from' can leave
 * through port 'to'.  True if one of them does not exist. */
bool nic_emu_ports_reach(const struct nic_emu_ports *, nic_port_id from,
                         nic_port_id to);

/* Remembers that 'name' had 'id', until nic_emu_ports_forget().  Does nothing
 * if another name had it already. */
void nic_emu_ports_remember(struct nic_emu_ports *, const char *name,
                            nic_port_id id);
void nic_emu_ports_forget(struct nic_emu_ports *);

#endif /* nic-emu-port.h */
