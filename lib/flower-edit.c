/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>
#include "flower-edit.h"

#include <linux/tc_act/tc_csum.h>
#include <linux/tc_act/tc_pedit.h>
#include <netinet/in.h>
#include <string.h>

#include "flow.h"
#include "flower-private.h"
#include "packets.h"
#include "util.h"

const struct flower_header_type flower_headers[FLOWER_N_HEADERS] = {
    [FLOWER_HEADER_ETH] = { TCA_PEDIT_KEY_EX_HDR_TYPE_ETH, 12 },
    [FLOWER_HEADER_IPV4] = { TCA_PEDIT_KEY_EX_HDR_TYPE_IP4, 20 },
    [FLOWER_HEADER_IPV6] = { TCA_PEDIT_KEY_EX_HDR_TYPE_IP6, 40 },
    [FLOWER_HEADER_TCP] = { TCA_PEDIT_KEY_EX_HDR_TYPE_TCP, 4 },
    [FLOWER_HEADER_UDP] = { TCA_PEDIT_KEY_EX_HDR_TYPE_UDP, 4 },
};

void
flower_context_init(struct flower_context *ctx, const struct match *match)
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

bool
flower_is_edit(const struct nic_action *a)
{
    return a->type == NIC_ACTION_SET && !is_vlan_set(a);
}

/* Where 'field' is in a header: its bytes begin at '*ofs' and, in IPv6, half a
 * byte later if '*half'. */
static const char *
find_field(const struct flower_context *ctx, enum nic_field field,
           enum flower_header *header, size_t *ofs, bool *half)
{
    bool ipv4 = ctx->dl_type == htons(ETH_TYPE_IP);
    bool ipv6 = ctx->dl_type == htons(ETH_TYPE_IPV6);

    *half = false;
    if (field == NIC_FIELD_ETH_DST || field == NIC_FIELD_ETH_SRC) {
        *header = FLOWER_HEADER_ETH;
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
    *header = ipv4 ? FLOWER_HEADER_IPV4 : FLOWER_HEADER_IPV6;
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
        *header = (ctx->nw_proto == IPPROTO_TCP
                   ? FLOWER_HEADER_TCP : FLOWER_HEADER_UDP);
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

const char *
flower_edit_add(struct flower_edit *edit, const struct flower_context *ctx,
                const struct nic_action *a)
{
    uint8_t value[NIC_FIELD_MAX_LEN];
    enum flower_header header;
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

bool
flower_edit_take(struct flower_edit *edit, const struct flower_context *ctx,
                 enum nic_field field, struct nic_action *a)
{
    static const uint8_t label_mask[4] = { 0, 0x0f, 0xff, 0xff };
    uint8_t used[FLOWER_MAX_HEADER_LEN] = { 0 };
    uint8_t all[NIC_FIELD_MAX_LEN];
    enum flower_header header;
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
    for (size_t i = 0; i < flower_headers[header].len; i++) {
        edit->mask[header][i] &= ~used[i];
        edit->value[header][i] &= ~used[i];
    }
    return !is_all_zeros(a->set.mask, len);
}

const char *
flower_needed_csums(const struct flower_context *ctx,
                    const struct nic_action *a, size_t n, uint32_t *flagsp)
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

/* Appends to 'rule' what the edits 'fields' set, one action for each. */
static void
append_edits(struct flower_rule *rule,
             struct nic_action fields[FLOWER_N_FIELDS])
{
    for (size_t i = 0; i < FLOWER_N_FIELDS; i++) {
        if (!is_all_zeros(fields[i].set.mask, NIC_FIELD_MAX_LEN)) {
            ovs_assert(rule->n_actions < FLOWER_MAX_ACTIONS);
            rule->actions[rule->n_actions++] = fields[i];
        }
    }
    memset(fields, 0, FLOWER_N_FIELDS * sizeof *fields);
}

void
flower_canonicalize_actions(struct flower_rule *rule)
{
    static const uint8_t label_mask[4] = { 0, 0x0f, 0xff, 0xff };
    struct nic_action fields[FLOWER_N_FIELDS];
    struct flower_rule new;

    memset(fields, 0, sizeof fields);
    memset(&new, 0, sizeof new);
    new.match = rule->match;
    for (size_t i = 0; i < rule->n_actions; i++) {
        const struct nic_action *a = &rule->actions[i];

        if (flower_is_edit(a)) {
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
