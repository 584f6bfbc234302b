/* SPDX-License-Identifier: Apache-2.0 */

/* Before the first rule of a connection its sequence tracking is armed; when
 * nothing of it is in a NIC any more, it is disarmed. */

#include <config.h>
#include "tracked-conn-private.h"

#include "coverage.h"
#include "util.h"

COVERAGE_DEFINE(ct_offload_armed);
COVERAGE_DEFINE(ct_offload_disarmed);

enum offload_reason
tracked_conn_check_nic(const struct tracked_conn *tc,
                       const struct offload_nic *onic)
{
    if (tc->engine->conn_ops->timeout(tc->conn, tc->ct)
        < ENGINE_MIN_TIMEOUT_LAGS * offload_nic_stats_lag(onic)) {
        return REASON_TIMEOUT;
    }
    return tc->armed && tc->onic != onic ? REASON_OTHER_NIC : REASON_NONE;
}

enum offload_reason
tracked_conn_arm(struct tracked_conn *tc, struct offload_nic *onic)
{
    struct engine *engine = tc->engine;

    if (tc->armed) {
        return REASON_NONE;
    }
    if (!engine->conn_ops->arm(tc->conn, tc->ct)) {
        /* Not to be tried again before something happens to it: it is READY
         * again, judged, or goes. */
        tc->unarmable = true;
        engine->conn_ops->reannounce(tc->conn);
        return REASON_CLOSING;
    }
    COVERAGE_INC(ct_offload_armed);
    engine->n_armed++;
    tc->armed = true;
    tc->uncounted = false;
    memcpy(tc->before, tc->carried, sizeof tc->before);
    tc->margin_ms = MIN(ENGINE_EXPIRY_MARGIN_MS,
                        MAX(engine->conn_ops->expiration(tc->conn)
                            - engine->now_ms, 0) / 2);
    tracked_conn_occupy(tc, onic);
    /* It may have been armed by another one, and nothing else looks at it. */
    tracked_conn_set_timer(tc);
    return REASON_NONE;
}

/* Nothing of 'tc' is in a NIC any more, and its final counts are known. */
static void
disarm(struct tracked_conn *tc)
{
    struct engine *engine = tc->engine;
    struct nic_counter carried[2];

    COVERAGE_INC(ct_offload_disarmed);
    engine->n_disarmed++;
    tc->armed = false;
    tracked_conn_occupy(tc, NULL);
    conn_index_wake_successors(tc);
    /* Another NIC may have it now. */
    conn_index_wake_waiters(tc);

    if (!tc->conn) {
        return;
    }
    if (tc->used_ms) {
        engine->conn_ops->extend(tc->conn, tc->ct, tc->used_ms,
                                 engine->now_ms);
    }
    for (int dir = 0; dir < 2; dir++) {
        carried[dir] = (struct nic_counter) {
            .packets = tc->carried[dir].packets - tc->before[dir].packets,
            .bytes = tc->carried[dir].bytes - tc->before[dir].bytes,
            .used_ms = tc->used_ms,
        };
    }
    switch (engine->conn_ops->disarm(tc->conn, tc->ct,
                                     tc->uncounted ? NULL : carried,
                                     engine->now_ms)) {
    case CT_CLOSE_NONE:
        /* Whatever the reason was, it may be over. */
        if (tc->closing) {
            /* Who forged one may forge more: no handover at once. */
            tracked_conn_start_judging(tc);
        } else if (tc->idle) {
            engine->conn_ops->reannounce(tc->conn);
        } else {
            tracked_conn_mark_dirty(tc);
        }
        break;

    case CT_CLOSE_PENDING:
        tracked_conn_start_judging(tc);
        break;

    case CT_CLOSE_DONE:
    default:
        tc->closing = true;
        break;
    }
}

void
tracked_conn_settle(struct tracked_conn *tc)
{
    if (!tracked_conn_is_installed(tc)
        && !(tc->onic && tc->obj.wanted)) {
        if (tc->armed) {
            disarm(tc);
        }
        if (tc->flushed != REASON_NONE) {
            tc->flushed = REASON_NONE;
            tracked_conn_mark_dirty(tc);
        }
        if (!tc->conn) {
            tracked_conn_free(tc);
            return;
        }
    }
    tracked_conn_set_timer(tc);
}
