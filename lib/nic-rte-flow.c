/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>
#include "nic-rte-flow-private.h"
#include "nic-rte-flow.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <string.h>

#include "openvswitch/dynamic-string.h"
#include "openvswitch/vlog.h"
#include "ovs-thread.h"
#include "smap.h"
#include "util.h"

VLOG_DEFINE_THIS_MODULE(nic_rte_flow);

/* Opening and closing. */

static int
nic_rte_open(const char *name, const struct smap *config, struct nic **nicp,
             char **errorp)
{
    int domain = smap_get_int(config, "domain", -1);
    struct rte_flow_offer offer;
    struct nic_rte *nic;

    if (domain < 0 || domain > UINT16_MAX
        || !rte_flow_probe_domain(domain, &offer)) {
        *errorp = xstrdup("\"domain\" must be a switch domain of which a port "
                          "takes flow rules");
        return EINVAL;
    }

    nic = xzalloc(sizeof *nic);
    nic->up.class = &nic_rte_flow_class;
    nic->up.name = xstrdup(name);
    nic->domain = domain;
    atomic_init(&nic->reset, false);
    ovs_mutex_init(&nic->rule_mutex);
    ovs_mutex_init(&nic->egress_mutex);
    ovs_mutex_init(&nic->mutex);
    ovs_mutex_lock(&nic->rule_mutex);
    hmap_init(&nic->rules);
    ovs_list_init(&nic->portless);
    ovs_list_init(&nic->counters);
    ovs_list_init(&nic->draining);
    hmap_init(&nic->ports);
    ovs_mutex_lock(&nic->egress_mutex);
    ovs_mutex_lock(&nic->mutex);
    ovs_list_init(&nic->queue);
    nic->drain_ms = LLONG_MAX;
    nic->offer = offer;
    ovs_mutex_unlock(&nic->mutex);
    hmap_init(&nic->egresses);
    ovs_list_init(&nic->leftovers);
    rte_leftovers_inherit(nic);
    ovs_mutex_unlock(&nic->egress_mutex);
    ovs_mutex_unlock(&nic->rule_mutex);
    rte_nic_list_add(nic);
    *nicp = &nic->up;
    return 0;
}

static void
op_free(struct rte_op *op)
{
    if (op->op.type == NIC_OP_RULE_ADD) {
        nic_template_unref(CONST_CAST(struct nic_template *,
                                      op->op.rule.template));
    }
    free(op);
}

/* Forgets what waits to be executed. */
static void
clear_queue(struct nic_rte *nic)
    OVS_REQUIRES(nic->mutex)
{
    struct rte_op *op;

    LIST_FOR_EACH_POP (op, node, &nic->queue) {
        op_free(op);
    }
    nic->n_pending = 0;
}

/* Removes all rules and egress objects. */
static void
clear_objects(struct nic_rte *nic)
    OVS_REQUIRES(nic->rule_mutex) OVS_EXCLUDED(nic->egress_mutex)
{
    rte_rules_clear(nic);
    ovs_mutex_lock(&nic->egress_mutex);
    rte_egresses_clear(nic);
    ovs_mutex_unlock(&nic->egress_mutex);
}

static void
nic_rte_close(struct nic *nic_)
{
    struct nic_rte *nic = nic_rte_cast(nic_);

    rte_nic_list_remove(nic);
    ovs_mutex_lock(&nic->rule_mutex);
    clear_objects(nic);
    ovs_mutex_lock(&nic->egress_mutex);
    rte_leftovers_bequeath(nic);
    ovs_mutex_unlock(&nic->egress_mutex);
    ovs_mutex_unlock(&nic->rule_mutex);
    ovs_mutex_lock(&nic->mutex);
    clear_queue(nic);
    ovs_mutex_unlock(&nic->mutex);

    ovs_assert(hmap_is_empty(&nic->ports));
    hmap_destroy(&nic->rules);
    hmap_destroy(&nic->egresses);
    hmap_destroy(&nic->ports);
    ovs_mutex_destroy(&nic->rule_mutex);
    ovs_mutex_destroy(&nic->egress_mutex);
    ovs_mutex_destroy(&nic->mutex);
    free(nic->up.name);
    free(nic);
}

static int
nic_rte_reconfigure(struct nic *nic OVS_UNUSED,
                    const struct smap *config OVS_UNUSED,
                    char **errorp OVS_UNUSED)
{
    /* There is nothing to choose. */
    return 0;
}

static void
nic_rte_get_caps(const struct nic *nic_, struct nic_caps *caps)
{
    struct nic_rte *nic = nic_rte_cast(nic_);

    ovs_mutex_lock(&nic->mutex);
    *caps = (struct nic_caps) {
        .egress_object = nic->offer.egress,
        .cross_uplink = true,
        .ipv6 = nic->offer.ipv6,
        .nat = nic->offer.nat,
        .vlan = nic->offer.vlan,
        .ttl = nic->offer.ttl,
        .max_rules = UINT32_MAX,
        .stale_ms = RTE_NIC_DRIVER_STALE_MS + RTE_NIC_COUNTER_MS,
    };
    ovs_mutex_unlock(&nic->mutex);
}

static void
nic_rte_get_stats(const struct nic *nic_, struct nic_stats *stats)
{
    struct nic_rte *nic = nic_rte_cast(nic_);

    ovs_mutex_lock(&nic->mutex);
    *stats = (struct nic_stats) {
        .n_rules = nic->n_rules,
        .n_egresses = nic->n_egresses,
        .n_ops = nic->n_ops,
        .n_failed = nic->n_failed,
        .n_pending = nic->n_pending,
        .carried_packets = nic->carried_packets,
        .carried_bytes = nic->carried_bytes,
    };
    ovs_mutex_unlock(&nic->mutex);
}

/* Operations. */

static const char *
nic_rte_check_template(const struct nic *nic_,
                       const struct nic_template *template)
{
    struct nic_rte *nic = nic_rte_cast(nic_);
    const char *why;

    ovs_mutex_lock(&nic->rule_mutex);
    why = rte_rule_check(nic, template);
    ovs_mutex_unlock(&nic->rule_mutex);
    return why;
}

static void
nic_rte_submit(struct nic *nic_, const struct nic_op ops[], size_t n,
               long long int now_ms OVS_UNUSED)
{
    struct nic_rte *nic = nic_rte_cast(nic_);

    ovs_mutex_lock(&nic->mutex);
    for (size_t i = 0; i < n; i++) {
        struct rte_op *op = xmalloc(sizeof *op);

        op->op = ops[i];
        if (op->op.type == NIC_OP_RULE_ADD) {
            op->op.rule.template = nic_template_ref(op->op.rule.template);
        }
        ovs_list_push_back(&nic->queue, &op->node);
    }
    nic->n_pending += n;
    ovs_mutex_unlock(&nic->mutex);
}

/* Executes 'op'.  Returns false if its completion comes later. */
static bool
execute(struct nic_rte *nic, const struct nic_op *op,
        struct nic_completion *c, long long int now_ms)
    OVS_REQUIRES(nic->rule_mutex) OVS_EXCLUDED(nic->egress_mutex)
{
    *c = (struct nic_completion) { .type = op->type, .cookie = op->cookie };
    switch (op->type) {
    case NIC_OP_RULE_ADD:
        rte_rule_add(nic, op, c);
        break;
    case NIC_OP_RULE_DEL:
        return rte_rule_del(nic, op, c, now_ms);
    case NIC_OP_EGRESS_ADD:
        ovs_mutex_lock(&nic->egress_mutex);
        rte_egress_add(nic, op->egress_port, ++nic->last_handle, c);
        ovs_mutex_unlock(&nic->egress_mutex);
        break;
    case NIC_OP_EGRESS_SET:
        c->error = rte_egress_set(nic, op->handle, op->egress_port,
                                  &c->reason);
        break;
    case NIC_OP_EGRESS_DEL:
        ovs_mutex_lock(&nic->egress_mutex);
        rte_egress_del(nic, op->handle, c);
        ovs_mutex_unlock(&nic->egress_mutex);
        break;
    case NIC_OP_CONN_ADD:
    case NIC_OP_CONN_DEL:
        c->error = EOPNOTSUPP;
        c->reason = "connection tracking stays with the software";
        break;
    case NIC_OP_RESET:
    default:
        OVS_NOT_REACHED();
    }
    return true;
}

/* Brings statistics up to date after 'n' completions. */
static void
account(struct nic_rte *nic, const struct nic_completion completions[],
        size_t n)
    OVS_REQUIRES(nic->rule_mutex) OVS_EXCLUDED(nic->egress_mutex)
{
    size_t n_egresses;

    ovs_mutex_lock(&nic->egress_mutex);
    n_egresses = hmap_count(&nic->egresses);
    ovs_mutex_unlock(&nic->egress_mutex);

    ovs_mutex_lock(&nic->mutex);
    for (size_t i = 0; i < n; i++) {
        if (completions[i].error) {
            nic->n_failed++;
        } else {
            nic->n_ops++;
        }
    }
    nic->n_pending -= n;
    nic->drain_ms = rte_rules_drain_ms(nic);
    nic->n_rules = hmap_count(&nic->rules);
    nic->n_egresses = n_egresses;
    ovs_mutex_unlock(&nic->mutex);
}

/* Tries again, if it is time, to remove what could not be removed. */
static void
retry_leftovers(struct nic_rte *nic, long long int now_ms)
    OVS_REQUIRES(nic->rule_mutex) OVS_EXCLUDED(nic->egress_mutex)
{
    if (now_ms >= nic->retry_ms) {
        ovs_mutex_lock(&nic->egress_mutex);
        rte_leftovers_retry(nic, RTE_NIC_OPS_PER_POLL);
        ovs_mutex_unlock(&nic->egress_mutex);
        nic->retry_ms = now_ms + RTE_NIC_RETRY_MS;
    }
}

/* The device lost what it had. */
static void
lose_everything(struct nic_rte *nic)
{
    VLOG_WARN("%s: the device was reset", nic->up.name);
    ovs_mutex_lock(&nic->rule_mutex);
    rte_ports_lost(nic);
    clear_objects(nic);
    ovs_mutex_lock(&nic->mutex);
    clear_queue(nic);
    ovs_mutex_unlock(&nic->mutex);
    account(nic, NULL, 0);
    ovs_mutex_unlock(&nic->rule_mutex);
}

static size_t
nic_rte_poll(struct nic *nic_, struct nic_completion completions[],
             size_t max, long long int now_ms)
{
    struct nic_rte *nic = nic_rte_cast(nic_);
    struct ovs_list todo = OVS_LIST_INITIALIZER(&todo);
    struct rte_op *op;
    bool leftovers;
    size_t n = 0;

    if (!max) {
        return 0;
    }
    if (rte_flag_is_set(&nic->reset)) {
        atomic_store_relaxed(&nic->reset, false);
        lose_everything(nic);
        completions[0] = (struct nic_completion) { .type = NIC_OP_RESET };
        return 1;
    }

    ovs_mutex_lock(&nic->mutex);
    while (n < MIN(max, RTE_NIC_OPS_PER_POLL / 2)
           && !ovs_list_is_empty(&nic->queue)) {
        ovs_list_push_back(&todo, ovs_list_pop_front(&nic->queue));
        n++;
    }
    leftovers = nic->n_leftovers > 0;
    ovs_mutex_unlock(&nic->mutex);

    ovs_mutex_lock(&nic->rule_mutex);
    n = 0;
    LIST_FOR_EACH_POP (op, node, &todo) {
        n += execute(nic, &op->op, &completions[n], now_ms);
        op_free(op);
    }
    n += rte_rules_drain(nic, completions + n,
                         MIN(max - n, RTE_NIC_OPS_PER_POLL / 2), now_ms);
    account(nic, completions, n);
    if (leftovers) {
        retry_leftovers(nic, now_ms);
    }
    ovs_mutex_unlock(&nic->rule_mutex);
    return n;
}

static long long int
nic_rte_wake_ms(const struct nic *nic_, long long int now_ms)
{
    struct nic_rte *nic = nic_rte_cast(nic_);
    long long int wake_ms;

    ovs_mutex_lock(&nic->mutex);
    wake_ms = (!ovs_list_is_empty(&nic->queue) || rte_flag_is_set(&nic->reset)
               ? now_ms : nic->drain_ms);
    if (nic->n_leftovers) {
        wake_ms = MIN(wake_ms, nic->retry_ms);
    }
    ovs_mutex_unlock(&nic->mutex);
    return MAX(wake_ms, now_ms);
}

static int
nic_rte_egress_set(struct nic *nic, nic_handle handle, nic_port_id port,
                   const char **reasonp)
{
    return rte_egress_set(nic_rte_cast(nic), handle, port, reasonp);
}

static void
nic_rte_rule_counters(struct nic *nic_, const nic_handle handles[], size_t n,
                      struct nic_counter counters[], long long int now_ms)
{
    struct nic_rte *nic = nic_rte_cast(nic_);

    ovs_mutex_lock(&nic->rule_mutex);
    for (size_t i = 0; i < n; i++) {
        rte_rule_count(nic, handles[i], &counters[i], now_ms);
    }
    ovs_mutex_unlock(&nic->rule_mutex);
}

static void
nic_rte_conn_counters(struct nic *nic OVS_UNUSED,
                      const nic_handle handles[] OVS_UNUSED, size_t n,
                      struct nic_counter counters[][2],
                      long long int now_ms OVS_UNUSED)
{
    memset(counters, 0, n * sizeof *counters);
}

/* For people. */

static void
nic_rte_dump(struct nic *nic_,
             void (*cb)(const char *kind, nic_handle, const char *description,
                        const struct nic_counter *, void *aux),
             void *aux)
{
    struct nic_rte *nic = nic_rte_cast(nic_);
    struct ds ds = DS_EMPTY_INITIALIZER;
    const struct rte_leftover *leftover;
    const struct rte_egress *egress;
    const struct rte_rule *rule;

    ovs_mutex_lock(&nic->rule_mutex);
    HMAP_FOR_EACH (rule, node, &nic->rules) {
        ds_clear(&ds);
        ds_put_format(&ds, "ethdev=%"PRIu16",%s", rule->ethdev,
                      rule->flow ? "" : "removed,");
        nic_rule_format(rule->template, &rule->values, &ds);
        cb("rule", rule->handle, ds_cstr(&ds), &rule->counter, aux);
    }
    ovs_mutex_lock(&nic->egress_mutex);
    HMAP_FOR_EACH (egress, node, &nic->egresses) {
        const struct rte_port *port = rte_port_find(nic, egress->port);
        struct nic_counter counter = { .packets = 0 };

        ds_clear(&ds);
        ds_put_format(&ds, "ethdev=%"PRIu16",group=%"PRIu32",priority="
                      "%"PRIu32" actions=%s", egress->ethdev, egress->group,
                      egress->priority,
                      !egress->flow ? "removed" : port ? port->name : "drop");
        cb("egress", egress->handle, ds_cstr(&ds), &counter, aux);
    }
    LIST_FOR_EACH (leftover, node, &nic->leftovers) {
        struct nic_counter counter = { .packets = 0 };

        ds_clear(&ds);
        ds_put_format(&ds, "ethdev=%"PRIu16",group=%"PRIu32" a %s that could "
                      "not be removed yet", leftover->ethdev,
                      leftover->group, leftover->what);
        cb("leftover", 0, ds_cstr(&ds), &counter, aux);
    }
    ovs_mutex_unlock(&nic->egress_mutex);
    ovs_mutex_unlock(&nic->rule_mutex);
    ds_destroy(&ds);
}

const struct nic_class nic_rte_flow_class = {
    .type = "rte_flow",
    .open = nic_rte_open,
    .close = nic_rte_close,
    .reconfigure = nic_rte_reconfigure,
    .get_caps = nic_rte_get_caps,
    .get_stats = nic_rte_get_stats,
    .port_add = rte_nic_port_add,
    .port_changed = rte_nic_port_changed,
    .port_del = rte_nic_port_del,
    .check_template = nic_rte_check_template,
    .submit = nic_rte_submit,
    .poll = nic_rte_poll,
    .wake_ms = nic_rte_wake_ms,
    .egress_set = nic_rte_egress_set,
    .rule_counters = nic_rte_rule_counters,
    .conn_counters = nic_rte_conn_counters,
    .dump = nic_rte_dump,
};
