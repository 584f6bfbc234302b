/* SPDX-License-Identifier: Apache-2.0 */

/* Connections that wait for megaflows. */

#include <config.h>
#include "tracked-conn-private.h"

#include <string.h>

#include "util.h"

void
tracked_conn_add_wait(struct tracked_conn *tc, int dir,
                      struct mf_slot *slot)
{
    struct conn_wait *wait = xmalloc(sizeof *wait);

    wait->conn = tc;
    wait->slot = slot;
    wait->seq = tc->engine->mirror.news_seq;
    wait->dir = dir;
    ovs_list_push_back(&tc->waits, &wait->conn_node);
    ovs_list_push_back(&slot->waiters, &wait->slot_node);
}

void
tracked_conn_clear_waits(struct tracked_conn *tc)
{
    while (!ovs_list_is_empty(&tc->waits)) {
        struct conn_wait *wait = CONTAINER_OF(ovs_list_pop_front(&tc->waits),
                                              struct conn_wait, conn_node);

        ovs_list_remove(&wait->slot_node);
        free(wait);
    }
    conn_index_clear_waits(tc);
    ovs_list_remove(&tc->room_node);
    ovs_list_init(&tc->room_node);
}

void
tracked_conn_wake_waiters(struct engine *engine, struct megaflow *flow)
{
    struct mf_slot *slot = flow->slot;

    megaflow_announce(flow);
    if (!ovs_list_is_empty(&slot->waiters)
        && ovs_list_is_empty(&slot->news_node)) {
        ovs_list_push_back(&engine->news, &slot->news_node);
    }
}

/* Returns true if packets for which 'wait' waits may hit 'flow'. */
static bool
wait_concerns(const struct conn_wait *wait, const struct megaflow *flow)
{
    struct path_subject subject;
    struct flow_probe probe;

    /* After recirculation packets are known only to composition. */
    tracked_conn_get_subject(wait->conn, wait->dir, &subject);
    path_probe_init(&probe, &subject);
    if (flow->slot->recirc_id
        || megaflow_program_rewrites_early(flow->program)) {
        memset(&probe.known, 0, sizeof probe.known);
        memset(&probe.known.in_port, 0xff, sizeof probe.known.in_port);
        probe.known.dl_type = OVS_BE16_MAX;
        probe.known.nw_proto = UINT8_MAX;
    }
    return megaflow_admits(flow, &probe);
}

/* Makes the connection of 'wait' dirty if something that was announced since
 * 'seq' may concern it.  When there is much, looking at it is not cheaper than
 * composing. */
static void
tell_wait(const struct conn_wait *wait, uint64_t seq)
{
    const struct megaflow *flow;
    int n = 0;

    if (!ovs_list_is_empty(&wait->conn->dirty_node)) {
        return;
    }
    if (wait->slot->all_seq > seq) {
        tracked_conn_mark_dirty(wait->conn);
        return;
    }
    LIST_FOR_EACH_REVERSE (flow, news_node, &wait->slot->news) {
        if (flow->news_seq <= seq) {
            break;
        }
        if (++n > 8 || wait_concerns(wait, flow)) {
            tracked_conn_mark_dirty(wait->conn);
            break;
        }
    }
}

void
tracked_conns_tell_news(struct engine *engine)
{
    int left = ENGINE_MAX_TOLD;

    while (left > 0 && !ovs_list_is_empty(&engine->news)) {
        struct mf_slot *slot = CONTAINER_OF(ovs_list_front(&engine->news),
                                            struct mf_slot, news_node);
        struct conn_wait *wait = NULL;
        uint64_t seq;

        /* Those that were told are at the end. */
        if (!ovs_list_is_empty(&slot->waiters)) {
            wait = CONTAINER_OF(ovs_list_front(&slot->waiters),
                                struct conn_wait, slot_node);
        }
        if (!wait || wait->seq >= slot->news_seq) {
            ovs_list_remove(&slot->news_node);
            ovs_list_init(&slot->news_node);
            continue;
        }
        ovs_list_remove(&wait->slot_node);
        ovs_list_push_back(&slot->waiters, &wait->slot_node);
        seq = wait->seq;
        wait->seq = slot->news_seq;
        tell_wait(wait, seq);
        left--;
    }
}
