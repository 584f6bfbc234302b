/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>
#include "megaflow-program.h"

#include <stdlib.h>
#include <string.h>

#include "netlink.h"
#include "odp-netlink.h"
#include "packets.h"
#include "util.h"

/* Appends an operation of 'type' to 'program' and returns it, zeroed. */
static struct megaflow_op *
add_op(struct megaflow_program *program, size_t *allocated,
       enum megaflow_op_type type)
{
    struct megaflow_op *op;

    if (program->n_ops == *allocated) {
        program->ops = x2nrealloc(program->ops, allocated,
                                  sizeof *program->ops);
    }
    op = &program->ops[program->n_ops++];
    memset(op, 0, sizeof *op);
    op->type = type;
    return op;
}

/* A part of a netlink key that can be set. */
struct key_part {
    enum nic_field field;
    size_t ofs;
    size_t len;
};

#define KEY_PART(FIELD, STRUCT, MEMBER)                                       \
    { NIC_FIELD_##FIELD, offsetof(struct STRUCT, MEMBER),                     \
      MEMBER_SIZEOF(struct STRUCT, MEMBER) }

static const struct key_part ethernet_parts[] = {
    KEY_PART(ETH_SRC, ovs_key_ethernet, eth_src),
    KEY_PART(ETH_DST, ovs_key_ethernet, eth_dst),
};
static const struct key_part ipv4_parts[] = {
    KEY_PART(IP_SRC, ovs_key_ipv4, ipv4_src),
    KEY_PART(IP_DST, ovs_key_ipv4, ipv4_dst),
    KEY_PART(IP_TOS, ovs_key_ipv4, ipv4_tos),
    KEY_PART(IP_TTL, ovs_key_ipv4, ipv4_ttl),
};
static const struct key_part ipv6_parts[] = {
    KEY_PART(IP_SRC, ovs_key_ipv6, ipv6_src),
    KEY_PART(IP_DST, ovs_key_ipv6, ipv6_dst),
    KEY_PART(IPV6_LABEL, ovs_key_ipv6, ipv6_label),
    KEY_PART(IP_TOS, ovs_key_ipv6, ipv6_tclass),
    KEY_PART(IP_TTL, ovs_key_ipv6, ipv6_hlimit),
};
static const struct key_part tcp_parts[] = {
    KEY_PART(TP_SRC, ovs_key_tcp, tcp_src),
    KEY_PART(TP_DST, ovs_key_tcp, tcp_dst),
};
static const struct key_part udp_parts[] = {
    KEY_PART(TP_SRC, ovs_key_udp, udp_src),
    KEY_PART(TP_DST, ovs_key_udp, udp_dst),
};

/* Netlink keys that can be set. */
static const struct settable_key {
    enum ovs_key_attr type;
    size_t len;
    const struct key_part *parts;
    size_t n_parts;
} settable_keys[] = {
    { OVS_KEY_ATTR_ETHERNET, sizeof(struct ovs_key_ethernet),
      ethernet_parts, ARRAY_SIZE(ethernet_parts) },
    { OVS_KEY_ATTR_IPV4, sizeof(struct ovs_key_ipv4),
      ipv4_parts, ARRAY_SIZE(ipv4_parts) },
    { OVS_KEY_ATTR_IPV6, sizeof(struct ovs_key_ipv6),
      ipv6_parts, ARRAY_SIZE(ipv6_parts) },
    { OVS_KEY_ATTR_TCP, sizeof(struct ovs_key_tcp),
      tcp_parts, ARRAY_SIZE(tcp_parts) },
    { OVS_KEY_ATTR_UDP, sizeof(struct ovs_key_udp),
      udp_parts, ARRAY_SIZE(udp_parts) },
};

/* Reads OVS_ACTION_ATTR_SET or, if 'masked', OVS_ACTION_ATTR_SET_MASKED. */
static enum offload_reason
parse_set(const struct nlattr *action, bool masked,
          struct megaflow_program *program, size_t *allocated)
{
    const struct nlattr *a = nl_attr_get(action);
    const struct settable_key *key = NULL;
    const uint8_t *value, *mask;
    bool rest_is_masked = false;
    uint8_t left[64];

    if (nl_attr_get_size(action) < NLA_HDRLEN
        || a->nla_len < NLA_HDRLEN
        || a->nla_len > nl_attr_get_size(action)) {
        return REASON_ACTION;
    }
    for (size_t i = 0; i < ARRAY_SIZE(settable_keys); i++) {
        if (nl_attr_type(a) == settable_keys[i].type) {
            key = &settable_keys[i];
        }
    }
    if (!key || nl_attr_get_size(a) != (masked ? 2 : 1) * key->len) {
        return REASON_ACTION;
    }
    ovs_assert(key->len <= sizeof left);

    value = nl_attr_get(a);
    if (masked) {
        mask = value + key->len;
        memcpy(left, mask, key->len);
    } else {
        mask = NULL;
        memset(left, 0, sizeof left);
    }
    for (size_t i = 0; i < key->n_parts; i++) {
        const struct key_part *part = &key->parts[i];
        struct megaflow_op *op;
        uint8_t m[NIC_FIELD_MAX_LEN];

        if (masked) {
            memcpy(m, mask + part->ofs, part->len);
        } else {
            memset(m, 0xff, part->len);
        }
        memset(left + part->ofs, 0, part->len);
        if (part->field == NIC_FIELD_IPV6_LABEL) {
            ovs_be32 label_mask = htonl(IPV6_LABEL_MASK);

            for (size_t j = 0; j < part->len; j++) {
                m[j] &= ((const uint8_t *) &label_mask)[j];
            }
        }
        if (is_all_zeros(m, part->len)) {
            continue;
        }

        op = add_op(program, allocated, MEGAFLOW_OP_SET);
        op->set.field = part->field;
        memcpy(op->set.mask, m, part->len);
        for (size_t j = 0; j < part->len; j++) {
            op->set.value[j] = value[part->ofs + j] & m[j];
        }
    }

    /* Protocol and fragment type cannot be set. */
    for (size_t i = 0; i < key->len; i++) {
        rest_is_masked |= left[i] != 0;
    }
    return rest_is_masked ? REASON_ACTION : REASON_NONE;
}

/* Reads the options of a ct() action.
 *
 * 'commit' and a timeout policy only matter to a connection that is new, and
 * so does to which addresses and ports NAT may translate. */
static enum offload_reason
parse_ct(const struct nlattr *ct, struct megaflow_op *op)
{
    const struct nlattr *a;
    unsigned int left;

    NL_NESTED_FOR_EACH (a, left, ct) {
        enum ovs_ct_attr type = nl_attr_type(a);

        switch (type) {
        case OVS_CT_ATTR_ZONE:
            op->ct.zone = nl_attr_get_u16(a);
            break;

        case OVS_CT_ATTR_COMMIT:
        case OVS_CT_ATTR_TIMEOUT:
        case OVS_CT_ATTR_EVENTMASK:
            break;

        case OVS_CT_ATTR_FORCE_COMMIT:
            op->ct.force = true;
            break;

        case OVS_CT_ATTR_NAT:
            op->ct.nat = true;
            break;

        /* A bit that is 1 outside the mask is set, too: OVS does so. */
        case OVS_CT_ATTR_MARK: {
            uint32_t mark[2];

            if (nl_attr_get_size(a) != sizeof mark) {
                return REASON_CT_OPTION;
            }
            memcpy(mark, nl_attr_get(a), sizeof mark);
            op->ct.mark = mark[0];
            op->ct.mark_mask = mark[1] | mark[0];
            break;
        }

        case OVS_CT_ATTR_LABELS: {
            ovs_u128 label[2];

            if (nl_attr_get_size(a) != sizeof label) {
                return REASON_CT_OPTION;
            }
            memcpy(label, nl_attr_get(a), sizeof label);
            op->ct.label = label[0];
            op->ct.label_mask.u64.lo = label[1].u64.lo | label[0].u64.lo;
            op->ct.label_mask.u64.hi = label[1].u64.hi | label[0].u64.hi;
            break;
        }

        case OVS_CT_ATTR_HELPER:
            return REASON_ALG;

        case OVS_CT_ATTR_UNSPEC:
        case __OVS_CT_ATTR_MAX:
        default:
            return REASON_CT_OPTION;
        }
    }
    return REASON_NONE;
}

/* Reads action 'a', with 'left' bytes from its start to the end of all. */
static enum offload_reason
parse_action(const struct nlattr *a, unsigned int left,
             struct megaflow_program *program, size_t *allocated)
{
    bool last = left == NLA_ALIGN(a->nla_len);
    int type = nl_attr_type(a);
    struct megaflow_op *op;

    if (type == OVS_ACTION_ATTR_OUTPUT) {
        op = add_op(program, allocated, MEGAFLOW_OP_OUTPUT);
        op->port = nl_attr_get_odp_port(a);
    } else if (type == OVS_ACTION_ATTR_LB_OUTPUT) {
        op = add_op(program, allocated, MEGAFLOW_OP_LB_OUTPUT);
        op->id = nl_attr_get_u32(a);
    } else if (type == OVS_ACTION_ATTR_SET
               || type == OVS_ACTION_ATTR_SET_MASKED) {
        return parse_set(a, type == OVS_ACTION_ATTR_SET_MASKED, program,
                         allocated);
    } else if (type == OVS_ACTION_ATTR_PUSH_VLAN) {
        struct ovs_action_push_vlan vlan;

        if (nl_attr_get_size(a) != sizeof vlan) {
            return REASON_ACTION;
        }
        memcpy(&vlan, nl_attr_get(a), sizeof vlan);
        if (!eth_type_vlan(vlan.vlan_tpid)) {
            return REASON_ACTION;
        }
        op = add_op(program, allocated, MEGAFLOW_OP_PUSH_VLAN);
        op->vlan.tpid = vlan.vlan_tpid;
        op->vlan.tci = vlan.vlan_tci | htons(VLAN_CFI);
    } else if (type == OVS_ACTION_ATTR_POP_VLAN) {
        add_op(program, allocated, MEGAFLOW_OP_POP_VLAN);
    } else if (type == OVS_ACTION_ATTR_CT) {
        return parse_ct(a, add_op(program, allocated, MEGAFLOW_OP_CT));
    } else if (type == OVS_ACTION_ATTR_CT_CLEAR) {
        add_op(program, allocated, MEGAFLOW_OP_CT_CLEAR);
    } else if (type == OVS_ACTION_ATTR_RECIRC && last) {
        op = add_op(program, allocated, MEGAFLOW_OP_RECIRC);
        op->id = nl_attr_get_u32(a);
    } else if (type == OVS_ACTION_ATTR_DROP && last) {
        /* Only says why nothing more happens. */
    } else {
        return REASON_ACTION;
    }
    return REASON_NONE;
}

void
megaflow_program_parse(const struct nlattr *actions, size_t len,
                       struct megaflow_program *program)
{
    const struct nlattr *a;
    size_t allocated = 0;
    unsigned int left;

    memset(program, 0, sizeof *program);
    program->reason = REASON_NONE;
    NL_ATTR_FOR_EACH (a, left, actions, len) {
        enum offload_reason reason = parse_action(a, left, program,
                                                  &allocated);

        if (reason != REASON_NONE) {
            megaflow_program_destroy(program);
            program->reason = reason;
            return;
        }
    }
    if (left) {
        megaflow_program_destroy(program);
        program->reason = REASON_ACTION;
    }
}

void
megaflow_program_destroy(struct megaflow_program *program)
{
    free(program->ops);
    program->ops = NULL;
    program->n_ops = 0;
}

/* Operations are zeroed before they are filled, and filled member by member,
 * so that they can be compared as bytes. */
bool
megaflow_program_equal(const struct megaflow_program *a,
                       const struct megaflow_program *b)
{
    return (a->reason == b->reason && a->n_ops == b->n_ops
            && (!a->n_ops
                || !memcmp(a->ops, b->ops, a->n_ops * sizeof *a->ops)));
}

int
megaflow_program_first_zone(const struct megaflow_program *program)
{
    for (size_t i = 0; i < program->n_ops; i++) {
        if (program->ops[i].type == MEGAFLOW_OP_CT) {
            return program->ops[i].ct.zone;
        }
    }
    return -1;
}

bool
megaflow_program_rewrites_early(const struct megaflow_program *program)
{
    bool rewrites = false;

    for (size_t i = 0; i < program->n_ops; i++) {
        const struct megaflow_op *op = &program->ops[i];

        switch (op->type) {
        case MEGAFLOW_OP_SET:
            rewrites |= (op->set.field != NIC_FIELD_IP_TOS
                         && op->set.field != NIC_FIELD_IP_TTL
                         && op->set.field != NIC_FIELD_IPV6_LABEL);
            break;

        case MEGAFLOW_OP_PUSH_VLAN:
        case MEGAFLOW_OP_POP_VLAN:
            rewrites = true;
            break;

        case MEGAFLOW_OP_CT:
        case MEGAFLOW_OP_RECIRC:
            return rewrites;

        case MEGAFLOW_OP_OUTPUT:
        case MEGAFLOW_OP_LB_OUTPUT:
        case MEGAFLOW_OP_CT_CLEAR:
            break;

        default:
            OVS_NOT_REACHED();
        }
    }
    return false;
}
