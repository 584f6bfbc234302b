/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>
#include "nic-rte-flow-private.h"

#include <errno.h>
#include <inttypes.h>
#include <rte_errno.h>

#include "hash.h"
#include "openvswitch/vlog.h"
#include "util.h"

VLOG_DEFINE_THIS_MODULE(nic_rte_flow_egress);

const char rte_no_egress[] = "there is no such egress object";

static const char egress_rule[] = "rule of an egress object";

struct rte_egress *
rte_egress_find(const struct nic_rte *nic, nic_handle handle)
{
    struct rte_egress *egress;

    HMAP_FOR_EACH_WITH_HASH (egress, node, hash_uint64(handle),
                             &nic->egresses) {
        if (egress->handle == handle) {
            return egress;
        }
    }
    return NULL;
}

/* Returns some port through which rules can be made, or null. */
static const struct rte_port *
any_port(const struct nic_rte *nic)
{
    const struct rte_port *best = NULL;
    const struct rte_port *port;

    /* Uplinks stay; machines come and go. */
    HMAP_FOR_EACH (port, node, &nic->ports) {
        if (port->running && port->offer.egress
            && (!best || port->role == NIC_PORT_UPLINK)) {
            best = port;
        }
    }
    return best;
}

/* Makes in the group of 'egress' a rule of 'priority' that sends to 'port', or
 * drops if that is null.  Stores it in '*flowp'. */
static int
make_flow(const struct rte_egress *egress, uint16_t ethdev, uint32_t priority,
          const struct rte_port *port, struct rte_flow **flowp,
          const char **reasonp)
{
    struct rte_flow_attr attr = {
        .group = egress->group,
        .priority = priority,
        .transfer = 1,
    };
    struct rte_flow_error error = { .type = RTE_FLOW_ERROR_TYPE_NONE };
    struct rte_codec c;

    rte_codec_begin(&c);
    rte_codec_put_any_port(&c);
    rte_codec_put_any_frame(&c);
    if (port) {
        rte_codec_put_output(&c, port->offer.ethdev);
    } else {
        rte_codec_put_drop(&c);
    }
    rte_codec_end(&c);
    *flowp = rte_flow_create(ethdev, &attr, c.items, c.actions, &error);
    return *flowp ? 0 : rte_flow_explain(rte_errno ? rte_errno : EIO, &error,
                                         reasonp);
}

/* Makes the flow rule of 'egress', which has none. */
static int
install(const struct nic_rte *nic, struct rte_egress *egress,
        const char **reasonp)
{
    const struct rte_port *via = any_port(nic);

    if (!via) {
        *reasonp = rte_gone_port;
        return ENODEV;
    }
    egress->ethdev = via->offer.proxy;
    egress->priority = 1;
    return make_flow(egress, egress->ethdev, egress->priority,
                     rte_port_find(nic, egress->port), &egress->flow,
                     reasonp);
}

/* Replaces the flow rule of 'egress', so that packets find one all the while.
 * On error nothing changes. */
static int
replace(struct nic_rte *nic, struct rte_egress *egress,
        const struct rte_port *port, const char **reasonp)
    OVS_REQUIRES(nic->egress_mutex)
{
    uint32_t priority = 1 - egress->priority;
    struct rte_flow *old = egress->flow;
    struct rte_flow *flow;
    const char *ignored;
    int error;

    if (!rte_leftovers_retry_group(nic, egress->group)) {
        *reasonp = "a rule that was replaced before cannot be removed";
        return EIO;
    }
    error = make_flow(egress, egress->ethdev, priority, port, &flow, reasonp);
    if (error) {
        return error;
    }
    error = rte_nic_destroy_flow(egress->ethdev, old, reasonp);
    if (error && priority) {
        /* Packets still see the old one. */
        if (rte_nic_destroy_flow(egress->ethdev, flow, &ignored)) {
            rte_leftover_add(nic, egress_rule, egress->ethdev, egress->group,
                             flow, NULL);
        }
        return error;
    } else if (error) {
        /* Packets see the new one already. */
        rte_leftover_add(nic, egress_rule, egress->ethdev, egress->group,
                         old, NULL);
    }
    egress->priority = priority;
    egress->flow = flow;
    return 0;
}

int
rte_egress_set(struct nic_rte *nic, nic_handle handle, nic_port_id id,
               const char **reasonp)
{
    const struct rte_port *port;
    struct rte_egress *egress;
    int error = 0;

    ovs_mutex_lock(&nic->egress_mutex);
    egress = rte_egress_find(nic, handle);
    port = rte_port_find(nic, id);
    if (!egress) {
        *reasonp = rte_no_egress;
        error = ENOENT;
    } else if (id != NIC_PORT_NONE && !port) {
        *reasonp = rte_gone_port;
        error = ENODEV;
    } else if (!egress->flow) {
        nic_port_id old_id = egress->port;

        /* While no port is running no packet comes here. */
        egress->port = id;
        if (any_port(nic)) {
            error = install(nic, egress, reasonp);
            egress->port = error ? old_id : id;
        }
    } else if (egress->port != id) {
        error = replace(nic, egress, port, reasonp);
        egress->port = error ? egress->port : id;
    }
    ovs_mutex_unlock(&nic->egress_mutex);
    return error;
}

static bool
group_is_taken(const struct nic_rte *nic, uint32_t group)
    OVS_REQUIRES(nic->egress_mutex)
{
    const struct rte_egress *egress;

    HMAP_FOR_EACH (egress, node, &nic->egresses) {
        if (egress->group == group) {
            return true;
        }
    }
    return rte_leftovers_in_group(nic, group);
}

void
rte_egress_add(struct nic_rte *nic, nic_port_id id, nic_handle handle,
               struct nic_completion *completion)
{
    struct rte_egress *egress;

    if (id != NIC_PORT_NONE && !rte_port_find(nic, id)) {
        completion->error = ENODEV;
        completion->reason = rte_gone_port;
        return;
    } else if (hmap_count(&nic->egresses) + ovs_list_size(&nic->leftovers)
               >= RTE_FLOW_N_EGRESS_GROUPS) {
        completion->error = ENOSPC;
        return;
    }

    /* A group is not used again soon. */
    do {
        nic->last_group = (nic->last_group + 1) % RTE_FLOW_N_EGRESS_GROUPS;
    } while (group_is_taken(nic, RTE_FLOW_GROUP_EGRESS + nic->last_group));

    egress = xzalloc(sizeof *egress);
    egress->handle = handle;
    egress->port = id;
    egress->group = RTE_FLOW_GROUP_EGRESS + nic->last_group;
    completion->error = install(nic, egress, &completion->reason);
    if (completion->error) {
        free(egress);
        return;
    }
    hmap_insert(&nic->egresses, &egress->node, hash_uint64(handle));
    completion->handle = handle;
}

void
rte_egress_del(struct nic_rte *nic, nic_handle handle,
               struct nic_completion *completion)
{
    struct rte_egress *egress = rte_egress_find(nic, handle);

    completion->error = !egress ? ENOENT : egress->n_rules ? EBUSY : 0;
    if (!completion->error && egress->flow) {
        completion->error = rte_nic_destroy_flow(egress->ethdev, egress->flow,
                                                 &completion->reason);
    }
    if (!completion->error) {
        hmap_remove(&nic->egresses, &egress->node);
        free(egress);
    }
}

/* Removes the flow rule of 'egress', or leaves it over. */
static void
give_up_flow(struct nic_rte *nic, struct rte_egress *egress)
    OVS_REQUIRES(nic->egress_mutex)
{
    const char *why;

    if (egress->flow
        && rte_nic_destroy_flow(egress->ethdev, egress->flow, &why)) {
        rte_leftover_add(nic, egress_rule, egress->ethdev, egress->group,
                         egress->flow, NULL);
    }
    egress->flow = NULL;
}

void
rte_egresses_take_down(struct nic_rte *nic, uint16_t ethdev)
{
    struct rte_egress *egress;

    HMAP_FOR_EACH (egress, node, &nic->egresses) {
        if (egress->ethdev == ethdev) {
            give_up_flow(nic, egress);
        }
    }
}

int
rte_egress_ready(struct nic_rte *nic, struct rte_egress *egress,
                 const char **reasonp)
{
    return egress->flow ? 0 : install(nic, egress, reasonp);
}

void
rte_egresses_install(struct nic_rte *nic)
{
    struct rte_egress *egress;
    const char *why;

    HMAP_FOR_EACH (egress, node, &nic->egresses) {
        if (rte_egress_ready(nic, egress, &why) && why != rte_gone_port) {
            VLOG_WARN("%s: egress %"PRIu64" has no rule, trying again when a "
                      "rule leads to it (%s)", nic->up.name, egress->handle,
                      why);
        }
    }
}

void
rte_egresses_close(struct nic_rte *nic, nic_port_id id)
{
    struct rte_egress *egress;
    const char *why;

    HMAP_FOR_EACH (egress, node, &nic->egresses) {
        if (egress->port == id) {
            if (egress->flow && replace(nic, egress, NULL, &why)) {
                /* Whoever makes it lead elsewhere tries again. */
                VLOG_WARN("%s: cannot stop egress %"PRIu64" (%s)",
                          nic->up.name, egress->handle, why);
            } else {
                egress->port = NIC_PORT_NONE;
            }
        }
    }
}

void
rte_egresses_clear(struct nic_rte *nic)
{
    struct rte_egress *egress;

    HMAP_FOR_EACH_POP (egress, node, &nic->egresses) {
        give_up_flow(nic, egress);
        free(egress);
    }
}
