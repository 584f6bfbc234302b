/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>
#include "flower-private.h"

#include <libmnl/libmnl.h>
#include <linux/pkt_cls.h>
#include <linux/tc_act/tc_csum.h>
#include <linux/tc_act/tc_gact.h>
#include <linux/tc_act/tc_mirred.h>
#include <linux/tc_act/tc_pedit.h>
#include <linux/tc_act/tc_vlan.h>
#include <string.h>

#include "flow.h"
#include "flower-edit.h"
#include "packets.h"
#include "util.h"

/* One action as it came. */
struct raw_action {
    const struct nlattr *kind;
    const struct nlattr *options;
};

static const char malformed[] = "the actions of the filter are malformed";
static const char unknown[] = "the filter has an action that no rule has";

static bool
get_raw_action(const struct nlattr *attr, struct raw_action *raw)
{
    const struct nlattr *tb[TCA_ACT_MAX + 1];

    if (!flower_parse_nested(attr, tb, ARRAY_SIZE(tb))
        || !tb[TCA_ACT_KIND] || !tb[TCA_ACT_OPTIONS]) {
        return false;
    }
    raw->kind = tb[TCA_ACT_KIND];
    raw->options = tb[TCA_ACT_OPTIONS];
    return true;
}

static struct nic_action *
add_action(struct flower_rule *rule, enum nic_action_type type)
{
    struct nic_action *a;

    if (rule->n_actions == FLOWER_MAX_ACTIONS) {
        return NULL;
    }
    a = &rule->actions[rule->n_actions++];
    memset(a, 0, sizeof *a);
    a->type = type;
    return a;
}

static const char *
get_gact(const struct nlattr *options, struct flower_rule *rule)
{
    const struct nlattr *tb[TCA_GACT_MAX + 1];
    struct nic_action *a;
    struct tc_gact parms;

    if (!flower_parse_nested(options, tb, ARRAY_SIZE(tb))
        || !flower_get(tb[TCA_GACT_PARMS], &parms, sizeof parms)) {
        return malformed;
    }
    if (tb[TCA_GACT_PROB]) {
        return unknown;
    }
    if (parms.action == TC_ACT_SHOT) {
        a = add_action(rule, NIC_ACTION_DROP);
    } else if (TC_ACT_EXT_CMP(parms.action, TC_ACT_GOTO_CHAIN)) {
        a = add_action(rule, NIC_ACTION_EGRESS);
        if (a) {
            a->egress = parms.action & TC_ACT_EXT_VAL_MASK;
        }
    } else {
        return unknown;
    }
    return a ? NULL : malformed;
}

static const char *
get_mirred(const struct nlattr *options, bool last, struct flower_rule *rule)
{
    const struct nlattr *tb[TCA_MIRRED_MAX + 1];
    struct tc_mirred parms;
    struct nic_action *a;

    if (!flower_parse_nested(options, tb, ARRAY_SIZE(tb))
        || !flower_get(tb[TCA_MIRRED_PARMS], &parms, sizeof parms)) {
        return malformed;
    }
    if (parms.eaction != (last ? TCA_EGRESS_REDIR : TCA_EGRESS_MIRROR)
        || parms.action != (last ? TC_ACT_STOLEN : TC_ACT_PIPE)
        || !parms.ifindex) {
        return unknown;
    }
    a = add_action(rule, NIC_ACTION_OUTPUT);
    if (!a) {
        return malformed;
    }
    a->port = parms.ifindex;
    return NULL;
}

static const char *
get_vlan(const struct nlattr *options, struct flower_context *ctx,
         struct flower_rule *rule)
{
    const struct nlattr *tb[TCA_VLAN_MAX + 1];
    ovs_be16 tci = 0, tci_mask = 0;
    struct nic_action *a;
    struct tc_vlan parms;
    ovs_be16 tpid = 0;

    if (!flower_parse_nested(options, tb, ARRAY_SIZE(tb))
        || !flower_get(tb[TCA_VLAN_PARMS], &parms, sizeof parms)
        || parms.action != TC_ACT_PIPE || ctx->n_tags < 0) {
        return malformed;
    }
    if (tb[TCA_VLAN_PUSH_VLAN_ID]) {
        uint16_t vid;

        if (!flower_get(tb[TCA_VLAN_PUSH_VLAN_ID], &vid, sizeof vid)
            || vid > VLAN_VID_MASK) {
            return malformed;
        }
        tci = htons(vid);
        tci_mask = htons(VLAN_VID_MASK);
    }
    if (tb[TCA_VLAN_PUSH_VLAN_PRIORITY]) {
        uint8_t pcp;

        if (!flower_get(tb[TCA_VLAN_PUSH_VLAN_PRIORITY], &pcp, sizeof pcp)
            || pcp > 7) {
            return malformed;
        }
        tci |= htons(pcp << VLAN_PCP_SHIFT);
        tci_mask |= htons(VLAN_PCP_MASK);
    }
    if (tb[TCA_VLAN_PUSH_VLAN_PROTOCOL]
        && (!flower_get(tb[TCA_VLAN_PUSH_VLAN_PROTOCOL], &tpid, sizeof tpid)
            || !eth_type_vlan(tpid))) {
        return malformed;
    }

    switch (parms.v_action) {
    case TCA_VLAN_ACT_POP:
        if (!ctx->n_tags) {
            return malformed;
        }
        ctx->n_tags--;
        a = add_action(rule, NIC_ACTION_POP_VLAN);
        return a ? NULL : malformed;

    case TCA_VLAN_ACT_PUSH:
        if (!(tci_mask & htons(VLAN_VID_MASK)) || !tpid) {
            return malformed;
        }
        a = add_action(rule, NIC_ACTION_PUSH_VLAN);
        if (!a || ctx->n_tags == ARRAY_SIZE(ctx->tpids)) {
            return malformed;
        }
        a->vlan.tpid = tpid;
        a->vlan.tci = tci;
        ctx->tpids[ctx->n_tags++] = tpid;
        return NULL;

    case TCA_VLAN_ACT_MODIFY:
        if (!(tci_mask & htons(VLAN_VID_MASK)) || !ctx->n_tags
            || tpid != ctx->tpids[ctx->n_tags - 1]) {
            return unknown;
        }
        a = add_action(rule, NIC_ACTION_SET);
        if (!a) {
            return malformed;
        }
        a->set.field = NIC_FIELD_VLAN_TCI;
        memcpy(a->set.value, &tci, sizeof tci);
        memcpy(a->set.mask, &tci_mask, sizeof tci_mask);
        return NULL;

    default:
        return unknown;
    }
}

/* Stores in '*edit' what the act_pedit with 'options' sets. */
static const char *
get_pedit_keys(const struct nlattr *options, struct flower_edit *edit)
{
    const struct nlattr *tb[TCA_PEDIT_MAX + 1];
    const struct nlattr *attr;
    struct tc_pedit_sel sel;
    const uint8_t *keys;
    size_t len, n = 0;

    memset(edit, 0, sizeof *edit);
    if (!flower_parse_nested(options, tb, ARRAY_SIZE(tb))
        || !tb[TCA_PEDIT_PARMS_EX] || !tb[TCA_PEDIT_KEYS_EX]) {
        return malformed;
    }
    len = mnl_attr_get_payload_len(tb[TCA_PEDIT_PARMS_EX]);
    if (len < offsetof(struct tc_pedit_sel, keys)) {
        return malformed;
    }
    memset(&sel, 0, sizeof sel);
    memcpy(&sel, mnl_attr_get_payload(tb[TCA_PEDIT_PARMS_EX]),
           offsetof(struct tc_pedit_sel, keys));
    if (len - offsetof(struct tc_pedit_sel, keys)
        != sel.nkeys * sizeof(struct tc_pedit_key)) {
        return malformed;
    }
    if (sel.action != TC_ACT_PIPE) {
        return unknown;
    }
    keys = ((const uint8_t *) mnl_attr_get_payload(tb[TCA_PEDIT_PARMS_EX])
            + offsetof(struct tc_pedit_sel, keys));

    mnl_attr_for_each_nested(attr, tb[TCA_PEDIT_KEYS_EX]) {
        const struct nlattr *ex[TCA_PEDIT_KEY_EX_MAX + 1];
        struct tc_pedit_key key;
        uint16_t htype, cmd;
        enum flower_header h;

        if (n == sel.nkeys || mnl_attr_get_type(attr) != TCA_PEDIT_KEY_EX
            || !flower_parse_nested(attr, ex, ARRAY_SIZE(ex))
            || !flower_get(ex[TCA_PEDIT_KEY_EX_HTYPE], &htype, sizeof htype)
            || !flower_get(ex[TCA_PEDIT_KEY_EX_CMD], &cmd, sizeof cmd)) {
            return malformed;
        }
        memcpy(&key, keys + n * sizeof key, sizeof key);
        n++;
        h = 0;
        while (h < FLOWER_N_HEADERS && flower_headers[h].htype != htype) {
            h++;
        }
        if (h == FLOWER_N_HEADERS || cmd != TCA_PEDIT_KEY_EX_CMD_SET
            || key.off % 4 || key.off >= flower_headers[h].len
            || key.offmask || key.val & key.mask) {
            return unknown;
        }
        key.mask = ~key.mask;
        if (!is_all_zeros(&edit->mask[h][key.off], 4)) {
            return unknown;
        }
        memcpy(&edit->mask[h][key.off], &key.mask, 4);
        memcpy(&edit->value[h][key.off], &key.val, 4);
    }
    return n == sel.nkeys ? NULL : malformed;
}

/* Decodes an act_pedit.  Stores in '*csums' the checksums that the next action
 * has to update. */
static const char *
get_pedit(const struct nlattr *options, const struct flower_context *ctx,
          struct flower_rule *rule, uint32_t *csums)
{
    size_t first = rule->n_actions;
    struct flower_edit edit;
    const char *why;

    why = get_pedit_keys(options, &edit);
    if (why) {
        return why;
    }
    for (enum nic_field field = 0; field < FLOWER_N_FIELDS; field++) {
        struct nic_action a;

        if (field != NIC_FIELD_VLAN_TCI
            && flower_edit_take(&edit, ctx, field, &a)) {
            struct nic_action *new = add_action(rule, a.type);

            if (!new) {
                return malformed;
            }
            *new = a;
        }
    }

    /* Two in a row would not be what was encoded. */
    if (!is_all_zeros(&edit.mask, sizeof edit.mask)
        || first == rule->n_actions
        || (first && flower_is_edit(&rule->actions[first - 1]))) {
        return unknown;
    }
    return flower_needed_csums(ctx, &rule->actions[first],
                               rule->n_actions - first, csums);
}

static const char *
get_csum(const struct nlattr *options, uint32_t *csums)
{
    const struct nlattr *tb[TCA_CSUM_MAX + 1];
    struct tc_csum parms;

    if (!flower_parse_nested(options, tb, ARRAY_SIZE(tb))
        || !flower_get(tb[TCA_CSUM_PARMS], &parms, sizeof parms)) {
        return malformed;
    }
    if (parms.action != TC_ACT_PIPE || !*csums
        || parms.update_flags != *csums) {
        return unknown;
    }
    *csums = 0;
    return NULL;
}

/* Parses the list of actions.  Stores them in 'raws', which has
 * TCA_ACT_MAX_PRIO elements, and their number in '*np'. */
static bool
get_raw_actions(const struct nlattr *nest, struct raw_action raws[],
                size_t *np)
{
    const struct nlattr *tb[TCA_ACT_MAX_PRIO + 1];
    size_t n = 0;

    if (!nest || !flower_parse_nested(nest, tb, ARRAY_SIZE(tb)) || tb[0]) {
        return false;
    }
    while (n < TCA_ACT_MAX_PRIO && tb[n + 1]) {
        if (!get_raw_action(tb[n + 1], &raws[n])) {
            return false;
        }
        n++;
    }
    for (size_t i = n + 1; i <= TCA_ACT_MAX_PRIO; i++) {
        if (tb[i]) {
            return false;
        }
    }
    *np = n;
    return n > 0;
}

const char *
flower_get_actions(const struct nlattr *nest, struct flower_rule *rule)
{
    struct raw_action raws[TCA_ACT_MAX_PRIO];
    struct flower_context ctx;
    uint32_t csums = 0;
    size_t n;

    memset(rule->actions, 0, sizeof rule->actions);
    rule->n_actions = 0;
    flower_context_init(&ctx, &rule->match);
    if (!get_raw_actions(nest, raws, &n)) {
        return malformed;
    }
    for (size_t i = 0; i < n; i++) {
        const struct nlattr *options = raws[i].options;
        const struct nlattr *kind = raws[i].kind;
        bool last = i == n - 1;
        const char *why;

        if (csums && !flower_is_string(kind, "csum")) {
            return unknown;
        } else if (flower_is_string(kind, "csum")) {
            why = get_csum(options, &csums);
        } else if (flower_is_string(kind, "gact")) {
            why = last ? get_gact(options, rule) : unknown;
        } else if (flower_is_string(kind, "mirred")) {
            why = get_mirred(options, last, rule);
        } else if (flower_is_string(kind, "vlan")) {
            why = get_vlan(options, &ctx, rule);
        } else if (flower_is_string(kind, "pedit")) {
            why = get_pedit(options, &ctx, rule, &csums);
        } else {
            why = unknown;
        }
        if (why) {
            return why;
        }
    }

    /* The last one must end it. */
    switch (rule->actions[rule->n_actions - 1].type) {
    case NIC_ACTION_OUTPUT:
    case NIC_ACTION_EGRESS:
    case NIC_ACTION_DROP:
        return csums ? unknown : NULL;
    case NIC_ACTION_CT:
    case NIC_ACTION_SET:
    case NIC_ACTION_SET_TUPLE:
    case NIC_ACTION_PUSH_VLAN:
    case NIC_ACTION_POP_VLAN:
    case NIC_ACTION_CT_CLEAR:
    case NIC_ACTION_JUMP:
    case NIC_ACTION_DEC_TTL:
    case NIC_ACTION_WINDOW:
    default:
        return unknown;
    }
}
