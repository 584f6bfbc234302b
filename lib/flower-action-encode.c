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
#include "unaligned.h"
#include "util.h"

const char flower_mark[8] = "ovs-hoff";

/* Chains are in the lower bits of an action's result. */
#define MAX_CHAIN TC_ACT_EXT_VAL_MASK

/* Actions in the making. */
struct action_encoder {
    struct flower_encoder *e;
    size_t n;                       /* So far. */
    uint64_t cookie;
};

/* Begins an action of 'kind'. */
static void
begin_action(struct action_encoder *ae, const char *kind,
             struct nlattr *nests[2])
{
    ae->n++;
    nests[0] = flower_nest(ae->e, ae->n);
    flower_put(ae->e, TCA_ACT_KIND, kind, strlen(kind) + 1);
    if (ae->n == 1) {
        uint8_t cookie[sizeof flower_mark + sizeof ae->cookie];

        memcpy(cookie, flower_mark, sizeof flower_mark);
        memcpy(cookie + sizeof flower_mark, &ae->cookie, sizeof ae->cookie);
        flower_put(ae->e, TCA_ACT_COOKIE, cookie, sizeof cookie);
    }
    nests[1] = flower_nest(ae->e, TCA_ACT_OPTIONS);
}

static void
end_action(struct action_encoder *ae, struct nlattr *nests[2])
{
    flower_end_nest(ae->e, nests[1]);
    flower_end_nest(ae->e, nests[0]);
}

static void
put_simple_action(struct action_encoder *ae, const char *kind, uint16_t attr,
                  const void *parms, size_t len)
{
    struct nlattr *nests[2];

    begin_action(ae, kind, nests);
    flower_put(ae->e, attr, parms, len);
    end_action(ae, nests);
}

static void
put_gact(struct action_encoder *ae, int action)
{
    struct tc_gact parms = { .action = action };

    put_simple_action(ae, "gact", TCA_GACT_PARMS, &parms, sizeof parms);
}

static void
put_mirred(struct action_encoder *ae, int ifindex, bool last)
{
    struct tc_mirred parms = {
        .action = last ? TC_ACT_STOLEN : TC_ACT_PIPE,
        .eaction = last ? TCA_EGRESS_REDIR : TCA_EGRESS_MIRROR,
        .ifindex = ifindex,
    };

    put_simple_action(ae, "mirred", TCA_MIRRED_PARMS, &parms, sizeof parms);
}

static void
put_csum(struct action_encoder *ae, uint32_t flags)
{
    struct tc_csum parms = { .action = TC_ACT_PIPE, .update_flags = flags };

    put_simple_action(ae, "csum", TCA_CSUM_PARMS, &parms, sizeof parms);
}

/* Puts act_vlan.  'tci_mask' says which parts of 'tci' are given. */
static void
put_vlan(struct action_encoder *ae, int v_action, ovs_be16 tpid, ovs_be16 tci,
         ovs_be16 tci_mask)
{
    struct tc_vlan parms = { .action = TC_ACT_PIPE, .v_action = v_action };
    struct nlattr *nests[2];

    begin_action(ae, "vlan", nests);
    flower_put(ae->e, TCA_VLAN_PARMS, &parms, sizeof parms);
    if (tci_mask & htons(VLAN_VID_MASK)) {
        uint16_t vid = vlan_tci_to_vid(tci);

        flower_put(ae->e, TCA_VLAN_PUSH_VLAN_ID, &vid, sizeof vid);
        flower_put(ae->e, TCA_VLAN_PUSH_VLAN_PROTOCOL, &tpid, sizeof tpid);
    }
    if (tci_mask & htons(VLAN_PCP_MASK)) {
        uint8_t pcp = vlan_tci_to_pcp(tci);

        flower_put(ae->e, TCA_VLAN_PUSH_VLAN_PRIORITY, &pcp, sizeof pcp);
    }
    end_action(ae, nests);
}

static void
put_pedit(struct action_encoder *ae, const struct flower_edit *edit)
{
    struct {
        struct tc_pedit_sel sel;
        struct tc_pedit_key keys[FLOWER_N_HEADERS * FLOWER_MAX_HEADER_LEN / 4];
    } parms;
    uint16_t htypes[ARRAY_SIZE(parms.keys)];
    struct nlattr *nests[2], *nest;
    size_t n = 0;

    memset(&parms, 0, sizeof parms);
    for (size_t h = 0; h < FLOWER_N_HEADERS; h++) {
        for (size_t ofs = 0; ofs < flower_headers[h].len; ofs += 4) {
            struct tc_pedit_key *key = &parms.keys[n];

            if (is_all_zeros(&edit->mask[h][ofs], 4)) {
                continue;
            }
            memcpy(&key->mask, &edit->mask[h][ofs], 4);
            memcpy(&key->val, &edit->value[h][ofs], 4);
            key->mask = ~key->mask;     /* Bits that stay. */
            key->off = ofs;
            htypes[n++] = flower_headers[h].htype;
        }
    }
    parms.sel.action = TC_ACT_PIPE;
    parms.sel.nkeys = n;

    begin_action(ae, "pedit", nests);
    flower_put(ae->e, TCA_PEDIT_PARMS_EX, &parms,
               offsetof(struct tc_pedit_sel, keys) + n * sizeof *parms.keys);
    nest = flower_nest(ae->e, TCA_PEDIT_KEYS_EX);
    for (size_t i = 0; i < n; i++) {
        uint16_t cmd = TCA_PEDIT_KEY_EX_CMD_SET;
        struct nlattr *key_nest = flower_nest(ae->e, TCA_PEDIT_KEY_EX);

        flower_put(ae->e, TCA_PEDIT_KEY_EX_HTYPE, &htypes[i],
                   sizeof htypes[i]);
        flower_put(ae->e, TCA_PEDIT_KEY_EX_CMD, &cmd, sizeof cmd);
        flower_end_nest(ae->e, key_nest);
    }
    flower_end_nest(ae->e, nest);
    end_action(ae, nests);
}

/* Puts the edits that begin at 'a' and stores their number in '*np'. */
static const char *
put_edits(struct action_encoder *ae, const struct flower_context *ctx,
          const struct nic_action *a, size_t left, size_t *np)
{
    struct flower_edit edit;
    const char *why;
    uint32_t csums;
    size_t n;

    memset(&edit, 0, sizeof edit);
    for (n = 0; n < left && flower_is_edit(&a[n]); n++) {
        why = flower_edit_add(&edit, ctx, &a[n]);
        if (why) {
            return why;
        }
    }
    *np = n;
    why = flower_needed_csums(ctx, a, n, &csums);
    if (why) {
        return why;
    }
    put_pedit(ae, &edit);
    if (csums) {
        put_csum(ae, csums);
    }
    return NULL;
}

static const char *
put_vlan_action(struct action_encoder *ae, struct flower_context *ctx,
                const struct nic_action *a)
{
    ovs_be16 all = htons(VLAN_VID_MASK | VLAN_PCP_MASK);

    if (ctx->n_tags < 0) {
        return "changes VLAN tags of packets that may have any number of them";
    }
    if (a->type == NIC_ACTION_PUSH_VLAN) {
        if (!eth_type_vlan(a->vlan.tpid)) {
            return "pushes a tag that is not a VLAN tag";
        }
        put_vlan(ae, TCA_VLAN_ACT_PUSH, a->vlan.tpid, a->vlan.tci, all);
        ctx->tpids[ctx->n_tags++] = a->vlan.tpid;
        return NULL;
    }
    if (!ctx->n_tags) {
        return "changes the VLAN tag of packets that have none";
    }
    if (a->type == NIC_ACTION_POP_VLAN) {
        put_vlan(ae, TCA_VLAN_ACT_POP, 0, 0, 0);
        ctx->n_tags--;
    } else {
        ovs_be16 tci = get_unaligned_be16(ALIGNED_CAST(const ovs_be16 *,
                                                       a->set.value));
        ovs_be16 mask = get_unaligned_be16(ALIGNED_CAST(const ovs_be16 *,
                                                        a->set.mask));

        mask &= all;
        if (mask != all && mask != htons(VLAN_VID_MASK)) {
            return "the kernel cannot set part of a VLAN tag";
        }
        put_vlan(ae, TCA_VLAN_ACT_MODIFY, ctx->tpids[ctx->n_tags - 1], tci,
                 mask);
    }
    return NULL;
}

const char *
flower_put_actions(struct flower_encoder *e, const struct flower_rule *rule,
                   uint64_t cookie)
{
    struct action_encoder ae = { .e = e, .cookie = cookie };
    const char *why = NULL;
    struct nlattr *nest;
    struct flower_context ctx;

    flower_context_init(&ctx, &rule->match);
    nest = flower_nest(e, TCA_FLOWER_ACT);
    for (size_t i = 0; !why && i < rule->n_actions; i++) {
        const struct nic_action *a = &rule->actions[i];
        bool last = i == rule->n_actions - 1;
        size_t n;

        switch (a->type) {
        case NIC_ACTION_OUTPUT:
            put_mirred(&ae, a->port, last);
            break;

        case NIC_ACTION_EGRESS:
            why = (!last ? "an egress object is where the kernel ends"
                   : a->egress > MAX_CHAIN ? "there is no such chain" : NULL);
            put_gact(&ae, TC_ACT_GOTO_CHAIN | a->egress);
            break;

        case NIC_ACTION_DROP:
            put_gact(&ae, TC_ACT_SHOT);
            break;

        case NIC_ACTION_SET:
            if (flower_is_edit(a)) {
                why = put_edits(&ae, &ctx, a, rule->n_actions - i, &n);
                i += why ? 0 : n - 1;
            } else {
                why = put_vlan_action(&ae, &ctx, a);
            }
            break;

        case NIC_ACTION_PUSH_VLAN:
        case NIC_ACTION_POP_VLAN:
            why = put_vlan_action(&ae, &ctx, a);
            break;

        case NIC_ACTION_CT:
        case NIC_ACTION_CT_CLEAR:
            why = "connection tracking stays with the software";
            break;

        case NIC_ACTION_SET_TUPLE:
        case NIC_ACTION_JUMP:
        case NIC_ACTION_DEC_TTL:
        case NIC_ACTION_WINDOW:
        default:
            OVS_NOT_REACHED();
        }
        if (!why && ae.n > TCA_ACT_MAX_PRIO) {
            why = "the kernel does not execute so many actions";
        }
    }
    flower_end_nest(e, nest);
    return why;
}
