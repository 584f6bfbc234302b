/* SPDX-License-Identifier: Apache-2.0 */

#ifndef PATH_TEST_H
#define PATH_TEST_H 1

/* Builds datapath actions for tests of paths, one function for each. */

#include "netlink.h"
#include "odp-netlink.h"
#include "openvswitch/ofpbuf.h"
#include "packets.h"

static inline void
put_output(struct ofpbuf *buf, uint32_t port)
{
    nl_msg_put_u32(buf, OVS_ACTION_ATTR_OUTPUT, port);
}

static inline void
put_recirc(struct ofpbuf *buf, uint32_t recirc_id)
{
    nl_msg_put_u32(buf, OVS_ACTION_ATTR_RECIRC, recirc_id);
}

static inline void
put_push_vlan(struct ofpbuf *buf, uint16_t tci)
{
    struct ovs_action_push_vlan vlan = {
        .vlan_tpid = htons(ETH_TYPE_VLAN),
        .vlan_tci = htons(tci | VLAN_CFI),
    };

    nl_msg_put_unspec(buf, OVS_ACTION_ATTR_PUSH_VLAN, &vlan, sizeof vlan);
}

static inline void
put_pop_vlan(struct ofpbuf *buf)
{
    nl_msg_put_flag(buf, OVS_ACTION_ATTR_POP_VLAN);
}

/* Sets the bits of the 'size' bytes of 'key' that are 1 in 'mask'. */
static inline void
put_set_masked(struct ofpbuf *buf, int type, const void *key,
               const void *mask, size_t size)
{
    size_t ofs = nl_msg_start_nested(buf, OVS_ACTION_ATTR_SET_MASKED);
    uint8_t *data = nl_msg_put_unspec_uninit(buf, type, 2 * size);

    for (size_t i = 0; i < size; i++) {
        data[i] = ((const uint8_t *) key)[i] & ((const uint8_t *) mask)[i];
        data[size + i] = ((const uint8_t *) mask)[i];
    }
    nl_msg_end_nested(buf, ofs);
}

/* Sets all of 'key'. */
static inline void
put_set(struct ofpbuf *buf, int type, const void *key, size_t size)
{
    size_t ofs = nl_msg_start_nested(buf, OVS_ACTION_ATTR_SET);

    nl_msg_put_unspec(buf, type, key, size);
    nl_msg_end_nested(buf, ofs);
}

/* Options of put_ct(). */
struct ct_options {
    uint16_t zone;
    bool commit, force, nat;
    uint32_t mark, mark_mask;
    ovs_u128 label, label_mask;
    const char *timeout, *helper;
};

static inline void
put_ct(struct ofpbuf *buf, const struct ct_options *o)
{
    size_t ofs = nl_msg_start_nested(buf, OVS_ACTION_ATTR_CT);

    if (o->commit || o->force) {
        nl_msg_put_flag(buf, o->force ? OVS_CT_ATTR_FORCE_COMMIT
                        : OVS_CT_ATTR_COMMIT);
    }
    if (o->zone) {
        nl_msg_put_u16(buf, OVS_CT_ATTR_ZONE, o->zone);
    }
    if (o->mark_mask) {
        uint32_t mark[] = { o->mark & o->mark_mask, o->mark_mask };

        nl_msg_put_unspec(buf, OVS_CT_ATTR_MARK, mark, sizeof mark);
    }
    if (!ovs_u128_is_zero(o->label_mask)) {
        ovs_u128 label[] = { ovs_u128_and(o->label, o->label_mask),
                             o->label_mask };

        nl_msg_put_unspec(buf, OVS_CT_ATTR_LABELS, label, sizeof label);
    }
    if (o->timeout) {
        nl_msg_put_string(buf, OVS_CT_ATTR_TIMEOUT, o->timeout);
    }
    if (o->helper) {
        nl_msg_put_string(buf, OVS_CT_ATTR_HELPER, o->helper);
    }
    if (o->nat) {
        nl_msg_end_nested(buf, nl_msg_start_nested(buf, OVS_CT_ATTR_NAT));
    }
    nl_msg_end_nested(buf, ofs);
}

#endif /* path-test.h */
