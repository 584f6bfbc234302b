/* SPDX-License-Identifier: Apache-2.0 */

#ifndef FLOWER_H
#define FLOWER_H 1

/* Rules of a NIC as filters of tc-flower
 * ======================================
 *
 * Turns a rule (nic-rule.h) into the netlink message that makes a filter of
 * the kernel's classifier "flower" of it, and such a message, as the kernel
 * dumps filters, back into a rule.
 *
 *     template + values --flower_rule_init()--> struct flower_rule
 *     struct flower_rule --flower_encode()--> RTM_NEWTFILTER message
 *     RTM_NEWTFILTER message --flower_decode_rule()--> struct flower_rule
 *
 * A 'struct flower_rule' is in canonical form: two of them that do the same
 * are equal byte for byte, as far as that can be had for little.  Encoding and
 * decoding one gives the same one again.
 *
 * Nothing is ever left out: what flower and the kernel's actions cannot do is
 * refused, with a sentence that says what.
 *
 * What is peculiar to the kernel
 * ------------------------------
 *
 *   - Filters of one priority have one protocol, which says whether there is a
 *     VLAN tag, or else the Ethernet type.  So a rule that matches the
 *     Ethernet type has to match how many tags there are, and the type of each
 *     tag; see nic_match_narrow().
 *
 *   - act_pedit changes 32-bit words of a header, under a mask.  It does not
 *     touch checksums: act_csum follows it and computes those anew.  (One that
 *     was wrong before is right afterwards.)
 *
 *   - act_pedit finds the IP header where it begins below one tag at most.
 *
 *   - act_csum computes the checksum of a fragment's part as if it were the
 *     whole datagram, so that rules that change addresses or ports must
 *     exclude fragments.
 *
 *   - The kernel checks neither the IPv4 header's checksum nor lengths.
 *
 * Thread-safety: none is needed, there is no state.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "lib/nic-rule.h"

struct nlmsghdr;

/* A message made by flower_encode() has at most this many bytes. */
#define FLOWER_MAX_LEN 32768

/* NIC_ACTION_SET_TUPLE becomes up to four NIC_ACTION_SET. */
#define FLOWER_MAX_ACTIONS (NIC_MAX_ACTIONS + 3)

/* One rule, values filled in.
 *
 * The actions are those of nic-rule.h, without SET_TUPLE.  In OUTPUT, 'port'
 * is the index of a kernel device; in EGRESS, 'egress' is a chain in which the
 * packet continues.  Unused elements and bytes are zero. */
struct flower_rule {
    struct match match;
    size_t n_actions;
    struct nic_action actions[FLOWER_MAX_ACTIONS];
};

/* Who is to execute a filter. */
enum flower_policy {
    FLOWER_BOTH,                    /* The device, and the kernel for what the
                                     * device does not do. */
    FLOWER_SKIP_SW,                 /* The device only. */
    FLOWER_SKIP_HW,                 /* The kernel only. */
};

/* Returns the word for 'policy' that is used for other_config:tc-policy. */
const char *flower_policy_to_string(enum flower_policy policy);
bool flower_policy_from_string(const char *, enum flower_policy *);

/* Where a filter is. */
struct flower_place {
    int ifindex;
    uint32_t chain;
    uint16_t prio;
    uint16_t protocol;              /* Ethernet type, in host byte order. */
    uint32_t handle;                /* In (chain, prio), not 0. */
};

/* What the kernel counted, in total, including what the device did. */
struct flower_stats {
    uint64_t packets, bytes;
    uint64_t hw_packets, hw_bytes;  /* By the device. */
    bool used;                      /* At least once. */
    uint64_t idle_ms;               /* Since the last use. */
};

/* A filter apart from its rule. */
struct flower_info {
    struct flower_place place;
    enum flower_policy policy;
    bool ours;                      /* Has a mark of flower_encode()'s. */
    uint64_t cookie;                /* Then the one given to it, else 0. */

    /* Only by flower_decode_info(). */
    bool in_hw;                     /* The device has it. */
    struct flower_stats stats;
};

/* Stores in '*rule' the rule made of 'template' and 'values', in canonical
 * form.  'values' may be null if the template has no slots; with slots, null
 * stands for values that say nothing in particular.  Ports and egress handles
 * are copied as they are.  Returns null, or static text if flower has no
 * equivalent for some action. */
const char *flower_rule_init(struct flower_rule *rule,
                             const struct nic_template *template,
                             const struct nic_values *values);

/* Returns null if 'rule' can be encoded, otherwise static text that says what
 * is in the way. */
const char *flower_rule_check(const struct flower_rule *rule);

/* Returns the protocol of a filter for 'match', in host byte order. */
uint16_t flower_protocol(const struct match *match);

/* Makes in 'buf', which has FLOWER_MAX_LEN bytes and is aligned for an int, a
 * RTM_NEWTFILTER message with 'flags' and 'seq' for 'rule', which
 * flower_rule_check() accepts, in the ingress of a device.  The filter is
 * marked as ours. */
struct nlmsghdr *flower_encode(void *buf, const struct flower_info *info,
                               const struct flower_rule *rule, uint16_t flags,
                               uint32_t seq);

/* Makes in 'buf' a message of 'type' (RTM_DELTFILTER, RTM_GETTFILTER) about
 * the filter at 'place'.  It has fewer than 128 bytes. */
struct nlmsghdr *flower_encode_place(void *buf,
                                     const struct flower_place *place,
                                     uint16_t type, uint16_t flags,
                                     uint32_t seq);

/* Decode a message of type RTM_NEWTFILTER or RTM_DELTFILTER, of which
 * mnl_nlmsg_ok() is true.  Return null, or static text if it is not about a
 * filter of flower, malformed, or (flower_decode_rule()) has what no rule
 * has.  In this case the results are undefined. */
const char *flower_decode_info(const struct nlmsghdr *,
                               struct flower_info *info);
const char *flower_decode_rule(const struct nlmsghdr *,
                               struct flower_rule *rule);

/* Returns true if 'a' and 'b' are the same. */
bool flower_rule_equals(const struct flower_rule *a,
                        const struct flower_rule *b);

#endif /* flower.h */
