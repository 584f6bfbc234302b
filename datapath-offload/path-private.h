/* SPDX-License-Identifier: Apache-2.0 */

#ifndef PATH_PRIVATE_H
#define PATH_PRIVATE_H 1

/* What composition of paths (path.c) and their compilation to rules
 * (path-compile.c) share: the fields that megaflows may match, and the stack
 * of VLAN tags.  For nobody else. */

#include "path.h"

/* VLAN tags that actions may have pushed at a time. */
#define PATH_MAX_PUSHED 8

/* The VLAN tags of a packet, relative to those that it was received with. */
struct path_tags {
    union flow_vlan_hdr pushed[PATH_MAX_PUSHED]; /* Innermost first. */
    size_t n_pushed;
    size_t n_popped;                /* Of those received. */
};

/* Returns true if tag 'pos', 0 the outermost, is one that was received, and
 * stores in '*idx' which; that may be beyond the last that exists.  Otherwise
 * it was pushed: stores it in '*pushed'. */
bool path_tags_find(const struct path_tags *, size_t pos, size_t *idx,
                    union flow_vlan_hdr *pushed);

/* Returns false if that is too much. */
bool path_tags_push(struct path_tags *, ovs_be16 tpid, ovs_be16 tci);
void path_tags_pop(struct path_tags *);

/* Fields that a rule can match, as they are in the packet. */
const struct flow *path_wire_fields(void);

/* Those of them that are the tuple. */
const struct flow *path_tuple_fields(void);

/* Fields that the pipeline decides.  Composition compares them with what it
 * knows; a NIC with a CT module matches those that ct() computes,
 * path_ct_fields(). */
const struct flow *path_pipeline_fields(void);
const struct flow *path_ct_fields(void);

/* Returns REASON_NONE if 'flow' matches only fields that are supported. */
enum offload_reason path_check_fields(const struct megaflow *flow);

/* Returns where 'field' is in 'flow', a packet of 'dl_type', and stores its
 * length in '*len'.  Not for NIC_FIELD_VLAN_TCI. */
uint8_t *path_field(struct flow *flow, enum nic_field field, ovs_be16 dl_type,
                    size_t *len);

/* Returns the part of the tuple that 'field' belongs to, 0 if none. */
unsigned int path_field_part(enum nic_field field);

#endif /* path-private.h */
