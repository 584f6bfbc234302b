/* SPDX-License-Identifier: Apache-2.0 */

/* Hooks in OVS's lib/netdev-offload.c.
 *
 *   netdev_register_flow_api_provider   Who owns a port is decided in one
 *   place:
 *       OVS's own providers are registered as copies that refuse our ports
 *       before they touch them.  (netdev_tc_init_flow_api() deletes qdiscs as
 *       it tries.)  Tap ports stay without OVS's providers, as in stock OVS,
 *       see ovs-dpif.c.
 *
 *   netdev_ports_insert, netdev_ports_remove   Tell which ports there are, by
 *       datapath port number, before a provider is chosen. */

#include <config.h>

#include "hook-version.h"
#include "netdev-offload-provider.h"
#include "netdev-offload.h"

int ovs_netdev_register_flow_api_provider(const struct netdev_flow_api *);
int ovs_netdev_ports_insert(struct netdev *, struct dpif_port *);
int ovs_netdev_ports_remove(odp_port_t, const char *);

#define netdev_register_flow_api_provider ovs_netdev_register_flow_api_provider
#define netdev_ports_insert ovs_netdev_ports_insert
#define netdev_ports_remove ovs_netdev_ports_remove
#include "lib/netdev-offload.c"
#undef netdev_register_flow_api_provider
#undef netdev_ports_insert
#undef netdev_ports_remove

#include "offload-ports.h"

/* OVS has three providers: tc, dpdk and dummy. */
#define MAX_GUARDED 4

static struct netdev_flow_api guarded[MAX_GUARDED];
static const struct netdev_flow_api *originals[MAX_GUARDED];
static size_t n_guarded;

static int
guarded_init(size_t i, struct netdev *netdev)
{
    odp_port_t odp_port;

    if (offload_ports_find(netdev, &odp_port)
        || offload_ports_is_waiting(netdev)
        || !strcmp(netdev_get_type(netdev), "tap")) {
        return EOPNOTSUPP;
    }
    return originals[i]->init_flow_api(netdev);
}

/* A 'struct netdev_flow_api' has no place for its own data. */
#define GUARDED_INIT(I)                                                 \
    static int guarded_init_##I(struct netdev *netdev)                  \
    {                                                                   \
        return guarded_init(I, netdev);                                 \
    }
GUARDED_INIT(0)
GUARDED_INIT(1)
GUARDED_INIT(2)
GUARDED_INIT(3)

static int (*const guarded_inits[MAX_GUARDED])(struct netdev *) = {
    guarded_init_0, guarded_init_1, guarded_init_2, guarded_init_3,
};

int
netdev_register_flow_api_provider(const struct netdev_flow_api *api)
{
    if (strcmp(api->type, "ovs_handoff") && api->init_flow_api) {
        size_t i = n_guarded++;

        ovs_assert(i < MAX_GUARDED);
        originals[i] = api;
        guarded[i] = *api;
        guarded[i].init_flow_api = guarded_inits[i];
        api = &guarded[i];
    }
    return ovs_netdev_register_flow_api_provider(api);
}

int
netdev_ports_insert(struct netdev *netdev, struct dpif_port *dpif_port)
{
    offload_ports_add(netdev, netdev_get_dpif_type(netdev),
                      dpif_port->port_no);
    return ovs_netdev_ports_insert(netdev, dpif_port);
}

int
netdev_ports_remove(odp_port_t port_no, const char *dpif_type)
{
    offload_ports_remove(dpif_type, port_no);
    return ovs_netdev_ports_remove(port_no, dpif_type);
}
