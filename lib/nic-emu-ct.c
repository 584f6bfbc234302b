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

/* Stores in '*to' the tuple 'from' of Ethernet type 'dl_type', with zeros in
 * bytes that have no meaning. */
static void
tuple_normalize(const struct nic_tuple *from, ovs_be16 dl_type,
                struct nic_tuple *to)
{
    memset(to, 0, sizeof *to);
    if (dl_type == htons(ETH_TYPE_IP)) {
        to->src.ipv4 = from->src.ipv4;
        to->dst.ipv4 = from->dst.ipv4;
    } else {
        to->src.ipv6 = from->src.ipv6;
        to->dst.ipv6 = from->dst.ipv6;
    }
    to->tp_src = from->tp_src;
    to->tp_dst = from->tp_dst;
}

const char *
nic_emu_conn_check(const struct nic_conn *conn)
{
    struct nic_tuple tuples[2];

    if (conn->dl_type != htons(ETH_TYPE_IP)
        && conn->dl_type != htons(ETH_TYPE_IPV6)) {
        return "connections must be IPv4 or IPv6";
    }
    if (conn->nw_proto != IPPROTO_TCP && conn->nw_proto != IPPROTO_UDP) {
        return "connections must be TCP or UDP";
    }

    tuple_normalize(&conn->tuple[0], conn->dl_type, &tuples[0]);
    tuple_normalize(&conn->tuple[1], conn->dl_type, &tuples[1]);
    if (!memcmp(&tuples[0], &tuples[1], sizeof tuples[0])) {
        return "both directions look the same";
    }
    return NULL;
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

        tuple_normalize(&conn_->tuple[i], conn->dl_type, &conn->tuple[i]);
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

struct nic_emu_counter *
nic_emu_ct_execute(const struct nic_emu_ct *ct, uint16_t zone,
                   struct nic_emu_headers *headers)
{
    struct flow *flow = &headers->flow;
    struct nic_tuple tuple;
    struct conn_dir *dir;
    bool reply;

    if (!nic_emu_headers_tuple(headers, &tuple)) {
        return NULL;
    }
    dir = conn_find(ct, zone, flow->dl_type, flow->nw_proto, &tuple);
    if (!dir) {
        return NULL;
    }

    reply = dir == &dir->owner->dirs[1];
    flow->ct_state = CS_TRACKED | CS_ESTABLISHED | (reply ? CS_REPLY_DIR : 0);
    flow->ct_zone = zone;
    return &dir->counter;
}
