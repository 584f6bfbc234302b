/* SPDX-License-Identifier: Apache-2.0 */

#ifndef NET_EMU_CT_H
#define NET_EMU_CT_H 1

/* Connection tracking of net_emu
 * ==============================
 *
 * A conntrack action is a window of the emulated NIC (nic-emu-window.h) in the
 * form of rte_flow: an indirect action that rules of both directions use.  Its
 * 'is_original_dir', when a rule is created, is the direction of that rule.
 * RTE_FLOW_ITEM_TYPE_CONNTRACK matches the verdict in a later group; its flags
 * are those of nic-emu-window.h.
 *
 * The functions return 0, or a negative errno value as rte_flow's do, with
 * '*error' and rte_errno set.
 *
 * Thread-safety: the lock (net-emu-private.h) must be held. */

#include <stdint.h>

#include <rte_config.h>
#include <rte_flow.h>

struct net_emu;

/* Returns for how many connections 'nic' has room, 0 if it does not track
 * any. */
uint32_t net_emu_ct_max(const struct net_emu *nic);

/* Makes 'handle', whose port is set, what 'action' says. */
int net_emu_ct_create(struct rte_flow_action_handle *handle,
                      const struct rte_flow_action *action,
                      struct rte_flow_error *error);

/* Undoes that. */
void net_emu_ct_destroy(struct rte_flow_action_handle *handle);

/* Updates and queries 'handle'. */
int net_emu_ct_update(struct rte_flow_action_handle *handle,
                      const struct rte_flow_modify_conntrack *update,
                      struct rte_flow_error *error);
int net_emu_ct_query(const struct rte_flow_action_handle *handle,
                     struct rte_flow_action_conntrack *profile,
                     struct rte_flow_error *error);

#endif /* net-emu-ct.h */
