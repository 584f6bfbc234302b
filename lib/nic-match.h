/* SPDX-License-Identifier: Apache-2.0 */

#ifndef NIC_MATCH_H
#define NIC_MATCH_H 1

/* Matches of rules, as drivers read them
 * ======================================
 *
 * Real NICs describe packets header by header: a field can be matched only if
 * the match says that the header is there.  What drivers that turn rules
 * (nic-rule.h) into such descriptions have in common.
 *
 * Thread-safety: pure functions. */

#include <stdbool.h>
#include <stddef.h>
#include "openvswitch/match.h"

struct flow;
struct nic_template;

/* Returns true if all packets of 'match' have one Ethernet type, behind their
 * tags. */
bool nic_match_has_type(const struct match *match);

/* Returns true if all packets of 'match' have VLAN tag 'i', 0 for the
 * outermost one. */
bool nic_match_has_tag(const struct match *match, size_t i);

/* Returns true if 'template' changes something of IP or above. */
bool nic_template_changes_ip(const struct nic_template *template);

/* Makes 'match' narrower where filters of headers cannot leave open what it
 * does: fewer packets match, which is right for a rule whose misses go to
 * software.
 *
 *   - A match on the Ethernet type: no more tags than are matched, and each of
 *     type 802.1Q unless another one is matched.
 *
 *   - A match on nw_proto or above it, or 'changes_ip': no fragments.
 *
 * Makes it canonical, too. */
void nic_match_narrow(struct match *match, bool changes_ip);

/* Makes two matches that the same packets match equal, as far as tags, flags
 * of TCP and fragments are concerned. */
void nic_match_canonicalize(struct match *match);

/* Returns static text that says what is in the way of matching what 'rest'
 * has, masks that a driver did not find a place for; null if that is something
 * of its own. */
const char *nic_match_describe_rest(const struct flow *rest);

#endif /* nic-match.h */
