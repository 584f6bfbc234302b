/* SPDX-License-Identifier: Apache-2.0 */

#ifndef NET_EMU_PRIVATE_H
#define NET_EMU_PRIVATE_H 1

/* The emulated NIC as a DPDK device: what its parts share
 * =======================================================
 *
 * net_emu is a virtual device (vdev) of DPDK with several ethdevs: uplinks and
 * representors of VFs.  It is a plugin, loaded with EAL's -d, and contains its
 * own copy of the emulated NIC (nic-emu-hw.h) and of what that needs of Open
 * vSwitch's library.  doc/reference.md has its arguments.
 *
 * Two sides of an ethdev
 * ----------------------
 *
 * Each ethdev is two ports of the emulated NIC: the *wire* is what is
 * represented, the network or the VM behind it; the *software* is the
 * application's side.  A frame that comes from the wire and misses goes to the
 * software, that is, rte_eth_rx_burst() returns it; what the application sends
 * goes to the wire, unless rules say otherwise.
 *
 * Thread-safety
 * -------------
 *
 * One lock, net_emu_lock(), for everything that touches the emulated NIC or
 * Open vSwitch's RCU.  The plugin's copy of that RCU is never told of other
 * threads (none is made with ovs_thread_create()), so that what was postponed
 * is executed as soon as the lock is released.  Frames are received from
 * devices and sent to them without the lock. */

#include <stdbool.h>
#include <stdint.h>

#include <rte_config.h>
#include <rte_ethdev.h>
#include <rte_flow.h>
#include <rte_log.h>

#include "nic-emu-hw.h"
#include "nic-emu-port.h"
#include "nic.h"
#include "openvswitch/hmap.h"
#include "openvswitch/list.h"
#include "ovs-atomic.h"

struct dp_packet;
struct net_emu_async;
struct net_emu_wire;
struct rte_vdev_device;

#define NET_EMU_MAX_UPLINKS 8
#define NET_EMU_MAX_VFS 256
#define NET_EMU_MAX_QUEUES 16

/* Frames for an application that does not receive them are dropped when there
 * are as many. */
#define NET_EMU_SW_QUEUE 1024

/* Representor ids: VFs have theirs as numbers, uplinks other than the first
 * one these and the following. */
#define NET_EMU_REPR_PF_BASE 0x8000

struct net_emu_stats {
    atomic_uint64_t packets;
    atomic_uint64_t bytes;
    atomic_uint64_t dropped;
};

struct net_emu_queue {
    struct net_emu_port *port;
    uint16_t index;
    struct rte_mempool *pool;       /* Receive queues only. */
    struct net_emu_stats stats;
};

/* One ethdev. */
struct net_emu_port {
    struct net_emu *nic;
    unsigned int index;             /* In 'ports' of 'nic'. */
    char name[16];                  /* "p0", "vf0". */
    enum nic_port_role role;
    unsigned int place;             /* Among the ports of its role. */
    uint16_t port_id;               /* RTE_MAX_ETHPORTS: no ethdev yet. */
    uint16_t domain_id;             /* Of its eSwitch. */
    struct rte_ether_addr mac;
    nic_port_id wire_id, sw_id;     /* In the emulated NIC. */
    struct net_emu_wire *wire;      /* Never null. */

    struct net_emu_queue rxq[NET_EMU_MAX_QUEUES];
    struct net_emu_queue txq[NET_EMU_MAX_QUEUES];

    /* Counts and carrier. */
    struct net_emu_stats carried;   /* Sent to the wire by rules. */
    atomic_uint64_t no_mbufs;
    atomic_int forced_carrier;      /* -1: that of the device. */
    atomic_bool started;
    atomic_bool admin_up;

    /* Frames that rules sent to the software, under the lock but for
     * 'n_to_sw', which may be read without. */
    struct dp_packet *to_sw[NET_EMU_SW_QUEUE];
    unsigned int to_sw_head;
    atomic_uint32_t n_to_sw;

    /* Number of rules that look at what the application sends by this
     * ethdev.  Changed under the lock. */
    atomic_uint32_t n_sw_rules;

    struct net_emu_async *async;    /* Null before rte_flow_configure(). */
};

/* Restrictions that the documentation of a real driver names. */
enum net_emu_restrict {
    NET_EMU_RESTRICT_NONE,
    NET_EMU_RESTRICT_MLX5
};

/* One NIC. */
struct net_emu {
    struct ovs_list list_node;      /* In the list of all. */
    struct rte_vdev_device *vdev;
    char *name;
    enum net_emu_restrict restriction;
    struct rte_mempool *pool;       /* For frames into rings; may be null. */

    struct nic_emu_ports nic_ports;
    struct nic_emu_hw *hw;
    struct ovs_list flows;          /* Contains 'struct rte_flow's. */
    struct hmap indirect;           /* Contains 'struct
                                     * rte_flow_action_handle's. */
    uint32_t n_conns;               /* Conntrack actions among them. */
    bool held;                      /* Nothing completes. */
    uint64_t n_resets;
    atomic_uint32_t n_any_rules;    /* That look at all ports. */

    uint16_t n_domains;
    uint16_t domains[NET_EMU_MAX_UPLINKS];

    struct rte_intr_handle *intr;   /* Of the carrier's socket. */
    int carrier_fd;

    unsigned int n_uplinks;
    unsigned int n_ports;
    struct net_emu_port ports[];
};

extern int net_emu_logtype;
#define NET_EMU_LOG(LEVEL, ...) \
    rte_log(RTE_LOG_##LEVEL, net_emu_logtype, "net_emu: " __VA_ARGS__)

/* Takes the lock, and makes the calling thread one that may use Open vSwitch's
 * RCU. */
void net_emu_lock(void);

/* Ends that: executes what was postponed and releases the lock. */
void net_emu_unlock(void);

/* Milliseconds on a monotonic clock. */
long long int net_emu_now_ms(void);

/* Returns the list of all NICs.  The lock must be held. */
const struct ovs_list *net_emu_all(void);

/* Returns the NIC called 'name', or null.  The lock must be held. */
struct net_emu *net_emu_find(const char *name);

/* Returns the port that 'dev', an ethdev of this driver, is. */
struct net_emu_port *net_emu_port_from_dev(const struct rte_eth_dev *dev);

/* Returns the port of 'nic' that has 'port_id', or null. */
struct net_emu_port *net_emu_port_by_id(struct net_emu *nic,
                                        uint16_t port_id);

/* Sets the link status of 'port' to what the wire and the fault say, and tells
 * the application if that is a change and it wants to know. */
void net_emu_port_update_link(struct net_emu_port *port);

extern const struct eth_dev_ops net_emu_dev_ops;
extern const struct rte_flow_ops net_emu_flow_ops;
uint16_t net_emu_rx_burst(void *rxq, struct rte_mbuf **bufs, uint16_t n);
uint16_t net_emu_tx_burst(void *txq, struct rte_mbuf **bufs, uint16_t n);

#endif /* net-emu-private.h */
