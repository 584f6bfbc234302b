/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>
#include "net-emu-ct.h"

#include <errno.h>

#include <rte_config.h>
#include <rte_flow.h>
#include <rte_flow_driver.h>

#include "net-emu-indirect.h"
#include "net-emu-private.h"
#include "net-emu-restrict.h"
#include "nic-emu-config.h"
#include "nic-emu-window.h"
#include "util.h"

/* Both sides have the same numbers. */
BUILD_ASSERT_DECL((int) NIC_EMU_WINDOW_VALID
                  == RTE_FLOW_CONNTRACK_PKT_STATE_VALID);
BUILD_ASSERT_DECL((int) NIC_EMU_WINDOW_CHANGED
                  == RTE_FLOW_CONNTRACK_PKT_STATE_CHANGED);
BUILD_ASSERT_DECL((int) NIC_EMU_WINDOW_INVALID
                  == RTE_FLOW_CONNTRACK_PKT_STATE_INVALID);
BUILD_ASSERT_DECL((int) NIC_EMU_WINDOW_DISABLED
                  == RTE_FLOW_CONNTRACK_PKT_STATE_DISABLED);
BUILD_ASSERT_DECL((int) NIC_EMU_WINDOW_BAD
                  == RTE_FLOW_CONNTRACK_PKT_STATE_BAD);
BUILD_ASSERT_DECL((int) NIC_EMU_TCP_SYN_RECV
                  == RTE_FLOW_CONNTRACK_STATE_SYN_RECV);
BUILD_ASSERT_DECL((int) NIC_EMU_TCP_TIME_WAIT
                  == RTE_FLOW_CONNTRACK_STATE_TIME_WAIT);
BUILD_ASSERT_DECL((int) NIC_EMU_WINDOW_SYN == RTE_FLOW_CONNTRACK_FLAG_SYN);
BUILD_ASSERT_DECL((int) NIC_EMU_WINDOW_RST == RTE_FLOW_CONNTRACK_FLAG_RST);

/* Scales of windows that TCP has. */
#define MAX_SCALE 14

static int
fail(struct rte_flow_error *error, int code,
     const struct rte_flow_action_handle *handle, const char *message)
{
    return rte_flow_error_set(error, code, RTE_FLOW_ERROR_TYPE_HANDLE, handle,
                              message);
}

uint32_t
net_emu_ct_max(const struct net_emu *nic)
{
    const struct nic_emu_config *config = nic_emu_hw_config(nic->hw);

    return (config->ct_module
            ? MIN(config->max_conns, net_emu_restrict_max_conns(nic)) : 0);
}

static struct nic_emu_window_dir
dir_from_rte(const struct rte_flow_tcp_dir_param *p)
{
    return (struct nic_emu_window_dir) {
        .scale = p->scale,
        .fin = p->close_initiated,
        .acked = p->last_ack_seen,
        .unacked = p->data_unacked,
        .sent_end = p->sent_end,
        .reply_end = p->reply_end,
        .max_win = p->max_win,
        .max_ack = p->max_ack,
    };
}

static struct rte_flow_tcp_dir_param
dir_to_rte(const struct nic_emu_window_dir *dir)
{
    return (struct rte_flow_tcp_dir_param) {
        .scale = dir->scale,
        .close_initiated = dir->fin,
        .last_ack_seen = dir->acked,
        .data_unacked = dir->unacked,
        .sent_end = dir->sent_end,
        .reply_end = dir->reply_end,
        .max_win = dir->max_win,
        .max_ack = dir->max_ack,
    };
}

static struct nic_emu_window_state
state_from_rte(const struct rte_flow_action_conntrack *p)
{
    return (struct nic_emu_window_state) {
        .enabled = p->enable,
        .live = p->live_connection,
        .sack = p->selective_ack,
        .challenge_ack = p->challenge_ack_passed,
        .last_reply = !p->last_direction,
        .liberal = p->liberal_mode,
        .state = (enum nic_emu_tcp_state) p->state,
        .max_ack_window = p->max_ack_window,
        .max_retransmissions = p->retransmission_limit,
        .dirs = { dir_from_rte(&p->original_dir),
                  dir_from_rte(&p->reply_dir) },
        .last_win = p->last_window,
        .last_flag = p->last_index,
        .last_seq = p->last_seq,
        .last_ack = p->last_ack,
        .last_end = p->last_end,
    };
}

/* Returns 0 if 'p' is the state of a connection for 'port'; 'cause' is what it
 * is in. */
static int
check_profile(const struct net_emu_port *port,
              const struct rte_flow_action_conntrack *p, const void *cause,
              struct rte_flow_error *error)
{
    const char *why = NULL;

    if ((unsigned int) p->state > RTE_FLOW_CONNTRACK_STATE_TIME_WAIT) {
        why = "there is no such state";
    } else if ((unsigned int) p->last_index > RTE_FLOW_CONNTRACK_FLAG_RST
               || p->last_index & (p->last_index - 1)) {
        why = "there is no such last_index";
    } else if (p->max_ack_window > MAX_SCALE) {
        why = "max_ack_window is at most 14";
    } else if (!net_emu_port_by_id(port->nic, p->peer_port)) {
        why = "the peer port is not one of this NIC";
    }
    return (why ? rte_flow_error_set(error, EINVAL,
                                     RTE_FLOW_ERROR_TYPE_ACTION_CONF, cause,
                                     why)
            : net_emu_restrict_ct(port, p, cause, error));
}

int
net_emu_ct_create(struct rte_flow_action_handle *handle,
                  const struct rte_flow_action *action,
                  struct rte_flow_error *error)
{
    const struct rte_flow_action_conntrack *profile = action->conf;
    struct net_emu *nic = handle->port->nic;
    const struct nic_emu_config *config = nic_emu_hw_config(nic->hw);
    struct nic_emu_window_state state;
    int retval;

    if (!config->ct_module) {
        return rte_flow_error_set(error, ENOTSUP, RTE_FLOW_ERROR_TYPE_ACTION,
                                  action, "the NIC has no "
                                  "connection-tracking module");
    }
    if (!profile) {
        return rte_flow_error_set(error, EINVAL, RTE_FLOW_ERROR_TYPE_ACTION,
                                  action, "the action has no configuration");
    }
    retval = check_profile(handle->port, profile, profile, error);
    if (retval) {
        return retval;
    }
    if (nic->held) {
        return rte_flow_error_set(error, EBUSY, RTE_FLOW_ERROR_TYPE_ACTION,
                                  action, "the NIC is held up");
    }
    if (nic->n_conns >= net_emu_ct_max(nic)) {
        return rte_flow_error_set(error, ENOSPC, RTE_FLOW_ERROR_TYPE_ACTION,
                                  action, "no room for more connections");
    }
    state = state_from_rte(profile);
    handle->window = nic_emu_window_create(&state, (config->profile
                                                    == NIC_EMU_HOSTILE));
    handle->peer_port = profile->peer_port;
    handle->original = profile->is_original_dir;
    nic->n_conns++;
    return 0;
}

void
net_emu_ct_destroy(struct rte_flow_action_handle *handle)
{
    nic_emu_window_free(handle->window);
    handle->port->nic->n_conns--;
}

/* Returns 0 if the NIC can be asked for the connection of 'handle'. */
static int
check_state(const struct rte_flow_action_handle *handle,
            struct rte_flow_error *error)
{
    return (handle->lost ? fail(error, EIO, handle,
                                "a reset of the NIC lost the connection")
            : handle->port->nic->held ? fail(error, EBUSY, handle,
                                             "the NIC is held up")
            : 0);
}

int
net_emu_ct_update(struct rte_flow_action_handle *handle,
                  const struct rte_flow_modify_conntrack *update,
                  struct rte_flow_error *error)
{
    const struct rte_flow_action_conntrack *profile = &update->new_ct;
    int retval = check_state(handle, error);

    if (!retval && update->state) {
        retval = check_profile(handle->port, profile, update, error);
    }
    if (retval) {
        return retval;
    }
    if (update->state) {
        struct nic_emu_window_state state = state_from_rte(profile);

        nic_emu_window_set(handle->window, &state);
        handle->peer_port = profile->peer_port;
    }
    if (update->direction) {
        handle->original = profile->is_original_dir;
    }
    return 0;
}

int
net_emu_ct_query(const struct rte_flow_action_handle *handle,
                 struct rte_flow_action_conntrack *profile,
                 struct rte_flow_error *error)
{
    struct nic_emu_window_state state;
    int retval = check_state(handle, error);

    if (retval) {
        return retval;
    }
    nic_emu_window_get(handle->window, &state);
    *profile = (struct rte_flow_action_conntrack) {
        .peer_port = handle->peer_port,
        .is_original_dir = handle->original,
        .enable = state.enabled,
        .live_connection = state.live,
        .selective_ack = state.sack,
        .challenge_ack_passed = state.challenge_ack,
        .last_direction = !state.last_reply,
        .liberal_mode = state.liberal,
        .state = (enum rte_flow_conntrack_state) state.state,
        .max_ack_window = state.max_ack_window,
        .retransmission_limit = state.max_retransmissions,
        .original_dir = dir_to_rte(&state.dirs[0]),
        .reply_dir = dir_to_rte(&state.dirs[1]),
        .last_window = state.last_win,
        .last_index = state.last_flag,
        .last_seq = state.last_seq,
        .last_ack = state.last_ack,
        .last_end = state.last_end,
    };
    return 0;
}
