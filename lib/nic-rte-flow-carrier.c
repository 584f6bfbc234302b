/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>
#include "nic-rte-flow-private.h"
#include "nic-rte-flow.h"

#include <errno.h>
#include <rte_ethdev.h>
#include <stdlib.h>

#include "openvswitch/shash.h"
#include "ovs-thread.h"
#include "seq.h"
#include "static-seq.h"
#include "util.h"

/* A port by its name. */
struct entry {
    uint16_t ethdev;
    unsigned int n_queries;         /* Threads that ask for its link now. */
};

/* Not held while a driver is asked, which may take its time. */
static struct ovs_mutex mutex = OVS_MUTEX_INITIALIZER;
static struct shash entries OVS_GUARDED_BY(mutex)
    = SHASH_INITIALIZER(&entries);

/* Signaled when nobody asks for the link of some port any more. */
static pthread_cond_t query_ended = PTHREAD_COND_INITIALIZER;

STATIC_SEQ_DEFINE(nic_rte_flow_carrier_seq)

bool
nic_rte_flow_get_carrier(const char *name, bool *carrier)
{
    struct rte_eth_link link;
    struct entry *entry;
    bool known = false;

    ovs_mutex_lock(&mutex);
    entry = shash_find_data(&entries, name);
    if (entry) {
        entry->n_queries++;
    }
    ovs_mutex_unlock(&mutex);
    if (!entry) {
        return false;
    }

    /* The port is not closed meanwhile: rte_carrier_remove() waits. */
    if (!rte_eth_link_get_nowait(entry->ethdev, &link)) {
        *carrier = link.link_status == RTE_ETH_LINK_UP;
        known = true;
    }

    ovs_mutex_lock(&mutex);
    if (!--entry->n_queries) {
        xpthread_cond_broadcast(&query_ended);
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
    struct entry *entry = xmalloc(sizeof *entry);

    rte_eth_dev_callback_register(port->offer.ethdev, RTE_ETH_EVENT_INTR_LSC,
                                  link_event, NULL);
    entry->ethdev = port->offer.ethdev;
    entry->n_queries = 0;
    ovs_mutex_lock(&mutex);
    shash_add_assert(&entries, port->name, entry);
    ovs_mutex_unlock(&mutex);
    seq_change(nic_rte_flow_carrier_seq());
}

void
rte_carrier_remove(const struct rte_port *port)
{
    struct entry *entry;
    int error;

    ovs_mutex_lock(&mutex);
    entry = shash_find_and_delete_assert(&entries, port->name);
    while (entry->n_queries) {
        ovs_mutex_cond_wait(&query_ended, &mutex);
    }
    ovs_mutex_unlock(&mutex);
    free(entry);
    do {
        error = rte_eth_dev_callback_unregister(port->offer.ethdev,
                                                RTE_ETH_EVENT_INTR_LSC,
                                                link_event, NULL);
    } while (error == -EAGAIN);
    seq_change(nic_rte_flow_carrier_seq());
}
