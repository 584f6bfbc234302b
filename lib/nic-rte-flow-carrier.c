/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>
#include "nic-rte-flow-private.h"
#include "nic-rte-flow.h"

#include <rte_ethdev.h>

#include "openvswitch/shash.h"
#include "ovs-thread.h"
#include "seq.h"
#include "util.h"

/* From the name of a port to the number of its DPDK port, plus one. */
static struct ovs_mutex mutex = OVS_MUTEX_INITIALIZER;
static struct shash names OVS_GUARDED_BY(mutex) = SHASH_INITIALIZER(&names);

struct seq *
nic_rte_flow_carrier_seq(void)
{
    static struct ovsthread_once once = OVSTHREAD_ONCE_INITIALIZER;
    static struct seq *seq;

    if (ovsthread_once_start(&once)) {
        seq = seq_create();
        ovsthread_once_done(&once);
    }
    return seq;
}

bool
nic_rte_flow_get_carrier(const char *name, bool *carrier)
{
    struct rte_eth_link link;
    bool known = false;
    uintptr_t number;
    void *data;

    /* A port is not closed while its name is known. */
    ovs_mutex_lock(&mutex);
    data = shash_find_data(&names, name);
    number = (uintptr_t) data;
    if (number && !rte_eth_link_get_nowait(number - 1, &link)) {
        *carrier = link.link_status == RTE_ETH_LINK_UP;
        known = true;
    }
    ovs_mutex_unlock(&mutex);
    return known;
}

/* Called by a thread of DPDK's. */
static int
link_event(uint16_t ethdev OVS_UNUSED,
           enum rte_eth_event_type event OVS_UNUSED, void *aux OVS_UNUSED,
           void *param OVS_UNUSED)
{
    seq_change(nic_rte_flow_carrier_seq());
    return 0;
}

void
rte_carrier_add(const struct rte_port *port)
{
    uintptr_t number = port->offer.ethdev + 1;

    rte_eth_dev_callback_register(port->offer.ethdev, RTE_ETH_EVENT_INTR_LSC,
                                  link_event, NULL);
    ovs_mutex_lock(&mutex);
    shash_replace(&names, port->name, (void *) number);
    ovs_mutex_unlock(&mutex);
    seq_change(nic_rte_flow_carrier_seq());
}

void
rte_carrier_remove(const struct rte_port *port)
{
    int error;

    ovs_mutex_lock(&mutex);
    shash_find_and_delete(&names, port->name);
    ovs_mutex_unlock(&mutex);
    do {
        error = rte_eth_dev_callback_unregister(port->offer.ethdev,
                                                RTE_ETH_EVENT_INTR_LSC,
                                                link_event, NULL);
    } while (error == -EAGAIN);
    seq_change(nic_rte_flow_carrier_seq());
}
