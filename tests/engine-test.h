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

/* Of the megaflow of 'port' before or after ct(). */
static inline ovs_u128
engine_test_ufid(int port, bool after_ct)
{
    return (ovs_u128) { .u32 = { port * 2 + after_ct } };
}

/* Pushes the megaflow of 'port' before ct(), or the one after it, which does
 * 'actions'. */
static inline void
engine_test_put_megaflow(struct engine *engine, int port, bool after_ct,
                         const struct ofpbuf *actions)
{
    ovs_u128 ufid = engine_test_ufid(port, after_ct);
    struct match match;

    match_init_catchall(&match);
    match.flow.in_port.odp_port = u32_to_odp(port);
    memset(&match.wc.masks.in_port, 0xff, sizeof match.wc.masks.in_port);
    match_set_recirc_id(&match, after_ct ? 10 + port : 0);
    match_set_dl_type(&match, htons(ETH_TYPE_IP));
    match_set_nw_frag(&match, 0);
    if (after_ct) {
        match_set_ct_state_masked(&match, CS_TRACKED | CS_ESTABLISHED,
                                  CS_TRACKED | CS_ESTABLISHED);
        engine_push_megaflow(engine, ENGINE_TEST_DP, &ufid, &match,
                             actions->data, actions->size);
    } else {
        uint64_t stub[128 / 8];
        struct ofpbuf ct;
        size_t ofs;

        ofpbuf_use_stub(&ct, stub, sizeof stub);
        ofs = nl_msg_start_nested(&ct, OVS_ACTION_ATTR_CT);
        nl_msg_put_u16(&ct, OVS_CT_ATTR_ZONE, ENGINE_TEST_ZONE);
        nl_msg_end_nested(&ct, ofs);
        nl_msg_put_u32(&ct, OVS_ACTION_ATTR_RECIRC, 10 + port);
        engine_push_megaflow(engine, ENGINE_TEST_DP, &ufid, &match, ct.data,
                             ct.size);
        ofpbuf_uninit(&ct);
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

/* Pushes CT_EVENT_READY of connection 'id', whose packets look like 'flows'
 * and come from 'ports' in the original and the reply direction. */
static inline void
engine_test_push_ready(struct engine *engine, uint64_t id, void *conn,
                       void *ct, const struct flow flows[2],
                       const int ports[2])
{
    struct ct_event *event = xzalloc(sizeof *event);

    event->type = CT_EVENT_READY;
    event->id = id;
    event->conn = conn;
    event->ct = ct;
    event->dl_type = flows[0].dl_type;
    event->nw_proto = flows[0].nw_proto;
    event->zone = ENGINE_TEST_ZONE;
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

#endif /* engine-test.h */
