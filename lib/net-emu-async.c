/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>
#include "net-emu-async.h"

#include "net-emu-private.h"

void
net_emu_async_abort(struct net_emu_port *port OVS_UNUSED)
{
}

void
net_emu_async_free(struct net_emu_port *port OVS_UNUSED)
{
}
