/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>
#include "nic-emu-pass.h"

#include "dp-packet.h"
#include "nic-emu-counter.h"
#include "nic-emu-edit.h"
#include "nic-emu-window.h"
#include "util.h"

/* Room for tags that are pushed on copies. */
#define HEADROOM 128

void
nic_emu_pass_start(struct nic_emu_pass *pass, struct dp_packet *received,
                   bool check_l4_csum)
{
    pass->received = pass->packet = received;
    pass->shared = false;
    pass->check_l4_csum = check_l4_csum;
    nic_emu_parse(received, check_l4_csum, &pass->headers);
    pass->stale = false;
    pass->ct = (struct nic_emu_ct_pass) { .conn = NULL };
    pass->n_hits = 0;
    pass->outputs.n = 0;
}

static void
set_offsets(struct dp_packet *packet, const struct nic_emu_headers *headers)
{
    packet->l2_pad_size = headers->l2_pad_size;
    packet->l2_5_ofs = headers->l2_5_ofs;
    packet->l3_ofs = headers->l3_ofs;
    packet->l4_ofs = headers->l4_ofs;
}

const struct nic_emu_headers *
nic_emu_pass_headers(struct nic_emu_pass *pass)
{
    if (pass->stale) {
        struct flow old = pass->headers.flow;

        nic_emu_parse(pass->packet, pass->check_l4_csum, &pass->headers);
        nic_emu_ct_copy_fields(&old, &pass->headers.flow);
        if (pass->packet != pass->received) {
            set_offsets(pass->packet, &pass->headers);
        }
        pass->stale = false;
    }
    return &pass->headers;
}

bool
nic_emu_pass_hit(struct nic_emu_pass *pass, struct nic_emu_counter *counter)
{
    if (pass->n_hits >= NIC_EMU_MAX_HITS) {
        return false;
    }
    pass->hits[pass->n_hits].counter = counter;
    pass->hits[pass->n_hits++].bytes = dp_packet_size(pass->packet);
    return true;
}

/* The same for a connection, which counts a packet once. */
static bool
hit_once(struct nic_emu_pass *pass, struct nic_emu_counter *counter)
{
    for (size_t i = 0; i < pass->n_hits; i++) {
        if (pass->hits[i].counter == counter) {
            return true;
        }
    }
    return nic_emu_pass_hit(pass, counter);
}

/* Makes sure that the packet may be changed. */
static void
prepare_change(struct nic_emu_pass *pass)
{
    if (pass->packet == pass->received || pass->shared) {
        struct dp_packet *packet = pass->packet;

        pass->packet = dp_packet_clone_with_headroom(packet, HEADROOM);
        if (packet == pass->received) {
            set_offsets(pass->packet, &pass->headers);
        }
        pass->shared = false;
    }
    pass->stale = true;
}

static bool
output(struct nic_emu_pass *pass, nic_port_id port)
{
    struct nic_emu_outputs *outputs = &pass->outputs;

    if (outputs->n >= NIC_EMU_MAX_OUTPUTS) {
        return false;
    }
    outputs->list[outputs->n].packet = pass->packet;
    outputs->list[outputs->n++].port = port;
    pass->shared = true;
    return true;
}

static struct nic_emu_edit_proto
get_proto(const struct nic_emu_pass *pass)
{
    /* No change of a packet changes these. */
    return (struct nic_emu_edit_proto) {
        .dl_type = pass->headers.flow.dl_type,
        .nw_proto = pass->headers.flow.nw_proto,
    };
}

static bool
set(struct nic_emu_pass *pass, const struct nic_action *a)
{
    const struct nic_emu_edit_proto proto = get_proto(pass);

    if (nic_emu_edit_is_ip(a->set.field) && !pass->headers.sane) {
        return false;
    }
    if (nic_emu_edit_is_tuple(a->set.field)) {
        pass->ct.tuple_changed = true;
    }
    prepare_change(pass);
    return nic_emu_edit_set(pass->packet, &proto, a->set.field, a->set.value,
                            a->set.mask);
}

static bool
set_tuple(struct nic_emu_pass *pass, unsigned int parts,
          const struct nic_tuple *tuple)
{
    const struct nic_emu_edit_proto proto = get_proto(pass);

    if (!pass->headers.sane) {
        return false;
    }
    prepare_change(pass);
    return nic_emu_edit_set_tuple(pass->packet, &proto, parts, tuple);
}

static bool
dec_ttl(struct nic_emu_pass *pass)
{
    const struct nic_emu_edit_proto proto = get_proto(pass);

    if (!pass->headers.sane) {
        return false;
    }
    prepare_change(pass);
    return nic_emu_edit_dec_ttl(pass->packet, &proto);
}

static bool
execute_ct(struct nic_emu_pass *pass, const struct nic_emu_ct *ct,
           const struct nic_action *a)
{
    struct nic_emu_ct_result result;

    nic_emu_pass_headers(pass);
    return (nic_emu_ct_execute(ct, a, &pass->headers, &pass->ct, &result)
            && hit_once(pass, result.counter)
            && (!result.nat_parts
                || set_tuple(pass, result.nat_parts, result.translated)));
}

static bool
check_window(struct nic_emu_pass *pass, const struct nic_action *a)
{
    struct nic_emu_segment seg;

    if (!nic_emu_headers_segment(nic_emu_pass_headers(pass), pass->packet,
                                 &seg)) {
        return false;
    }
    pass->headers.flow.ct_mark = nic_emu_window_check(a->window.window,
                                                      a->window.reply, &seg);
    return true;
}

static void
clear_ct(struct nic_emu_pass *pass)
{
    struct flow zeros;

    memset(&zeros, 0, sizeof zeros);
    nic_emu_ct_copy_fields(&zeros, &pass->headers.flow);
    pass->ct = (struct nic_emu_ct_pass) { .conn = NULL };
}

enum nic_emu_next
nic_emu_pass_action(struct nic_emu_pass *pass, const struct nic_emu_ct *ct,
                    const struct nic_action *a,
                    const struct nic_values *values, nic_port_id egress_port)
{
    bool ok = true;

    switch (a->type) {
    case NIC_ACTION_OUTPUT:
        ok = output(pass, a->port);
        break;
    case NIC_ACTION_EGRESS:
        ok = output(pass, egress_port);
        break;
    case NIC_ACTION_DROP:
        break;
    case NIC_ACTION_CT:
        ok = execute_ct(pass, ct, a);
        if (ok && a->ct.table != NIC_TABLE_NONE) {
            return NIC_EMU_NEXT_TABLE;
        }
        break;
    case NIC_ACTION_SET:
        ok = set(pass, a);
        break;
    case NIC_ACTION_SET_TUPLE:
        pass->ct.tuple_changed = true;
        ok = set_tuple(pass, a->parts, &values->rewrite);
        break;
    case NIC_ACTION_PUSH_VLAN:
        prepare_change(pass);
        ok = nic_emu_edit_push_vlan(pass->packet, a->vlan.tpid, a->vlan.tci);
        break;
    case NIC_ACTION_POP_VLAN:
        prepare_change(pass);
        ok = nic_emu_edit_pop_vlan(pass->packet);
        break;
    case NIC_ACTION_CT_CLEAR:
        clear_ct(pass);
        break;
    case NIC_ACTION_JUMP:
        return NIC_EMU_NEXT_TABLE;
    case NIC_ACTION_DEC_TTL:
        ok = dec_ttl(pass);
        break;
    case NIC_ACTION_WINDOW:
        ok = check_window(pass, a);
        break;
    default:
        OVS_NOT_REACHED();
    }
    return ok ? NIC_EMU_NEXT_ACTION : NIC_EMU_NEXT_MISS;
}

/* Returns true if outputs from the one with index 'i' on send 'packet'. */
static bool
sent_from(const struct nic_emu_pass *pass, size_t i,
          const struct dp_packet *packet)
{
    for (; i < pass->outputs.n; i++) {
        if (pass->outputs.list[i].packet == packet) {
            return true;
        }
    }
    return false;
}

/* Frees the packet as it is now, unless it is received or in the outputs. */
static void
drop_packet(struct nic_emu_pass *pass)
{
    if (pass->packet != pass->received && !pass->shared) {
        dp_packet_delete(pass->packet);
    }
}

void
nic_emu_pass_miss(struct nic_emu_pass *pass)
{
    drop_packet(pass);
    for (size_t i = 0; i < pass->outputs.n; i++) {
        struct dp_packet *packet = pass->outputs.list[i].packet;

        if (packet != pass->received && !sent_from(pass, i + 1, packet)) {
            dp_packet_delete(packet);
        }
    }
}

void
nic_emu_pass_finish(struct nic_emu_pass *pass, long long int now_ms,
                    struct nic_emu_outputs *outputs)
{
    drop_packet(pass);
    for (size_t i = 0; i < pass->n_hits; i++) {
        nic_emu_counter_add(pass->hits[i].counter, pass->hits[i].bytes,
                            now_ms);
    }

    outputs->n = pass->outputs.n;
    for (size_t i = 0; i < pass->outputs.n; i++) {
        struct nic_emu_output *o = &outputs->list[i];

        *o = pass->outputs.list[i];
        if (sent_from(pass, i + 1, o->packet)) {
            o->packet = dp_packet_clone_with_headroom(o->packet, HEADROOM);
        }
    }
}
