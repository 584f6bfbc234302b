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
 * One thing the guide does not say, only the driver's source
 * (flow_dv_translate() in mlx5_flow_dv.c):
 *
 *   - a rule of rte_flow_create() without an item for ports, in any group,
 *     matches only packets that entered by the port that it was created on.
 *     An item for ports that names none makes it one for all.
 *
 * Nothing else is restricted. */

#include <rte_config.h>
#include <rte_flow.h>

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

#endif /* net-emu-restrict.h */
