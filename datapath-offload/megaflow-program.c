/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>
#include "megaflow-program.h"

#include "netlink.h"
#include "odp-netlink.h"
#include "util.h"

/* Reads the options of a ct() action.  Returns REASON_NONE if it does nothing
 * to an established connection but look it up, otherwise the reason against
 * it.
 *
 * 'commit' and a timeout policy only matter to a connection that is new. */
static enum offload_reason
parse_ct(const struct nlattr *ct, uint16_t *zone)
{
    const struct nlattr *a;
    unsigned int left;

    *zone = 0;
    NL_NESTED_FOR_EACH (a, left, ct) {
        enum ovs_ct_attr type = nl_attr_type(a);

        switch (type) {
        case OVS_CT_ATTR_ZONE:
            *zone = nl_attr_get_u16(a);
            break;

        case OVS_CT_ATTR_COMMIT:
        case OVS_CT_ATTR_TIMEOUT:
        case OVS_CT_ATTR_EVENTMASK:
            break;

        case OVS_CT_ATTR_NAT:
            return REASON_NAT;

        case OVS_CT_ATTR_HELPER:
            return REASON_ALG;

        case OVS_CT_ATTR_MARK:
        case OVS_CT_ATTR_LABELS:
        case OVS_CT_ATTR_FORCE_COMMIT:
        case OVS_CT_ATTR_UNSPEC:
        case __OVS_CT_ATTR_MAX:
        default:
            return REASON_CT_OPTION;
        }
    }
    return REASON_NONE;
}

static void
refuse(struct megaflow_program *program, enum offload_reason reason)
{
    program->end = MEGAFLOW_REFUSED;
    program->reason = reason;
}

void
megaflow_program_parse(const struct nlattr *actions, size_t len,
                       struct megaflow_program *program)
{
    const struct nlattr *a;
    unsigned int left;
    bool seen_ct = false;

    *program = (struct megaflow_program) {
        .end = MEGAFLOW_DROP,
        .reason = REASON_NONE,
    };
    NL_ATTR_FOR_EACH (a, left, actions, len) {
        int type = nl_attr_type(a);

        /* OUTPUT and RECIRC come last, in what is supported. */
        if (program->end != MEGAFLOW_DROP) {
            refuse(program, program->end == MEGAFLOW_OUTPUT
                            && type == OVS_ACTION_ATTR_OUTPUT
                            ? REASON_MULTIPLE_OUTPUTS : REASON_ACTION);
            return;
        }

        if (type == OVS_ACTION_ATTR_OUTPUT && !seen_ct) {
            program->end = MEGAFLOW_OUTPUT;
            program->out_port = nl_attr_get_odp_port(a);
        } else if (type == OVS_ACTION_ATTR_CT && !seen_ct) {
            enum offload_reason reason = parse_ct(a, &program->zone);

            if (reason != REASON_NONE) {
                refuse(program, reason);
                return;
            }
            seen_ct = true;
        } else if (type == OVS_ACTION_ATTR_RECIRC && seen_ct) {
            program->end = MEGAFLOW_CT;
            program->recirc_id = nl_attr_get_u32(a);
        } else if (type == OVS_ACTION_ATTR_DROP && !seen_ct
                   && left == NLA_ALIGN(a->nla_len)) {
            /* Says why, and is the only action. */
        } else if (type == OVS_ACTION_ATTR_LB_OUTPUT) {
            refuse(program, REASON_BOND);
            return;
        } else {
            refuse(program, REASON_ACTION);
            return;
        }
    }

    /* Connection tracking without looking at the result. */
    if (seen_ct && program->end == MEGAFLOW_DROP) {
        refuse(program, REASON_CT_OPTION);
    }
}
