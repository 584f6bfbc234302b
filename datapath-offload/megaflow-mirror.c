/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>
#include "megaflow-private.h"

#include <stdlib.h>

#include "hash.h"
#include "ovs-rcu.h"
#include "util.h"

static uint32_t
slot_hash(uint32_t dp, odp_port_t in_port, uint32_t recirc_id)
{
    return hash_3words(dp, odp_to_u32(in_port), recirc_id);
}

static uint32_t
ufid_hash(const ovs_u128 *ufid)
{
    return ufid->u32[0];
}

/* The fields by which subtables are indexed: those that composition knows. */
static const struct flow *
index_fields(void)
{
    static struct ovsthread_once once = OVSTHREAD_ONCE_INITIALIZER;
    static struct flow_wildcards wc;

    if (ovsthread_once_start(&once)) {
        memset(&wc, 0, sizeof wc);
        WC_MASK_FIELD(&wc, ct_state);
        WC_MASK_FIELD(&wc, ct_zone);
        WC_MASK_FIELD(&wc, ct_mark);
        WC_MASK_FIELD(&wc, ct_label);
        WC_MASK_FIELD(&wc, dl_src);
        WC_MASK_FIELD(&wc, dl_dst);
        WC_MASK_FIELD(&wc, dl_type);
        WC_MASK_FIELD(&wc, nw_src);
        WC_MASK_FIELD(&wc, nw_dst);
        WC_MASK_FIELD(&wc, ipv6_src);
        WC_MASK_FIELD(&wc, ipv6_dst);
        WC_MASK_FIELD(&wc, nw_proto);
        WC_MASK_FIELD(&wc, nw_frag);
        WC_MASK_FIELD(&wc, tp_src);
        WC_MASK_FIELD(&wc, tp_dst);
        ovsthread_once_done(&once);
    }
    return &wc.masks;
}

static uint64_t *
flow_u64s(struct flow *flow)
{
    return (uint64_t *) flow;
}

static const uint64_t *
flow_u64s_const(const struct flow *flow)
{
    return (const uint64_t *) flow;
}

void
mf_mirror_init(struct mf_mirror *mirror)
{
    memset(mirror, 0, sizeof *mirror);
    cmap_init(&mirror->by_ufid);
    hmap_init(&mirror->slots);
}

static void
megaflow_free(struct megaflow *flow)
{
    megaflow_free_copies(flow);
    ovs_mutex_destroy(&flow->mutex);
    free(flow->shares);
    free(flow);
}

struct mf_slot *
mf_mirror_get_slot(struct mf_mirror *mirror, uint32_t dp, odp_port_t in_port,
                uint32_t recirc_id)
{
    uint32_t hash = slot_hash(dp, in_port, recirc_id);
    struct mf_slot *slot;

    HMAP_FOR_EACH_WITH_HASH (slot, node, hash, &mirror->slots) {
        if (slot->dp == dp && slot->in_port == in_port
            && slot->recirc_id == recirc_id) {
            return slot;
        }
    }

    slot = xmalloc(sizeof *slot);
    slot->dp = dp;
    slot->in_port = in_port;
    slot->recirc_id = recirc_id;
    ovs_list_init(&slot->subtables);
    ovs_list_init(&slot->dead);
    ovs_list_init(&slot->rewriters);
    ovs_list_init(&slot->news);
    slot->news_seq = slot->all_seq = 0;
    ovs_list_init(&slot->waiters);
    ovs_list_init(&slot->news_node);
    hmap_insert(&mirror->slots, &slot->node, hash);
    return slot;
}

void
mf_mirror_release_slot(struct mf_mirror *mirror, struct mf_slot *slot)
{
    if (ovs_list_is_empty(&slot->subtables) && ovs_list_is_empty(&slot->dead)
        && ovs_list_is_empty(&slot->waiters)
        && ovs_list_is_empty(&slot->news_node)) {
        hmap_remove(&mirror->slots, &slot->node);
        free(slot);
    }
}

static struct mf_subtable *
get_subtable(struct mf_slot *slot, const struct minimask *mask,
             const struct flow_wildcards *wc)
{
    const uint64_t *fields = flow_u64s_const(index_fields());
    struct mf_subtable *table;

    LIST_FOR_EACH (table, node, &slot->subtables) {
        if (minimask_equal(table->mask, mask)) {
            return table;
        }
    }

    table = xmalloc(sizeof *table);
    table->mask = minimask_create(wc);
    table->index = *wc;
    for (size_t i = 0; i < FLOW_U64S; i++) {
        flow_u64s(&table->index.masks)[i] &= fields[i];
    }
    hmap_init(&table->flows);
    ovs_list_push_back(&slot->subtables, &table->node);
    return table;
}

static void
release_subtable(struct mf_subtable *table)
{
    if (hmap_is_empty(&table->flows)) {
        ovs_list_remove(&table->node);
        hmap_destroy(&table->flows);
        free(table->mask);
        free(table);
    }
}

/* Returns true if some packet hits both 'a' and 'b', of the same slot. */
static bool
megaflows_overlap(const struct megaflow *a, const struct megaflow *b)
{
    size_t idx;

    FLOWMAP_FOR_EACH_INDEX (idx, a->match->mask->masks.map) {
        uint64_t mask = (miniflow_get(&a->match->mask->masks, idx)
                         & miniflow_get(&b->match->mask->masks, idx));

        if ((miniflow_get(a->match->flow, idx)
             ^ miniflow_get(b->match->flow, idx)) & mask) {
            return false;
        }
    }
    return true;
}

/* Makes 'flow' the successor of the dead megaflows that it overlaps with. */
static void
adopt_dead(struct megaflow *flow)
{
    struct megaflow *dead;

    LIST_FOR_EACH (dead, dead_node, &flow->slot->dead) {
        if (megaflows_overlap(flow, dead)) {
            megaflow_set_successor(dead, flow);
        }
    }
}

void
megaflow_insert_in_table(struct megaflow *flow)
{
    struct match match;

    minimatch_expand(flow->match, &match);
    flow->table = get_subtable(flow->slot, flow->match->mask, &match.wc);
    hmap_insert(&flow->table->flows, &flow->table_node,
                flow_hash_in_wildcards(&match.flow, &flow->table->index, 0));
}

void
megaflow_remove_from_table(struct megaflow *flow)
{
    hmap_remove(&flow->table->flows, &flow->table_node);
    release_subtable(flow->table);
    flow->table = NULL;
}

static struct megaflow *
mf_mirror_add(struct mf_mirror *mirror, uint32_t dp, const ovs_u128 *ufid,
              const struct flow *key)
{
    struct megaflow *flow = xzalloc(sizeof *flow);

    flow->slot = mf_mirror_get_slot(mirror, dp, key->in_port.odp_port,
                                    key->recirc_id);
    flow->mirror = mirror;
    flow->dp = dp;
    flow->ufid = *ufid;
    ovs_list_init(&flow->copies);
    ovs_list_init(&flow->variants);
    ovs_list_init(&flow->rewriter_node);
    ovs_list_init(&flow->news_node);
    ovs_list_init(&flow->stages);
    flow->live = true;
    atomic_init(&flow->n_installed, 0);
    ovs_mutex_init(&flow->mutex);
    return flow;
}

struct megaflow *
mf_mirror_put(struct mf_mirror *mirror, uint32_t dp, const ovs_u128 *ufid,
              const void *id, const struct match *match_,
              struct megaflow_program *program, bool *addedp)
{
    struct megaflow *flow = mf_mirror_find(mirror, dp, ufid);
    const struct mf_variant *variant;
    struct match match;

    /* OVS hands over the packet's flow unmasked; minimatch needs it masked. */
    memset(&match, 0, sizeof match);
    match.wc = match_->wc;
    for (size_t i = 0; i < FLOW_U64S; i++) {
        flow_u64s(&match.flow)[i] = (flow_u64s_const(&match_->flow)[i]
                                     & flow_u64s(&match.wc.masks)[i]);
    }

    *addedp = !flow;
    if (!flow) {
        flow = mf_mirror_add(mirror, dp, ufid, &match.flow);
    }
    variant = megaflow_put_copy(flow, id, &match, program);
    if (*addedp) {
        megaflow_show_variant(flow, variant, false);
        cmap_insert(&mirror->by_ufid, &flow->ufid_node, ufid_hash(ufid));
        mirror->n_flows++;
        adopt_dead(flow);
    }
    return flow;
}

struct megaflow *
mf_mirror_drop_copy(struct mf_mirror *mirror, const ovs_u128 *ufid,
                    const void *id)
{
    struct megaflow *flow;

    /* Datapaths do not share copies, so there is no need to know which one. */
    CMAP_FOR_EACH_WITH_HASH (flow, ufid_node, ufid_hash(ufid),
                             &mirror->by_ufid) {
        if (ovs_u128_equals(flow->ufid, *ufid)
            && megaflow_drop_copy(flow, id)) {
            return flow;
        }
    }
    return NULL;
}

void
megaflow_announce(struct megaflow *flow)
{
    struct mf_slot *slot = flow->slot;

    flow->news_seq = slot->news_seq = ++flow->mirror->news_seq;
    ovs_list_remove(&flow->news_node);
    ovs_list_push_back(&slot->news, &flow->news_node);
}

void
mf_mirror_remove(struct mf_mirror *mirror, struct megaflow *flow,
              long long int now_ms)
{
    ovs_assert(flow->live);
    ovs_assert(ovs_list_is_empty(&flow->stages));

    flow->live = false;
    flow->died_ms = now_ms;
    cmap_remove(&mirror->by_ufid, &flow->ufid_node, ufid_hash(&flow->ufid));
    megaflow_remove_from_table(flow);
    ovs_list_remove(&flow->rewriter_node);
    ovs_list_init(&flow->rewriter_node);
    ovs_list_remove(&flow->news_node);
    ovs_list_init(&flow->news_node);
    ovs_list_push_back(&flow->slot->dead, &flow->dead_node);
    mirror->n_flows--;
}

/* Frees dead 'flow', which nobody calls successor. */
static void
bury(struct mf_mirror *mirror, struct megaflow *flow)
{
    ovs_list_remove(&flow->dead_node);
    if (flow->successor) {
        flow->successor->n_predecessors--;
    } else {
        ovs_mutex_lock(&flow->mutex);
        mirror->unattributed_packets += flow->packets - flow->claimed_packets;
        mirror->unattributed_bytes += flow->bytes - flow->claimed_bytes;
        ovs_mutex_unlock(&flow->mutex);
    }
    ovsrcu_postpone(megaflow_free, flow);
}

void
mf_mirror_bury_idle(struct mf_mirror *mirror, struct megaflow *flow)
{
    bool idle;

    ovs_mutex_lock(&flow->mutex);
    idle = flow->packets == flow->claimed_packets;
    ovs_mutex_unlock(&flow->mutex);
    if (idle && !flow->n_predecessors && !flow->n_paths && !flow->rule) {
        bury(mirror, flow);
    }
}

void
mf_mirror_expire(struct mf_mirror *mirror, long long int now_ms)
{
    struct mf_slot *slot;

    HMAP_FOR_EACH_SAFE (slot, node, &mirror->slots) {
        struct megaflow *flow;

        LIST_FOR_EACH_SAFE (flow, dead_node, &slot->dead) {
            if (now_ms >= flow->died_ms + MEGAFLOW_GRACE_MS
                && !flow->n_predecessors && !flow->n_paths && !flow->rule) {
                bury(mirror, flow);
            }
        }
        mf_mirror_release_slot(mirror, slot);
    }
}

void
mf_mirror_destroy(struct mf_mirror *mirror)
{
    struct mf_slot *slot;

    HMAP_FOR_EACH_SAFE (slot, node, &mirror->slots) {
        struct mf_subtable *table;
        struct megaflow *flow;

        LIST_FOR_EACH_SAFE (table, node, &slot->subtables) {
            HMAP_FOR_EACH_SAFE (flow, table_node, &table->flows) {
                bool last = hmap_count(&table->flows) == 1;

                mf_mirror_remove(mirror, flow, 0);
                if (last) {
                    break;
                }
            }
        }
        LIST_FOR_EACH_SAFE (flow, dead_node, &slot->dead) {
            ovs_list_remove(&flow->dead_node);
            ovsrcu_postpone(megaflow_free, flow);
        }
        mf_mirror_release_slot(mirror, slot);
    }
    hmap_destroy(&mirror->slots);
    cmap_destroy(&mirror->by_ufid);
}

struct megaflow *
mf_mirror_find(const struct mf_mirror *mirror, uint32_t dp,
               const ovs_u128 *ufid)
{
    struct megaflow *flow;

    CMAP_FOR_EACH_WITH_HASH (flow, ufid_node, ufid_hash(ufid),
                             &mirror->by_ufid) {
        if (ovs_u128_equals(flow->ufid, *ufid) && flow->dp == dp) {
            return flow;
        }
    }
    return NULL;
}

bool
megaflow_admits(const struct megaflow *flow,
                   const struct flow_probe *probe)
{
    size_t idx;

    FLOWMAP_FOR_EACH_INDEX (idx, flow->match->mask->masks.map) {
        uint64_t mask = (miniflow_get(&flow->match->mask->masks, idx)
                         & flow_u64_value(&probe->known, idx));

        if ((miniflow_get(flow->match->flow, idx)
             ^ flow_u64_value(&probe->flow, idx)) & mask) {
            return false;
        }
    }
    return true;
}

bool
megaflow_covers(const struct megaflow *flow,
                   const struct flow_probe *probe)
{
    size_t idx;

    FLOWMAP_FOR_EACH_INDEX (idx, flow->match->mask->masks.map) {
        if (miniflow_get(&flow->match->mask->masks, idx)
            & ~flow_u64_value(&probe->known, idx)) {
            return false;
        }
    }
    return megaflow_admits(flow, probe);
}

void
flow_probe_narrow(struct flow_probe *probe, const struct megaflow *flow)
{
    uint64_t *value = flow_u64s(&probe->flow);
    uint64_t *known = flow_u64s(&probe->known);
    size_t idx;

    FLOWMAP_FOR_EACH_INDEX (idx, flow->match->mask->masks.map) {
        uint64_t mask = miniflow_get(&flow->match->mask->masks, idx);

        value[idx] = ((value[idx] & ~mask)
                      | (miniflow_get(flow->match->flow, idx) & mask));
        known[idx] |= mask;
    }
}

void
mf_mirror_lookup(const struct mf_slot *slot, const struct flow_probe *probe,
              bool (*cb)(struct megaflow *, void *aux), void *aux)
{
    const uint64_t *known = flow_u64s_const(&probe->known);
    struct mf_subtable *table;

    LIST_FOR_EACH (table, node, &slot->subtables) {
        const uint64_t *index = flow_u64s_const(&table->index.masks);
        struct megaflow *flow;
        bool indexed = true;

        for (size_t i = 0; i < FLOW_U64S; i++) {
            if (index[i] & ~known[i]) {
                indexed = false;
                break;
            }
        }

        if (indexed) {
            uint32_t hash = flow_hash_in_wildcards(&probe->flow, &table->index,
                                                   0);

            HMAP_FOR_EACH_WITH_HASH (flow, table_node, hash, &table->flows) {
                if (megaflow_admits(flow, probe) && !cb(flow, aux)) {
                    return;
                }
            }
        } else {
            HMAP_FOR_EACH (flow, table_node, &table->flows) {
                if (megaflow_admits(flow, probe) && !cb(flow, aux)) {
                    return;
                }
            }
        }
    }
}
