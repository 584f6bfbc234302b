/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>
#include "engine-private.h"

#include <limits.h>
#include <string.h>

#include "dpif.h"
#include "hash.h"
#include "lib/mutant.h"
#include "odp-util.h"
#include "openvswitch/vlog.h"
#include "util.h"

VLOG_DEFINE_THIS_MODULE(offload_engine);

/* How often dead megaflows are looked through. */
#define MIRROR_EXPIRE_MS 1000

enum megaflow_event_type {
    MEGAFLOW_PUT,
    MEGAFLOW_DEL,
    MEGAFLOW_FLUSH,
};

struct megaflow_event {
    struct mpsc_queue_node node;
    enum megaflow_event_type type;
    uint32_t dp;                    /* PUT, FLUSH. */
    ovs_u128 ufid;                  /* PUT, DEL. */
    const void *copy;               /* PUT, DEL. */
    odp_port_t in_port;             /* FLUSH. */
    struct megaflow_program program; /* PUT; owned until the mirror has it. */
    struct match match;             /* PUT; not allocated otherwise. */
};

static const struct engine_conn_ops default_conn_ops = {
    .arm = ct_conn_arm,
    .disarm = ct_conn_disarm,
    .judge = ct_conn_judge,
    .reannounce = ct_conn_reannounce,
    .expiration = ct_conn_expiration,
    .timeout = ct_conn_timeout,
    .extend = ct_conn_extend,
};

static const char *const mode_names[] = {
    [ENGINE_MODE_AUTO] = "auto",
    [ENGINE_MODE_MODULE] = "module",
    [ENGINE_MODE_FLAT] = "flat",
};

const char *
engine_mode_to_string(enum engine_mode mode)
{
    return mode_names[mode];
}

/* Stores in '*mode' the mode called 's' and returns true, or returns false if
 * there is none. */
bool
engine_mode_from_string(const char *s, enum engine_mode *mode)
{
    for (size_t i = 0; i < ARRAY_SIZE(mode_names); i++) {
        if (!strcmp(s, mode_names[i])) {
            *mode = i;
            return true;
        }
    }
    return false;
}

struct engine *
engine_create(const struct engine_conn_ops *conn_ops, long long int now_ms)
{
    struct engine *engine = xzalloc(sizeof *engine);

    ovs_mutex_init(&engine->mutex);
    mpsc_queue_init(&engine->ct_queue);
    mpsc_queue_init(&engine->mf_queue);
    atomic_init(&engine->asleep, false);
    engine->conn_ops = conn_ops ? conn_ops : &default_conn_ops;
    engine->config.max_conns = UINT_MAX;
    mf_mirror_init(&engine->mirror);
    ovs_list_init(&engine->nics);
    hmap_init(&engine->ports);
    hmap_init(&engine->paths);
    hmap_init(&engine->egress_ids);
    hmap_init(&engine->conns_by_id);
    hmap_init(&engine->conns_by_tuple);
    hmap_init(&engine->tuple_waits);
    ovs_list_init(&engine->failed_rules);
    ovs_list_init(&engine->news);
    ovs_list_init(&engine->dirty);
    ovs_list_init(&engine->retired);
    timer_wheel_init(&engine->wheel, now_ms);
    engine->now_ms = now_ms;
    return engine;
}

void
engine_lock(struct engine *engine)
    OVS_NO_THREAD_SAFETY_ANALYSIS
{
    ovs_mutex_lock(&engine->mutex);
}

void
engine_unlock(struct engine *engine)
    OVS_NO_THREAD_SAFETY_ANALYSIS
{
    ovs_mutex_unlock(&engine->mutex);
}

/* Queues. */

static void
wake(struct engine *engine)
{
    bool asleep;

    /* Pairs with the fence in engine_may_sleep(): either the engine sees what
     * was pushed, or we see that it sleeps. */
    atomic_thread_fence(memory_order_seq_cst);
    atomic_read_relaxed(&engine->asleep, &asleep);
    if (asleep) {
        atomic_store_relaxed(&engine->asleep, false);
        if (engine->wakeup) {
            engine->wakeup(engine->wakeup_aux);
        }
    }
}

void
engine_set_wakeup(struct engine *engine, void (*cb)(void *aux), void *aux)
{
    engine->wakeup = cb;
    engine->wakeup_aux = aux;
}

static void
push_mf_event(struct engine *engine, struct megaflow_event *event)
{
    mpsc_queue_insert(&engine->mf_queue, &event->node);
    wake(engine);
}

void
engine_push_megaflow(struct engine *engine, uint32_t dp, const ovs_u128 *ufid,
                     const void *copy, const struct match *match,
                     const struct nlattr *actions, size_t actions_len)
{
    struct megaflow_event *event = xmalloc(sizeof *event);

    event->type = MEGAFLOW_PUT;
    event->dp = dp;
    event->ufid = *ufid;
    event->copy = copy;
    event->match = *match;
    megaflow_program_parse(actions, actions_len, &event->program);
    push_mf_event(engine, event);
}

static struct megaflow_event *
short_mf_event(enum megaflow_event_type type, uint32_t dp)
{
    struct megaflow_event *event = xmalloc(offsetof(struct megaflow_event,
                                                    match));

    event->type = type;
    event->dp = dp;
    return event;
}

void
engine_push_megaflow_del(struct engine *engine, const ovs_u128 *ufid,
                         const void *copy)
{
    struct megaflow_event *event = short_mf_event(MEGAFLOW_DEL, 0);

    event->ufid = *ufid;
    event->copy = copy;
    push_mf_event(engine, event);
}

void
engine_push_flush(struct engine *engine, uint32_t dp, odp_port_t in_port)
{
    struct megaflow_event *event = short_mf_event(MEGAFLOW_FLUSH, dp);

    event->in_port = in_port;
    push_mf_event(engine, event);
}

void
engine_push_ct_event(struct engine *engine, struct ct_event *event)
{
    mpsc_queue_insert(&engine->ct_queue, &event->node);
    wake(engine);
}

static bool
queues_are_empty(const struct engine *engine_)
{
    struct engine *engine = CONST_CAST(struct engine *, engine_);
    bool empty;

    mpsc_queue_acquire(&engine->ct_queue);
    empty = !mpsc_queue_tail(&engine->ct_queue);
    mpsc_queue_release(&engine->ct_queue);

    mpsc_queue_acquire(&engine->mf_queue);
    empty = empty && !mpsc_queue_tail(&engine->mf_queue);
    mpsc_queue_release(&engine->mf_queue);
    return empty;
}

bool
engine_may_sleep(struct engine *engine)
{
    atomic_store_relaxed(&engine->asleep, true);
    atomic_thread_fence(memory_order_seq_cst);
    if (queues_are_empty(engine)) {
        return true;
    }
    atomic_store_relaxed(&engine->asleep, false);
    return false;
}

/* Ports and NICs. */

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

/* Looks again at the connections that are not carried by a NIC in both
 * directions: what kept them from it may have changed. */
static void
reconsider_unoffloaded(struct engine *engine)
{
    struct tracked_conn *tc;

    HMAP_FOR_EACH (tc, id_node, &engine->conns_by_id) {
        if (tc->reason[0] != REASON_NONE || tc->reason[1] != REASON_NONE) {
            memset(tc->blocked_ms, 0, sizeof tc->blocked_ms);
            tc->obj_blocked_ms = 0;
            tc->n_failed = 0;
            tracked_conn_mark_dirty(tc);
        }
    }
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

static void
run_egress(struct engine *engine)
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
        reconsider_unoffloaded(engine);
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

static void
set_mode(struct engine *engine, struct offload_nic *onic)
{
    bool module = (engine->config.mode != ENGINE_MODE_FLAT
                   && onic->caps.ct_module);

    if (onic->module != module) {
        onic->module = module;
        kill_paths(engine, onic, 0, ODPP_NONE);
    }
}

void
engine_set_config(struct engine *engine, const struct engine_config *config,
                  long long int now_ms)
{
    bool all = (engine->config.enabled != config->enabled
                || engine->config.mode != config->mode);
    struct offload_nic *onic;
    struct tracked_conn *tc;

    engine->now_ms = now_ms;
    engine->config = *config;
    LIST_FOR_EACH (onic, node, &engine->nics) {
        set_mode(engine, onic);
        tracked_conns_withdraw_excess(engine, onic);
    }
    if (all) {
        HMAP_FOR_EACH (tc, id_node, &engine->conns_by_id) {
            tracked_conn_mark_dirty(tc);
        }
    }
    reconsider_unoffloaded(engine);
}

const struct engine_config *
engine_get_config(const struct engine *engine)
{
    return &engine->config;
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
    .changed = obj_changed,
};

void
engine_add_nic(struct engine *engine, struct nic *nic, long long int now_ms)
{
    struct offload_nic *onic = offload_nic_create(nic, &nic_ops, engine);

    engine->now_ms = now_ms;
    set_mode(engine, onic);
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
        nic->class->get_caps(nic, &onic->caps);
        set_mode(engine, onic);
        module_rules_forget_failed(engine);
        tracked_conns_withdraw_excess(engine, onic);
        reconsider_unoffloaded(engine);
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
            run_egress(engine);
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
    set_egress_ports(engine, onic);
    if (old && old != onic) {
        set_egress_ports(engine, old);
    }
    reconsider_unoffloaded(engine);
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

void
engine_flush(struct engine *engine, long long int now_ms)
{
    struct tracked_conn *tc;

    engine->now_ms = now_ms;
    HMAP_FOR_EACH (tc, id_node, &engine->conns_by_id) {
        tc->flushed = REASON_PENDING;
        tracked_conn_mark_dirty(tc);
    }
}

/* Inputs. */

static void
remove_megaflow(struct engine *engine, struct megaflow *flow)
{
    path_kill_all(engine, flow);
    egress_ids_unref(engine, flow->program);
    mf_mirror_remove(&engine->mirror, flow, engine->now_ms);
    mf_mirror_bury_idle(&engine->mirror, flow);
}

/* The copies of 'flow' have changed. */
static void
update_megaflow(struct engine *engine, struct megaflow *flow)
{
    const struct megaflow_program *next = megaflow_next_program(flow);

    if (next) {
        path_kill_all(engine, flow);
        egress_ids_ref(engine, next);
        egress_ids_unref(engine, flow->program);
        megaflow_update(flow);
        tracked_conn_wake_waiters(engine, flow);
    }
}

static void
put_megaflow(struct engine *engine, struct megaflow_event *event)
{
    struct megaflow *flow;
    bool added;

    flow = mf_mirror_put(&engine->mirror, event->dp, &event->ufid,
                         event->copy, &event->match, &event->program, &added);
    if (added) {
        egress_ids_ref(engine, flow->program);
        tracked_conn_wake_waiters(engine, flow);
    } else if (!MUTANT(modify_ignored)) {
        update_megaflow(engine, flow);
    }
}

static void
drop_megaflow_copy(struct engine *engine, const ovs_u128 *ufid,
                   const void *copy)
{
    struct megaflow *flow = mf_mirror_drop_copy(&engine->mirror, ufid, copy);

    if (flow && ovs_list_is_empty(&flow->copies)) {
        remove_megaflow(engine, flow);
    } else if (flow) {
        update_megaflow(engine, flow);
    }
}

static void
flush_megaflows(struct engine *engine, uint32_t dp, odp_port_t in_port)
{
    struct megaflow *flow;

    CMAP_FOR_EACH (flow, ufid_node, &engine->mirror.by_ufid) {
        if (flow->dp == dp && flow->slot->in_port == in_port) {
            remove_megaflow(engine, flow);
        }
    }
}

static void
handle_mf_event(struct engine *engine, struct megaflow_event *event)
{
    switch (event->type) {
    case MEGAFLOW_PUT:
        put_megaflow(engine, event);
        megaflow_program_destroy(&event->program);
        break;
    case MEGAFLOW_DEL:
        if (!MUTANT(delete_ignored)) {
            drop_megaflow_copy(engine, &event->ufid, event->copy);
        }
        break;
    case MEGAFLOW_FLUSH:
        flush_megaflows(engine, event->dp, event->in_port);
        break;
    default:
        OVS_NOT_REACHED();
    }
    free(event);
}

void
engine_drain(struct engine *engine)
{
    struct mpsc_queue_node *node;

    mpsc_queue_acquire(&engine->mf_queue);
    while ((node = mpsc_queue_pop(&engine->mf_queue)) != NULL) {
        handle_mf_event(engine, CONTAINER_OF(node, struct megaflow_event,
                                             node));
    }
    mpsc_queue_release(&engine->mf_queue);

    mpsc_queue_acquire(&engine->ct_queue);
    while ((node = mpsc_queue_pop(&engine->ct_queue)) != NULL) {
        tracked_conn_event(engine, CONTAINER_OF(node, struct ct_event, node));
    }
    mpsc_queue_release(&engine->ct_queue);
}

void
engine_recompute_dirty(struct engine *engine)
{
    for (int i = 0; i < ENGINE_MAX_DIRTY; i++) {
        struct tracked_conn *tc;

        if (ovs_list_is_empty(&engine->dirty)) {
            break;
        }
        tc = CONTAINER_OF(ovs_list_pop_front(&engine->dirty),
                          struct tracked_conn, dirty_node);
        ovs_list_init(&tc->dirty_node);
        engine->n_dirty--;
        tracked_conn_recompute(tc);
    }
}

static void
timer_fired(struct timer_node *timer, void *engine OVS_UNUSED)
{
    tracked_conn_timeout(CONTAINER_OF(timer, struct tracked_conn, timer));
}

long long int
engine_step(struct engine *engine, long long int now_ms)
{
    long long int wake_ms = LLONG_MAX;
    struct offload_nic *onic;

    engine->now_ms = now_ms;
    engine->n_steps++;

    engine_drain(engine);
    LIST_FOR_EACH (onic, node, &engine->nics) {
        offload_nic_poll(onic, now_ms);
        offload_nic_read_stats(onic, now_ms);
    }
    run_egress(engine);
    timer_wheel_run(&engine->wheel, now_ms, timer_fired, engine);
    tracked_conns_tell_news(engine);
    engine_recompute_dirty(engine);
    LIST_FOR_EACH (onic, node, &engine->nics) {
        wake_ms = MIN(wake_ms, tracked_conns_fill_room(engine, onic));
    }
    wake_ms = MIN(wake_ms, module_rules_retry(engine));
    if (now_ms >= engine->expire_ms) {
        retired_paths_expire(engine);
        mf_mirror_expire(&engine->mirror, now_ms);
        engine->expire_ms = now_ms + MIRROR_EXPIRE_MS;
    }
    LIST_FOR_EACH (onic, node, &engine->nics) {
        offload_nic_submit(onic, now_ms);
    }

    if (!ovs_list_is_empty(&engine->dirty)
        || !ovs_list_is_empty(&engine->news)) {
        return now_ms;
    }
    LIST_FOR_EACH (onic, node, &engine->nics) {
        wake_ms = MIN(wake_ms, offload_nic_wake_ms(onic, now_ms));
    }
    wake_ms = MIN(wake_ms, timer_wheel_wake_ms(&engine->wheel));
    return MIN(wake_ms, now_ms + MIRROR_EXPIRE_MS);
}

bool
engine_is_settled(const struct engine *engine)
{
    const struct offload_nic *onic;

    LIST_FOR_EACH (onic, node, &engine->nics) {
        if (!offload_nic_is_settled(onic)) {
            return false;
        }
    }
    return (ovs_list_is_empty(&engine->dirty)
            && ovs_list_is_empty(&engine->news) && queues_are_empty(engine));
}

void
engine_destroy(struct engine *engine)
{
    struct tracked_conn *tc;
    struct path *path;

    if (!engine) {
        return;
    }
    ovs_assert(ovs_list_is_empty(&engine->nics));
    engine_drain(engine);
    HMAP_FOR_EACH_SAFE (path, node, &engine->paths) {
        path_kill(engine, path);
        path_release(engine, path);
    }
    HMAP_FOR_EACH_SAFE (tc, id_node, &engine->conns_by_id) {
        tracked_conn_free(tc);
    }
    mf_mirror_destroy(&engine->mirror);
    egress_ids_destroy(engine);
    timer_wheel_destroy(&engine->wheel);
    hmap_destroy(&engine->ports);
    hmap_destroy(&engine->paths);
    hmap_destroy(&engine->conns_by_id);
    hmap_destroy(&engine->conns_by_tuple);
    hmap_destroy(&engine->tuple_waits);
    mpsc_queue_destroy(&engine->ct_queue);
    mpsc_queue_destroy(&engine->mf_queue);
    ovs_mutex_destroy(&engine->mutex);
    free(engine);
}

/* Statistics. */

bool
engine_flow_stats(const struct engine *engine, uint32_t dp,
                  const ovs_u128 *ufid, unsigned int pmd_id, const void *copy,
                  bool fresh, long long int now_ms,
                  struct dpif_flow_stats *stats, bool *offloaded)
{
    struct megaflow *flow = mf_mirror_find(&engine->mirror, dp, ufid);
    unsigned int n_installed;

    if (!flow) {
        return false;
    }
    megaflow_claim(flow, pmd_id, copy, fresh, now_ms, stats);
    atomic_read_relaxed(&flow->n_installed, &n_installed);
    *offloaded = n_installed != 0;
    return true;
}

bool
engine_has_megaflow(const struct engine *engine, uint32_t dp,
                    const ovs_u128 *ufid)
{
    return mf_mirror_find(&engine->mirror, dp, ufid) != NULL;
}

unsigned int
engine_port_n_flows(const struct engine *engine, uint32_t dp,
                    odp_port_t odp_port)
{
    struct megaflow *flow;
    unsigned int n = 0;

    CMAP_FOR_EACH (flow, ufid_node, &engine->mirror.by_ufid) {
        unsigned int n_installed;

        atomic_read_relaxed(&flow->n_installed, &n_installed);
        if (n_installed && flow->dp == dp
            && flow->slot->in_port == odp_port) {
            n++;
        }
    }
    return n;
}
