/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>
#include "net-emu-restrict.h"

#include <errno.h>

#include <ethdev_driver.h>

#include "net-emu-indirect.h"
#include "net-emu-private.h"
#include "net-emu-spec.h"
#include "nic-emu-window.h"
#include "packets.h"
#include "util.h"

/* Priorities of mlx5. */
#define MLX5_N_PRIORITIES 21844

/* Connections, and ethdevs that can have some. */
#define MLX5_MAX_CONNS (32 * 1024 * 1024)
#define MLX5_MAX_CONN_PORTS 16

static bool
is_mlx5(const struct net_emu *nic)
{
    return nic->restriction == NET_EMU_RESTRICT_MLX5;
}

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

/* The verdict's bits in a register, which a rule matches. */
static int
restrict_verdict(struct match *match, struct rte_flow_error *error)
{
    const uint32_t not_valid = NIC_EMU_WINDOW_INVALID
                               | NIC_EMU_WINDOW_DISABLED;
    uint32_t *value = &match->flow.ct_mark;
    uint32_t *mask = &match->wc.masks.ct_mark;

    if (*value & NIC_EMU_WINDOW_VALID
        && *value & (not_valid | NIC_EMU_WINDOW_BAD)) {
        return rte_flow_error_set(error, EINVAL, RTE_FLOW_ERROR_TYPE_ITEM,
                                  NULL, "mlx5 has no packets that are valid "
                                  "and are not");
    }
    if (*mask & (NIC_EMU_WINDOW_VALID | not_valid)) {
        *mask |= not_valid;
    }
    *mask &= ~NIC_EMU_WINDOW_VALID;
    *value &= *mask;
    return 0;
}

static int
restrict_conn(const struct net_emu_port *port, const struct net_emu_spec *spec,
              struct rte_flow_error *error)
{
    const struct rte_flow_action_handle *conn = spec->conn;
    const char *why
        = (!conn ? NULL
           : !spec->group ? "mlx5 has no connection tracking in group 0"
           : conn->port != port && conn->peer_port != port->port_id
           ? "mlx5 has a connection for rules of its two ports" : NULL);

    return (why ? rte_flow_error_set(error, ENOTSUP,
                                     RTE_FLOW_ERROR_TYPE_ACTION, NULL, why)
            : 0);
}

int
net_emu_restrict(const struct net_emu_port *port, struct net_emu_spec *spec,
                 const struct rte_flow_attr *attr,
                 struct rte_flow_error *error)
{
    struct match *match = &spec->match;
    int retval;

    if (!is_mlx5(port->nic)) {
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
    retval = restrict_verdict(match, error);
    retval = retval ? retval : restrict_conn(port, spec, error);
    return retval ? retval : restrict_actions(spec, error);
}

void
net_emu_restrict_source(const struct net_emu_port *port,
                        struct net_emu_spec *spec)
{
    if (is_mlx5(port->nic)
        && !spec->has_port_item) {
        spec->in = port;
        spec->in_port = port->wire_id;
    }
}

uint32_t
net_emu_restrict_max_conns(const struct net_emu *nic)
{
    return is_mlx5(nic) ? MLX5_MAX_CONNS : UINT32_MAX;
}

int
net_emu_restrict_ct(const struct net_emu_port *port,
                    const struct rte_flow_action_conntrack *profile,
                    const void *cause, struct rte_flow_error *error)
{
    if (!is_mlx5(port->nic)) {
        return 0;
    }
    if (port->port_id >= MLX5_MAX_CONN_PORTS) {
        return rte_flow_error_set(error, EINVAL,
                                  RTE_FLOW_ERROR_TYPE_UNSPECIFIED, NULL,
                                  "mlx5 has connections of ports 0 to 15");
    }
    if (profile->max_ack_window > 7 || profile->retransmission_limit > 7) {
        return rte_flow_error_set(error, EINVAL,
                                  RTE_FLOW_ERROR_TYPE_ACTION_CONF, cause,
                                  "mlx5 has 3 bits for max_ack_window and "
                                  "retransmission_limit");
    }
    return 0;
}

int
net_emu_restrict_indirect(const struct net_emu_port *port,
                          const struct rte_flow_action_handle *handle,
                          bool destroy, struct rte_flow_error *error)
{
    if (!is_mlx5(port->nic)
        || handle->type != RTE_FLOW_ACTION_TYPE_CONNTRACK) {
        return 0;
    }
    if (destroy) {
        return (rte_eth_devices[port->port_id].data->dev_started ? 0
                : rte_flow_error_set(error, EAGAIN,
                                     RTE_FLOW_ERROR_TYPE_ACTION, NULL,
                                     "mlx5 forgets connections of started "
                                     "ports only"));
    }
    return (handle->port == port ? 0
            : rte_flow_error_set(error, EACCES,
                                 RTE_FLOW_ERROR_TYPE_UNSPECIFIED, NULL,
                                 "the connection is another port's"));
}
