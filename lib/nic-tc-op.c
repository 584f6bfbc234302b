/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>
#include "nic-tc-private.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/if_ether.h>
#include <linux/rtnetlink.h>
#include <string.h>

#include "flow.h"
#include "nic-match.h"
#include "openvswitch/shash.h"
#include "openvswitch/vlog.h"
#include "packets.h"
#include "timeval.h"
#include "util.h"

VLOG_DEFINE_THIS_MODULE(nic_tc_op);

static const char gone_port[] = "the port is gone";
static const char unknown_fate[] = "the kernel's answer was lost";

/* Errors. */

/* Returns text that stays what 's' is now.  There are not many different
 * ones. */
static const char *
intern(const char *s)
{
    static struct ovs_mutex mutex = OVS_MUTEX_INITIALIZER;
    static struct shash strings = SHASH_INITIALIZER(&strings);
    const struct shash_node *node;

    ovs_mutex_lock(&mutex);
    node = shash_find(&strings, s);
    if (!node) {
        node = (shash_count(&strings) < 500
                ? shash_add(&strings, s, NULL) : NULL);
    }
    ovs_mutex_unlock(&mutex);
    return node ? node->name : "the kernel refuses it";
}

int
tc_error(const struct tc_result *result, const char **reasonp)
{
    *reasonp = (result->extack && result->extack[0]
                ? intern(result->extack)
                : result->error == EINPROGRESS ? unknown_fate
                : result->error ? intern(ovs_strerror(result->error)) : NULL);
    switch (result->error) {
    case 0:
    case EEXIST:
    case ENODEV:
    case ENOENT:
    case ENOSPC:
        return result->error;
    case ENOMEM:
    case ENOBUFS:
        return ENOSPC;
    case EINVAL:
    case EOPNOTSUPP:
    case ERANGE:
    case EPERM:
    case EPROTONOSUPPORT:
        return EOPNOTSUPP;
    default:
        return EIO;
    }
}

/* Counters. */

uint64_t
tc_count_bytes(const struct flower_stats *stats, uint16_t protocol)
{
    /* In ingress the kernel counts what is behind the Ethernet header and the
     * outermost tag. */
    return stats->bytes + (stats->packets - stats->hw_packets)
                          * (ETH_HEADER_LEN + (eth_type_vlan(htons(protocol))
                                               ? VLAN_HEADER_LEN : 0));
}

/* Turns the kernel's counts into those of nic.h. */
static struct nic_counter
convert_counter(const struct flower_stats *stats, uint16_t protocol,
                long long int now_ms)
{
    return (struct nic_counter) {
        .packets = stats->packets,
        .bytes = tc_count_bytes(stats, protocol),
        .used_ms = stats->packets ? now_ms - (long long) stats->idle_ms : 0,
    };
}

static void
set_counter(struct nic_tc *nic, struct tc_rule *rule,
            const struct nic_counter *counter)
    OVS_REQUIRES(nic->mutex)
{
    if (counter->packets > rule->counter.packets) {
        nic->carried_packets += counter->packets - rule->counter.packets;
        nic->carried_bytes += counter->bytes - rule->counter.bytes;
        rule->counter = *counter;
    }
}

void
tc_rule_count(struct nic_tc *nic, struct tc_rule *rule,
              const struct flower_info *info, long long int now_ms)
{
    struct nic_counter counter = convert_counter(&info->stats,
                                                 rule->place.protocol, now_ms);

    set_counter(nic, rule, &counter);
    rule->in_hw = info->in_hw;
}

/* Egress objects. */

/* Makes in 'batch' a request that makes the filter at 'place' send to
 * 'ifindex', or drop if that is 0. */
static void
put_egress_filter(struct tc_batch *batch, const struct flower_place *place,
                  enum flower_policy policy, nic_handle cookie, int ifindex)
{
    struct flower_info info = {
        .place = *place,
        .policy = policy,
        .cookie = cookie,
    };
    struct flower_rule rule;

    memset(&rule, 0, sizeof rule);
    match_init_catchall(&rule.match);
    rule.n_actions = 1;
    rule.actions[0].type = ifindex ? NIC_ACTION_OUTPUT : NIC_ACTION_DROP;
    rule.actions[0].port = ifindex;
    flower_encode(tc_batch_reserve(batch), &info, &rule,
                  NLM_F_REQUEST | NLM_F_CREATE | NLM_F_ACK,
                  tc_batch_seq(batch));
    tc_batch_commit(batch);
}

/* Returns the error of the first request in 'batch' that failed. */
static int
first_error(const struct tc_batch *batch, const char **reasonp)
{
    for (size_t i = 0; i < batch->n; i++) {
        int error = tc_error(&batch->results[i], reasonp);

        if (error) {
            return error;
        }
    }
    return 0;
}

int
tc_egress_set(struct nic_tc *nic, nic_handle handle, nic_port_id port_id,
              const char **reasonp)
{
    enum flower_policy policy = FLOWER_BOTH;
    struct tc_egress *egress;
    struct tc_batch batch;
    int error = 0;

    tc_batch_init(&batch);
    ovs_mutex_lock(&nic->egress_mutex);
    ovs_mutex_lock(&nic->mutex);
    egress = tc_egress_find(nic, handle);
    if (!egress) {
        error = ENOENT;
        *reasonp = "there is no such egress object";
    } else {
        const struct tc_port *port = tc_port_find(nic, port_id);

        if (port_id != NIC_PORT_NONE && !port) {
            error = ENODEV;
            *reasonp = gone_port;
        }
        for (size_t i = 0; !error && i < egress->n_places; i++) {
            const struct flower_place *place = &egress->places[i];
            const struct tc_port *in_port;

            policy = FLOWER_SKIP_SW;
            HMAP_FOR_EACH (in_port, node, &nic->ports) {
                if (in_port->ifindex == place->ifindex) {
                    policy = tc_port_policy(nic, in_port);
                }
            }
            put_egress_filter(&batch, place, policy, handle,
                              port ? port->ifindex : 0);
        }
    }
    ovs_mutex_unlock(&nic->mutex);
    if (!error && batch.n) {
        tc_socket_transact(nic->egress_sock, &batch, NULL, NULL);
        error = first_error(&batch, reasonp);
    }
    if (!error) {
        ovs_mutex_lock(&nic->mutex);
        egress = tc_egress_find(nic, handle);
        if (egress) {
            egress->port = port_id;
        }
        ovs_mutex_unlock(&nic->mutex);
    }
    ovs_mutex_unlock(&nic->egress_mutex);
    tc_batch_destroy(&batch);
    return error;
}

/* Makes sure that 'egress' has a filter in the ingress of device 'ifindex'. */
static int
install_egress(struct nic_tc *nic, nic_handle handle, int ifindex,
               enum flower_policy policy, const char **reasonp)
    OVS_EXCLUDED(nic->egress_mutex, nic->mutex)
{
    struct flower_place place = {
        .ifindex = ifindex,
        .prio = NIC_TC_PRIO_MIN,
        .protocol = ETH_P_ALL,
        .handle = 1,
    };
    struct tc_egress *egress;
    struct tc_batch batch;
    bool there = false;
    int error = 0;

    tc_batch_init(&batch);
    ovs_mutex_lock(&nic->egress_mutex);
    ovs_mutex_lock(&nic->mutex);
    egress = tc_egress_find(nic, handle);
    ovs_assert(egress);
    for (size_t i = 0; i < egress->n_places; i++) {
        there = there || egress->places[i].ifindex == ifindex;
    }
    if (!there) {
        const struct tc_port *port = tc_port_find(nic, egress->port);

        place.chain = egress->chain;
        put_egress_filter(&batch, &place, policy, handle,
                          port ? port->ifindex : 0);
    }
    ovs_mutex_unlock(&nic->mutex);
    if (!there) {
        tc_socket_transact(nic->egress_sock, &batch, NULL, NULL);
        error = first_error(&batch, reasonp);
        if (!error) {
            ovs_mutex_lock(&nic->mutex);
            egress->places = xrealloc(egress->places,
                                      ((egress->n_places + 1)
                                       * sizeof *egress->places));
            egress->places[egress->n_places++] = place;
            ovs_mutex_unlock(&nic->mutex);
        }
    }
    ovs_mutex_unlock(&nic->egress_mutex);
    tc_batch_destroy(&batch);
    return error;
}

/* Removes the filters of 'egress' from device 'ifindex', from all if that is
 * 0. */
static void
uninstall_egress(struct nic_tc *nic, struct tc_egress *egress, int ifindex)
    OVS_REQUIRES(nic->egress_mutex) OVS_EXCLUDED(nic->mutex)
{
    struct tc_batch batch;
    size_t n = 0;

    tc_batch_init(&batch);
    ovs_mutex_lock(&nic->mutex);
    for (size_t i = 0; i < egress->n_places; i++) {
        const struct flower_place *place = &egress->places[i];

        if (!ifindex || place->ifindex == ifindex) {
            flower_encode_place(tc_batch_reserve(&batch), place,
                                RTM_DELTFILTER, NLM_F_REQUEST | NLM_F_ACK,
                                tc_batch_seq(&batch));
            tc_batch_commit(&batch);
        } else {
            egress->places[n++] = *place;
        }
    }
    egress->n_places = n;
    ovs_mutex_unlock(&nic->mutex);
    tc_socket_transact(nic->egress_sock, &batch, NULL, NULL);
    tc_batch_destroy(&batch);
}

static void
add_egress(struct nic_tc *nic, struct tc_op *op)
{
    struct tc_egress *egress;
    uint32_t chain;
    bool taken;

    ovs_mutex_lock(&nic->mutex);
    if (op->op.egress_port != NIC_PORT_NONE
        && !tc_port_find(nic, op->op.egress_port)) {
        op->completion.error = ENODEV;
        op->completion.reason = gone_port;
    } else if (hmap_count(&nic->egresses) >= NIC_TC_N_CHAINS) {
        op->completion.error = ENOSPC;
    } else {
        do {
            nic->last_chain = (nic->last_chain + 1) % NIC_TC_N_CHAINS;
            chain = NIC_TC_CHAIN_MIN + nic->last_chain;
            taken = false;
            HMAP_FOR_EACH (egress, node, &nic->egresses) {
                taken = taken || egress->chain == chain;
            }
        } while (taken);
        egress = xzalloc(sizeof *egress);
        egress->handle = ++nic->last_handle;
        egress->port = op->op.egress_port;
        egress->chain = chain;
        hmap_insert(&nic->egresses, &egress->node,
                    hash_uint64(egress->handle));
        op->completion.handle = egress->handle;
    }
    ovs_mutex_unlock(&nic->mutex);
}

static void
del_egress(struct nic_tc *nic, struct tc_op *op)
    OVS_EXCLUDED(nic->egress_mutex, nic->mutex)
{
    struct tc_egress *egress;

    ovs_mutex_lock(&nic->egress_mutex);
    ovs_mutex_lock(&nic->mutex);
    egress = tc_egress_find(nic, op->op.handle);
    op->completion.error = !egress ? ENOENT : egress->n_rules ? EBUSY : 0;
    ovs_mutex_unlock(&nic->mutex);
    if (!op->completion.error) {
        uninstall_egress(nic, egress, 0);
        ovs_mutex_lock(&nic->mutex);
        hmap_remove(&nic->egresses, &egress->node);
        ovs_mutex_unlock(&nic->mutex);
        free(egress->places);
        free(egress);
    }
    ovs_mutex_unlock(&nic->egress_mutex);
}

/* Rules. */

/* What adding a rule needs to know. */
struct addition {
    struct flower_rule rule;
    struct flower_info info;
    nic_handle egress;
};

/* Replaces ports by devices and egress objects by chains. */
static int
resolve_actions(const struct nic_tc *nic, struct addition *add,
                const char **reasonp)
    OVS_REQUIRES(nic->mutex)
{
    for (size_t i = 0; i < add->rule.n_actions; i++) {
        struct nic_action *a = &add->rule.actions[i];

        if (a->type == NIC_ACTION_OUTPUT) {
            const struct tc_port *port = tc_port_find(nic, a->port);

            if (!port) {
                *reasonp = gone_port;
                return ENODEV;
            }
            a->port = port->ifindex;
        } else if (a->type == NIC_ACTION_EGRESS) {
            const struct tc_egress *egress = tc_egress_find(nic, a->egress);

            if (!egress) {
                *reasonp = "there is no such egress object";
                return ENOENT;
            }
            add->egress = a->egress;
            a->egress = egress->chain;
        }
    }
    return 0;
}

/* Makes 'add' of the rule in 'op' and 'op->rule' of that. */
static int
prepare_addition(struct nic_tc *nic, struct tc_op *op, struct addition *add,
                 const char **reasonp)
    OVS_REQUIRES(nic->mutex)
{
    const struct nic_template *t = op->op.rule.template;
    const struct tc_port *port = tc_port_find(nic, t->in_port);
    struct flower_place *place = &add->info.place;
    struct tc_rule *rule;
    const char *why;
    int error;

    if (!port) {
        *reasonp = gone_port;
        return ENODEV;
    }
    memset(add, 0, sizeof *add);
    why = flower_rule_init(&add->rule, t, &op->op.rule.values);
    if (!why) {
        nic_match_narrow(&add->rule.match, nic_template_changes_ip(t));
        error = resolve_actions(nic, add, reasonp);
        if (error) {
            return error;
        }
        why = flower_rule_check(&add->rule);
    }
    if (why) {
        *reasonp = why;
        return EOPNOTSUPP;
    }

    place->ifindex = port->ifindex;
    place->protocol = flower_protocol(&add->rule.match);
    place->prio = nic_tc_prio_ref(&nic->prios, place->protocol,
                                  &add->rule.match);
    if (!place->prio) {
        *reasonp = "there are too many different masks";
        return ENOSPC;
    }
    do {
        place->handle = ++nic->last_filter;
    } while (!place->handle);
    add->info.policy = tc_port_policy(nic, port);
    add->info.cookie = ++nic->last_handle;

    rule = xzalloc(sizeof *rule);
    rule->handle = add->info.cookie;
    rule->egress = add->egress;
    rule->port = t->in_port;
    rule->place = *place;
    if (rule->egress) {
        tc_egress_find(nic, rule->egress)->n_rules++;
    }
    op->rule = rule;
    return 0;
}

/* Frees 'rule', which is in no map. */
static void
free_rule(struct nic_tc *nic, struct tc_rule *rule)
    OVS_REQUIRES(nic->mutex)
{
    if (rule->egress) {
        struct tc_egress *egress = tc_egress_find(nic, rule->egress);

        ovs_assert(egress && egress->n_rules);
        egress->n_rules--;
    }
    if (!rule->gone) {
        nic_tc_prio_unref(&nic->prios, rule->place.prio);
    }
    free(rule);
}

/* The kernel has refused a filter of port 'id'.  Finds a reason if it has
 * given none. */
static void
explain_refusal(struct nic_tc *nic, nic_port_id id, struct nic_completion *c)
    OVS_EXCLUDED(nic->mutex)
{
    if (c->error == EOPNOTSUPP
        && (!c->reason || !strcmp(c->reason, ovs_strerror(EOPNOTSUPP)))) {
        const char *problem = tc_port_problem(nic, id);

        c->reason = problem ? problem : c->reason;
    }
}

static void
begin_add(struct nic_tc *nic, struct tc_op *op)
    OVS_REQUIRES(nic->kernel_mutex) OVS_EXCLUDED(nic->mutex)
{
    struct nic_completion *c = &op->completion;
    struct addition add;

    ovs_mutex_lock(&nic->mutex);
    c->error = prepare_addition(nic, op, &add, &c->reason);
    ovs_mutex_unlock(&nic->mutex);
    if (!c->error && add.egress) {
        c->error = install_egress(nic, add.egress, add.info.place.ifindex,
                                  add.info.policy, &c->reason);
        explain_refusal(nic, op->rule->port, c);
    }
    if (c->error) {
        if (op->rule) {
            ovs_mutex_lock(&nic->mutex);
            free_rule(nic, op->rule);
            op->rule = NULL;
            ovs_mutex_unlock(&nic->mutex);
        }
        return;
    }
    op->message = nic->batch.n;
    flower_encode(tc_batch_reserve(&nic->batch), &add.info, &add.rule,
                  NLM_F_REQUEST | NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK,
                  tc_batch_seq(&nic->batch));
    tc_batch_commit(&nic->batch);
}

static void
begin_del(struct nic_tc *nic, struct tc_op *op)
    OVS_REQUIRES(nic->kernel_mutex) OVS_EXCLUDED(nic->mutex)
{
    struct tc_rule *rule;

    ovs_mutex_lock(&nic->mutex);
    rule = tc_rule_find(nic, op->op.handle);
    if (!rule) {
        op->completion.error = ENOENT;
    } else if (rule->gone) {
        op->completion.final[0] = rule->counter;
        hmap_remove(&nic->rules, &rule->node);
        free_rule(nic, rule);
    } else {
        op->rule = rule;
        op->message = nic->batch.n;
        flower_encode_place(tc_batch_reserve(&nic->batch), &rule->place,
                            RTM_DELTFILTER,
                            NLM_F_REQUEST | NLM_F_ACK | NLM_F_ECHO,
                            tc_batch_seq(&nic->batch));
        tc_batch_commit(&nic->batch);
    }
    ovs_mutex_unlock(&nic->mutex);
}

/* Operations by the number of their message. */
struct answers {
    struct tc_op **ops;
    size_t n;
};

/* Handles the kernel's echo of a deletion: the filter as it was. */
static void
handle_echo(size_t i, const struct nlmsghdr *nlh, void *answers_)
{
    struct answers *answers = answers_;
    struct tc_op *op = i < answers->n ? answers->ops[i] : NULL;
    struct flower_info info;

    if (op && op->op.type == NIC_OP_RULE_DEL
        && !flower_decode_info(nlh, &info)
        && info.place.handle == op->rule->place.handle) {
        op->counter = convert_counter(&info.stats, op->rule->place.protocol,
                                      time_msec());
        op->answered = true;
    }
}

static void
note_found(size_t i OVS_UNUSED, const struct nlmsghdr *nlh, void *info_)
{
    struct flower_info *info = info_;
    struct flower_info found;

    if (!flower_decode_info(nlh, &found)) {
        *info = found;
    }
}

/* Asks the kernel whether 'rule' is there. */
static bool
rule_exists(struct nic_tc *nic, const struct tc_rule *rule)
    OVS_REQUIRES(nic->kernel_mutex)
{
    struct flower_info info = { .ours = false };
    struct tc_batch batch;

    tc_batch_init(&batch);
    flower_encode_place(tc_batch_reserve(&batch), &rule->place,
                        RTM_GETTFILTER, NLM_F_REQUEST | NLM_F_ACK,
                        tc_batch_seq(&batch));
    tc_batch_commit(&batch);
    tc_socket_transact(nic->ctl_sock, &batch, note_found, &info);
    tc_batch_destroy(&batch);
    return info.ours && info.cookie == rule->handle;
}

/* The kernel says EINVAL where the device of 'rule' has no clsact.  Makes one
 * if somebody removed ours, and the rules with it.  Returns true if so. */
static bool
restore_qdisc(struct nic_tc *nic, const struct tc_rule *rule)
    OVS_REQUIRES(nic->kernel_mutex) OVS_EXCLUDED(nic->mutex)
{
    int ifindex = rule->place.ifindex;
    struct tc_port *port;
    bool made;

    if (tc_kernel_add_qdisc(nic->ctl_sock, ifindex, &made) || !made) {
        return false;
    }
    ovs_mutex_lock(&nic->mutex);
    port = tc_port_find(nic, rule->port);
    if (port) {
        port->made_qdisc = true;
    }
    ovs_mutex_unlock(&nic->mutex);
    if (!port) {
        tc_kernel_del_qdisc(nic->ctl_sock, ifindex);
    }
    return port != NULL;
}

static void
finish_add(struct nic_tc *nic, struct tc_op *op)
    OVS_REQUIRES(nic->kernel_mutex) OVS_EXCLUDED(nic->mutex)
{
    const struct tc_result *result = &nic->batch.results[op->message];
    struct nic_completion *c = &op->completion;
    bool exists = !result->error;

    if (result->error == EINPROGRESS) {
        exists = rule_exists(nic, op->rule);
    }
    if (!exists) {
        c->error = tc_error(result, &c->reason);
        if (result->error == EINVAL && restore_qdisc(nic, op->rule)) {
            c->error = EIO;
            c->reason = "the device had lost its clsact";
        }
        explain_refusal(nic, op->rule->port, c);
    }
    ovs_mutex_lock(&nic->mutex);
    if (exists) {
        c->handle = op->rule->handle;
        hmap_insert(&nic->rules, &op->rule->node,
                    hash_uint64(op->rule->handle));
    } else {
        free_rule(nic, op->rule);
    }
    ovs_mutex_unlock(&nic->mutex);
}

static void
finish_del(struct nic_tc *nic, struct tc_op *op)
    OVS_REQUIRES(nic->kernel_mutex) OVS_EXCLUDED(nic->mutex)
{
    const struct tc_result *result = &nic->batch.results[op->message];
    struct nic_completion *c = &op->completion;
    struct tc_rule *rule = op->rule;
    bool exists = result->error != 0 && result->error != ENOENT
                  && result->error != ENODEV;

    /* EINVAL: the device has no clsact any more, or something else. */
    if (result->error == EINPROGRESS || result->error == EINVAL) {
        exists = rule_exists(nic, rule);
    }
    ovs_mutex_lock(&nic->mutex);
    if (exists) {
        c->error = tc_error(result, &c->reason);
        c->error = c->error == EOPNOTSUPP ? EIO : c->error;
    } else {
        if (op->answered) {
            set_counter(nic, rule, &op->counter);
        }

        /* Without an answer, what was read last is what is known. */
        c->final[0] = rule->counter;
        hmap_remove(&nic->rules, &rule->node);
        free_rule(nic, rule);
    }
    ovs_mutex_unlock(&nic->mutex);
}

void
tc_ops_execute(struct nic_tc *nic, struct ovs_list *ops)
{
    struct answers answers = { .n = 0 };
    struct tc_op *op;

    ovs_mutex_lock(&nic->kernel_mutex);
    tc_batch_clear(&nic->batch);
    answers.ops = xmalloc(ovs_list_size(ops) * sizeof *answers.ops);
    LIST_FOR_EACH (op, node, ops) {
        struct nic_completion *c = &op->completion;

        c->type = op->op.type;
        c->cookie = op->op.cookie;
        op->message = SIZE_MAX;
        switch (op->op.type) {
        case NIC_OP_RULE_ADD:
            begin_add(nic, op);
            break;
        case NIC_OP_RULE_DEL:
            begin_del(nic, op);
            break;
        case NIC_OP_EGRESS_ADD:
            add_egress(nic, op);
            break;
        case NIC_OP_EGRESS_SET:
            c->error = tc_egress_set(nic, op->op.handle, op->op.egress_port,
                                     &c->reason);
            break;
        case NIC_OP_EGRESS_DEL:
            del_egress(nic, op);
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
        if (op->message != SIZE_MAX) {
            answers.ops[answers.n++] = op;
        }
    }
    tc_socket_transact(nic->sock, &nic->batch, handle_echo, &answers);
    for (size_t i = 0; i < answers.n; i++) {
        if (answers.ops[i]->op.type == NIC_OP_RULE_ADD) {
            finish_add(nic, answers.ops[i]);
        } else {
            finish_del(nic, answers.ops[i]);
        }
    }
    ovs_mutex_unlock(&nic->kernel_mutex);
    free(answers.ops);
}

/* Ports. */

/* The rules of a port that is removed, by the number of the message. */
struct removal {
    struct tc_rule **rules;
    size_t n;
    struct nic_tc *nic;
};

static void
note_removed(size_t i, const struct nlmsghdr *nlh, void *removal_)
{
    struct removal *removal = removal_;
    struct flower_info info;

    if (i < removal->n && !flower_decode_info(nlh, &info)) {
        struct nic_tc *nic = removal->nic;

        ovs_mutex_lock(&nic->mutex);
        tc_rule_count(nic, removal->rules[i], &info, time_msec());
        ovs_mutex_unlock(&nic->mutex);
    }
}

void
tc_ops_remove_port(struct nic_tc *nic, nic_port_id id, int ifindex)
{
    struct removal removal = { .nic = nic };
    struct tc_egress *egress;
    struct tc_batch batch;
    struct tc_rule *rule;

    tc_batch_init(&batch);
    ovs_mutex_lock(&nic->mutex);
    removal.rules = xmalloc(hmap_count(&nic->rules) * sizeof *removal.rules);
    HMAP_FOR_EACH (rule, node, &nic->rules) {
        if (rule->port == id && !rule->gone) {
            flower_encode_place(tc_batch_reserve(&batch), &rule->place,
                                RTM_DELTFILTER,
                                NLM_F_REQUEST | NLM_F_ACK | NLM_F_ECHO,
                                tc_batch_seq(&batch));
            tc_batch_commit(&batch);
            removal.rules[removal.n++] = rule;
        }
    }
    ovs_mutex_unlock(&nic->mutex);
    tc_socket_transact(nic->ctl_sock, &batch, note_removed, &removal);

    ovs_mutex_lock(&nic->mutex);
    for (size_t i = 0; i < removal.n; i++) {
        int error = batch.results[i].error;

        /* Whatever else may have happened, deleting it will tell. */
        if (!error || error == ENOENT || error == ENODEV) {
            removal.rules[i]->gone = true;
            nic_tc_prio_unref(&nic->prios, removal.rules[i]->place.prio);
        }
    }
    ovs_mutex_unlock(&nic->mutex);
    free(removal.rules);
    tc_batch_destroy(&batch);

    ovs_mutex_lock(&nic->egress_mutex);
    ovs_mutex_lock(&nic->mutex);
    HMAP_FOR_EACH (egress, node, &nic->egresses) {
        ovs_mutex_unlock(&nic->mutex);
        uninstall_egress(nic, egress, ifindex);
        ovs_mutex_lock(&nic->mutex);
    }
    ovs_mutex_unlock(&nic->mutex);
    ovs_mutex_unlock(&nic->egress_mutex);
}
