/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>
#include "tracked-conn-private.h"

#include <limits.h>
#include <string.h>

#include "lib/mutant.h"
#include "util.h"

void
tracked_conn_mark_dirty(struct tracked_conn *tc)
{
    if (ovs_list_is_empty(&tc->dirty_node)) {
        ovs_list_push_back(&tc->engine->dirty, &tc->dirty_node);
        tc->engine->n_dirty++;
    }
}

static void
set_reason(struct tracked_conn *tc, enum offload_reason reason)
{
    tc->reason[0] = tc->reason[1] = reason;
}

bool
tracked_conn_is_installed(const struct tracked_conn *tc)
{
    return (!ovs_list_is_empty(&tc->paths)
            || !ovs_list_is_empty(&tc->memberships)
            || !nic_obj_is_gone(&tc->obj));
}

/* Nothing of 'tc' should be in a NIC. */
static void
want_nothing(struct tracked_conn *tc)
{
    struct conn_member *member;
    struct conn_path *cp;

    LIST_FOR_EACH_SAFE (cp, conn_node, &tc->paths) {
        conn_path_set_wanted(cp, false);
    }
restart:
    LIST_FOR_EACH (member, node, &tc->memberships) {
        if (member->path->wanted) {
            /* Its leader finds something else, or a reason. */
            tracked_conn_mark_dirty(member->path->conn);
            if (!conn_path_set_wanted(member->path, false)) {
                goto restart;
            }
        }
    }
    conn_obj_update(tc);
}

enum offload_reason
tracked_conn_check(const struct tracked_conn *tc)
{
    const struct engine *engine = tc->engine;

    if (!engine->config.enabled) {
        return REASON_DISABLED;
    }
    switch ((enum ct_obstacle) tc->obstacle) {
    case CT_OBSTACLE_NONE:
        break;
    case CT_OBSTACLE_ALG:
        if (MUTANT(helper_ignored)) {
            break;
        }
        return REASON_ALG;
    case CT_OBSTACLE_PROTO:
    default:
        return REASON_PROTO;
    }
    if (tc->expired) {
        return REASON_EXPIRED;
    }
    if (tc->closing || tc->judging || tc->unarmable || !tc->conn) {
        return REASON_CLOSING;
    }
    if (tc->idle) {
        return REASON_IDLE;
    }
    if (conn_index_find_predecessor(tc)) {
        return REASON_SUCCESSOR;
    }
    if (tc->flushed != REASON_NONE) {
        return tc->flushed;
    }
    if (tc->obj_blocked_ms > engine->now_ms) {
        return tc->blocked_reason[0];
    }
    return REASON_NONE;
}

/* Reverses the direction of 'tuple'. */
static struct nic_tuple
tuple_reverse(const struct nic_tuple *tuple)
{
    return (struct nic_tuple) {
        .src = tuple->dst,
        .dst = tuple->src,
        .tp_src = tuple->tp_dst,
        .tp_dst = tuple->tp_src,
    };
}

void
tracked_conn_get_translated(const struct tracked_conn *tc, int dir,
                            struct nic_tuple *tuple)
{
    /* The other direction answers to what this one is translated to. */
    *tuple = tuple_reverse(&tc->tuple[!dir]);
}

void
conn_obj_update(struct tracked_conn *tc)
{
    const struct conn_member *member;
    const struct conn_path *cp;
    bool wanted = false;

    if (!tc->onic) {
        return;
    }
    LIST_FOR_EACH (cp, conn_node, &tc->paths) {
        wanted = wanted || (cp->wanted && cp->path->module);
    }
    LIST_FOR_EACH (member, node, &tc->memberships) {
        wanted = wanted || (member->path->wanted
                            && member->path->path->module);
    }
    if (nic_obj_is_gone(&tc->obj)) {
        tc->obj_outdated = false;
    }
    nic_obj_set_wanted(tc->onic, &tc->obj, wanted && !tc->obj_outdated,
                       tc->engine->now_ms);
}

void
tracked_conn_recompute(struct tracked_conn *tc)
{
    enum offload_reason reason = tracked_conn_check(tc);
    struct conn_path *cp;

    tracked_conn_clear_waits(tc);
    if (tc->news || reason != tc->checked) {
        tc->news = false;
        tc->checked = reason;
        conn_index_wake_waiters(tc);
    }

    if (reason != REASON_NONE) {
        set_reason(tc, reason);
        if (!MUTANT(withdrawal_skipped) || tc->conn) {
            want_nothing(tc);
        }
    } else {
        LIST_FOR_EACH (cp, conn_node, &tc->paths) {
            cp->wanted = false;
        }
        tracked_conn_compose(tc, 0);
        tracked_conn_compose(tc, 1);
        LIST_FOR_EACH_SAFE (cp, conn_node, &tc->paths) {
            if (!cp->wanted) {
                conn_path_set_wanted(cp, false);
            }
        }
        LIST_FOR_EACH_SAFE (cp, conn_node, &tc->paths) {
            if (cp->wanted && !conn_path_is_draining(tc, cp->dir)) {
                conn_path_set_wanted(cp, true);
            }
        }
        conn_obj_update(tc);
    }
    tracked_conn_settle(tc);
}

/* 'obj' could not be added: the connection does without direction 'dir' for
 * some time. */
static void
block(struct tracked_conn *tc, int dir, const struct nic_obj *obj)
{
    long long int delay_ms = MIN((long long int) OFFLOAD_NIC_RETRY_MIN_MS
                                 << MIN(tc->n_failed, 16),
                                 OFFLOAD_NIC_RETRY_MAX_MS);

    if (MUTANT(blocked_forever)) {
        delay_ms = LLONG_MAX / 2;
    }
    tc->blocked_ms[dir] = tc->engine->now_ms + delay_ms;
    tc->blocked_reason[dir] = tc->reason[dir] = obj->reason;
    tc->blocked_why[dir] = obj->why;
}

/* Returns true if the NIC has everything of 'tc' that it should have. */
static bool
is_complete(const struct tracked_conn *tc)
{
    const struct conn_path *cp;

    LIST_FOR_EACH (cp, conn_node, &tc->paths) {
        if (cp->wanted && !cp->path->module
            && cp->obj.state != NIC_OBJ_PRESENT) {
            return false;
        }
    }
    return (tc->blocked_ms[0] <= tc->engine->now_ms
            && tc->blocked_ms[1] <= tc->engine->now_ms);
}

void
tracked_conn_obj_changed(struct tracked_conn *tc, struct nic_obj *obj)
{
    bool present = obj->state == NIC_OBJ_PRESENT;
    bool failed = nic_obj_is_gone(obj) && obj->n_failed;

    if (failed && tc->n_failed < UINT8_MAX) {
        tc->n_failed++;
    } else if (present && is_complete(tc)) {
        /* Of several rules one may fail again and again. */
        tc->n_failed = 0;
    }

    if (obj->kind == NIC_OBJ_FLAT_RULE) {
        struct conn_path *cp = CONTAINER_OF(obj, struct conn_path, obj);

        if (failed) {
            block(tc, cp->dir, obj);
            cp->wanted = false;
        }
        if (!conn_path_obj_changed(cp) && !ovs_list_is_empty(&tc->paths)) {
            /* Another may have waited for it. */
            tracked_conn_mark_dirty(tc);
        }
    } else if (failed) {
        block(tc, 0, obj);
        block(tc, 1, obj);
        tc->obj_blocked_ms = tc->blocked_ms[0];
        tracked_conn_mark_dirty(tc);
    } else if (nic_obj_is_gone(obj) && tc->obj_outdated) {
        conn_obj_update(tc);
    }
    tracked_conn_settle(tc);
}

/* Notes the mark and label that 'event' tells. */
static void
set_metadata(struct tracked_conn *tc, const struct ct_event *event)
{
    struct conn_member *member;

    if (MUTANT(change_ignored)
        || (tc->mark == event->mark
            && ovs_u128_equals(tc->label, event->label))) {
        return;
    }
    tc->mark = event->mark;
    tc->label = event->label;
    tc->news = true;
    LIST_FOR_EACH (member, node, &tc->memberships) {
        tracked_conn_mark_dirty(member->path->conn);
    }
    if (!nic_obj_is_gone(&tc->obj)) {
        /* An object is replaced, not changed. */
        tc->obj_outdated = true;
    }
}

/* Creates or updates the connection that 'event' announces. */
static void
handle_ready(struct engine *engine, const struct ct_event *event)
{
    struct tracked_conn *tc = conn_index_find_id(engine, event->id);

    engine->n_ready++;
    if (!tc) {
        tc = xzalloc(sizeof *tc);
        tc->engine = engine;
        tc->id = event->id;
        ovs_list_init(&tc->dirty_node);
        timer_node_init(&tc->timer);
        nic_obj_init(&tc->obj, NIC_OBJ_CONN);
        ovs_list_init(&tc->paths);
        ovs_list_init(&tc->memberships);
        ovs_list_init(&tc->waits);
        ovs_list_init(&tc->tuple_waits);
        ovs_list_init(&tc->retired);
        ovs_list_init(&tc->room_node);
        tc->ct = event->ct;
        tc->dp = dp_registry_find(event->ct);
        tc->zone = event->zone;
        tc->dl_type = event->dl_type;
        tc->nw_proto = event->nw_proto;
        tc->tuple[0] = event->tuple[0];
        tc->tuple[1] = event->tuple[1];
        memcpy(tc->nat_parts, event->nat_parts, sizeof tc->nat_parts);
        if (MUTANT(nat_parts_swapped)) {
            tc->nat_parts[0] = event->nat_parts[1];
            tc->nat_parts[1] = event->nat_parts[0];
        }
        if (MUTANT(reply_not_translated)) {
            tc->nat_parts[1] = 0;
        }
        memcpy(tc->nat_state, event->nat_state, sizeof tc->nat_state);
        tc->mark = event->mark;
        tc->label = event->label;
        conn_index_insert(tc);
    }
    set_metadata(tc, event);
    tc->news = true;
    tc->conn = event->conn;
    tc->obstacle = event->obstacle;
    tc->ingress[0] = event->ingress[0];
    tc->ingress[1] = event->ingress[1];
    if (!tc->armed) {
        tc->closing = tc->judging = false;
    }
    tc->idle = tc->unarmable = false;
    tracked_conn_mark_dirty(tc);
}

void
tracked_conn_event(struct engine *engine, struct ct_event *event)
{
    struct tracked_conn *tc;

    if (MUTANT(label_cut)) {
        event->label.u64.hi = 0;
    }
    if (MUTANT(ids_reused)) {
        event->id &= 0x3f;
    }
    if (event->type == CT_EVENT_READY) {
        handle_ready(engine, event);
    } else if ((tc = conn_index_find_id(engine, event->id)) != NULL) {
        switch (event->type) {
        case CT_EVENT_CLOSING:
            tc->closing = true;
            if (!tc->armed) {
                tracked_conn_start_judging(tc);
            }
            break;
        case CT_EVENT_EXPIRED:
            tc->expired = true;
            break;
        case CT_EVENT_REMOVED:
            if (!MUTANT(removal_ignored)) {
                tc->conn = NULL;
            }
            break;
        case CT_EVENT_CHANGED:
            set_metadata(tc, event);
            break;
        case CT_EVENT_READY:
        default:
            break;
        }
        tracked_conn_mark_dirty(tc);
    }
    free(event);
}

void
tracked_conn_free(struct tracked_conn *tc)
{
    struct engine *engine = tc->engine;

    ovs_assert(!tracked_conn_is_installed(tc));
    tracked_conn_occupy(tc, NULL);
    tracked_conn_clear_waits(tc);
    retired_paths_forget(tc);
    timer_wheel_cancel(&engine->wheel, &tc->timer);
    if (!ovs_list_is_empty(&tc->dirty_node)) {
        ovs_list_remove(&tc->dirty_node);
        engine->n_dirty--;
    }
    conn_index_remove(tc);
    free(tc);
}

void
tracked_conn_account(struct tracked_conn *tc, int dir, uint64_t packets,
                     uint64_t bytes, long long int used_ms)
{
    tc->carried[dir].packets += packets;
    tc->carried[dir].bytes += bytes;
    tc->used_ms = MAX(tc->used_ms, used_ms);
}

void
tracked_conn_lost(struct tracked_conn *tc)
{
    tc->uncounted = true;
}
