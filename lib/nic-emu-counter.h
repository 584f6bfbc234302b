/* SPDX-License-Identifier: Apache-2.0 */

#ifndef NIC_EMU_COUNTER_H
#define NIC_EMU_COUNTER_H 1

/* A counter of the emulated NIC: any number of threads may add to it and read
 * it at the same time. */

#include "nic.h"
#include "ovs-atomic.h"
#include "util.h"

struct nic_emu_counter {
    atomic_uint64_t packets;
    atomic_uint64_t bytes;
    atomic_llong used_ms;
};

static inline void
nic_emu_counter_init(struct nic_emu_counter *counter)
{
    atomic_init(&counter->packets, 0);
    atomic_init(&counter->bytes, 0);
    atomic_init(&counter->used_ms, 0);
}

static inline void
nic_emu_counter_add(struct nic_emu_counter *counter, size_t bytes,
                    long long int now_ms)
{
    uint64_t orig;

    atomic_add_relaxed(&counter->packets, 1, &orig);
    atomic_add_relaxed(&counter->bytes, bytes, &orig);
    atomic_store_relaxed(&counter->used_ms, now_ms);
}

static inline void
nic_emu_counter_get(const struct nic_emu_counter *counter_,
                    struct nic_counter *out)
{
    struct nic_emu_counter *counter = CONST_CAST(struct nic_emu_counter *,
                                                counter_);
    long long int used_ms;

    atomic_read_relaxed(&counter->packets, &out->packets);
    atomic_read_relaxed(&counter->bytes, &out->bytes);
    atomic_read_relaxed(&counter->used_ms, &used_ms);
    out->used_ms = used_ms;
}

#endif /* nic-emu-counter.h */
