/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>
#include "nic-rte-flow-private.h"
#include "nic-rte-flow.h"

#include <errno.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <string.h>

#include "hash.h"
#include "if-notifier.h"
#include "lib/netdev-dpdk.h"
#include "netdev-provider.h"
#include "netdev.h"
#include "openvswitch/vlog.h"
#include "util.h"

VLOG_DEFINE_THIS_MODULE(nic_rte_flow_port);

const char rte_gone_port[] = "the port is gone, or about to be started";

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
            ? port : NULL);
}

/* The device of 'port' was reset, or removed.  The other ports do not mind,
 * unless it is the one through which rules are made.  Called by a thread of
 * DPDK's. */
static int
port_event(uint16_t ethdev, enum rte_eth_event_type event OVS_UNUSED,
           void *port_, void *param OVS_UNUSED)
{
    struct rte_port *port = port_;

    atomic_store_relaxed(&port->changed, true);
    if (port->offer.proxy == ethdev) {
        atomic_store_relaxed(&port->nic->reset, true);
        nic_wake();
    }
    if_notifier_manual_report();
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

/* Makes 'nic' offer what some port of it offers: of a rule, the port that it
 * is for is asked as well. */
static void
update_offer(struct nic_rte *nic)
    OVS_REQUIRES(nic->rule_mutex, nic->egress_mutex)
{
    struct rte_flow_offer offer = { .egress = false };
    const struct rte_port *port;

    HMAP_FOR_EACH (port, node, &nic->ports) {
        offer.egress |= port->offer.egress;
        offer.ipv6 |= port->offer.ipv6;
        offer.nat |= port->offer.nat;
        offer.vlan |= port->offer.vlan;
        offer.ttl |= port->offer.ttl;
    }
    ovs_mutex_lock(&nic->mutex);
    nic->offer = offer;
    ovs_mutex_unlock(&nic->mutex);
}

int
rte_port_make_jump(struct nic_rte *nic, struct rte_port *port,
                   const char **reasonp)
{
    struct rte_flow_attr attr = {
        .group = RTE_FLOW_GROUP_ENTRY,
        .transfer = 1,
    };
    struct rte_flow_error e = { .type = RTE_FLOW_ERROR_TYPE_NONE };
    struct rte_codec c;
    int error;

    if (!port->offer.groups || port->jump) {
        return 0;
    }
    ovs_mutex_lock(&nic->egress_mutex);
    rte_leftovers_retry_group(nic, RTE_FLOW_GROUP_ENTRY);
    ovs_mutex_unlock(&nic->egress_mutex);

    rte_codec_begin(&c);
    rte_codec_put_port(&c, port->offer.ethdev);
    rte_codec_put_jump(&c, RTE_FLOW_GROUP_RULES);
    rte_codec_end(&c);
    port->jump = rte_flow_create(port->offer.proxy, &attr, c.items, c.actions,
                                 &e);
    if (port->jump) {
        return 0;
    }
    error = rte_flow_explain(rte_errno ? rte_errno : EIO, &e, reasonp);
    if (error == EOPNOTSUPP) {
        /* Rules are where packets enter then. */
        VLOG_WARN("%s: %s: no group for rules (%s)", nic->up.name, port->name,
                  *reasonp);
        ovs_mutex_lock(&nic->egress_mutex);
        port->offer.groups = false;
        port->offer.egress = false;
        update_offer(nic);
        ovs_mutex_unlock(&nic->egress_mutex);
        error = 0;
    }
    return error;
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
    const char *why;
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
    port->nic = nic;
    ovs_list_init(&port->in_rules);
    ovs_list_init(&port->out_rules);
    atomic_init(&port->changed, false);
    register_events(port);
    rte_carrier_add(port);

    ovs_mutex_lock(&nic->rule_mutex);
    if (rte_port_make_jump(nic, port, &why)) {
        VLOG_WARN("%s: %s: no way to the group for rules, trying again with "
                  "the first rule (%s)", nic->up.name, name, why);
    }
    ovs_mutex_lock(&nic->egress_mutex);
    port->id = ++nic->last_port;
    hmap_insert(&nic->ports, &port->node, hash_int(port->id, 0));
    update_offer(nic);
    rte_egresses_install(nic);
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

void
rte_ports_lost(struct nic_rte *nic)
{
    struct rte_port *port;

    ovs_mutex_lock(&nic->egress_mutex);
    HMAP_FOR_EACH (port, node, &nic->ports) {
        stop_port(nic, port);
    }
    ovs_mutex_unlock(&nic->egress_mutex);
    if_notifier_manual_report();
}

/* Takes down what rules there are about 'port', which stop_port() stopped.
 * These may be many, so that 'egress_mutex' must not be held.  For 'ethdev'
 * see rte_rules_take_down(). */
static void
take_down(struct nic_rte *nic, struct rte_port *port, uint16_t ethdev)
    OVS_REQUIRES(nic->rule_mutex) OVS_EXCLUDED(nic->egress_mutex)
{
    const char *why;

    rte_rules_take_down(nic, port, ethdev);
    if (port->jump
        && rte_nic_destroy_flow(port->offer.proxy, port->jump, &why)) {
        ovs_mutex_lock(&nic->egress_mutex);
        rte_leftover_add(nic, "jump", port->offer.proxy,
                         RTE_FLOW_GROUP_ENTRY, port->jump, NULL);
        ovs_mutex_unlock(&nic->egress_mutex);
    }
    port->jump = NULL;
}

void
rte_nic_port_del(struct nic *nic_, nic_port_id id)
{
    struct nic_rte *nic = nic_rte_cast(nic_);
    struct rte_port *port;

    ovs_mutex_lock(&nic->rule_mutex);
    port = rte_port_find(nic, id);
    if (port) {
        if (rte_flag_is_set(&port->changed)) {
            /* After a reset it may offer something else. */
            rte_flow_probe_forget(port->offer.ethdev);
        }
        ovs_mutex_lock(&nic->egress_mutex);
        stop_port(nic, port);
        ovs_mutex_unlock(&nic->egress_mutex);
        take_down(nic, port, RTE_NIC_NO_ETHDEV);
        rte_rules_leave(nic, port);
        ovs_mutex_lock(&nic->egress_mutex);
        rte_egresses_close(nic, id);
        hmap_remove(&nic->ports, &port->node);
        if (!hmap_is_empty(&nic->ports)) {
            update_offer(nic);
        }
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
nic_rte_flow_port_stopping(uint16_t ethdev, bool closing)
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
        rte_rules_end(nic, ethdev);
        ovs_mutex_lock(&nic->egress_mutex);
        rte_egresses_take_down(nic, ethdev);
        rte_leftovers_end(nic, ethdev, closing);
        rte_egresses_install(nic);
        ovs_mutex_unlock(&nic->egress_mutex);
        ovs_mutex_unlock(&nic->rule_mutex);
    }
    ovs_mutex_unlock(&all_mutex);
    rte_leftovers_end_bequeathed(ethdev, closing);
}

void
nic_rte_flow_port_started(uint16_t ethdev)
{
    /* Whoever asked in between got a wrong answer. */
    rte_flow_probe_forget(ethdev);
}
