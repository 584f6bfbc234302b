/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>
#include "nic-rte-flow-private.h"

#include <errno.h>
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

/* Adding and removing. */

int
rte_nic_destroy_flow(uint16_t ethdev, struct rte_flow *flow,
                     const char **reasonp)
{
    struct rte_flow_error e = { .type = RTE_FLOW_ERROR_TYPE_NONE };
    int retval = rte_flow_destroy(ethdev, flow, &e);
    int error = rte_flow_explain(retval < 0 ? -retval : retval, &e, reasonp);

    /* It exists, so it is not the case that it will never work. */
    return error == EOPNOTSUPP || error == ENOENT ? EIO : error;
}

/* Removes the flow rule of 'rule', which stays, with its final count. */
static int
take_down(struct nic_rte *nic, struct rte_rule *rule, const char **reasonp)
{
    int error;

    if (!rule->flow) {
        return 0;
    }
    if (!rule->indirect) {
        read_counter(nic, rule);
    }
    error = rte_nic_destroy_flow(rule->ethdev, rule->flow, reasonp);
    if (error) {
        return error;
    }
    rule->flow = NULL;
    if (rule->indirect) {
        struct rte_flow_error ignored;

        read_counter(nic, rule);
        rte_flow_action_handle_destroy(rule->ethdev, rule->indirect, &ignored);
        rule->indirect = NULL;
    }
    return 0;
}

static void
free_rule(struct rte_rule *rule)
{
    nic_template_unref(rule->template);
    free(rule);
}

/* Finds out what the ports and the egress object of 'rule' are in DPDK. */
static int
find_place(struct nic_rte *nic, struct rte_rule *rule,
           const struct rte_port *port, struct rte_codec_place *place,
           const char **reasonp)
    OVS_EXCLUDED(nic->egress_mutex)
{
    const struct nic_action *last = last_action(rule->template);
    int error = 0;

    *place = (struct rte_codec_place) {
        .style = port->offer.style,
        .in_ethdev = port->offer.ethdev,
    };
    if (last->type == NIC_ACTION_OUTPUT) {
        const struct rte_port *out = rte_port_find(nic, last->port);

        if (!out) {
            *reasonp = rte_gone_port;
            return ENODEV;
        }
        rule->out_port = out->id;
        place->out_ethdev = out->offer.ethdev;
    } else if (last->type == NIC_ACTION_EGRESS) {
        struct rte_egress *egress;

        ovs_mutex_lock(&nic->egress_mutex);
        egress = rte_egress_find(nic, last->egress);
        if (egress) {
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

static void
release_egress(struct nic_rte *nic, const struct rte_rule *rule)
    OVS_EXCLUDED(nic->egress_mutex)
{
    if (rule->egress) {
        struct rte_egress *egress;

        ovs_mutex_lock(&nic->egress_mutex);
        egress = rte_egress_find(nic, rule->egress);
        ovs_assert(egress && egress->n_rules);
        egress->n_rules--;
        ovs_mutex_unlock(&nic->egress_mutex);
    }
}

/* Makes the flow rule of 'rule'. */
static int
install(struct rte_rule *rule, const struct rte_port *port,
        struct rte_codec_place *place, const char **reasonp)
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
    if (e && rule->indirect) {
        rte_flow_action_handle_destroy(rule->ethdev, rule->indirect, &error);
        rule->indirect = NULL;
    }
    return e;
}

void
rte_rule_add(struct nic_rte *nic, const struct nic_op *op,
             struct nic_completion *completion)
{
    const struct nic_template *template = op->rule.template;
    const struct rte_port *port = rte_port_find_running(nic,
                                                        template->in_port);
    struct rte_codec_place place;
    struct rte_rule *rule;

    if (!port) {
        completion->error = ENODEV;
        completion->reason = rte_gone_port;
        return;
    }
    rule = xzalloc(sizeof *rule);
    rule->template = nic_template_ref(template);
    rule->values = op->rule.values;
    rule->in_port = template->in_port;
    rule->ethdev = port->offer.proxy;
    completion->error = find_place(nic, rule, port, &place,
                                   &completion->reason);
    if (!completion->error) {
        completion->error = install(rule, port, &place, &completion->reason);
        if (completion->error) {
            release_egress(nic, rule);
        }
    }
    if (completion->error) {
        free_rule(rule);
        return;
    }
    rule->handle = ++nic->last_handle;
    hmap_insert(&nic->rules, &rule->node, hash_uint64(rule->handle));
    completion->handle = rule->handle;
}

void
rte_rule_del(struct nic_rte *nic, nic_handle handle,
             struct nic_completion *completion)
{
    struct rte_rule *rule = find_rule(nic, handle);

    if (!rule) {
        completion->error = ENOENT;
        return;
    }
    completion->error = take_down(nic, rule, &completion->reason);
    if (!completion->error) {
        completion->final[0] = rule->counter;
        hmap_remove(&nic->rules, &rule->node);
        release_egress(nic, rule);
        free_rule(rule);
    }
}

void
rte_rules_take_down(struct nic_rte *nic, nic_port_id id, uint16_t ethdev)
{
    struct rte_rule *rule;
    const char *why;

    HMAP_FOR_EACH (rule, node, &nic->rules) {
        if (rule->ethdev == ethdev || rule->in_port == id
            || rule->out_port == id) {
            if (take_down(nic, rule, &why) && rule->ethdev == ethdev) {
                /* Gone it is, whatever the driver says. */
                rule->flow = NULL;
                rule->indirect = NULL;
            }
        }
    }
}

void
rte_rules_clear(struct nic_rte *nic)
{
    struct rte_rule *rule;
    const char *why;

    HMAP_FOR_EACH_POP (rule, node, &nic->rules) {
        take_down(nic, rule, &why);
        free_rule(rule);
    }
}
