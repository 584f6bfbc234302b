/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>
#include "net-emu-flow.h"

#include <errno.h>
#include <time.h>

#include <rte_config.h>
#include <ethdev_driver.h>
#include <rte_flow_driver.h>

#include "net-emu-async.h"
#include "net-emu-indirect.h"
#include "net-emu-private.h"
#include "net-emu-restrict.h"
#include "net-emu-spec.h"
#include "openvswitch/dynamic-string.h"
#include "util.h"

/* A removal that fails is tried as often when the port goes. */
#define MAX_TRIES 1000

static int
fail(struct rte_flow_error *error, int code, const void *cause,
     const char *message)
{
    return rte_flow_error_set(error, code,
                              (cause ? RTE_FLOW_ERROR_TYPE_HANDLE
                               : RTE_FLOW_ERROR_TYPE_UNSPECIFIED),
                              cause, message);
}

/* Operations. */

void
net_emu_advance(struct net_emu *nic, long long int now_ms)
{
    struct nic_completion c;

    while (nic_emu_hw_poll(nic->hw, &c, 1, now_ms)) {
        struct net_emu_op *op = (struct net_emu_op *) (uintptr_t) c.cookie;

        if (c.type == NIC_OP_RESET) {
            net_emu_flows_lost(nic);
            net_emu_indirect_lost(nic);
            net_emu_async_reset(nic);
            continue;
        }
        if (!c.error) {
            op->flow->handle = c.type == NIC_OP_RULE_ADD ? c.handle : 0;
        }
        op->completion = c;
        op->done = true;
        if (op->cb) {
            op->cb(op);
        }
    }
}

void
net_emu_op_submit(struct net_emu_op *op, bool add)
{
    struct nic_op nic_op = {
        .type = add ? NIC_OP_RULE_ADD : NIC_OP_RULE_DEL,
        .cookie = (uintptr_t) op,
    };

    op->done = false;
    if (add) {
        nic_op.rule.template = op->flow->template;
    } else {
        nic_op.handle = op->flow->handle;
    }
    nic_emu_hw_submit(op->flow->port->nic->hw, &nic_op, 1, net_emu_now_ms());
}

/* Adds 'flow' to the NIC, or removes it, and waits: not in real time, as the
 * lock is held, but by telling the NIC that the time has come.  Stores in
 * '*owed_ms' for how long the caller must wait yet, without the lock, so that
 * the NIC is not faster than its configured rate.  Returns 0 or a positive
 * errno value and stores static text in '*reasonp'. */
static int
run(struct rte_flow *flow, bool add, struct nic_counter *final,
    long long int *owed_ms, const char **reasonp)
{
    struct net_emu *nic = flow->port->nic;
    struct net_emu_op op = { .flow = flow };
    long long int start_ms = net_emu_now_ms();
    long long int now_ms = start_ms;

    *owed_ms = 0;
    *reasonp = NULL;
    if (!add && !flow->handle) {
        /* Lost, by a reset. */
        memset(final, 0, sizeof *final);
        return 0;
    }
    if (nic->held) {
        *reasonp = "the NIC is held up";
        return EBUSY;
    }

    net_emu_op_submit(&op, add);
    net_emu_advance(nic, now_ms);
    while (!op.done) {
        now_ms = MAX(nic_emu_hw_wake_ms(nic->hw, now_ms), now_ms + 1);
        net_emu_advance(nic, now_ms);
    }
    *owed_ms = (now_ms - start_ms - nic_emu_hw_config(nic->hw)->delay_ms
                - 1);
    *reasonp = op.completion.reason;
    if (final) {
        *final = op.completion.final[0];
    }
    return op.completion.error;
}

/* Waits for 'ms' milliseconds, if positive. */
static void
owe(long long int ms)
{
    if (ms > 0) {
        struct timespec ts = {
            .tv_sec = ms / 1000,
            .tv_nsec = ms % 1000 * 1000000,
        };

        nanosleep(&ts, NULL);
    }
}

/* Rules. */

struct rte_flow *
net_emu_flow_create(struct net_emu_port *port,
                    const struct net_emu_spec *spec)
{
    struct net_emu *nic = port->nic;
    struct rte_flow *flow = xzalloc(sizeof *flow);
    uint32_t orig;

    flow->port = port;
    flow->template = net_emu_spec_template(spec);
    flow->counts = spec->counts;
    flow->shared = spec->shared;
    flow->conn = spec->conn;
    if (flow->shared) {
        flow->shared->n_users++;
    }
    if (flow->conn) {
        flow->conn->n_users++;
    }
    if (!spec->group && spec->from_software) {
        flow->sw_port = &nic->ports[spec->in->index];
        atomic_add(&flow->sw_port->n_sw_rules, 1, &orig);
    } else if (!spec->group && !spec->in) {
        flow->any = true;
        atomic_add(&nic->n_any_rules, 1, &orig);
    }
    ovs_list_push_back(&nic->flows, &flow->list_node);
    return flow;
}

void
net_emu_flow_free(struct rte_flow *flow, const struct nic_counter *final)
{
    uint32_t orig;

    if (flow->shared) {
        flow->shared->n_users--;
        if (final) {
            flow->shared->gone.packets += final->packets;
            flow->shared->gone.bytes += final->bytes;
        }
    }
    if (flow->conn) {
        flow->conn->n_users--;
    }
    if (flow->sw_port) {
        atomic_sub(&flow->sw_port->n_sw_rules, 1, &orig);
    }
    if (flow->n_in_table) {
        --*flow->n_in_table;
    }
    if (flow->any) {
        atomic_sub(&flow->port->nic->n_any_rules, 1, &orig);
    }
    ovs_list_remove(&flow->list_node);
    nic_template_unref(flow->template);
    free(flow);
}

void
net_emu_flows_lost(struct net_emu *nic)
{
    struct rte_flow *flow;

    LIST_FOR_EACH (flow, list_node, &nic->flows) {
        flow->handle = 0;
    }
}

void
net_emu_flow_count(const struct rte_flow *flow, struct nic_counter *sum)
{
    struct nic_counter counter;

    if (flow->handle) {
        nic_emu_hw_rule_counters(flow->port->nic->hw, &flow->handle, 1,
                                 &counter, net_emu_now_ms());
        sum->packets += counter.packets;
        sum->bytes += counter.bytes;
    }
}

void
net_emu_flow_tell(const struct nic_counter *sum, struct nic_counter *base,
                  struct rte_flow_query_count *query)
{
    query->hits_set = 1;
    query->bytes_set = 1;
    query->hits = sum->packets - MIN(base->packets, sum->packets);
    query->bytes = sum->bytes - MIN(base->bytes, sum->bytes);
    if (query->reset) {
        *base = *sum;
    }
}

bool
net_emu_flow_is_valid(const struct net_emu_port *port,
                      const struct rte_flow *wanted)
{
    const struct rte_flow *flow;

    LIST_FOR_EACH (flow, list_node, &port->nic->flows) {
        if (flow == wanted) {
            return flow->port == port;
        }
    }
    return false;
}

void
net_emu_flows_flush(struct net_emu_port *port)
{
    struct net_emu *nic = port->nic;
    struct rte_flow *flow;

    net_emu_async_abort(port);
    LIST_FOR_EACH_SAFE (flow, list_node, &nic->flows) {
        bool held = nic->held;

        if (flow->port != port) {
            continue;
        }
        if (held) {
            nic_emu_hw_set_fault(nic->hw, NIC_EMU_FAULT_HOLD, 0);
            nic->held = false;
        }
        for (int i = 0; i < MAX_TRIES; i++) {
            struct nic_counter final;
            long long int owed_ms;
            const char *reason;

            if (!run(flow, false, &final, &owed_ms, &reason)) {
                net_emu_flow_free(flow, &final);
                break;
            }
        }
        if (held) {
            nic_emu_hw_set_fault(nic->hw, NIC_EMU_FAULT_HOLD, 1);
            nic->held = true;
        }
    }
}

void
net_emu_flows_clear(struct net_emu *nic)
{
    struct rte_flow *flow;

    LIST_FOR_EACH_SAFE (flow, list_node, &nic->flows) {
        net_emu_flow_free(flow, NULL);
    }
}

/* rte_flow's functions for rules. */

static int
flow_validate(struct rte_eth_dev *dev, const struct rte_flow_attr *attr,
              const struct rte_flow_item pattern[],
              const struct rte_flow_action actions[],
              struct rte_flow_error *error)
{
    struct net_emu_port *port = net_emu_port_from_dev(dev);
    struct net_emu_spec spec;
    int retval;

    net_emu_lock();
    retval = net_emu_spec_init(port->nic, &spec, attr, pattern, actions,
                               error);
    retval = retval ? retval : net_emu_restrict(port, &spec, attr, error);
    if (!retval) {
        struct nic_template *template;
        const char *reason;

        net_emu_restrict_source(port, &spec);
        template = net_emu_spec_template(&spec);
        reason = nic_emu_hw_check_template(port->nic->hw, template);
        if (reason) {
            retval = fail(error, ENOTSUP, NULL, reason);
        }
        nic_template_unref(template);
    }
    net_emu_unlock();
    return retval;
}

static struct rte_flow *
flow_create(struct rte_eth_dev *dev, const struct rte_flow_attr *attr,
            const struct rte_flow_item pattern[],
            const struct rte_flow_action actions[],
            struct rte_flow_error *error)
{
    struct net_emu_port *port = net_emu_port_from_dev(dev);
    struct rte_flow *flow = NULL;
    long long int owed_ms = 0;
    struct net_emu_spec spec;
    int retval;

    net_emu_lock();
    if (!dev->data->dev_started) {
        retval = rte_flow_error_set(error, ENODEV, RTE_FLOW_ERROR_TYPE_STATE,
                                    NULL, "the port is not started");
    } else {
        retval = net_emu_spec_init(port->nic, &spec, attr, pattern, actions,
                                   error);
    }
    retval = retval ? retval : net_emu_restrict(port, &spec, attr, error);
    if (!retval) {
        const char *reason;

        net_emu_restrict_source(port, &spec);
        flow = net_emu_flow_create(port, &spec);
        retval = run(flow, true, NULL, &owed_ms, &reason);
        if (retval) {
            net_emu_flow_free(flow, NULL);
            flow = NULL;
            fail(error, retval, NULL, reason);
        }
    }
    net_emu_unlock();
    owe(owed_ms);
    return flow;
}

static int
flow_destroy(struct rte_eth_dev *dev, struct rte_flow *flow,
             struct rte_flow_error *error)
{
    struct net_emu_port *port = net_emu_port_from_dev(dev);
    long long int owed_ms = 0;
    int retval;

    net_emu_lock();
    if (!net_emu_flow_is_valid(port, flow)) {
        retval = fail(error, ENOENT, flow,
                      "there is no such rule on this port");
    } else if (flow->busy) {
        retval = fail(error, EBUSY, flow,
                      "the result of another operation on the rule was not "
                      "pulled");
    } else {
        struct nic_counter final;
        const char *reason;

        retval = run(flow, false, &final, &owed_ms, &reason);
        if (retval) {
            retval = fail(error, retval, flow, reason);
        } else {
            net_emu_flow_free(flow, &final);
        }
    }
    net_emu_unlock();
    owe(owed_ms);
    return retval;
}

static int
flow_flush(struct rte_eth_dev *dev, struct rte_flow_error *error)
{
    struct net_emu_port *port = net_emu_port_from_dev(dev);
    long long int all_owed_ms = 0;
    struct rte_flow *flow;
    int retval = 0;

    net_emu_lock();
    LIST_FOR_EACH_SAFE (flow, list_node, &port->nic->flows) {
        if (flow->port == port && !flow->busy) {
            struct nic_counter final;
            long long int owed_ms;
            const char *reason;
            int err;

            err = run(flow, false, &final, &owed_ms, &reason);
            if (err) {
                retval = fail(error, err, flow, reason);
            } else {
                net_emu_flow_free(flow, &final);
            }
            all_owed_ms = MAX(all_owed_ms, owed_ms);
        }
    }
    net_emu_unlock();
    owe(all_owed_ms);
    return retval;
}

static int
flow_query(struct rte_eth_dev *dev, struct rte_flow *flow,
           const struct rte_flow_action *action, void *query,
           struct rte_flow_error *error)
{
    struct net_emu_port *port = net_emu_port_from_dev(dev);
    int retval = 0;

    if (action->type != RTE_FLOW_ACTION_TYPE_COUNT) {
        return rte_flow_error_set(error, ENOTSUP, RTE_FLOW_ERROR_TYPE_ACTION,
                                  action, "only counters can be asked for");
    }
    net_emu_lock();
    if (!net_emu_flow_is_valid(port, flow)) {
        retval = fail(error, ENOENT, flow,
                      "there is no such rule on this port");
    } else if (!flow->counts) {
        retval = rte_flow_error_set(error, EINVAL, RTE_FLOW_ERROR_TYPE_ACTION,
                                    action, "the rule has no counter");
    } else if (flow->shared) {
        net_emu_indirect_count(flow->shared, query);
    } else {
        struct nic_counter sum = { .packets = 0 };

        net_emu_flow_count(flow, &sum);
        net_emu_flow_tell(&sum, &flow->base, query);
    }
    net_emu_unlock();
    return retval;
}

static int
flow_isolate(struct rte_eth_dev *dev OVS_UNUSED, int set,
             struct rte_flow_error *error)
{
    return (set ? rte_flow_error_set(error, ENOTSUP,
                                     RTE_FLOW_ERROR_TYPE_UNSPECIFIED, NULL,
                                     "misses always go to the software")
            : 0);
}

static int
flow_dev_dump(struct rte_eth_dev *dev, struct rte_flow *wanted, FILE *file,
              struct rte_flow_error *error)
{
    struct net_emu_port *port = net_emu_port_from_dev(dev);
    struct ds ds = DS_EMPTY_INITIALIZER;
    const struct rte_flow *flow;
    int retval = 0;

    net_emu_lock();
    if (wanted && !net_emu_flow_is_valid(port, wanted)) {
        retval = fail(error, ENOENT, wanted,
                      "there is no such rule on this port");
    }
    LIST_FOR_EACH (flow, list_node, &port->nic->flows) {
        struct nic_counter sum = { .packets = 0 };

        if (retval || flow->port != port || (wanted && flow != wanted)) {
            continue;
        }
        net_emu_flow_count(flow, &sum);
        nic_rule_format(flow->template, NULL, &ds);
        ds_put_format(&ds, " packets=%"PRIu64" bytes=%"PRIu64"%s\n",
                      sum.packets, sum.bytes, flow->handle ? "" : " lost");
    }
    net_emu_unlock();
    fputs(ds_cstr(&ds), file);
    ds_destroy(&ds);
    return retval;
}

static int
flow_proxy(struct rte_eth_dev *dev, uint16_t *proxy,
           struct rte_flow_error *error OVS_UNUSED)
{
    *proxy = net_emu_port_from_dev(dev)->nic->ports[0].port_id;
    return 0;
}

const struct rte_flow_ops net_emu_flow_ops = {
    .validate = flow_validate,
    .create = flow_create,
    .destroy = flow_destroy,
    .flush = flow_flush,
    .query = flow_query,
    .isolate = flow_isolate,
    .dev_dump = flow_dev_dump,
    .pick_transfer_proxy = flow_proxy,
    .action_handle_create = net_emu_indirect_create,
    .action_handle_destroy = net_emu_indirect_destroy,
    .action_handle_update = net_emu_indirect_update,
    .action_handle_query = net_emu_indirect_query,
    .info_get = net_emu_async_info_get,
    .configure = net_emu_async_configure,
    .pattern_template_create = net_emu_async_pattern_create,
    .pattern_template_destroy = net_emu_async_pattern_destroy,
    .actions_template_create = net_emu_async_actions_create,
    .actions_template_destroy = net_emu_async_actions_destroy,
    .template_table_create = net_emu_async_table_create,
    .template_table_destroy = net_emu_async_table_destroy,
    .async_create = net_emu_async_create,
    .async_destroy = net_emu_async_destroy,
    .push = net_emu_async_push,
    .pull = net_emu_async_pull,
    .async_action_handle_create = net_emu_indirect_async_create,
    .async_action_handle_destroy = net_emu_indirect_async_destroy,
    .async_action_handle_update = net_emu_indirect_async_update,
    .async_action_handle_query = net_emu_indirect_async_query,
};
