/* SPDX-License-Identifier: Apache-2.0 */

#ifndef ENGINE_INVARIANTS_H
#define ENGINE_INVARIANTS_H 1

/* What is true of the engine's structures whenever engine_step() has returned
 * and left nothing dirty.  Included by one .c file per program. */

#include "datapath-offload/engine-private.h"
#include "nic-test.h"

/* As Check's assertions, for what is checked millions of times: those make a
 * system call also if nothing is wrong. */
#define engine_assert(EXPR)                     \
    do {                                        \
        if (!(EXPR)) {                          \
            ck_abort_msg("%s", #EXPR);          \
        }                                       \
    } while (0)
#define engine_assert_eq(A, B)                  \
    do {                                        \
        if ((A) != (B)) {                       \
            ck_assert_int_eq(A, B);             \
        }                                       \
    } while (0)

/* The objects that should be found in one NIC. */
struct engine_census {
    size_t n_present, n_pending, n_adds, n_conns;
    long int n_installed;           /* By megaflows, less what is. */
};

static inline void
engine_count_obj(const struct nic_obj *obj, struct engine_census *census)
{
    switch (obj->state) {
    case NIC_OBJ_PRESENT:
        census->n_present++;
        /* A removal never waits, so what is here is wanted. */
        engine_assert(obj->wanted);
        break;
    case NIC_OBJ_ADDING:
    case NIC_OBJ_DELETING:
        census->n_pending++;
        break;
    case NIC_OBJ_ABSENT:
        if (!ovs_list_is_empty(&obj->todo_node)) {
            engine_assert(obj->wanted);
            census->n_adds++;
        }
        break;
    default:
        OVS_NOT_REACHED();
    }
}

/* Checks one connection. */
static inline void
engine_check_conn(struct tracked_conn *tc, struct engine_census *census)
{
    const struct conn_member *member;
    struct conn_path *cp;
    bool wanted = false;

    LIST_FOR_EACH (cp, conn_node, &tc->paths) {
        engine_assert(cp->conn == tc);
        engine_count_obj(&cp->obj, census);
        engine_assert_eq(cp->counted, cp->obj.state == NIC_OBJ_PRESENT
                                      || cp->obj.state == NIC_OBJ_DELETING);
        if (cp->counted) {
            census->n_installed -= cp->path->n_stages;
        }
        if (!cp->wanted) {
            /* It waits for the completion of its removal. */
            engine_assert(!cp->path->module);
            engine_assert(!cp->obj.wanted && !nic_obj_is_gone(&cp->obj));
            continue;
        }
        wanted = true;
        /* No rule without live connections and current megaflows. */
        engine_assert(cp->path->live);
        engine_assert(tc->conn && !tc->closing && !tc->judging && !tc->expired
                      && !tc->idle && tc->flushed == REASON_NONE);
        engine_assert(cp->path->module == cp->path->onic->module);
        engine_assert(cp->path->onic == tc->onic);
        if (!cp->path->module && !cp->obj.wanted) {
            engine_assert(conn_path_is_draining(tc, cp->dir));
        }
        for (size_t i = 0; i < cp->path->n_stages; i++) {
            engine_assert(cp->path->stages[i].flow->live);
        }
        for (size_t i = 0; i < cp->n_members; i++) {
            const struct tracked_conn *other = cp->members[i].conn;

            engine_assert(other->conn && !other->closing && !other->expired
                          && !other->idle && other->armed
                          && other->onic == tc->onic);
        }
    }
    LIST_FOR_EACH (member, node, &tc->memberships) {
        engine_assert(member->conn == tc);
        wanted = wanted || member->path->wanted;
    }

    /* Armed exactly while something is, or is about to be, in the NIC. */
    engine_assert_eq(tc->armed, tracked_conn_is_installed(tc) || wanted
                     || tc->obj.wanted);
    engine_assert_eq(tc->armed, tc->onic != NULL);
    engine_assert(tc->conn || tc->armed);
    engine_assert(ovs_list_is_empty(&tc->dirty_node));
    engine_count_obj(&tc->obj, census);
    census->n_conns += tc->onic != NULL;

    /* Everything that is not in the NIC has a reason. */
    for (int dir = 0; dir < 2; dir++) {
        const char *why;

        engine_assert_eq(tracked_conn_is_carried(tc, dir),
                         (tracked_conn_get_reason(tc, dir, &why)
                          == REASON_NONE));
    }
}

/* Checks a megaflow.  Adds to '*n_installed' what it counts as installed, and
 * takes away its own rule, if it has one. */
static inline void
engine_check_megaflow(struct megaflow *flow, long int *n_installed)
{
    const struct module_rule *rule = flow->rule;
    const struct path_stage *stage;
    unsigned int n_users = 0;
    unsigned int n;

    engine_assert(flow->live || ovs_list_is_empty(&flow->stages));
    LIST_FOR_EACH (stage, node, &flow->stages) {
        engine_assert(stage->path->live && stage->flow == flow);
        n_users += stage->path->module;
    }
    atomic_read_relaxed(&flow->n_installed, &n);
    *n_installed += n;
    engine_assert_eq(rule ? rule->n_users : 0, n_users);
    if (rule) {
        engine_assert(rule->n_users || rule->failed
                      || !nic_obj_is_gone(&rule->obj));
        engine_assert(!rule->failed || !n_users);
        *n_installed -= rule->counted;
    }
}

/* Checks everything.  All connections are of 'onic', the only NIC, or of
 * none. */
static inline void
engine_check_invariants(struct engine *engine, struct offload_nic *onic)
{
    struct engine_census census = { .n_present = 0 };
    struct tracked_conn *tc;
    struct mf_slot *slot;
    struct path *path;

    engine_assert_eq(engine->n_dirty, 0);
    engine_assert(ovs_list_is_empty(&engine->dirty));
    HMAP_FOR_EACH (tc, id_node, &engine->conns_by_id) {
        engine_check_conn(tc, &census);
    }
    engine_assert_eq(hmap_count(&engine->conns_by_tuple),
                     2 * hmap_count(&engine->conns_by_id));

    HMAP_FOR_EACH (path, node, &engine->paths) {
        engine_assert(path->live);
        engine_assert(!ovs_list_is_empty(&path->uses));
    }
    HMAP_FOR_EACH (slot, node, &engine->mirror.slots) {
        struct mf_subtable *table;
        struct megaflow *flow;

        LIST_FOR_EACH (table, node, &slot->subtables) {
            HMAP_FOR_EACH (flow, table_node, &table->flows) {
                engine_check_megaflow(flow, &census.n_installed);
            }
        }
        LIST_FOR_EACH (flow, dead_node, &slot->dead) {
            engine_check_megaflow(flow, &census.n_installed);
        }
    }
    engine_assert_eq(census.n_installed, 0);
    engine_assert_eq(onic->n_conns, census.n_conns);
    engine_assert(onic->n_present >= census.n_present);
    engine_assert(onic->n_pending >= census.n_pending);
    engine_assert(ovs_list_is_empty(&onic->dels));
}

#endif /* engine-invariants.h */
