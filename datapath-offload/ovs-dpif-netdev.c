/* SPDX-License-Identifier: Apache-2.0 */

/* Hooks in OVS's lib/dpif-netdev.c.
 *
 *   netdev_flow_get       What NICs carried must be added to one copy of a
 *       megaflow only: the hook knows which copy it is asked for.
 *
 *   netdev_rxq_recv       The emulated NIC sits between the device and the
 *       datapath: the one receive call.
 *
 *   xnanosleep, mpsc_queue_insert, mov_avg_cma_update   The offload thread is
 *       woken up when something is queued, instead of sleeping for up to 64
 *       ms, and it is known when it has nothing to do.
 *
 *   mov_avg_cma_update    Called once for each item of the offload thread's
 *       queue, when it was handled: tells the provider of each copy of a
 *       megaflow, see below.
 *
 *   conntrack_init, conntrack_destroy   Which datapath a connection tracker
 *       belongs to.
 *
 * It also hands megaflows to the provider that are older than its ownership of
 * a port (provider_reread_megaflows()), has OVS's offload threads end another
 * provider's (provider_flush_stock()), and reads counters that dpif does not
 * show (dp-bond-stats.h). */

#include <config.h>

#include "conntrack.h"
#include "dp-bond-stats.h"
#include "dp-registry.h"
#include "dpif.h"
#include "hook-version.h"
#include "latch.h"
#include "lib/nic-emu.h"
#include "mov-avg.h"
#include "mpsc-queue.h"
#include "netdev-offload.h"
#include "netdev.h"
#include "openvswitch/poll-loop.h"
#include "ovs-atomic.h"
#include "provider.h"
#include "timeval.h"

struct dp_netdev_pmd_thread;
struct dp_offload_thread_item;

/* Statistics. */

static int
hooked_flow_get(struct netdev *netdev, struct match *match,
                struct nlattr **actions, const ovs_u128 *ufid,
                struct dpif_flow_stats *stats, struct dpif_flow_attrs *attrs,
                struct ofpbuf *buf, unsigned int pmd_id, const void *copy,
                bool fresh)
{
    struct dpif_flow_stats carried;
    struct dpif_flow_attrs unused;
    int error;

    if (provider_owns(netdev)) {
        return provider_flow_get(netdev, ufid, pmd_id, copy, fresh, stats,
                                 attrs);
    }

    error = netdev_flow_get(netdev, match, actions, ufid, stats, attrs, buf);
    if (!provider_flow_get(netdev, ufid, pmd_id, copy, fresh, &carried,
                           &unused)) {
        /* The port was ours. */
        if (error) {
            memset(stats, 0, sizeof *stats);
            attrs->offloaded = false;
            attrs->dp_layer = "ovs";
            error = 0;
        }
        stats->n_packets += carried.n_packets;
        stats->n_bytes += carried.n_bytes;
        stats->used = MAX(stats->used, carried.used);
    }
    return error;
}

/* Reception. */

static int hooked_rxq_recv(struct netdev_rxq *, struct dp_packet_batch *,
                           int *qfill, struct dp_netdev_pmd_thread *);

/* The offload thread. */

static void hooked_item_handled(const struct dp_offload_thread_item *);

static atomic_uint64_t n_queued = ATOMIC_VAR_INIT(0);
static atomic_uint64_t n_processed = ATOMIC_VAR_INIT(0);
static atomic_count n_sleeping = ATOMIC_COUNT_INIT(0);

static struct latch *
queued_latch(void)
{
    static struct ovsthread_once once = OVSTHREAD_ONCE_INITIALIZER;
    static struct latch latch;

    if (ovsthread_once_start(&once)) {
        latch_init(&latch);
        ovsthread_once_done(&once);
    }
    return &latch;
}

static void
hooked_queue_insert(struct mpsc_queue *queue, struct mpsc_queue_node *node)
{
    atomic_count_inc64(&n_queued);
    mpsc_queue_insert(queue, node);
    if (atomic_count_get(&n_sleeping)) {
        latch_set(queued_latch());
    }
}

/* Sleeps for at most 'ns', less if something is queued.  The caller looks at
 * its queue again afterwards; a wake-up that is missed, or that another
 * offload thread took, costs no more than OVS's own sleep. */
static void
hooked_idle(uint64_t ns)
{
    struct latch *latch = queued_latch();

    atomic_count_inc(&n_sleeping);
    latch_wait(latch);
    poll_timer_wait(DIV_ROUND_UP(ns, 1000000));
    poll_block();
    atomic_count_dec(&n_sleeping);
    latch_poll(latch);
}

static struct conntrack *
hooked_conntrack_init(const char *dpif_type)
{
    struct conntrack *ct = conntrack_init();

    dp_registry_add(ct, dpif_type);
    return ct;
}

static void
hooked_conntrack_destroy(struct conntrack *ct)
{
    dp_registry_remove(ct);
    conntrack_destroy(ct);
}

/* The arguments that the hooks add are in scope where OVS calls. */
#define netdev_flow_get(NETDEV, MATCH, ACTIONS, UFID, STATS, ATTRS, BUF)  \
    hooked_flow_get(NETDEV, MATCH, ACTIONS, UFID, STATS, ATTRS, BUF,      \
                    netdev_flow->pmd_id, netdev_flow,                     \
                    hooked_is_fresh(netdev_flow))
#define netdev_rxq_recv(RX, BATCH, QFILL)                                 \
    hooked_rxq_recv(RX, BATCH, QFILL, pmd)
#define mpsc_queue_insert(QUEUE, NODE) hooked_queue_insert(QUEUE, NODE)
#define mov_avg_cma_update(CMA, VALUE)                                    \
    (mov_avg_cma_update(CMA, VALUE), hooked_item_handled(offload))
#define xnanosleep(NS) hooked_idle(NS)
#define conntrack_init() hooked_conntrack_init(class->type)
#define conntrack_destroy(CT) hooked_conntrack_destroy(CT)

#define hooked_is_fresh(NETDEV_FLOW) hooked_stats_are_zero(               \
    &(NETDEV_FLOW)->last_stats.packet_count,                              \
    &(NETDEV_FLOW)->last_stats.used)

static bool
hooked_stats_are_zero(atomic_ullong *packet_count, atomic_llong *used)
{
    unsigned long long int packets_;
    long long int used_;

    atomic_read_relaxed(packet_count, &packets_);
    atomic_read_relaxed(used, &used_);
    return !packets_ && !used_;
}

#include "lib/dpif-netdev.c"

#undef netdev_rxq_recv
#undef mpsc_queue_insert
#undef xnanosleep

static void
send_carried(void *pmd, odp_port_t odp_port, struct dp_packet_batch *batch)
{
    dp_execute_output_action(pmd, batch, true, odp_port);
}

static int
hooked_rxq_recv(struct netdev_rxq *rx, struct dp_packet_batch *batch,
                int *qfill, struct dp_netdev_pmd_thread *pmd)
{
    int error = netdev_rxq_recv(rx, batch, qfill);

    if (!error && nic_emu_is_active()) {
        nic_emu_receive(netdev_get_name(rx->netdev), batch, time_msec(),
                        send_carried, pmd);
        if (dp_packet_batch_is_empty(batch)) {
            /* OVS does not expect to receive nothing without error.  Then it
             * does not send either, but what was carried must neither wait
             * nor be sent with packets that are received later: a port that
             * cannot send one packet may drop those behind it, too. */
            dp_netdev_pmd_flush_output_packets(pmd, false);
            return EAGAIN;
        }
    }
    return error;
}

bool
provider_queues_are_idle(void)
{
    return atomic_count_get64(&n_queued) == atomic_count_get64(&n_processed);
}

/* Stores in 'match' what packets hit 'flow' in the datapath. */
static void
get_match(const struct dp_netdev_flow *flow, struct match *match)
{
    memset(match, 0, sizeof *match);
    match->flow = flow->flow;
    miniflow_expand(&flow->cr.mask->mf, &match->wc.masks);
    match->wc.masks.in_port.odp_port = ODPP_NONE;
}

/* Tells the provider of the copy of a megaflow that 'item' is about.
 *
 * OVS 3.1 calls netdev_flow_put() for the first copy of a mega_ufid, and again
 * when one of its copies is modified; netdev_flow_del(), when the last copy
 * goes.  So none of the following comes to a provider's ears:
 *
 *   - The table changed, and another PMD thread, or the same one with another
 *     mask, installs a copy that does something else than the first
 *     (dp_netdev_flow_offload_put() finds the mark of the first one and only
 *     adds the copy to those that have it).  The first copy is not modified
 *     but deleted, as the revalidator does with what is idle, or needs another
 *     mask, or costs too much: what the provider knows stays what was deleted,
 *     as long as the second copy lives.
 *
 *   - The copy that matches more goes, the one that matches less stays.
 *
 *   - A copy is modified and deleted before the offload thread comes to the
 *     modification, which it then skips ('dead'); or the modification finds
 *     that the copy has no mark and is taken for an addition.
 *
 *   - The port is not in the map of ports any more when the last copy goes.
 *
 * A modification, in addition, comes with the match that the revalidator
 * knows, and dp_netdev_pmd_lookup_flow() may have found another copy for it
 * than the one that was meant.  So the match is taken from the copy, which
 * tells what the datapath does. */
static void
tell_copy(const struct dp_offload_thread_item *item)
{
    const struct dp_offload_flow_item *offload = &item->data->flow;
    const struct dp_netdev_flow *flow = offload->flow;
    struct netdev *netdev;
    struct match match;

    if (offload->op == DP_NETDEV_FLOW_OFFLOAD_OP_DEL) {
        /* The datapath may be gone. */
        provider_copy_del(&flow->mega_ufid, flow);
        return;
    }
    if (flow->dead) {
        /* Its deletion is in the queue. */
        return;
    }
    netdev = netdev_ports_get(flow->flow.in_port.odp_port,
                              dpif_normalize_type(item->dp->class->type));
    if (netdev) {
        get_match(flow, &match);
        provider_copy_put(netdev, &flow->mega_ufid, flow, &match,
                          offload->actions, offload->actions_len);
        netdev_close(netdev);
    }
}

static void
hooked_item_handled(const struct dp_offload_thread_item *item)
{
    if (item->type == DP_OFFLOAD_FLOW) {
        tell_copy(item);
    }
    atomic_count_inc64(&n_processed);
}

/* Queues all megaflows of 'pmd' that start at 'odp_port' as if they were
 * new. */
static void
requeue_megaflows(struct dp_netdev_pmd_thread *pmd, odp_port_t odp_port)
{
    struct dp_netdev_flow *flow;

    ovs_mutex_lock(&pmd->flow_mutex);
    CMAP_FOR_EACH (flow, node, &pmd->flow_table) {
        if (flow->flow.in_port.odp_port == odp_port) {
            const struct dp_netdev_actions *actions
                = dp_netdev_flow_get_actions(flow);
            struct match match;

            get_match(flow, &match);
            queue_netdev_flow_put(pmd, flow, &match, actions->actions,
                                  actions->size,
                                  DP_NETDEV_FLOW_OFFLOAD_OP_MOD);
        }
    }
    ovs_mutex_unlock(&pmd->flow_mutex);
}

void
provider_reread_megaflows(const char *dpif_type, odp_port_t odp_port)
{
    struct shash_node *node;

    ovs_mutex_lock(&dp_netdev_mutex);
    SHASH_FOR_EACH (node, &dp_netdevs) {
        struct dp_netdev *dp = node->data;

        if (!strcmp(dp->class->type, dpif_type)) {
            struct dp_netdev_pmd_thread *pmd;

            CMAP_FOR_EACH (pmd, node, &dp->poll_threads) {
                requeue_megaflows(pmd, odp_port);
            }
        }
    }
    ovs_mutex_unlock(&dp_netdev_mutex);
}

/* Returns the datapath of 'dpif_type' that has port 'odp_port', with a
 * reference, or null. */
static struct dp_netdev *
find_datapath(const char *dpif_type, odp_port_t odp_port)
{
    struct dp_netdev *found = NULL;
    struct shash_node *node;

    ovs_mutex_lock(&dp_netdev_mutex);
    SHASH_FOR_EACH (node, &dp_netdevs) {
        struct dp_netdev *dp = node->data;

        if (!found && !strcmp(dp->class->type, dpif_type)) {
            ovs_rwlock_rdlock(&dp->port_rwlock);
            if (dp_netdev_lookup_port(dp, odp_port)) {
                ovs_refcount_ref(&dp->ref_cnt);
                found = dp;
            }
            ovs_rwlock_unlock(&dp->port_rwlock);
        }
    }
    ovs_mutex_unlock(&dp_netdev_mutex);
    return found;
}

void
provider_flush_stock(const char *dpif_type, odp_port_t odp_port)
{
    struct dp_netdev *dp = find_datapath(dpif_type, odp_port);

    if (dp) {
        struct dp_netdev_port *port;

        ovs_rwlock_wrlock(&dp->port_rwlock);
        port = dp_netdev_lookup_port(dp, odp_port);
        if (port) {
            dp_netdev_offload_flush(dp, port);
        }
        ovs_rwlock_unlock(&dp->port_rwlock);
        dp_netdev_unref(dp);
    }
}

bool
dp_bond_stats_get(const char *type, const char *name, uint32_t id,
                  struct dp_bond_stats *stats)
{
    struct dp_netdev_pmd_thread *pmd;
    const struct dp_netdev *dp;
    bool found = false;

    memset(stats, 0, sizeof *stats);
    ovs_mutex_lock(&dp_netdev_mutex);
    dp = shash_find_data(&dp_netdevs, name);
    if (dp && !strcmp(dp->class->type, type)) {
        CMAP_FOR_EACH (pmd, node, &dp->poll_threads) {
            struct tx_bond *bond = tx_bond_lookup(&pmd->tx_bonds, id);

            for (int i = 0; bond && i < BOND_BUCKETS; i++) {
                unsigned long long int packets, bytes;

                atomic_read_relaxed(&bond->member_buckets[i].n_packets,
                                    &packets);
                atomic_read_relaxed(&bond->member_buckets[i].n_bytes, &bytes);
                stats->packets += packets;
                stats->bytes += bytes;
            }
            found |= bond != NULL;
        }
    }
    ovs_mutex_unlock(&dp_netdev_mutex);
    return found;
}
