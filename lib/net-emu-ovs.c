/* SPDX-License-Identifier: Apache-2.0 */

/* Open vSwitch's library, as net_emu needs it, refers to functions of which
 * net_emu has no use, but which would bring in most of Open vSwitch.  These
 * take their place. */

#include <config.h>

#include "dp-packet.h"
#include "netdev-dpdk.h"
#include "netdev-provider.h"
#include "nx-match.h"
#include "openvswitch/meta-flow.h"
#include "openvswitch/ofp-port.h"
#include "ovs-router.h"
#include "unixctl.h"
#include "util.h"

/* All packets here are DPBUF_MALLOC. */
void
free_dpdk_buf(struct dp_packet *packet OVS_UNUSED)
{
    OVS_NOT_REACHED();
}

/* For flow_get_tunnel_netdev(). */

struct netdev *
netdev_from_name(const char *name OVS_UNUSED)
{
    return NULL;
}

bool
ovs_router_lookup(uint32_t mark OVS_UNUSED,
                  const struct in6_addr *ip6_dst OVS_UNUSED,
                  char output_bridge[] OVS_UNUSED,
                  struct in6_addr *src OVS_UNUSED,
                  struct in6_addr *gw OVS_UNUSED)
{
    return false;
}

/* For match_format() of an input port and of tunnel metadata, which no rule
 * here matches. */

void
ofputil_format_port(ofp_port_t port OVS_UNUSED,
                    const struct ofputil_port_map *map OVS_UNUSED,
                    struct ds *ds OVS_UNUSED)
{
    OVS_NOT_REACHED();
}

int
mf_field_len(const struct mf_field *mf OVS_UNUSED,
             const union mf_value *value OVS_UNUSED,
             const union mf_value *mask OVS_UNUSED, bool *is_masked OVS_UNUSED)
{
    OVS_NOT_REACHED();
}

void
nxm_put_entry_raw(struct ofpbuf *b OVS_UNUSED,
                  enum mf_field_id field OVS_UNUSED,
                  enum ofp_version version OVS_UNUSED,
                  const void *value OVS_UNUSED, const void *mask OVS_UNUSED,
                  size_t len OVS_UNUSED)
{
    OVS_NOT_REACHED();
}

/* The plugin has no unixctl server. */

void
unixctl_command_register(const char *name OVS_UNUSED,
                         const char *usage OVS_UNUSED, int min OVS_UNUSED,
                         int max OVS_UNUSED, unixctl_cb_func *cb OVS_UNUSED,
                         void *aux OVS_UNUSED)
{
}

void
unixctl_command_reply(struct unixctl_conn *conn OVS_UNUSED,
                      const char *reply OVS_UNUSED)
{
}

void
unixctl_command_reply_error(struct unixctl_conn *conn OVS_UNUSED,
                            const char *error OVS_UNUSED)
{
}
