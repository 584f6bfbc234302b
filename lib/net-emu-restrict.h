/* SPDX-License-Identifier: Apache-2.0 */

#ifndef NET_EMU_RESTRICT_H
#define NET_EMU_RESTRICT_H 1

#include <rte_config.h>
#include <rte_flow.h>

struct net_emu_port;
struct net_emu_spec;

/* Returns 0 if a driver of the kind that the NIC was told to resemble accepts
 * the rule of 'spec' and 'attr', created on 'port'; otherwise as the functions
 * in net-emu-spec.h. */
int net_emu_restrict(const struct net_emu_port *port,
                     const struct net_emu_spec *spec,
                     const struct rte_flow_attr *attr,
                     struct rte_flow_error *error);

#endif /* net-emu-restrict.h */
