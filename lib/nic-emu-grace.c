/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>
#include "nic-emu-grace.h"

#include "openvswitch/list.h"
#include "openvswitch/thread.h"
#include "ovs-thread.h"
#include "util.h"

/* The thread is not in a section. */
#define EPOCH_OUTSIDE 0

/* One per thread that ever entered a section. */
struct section {
    struct ovs_list list_node;      /* In 'sections'. */
    atomic_uint64_t epoch;          /* Value of 'last_grace' when entering
                                     * the section, or EPOCH_OUTSIDE. */
};

static struct ovs_mutex mutex = OVS_MUTEX_INITIALIZER;
static struct ovs_list sections OVS_GUARDED_BY(mutex)
    = OVS_LIST_INITIALIZER(&sections);

/* Number of the last grace period that started. */
static atomic_uint64_t last_grace = 1;

static ovsthread_key_t section_key;

static void
section_destroy(void *section_)
{
    struct section *section = section_;

    ovs_mutex_lock(&mutex);
    ovs_list_remove(&section->list_node);
    ovs_mutex_unlock(&mutex);
    free_cacheline(section);
}

static struct section *
section_get(void)
{
    static struct ovsthread_once once = OVSTHREAD_ONCE_INITIALIZER;
    struct section *section;

    if (ovsthread_once_start(&once)) {
        ovsthread_key_create(&section_key, section_destroy);
        ovsthread_once_done(&once);
    }

    section = ovsthread_getspecific(section_key);
    if (OVS_UNLIKELY(!section)) {
        section = xmalloc_cacheline(sizeof *section);
        atomic_init(&section->epoch, EPOCH_OUTSIDE);
        ovs_mutex_lock(&mutex);
        ovs_list_push_back(&sections, &section->list_node);
        ovs_mutex_unlock(&mutex);
        ovsthread_setspecific(section_key, section);
    }
    return section;
}

void
nic_emu_section_enter(void)
{
    struct section *section = section_get();
    uint64_t epoch;

    atomic_read_explicit(&last_grace, &epoch, memory_order_acquire);
    atomic_store_explicit(&section->epoch, epoch, memory_order_relaxed);

    /* Pairs with the fence in nic_emu_grace_start().  Either the writer sees
     * this section, or this section sees what the writer did before. */
    atomic_thread_fence(memory_order_seq_cst);
}

void
nic_emu_section_leave(void)
{
    struct section *section = section_get();

    atomic_store_explicit(&section->epoch, EPOCH_OUTSIDE,
                          memory_order_release);
}

uint64_t
nic_emu_grace_start(void)
{
    uint64_t orig;

    atomic_add_explicit(&last_grace, 1, &orig, memory_order_acq_rel);
    atomic_thread_fence(memory_order_seq_cst);
    return orig + 1;
}

bool
nic_emu_grace_passed(uint64_t grace)
{
    struct section *section;
    bool passed = true;

    ovs_mutex_lock(&mutex);
    LIST_FOR_EACH (section, list_node, &sections) {
        uint64_t epoch;

        atomic_read_explicit(&section->epoch, &epoch, memory_order_acquire);
        if (epoch != EPOCH_OUTSIDE && epoch < grace) {
            passed = false;
            break;
        }
    }
    ovs_mutex_unlock(&mutex);
    return passed;
}
