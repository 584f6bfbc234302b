/* SPDX-License-Identifier: Apache-2.0 */

#ifndef NET_EMU_SPEC_H
#define NET_EMU_SPEC_H 1

/* rte_flow's patterns and actions as the emulated NIC's rules
 * ===========================================================
 *
 * What a rule says, translated from the form of rte_flow into that of
 * nic-rule.h.  Whatever would not be done exactly as asked is refused, with
 * the exact item or action as cause in 'struct rte_flow_error'.
 *
 * The functions return 0, or a negative errno value as rte_flow's do, with
 * '*error' and rte_errno set.
 *
 * Thread-safety: functions of their arguments, and of ports that exist. */

#include <stdbool.h>
#include <stdint.h>

#include <rte_config.h>
#include <rte_flow.h>

#include "nic-rule.h"

struct net_emu;
struct net_emu_port;

struct net_emu_spec {
    uint32_t group;
    uint32_t priority;

    nic_port_id in_port;                /* NIC_PORT_ANY if none is named. */
    const struct net_emu_port *in;      /* Null if none is named. */
    bool has_port_item;                 /* Even if it names none. */
    bool from_software;                 /* Matches what 'in' sends. */
    int n_vlan_items;
    struct match match;

    size_t n_actions;
    struct nic_action actions[NIC_MAX_ACTIONS];
    const struct rte_flow_action *causes[NIC_MAX_ACTIONS];
    bool counts;                        /* Can be asked for its counter. */
    struct rte_flow_action_handle *shared;  /* Shared counter, or null. */
    struct rte_flow_action_handle *conn;    /* Conntrack action, or null. */
};

/* Translates 'attr'. */
int net_emu_spec_attr(struct net_emu *nic, struct net_emu_spec *spec,
                      const struct rte_flow_attr *attr,
                      struct rte_flow_error *error);

/* Translates 'pattern'. */
int net_emu_spec_pattern(struct net_emu *nic, struct net_emu_spec *spec,
                         const struct rte_flow_item pattern[],
                         struct rte_flow_error *error);

/* Translates 'actions' of a rule whose pattern is translated. */
int net_emu_spec_actions(struct net_emu *nic, struct net_emu_spec *spec,
                         const struct rte_flow_action actions[],
                         struct rte_flow_error *error);

/* All three. */
int net_emu_spec_init(struct net_emu *nic, struct net_emu_spec *spec,
                      const struct rte_flow_attr *attr,
                      const struct rte_flow_item pattern[],
                      const struct rte_flow_action actions[],
                      struct rte_flow_error *error);

/* Returns a new template for the rule. */
struct nic_template *net_emu_spec_template(const struct net_emu_spec *spec);

#endif /* net-emu-spec.h */
