/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>
#include "nic-tc.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <limits.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <string.h>

#include "hash.h"
#include "nic-match.h"
#include "nic-tc-private.h"
#include "openvswitch/dynamic-string.h"
#include "openvswitch/poll-loop.h"
#include "openvswitch/vlog.h"
#include "ovs-rcu.h"
#include "ovs-thread.h"
#include "smap.h"
#include "timeval.h"
#include "util.h"

VLOG_DEFINE_THIS_MODULE(nic_tc);

/* There is one kernel. */
static bool is_open;

static struct nic_tc *
nic_tc_cast(const struct nic *nic)
{
    ovs_assert(nic->class == &nic_tc_class);
    return CONTAINER_OF(CONST_CAST(struct nic *, nic), struct nic_tc, up);
}

struct tc_port *
tc_port_find(const struct nic_tc *nic, nic_port_id id)
{
    struct tc_port *port;

    HMAP_FOR_EACH_WITH_HASH (port, node, hash_int(id, 0), &nic->ports) {
        if (port->id == id) {
            return port;
        }
    }
    return NULL;
}

struct tc_rule *
tc_rule_find(const struct nic_tc *nic, nic_handle handle)
{
    struct tc_rule *rule;

    HMAP_FOR_EACH_WITH_HASH (rule, node, hash_uint64(handle), &nic->rules) {
        if (rule->handle == handle) {
            return rule;
        }
    }
    return NULL;
}

struct tc_egress *
tc_egress_find(const struct nic_tc *nic, nic_handle handle)
{
    struct tc_egress *egress;

    HMAP_FOR_EACH_WITH_HASH (egress, node, hash_uint64(handle),
                             &nic->egresses) {
        if (egress->handle == handle) {
            return egress;
        }
    }
    return NULL;
}

/* The thread. */

static void
note_counter(size_t i OVS_UNUSED, const struct nlmsghdr *nlh, void *nic_)
{
    struct nic_tc *nic = nic_;
    struct flower_info info;

    if (!flower_decode_info(nlh, &info) && info.ours) {
        struct tc_rule *rule;

        ovs_mutex_lock(&nic->mutex);
        rule = tc_rule_find(nic, info.cookie);
        if (rule && !rule->gone) {
            tc_rule_count(nic, rule, &info, time_msec());
        }
        ovs_mutex_unlock(&nic->mutex);
    }
}

/* Returns the devices of all ports, 'n' of them, which the caller frees. */
static int *
all_devices(struct nic_tc *nic, size_t *n)
    OVS_REQUIRES(nic->mutex)
{
    int *devices = xmalloc(hmap_count(&nic->ports) * sizeof *devices);
    const struct tc_port *port;

    *n = 0;
    HMAP_FOR_EACH (port, node, &nic->ports) {
        devices[(*n)++] = port->ifindex;
    }
    return devices;
}

static void
read_counters(struct nic_tc *nic)
{
    int *devices = NULL;
    size_t n = 0;

    ovs_mutex_lock(&nic->mutex);
    if (!hmap_is_empty(&nic->rules)) {
        devices = all_devices(nic, &n);
    }
    ovs_mutex_unlock(&nic->mutex);
    for (size_t i = 0; i < n; i++) {
        tc_kernel_dump(nic->sock, devices[i], note_counter, nic);
    }
    free(devices);
}

static void
execute_queue(struct nic_tc *nic)
{
    struct ovs_list ops = OVS_LIST_INITIALIZER(&ops);
    struct tc_op *op;

    ovs_mutex_lock(&nic->mutex);
    ovs_list_push_back_all(&ops, &nic->queue);
    ovs_mutex_unlock(&nic->mutex);
    if (ovs_list_is_empty(&ops)) {
        return;
    }
    tc_ops_execute(nic, &ops);

    ovs_mutex_lock(&nic->mutex);
    LIST_FOR_EACH (op, node, &ops) {
        ovs_assert(nic->n_pending);
        nic->n_pending--;
        if (op->completion.error) {
            nic->n_failed++;
        } else {
            nic->n_ops++;
        }
    }
    ovs_list_push_back_all(&nic->done, &ops);
    ovs_mutex_unlock(&nic->mutex);
}

static void *
nic_tc_main(void *nic_)
{
    struct nic_tc *nic = nic_;

    while (!latch_is_set(&nic->exit)) {
        /* The kernel may take its time, for instance while it removes a
         * device, and the thread uses nothing that RCU protects. */
        ovsrcu_quiesce_start();
        latch_poll(&nic->wake);
        execute_queue(nic);
        if (time_msec() >= nic->stats_ms) {
            read_counters(nic);
            nic->stats_ms = time_msec() + NIC_TC_STATS_MS;
        }
        ovs_mutex_lock(&nic->mutex);
        if (!hmap_is_empty(&nic->rules)) {
            poll_timer_wait_until(nic->stats_ms);
        }
        ovs_mutex_unlock(&nic->mutex);
        latch_wait(&nic->wake);
        latch_wait(&nic->exit);
        poll_block();
    }
    return NULL;
}

/* Life. */

static int
parse_config(const struct smap *smap, enum flower_policy *policy,
             char **errorp)
{
    const struct smap_node *node;

    *policy = FLOWER_BOTH;
    SMAP_FOR_EACH (node, smap) {
        if (strcmp(node->key, "tc-policy")) {
            *errorp = xasprintf("%s=%s: unknown key, must be tc-policy",
                                node->key, node->value);
            return EINVAL;
        }
        if (!flower_policy_from_string(node->value, policy)) {
            *errorp = xasprintf("tc-policy=%s: must be none, skip_sw or "
                                "skip_hw", node->value);
            return EINVAL;
        }
    }
    return 0;
}

static void
destroy(struct nic_tc *nic)
    OVS_NO_THREAD_SAFETY_ANALYSIS
{
    struct tc_egress *egress;
    struct tc_rule *rule;
    struct tc_op *op;

    LIST_FOR_EACH_POP (op, node, &nic->done) {
        free(op);
    }
    HMAP_FOR_EACH_POP (rule, node, &nic->rules) {
        free(rule);
    }
    HMAP_FOR_EACH_POP (egress, node, &nic->egresses) {
        free(egress->places);
        free(egress);
    }
    hmap_destroy(&nic->rules);
    hmap_destroy(&nic->egresses);
    hmap_destroy(&nic->ports);
    nic_tc_prios_destroy(&nic->prios);
    tc_batch_destroy(&nic->batch);
    tc_socket_close(nic->sock);
    tc_socket_close(nic->ctl_sock);
    tc_socket_close(nic->egress_sock);
    latch_destroy(&nic->wake);
    latch_destroy(&nic->exit);
    ovs_mutex_destroy(&nic->mutex);
    ovs_mutex_destroy(&nic->egress_mutex);
    ovs_mutex_destroy(&nic->kernel_mutex);
    free(nic->up.name);
    free(nic);
}

static int
nic_tc_open(const char *name, const struct smap *config, struct nic **nicp,
            char **errorp)
    OVS_NO_THREAD_SAFETY_ANALYSIS
{
    enum flower_policy policy;
    struct nic_tc *nic;
    int error;

    if (is_open) {
        *errorp = xasprintf("%s: there is one NIC of this kind only", name);
        return EEXIST;
    }
    error = parse_config(config, &policy, errorp);
    if (error) {
        return error;
    }

    nic = xzalloc(sizeof *nic);
    nic->up.class = &nic_tc_class;
    nic->up.name = xstrdup(name);
    nic->policy = policy;
    ovs_mutex_init(&nic->kernel_mutex);
    ovs_mutex_init(&nic->egress_mutex);
    ovs_mutex_init(&nic->mutex);
    hmap_init(&nic->ports);
    hmap_init(&nic->rules);
    hmap_init(&nic->egresses);
    nic_tc_prios_init(&nic->prios);
    ovs_list_init(&nic->queue);
    ovs_list_init(&nic->done);
    latch_init(&nic->wake);
    latch_init(&nic->exit);
    tc_batch_init(&nic->batch);
    error = tc_socket_open(&nic->sock);
    error = error ? error : tc_socket_open(&nic->ctl_sock);
    error = error ? error : tc_socket_open(&nic->egress_sock);
    if (error) {
        *errorp = xasprintf("%s: cannot open a netlink socket (%s)", name,
                            ovs_strerror(error));
        destroy(nic);
        return error;
    }
    nic->n_stale = tc_kernel_remove_stale(nic->ctl_sock);
    if (nic->n_stale) {
        VLOG_INFO("%s: removed %"PRIu32" filters of an earlier life", name,
                  nic->n_stale);
    }
    nic->thread = ovs_thread_create("nic_tc", nic_tc_main, nic);
    is_open = true;
    *nicp = &nic->up;
    return 0;
}

static void
nic_tc_close(struct nic *nic_)
{
    struct nic_tc *nic = nic_tc_cast(nic_);

    latch_set(&nic->exit);
    xpthread_join(nic->thread, NULL);
    destroy(nic);
    is_open = false;
}

static int
nic_tc_reconfigure(struct nic *nic_, const struct smap *config, char **errorp)
{
    struct nic_tc *nic = nic_tc_cast(nic_);
    enum flower_policy policy;
    int error;

    error = parse_config(config, &policy, errorp);
    if (error) {
        return error;
    }
    ovs_mutex_lock(&nic->mutex);
    if (policy != nic->policy
        && (!hmap_is_empty(&nic->rules) || !hmap_is_empty(&nic->egresses)
            || nic->n_pending)) {
        *errorp = xasprintf("tc-policy=%s: cannot be changed while there are "
                            "rules", flower_policy_to_string(policy));
        error = EBUSY;
    } else {
        nic->policy = policy;
    }
    ovs_mutex_unlock(&nic->mutex);
    return error;
}

static void
nic_tc_get_caps(const struct nic *nic OVS_UNUSED, struct nic_caps *caps)
{
    *caps = (struct nic_caps) {
        .egress_object = true,
        .cross_uplink = true,
        .last_hit_time = true,
        .ipv6 = true,
        .nat = true,
        .vlan = true,
        .ttl = true,
        .multi_output = true,
        .max_rules = UINT32_MAX,
        .stale_ms = 2 * NIC_TC_STATS_MS,
    };
}

static void
nic_tc_get_stats(const struct nic *nic_, struct nic_stats *stats)
{
    struct nic_tc *nic = nic_tc_cast(nic_);

    memset(stats, 0, sizeof *stats);
    ovs_mutex_lock(&nic->mutex);
    stats->n_rules = hmap_count(&nic->rules);
    stats->n_egresses = hmap_count(&nic->egresses);
    stats->n_ops = nic->n_ops;
    stats->n_failed = nic->n_failed;
    stats->n_pending = nic->n_pending;
    stats->carried_packets = nic->carried_packets;
    stats->carried_bytes = nic->carried_bytes;
    stats->n_stale = nic->n_stale;
    ovs_mutex_unlock(&nic->mutex);
}

/* Ports. */

enum flower_policy
tc_port_policy(const struct nic_tc *nic, const struct tc_port *port)
{
    return port->own ? FLOWER_SKIP_SW : nic->policy;
}

/* Returns whether the device of port 'id' offloads, HW_TC_UNKNOWN if that is
 * of no importance for the port.  Stores in '*changedp' whether that is not
 * what it was when the port was added. */
static enum hw_tc
ask_hw_tc(struct nic_tc *nic, nic_port_id id, bool *changedp)
    OVS_EXCLUDED(nic->mutex)
{
    enum hw_tc hw_tc = HW_TC_UNKNOWN;
    struct tc_port *port;
    int ifindex = 0;

    ovs_mutex_lock(&nic->mutex);
    port = tc_port_find(nic, id);
    if (port && tc_port_policy(nic, port) == FLOWER_SKIP_SW
        && time_msec() >= port->hw_tc_ms + NIC_TC_HW_TC_MS) {
        ifindex = port->ifindex;
    }
    ovs_mutex_unlock(&nic->mutex);
    if (ifindex) {
        hw_tc = hw_tc_query(ifindex);
    }

    *changedp = false;
    ovs_mutex_lock(&nic->mutex);
    port = tc_port_find(nic, id);
    if (port && tc_port_policy(nic, port) == FLOWER_SKIP_SW) {
        if (ifindex) {
            port->hw_tc = hw_tc;
            port->hw_tc_ms = time_msec();
        }
        hw_tc = port->hw_tc;
        *changedp = (hw_tc != HW_TC_UNKNOWN
                     && port->hw_tc_added != HW_TC_UNKNOWN
                     && hw_tc != port->hw_tc_added);
    } else {
        hw_tc = HW_TC_UNKNOWN;
    }
    ovs_mutex_unlock(&nic->mutex);
    return hw_tc;
}

const char *
tc_port_problem(struct nic_tc *nic, nic_port_id id)
{
    bool changed;

    return hw_tc_problem(ask_hw_tc(nic, id, &changed));
}

static int
nic_tc_port_add_on(struct nic *nic_, const char *name, const char *dev,
                   odp_port_t odp_port OVS_UNUSED, enum nic_port_role role,
                   nic_port_id *idp)
{
    struct nic_tc *nic = nic_tc_cast(nic_);
    int ifindex = if_nametoindex(dev);
    bool made_qdisc = false;
    struct tc_port *port;
    const char *problem;
    int error = 0;

    if (!ifindex) {
        return ENODEV;
    }
    ovs_mutex_lock(&nic->mutex);
    HMAP_FOR_EACH (port, node, &nic->ports) {
        if (port->ifindex == ifindex || !strcmp(port->name, name)) {
            error = EEXIST;
        }
    }
    ovs_mutex_unlock(&nic->mutex);
    if (error) {
        return error;
    }

    ovs_mutex_lock(&nic->kernel_mutex);
    error = tc_kernel_add_qdisc(nic->ctl_sock, ifindex, &made_qdisc);
    ovs_mutex_unlock(&nic->kernel_mutex);
    if (error) {
        return error;
    }
    port = xzalloc(sizeof *port);
    port->name = xstrdup(name);
    port->dev = xstrdup(dev);
    port->own = !strcmp(name, dev) || if_nametoindex(name) == ifindex;
    port->ifindex = ifindex;
    port->made_qdisc = made_qdisc;
    port->role = role;
    port->hw_tc = port->hw_tc_added = hw_tc_query(ifindex);
    port->hw_tc_ms = time_msec();
    ovs_mutex_lock(&nic->mutex);
    port->id = ++nic->last_port;
    hmap_insert(&nic->ports, &port->node, hash_int(port->id, 0));
    problem = (tc_port_policy(nic, port) == FLOWER_SKIP_SW
               ? hw_tc_problem(port->hw_tc) : NULL);
    ovs_mutex_unlock(&nic->mutex);
    if (problem) {
        VLOG_WARN("%s: rules for packets from %s will hardly be accepted: %s",
                  nic->up.name, name, problem);
    }
    *idp = port->id;
    return 0;
}

static int
nic_tc_port_add(struct nic *nic, const char *name, odp_port_t odp_port,
                enum nic_port_role role, nic_port_id *idp)
{
    return nic_tc_port_add_on(nic, name, name, odp_port, role, idp);
}

static bool
nic_tc_port_changed(const struct nic *nic_, nic_port_id id)
{
    struct nic_tc *nic = nic_tc_cast(nic_);
    char dev[IF_NAMESIZE] = "";
    const struct tc_port *port;
    bool changed = false;
    int ifindex = 0;

    ovs_mutex_lock(&nic->mutex);
    port = tc_port_find(nic, id);
    if (port) {
        ifindex = port->ifindex;
        ovs_strlcpy(dev, port->dev, sizeof dev);
    }
    ovs_mutex_unlock(&nic->mutex);
    if (ifindex && if_nametoindex(dev) == ifindex) {
        ask_hw_tc(nic, id, &changed);
    } else {
        changed = ifindex != 0;
    }
    return changed;
}

static const char *
nic_tc_port_problem(struct nic *nic, nic_port_id id)
{
    return tc_port_problem(nic_tc_cast(nic), id);
}

static void
nic_tc_port_del(struct nic *nic_, nic_port_id id)
{
    struct nic_tc *nic = nic_tc_cast(nic_);
    struct tc_port *port;

    ovs_mutex_lock(&nic->kernel_mutex);
    ovs_mutex_lock(&nic->mutex);
    port = tc_port_find(nic, id);
    if (port) {
        hmap_remove(&nic->ports, &port->node);
    }
    ovs_mutex_unlock(&nic->mutex);
    if (port) {
        tc_ops_remove_port(nic, id, port->ifindex);
        if (port->made_qdisc) {
            tc_kernel_del_qdisc(nic->ctl_sock, port->ifindex);
        }
        free(port->name);
        free(port->dev);
        free(port);
    }
    ovs_mutex_unlock(&nic->kernel_mutex);
}

/* Operations. */

static const char *
nic_tc_check_template(const struct nic *nic OVS_UNUSED,
                      const struct nic_template *template)
{
    struct flower_rule rule;
    const char *why;

    why = flower_rule_init(&rule, template, NULL);
    if (!why) {
        nic_match_narrow(&rule.match, nic_template_changes_ip(template));

        /* Handles are not chains yet. */
        for (size_t i = 0; i < rule.n_actions; i++) {
            if (rule.actions[i].type == NIC_ACTION_EGRESS) {
                rule.actions[i].egress = NIC_TC_CHAIN_MIN;
            }
        }
        why = flower_rule_check(&rule);
    }
    return why;
}

static void
nic_tc_submit(struct nic *nic_, const struct nic_op ops[], size_t n,
              long long int now_ms OVS_UNUSED)
{
    struct nic_tc *nic = nic_tc_cast(nic_);
    struct ovs_list list = OVS_LIST_INITIALIZER(&list);

    for (size_t i = 0; i < n; i++) {
        struct tc_op *op = xzalloc(sizeof *op);

        op->op = ops[i];
        if (op->op.type == NIC_OP_RULE_ADD) {
            op->op.rule.template = nic_template_ref(op->op.rule.template);
        }
        ovs_list_push_back(&list, &op->node);
    }
    ovs_mutex_lock(&nic->mutex);
    ovs_list_push_back_all(&nic->queue, &list);
    nic->n_pending += n;
    ovs_mutex_unlock(&nic->mutex);
    latch_set(&nic->wake);
}

static size_t
nic_tc_poll(struct nic *nic_, struct nic_completion completions[], size_t max,
            long long int now_ms OVS_UNUSED)
{
    struct nic_tc *nic = nic_tc_cast(nic_);
    struct ovs_list done = OVS_LIST_INITIALIZER(&done);
    struct tc_op *op;
    size_t n = 0;

    ovs_mutex_lock(&nic->mutex);
    while (n < max && !ovs_list_is_empty(&nic->done)) {
        ovs_list_push_back(&done, ovs_list_pop_front(&nic->done));
        n++;
    }
    ovs_mutex_unlock(&nic->mutex);

    n = 0;
    LIST_FOR_EACH_POP (op, node, &done) {
        completions[n++] = op->completion;
        if (op->op.type == NIC_OP_RULE_ADD) {
            nic_template_unref(CONST_CAST(struct nic_template *,
                                          op->op.rule.template));
        }
        free(op);
    }
    return n;
}

static long long int
nic_tc_wake_ms(const struct nic *nic_, long long int now_ms)
{
    struct nic_tc *nic = nic_tc_cast(nic_);
    long long int wake_ms;

    ovs_mutex_lock(&nic->mutex);
    wake_ms = (!ovs_list_is_empty(&nic->done) ? now_ms
               : nic->n_pending ? now_ms + 1
               : LLONG_MAX);
    ovs_mutex_unlock(&nic->mutex);
    return wake_ms;
}

static int
nic_tc_egress_set(struct nic *nic_, nic_handle handle, nic_port_id port,
                  const char **reasonp)
{
    return tc_egress_set(nic_tc_cast(nic_), handle, port, reasonp);
}

static void
nic_tc_rule_counters(struct nic *nic_, const nic_handle handles[], size_t n,
                     struct nic_counter counters[],
                     long long int now_ms OVS_UNUSED)
{
    struct nic_tc *nic = nic_tc_cast(nic_);

    ovs_mutex_lock(&nic->mutex);
    for (size_t i = 0; i < n; i++) {
        const struct tc_rule *rule = tc_rule_find(nic, handles[i]);

        counters[i] = rule ? rule->counter : (struct nic_counter) { 0, 0, 0 };
    }
    ovs_mutex_unlock(&nic->mutex);
}

static void
nic_tc_conn_counters(struct nic *nic OVS_UNUSED,
                     const nic_handle handles[] OVS_UNUSED, size_t n,
                     struct nic_counter counters[][2],
                     long long int now_ms OVS_UNUSED)
{
    memset(counters, 0, n * sizeof *counters);
}

/* For people. */

struct dump {
    struct nic_tc *nic;
    void (*cb)(const char *kind, nic_handle, const char *description,
               const struct nic_counter *, void *aux);
    void *aux;
};

static void
dump_filter(size_t i OVS_UNUSED, const struct nlmsghdr *nlh, void *dump_)
{
    const struct dump *dump = dump_;
    struct ds ds = DS_EMPTY_INITIALIZER;
    struct nic_counter counter;
    struct flower_info info;
    struct flower_rule rule;
    char dev[IF_NAMESIZE];
    const char *why;

    if (flower_decode_info(nlh, &info) || !info.ours) {
        return;
    }
    ds_put_format(&ds, "dev=%s,chain=%"PRIu32",prio=%"PRIu16",%s,",
                  if_indextoname(info.place.ifindex, dev) ? dev : "?",
                  info.place.chain, info.place.prio,
                  info.in_hw ? "in_hw" : "not_in_hw");
    why = flower_decode_rule(nlh, &rule);
    if (why) {
        ds_put_cstr(&ds, why);
    } else {
        match_format(&rule.match, NULL, &ds, OFP_DEFAULT_PRIORITY);
        ds_put_cstr(&ds, " actions=");
        nic_actions_format(rule.actions, rule.n_actions, &ds);
    }
    counter = (struct nic_counter) {
        .packets = info.stats.packets,
        .bytes = tc_count_bytes(&info.stats, info.place.protocol),
    };
    dump->cb(info.place.chain ? "egress" : "rule", info.cookie, ds_cstr(&ds),
             &counter, dump->aux);
    ds_destroy(&ds);
}

static void
nic_tc_dump(struct nic *nic_,
            void (*cb)(const char *kind, nic_handle, const char *description,
                       const struct nic_counter *, void *aux),
            void *aux)
{
    struct nic_tc *nic = nic_tc_cast(nic_);
    struct dump dump = { nic, cb, aux };
    int *devices;
    size_t n;

    ovs_mutex_lock(&nic->kernel_mutex);
    ovs_mutex_lock(&nic->mutex);
    devices = all_devices(nic, &n);
    ovs_mutex_unlock(&nic->mutex);
    for (size_t i = 0; i < n; i++) {
        tc_kernel_dump(nic->ctl_sock, devices[i], dump_filter, &dump);
    }
    ovs_mutex_unlock(&nic->kernel_mutex);
    free(devices);
}

const struct nic_class nic_tc_class = {
    .type = "tc",
    .open = nic_tc_open,
    .close = nic_tc_close,
    .reconfigure = nic_tc_reconfigure,
    .get_caps = nic_tc_get_caps,
    .get_stats = nic_tc_get_stats,
    .port_add = nic_tc_port_add,
    .port_add_on = nic_tc_port_add_on,
    .port_changed = nic_tc_port_changed,
    .port_problem = nic_tc_port_problem,
    .port_del = nic_tc_port_del,
    .check_template = nic_tc_check_template,
    .submit = nic_tc_submit,
    .poll = nic_tc_poll,
    .wake_ms = nic_tc_wake_ms,
    .egress_set = nic_tc_egress_set,
    .rule_counters = nic_tc_rule_counters,
    .conn_counters = nic_tc_conn_counters,
    .dump = nic_tc_dump,
};
