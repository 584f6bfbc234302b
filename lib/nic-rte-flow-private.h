/* SPDX-License-Identifier: Apache-2.0 */

#ifndef NIC_RTE_FLOW_PRIVATE_H
#define NIC_RTE_FLOW_PRIVATE_H 1

/* What the parts of the driver for rte_flow share
 * ===============================================
 *
 * nic-rte-flow.c has the NIC's interface and its queue; nic-rte-flow-port.c
 * ports and what happens to them; nic-rte-flow-rule.c rules;
 * nic-rte-flow-egress.c egress objects; nic-rte-flow-leftover.c what could not
 * be removed; nic-rte-flow-carrier.c the carrier of ports.
 *
 * Locks, in the order in which they are taken:
 *
 *   - 'rule_mutex': whoever calls DPDK about rules, and rules in memory.
 *   - 'egress_mutex': whoever calls DPDK about egress objects or leftovers,
 *     and those in memory.  The carrier watcher takes this one only, so it is
 *     not held for longer than a few calls.
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

/* poll() executes and completes at most this many operations at a time: half
 * of them new ones, half deletions whose last counts were waited for. */
#define RTE_NIC_OPS_PER_POLL 32

/* A rule's counter is not read again sooner than this. */
#define RTE_NIC_COUNTER_MS 100

/* Drivers answer from what they read from the NIC within this time, at the
 * latest. */
#define RTE_NIC_DRIVER_STALE_MS 1000

/* What could not be removed is tried again after this time. */
#define RTE_NIC_RETRY_MS 500

/* No DPDK port has this number. */
#define RTE_NIC_NO_ETHDEV UINT16_MAX

struct rte_port {
    struct hmap_node node;          /* By id. */
    nic_port_id id;
    char *name;
    struct netdev *netdev;          /* A reference: DPDK's port stays open. */
    struct rte_flow_offer offer;
    enum nic_port_role role;
    struct rte_flow *jump;          /* To RTE_FLOW_GROUP_RULES, or null. */
    struct ovs_list in_rules;       /* Of 'struct rte_rule's with a flow rule:
                                     * for packets that enter here, */
    struct ovs_list out_rules;      /* that send to it. */
    bool running;                   /* It, and its proxy, as far as known. */
    atomic_bool changed;            /* To be added anew. */
    struct nic_rte *nic;
};

/* A rule has a flow rule ('flow') until it is deleted or one of its ports
 * goes, and a counter that outlives that ('indirect') until the last count was
 * read.  When it has neither it waits to be deleted, or is. */
struct rte_rule {
    struct hmap_node node;          /* By handle. */
    nic_handle handle;
    nic_handle egress;              /* 0 if none, or no more. */
    struct ovs_list in_node;        /* With 'flow': in its port's 'in_rules',
                                     * or in the NIC's 'portless'. */
    struct ovs_list out_node;       /* With 'flow': in its port's 'out_rules',
                                     * or empty. */
    uint16_t ethdev;                /* Through which it was made. */
    uint32_t group;                 /* Where it is. */
    struct rte_flow *flow;          /* Null if removed. */
    struct rte_flow_action_handle *indirect;    /* Its counter, or null. */
    struct ovs_list counter_node;   /* With 'indirect' and without 'flow': in
                                     * the NIC's 'counters' or 'draining'. */
    long long int due_ms;           /* In 'draining': the count is the last
                                     * one then. */
    uint64_t cookie;                /* Of its deletion, in 'draining'. */
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

/* Something of the driver's that it did not remove when it was asked to.  It
 * is no part of any object any more, and asked for again until it is gone. */
struct rte_leftover {
    struct ovs_list node;
    const char *what;               /* Static text. */
    uint16_t domain;                /* Of the NIC. */
    uint16_t ethdev;                /* Through which it was made. */
    uint32_t group;                 /* Of 'flow'. */
    struct rte_flow *flow;          /* One of the two. */
    struct rte_flow_action_handle *indirect;
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
    atomic_bool reset;              /* The device lost what it had. */

    struct ovs_mutex rule_mutex;
    struct hmap rules OVS_GUARDED_BY(rule_mutex);
    struct ovs_list portless OVS_GUARDED_BY(rule_mutex);
    struct ovs_list counters OVS_GUARDED_BY(rule_mutex);
    struct ovs_list draining OVS_GUARDED_BY(rule_mutex);
    nic_handle last_handle OVS_GUARDED_BY(rule_mutex);

    struct ovs_mutex egress_mutex OVS_ACQ_AFTER(rule_mutex);
    struct hmap egresses OVS_GUARDED_BY(egress_mutex);
    uint32_t last_group OVS_GUARDED_BY(egress_mutex);
    struct ovs_list leftovers OVS_GUARDED_BY(egress_mutex);
    long long int retry_ms;         /* Leftovers are tried then; poll()'s. */

    struct hmap ports;              /* See above. */
    nic_port_id last_port;

    struct ovs_mutex mutex OVS_ACQ_AFTER(egress_mutex);
    struct ovs_list queue OVS_GUARDED;
    size_t n_pending OVS_GUARDED;   /* Those that drain included. */
    long long int drain_ms OVS_GUARDED;     /* 'due_ms' of the next one. */
    size_t n_leftovers OVS_GUARDED;
    struct rte_flow_offer offer OVS_GUARDED;    /* Of all ports. */
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

/* Makes the rule that leads packets of 'port' to the group with rules, unless
 * it is there or none is needed.  Returns 0 or an error of 'struct
 * nic_completion' and stores static text in '*reasonp'. */
int rte_port_make_jump(struct nic_rte *, struct rte_port *port,
                       const char **reasonp)
    OVS_REQUIRES(nic->rule_mutex) OVS_EXCLUDED(nic->egress_mutex);

/* The device lost what it had: the ports are to be added anew. */
void rte_ports_lost(struct nic_rte *) OVS_REQUIRES(nic->rule_mutex);

/* Carrier of 'port', for nic_rte_flow_get_carrier(). */
void rte_carrier_add(const struct rte_port *port);
void rte_carrier_remove(const struct rte_port *port);

extern const char rte_gone_port[];
extern const char rte_no_egress[];

/* Destroys a flow rule.  Returns 0 if it is gone, or an error of 'struct
 * nic_completion' that means that it exists and may be destroyed later. */
int rte_nic_destroy_flow(uint16_t ethdev, struct rte_flow *,
                         const char **reasonp);

/* The same for an indirect action. */
int rte_nic_destroy_indirect(uint16_t ethdev, struct rte_flow_action_handle *,
                             const char **reasonp);

/* Rules.  All with 'rule_mutex'. */

const char *rte_rule_check(struct nic_rte *, const struct nic_template *)
    OVS_REQUIRES(nic->rule_mutex);
void rte_rule_add(struct nic_rte *, const struct nic_op *,
                  struct nic_completion *)
    OVS_REQUIRES(nic->rule_mutex) OVS_EXCLUDED(nic->egress_mutex);

/* Executes NIC_OP_RULE_DEL.  Returns false if the flow rule is gone, but the
 * driver may not have read its last count yet: the completion comes from
 * rte_rules_drain() then. */
bool rte_rule_del(struct nic_rte *, const struct nic_op *,
                  struct nic_completion *, long long int now_ms)
    OVS_REQUIRES(nic->rule_mutex) OVS_EXCLUDED(nic->egress_mutex);

/* Stores up to 'max' completions of deletions whose last count is known now,
 * and returns how many. */
size_t rte_rules_drain(struct nic_rte *, struct nic_completion[], size_t max,
                       long long int now_ms)
    OVS_REQUIRES(nic->rule_mutex) OVS_EXCLUDED(nic->egress_mutex);

/* Returns when rte_rules_drain() will have something, LLONG_MAX if never. */
long long int rte_rules_drain_ms(const struct nic_rte *)
    OVS_REQUIRES(nic->rule_mutex);

/* Stores what a rule counted in '*counter'. */
void rte_rule_count(struct nic_rte *, nic_handle, struct nic_counter *,
                    long long int now_ms)
    OVS_REQUIRES(nic->rule_mutex);

/* Takes down the rules that are for packets that enter by 'port' or that send
 * to it.  They keep their counts.  Those that were made through 'ethdev',
 * which is about to stop, are left over if the driver refuses. */
void rte_rules_take_down(struct nic_rte *, struct rte_port *port,
                         uint16_t ethdev)
    OVS_REQUIRES(nic->rule_mutex) OVS_EXCLUDED(nic->egress_mutex);

/* 'ethdev' is about to stop, and rte_rules_take_down() was called for all
 * ports that need it: takes down the rules that remained when their port went,
 * and reads the last counts of all. */
void rte_rules_end(struct nic_rte *, uint16_t ethdev)
    OVS_REQUIRES(nic->rule_mutex) OVS_EXCLUDED(nic->egress_mutex);

/* Lets the rules of 'port' remain without it. */
void rte_rules_leave(struct nic_rte *, struct rte_port *port)
    OVS_REQUIRES(nic->rule_mutex);

/* Removes all rules. */
void rte_rules_clear(struct nic_rte *)
    OVS_REQUIRES(nic->rule_mutex) OVS_EXCLUDED(nic->egress_mutex);

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

/* Takes down the flow rules that were made through 'ethdev', which is about to
 * stop. */
void rte_egresses_take_down(struct nic_rte *, uint16_t ethdev)
    OVS_REQUIRES(nic->egress_mutex);

/* Makes the flow rules that are missing, if a port is running through which
 * that is possible. */
void rte_egresses_install(struct nic_rte *) OVS_REQUIRES(nic->egress_mutex);

/* Makes the flow rule of 'egress' if it is missing: packets that a rule has
 * changed must not meet a group without any.  Returns 0, or a positive errno
 * value and stores text that says why in '*reasonp'. */
int rte_egress_ready(struct nic_rte *, struct rte_egress *egress,
                     const char **reasonp)
    OVS_REQUIRES(nic->egress_mutex);

/* Makes those that lead to port 'id' drop packets. */
void rte_egresses_close(struct nic_rte *, nic_port_id id)
    OVS_REQUIRES(nic->egress_mutex);
void rte_egresses_clear(struct nic_rte *) OVS_REQUIRES(nic->egress_mutex);

/* Leftovers.  All with 'egress_mutex'. */

/* Adds one: 'flow' in 'group' or 'indirect', the other is null. */
void rte_leftover_add(struct nic_rte *, const char *what, uint16_t ethdev,
                      uint32_t group, struct rte_flow *flow,
                      struct rte_flow_action_handle *indirect)
    OVS_REQUIRES(nic->egress_mutex);

/* Tries again to remove those of 'group'.  Returns true if none is left. */
bool rte_leftovers_retry_group(struct nic_rte *, uint32_t group)
    OVS_REQUIRES(nic->egress_mutex);

/* Returns true if there is one in 'group'. */
bool rte_leftovers_in_group(const struct nic_rte *, uint32_t group)
    OVS_REQUIRES(nic->egress_mutex);

/* Tries again to remove the first 'max'. */
void rte_leftovers_retry(struct nic_rte *, size_t max)
    OVS_REQUIRES(nic->egress_mutex);

/* 'ethdev' is about to stop, and nothing was made through it but leftovers:
 * the flow rules among these go whatever the driver says.  With 'closing', the
 * counters do, too. */
void rte_leftovers_end(struct nic_rte *, uint16_t ethdev, bool closing)
    OVS_REQUIRES(nic->egress_mutex);

/* For a NIC that is closed: the next one of its domain inherits what is left
 * in spite of some more attempts. */
void rte_leftovers_bequeath(struct nic_rte *) OVS_REQUIRES(nic->egress_mutex);
void rte_leftovers_inherit(struct nic_rte *) OVS_REQUIRES(nic->egress_mutex);

/* The same as rte_leftovers_end(), for those that nobody has inherited. */
void rte_leftovers_end_bequeathed(uint16_t ethdev, bool closing);

#endif /* nic-rte-flow-private.h */
