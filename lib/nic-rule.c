/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>
#include "nic-rule.h"

#include <arpa/inet.h>

#include "openvswitch/dynamic-string.h"
#include "packets.h"
#include "util.h"

struct nic_template *
nic_template_create(nic_port_id in_port, uint32_t table,
                    const struct match *match, enum nic_slots slots,
                    const struct nic_action actions[], size_t n_actions)
{
    struct nic_template *template = xzalloc(sizeof *template);

    ovs_assert(in_port != NIC_PORT_NONE);
    ovs_assert(n_actions >= 1 && n_actions <= NIC_MAX_ACTIONS);

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

        ovs_assert(match->wc.masks.dl_type == OVS_BE16_MAX);
        ovs_assert(match->wc.masks.nw_proto == UINT8_MAX);
        nic_rule_to_match(template, &zeros, &m);
        template->match = m;
    }
    return template;
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
            ds_put_format(ds, "ct(zone=%"PRIu16",table=%#"PRIx32")",
                          a->ct.zone, a->ct.table);
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
    ds_put_format(ds, "port=%"PRIu32",table=%#"PRIx32",", template->in_port,
                  template->table);
    match_format(&match, NULL, ds, OFP_DEFAULT_PRIORITY);
    ds_put_cstr(ds, " actions=");
    nic_actions_format(template->actions, template->n_actions, ds);
}
