/* SPDX-License-Identifier: Apache-2.0 */

/* Datapaths as the watcher's thread uses them: through a dpif handle of its
 * own, since it does not know when the main thread uses the bridge's. */

#include <config.h>
#include "vport-bond-dp.h"

#include <errno.h>

#include "dp-packet.h"
#include "dpif.h"
#include "flow.h"
#include "netlink.h"
#include "odp-netlink.h"
#include "odp-util.h"
#include "openvswitch/ofpbuf.h"
#include "openvswitch/vlog.h"
#include "ovs-thread.h"
#include "util.h"

VLOG_DEFINE_THIS_MODULE(vport_bond_dpif);

static void *
dpif_handle_open(const char *type, const char *name)
{
    static struct vlog_rate_limit rl = VLOG_RATE_LIMIT_INIT(1, 5);
    struct dpif *dpif;
    int error = dpif_open(name, type, &dpif);

    if (error) {
        VLOG_WARN_RL(&rl, "cannot open datapath %s@%s (%s)", type, name,
                     ovs_strerror(error));
        return NULL;
    }
    return dpif;
}

static void
dpif_handle_close(void *dpif)
{
    dpif_close(dpif);
}

static int
dpif_handle_set(void *dpif, uint32_t id, odp_port_t port)
{
    odp_port_t buckets[BOND_BUCKETS];

    for (int i = 0; i < BOND_BUCKETS; i++) {
        buckets[i] = port;
    }
    return dpif_bond_add(dpif, id, buckets);
}

static int
dpif_handle_del(void *dpif, uint32_t id)
{
    return dpif_bond_del(dpif, id);
}

static int
dpif_handle_send(void *dpif, odp_port_t port, struct dp_packet *packet)
{
    uint64_t actions_stub[64 / 8];
    struct ofpbuf actions = OFPBUF_STUB_INITIALIZER(actions_stub);
    struct dpif_execute execute;
    struct flow flow;
    int error;

    flow_extract(packet, &flow);
    flow.in_port.odp_port = ODPP_NONE;
    pkt_metadata_init(&packet->md, ODPP_NONE);
    nl_msg_put_odp_port(&actions, OVS_ACTION_ATTR_OUTPUT, port);

    memset(&execute, 0, sizeof execute);
    execute.actions = actions.data;
    execute.actions_len = actions.size;
    execute.packet = packet;
    execute.flow = &flow;
    error = dpif_execute(dpif, &execute);
    ofpbuf_uninit(&actions);
    return error;
}

const struct vport_bond_dp_class vport_bond_dpif_class = {
    .open = dpif_handle_open,
    .close = dpif_handle_close,
    .set = dpif_handle_set,
    .del = dpif_handle_del,
    .send = dpif_handle_send,
};
