/* SPDX-License-Identifier: Apache-2.0 */

#ifndef FLOWER_EDIT_H
#define FLOWER_EDIT_H 1

/* Changes of headers as the kernel makes them
 * ===========================================
 *
 * act_pedit changes 32-bit words of headers, rules set fields.  A 'struct
 * flower_edit' is between the two: bytes of headers, with masks.
 *
 *     fields of a rule --flower_edit_add()--> edit --> keys of act_pedit
 *     keys of act_pedit --> edit --flower_edit_take()--> fields of a rule
 *
 * Functions that return a string return null, or static text that says why
 * the kernel cannot do it.
 *
 * Thread-safety: none is needed, there is no state.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "lib/flower.h"

/* Number of fields, in the order of 'enum nic_field', that may be set. */
#define FLOWER_N_FIELDS (NIC_FIELD_TP_DST + 1)

enum flower_header {
    FLOWER_HEADER_ETH,
    FLOWER_HEADER_IPV4,
    FLOWER_HEADER_IPV6,
    FLOWER_HEADER_TCP,
    FLOWER_HEADER_UDP,
    FLOWER_N_HEADERS
};

/* What of each header can be changed, and what the kernel calls it. */
#define FLOWER_MAX_HEADER_LEN 40
struct flower_header_type {
    uint16_t htype;                 /* TCA_PEDIT_KEY_EX_HDR_TYPE_*. */
    size_t len;                     /* A multiple of 4. */
};
extern const struct flower_header_type flower_headers[FLOWER_N_HEADERS];

/* What is set in headers: bits that are 1 in 'mask', to those of 'value'. */
struct flower_edit {
    uint8_t value[FLOWER_N_HEADERS][FLOWER_MAX_HEADER_LEN];
    uint8_t mask[FLOWER_N_HEADERS][FLOWER_MAX_HEADER_LEN];
};

/* What a rule's match says of packets that actions want to change. */
struct flower_context {
    ovs_be16 dl_type;               /* 0 if not known. */
    int nw_proto;                   /* -1 if not known. */
    bool no_frag;                   /* Certainly no fragments. */

    /* Tags, outermost last, as they are when the action is executed. */
    int n_tags;                     /* -1 if not known. */
    ovs_be16 tpids[FLOW_MAX_VLAN_HEADERS + NIC_MAX_ACTIONS];
};

void flower_context_init(struct flower_context *, const struct match *);

/* Returns true if 'a' is for act_pedit. */
bool flower_is_edit(const struct nic_action *a);

/* Adds to 'edit' what 'a' sets, in bits that nothing else in 'edit' sets. */
const char *flower_edit_add(struct flower_edit *edit,
                            const struct flower_context *,
                            const struct nic_action *a);

/* Takes 'field' out of 'edit' and stores what is set in '*a'.  Returns false
 * if it is not set. */
bool flower_edit_take(struct flower_edit *edit, const struct flower_context *,
                      enum nic_field field, struct nic_action *a);

/* Stores in '*flagsp' the checksums (TCA_CSUM_UPDATE_FLAG_*) that have to be
 * computed anew after the 'n' edits at 'a'. */
const char *flower_needed_csums(const struct flower_context *,
                                const struct nic_action *a, size_t n,
                                uint32_t *flagsp);

/* Brings the actions of 'rule' into canonical form: of edits in a row, one for
 * each field, in the order of 'enum nic_field'. */
void flower_canonicalize_actions(struct flower_rule *rule);

#endif /* flower-edit.h */
