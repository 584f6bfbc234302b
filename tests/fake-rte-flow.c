/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>

#define ALLOW_EXPERIMENTAL_API 1

#include "tests/fake-rte-flow.h"

#include <check.h>
#include <errno.h>
#include <rte_errno.h>
#include <string.h>

#include "lib/nic.h"
#include "netdev-provider.h"
#include "packets.h"
#include "util.h"

#define MAX_FLOWS 200
#define MAX_CALLBACKS 100

struct fake fake;

static struct rte_flow flows[MAX_FLOWS];
static size_t n_flows;
static struct rte_flow_action_handle handles[MAX_FLOWS];
static size_t n_handles;
static struct callback {
    bool registered;
    uint16_t ethdev;
    enum rte_eth_event_type event;
    rte_eth_dev_cb_fn cb;
    void *aux;
} callbacks[MAX_CALLBACKS];
static struct netdev netdevs[FAKE_N_PORTS];

void
fake_reset(void)
{
    memset(&fake, 0, sizeof fake);
    memset(flows, 0, sizeof flows);
    memset(handles, 0, sizeof handles);
    memset(callbacks, 0, sizeof callbacks);
    n_flows = n_handles = 0;
}

size_t
fake_n_flows(void)
{
    size_t n = 0;

    for (size_t i = 0; i < n_flows; i++) {
        n += flows[i].exists;
    }
    return n;
}

size_t
fake_n_handles(void)
{
    size_t n = 0;

    for (size_t i = 0; i < n_handles; i++) {
        n += handles[i].exists;
    }
    return n;
}

size_t
fake_n_made(void)
{
    return n_flows;
}

struct rte_flow *
fake_made(size_t i)
{
    return &flows[i];
}

struct rte_flow *
fake_find(uint32_t group, int in_port)
{
    struct rte_flow *best = NULL;

    for (size_t i = 0; i < n_flows; i++) {
        struct rte_flow *flow = &flows[i];

        if (flow->exists && flow->group == group
            && flow->in_port == in_port
            && (!best || flow->priority < best->priority)) {
            best = flow;
        }
    }
    return best;
}

void
fake_hit(struct rte_flow *flow, uint64_t n)
{
    flow->hits += n;
    if (flow->indirect) {
        flow->indirect->hits += n;
    }
}

void
fake_publish(void)
{
    for (size_t i = 0; i < n_handles; i++) {
        handles[i].published = handles[i].hits;
    }
}

void
fake_event(uint16_t ethdev, enum rte_eth_event_type event)
{
    for (size_t i = 0; i < MAX_CALLBACKS; i++) {
        const struct callback *c = &callbacks[i];

        if (c->registered && c->ethdev == ethdev && c->event == event) {
            c->cb(ethdev, event, c->aux, NULL);
        }
    }
}

/* Rules. */

/* Returns whether a call fails, of which '*n' are to. */
static bool
fails(int *n, struct rte_flow_error *error)
{
    if (*n <= 0) {
        return false;
    }
    --*n;
    rte_flow_error_set(error, fake.error, RTE_FLOW_ERROR_TYPE_UNSPECIFIED,
                       NULL, "injected");
    return true;
}

static int
refuse(struct rte_flow_error *error)
{
    return rte_flow_error_set(error, ENOTSUP, RTE_FLOW_ERROR_TYPE_UNSPECIFIED,
                              NULL, "not offered");
}

/* Stores in '*flow' what a rule is. */
static int
parse(const struct rte_flow_attr *attr, const struct rte_flow_item *item,
      const struct rte_flow_action *action, struct rte_flow *flow,
      struct rte_flow_error *error)
{
    memset(flow, 0, sizeof *flow);
    flow->exists = true;
    flow->group = attr->group;
    flow->priority = attr->priority;
    flow->in_port = flow->out_port = flow->jump = -1;
    if ((attr->group && fake.no_groups)
        || (attr->priority && fake.no_priorities)) {
        return refuse(error);
    }
    for (; item->type != RTE_FLOW_ITEM_TYPE_END; item++) {
        if (item->type == RTE_FLOW_ITEM_TYPE_REPRESENTED_PORT
            && item->spec) {
            const struct rte_flow_item_ethdev *port = item->spec;

            flow->in_port = port->port_id;
        } else if (item->type == RTE_FLOW_ITEM_TYPE_ETH && item->spec) {
            const struct rte_flow_item_eth *eth = item->spec;
            const struct rte_flow_item_eth *mask = item->mask;

            flow->broadcast_source
                = (!memcmp(&eth->src, &eth_addr_broadcast, ETH_ADDR_LEN)
                   && !memcmp(&mask->src, &eth_addr_broadcast, ETH_ADDR_LEN));
        }
    }
    for (; action->type != RTE_FLOW_ACTION_TYPE_END; action++) {
        switch ((int) action->type) {
        case RTE_FLOW_ACTION_TYPE_JUMP:
            flow->jump = ((const struct rte_flow_action_jump *)
                          action->conf)->group;
            if (fake.no_groups) {
                return refuse(error);
            }
            break;
        case RTE_FLOW_ACTION_TYPE_REPRESENTED_PORT:
            flow->out_port = ((const struct rte_flow_action_ethdev *)
                              action->conf)->port_id;
            break;
        case RTE_FLOW_ACTION_TYPE_INDIRECT:
            flow->indirect = CONST_CAST(struct rte_flow_action_handle *,
                                        action->conf);
            ck_assert(flow->indirect->exists);
            break;
        case RTE_FLOW_ACTION_TYPE_SET_IPV4_SRC:
        case RTE_FLOW_ACTION_TYPE_MODIFY_FIELD:
            if (fake.no_nat) {
                return refuse(error);
            }
            break;
        default:
            break;
        }
    }
    return 0;
}

int __wrap_rte_flow_validate(uint16_t, const struct rte_flow_attr *,
                             const struct rte_flow_item[],
                             const struct rte_flow_action[],
                             struct rte_flow_error *);
int
__wrap_rte_flow_validate(uint16_t ethdev OVS_UNUSED,
                         const struct rte_flow_attr *attr,
                         const struct rte_flow_item items[],
                         const struct rte_flow_action actions[],
                         struct rte_flow_error *error)
{
    struct rte_flow flow;

    return parse(attr, items, actions, &flow, error);
}

struct rte_flow *__wrap_rte_flow_create(uint16_t,
                                        const struct rte_flow_attr *,
                                        const struct rte_flow_item[],
                                        const struct rte_flow_action[],
                                        struct rte_flow_error *);
struct rte_flow *
__wrap_rte_flow_create(uint16_t ethdev, const struct rte_flow_attr *attr,
                       const struct rte_flow_item items[],
                       const struct rte_flow_action actions[],
                       struct rte_flow_error *error)
{
    struct rte_flow *flow = &flows[n_flows];

    ck_assert_uint_lt(n_flows, MAX_FLOWS);
    if (((!fake.fail_group || attr->group == fake.fail_group)
         && fails(&fake.fail_create, error))
        || parse(attr, items, actions, flow, error)) {
        flow->exists = false;
        return NULL;
    }
    flow->ethdev = ethdev;
    n_flows++;
    return flow;
}

int __wrap_rte_flow_destroy(uint16_t, struct rte_flow *,
                            struct rte_flow_error *);
int
__wrap_rte_flow_destroy(uint16_t ethdev, struct rte_flow *flow,
                        struct rte_flow_error *error)
{
    ck_assert(flow->exists);
    ck_assert_int_eq(flow->ethdev, ethdev);
    if (fails(&fake.fail_destroy, error)) {
        return -fake.error;
    }
    flow->exists = false;
    return 0;
}

int __wrap_rte_flow_flush(uint16_t, struct rte_flow_error *);
int
__wrap_rte_flow_flush(uint16_t ethdev, struct rte_flow_error *error OVS_UNUSED)
{
    fake.n_flushes++;
    for (size_t i = 0; i < n_flows; i++) {
        if (flows[i].ethdev == ethdev) {
            flows[i].exists = false;
        }
    }
    return 0;
}

static void
tell(uint64_t hits, struct rte_flow_query_count *query)
{
    query->hits_set = query->bytes_set = 1;
    query->hits = hits;
    query->bytes = hits * 100;
}

int __wrap_rte_flow_query(uint16_t, struct rte_flow *,
                          const struct rte_flow_action *, void *,
                          struct rte_flow_error *);
int
__wrap_rte_flow_query(uint16_t ethdev OVS_UNUSED, struct rte_flow *flow,
                      const struct rte_flow_action *action OVS_UNUSED,
                      void *query, struct rte_flow_error *error OVS_UNUSED)
{
    ck_assert(flow->exists);
    tell(flow->hits, query);
    return 0;
}

/* Indirect counters. */

struct rte_flow_action_handle *__wrap_rte_flow_action_handle_create(
    uint16_t, const struct rte_flow_indir_action_conf *,
    const struct rte_flow_action *, struct rte_flow_error *);
struct rte_flow_action_handle *
__wrap_rte_flow_action_handle_create(
    uint16_t ethdev OVS_UNUSED,
    const struct rte_flow_indir_action_conf *conf OVS_UNUSED,
    const struct rte_flow_action *action OVS_UNUSED,
    struct rte_flow_error *error)
{
    struct rte_flow_action_handle *handle = &handles[n_handles];

    ck_assert_uint_lt(n_handles, MAX_FLOWS);
    if (fake.no_indirect) {
        refuse(error);
        return NULL;
    }
    n_handles++;
    handle->exists = true;
    return handle;
}

int __wrap_rte_flow_action_handle_destroy(uint16_t,
                                          struct rte_flow_action_handle *,
                                          struct rte_flow_error *);
int
__wrap_rte_flow_action_handle_destroy(uint16_t ethdev OVS_UNUSED,
                                      struct rte_flow_action_handle *handle,
                                      struct rte_flow_error *error)
{
    ck_assert(handle->exists);
    if (fails(&fake.fail_handle_destroy, error)) {
        return -fake.error;
    }
    for (size_t i = 0; i < n_flows; i++) {
        if (flows[i].exists && flows[i].indirect == handle) {
            return rte_flow_error_set(error, EBUSY,
                                      RTE_FLOW_ERROR_TYPE_HANDLE, handle,
                                      "in use");
        }
    }
    handle->exists = false;
    return 0;
}

int __wrap_rte_flow_action_handle_query(uint16_t,
                                        const struct rte_flow_action_handle *,
                                        void *, struct rte_flow_error *);
int
__wrap_rte_flow_action_handle_query(uint16_t ethdev OVS_UNUSED,
                                    const struct rte_flow_action_handle *h,
                                    void *query,
                                    struct rte_flow_error *error OVS_UNUSED)
{
    ck_assert(h->exists);
    tell(h->published, query);
    return 0;
}

/* Ports. */

int __wrap_rte_flow_pick_transfer_proxy(uint16_t, uint16_t *,
                                        struct rte_flow_error *);
int
__wrap_rte_flow_pick_transfer_proxy(uint16_t ethdev OVS_UNUSED,
                                    uint16_t *proxy,
                                    struct rte_flow_error *error OVS_UNUSED)
{
    *proxy = 0;
    return 0;
}

int __wrap_rte_eth_dev_info_get(uint16_t, struct rte_eth_dev_info *);
int
__wrap_rte_eth_dev_info_get(uint16_t ethdev OVS_UNUSED,
                            struct rte_eth_dev_info *info)
{
    memset(info, 0, sizeof *info);
    info->switch_info.domain_id = FAKE_DOMAIN;
    return 0;
}

int __wrap_rte_eth_link_get_nowait(uint16_t, struct rte_eth_link *);
int
__wrap_rte_eth_link_get_nowait(uint16_t ethdev OVS_UNUSED,
                               struct rte_eth_link *link)
{
    memset(link, 0, sizeof *link);
    link->link_status = RTE_ETH_LINK_UP;
    if (fake.link_hook) {
        fake.link_hook();
    }
    return 0;
}

int __wrap_rte_eth_dev_callback_register(uint16_t, enum rte_eth_event_type,
                                         rte_eth_dev_cb_fn, void *);
int
__wrap_rte_eth_dev_callback_register(uint16_t ethdev,
                                     enum rte_eth_event_type event,
                                     rte_eth_dev_cb_fn cb, void *aux)
{
    for (size_t i = 0; i < MAX_CALLBACKS; i++) {
        if (!callbacks[i].registered) {
            callbacks[i] = (struct callback) { true, ethdev, event, cb, aux };
            return 0;
        }
    }
    return -ENOMEM;
}

int __wrap_rte_eth_dev_callback_unregister(uint16_t, enum rte_eth_event_type,
                                           rte_eth_dev_cb_fn, void *);
int
__wrap_rte_eth_dev_callback_unregister(uint16_t ethdev,
                                       enum rte_eth_event_type event,
                                       rte_eth_dev_cb_fn cb, void *aux)
{
    for (size_t i = 0; i < MAX_CALLBACKS; i++) {
        struct callback *c = &callbacks[i];

        if (c->registered && c->ethdev == ethdev && c->event == event
            && c->cb == cb && c->aux == aux) {
            c->registered = false;
        }
    }
    return 0;
}

/* Open vSwitch. */

struct netdev *__wrap_netdev_from_name(const char *);
struct netdev *
__wrap_netdev_from_name(const char *name)
{
    int i = name[0] == 'p' ? name[1] - '0' : -1;

    return i >= 0 && i < FAKE_N_PORTS && !name[2] ? &netdevs[i] : NULL;
}

const char *__wrap_netdev_get_type(const struct netdev *);
const char *
__wrap_netdev_get_type(const struct netdev *netdev OVS_UNUSED)
{
    return "dpdk";
}

int __wrap_netdev_dpdk_get_port_id(struct netdev *);
int
__wrap_netdev_dpdk_get_port_id(struct netdev *netdev)
{
    return netdev - netdevs;
}

void __wrap_netdev_close(struct netdev *);
void
__wrap_netdev_close(struct netdev *netdev OVS_UNUSED)
{
}

void __wrap_if_notifier_manual_report(void);
void
__wrap_if_notifier_manual_report(void)
{
    fake.n_reports++;
}
