/* SPDX-License-Identifier: Apache-2.0 */

/* How many connections a NIC may have at a time. */

#include <config.h>
#include "tracked-conn-private.h"

#include <limits.h>

#include "util.h"

void
tracked_conn_occupy(struct tracked_conn *tc, struct offload_nic *onic)
{
    if (tc->onic != onic) {
        if (tc->onic) {
            tc->onic->n_conns--;
        }
        tc->onic = onic;
        if (onic) {
            onic->n_conns++;
        }
    }
}

/* Returns the connections that may be armed for 'onic' at a time. */
static size_t
max_conns(const struct engine *engine, const struct offload_nic *onic)
{
    return MIN(engine->config.max_conns, (onic->module ? onic->caps.max_conns
                                          : onic->caps.max_rules));
}

bool
tracked_conn_has_room(const struct engine *engine,
                      const struct offload_nic *onic, size_t n)
{
    return onic->n_conns + n <= max_conns(engine, onic);
}

/* Makes dirty the connection that waits for room in 'onic' for longest. */
static void
wake_room_waiter(struct offload_nic *onic)
{
    struct tracked_conn *tc = CONTAINER_OF(
        ovs_list_pop_front(&onic->room_waiters), struct tracked_conn,
        room_node);

    ovs_list_init(&tc->room_node);
    tracked_conn_mark_dirty(tc);
}

long long int
tracked_conns_fill_room(struct engine *engine, struct offload_nic *onic)
{
    size_t max = max_conns(engine, onic);
    size_t n;

    if (onic->n_conns >= max || ovs_list_is_empty(&onic->room_waiters)) {
        return LLONG_MAX;
    }
    if (engine->now_ms >= onic->fill_ms + ENGINE_FILL_MS) {
        onic->fill_ms = engine->now_ms;
        n = MIN(max - onic->n_conns, ENGINE_MAX_FILL);
        while (n-- && !ovs_list_is_empty(&onic->room_waiters)) {
            wake_room_waiter(onic);
        }
    }
    return onic->fill_ms + ENGINE_FILL_MS;
}

void
tracked_conns_wake_room_waiters(struct offload_nic *onic)
{
    while (!ovs_list_is_empty(&onic->room_waiters)) {
        wake_room_waiter(onic);
    }
}

void
tracked_conns_withdraw_excess(struct engine *engine, struct offload_nic *onic)
{
    size_t max = max_conns(engine, onic);
    size_t left = onic->n_conns;
    struct tracked_conn *tc;

    if (left <= max) {
        return;
    }
    HMAP_FOR_EACH (tc, id_node, &engine->conns_by_id) {
        if (tc->onic != onic) {
            continue;
        }
        if (tc->flushed == REASON_NONE) {
            tc->flushed = REASON_MAX_CONNS;
            tracked_conn_mark_dirty(tc);
        }
        if (--left <= max) {
            break;
        }
    }
}
