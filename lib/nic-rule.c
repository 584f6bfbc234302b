/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>
#include "nic-rule.h"

#include <arpa/inet.h>

#include "flow.h"
#include "openvswitch/dynamic-string.h"
#include "packets.h"
#include "util.h"

const char *
nic_field_name(enum nic_field field)
{
    static const char *const names[] = {
        [NIC_FIELD_ETH_SRC] = "eth_src",
        [NIC_FIELD_ETH_DST] = "eth_dst",
        [NIC_FIELD_VLAN_TCI] = "vlan_tci",
        [NIC_FIELD_IP_SRC] = "ip_src",
        [NIC_FIELD_IP_DST] = "ip_dst",
        [NIC_FIELD_IP_TOS] = "ip_tos",
        [NIC_FIELD_IP_TTL] = "ip_ttl",
        [NIC_FIELD_IPV6_LABEL] = "ipv6_label",
        [NIC_FIELD_TP_SRC] = "tp_src",
        [NIC_FIELD_TP_DST] = "tp_dst",
    };

    return names[field];
}

size_t
nic_field_len(enum nic_field field, ovs_be16 dl_type)
{
    switch (field) {
    case NIC_FIELD_ETH_SRC:
    case NIC_FIELD_ETH_DST:
        return ETH_ADDR_LEN;
    case NIC_FIELD_VLAN_TCI:
    case NIC_FIELD_TP_SRC:
    case NIC_FIELD_TP_DST:
        return sizeof(ovs_be16);
    case NIC_FIELD_IP_SRC:
    case NIC_FIELD_IP_DST:
        return (dl_type == htons(ETH_TYPE_IPV6) ? sizeof(struct in6_addr)
                : sizeof(ovs_be32));
    case NIC_FIELD_IP_TOS:
    case NIC_FIELD_IP_TTL:
        return 1;
    case NIC_FIELD_IPV6_LABEL:
        return sizeof(ovs_be32);
    default:
        OVS_NOT_REACHED();
    }
}

/* Templates. */

static bool
field_is_known(enum nic_field field)
{
    switch (field) {
    case NIC_FIELD_ETH_SRC:
    case NIC_FIELD_ETH_DST:
    case NIC_FIELD_VLAN_TCI:
    case NIC_FIELD_IP_SRC:
    case NIC_FIELD_IP_DST:
    case NIC_FIELD_IP_TOS:
    case NIC_FIELD_IP_TTL:
    case NIC_FIELD_IPV6_LABEL:
    case NIC_FIELD_TP_SRC:
    case NIC_FIELD_TP_DST:
        return true;
    default:
        return false;
    }
}

static const char *
check_actions(enum nic_slots slots, const struct nic_action actions[],
              size_t n_actions)
{
    bool set_tuple = false;

    for (size_t i = 0; i < n_actions; i++) {
        const struct nic_action *a = &actions[i];
        bool may_end = false;
        bool ends = false;

        switch (a->type) {
        case NIC_ACTION_OUTPUT:
        case NIC_ACTION_EGRESS:
            may_end = true;
            break;
        case NIC_ACTION_DROP:
            may_end = ends = true;
            break;
        case NIC_ACTION_JUMP:
            if (a->table == NIC_TABLE_NONE) {
                return "jumps to no table";
            }
            may_end = ends = true;
            break;
        case NIC_ACTION_CT:
            may_end = ends = a->ct.table != NIC_TABLE_NONE;
            break;
        case NIC_ACTION_SET:
            if (!field_is_known(a->set.field)) {
                return "sets an unknown field";
            }
            break;
        case NIC_ACTION_SET_TUPLE:
            if (set_tuple) {
                return "sets the tuple more than once";
            }
            if (!(slots & NIC_SLOT_REWRITE)) {
                return "sets the tuple without a slot for it";
            }
            if (!a->parts || a->parts & ~(NIC_TUPLE_SRC | NIC_TUPLE_DST)) {
                return "sets unknown parts of the tuple";
            }
            set_tuple = true;
            break;
        case NIC_ACTION_PUSH_VLAN:
        case NIC_ACTION_POP_VLAN:
        case NIC_ACTION_CT_CLEAR:
        case NIC_ACTION_DEC_TTL:
        case NIC_ACTION_WINDOW:
            break;
        default:
            return "has an unknown action";
        }
        if (ends && i < n_actions - 1) {
            return "has actions after the one that ends the list";
        }
        if (!may_end && i == n_actions - 1) {
            return "ends with an action that decides nothing";
        }
    }
    return NULL;
}

const char *
nic_template_check(nic_port_id in_port, uint32_t table,
                   const struct match *match, enum nic_slots slots,
                   const struct nic_action actions[], size_t n_actions)
{
    if (in_port == NIC_PORT_NONE) {
        return "has no input port";
    }
    if (table == NIC_TABLE_NONE) {
        return "is in no table";
    }
    if (slots & ~(NIC_SLOT_TUPLE | NIC_SLOT_REWRITE)) {
        return "has unknown slots";
    }
    if (slots && (match->wc.masks.dl_type != OVS_BE16_MAX
                  || match->wc.masks.nw_proto != UINT8_MAX
                  || !is_ip_any(&match->flow))) {
        return "has slots for a tuple and does not match one IP protocol";
    }
    if (!n_actions || n_actions > NIC_MAX_ACTIONS) {
        return "has no or too many actions";
    }
    return check_actions(slots, actions, n_actions);
}

struct nic_template *
nic_template_create(nic_port_id in_port, uint32_t table,
                    const struct match *match, enum nic_slots slots,
                    const struct nic_action actions[], size_t n_actions)
{
    struct nic_template *template = xzalloc(sizeof *template);

    ovs_assert(!nic_template_check(in_port, table, match, slots, actions,
                                   n_actions));

    ovs_refcount_init(&template->refcnt);
    template->in_port = in_port;
    template->table = table;
    template->slots = slots;
    template->match = *match;
    template->n_actions = n_actions;
    memcpy(template->actions, actions, n_actions * sizeof *actions);

    if (slots & NIC_SLOT_TUPLE) {
        static const struct nic_values zeros;
        struct match m;

        nic_rule_to_match(template, &zeros, &m);
        template->match = m;
    }
    return template;
}

void
nic_template_set_priority(struct nic_template *template, uint32_t priority)
{
    template->priority = priority;
}

struct nic_template *
nic_template_ref(const struct nic_template *template_)
{
    struct nic_template *template = CONST_CAST(struct nic_template *,
                                               template_);
    ovs_refcount_ref(&template->refcnt);
    return template;
}

void
nic_template_unref(struct nic_template *template)
{
    if (template && ovs_refcount_unref(&template->refcnt) == 1) {
        unsigned int n;

        /* The fence in ovs_refcount_unref() would be enough, but
         * ThreadSanitizer does not know fences. */
        atomic_read_explicit(&template->refcnt.count, &n,
                             memory_order_acquire);
        free(template);
    }
}

void
nic_rule_to_match(const struct nic_template *template,
                  const struct nic_values *values, struct match *match)
{
    *match = template->match;
    if (template->slots & NIC_SLOT_TUPLE) {
        const struct nic_tuple *tuple = &values->tuple;

        if (match->flow.dl_type == htons(ETH_TYPE_IP)) {
            match_set_nw_src(match, tuple->src.ipv4);
            match_set_nw_dst(match, tuple->dst.ipv4);
        } else {
            match_set_ipv6_src(match, &tuple->src.ipv6);
            match_set_ipv6_dst(match, &tuple->dst.ipv6);
        }
        match_set_tp_src(match, tuple->tp_src);
        match_set_tp_dst(match, tuple->tp_dst);
    }
}

static void
format_addr(const union nic_addr *addr, ovs_be16 dl_type, ovs_be16 tp_port,
            struct ds *ds)
{
    if (dl_type == htons(ETH_TYPE_IP)) {
        ds_put_format(ds, IP_FMT":%"PRIu16, IP_ARGS(addr->ipv4),
                      ntohs(tp_port));
    } else {
        ds_put_char(ds, '[');
        ipv6_format_addr(&addr->ipv6, ds);
        ds_put_format(ds, "]:%"PRIu16, ntohs(tp_port));
    }
}

void
nic_tuple_format(const struct nic_tuple *tuple, ovs_be16 dl_type,
                 struct ds *ds)
{
    format_addr(&tuple->src, dl_type, tuple->tp_src, ds);
    ds_put_cstr(ds, "->");
    format_addr(&tuple->dst, dl_type, tuple->tp_dst, ds);
}

/* Appends the value of 'a', a NIC_ACTION_SET, and its mask if it is not
 * exact.  An IP address is told from the other family by its mask, which has
 * bits beyond the first four bytes only in IPv6; for people that will do. */
static void
format_set(const struct nic_action *a, struct ds *ds)
{
    bool ipv6 = !is_all_zeros(a->set.mask + 4, sizeof a->set.mask - 4);
    size_t len = nic_field_len(a->set.field,
                               htons(ipv6 ? ETH_TYPE_IPV6 : ETH_TYPE_IP));

    ds_put_format(ds, "set(%s=", nic_field_name(a->set.field));
    for (int part = 0; part < 2; part++) {
        const uint8_t *bytes = part ? a->set.mask : a->set.value;
        struct eth_addr mac;
        struct in6_addr ip6;
        uint32_t n = 0;

        if (part) {
            if (is_all_ones(bytes, len)) {
                break;
            }
            ds_put_char(ds, '/');
        }
        for (size_t i = 0; i < MIN(len, sizeof n); i++) {
            n = n << 8 | bytes[i];
        }
        switch (a->set.field) {
        case NIC_FIELD_ETH_SRC:
        case NIC_FIELD_ETH_DST:
            memcpy(&mac, bytes, sizeof mac);
            ds_put_format(ds, ETH_ADDR_FMT, ETH_ADDR_ARGS(mac));
            break;
        case NIC_FIELD_IP_SRC:
        case NIC_FIELD_IP_DST:
            if (ipv6) {
                memcpy(&ip6, bytes, sizeof ip6);
                ipv6_format_addr(&ip6, ds);
            } else {
                ds_put_format(ds, IP_FMT, IP_ARGS(htonl(n)));
            }
            break;
        case NIC_FIELD_TP_SRC:
        case NIC_FIELD_TP_DST:
        case NIC_FIELD_IP_TTL:
            ds_put_format(ds, part ? "%#"PRIx32 : "%"PRIu32, n);
            break;
        case NIC_FIELD_VLAN_TCI:
        case NIC_FIELD_IP_TOS:
        case NIC_FIELD_IPV6_LABEL:
            ds_put_format(ds, "%#"PRIx32, n);
            break;
        default:
            OVS_NOT_REACHED();
        }
    }
    ds_put_char(ds, ')');
}

static void
format_ct(const struct nic_action *a, struct ds *ds)
{
    ds_put_format(ds, "ct(zone=%"PRIu16, a->ct.zone);
    if (a->ct.nat) {
        ds_put_cstr(ds, ",nat");
    }
    if (a->ct.orig_only) {
        ds_put_cstr(ds, ",orig_only");
    }
    if (a->ct.mark_mask) {
        ds_put_format(ds, ",mark=%#"PRIx32"/%#"PRIx32, a->ct.mark,
                      a->ct.mark_mask);
    }
    if (!ovs_u128_is_zero(a->ct.label_mask)) {
        ovs_be128 label = hton128(a->ct.label);
        ovs_be128 mask = hton128(a->ct.label_mask);

        ds_put_cstr(ds, ",label=");
        ds_put_hex(ds, &label, sizeof label);
        ds_put_char(ds, '/');
        ds_put_hex(ds, &mask, sizeof mask);
    }
    if (a->ct.table != NIC_TABLE_NONE) {
        ds_put_format(ds, ",table=%#"PRIx32, a->ct.table);
    }
    ds_put_char(ds, ')');
}

void
nic_parts_format(unsigned int parts, struct ds *ds)
{
    ds_put_cstr(ds, (parts == (NIC_TUPLE_SRC | NIC_TUPLE_DST) ? "src,dst"
                     : parts == NIC_TUPLE_SRC ? "src"
                     : parts == NIC_TUPLE_DST ? "dst"
                     : "none"));
}

void
nic_actions_format(const struct nic_action actions[], size_t n_actions,
                   struct ds *ds)
{
    for (size_t i = 0; i < n_actions; i++) {
        const struct nic_action *a = &actions[i];

        if (i) {
            ds_put_char(ds, ',');
        }
        switch (a->type) {
        case NIC_ACTION_OUTPUT:
            ds_put_format(ds, "output(%"PRIu32")", a->port);
            break;
        case NIC_ACTION_EGRESS:
            ds_put_format(ds, "egress(%#"PRIx64")", a->egress);
            break;
        case NIC_ACTION_DROP:
            ds_put_cstr(ds, "drop");
            break;
        case NIC_ACTION_CT:
            format_ct(a, ds);
            break;
        case NIC_ACTION_SET:
            format_set(a, ds);
            break;
        case NIC_ACTION_SET_TUPLE:
            ds_put_cstr(ds, "set_tuple(");
            nic_parts_format(a->parts, ds);
            ds_put_char(ds, ')');
            break;
        case NIC_ACTION_PUSH_VLAN:
            ds_put_format(ds, "push_vlan(tpid=%#"PRIx16",vid=%d,pcp=%d)",
                          ntohs(a->vlan.tpid), vlan_tci_to_vid(a->vlan.tci),
                          vlan_tci_to_pcp(a->vlan.tci));
            break;
        case NIC_ACTION_POP_VLAN:
            ds_put_cstr(ds, "pop_vlan");
            break;
        case NIC_ACTION_CT_CLEAR:
            ds_put_cstr(ds, "ct_clear");
            break;
        case NIC_ACTION_JUMP:
            ds_put_format(ds, "jump(%#"PRIx32")", a->table);
            break;
        case NIC_ACTION_DEC_TTL:
            ds_put_cstr(ds, "dec_ttl");
            break;
        case NIC_ACTION_WINDOW:
            ds_put_format(ds, "window(%s)",
                          a->window.reply ? "reply" : "original");
            break;
        default:
            OVS_NOT_REACHED();
        }
    }
}

void
nic_rule_format(const struct nic_template *template,
                const struct nic_values *values, struct ds *ds)
{
    struct match match;

    nic_rule_to_match(template, values, &match);
    if (template->in_port == NIC_PORT_ANY) {
        ds_put_cstr(ds, "port=any");
    } else {
        ds_put_format(ds, "port=%"PRIu32, template->in_port);
    }
    ds_put_format(ds, ",table=%#"PRIx32",", template->table);
    if (template->priority) {
        ds_put_format(ds, "priority=%"PRIu32",", template->priority);
    }
    match_format(&match, NULL, ds, OFP_DEFAULT_PRIORITY);
    ds_put_cstr(ds, " actions=");
    nic_actions_format(template->actions, template->n_actions, ds);
    if (template->slots & NIC_SLOT_REWRITE) {
        ds_put_cstr(ds, " rewrite=");
        nic_tuple_format(&values->rewrite, template->match.flow.dl_type, ds);
    }
}
