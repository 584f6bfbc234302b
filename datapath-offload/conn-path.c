/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>
#include "engine-private.h"

#include "lib/mutant.h"
#include "util.h"

/* Retired paths. */

static void
retired_path_free(struct retired_path *retired)
{
    struct path *path = retired->path;

    ovs_list_remove(&retired->conn_node);
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

void
retired_paths_forget(struct tracked_conn *tc)
{
    struct retired_path *retired;

    LIST_FOR_EACH_SAFE (retired, conn_node, &tc->retired) {
        retired_path_free(retired);
    }
}

/* Remembers that direction 'dir' of 'tc' took 'path', which died.  It may have
 * taken PATH_MAX_CHAINS of them at a time. */
static void
retire_path(struct tracked_conn *tc, int dir, struct path *path)
{
    struct retired_path *oldest = NULL;
    struct retired_path *retired;
    size_t n = 0;

    LIST_FOR_EACH_SAFE (retired, conn_node, &tc->retired) {
        if (retired->dir != dir) {
            continue;
        }
        if (retired->path == path) {
            retired_path_free(retired);
            continue;
        }
        oldest = oldest ? oldest : retired;
        n++;
    }
    if (n >= PATH_MAX_CHAINS) {
        retired_path_free(oldest);
    }
    retired = xmalloc(sizeof *retired);
    retired->conn = tc;
    retired->path = path;
    retired->dir = dir;
    retired->retired_ms = tc->engine->now_ms;
    ovs_list_push_back(&tc->engine->retired, &retired->node);
    ovs_list_push_back(&tc->retired, &retired->conn_node);
    path->n_retired++;
}

static struct megaflow *
path_find_slot(const struct path *path, const struct mf_slot *slot)
{
    for (size_t i = 0; i < path->n_stages; i++) {
        if (path->stages[i].flow->slot == slot) {
            return path->stages[i].flow;
        }
    }
    return NULL;
}

/* The megaflows of 'heir' take the place of those of 'path' that are dead:
 * those of the same slots.  When tables are replaced packets may be
 * recirculated with other ids; then it is those at the same distance from the
 * port, if the paths have nothing but the port's slot in common. */
static void
succeed_path(struct path *path, struct path *heir)
{
    bool aligned = (path->n_stages == heir->n_stages
                    && path->stages[0].flow->slot
                       == heir->stages[0].flow->slot);

    for (size_t i = 1; i < path->n_stages; i++) {
        aligned = aligned && !path_find_slot(heir, path->stages[i].flow->slot);
    }
    for (size_t i = 0; i < path->n_stages; i++) {
        struct megaflow *flow = path->stages[i].flow;
        struct megaflow *successor;

        successor = (aligned ? heir->stages[i].flow
                     : path_find_slot(heir, flow->slot));
        if (successor) {
            megaflow_set_successor(flow, successor);
        }
    }
}

/* Paths in use. */

static void
conn_path_free(struct conn_path *cp)
{
    struct path *path = cp->path;

    ovs_assert(nic_obj_is_gone(&cp->obj));
    if (!path->live && cp->conn->conn) {
        retire_path(cp->conn, cp->dir, path);
    }
    for (size_t i = 0; i < cp->n_members; i++) {
        struct conn_member *member = &cp->members[i];

        /* It may have nothing in the NIC any more. */
        ovs_list_remove(&member->node);
        tracked_conn_mark_dirty(member->conn);
    }
    ovs_list_remove(&cp->conn_node);
    ovs_list_remove(&cp->path_node);
    path_release(cp->conn->engine, path);
    free(cp->tuples);
    free(cp);
}

bool
conn_path_set_wanted(struct conn_path *cp, bool wanted)
{
    struct engine *engine = cp->conn->engine;

    cp->wanted = wanted;
    if (!cp->path->module) {
        nic_obj_set_wanted(cp->path->onic, &cp->obj, wanted, engine->now_ms);
    }
    for (size_t i = 0; i < cp->n_members; i++) {
        conn_obj_update(cp->members[i].conn);
    }
    if (!wanted && nic_obj_is_gone(&cp->obj)) {
        conn_path_free(cp);
        return false;
    }
    return true;
}

bool
conn_path_obj_changed(struct conn_path *cp)
{
    bool present = cp->obj.state == NIC_OBJ_PRESENT;

    if (present != cp->counted) {
        for (size_t i = 0; i < cp->path->n_stages; i++) {
            megaflow_count_installed(cp->path->stages[i].flow,
                                     present ? 1 : -1);
        }
        cp->counted = present;
    }
    if (!cp->wanted && nic_obj_is_gone(&cp->obj)) {
        conn_path_free(cp);
        return false;
    }
    return true;
}

/* Stores in 'members' the connections of 'chain' other than 'tc', once each in
 * each direction, and returns their number. */
static size_t
get_members(const struct tracked_conn *tc, const struct path_chain *chain,
            struct path_ct members[PATH_MAX_CTS])
{
    size_t n = 0;

    for (size_t i = 0; i < chain->n_cts; i++) {
        const struct path_ct *ct = &chain->cts[i];
        bool known = ct->conn == tc;

        for (size_t j = 0; j < n && !known; j++) {
            known = (members[j].conn == ct->conn
                     && members[j].reply == ct->reply);
        }
        if (!known) {
            members[n++] = *ct;
        }
    }
    return n;
}

static bool
conn_path_is(const struct conn_path *cp, int dir, const struct path *path,
             const struct path_ct members[], size_t n_members,
             const struct nic_tuple tuples[2])
{
    if (cp->dir != dir || cp->path != path || cp->n_members != n_members) {
        return false;
    }
    if (path->template) {
        struct nic_values values;

        conn_path_get_values(cp, &values);
        if (memcmp(&values.tuple, &tuples[0], sizeof values.tuple)
            || (path->template->slots & NIC_SLOT_REWRITE
                && memcmp(&values.rewrite, &tuples[1],
                          sizeof values.rewrite))) {
            return false;
        }
    }
    for (size_t i = 0; i < n_members; i++) {
        if (cp->members[i].conn != members[i].conn
            || cp->members[i].dir != members[i].reply) {
            return false;
        }
    }
    return true;
}

/* Returns how many of 'tc' and the 'n' connections of 'members' are not armed
 * yet. */
static size_t
count_unarmed(const struct tracked_conn *tc, const struct path_ct members[],
              size_t n)
{
    size_t n_unarmed = !tc->armed;

    for (size_t i = 0; i < n; i++) {
        const struct tracked_conn *member = members[i].conn;
        bool known = member->armed;

        /* A connection may be there once for each direction. */
        for (size_t j = 0; j < i && !known; j++) {
            known = members[j].conn == member;
        }
        n_unarmed += !known;
    }
    return n_unarmed;
}

/* Arms 'tc', the leader, and the 'n' connections of 'members', or, if that is
 * not possible for all of them, as far as can be told before, none. */
static enum offload_reason
arm_all(struct tracked_conn *tc, struct offload_nic *onic,
        const struct path_ct members[], size_t n)
{
    enum offload_reason reason;
    size_t n_unarmed = count_unarmed(tc, members, n);
    bool was_armed[PATH_MAX_CTS];
    size_t i;

    reason = tracked_conn_check_nic(tc, onic);
    for (i = 0; i < n && reason == REASON_NONE; i++) {
        reason = tracked_conn_check_nic(members[i].conn, onic);
    }
    if (reason != REASON_NONE) {
        return reason;
    }
    if (n_unarmed && !tracked_conn_has_room(tc->engine, onic, n_unarmed)) {
        return REASON_MAX_CONNS;
    }
    for (i = 0; i < n && reason == REASON_NONE; i++) {
        const struct tracked_conn *member = members[i].conn;

        was_armed[i] = member->armed;
        reason = tracked_conn_arm(members[i].conn, onic);
    }
    if (reason == REASON_NONE) {
        reason = tracked_conn_arm(tc, onic);
    }
    if (reason != REASON_NONE) {
        while (i--) {
            const struct tracked_conn *member = members[i].conn;

            if (member->armed != was_armed[i] || member->unarmable) {
                /* It was armed for nothing, or has another reason now. */
                tracked_conn_mark_dirty(members[i].conn);
            }
        }
    }
    return reason;
}

enum offload_reason
conn_path_use(struct tracked_conn *tc, int dir, struct path *path,
              const struct path_chain *chain)
{
    const struct nic_tuple tuples[2] = { chain->tuple, chain->rewrite };
    struct path_ct members[PATH_MAX_CTS];
    size_t n = get_members(tc, chain, members);
    const struct retired_path *retired;
    enum offload_reason reason;
    struct conn_path *cp;

    reason = (MUTANT(reply_not_armed) && dir ? REASON_NONE
              : arm_all(tc, path->onic, members, n));
    if (reason != REASON_NONE) {
        return reason;
    }

    LIST_FOR_EACH (cp, conn_node, &tc->paths) {
        if (conn_path_is(cp, dir, path, members, n, tuples)) {
            cp->wanted = true;
            return REASON_NONE;
        }
    }

    /* The last path may have died just now, with its rule still there. */
    LIST_FOR_EACH (cp, conn_node, &tc->paths) {
        if (cp->dir == dir && !cp->path->live) {
            succeed_path(cp->path, path);
        }
    }
    LIST_FOR_EACH (retired, conn_node, &tc->retired) {
        if (retired->dir == dir) {
            succeed_path(retired->path, path);
        }
    }

    cp = xzalloc(sizeof *cp + n * sizeof *cp->members);
    nic_obj_init(&cp->obj, NIC_OBJ_FLAT_RULE);
    cp->conn = tc;
    cp->dir = dir;
    cp->path = path;
    cp->wanted = true;
    if (path->template
        && (path->template->slots & NIC_SLOT_REWRITE
            || memcmp(&tuples[0], &tc->tuple[dir], sizeof tuples[0]))) {
        cp->tuples = xmemdup(tuples, sizeof tuples);
    }
    cp->n_members = n;
    for (size_t i = 0; i < n; i++) {
        struct conn_member *member = &cp->members[i];

        member->path = cp;
        member->conn = members[i].conn;
        member->dir = members[i].reply;
        ovs_list_push_back(&member->conn->memberships, &member->node);
    }
    ovs_list_push_back(&tc->paths, &cp->conn_node);
    ovs_list_push_back(&path->uses, &cp->path_node);
    return REASON_NONE;
}

void
conn_path_get_values(const struct conn_path *cp, struct nic_values *values)
{
    memset(values, 0, sizeof *values);
    values->tuple = cp->tuples ? cp->tuples[0] : cp->conn->tuple[cp->dir];
    if (cp->path->template->slots & NIC_SLOT_REWRITE) {
        values->rewrite = cp->tuples[1];
    }
}

bool
conn_path_is_draining(const struct tracked_conn *tc, int dir)
{
    const struct conn_path *cp;

    LIST_FOR_EACH (cp, conn_node, &tc->paths) {
        if (cp->dir == dir && !cp->wanted && !nic_obj_is_gone(&cp->obj)) {
            return true;
        }
    }
    return false;
}

bool
conn_path_is_present(const struct conn_path *cp)
{
    const struct path *path = cp->path;

    if (!path->module) {
        return cp->obj.state == NIC_OBJ_PRESENT;
    }
    if (cp->conn->obj.state != NIC_OBJ_PRESENT) {
        return false;
    }
    for (size_t i = 0; i < cp->n_members; i++) {
        if (cp->members[i].conn->obj.state != NIC_OBJ_PRESENT) {
            return false;
        }
    }
    for (size_t i = 0; i < path->n_stages; i++) {
        const struct module_rule *rule = path->stages[i].flow->rule;

        if (!rule || rule->obj.state != NIC_OBJ_PRESENT) {
            return false;
        }
    }
    return true;
}

void
conn_path_lost(struct conn_path *cp)
{
    tracked_conn_lost(cp->conn);
    for (size_t i = 0; i < cp->n_members; i++) {
        tracked_conn_lost(cp->members[i].conn);
    }
}

void
conn_path_account(struct conn_path *cp, uint64_t packets, uint64_t bytes,
                  long long int used_ms)
{
    for (size_t i = 0; i < cp->path->n_stages; i++) {
        const struct path_stage *stage = &cp->path->stages[i];

        megaflow_credit(stage->flow, packets,
                        MUTANT(bytes_as_received) ? bytes
                        : bytes + packets * stage->byte_delta, used_ms);
    }
    tracked_conn_account(cp->conn, cp->dir, packets, bytes, used_ms);
    for (size_t i = 0; i < cp->n_members; i++) {
        tracked_conn_account(cp->members[i].conn, cp->members[i].dir, packets,
                             bytes, used_ms);
    }
}
