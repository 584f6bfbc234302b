/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>
#include "path.h"

#include <string.h>

#include "lib/mutant.h"
#include "packets.h"
#include "path-private.h"
#include "util.h"

#define N_FIELDS (NIC_FIELD_TP_DST + 1)

/* Length of a VLAN tag in bytes. */
#define TAG_LEN 4

/* A list of actions in the making. */
struct actions {
    struct nic_action list[NIC_MAX_ACTIONS];
    size_t n;
    bool overflow;                  /* There were too many. */
};

/* Changes of packets that no output has seen yet. */
struct pending {
    uint8_t value[N_FIELDS][NIC_FIELD_MAX_LEN];
    uint8_t mask[N_FIELDS][NIC_FIELD_MAX_LEN];
    struct nic_action vlans[NIC_MAX_ACTIONS];
    size_t n_vlans;
};

struct compile_ctx {
    struct match match;             /* Of packets as received. */
    struct flow set;                /* Bits that actions have set. */
    struct path_tags tags;
    struct actions actions;
    struct pending pending;
    bool outputs;                   /* There was one. */

    /* Changes of the tuple. */
    unsigned int parts;             /* Parts changed so far. */
    unsigned int version;           /* Incremented by each change. */
    unsigned int sent_version;      /* That SET_TUPLE made. */

    const struct path_resolver *resolver;
};

/* Stores in 'action' the egress object for lb_output(id). */
static enum offload_reason
resolve_egress(const struct path_resolver *resolver, uint32_t id,
               struct nic_action *action)
{
    return (resolver->egress
            ? resolver->egress(id, &action->egress, resolver->aux)
            : REASON_BOND);
}

static struct nic_action *
add_action(struct actions *actions, enum nic_action_type type)
{
    struct nic_action *action;

    if (actions->n == ARRAY_SIZE(actions->list)) {
        actions->overflow = true;
        actions->n--;
    }
    action = &actions->list[actions->n++];
    memset(action, 0, sizeof *action);
    action->type = type;
    return action;
}

/* Adds to 'match' what 'flow' matches in 'fields', without VLAN tags, and
 * without what is in 'except', which may be null. */
static void
add_match(struct match *match, const struct megaflow *flow,
          const struct flow *fields, const struct flow *except)
{
    uint64_t *values = (uint64_t *) &match->flow;
    uint64_t *masks = (uint64_t *) &match->wc.masks;
    union flow_vlan_hdr value[FLOW_MAX_VLAN_HEADERS];
    union flow_vlan_hdr mask[FLOW_MAX_VLAN_HEADERS];
    size_t idx;

    memcpy(value, match->flow.vlans, sizeof value);
    memcpy(mask, match->wc.masks.vlans, sizeof mask);
    FLOWMAP_FOR_EACH_INDEX (idx, flow->match->mask->masks.map) {
        uint64_t bits = (miniflow_get(&flow->match->mask->masks, idx)
                         & flow_u64_value(fields, idx));

        if (except) {
            bits &= ~flow_u64_value(except, idx);
        }
        if (MUTANT(first_mask_wins) && masks[idx]) {
            continue;
        }
        if (MUTANT(zero_value_dropped)) {
            bits &= miniflow_get(flow->match->flow, idx);
        }
        values[idx] |= miniflow_get(flow->match->flow, idx) & bits;
        masks[idx] |= bits;
    }
    memcpy(match->flow.vlans, value, sizeof value);
    memcpy(match->wc.masks.vlans, mask, sizeof mask);
}

/* Adds to 'match' which tags 'flow' matches, of those that were received. */
static void
add_vlan_match(struct match *match, const struct megaflow *flow,
               const struct path_tags *tags)
{
    struct match m;

    minimatch_expand(flow->match, &m);
    for (size_t pos = 0; pos < FLOW_MAX_VLAN_HEADERS; pos++) {
        union flow_vlan_hdr pushed;
        size_t idx;

        if (path_tags_find(tags, pos, &idx, &pushed)
            && idx < FLOW_MAX_VLAN_HEADERS) {
            ovs_be32 mask = m.wc.masks.vlans[pos].qtag;

            match->flow.vlans[idx].qtag |= m.flow.vlans[pos].qtag & mask;
            match->wc.masks.vlans[idx].qtag |= mask;
        }
    }
}

/* Returns true if 'match' makes sure that packets have tag 'idx'. */
static bool
has_tag(const struct match *match, size_t idx)
{
    return (idx < FLOW_MAX_VLAN_HEADERS
            && match->wc.masks.vlans[idx].tci
               & match->flow.vlans[idx].tci & htons(VLAN_CFI));
}

/* Returns true if 'match' makes sure that packets do not have tag 'idx', of
 * those that OVS looks at. */
static bool
lacks_tag(const struct match *match, size_t idx)
{
    for (size_t i = 0; i <= idx; i++) {
        if (match->wc.masks.vlans[i].tci & ~match->flow.vlans[i].tci
            & htons(VLAN_CFI)) {
            return true;
        }
    }
    return false;
}

/* Completes 'match': packets with more tags than OVS looks at are no IP
 * packets for it. */
static void
limit_tags(struct match *match)
{
    if (flow_vlan_limit < 2 && !lacks_tag(match, 0)) {
        match->flow.vlans[1].qtag = 0;
        match->wc.masks.vlans[1].qtag = OVS_BE32_MAX;
    }
}

/* Returns true if there is an outermost tag that can be popped. */
static bool
can_pop(const struct match *match, const struct path_tags *tags)
{
    union flow_vlan_hdr pushed;
    size_t idx;

    return (!path_tags_find(tags, 0, &idx, &pushed)
            || has_tag(match, idx));
}

/* Returns true if OVS sees all tags of packets that it looks up again: with
 * more, it would not see the IP header. */
static bool
sees_all_tags(const struct match *match, const struct path_tags *tags)
{
    union flow_vlan_hdr pushed;
    size_t idx;

    if (!path_tags_find(tags, flow_vlan_limit, &idx, &pushed)) {
        return false;
    }

    /* As received, they were all seen. */
    return idx >= flow_vlan_limit || lacks_tag(match, idx);
}

/* Emits changes that are pending. */
static enum offload_reason
flush_pending(struct compile_ctx *ctx)
{
    struct actions *actions = &ctx->actions;
    struct pending *pending = &ctx->pending;

    if (ctx->version != ctx->sent_version) {
        if (ctx->sent_version) {
            return REASON_REWRITE;
        }
        add_action(actions, NIC_ACTION_SET_TUPLE)->parts = ctx->parts;
        ctx->sent_version = ctx->version;
    }
    for (size_t i = 0; i < N_FIELDS; i++) {
        if (!is_all_zeros(pending->mask[i], NIC_FIELD_MAX_LEN)) {
            struct nic_action *action = add_action(actions, NIC_ACTION_SET);

            action->set.field = i;
            memcpy(action->set.value, pending->value[i], NIC_FIELD_MAX_LEN);
            memcpy(action->set.mask, pending->mask[i], NIC_FIELD_MAX_LEN);
        }
    }
    for (size_t i = 0; i < pending->n_vlans; i++) {
        *add_action(actions, pending->vlans[i].type) = pending->vlans[i];
    }
    memset(pending, 0, sizeof *pending);
    return REASON_NONE;
}

static enum offload_reason
flat_output(struct compile_ctx *ctx, odp_port_t port)
{
    enum offload_reason reason = flush_pending(ctx);
    nic_port_id id = ctx->resolver->port(port, ctx->resolver->aux);

    if (reason == REASON_NONE) {
        reason = id == NIC_PORT_NONE ? REASON_OUTPUT_PORT : REASON_NONE;
        add_action(&ctx->actions, NIC_ACTION_OUTPUT)->port = id;
        ctx->outputs = true;
    }
    return reason;
}

static enum offload_reason
flat_lb_output(struct compile_ctx *ctx, uint32_t id)
{
    enum offload_reason reason = flush_pending(ctx);

    if (reason == REASON_NONE) {
        reason = resolve_egress(ctx->resolver, id,
                                add_action(&ctx->actions, NIC_ACTION_EGRESS));
        ctx->outputs = true;
    }
    return reason;
}

static void
flat_set(struct compile_ctx *ctx, const struct megaflow_op *op,
         ovs_be16 dl_type)
{
    unsigned int part = path_field_part(op->set.field);
    struct pending *pending = &ctx->pending;
    size_t len;
    uint8_t *set = path_field(&ctx->set, op->set.field, dl_type, &len);

    for (size_t i = 0; i < len; i++) {
        set[i] |= op->set.mask[i];
    }
    if (part) {
        ctx->parts |= part;
        ctx->version++;
        return;
    }
    for (size_t i = 0; i < len; i++) {
        uint8_t mask = op->set.mask[i];
        uint8_t *value = &pending->value[op->set.field][i];

        *value = (*value & ~mask) | (op->set.value[i] & mask);
        pending->mask[op->set.field][i] |= mask;
    }
}

static enum offload_reason
flat_vlan(struct compile_ctx *ctx, const struct megaflow_op *op)
{
    struct pending *pending = &ctx->pending;
    struct nic_action *action;

    if (op->type == MEGAFLOW_OP_POP_VLAN) {
        if (!can_pop(&ctx->match, &ctx->tags)) {
            return REASON_ACTION;
        }
        path_tags_pop(&ctx->tags);
        if (MUTANT(vlan_pop_forgotten)) {
            return REASON_NONE;
        }
        if (pending->n_vlans
            && (pending->vlans[pending->n_vlans - 1].type
                == NIC_ACTION_PUSH_VLAN)) {
            pending->n_vlans--;
            return REASON_NONE;
        }
    } else if (!path_tags_push(&ctx->tags, op->vlan.tpid, op->vlan.tci)) {
        return REASON_ACTION;
    }

    if (pending->n_vlans == ARRAY_SIZE(pending->vlans)) {
        return REASON_ACTION;
    }
    action = &pending->vlans[pending->n_vlans++];
    memset(action, 0, sizeof *action);
    if (op->type == MEGAFLOW_OP_POP_VLAN) {
        action->type = NIC_ACTION_POP_VLAN;
    } else {
        action->type = NIC_ACTION_PUSH_VLAN;
        action->vlan.tpid = op->vlan.tpid;
        action->vlan.tci = op->vlan.tci & ~htons(VLAN_CFI);
    }
    return REASON_NONE;
}

/* Compiles the operations of 'flow'.  '*ct' counts ct()s of 'chain'. */
static enum offload_reason
flat_ops(struct compile_ctx *ctx, const struct megaflow *flow,
         const struct path_chain *chain, ovs_be16 dl_type, size_t *ct)
{
    for (size_t i = 0; i < flow->program->n_ops; i++) {
        const struct megaflow_op *op = &flow->program->ops[i];
        enum offload_reason reason = REASON_NONE;

        switch (op->type) {
        case MEGAFLOW_OP_SET:
            flat_set(ctx, op, dl_type);
            break;

        case MEGAFLOW_OP_PUSH_VLAN:
        case MEGAFLOW_OP_POP_VLAN:
            reason = flat_vlan(ctx, op);
            break;

        case MEGAFLOW_OP_OUTPUT:
            reason = flat_output(ctx, op->port);
            break;

        case MEGAFLOW_OP_LB_OUTPUT:
            reason = flat_lb_output(ctx, op->id);
            break;

        case MEGAFLOW_OP_CT:
            ovs_assert(*ct < chain->n_cts);
            if (chain->cts[*ct].parts) {
                ctx->parts |= chain->cts[*ct].parts;
                ctx->version++;
            }
            ++*ct;
            break;

        case MEGAFLOW_OP_RECIRC:
            reason = (sees_all_tags(&ctx->match, &ctx->tags)
                      ? REASON_NONE : REASON_ACTION);
            break;

        case MEGAFLOW_OP_CT_CLEAR:
            break;

        default:
            OVS_NOT_REACHED();
        }
        if (reason != REASON_NONE) {
            return reason;
        }
    }
    return REASON_NONE;
}

struct nic_template *
path_compile_flat(const struct path_chain *chain, ovs_be16 dl_type,
                  uint8_t nw_proto, const struct path_resolver *resolver,
                  int byte_deltas[PATH_MAX_STAGES],
                  enum offload_reason *reason,
                  const struct megaflow **culprit)
{
    struct compile_ctx ctx = { .resolver = resolver };
    nic_port_id in_port;
    size_t ct = 0;

    *culprit = chain->flows[0];
    in_port = resolver->port(chain->flows[0]->slot->in_port, resolver->aux);
    if (in_port == NIC_PORT_NONE) {
        *reason = REASON_NO_PORT;
        return NULL;
    }

    /* The tuple is exact anyway, and known: composition has compared it. */
    match_init_catchall(&ctx.match);
    ctx.set = *path_tuple_fields();
    for (size_t i = 0; i < chain->n; i++) {
        const struct megaflow *flow = chain->flows[i];

        *culprit = flow;
        byte_deltas[i] = TAG_LEN * ((int) ctx.tags.n_pushed
                                    - (int) ctx.tags.n_popped);
        add_match(&ctx.match, flow, path_wire_fields(), &ctx.set);
        add_vlan_match(&ctx.match, flow, &ctx.tags);
        *reason = flow->program->reason;
        if (*reason == REASON_NONE) {
            *reason = flat_ops(&ctx, flow, chain, dl_type, &ct);
        }
        if (*reason != REASON_NONE) {
            return NULL;
        }
    }
    if (!ctx.outputs) {
        add_action(&ctx.actions, NIC_ACTION_DROP);
    }
    if (ctx.actions.overflow) {
        *reason = REASON_ACTION;
        return NULL;
    }

    match_set_dl_type(&ctx.match, dl_type);
    match_set_nw_proto(&ctx.match, nw_proto);
    match_set_nw_frag(&ctx.match, 0);
    if (nw_proto == IPPROTO_TCP) {
        ctx.match.flow.tcp_flags |= htons(PATH_TCP_FLAGS);
        ctx.match.wc.masks.tcp_flags |= htons(PATH_TCP_FLAGS_MASK);
    }
    if (MUTANT(syn_not_excluded) && nw_proto == IPPROTO_TCP) {
        ctx.match.flow.tcp_flags &= ~htons(TCP_SYN | TCP_ACK);
        ctx.match.wc.masks.tcp_flags &= ~htons(TCP_SYN | TCP_ACK);
    }
    if (MUTANT(fin_not_excluded)) {
        ctx.match.wc.masks.tcp_flags &= ~htons(TCP_FIN | TCP_RST);
    }
    if (MUTANT(ttl_not_matched) && ctx.set.nw_ttl) {
        ctx.match.wc.masks.nw_ttl = 0;
    }
    limit_tags(&ctx.match);
    return nic_template_create(in_port, NIC_TABLE_ROOT, &ctx.match,
                               NIC_SLOT_TUPLE
                               | (ctx.sent_version ? NIC_SLOT_REWRITE : 0),
                               ctx.actions.list, ctx.actions.n);
}

/* Module mode. */

/* Returns REASON_NONE if 'match' makes sure that packets have 'field'. */
static enum offload_reason
check_has_field(const struct match *match, enum nic_field field)
{
    const struct flow *mask = &match->wc.masks;
    const struct flow *flow = &match->flow;

    if (field == NIC_FIELD_ETH_SRC || field == NIC_FIELD_ETH_DST) {
        return REASON_NONE;
    }
    if (mask->dl_type != OVS_BE16_MAX || !is_ip_any(flow)) {
        return REASON_ACTION;
    }
    if (field == NIC_FIELD_TP_SRC || field == NIC_FIELD_TP_DST) {
        return (mask->nw_proto == UINT8_MAX
                && (flow->nw_proto == IPPROTO_TCP
                    || flow->nw_proto == IPPROTO_UDP)
                ? REASON_NONE : REASON_ACTION);
    }
    return (field == NIC_FIELD_IPV6_LABEL
            && flow->dl_type != htons(ETH_TYPE_IPV6)
            ? REASON_ACTION : REASON_NONE);
}

/* Where the operations of a megaflow have got to. */
struct module_state {
    bool tracked;                   /* By ct() in 'zone', in this megaflow. */
    uint16_t zone;
    bool tuple_set;                 /* Since then. */
};

static enum offload_reason
module_ct(struct compile_ctx *ctx, struct module_state *state,
          const struct megaflow_op *op)
{
    struct nic_action *action;

    if (state->tracked && state->zone == op->ct.zone && state->tuple_set) {
        return REASON_REWRITE;
    }
    state->tracked = true;
    state->zone = op->ct.zone;
    state->tuple_set = false;

    action = add_action(&ctx->actions, NIC_ACTION_CT);
    action->ct.zone = op->ct.zone;
    action->ct.nat = op->ct.nat;
    action->ct.orig_only = op->ct.force;
    action->ct.table = NIC_TABLE_NONE;
    action->ct.mark = op->ct.mark;
    action->ct.mark_mask = op->ct.mark_mask;
    action->ct.label = op->ct.label;
    action->ct.label_mask = op->ct.label_mask;
    return REASON_NONE;
}

static enum offload_reason
module_op(struct compile_ctx *ctx, struct module_state *state,
          const struct megaflow_op *op)
{
    struct actions *actions = &ctx->actions;
    struct nic_action *action;

    switch (op->type) {
    case MEGAFLOW_OP_SET:
        state->tuple_set |= path_field_part(op->set.field) != 0;
        action = add_action(actions, NIC_ACTION_SET);
        action->set.field = op->set.field;
        memcpy(action->set.value, op->set.value, sizeof action->set.value);
        memcpy(action->set.mask, op->set.mask, sizeof action->set.mask);
        return check_has_field(&ctx->match, op->set.field);

    case MEGAFLOW_OP_PUSH_VLAN:
        action = add_action(actions, NIC_ACTION_PUSH_VLAN);
        action->vlan.tpid = op->vlan.tpid;
        action->vlan.tci = op->vlan.tci & ~htons(VLAN_CFI);
        return (path_tags_push(&ctx->tags, op->vlan.tpid, op->vlan.tci)
                ? REASON_NONE : REASON_ACTION);

    case MEGAFLOW_OP_POP_VLAN:
        if (!can_pop(&ctx->match, &ctx->tags)) {
            return REASON_ACTION;
        }
        path_tags_pop(&ctx->tags);
        add_action(actions, NIC_ACTION_POP_VLAN);
        return REASON_NONE;

    case MEGAFLOW_OP_OUTPUT:
        action = add_action(actions, NIC_ACTION_OUTPUT);
        action->port = ctx->resolver->port(op->port, ctx->resolver->aux);
        return (action->port == NIC_PORT_NONE
                ? REASON_OUTPUT_PORT : REASON_NONE);

    case MEGAFLOW_OP_LB_OUTPUT:
        return resolve_egress(ctx->resolver, op->id,
                              add_action(actions, NIC_ACTION_EGRESS));

    case MEGAFLOW_OP_CT:
        return module_ct(ctx, state, op);

    case MEGAFLOW_OP_CT_CLEAR:
        state->tracked = false;
        add_action(actions, NIC_ACTION_CT_CLEAR);
        return REASON_NONE;

    case MEGAFLOW_OP_RECIRC:
        /* Only ct() can continue in a table. */
        action = actions->n ? &actions->list[actions->n - 1] : NULL;
        if (!action || action->type != NIC_ACTION_CT) {
            return REASON_ACTION;
        }
        action->ct.table = op->id;
        return (sees_all_tags(&ctx->match, &ctx->tags)
                ? REASON_NONE : REASON_ACTION);

    default:
        OVS_NOT_REACHED();
    }
}

/* Completes 'actions': what is after the last one that matters to anybody is
 * left out, and the end is made explicit. */
static void
end_actions(struct actions *actions)
{
    while (actions->n) {
        const struct nic_action *last = &actions->list[actions->n - 1];

        if (last->type == NIC_ACTION_OUTPUT
            || last->type == NIC_ACTION_EGRESS) {
            return;
        } else if (last->type == NIC_ACTION_CT) {
            if (last->ct.table != NIC_TABLE_NONE) {
                return;
            }
            break;
        }
        actions->n--;
    }
    add_action(actions, NIC_ACTION_DROP);
}

struct nic_template *
path_compile_module(const struct megaflow *flow,
                    const struct path_resolver *resolver,
                    enum offload_reason *reason)
{
    struct compile_ctx ctx = { .resolver = resolver };
    struct module_state state = { .tracked = false };
    nic_port_id in_port;
    struct match m;

    *reason = flow->program->reason;
    if (*reason == REASON_NONE) {
        *reason = path_check_fields(flow);
    }
    if (*reason != REASON_NONE) {
        return NULL;
    }

    /* Of packets as received these are zero. */
    minimatch_expand(flow->match, &m);
    if (m.flow.skb_priority || m.flow.pkt_mark || m.flow.packet_type) {
        *reason = REASON_MATCH;
        return NULL;
    }
    in_port = resolver->port(flow->slot->in_port, resolver->aux);
    if (in_port == NIC_PORT_NONE) {
        *reason = REASON_NO_PORT;
        return NULL;
    }

    match_init_catchall(&ctx.match);
    add_match(&ctx.match, flow, path_wire_fields(), NULL);
    add_match(&ctx.match, flow, path_ct_fields(), NULL);
    if (MUTANT(mark_zero_is_none) && !ctx.match.flow.ct_mark) {
        ctx.match.wc.masks.ct_mark = 0;
    }
    if (MUTANT(label_mask_ignored)) {
        ctx.match.flow.ct_label = ctx.match.wc.masks.ct_label = OVS_U128_ZERO;
    }
    add_vlan_match(&ctx.match, flow, &ctx.tags);
    for (size_t i = 0; i < flow->program->n_ops; i++) {
        *reason = module_op(&ctx, &state, &flow->program->ops[i]);
        if (*reason != REASON_NONE) {
            return NULL;
        }
    }
    end_actions(&ctx.actions);
    if (ctx.actions.overflow) {
        *reason = REASON_ACTION;
        return NULL;
    }
    limit_tags(&ctx.match);
    return nic_template_create(in_port, flow->slot->recirc_id, &ctx.match,
                               NIC_SLOT_NONE, ctx.actions.list,
                               ctx.actions.n);
}
