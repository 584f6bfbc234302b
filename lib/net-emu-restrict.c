/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>
#include "net-emu-restrict.h"

#include "net-emu-private.h"
#include "net-emu-spec.h"

int
net_emu_restrict(const struct net_emu_port *port OVS_UNUSED,
                 const struct net_emu_spec *spec OVS_UNUSED,
                 const struct rte_flow_attr *attr OVS_UNUSED,
                 struct rte_flow_error *error OVS_UNUSED)
{
    return 0;
}
