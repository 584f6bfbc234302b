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
#include <string.h>

#include "util.h"

/* tc's words for time are in units of 1/100 s. */
#define MS_PER_CLOCK 10

static const char malformed[] = "the actions of the filter are malformed";

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
    uint8_t cookie[sizeof flower_mark + sizeof info->cookie];

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
        && !memcmp(cookie, flower_mark, sizeof flower_mark)) {
        info->ours = true;
        memcpy(&info->cookie, cookie + sizeof flower_mark,
               sizeof info->cookie);
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
