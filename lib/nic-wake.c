/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>
#include "nic.h"

#include "ovs-thread.h"
#include "seq.h"

struct seq *
nic_seq(void)
{
    static struct ovsthread_once once = OVSTHREAD_ONCE_INITIALIZER;
    static struct seq *seq;

    if (ovsthread_once_start(&once)) {
        seq = seq_create();
        ovsthread_once_done(&once);
    }
    return seq;
}

void
nic_wake(void)
{
    seq_change(nic_seq());
}
