/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>
#include "dp-registry.h"

#include <stdlib.h>
#include <string.h>

#include "openvswitch/list.h"
#include "openvswitch/thread.h"
#include "ovs-atomic.h"
#include "util.h"

#define MAX_DP_TYPES 16

struct registered_ct {
    struct ovs_list node;
    const struct conntrack *ct;
    uint32_t dp;
};

static struct ovs_mutex mutex = OVS_MUTEX_INITIALIZER;

/* Only ever appended to, with 'mutex'; read without. */
static ATOMIC(const char *) types[MAX_DP_TYPES + 1];
static struct ovs_list cts OVS_GUARDED_BY(mutex) = OVS_LIST_INITIALIZER(&cts);

/* Returns the number of 'dpif_type', or 0 if it has none. */
static uint32_t
find_type(const char *dpif_type)
{
    for (uint32_t dp = 1; dp <= MAX_DP_TYPES; dp++) {
        const char *type = dp_registry_type(dp);

        if (!type) {
            break;
        } else if (!strcmp(type, dpif_type)) {
            return dp;
        }
    }
    return 0;
}

static uint32_t
type_to_id(const char *dpif_type)
    OVS_REQUIRES(mutex)
{
    uint32_t dp = find_type(dpif_type);

    if (!dp) {
        for (dp = 1; dp_registry_type(dp); dp++) {
            ovs_assert(dp < MAX_DP_TYPES);
        }
        atomic_store_explicit(&types[dp], xstrdup(dpif_type),
                              memory_order_release);
    }
    return dp;
}

uint32_t
dp_registry_id(const char *dpif_type)
{
    uint32_t dp = find_type(dpif_type);

    if (!dp) {
        ovs_mutex_lock(&mutex);
        dp = type_to_id(dpif_type);
        ovs_mutex_unlock(&mutex);
    }
    return dp;
}

const char *
dp_registry_type(uint32_t dp)
{
    const char *type = NULL;

    if (dp >= 1 && dp <= MAX_DP_TYPES) {
        atomic_read_explicit(&types[dp], &type, memory_order_acquire);
    }
    return type;
}

void
dp_registry_add(const struct conntrack *ct, const char *dpif_type)
{
    struct registered_ct *rct = xmalloc(sizeof *rct);

    ovs_mutex_lock(&mutex);
    rct->ct = ct;
    rct->dp = type_to_id(dpif_type);
    ovs_list_push_back(&cts, &rct->node);
    ovs_mutex_unlock(&mutex);
}

void
dp_registry_remove(const struct conntrack *ct)
{
    struct registered_ct *rct;

    ovs_mutex_lock(&mutex);
    LIST_FOR_EACH_SAFE (rct, node, &cts) {
        if (rct->ct == ct) {
            ovs_list_remove(&rct->node);
            free(rct);
        }
    }
    ovs_mutex_unlock(&mutex);
}

uint32_t
dp_registry_find(const struct conntrack *ct)
{
    const struct registered_ct *rct;
    uint32_t dp = 0;

    ovs_mutex_lock(&mutex);
    LIST_FOR_EACH (rct, node, &cts) {
        if (rct->ct == ct) {
            dp = rct->dp;
            break;
        }
    }
    ovs_mutex_unlock(&mutex);
    return dp;
}

void
dp_registry_for_each(void (*cb)(struct conntrack *, uint32_t dp, void *aux),
                     void *aux)
{
    const struct registered_ct *rct;

    ovs_mutex_lock(&mutex);
    LIST_FOR_EACH (rct, node, &cts) {
        cb(CONST_CAST(struct conntrack *, rct->ct), rct->dp, aux);
    }
    ovs_mutex_unlock(&mutex);
}
