/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>
#include "engine-private.h"

#include <limits.h>

#include "hash.h"
#include "lib/mutant.h"
#include "util.h"

void
megaflow_count_installed(struct megaflow *flow, int delta)
{
    unsigned int n;

    /* Only the engine writes it. */
    atomic_read_relaxed(&flow->n_installed, &n);
    ovs_assert(delta >= 0 || n >= -delta);
    atomic_store_relaxed(&flow->n_installed, n + delta);
}

static uint32_t
path_hash(const struct offload_nic *onic, const struct path_chain *chain,
          ovs_be16 dl_type, uint8_t nw_proto)
{
    uint32_t hash = hash_pointer(onic, nw_proto);

    for (size_t i = 0; i < chain->n; i++) {
        hash = hash_pointer(chain->flows[i], hash);
    }
    for (size_t i = 0; i < chain->n_cts; i++) {
        hash = hash_add(hash, chain->cts[i].parts);
    }
    return hash_int((OVS_FORCE uint16_t) dl_type, hash);
}

static bool
path_is(const struct path *path, const struct offload_nic *onic,
        const struct path_chain *chain, ovs_be16 dl_type, uint8_t nw_proto)
{
    if (path->onic != onic || path->module != onic->module
        || path->n_stages != chain->n || path->n_cts != chain->n_cts
        || path->dl_type != dl_type || path->nw_proto != nw_proto) {
        return false;
    }
    for (size_t i = 0; i < chain->n_cts; i++) {
        if (path->parts[i] != chain->cts[i].parts) {
            return false;
        }
    }
    for (size_t i = 0; i < chain->n; i++) {
        if (path->stages[i].flow != chain->flows[i]) {
            return false;
        }
    }
    return true;
}

/* Resolves ports for compilation. */
struct port_ctx {
    const struct engine *engine;
    const struct offload_nic *onic;
    uint32_t dp;
};

static nic_port_id
resolve_port(odp_port_t odp_port, void *ctx_)
{
    const struct port_ctx *ctx = ctx_;
    const struct offload_port *port = engine_find_port(ctx->engine, ctx->dp,
                                                       odp_port);

    return (port && port->onic == ctx->onic
            && (port->ct_offload || MUTANT(port_setting_ignored))
            ? port->id : NIC_PORT_NONE);
}

static enum offload_reason
resolve_egress(uint32_t id, uint64_t *handle, void *ctx_)
{
    const struct port_ctx *ctx = ctx_;
    const char *why;

    switch (egress_view_get(ctx->onic->egress, id, handle, &why)) {
    case EGRESS_VIEW_READY:
        return REASON_NONE;
    case EGRESS_VIEW_PENDING:
        return REASON_PENDING;
    case EGRESS_VIEW_UNKNOWN:
        return REASON_BOND;
    case EGRESS_VIEW_UNREACHABLE:
        return REASON_UNREACHABLE;
    case EGRESS_VIEW_REFUSED:
    default:
        return REASON_NIC_REFUSED;
    }
}

/* Rules of module mode. */

static void
module_rule_free(struct module_rule *rule)
{
    ovs_assert(nic_obj_is_gone(&rule->obj) && !rule->n_users);
    if (!ovs_list_is_empty(&rule->failed_node)) {
        ovs_list_remove(&rule->failed_node);
    }
    rule->flow->rule = NULL;
    nic_template_unref(rule->template);
    free(rule);
}

/* Takes a share in the rule of 'flow', created if necessary.  Returns
 * REASON_NONE or what is in the way, and then, if it is the NIC that says so,
 * its words in '*nic_says'. */
static enum offload_reason
module_rule_get(struct engine *engine, struct offload_nic *onic,
                struct megaflow *flow, const char **nic_says)
{
    struct port_ctx ctx = {
        .engine = engine,
        .onic = onic,
        .dp = flow->dp,
    };
    const struct path_resolver resolver = {
        .port = resolve_port,
        .egress = resolve_egress,
        .aux = &ctx,
    };
    struct module_rule *rule = flow->rule;
    struct nic_template *template;
    enum offload_reason reason;

    if (rule && rule->failed) {
        *nic_says = rule->why;
        return rule->reason;
    }
    if (rule && (rule->n_users || rule->obj.wanted)) {
        rule->n_users++;
        return REASON_NONE;
    }
    if (rule && rule->onic != onic) {
        /* Still being removed from another NIC. */
        return REASON_PENDING;
    }

    template = path_compile_module(flow, &resolver, &reason);
    if (!template) {
        return reason;
    }
    *nic_says = onic->nic->class->check_template(onic->nic, template);
    if (*nic_says) {
        nic_template_unref(template);
        return REASON_NIC_REFUSED;
    }

    if (!rule) {
        rule = xzalloc(sizeof *rule);
        nic_obj_init(&rule->obj, NIC_OBJ_MODULE_RULE);
        rule->flow = flow;
        rule->onic = onic;
        rule->engine = engine;
        ovs_list_init(&rule->failed_node);
        flow->rule = rule;
    }
    nic_template_unref(rule->template);
    rule->template = template;
    rule->n_users = 1;

    /* If the old one is still there, it must go first: see
     * module_rule_changed(). */
    rule->outdated = !nic_obj_is_gone(&rule->obj);
    nic_obj_set_wanted(onic, &rule->obj, !rule->outdated, engine->now_ms);
    return REASON_NONE;
}

/* Nobody uses 'rule' any more.  May free it. */
static void
module_rule_drop(struct engine *engine, struct module_rule *rule)
{
    nic_obj_set_wanted(rule->onic, &rule->obj, false, engine->now_ms);
    if (nic_obj_is_gone(&rule->obj)) {
        module_rule_free(rule);
    }
}

static void
module_rule_put(struct engine *engine, struct megaflow *flow)
{
    struct module_rule *rule = flow->rule;

    ovs_assert(rule && rule->n_users);
    if (!--rule->n_users && !rule->failed) {
        module_rule_drop(engine, rule);
    }
}

static void
kill_through(struct engine *engine, struct megaflow *flow)
{
    while (!ovs_list_is_empty(&flow->stages)) {
        struct path_stage *stage = CONTAINER_OF(ovs_list_front(&flow->stages),
                                                struct path_stage, node);
        struct path *path = stage->path;

        path_kill(engine, path);
        path_release(engine, path);
    }
}

/* The NIC did not take 'rule'.  It may be a passing fault: one failure is
 * forgiven. */
static void
module_rule_fail(struct module_rule *rule)
{
    ovs_list_push_back(&rule->engine->failed_rules, &rule->failed_node);
    if (rule->obj.refused || rule->obj.n_failed > 1) {
        rule->failed = true;
        rule->reason = rule->obj.reason;
        rule->why = rule->obj.why;
        kill_through(rule->engine, rule->flow);
    }
}

/* 'rule' had failed and is in the NIC now.  It goes again if nobody wants it
 * any more, see module_rules_retry(). */
static void
module_rule_recover(struct module_rule *rule)
{
    rule->failed = false;
    ovs_list_push_back(&rule->engine->failed_rules, &rule->failed_node);
    tracked_conn_wake_waiters(rule->engine, rule->flow);
}

/* Forgets that 'rule' failed. */
static void
module_rule_forget(struct module_rule *rule)
{
    struct engine *engine = rule->engine;
    struct megaflow *flow = rule->flow;

    rule->failed = false;
    module_rule_drop(engine, rule);
    tracked_conn_wake_waiters(engine, flow);
}

void
module_rules_forget_failed(struct engine *engine)
{
    struct module_rule *rule;

    LIST_FOR_EACH_SAFE (rule, failed_node, &engine->failed_rules) {
        if (rule->failed) {
            module_rule_forget(rule);
        }
    }
}

void
module_rule_changed(struct module_rule *rule)
{
    struct engine *engine = rule->engine;
    bool present = rule->obj.state == NIC_OBJ_PRESENT;

    if (present != rule->counted) {
        megaflow_count_installed(rule->flow, present ? 1 : -1);
        rule->counted = present;
    }
    if (!ovs_list_is_empty(&rule->failed_node)) {
        ovs_list_remove(&rule->failed_node);
        ovs_list_init(&rule->failed_node);
    }
    if (present && rule->failed) {
        module_rule_recover(rule);
    }
    if (!nic_obj_is_gone(&rule->obj)) {
        return;
    }

    if (!rule->n_users && !rule->failed) {
        module_rule_free(rule);
        return;
    }
    if (rule->outdated) {
        rule->outdated = false;
        nic_obj_set_wanted(rule->onic, &rule->obj, true, engine->now_ms);
        if (rule->obj.n_failed) {
            /* The outdated one failed: the NIC is not asked at once. */
            ovs_list_push_back(&engine->failed_rules, &rule->failed_node);
        }
    } else if (rule->obj.n_failed) {
        module_rule_fail(rule);
    }
}

long long int
module_rules_retry(struct engine *engine)
{
    long long int wake_ms = LLONG_MAX;
    struct module_rule *rule;

    LIST_FOR_EACH_SAFE (rule, failed_node, &engine->failed_rules) {
        if (rule->obj.state == NIC_OBJ_PRESENT) {
            /* Those that waited for it have seen it when nothing is dirty. */
            if (rule->n_users || ovs_list_is_empty(&engine->dirty)) {
                ovs_list_remove(&rule->failed_node);
                ovs_list_init(&rule->failed_node);
                if (!rule->n_users) {
                    module_rule_drop(engine, rule);
                }
            }
        } else if (rule->failed
                   && ovs_list_is_empty(&rule->flow->slot->waiters)) {
            module_rule_forget(rule);
        } else if (engine->now_ms >= rule->obj.retry_ms) {
            ovs_list_remove(&rule->failed_node);
            ovs_list_init(&rule->failed_node);
            rule->obj.refused = false;
            nic_obj_retry(rule->onic, &rule->obj, engine->now_ms);
        } else {
            wake_ms = MIN(wake_ms, rule->obj.retry_ms);
        }
    }
    return wake_ms;
}

/* Paths. */

struct path *
path_get(struct engine *engine, struct offload_nic *onic,
         const struct path_chain *chain, ovs_be16 dl_type, uint8_t nw_proto,
         enum offload_reason *reason, const char **nic_says)
{
    uint32_t hash = path_hash(onic, chain, dl_type, nw_proto);
    struct nic_template *template = NULL;
    int byte_deltas[PATH_MAX_STAGES];
    struct path *path;

    *nic_says = NULL;
    HMAP_FOR_EACH_WITH_HASH (path, node, hash, &engine->paths) {
        if (path_is(path, onic, chain, dl_type, nw_proto)) {
            return path;
        }
    }

    if (onic->module) {
        for (size_t i = 0; i < chain->n; i++) {
            *reason = module_rule_get(engine, onic, chain->flows[i],
                                      nic_says);
            if (*reason != REASON_NONE) {
                while (i--) {
                    module_rule_put(engine, chain->flows[i]);
                }
                return NULL;
            }
        }
    } else {
        struct port_ctx ctx = {
            .engine = engine,
            .onic = onic,
            .dp = chain->flows[0]->dp,
        };
        const struct path_resolver resolver = {
            .port = resolve_port,
            .egress = resolve_egress,
            .aux = &ctx,
        };
        const struct megaflow *culprit;

        template = path_compile_flat(chain, dl_type, nw_proto, &resolver,
                                     byte_deltas, reason, &culprit);
        if (!template) {
            return NULL;
        }
        *nic_says = onic->nic->class->check_template(onic->nic, template);
        if (*nic_says) {
            nic_template_unref(template);
            *reason = REASON_NIC_REFUSED;
            return NULL;
        }
    }

    path = xzalloc(sizeof *path + chain->n * sizeof path->stages[0]);
    path->live = true;
    path->onic = onic;
    path->module = onic->module;
    path->dl_type = dl_type;
    path->nw_proto = nw_proto;
    path->template = template;
    ovs_list_init(&path->uses);
    path->n_cts = chain->n_cts;
    for (size_t i = 0; i < chain->n_cts; i++) {
        path->parts[i] = chain->cts[i].parts;
    }
    path->n_stages = chain->n;
    for (size_t i = 0; i < chain->n; i++) {
        struct path_stage *stage = &path->stages[i];

        stage->path = path;
        stage->flow = chain->flows[i];
        stage->byte_delta = path->module ? 0 : byte_deltas[i];
        stage->flow->n_paths++;
        ovs_list_push_back(&stage->flow->stages, &stage->node);
    }
    hmap_insert(&engine->paths, &path->node, hash);
    return path;
}

void
path_kill(struct engine *engine, struct path *path)
{
    struct conn_path *use;

    ovs_assert(path->live);
    path->live = false;
    hmap_remove(&engine->paths, &path->node);
    for (size_t i = 0; i < path->n_stages; i++) {
        ovs_list_remove(&path->stages[i].node);
        if (path->module) {
            module_rule_put(engine, path->stages[i].flow);
        }
    }
    LIST_FOR_EACH (use, path_node, &path->uses) {
        tracked_conn_mark_dirty(use->conn);
    }
}

void
path_release(struct engine *engine, struct path *path)
{
    if (!ovs_list_is_empty(&path->uses) || path->n_retired) {
        return;
    }
    if (path->live) {
        path_kill(engine, path);
    }
    for (size_t i = 0; i < path->n_stages; i++) {
        path->stages[i].flow->n_paths--;
    }
    nic_template_unref(path->template);
    free(path);
}

void
path_kill_all(struct engine *engine, struct megaflow *flow)
{
    const struct module_rule *rule;

    kill_through(engine, flow);
    rule = flow->rule;
    if (rule && rule->failed) {
        module_rule_forget(flow->rule);
    }
}
