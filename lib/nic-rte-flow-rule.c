/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>
#include "nic-rte-flow-private.h"

#include <errno.h>
#include <limits.h>
#include <rte_errno.h>

#include "hash.h"
#include "util.h"

static struct rte_rule *
find_rule(const struct nic_rte *nic, nic_handle handle)
{
    struct rte_rule *rule;

    HMAP_FOR_EACH_WITH_HASH (rule, node, hash_uint64(handle), &nic->rules) {
        if (rule->handle == handle) {
            return rule;
        }
    }
    return NULL;
}

static struct rte_flow_attr
rule_attr(const struct rte_flow_offer *offer)
{
    return (struct rte_flow_attr) {
        .group = offer->groups ? RTE_FLOW_GROUP_RULES : RTE_FLOW_GROUP_ENTRY,
        .transfer = 1,
    };
}

/* Returns the action that says where packets go. */
static const struct nic_action *
last_action(const struct nic_template *template)
{
    return &template->actions[template->n_actions - 1];
}

const char *
rte_rule_check(struct nic_rte *nic, const struct nic_template *template)
{
    const struct rte_port *port = rte_port_find_running(nic,
                                                        template->in_port);
    const struct nic_action *last = last_action(template);
    struct rte_codec_place place;
    struct rte_flow_error error = { .type = RTE_FLOW_ERROR_TYPE_NONE };
    struct rte_flow_attr attr;
    struct rte_codec c;
    const char *why;
    int retval;

    if (!port) {
        /* Adding it will fail, for now. */
        return rte_codec_check(template, RTE_CODEC_SET);
    }
    place = (struct rte_codec_place) {
        .style = port->offer.style,
        .in_ethdev = port->offer.ethdev,
        .out_ethdev = port->offer.ethdev,
        .out_group = RTE_FLOW_GROUP_EGRESS,
    };
    if (last->type == NIC_ACTION_OUTPUT) {
        const struct rte_port *out = rte_port_find(nic, last->port);

        place.out_ethdev = out ? out->offer.ethdev : place.out_ethdev;
    }
    why = rte_codec_encode(&c, template, NULL, &place);
    if (why) {
        return why;
    }
    attr = rule_attr(&port->offer);
    retval = rte_flow_validate(port->offer.proxy, &attr, c.items, c.actions,
                               &error);
    switch (rte_flow_explain(retval < 0 ? -retval : retval, &error, &why)) {
    case EOPNOTSUPP:
        return why;
    default:
        /* Room, and what else may be in the way now, may be there later. */
        return NULL;
    }
}

/* Counters. */

static struct rte_flow_action_handle *
make_indirect_counter(uint16_t ethdev)
{
    static const struct rte_flow_action_count conf;
    struct rte_flow_indir_action_conf indirect = { .transfer = 1 };
    struct rte_flow_action action = {
        .type = RTE_FLOW_ACTION_TYPE_COUNT,
        .conf = &conf,
    };
    struct rte_flow_error error;

    return rte_flow_action_handle_create(ethdev, &indirect, &action, &error);
}

/* Reads the counter of 'rule' from the driver. */
static void
read_counter(struct nic_rte *nic, struct rte_rule *rule)
{
    static const struct rte_flow_action count = {
        .type = RTE_FLOW_ACTION_TYPE_COUNT,
    };
    struct rte_flow_query_count query = { .reset = 0 };
    struct rte_flow_error error;
    int retval;

    if (rule->indirect) {
        retval = rte_flow_action_handle_query(rule->ethdev, rule->indirect,
                                              &query, &error);
    } else if (rule->flow) {
        retval = rte_flow_query(rule->ethdev, rule->flow, &count, &query,
                                &error);
    } else {
        return;
    }
    if (!retval && query.hits_set && query.hits > rule->counter.packets) {
        uint64_t bytes = query.bytes_set ? query.bytes : rule->counter.bytes;

        ovs_mutex_lock(&nic->mutex);
        nic->carried_packets += query.hits - rule->counter.packets;
        nic->carried_bytes += bytes - rule->counter.bytes;
        ovs_mutex_unlock(&nic->mutex);
        rule->counter.packets = query.hits;
        rule->counter.bytes = bytes;
    }
}

void
rte_rule_count(struct nic_rte *nic, nic_handle handle,
               struct nic_counter *counter, long long int now_ms)
{
    struct rte_rule *rule = find_rule(nic, handle);

    if (!rule) {
        *counter = (struct nic_counter) { .packets = 0 };
        return;
    }
    if (now_ms >= rule->read_ms + RTE_NIC_COUNTER_MS) {
        rule->read_ms = now_ms;
        read_counter(nic, rule);
    }
    *counter = rule->counter;
}

/* Removing. */

int
rte_nic_destroy_flow(uint16_t ethdev, struct rte_flow *flow,
                     const char **reasonp)
{
    struct rte_flow_error e = { .type = RTE_FLOW_ERROR_TYPE_NONE };
    int retval = rte_flow_destroy(ethdev, flow, &e);
    int error = rte_flow_explain(retval < 0 ? -retval : retval, &e, reasonp);

    /* It exists, so it is not the case that it will never work. */
    return error == ENOENT ? 0 : error == EOPNOTSUPP ? EIO : error;
}

int
rte_nic_destroy_indirect(uint16_t ethdev,
                         struct rte_flow_action_handle *handle,
                         const char **reasonp)
{
    struct rte_flow_error e = { .type = RTE_FLOW_ERROR_TYPE_NONE };
    int retval = rte_flow_action_handle_destroy(ethdev, handle, &e);
    int error = rte_flow_explain(retval < 0 ? -retval : retval, &e, reasonp);

    return error == ENOENT ? 0 : error == EOPNOTSUPP ? EIO : error;
}

static void
leave_list(struct ovs_list *node)
{
    if (!ovs_list_is_empty(node)) {
        ovs_list_remove(node);
        ovs_list_init(node);
    }
}

static void
release_egress(struct nic_rte *nic, struct rte_rule *rule)
    OVS_EXCLUDED(nic->egress_mutex)
{
    if (rule->egress) {
        struct rte_egress *egress;

        ovs_mutex_lock(&nic->egress_mutex);
        egress = rte_egress_find(nic, rule->egress);
        ovs_assert(egress && egress->n_rules);
        egress->n_rules--;
        ovs_mutex_unlock(&nic->egress_mutex);
        rule->egress = 0;
    }
}

/* The flow rule of 'rule' is gone, or nobody's any more.  Its counter may
 * remain. */
static void
forget_flow(struct nic_rte *nic, struct rte_rule *rule)
    OVS_REQUIRES(nic->rule_mutex) OVS_EXCLUDED(nic->egress_mutex)
{
    rule->flow = NULL;
    leave_list(&rule->in_node);
    leave_list(&rule->out_node);
    release_egress(nic, rule);
    if (rule->indirect) {
        ovs_list_push_back(&nic->counters, &rule->counter_node);
    }
}

/* Removes the flow rule of 'rule'.  On error nothing changes. */
static int
remove_flow(struct nic_rte *nic, struct rte_rule *rule, const char **reasonp)
    OVS_REQUIRES(nic->rule_mutex) OVS_EXCLUDED(nic->egress_mutex)
{
    int error;

    if (!rule->flow) {
        return 0;
    }
    if (!rule->indirect) {
        read_counter(nic, rule);
    }
    error = rte_nic_destroy_flow(rule->ethdev, rule->flow, reasonp);
    if (!error) {
        forget_flow(nic, rule);
    }
    return error;
}

/* Removes the flow rule of 'rule', or leaves it over. */
static void
give_up_flow(struct nic_rte *nic, struct rte_rule *rule)
    OVS_REQUIRES(nic->rule_mutex) OVS_EXCLUDED(nic->egress_mutex)
{
    const char *why;

    if (remove_flow(nic, rule, &why)) {
        ovs_mutex_lock(&nic->egress_mutex);
        rte_leftover_add(nic, "rule", rule->ethdev, rule->group, rule->flow,
                         NULL);
        ovs_mutex_unlock(&nic->egress_mutex);
        forget_flow(nic, rule);
    }
}

/* Reads the last count of 'rule', which has no flow rule, and removes its
 * counter. */
static void
end_counter(struct nic_rte *nic, struct rte_rule *rule)
    OVS_REQUIRES(nic->rule_mutex) OVS_EXCLUDED(nic->egress_mutex)
{
    const char *why;

    if (!rule->indirect) {
        return;
    }
    read_counter(nic, rule);
    if (rte_nic_destroy_indirect(rule->ethdev, rule->indirect, &why)) {
        ovs_mutex_lock(&nic->egress_mutex);
        rte_leftover_add(nic, "counter", rule->ethdev, 0, NULL,
                         rule->indirect);
        ovs_mutex_unlock(&nic->egress_mutex);
    }
    rule->indirect = NULL;
}

static void
free_rule(struct rte_rule *rule)
{
    nic_template_unref(rule->template);
    free(rule);
}

/* Removes 'rule', of which nothing is in the NIC. */
static void
complete_del(struct nic_rte *nic, struct rte_rule *rule,
             struct nic_completion *completion)
    OVS_REQUIRES(nic->rule_mutex)
{
    completion->final[0] = rule->counter;
    hmap_remove(&nic->rules, &rule->node);
    free_rule(rule);
}

bool
rte_rule_del(struct nic_rte *nic, const struct nic_op *op,
             struct nic_completion *completion, long long int now_ms)
{
    struct rte_rule *rule = find_rule(nic, op->handle);

    if (!rule) {
        completion->error = ENOENT;
        return true;
    }
    completion->error = remove_flow(nic, rule, &completion->reason);
    if (completion->error) {
        return true;
    } else if (rule->indirect) {
        rule->due_ms = now_ms + RTE_NIC_DRIVER_STALE_MS;
        rule->cookie = op->cookie;
        ovs_list_remove(&rule->counter_node);
        ovs_list_push_back(&nic->draining, &rule->counter_node);
        return false;
    }
    complete_del(nic, rule, completion);
    return true;
}

/* Returns the rule whose count is the last one next, or null. */
static struct rte_rule *
first_draining(const struct nic_rte *nic)
    OVS_REQUIRES(nic->rule_mutex)
{
    return (ovs_list_is_empty(&nic->draining) ? NULL
            : CONTAINER_OF(ovs_list_front(&nic->draining), struct rte_rule,
                           counter_node));
}

size_t
rte_rules_drain(struct nic_rte *nic, struct nic_completion completions[],
                size_t max, long long int now_ms)
{
    struct rte_rule *rule;
    size_t n = 0;

    while (n < max && (rule = first_draining(nic))
           && now_ms >= rule->due_ms) {
        struct nic_completion *c = &completions[n++];

        *c = (struct nic_completion) {
            .type = NIC_OP_RULE_DEL,
            .cookie = rule->cookie,
        };
        end_counter(nic, rule);
        ovs_list_remove(&rule->counter_node);
        complete_del(nic, rule, c);
    }
    return n;
}

long long int
rte_rules_drain_ms(const struct nic_rte *nic)
{
    const struct rte_rule *rule = first_draining(nic);

    return rule ? rule->due_ms : LLONG_MAX;
}

/* Takes down 'rule', whose port goes, or because 'ethdev' is about to stop. */
static void
take_down(struct nic_rte *nic, struct rte_rule *rule, uint16_t ethdev)
    OVS_REQUIRES(nic->rule_mutex) OVS_EXCLUDED(nic->egress_mutex)
{
    const char *why;

    if (rule->ethdev == ethdev) {
        give_up_flow(nic, rule);
    } else {
        /* On error it stays until it is deleted. */
        remove_flow(nic, rule, &why);
    }
}

void
rte_rules_take_down(struct nic_rte *nic, struct rte_port *port,
                    uint16_t ethdev)
{
    struct rte_rule *rule;

    LIST_FOR_EACH_SAFE (rule, in_node, &port->in_rules) {
        take_down(nic, rule, ethdev);
    }
    LIST_FOR_EACH_SAFE (rule, out_node, &port->out_rules) {
        take_down(nic, rule, ethdev);
    }
}

/* Reads the last counts of the rules in 'list' that were made through
 * 'ethdev'. */
static void
end_counters(struct nic_rte *nic, struct ovs_list *list, uint16_t ethdev)
    OVS_REQUIRES(nic->rule_mutex) OVS_EXCLUDED(nic->egress_mutex)
{
    struct rte_rule *rule;

    LIST_FOR_EACH_SAFE (rule, counter_node, list) {
        if (rule->ethdev == ethdev) {
            end_counter(nic, rule);
            if (list == &nic->counters) {
                leave_list(&rule->counter_node);
            }
        }
    }
}

void
rte_rules_end(struct nic_rte *nic, uint16_t ethdev)
{
    struct rte_rule *rule;

    LIST_FOR_EACH_SAFE (rule, in_node, &nic->portless) {
        if (rule->ethdev == ethdev) {
            give_up_flow(nic, rule);
        }
    }

    /* A driver may refuse to change the configuration of a port with indirect
     * actions, so they cannot wait. */
    end_counters(nic, &nic->counters, ethdev);
    end_counters(nic, &nic->draining, ethdev);
}

void
rte_rules_leave(struct nic_rte *nic, struct rte_port *port)
{
    struct rte_rule *rule;

    ovs_list_push_back_all(&nic->portless, &port->in_rules);
    LIST_FOR_EACH_SAFE (rule, out_node, &port->out_rules) {
        leave_list(&rule->out_node);
    }
}

void
rte_rules_clear(struct nic_rte *nic)
{
    struct rte_rule *rule;

    HMAP_FOR_EACH_POP (rule, node, &nic->rules) {
        if (rule->flow) {
            give_up_flow(nic, rule);
        }
        end_counter(nic, rule);
        leave_list(&rule->counter_node);
        free_rule(rule);
    }
}

/* Adding. */

/* Finds out what the ports and the egress object of 'rule' are in DPDK, and
 * stores the port that it sends to in '*outp', or null. */
static int
find_place(struct nic_rte *nic, struct rte_rule *rule,
           const struct rte_port *port, struct rte_codec_place *place,
           struct rte_port **outp, const char **reasonp)
    OVS_EXCLUDED(nic->egress_mutex)
{
    const struct nic_action *last = last_action(rule->template);
    int error = 0;

    *outp = NULL;
    *place = (struct rte_codec_place) {
        .style = port->offer.style,
        .in_ethdev = port->offer.ethdev,
    };
    if (last->type == NIC_ACTION_OUTPUT) {
        struct rte_port *out = rte_port_find(nic, last->port);

        if (!out) {
            *reasonp = rte_gone_port;
            return ENODEV;
        }
        place->out_ethdev = out->offer.ethdev;
        *outp = out;
    } else if (last->type == NIC_ACTION_EGRESS) {
        struct rte_egress *egress;

        if (!port->offer.egress) {
            *reasonp = "the port has no egress objects";
            return EOPNOTSUPP;
        }
        ovs_mutex_lock(&nic->egress_mutex);
        egress = rte_egress_find(nic, last->egress);
        if (egress) {
            error = rte_egress_ready(nic, egress, reasonp);
        }
        if (error) {
            error = error == EOPNOTSUPP ? EIO : error;
        } else if (egress) {
            rule->egress = egress->handle;
            place->out_group = egress->group;
            egress->n_rules++;
        } else {
            *reasonp = rte_no_egress;
            error = ENOENT;
        }
        ovs_mutex_unlock(&nic->egress_mutex);
    }
    return error;
}

/* Makes the flow rule of 'rule'. */
static int
install(struct nic_rte *nic, struct rte_rule *rule,
        const struct rte_port *port, struct rte_codec_place *place,
        const char **reasonp)
    OVS_REQUIRES(nic->rule_mutex) OVS_EXCLUDED(nic->egress_mutex)
{
    struct rte_flow_error error = { .type = RTE_FLOW_ERROR_TYPE_NONE };
    struct rte_flow_attr attr = rule_attr(&port->offer);
    struct rte_codec c;
    const char *why;
    int e;

    if (port->offer.indirect_count) {
        rule->indirect = make_indirect_counter(rule->ethdev);
        place->counter = rule->indirect;
    }
    rule->group = attr.group;
    why = rte_codec_encode(&c, rule->template, &rule->values, place);
    if (why) {
        *reasonp = why;
        e = EOPNOTSUPP;
    } else {
        rule->flow = rte_flow_create(rule->ethdev, &attr, c.items, c.actions,
                                     &error);
        e = (rule->flow ? 0
             : rte_flow_explain(rte_errno ? rte_errno : EIO, &error,
                                reasonp));
    }
    if (e) {
        end_counter(nic, rule);
    }
    return e;
}

/* Makes 'rule', for packets that enter by 'port'. */
static int
add_rule(struct nic_rte *nic, struct rte_rule *rule, struct rte_port *port,
         const char **reasonp)
    OVS_REQUIRES(nic->rule_mutex) OVS_EXCLUDED(nic->egress_mutex)
{
    struct rte_codec_place place;
    struct rte_port *out;
    int error;

    error = rte_port_make_jump(nic, port, reasonp);
    if (!error) {
        error = find_place(nic, rule, port, &place, &out, reasonp);
    }
    if (error) {
        return error;
    }
    error = install(nic, rule, port, &place, reasonp);
    if (error) {
        release_egress(nic, rule);
        return error;
    }
    ovs_list_push_back(&port->in_rules, &rule->in_node);
    if (out) {
        ovs_list_push_back(&out->out_rules, &rule->out_node);
    }
    return 0;
}

void
rte_rule_add(struct nic_rte *nic, const struct nic_op *op,
             struct nic_completion *completion)
{
    const struct nic_template *template = op->rule.template;
    struct rte_port *port = rte_port_find_running(nic, template->in_port);
    struct rte_rule *rule;

    if (!port) {
        completion->error = ENODEV;
        completion->reason = rte_gone_port;
        return;
    }
    rule = xzalloc(sizeof *rule);
    rule->template = nic_template_ref(template);
    rule->values = op->rule.values;
    rule->ethdev = port->offer.proxy;
    ovs_list_init(&rule->in_node);
    ovs_list_init(&rule->out_node);
    ovs_list_init(&rule->counter_node);
    completion->error = add_rule(nic, rule, port, &completion->reason);
    if (completion->error) {
        free_rule(rule);
        return;
    }
    rule->handle = ++nic->last_handle;
    hmap_insert(&nic->rules, &rule->node, hash_uint64(rule->handle));
    completion->handle = rule->handle;
}
