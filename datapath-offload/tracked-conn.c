/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>
#include "engine-private.h"

#include <limits.h>

#include "coverage.h"
#include "hash.h"
#include "util.h"

COVERAGE_DEFINE(ct_offload_armed);
COVERAGE_DEFINE(ct_offload_disarmed);

static uint32_t
tuple_bytes_hash(const struct nic_tuple *tuple)
{
    return hash_bytes(tuple, sizeof *tuple, 0);
}

/* The same for both directions, so that a connection in the opposite direction
 * finds it. */
static uint32_t
tracked_conn_tuple_hash(const struct tracked_conn *tc)
{
    return hash_3words(tuple_bytes_hash(&tc->tuple[0])
                       ^ tuple_bytes_hash(&tc->tuple[1]),
                       tc->dp, tc->zone | tc->nw_proto << 16);
}

static bool
same_tuple(const struct tracked_conn *a, const struct tracked_conn *b)
{
    return (a->dp == b->dp && a->zone == b->zone && a->dl_type == b->dl_type
            && a->nw_proto == b->nw_proto
            && ((!memcmp(&a->tuple[0], &b->tuple[0], sizeof a->tuple[0])
                 && !memcmp(&a->tuple[1], &b->tuple[1], sizeof a->tuple[1]))
                || (!memcmp(&a->tuple[0], &b->tuple[1], sizeof a->tuple[0])
                    && !memcmp(&a->tuple[1], &b->tuple[0],
                               sizeof a->tuple[1]))));
}

static struct tracked_conn *
find_conn(const struct engine *engine, uint64_t id)
{
    struct tracked_conn *tc;

    HMAP_FOR_EACH_WITH_HASH (tc, id_node, hash_uint64(id),
                             &engine->conns_by_id) {
        if (tc->id == id) {
            return tc;
        }
    }
    return NULL;
}

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

/* Returns true if something of 'tc' may be in a NIC. */
static bool
is_installed(const struct tracked_conn *tc)
{
    return !ovs_list_is_empty(&tc->paths) || !nic_obj_is_gone(&tc->obj);
}

/* Returns another connection with the tuple of 'tc' of which something may
 * still be in a NIC, or null. */
static struct tracked_conn *
find_predecessor(const struct tracked_conn *tc)
{
    struct tracked_conn *other;

    HMAP_FOR_EACH_WITH_HASH (other, tuple_node, tracked_conn_tuple_hash(tc),
                             &tc->engine->conns_by_tuple) {
        if (other != tc && same_tuple(tc, other) && is_installed(other)) {
            return other;
        }
    }
    return NULL;
}

static void
clear_waits(struct tracked_conn *tc)
{
    while (!ovs_list_is_empty(&tc->waits)) {
        struct conn_wait *wait = CONTAINER_OF(ovs_list_pop_front(&tc->waits),
                                              struct conn_wait, conn_node);

        ovs_list_remove(&wait->slot_node);
        free(wait);
    }
}

static void
add_wait(struct tracked_conn *tc, int dir, struct mf_slot *slot)
{
    struct conn_wait *wait = xmalloc(sizeof *wait);

    wait->conn = tc;
    wait->slot = slot;
    wait->dir = dir;
    ovs_list_push_back(&tc->waits, &wait->conn_node);
    ovs_list_push_back(&slot->waiters, &wait->slot_node);
}

static void
subject_of(const struct tracked_conn *tc, int dir,
           struct path_subject *subject)
{
    *subject = (struct path_subject) {
        .dp = tc->dp,
        .dl_type = tc->dl_type,
        .nw_proto = tc->nw_proto,
        .zone = tc->zone,
        .reply = dir == 1,
        .tuple = &tc->tuple[dir],
        .ingress = &tc->ingress[dir],
    };
}

void
tracked_conn_wake_waiters(struct megaflow *flow)
{
    struct conn_wait *wait;

    LIST_FOR_EACH (wait, slot_node, &flow->slot->waiters) {
        struct path_subject subject;
        struct flow_probe probe;

        /* After recirculation the state is known only to composition. */
        subject_of(wait->conn, wait->dir, &subject);
        path_probe_init(&probe, &subject);
        probe.known.recirc_id = 0;
        probe.known.ct_state = 0;
        probe.known.ct_zone = 0;
        if (megaflow_admits(flow, &probe)) {
            tracked_conn_mark_dirty(wait->conn);
        }
    }
}

static void
retired_path_free(struct retired_path *retired)
{
    struct path *path = retired->path;

    retired->conn->retired[retired->dir] = NULL;
    ovs_list_remove(&retired->node);
    path->n_retired--;
    path_release(retired->conn->engine, path);
    free(retired);
}

void
retired_paths_expire(struct engine *engine)
{
    struct retired_path *retired;

    LIST_FOR_EACH_SAFE (retired, node, &engine->retired) {
        if (engine->now_ms < retired->retired_ms + MEGAFLOW_GRACE_MS) {
            break;
        }
        retired_path_free(retired);
    }
}

/* Remembers that direction 'dir' of 'tc' took 'path', which died. */
static void
retire_path(struct tracked_conn *tc, int dir, struct path *path)
{
    struct retired_path *retired;

    if (tc->retired[dir]) {
        retired_path_free(tc->retired[dir]);
    }
    retired = xmalloc(sizeof *retired);
    retired->conn = tc;
    retired->path = path;
    retired->dir = dir;
    retired->retired_ms = tc->engine->now_ms;
    ovs_list_push_back(&tc->engine->retired, &retired->node);
    path->n_retired++;
    tc->retired[dir] = retired;
}

/* The megaflows of 'heir' take the place of those of 'path' that are dead. */
static void
succeed_path(struct path *path, struct path *heir)
{
    if (path->n_stages == heir->n_stages) {
        for (size_t i = 0; i < path->n_stages; i++) {
            megaflow_set_successor(path->stages[i].flow,
                                   heir->stages[i].flow);
        }
    }
}

static void
conn_path_free(struct conn_path *cp)
{
    struct path *path = cp->path;

    ovs_assert(nic_obj_is_gone(&cp->obj));
    if (!path->live && cp->conn->conn) {
        retire_path(cp->conn, cp->dir, path);
    }
    ovs_list_remove(&cp->conn_node);
    ovs_list_remove(&cp->path_node);
    path_release(cp->conn->engine, path);
    free(cp);
}

static void
conn_path_set_wanted(struct conn_path *cp, bool wanted)
{
    struct engine *engine = cp->conn->engine;

    cp->wanted = wanted;
    if (!cp->path->module) {
        nic_obj_set_wanted(cp->path->onic, &cp->obj, wanted, engine->now_ms);
    }
    if (!wanted && nic_obj_is_gone(&cp->obj)) {
        conn_path_free(cp);
    }
}

/* Makes direction 'dir' of 'tc' use 'path'; the caller tells the NIC. */
static void
use_path(struct tracked_conn *tc, int dir, struct path *path)
{
    struct conn_path *cp;

    LIST_FOR_EACH (cp, conn_node, &tc->paths) {
        if (cp->path == path && cp->dir == dir) {
            cp->wanted = true;
            return;
        }
    }

    /* The last path may have died just now, with its rule still there. */
    LIST_FOR_EACH (cp, conn_node, &tc->paths) {
        if (cp->dir == dir && !cp->path->live) {
            succeed_path(cp->path, path);
        }
    }
    if (tc->retired[dir]) {
        succeed_path(tc->retired[dir]->path, path);
        retired_path_free(tc->retired[dir]);
    }

    cp = xzalloc(sizeof *cp);
    nic_obj_init(&cp->obj, NIC_OBJ_FLAT_RULE);
    cp->conn = tc;
    cp->dir = dir;
    cp->path = path;
    cp->wanted = true;
    ovs_list_push_back(&tc->paths, &cp->conn_node);
    ovs_list_push_back(&path->uses, &cp->path_node);
}

/* Returns true if rules of direction 'dir' are still being removed.  Others may
 * match the same, so they must wait. */
static bool
is_draining(const struct tracked_conn *tc, int dir)
{
    const struct conn_path *cp;

    LIST_FOR_EACH (cp, conn_node, &tc->paths) {
        if (cp->dir == dir && !cp->wanted && !nic_obj_is_gone(&cp->obj)) {
            return true;
        }
    }
    return false;
}

/* Nothing of 'tc' should be in a NIC. */
static void
want_nothing(struct tracked_conn *tc)
{
    struct engine *engine = tc->engine;
    struct conn_path *cp;

    LIST_FOR_EACH_SAFE (cp, conn_node, &tc->paths) {
        conn_path_set_wanted(cp, false);
    }
    if (tc->onic) {
        nic_obj_set_wanted(tc->onic, &tc->obj, false, engine->now_ms);
    }
}

/* Returns why 'tc' must not be in a NIC whatever the megaflows are, or
 * REASON_NONE. */
static enum offload_reason
check_conn(const struct tracked_conn *tc)
{
    const struct engine *engine = tc->engine;

    if (!engine->config.enabled) {
        return REASON_DISABLED;
    }
    switch ((enum ct_obstacle) tc->obstacle) {
    case CT_OBSTACLE_NONE:
        break;
    case CT_OBSTACLE_ALG:
        return REASON_ALG;
    case CT_OBSTACLE_PROTO:
    default:
        return REASON_PROTO;
    }
    if (tc->nat) {
        return REASON_NAT;
    }
    if (tc->dl_type != htons(ETH_TYPE_IP)) {
        return REASON_IPV6;
    }
    if (tc->expired) {
        return REASON_EXPIRED;
    }
    if (tc->closing || tc->judging || !tc->conn) {
        return REASON_CLOSING;
    }
    if (tc->idle) {
        return REASON_IDLE;
    }
    if (find_predecessor(tc)) {
        return REASON_SUCCESSOR;
    }
    return REASON_NONE;
}

/* Stores in '*onicp' the NIC where packets of direction 'dir' come in.
 * Returns REASON_NONE or why not. */
static enum offload_reason
find_nic(const struct tracked_conn *tc, int dir, struct offload_nic **onicp)
{
    const struct engine *engine = tc->engine;
    const struct offload_port *port = engine_find_port(
        engine, tc->dp, tc->ingress[dir].in_port);

    *onicp = NULL;
    if (!port) {
        return REASON_NO_PORT;
    }
    if (!port->ct_offload) {
        return REASON_PORT_DISABLED;
    }
    if (engine->config.mode == ENGINE_MODE_MODULE
        && !port->onic->caps.ct_module) {
        return REASON_MODE;
    }
    *onicp = port->onic;
    return REASON_NONE;
}

/* Counts 'tc' in 'onic', or nowhere. */
static void
occupy(struct tracked_conn *tc, struct offload_nic *onic)
{
    if (tc->onic != onic) {
        if (tc->onic) {
            tc->onic->n_conns--;
        }
        tc->onic = onic;
        if (onic) {
            onic->n_conns++;
        }
    }
}

/* Returns REASON_NONE if 'tc' is armed, after trying to arm it. */
static enum offload_reason
arm(struct tracked_conn *tc, struct offload_nic *onic)
{
    struct engine *engine = tc->engine;

    if (tc->armed) {
        return tc->onic == onic ? REASON_NONE : REASON_PENDING;
    }
    if (onic->n_conns >= MIN(engine->config.max_conns, onic->module
                             ? onic->caps.max_conns
                             : onic->caps.max_rules)) {
        return REASON_MAX_CONNS;
    }
    if (!engine->conn_ops->arm(tc->conn, tc->ct)) {
        return REASON_CLOSING;
    }
    COVERAGE_INC(ct_offload_armed);
    engine->n_armed++;
    tc->armed = true;
    tc->margin_ms = MIN(ENGINE_EXPIRY_MARGIN_MS,
                        MAX(engine->conn_ops->expiration(tc->conn)
                            - engine->now_ms, 0) / 2);
    occupy(tc, onic);
    return REASON_NONE;
}

/* Finds the paths of direction 'dir' and makes 'tc' use them.  Returns their
 * number. */
static size_t
recompute_direction(struct tracked_conn *tc, int dir)
{
    struct engine *engine = tc->engine;
    enum offload_reason reason;
    struct path_subject subject;
    struct offload_nic *onic;
    struct path_set set;
    size_t n = 0;

    reason = find_nic(tc, dir, &onic);
    if (reason == REASON_NONE && tc->blocked_ms[dir] > engine->now_ms) {
        reason = tc->blocked_reason[dir];
    }
    if (reason != REASON_NONE) {
        tc->reason[dir] = reason;
        return 0;
    }

    subject_of(tc, dir, &subject);
    path_compose(&engine->mirror, &subject, &set);
    for (size_t i = 0; i < set.n_waits; i++) {
        add_wait(tc, dir, set.waits[i]);
    }
    tc->reason[dir] = set.n_chains ? REASON_NONE : set.reason;

    for (size_t i = 0; i < set.n_chains; i++) {
        const struct megaflow *culprit;
        struct path *path;

        path = path_get(engine, onic, &set.chains[i], tc->dl_type,
                        tc->nw_proto, &reason, &culprit);
        if (path) {
            reason = arm(tc, onic);
            if (reason == REASON_NONE) {
                use_path(tc, dir, path);
                n++;
            } else {
                path_release(engine, path);
            }
        }
        if (reason != REASON_NONE) {
            tc->reason[dir] = reason;
        }
    }
    if (tc->reason[dir] != REASON_NONE) {
        for (size_t i = 0; i < set.n_visited; i++) {
            add_wait(tc, dir, set.visited[i]);
        }
    }
    return n;
}

/* Sets the timer of 'tc' to the earliest thing that it waits for. */
static void
set_timer(struct tracked_conn *tc)
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
        } else if (tc->reason[dir] == REASON_MAX_CONNS
                   || tc->reason[dir] == REASON_PENDING) {
            deadline_ms = MIN(deadline_ms, (engine->now_ms
                                            + OFFLOAD_NIC_RETRY_MIN_MS));
        }
    }

    if (deadline_ms != LLONG_MAX) {
        timer_wheel_set(&engine->wheel, &tc->timer, deadline_ms);
    } else {
        timer_wheel_cancel(&engine->wheel, &tc->timer);
    }
}

void
tracked_conn_recompute(struct tracked_conn *tc)
{
    struct engine *engine = tc->engine;
    enum offload_reason reason = check_conn(tc);
    struct conn_path *cp;
    size_t n = 0;

    clear_waits(tc);
    if (tc->flushed || reason != REASON_NONE) {
        set_reason(tc, reason != REASON_NONE ? reason : REASON_PENDING);
        want_nothing(tc);
    } else {
        LIST_FOR_EACH (cp, conn_node, &tc->paths) {
            cp->wanted = false;
        }
        n += recompute_direction(tc, 0);
        n += recompute_direction(tc, 1);
        LIST_FOR_EACH_SAFE (cp, conn_node, &tc->paths) {
            if (!cp->wanted) {
                conn_path_set_wanted(cp, false);
            }
        }
        LIST_FOR_EACH (cp, conn_node, &tc->paths) {
            if (cp->wanted && !is_draining(tc, cp->dir)) {
                conn_path_set_wanted(cp, true);
            }
        }
        if (tc->onic) {
            nic_obj_set_wanted(tc->onic, &tc->obj, n && tc->onic->module,
                               engine->now_ms);
        }
    }
    tracked_conn_settle(tc);
}

/* Makes connections that waited for 'tc' to leave the NIC look again. */
static void
wake_successors(struct tracked_conn *tc)
{
    struct tracked_conn *other;

    HMAP_FOR_EACH_WITH_HASH (other, tuple_node, tracked_conn_tuple_hash(tc),
                             &tc->engine->conns_by_tuple) {
        if (other != tc && same_tuple(tc, other)) {
            tracked_conn_mark_dirty(other);
        }
    }
}

/* Waits for what follows a FIN or RST. */
static void
start_judging(struct tracked_conn *tc)
{
    struct engine *engine = tc->engine;

    tc->closing = tc->judging = true;
    timer_wheel_set(&engine->wheel, &tc->timer, engine->now_ms + CT_JUDGE_MS);
}

/* Nothing of 'tc' is in a NIC any more, and its final counts are known. */
static void
disarm(struct tracked_conn *tc)
{
    struct engine *engine = tc->engine;

    COVERAGE_INC(ct_offload_disarmed);
    engine->n_disarmed++;
    tc->armed = false;
    occupy(tc, NULL);
    wake_successors(tc);

    if (!tc->conn) {
        return;
    }
    if (tc->used_ms) {
        engine->conn_ops->extend(tc->conn, tc->ct, tc->used_ms,
                                 engine->now_ms);
    }
    switch (engine->conn_ops->disarm(tc->conn, tc->ct, engine->now_ms)) {
    case CT_CLOSE_NONE:
        /* Whatever the reason was, it may be over. */
        tc->closing = false;
        if (tc->idle) {
            engine->conn_ops->reannounce(tc->conn);
        } else {
            tracked_conn_mark_dirty(tc);
        }
        break;

    case CT_CLOSE_PENDING:
        start_judging(tc);
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
    if (!is_installed(tc)
        && !(tc->onic && tc->obj.wanted)) {
        if (tc->armed) {
            disarm(tc);
        }
        if (tc->flushed) {
            tc->flushed = false;
            tracked_conn_mark_dirty(tc);
        }
        if (!tc->conn) {
            tracked_conn_free(tc);
            return;
        }
    }
    set_timer(tc);
}

/* 'obj' could not be added: the connection does without direction 'dir' for
 * some time. */
static void
block(struct tracked_conn *tc, int dir, const struct nic_obj *obj)
{
    long long int delay_ms = MIN((long long int) OFFLOAD_NIC_RETRY_MIN_MS
                                 << MIN(tc->n_failed, 16),
                                 OFFLOAD_NIC_RETRY_MAX_MS);

    tc->blocked_ms[dir] = tc->engine->now_ms + delay_ms;
    tc->blocked_reason[dir] = tc->reason[dir] = obj->reason;
    tc->blocked_why[dir] = obj->why;
}

void
tracked_conn_obj_changed(struct tracked_conn *tc, struct nic_obj *obj)
{
    bool present = obj->state == NIC_OBJ_PRESENT;
    bool failed = nic_obj_is_gone(obj) && obj->n_failed;

    if (failed && tc->n_failed < UINT8_MAX) {
        tc->n_failed++;
    } else if (present) {
        tc->n_failed = 0;
    }

    if (obj->kind == NIC_OBJ_FLAT_RULE) {
        struct conn_path *cp = CONTAINER_OF(obj, struct conn_path, obj);

        if (present != cp->counted) {
            for (size_t i = 0; i < cp->path->n_stages; i++) {
                megaflow_count_installed(cp->path->stages[i].flow,
                                            present ? 1 : -1);
            }
            cp->counted = present;
        }
        if (failed) {
            block(tc, cp->dir, obj);
            conn_path_set_wanted(cp, false);
        } else if (!cp->wanted && nic_obj_is_gone(obj)) {
            conn_path_free(cp);
            if (!ovs_list_is_empty(&tc->paths)) {
                /* Another may have waited for it. */
                tracked_conn_mark_dirty(tc);
            }
        }
    } else if (failed) {
        block(tc, 0, obj);
        block(tc, 1, obj);
        want_nothing(tc);
    }
    tracked_conn_settle(tc);
}

/* Looks at a connection that is about to expire, as the software knows. */
static void
watch(struct tracked_conn *tc)
{
    struct engine *engine = tc->engine;
    long long int now_ms = engine->now_ms;
    long long int expiration_ms;
    struct conn_path *cp;

    LIST_FOR_EACH (cp, conn_node, &tc->paths) {
        nic_obj_read_stats(cp->path->onic, &cp->obj, now_ms);
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
            tc->closing = false;
            break;
        case CT_CLOSE_PENDING:
            start_judging(tc);
            return;
        case CT_CLOSE_DONE:
        default:
            break;
        }
        tracked_conn_mark_dirty(tc);
        return;
    }
    if (tc->armed
        && (engine->conn_ops->expiration(tc->conn) - engine->now_ms
            <= tc->margin_ms)) {
        watch(tc);
    }
    if (tc->reason[0] != REASON_NONE || tc->reason[1] != REASON_NONE) {
        tracked_conn_mark_dirty(tc);
    }
    set_timer(tc);
}

/* Creates or updates the connection that 'event' announces. */
static void
handle_ready(struct engine *engine, const struct ct_event *event)
{
    struct tracked_conn *tc = find_conn(engine, event->id);

    engine->n_ready++;
    if (!tc) {
        tc = xzalloc(sizeof *tc);
        tc->engine = engine;
        tc->id = event->id;
        ovs_list_init(&tc->dirty_node);
        timer_node_init(&tc->timer);
        nic_obj_init(&tc->obj, NIC_OBJ_CONN);
        ovs_list_init(&tc->paths);
        ovs_list_init(&tc->waits);
        tc->ct = event->ct;
        tc->dp = dp_registry_find(event->ct);
        tc->zone = event->zone;
        tc->dl_type = event->dl_type;
        tc->nw_proto = event->nw_proto;
        tc->tuple[0] = event->tuple[0];
        tc->tuple[1] = event->tuple[1];
        hmap_insert(&engine->conns_by_id, &tc->id_node, hash_uint64(tc->id));
        hmap_insert(&engine->conns_by_tuple, &tc->tuple_node,
                    tracked_conn_tuple_hash(tc));
    }
    tc->conn = event->conn;
    tc->obstacle = event->obstacle;
    tc->nat = event->nat_state[0] || event->nat_state[1];
    tc->ingress[0] = event->ingress[0];
    tc->ingress[1] = event->ingress[1];
    if (!tc->armed) {
        tc->closing = tc->judging = false;
    }
    tc->idle = false;
    tracked_conn_mark_dirty(tc);
}

void
tracked_conn_event(struct engine *engine, struct ct_event *event)
{
    struct tracked_conn *tc;

    if (event->type == CT_EVENT_READY) {
        handle_ready(engine, event);
    } else if ((tc = find_conn(engine, event->id)) != NULL) {
        switch (event->type) {
        case CT_EVENT_CLOSING:
            tc->closing = true;
            if (!tc->armed) {
                start_judging(tc);
            }
            break;
        case CT_EVENT_EXPIRED:
            tc->expired = true;
            break;
        case CT_EVENT_REMOVED:
            tc->conn = NULL;
            break;
        case CT_EVENT_CHANGED:
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

    ovs_assert(!is_installed(tc));
    occupy(tc, NULL);
    clear_waits(tc);
    for (int dir = 0; dir < 2; dir++) {
        if (tc->retired[dir]) {
            retired_path_free(tc->retired[dir]);
        }
    }
    timer_wheel_cancel(&engine->wheel, &tc->timer);
    if (!ovs_list_is_empty(&tc->dirty_node)) {
        ovs_list_remove(&tc->dirty_node);
        engine->n_dirty--;
    }
    hmap_remove(&engine->conns_by_id, &tc->id_node);
    hmap_remove(&engine->conns_by_tuple, &tc->tuple_node);
    free(tc);
}

/* Returns true if everything that 'cp' needs is in the NIC. */
static bool
conn_path_is_present(const struct conn_path *cp)
{
    const struct path *path = cp->path;

    if (!path->module) {
        return cp->obj.state == NIC_OBJ_PRESENT;
    }
    if (cp->conn->obj.state != NIC_OBJ_PRESENT) {
        return false;
    }
    for (size_t i = 0; i < path->n_stages; i++) {
        const struct module_rule *rule = path->stages[i].flow->rule;

        if (!rule || rule->obj.state != NIC_OBJ_PRESENT) {
            return false;
        }
    }
    return true;
}

bool
tracked_conn_is_carried(const struct tracked_conn *tc, int dir)
{
    const struct conn_path *cp;

    LIST_FOR_EACH (cp, conn_node, &tc->paths) {
        if (cp->dir == dir && cp->wanted && conn_path_is_present(cp)) {
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
