/* SPDX-License-Identifier: Apache-2.0 */

#ifndef NET_EMU_FLOW_H
#define NET_EMU_FLOW_H 1

/* Rules of net_emu: life of 'struct rte_flow'
 * ===========================================
 *
 * A rule is created and destroyed by an operation of the emulated NIC
 * (nic-emu-hw.h).  A synchronous call waits for it; queues (net-emu-async.h)
 * collect results.  A rule belongs to the ethdev that it was created on:
 * stopping that one removes it.
 *
 * When the NIC is reset its rules are gone, but an application that does not
 * know yet still has them: destroying one of those succeeds.
 *
 * Thread-safety
 * -------------
 *
 * The lock (net-emu-private.h) must be held, except for the functions of
 * 'struct rte_flow_ops', which take it. */

#include <stdbool.h>

#include <rte_config.h>
#include <rte_flow.h>

#include "nic.h"
#include "openvswitch/list.h"

struct net_emu;
struct net_emu_port;
struct net_emu_spec;

struct rte_flow {
    struct ovs_list list_node;      /* In 'flows' of the NIC. */
    struct net_emu_port *port;      /* That it was created on. */
    nic_handle handle;              /* 0: not, or not any more, in the NIC. */
    struct nic_template *template;

    bool counts;
    struct nic_counter base;        /* At the last query with 'reset'. */
    struct rte_flow_action_handle *shared;  /* Shared counter, or null. */
    struct rte_flow_action_handle *conn;    /* Conntrack action, or null. */

    /* Port whose 'n_sw_rules' this one is counted in, and whether it is in
     * 'n_any_rules' of the NIC. */
    struct net_emu_port *sw_port;
    bool any;

    /* Of the asynchronous API. */
    uint32_t *n_in_table;           /* Rules of its table, or null. */
    bool busy;                      /* An operation is on its way. */
};

/* An operation of the emulated NIC, whose cookie is its address. */
struct net_emu_op {
    struct rte_flow *flow;
    bool done;
    struct nic_completion completion;   /* When 'done'. */

    /* Called with the lock held when it is done, unless null; may free it. */
    void (*cb)(struct net_emu_op *);
};

/* Creates a rule of 'port' from 'spec' that is not in the NIC. */
struct rte_flow *net_emu_flow_create(struct net_emu_port *port,
                                     const struct net_emu_spec *spec);

/* Frees 'flow', which is not in the NIC any more; 'final' is its last count,
 * or null. */
void net_emu_flow_free(struct rte_flow *flow, const struct nic_counter *final);

/* Submits 'op', to add 'op->flow' or to remove it. */
void net_emu_op_submit(struct net_emu_op *op, bool add);

/* Lets time pass for 'nic', and completes what is done by then. */
void net_emu_advance(struct net_emu *nic, long long int now_ms);

/* Adds to '*sum' what the NIC says that 'flow' has counted. */
void net_emu_flow_count(const struct rte_flow *flow, struct nic_counter *sum);

/* Stores in '*query' what 'sum' is more than '*base', and if it says so makes
 * '*base' the same as 'sum'. */
void net_emu_flow_tell(const struct nic_counter *sum, struct nic_counter *base,
                       struct rte_flow_query_count *query);

/* Removes all rules that were created on 'port', whatever is in the way. */
void net_emu_flows_flush(struct net_emu_port *port);

/* The NIC lost everything. */
void net_emu_flows_lost(struct net_emu *nic);

/* Frees all rules; the NIC is about to go. */
void net_emu_flows_clear(struct net_emu *nic);

/* Returns true if 'flow' is a rule that was created on 'port'. */
bool net_emu_flow_is_valid(const struct net_emu_port *port,
                           const struct rte_flow *flow);

#endif /* net-emu-flow.h */
