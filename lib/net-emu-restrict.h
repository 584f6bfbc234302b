/* SPDX-License-Identifier: Apache-2.0 */

#ifndef NET_EMU_RESTRICT_H
#define NET_EMU_RESTRICT_H 1

/* Restrictions of a real driver
 * =============================
 *
 * With the device argument restrict=mlx5, net_emu refuses what DPDK's own
 * guide to that driver (doc/guides/nics/mlx5.rst, 22.11) says it does not
 * support, as far as net_emu would support it:
 *
 *   - priorities from 21844 on;
 *   - two VLAN items in a pattern;
 *   - a VLAN item that does not ask for more tags matches packets with exactly
 *     one, unless the EtherType before is that of a service tag;
 *   - RTE_FLOW_ACTION_TYPE_OF_SET_VLAN_PCP on a tag that the packet had;
 *   - RTE_FLOW_ACTION_TYPE_MODIFY_FIELD of a VLAN ID.
 *
 *   - connection tracking for more than 32 M connections, or by ethdevs with
 *     ids from 16 on.
 *
 * Some things the guide does not say, only the driver's source
 * (flow_dv_translate() in mlx5_flow_dv.c, and what there has "aso_ct" in its
 * name):
 *
 *   - a rule of rte_flow_create() without an item for ports, in any group,
 *     matches only packets that entered by the port that it was created on.
 *     An item for ports that names none makes it one for all;
 *   - a conntrack action is not for group 0, only for rules of the ethdev that
 *     it was created on and of its peer, updated and queried only by the
 *     former, and not destroyed while that is stopped;
 *   - its 'max_ack_window' and 'retransmission_limit' have 3 bits, which the
 *     driver does not check: here more is refused;
 *   - the verdict on a packet has no bit for VALID.  An item that asks for it
 *     asks for neither INVALID nor DISABLED, which a packet that no conntrack
 *     action has seen is as well; together with them, or with BAD, it is
 *     refused.
 *
 * Nothing else is restricted. */

#include <stdbool.h>
#include <stdint.h>

#include <rte_config.h>
#include <rte_flow.h>

struct net_emu;
struct net_emu_port;
struct net_emu_spec;

/* Returns 0 if a driver of the kind that the NIC was told to resemble accepts
 * the rule of 'spec' and 'attr', created on 'port', after making the rule what
 * that driver takes it for; otherwise as the functions in net-emu-spec.h. */
int net_emu_restrict(const struct net_emu_port *port,
                     struct net_emu_spec *spec,
                     const struct rte_flow_attr *attr,
                     struct rte_flow_error *error);

/* The same for what such a driver does to the rules of rte_flow_create(), but
 * not to those of template tables. */
void net_emu_restrict_source(const struct net_emu_port *port,
                             struct net_emu_spec *spec);

/* Returns the number of connections that such a driver has. */
uint32_t net_emu_restrict_max_conns(const struct net_emu *nic);

/* Returns 0 if such a driver accepts 'profile' for a conntrack action of
 * 'port'; 'cause' is what it is in. */
int net_emu_restrict_ct(const struct net_emu_port *port,
                        const struct rte_flow_action_conntrack *profile,
                        const void *cause, struct rte_flow_error *error);

/* Returns 0 if such a driver lets 'port' update and query 'handle', or destroy
 * it if 'destroy'. */
int net_emu_restrict_indirect(const struct net_emu_port *port,
                              const struct rte_flow_action_handle *handle,
                              bool destroy, struct rte_flow_error *error);

#endif /* net-emu-restrict.h */
