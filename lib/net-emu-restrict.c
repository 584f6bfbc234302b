/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>
#include "net-emu-restrict.h"

#include <errno.h>

#include "net-emu-private.h"
#include "net-emu-spec.h"
#include "packets.h"
#include "util.h"

/* Priorities of mlx5. */
#define MLX5_N_PRIORITIES 21844

/* Returns true if the pattern of 'match' has a tag at 'place'. */
static bool
matches_tag(const struct match *match, int place)
{
    return (match->wc.masks.vlans[place].tci & match->flow.vlans[place].tci
            & htons(VLAN_CFI)) != 0;
}

static int
restrict_actions(const struct net_emu_spec *spec,
                 struct rte_flow_error *error)
{
    int n_pushed = 0;

    for (size_t i = 0; i < spec->n_actions; i++) {
        const struct rte_flow_action *cause = spec->causes[i];
        const char *why = NULL;

        if (cause->type == RTE_FLOW_ACTION_TYPE_OF_PUSH_VLAN) {
            n_pushed++;
        } else if (cause->type == RTE_FLOW_ACTION_TYPE_OF_POP_VLAN) {
            n_pushed--;
        } else if (cause->type == RTE_FLOW_ACTION_TYPE_OF_SET_VLAN_PCP
                   && n_pushed <= 0) {
            why = "mlx5 does not set the PCP of tags that packets had";
        } else if (cause->type == RTE_FLOW_ACTION_TYPE_MODIFY_FIELD
                   && spec->actions[i].set.field == NIC_FIELD_VLAN_TCI) {
            why = "mlx5 does not set VLAN IDs with MODIFY_FIELD";
        }
        if (why) {
            return rte_flow_error_set(error, ENOTSUP,
                                      RTE_FLOW_ERROR_TYPE_ACTION, cause, why);
        }
    }
    return 0;
}

int
net_emu_restrict(const struct net_emu_port *port, struct net_emu_spec *spec,
                 const struct rte_flow_attr *attr,
                 struct rte_flow_error *error)
{
    struct match *match = &spec->match;

    if (port->nic->restriction != NET_EMU_RESTRICT_MLX5) {
        return 0;
    }
    if (spec->priority >= MLX5_N_PRIORITIES) {
        return rte_flow_error_set(error, ENOTSUP,
                                  RTE_FLOW_ERROR_TYPE_ATTR_PRIORITY, attr,
                                  "mlx5 has priorities 0 to 21843");
    }
    if (spec->n_vlan_items > 1) {
        return rte_flow_error_set(error, ENOTSUP, RTE_FLOW_ERROR_TYPE_ITEM,
                                  NULL, "mlx5 has one VLAN item");
    }
    if (matches_tag(match, 0)
        && !(match->wc.masks.vlans[1].tci & htons(VLAN_CFI))
        && match->flow.vlans[0].tpid != htons(ETH_TYPE_VLAN_8021AD)) {
        match->wc.masks.vlans[1].tci |= htons(VLAN_CFI);
    }
    return restrict_actions(spec, error);
}

void
net_emu_restrict_source(const struct net_emu_port *port,
                        struct net_emu_spec *spec)
{
    if (port->nic->restriction == NET_EMU_RESTRICT_MLX5
        && !spec->has_port_item) {
        spec->in = port;
        spec->in_port = port->wire_id;
    }
}
