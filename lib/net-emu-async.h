/* SPDX-License-Identifier: Apache-2.0 */

#ifndef NET_EMU_ASYNC_H
#define NET_EMU_ASYNC_H 1

/* rte_flow's asynchronous API of net_emu
 * ======================================
 *
 * rte_flow_configure(), templates, template tables, and queues of operations.
 *
 * An operation takes a place in its queue until its result is pulled.  A
 * postponed one is given to the NIC with the next one that is not, or by
 * rte_flow_push().  A rule whose creation fails is gone when the result is
 * there; one whose destruction fails is still there.
 *
 * In a pattern template only masks count: an item without mask matches packets
 * that have the layer, or all with 'relaxed_matching'.  In an actions template
 * a configuration is constant if its mask has any bit set; else each rule
 * brings its own.
 *
 * Thread-safety: the lock must be held, but for the functions of 'struct
 * rte_flow_ops', which take it. */

#include <stdint.h>

#include <rte_config.h>
#include <rte_flow.h>

struct net_emu;
struct net_emu_port;
struct rte_eth_dev;

/* Completes operations of 'port' that are under way, and forgets their
 * results. */
void net_emu_async_abort(struct net_emu_port *port);

/* Frees everything that rte_flow_configure() and what follows it made for
 * 'port', which has no rules any more. */
void net_emu_async_free(struct net_emu_port *port);

/* The NIC forgot everything: all operations under way have failed. */
void net_emu_async_reset(struct net_emu *nic);

/* Members of 'struct rte_flow_ops'. */
int net_emu_async_info_get(struct rte_eth_dev *, struct rte_flow_port_info *,
                           struct rte_flow_queue_info *,
                           struct rte_flow_error *);
int net_emu_async_configure(struct rte_eth_dev *,
                            const struct rte_flow_port_attr *,
                            uint16_t n_queues,
                            const struct rte_flow_queue_attr *[],
                            struct rte_flow_error *);
struct rte_flow_pattern_template *net_emu_async_pattern_create(
    struct rte_eth_dev *, const struct rte_flow_pattern_template_attr *,
    const struct rte_flow_item[], struct rte_flow_error *);
int net_emu_async_pattern_destroy(struct rte_eth_dev *,
                                  struct rte_flow_pattern_template *,
                                  struct rte_flow_error *);
struct rte_flow_actions_template *net_emu_async_actions_create(
    struct rte_eth_dev *, const struct rte_flow_actions_template_attr *,
    const struct rte_flow_action[], const struct rte_flow_action masks[],
    struct rte_flow_error *);
int net_emu_async_actions_destroy(struct rte_eth_dev *,
                                  struct rte_flow_actions_template *,
                                  struct rte_flow_error *);
struct rte_flow_template_table *net_emu_async_table_create(
    struct rte_eth_dev *, const struct rte_flow_template_table_attr *,
    struct rte_flow_pattern_template *[], uint8_t n_patterns,
    struct rte_flow_actions_template *[], uint8_t n_actions,
    struct rte_flow_error *);
int net_emu_async_table_destroy(struct rte_eth_dev *,
                                struct rte_flow_template_table *,
                                struct rte_flow_error *);
struct rte_flow *net_emu_async_create(
    struct rte_eth_dev *, uint32_t queue, const struct rte_flow_op_attr *,
    struct rte_flow_template_table *, const struct rte_flow_item[],
    uint8_t pattern_index, const struct rte_flow_action[],
    uint8_t actions_index, void *user_data, struct rte_flow_error *);
int net_emu_async_destroy(struct rte_eth_dev *, uint32_t queue,
                          const struct rte_flow_op_attr *, struct rte_flow *,
                          void *user_data, struct rte_flow_error *);
int net_emu_async_push(struct rte_eth_dev *, uint32_t queue,
                       struct rte_flow_error *);
int net_emu_async_pull(struct rte_eth_dev *, uint32_t queue,
                       struct rte_flow_op_result[], uint16_t n,
                       struct rte_flow_error *);

/* For operations that are done as soon as they are asked for: the former
 * returns 0 if queue 'queue_id' of 'port' has room for one, otherwise a
 * negative errno value with '*error' and rte_errno set; the latter adds its
 * result, a success.  The lock must be held. */
int net_emu_async_check(struct net_emu_port *port, uint32_t queue_id,
                        struct rte_flow_error *error);
void net_emu_async_add_result(struct net_emu_port *port, uint32_t queue_id,
                              void *user_data);

#endif /* net-emu-async.h */
