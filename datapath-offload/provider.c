/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>
#include "provider.h"

#include <errno.h>

#include "dp-registry.h"
#include "dpif.h"
#include "engine.h"
#include "netdev-offload-provider.h"
#include "netdev-provider.h"
#include "offload-ports.h"
#include "openvswitch/match.h"
#include "timeval.h"
#include "util.h"

/* How 'dpctl/dump-flows' calls the layer that carries a megaflow. */
#define DP_LAYER "nic"

static struct engine *engine;

static uint32_t
netdev_dp(const struct netdev *netdev)
{
    return dp_registry_id(netdev_get_dpif_type(netdev));
}

static int
flow_put(struct netdev *netdev OVS_UNUSED, struct match *match OVS_UNUSED,
         struct nlattr *actions OVS_UNUSED, size_t actions_len OVS_UNUSED,
         const ovs_u128 *ufid OVS_UNUSED,
         struct offload_info *info OVS_UNUSED,
         struct dpif_flow_stats *stats)
{
    if (stats) {
        memset(stats, 0, sizeof *stats);
    }
    return 0;
}

static int
flow_del(struct netdev *netdev OVS_UNUSED, const ovs_u128 *ufid OVS_UNUSED,
         struct dpif_flow_stats *stats)
{
    if (stats) {
        memset(stats, 0, sizeof *stats);
    }
    return 0;
}

static int
flow_flush(struct netdev *netdev)
{
    odp_port_t odp_port;

    if (offload_ports_find(netdev, &odp_port)) {
        engine_push_flush(engine, netdev_dp(netdev), odp_port);
    }
    return 0;
}

/* dpif-netdev asks with provider_flow_get() instead; this is for anybody
 * else. */
static int
flow_get(struct netdev *netdev, struct match *match OVS_UNUSED,
         struct nlattr **actions OVS_UNUSED, const ovs_u128 *ufid,
         struct dpif_flow_stats *stats, struct dpif_flow_attrs *attrs,
         struct ofpbuf *wbuffer OVS_UNUSED)
{
    return provider_flow_get(netdev, ufid, UINT_MAX, NULL, false, stats,
                             attrs);
}

static int
flow_get_n_flows(struct netdev *netdev, uint64_t *n_flows)
{
    odp_port_t odp_port;

    if (offload_ports_find(netdev, &odp_port)) {
        n_flows[0] = engine_port_n_flows(engine, netdev_dp(netdev), odp_port);
    }
    return 0;
}

static int
init_flow_api(struct netdev *netdev)
{
    odp_port_t odp_port;

    return offload_ports_find(netdev, &odp_port) ? 0 : EOPNOTSUPP;
}

static const struct netdev_flow_api provider = {
    .type = "ovs_handoff",
    .flow_flush = flow_flush,
    .flow_put = flow_put,
    .flow_get = flow_get,
    .flow_del = flow_del,
    .flow_get_n_flows = flow_get_n_flows,
    .init_flow_api = init_flow_api,
};

void
provider_register(struct engine *engine_)
{
    engine = engine_;
    netdev_register_flow_api_provider(&provider);
}

bool
provider_owns(const struct netdev *netdev)
{
    return ovsrcu_get(const struct netdev_flow_api *,
                      &netdev->flow_api) == &provider;
}

void
provider_copy_put(struct netdev *netdev, const ovs_u128 *ufid,
                  const void *copy, const struct match *match,
                  const struct nlattr *actions, size_t actions_len)
{
    uint32_t dp = netdev_dp(netdev);

    if (engine && (provider_owns(netdev)
                   || engine_has_megaflow(engine, dp, ufid))) {
        engine_push_megaflow(engine, dp, ufid, copy, match, actions,
                             actions_len);
    }
}

void
provider_copy_del(const ovs_u128 *ufid, const void *copy)
{
    if (engine) {
        engine_push_megaflow_del(engine, ufid, copy);
    }
}

int
provider_flow_get(struct netdev *netdev, const ovs_u128 *ufid,
                  unsigned int pmd_id, const void *copy, bool fresh,
                  struct dpif_flow_stats *stats,
                  struct dpif_flow_attrs *attrs)
{
    bool offloaded;

    if (!engine
        || !engine_flow_stats(engine, netdev_dp(netdev), ufid, pmd_id, copy,
                              fresh, time_msec(), stats, &offloaded)) {
        return ENOENT;
    }
    attrs->offloaded = offloaded;
    attrs->dp_layer = offloaded ? DP_LAYER : "ovs";
    return 0;
}
