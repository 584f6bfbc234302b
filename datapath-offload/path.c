/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>
#include "path.h"

#include <string.h>

#include "lib/mutant.h"
#include "packets.h"
#include "path-packet.h"
#include "path-private.h"
#include "util.h"

struct compose_ctx {
    struct mf_mirror *mirror;
    const struct path_subject *subject;
    struct flow_probe view;         /* Packets as the subject's ct() saw
                                     * them. */
    struct path_set *set;
    struct path_chain chain;        /* So far. */
};

/* What can be in one slot on the way. */
struct stage {
    struct megaflow *flows[PATH_MAX_CHAINS];
    size_t n;
    bool overflow;
    bool at_port;                   /* Packets as received. */
};

static bool
collect_flow(struct megaflow *flow, void *stage_)
{
    struct stage *stage = stage_;

    /* Those that rewrite before ct() are tried backwards. */
    if (stage->at_port && !ovs_list_is_empty(&flow->rewriter_node)) {
        return true;
    }
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

static void
visit(struct compose_ctx *ctx, struct mf_slot *slot)
{
    struct path_set *set = ctx->set;

    for (size_t i = 0; i < set->n_visited; i++) {
        if (set->visited[i] == slot) {
            return;
        }
    }
    if (set->n_visited < ARRAY_SIZE(set->visited)) {
        set->visited[set->n_visited++] = slot;
    }
}

/* 'packet', which was rewritten, comes to the first ct().  Returns true if it
 * may look now like what the subject's ct() saw, and takes that over: bits
 * that were not set are as they were received.  Stores in '*reason' why it
 * cannot be carried nevertheless. */
static bool
join(struct compose_ctx *ctx, struct path_packet *packet,
     enum offload_reason *reason)
{
    const struct flow_probe *view = &ctx->view;
    uint64_t *value = (uint64_t *) &packet->now.flow;
    uint64_t *known = (uint64_t *) &packet->now.known;
    struct flow *received = &packet->received.flow;
    struct flow *received_known = &packet->received.known;

    for (size_t i = 0; i < FLOW_U64S; i++) {
        uint64_t seen = flow_u64_value(&view->known, i);

        if ((value[i] ^ flow_u64_value(&view->flow, i)) & known[i] & seen) {
            return false;
        }
        value[i] |= flow_u64_value(&view->flow, i) & seen;
        known[i] |= seen;
    }
    path_packet_learn_tags(packet);

    packet->backward = false;
    if (packet->deferred != REASON_NONE) {
        *reason = packet->deferred;
        return true;
    }

    /* The tuple as received: what was not set is what it is now; what was set
     * must have been matched. */
    for (size_t i = 0; i < FLOW_U64S; i++) {
        uint64_t bits = flow_u64_value(path_tuple_fields(), i);
        uint64_t kept = bits & ~flow_u64_value(&packet->set, i);

        ((uint64_t *) received)[i] |= value[i] & kept;
        ((uint64_t *) received_known)[i] |= kept;
        if (bits & ~flow_u64_value(received_known, i)) {
            *reason = REASON_REWRITE;
            return true;
        }
    }
    path_get_tuple(received, ctx->subject->dl_type, &ctx->chain.tuple);
    if (packet->has_sent) {
        struct flow *sent = &packet->sent;

        for (size_t i = 0; i < FLOW_U64S; i++) {
            uint64_t set = flow_u64_value(&packet->sent_set, i);

            ((uint64_t *) sent)[i] = ((flow_u64_value(sent, i) & set)
                                      | (flow_u64_value(received, i) & ~set));
        }
        path_get_tuple(sent, ctx->subject->dl_type, &ctx->chain.rewrite);
    }
    packet->rewritten = false;
    return true;
}

static enum offload_reason
find_conn(struct compose_ctx *ctx, struct path_packet *packet, uint16_t zone)
{
    const struct path_subject *subject = ctx->subject;
    struct path_set *set = ctx->set;
    enum offload_reason reason;
    struct nic_tuple tuple;

    path_get_tuple(&packet->now.flow, subject->dl_type, &tuple);
    memset(&packet->conn, 0, sizeof packet->conn);
    reason = subject->find_conn(zone, &tuple, &packet->conn, subject->aux);
    if (reason != REASON_NONE) {
        if (!set->missing) {
            set->missing = true;
            set->missing_zone = zone;
            set->missing_tuple = tuple;
        }
        return reason;
    }
    if (!ctx->chain.n_cts && (zone != subject->zone
                              || packet->conn.conn != subject->conn)) {
        return REASON_FOLLOWER;
    }
    packet->tracked = true;
    packet->zone = zone;
    packet->natted = false;
    packet->tuple_set = false;
    return REASON_NONE;
}

/* Returns true if ct() changes mark or label of 'conn'. */
static bool
changes_conn(const struct path_conn *conn, const struct megaflow_op *op)
{
    return ((conn->mark ^ op->ct.mark) & op->ct.mark_mask
            || ((conn->label.u64.lo ^ op->ct.label.u64.lo)
                & op->ct.label_mask.u64.lo)
            || ((conn->label.u64.hi ^ op->ct.label.u64.hi)
                & op->ct.label_mask.u64.hi));
}

/* Returns true if 'conn' has NAT that leaves 'tuple' as it is. */
static bool
translates_to_itself(const struct path_conn *conn,
                     const struct nic_tuple *tuple)
{
    struct nic_tuple after = *tuple;

    if (conn->nat_parts & NIC_TUPLE_SRC) {
        after.src = conn->translated.src;
        after.tp_src = conn->translated.tp_src;
    }
    if (conn->nat_parts & NIC_TUPLE_DST) {
        after.dst = conn->translated.dst;
        after.tp_dst = conn->translated.tp_dst;
    }
    return conn->nat_parts && !memcmp(&after, tuple, sizeof after);
}

/* Returns REASON_NONE or what is in the way. */
static enum offload_reason
run_ct(struct compose_ctx *ctx, struct path_packet *packet,
       const struct megaflow_op *op)
{
    const struct path_subject *subject = ctx->subject;
    struct path_chain *chain = &ctx->chain;
    struct path_conn *conn = &packet->conn;
    enum offload_reason reason;
    unsigned int parts = 0;
    struct nic_tuple tuple;

    if (chain->n_cts == ARRAY_SIZE(chain->cts)) {
        return REASON_TOO_DEEP;
    }
    if (packet->rewritten) {
        return REASON_REWRITE;
    }

    /* In the zone where the packet is already OVS keeps what it found, or
     * finds it again, unless the tuple was set meanwhile: then it depends. */
    if (!packet->tracked || packet->zone != op->ct.zone) {
        reason = find_conn(ctx, packet, op->ct.zone);
        if (reason != REASON_NONE) {
            return reason;
        }
    } else if (packet->tuple_set) {
        return REASON_REWRITE;
    }

    /* OVS finds a translated packet the other way around; and it may, when
     * translation changes nothing. */
    path_get_tuple(&packet->now.flow, subject->dl_type, &tuple);
    if (op->ct.force && (conn->reply || packet->natted
                         || translates_to_itself(conn, &tuple))) {
        return REASON_CT_FORCE;
    }
    if (changes_conn(conn, op) && !MUTANT(ct_change_carried)) {
        return REASON_CT_CHANGE;
    }

    if (op->ct.nat && !packet->natted && conn->nat_parts) {
        static const struct nic_tuple ones = {
            .src.ipv6 = IN6ADDR_EXACT_INIT,
            .dst.ipv6 = IN6ADDR_EXACT_INIT,
            .tp_src = OVS_BE16_MAX,
            .tp_dst = OVS_BE16_MAX,
        };

        parts = conn->nat_parts;
        path_set_tuple(&packet->now.flow, subject->dl_type, &conn->translated,
                       parts);
        path_set_tuple(&packet->set, subject->dl_type, &ones, parts);
        packet->natted = true;
        packet->changed = true;
    }
    path_packet_set_ct(packet, subject);

    chain->cts[chain->n_cts++] = (struct path_ct) {
        .conn = conn->conn,
        .reply = conn->reply,
        .parts = parts,
    };
    return REASON_NONE;
}

static void
run_set(struct compose_ctx *ctx, struct path_packet *packet,
        const struct megaflow_op *op)
{
    ovs_be16 dl_type = ctx->subject->dl_type;
    size_t len;
    uint8_t *value = path_field(&packet->now.flow, op->set.field, dl_type,
                                &len);
    uint8_t *known = path_field(&packet->now.known, op->set.field, dl_type,
                                &len);
    uint8_t *set = path_field(&packet->set, op->set.field, dl_type, &len);
    bool in_tuple = path_field_part(op->set.field) != 0;

    for (size_t i = 0; i < len; i++) {
        uint8_t mask = op->set.mask[i];

        value[i] = (value[i] & ~mask) | (op->set.value[i] & mask);
        known[i] |= mask;
        set[i] |= mask;
    }
    packet->tuple_set |= in_tuple;
    packet->changed |= in_tuple;
    packet->rewritten |= (!ctx->chain.n_cts
                          && (in_tuple || op->set.field == NIC_FIELD_ETH_SRC
                              || op->set.field == NIC_FIELD_ETH_DST));
}

static void compose_stage(struct compose_ctx *, uint32_t recirc_id,
                          struct path_packet *);

/* Executes the operations of 'flow' on 'packet' and goes on from there, or
 * refuses. */
static void
run_ops(struct compose_ctx *ctx, struct megaflow *flow,
        struct path_packet *packet)
{
    struct path_chain *chain = &ctx->chain;
    struct path_set *set = ctx->set;

    for (size_t i = 0; i < flow->program->n_ops; i++) {
        const struct megaflow_op *op = &flow->program->ops[i];
        enum offload_reason reason = REASON_NONE;

        if (packet->backward && (op->type == MEGAFLOW_OP_CT
                                 || op->type == MEGAFLOW_OP_RECIRC)
            && !join(ctx, packet, &reason)) {
            return;
        }
        if (reason == REASON_NONE) {
            switch (op->type) {
            case MEGAFLOW_OP_SET:
                run_set(ctx, packet, op);
                break;

            case MEGAFLOW_OP_PUSH_VLAN:
                if (!path_tags_push(&packet->tags, op->vlan.tpid,
                                    op->vlan.tci)) {
                    reason = REASON_ACTION;
                }
                packet->rewritten |= !chain->n_cts;
                path_packet_update_tags(packet);
                break;

            case MEGAFLOW_OP_POP_VLAN:
                path_tags_pop(&packet->tags);
                packet->rewritten |= !chain->n_cts;
                path_packet_update_tags(packet);
                break;

            case MEGAFLOW_OP_OUTPUT:
            case MEGAFLOW_OP_LB_OUTPUT:
                /* All outputs after a change of the tuple must see the same
                 * one: path_compile_flat() makes sure. */
                if (packet->changed && packet->backward) {
                    packet->sent = packet->now.flow;
                    packet->sent_set = packet->set;
                    packet->has_sent = true;
                } else if (packet->changed) {
                    path_get_tuple(&packet->now.flow, ctx->subject->dl_type,
                                   &chain->rewrite);
                }
                break;

            case MEGAFLOW_OP_CT:
                reason = run_ct(ctx, packet, op);
                break;

            case MEGAFLOW_OP_CT_CLEAR:
                path_packet_clear_ct(packet);
                packet->tracked = false;
                break;

            case MEGAFLOW_OP_RECIRC:
                /* What was joined without ct() stays a riddle. */
                if (packet->rewritten) {
                    reason = REASON_REWRITE;
                    break;
                }
                compose_stage(ctx, op->id, packet);
                return;

            default:
                OVS_NOT_REACHED();
            }
        }
        if (reason != REASON_NONE) {
            refuse(ctx, reason, flow);
            return;
        }
    }

    if (!chain->n_cts) {
        refuse(ctx, REASON_NO_CT, flow);
    } else if (set->n_chains == ARRAY_SIZE(set->chains)) {
        refuse(ctx, REASON_TOO_DEEP, flow);
    } else {
        set->chains[set->n_chains++] = *chain;
    }
}

/* Follows 'flow', which packets of which 'packet_' is known may hit. */
static void
compose_flow(struct compose_ctx *ctx, struct megaflow *flow,
             const struct path_packet *packet_)
{
    struct path_chain *chain = &ctx->chain;
    enum offload_reason reason = path_check_fields(flow);
    struct nic_tuple rewrite = chain->rewrite;
    size_t n_cts = chain->n_cts;
    struct path_packet packet;

    if (reason == REASON_NONE) {
        reason = flow->program->reason;
    }
    if (reason == REASON_NONE && chain->n == ARRAY_SIZE(chain->flows)) {
        reason = REASON_TOO_DEEP;
    }
    if (reason != REASON_NONE && !packet_->backward) {
        refuse(ctx, reason, flow);
        return;
    }

    packet = *packet_;
    path_packet_narrow(&packet, flow);
    if (packet.backward) {
        packet.deferred = reason;
        packet.received = packet.now;
    }
    chain->flows[chain->n++] = flow;
    run_ops(ctx, flow, &packet);
    chain->n--;
    chain->n_cts = n_cts;
    chain->rewrite = rewrite;
}

/* Follows packets of which 'packet' is known into the slot of 'recirc_id'. */
static void
compose_stage(struct compose_ctx *ctx, uint32_t recirc_id,
              struct path_packet *packet)
{
    const struct path_subject *subject = ctx->subject;
    struct stage stage = { .n = 0, .at_port = !ctx->chain.n };
    struct mf_slot *slot;

    packet->now.flow.recirc_id = recirc_id;
    slot = mf_mirror_get_slot(ctx->mirror, subject->dp,
                              subject->ingress->in_port, recirc_id);
    mf_mirror_lookup(slot, &packet->now, collect_flow, &stage);
    visit(ctx, slot);
    if (stage.overflow) {
        refuse(ctx, REASON_TOO_DEEP, NULL);
    }

    /* Unless one megaflow takes all of these packets, another may come that
     * takes some. */
    if (stage.n != 1 || !megaflow_covers(stage.flows[0], &packet->now)) {
        wait_for_megaflow(ctx, slot);
    }
    for (size_t i = 0; i < stage.n; i++) {
        compose_flow(ctx, stage.flows[i], packet);
    }
}

/* Tries the megaflows that make of what they receive what ct() sees. */
static void
compose_backward(struct compose_ctx *ctx)
{
    const struct path_subject *subject = ctx->subject;
    size_t n_chains = ctx->set->n_chains;
    struct mf_slot *slot = mf_mirror_get_slot(ctx->mirror, subject->dp,
                                              subject->ingress->in_port, 0);
    struct flow_probe probe;
    struct path_packet packet;
    struct megaflow *flow;

    if (ovs_list_is_empty(&slot->rewriters)) {
        return;
    }
    path_probe_init_metadata(&probe, subject);
    if (flow_vlan_limit < 2) {
        probe.known.vlans[1].qtag = OVS_BE32_MAX;
    }
    path_packet_init(&packet, &probe);
    packet.backward = true;
    LIST_FOR_EACH (flow, rewriter_node, &slot->rewriters) {
        if (megaflow_admits(flow, &probe)) {
            compose_flow(ctx, flow, &packet);
        }
    }
    if (ctx->set->n_chains != n_chains) {
        wait_for_megaflow(ctx, slot);
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
        .chain.tuple = *subject->tuple,
    };
    struct path_packet packet;

    set->n_chains = set->n_waits = set->n_visited = 0;
    set->missing = false;
    set->reason = REASON_NONE;
    set->culprit = NULL;

    path_probe_init(&ctx.view, subject);
    path_packet_init(&packet, &ctx.view);
    compose_stage(&ctx, 0, &packet);

    /* What ct() saw may have had more tags than OVS looks at. */
    if (subject->ingress->vlan.qtag) {
        ctx.view.known.vlans[1].qtag = 0;
    }
    compose_backward(&ctx);
    if (!set->n_chains && set->reason == REASON_NONE) {
        set->reason = REASON_NO_MEGAFLOW;
    }
}
