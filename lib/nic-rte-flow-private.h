/* SPDX-License-Identifier: Apache-2.0 */

#ifndef NIC_RTE_FLOW_PRIVATE_H
#define NIC_RTE_FLOW_PRIVATE_H 1

/* What the parts of the driver for rte_flow share
 * ===============================================
 *
 * nic-rte-flow.c has the NIC's interface and its queue; nic-rte-flow-port.c
 * ports and what happens to them; nic-rte-flow-rule.c rules;
 * nic-rte-flow-egress.c egress objects; nic-rte-flow-carrier.c the carrier of
 * ports.
 *
 * Locks, in the order in which they are taken:
 *
 *   - 'rule_mutex': whoever calls DPDK about rules, and rules in memory.
 *   - 'egress_mutex': whoever calls DPDK about egress objects, and those in
 *     memory.  The carrier watcher takes this one only, so it is not held for
 *     longer than a few calls.
 *   - 'mutex': the queue and statistics.  DPDK is not called while it is held.
 *
 * Ports change with both 'rule_mutex' and 'egress_mutex', so that either is
 * enough to look at them.
 */

/* For handles of indirect actions. */
#ifndef ALLOW_EXPERIMENTAL_API
#define ALLOW_EXPERIMENTAL_API 1
#endif

#include <stdbool.h>
#include <stdint.h>
#include <rte_flow.h>
#include "lib/nic.h"
#include "lib/rte-flow-probe.h"
#include "openvswitch/hmap.h"
#include "openvswitch/list.h"
#include "openvswitch/thread.h"
#include "ovs-atomic.h"
#include "util.h"

struct netdev;

/* poll() executes at most this many operations at a time. */
#define RTE_NIC_OPS_PER_POLL 32

/* A rule's counter is not read again sooner than this. */
#define RTE_NIC_COUNTER_MS 100

/* Counters of drivers are about this old. */
#define RTE_NIC_DRIVER_STALE_MS 1000

struct rte_port {
    struct hmap_node node;          /* By id. */
    nic_port_id id;
    char *name;
    struct netdev *netdev;          /* A reference: DPDK's port stays open. */
    struct rte_flow_offer offer;
    enum nic_port_role role;
    struct rte_flow *jump;          /* To RTE_FLOW_GROUP_RULES, or null. */
    bool running;                   /* It, and its proxy, as far as known. */
    atomic_bool changed;            /* To be added anew. */
    atomic_bool gone;               /* The device was removed. */
    atomic_bool *reset;             /* The NIC's 'reset'. */
};

struct rte_rule {
    struct hmap_node node;          /* By handle. */
    nic_handle handle;
    nic_handle egress;              /* 0 if none. */
    nic_port_id in_port;
    nic_port_id out_port;           /* NIC_PORT_NONE if none. */
    uint16_t ethdev;                /* Through which it was made. */
    struct rte_flow *flow;          /* Null if removed with a port. */
    struct rte_flow_action_handle *indirect;    /* Its counter, or null. */
    struct nic_counter counter;     /* As read last. */
    long long int read_ms;
    struct nic_template *template;
    struct nic_values values;
};

struct rte_egress {
    struct hmap_node node;          /* By handle. */
    nic_handle handle;
    nic_port_id port;
    uint32_t group;
    size_t n_rules;
    uint16_t ethdev;                /* Through which 'flow' was made. */
    uint32_t priority;              /* Of 'flow'. */
    struct rte_flow *flow;          /* Null while no port is running. */
};

/* An operation that waits. */
struct rte_op {
    struct ovs_list node;
    struct nic_op op;
};

struct nic_rte {
    struct nic up;
    struct ovs_list list_node;      /* In the list of all. */
    uint16_t domain;
    struct rte_flow_offer offer;    /* Of the port that it was opened for. */
    atomic_bool reset;              /* A device lost what it had. */

    struct ovs_mutex rule_mutex;
    struct hmap rules OVS_GUARDED_BY(rule_mutex);
    nic_handle last_handle OVS_GUARDED_BY(rule_mutex);

    struct ovs_mutex egress_mutex OVS_ACQ_AFTER(rule_mutex);
    struct hmap egresses OVS_GUARDED_BY(egress_mutex);
    uint32_t last_group OVS_GUARDED_BY(egress_mutex);

    struct hmap ports;              /* See above. */
    nic_port_id last_port;

    struct ovs_mutex mutex OVS_ACQ_AFTER(egress_mutex);
    struct ovs_list queue OVS_GUARDED;
    size_t n_pending OVS_GUARDED;
    uint64_t n_ops, n_failed OVS_GUARDED;
    uint32_t n_rules, n_egresses OVS_GUARDED;
    uint64_t carried_packets, carried_bytes OVS_GUARDED;
};

static inline struct nic_rte *
nic_rte_cast(const struct nic *nic)
{
    return CONTAINER_OF(CONST_CAST(struct nic *, nic), struct nic_rte, up);
}

static inline bool
rte_flag_is_set(const atomic_bool *flag)
{
    bool value;

    atomic_read_relaxed(CONST_CAST(atomic_bool *, flag), &value);
    return value;
}

/* Ports. */

/* Lets 'nic' know of what happens to DPDK ports, and no more. */
void rte_nic_list_add(struct nic_rte *nic);
void rte_nic_list_remove(struct nic_rte *nic);

/* Members of 'struct nic_class'. */
int rte_nic_port_add(struct nic *, const char *name, odp_port_t odp_port,
                     enum nic_port_role, nic_port_id *);
bool rte_nic_port_changed(const struct nic *, nic_port_id);
void rte_nic_port_del(struct nic *, nic_port_id);

struct rte_port *rte_port_find(const struct nic_rte *, nic_port_id);

/* The same, but null also if rules cannot be made for it now. */
struct rte_port *rte_port_find_running(const struct nic_rte *, nic_port_id);

/* Carrier of 'port', for nic_rte_flow_get_carrier(). */
void rte_carrier_add(const struct rte_port *port);
void rte_carrier_remove(const struct rte_port *port);

extern const char rte_gone_port[];
extern const char rte_no_egress[];

/* Rules.  All with 'rule_mutex'. */

const char *rte_rule_check(struct nic_rte *, const struct nic_template *)
    OVS_REQUIRES(nic->rule_mutex);
void rte_rule_add(struct nic_rte *, const struct nic_op *,
                  struct nic_completion *)
    OVS_REQUIRES(nic->rule_mutex) OVS_EXCLUDED(nic->egress_mutex);
void rte_rule_del(struct nic_rte *, nic_handle, struct nic_completion *)
    OVS_REQUIRES(nic->rule_mutex) OVS_EXCLUDED(nic->egress_mutex);

/* Stores what a rule counted in '*counter'. */
void rte_rule_count(struct nic_rte *, nic_handle, struct nic_counter *,
                    long long int now_ms)
    OVS_REQUIRES(nic->rule_mutex);

/* Takes down the rules that were made through 'ethdev', that are for packets
 * that enter by port 'id', or that send to it.  They keep their counts.  'id'
 * may be NIC_PORT_ANY, for none of both. */
void rte_rules_take_down(struct nic_rte *, nic_port_id id, uint16_t ethdev)
    OVS_REQUIRES(nic->rule_mutex);

/* Destroys a flow rule.  Returns 0 or an error of 'struct nic_completion' that
 * means that the rule exists and may be destroyed later. */
int rte_nic_destroy_flow(uint16_t ethdev, struct rte_flow *,
                         const char **reasonp);

/* Removes all rules. */
void rte_rules_clear(struct nic_rte *) OVS_REQUIRES(nic->rule_mutex);

/* Egress objects.  All with 'egress_mutex', but rte_egress_set(). */

/* Adds one and stores its handle, 'handle'. */
void rte_egress_add(struct nic_rte *, nic_port_id, nic_handle handle,
                    struct nic_completion *)
    OVS_REQUIRES(nic->egress_mutex);
void rte_egress_del(struct nic_rte *, nic_handle, struct nic_completion *)
    OVS_REQUIRES(nic->egress_mutex);
int rte_egress_set(struct nic_rte *, nic_handle, nic_port_id,
                   const char **reasonp)
    OVS_EXCLUDED(nic->egress_mutex);
struct rte_egress *rte_egress_find(const struct nic_rte *, nic_handle)
    OVS_REQUIRES(nic->egress_mutex);

/* Takes down the flow rules that were made through 'ethdev', and makes those
 * that are missing through other ports, if some are running. */
void rte_egresses_move(struct nic_rte *, uint16_t ethdev)
    OVS_REQUIRES(nic->egress_mutex);

/* Makes those that lead to port 'id' drop packets. */
void rte_egresses_close(struct nic_rte *, nic_port_id id)
    OVS_REQUIRES(nic->egress_mutex);
void rte_egresses_clear(struct nic_rte *) OVS_REQUIRES(nic->egress_mutex);

#endif /* nic-rte-flow-private.h */
