/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>
#include "nic-rte-flow-private.h"
#include "nic-rte-flow.h"

#include <errno.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <string.h>

#include "hash.h"
#include "lib/netdev-dpdk.h"
#include "netdev-provider.h"
#include "netdev.h"
#include "openvswitch/vlog.h"
#include "util.h"

VLOG_DEFINE_THIS_MODULE(nic_rte_flow_port);

const char rte_gone_port[] = "the port is gone, or about to be started";

/* No DPDK port has this number. */
#define NO_ETHDEV UINT16_MAX

/* All NICs, for what happens to DPDK ports. */
static struct ovs_mutex all_mutex = OVS_MUTEX_INITIALIZER;
static struct ovs_list all OVS_GUARDED_BY(all_mutex)
    = OVS_LIST_INITIALIZER(&all);

void
rte_nic_list_add(struct nic_rte *nic)
{
    ovs_mutex_lock(&all_mutex);
    ovs_list_push_back(&all, &nic->list_node);
    ovs_mutex_unlock(&all_mutex);
}

void
rte_nic_list_remove(struct nic_rte *nic)
{
    ovs_mutex_lock(&all_mutex);
    ovs_list_remove(&nic->list_node);
    ovs_mutex_unlock(&all_mutex);
}

/* Devices. */

/* Returns the network device called 'name', which the caller closes, and
 * stores its DPDK port in '*ethdev', or returns null. */
static struct netdev *
find_netdev(const char *name, uint16_t *ethdev)
{
    struct netdev *netdev = netdev_from_name(name);
    int id;

    if (!netdev) {
        return NULL;
    }
    id = (!strcmp(netdev_get_type(netdev), "dpdk")
          ? netdev_dpdk_get_port_id(netdev) : -1);
    if (id < 0 || id >= RTE_MAX_ETHPORTS) {
        netdev_close(netdev);
        return NULL;
    }
    *ethdev = id;
    return netdev;
}

const char *
nic_rte_flow_find_device(const char *name, struct nic_rte_flow_device *device)
{
    struct rte_flow_offer offer;
    struct netdev *netdev;
    uint16_t ethdev;

    memset(device, 0, sizeof *device);
    netdev = find_netdev(name, &ethdev);
    if (!netdev) {
        return "it has no DPDK device";
    }
    rte_flow_probe(ethdev, &offer);
    netdev_close(netdev);
    device->domain = offer.domain;
    device->waiting = offer.waiting;
    device->role = offer.representor ? NIC_PORT_VF : NIC_PORT_UPLINK;
    return offer.refusal;
}

/* Ports. */

struct rte_port *
rte_port_find(const struct nic_rte *nic, nic_port_id id)
{
    struct rte_port *port;

    HMAP_FOR_EACH_WITH_HASH (port, node, hash_int(id, 0), &nic->ports) {
        if (port->id == id) {
            return port;
        }
    }
    return NULL;
}

struct rte_port *
rte_port_find_running(const struct nic_rte *nic, nic_port_id id)
{
    struct rte_port *port = rte_port_find(nic, id);

    return (port && port->running && !rte_flag_is_set(&port->changed)
            && !rte_flag_is_set(&port->gone) ? port : NULL);
}

/* Called by a thread of DPDK's. */
static int
port_event(uint16_t ethdev OVS_UNUSED, enum rte_eth_event_type event,
           void *port_, void *param OVS_UNUSED)
{
    struct rte_port *port = port_;

    if (event == RTE_ETH_EVENT_INTR_RMV) {
        atomic_store_relaxed(&port->gone, true);
    }
    atomic_store_relaxed(&port->changed, true);
    atomic_store_relaxed(port->reset, true);
    return 0;
}

static const enum rte_eth_event_type events[] = {
    RTE_ETH_EVENT_INTR_RESET,
    RTE_ETH_EVENT_INTR_RMV,
};

static void
register_events(struct rte_port *port)
{
    for (size_t i = 0; i < ARRAY_SIZE(events); i++) {
        rte_eth_dev_callback_register(port->offer.ethdev, events[i],
                                      port_event, port);
    }
}

/* When it returns, port_event() is not called for 'port' any more. */
static void
unregister_events(struct rte_port *port)
{
    for (size_t i = 0; i < ARRAY_SIZE(events); i++) {
        int error;

        do {
            error = rte_eth_dev_callback_unregister(port->offer.ethdev,
                                                    events[i], port_event,
                                                    port);
        } while (error == -EAGAIN);
    }
}

/* Makes the rule that leads packets of 'port' to the group with rules.  A
 * driver that does not take it after all has them where packets enter. */
static void
make_jump(struct nic_rte *nic, struct rte_port *port)
{
    struct rte_flow_attr attr = {
        .group = RTE_FLOW_GROUP_ENTRY,
        .transfer = 1,
    };
    struct rte_flow_error error = { .type = RTE_FLOW_ERROR_TYPE_NONE };
    struct rte_codec c;

    if (!port->offer.groups) {
        return;
    }
    rte_codec_begin(&c);
    rte_codec_put_port(&c, port->offer.ethdev);
    rte_codec_put_jump(&c, RTE_FLOW_GROUP_RULES);
    rte_codec_end(&c);
    port->jump = rte_flow_create(port->offer.proxy, &attr, c.items, c.actions,
                                 &error);
    if (!port->jump) {
        VLOG_WARN("%s: %s: no group for rules (%s)", nic->up.name, port->name,
                  error.message ? error.message : rte_strerror(rte_errno));
        port->offer.groups = false;
    }
}

int
rte_nic_port_add(struct nic *nic_, const char *name,
                 odp_port_t odp_port OVS_UNUSED, enum nic_port_role role,
                 nic_port_id *idp)
{
    struct nic_rte *nic = nic_rte_cast(nic_);
    struct rte_flow_offer offer;
    struct rte_port *port;
    struct netdev *netdev;
    uint16_t ethdev;

    netdev = find_netdev(name, &ethdev);
    if (!netdev) {
        return ENODEV;
    }
    rte_flow_probe(ethdev, &offer);
    if (offer.refusal || offer.domain != nic->domain) {
        netdev_close(netdev);
        return EOPNOTSUPP;
    }
    HMAP_FOR_EACH (port, node, &nic->ports) {
        if (port->offer.ethdev == ethdev) {
            netdev_close(netdev);
            return EEXIST;
        }
    }

    port = xzalloc(sizeof *port);
    port->name = xstrdup(name);
    port->netdev = netdev;
    port->offer = offer;
    port->role = role;
    port->running = true;
    port->reset = &nic->reset;
    atomic_init(&port->changed, false);
    atomic_init(&port->gone, false);
    make_jump(nic, port);
    register_events(port);
    rte_carrier_add(port);

    ovs_mutex_lock(&nic->rule_mutex);
    ovs_mutex_lock(&nic->egress_mutex);
    port->id = ++nic->last_port;
    hmap_insert(&nic->ports, &port->node, hash_int(port->id, 0));
    rte_egresses_move(nic, NO_ETHDEV);
    ovs_mutex_unlock(&nic->egress_mutex);
    ovs_mutex_unlock(&nic->rule_mutex);
    *idp = port->id;
    return 0;
}

bool
rte_nic_port_changed(const struct nic *nic_, nic_port_id id)
{
    const struct rte_port *port = rte_port_find(nic_rte_cast(nic_), id);

    return port && rte_flag_is_set(&port->changed);
}

/* Lets no more rules be made for 'port'. */
static void
stop_port(struct nic_rte *nic OVS_UNUSED, struct rte_port *port)
    OVS_REQUIRES(nic->rule_mutex, nic->egress_mutex)
{
    port->running = false;
    atomic_store_relaxed(&port->changed, true);
}

/* Takes down what rules there are about 'port', which stop_port() stopped.
 * These may be many, so that 'egress_mutex' must not be held. */
static void
take_down(struct nic_rte *nic, struct rte_port *port, uint16_t ethdev)
    OVS_REQUIRES(nic->rule_mutex) OVS_EXCLUDED(nic->egress_mutex)
{
    struct rte_flow_error error;

    rte_rules_take_down(nic, port->id, ethdev);
    if (port->jump) {
        rte_flow_destroy(port->offer.proxy, port->jump, &error);
        port->jump = NULL;
    }
}

void
rte_nic_port_del(struct nic *nic_, nic_port_id id)
{
    struct nic_rte *nic = nic_rte_cast(nic_);
    struct rte_port *port;

    ovs_mutex_lock(&nic->rule_mutex);
    port = rte_port_find(nic, id);
    if (port) {
        ovs_mutex_lock(&nic->egress_mutex);
        stop_port(nic, port);
        ovs_mutex_unlock(&nic->egress_mutex);
        take_down(nic, port, NO_ETHDEV);
        ovs_mutex_lock(&nic->egress_mutex);
        rte_egresses_close(nic, id);
        hmap_remove(&nic->ports, &port->node);
        ovs_mutex_unlock(&nic->egress_mutex);
    }
    ovs_mutex_unlock(&nic->rule_mutex);

    if (port) {
        rte_carrier_remove(port);
        unregister_events(port);
        netdev_close(port->netdev);
        free(port->name);
        free(port);
    }
}

/* Returns true if 'port' cannot have rules while 'ethdev' is stopped. */
static bool
needs(const struct rte_port *port, uint16_t ethdev)
{
    return port->offer.ethdev == ethdev || port->offer.proxy == ethdev;
}

void
nic_rte_flow_port_stopping(uint16_t ethdev)
{
    struct nic_rte *nic;

    rte_flow_probe_forget(ethdev);
    ovs_mutex_lock(&all_mutex);
    LIST_FOR_EACH (nic, list_node, &all) {
        struct rte_port *port;

        ovs_mutex_lock(&nic->rule_mutex);
        ovs_mutex_lock(&nic->egress_mutex);
        HMAP_FOR_EACH (port, node, &nic->ports) {
            if (needs(port, ethdev)) {
                stop_port(nic, port);
            }
        }
        ovs_mutex_unlock(&nic->egress_mutex);
        HMAP_FOR_EACH (port, node, &nic->ports) {
            if (needs(port, ethdev)) {
                take_down(nic, port, ethdev);
            }
        }

        /* Those that could not be taken down with a port that is gone. */
        rte_rules_take_down(nic, NIC_PORT_ANY, ethdev);
        ovs_mutex_lock(&nic->egress_mutex);
        rte_egresses_move(nic, ethdev);
        ovs_mutex_unlock(&nic->egress_mutex);
        ovs_mutex_unlock(&nic->rule_mutex);
    }
    ovs_mutex_unlock(&all_mutex);
}

void
nic_rte_flow_port_started(uint16_t ethdev)
{
    /* Whoever asked in between got a wrong answer. */
    rte_flow_probe_forget(ethdev);
}
