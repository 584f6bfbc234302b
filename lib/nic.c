/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>
#include "nic.h"

#include <string.h>

static const char *const role_names[] = {
    [NIC_PORT_VF] = "vf",
    [NIC_PORT_UPLINK] = "uplink",
};

const char *
nic_port_role_to_string(enum nic_port_role role)
{
    return role_names[role];
}

/* Stores in '*role' the role called 's' and returns true, or returns false if
 * there is none. */
bool
nic_port_role_from_string(const char *s, enum nic_port_role *role)
{
    for (size_t i = 0; i < ARRAY_SIZE(role_names); i++) {
        if (!strcmp(s, role_names[i])) {
            *role = i;
            return true;
        }
    }
    return false;
}

const char *
nic_op_type_to_string(enum nic_op_type type)
{
    switch (type) {
    case NIC_OP_RULE_ADD:
        return "add rule";
    case NIC_OP_RULE_DEL:
        return "delete rule";
    case NIC_OP_CONN_ADD:
        return "add connection";
    case NIC_OP_CONN_DEL:
        return "delete connection";
    case NIC_OP_EGRESS_ADD:
        return "add egress";
    case NIC_OP_EGRESS_SET:
        return "set egress";
    case NIC_OP_EGRESS_DEL:
        return "delete egress";
    case NIC_OP_RESET:
        return "reset";
    default:
        OVS_NOT_REACHED();
    }
}
