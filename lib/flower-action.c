/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>
#include "flower-private.h"

#include <libmnl/libmnl.h>
#include <linux/gen_stats.h>
#include <linux/pkt_cls.h>
#include <linux/tc_act/tc_csum.h>
#include <linux/tc_act/tc_gact.h>
#include <linux/tc_act/tc_mirred.h>
#include <linux/tc_act/tc_pedit.h>
#include <linux/tc_act/tc_vlan.h>
#include <netinet/in.h>
#include <string.h>

#include "flow.h"
#include "packets.h"
#include "unaligned.h"
#include "util.h"

/* Marks an action, and with it its filter, as ours.  The rest of the kernel's
 * 16 bytes is the caller's cookie. */
static const char mark[8] = "ovs-hoff";

/* tc's words for time are in units of 1/100 s. */
#define MS_PER_CLOCK 10

/* Chains are in the lower bits of an action's result. */
#define MAX_CHAIN TC_ACT_EXT_VAL_MASK

/* Fields of packets that act_pedit sets, in the order of 'enum nic_field'. */
#define N_FIELDS (NIC_FIELD_TP_DST + 1)

/* Headers. */

enum header {
    HEADER_ETH,
    HEADER_IPV4,
    HEADER_IPV6,
    HEADER_TCP,
    HEADER_UDP,
    N_HEADERS
};

/* What of each header can be changed, and what the kernel calls it. */
#define MAX_HEADER_LEN 40
static const struct {
    uint16_t htype;
    size_t len;                     /* A multiple of 4. */
} headers[N_HEADERS] = {
    [HEADER_ETH] = { TCA_PEDIT_KEY_EX_HDR_TYPE_ETH, 12 },
    [HEADER_IPV4] = { TCA_PEDIT_KEY_EX_HDR_TYPE_IP4, 20 },
    [HEADER_IPV6] = { TCA_PEDIT_KEY_EX_HDR_TYPE_IP6, 40 },
    [HEADER_TCP] = { TCA_PEDIT_KEY_EX_HDR_TYPE_TCP, 4 },
    [HEADER_UDP] = { TCA_PEDIT_KEY_EX_HDR_TYPE_UDP, 4 },
};

/* What is set in headers: bits that are 1 in 'mask', to those of 'value'. */
struct edit {
    uint8_t value[N_HEADERS][MAX_HEADER_LEN];
    uint8_t mask[N_HEADERS][MAX_HEADER_LEN];
};

/* What a rule's match says of packets that actions want to change. */
struct context {
    ovs_be16 dl_type;               /* 0 if not known. */
    int nw_proto;                   /* -1 if not known. */
    bool no_frag;                   /* Certainly no fragments. */

    /* Tags, outermost last, as they are when the action is executed. */
    int n_tags;                     /* -1 if not known. */
    ovs_be16 tpids[FLOW_MAX_VLAN_HEADERS + NIC_MAX_ACTIONS];
};

static void
context_init(struct context *ctx, const struct match *match)
{
    ovs_be16 tpids[FLOW_MAX_VLAN_HEADERS];

    memset(ctx, 0, sizeof *ctx);
    ctx->dl_type = (match->wc.masks.dl_type == OVS_BE16_MAX
                    ? match->flow.dl_type : 0);
    ctx->nw_proto = (match->wc.masks.nw_proto == UINT8_MAX
                     ? match->flow.nw_proto : -1);
    ctx->no_frag = (match->wc.masks.nw_frag & FLOW_NW_FRAG_ANY
                    && !(match->flow.nw_frag & FLOW_NW_FRAG_ANY));
    ctx->n_tags = flower_match_tags(match, tpids);
    for (int i = 0; i < ctx->n_tags; i++) {
        ctx->tpids[i] = tpids[ctx->n_tags - 1 - i];
    }
}

static bool
is_vlan_set(const struct nic_action *a)
{
    return a->type == NIC_ACTION_SET && a->set.field == NIC_FIELD_VLAN_TCI;
}

/* Returns true if 'a' is for act_pedit. */
static bool
is_edit(const struct nic_action *a)
{
    return a->type == NIC_ACTION_SET && !is_vlan_set(a);
}

/* Where 'field' is in a header: its bytes begin at '*ofs' and, in IPv6, half a
 * byte later if '*half'. */
static const char *
find_field(const struct context *ctx, enum nic_field field,
           enum header *header, size_t *ofs, bool *half)
{
    bool ipv4 = ctx->dl_type == htons(ETH_TYPE_IP);
    bool ipv6 = ctx->dl_type == htons(ETH_TYPE_IPV6);

    *half = false;
    if (field == NIC_FIELD_ETH_DST || field == NIC_FIELD_ETH_SRC) {
        *header = HEADER_ETH;
        *ofs = field == NIC_FIELD_ETH_DST ? 0 : 6;
        return NULL;
    }
    if (!ipv4 && !ipv6) {
        return "sets a field of IP in packets that may not be IP";
    }
    if (ctx->n_tags > 1) {
        return ("the kernel does not find the IP header below more than one "
                "VLAN tag");
    }
    *header = ipv4 ? HEADER_IPV4 : HEADER_IPV6;
    switch (field) {
    case NIC_FIELD_IP_SRC:
        *ofs = ipv4 ? 12 : 8;
        return NULL;
    case NIC_FIELD_IP_DST:
        *ofs = ipv4 ? 16 : 24;
        return NULL;
    case NIC_FIELD_IP_TOS:
        *ofs = ipv4 ? 1 : 0;
        *half = ipv6;
        return NULL;
    case NIC_FIELD_IP_TTL:
        *ofs = ipv4 ? 8 : 7;
        return NULL;
    case NIC_FIELD_IPV6_LABEL:
        *ofs = 0;
        return ipv6 ? NULL : "sets the flow label of packets that are not "
                             "IPv6";
    case NIC_FIELD_TP_SRC:
    case NIC_FIELD_TP_DST:
        *ofs = field == NIC_FIELD_TP_SRC ? 0 : 2;
        *header = ctx->nw_proto == IPPROTO_TCP ? HEADER_TCP : HEADER_UDP;
        return (ctx->nw_proto == IPPROTO_TCP || ctx->nw_proto == IPPROTO_UDP
                ? NULL
                : "sets ports of packets that may be neither TCP nor UDP");
    case NIC_FIELD_ETH_SRC:
    case NIC_FIELD_ETH_DST:
    case NIC_FIELD_VLAN_TCI:
    default:
        OVS_NOT_REACHED();
    }
}

/* Copies 'len' bytes from 'src' to 'dst', where they begin half a byte after
 * its begin if 'half'. */
static void
put_bytes(uint8_t *dst, const uint8_t *src, size_t len, bool half)
{
    for (size_t i = 0; i < len; i++) {
        if (half) {
            dst[i] |= src[i] >> 4;
            dst[i + 1] |= src[i] << 4;
        } else {
            dst[i] |= src[i];
        }
    }
}

static void
take_bytes(const uint8_t *src, uint8_t *dst, size_t len, bool half)
{
    for (size_t i = 0; i < len; i++) {
        dst[i] = half ? src[i] << 4 | src[i + 1] >> 4 : src[i];
    }
}

/* Adds to 'edit' what 'a' sets, in bits that nothing else in 'edit' sets. */
static const char *
edit_add(struct edit *edit, const struct context *ctx,
         const struct nic_action *a)
{
    uint8_t value[NIC_FIELD_MAX_LEN];
    enum header header;
    const char *why;
    size_t ofs, len;
    bool half;

    why = find_field(ctx, a->set.field, &header, &ofs, &half);
    if (why) {
        return why;
    }
    len = nic_field_len(a->set.field, ctx->dl_type);
    for (size_t i = 0; i < len; i++) {
        value[i] = a->set.value[i] & a->set.mask[i];
    }
    put_bytes(&edit->value[header][ofs], value, len, half);
    put_bytes(&edit->mask[header][ofs], a->set.mask, len, half);
    return NULL;
}

/* Takes 'field' out of 'edit' and stores what is set in '*a'.  Returns false
 * if it is not set. */
static bool
edit_take(struct edit *edit, const struct context *ctx, enum nic_field field,
          struct nic_action *a)
{
    static const uint8_t label_mask[4] = { 0, 0x0f, 0xff, 0xff };
    uint8_t used[MAX_HEADER_LEN] = { 0 };
    uint8_t all[NIC_FIELD_MAX_LEN];
    enum header header;
    size_t ofs, len;
    bool half;

    if (find_field(ctx, field, &header, &ofs, &half)) {
        return false;
    }
    len = nic_field_len(field, ctx->dl_type);
    memset(a, 0, sizeof *a);
    a->type = NIC_ACTION_SET;
    a->set.field = field;
    take_bytes(&edit->value[header][ofs], a->set.value, len, half);
    take_bytes(&edit->mask[header][ofs], a->set.mask, len, half);
    memset(all, UINT8_MAX, sizeof all);
    if (field == NIC_FIELD_IPV6_LABEL) {
        memcpy(all, label_mask, sizeof label_mask);
    }
    for (size_t i = 0; i < len; i++) {
        a->set.value[i] &= all[i];
        a->set.mask[i] &= all[i];
    }

    put_bytes(&used[ofs], all, len, half);
    for (size_t i = 0; i < headers[header].len; i++) {
        edit->mask[header][i] &= ~used[i];
        edit->value[header][i] &= ~used[i];
    }
    return !is_all_zeros(a->set.mask, len);
}

/* Stores in '*flagsp' the checksums that have to be computed anew after the
 * 'n' edits at 'a'. */
static const char *
needed_csums(const struct context *ctx, const struct nic_action *a, size_t n,
             uint32_t *flagsp)
{
    bool ipv4 = ctx->dl_type == htons(ETH_TYPE_IP);
    uint32_t flags = 0;

    for (size_t i = 0; i < n; i++) {
        switch (a[i].set.field) {
        case NIC_FIELD_ETH_SRC:
        case NIC_FIELD_ETH_DST:
        case NIC_FIELD_IPV6_LABEL:
            continue;

        case NIC_FIELD_IP_TOS:
        case NIC_FIELD_IP_TTL:
            if (ipv4) {
                flags |= TCA_CSUM_UPDATE_FLAG_IPV4HDR;
            }
            continue;

        case NIC_FIELD_IP_SRC:
        case NIC_FIELD_IP_DST:
            if (ipv4) {
                flags |= TCA_CSUM_UPDATE_FLAG_IPV4HDR;
            }
            break;

        case NIC_FIELD_TP_SRC:
        case NIC_FIELD_TP_DST:
            break;

        case NIC_FIELD_VLAN_TCI:
        default:
            OVS_NOT_REACHED();
        }

        /* Addresses are part of what these protocols' checksums cover. */
        if (ctx->nw_proto < 0) {
            return "sets addresses of packets that may be of any protocol";
        }
        if (!ctx->no_frag) {
            return "sets addresses or ports of packets that may be fragments";
        }
        switch (ctx->nw_proto) {
        case IPPROTO_TCP:
            flags |= TCA_CSUM_UPDATE_FLAG_TCP;
            break;
        case IPPROTO_UDP:
            flags |= TCA_CSUM_UPDATE_FLAG_UDP;
            break;
        case IPPROTO_ICMPV6:
            flags |= ipv4 ? 0 : TCA_CSUM_UPDATE_FLAG_ICMP;
            break;
        }
    }
    *flagsp = flags;
    return NULL;
}

/* Canonical form. */

/* Appends to 'rule' what the edits 'fields' set, one action for each. */
static void
append_edits(struct flower_rule *rule, struct nic_action fields[N_FIELDS])
{
    for (size_t i = 0; i < N_FIELDS; i++) {
        if (!is_all_zeros(fields[i].set.mask, NIC_FIELD_MAX_LEN)) {
            ovs_assert(rule->n_actions < FLOWER_MAX_ACTIONS);
            rule->actions[rule->n_actions++] = fields[i];
        }
    }
    memset(fields, 0, N_FIELDS * sizeof *fields);
}

void
flower_canonicalize_actions(struct flower_rule *rule)
{
    static const uint8_t label_mask[4] = { 0, 0x0f, 0xff, 0xff };
    struct nic_action fields[N_FIELDS];
    struct flower_rule new;

    memset(fields, 0, sizeof fields);
    memset(&new, 0, sizeof new);
    new.match = rule->match;
    for (size_t i = 0; i < rule->n_actions; i++) {
        const struct nic_action *a = &rule->actions[i];

        if (is_edit(a)) {
            struct nic_action *f = &fields[a->set.field];

            f->type = NIC_ACTION_SET;
            f->set.field = a->set.field;
            for (size_t j = 0; j < NIC_FIELD_MAX_LEN; j++) {
                uint8_t mask = a->set.mask[j];

                if (a->set.field == NIC_FIELD_IPV6_LABEL) {
                    mask &= j < sizeof label_mask ? label_mask[j] : 0;
                }
                f->set.value[j] = ((f->set.value[j] & ~mask)
                                   | (a->set.value[j] & mask));
                f->set.mask[j] |= mask;
            }
        } else {
            append_edits(&new, fields);
            ovs_assert(new.n_actions < FLOWER_MAX_ACTIONS);
            new.actions[new.n_actions++] = *a;
        }
    }
    append_edits(&new, fields);
    *rule = new;
}

/* Encoding. */

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
        uint8_t cookie[sizeof mark + sizeof ae->cookie];

        memcpy(cookie, mark, sizeof mark);
        memcpy(cookie + sizeof mark, &ae->cookie, sizeof ae->cookie);
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
put_pedit(struct action_encoder *ae, const struct edit *edit)
{
    struct {
        struct tc_pedit_sel sel;
        struct tc_pedit_key keys[N_HEADERS * MAX_HEADER_LEN / 4];
    } parms;
    uint16_t htypes[ARRAY_SIZE(parms.keys)];
    struct nlattr *nests[2], *nest;
    size_t n = 0;

    memset(&parms, 0, sizeof parms);
    for (size_t h = 0; h < N_HEADERS; h++) {
        for (size_t ofs = 0; ofs < headers[h].len; ofs += 4) {
            struct tc_pedit_key *key = &parms.keys[n];

            if (is_all_zeros(&edit->mask[h][ofs], 4)) {
                continue;
            }
            memcpy(&key->mask, &edit->mask[h][ofs], 4);
            memcpy(&key->val, &edit->value[h][ofs], 4);
            key->mask = ~key->mask;     /* Bits that stay. */
            key->off = ofs;
            htypes[n++] = headers[h].htype;
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
put_edits(struct action_encoder *ae, const struct context *ctx,
          const struct nic_action *a, size_t left, size_t *np)
{
    struct edit edit;
    const char *why;
    uint32_t csums;
    size_t n;

    memset(&edit, 0, sizeof edit);
    for (n = 0; n < left && is_edit(&a[n]); n++) {
        why = edit_add(&edit, ctx, &a[n]);
        if (why) {
            return why;
        }
    }
    *np = n;
    why = needed_csums(ctx, a, n, &csums);
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
put_vlan_action(struct action_encoder *ae, struct context *ctx,
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
    struct context ctx;

    context_init(&ctx, &rule->match);
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
            if (is_edit(a)) {
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

/* Decoding. */

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
get_vlan(const struct nlattr *options, struct context *ctx,
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
get_pedit_keys(const struct nlattr *options, struct edit *edit)
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
        enum header h;

        if (n == sel.nkeys || mnl_attr_get_type(attr) != TCA_PEDIT_KEY_EX
            || !flower_parse_nested(attr, ex, ARRAY_SIZE(ex))
            || !flower_get(ex[TCA_PEDIT_KEY_EX_HTYPE], &htype, sizeof htype)
            || !flower_get(ex[TCA_PEDIT_KEY_EX_CMD], &cmd, sizeof cmd)) {
            return malformed;
        }
        memcpy(&key, keys + n * sizeof key, sizeof key);
        n++;
        for (h = 0; h < N_HEADERS && headers[h].htype != htype; h++) {
            continue;
        }
        if (h == N_HEADERS || cmd != TCA_PEDIT_KEY_EX_CMD_SET
            || key.off % 4 || key.off >= headers[h].len
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
get_pedit(const struct nlattr *options, const struct context *ctx,
          struct flower_rule *rule, uint32_t *csums)
{
    size_t first = rule->n_actions;
    struct edit edit;
    const char *why;

    why = get_pedit_keys(options, &edit);
    if (why) {
        return why;
    }
    for (enum nic_field field = 0; field < N_FIELDS; field++) {
        struct nic_action a;

        if (field != NIC_FIELD_VLAN_TCI
            && edit_take(&edit, ctx, field, &a)) {
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
        || (first && is_edit(&rule->actions[first - 1]))) {
        return unknown;
    }
    return needed_csums(ctx, &rule->actions[first], rule->n_actions - first,
                        csums);
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
    struct context ctx;
    uint32_t csums = 0;
    size_t n;

    memset(rule->actions, 0, sizeof rule->actions);
    rule->n_actions = 0;
    context_init(&ctx, &rule->match);
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
    default:
        return unknown;
    }
}

/* Statistics. */

static bool
get_basic(const struct nlattr *basic, const struct nlattr *pkt64,
          uint64_t *packets, uint64_t *bytes)
{
    struct gnet_stats_basic stats;
    size_t len = basic ? mnl_attr_get_payload_len(basic) : 0;

    memset(&stats, 0, sizeof stats);
    if (basic) {
        /* The kernel leaves the padding at the end out, or not. */
        if (len < offsetof(struct gnet_stats_basic, packets)
                  + sizeof stats.packets) {
            return false;
        }
        memcpy(&stats, mnl_attr_get_payload(basic), MIN(len, sizeof stats));
    }
    *packets = stats.packets;
    *bytes = stats.bytes;
    return !pkt64 || flower_get(pkt64, packets, sizeof *packets);
}

/* Stores in 'stats' how long ago the action with 'options' was used. */
static bool
get_idle(const struct nlattr *kind, const struct nlattr *options,
         struct flower_stats *stats)
{
    static const struct {
        const char *kind;
        uint16_t attr;
    } kinds[] = {
        { "gact", TCA_GACT_TM },
        { "mirred", TCA_MIRRED_TM },
        { "pedit", TCA_PEDIT_TM },
        { "csum", TCA_CSUM_TM },
        { "vlan", TCA_VLAN_TM },
    };
    const struct nlattr *tb[32];
    struct tcf_t tm;

    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        if (flower_is_string(kind, kinds[i].kind)) {
            if (!flower_parse_nested(options, tb, ARRAY_SIZE(tb))) {
                return false;
            }
            if (tb[kinds[i].attr]) {
                if (!flower_get(tb[kinds[i].attr], &tm, sizeof tm)) {
                    return false;
                }
                stats->idle_ms = MIN(tm.lastuse, UINT32_MAX) * MS_PER_CLOCK;
            }
            return true;
        }
    }
    return true;
}

const char *
flower_get_action_info(const struct nlattr *nest, struct flower_info *info)
{
    const struct nlattr *tb[TCA_ACT_MAX_PRIO + 1];
    const struct nlattr *first[TCA_ACT_MAX + 1];
    struct flower_stats *stats = &info->stats;
    uint8_t cookie[sizeof mark + sizeof info->cookie];

    if (!nest) {
        return NULL;
    }
    if (!flower_parse_nested(nest, tb, ARRAY_SIZE(tb))) {
        return malformed;
    }
    if (!tb[1]) {
        return NULL;
    }
    if (!flower_parse_nested(tb[1], first, ARRAY_SIZE(first))) {
        return malformed;
    }
    if (first[TCA_ACT_COOKIE]
        && flower_get(first[TCA_ACT_COOKIE], cookie, sizeof cookie)
        && !memcmp(cookie, mark, sizeof mark)) {
        info->ours = true;
        memcpy(&info->cookie, cookie + sizeof mark, sizeof info->cookie);
    }
    if (first[TCA_ACT_STATS]) {
        const struct nlattr *st[TCA_STATS_MAX + 1];

        if (!flower_parse_nested(first[TCA_ACT_STATS], st, ARRAY_SIZE(st))
            || !get_basic(st[TCA_STATS_BASIC], st[TCA_STATS_PKT64],
                          &stats->packets, &stats->bytes)
            || !get_basic(st[TCA_STATS_BASIC_HW], NULL,
                          &stats->hw_packets, &stats->hw_bytes)) {
            return malformed;
        }
        stats->used = stats->packets > 0;
    }
    if (first[TCA_ACT_OPTIONS] && first[TCA_ACT_KIND]
        && !get_idle(first[TCA_ACT_KIND], first[TCA_ACT_OPTIONS], stats)) {
        return malformed;
    }
    return NULL;
}
