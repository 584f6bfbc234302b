/* SPDX-License-Identifier: Apache-2.0 */

#ifndef NIC_EMU_GRACE_H
#define NIC_EMU_GRACE_H 1

/* When nobody can hit an object any more
 * ======================================
 *
 * A thread that looks up an object may still count a packet on it after
 * another thread took it out of its table.  The final counter of a removed
 * object is exact only when no such thread is left.
 *
 * OVS's RCU answers when memory may be *freed*, but as late as every thread
 * quiesces, which a single-threaded program may never do, and on another
 * thread.  Here the question is only whether somebody is in the middle of a
 * lookup, so that the answer can be immediate and, with one thread,
 * deterministic:
 *
 *   - A thread encloses each burst of lookups, counting included, in
 *     nic_emu_section_enter() and nic_emu_section_leave().
 *
 *   - The writer takes objects out, calls nic_emu_grace_start() and asks
 *     nic_emu_grace_passed() with its result until that returns true.
 *
 * Memory is still freed through RCU.
 *
 * Thread-safety
 * -------------
 *
 * Everything may be called by any thread.  Sections do not nest, and should be
 * short: sending packets, for example, does not belong into one. */

#include <stdbool.h>
#include <stdint.h>
#include "ovs-atomic.h"

void nic_emu_section_enter(void);
void nic_emu_section_leave(void);

/* Starts a grace period and returns its number. */
uint64_t nic_emu_grace_start(void);

/* Returns true if every section that was entered before grace period 'grace'
 * started has been left.  Never blocks. */
bool nic_emu_grace_passed(uint64_t grace);

/* An object in a concurrent map is read by others from the moment it is
 * inserted.  The writer calls nic_emu_publish() on a flag in the object when
 * the object is complete and before it inserts it; readers skip objects for
 * which nic_emu_published() returns false.  The order of memory accesses is
 * then stated here and does not depend on how the map is implemented. */
static inline void
nic_emu_publish(atomic_bool *flag)
{
    atomic_store_explicit(flag, true, memory_order_release);
}

static inline bool
nic_emu_published(const atomic_bool *flag)
{
    bool published;

    atomic_read_explicit(CONST_CAST(atomic_bool *, flag), &published,
                         memory_order_acquire);
    return published;
}

#endif /* nic-emu-grace.h */
