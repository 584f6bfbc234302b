/* SPDX-License-Identifier: Apache-2.0 */

/* What a connection's timer is for: it is about to expire, a FIN or RST is to
 * be judged, or something may be tried again. */

#include <config.h>
#include "tracked-conn-private.h"

#include <limits.h>

#include "lib/mutant.h"
#include "util.h"

void
tracked_conn_set_timer(struct tracked_conn *tc)
{
    struct engine *engine = tc->engine;
    long long int deadline_ms = LLONG_MAX;

    if (tc->judging && tc->conn) {
        /* Set when the judgement began. */
        return;
    }
    if (tc->armed && tc->conn) {
        deadline_ms = (engine->conn_ops->expiration(tc->conn)
                       - tc->margin_ms);
    }
    for (int dir = 0; dir < 2 && tc->conn; dir++) {
        if (tc->blocked_ms[dir] > engine->now_ms) {
            deadline_ms = MIN(deadline_ms, tc->blocked_ms[dir]);
        } else if (tc->reason[dir] == REASON_PENDING) {
            deadline_ms = MIN(deadline_ms, (engine->now_ms
                                            + OFFLOAD_NIC_RETRY_MIN_MS));
        } else if (tc->reason[dir] == REASON_TIMEOUT) {
            deadline_ms = MIN(deadline_ms,
                              engine->now_ms + ENGINE_RECHECK_MS);
        }
    }

    if (deadline_ms != LLONG_MAX) {
        timer_wheel_set(&engine->wheel, &tc->timer, deadline_ms);
    } else {
        timer_wheel_cancel(&engine->wheel, &tc->timer);
    }
}

void
tracked_conn_start_judging(struct tracked_conn *tc)
{
    struct engine *engine = tc->engine;

    tc->closing = tc->judging = true;
    timer_wheel_set(&engine->wheel, &tc->timer, engine->now_ms + CT_JUDGE_MS);
}

/* Looks at a connection that is about to expire, as the software knows. */
static void
watch(struct tracked_conn *tc)
{
    struct engine *engine = tc->engine;
    long long int now_ms = engine->now_ms;
    long long int expiration_ms;
    struct conn_member *member;
    struct conn_path *cp;

    LIST_FOR_EACH (cp, conn_node, &tc->paths) {
        nic_obj_read_stats(cp->path->onic, &cp->obj, now_ms);
    }
    LIST_FOR_EACH (member, node, &tc->memberships) {
        nic_obj_read_stats(member->path->path->onic, &member->path->obj,
                           now_ms);
    }
    if (tc->onic) {
        nic_obj_read_stats(tc->onic, &tc->obj, now_ms);
    }

    expiration_ms = (tc->used_ms
                     ? engine->conn_ops->extend(tc->conn, tc->ct, tc->used_ms,
                                                now_ms)
                     : engine->conn_ops->expiration(tc->conn));
    if (expiration_ms <= now_ms) {
        /* It is not found any more. */
        tc->expired = true;
        tracked_conn_mark_dirty(tc);
    } else if (expiration_ms - now_ms <= tc->margin_ms) {
        tc->idle = true;
        tracked_conn_mark_dirty(tc);
    }
}

void
tracked_conn_timeout(struct tracked_conn *tc)
{
    struct engine *engine = tc->engine;

    if (!tc->conn) {
        return;
    }
    if (tc->judging) {
        tc->judging = false;
        switch (engine->conn_ops->judge(tc->conn, tc->ct, engine->now_ms)) {
        case CT_CLOSE_NONE:
            engine->n_rejected_closes++;
            tc->closing = tc->unarmable = false;
            break;
        case CT_CLOSE_PENDING:
            tracked_conn_start_judging(tc);
            return;
        case CT_CLOSE_DONE:
        default:
            break;
        }
        tracked_conn_mark_dirty(tc);
        return;
    }
    if (tc->armed && !MUTANT(no_keepalive)
        && (engine->conn_ops->expiration(tc->conn) - engine->now_ms
            <= tc->margin_ms)) {
        watch(tc);
    }
    if (tc->reason[0] != REASON_NONE || tc->reason[1] != REASON_NONE) {
        tracked_conn_mark_dirty(tc);
    }
    tracked_conn_set_timer(tc);
}
