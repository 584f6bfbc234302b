/* SPDX-License-Identifier: Apache-2.0 */

#ifndef NET_EMU_INDIRECT_H
#define NET_EMU_INDIRECT_H 1

/* Indirect actions of net_emu
 * ===========================
 *
 * Shared counters, and with ct-module=true conntrack actions
 * (net-emu-ct.h).  Rules of all ports of the NIC can use one, and as long as
 * any does it cannot be destroyed.  It outlives a reset of the NIC, but a
 * conntrack action only so that it can be destroyed: its state is lost.
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
#include "openvswitch/hmap.h"

struct net_emu;
struct net_emu_port;
struct nic_emu_window;
struct rte_eth_dev;

struct rte_flow_action_handle {
    struct hmap_node hmap_node;     /* In 'indirect' of the NIC. */
    struct net_emu_port *port;      /* That it was created on. */
    enum rte_flow_action_type type;
    unsigned int n_users;           /* Rules. */

    /* RTE_FLOW_ACTION_TYPE_COUNT. */
    struct nic_counter gone;        /* Of rules that are gone. */
    struct nic_counter base;        /* At the last query with 'reset'. */

    /* RTE_FLOW_ACTION_TYPE_CONNTRACK. */
    struct nic_emu_window *window;
    uint16_t peer_port;
    bool original;                  /* Direction of rules to come. */
    bool lost;                      /* By a reset. */
};

/* Returns true if 'handle' is an indirect action of 'nic'. */
bool net_emu_indirect_is_valid(const struct net_emu *nic,
                               const struct rte_flow_action_handle *handle);

/* Asks for 'handle', which is a counter. */
void net_emu_indirect_count(struct rte_flow_action_handle *handle,
                            struct rte_flow_query_count *query);

/* The NIC lost everything. */
void net_emu_indirect_lost(struct net_emu *nic);

/* Frees all indirect actions, which no rule uses; the NIC is about to go. */
void net_emu_indirect_clear(struct net_emu *nic);

/* Functions of 'struct rte_flow_ops'.  Those for queues do at once what they
 * are asked for, whether it is postponed or not; the result is pulled like
 * others. */
struct rte_flow_action_handle *
net_emu_indirect_create(struct rte_eth_dev *,
                        const struct rte_flow_indir_action_conf *,
                        const struct rte_flow_action *,
                        struct rte_flow_error *);
int net_emu_indirect_destroy(struct rte_eth_dev *,
                             struct rte_flow_action_handle *,
                             struct rte_flow_error *);
int net_emu_indirect_update(struct rte_eth_dev *,
                            struct rte_flow_action_handle *,
                            const void *how, struct rte_flow_error *);
int net_emu_indirect_query(struct rte_eth_dev *,
                           const struct rte_flow_action_handle *,
                           void *answer, struct rte_flow_error *);
struct rte_flow_action_handle *
net_emu_indirect_async_create(struct rte_eth_dev *, uint32_t queue_id,
                              const struct rte_flow_op_attr *,
                              const struct rte_flow_indir_action_conf *,
                              const struct rte_flow_action *,
                              void *user_data, struct rte_flow_error *);
int net_emu_indirect_async_destroy(struct rte_eth_dev *, uint32_t queue_id,
                                   const struct rte_flow_op_attr *,
                                   struct rte_flow_action_handle *,
                                   void *user_data, struct rte_flow_error *);
int net_emu_indirect_async_update(struct rte_eth_dev *, uint32_t queue_id,
                                  const struct rte_flow_op_attr *,
                                  struct rte_flow_action_handle *,
                                  const void *how, void *user_data,
                                  struct rte_flow_error *);
int net_emu_indirect_async_query(struct rte_eth_dev *, uint32_t queue_id,
                                 const struct rte_flow_op_attr *,
                                 const struct rte_flow_action_handle *,
                                 void *answer, void *user_data,
                                 struct rte_flow_error *);

#endif /* net-emu-indirect.h */
