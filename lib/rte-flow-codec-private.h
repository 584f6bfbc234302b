/* SPDX-License-Identifier: Apache-2.0 */

#ifndef RTE_FLOW_CODEC_PRIVATE_H
#define RTE_FLOW_CODEC_PRIVATE_H 1

/* What rte-flow-codec.c (matches) and rte-flow-codec-action.c share. */

#include <netinet/in.h>
#include "flow.h"
#include "lib/rte-flow-codec.h"
#include "nic-match.h"
#include "packets.h"

#define TCI_CFI htons(VLAN_CFI)

/* What packets of 'match' certainly have: the transport protocol 'proto', and
 * how many VLAN tags. */

static inline bool
codec_has_proto(const struct match *match, uint8_t proto)
{
    return (nic_match_has_type(match) && is_ip_any(&match->flow)
            && match->wc.masks.nw_proto == UINT8_MAX
            && match->flow.nw_proto == proto);
}

static inline size_t
codec_count_tags(const struct match *match)
{
    size_t n = 0;

    while (nic_match_has_tag(match, n)) {
        n++;
    }
    return n;
}

/* Appends an action of 'type'.  Returns its configuration, zeros. */
union rte_codec_conf *rte_codec_add(struct rte_codec *,
                                           enum rte_flow_action_type type);

/* Puts the actions of 'template' for packets of 'match', its complete match.
 * Returns null or static text as rte_codec_encode(). */
const char *rte_codec_put_actions(struct rte_codec *,
                                  const struct nic_template *template,
                                  const struct nic_values *values,
                                  const struct match *match,
                                  const struct rte_codec_place *place);

#endif /* rte-flow-codec-private.h */
