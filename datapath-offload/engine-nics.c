/* SPDX-License-Identifier: Apache-2.0 */

/* NICs and datapath ports that belong to them. */

#include <config.h>
#include "engine-private.h"

#include <string.h>

#include "hash.h"
#include "lib/mutant.h"
#include "odp-util.h"
#include "util.h"

static uint32_t
port_hash(uint32_t dp, odp_port_t odp_port)
{
    return hash_2words(dp, odp_to_u32(odp_port));
}

struct offload_port *
engine_find_port(const struct engine *engine, uint32_t dp,
                 odp_port_t odp_port)
{
    struct offload_port *port;

    HMAP_FOR_EACH_WITH_HASH (port, node, port_hash(dp, odp_port),
                             &engine->ports) {
        if (port->dp == dp && port->odp_port == odp_port) {
            return port;
        }
    }
    return NULL;
}

struct offload_nic *
engine_find_nic(const struct engine *engine, const struct nic *nic)
{
    struct offload_nic *onic;

    LIST_FOR_EACH (onic, node, &engine->nics) {
        if (onic->nic == nic) {
            return onic;
        }
    }
    return NULL;
}

/* Returns true if 'path' was compiled with datapath port 'odp_port'. */
static bool
path_uses_port(const struct path *path, uint32_t dp, odp_port_t odp_port)
{
    const struct megaflow *first = path->stages[0].flow;

    if (first->dp != dp) {
        return false;
    } else if (first->slot->in_port == odp_port) {
        return true;
    }
    for (size_t i = 0; i < path->n_stages; i++) {
        const struct megaflow *flow = path->stages[i].flow;
        const struct megaflow_program *program = flow->program;

        for (size_t j = 0; j < program->n_ops; j++) {
            if (program->ops[j].type == MEGAFLOW_OP_OUTPUT
                && program->ops[j].port == odp_port) {
                return true;
            }
        }
    }
    return false;
}

/* Something that paths were compiled with has changed: 'onic' if it is not
 * null, or else datapath port 'odp_port' of 'dp'.  Makes connections use
 * others instead. */
static void
kill_paths(struct engine *engine, const struct offload_nic *onic, uint32_t dp,
           odp_port_t odp_port)
{
    struct path *path;

    module_rules_forget_failed(engine);
    HMAP_FOR_EACH_SAFE (path, node, &engine->paths) {
        if (onic ? path->onic == onic : path_uses_port(path, dp, odp_port)) {
            path_kill(engine, path);
            path_release(engine, path);
        }
    }
}

/* The ports of 'onic' have changed. */
static void
set_egress_ports(struct engine *engine, struct offload_nic *onic)
{
    struct egress_nic_port *ports;
    const struct offload_port *port;
    size_t n = 0;

    ports = xmalloc(MAX(hmap_count(&engine->ports), 1) * sizeof *ports);
    HMAP_FOR_EACH (port, node, &engine->ports) {
        if (port->onic == onic) {
            ports[n].odp_port = port->odp_port;
            ports[n++].id = port->id;
        }
    }
    egress_view_set_ports(onic->egress, ports, n);
    free(ports);
}

void
engine_set_mode(struct engine *engine, struct offload_nic *onic)
{
    bool module = (engine->config.mode != ENGINE_MODE_FLAT
                   && onic->caps.ct_module);

    if (onic->module != module) {
        onic->module = module;
        kill_paths(engine, onic, 0, ODPP_NONE);
    }
}

/* What 'onic' can do may have changed. */
static void
read_caps(struct engine *engine, struct offload_nic *onic)
{
    onic->nic->class->get_caps(onic->nic, &onic->caps);
    egress_view_caps_changed(onic->egress);
    engine_set_mode(engine, onic);
}

static void
fill_op(const struct nic_obj *obj, struct nic_op *op, void *engine OVS_UNUSED)
{
    if (obj->kind == NIC_OBJ_FLAT_RULE) {
        const struct conn_path *cp = CONTAINER_OF(obj, struct conn_path, obj);

        op->rule.template = cp->path->template;
        conn_path_get_values(cp, &op->rule.values);
    } else if (obj->kind == NIC_OBJ_MODULE_RULE) {
        const struct module_rule *rule = CONTAINER_OF(obj, struct module_rule,
                                                      obj);

        op->rule.template = rule->template;
        memset(&op->rule.values, 0, sizeof op->rule.values);
    } else {
        const struct tracked_conn *tc = CONTAINER_OF(obj, struct tracked_conn,
                                                     obj);

        memset(&op->conn, 0, sizeof op->conn);
        op->conn.dl_type = tc->dl_type;
        op->conn.nw_proto = tc->nw_proto;
        op->conn.zone = tc->zone;
        op->conn.mark = tc->mark;
        op->conn.label = tc->label;
        for (int dir = 0; dir < 2; dir++) {
            op->conn.tuple[dir] = tc->tuple[dir];
            op->conn.nat_parts[dir] = tc->nat_parts[dir];
            op->conn.nat_state[dir] = tc->nat_state[dir];
            if (tc->nat_parts[dir]) {
                tracked_conn_get_translated(tc, dir,
                                            &op->conn.translated[dir]);
            }
        }
    }
}

static void
account(struct nic_obj *obj, int dir, uint64_t packets, uint64_t bytes,
        long long int used_ms, void *engine OVS_UNUSED)
{
    if (obj->kind == NIC_OBJ_MODULE_RULE) {
        struct module_rule *rule = CONTAINER_OF(obj, struct module_rule, obj);

        megaflow_credit(rule->flow, packets, bytes, used_ms);
    } else if (obj->kind == NIC_OBJ_FLAT_RULE) {
        conn_path_account(CONTAINER_OF(obj, struct conn_path, obj), packets,
                          bytes, used_ms);
    } else {
        tracked_conn_account(CONTAINER_OF(obj, struct tracked_conn, obj), dir,
                             packets, bytes, used_ms);
    }
}

static void
obj_lost(struct nic_obj *obj, void *engine OVS_UNUSED)
{
    if (obj->kind == NIC_OBJ_FLAT_RULE) {
        conn_path_lost(CONTAINER_OF(obj, struct conn_path, obj));
    } else if (obj->kind == NIC_OBJ_CONN) {
        tracked_conn_lost(CONTAINER_OF(obj, struct tracked_conn, obj));
    }
}

static void
obj_changed(struct nic_obj *obj, void *engine OVS_UNUSED)
{
    switch (obj->kind) {
    case NIC_OBJ_FLAT_RULE:
        tracked_conn_obj_changed(CONTAINER_OF(obj, struct conn_path,
                                              obj)->conn, obj);
        break;
    case NIC_OBJ_MODULE_RULE:
        module_rule_changed(CONTAINER_OF(obj, struct module_rule, obj));
        break;
    case NIC_OBJ_CONN:
        tracked_conn_obj_changed(CONTAINER_OF(obj, struct tracked_conn, obj),
                                 obj);
        break;
    default:
        OVS_NOT_REACHED();
    }
}

static const struct offload_nic_ops nic_ops = {
    .fill_op = fill_op,
    .account = account,
    .lost = obj_lost,
    .changed = obj_changed,
};

void
engine_add_nic(struct engine *engine, struct nic *nic, long long int now_ms)
{
    struct offload_nic *onic = offload_nic_create(nic, &nic_ops, engine);

    engine->now_ms = now_ms;
    engine_set_mode(engine, onic);
    ovs_list_push_back(&engine->nics, &onic->node);
    egress_ids_add_nic(engine, onic);
}

void
engine_nic_changed(struct engine *engine, struct nic *nic,
                   long long int now_ms)
{
    struct offload_nic *onic = engine_find_nic(engine, nic);

    engine->now_ms = now_ms;
    if (onic) {
        read_caps(engine, onic);
        module_rules_forget_failed(engine);
        tracked_conns_withdraw_excess(engine, onic);
        engine_reconsider_unoffloaded(engine);
    }
}

void
engine_begin_remove_nic(struct engine *engine, struct nic *nic,
                        long long int now_ms)
{
    struct offload_nic *onic = engine_find_nic(engine, nic);
    struct offload_port *port;

    engine->now_ms = now_ms;
    HMAP_FOR_EACH_SAFE (port, node, &engine->ports) {
        if (port->onic == onic) {
            engine_clear_port(engine, port->dp, port->odp_port, now_ms);
        }
    }
    if (onic) {
        egress_ids_remove_nic(engine, onic);
    }
}

bool
engine_finish_remove_nic(struct engine *engine, struct nic *nic, bool force,
                         long long int now_ms)
{
    struct offload_nic *onic = engine_find_nic(engine, nic);

    engine->now_ms = now_ms;
    if (onic) {
        if (force) {
            engine_drain(engine);
            offload_nic_forget(onic, now_ms);
            egress_ids_run(engine);
            while (!ovs_list_is_empty(&engine->dirty)) {
                engine_recompute_dirty(engine);
            }
        }
        if (!offload_nic_is_settled(onic) || onic->n_present
            || egress_view_count(onic->egress)
            || onic->n_conns || !ovs_list_is_empty(&engine->dirty)) {
            return false;
        }
        ovs_list_remove(&onic->node);
        offload_nic_destroy(onic);
    }
    return true;
}

void
engine_set_port(struct engine *engine, uint32_t dp, odp_port_t odp_port,
                const char *name, struct nic *nic, nic_port_id id,
                bool ct_offload, long long int now_ms)
{
    struct offload_nic *onic = engine_find_nic(engine, nic);
    struct offload_port *port = engine_find_port(engine, dp, odp_port);
    struct offload_nic *old = port ? port->onic : NULL;

    ovs_assert(onic);
    engine->now_ms = now_ms;
    if (port && port->onic == onic && port->id == id
        && port->ct_offload == ct_offload && !strcmp(port->name, name)) {
        return;
    }

    if (!port) {
        port = xzalloc(sizeof *port);
        port->dp = dp;
        port->odp_port = odp_port;
        hmap_insert(&engine->ports, &port->node, port_hash(dp, odp_port));
    } else {
        kill_paths(engine, NULL, dp, odp_port);
    }
    free(port->name);
    port->name = xstrdup(name);
    port->onic = onic;
    port->id = id;
    port->ct_offload = ct_offload;
    read_caps(engine, onic);
    set_egress_ports(engine, onic);
    if (old && old != onic) {
        set_egress_ports(engine, old);
    }
    engine_reconsider_unoffloaded(engine);
}

void
engine_clear_port(struct engine *engine, uint32_t dp, odp_port_t odp_port,
                  long long int now_ms)
{
    struct offload_port *port = engine_find_port(engine, dp, odp_port);

    engine->now_ms = now_ms;
    if (port) {
        struct offload_nic *onic = port->onic;

        hmap_remove(&engine->ports, &port->node);
        free(port->name);
        free(port);
        set_egress_ports(engine, onic);
        if (!MUTANT(port_removal_ignored)) {
            kill_paths(engine, NULL, dp, odp_port);
        }
        tracked_conns_wake_room_waiters(onic);
    }
}
