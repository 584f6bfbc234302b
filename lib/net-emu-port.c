/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>
#include "net-emu-private.h"

#include <errno.h>

#include <rte_config.h>
#include <ethdev_driver.h>
#include <rte_malloc.h>
#include <rte_mbuf.h>

#include "dp-packet.h"
#include "net-emu-flow.h"
#include "net-emu-async.h"
#include "net-emu-wire.h"
#include "nic-emu-grace.h"
#include "nic-emu-pass.h"
#include "nic-emu-table.h"
#include "util.h"

/* Frames of one burst. */
#define BURST 32

struct net_emu_port *
net_emu_port_from_dev(const struct rte_eth_dev *dev)
{
    return *(struct net_emu_port **) dev->data->dev_private;
}

/* Counters. */

static void
stats_add(struct net_emu_stats *stats, size_t packets, size_t bytes)
{
    uint64_t orig;

    atomic_add_relaxed(&stats->packets, packets, &orig);
    atomic_add_relaxed(&stats->bytes, bytes, &orig);
}

static void
count(atomic_uint64_t *counter)
{
    uint64_t orig;

    atomic_add_relaxed(counter, 1, &orig);
}

static uint64_t
get(const atomic_uint64_t *counter)
{
    uint64_t value;

    atomic_read_relaxed(CONST_CAST(atomic_uint64_t *, counter), &value);
    return value;
}

/* Frames on their way. */

/* What is to be sent when the lock is released. */
struct outbox {
    struct nic_emu_output *list;
    size_t n, allocated;
};

/* Returns the port whose side 'id' is, and stores in '*sw' which one. */
static struct net_emu_port *
port_by_nic_id(struct net_emu *nic, nic_port_id id, bool *sw)
{
    for (unsigned int i = 0; i < nic->n_ports; i++) {
        struct net_emu_port *port = &nic->ports[i];

        if (port->wire_id == id || port->sw_id == id) {
            *sw = port->sw_id == id;
            return port;
        }
    }
    return NULL;
}

/* Puts 'packet' where the software of 'port' finds it.  The lock must be
 * held. */
static void
to_software(struct net_emu_port *port, struct dp_packet *packet)
{
    uint32_t n, orig;

    atomic_read_relaxed(&port->n_to_sw, &n);
    if (n >= NET_EMU_SW_QUEUE) {
        count(&port->rxq[0].stats.dropped);
        dp_packet_delete(packet);
        return;
    }
    port->to_sw[(port->to_sw_head + n) % NET_EMU_SW_QUEUE] = packet;
    atomic_add(&port->n_to_sw, 1, &orig);
}

/* Takes up to 'n' frames that rules sent to the software of 'port'. */
static size_t
from_rules(struct net_emu_port *port, struct dp_packet *packets[], size_t n)
{
    uint32_t n_to_sw, orig;
    size_t i = 0;

    atomic_read_relaxed(&port->n_to_sw, &n_to_sw);
    if (!n_to_sw || !n) {
        return 0;
    }

    net_emu_lock();
    atomic_read(&port->n_to_sw, &n_to_sw);
    for (i = 0; i < n && i < n_to_sw; i++) {
        packets[i] = port->to_sw[port->to_sw_head];
        port->to_sw_head = (port->to_sw_head + 1) % NET_EMU_SW_QUEUE;
    }
    atomic_sub(&port->n_to_sw, i, &orig);
    net_emu_unlock();
    return i;
}

/* Executes the emulated NIC's rules on 'n' frames that entered by 'in_port'.
 * Leaves those that they miss in 'packets' and returns their number.  Adds
 * those that leave by wires to 'outbox'. */
static size_t
execute(struct net_emu *nic, nic_port_id in_port, struct dp_packet *packets[],
        size_t n, struct outbox *outbox)
{
    struct nic_emu_table *table;
    long long int now_ms = net_emu_now_ms();
    size_t n_missed = 0;

    net_emu_lock();
    table = nic_emu_hw_table(nic->hw);
    for (size_t i = 0; i < n; i++) {
        struct nic_emu_outputs outputs = { .n = 0 };
        enum nic_emu_verdict verdict;
        bool kept = false;

        nic_emu_section_enter();
        verdict = nic_emu_table_execute(table, in_port, packets[i], now_ms,
                                        &outputs);
        nic_emu_section_leave();
        if (verdict == NIC_EMU_MISS) {
            packets[n_missed++] = packets[i];
            continue;
        }
        for (size_t j = 0; j < outputs.n; j++) {
            struct nic_emu_output *output = &outputs.list[j];
            struct net_emu_port *port;
            bool sw = false;

            kept |= output->packet == packets[i];
            port = port_by_nic_id(nic, output->port, &sw);
            if (!port) {
                dp_packet_delete(output->packet);
            } else if (sw) {
                to_software(port, output->packet);
            } else {
                if (outbox->n >= outbox->allocated) {
                    outbox->list = x2nrealloc(outbox->list,
                                              &outbox->allocated,
                                              sizeof *outbox->list);
                }
                outbox->list[outbox->n++] = *output;
            }
        }
        if (!kept) {
            dp_packet_delete(packets[i]);
        }
    }
    net_emu_unlock();
    return n_missed;
}

/* Returns true if what is sent to the wire of 'port' gets there. */
static bool
has_link(const struct net_emu_port *port)
{
    int forced;

    atomic_read_relaxed(&CONST_CAST(struct net_emu_port *,
                                    port)->forced_carrier, &forced);
    return forced != 0;
}

static bool
send_to_wire(struct net_emu_port *port, struct net_emu_stats *stats,
             const void *data, size_t len)
{
    if (has_link(port) && net_emu_wire_send(port->wire, data, len)) {
        stats_add(stats, 1, len);
        return true;
    }
    count(&stats->dropped);
    return false;
}

/* Sends what is in 'outbox' and frees it. */
static void
outbox_send(struct net_emu *nic, struct outbox *outbox)
{
    for (size_t i = 0; i < outbox->n; i++) {
        struct dp_packet *packet = outbox->list[i].packet;
        struct net_emu_port *port;
        bool sw;

        port = port_by_nic_id(nic, outbox->list[i].port, &sw);
        send_to_wire(port, &port->carried, dp_packet_data(packet),
                     dp_packet_size(packet));
        dp_packet_delete(packet);
    }
    free(outbox->list);
}

/* Receiving. */

/* Returns a new mbuf with the frame of 'packet', or null. */
static struct rte_mbuf *
to_mbuf(struct net_emu_queue *q, const struct dp_packet *packet)
{
    struct rte_mbuf *mbuf = rte_pktmbuf_alloc(q->pool);
    size_t len = dp_packet_size(packet);
    char *room;

    if (!mbuf) {
        count(&q->port->no_mbufs);
        return NULL;
    }
    room = rte_pktmbuf_append(mbuf, len);
    if (!room) {
        count(&q->stats.dropped);
        rte_pktmbuf_free(mbuf);
        return NULL;
    }
    memcpy(room, dp_packet_data(packet), len);
    mbuf->port = q->port->port_id;
    stats_add(&q->stats, 1, len);
    return mbuf;
}

uint16_t
net_emu_rx_burst(void *rxq, struct rte_mbuf **bufs, uint16_t n)
{
    struct net_emu_queue *q = rxq;
    struct net_emu_port *port = q->port;
    struct dp_packet *packets[BURST];
    struct outbox outbox = { .n = 0 };
    size_t n_packets = 0;
    uint16_t n_bufs = 0;

    n = MIN(n, BURST);
    if (has_link(port)) {
        n_packets = net_emu_wire_receive(port->wire, q->index, packets, n);
    }
    if (n_packets) {
        n_packets = execute(port->nic, port->wire_id, packets, n_packets,
                            &outbox);
        outbox_send(port->nic, &outbox);
    }
    if (!q->index) {
        n_packets += from_rules(port, packets + n_packets, n - n_packets);
    }
    for (size_t i = 0; i < n_packets; i++) {
        bufs[n_bufs] = to_mbuf(q, packets[i]);
        n_bufs += bufs[n_bufs] != NULL;
        dp_packet_delete(packets[i]);
    }
    return n_bufs;
}

/* Sending. */

/* Executes rules on frames that the application sends by 'q'. */
static void
send_through_rules(struct net_emu_queue *q, struct rte_mbuf **bufs, uint16_t n)
{
    struct net_emu_port *port = q->port;
    struct outbox outbox = { .n = 0 };
    struct dp_packet *packets[BURST];
    size_t n_missed;

    for (uint16_t i = 0; i < n; i++) {
        uint32_t len = rte_pktmbuf_pkt_len(bufs[i]);
        struct dp_packet *packet = dp_packet_new_with_headroom(len, BURST * 4);
        void *room = dp_packet_put_uninit(packet, len);
        const void *data = rte_pktmbuf_read(bufs[i], 0, len, room);

        if (data != room) {
            memcpy(room, data, len);
        }
        packets[i] = packet;
    }
    n_missed = execute(port->nic, port->sw_id, packets, n, &outbox);
    outbox_send(port->nic, &outbox);
    for (size_t i = 0; i < n_missed; i++) {
        send_to_wire(port, &q->stats, dp_packet_data(packets[i]),
                     dp_packet_size(packets[i]));
        dp_packet_delete(packets[i]);
    }
    rte_pktmbuf_free_bulk(bufs, n);
}

uint16_t
net_emu_tx_burst(void *txq, struct rte_mbuf **bufs, uint16_t n)
{
    struct net_emu_queue *q = txq;
    struct net_emu_port *port = q->port;
    uint32_t n_sw_rules, n_any_rules;

    atomic_read_relaxed(&port->n_sw_rules, &n_sw_rules);
    atomic_read_relaxed(&port->nic->n_any_rules, &n_any_rules);
    if (n_sw_rules || n_any_rules) {
        n = MIN(n, BURST);
        send_through_rules(q, bufs, n);
        return n;
    }
    for (uint16_t i = 0; i < n; i++) {
        uint8_t buffer[NET_EMU_MAX_FRAME];
        uint32_t len = rte_pktmbuf_pkt_len(bufs[i]);

        if (len <= sizeof buffer) {
            send_to_wire(port, &q->stats,
                         rte_pktmbuf_read(bufs[i], 0, len, buffer), len);
        } else {
            count(&q->stats.dropped);
        }
        rte_pktmbuf_free(bufs[i]);
    }
    return n;
}

/* Link. */

static bool
read_carrier(const struct net_emu_port *port)
{
    struct net_emu_port *p = CONST_CAST(struct net_emu_port *, port);
    bool admin_up;
    int forced;

    atomic_read_relaxed(&p->forced_carrier, &forced);
    atomic_read_relaxed(&p->admin_up, &admin_up);
    return (admin_up
            && (forced >= 0 ? forced : net_emu_wire_carrier(port->wire)));
}

/* Stores the link status in the ethdev's data.  Returns true if it changed. */
static bool
set_link(struct rte_eth_dev *dev)
{
    const struct net_emu_port *port = net_emu_port_from_dev(dev);
    struct rte_eth_link link = {
        .link_speed = RTE_ETH_SPEED_NUM_10G,
        .link_duplex = RTE_ETH_LINK_FULL_DUPLEX,
        .link_autoneg = RTE_ETH_LINK_FIXED,
        .link_status = (read_carrier(port) ? RTE_ETH_LINK_UP
                        : RTE_ETH_LINK_DOWN),
    };

    return !rte_eth_linkstatus_set(dev, &link);
}

void
net_emu_port_update_link(struct net_emu_port *port)
{
    if (port->port_id < RTE_MAX_ETHPORTS) {
        struct rte_eth_dev *dev = &rte_eth_devices[port->port_id];

        if (set_link(dev) && dev->data->dev_conf.intr_conf.lsc) {
            rte_eth_dev_callback_process(dev, RTE_ETH_EVENT_INTR_LSC, NULL);
        }
    }
}

static int
link_update(struct rte_eth_dev *dev, int wait_to_complete OVS_UNUSED)
{
    return set_link(dev) ? 0 : -1;
}

static int
set_admin(struct rte_eth_dev *dev, bool up)
{
    struct net_emu_port *port = net_emu_port_from_dev(dev);

    atomic_store(&port->admin_up, up);
    net_emu_port_update_link(port);
    return 0;
}

static int
link_up(struct rte_eth_dev *dev)
{
    return set_admin(dev, true);
}

static int
link_down(struct rte_eth_dev *dev)
{
    return set_admin(dev, false);
}

/* Life of an ethdev. */

static int
dev_configure(struct rte_eth_dev *dev OVS_UNUSED)
{
    return 0;
}

static int
dev_start(struct rte_eth_dev *dev)
{
    struct net_emu_port *port = net_emu_port_from_dev(dev);
    int error = net_emu_wire_start(port->wire, dev->data->nb_rx_queues);

    if (error) {
        NET_EMU_LOG(ERR, "%s %s: cannot receive from %s (%s)\n",
                    port->nic->name, port->name,
                    net_emu_wire_name(port->wire), ovs_strerror(error));
        return -error;
    }
    for (uint16_t i = 0; i < dev->data->nb_rx_queues; i++) {
        dev->data->rx_queue_state[i] = RTE_ETH_QUEUE_STATE_STARTED;
    }
    for (uint16_t i = 0; i < dev->data->nb_tx_queues; i++) {
        dev->data->tx_queue_state[i] = RTE_ETH_QUEUE_STATE_STARTED;
    }
    set_link(dev);
    return 0;
}

/* Drops what the software did not fetch. */
static void
empty_sw_queue(struct net_emu_port *port)
{
    struct dp_packet *packet;

    while (from_rules(port, &packet, 1)) {
        dp_packet_delete(packet);
    }
}

static int
dev_stop(struct rte_eth_dev *dev)
{
    struct net_emu_port *port = net_emu_port_from_dev(dev);

    net_emu_lock();
    net_emu_flows_flush(port);
    net_emu_unlock();
    net_emu_wire_stop(port->wire);
    empty_sw_queue(port);
    for (uint16_t i = 0; i < dev->data->nb_rx_queues; i++) {
        dev->data->rx_queue_state[i] = RTE_ETH_QUEUE_STATE_STOPPED;
    }
    for (uint16_t i = 0; i < dev->data->nb_tx_queues; i++) {
        dev->data->tx_queue_state[i] = RTE_ETH_QUEUE_STATE_STOPPED;
    }
    return 0;
}

static int
dev_close(struct rte_eth_dev *dev)
{
    struct net_emu_port *port = net_emu_port_from_dev(dev);

    net_emu_lock();
    net_emu_flows_flush(port);
    net_emu_async_free(port);
    port->port_id = RTE_MAX_ETHPORTS;
    net_emu_unlock();
    net_emu_wire_stop(port->wire);
    empty_sw_queue(port);
    return 0;
}

static int
dev_reset(struct rte_eth_dev *dev)
{
    return dev_stop(dev);
}

static int
rx_queue_setup(struct rte_eth_dev *dev, uint16_t id,
               uint16_t n_desc OVS_UNUSED, unsigned int socket OVS_UNUSED,
               const struct rte_eth_rxconf *conf OVS_UNUSED,
               struct rte_mempool *pool)
{
    struct net_emu_queue *q = &net_emu_port_from_dev(dev)->rxq[id];

    q->pool = pool;
    dev->data->rx_queues[id] = q;
    return 0;
}

static int
tx_queue_setup(struct rte_eth_dev *dev, uint16_t id,
               uint16_t n_desc OVS_UNUSED, unsigned int socket OVS_UNUSED,
               const struct rte_eth_txconf *conf OVS_UNUSED)
{
    dev->data->tx_queues[id] = &net_emu_port_from_dev(dev)->txq[id];
    return 0;
}

static int
dev_infos_get(struct rte_eth_dev *dev, struct rte_eth_dev_info *info)
{
    const struct net_emu_port *port = net_emu_port_from_dev(dev);

    info->if_index = 0;
    info->max_mac_addrs = 1;
    info->max_rx_pktlen = NET_EMU_MAX_FRAME;
    info->min_rx_bufsize = RTE_ETHER_MIN_LEN;
    info->max_mtu = NET_EMU_MAX_FRAME - RTE_ETHER_HDR_LEN - 2 * 4;
    info->min_mtu = RTE_ETHER_MIN_MTU;
    info->max_rx_queues = NET_EMU_MAX_QUEUES;
    info->max_tx_queues = NET_EMU_MAX_QUEUES;
    info->speed_capa = RTE_ETH_LINK_SPEED_10G;
    info->tx_offload_capa = RTE_ETH_TX_OFFLOAD_MULTI_SEGS;
    info->switch_info.name = port->nic->name;
    info->switch_info.domain_id = port->domain_id;
    info->switch_info.port_id = port->index;
    return 0;
}

static int
stats_get(struct rte_eth_dev *dev, struct rte_eth_stats *stats)
{
    const struct net_emu_port *port = net_emu_port_from_dev(dev);

    for (int i = 0; i < NET_EMU_MAX_QUEUES; i++) {
        const struct net_emu_stats *rx = &port->rxq[i].stats;
        const struct net_emu_stats *tx = &port->txq[i].stats;

        stats->ipackets += get(&rx->packets);
        stats->ibytes += get(&rx->bytes);
        stats->imissed += get(&rx->dropped);
        stats->opackets += get(&tx->packets);
        stats->obytes += get(&tx->bytes);
        stats->oerrors += get(&tx->dropped);
        if (i < RTE_ETHDEV_QUEUE_STAT_CNTRS) {
            stats->q_ipackets[i] = get(&rx->packets);
            stats->q_ibytes[i] = get(&rx->bytes);
            stats->q_opackets[i] = get(&tx->packets);
            stats->q_obytes[i] = get(&tx->bytes);
        }
    }
    stats->rx_nombuf = get(&port->no_mbufs);
    return 0;
}

static void
stats_clear(struct net_emu_stats *stats)
{
    atomic_store_relaxed(&stats->packets, 0);
    atomic_store_relaxed(&stats->bytes, 0);
    atomic_store_relaxed(&stats->dropped, 0);
}

static int
stats_reset(struct rte_eth_dev *dev)
{
    struct net_emu_port *port = net_emu_port_from_dev(dev);

    for (int i = 0; i < NET_EMU_MAX_QUEUES; i++) {
        stats_clear(&port->rxq[i].stats);
        stats_clear(&port->txq[i].stats);
    }
    stats_clear(&port->carried);
    atomic_store_relaxed(&port->no_mbufs, 0);
    return 0;
}

static int
mac_addr_set(struct rte_eth_dev *dev, struct rte_ether_addr *mac)
{
    net_emu_port_from_dev(dev)->mac = *mac;
    return 0;
}

/* For what needs nothing to be done: frames are received whatever their
 * destination, and of any size. */
static int
always(struct rte_eth_dev *dev OVS_UNUSED)
{
    return 0;
}

static int
mtu_set(struct rte_eth_dev *dev OVS_UNUSED, uint16_t mtu OVS_UNUSED)
{
    return 0;
}

static int
flow_ops_get(struct rte_eth_dev *dev OVS_UNUSED,
             const struct rte_flow_ops **ops)
{
    *ops = &net_emu_flow_ops;
    return 0;
}

/* VFs belong to the first uplink; their numbers are their ids. */
static int
representor_info_get(struct rte_eth_dev *dev,
                     struct rte_eth_representor_info *info)
{
    const struct net_emu_port *port = net_emu_port_from_dev(dev);
    const struct net_emu *nic = port->nic;
    unsigned int n_vfs = nic->n_ports - nic->n_uplinks;
    struct rte_eth_representor_range ranges[2];
    unsigned int n = 0;

    memset(ranges, 0, sizeof ranges);
    if (n_vfs) {
        ranges[n].type = RTE_ETH_REPRESENTOR_VF;
        ranges[n].id_end = n_vfs - 1;
        snprintf(ranges[n++].name, sizeof ranges[0].name, "vf");
    }
    ranges[n].type = RTE_ETH_REPRESENTOR_PF;
    ranges[n].id_base = NET_EMU_REPR_PF_BASE;
    ranges[n].id_end = NET_EMU_REPR_PF_BASE + nic->n_uplinks - 1;
    snprintf(ranges[n++].name, sizeof ranges[0].name, "pf");

    if (info) {
        info->controller = 0;
        info->pf = 0;
        info->nb_ranges = MIN(n, info->nb_ranges_alloc);
        memcpy(info->ranges, ranges, info->nb_ranges * sizeof ranges[0]);
    }
    return n;
}

const struct eth_dev_ops net_emu_dev_ops = {
    .dev_configure = dev_configure,
    .dev_start = dev_start,
    .dev_stop = dev_stop,
    .dev_set_link_up = link_up,
    .dev_set_link_down = link_down,
    .dev_close = dev_close,
    .dev_reset = dev_reset,
    .link_update = link_update,
    .promiscuous_enable = always,
    .promiscuous_disable = always,
    .allmulticast_enable = always,
    .allmulticast_disable = always,
    .mac_addr_set = mac_addr_set,
    .mtu_set = mtu_set,
    .stats_get = stats_get,
    .stats_reset = stats_reset,
    .dev_infos_get = dev_infos_get,
    .rx_queue_setup = rx_queue_setup,
    .tx_queue_setup = tx_queue_setup,
    .flow_ops_get = flow_ops_get,
    .representor_info_get = representor_info_get,
};
