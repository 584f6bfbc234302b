/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>
#include "net-emu-private.h"

#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <rte_config.h>
#include <bus_vdev_driver.h>
#include <ethdev_driver.h>
#include <ethdev_vdev.h>
#include <rte_interrupts.h>
#include <rte_malloc.h>

#include "dp-packet.h"
#include "hash.h"
#include "net-emu-args.h"
#include "net-emu-fault.h"
#include "net-emu-flow.h"
#include "net-emu-indirect.h"
#include "net-emu-wire.h"
#include "nic-emu-table.h"
#include "openvswitch/vlog.h"
#include "ovs-rcu.h"
#include "util.h"

/* Frames in rings at a time. */
#define POOL_SIZE 2047

RTE_LOG_REGISTER(net_emu_logtype, pmd.net.emu, NOTICE);

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

/* Contains 'struct net_emu's.  Changed under 'mutex'. */
static struct ovs_list nics = OVS_LIST_INITIALIZER(&nics);

void
net_emu_lock(void)
{
    pthread_mutex_lock(&mutex);
    ovsrcu_quiesce_end();
}

void
net_emu_unlock(void)
{
    ovsrcu_quiesce_start();
    pthread_mutex_unlock(&mutex);
}

long long int
net_emu_now_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * 1000LL + ts.tv_nsec / 1000000;
}

const struct ovs_list *
net_emu_all(void)
{
    return &nics;
}

struct net_emu *
net_emu_find(const char *name)
{
    struct net_emu *nic;

    LIST_FOR_EACH (nic, list_node, &nics) {
        if (!strcmp(nic->name, name)) {
            return nic;
        }
    }
    return NULL;
}

struct net_emu_port *
net_emu_port_by_id(struct net_emu *nic, uint16_t port_id)
{
    for (unsigned int i = 0; i < nic->n_ports; i++) {
        if (nic->ports[i].port_id == port_id) {
            return &nic->ports[i];
        }
    }
    return NULL;
}

/* Carrier of kernel devices. */

/* Something about links changed: looks at all of them.  Called by EAL's thread
 * for interrupts. */
static void
carrier_changed(void *nic_)
{
    struct net_emu *nic = nic_;
    char buf[4096];

    /* What it says does not matter, nor does it if some of it is lost. */
    while (recv(nic->carrier_fd, buf, sizeof buf, MSG_DONTWAIT) > 0
           || errno == EINTR || errno == ENOBUFS) {
        continue;
    }
    for (unsigned int i = 0; i < nic->n_ports; i++) {
        net_emu_port_update_link(&nic->ports[i]);
    }
}

static int
carrier_open(struct net_emu *nic)
{
    struct sockaddr_nl snl = {
        .nl_family = AF_NETLINK,
        .nl_groups = RTMGRP_LINK,
    };

    nic->carrier_fd = socket(AF_NETLINK, (SOCK_RAW | SOCK_CLOEXEC
                                          | SOCK_NONBLOCK), NETLINK_ROUTE);
    if (nic->carrier_fd < 0
        || bind(nic->carrier_fd, (struct sockaddr *) &snl, sizeof snl)) {
        return errno;
    }
    nic->intr = rte_intr_instance_alloc(RTE_INTR_INSTANCE_F_SHARED);
    if (!nic->intr) {
        return ENOMEM;
    }
    rte_intr_type_set(nic->intr, RTE_INTR_HANDLE_EXT);
    rte_intr_fd_set(nic->intr, nic->carrier_fd);
    return -rte_intr_callback_register(nic->intr, carrier_changed, nic);
}

static void
carrier_close(struct net_emu *nic)
{
    if (nic->intr) {
        rte_intr_callback_unregister_sync(nic->intr, carrier_changed, nic);
        rte_intr_instance_free(nic->intr);
    }
    if (nic->carrier_fd >= 0) {
        close(nic->carrier_fd);
    }
}

/* Ports. */

/* Initializes 'port' except for what the emulated NIC and ethdev know. */
static int
port_init(struct net_emu *nic, unsigned int index,
          const struct net_emu_args *args, char **errorp)
{
    struct net_emu_port *port = &nic->ports[index];
    bool uplink = index < args->n_uplinks;
    const char *device;

    port->nic = nic;
    port->index = index;
    port->role = uplink ? NIC_PORT_UPLINK : NIC_PORT_VF;
    port->place = uplink ? index : index - args->n_uplinks;
    port->port_id = RTE_MAX_ETHPORTS;
    port->domain_id = nic->domains[port->place % nic->n_domains];
    snprintf(port->name, sizeof port->name, "%s%u", uplink ? "p" : "vf",
             port->place);
    atomic_init(&port->forced_carrier, -1);
    atomic_init(&port->admin_up, true);
    for (unsigned int i = 0; i < NET_EMU_MAX_QUEUES; i++) {
        port->rxq[i].port = port->txq[i].port = port;
        port->rxq[i].index = port->txq[i].index = i;
    }

    if (args->has_mac) {
        uint32_t last;

        port->mac = args->mac;
        last = ((port->mac.addr_bytes[3] << 16)
                + (port->mac.addr_bytes[4] << 8)
                + port->mac.addr_bytes[5] + index);
        port->mac.addr_bytes[3] = last >> 16;
        port->mac.addr_bytes[4] = last >> 8;
        port->mac.addr_bytes[5] = last;
    } else {
        uint32_t hash = hash_string(nic->name, 0);

        port->mac = (struct rte_ether_addr) {
            .addr_bytes = { 0x02, 0xe0, hash >> 8, hash, index >> 8, index }
        };
    }

    device = uplink ? args->uplinks[port->place] : args->vfs[port->place];
    port->wire = (device ? net_emu_wire_to_device(device, errorp)
                  : args->rings ? net_emu_wire_to_rings(nic->name, port->name,
                                                        nic->pool, errorp)
                  : net_emu_wire_to_nothing());
    return port->wire ? 0 : EINVAL;
}

/* Adds the two ports of the emulated NIC that 'port' is. */
static int
port_add_ids(struct net_emu_port *port, bool sw)
{
    char *name = xasprintf("%s/%s%s", port->nic->name, port->name,
                           sw ? "/sw" : "");
    struct nic_emu_port *p;
    int error;

    /* What the software sends is not the business of reaching uplinks, so the
     * role of its side does not matter, but must not add an uplink. */
    error = nic_emu_port_add(&port->nic->nic_ports, name, 0,
                             sw ? NIC_PORT_VF : port->role, &p);
    free(name);
    if (!error) {
        *(sw ? &port->sw_id : &port->wire_id) = p->id;
    }
    return error;
}

static int
ethdev_init(struct rte_eth_dev *dev, void *port_)
{
    struct net_emu_port *port = port_;
    struct rte_eth_dev_data *data = dev->data;

    *(struct net_emu_port **) data->dev_private = port;
    data->mac_addrs = rte_zmalloc("net_emu", sizeof port->mac, 0);
    if (!data->mac_addrs) {
        return -ENOMEM;
    }
    *data->mac_addrs = port->mac;
    port->port_id = data->port_id;

    data->dev_flags |= (RTE_ETH_DEV_INTR_LSC
                        | RTE_ETH_DEV_FLOW_OPS_THREAD_SAFE
                        | RTE_ETH_DEV_AUTOFILL_QUEUE_XSTATS);
    data->promiscuous = 1;
    data->all_multicast = 1;
    if (port->index) {
        data->dev_flags |= RTE_ETH_DEV_REPRESENTOR;
        data->representor_id = (port->role == NIC_PORT_VF ? port->place
                                : NET_EMU_REPR_PF_BASE + port->place);
        data->backer_port_id = port->nic->ports[0].port_id;
    }
    data->dev_link = (struct rte_eth_link) {
        .link_speed = RTE_ETH_SPEED_NUM_10G,
        .link_duplex = RTE_ETH_LINK_FULL_DUPLEX,
        .link_autoneg = RTE_ETH_LINK_FIXED,
    };
    dev->dev_ops = &net_emu_dev_ops;
    dev->rx_pkt_burst = net_emu_rx_burst;
    dev->tx_pkt_burst = net_emu_tx_burst;
    net_emu_port_update_link(port);
    return 0;
}

static int
port_add_ethdev(struct net_emu_port *port)
{
    struct net_emu *nic = port->nic;
    char name[RTE_ETH_NAME_MAX_LEN];

    if (port->index) {
        snprintf(name, sizeof name, "%s_%s", nic->name, port->name);
    } else {
        snprintf(name, sizeof name, "%s", nic->name);
    }
    return -rte_eth_dev_create(&nic->vdev->device, name, sizeof port, NULL,
                               NULL, ethdev_init, port);
}

/* NICs. */

static void
nic_destroy(struct net_emu *nic)
{
    for (unsigned int i = nic->n_ports; i-- > 0; ) {
        if (nic->ports[i].port_id < RTE_MAX_ETHPORTS) {
            rte_eth_dev_close(nic->ports[i].port_id);
        }
    }
    carrier_close(nic);

    net_emu_lock();
    if (nic->name && net_emu_find(nic->name) == nic) {
        ovs_list_remove(&nic->list_node);
    }
    net_emu_flows_clear(nic);
    net_emu_indirect_clear(nic);
    if (nic->hw) {
        nic_emu_hw_destroy(nic->hw);
    }
    for (unsigned int i = 0; i < nic->n_ports; i++) {
        const nic_port_id ids[] = { nic->ports[i].wire_id,
                                    nic->ports[i].sw_id };

        for (int j = 0; j < ARRAY_SIZE(ids); j++) {
            struct nic_emu_port *p = nic_emu_port_by_id(&nic->nic_ports,
                                                        ids[j]);

            if (p) {
                nic_emu_port_del(&nic->nic_ports, p);
            }
        }
        net_emu_wire_free(nic->ports[i].wire);
    }
    nic_emu_ports_destroy(&nic->nic_ports);
    net_emu_unlock();

    rte_mempool_free(nic->pool);
    for (int i = 0; i < nic->n_domains; i++) {
        rte_eth_switch_domain_free(nic->domains[i]);
    }
    free(nic->name);
    free(nic);
}

/* Creates what is not ethdevs. */
static int
nic_init(struct net_emu *nic, const struct net_emu_args *args, char **errorp)
{
    unsigned int n_ports = args->n_uplinks + args->n_vfs;
    unsigned int n_domains = args->config.separate ? args->n_uplinks : 1;
    int error = 0;

    for (nic->n_domains = 0; nic->n_domains < n_domains; nic->n_domains++) {
        error = rte_eth_switch_domain_alloc(&nic->domains[nic->n_domains]);
        if (error) {
            *errorp = xstrdup("no switch domain is left");
            return -error;
        }
    }
    if (args->rings) {
        char *name = xasprintf("%s_frames", nic->name);

        nic->pool = rte_pktmbuf_pool_create(name, POOL_SIZE, 0, 0,
                                            (RTE_PKTMBUF_HEADROOM
                                             + NET_EMU_MAX_FRAME),
                                            SOCKET_ID_ANY);
        free(name);
        if (!nic->pool) {
            *errorp = xstrdup("no memory for frames in rings");
            return ENOMEM;
        }
    }
    for (nic->n_ports = 0; nic->n_ports < n_ports; ) {
        error = port_init(nic, nic->n_ports, args, errorp);
        if (error) {
            return error;
        }
        nic->n_ports++;
    }

    /* Sides of the software come last: they have no places. */
    net_emu_lock();
    for (unsigned int i = 0; !error && i < 2 * n_ports; i++) {
        error = port_add_ids(&nic->ports[i % n_ports], i >= n_ports);
    }
    if (!error) {
        nic->hw = nic_emu_hw_create(NULL, &args->config, &nic->nic_ports);
        ovs_list_push_back(&nics, &nic->list_node);
    }
    net_emu_unlock();
    if (!error) {
        error = carrier_open(nic);
    }
    if (error) {
        *errorp = xstrdup(ovs_strerror(error));
    }
    return error;
}

static int
net_emu_probe(struct rte_vdev_device *vdev)
{
    const char *name = rte_vdev_device_name(vdev);
    struct net_emu_args args;
    char *error_text = NULL;
    struct net_emu *nic;
    int error;

    if (rte_eal_process_type() != RTE_PROC_PRIMARY) {
        NET_EMU_LOG(ERR, "%s: only in the primary process\n", name);
        return -ENOTSUP;
    }

    /* The copy of Open vSwitch's library in the plugin says nothing by itself:
     * where logs go is the application's business. */
    vlog_set_levels(NULL, VLF_ANY_DESTINATION, VLL_OFF);
    net_emu_fault_init();

    error = net_emu_args_parse(rte_vdev_device_args(vdev), &args,
                               &error_text);
    if (error) {
        NET_EMU_LOG(ERR, "%s: %s\n", name, error_text);
        net_emu_args_destroy(&args);
        free(error_text);
        return -error;
    }

    nic = xzalloc(sizeof *nic + ((args.n_uplinks + args.n_vfs)
                                 * sizeof *nic->ports));
    nic->vdev = vdev;
    nic->name = xstrdup(name);
    nic->n_uplinks = args.n_uplinks;
    nic->restriction = args.restriction;
    nic->carrier_fd = -1;
    ovs_list_init(&nic->flows);
    hmap_init(&nic->indirect);
    nic_emu_ports_init(&nic->nic_ports);

    error = nic_init(nic, &args, &error_text);
    for (unsigned int i = 0; !error && i < nic->n_ports; i++) {
        error = port_add_ethdev(&nic->ports[i]);
        if (error) {
            error_text = xasprintf("%s: no ethdev (%s)", nic->ports[i].name,
                                   ovs_strerror(error));
        }
    }
    net_emu_args_destroy(&args);
    if (error) {
        NET_EMU_LOG(ERR, "%s: %s\n", name, error_text);
        free(error_text);
        nic_destroy(nic);
        return -error;
    }
    return 0;
}

static int
net_emu_remove(struct rte_vdev_device *vdev)
{
    struct net_emu *nic;

    net_emu_lock();
    nic = net_emu_find(rte_vdev_device_name(vdev));
    net_emu_unlock();
    if (nic) {
        nic_destroy(nic);
    }
    return 0;
}

static struct rte_vdev_driver net_emu_driver = {
    .probe = net_emu_probe,
    .remove = net_emu_remove,
};
RTE_PMD_REGISTER_VDEV(net_emu, net_emu_driver);
