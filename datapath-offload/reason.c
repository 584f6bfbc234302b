/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>
#include "reason.h"

#include "util.h"

static const struct {
    const char *name;
    const char *sentence;
} reasons[N_REASONS] = {
#define REASON(ENUM, NAME, SENTENCE) { NAME, SENTENCE },
    OFFLOAD_REASONS
#undef REASON
};

const char *
offload_reason_name(enum offload_reason reason)
{
    ovs_assert(reason < N_REASONS);
    return reasons[reason].name;
}

const char *
offload_reason_sentence(enum offload_reason reason)
{
    ovs_assert(reason < N_REASONS);
    return reasons[reason].sentence;
}
