/* SPDX-License-Identifier: Apache-2.0 */

/* Hooks in OVS's lib/netdev-dpdk.c.
 *
 *   rte_eth_dev_stop, rte_eth_dev_reset, rte_eth_dev_close   Before a port
 *       loses its flow rules, so that those of ours go in good order.
 *
 *   rte_eth_dev_start   The port can have some again.  OVS stops and starts
 *       ports, e.g. when the number of their queues changes; the main loop
 *       looks at all ports again then. */

#include <config.h>

#include <rte_ethdev.h>

#include "hook-version.h"

static int hooked_dev_start(uint16_t port_id);
static int hooked_dev_stop(uint16_t port_id);
static int hooked_dev_reset(uint16_t port_id);
static int hooked_dev_close(uint16_t port_id);

#define rte_eth_dev_start hooked_dev_start
#define rte_eth_dev_stop hooked_dev_stop
#define rte_eth_dev_reset hooked_dev_reset
#define rte_eth_dev_close hooked_dev_close
#include "lib/netdev-dpdk.c"
#undef rte_eth_dev_start
#undef rte_eth_dev_stop
#undef rte_eth_dev_reset
#undef rte_eth_dev_close

#include "lib/nic-rte-flow.h"

static int
hooked_dev_start(uint16_t port_id)
{
    int retval = rte_eth_dev_start(port_id);

    nic_rte_flow_port_started(port_id);
    if_notifier_manual_report();
    return retval;
}

static int
hooked_dev_stop(uint16_t port_id)
{
    nic_rte_flow_port_stopping(port_id, false);
    return rte_eth_dev_stop(port_id);
}

static int
hooked_dev_reset(uint16_t port_id)
{
    nic_rte_flow_port_stopping(port_id, true);
    return rte_eth_dev_reset(port_id);
}

static int
hooked_dev_close(uint16_t port_id)
{
    nic_rte_flow_port_stopping(port_id, true);
    return rte_eth_dev_close(port_id);
}
