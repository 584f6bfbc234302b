/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>
#include "flower.h"

#include <libmnl/libmnl.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <linux/rtnetlink.h>
#include <string.h>

#include "flow.h"
#include "flower-edit.h"
#include "flower-private.h"
#include "nic-match.h"
#include "packets.h"
#include "util.h"

/* Ingress of a device, with qdisc "clsact" as well as "ingress". */
#define INGRESS_PARENT TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS)

static const char *const policies[] = {
    [FLOWER_BOTH] = "none",
    [FLOWER_SKIP_SW] = "skip_sw",
    [FLOWER_SKIP_HW] = "skip_hw",
};

const char *
flower_policy_to_string(enum flower_policy policy)
{
    return policies[policy];
}

bool
flower_policy_from_string(const char *s, enum flower_policy *policy)
{
    for (size_t i = 0; i < ARRAY_SIZE(policies); i++) {
        if (!strcmp(s, policies[i])) {
            *policy = i;
            return true;
        }
    }
    return false;
}

/* Attributes. */

void
flower_put(struct flower_encoder *e, uint16_t type, const void *data,
           size_t len)
{
    if (e->nlh) {
        bool fits = mnl_attr_put_check(e->nlh, FLOWER_MAX_LEN, type, len,
                                       data);

        ovs_assert(fits);
    }
}

struct nlattr *
flower_nest(struct flower_encoder *e, uint16_t type)
{
    struct nlattr *nest = NULL;

    if (e->nlh) {
        nest = mnl_attr_nest_start_check(e->nlh, FLOWER_MAX_LEN, type);
        ovs_assert(nest);
    }
    return nest;
}

void
flower_end_nest(struct flower_encoder *e, struct nlattr *nest)
{
    if (e->nlh) {
        mnl_attr_nest_end(e->nlh, nest);
    }
}

bool
flower_parse(const void *data, size_t len, const struct nlattr *tb[],
             size_t n)
{
    const struct nlattr *attr;
    size_t left = len;

    memset(tb, 0, n * sizeof *tb);
    mnl_attr_for_each_payload(data, len) {
        uint16_t type = mnl_attr_get_type(attr);

        if (type >= n || tb[type]) {
            return false;
        }
        tb[type] = attr;
        left -= MIN(left, MNL_ALIGN(attr->nla_len));
    }
    return !left;
}

bool
flower_parse_nested(const struct nlattr *nest, const struct nlattr *tb[],
                    size_t n)
{
    return flower_parse(mnl_attr_get_payload(nest),
                        mnl_attr_get_payload_len(nest), tb, n);
}

bool
flower_get(const struct nlattr *attr, void *data, size_t len)
{
    if (!attr || mnl_attr_get_payload_len(attr) != len) {
        return false;
    }
    memcpy(data, mnl_attr_get_payload(attr), len);
    return true;
}

bool
flower_is_string(const struct nlattr *attr, const char *s)
{
    size_t size = strlen(s) + 1;

    return (attr && mnl_attr_get_payload_len(attr) == size
            && !memcmp(mnl_attr_get_payload(attr), s, size));
}

/* Rules. */

static void
add_set(struct flower_rule *rule, enum nic_field field, const void *value,
        size_t len)
{
    struct nic_action *a = &rule->actions[rule->n_actions++];

    ovs_assert(rule->n_actions <= FLOWER_MAX_ACTIONS);
    memset(a, 0, sizeof *a);
    a->type = NIC_ACTION_SET;
    a->set.field = field;
    memcpy(a->set.value, value, len);
    memset(a->set.mask, UINT8_MAX, len);
}

/* Adds the actions that set 'parts' of the tuple to those of 'tuple'. */
static void
add_set_tuple(struct flower_rule *rule, unsigned int parts,
              const struct nic_tuple *tuple)
{
    size_t len = nic_field_len(NIC_FIELD_IP_SRC, rule->match.flow.dl_type);

    if (parts & NIC_TUPLE_SRC) {
        add_set(rule, NIC_FIELD_IP_SRC, &tuple->src, len);
        add_set(rule, NIC_FIELD_TP_SRC, &tuple->tp_src, sizeof tuple->tp_src);
    }
    if (parts & NIC_TUPLE_DST) {
        add_set(rule, NIC_FIELD_IP_DST, &tuple->dst, len);
        add_set(rule, NIC_FIELD_TP_DST, &tuple->tp_dst, sizeof tuple->tp_dst);
    }
}

/* Copies what of 'src' has a meaning in packets of 'dl_type', so that all
 * other bytes are zero. */
static void
copy_action(struct nic_action *dst, const struct nic_action *src,
            ovs_be16 dl_type)
{
    size_t len;

    memset(dst, 0, sizeof *dst);
    dst->type = src->type;
    switch (src->type) {
    case NIC_ACTION_OUTPUT:
        dst->port = src->port;
        break;
    case NIC_ACTION_EGRESS:
        dst->egress = src->egress;
        break;
    case NIC_ACTION_SET:
        dst->set.field = src->set.field;
        len = nic_field_len(src->set.field, dl_type);
        for (size_t i = 0; i < len; i++) {
            dst->set.mask[i] = src->set.mask[i];
            dst->set.value[i] = src->set.value[i] & src->set.mask[i];
        }
        if (src->set.field == NIC_FIELD_VLAN_TCI) {
            /* The bit that is none of VID and PCP does not count. */
            dst->set.value[0] &= ~(VLAN_CFI >> 8);
            dst->set.mask[0] &= ~(VLAN_CFI >> 8);
        }
        break;
    case NIC_ACTION_PUSH_VLAN:
        dst->vlan.tpid = src->vlan.tpid;
        dst->vlan.tci = src->vlan.tci & ~htons(VLAN_CFI);
        break;
    case NIC_ACTION_CT:
    case NIC_ACTION_SET_TUPLE:
    case NIC_ACTION_DROP:
    case NIC_ACTION_POP_VLAN:
    case NIC_ACTION_CT_CLEAR:
    case NIC_ACTION_JUMP:
    case NIC_ACTION_DEC_TTL:
    case NIC_ACTION_WINDOW:
    default:
        break;
    }
}

const char *
flower_rule_init(struct flower_rule *rule, const struct nic_template *template,
                 const struct nic_values *values)
{
    static const struct nic_values no_values;

    values = values ? values : &no_values;
    memset(rule, 0, sizeof *rule);
    nic_rule_to_match(template, values, &rule->match);
    nic_match_canonicalize(&rule->match);
    if (template->table != NIC_TABLE_ROOT) {
        return "connection tracking stays with the software";
    }
    if (template->priority || template->in_port == NIC_PORT_ANY) {
        return "has a priority or no port of its own";
    }
    for (size_t i = 0; i < template->n_actions; i++) {
        const struct nic_action *a = &template->actions[i];

        if (a->type == NIC_ACTION_SET_TUPLE) {
            add_set_tuple(rule, a->parts, &values->rewrite);
        } else if (a->type == NIC_ACTION_CT
                   || a->type == NIC_ACTION_CT_CLEAR) {
            return "connection tracking stays with the software";
        } else if (a->type == NIC_ACTION_JUMP
                   || a->type == NIC_ACTION_DEC_TTL
                   || a->type == NIC_ACTION_WINDOW) {
            return "has an action that filters do not know";
        } else {
            copy_action(&rule->actions[rule->n_actions++], a,
                        rule->match.flow.dl_type);
        }
    }
    flower_canonicalize_actions(rule);
    return NULL;
}

bool
flower_rule_equals(const struct flower_rule *a, const struct flower_rule *b)
{
    return (match_equal(&a->match, &b->match)
            && a->n_actions == b->n_actions
            && !memcmp(a->actions, b->actions,
                       a->n_actions * sizeof *a->actions));
}

/* Messages. */

const char *
flower_rule_check(const struct flower_rule *rule)
{
    struct flower_encoder e = { .nlh = NULL };
    const char *why = flower_put_match(&e, &rule->match);

    return why ? why : flower_put_actions(&e, rule, 0);
}

static struct nlmsghdr *
put_header(void *buf, const struct flower_place *place, uint16_t type,
           uint16_t flags, uint32_t seq)
{
    struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
    struct tcmsg *tcm;

    nlh->nlmsg_type = type;
    nlh->nlmsg_flags = flags;
    nlh->nlmsg_seq = seq;
    tcm = mnl_nlmsg_put_extra_header(nlh, sizeof *tcm);
    tcm->tcm_family = AF_UNSPEC;
    tcm->tcm_ifindex = place->ifindex;
    tcm->tcm_parent = INGRESS_PARENT;
    tcm->tcm_handle = place->handle;
    tcm->tcm_info = TC_H_MAKE((uint32_t) place->prio << 16,
                              htons(place->protocol));
    mnl_attr_put_strz(nlh, TCA_KIND, "flower");
    mnl_attr_put_u32(nlh, TCA_CHAIN, place->chain);
    return nlh;
}

struct nlmsghdr *
flower_encode_place(void *buf, const struct flower_place *place,
                    uint16_t type, uint16_t flags, uint32_t seq)
{
    return put_header(buf, place, type, flags, seq);
}

struct nlmsghdr *
flower_encode(void *buf, const struct flower_info *info,
              const struct flower_rule *rule, uint16_t flags, uint32_t seq)
{
    struct flower_encoder e = {
        .nlh = put_header(buf, &info->place, RTM_NEWTFILTER, flags, seq),
    };
    struct nlattr *options;
    uint32_t cls_flags = (info->policy == FLOWER_SKIP_SW
                          ? TCA_CLS_FLAGS_SKIP_SW
                          : info->policy == FLOWER_SKIP_HW
                          ? TCA_CLS_FLAGS_SKIP_HW : 0);
    const char *why;

    options = flower_nest(&e, TCA_OPTIONS);
    flower_put(&e, TCA_FLOWER_FLAGS, &cls_flags, sizeof cls_flags);
    why = flower_put_match(&e, &rule->match);
    if (!why) {
        why = flower_put_actions(&e, rule, info->cookie);
    }
    ovs_assert(!why);
    flower_end_nest(&e, options);
    return e.nlh;
}

/* Stores in 'options' the TCA_FLOWER_* of 'nlh' and in '*place' where the
 * filter is. */
static const char *
parse_filter(const struct nlmsghdr *nlh, struct flower_place *place,
             const struct nlattr *options[TCA_FLOWER_MAX + 1])
{
    const struct nlattr *tb[TCA_MAX + 1];
    struct tcmsg tcm;

    if (nlh->nlmsg_type != RTM_NEWTFILTER
        && nlh->nlmsg_type != RTM_DELTFILTER) {
        return "not a message about a filter";
    }
    if (mnl_nlmsg_get_payload_len(nlh) < MNL_ALIGN(sizeof tcm)
        || !flower_parse(mnl_nlmsg_get_payload_offset(nlh, sizeof tcm),
                         (mnl_nlmsg_get_payload_len(nlh)
                          - MNL_ALIGN(sizeof tcm)),
                         tb, ARRAY_SIZE(tb))) {
        return "a malformed message about a filter";
    }
    memcpy(&tcm, mnl_nlmsg_get_payload(nlh), sizeof tcm);
    if (!flower_is_string(tb[TCA_KIND], "flower")) {
        return "a filter of another kind";
    }
    if (tcm.tcm_parent != INGRESS_PARENT
        && TC_H_MIN(tcm.tcm_parent) >= TC_H_MIN_PRIORITY
        && TC_H_MIN(tcm.tcm_parent) != TC_H_MIN_INGRESS) {
        return "a filter that is not in the ingress of a device";
    }
    place->ifindex = tcm.tcm_ifindex;
    place->handle = tcm.tcm_handle;
    place->prio = TC_H_MAJ(tcm.tcm_info) >> 16;
    place->protocol = ntohs((OVS_FORCE ovs_be16) TC_H_MIN(tcm.tcm_info));
    place->chain = 0;
    if (tb[TCA_CHAIN]
        && !flower_get(tb[TCA_CHAIN], &place->chain, sizeof place->chain)) {
        return "a malformed message about a filter";
    }
    if (!tb[TCA_OPTIONS]) {
        return "not a filter but the place for some";
    }
    if (!flower_parse_nested(tb[TCA_OPTIONS], options, TCA_FLOWER_MAX + 1)) {
        return "a filter with malformed or unknown options";
    }
    return NULL;
}

const char *
flower_decode_info(const struct nlmsghdr *nlh, struct flower_info *info)
{
    const struct nlattr *tb[TCA_FLOWER_MAX + 1];
    uint32_t flags;
    const char *why;

    memset(info, 0, sizeof *info);
    why = parse_filter(nlh, &info->place, tb);
    if (why) {
        return why;
    }
    if (flower_get(tb[TCA_FLOWER_FLAGS], &flags, sizeof flags)) {
        info->in_hw = (flags & TCA_CLS_FLAGS_IN_HW) != 0;
        info->policy = (flags & TCA_CLS_FLAGS_SKIP_SW ? FLOWER_SKIP_SW
                        : flags & TCA_CLS_FLAGS_SKIP_HW ? FLOWER_SKIP_HW
                        : FLOWER_BOTH);
    }
    return flower_get_action_info(tb[TCA_FLOWER_ACT], info);
}

const char *
flower_decode_rule(const struct nlmsghdr *nlh, struct flower_rule *rule)
{
    const struct nlattr *tb[TCA_FLOWER_MAX + 1];
    struct flower_place place;
    const char *why;

    memset(rule, 0, sizeof *rule);
    why = parse_filter(nlh, &place, tb);
    if (!why) {
        why = flower_get_match(tb, place.protocol, &rule->match);
    }
    return why ? why : flower_get_actions(tb[TCA_FLOWER_ACT], rule);
}
