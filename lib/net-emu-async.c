/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>
#include "net-emu-async.h"

#include <errno.h>

#include <rte_config.h>
#include <ethdev_driver.h>
#include <rte_flow.h>
#include <rte_flow_driver.h>

#include "net-emu-ct.h"
#include "net-emu-flow.h"
#include "net-emu-private.h"
#include "net-emu-restrict.h"
#include "net-emu-spec.h"
#include "util.h"

#define MAX_QUEUE_SIZE 4096
#define MAX_ITEMS 16
#define MAX_RULE_ACTIONS 32

struct queue {
    uint32_t size;
    uint32_t n;                     /* Operations in all lists. */
    struct ovs_list postponed;      /* Contain 'struct async_op's. */
    struct ovs_list submitted;
    struct ovs_list done;
};

struct async_op {
    struct net_emu_op op;           /* 'op.flow' null: none any more. */
    struct ovs_list list_node;
    struct queue *queue;
    bool add;
    bool failed;
    void *user_data;
};

/* What both kinds of templates are. */
struct template {
    struct ovs_list list_node;
    unsigned int n_users;           /* Tables. */
    size_t n;                       /* Items or actions, without the end. */
    void *copies[2];                /* Of what it was created with. */
};

struct rte_flow_pattern_template {
    struct template up;
    bool relaxed;
    const struct rte_flow_item *items;
};

struct rte_flow_actions_template {
    struct template up;
    const struct rte_flow_action *actions;
    const struct rte_flow_action *masks;
};

struct rte_flow_template_table {
    struct ovs_list list_node;
    struct rte_flow_attr attr;
    uint32_t max_flows;
    uint32_t n_flows;
    uint8_t n_patterns, n_actions;
    struct rte_flow_pattern_template **patterns;
    struct rte_flow_actions_template **actions;
};

/* What rte_flow_configure() makes of a port. */
struct net_emu_async {
    struct ovs_list patterns, actions, tables;
    uint16_t n_queues;
    struct queue queues[NET_EMU_MAX_QUEUES];
};

static int
fail(struct rte_flow_error *error, int code, const void *cause,
     const char *message)
{
    return rte_flow_error_set(error, code, RTE_FLOW_ERROR_TYPE_UNSPECIFIED,
                              cause, message);
}

static const char not_configured[] = "rte_flow_configure() was not called";
static const char queue_full[] = "the queue is full";

/* Operations. */

static void
op_free(struct async_op *op)
{
    ovs_list_remove(&op->list_node);
    op->queue->n--;
    free(op);
}

/* 'op' is done, or has failed. */
static void
op_finish(struct async_op *op, bool failed, const struct nic_counter *final)
{
    op->failed = failed;
    if (op->add == failed) {
        /* A rule that was not made, or that is gone. */
        net_emu_flow_free(op->op.flow, op->add ? NULL : final);
    } else {
        op->op.flow->busy = false;
    }
    op->op.flow = NULL;
    ovs_list_remove(&op->list_node);
    ovs_list_push_back(&op->queue->done, &op->list_node);
}

static void
op_done(struct net_emu_op *op_)
{
    struct async_op *op = CONTAINER_OF(op_, struct async_op, op);

    op_finish(op, op->op.completion.error != 0, &op->op.completion.final[0]);
}

static void
op_submit(struct async_op *op)
{
    ovs_list_remove(&op->list_node);
    ovs_list_push_back(&op->queue->submitted, &op->list_node);
    if (!op->add && !op->op.flow->handle) {
        /* Lost, by a reset. */
        op_finish(op, false, NULL);
    } else {
        net_emu_op_submit(&op->op, op->add);
    }
}

static void
queue_push(struct queue *queue)
{
    struct async_op *op;

    LIST_FOR_EACH_SAFE (op, list_node, &queue->postponed) {
        op_submit(op);
    }
}

/* Returns queue 'id' of 'port', or null with an error set. */
static struct queue *
queue_get(struct net_emu_port *port, uint32_t id,
          struct rte_flow_error *error)
{
    if (!port->async) {
        fail(error, EINVAL, NULL, not_configured);
        return NULL;
    }
    if (id >= port->async->n_queues) {
        fail(error, EINVAL, NULL, "there is no such queue");
        return NULL;
    }
    return &port->async->queues[id];
}

/* Adds an operation on 'flow' to 'queue', which has room. */
static void
queue_add(struct queue *queue, const struct rte_flow_op_attr *attr,
          struct rte_flow *flow, bool add, void *user_data)
{
    struct async_op *op = xzalloc(sizeof *op);

    flow->busy = true;
    op->op.flow = flow;
    op->op.cb = op_done;
    op->queue = queue;
    op->add = add;
    op->user_data = user_data;
    ovs_list_push_back(&queue->postponed, &op->list_node);
    queue->n++;
    if (!attr || !attr->postpone) {
        queue_push(queue);
    }
}

int
net_emu_async_check(struct net_emu_port *port, uint32_t queue_id,
                    struct rte_flow_error *error)
{
    const struct queue *queue = queue_get(port, queue_id, error);

    return (!queue ? -EINVAL
            : queue->n >= queue->size ? fail(error, EAGAIN, NULL, queue_full)
            : 0);
}

void
net_emu_async_add_result(struct net_emu_port *port, uint32_t queue_id,
                         void *user_data)
{
    struct queue *queue = &port->async->queues[queue_id];
    struct async_op *op = xzalloc(sizeof *op);

    op->queue = queue;
    op->user_data = user_data;
    ovs_list_push_back(&queue->done, &op->list_node);
    queue->n++;
}

void
net_emu_async_reset(struct net_emu *nic)
{
    for (unsigned int i = 0; i < nic->n_ports; i++) {
        struct net_emu_async *async = nic->ports[i].async;

        for (uint16_t q = 0; async && q < async->n_queues; q++) {
            struct async_op *op;

            LIST_FOR_EACH_SAFE (op, list_node, &async->queues[q].submitted) {
                /* What was to be removed is. */
                op_finish(op, op->add, NULL);
            }
        }
    }
}

void
net_emu_async_abort(struct net_emu_port *port)
{
    struct net_emu_async *async = port->async;
    struct net_emu *nic = port->nic;
    long long int now_ms = net_emu_now_ms();

    for (uint16_t q = 0; async && q < async->n_queues; q++) {
        struct queue *queue = &async->queues[q];
        bool held = nic->held;
        struct async_op *op;

        LIST_FOR_EACH_SAFE (op, list_node, &queue->postponed) {
            op_finish(op, true, NULL);
        }
        if (held) {
            nic_emu_hw_set_fault(nic->hw, NIC_EMU_FAULT_HOLD, 0);
        }
        while (!ovs_list_is_empty(&queue->submitted)) {
            net_emu_advance(nic, now_ms++);
        }
        if (held) {
            nic_emu_hw_set_fault(nic->hw, NIC_EMU_FAULT_HOLD, 1);
        }
        LIST_FOR_EACH_SAFE (op, list_node, &queue->done) {
            op_free(op);
        }
    }
}

/* Configuration. */

int
net_emu_async_info_get(struct rte_eth_dev *dev,
                       struct rte_flow_port_info *port_info,
                       struct rte_flow_queue_info *queue_info,
                       struct rte_flow_error *error OVS_UNUSED)
{
    const struct net_emu_port *port = net_emu_port_from_dev(dev);

    memset(port_info, 0, sizeof *port_info);
    port_info->max_nb_queues = NET_EMU_MAX_QUEUES;
    port_info->max_nb_counters = nic_emu_hw_config(port->nic->hw)->max_rules;
    port_info->max_nb_conn_tracks = net_emu_ct_max(port->nic);
    queue_info->max_size = MAX_QUEUE_SIZE;
    return 0;
}

int
net_emu_async_configure(struct rte_eth_dev *dev,
                        const struct rte_flow_port_attr *attr,
                        uint16_t n_queues,
                        const struct rte_flow_queue_attr *queues[],
                        struct rte_flow_error *error)
{
    struct net_emu_port *port = net_emu_port_from_dev(dev);
    struct net_emu_async *async;

    if (attr->nb_meters || attr->nb_aging_objects) {
        return fail(error, ENOTSUP, attr,
                    "only counters and connections can be had");
    }
    if (attr->nb_conn_tracks > net_emu_ct_max(port->nic)) {
        return fail(error, ENOTSUP, attr, "so many connections cannot be had");
    }
    if (!n_queues || n_queues > NET_EMU_MAX_QUEUES) {
        return fail(error, EINVAL, NULL, "1 to 16 queues can be had");
    }
    for (uint16_t i = 0; i < n_queues; i++) {
        if (!queues[i]->size || queues[i]->size > MAX_QUEUE_SIZE) {
            return fail(error, EINVAL, queues[i],
                        "a queue has 1 to 4096 places");
        }
    }

    net_emu_lock();
    net_emu_async_abort(port);
    async = port->async;
    if (!async) {
        async = port->async = xzalloc(sizeof *async);
        ovs_list_init(&async->patterns);
        ovs_list_init(&async->actions);
        ovs_list_init(&async->tables);
    }
    async->n_queues = n_queues;
    for (uint16_t i = 0; i < n_queues; i++) {
        struct queue *queue = &async->queues[i];

        queue->size = queues[i]->size;
        ovs_list_init(&queue->postponed);
        ovs_list_init(&queue->submitted);
        ovs_list_init(&queue->done);
    }
    net_emu_unlock();
    return 0;
}

/* Templates. */

/* Returns a copy of what 'src' points to, or null with an error set. */
static void *
copy(enum rte_flow_conv_op op, const void *src, struct rte_flow_error *error)
{
    int size = rte_flow_conv(op, NULL, 0, src, error);
    void *dst;

    if (size < 0) {
        return NULL;
    }
    dst = xmalloc(size);
    rte_flow_conv(op, dst, size, src, error);
    return dst;
}

/* Returns true if a template of 'n' items or actions can be created on 'port'
 * with 'attr', which says 'transfer'. */
static bool
template_check(const struct net_emu_port *port, const void *attr,
               bool transfer, size_t n, size_t max,
               struct rte_flow_error *error)
{
    if (!port->async) {
        fail(error, EINVAL, NULL, not_configured);
    } else if (!transfer) {
        rte_flow_error_set(error, ENOTSUP, RTE_FLOW_ERROR_TYPE_ATTR_TRANSFER,
                           attr, "only rules with 'transfer'");
    } else if (n >= max) {
        fail(error, ENOTSUP, NULL, "the template is too long");
    } else {
        return true;
    }
    return false;
}

static void
template_add(struct template *t, struct ovs_list *list)
{
    net_emu_lock();
    ovs_list_push_back(list, &t->list_node);
    net_emu_unlock();
}

/* Frees 't', the first member of what was allocated. */
static void
template_free(struct template *t)
{
    ovs_list_remove(&t->list_node);
    free(t->copies[0]);
    free(t->copies[1]);
    free(t);
}

static void
template_free_all(struct ovs_list *list)
{
    struct template *t;

    LIST_FOR_EACH_SAFE (t, list_node, list) {
        template_free(t);
    }
}

static int
template_destroy(struct template *t, struct rte_flow_error *error)
{
    int retval = 0;

    net_emu_lock();
    if (t->n_users) {
        retval = fail(error, EBUSY, t, "tables use the template");
    } else {
        template_free(t);
    }
    net_emu_unlock();
    return retval;
}

struct rte_flow_pattern_template *
net_emu_async_pattern_create(struct rte_eth_dev *dev,
                             const struct rte_flow_pattern_template_attr *attr,
                             const struct rte_flow_item pattern[],
                             struct rte_flow_error *error)
{
    struct net_emu_port *port = net_emu_port_from_dev(dev);
    struct rte_flow_pattern_template *t;
    void *items;
    size_t n = 0;

    while (pattern[n].type != RTE_FLOW_ITEM_TYPE_END) {
        n++;
    }
    if (!template_check(port, attr, attr->transfer, n, MAX_ITEMS, error)) {
        return NULL;
    }
    items = copy(RTE_FLOW_CONV_OP_PATTERN, pattern, error);
    if (!items) {
        return NULL;
    }

    t = xzalloc(sizeof *t);
    t->up.n = n;
    t->items = t->up.copies[0] = items;
    t->relaxed = attr->relaxed_matching;
    template_add(&t->up, &port->async->patterns);
    return t;
}

int
net_emu_async_pattern_destroy(struct rte_eth_dev *dev OVS_UNUSED,
                              struct rte_flow_pattern_template *t,
                              struct rte_flow_error *error)
{
    return template_destroy(&t->up, error);
}

/* Returns true if 'mask' belongs to 'action': for an indirect one it has the
 * type of that. */
static bool
is_mask_of(const struct rte_flow_action *mask,
           const struct rte_flow_action *action)
{
    return (action->type == RTE_FLOW_ACTION_TYPE_INDIRECT
            ? (mask->type == RTE_FLOW_ACTION_TYPE_COUNT
               || mask->type == RTE_FLOW_ACTION_TYPE_CONNTRACK)
            : mask->type == action->type);
}

struct rte_flow_actions_template *
net_emu_async_actions_create(struct rte_eth_dev *dev,
                             const struct rte_flow_actions_template_attr *attr,
                             const struct rte_flow_action actions[],
                             const struct rte_flow_action masks[],
                             struct rte_flow_error *error)
{
    struct net_emu_port *port = net_emu_port_from_dev(dev);
    struct rte_flow_actions_template *t;
    void *copies[2];
    size_t n = 0;

    while (actions[n].type != RTE_FLOW_ACTION_TYPE_END) {
        if (!is_mask_of(&masks[n], &actions[n])) {
            rte_flow_error_set(error, EINVAL, RTE_FLOW_ERROR_TYPE_ACTION,
                               &masks[n], "the mask is of another action");
            return NULL;
        }
        n++;
    }
    if (!template_check(port, attr, attr->transfer, n, MAX_RULE_ACTIONS,
                        error)) {
        return NULL;
    }
    copies[0] = copy(RTE_FLOW_CONV_OP_ACTIONS, actions, error);
    copies[1] = (copies[0] ? copy(RTE_FLOW_CONV_OP_ACTIONS, masks, error)
                 : NULL);
    if (!copies[1]) {
        free(copies[0]);
        return NULL;
    }

    t = xzalloc(sizeof *t);
    t->up.n = n;
    t->actions = t->up.copies[0] = copies[0];
    t->masks = t->up.copies[1] = copies[1];
    template_add(&t->up, &port->async->actions);
    return t;
}

int
net_emu_async_actions_destroy(struct rte_eth_dev *dev OVS_UNUSED,
                              struct rte_flow_actions_template *t,
                              struct rte_flow_error *error)
{
    return template_destroy(&t->up, error);
}

/* Tables. */

struct rte_flow_template_table *
net_emu_async_table_create(struct rte_eth_dev *dev,
                           const struct rte_flow_template_table_attr *attr,
                           struct rte_flow_pattern_template *patterns[],
                           uint8_t n_patterns,
                           struct rte_flow_actions_template *actions[],
                           uint8_t n_actions, struct rte_flow_error *error)
{
    struct net_emu_port *port = net_emu_port_from_dev(dev);
    struct rte_flow_template_table *table;
    struct net_emu_spec spec;

    if (!port->async) {
        fail(error, EINVAL, NULL, not_configured);
        return NULL;
    }
    if (net_emu_spec_attr(port->nic, &spec, &attr->flow_attr, error)) {
        return NULL;
    }
    if (!attr->nb_flows || !n_patterns || !n_actions) {
        fail(error, EINVAL, attr, "the table is for no rules");
        return NULL;
    }

    table = xzalloc(sizeof *table);
    table->attr = attr->flow_attr;
    table->max_flows = attr->nb_flows;
    table->n_patterns = n_patterns;
    table->n_actions = n_actions;
    table->patterns = xmemdup(patterns, n_patterns * sizeof *patterns);
    table->actions = xmemdup(actions, n_actions * sizeof *actions);
    net_emu_lock();
    for (uint8_t i = 0; i < n_patterns; i++) {
        patterns[i]->up.n_users++;
    }
    for (uint8_t i = 0; i < n_actions; i++) {
        actions[i]->up.n_users++;
    }
    ovs_list_push_back(&port->async->tables, &table->list_node);
    net_emu_unlock();
    return table;
}

static void
table_free(struct rte_flow_template_table *table)
{
    for (uint8_t i = 0; i < table->n_patterns; i++) {
        table->patterns[i]->up.n_users--;
    }
    for (uint8_t i = 0; i < table->n_actions; i++) {
        table->actions[i]->up.n_users--;
    }
    ovs_list_remove(&table->list_node);
    free(table->patterns);
    free(table->actions);
    free(table);
}

int
net_emu_async_table_destroy(struct rte_eth_dev *dev OVS_UNUSED,
                            struct rte_flow_template_table *table,
                            struct rte_flow_error *error)
{
    int retval = 0;

    net_emu_lock();
    if (table->n_flows) {
        retval = fail(error, EBUSY, table, "the table has rules");
    } else {
        table_free(table);
    }
    net_emu_unlock();
    return retval;
}

void
net_emu_async_free(struct net_emu_port *port)
{
    struct net_emu_async *async = port->async;

    if (async) {
        struct rte_flow_template_table *table;

        net_emu_async_abort(port);
        LIST_FOR_EACH_SAFE (table, list_node, &async->tables) {
            table_free(table);
        }
        template_free_all(&async->patterns);
        template_free_all(&async->actions);
        free(async);
        port->async = NULL;
    }
}

/* Rules. */

/* Makes a pattern of template 't' and the values in 'pattern'. */
static int
make_pattern(const struct rte_flow_pattern_template *t,
             const struct rte_flow_item pattern[],
             struct rte_flow_item items[MAX_ITEMS],
             struct rte_flow_error *error)
{
    for (size_t i = 0; i < t->up.n; i++) {
        items[i] = t->items[i];
        if (pattern[i].type != items[i].type) {
            return rte_flow_error_set(error, EINVAL, RTE_FLOW_ERROR_TYPE_ITEM,
                                      &pattern[i],
                                      "the template has another item here");
        }
        items[i].last = NULL;
        items[i].spec = items[i].mask ? pattern[i].spec : NULL;
        if (!items[i].mask && t->relaxed) {
            items[i].type = RTE_FLOW_ITEM_TYPE_VOID;
        }
    }
    items[t->up.n] = (struct rte_flow_item) { .type = RTE_FLOW_ITEM_TYPE_END };
    return 0;
}

/* Returns the number of bytes of the configuration of an action of 'type', 0
 * if that has none or is not known here. */
static size_t
conf_size(enum rte_flow_action_type type)
{
    switch ((int) type) {
    case RTE_FLOW_ACTION_TYPE_REPRESENTED_PORT:
    case RTE_FLOW_ACTION_TYPE_PORT_REPRESENTOR:
        return sizeof(struct rte_flow_action_ethdev);
    case RTE_FLOW_ACTION_TYPE_PORT_ID:
        return sizeof(struct rte_flow_action_port_id);
    case RTE_FLOW_ACTION_TYPE_JUMP:
        return sizeof(struct rte_flow_action_jump);
    case RTE_FLOW_ACTION_TYPE_SET_MAC_SRC:
    case RTE_FLOW_ACTION_TYPE_SET_MAC_DST:
        return sizeof(struct rte_flow_action_set_mac);
    case RTE_FLOW_ACTION_TYPE_SET_IPV4_SRC:
    case RTE_FLOW_ACTION_TYPE_SET_IPV4_DST:
        return sizeof(struct rte_flow_action_set_ipv4);
    case RTE_FLOW_ACTION_TYPE_SET_IPV6_SRC:
    case RTE_FLOW_ACTION_TYPE_SET_IPV6_DST:
        return sizeof(struct rte_flow_action_set_ipv6);
    case RTE_FLOW_ACTION_TYPE_SET_TP_SRC:
    case RTE_FLOW_ACTION_TYPE_SET_TP_DST:
        return sizeof(struct rte_flow_action_set_tp);
    case RTE_FLOW_ACTION_TYPE_SET_TTL:
        return sizeof(struct rte_flow_action_set_ttl);
    case RTE_FLOW_ACTION_TYPE_SET_IPV4_DSCP:
    case RTE_FLOW_ACTION_TYPE_SET_IPV6_DSCP:
        return sizeof(struct rte_flow_action_set_dscp);
    case RTE_FLOW_ACTION_TYPE_OF_PUSH_VLAN:
        return sizeof(struct rte_flow_action_of_push_vlan);
    case RTE_FLOW_ACTION_TYPE_OF_SET_VLAN_VID:
        return sizeof(struct rte_flow_action_of_set_vlan_vid);
    case RTE_FLOW_ACTION_TYPE_OF_SET_VLAN_PCP:
        return sizeof(struct rte_flow_action_of_set_vlan_pcp);
    default:
        return 0;
    }
}

/* Returns true if each rule brings the configuration of an action for which
 * the template has 'mask'. */
static bool
is_variable(const struct rte_flow_action *mask)
{
    if (!mask->conf) {
        return true;
    }
    if (mask->type == RTE_FLOW_ACTION_TYPE_MODIFY_FIELD) {
        const struct rte_flow_action_modify_field *conf = mask->conf;

        return is_all_zeros(conf->src.value, sizeof conf->src.value);
    }
    return (conf_size(mask->type)
            && is_all_zeros(mask->conf, conf_size(mask->type)));
}

/* Makes actions of template 't' and what 'actions' bring.  Uses 'modify' for
 * what is made of both. */
static int
make_actions(const struct rte_flow_actions_template *t,
             const struct rte_flow_action actions[],
             struct rte_flow_action made[MAX_RULE_ACTIONS],
             struct rte_flow_action_modify_field modify[MAX_RULE_ACTIONS],
             struct rte_flow_error *error)
{
    for (size_t i = 0; i < t->up.n; i++) {
        made[i] = t->actions[i];
        if (actions[i].type != made[i].type) {
            return rte_flow_error_set(error, EINVAL,
                                      RTE_FLOW_ERROR_TYPE_ACTION, &actions[i],
                                      "the template has another action here");
        }
        if (!is_variable(&t->masks[i]) || !actions[i].conf) {
            continue;
        }
        made[i].conf = actions[i].conf;
        if (made[i].type == RTE_FLOW_ACTION_TYPE_MODIFY_FIELD
            && t->actions[i].conf && t->masks[i].conf) {
            const struct rte_flow_action_modify_field *conf = actions[i].conf;

            memcpy(&modify[i], t->actions[i].conf, sizeof modify[i]);
            modify[i].src = conf->src;
            made[i].conf = &modify[i];
        }
    }
    made[t->up.n] = (struct rte_flow_action) {
        .type = RTE_FLOW_ACTION_TYPE_END
    };
    return 0;
}

struct rte_flow *
net_emu_async_create(struct rte_eth_dev *dev, uint32_t queue_id,
                     const struct rte_flow_op_attr *attr,
                     struct rte_flow_template_table *table,
                     const struct rte_flow_item pattern[],
                     uint8_t pattern_index,
                     const struct rte_flow_action actions[],
                     uint8_t actions_index, void *user_data,
                     struct rte_flow_error *error)
{
    struct rte_flow_action_modify_field modify[MAX_RULE_ACTIONS];
    struct net_emu_port *port = net_emu_port_from_dev(dev);
    struct rte_flow_action made[MAX_RULE_ACTIONS];
    struct rte_flow_item items[MAX_ITEMS];
    struct rte_flow *flow = NULL;
    struct net_emu_spec spec;
    struct queue *queue;

    net_emu_lock();
    queue = queue_get(port, queue_id, error);
    if (!queue) {
        /* The error is set. */
    } else if (!dev->data->dev_started) {
        rte_flow_error_set(error, ENODEV, RTE_FLOW_ERROR_TYPE_STATE, NULL,
                           "the port is not started");
    } else if (queue->n >= queue->size) {
        fail(error, EAGAIN, NULL, queue_full);
    } else if (pattern_index >= table->n_patterns
               || actions_index >= table->n_actions) {
        fail(error, EINVAL, table, "the table has no such template");
    } else if (table->n_flows >= table->max_flows) {
        fail(error, ENOSPC, table, "the table is full");
    } else if (!make_pattern(table->patterns[pattern_index], pattern, items,
                             error)
               && !make_actions(table->actions[actions_index], actions, made,
                                modify, error)
               && !net_emu_spec_init(port->nic, &spec, &table->attr, items,
                                     made, error)
               && !net_emu_restrict(port, &spec, &table->attr, error)) {
        flow = net_emu_flow_create(port, &spec);
        flow->n_in_table = &table->n_flows;
        table->n_flows++;

        /* The rule may have failed and be gone when this returns: its address
         * is as good as any then, until the result says so. */
        queue_add(queue, attr, flow, true, user_data);
    }
    net_emu_unlock();
    return flow;
}

int
net_emu_async_destroy(struct rte_eth_dev *dev, uint32_t queue_id,
                      const struct rte_flow_op_attr *attr,
                      struct rte_flow *flow, void *user_data,
                      struct rte_flow_error *error)
{
    struct net_emu_port *port = net_emu_port_from_dev(dev);
    struct queue *queue;
    int retval = 0;

    net_emu_lock();
    queue = queue_get(port, queue_id, error);
    if (!queue) {
        retval = -EINVAL;
    } else if (queue->n >= queue->size) {
        retval = fail(error, EAGAIN, NULL, queue_full);
    } else if (!net_emu_flow_is_valid(port, flow)) {
        retval = rte_flow_error_set(error, ENOENT, RTE_FLOW_ERROR_TYPE_HANDLE,
                                    flow,
                                    "there is no such rule on this port");
    } else if (flow->busy) {
        retval = rte_flow_error_set(error, EBUSY, RTE_FLOW_ERROR_TYPE_HANDLE,
                                    flow,
                                    "the result of another operation on the "
                                    "rule was not pulled");
    } else {
        queue_add(queue, attr, flow, false, user_data);
    }
    net_emu_unlock();
    return retval;
}

int
net_emu_async_push(struct rte_eth_dev *dev, uint32_t queue_id,
                   struct rte_flow_error *error)
{
    struct net_emu_port *port = net_emu_port_from_dev(dev);
    struct queue *queue;

    net_emu_lock();
    queue = queue_get(port, queue_id, error);
    if (queue) {
        queue_push(queue);
    }
    net_emu_unlock();
    return queue ? 0 : -EINVAL;
}

int
net_emu_async_pull(struct rte_eth_dev *dev, uint32_t queue_id,
                   struct rte_flow_op_result results[], uint16_t n,
                   struct rte_flow_error *error)
{
    struct net_emu_port *port = net_emu_port_from_dev(dev);
    struct queue *queue;
    int i = 0;

    net_emu_lock();
    queue = queue_get(port, queue_id, error);
    if (queue) {
        net_emu_advance(port->nic, net_emu_now_ms());
        while (i < n && !ovs_list_is_empty(&queue->done)) {
            struct async_op *op = CONTAINER_OF(ovs_list_front(&queue->done),
                                               struct async_op, list_node);

            results[i].status = (op->failed ? RTE_FLOW_OP_ERROR
                                 : RTE_FLOW_OP_SUCCESS);
            results[i++].user_data = op->user_data;
            op_free(op);
        }
    }
    net_emu_unlock();
    return queue ? i : -EINVAL;
}
