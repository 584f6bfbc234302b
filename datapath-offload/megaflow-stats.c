/* SPDX-License-Identifier: Apache-2.0 */

/* What NICs carried through megaflows. */

#include <config.h>
#include "megaflow-mirror.h"

#include <stdlib.h>
#include <string.h>

#include "dpif.h"
#include "lib/mutant.h"
#include "util.h"

/* A copy that asks again within this time at the same address, although it
 * seems not to have been told anything, is the same one: the answer to another
 * thread has not been stored yet. */
#define COPY_RACE_MS 100

/* A copy that was not asked about for so long is gone: revalidators ask about
 * each copy many times as often.  Its share may be used for another. */
#define COPY_GONE_MS (5 * 60 * 1000)

void
megaflow_set_successor(struct megaflow *flow, struct megaflow *heir)
{
    uint64_t packets, bytes;
    long long int used_ms;

    if (flow->live || flow->successor || !heir->live) {
        return;
    }
    flow->successor = heir;
    heir->n_predecessors++;

    ovs_mutex_lock(&flow->mutex);
    packets = flow->packets - flow->claimed_packets;
    bytes = flow->bytes - flow->claimed_bytes;
    used_ms = flow->used_ms;
    flow->claimed_packets = flow->packets;
    flow->claimed_bytes = flow->bytes;
    ovs_mutex_unlock(&flow->mutex);

    if (packets) {
        flow->mirror->moved_packets += packets;
        flow->mirror->moved_bytes += bytes;
        megaflow_credit(heir, packets, bytes, used_ms);
    }
}

void
megaflow_credit(struct megaflow *flow, uint64_t packets, uint64_t bytes,
                   long long int used_ms)
{
    if (!flow->live && flow->successor) {
        flow->mirror->moved_packets += packets;
        flow->mirror->moved_bytes += bytes;
    }
    while (!flow->live && flow->successor) {
        flow = flow->successor;
    }

    ovs_mutex_lock(&flow->mutex);
    flow->packets += packets;
    flow->bytes += bytes;
    flow->used_ms = MAX(flow->used_ms, used_ms);
    ovs_mutex_unlock(&flow->mutex);
}

/* Returns the share of the copy, created if necessary.
 *
 * A PMD may have several copies at a time: the ufid does not cover masks, so
 * megaflows that differ only in wildcarding what is zero in others have it in
 * common.  What was told to one of them must not be taken back when another
 * asks: OVS does not count what comes while a counter goes backwards. */
static struct mf_share *
get_share(struct megaflow *flow, unsigned int pmd_id, const void *copy,
          long long int now_ms)
    OVS_REQUIRES(flow->mutex)
{
    struct mf_share *share = NULL;

    for (size_t i = 0; i < flow->n_shares; i++) {
        struct mf_share *s = &flow->shares[i];

        if (s->pmd_id == pmd_id && s->copy == copy) {
            return s;
        } else if (now_ms >= s->asked_ms + COPY_GONE_MS) {
            share = s;
        }
    }

    if (!share) {
        flow->shares = xrealloc(flow->shares, ((flow->n_shares + 1)
                                               * sizeof *flow->shares));
        share = &flow->shares[flow->n_shares++];
    }
    memset(share, 0, sizeof *share);
    share->pmd_id = pmd_id;
    share->copy = copy;
    share->asked_ms = now_ms;
    return share;
}

void
megaflow_claim(struct megaflow *flow, unsigned int pmd_id,
                  const void *copy, bool fresh, long long int now_ms,
                  struct dpif_flow_stats *stats)
{
    struct mf_share *share;

    memset(stats, 0, sizeof *stats);

    if (!MUTANT(stats_unlocked)) {
        ovs_mutex_lock(&flow->mutex);
    }
    share = get_share(flow, pmd_id, copy, now_ms);
    if (fresh && now_ms >= share->asked_ms + COPY_RACE_MS) {
        share->packets = share->bytes = 0;
    }
    share->asked_ms = now_ms;
    share->packets += flow->packets - flow->claimed_packets;
    share->bytes += flow->bytes - flow->claimed_bytes;
    if (MUTANT(counted_per_copy)) {
        share->packets = flow->packets;
        share->bytes = flow->bytes;
    }
    flow->claimed_packets = flow->packets;
    flow->claimed_bytes = flow->bytes;
    stats->n_packets = share->packets;
    stats->n_bytes = share->bytes;
    stats->used = flow->used_ms;
    if (!MUTANT(stats_unlocked)) {
        ovs_mutex_unlock(&flow->mutex);
    }
}
