/* SPDX-License-Identifier: Apache-2.0 */

/* What becomes of a connection, as people see it. */

#include <config.h>
#include "engine-private.h"

#include "util.h"

bool
tracked_conn_is_carried(const struct tracked_conn *tc, int dir)
{
    const struct conn_member *member;
    const struct conn_path *cp;

    LIST_FOR_EACH (cp, conn_node, &tc->paths) {
        if (cp->dir == dir && cp->wanted && conn_path_is_present(cp)) {
            return true;
        }
    }
    LIST_FOR_EACH (member, node, &tc->memberships) {
        cp = member->path;
        if (member->dir == dir && cp->wanted && conn_path_is_present(cp)) {
            return true;
        }
    }
    return false;
}

enum offload_reason
tracked_conn_get_reason(const struct tracked_conn *tc, int dir,
                        const char **why)
{
    enum offload_reason reason = tc->reason[dir];
    const struct conn_path *cp;

    *why = NULL;
    if (tracked_conn_is_carried(tc, dir)) {
        return REASON_NONE;
    } else if (reason != REASON_NONE) {
        if (reason == tc->blocked_reason[dir]) {
            *why = tc->blocked_why[dir];
        }
        return reason;
    }

    /* A megaflow's rule may be what is missing. */
    LIST_FOR_EACH (cp, conn_node, &tc->paths) {
        if (cp->dir != dir || !cp->path->module) {
            continue;
        }
        for (size_t i = 0; i < cp->path->n_stages; i++) {
            const struct module_rule *rule = cp->path->stages[i].flow->rule;

            if (rule && nic_obj_is_gone(&rule->obj) && rule->obj.n_failed) {
                *why = rule->obj.why;
                return rule->obj.reason;
            }
        }
    }
    return REASON_PENDING;
}

const char *
tracked_conn_state_name(const struct tracked_conn *tc)
{
    bool carried[2];

    if (tc->judging) {
        return "judging";
    } else if (tc->closing && tc->armed) {
        return "withdrawing";
    } else if (tc->closing || !tc->conn) {
        return "closing";
    }
    carried[0] = tracked_conn_is_carried(tc, 0);
    carried[1] = tracked_conn_is_carried(tc, 1);
    return (carried[0] && carried[1] ? "offloaded"
            : carried[0] ? "offloaded-orig"
            : carried[1] ? "offloaded-reply"
            : "software");
}
