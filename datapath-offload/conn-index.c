/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>
#include "engine-private.h"

#include "hash.h"
#include "lib/mutant.h"
#include "util.h"

/* A connection whose paths depend on the connection that ct() finds in 'zone'
 * for 'tuple', of the same datapath and protocols. */
struct tuple_wait {
    struct hmap_node node;          /* In engine's 'tuple_waits'. */
    struct ovs_list conn_node;      /* In connection's 'tuple_waits'. */
    struct tracked_conn *conn;
    uint16_t zone;
    struct nic_tuple tuple;
};

static uint32_t
hash_tuple(const struct tracked_conn *like, uint16_t zone,
           const struct nic_tuple *tuple)
{
    uint32_t basis = hash_3words(like->dp, zone | like->nw_proto << 16,
                                 (OVS_FORCE uint16_t) like->dl_type);

    return hash_bytes(tuple, sizeof *tuple, basis);
}

static bool
tuple_equals(const struct nic_tuple *a, const struct nic_tuple *b)
{
    return !memcmp(a, b, sizeof *a);
}

void
conn_index_insert(struct tracked_conn *tc)
{
    struct engine *engine = tc->engine;

    hmap_insert(&engine->conns_by_id, &tc->id_node, hash_uint64(tc->id));
    for (int dir = 0; dir < 2; dir++) {
        tc->keys[dir].dir = dir;
        hmap_insert(&engine->conns_by_tuple, &tc->keys[dir].node,
                    hash_tuple(tc, tc->zone, &tc->tuple[dir]));
    }
}

void
conn_index_remove(struct tracked_conn *tc)
{
    struct engine *engine = tc->engine;

    hmap_remove(&engine->conns_by_id, &tc->id_node);
    for (int dir = 0; dir < 2; dir++) {
        hmap_remove(&engine->conns_by_tuple, &tc->keys[dir].node);
    }
}

struct tracked_conn *
conn_index_find_id(const struct engine *engine, uint64_t id)
{
    struct tracked_conn *tc;

    HMAP_FOR_EACH_WITH_HASH (tc, id_node, hash_uint64(id),
                             &engine->conns_by_id) {
        if (tc->id == id) {
            return tc;
        }
    }
    return NULL;
}

static struct tracked_conn *
key_conn(const struct conn_key_node *key)
{
    return CONTAINER_OF(key - key->dir, struct tracked_conn, keys[0]);
}

/* Returns true if 'tc' is of the datapath and protocols of 'like', and is
 * found in 'zone' for 'tuple' by 'key'. */
static bool
key_matches(const struct conn_key_node *key, const struct tracked_conn *tc,
            const struct tracked_conn *like, uint16_t zone,
            const struct nic_tuple *tuple)
{
    return (tc->dp == like->dp && tc->zone == zone
            && tc->dl_type == like->dl_type && tc->nw_proto == like->nw_proto
            && tuple_equals(&tc->tuple[key->dir], tuple));
}

struct tracked_conn *
conn_index_find(const struct tracked_conn *like, uint16_t zone,
                const struct nic_tuple *tuple, int *dir)
{
    const struct engine *engine = like->engine;
    struct tracked_conn *found = NULL;
    const struct conn_key_node *key;

    HMAP_FOR_EACH_WITH_HASH (key, node, hash_tuple(like, zone, tuple),
                             &engine->conns_by_tuple) {
        struct tracked_conn *tc = key_conn(key);

        /* Those that conntrack does not find any more may still be here. */
        if (key_matches(key, tc, like, zone, tuple)
            && tc->conn && !tc->expired && (!found || found->id < tc->id)) {
            found = tc;
            *dir = key->dir;
        }
    }
    return found;
}

bool
conn_index_has(const struct tracked_conn *like, uint16_t zone,
               const struct nic_tuple *tuple)
{
    const struct conn_key_node *key;

    HMAP_FOR_EACH_WITH_HASH (key, node, hash_tuple(like, zone, tuple),
                             &like->engine->conns_by_tuple) {
        if (!key->dir
            && key_matches(key, key_conn(key), like, zone, tuple)) {
            return true;
        }
    }
    return false;
}

struct tracked_conn *
conn_index_find_predecessor(const struct tracked_conn *tc)
{
    const struct engine *engine = tc->engine;

    for (int dir = 0; dir < 2; dir++) {
        const struct nic_tuple *tuple = &tc->tuple[dir];
        const struct conn_key_node *key;

        HMAP_FOR_EACH_WITH_HASH (key, node, hash_tuple(tc, tc->zone, tuple),
                                 &engine->conns_by_tuple) {
            struct tracked_conn *other = key_conn(key);

            if (other != tc && key_matches(key, other, tc, tc->zone, tuple)
                && tracked_conn_is_installed(other)
                && !MUTANT(removal_not_awaited)) {
                return other;
            }
        }
    }
    return NULL;
}

void
conn_index_wake_successors(const struct tracked_conn *tc)
{
    const struct engine *engine = tc->engine;

    for (int dir = 0; dir < 2; dir++) {
        const struct nic_tuple *tuple = &tc->tuple[dir];
        const struct conn_key_node *key;

        HMAP_FOR_EACH_WITH_HASH (key, node, hash_tuple(tc, tc->zone, tuple),
                                 &engine->conns_by_tuple) {
            struct tracked_conn *other = key_conn(key);

            if (other != tc && key_matches(key, other, tc, tc->zone, tuple)) {
                tracked_conn_mark_dirty(other);
            }
        }
    }
}

void
conn_index_wait(struct tracked_conn *tc, uint16_t zone,
                const struct nic_tuple *tuple)
{
    struct tuple_wait *wait = xmalloc(sizeof *wait);

    wait->conn = tc;
    wait->zone = zone;
    wait->tuple = *tuple;
    hmap_insert(&tc->engine->tuple_waits, &wait->node,
                hash_tuple(tc, zone, tuple));
    ovs_list_push_back(&tc->tuple_waits, &wait->conn_node);
}

void
conn_index_clear_waits(struct tracked_conn *tc)
{
    struct tuple_wait *wait;

    LIST_FOR_EACH_POP (wait, conn_node, &tc->tuple_waits) {
        hmap_remove(&tc->engine->tuple_waits, &wait->node);
        free(wait);
    }
}

void
conn_index_wake_waiters(const struct tracked_conn *tc)
{
    for (int dir = 0; dir < 2; dir++) {
        const struct nic_tuple *tuple = &tc->tuple[dir];
        const struct tuple_wait *wait;

        HMAP_FOR_EACH_WITH_HASH (wait, node, hash_tuple(tc, tc->zone, tuple),
                                 &tc->engine->tuple_waits) {
            const struct tracked_conn *w = wait->conn;

            if (w != tc && w->dp == tc->dp && wait->zone == tc->zone
                && w->dl_type == tc->dl_type && w->nw_proto == tc->nw_proto
                && tuple_equals(&wait->tuple, tuple)) {
                tracked_conn_mark_dirty(wait->conn);
            }
        }
    }
}
