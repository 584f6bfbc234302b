/* SPDX-License-Identifier: Apache-2.0 */

#ifndef FLOWER_PRIVATE_H
#define FLOWER_PRIVATE_H 1

/* What the parts of the codec for tc-flower share
 * ===============================================
 *
 * flower-match.c knows the keys of a filter, flower-action-encode.c and
 * flower-action-decode.c its actions, flower-edit.c what these change in
 * headers, flower-stats.c what the kernel says about a filter, flower.c the
 * message around all that.  See flower.h.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "lib/flower.h"

struct nlattr;

/* A message in the making.  With a null 'nlh' nothing is written: then
 * encoding only finds out whether it is possible. */
struct flower_encoder {
    struct nlmsghdr *nlh;
};

void flower_put(struct flower_encoder *, uint16_t type, const void *data,
                size_t len);
struct nlattr *flower_nest(struct flower_encoder *, uint16_t type);
void flower_end_nest(struct flower_encoder *, struct nlattr *nest);

/* Stores in 'tb', which has 'n' elements, the attributes among the 'len' bytes
 * at 'data'; null for those that are absent.  Returns false if they are
 * malformed, twice there, or have a type that is not less than 'n'. */
bool flower_parse(const void *data, size_t len, const struct nlattr *tb[],
                  size_t n);
bool flower_parse_nested(const struct nlattr *, const struct nlattr *tb[],
                         size_t n);

/* Copies the payload of 'attr' to 'data'.  Returns false if it has not 'len'
 * bytes, or 'attr' is null. */
bool flower_get(const struct nlattr *attr, void *data, size_t len);

/* Returns true if 'attr' is the string 's'. */
bool flower_is_string(const struct nlattr *attr, const char *s);

/* Keys.  'tb' are TCA_FLOWER_*. */
const char *flower_put_match(struct flower_encoder *, const struct match *);
const char *flower_get_match(const struct nlattr *tb[], uint16_t protocol,
                             struct match *match);

/* The tags that packets of 'match' have for certain, outermost first.  Returns
 * their number, or -1 if there may be more. */
int flower_match_tags(const struct match *match,
                      ovs_be16 tpids[FLOW_MAX_VLAN_HEADERS]);

/* Marks an action, and with it its filter, as ours.  The rest of the kernel's
 * 16 bytes is the caller's cookie. */
extern const char flower_mark[8];

/* Actions.  The first one is marked with 'cookie'. */
const char *flower_put_actions(struct flower_encoder *,
                               const struct flower_rule *rule,
                               uint64_t cookie);
const char *flower_get_actions(const struct nlattr *nest,
                               struct flower_rule *rule);

/* Stores in 'info' what the first action says. */
const char *flower_get_action_info(const struct nlattr *nest,
                                   struct flower_info *info);

#endif /* flower-private.h */
