/* SPDX-License-Identifier: Apache-2.0 */

/* In place of the driver for rte_flow, in a build without DPDK. */

#include <config.h>
#include "nic-rte-flow.h"

#include <errno.h>

#include "seq.h"
#include "static-seq.h"
#include "util.h"

static int
stub_open(const char *name OVS_UNUSED, const struct smap *config OVS_UNUSED,
          struct nic **nicp OVS_UNUSED, char **errorp)
{
    *errorp = xstrdup("built without --with-dpdk");
    return EOPNOTSUPP;
}

const struct nic_class nic_rte_flow_class = {
    .type = "rte_flow",
    .open = stub_open,
};

const char *
nic_rte_flow_find_device(const char *name OVS_UNUSED,
                         struct nic_rte_flow_device *device)
{
    *device = (struct nic_rte_flow_device) { .domain = 0 };
    return "built without --with-dpdk";
}

void
nic_rte_flow_port_stopping(uint16_t ethdev OVS_UNUSED,
                           bool closing OVS_UNUSED)
{
}

void
nic_rte_flow_port_started(uint16_t ethdev OVS_UNUSED)
{
}

bool
nic_rte_flow_get_carrier(const char *name OVS_UNUSED,
                         bool *carrier OVS_UNUSED)
{
    return false;
}

STATIC_SEQ_DEFINE(nic_rte_flow_carrier_seq)
