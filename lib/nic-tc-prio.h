/* SPDX-License-Identifier: Apache-2.0 */

#ifndef NIC_TC_PRIO_H
#define NIC_TC_PRIO_H 1

/* Priorities of filters
 * =====================
 *
 * In the kernel, all filters of one priority have the same protocol, and many
 * devices want the same masks as well.  So each protocol and set of masks gets
 * a priority of its own, as long as rules use it.
 *
 * The order of priorities does not matter: no packet matches two rules of
 * different masks that lead it to different places.
 *
 * Thread-safety: none.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "openvswitch/hmap.h"

struct match;

/* Ours are in this range, before those that the kernel gives to filters
 * without one (49152 and so on). */
#define NIC_TC_PRIO_MIN 4096
#define NIC_TC_PRIO_MAX 32767

struct nic_tc_prios {
    struct hmap by_mask;
    unsigned long *used;            /* Bitmap. */
    uint16_t last;
};

void nic_tc_prios_init(struct nic_tc_prios *);
void nic_tc_prios_destroy(struct nic_tc_prios *);

/* Returns the priority for filters of 'protocol' with the masks of 'match',
 * and takes a reference; 0 if there are none left. */
uint16_t nic_tc_prio_ref(struct nic_tc_prios *, uint16_t protocol,
                         const struct match *match);

/* Drops a reference to 'prio'. */
void nic_tc_prio_unref(struct nic_tc_prios *, uint16_t prio);

/* Returns the number of priorities in use. */
size_t nic_tc_prios_count(const struct nic_tc_prios *);

#endif /* nic-tc-prio.h */
