/* SPDX-License-Identifier: Apache-2.0 */

#ifndef MEGAFLOW_PROGRAM_H
#define MEGAFLOW_PROGRAM_H 1

/* What the actions of a megaflow do, as far as a NIC is concerned
 * ==============================================================
 *
 * Datapath actions (nested netlink attributes) are read once, when the
 * megaflow becomes known, into a 'struct megaflow_program'.  Whatever is not
 * understood completely makes the whole megaflow REFUSED, with the reason:
 * nothing is ever translated in part.
 */

#include <stddef.h>
#include <stdint.h>
#include "openvswitch/types.h"
#include "reason.h"

struct nlattr;

enum megaflow_end {
    MEGAFLOW_DROP,                  /* No actions. */
    MEGAFLOW_OUTPUT,                /* To one port. */
    MEGAFLOW_CT,                    /* ct(zone), then recirculate. */
    MEGAFLOW_REFUSED                /* See 'reason'. */
};

struct megaflow_program {
    enum megaflow_end end;
    enum offload_reason reason;     /* MEGAFLOW_REFUSED. */
    odp_port_t out_port;            /* MEGAFLOW_OUTPUT. */
    uint16_t zone;                  /* MEGAFLOW_CT. */
    uint32_t recirc_id;             /* MEGAFLOW_CT. */
};

/* Reads the 'len' bytes of datapath actions in 'actions' into '*program'. */
void megaflow_program_parse(const struct nlattr *actions, size_t len,
                            struct megaflow_program *program);

#endif /* megaflow-program.h */
