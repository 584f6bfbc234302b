/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>
#include "nic-rte-flow-private.h"

#include <errno.h>
#include <inttypes.h>

#include "openvswitch/vlog.h"
#include "util.h"

VLOG_DEFINE_THIS_MODULE(nic_rte_flow_leftover);

static struct vlog_rate_limit rl = VLOG_RATE_LIMIT_INIT(5, 20);

/* How often removals are tried when a NIC is closed. */
#define CLOSE_TRIES 10

/* Those of NICs that were closed. */
static struct ovs_mutex bequeathed_mutex = OVS_MUTEX_INITIALIZER;
static struct ovs_list bequeathed OVS_GUARDED_BY(bequeathed_mutex)
    = OVS_LIST_INITIALIZER(&bequeathed);

/* Tries to remove 'leftover'.  Returns true, and frees it, if it is gone. */
static bool
try(struct rte_leftover *leftover, const char **whyp)
{
    int error;

    if (leftover->flow) {
        error = rte_nic_destroy_flow(leftover->ethdev, leftover->flow, whyp);
    } else {
        error = rte_nic_destroy_indirect(leftover->ethdev, leftover->indirect,
                                         whyp);
    }
    if (!error) {
        ovs_list_remove(&leftover->node);
        free(leftover);
    }
    return !error;
}

/* Says how many there are, for wake_ms(). */
static void
publish(struct nic_rte *nic)
    OVS_REQUIRES(nic->egress_mutex)
{
    size_t n = ovs_list_size(&nic->leftovers);
    bool news;

    ovs_mutex_lock(&nic->mutex);
    news = n && !nic->n_leftovers;
    nic->n_leftovers = n;
    ovs_mutex_unlock(&nic->mutex);
    if (news) {
        nic_wake();
    }
}

void
rte_leftover_add(struct nic_rte *nic, const char *what, uint16_t ethdev,
                 uint32_t group, struct rte_flow *flow,
                 struct rte_flow_action_handle *indirect)
{
    struct rte_leftover *leftover = xmalloc(sizeof *leftover);

    *leftover = (struct rte_leftover) {
        .what = what,
        .domain = nic->domain,
        .ethdev = ethdev,
        .group = group,
        .flow = flow,
        .indirect = indirect,
    };
    VLOG_WARN_RL(&rl, "%s: DPDK port %"PRIu16" does not remove a %s; trying "
                 "again", nic->up.name, ethdev, what);
    ovs_list_push_back(&nic->leftovers, &leftover->node);
    publish(nic);
}

bool
rte_leftovers_in_group(const struct nic_rte *nic, uint32_t group)
{
    const struct rte_leftover *leftover;

    LIST_FOR_EACH (leftover, node, &nic->leftovers) {
        if (leftover->flow && leftover->group == group) {
            return true;
        }
    }
    return false;
}

bool
rte_leftovers_retry_group(struct nic_rte *nic, uint32_t group)
{
    struct rte_leftover *leftover;
    const char *why;

    LIST_FOR_EACH_SAFE (leftover, node, &nic->leftovers) {
        if (leftover->flow && leftover->group == group) {
            try(leftover, &why);
        }
    }
    publish(nic);
    return !rte_leftovers_in_group(nic, group);
}

void
rte_leftovers_retry(struct nic_rte *nic, size_t max)
{
    size_t n = MIN(max, ovs_list_size(&nic->leftovers));

    for (size_t i = 0; i < n; i++) {
        struct ovs_list *first = ovs_list_front(&nic->leftovers);
        struct rte_leftover *leftover = CONTAINER_OF(first,
                                                     struct rte_leftover,
                                                     node);
        const char *why;

        if (!try(leftover, &why)) {
            /* The others are not tried less often. */
            ovs_list_remove(first);
            ovs_list_push_back(&nic->leftovers, first);
        }
    }
    publish(nic);
}

/* Removes from 'list' what goes with 'ethdev'. */
static void
end(struct ovs_list *list, uint16_t ethdev, bool closing)
{
    struct rte_leftover *leftover;
    bool flushed = false;

    LIST_FOR_EACH_SAFE (leftover, node, list) {
        const char *why;

        if (leftover->ethdev != ethdev || !leftover->flow
            || (!flushed && try(leftover, &why))) {
            continue;
        }
        if (!flushed) {
            struct rte_flow_error e = { .type = RTE_FLOW_ERROR_TYPE_NONE };

            /* Afterwards all handles are invalid, with an error as well. */
            flushed = true;
            if (rte_flow_flush(ethdev, &e)) {
                VLOG_WARN("DPDK port %"PRIu16" stops and does not remove its "
                          "rules (%s)", ethdev, e.message ? e.message : why);
            }
        }
        ovs_list_remove(&leftover->node);
        free(leftover);
    }
    LIST_FOR_EACH_SAFE (leftover, node, list) {
        const char *why;

        if (leftover->ethdev == ethdev && !try(leftover, &why) && closing) {
            ovs_list_remove(&leftover->node);
            free(leftover);
        }
    }
}

void
rte_leftovers_end(struct nic_rte *nic, uint16_t ethdev, bool closing)
{
    end(&nic->leftovers, ethdev, closing);
    publish(nic);
}

/* NICs that are closed, and the next ones of their domains. */

void
rte_leftovers_bequeath(struct nic_rte *nic)
{
    for (int i = 0; i < CLOSE_TRIES; i++) {
        rte_leftovers_retry(nic, SIZE_MAX);
    }
    if (!ovs_list_is_empty(&nic->leftovers)) {
        VLOG_WARN("%s: closed with %"PRIuSIZE" rules or counters that its "
                  "driver does not remove", nic->up.name,
                  ovs_list_size(&nic->leftovers));
        ovs_mutex_lock(&bequeathed_mutex);
        ovs_list_push_back_all(&bequeathed, &nic->leftovers);
        ovs_mutex_unlock(&bequeathed_mutex);
        publish(nic);
    }
}

void
rte_leftovers_inherit(struct nic_rte *nic)
{
    struct rte_leftover *leftover;

    ovs_mutex_lock(&bequeathed_mutex);
    LIST_FOR_EACH_SAFE (leftover, node, &bequeathed) {
        if (leftover->domain == nic->domain) {
            ovs_list_remove(&leftover->node);
            ovs_list_push_back(&nic->leftovers, &leftover->node);
        }
    }
    ovs_mutex_unlock(&bequeathed_mutex);
    publish(nic);
}

void
rte_leftovers_end_bequeathed(uint16_t ethdev, bool closing)
{
    ovs_mutex_lock(&bequeathed_mutex);
    end(&bequeathed, ethdev, closing);
    ovs_mutex_unlock(&bequeathed_mutex);
}
