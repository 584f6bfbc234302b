/* SPDX-License-Identifier: Apache-2.0 */

#ifndef ENGINE_TEST_H
#define ENGINE_TEST_H 1

/* What the engine's tests share: a pipeline with one ct() for each port, and
 * events of connections that take it.  Included by one .c file per program. */

#include "datapath-offload/engine.h"
#include "netlink.h"
#include "nic-test.h"
#include "odp-netlink.h"
#include "odp-util.h"
#include "openvswitch/ofpbuf.h"

#define ENGINE_TEST_DP 1
#define ENGINE_TEST_ZONE 3
#define ENGINE_TEST_ZONE2 4

/* Of the megaflow of 'port' before or after ct(). */
static inline ovs_u128
engine_test_ufid(int port, bool after_ct)
{
    return (ovs_u128) { .u32 = { port * 2 + after_ct } };
}

/* Of the megaflow of 'port' between two ct()s. */
static inline ovs_u128
engine_test_ufid2(int port)
{
    return (ovs_u128) { .u32 = { port, 1 } };
}

/* Stores in 'match' what IPv4 packets of 'port' have in common after
 * recirculation 'recirc_id'. */
static inline void
engine_test_match(int port, uint32_t recirc_id, struct match *match)
{
    match_init_catchall(match);
    match->flow.in_port.odp_port = u32_to_odp(port);
    memset(&match->wc.masks.in_port, 0xff, sizeof match->wc.masks.in_port);
    match_set_recirc_id(match, recirc_id);
    match_set_dl_type(match, htons(ETH_TYPE_IP));
    match_set_nw_frag(match, 0);
}

/* Pushes the megaflow 'ufid' of 'port' and 'recirc_id' that does ct() in
 * 'zone', with the option "nat" if 'nat', and recirculates to 'next'. */
static inline void
engine_test_put_ct(struct engine *engine, int port, const ovs_u128 *ufid,
                   uint32_t recirc_id, uint16_t zone, bool nat, uint32_t next)
{
    uint64_t stub[128 / 8];
    struct ofpbuf ct;
    struct match match;
    size_t ofs;

    engine_test_match(port, recirc_id, &match);
    ofpbuf_use_stub(&ct, stub, sizeof stub);
    ofs = nl_msg_start_nested(&ct, OVS_ACTION_ATTR_CT);
    nl_msg_put_u16(&ct, OVS_CT_ATTR_ZONE, zone);
    if (nat) {
        nl_msg_end_nested(&ct, nl_msg_start_nested(&ct, OVS_CT_ATTR_NAT));
    }
    nl_msg_end_nested(&ct, ofs);
    nl_msg_put_u32(&ct, OVS_ACTION_ATTR_RECIRC, next);
    engine_push_megaflow(engine, ENGINE_TEST_DP, ufid, NULL, &match, ct.data,
                         ct.size);
    ofpbuf_uninit(&ct);
}

/* Pushes the megaflow of 'port' before ct(), or the one after it, which does
 * 'actions'. */
static inline void
engine_test_put_megaflow(struct engine *engine, int port, bool after_ct,
                         const struct ofpbuf *actions)
{
    ovs_u128 ufid = engine_test_ufid(port, after_ct);
    struct match match;

    if (after_ct) {
        engine_test_match(port, 10 + port, &match);
        match_set_ct_state_masked(&match, CS_TRACKED | CS_ESTABLISHED,
                                  CS_TRACKED | CS_ESTABLISHED);
        engine_push_megaflow(engine, ENGINE_TEST_DP, &ufid, NULL, &match,
                             actions->data, actions->size);
    } else {
        engine_test_put_ct(engine, port, &ufid, 0, ENGINE_TEST_ZONE, false,
                           10 + port);
    }
}

/* Pushes the megaflow of 'port' after ct() with an output to 'out_port'. */
static inline void
engine_test_put_output(struct engine *engine, int port, odp_port_t out_port)
{
    uint64_t stub[64 / 8];
    struct ofpbuf actions;

    ofpbuf_use_stub(&actions, stub, sizeof stub);
    nl_msg_put_odp_port(&actions, OVS_ACTION_ATTR_OUTPUT, out_port);
    engine_test_put_megaflow(engine, port, true, &actions);
    ofpbuf_uninit(&actions);
}

/* Pushes CT_EVENT_READY of connection 'id' in 'zone', whose packets look like
 * 'flows' to ct() and come from 'ports' in the original and the reply
 * direction.  If 'snat', the source of the original direction is translated to
 * where the reply direction leads. */
static inline void
engine_test_push_ready(struct engine *engine, uint64_t id, void *conn,
                       void *ct, uint16_t zone, uint32_t mark,
                       const struct flow flows[2], const int ports[2],
                       bool snat)
{
    struct ct_event *event = xzalloc(sizeof *event);

    event->type = CT_EVENT_READY;
    event->id = id;
    event->conn = conn;
    event->ct = ct;
    event->dl_type = flows[0].dl_type;
    event->nw_proto = flows[0].nw_proto;
    event->zone = zone;
    event->mark = mark;
    event->nat_parts[0] = snat ? NIC_TUPLE_SRC : 0;
    event->nat_parts[1] = snat ? NIC_TUPLE_DST : 0;
    event->nat_state[0] = snat ? CS_SRC_NAT : 0;
    event->nat_state[1] = snat ? CS_DST_NAT : 0;
    for (int dir = 0; dir < 2; dir++) {
        event->tuple[dir] = nic_test_tuple(&flows[dir], false);
        event->ingress[dir].in_port = u32_to_odp(ports[dir]);
        event->ingress[dir].dl_src = flows[dir].dl_src;
        event->ingress[dir].dl_dst = flows[dir].dl_dst;
    }
    engine_push_ct_event(engine, event);
}

/* Pushes another event of connection 'id'. */
static inline void
engine_test_push(struct engine *engine, uint64_t id, enum ct_event_type type)
{
    struct ct_event *event = xzalloc(sizeof *event);

    event->type = type;
    event->id = id;
    engine_push_ct_event(engine, event);
}

/* Pushes CT_EVENT_CHANGED of connection 'id', to 'mark'. */
static inline void
engine_test_push_changed(struct engine *engine, uint64_t id, uint32_t mark)
{
    struct ct_event *event = xzalloc(sizeof *event);

    event->type = CT_EVENT_CHANGED;
    event->id = id;
    event->mark = mark;
    engine_push_ct_event(engine, event);
}

#endif /* engine-test.h */
