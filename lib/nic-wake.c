/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>
#include "nic.h"

#include "seq.h"
#include "static-seq.h"

STATIC_SEQ_DEFINE(nic_seq)

void
nic_wake(void)
{
    seq_change(nic_seq());
}
