/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>
#include "nic-emu-table.h"

#include <errno.h>

#include "cmap.h"
#include "dp-packet.h"
#include "flow.h"
#include "hash.h"
#include "nic-emu-counter.h"
#include "nic-emu-ct.h"
#include "nic-emu-grace.h"
#include "nic-emu-parse.h"
#include "nic-emu-pass.h"
#include "ovs-rcu.h"
#include "packets.h"
#include "util.h"

/* The part of a mask that falls into one 64-bit word of 'struct flow'. */
struct mask_word {
    size_t index;
    uint64_t bits;
};

/* The rules of one group that have the same priority and mask. */
struct subtable {
    struct cmap rules;              /* Contains 'struct nic_emu_rule's. */
    uint32_t priority;
    bool needs_sane;                /* Matches on nw_proto or above. */
    size_t n_words;
    struct mask_word words[];
};

/* An immutable list, in the order of priority. */
struct subtables {
    size_t n;
    struct subtable *list[];
};

/* One table of one port. */
struct group {
    struct cmap_node node;          /* In 'groups' of the engine. */
    atomic_bool published;
    nic_port_id in_port;
    uint32_t table;
    OVSRCU_TYPE(struct subtables *) subtables;
};

struct nic_emu_rule {
    struct cmap_node node;          /* In 'rules' of 'subtable'. */
    atomic_bool published;
    struct nic_emu_counter counter;
    struct nic_template *template;
    struct nic_values values;
    struct nic_emu_egress **egresses;   /* One for each NIC_ACTION_EGRESS, in
                                         * order; null if there is none. */

    /* For the writer only. */
    struct group *group;
    struct subtable *subtable;
    uint32_t hash;

    uint64_t key[];                 /* One for each word of the subtable. */
};

struct nic_emu_egress {
    atomic_uint32_t port;
};

struct nic_emu_table {
    struct cmap groups;             /* Contains 'struct group's. */
    struct nic_emu_ct *ct;
    atomic_bool check_l4_csum;
};

struct nic_emu_table *
nic_emu_table_create(void)
{
    struct nic_emu_table *table = xmalloc(sizeof *table);

    cmap_init(&table->groups);
    table->ct = nic_emu_ct_create();
    atomic_init(&table->check_l4_csum, false);
    return table;
}

static void
table_free(struct nic_emu_table *table)
{
    cmap_destroy(&table->groups);
    free(table);
}

void
nic_emu_table_destroy(struct nic_emu_table *table)
{
    if (table) {
        ovs_assert(!cmap_count(&table->groups));
        nic_emu_ct_destroy(table->ct);
        ovsrcu_postpone(table_free, table);
    }
}

struct nic_emu_ct *
nic_emu_table_ct(struct nic_emu_table *table)
{
    return table->ct;
}

void
nic_emu_table_check_l4_csum(struct nic_emu_table *table, bool check)
{
    atomic_store_relaxed(&table->check_l4_csum, check);
}

/* Groups and subtables. */

static uint32_t
group_hash(nic_port_id in_port, uint32_t table)
{
    return hash_2words(in_port, table);
}

static struct group *
group_find(const struct nic_emu_table *table, nic_port_id in_port,
           uint32_t table_id)
{
    struct group *group;

    CMAP_FOR_EACH_WITH_HASH (group, node, group_hash(in_port, table_id),
                             &table->groups) {
        if (nic_emu_published(&group->published)
            && group->in_port == in_port && group->table == table_id) {
            return group;
        }
    }
    return NULL;
}

static struct group *
group_get(struct nic_emu_table *table, nic_port_id in_port, uint32_t table_id)
{
    struct group *group = group_find(table, in_port, table_id);

    if (!group) {
        group = xzalloc(sizeof *group);
        group->in_port = in_port;
        group->table = table_id;
        ovsrcu_init(&group->subtables, xzalloc(sizeof(struct subtables)));
        nic_emu_publish(&group->published);
        cmap_insert(&table->groups, &group->node,
                    group_hash(in_port, table_id));
    }
    return group;
}

static struct subtables *
group_subtables(const struct group *group)
{
    return ovsrcu_get_protected(struct subtables *, &group->subtables);
}

static void
group_free(struct group *group)
{
    free(group_subtables(group));
    free(group);
}

/* Replaces the subtables of 'group' by the same without 'remove', if not null,
 * and with 'add', if not null, behind those of its priority. */
static void
group_change(struct group *group, const struct subtable *remove,
             struct subtable *add)
{
    struct subtables *old = group_subtables(group);
    struct subtables *new = xmalloc(sizeof *new
                                    + (old->n + 1) * sizeof *new->list);

    new->n = 0;
    for (size_t i = 0; i < old->n; i++) {
        if (add && add->priority < old->list[i]->priority) {
            new->list[new->n++] = add;
            add = NULL;
        }
        if (old->list[i] != remove) {
            new->list[new->n++] = old->list[i];
        }
    }
    if (add) {
        new->list[new->n++] = add;
    }
    ovsrcu_set(&group->subtables, new);
    ovsrcu_postpone(free, old);
}

/* Returns true if 'masks' look at nw_proto or anything above it. */
static bool
masks_need_sane(const struct flow *masks)
{
    static const struct eth_addr zero_mac;

    return (masks->nw_proto || masks->tp_src || masks->tp_dst
            || masks->tcp_flags || masks->igmp_group_ip4
            || masks->ct_state || masks->ct_zone || masks->ct_mark
            || !ovs_u128_is_zero(masks->ct_label)
            || masks->ct_nw_proto || masks->ct_nw_src || masks->ct_nw_dst
            || ipv6_addr_is_set(&masks->ct_ipv6_src)
            || ipv6_addr_is_set(&masks->ct_ipv6_dst)
            || masks->ct_tp_src || masks->ct_tp_dst
            || ipv6_addr_is_set(&masks->nd_target)
            || !eth_addr_equals(masks->arp_sha, zero_mac)
            || !eth_addr_equals(masks->arp_tha, zero_mac));
}

/* Stores in 'words' the words of 'masks' that are not zero and returns their
 * number. */
static size_t
words_from_masks(const struct flow *masks, struct mask_word words[FLOW_U64S])
{
    size_t n = 0;

    for (size_t i = 0; i < FLOW_U64S; i++) {
        uint64_t bits = flow_u64_value(masks, i);

        if (bits) {
            words[n++] = (struct mask_word) { .index = i, .bits = bits };
        }
    }
    return n;
}

static struct subtable *
subtable_find(const struct group *group, uint32_t priority,
              const struct mask_word words[], size_t n_words)
{
    struct subtables *subtables = group_subtables(group);

    for (size_t i = 0; i < subtables->n; i++) {
        struct subtable *s = subtables->list[i];

        if (s->priority == priority && s->n_words == n_words
            && !memcmp(s->words, words, n_words * sizeof *words)) {
            return s;
        }
    }
    return NULL;
}

static struct subtable *
subtable_get(struct group *group, uint32_t priority, const struct flow *masks)
{
    struct mask_word words[FLOW_U64S];
    size_t n_words = words_from_masks(masks, words);
    struct subtable *s = subtable_find(group, priority, words, n_words);

    if (!s) {
        s = xmalloc(sizeof *s + n_words * sizeof *words);
        cmap_init(&s->rules);
        s->priority = priority;
        s->needs_sane = masks_need_sane(masks);
        s->n_words = n_words;
        memcpy(s->words, words, n_words * sizeof *words);
        group_change(group, NULL, s);
    }
    return s;
}

static void
subtable_free(struct subtable *s)
{
    cmap_destroy(&s->rules);
    free(s);
}

/* Destroys 's' and 'group' as far as they are empty. */
static void
subtable_put(struct nic_emu_table *table, struct group *group,
             struct subtable *s)
{
    if (cmap_count(&s->rules)) {
        return;
    }

    group_change(group, s, NULL);
    ovsrcu_postpone(subtable_free, s);
    if (!group_subtables(group)->n) {
        cmap_remove(&table->groups, &group->node,
                    group_hash(group->in_port, group->table));
        ovsrcu_postpone(group_free, group);
    }
}

static uint32_t
subtable_hash(const struct subtable *s, const struct flow *flow)
{
    uint32_t hash = 0;

    for (size_t i = 0; i < s->n_words; i++) {
        const struct mask_word *w = &s->words[i];

        hash = hash_add64(hash, flow_u64_value(flow, w->index) & w->bits);
    }
    return hash_finish(hash, s->n_words * 8);
}

static bool
rule_matches(const struct nic_emu_rule *rule, const struct subtable *s,
             const struct flow *flow)
{
    for (size_t i = 0; i < s->n_words; i++) {
        const struct mask_word *w = &s->words[i];

        if ((flow_u64_value(flow, w->index) & w->bits) != rule->key[i]) {
            return false;
        }
    }
    return true;
}

static struct nic_emu_rule *
subtable_lookup(const struct subtable *s, const struct flow *flow,
                uint32_t hash)
{
    struct nic_emu_rule *rule;

    CMAP_FOR_EACH_WITH_HASH (rule, node, hash, &s->rules) {
        if (nic_emu_published(&rule->published)
            && rule_matches(rule, s, flow)) {
            return rule;
        }
    }
    return NULL;
}

/* Rules. */

static size_t
count_egresses(const struct nic_template *template)
{
    size_t n = 0;

    for (size_t i = 0; i < template->n_actions; i++) {
        n += template->actions[i].type == NIC_ACTION_EGRESS;
    }
    return n;
}

int
nic_emu_rule_add(struct nic_emu_table *table,
                 const struct nic_template *template,
                 const struct nic_values *values,
                 struct nic_emu_egress *const egresses[],
                 struct nic_emu_rule **rulep)
{
    size_t n_egresses = count_egresses(template);
    struct nic_emu_rule *rule;
    struct subtable *s;
    struct group *group;
    struct match match;
    uint32_t hash;

    nic_rule_to_match(template, values, &match);
    group = group_get(table, template->in_port, template->table);
    s = subtable_get(group, template->priority, &match.wc.masks);
    hash = subtable_hash(s, &match.flow);
    if (subtable_lookup(s, &match.flow, hash)) {
        return EEXIST;
    }

    rule = xzalloc(sizeof *rule + s->n_words * sizeof *rule->key);
    nic_emu_counter_init(&rule->counter);
    rule->template = nic_template_ref(template);
    if (values) {
        rule->values = *values;
    }
    if (n_egresses) {
        rule->egresses = xmemdup(egresses, n_egresses * sizeof *egresses);
    }
    rule->group = group;
    rule->subtable = s;
    rule->hash = hash;
    for (size_t i = 0; i < s->n_words; i++) {
        const struct mask_word *w = &s->words[i];

        rule->key[i] = flow_u64_value(&match.flow, w->index) & w->bits;
    }
    nic_emu_publish(&rule->published);
    cmap_insert(&s->rules, &rule->node, hash);

    *rulep = rule;
    return 0;
}

void
nic_emu_rule_remove(struct nic_emu_table *table, struct nic_emu_rule *rule)
{
    cmap_remove(&rule->subtable->rules, &rule->node, rule->hash);
    subtable_put(table, rule->group, rule->subtable);
}

static void
rule_free(struct nic_emu_rule *rule)
{
    nic_template_unref(rule->template);
    free(rule->egresses);
    free(rule);
}

void
nic_emu_rule_free(struct nic_emu_rule *rule)
{
    ovsrcu_postpone(rule_free, rule);
}

const struct nic_template *
nic_emu_rule_template(const struct nic_emu_rule *rule)
{
    return rule->template;
}

const struct nic_values *
nic_emu_rule_values(const struct nic_emu_rule *rule)
{
    return &rule->values;
}

void
nic_emu_rule_counter(const struct nic_emu_rule *rule,
                     struct nic_counter *counter)
{
    nic_emu_counter_get(&rule->counter, counter);
}

/* Egresses. */

struct nic_emu_egress *
nic_emu_egress_create(nic_port_id port)
{
    struct nic_emu_egress *egress = xmalloc(sizeof *egress);

    atomic_init(&egress->port, port);
    return egress;
}

void
nic_emu_egress_set(struct nic_emu_egress *egress, nic_port_id port)
{
    atomic_store_relaxed(&egress->port, port);
}

nic_port_id
nic_emu_egress_get(const struct nic_emu_egress *egress)
{
    nic_port_id port;

    atomic_read_relaxed(&CONST_CAST(struct nic_emu_egress *, egress)->port,
                        &port);
    return port;
}

void
nic_emu_egress_free(struct nic_emu_egress *egress)
{
    ovsrcu_postpone(free, egress);
}

/* Execution. */

/* Returns the rule of 'group' that 'headers' hit, or null.  If 'better' is not
 * null, only one that is better than 'better'. */
static struct nic_emu_rule *
group_lookup(const struct group *group, const struct nic_emu_headers *headers,
             struct nic_emu_rule *better)
{
    const struct subtables *subtables;

    subtables = ovsrcu_get(struct subtables *, &group->subtables);
    for (size_t i = 0; i < subtables->n; i++) {
        const struct subtable *s = subtables->list[i];

        if (better && s->priority >= better->template->priority) {
            break;
        }
        if (headers->sane || !s->needs_sane) {
            struct nic_emu_rule *rule;

            rule = subtable_lookup(s, &headers->flow,
                                   subtable_hash(s, &headers->flow));
            if (rule) {
                return rule;
            }
        }
    }
    return better;
}

static struct nic_emu_rule *
table_lookup(const struct nic_emu_table *table, nic_port_id in_port,
             uint32_t table_id, const struct nic_emu_headers *headers)
{
    const nic_port_id ports[] = { in_port, NIC_PORT_ANY };
    struct nic_emu_rule *rule = NULL;

    for (size_t i = 0; i < ARRAY_SIZE(ports); i++) {
        const struct group *group = group_find(table, ports[i], table_id);

        if (group) {
            rule = group_lookup(group, headers, rule);
        }
    }
    return rule;
}

/* Executes the actions of 'rule'.  Returns false if the packet is missed.
 * Otherwise stores in '*table_id' where it continues, NIC_TABLE_NONE if
 * nowhere. */
static bool
run_rule(const struct nic_emu_table *table, struct nic_emu_rule *rule,
         struct nic_emu_pass *pass, uint32_t *table_id)
{
    const struct nic_template *t = rule->template;
    size_t n_egresses = 0;

    for (size_t i = 0; i < t->n_actions; i++) {
        const struct nic_action *a = &t->actions[i];
        nic_port_id egress_port = NIC_PORT_NONE;

        if (a->type == NIC_ACTION_EGRESS) {
            egress_port = nic_emu_egress_get(rule->egresses[n_egresses++]);
        }
        switch (nic_emu_pass_action(pass, table->ct, a, &rule->values,
                                    egress_port)) {
        case NIC_EMU_NEXT_ACTION:
            break;
        case NIC_EMU_NEXT_TABLE:
            *table_id = (a->type == NIC_ACTION_JUMP ? a->table
                         : a->ct.table);
            return true;
        case NIC_EMU_NEXT_MISS:
            return false;
        default:
            OVS_NOT_REACHED();
        }
    }
    *table_id = NIC_TABLE_NONE;
    return true;
}

enum nic_emu_verdict
nic_emu_table_execute(struct nic_emu_table *table, nic_port_id in_port,
                      struct dp_packet *packet, long long int now_ms,
                      struct nic_emu_outputs *outputs)
{
    uint32_t table_id = NIC_TABLE_ROOT;
    struct nic_emu_pass pass;
    bool check_l4_csum;
    int n_tables = 0;

    atomic_read_relaxed(&table->check_l4_csum, &check_l4_csum);
    nic_emu_pass_start(&pass, packet, check_l4_csum);

    do {
        struct nic_emu_rule *rule = NULL;

        if (n_tables++ < NIC_EMU_MAX_TABLES) {
            rule = table_lookup(table, in_port, table_id,
                                nic_emu_pass_headers(&pass));
        }
        if (!rule || !nic_emu_pass_hit(&pass, &rule->counter)
            || !run_rule(table, rule, &pass, &table_id)) {
            nic_emu_pass_miss(&pass);
            return NIC_EMU_MISS;
        }
    } while (table_id != NIC_TABLE_NONE);

    nic_emu_pass_finish(&pass, now_ms, outputs);
    return outputs->n ? NIC_EMU_OUTPUT : NIC_EMU_DROP;
}
