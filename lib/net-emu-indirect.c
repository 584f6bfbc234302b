/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>
#include "net-emu-indirect.h"

#include <errno.h>

#include <rte_config.h>
#include <ethdev_driver.h>
#include <rte_flow.h>
#include <rte_flow_driver.h>

#include "hash.h"
#include "net-emu-async.h"
#include "net-emu-ct.h"
#include "net-emu-flow.h"
#include "net-emu-private.h"
#include "net-emu-restrict.h"
#include "util.h"

static int
fail(struct rte_flow_error *error, int code,
     const struct rte_flow_action_handle *handle, const char *message)
{
    return rte_flow_error_set(error, code, RTE_FLOW_ERROR_TYPE_HANDLE, handle,
                              message);
}

bool
net_emu_indirect_is_valid(const struct net_emu *nic,
                          const struct rte_flow_action_handle *wanted)
{
    const struct rte_flow_action_handle *handle;

    HMAP_FOR_EACH_WITH_HASH (handle, hmap_node, hash_pointer(wanted, 0),
                             &nic->indirect) {
        if (handle == wanted) {
            return true;
        }
    }
    return false;
}

void
net_emu_indirect_count(struct rte_flow_action_handle *handle,
                       struct rte_flow_query_count *query)
{
    struct nic_counter sum = handle->gone;
    const struct rte_flow *flow;

    LIST_FOR_EACH (flow, list_node, &handle->port->nic->flows) {
        if (flow->shared == handle) {
            net_emu_flow_count(flow, &sum);
        }
    }
    net_emu_flow_tell(&sum, &handle->base, query);
}

static void
indirect_free(struct rte_flow_action_handle *handle)
{
    struct net_emu *nic = handle->port->nic;

    if (handle->type == RTE_FLOW_ACTION_TYPE_CONNTRACK) {
        net_emu_ct_destroy(handle);
    }
    hmap_remove(&nic->indirect, &handle->hmap_node);
    free(handle);
}

void
net_emu_indirect_lost(struct net_emu *nic)
{
    struct rte_flow_action_handle *handle;

    HMAP_FOR_EACH (handle, hmap_node, &nic->indirect) {
        handle->lost = true;
    }
}

void
net_emu_indirect_clear(struct net_emu *nic)
{
    struct rte_flow_action_handle *handle;

    HMAP_FOR_EACH_SAFE (handle, hmap_node, &nic->indirect) {
        indirect_free(handle);
    }
    hmap_destroy(&nic->indirect);
}

/* Operations, with the lock held. */

static struct rte_flow_action_handle *
create(struct net_emu_port *port,
       const struct rte_flow_indir_action_conf *conf,
       const struct rte_flow_action *action, struct rte_flow_error *error)
{
    struct rte_flow_action_handle *handle;
    int retval = 0;

    if (conf && !conf->transfer) {
        rte_flow_error_set(error, ENOTSUP, RTE_FLOW_ERROR_TYPE_ATTR_TRANSFER,
                           conf, "only for rules with 'transfer'");
        return NULL;
    }
    handle = xzalloc(sizeof *handle);
    handle->port = port;
    handle->type = action->type;
    if (action->type == RTE_FLOW_ACTION_TYPE_CONNTRACK) {
        retval = net_emu_ct_create(handle, action, error);
    } else if (action->type != RTE_FLOW_ACTION_TYPE_COUNT) {
        retval = rte_flow_error_set(error, ENOTSUP,
                                    RTE_FLOW_ERROR_TYPE_ACTION, action,
                                    "only counters and connections can be "
                                    "indirect actions");
    }
    if (retval) {
        free(handle);
        return NULL;
    }
    hmap_insert(&port->nic->indirect, &handle->hmap_node,
                hash_pointer(handle, 0));
    return handle;
}

/* Returns 0 if 'handle' exists and 'port' may be asked to do something with
 * it: to destroy it if 'destroying'. */
static int
check_handle(const struct net_emu_port *port,
             const struct rte_flow_action_handle *handle, bool destroying,
             struct rte_flow_error *error)
{
    return (!net_emu_indirect_is_valid(port->nic, handle)
            ? fail(error, ENOENT, handle, "there is no such indirect action")
            : net_emu_restrict_indirect(port, handle, destroying, error));
}

static int
destroy(struct net_emu_port *port, struct rte_flow_action_handle *handle,
        struct rte_flow_error *error)
{
    int retval = check_handle(port, handle, true, error);

    if (!retval && handle->n_users) {
        retval = fail(error, EBUSY, handle, "rules use the indirect action");
    }
    if (!retval) {
        indirect_free(handle);
    }
    return retval;
}

static int
update(struct net_emu_port *port, struct rte_flow_action_handle *handle,
       const void *how, struct rte_flow_error *error)
{
    int retval = check_handle(port, handle, false, error);

    return (retval ? retval
            : handle->type == RTE_FLOW_ACTION_TYPE_CONNTRACK
            ? net_emu_ct_update(handle, how, error)
            : fail(error, ENOTSUP, handle, "a counter cannot be updated"));
}

static int
query(struct net_emu_port *port, const struct rte_flow_action_handle *handle,
      void *answer, struct rte_flow_error *error)
{
    int retval = check_handle(port, handle, false, error);

    if (!retval && handle->type == RTE_FLOW_ACTION_TYPE_CONNTRACK) {
        retval = net_emu_ct_query(handle, answer, error);
    } else if (!retval) {
        net_emu_indirect_count(CONST_CAST(struct rte_flow_action_handle *,
                                          handle), answer);
    }
    return retval;
}

/* Synchronous calls. */

struct rte_flow_action_handle *
net_emu_indirect_create(struct rte_eth_dev *dev,
                        const struct rte_flow_indir_action_conf *conf,
                        const struct rte_flow_action *action,
                        struct rte_flow_error *error)
{
    struct rte_flow_action_handle *handle;

    net_emu_lock();
    handle = create(net_emu_port_from_dev(dev), conf, action, error);
    net_emu_unlock();
    return handle;
}

int
net_emu_indirect_destroy(struct rte_eth_dev *dev,
                         struct rte_flow_action_handle *handle,
                         struct rte_flow_error *error)
{
    int retval;

    net_emu_lock();
    retval = destroy(net_emu_port_from_dev(dev), handle, error);
    net_emu_unlock();
    return retval;
}

int
net_emu_indirect_update(struct rte_eth_dev *dev,
                        struct rte_flow_action_handle *handle,
                        const void *how, struct rte_flow_error *error)
{
    int retval;

    net_emu_lock();
    retval = update(net_emu_port_from_dev(dev), handle, how, error);
    net_emu_unlock();
    return retval;
}

int
net_emu_indirect_query(struct rte_eth_dev *dev,
                       const struct rte_flow_action_handle *handle,
                       void *answer, struct rte_flow_error *error)
{
    int retval;

    net_emu_lock();
    retval = query(net_emu_port_from_dev(dev), handle, answer, error);
    net_emu_unlock();
    return retval;
}

/* In queues.  What fails fails at once, without a result. */

struct rte_flow_action_handle *
net_emu_indirect_async_create(struct rte_eth_dev *dev, uint32_t queue_id,
                              const struct rte_flow_op_attr *attr OVS_UNUSED,
                              const struct rte_flow_indir_action_conf *conf,
                              const struct rte_flow_action *action,
                              void *user_data, struct rte_flow_error *error)
{
    struct net_emu_port *port = net_emu_port_from_dev(dev);
    struct rte_flow_action_handle *handle = NULL;

    net_emu_lock();
    if (!net_emu_async_check(port, queue_id, error)) {
        handle = create(port, conf, action, error);
        if (handle) {
            net_emu_async_add_result(port, queue_id, user_data);
        }
    }
    net_emu_unlock();
    return handle;
}

int
net_emu_indirect_async_destroy(struct rte_eth_dev *dev, uint32_t queue_id,
                               const struct rte_flow_op_attr *attr OVS_UNUSED,
                               struct rte_flow_action_handle *handle,
                               void *user_data, struct rte_flow_error *error)
{
    struct net_emu_port *port = net_emu_port_from_dev(dev);
    int retval;

    net_emu_lock();
    retval = net_emu_async_check(port, queue_id, error);
    retval = retval ? retval : destroy(port, handle, error);
    if (!retval) {
        net_emu_async_add_result(port, queue_id, user_data);
    }
    net_emu_unlock();
    return retval;
}

int
net_emu_indirect_async_update(struct rte_eth_dev *dev, uint32_t queue_id,
                              const struct rte_flow_op_attr *attr OVS_UNUSED,
                              struct rte_flow_action_handle *handle,
                              const void *how, void *user_data,
                              struct rte_flow_error *error)
{
    struct net_emu_port *port = net_emu_port_from_dev(dev);
    int retval;

    net_emu_lock();
    retval = net_emu_async_check(port, queue_id, error);
    retval = retval ? retval : update(port, handle, how, error);
    if (!retval) {
        net_emu_async_add_result(port, queue_id, user_data);
    }
    net_emu_unlock();
    return retval;
}

int
net_emu_indirect_async_query(struct rte_eth_dev *dev, uint32_t queue_id,
                             const struct rte_flow_op_attr *attr OVS_UNUSED,
                             const struct rte_flow_action_handle *handle,
                             void *answer, void *user_data,
                             struct rte_flow_error *error)
{
    struct net_emu_port *port = net_emu_port_from_dev(dev);
    int retval;

    net_emu_lock();
    retval = net_emu_async_check(port, queue_id, error);
    retval = retval ? retval : query(port, handle, answer, error);
    if (!retval) {
        net_emu_async_add_result(port, queue_id, user_data);
    }
    net_emu_unlock();
    return retval;
}
