/* SPDX-License-Identifier: Apache-2.0 */

/* Hooks in OVS's lib/dpif.c.
 *
 * OVS leaves tap ports, and so LOCAL ports of the userspace datapath, out of
 * its map of ports that may be offloaded.  A vport may well be a tap.  With
 * these hooks they are in the map like others; ovs-netdev-offload.c keeps
 * OVS's own providers away from them, so that nothing else changes. */

#include <config.h>
#include <string.h>

#include "dpif.h"
#include "hook-version.h"

/* dpif_is_tap_port() compares with "tap", and nothing else in the unit
 * does. */
static inline int
hooked_strcmp(const char *a, const char *b)
{
    return b[0] == 't' && b[1] == 'a' && b[2] == 'p' && !b[3] ? 1
           : (strcmp)(a, b);
}

#undef strcmp
#define strcmp(A, B) hooked_strcmp(A, B)
#include "lib/dpif.c"
