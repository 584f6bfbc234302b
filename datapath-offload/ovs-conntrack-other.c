/* SPDX-License-Identifier: Apache-2.0 */

/* OVS's conntrack unit for UDP and other protocols, with hooks:
 *
 *   - The vtable 'ct_proto_other': a connection gets a 'struct ct_tail', and
 *     its packets are noted there. */

#include <config.h>

#include "conntrack-private.h"
#include "ct-tail.h"
#include "hook-version.h"
#include "util.h"

/* Hook: the allocation in other_new_conn(). */
#define xzalloc(SIZE) ct_tail_alloc(SIZE)
#define ct_proto_other ovs_ct_proto_other
#include "lib/conntrack-other.c"
#undef ct_proto_other
#undef xzalloc

_Static_assert(sizeof(struct conn_other) <= CT_TAIL_OFFSET,
               "hook ovs-conntrack-other.c: struct conn_other reaches into "
               "struct ct_tail");
_Static_assert(offsetof(struct conn_other, up) == 0,
               "hook ovs-conntrack-other.c: struct conn_other does not start "
               "with struct conn");

bool
ct_other_is_established(const struct conn *conn)
{
    return conn_other_cast(conn)->state == OTHERS_BIDIR;
}

static struct conn *
hook_other_new_conn(struct conntrack *ct, struct dp_packet *pkt, long long now,
                    uint32_t tp_id)
{
    struct conn *conn = other_new_conn(ct, pkt, now, tp_id);

    ct_tail_saw_first_packet(ct_tail__(conn), pkt);
    return conn;
}

static enum ct_update_res
hook_other_conn_update(struct conntrack *ct, struct conn *conn,
                       struct dp_packet *pkt, bool reply, long long now)
{
    enum ct_update_res res = other_conn_update(ct, conn, pkt, reply, now);
    struct ct_tail *tail = ct_tail__(conn);

    ct_tail_saw_packet(tail, pkt, reply);
    if (ct_other_is_established(conn)) {
        ct_tail_ready(tail, conn, ct, now);
    }
    return res;
}

struct ct_l4_proto ct_proto_other = {
    .new_conn = hook_other_new_conn,
    .valid_new = other_valid_new,
    .conn_update = hook_other_conn_update,
};
