/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>
#include "path.h"

#include "odp-util.h"
#include "packets.h"
#include "util.h"

/* State of an established connection after ct(). */
#define EST_STATE (CS_TRACKED | CS_ESTABLISHED)

void
path_probe_init(struct flow_probe *probe, const struct path_subject *subject)
{
    struct flow *flow = &probe->flow;
    struct flow *known = &probe->known;

    memset(probe, 0, sizeof *probe);

    /* Metadata of a packet that was just received.  dp_hash is left unknown:
     * a megaflow that matches it is refused. */
    flow->in_port.odp_port = subject->ingress->in_port;
    memset(&known->in_port, 0xff, sizeof known->in_port);
    known->recirc_id = UINT32_MAX;
    known->skb_priority = UINT32_MAX;
    known->pkt_mark = UINT32_MAX;
    known->packet_type = OVS_BE32_MAX;
    memset(&known->tunnel, 0xff, sizeof known->tunnel);
    known->ct_state = UINT8_MAX;
    known->ct_zone = UINT16_MAX;
    known->ct_nw_proto = UINT8_MAX;
    known->ct_mark = UINT32_MAX;
    known->ct_label = OVS_U128_MAX;

    flow->dl_src = subject->ingress->dl_src;
    flow->dl_dst = subject->ingress->dl_dst;
    flow->dl_type = subject->dl_type;
    memset(&known->dl_src, 0xff, sizeof known->dl_src);
    memset(&known->dl_dst, 0xff, sizeof known->dl_dst);
    known->dl_type = OVS_BE16_MAX;

    if (subject->dl_type == htons(ETH_TYPE_IP)) {
        flow->nw_src = subject->tuple->src.ipv4;
        flow->nw_dst = subject->tuple->dst.ipv4;
    } else {
        flow->ipv6_src = subject->tuple->src.ipv6;
        flow->ipv6_dst = subject->tuple->dst.ipv6;
    }
    known->nw_src = known->nw_dst = OVS_BE32_MAX;
    memset(&known->ipv6_src, 0xff, sizeof known->ipv6_src);
    memset(&known->ipv6_dst, 0xff, sizeof known->ipv6_dst);
    flow->nw_proto = subject->nw_proto;
    known->nw_proto = UINT8_MAX;
    known->nw_frag = UINT8_MAX;
    flow->tp_src = subject->tuple->tp_src;
    flow->tp_dst = subject->tuple->tp_dst;
    known->tp_src = known->tp_dst = OVS_BE16_MAX;

    if (subject->nw_proto == IPPROTO_TCP) {
        flow->tcp_flags = htons(PATH_TCP_FLAGS);
        known->tcp_flags = htons(PATH_TCP_FLAGS_MASK);
    } else {
        known->tcp_flags = OVS_BE16_MAX;
    }
}

/* Fields that a rule can match, as they are in the packet. */
static const struct flow *
wire_fields(void)
{
    static struct ovsthread_once once = OVSTHREAD_ONCE_INITIALIZER;
    static struct flow_wildcards wc;

    if (ovsthread_once_start(&once)) {
        memset(&wc, 0, sizeof wc);
        WC_MASK_FIELD(&wc, dl_dst);
        WC_MASK_FIELD(&wc, dl_src);
        WC_MASK_FIELD(&wc, dl_type);
        WC_MASK_FIELD(&wc, vlans);
        WC_MASK_FIELD(&wc, nw_src);
        WC_MASK_FIELD(&wc, nw_dst);
        WC_MASK_FIELD(&wc, nw_frag);
        WC_MASK_FIELD(&wc, nw_tos);
        WC_MASK_FIELD(&wc, nw_ttl);
        WC_MASK_FIELD(&wc, nw_proto);
        WC_MASK_FIELD(&wc, tcp_flags);
        WC_MASK_FIELD(&wc, tp_src);
        WC_MASK_FIELD(&wc, tp_dst);
        ovsthread_once_done(&once);
    }
    return &wc.masks;
}

/* Fields that the pipeline decides.  Composition compares them with what it
 * knows; a NIC with a CT module, with what it has computed. */
static const struct flow *
pipeline_fields(void)
{
    static struct ovsthread_once once = OVSTHREAD_ONCE_INITIALIZER;
    static struct flow_wildcards wc;

    if (ovsthread_once_start(&once)) {
        memset(&wc, 0, sizeof wc);
        WC_MASK_FIELD(&wc, in_port);
        WC_MASK_FIELD(&wc, recirc_id);
        WC_MASK_FIELD(&wc, skb_priority);
        WC_MASK_FIELD(&wc, pkt_mark);
        WC_MASK_FIELD(&wc, packet_type);
        WC_MASK_FIELD(&wc, ct_state);
        WC_MASK_FIELD(&wc, ct_zone);
        ovsthread_once_done(&once);
    }
    return &wc.masks;
}

/* Returns REASON_NONE if 'flow' matches only fields that are supported. */
static enum offload_reason
check_fields(const struct megaflow *flow)
{
    const struct flow *wire = wire_fields();
    const struct flow *pipeline = pipeline_fields();
    struct flow_wildcards wc;
    size_t idx;

    minimask_expand(flow->match.mask, &wc);
    if (wc.masks.ct_mark || !ovs_u128_is_zero(wc.masks.ct_label)) {
        return REASON_CT_MARK;
    }
    FLOWMAP_FOR_EACH_INDEX (idx, flow->match.mask->masks.map) {
        if (flow_u64_value(&wc.masks, idx)
            & ~(flow_u64_value(wire, idx) | flow_u64_value(pipeline, idx))) {
            return REASON_MATCH;
        }
    }
    return REASON_NONE;
}

struct compose_ctx {
    struct mf_mirror *mirror;
    const struct path_subject *subject;
    struct path_set *set;
    struct path_chain chain;        /* So far. */
};

/* What can be in one slot on the way. */
struct stage {
    struct megaflow *flows[PATH_MAX_CHAINS];
    size_t n;
    bool overflow;
};

static bool
collect_flow(struct megaflow *flow, void *stage_)
{
    struct stage *stage = stage_;

    if (stage->n == ARRAY_SIZE(stage->flows)) {
        stage->overflow = true;
        return false;
    }
    stage->flows[stage->n++] = flow;
    return true;
}

static void
refuse(struct compose_ctx *ctx, enum offload_reason reason,
       const struct megaflow *culprit)
{
    if (ctx->set->reason == REASON_NONE
        || ctx->set->reason == REASON_NO_MEGAFLOW) {
        ctx->set->reason = reason;
        ctx->set->culprit = culprit;
    }
}

static void
wait_for_megaflow(struct compose_ctx *ctx, struct mf_slot *slot)
{
    struct path_set *set = ctx->set;

    for (size_t i = 0; i < set->n_waits; i++) {
        if (set->waits[i] == slot) {
            return;
        }
    }
    if (set->n_waits < ARRAY_SIZE(set->waits)) {
        set->waits[set->n_waits++] = slot;
    }
}

static void compose_stage(struct compose_ctx *, uint32_t recirc_id,
                          const struct flow_probe *);

/* Follows 'flow', which packets of which 'probe' is known may hit. */
static void
compose_flow(struct compose_ctx *ctx, struct megaflow *flow,
             const struct flow_probe *probe_)
{
    const struct path_subject *subject = ctx->subject;
    struct path_set *set = ctx->set;
    enum offload_reason reason = check_fields(flow);
    struct flow_probe probe;

    if (reason != REASON_NONE) {
        refuse(ctx, reason, flow);
        return;
    }
    if (ctx->chain.n == ARRAY_SIZE(ctx->chain.flows)) {
        refuse(ctx, REASON_TOO_DEEP, flow);
        return;
    }

    ctx->chain.flows[ctx->chain.n++] = flow;
    switch (flow->program.end) {
    case MEGAFLOW_OUTPUT:
    case MEGAFLOW_DROP:
        if (!(probe_->flow.ct_state & CS_TRACKED)) {
            refuse(ctx, REASON_NO_CT, flow);
        } else if (set->n_chains == ARRAY_SIZE(set->chains)) {
            refuse(ctx, REASON_TOO_DEEP, flow);
        } else {
            set->chains[set->n_chains++] = ctx->chain;
        }
        break;

    case MEGAFLOW_CT:
        /* A second ct(), or one in another zone, would need another
         * connection's state. */
        if (flow->program.zone != subject->zone
            || probe_->flow.ct_state & CS_TRACKED) {
            refuse(ctx, REASON_OTHER_ZONE, flow);
            break;
        }
        probe = *probe_;
        flow_probe_narrow(&probe, flow);
        probe.flow.ct_state = EST_STATE | (subject->reply ? CS_REPLY_DIR : 0);
        probe.flow.ct_zone = subject->zone;
        compose_stage(ctx, flow->program.recirc_id, &probe);
        break;

    case MEGAFLOW_REFUSED:
        refuse(ctx, flow->program.reason, flow);
        break;

    default:
        OVS_NOT_REACHED();
    }
    ctx->chain.n--;
}

/* Follows packets of which 'probe' is known into the slot of 'recirc_id'. */
static void
compose_stage(struct compose_ctx *ctx, uint32_t recirc_id,
              const struct flow_probe *probe_)
{
    const struct path_subject *subject = ctx->subject;
    struct flow_probe probe = *probe_;
    struct stage stage = { .n = 0 };
    struct mf_slot *slot;

    probe.flow.recirc_id = recirc_id;
    slot = mf_mirror_get_slot(ctx->mirror, subject->dp,
                              subject->ingress->in_port, recirc_id);
    mf_mirror_lookup(slot, &probe, collect_flow, &stage);
    if (ctx->set->n_visited < ARRAY_SIZE(ctx->set->visited)) {
        ctx->set->visited[ctx->set->n_visited++] = slot;
    }
    if (stage.overflow) {
        refuse(ctx, REASON_TOO_DEEP, NULL);
    }

    /* Unless one megaflow takes all of these packets, another may come that
     * takes some. */
    if (stage.n != 1 || !megaflow_covers(stage.flows[0], &probe)) {
        wait_for_megaflow(ctx, slot);
    }
    for (size_t i = 0; i < stage.n; i++) {
        compose_flow(ctx, stage.flows[i], &probe);
    }
}

void
path_compose(struct mf_mirror *mirror, const struct path_subject *subject,
             struct path_set *set)
{
    struct compose_ctx ctx = {
        .mirror = mirror,
        .subject = subject,
        .set = set,
    };
    struct flow_probe probe;

    set->n_chains = set->n_waits = set->n_visited = 0;
    set->reason = REASON_NONE;
    set->culprit = NULL;

    path_probe_init(&probe, subject);
    compose_stage(&ctx, 0, &probe);
    if (!set->n_chains && set->reason == REASON_NONE) {
        set->reason = REASON_NO_MEGAFLOW;
    }
}

/* Adds to 'match' what 'flow' matches in 'fields'. */
static void
add_match(struct match *match, const struct megaflow *flow,
          const struct flow *fields)
{
    uint64_t *values = (uint64_t *) &match->flow;
    uint64_t *masks = (uint64_t *) &match->wc.masks;
    size_t idx;

    FLOWMAP_FOR_EACH_INDEX (idx, flow->match.mask->masks.map) {
        uint64_t mask = (miniflow_get(&flow->match.mask->masks, idx)
                         & flow_u64_value(fields, idx));

        values[idx] |= miniflow_get(flow->match.flow, idx) & mask;
        masks[idx] |= mask;
    }
}

/* Stores in 'action' what 'flow' does.  Returns REASON_NONE or what is in the
 * way. */
static enum offload_reason
compile_action(const struct megaflow *flow, path_port_cb *port_cb,
               void *aux, struct nic_action *action)
{
    const struct megaflow_program *program = &flow->program;

    memset(action, 0, sizeof *action);
    switch (program->end) {
    case MEGAFLOW_DROP:
        action->type = NIC_ACTION_DROP;
        return REASON_NONE;

    case MEGAFLOW_OUTPUT:
        action->type = NIC_ACTION_OUTPUT;
        action->port = port_cb(program->out_port, aux);
        return (action->port == NIC_PORT_NONE
                ? REASON_OUTPUT_PORT : REASON_NONE);

    case MEGAFLOW_CT:
        action->type = NIC_ACTION_CT;
        action->ct.zone = program->zone;
        action->ct.table = program->recirc_id;
        return REASON_NONE;

    case MEGAFLOW_REFUSED:
        return program->reason;

    default:
        OVS_NOT_REACHED();
    }
}

struct nic_template *
path_compile_flat(const struct path_chain *chain, ovs_be16 dl_type,
                  uint8_t nw_proto, path_port_cb *port_cb, void *aux,
                  enum offload_reason *reason,
                  const struct megaflow **culprit)
{
    const struct megaflow *last = chain->flows[chain->n - 1];
    struct nic_action action;
    nic_port_id in_port;
    struct match match;

    *culprit = last;
    *reason = compile_action(last, port_cb, aux, &action);
    if (*reason != REASON_NONE) {
        return NULL;
    }
    in_port = port_cb(last->slot->in_port, aux);
    if (in_port == NIC_PORT_NONE) {
        *reason = REASON_NO_PORT;
        return NULL;
    }

    match_init_catchall(&match);
    for (size_t i = 0; i < chain->n; i++) {
        add_match(&match, chain->flows[i], wire_fields());
    }
    match_set_dl_type(&match, dl_type);
    match_set_nw_proto(&match, nw_proto);
    match_set_nw_frag(&match, 0);
    if (nw_proto == IPPROTO_TCP) {
        match.flow.tcp_flags |= htons(PATH_TCP_FLAGS);
        match.wc.masks.tcp_flags |= htons(PATH_TCP_FLAGS_MASK);
    }
    return nic_template_create(in_port, NIC_TABLE_ROOT, &match, NIC_SLOT_TUPLE,
                               &action, 1);
}

struct nic_template *
path_compile_module(const struct megaflow *flow, path_port_cb *port_cb,
                    void *aux, enum offload_reason *reason)
{
    struct nic_action action;
    nic_port_id in_port;
    struct match match;
    struct flow fields;

    *reason = compile_action(flow, port_cb, aux, &action);
    if (*reason != REASON_NONE) {
        return NULL;
    }
    in_port = port_cb(flow->slot->in_port, aux);
    if (in_port == NIC_PORT_NONE) {
        *reason = REASON_NO_PORT;
        return NULL;
    }

    fields = *wire_fields();
    fields.ct_state = UINT8_MAX;
    fields.ct_zone = UINT16_MAX;
    match_init_catchall(&match);
    add_match(&match, flow, &fields);
    return nic_template_create(in_port, flow->slot->recirc_id, &match,
                               NIC_SLOT_NONE, &action, 1);
}
