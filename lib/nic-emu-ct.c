/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>
#include "nic-emu-ct.h"

#include <errno.h>
#include <netinet/in.h>

#include "cmap.h"
#include "hash.h"
#include "nic-emu-counter.h"
#include "nic-emu-grace.h"
#include "nic-emu-parse.h"
#include "ovs-rcu.h"
#include "packets.h"
#include "util.h"

struct nic_emu_conn {
    struct nic_conn conn;
    struct conn_dir {
        struct cmap_node node;      /* In 'conns' of the module. */
        atomic_bool published;
        struct nic_emu_counter counter;
        struct nic_emu_conn *owner;
        uint32_t hash;
    } dirs[2];                      /* Original, reply. */
};

struct nic_emu_ct {
    struct cmap conns;              /* Contains 'struct conn_dir's. */
};

struct nic_emu_ct *
nic_emu_ct_create(void)
{
    struct nic_emu_ct *ct = xmalloc(sizeof *ct);

    cmap_init(&ct->conns);
    return ct;
}

static void
ct_free(struct nic_emu_ct *ct)
{
    cmap_destroy(&ct->conns);
    free(ct);
}

void
nic_emu_ct_destroy(struct nic_emu_ct *ct)
{
    ovs_assert(!cmap_count(&ct->conns));
    ovsrcu_postpone(ct_free, ct);
}

/* Stores in '*to' the parts 'parts' of the tuple 'from' of Ethernet type
 * 'dl_type', with zeros in bytes that have no meaning. */
static void
tuple_normalize(const struct nic_tuple *from, ovs_be16 dl_type,
                unsigned int parts, struct nic_tuple *to)
{
    bool ipv4 = dl_type == htons(ETH_TYPE_IP);

    memset(to, 0, sizeof *to);
    if (parts & NIC_TUPLE_SRC) {
        if (ipv4) {
            to->src.ipv4 = from->src.ipv4;
        } else {
            to->src.ipv6 = from->src.ipv6;
        }
        to->tp_src = from->tp_src;
    }
    if (parts & NIC_TUPLE_DST) {
        if (ipv4) {
            to->dst.ipv4 = from->dst.ipv4;
        } else {
            to->dst.ipv6 = from->dst.ipv6;
        }
        to->tp_dst = from->tp_dst;
    }
}

static uint32_t
conn_hash(uint16_t zone, ovs_be16 dl_type, uint8_t nw_proto,
          const struct nic_tuple *tuple)
{
    uint32_t basis = hash_2words(zone << 8 | nw_proto,
                                 (OVS_FORCE uint16_t) dl_type);

    return hash_bytes(tuple, sizeof *tuple, basis);
}

/* Returns the direction of a connection that has 'tuple', normalized, in
 * 'zone', or null. */
static struct conn_dir *
conn_find(const struct nic_emu_ct *ct, uint16_t zone, ovs_be16 dl_type,
          uint8_t nw_proto, const struct nic_tuple *tuple)
{
    struct conn_dir *dir;

    CMAP_FOR_EACH_WITH_HASH (dir, node,
                             conn_hash(zone, dl_type, nw_proto, tuple),
                             &ct->conns) {
        if (nic_emu_published(&dir->published)) {
            const struct nic_conn *conn = &dir->owner->conn;
            size_t index = dir - dir->owner->dirs;

            if (conn->zone == zone && conn->dl_type == dl_type
                && conn->nw_proto == nw_proto
                && !memcmp(&conn->tuple[index], tuple, sizeof *tuple)) {
                return dir;
            }
        }
    }
    return NULL;
}

int
nic_emu_conn_add(struct nic_emu_ct *ct, const struct nic_conn *conn_,
                 struct nic_emu_conn **connp)
{
    struct nic_emu_conn *c = xzalloc(sizeof *c);
    struct nic_conn *conn = &c->conn;

    *conn = *conn_;
    for (int i = 0; i < 2; i++) {
        struct conn_dir *dir = &c->dirs[i];

        tuple_normalize(&conn_->tuple[i], conn->dl_type,
                        NIC_TUPLE_SRC | NIC_TUPLE_DST, &conn->tuple[i]);
        tuple_normalize(&conn_->translated[i], conn->dl_type,
                        conn->nat_parts[i], &conn->translated[i]);
        if (conn_find(ct, conn->zone, conn->dl_type, conn->nw_proto,
                      &conn->tuple[i])) {
            free(c);
            return EEXIST;
        }
        nic_emu_counter_init(&dir->counter);
        dir->owner = c;
        dir->hash = conn_hash(conn->zone, conn->dl_type, conn->nw_proto,
                              &conn->tuple[i]);
    }
    for (int i = 0; i < 2; i++) {
        nic_emu_publish(&c->dirs[i].published);
        cmap_insert(&ct->conns, &c->dirs[i].node, c->dirs[i].hash);
    }

    *connp = c;
    return 0;
}

void
nic_emu_conn_remove(struct nic_emu_ct *ct, struct nic_emu_conn *c)
{
    for (int i = 0; i < 2; i++) {
        cmap_remove(&ct->conns, &c->dirs[i].node, c->dirs[i].hash);
    }
}

void
nic_emu_conn_free(struct nic_emu_conn *c)
{
    ovsrcu_postpone(free, c);
}

const struct nic_conn *
nic_emu_conn_get(const struct nic_emu_conn *c)
{
    return &c->conn;
}

void
nic_emu_conn_counters(const struct nic_emu_conn *c,
                      struct nic_counter counters[2])
{
    nic_emu_counter_get(&c->dirs[0].counter, &counters[0]);
    nic_emu_counter_get(&c->dirs[1].counter, &counters[1]);
}

void
nic_emu_ct_copy_fields(const struct flow *from, struct flow *to)
{
    to->ct_state = from->ct_state;
    to->ct_zone = from->ct_zone;
    to->ct_mark = from->ct_mark;
    to->ct_label = from->ct_label;
    to->ct_nw_proto = from->ct_nw_proto;
    to->ct_nw_src = from->ct_nw_src;
    to->ct_nw_dst = from->ct_nw_dst;
    to->ct_ipv6_src = from->ct_ipv6_src;
    to->ct_ipv6_dst = from->ct_ipv6_dst;
    to->ct_tp_src = from->ct_tp_src;
    to->ct_tp_dst = from->ct_tp_dst;
}

/* Sets what is of connection tracking in 'flow' to what packets of 'conn'
 * get. */
static void
set_fields(const struct nic_conn *conn, uint8_t ct_state, struct flow *flow)
{
    const struct nic_tuple *orig = &conn->tuple[0];
    struct flow ct;

    memset(&ct, 0, sizeof ct);
    ct.ct_state = ct_state;
    ct.ct_zone = conn->zone;
    ct.ct_mark = conn->mark;
    ct.ct_label = conn->label;
    ct.ct_nw_proto = conn->nw_proto;
    if (conn->dl_type == htons(ETH_TYPE_IP)) {
        ct.ct_nw_src = orig->src.ipv4;
        ct.ct_nw_dst = orig->dst.ipv4;
    } else {
        ct.ct_ipv6_src = orig->src.ipv6;
        ct.ct_ipv6_dst = orig->dst.ipv6;
    }
    ct.ct_tp_src = orig->tp_src;
    ct.ct_tp_dst = orig->tp_dst;
    nic_emu_ct_copy_fields(&ct, flow);
}

/* Finds the connection of the packet of 'headers' in 'zone' and notes it in
 * '*pass'.  Returns false if there is none. */
static bool
find_conn(const struct nic_emu_ct *ct, uint16_t zone,
          const struct nic_emu_headers *headers, struct nic_emu_ct_pass *pass)
{
    const struct flow *flow = &headers->flow;
    const struct conn_dir *dir;
    struct nic_tuple tuple;

    if (pass->conn && pass->conn->conn.zone == zone) {
        return !pass->tuple_changed;
    }
    if (!nic_emu_headers_tuple(headers, &tuple)) {
        return false;
    }
    dir = conn_find(ct, zone, flow->dl_type, flow->nw_proto, &tuple);
    if (!dir) {
        return false;
    }
    *pass = (struct nic_emu_ct_pass) {
        .conn = dir->owner,
        .reply = dir == &dir->owner->dirs[1],
    };
    return true;
}

bool
nic_emu_ct_execute(const struct nic_emu_ct *ct,
                   const struct nic_action *action,
                   struct nic_emu_headers *headers,
                   struct nic_emu_ct_pass *pass,
                   struct nic_emu_ct_result *result)
{
    const struct nic_conn *conn;
    struct nic_emu_conn *c;
    ovs_u128 label_diff;
    uint8_t ct_state;

    if (!find_conn(ct, action->ct.zone, headers, pass)) {
        return false;
    }
    c = CONST_CAST(struct nic_emu_conn *, pass->conn);
    conn = &c->conn;

    label_diff.u64.lo = conn->label.u64.lo ^ action->ct.label.u64.lo;
    label_diff.u64.hi = conn->label.u64.hi ^ action->ct.label.u64.hi;
    if ((conn->mark ^ action->ct.mark) & action->ct.mark_mask
        || !ovs_u128_is_zero(ovs_u128_and(label_diff, action->ct.label_mask))
        || (action->ct.orig_only && pass->reply)) {
        return false;
    }

    *result = (struct nic_emu_ct_result) {
        .counter = &c->dirs[pass->reply].counter,
        .translated = &conn->translated[pass->reply],
    };
    if (action->ct.nat && !pass->translated) {
        result->nat_parts = conn->nat_parts[pass->reply];
        pass->translated = true;
    }

    ct_state = (CS_TRACKED | CS_ESTABLISHED
                | (pass->reply ? CS_REPLY_DIR : 0));
    if (pass->translated) {
        ct_state |= conn->nat_state[pass->reply];
    }
    set_fields(conn, ct_state, &headers->flow);
    return true;
}
