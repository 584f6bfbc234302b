/* SPDX-License-Identifier: Apache-2.0 */

#ifndef MEGAFLOW_PROGRAM_H
#define MEGAFLOW_PROGRAM_H 1

/* What the actions of a megaflow do, as far as a NIC is concerned
 * ==============================================================
 *
 * Datapath actions (nested netlink attributes) are read once, when the
 * megaflow becomes known, into a list of operations.  Whatever is not
 * understood completely makes the whole megaflow refused, with the reason:
 * nothing is ever translated in part.
 *
 * OVS decrements a TTL by matching it exactly and setting the next lower
 * value, so that there is no operation for it.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "lib/nic-rule.h"
#include "openvswitch/types.h"
#include "reason.h"

struct nlattr;

enum megaflow_op_type {
    MEGAFLOW_OP_SET,                /* Bits of a field of the packet. */
    MEGAFLOW_OP_PUSH_VLAN,
    MEGAFLOW_OP_POP_VLAN,
    MEGAFLOW_OP_OUTPUT,             /* The packet as it is now. */
    MEGAFLOW_OP_LB_OUTPUT,          /* The same, to where a bond says. */
    MEGAFLOW_OP_CT,
    MEGAFLOW_OP_CT_CLEAR,
    MEGAFLOW_OP_RECIRC              /* Always the last. */
};

struct megaflow_op {
    enum megaflow_op_type type;
    union {
        struct {
            enum nic_field field;
            uint8_t value[NIC_FIELD_MAX_LEN];
            uint8_t mask[NIC_FIELD_MAX_LEN];
        } set;
        struct {
            ovs_be16 tpid;
            ovs_be16 tci;           /* With VLAN_CFI, as in struct flow. */
        } vlan;                     /* MEGAFLOW_OP_PUSH_VLAN. */
        odp_port_t port;            /* MEGAFLOW_OP_OUTPUT. */
        uint32_t id;                /* MEGAFLOW_OP_LB_OUTPUT: bond;
                                     * MEGAFLOW_OP_RECIRC: recirc_id. */
        struct {
            uint16_t zone;
            bool nat;               /* Has the option "nat", with or without
                                     * addresses: those only matter to a
                                     * connection that is new. */
            bool force;             /* Throws away a connection whose reply
                                     * direction this is. */
            uint32_t mark, mark_mask;       /* To be set. */
            ovs_u128 label, label_mask;
        } ct;
    };
};

struct megaflow_program {
    enum offload_reason reason;     /* REASON_NONE, or why it is refused. */
    size_t n_ops;                   /* 0 drops, unless it is refused. */
    struct megaflow_op *ops;        /* Owned; null if there are none. */
};

/* Reads the 'len' bytes of datapath actions in 'actions' into '*program',
 * whose former content does not matter. */
void megaflow_program_parse(const struct nlattr *actions, size_t len,
                            struct megaflow_program *program);

/* Frees what 'program' owns. */
void megaflow_program_destroy(struct megaflow_program *program);

/* Returns true if 'a' and 'b' do the same. */
bool megaflow_program_equal(const struct megaflow_program *a,
                            const struct megaflow_program *b);

/* Returns the zone of the first ct() of 'program', -1 if there is none. */
int megaflow_program_first_zone(const struct megaflow_program *program);

/* Returns true if 'program' changes Ethernet header, VLAN tags or tuple before
 * its first ct(), or, without a ct(), before recirculation: ct() sees another
 * packet than was received. */
bool megaflow_program_rewrites_early(const struct megaflow_program *program);

#endif /* megaflow-program.h */
