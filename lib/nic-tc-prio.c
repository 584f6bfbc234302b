/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>
#include "nic-tc-prio.h"

#include "bitmap.h"
#include "hash.h"
#include "openvswitch/match.h"
#include "util.h"

#define N_PRIOS (NIC_TC_PRIO_MAX - NIC_TC_PRIO_MIN + 1)

struct prio {
    struct hmap_node node;          /* By protocol and masks. */
    uint16_t prio;
    uint16_t protocol;
    struct flow_wildcards wc;
    size_t n_refs;
};

void
nic_tc_prios_init(struct nic_tc_prios *prios)
{
    hmap_init(&prios->by_mask);
    prios->used = bitmap_allocate(N_PRIOS);
    prios->last = N_PRIOS - 1;
}

void
nic_tc_prios_destroy(struct nic_tc_prios *prios)
{
    struct prio *prio;

    HMAP_FOR_EACH_POP (prio, node, &prios->by_mask) {
        free(prio);
    }
    hmap_destroy(&prios->by_mask);
    bitmap_free(prios->used);
}

uint16_t
nic_tc_prio_ref(struct nic_tc_prios *prios, uint16_t protocol,
                const struct match *match)
{
    uint32_t hash = flow_wildcards_hash(&match->wc, protocol);
    struct prio *prio;
    size_t i;

    HMAP_FOR_EACH_WITH_HASH (prio, node, hash, &prios->by_mask) {
        if (prio->protocol == protocol
            && flow_wildcards_equal(&prio->wc, &match->wc)) {
            prio->n_refs++;
            return prio->prio;
        }
    }

    /* Not one that has just become free: the kernel may still be using it for
     * another protocol. */
    i = bitmap_scan(prios->used, false, prios->last + 1, N_PRIOS);
    if (i == N_PRIOS) {
        i = bitmap_scan(prios->used, false, 0, N_PRIOS);
        if (i == N_PRIOS) {
            return 0;
        }
    }
    bitmap_set1(prios->used, i);
    prios->last = i;

    prio = xzalloc(sizeof *prio);
    prio->prio = NIC_TC_PRIO_MIN + i;
    prio->protocol = protocol;
    prio->wc = match->wc;
    prio->n_refs = 1;
    hmap_insert(&prios->by_mask, &prio->node, hash);
    return prio->prio;
}

void
nic_tc_prio_unref(struct nic_tc_prios *prios, uint16_t value)
{
    struct prio *prio;

    HMAP_FOR_EACH (prio, node, &prios->by_mask) {
        if (prio->prio == value) {
            if (!--prio->n_refs) {
                bitmap_set0(prios->used, value - NIC_TC_PRIO_MIN);
                hmap_remove(&prios->by_mask, &prio->node);
                free(prio);
            }
            return;
        }
    }
    OVS_NOT_REACHED();
}

size_t
nic_tc_prios_count(const struct nic_tc_prios *prios)
{
    return hmap_count(&prios->by_mask);
}
