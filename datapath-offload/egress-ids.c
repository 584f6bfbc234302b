/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>
#include "engine-private.h"

#include "hash.h"
#include "util.h"

/* An id of lb_output() that live megaflows name.  Each NIC's egress view has
 * one reference to it. */
struct egress_id {
    struct hmap_node node;          /* In engine's 'egress_ids'. */
    uint32_t id;
    unsigned int n;                 /* Operations of live megaflows. */
};

static struct egress_id *
find_id(const struct engine *engine, uint32_t id)
{
    struct egress_id *eid;

    HMAP_FOR_EACH_WITH_HASH (eid, node, hash_int(id, 0),
                             &engine->egress_ids) {
        if (eid->id == id) {
            return eid;
        }
    }
    return NULL;
}

void
egress_ids_ref(struct engine *engine, const struct megaflow_program *program)
{
    for (size_t i = 0; i < program->n_ops; i++) {
        struct offload_nic *onic;
        struct egress_id *eid;

        if (program->ops[i].type != MEGAFLOW_OP_LB_OUTPUT) {
            continue;
        }
        eid = find_id(engine, program->ops[i].id);
        if (!eid) {
            eid = xzalloc(sizeof *eid);
            eid->id = program->ops[i].id;
            hmap_insert(&engine->egress_ids, &eid->node,
                        hash_int(eid->id, 0));
            LIST_FOR_EACH (onic, node, &engine->nics) {
                if (!onic->leaving) {
                    egress_view_ref(onic->egress, eid->id);
                }
            }
        }
        eid->n++;
    }
}

void
egress_ids_unref(struct engine *engine,
                 const struct megaflow_program *program)
{
    for (size_t i = 0; i < program->n_ops; i++) {
        struct offload_nic *onic;
        struct egress_id *eid;

        if (program->ops[i].type != MEGAFLOW_OP_LB_OUTPUT) {
            continue;
        }
        eid = find_id(engine, program->ops[i].id);
        if (!--eid->n) {
            LIST_FOR_EACH (onic, node, &engine->nics) {
                if (!onic->leaving) {
                    egress_view_unref(onic->egress, eid->id);
                }
            }
            hmap_remove(&engine->egress_ids, &eid->node);
            free(eid);
        }
    }
}

void
egress_ids_add_nic(struct engine *engine, struct offload_nic *onic)
{
    struct egress_id *eid;

    HMAP_FOR_EACH (eid, node, &engine->egress_ids) {
        egress_view_ref(onic->egress, eid->id);
    }
}

void
egress_ids_remove_nic(struct engine *engine, struct offload_nic *onic)
{
    struct egress_id *eid;

    if (onic->leaving) {
        return;
    }
    onic->leaving = true;
    HMAP_FOR_EACH (eid, node, &engine->egress_ids) {
        egress_view_unref(onic->egress, eid->id);
    }
}

/* Returns true if an action of 'path' is lb_output(id). */
static bool
path_uses_egress(const struct path *path, uint32_t id)
{
    for (size_t i = 0; i < path->n_stages; i++) {
        const struct megaflow_program *program;

        program = path->stages[i].flow->program;
        for (size_t j = 0; j < program->n_ops; j++) {
            if (program->ops[j].type == MEGAFLOW_OP_LB_OUTPUT
                && program->ops[j].id == id) {
                return true;
            }
        }
    }
    return false;
}

struct egress_change {
    struct engine *engine;
    struct offload_nic *onic;
    bool any;
};

/* Rules of 'onic' may, or must not, name the egress of 'id' any more. */
static void
egress_changed(uint32_t id, void *change_)
{
    struct egress_change *change = change_;
    struct engine *engine = change->engine;
    struct path *path;

    HMAP_FOR_EACH_SAFE (path, node, &engine->paths) {
        if (path->onic == change->onic && path_uses_egress(path, id)) {
            path_kill(engine, path);
            path_release(engine, path);
        }
    }
    change->any = true;
}

void
egress_ids_run(struct engine *engine)
{
    struct egress_change change = { .engine = engine };
    struct offload_nic *onic;

    LIST_FOR_EACH (onic, node, &engine->nics) {
        change.onic = onic;
        egress_view_run(onic->egress, engine->now_ms, egress_changed,
                        &change);
    }
    if (change.any) {
        module_rules_forget_failed(engine);
        engine_reconsider_unoffloaded(engine);
    }
}

void
egress_ids_destroy(struct engine *engine)
{
    struct egress_id *eid;

    HMAP_FOR_EACH_POP (eid, node, &engine->egress_ids) {
        free(eid);
    }
    hmap_destroy(&engine->egress_ids);
}
