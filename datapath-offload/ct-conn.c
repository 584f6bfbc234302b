/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>
#include "ct-conn.h"

#include "conntrack-private.h"
#include "conntrack-tp.h"
#include "ct-tail.h"
#include "dp-packet.h"
#include "odp-util.h"
#include "ovs-atomic.h"
#include "timeval.h"
#include "util.h"

/* Least time between two CT_EVENT_READY of a connection that are due only to a
 * change of ingress, in milliseconds.  Packets that come from two places in
 * turn must not cause an event each. */
#define MOVE_INTERVAL_MS 200

static ATOMIC(ct_event_sink *) event_sink = NULL;
static atomic_bool announce = ATOMIC_VAR_INIT(false);
static atomic_uint min_packets = ATOMIC_VAR_INIT(0);
static atomic_uint64_t n_unannounced = ATOMIC_VAR_INIT(0);
static atomic_uint64_t last_id = ATOMIC_VAR_INIT(0);
static atomic_uint64_t n_ready_packets = ATOMIC_VAR_INIT(0);
atomic_bool ct_tail_count_ready = ATOMIC_VAR_INIT(false);

void
ct_set_event_sink(ct_event_sink *sink)
{
    atomic_store_explicit(&event_sink, sink, memory_order_release);
}

static ct_event_sink *
get_event_sink(void)
{
    ct_event_sink *sink;

    atomic_read_explicit(&event_sink, &sink, memory_order_acquire);
    return sink;
}

void
ct_set_announce(bool announce_)
{
    atomic_store_relaxed(&announce, announce_);
}

void
ct_set_min_packets(unsigned int n)
{
    atomic_store_relaxed(&min_packets, MIN(n, UINT16_MAX));
}

uint64_t
ct_get_n_unannounced(void)
{
    return atomic_count_get64(&n_unannounced);
}

void
ct_set_count_ready(bool on)
{
    atomic_store_relaxed(&ct_tail_count_ready, on);
}

uint64_t
ct_get_n_ready_packets(void)
{
    return atomic_count_get64(&n_ready_packets);
}

void
ct_tail_count_ready__(void)
{
    atomic_count_inc64(&n_ready_packets);
}

/* Making events. */

static struct ct_event *
new_event(const struct conn *conn, enum ct_event_type type)
    OVS_REQUIRES(conn->lock)
{
    struct ct_event *event = xzalloc(sizeof *event);

    event->type = type;
    event->id = ct_tail__(conn)->id;
    if (type == CT_EVENT_READY || type == CT_EVENT_CHANGED) {
        event->mark = conn->mark;
        event->label = conn->label;
    }
    return event;
}

void
ct_tail_event(const struct conn *conn, enum ct_event_type type)
{
    const struct ct_tail *tail = ct_tail__(conn);

    if (tail->id
        && (!(tail->flags & CT_TAIL_GONE) || type == CT_EVENT_REMOVED)) {
        ct_event_sink *sink = get_event_sink();

        if (sink) {
            sink(new_event(conn, type));
        }
    }
}

/* OVS treats packets with the ports of FTP and TFTP in a special way even if
 * the connection has no helper, but then does nothing to them, nor to the
 * connection: expectations and skewed sequence numbers come only from a
 * connection with a helper. */
static enum ct_obstacle
get_obstacle(const struct conn *conn)
{
    if (conn->alg || conn->alg_related) {
        return CT_OBSTACLE_ALG;
    } else if (conn->key.nw_proto != IPPROTO_TCP
               && conn->key.nw_proto != IPPROTO_UDP) {
        return CT_OBSTACLE_PROTO;
    } else {
        return CT_OBSTACLE_NONE;
    }
}

static void
tuple_from_key(struct nic_tuple *tuple, const struct conn_key *key)
{
    /* 'tuple' is all zeros. */
    if (key->dl_type == htons(ETH_TYPE_IP)) {
        tuple->src.ipv4 = key->src.addr.ipv4;
        tuple->dst.ipv4 = key->dst.addr.ipv4;
    } else {
        tuple->src.ipv6 = key->src.addr.ipv6;
        tuple->dst.ipv6 = key->dst.addr.ipv6;
    }
    tuple->tp_src = key->src.port;
    tuple->tp_dst = key->dst.port;
}

/* Stores in 'event' what ct(nat) does to packets of direction 'dir', whose
 * tuple is there already: what OVS calls "key" is for them the other
 * direction's, turned round.  Whichever address is translated, both ports are
 * set: OVS changes the source port of a DNAT as well when it needs another
 * tuple. */
static void
set_translation(struct ct_event *event, const struct conn *conn, int dir)
{
    const struct conn_key *key = dir ? &conn->key : &conn->rev_key;
    const struct nic_tuple *tuple = &event->tuple[dir];
    struct nic_tuple *translated = &event->translated[dir];
    bool src = conn->nat_action & NAT_ACTION_SRC;
    struct nic_tuple want;
    unsigned int parts;

    if (!(conn->nat_action & (NAT_ACTION_SRC | NAT_ACTION_DST))) {
        return;
    }
    if (dir) {
        src = !src;
    }

    memset(&want, 0, sizeof want);
    tuple_from_key(&want, key);
    if (src) {
        /* The source becomes the destination of the other direction. */
        parts = NIC_TUPLE_SRC;
        if (want.tp_src != tuple->tp_dst) {
            parts |= NIC_TUPLE_DST;
        }
    } else {
        parts = NIC_TUPLE_DST;
        if (want.tp_dst != tuple->tp_src) {
            parts |= NIC_TUPLE_SRC;
        }
    }
    if (parts & NIC_TUPLE_SRC) {
        translated->src = src ? want.dst : tuple->src;
        translated->tp_src = want.tp_dst;
    }
    if (parts & NIC_TUPLE_DST) {
        translated->dst = src ? tuple->dst : want.src;
        translated->tp_dst = want.tp_src;
    }
    event->nat_parts[dir] = parts;
    event->nat_state[dir] = src ? CS_SRC_NAT : CS_DST_NAT;
}

/* Returns true if 'tail', of an established connection that the engine does
 * not know yet, may be announced. */
static bool
may_announce(struct ct_tail *tail)
{
    uint64_t n = tail->n_packets[0] + tail->n_packets[1];
    unsigned int min;
    bool on;

    atomic_read_relaxed(&min_packets, &min);
    if (!tail->n_packets[0] || !tail->n_packets[1] || n < min) {
        return false;
    }

    atomic_read_relaxed(&announce, &on);
    if (!on && !(tail->flags & CT_TAIL_UNANNOUNCED)) {
        tail->flags |= CT_TAIL_UNANNOUNCED;
        atomic_count_inc64(&n_unannounced);
    }
    return on;
}

void
ct_tail_ready__(struct ct_tail *tail, struct conn *conn, struct conntrack *ct,
                long long int now_ms)
{
    ct_event_sink *sink = get_event_sink();

    if (!sink || tail->flags & CT_TAIL_GONE) {
        return;
    }
    if (tail->flags & CT_TAIL_ANNOUNCED
        && (uint16_t) (now_ms - tail->ready_ms) < MOVE_INTERVAL_MS) {
        return;
    }
    if (!tail->id) {
        if (!may_announce(tail)) {
            return;
        }
        tail->id = atomic_count_inc64(&last_id) + 1;
    }
    tail->flags |= CT_TAIL_ANNOUNCED;
    tail->flags &= ~CT_TAIL_MOVED;
    tail->ready_ms = now_ms;
    tcp_resync_untold(&tail->resync);

    struct ct_event *event = new_event(conn, CT_EVENT_READY);
    event->conn = conn;
    event->ct = ct;
    event->dl_type = conn->key.dl_type;
    event->nw_proto = conn->key.nw_proto;
    event->zone = conn->key.zone;
    event->obstacle = get_obstacle(conn);
    tuple_from_key(&event->tuple[0], &conn->key);
    tuple_from_key(&event->tuple[1], &conn->rev_key);
    for (int i = 0; i < 2; i++) {
        if (tail->n_packets[i]) {
            event->ingress[i] = tail->ingress[i];
        } else {
            event->ingress[i].in_port = ODPP_NONE;
        }
        set_translation(event, conn, i);
    }
    sink(event);
}

/* Returns the outermost VLAN tag of 'packet', as flow_extract() does. */
static union flow_vlan_hdr
get_vlan(const struct dp_packet *packet, const struct eth_header *eth)
{
    union flow_vlan_hdr vlan = { .qtag = 0 };

    if (eth && eth_type_vlan(eth->eth_type)
        && dp_packet_size(packet) >= VLAN_ETH_HEADER_LEN) {
        const struct vlan_eth_header *veth
            = ALIGNED_CAST(const struct vlan_eth_header *, eth);

        vlan.tpid = veth->veth_type;
        vlan.tci = veth->veth_tci | htons(VLAN_CFI);
    }
    return vlan;
}

static void
saw_packet(struct ct_tail *tail, const struct dp_packet *packet, bool reply)
{
    const struct eth_header *eth = dp_packet_eth(packet);
    struct ct_ingress *last = &tail->ingress[reply];
    struct ct_ingress ingress = {
        .in_port = packet->md.in_port.odp_port,
        .dl_src = eth ? eth->eth_src : eth_addr_zero,
        .dl_dst = eth ? eth->eth_dst : eth_addr_zero,
        .vlan = get_vlan(packet, eth),
    };

    if (ingress.in_port != last->in_port
        || ingress.vlan.qtag != last->vlan.qtag
        || !eth_addr_equals(ingress.dl_src, last->dl_src)
        || !eth_addr_equals(ingress.dl_dst, last->dl_dst)) {
        if (tail->flags & CT_TAIL_ANNOUNCED) {
            tail->flags |= CT_TAIL_MOVED;
        }
        *last = ingress;
    }
    tail->n_packets[reply]++;
    tail->n_bytes[reply] += dp_packet_size(packet);
}

void
ct_tail_saw_first_packet(struct ct_tail *tail, const struct dp_packet *packet)
{
    saw_packet(tail, packet, false);
}

void
ct_tail_saw_packet(struct ct_tail *tail, const struct dp_packet *packet,
                   bool reply)
{
    /* OVS clears the state when a packet enters another zone. */
    if (!(packet->md.ct_state & CS_TRACKED)) {
        saw_packet(tail, packet, reply);
    }
}

/* Life of a connection. */

void
ct_tail_force_expire(struct conn *conn)
{
    struct ct_tail *tail = ct_tail(conn);

    if (!tail) {
        atomic_store_relaxed(&conn->expiration, 0);
        return;
    }

    ovs_mutex_lock(&conn->lock);
    atomic_store_relaxed(&conn->expiration, 0);
    ct_tail_event(conn, CT_EVENT_EXPIRED);
    tail->flags |= CT_TAIL_GONE;
    ovs_mutex_unlock(&conn->lock);
}

void
ct_tail_removed(struct conn *conn)
{
    struct ct_tail *tail = ct_tail(conn);

    if (tail) {
        /* A thread that found 'conn' before may still update it: it must not
         * announce it again. */
        ovs_mutex_lock(&conn->lock);
        tail->flags |= CT_TAIL_GONE;
        ct_tail_event(conn, CT_EVENT_REMOVED);
        ovs_mutex_unlock(&conn->lock);
    }
}

long long int
ct_tail_timeout(const struct conn *conn, struct conntrack *ct,
                enum ct_timeout tm)
{
    struct conn scratch;

    memset(&scratch, 0, sizeof scratch);
    scratch.key.zone = conn->key.zone;
    scratch.tp_id = conn->tp_id;
    conn_init_expiration(ct, &scratch, tm, 0);
    return ct_conn_expiration(&scratch);
}

/* OVS itself stores an expiration without reading the last one, and does so
 * without the lock of the connection when it expires it by force (our hook
 * takes the lock).  Compare-and-swap makes sure that nothing that was stored
 * meanwhile is lost, whoever stored it. */
void
ct_tail_set_expiration(struct conn *conn, long long int when_ms,
                       long long int now_ms)
{
    long long int old = ct_conn_expiration(conn);

    while (old > 0 && old > now_ms
           && !atomic_compare_exchange_weak_relaxed(&conn->expiration, &old,
                                                    MAX(when_ms, 1))) {
        continue;
    }
}

long long int
ct_conn_expiration(const struct conn *conn)
{
    long long int expiration;

    atomic_read_relaxed(&CONST_CAST(struct conn *, conn)->expiration,
                        &expiration);
    return expiration;
}

/* By protocol. */

static bool
has_tcp(const struct conn *conn)
{
    return conn->key.nw_proto == IPPROTO_TCP;
}

static bool
is_established(const struct conn *conn)
{
    return (has_tcp(conn)
            ? ct_tcp_is_established(conn)
            : ct_other_is_established(conn));
}

static enum ct_close
get_close(const struct conn *conn, const struct ct_tail *tail)
{
    if (tcp_resync_is_pending(&tail->resync)) {
        return CT_CLOSE_PENDING;
    } else if (has_tcp(conn) && !ct_tcp_is_established(conn)) {
        return CT_CLOSE_DONE;
    } else {
        return CT_CLOSE_NONE;
    }
}

bool
ct_conn_arm(struct conn *conn, struct conntrack *ct OVS_UNUSED)
{
    struct ct_tail *tail = ct_tail(conn);
    bool ok = false;

    if (tail) {
        ovs_mutex_lock(&conn->lock);
        if (tail->resync.mode == TCP_RESYNC_ARMED) {
            ok = true;
        } else if (!(tail->flags & CT_TAIL_GONE) && is_established(conn)
                   && ct_conn_expiration(conn) > time_msec()
                   && !tcp_resync_is_pending(&tail->resync)) {
            if (has_tcp(conn)) {
                ct_tcp_arm(conn);
            } else {
                tail->resync.mode = TCP_RESYNC_ARMED;
            }
            ok = true;
        }
        ovs_mutex_unlock(&conn->lock);
    }
    return ok;
}

enum ct_close
ct_conn_disarm(struct conn *conn, struct conntrack *ct,
               const struct nic_counter carried[2], long long int now_ms)
{
    struct ct_tail *tail = ct_tail(conn);
    enum ct_close close = CT_CLOSE_NONE;

    if (tail) {
        ovs_mutex_lock(&conn->lock);
        if (tail->resync.mode == TCP_RESYNC_ARMED) {
            tail->flags &= ~CT_TAIL_ANNOUNCED;
            if (has_tcp(conn)) {
                ct_tcp_disarm(conn, ct, carried, now_ms);
            } else {
                tail->resync.mode = TCP_RESYNC_STRICT;
            }
        }
        close = get_close(conn, tail);
        ovs_mutex_unlock(&conn->lock);
    }
    return close;
}

enum ct_close
ct_conn_judge(struct conn *conn, struct conntrack *ct, long long int now_ms)
{
    struct ct_tail *tail = ct_tail(conn);
    enum ct_close close = CT_CLOSE_NONE;

    if (tail) {
        ovs_mutex_lock(&conn->lock);
        if (tail->resync.mode == TCP_RESYNC_RELEARN) {
            ct_tcp_judge(conn, ct, now_ms);
            if (!tcp_resync_is_pending(&tail->resync)) {
                /* The caller will not call again. */
                tcp_resync_untold(&tail->resync);
            }
        }
        close = get_close(conn, tail);
        ovs_mutex_unlock(&conn->lock);
    }
    return close;
}

void
ct_conn_reannounce(struct conn *conn)
{
    struct ct_tail *tail = ct_tail(conn);

    if (tail) {
        ovs_mutex_lock(&conn->lock);
        tail->flags &= ~CT_TAIL_ANNOUNCED;
        ovs_mutex_unlock(&conn->lock);
    }
}

long long int
ct_conn_timeout(const struct conn *conn, struct conntrack *ct)
{
    return ct_tail_timeout(conn, ct, has_tcp(conn) ? CT_TM_TCP_ESTABLISHED
                                                   : CT_TM_OTHER_BIDIR);
}

long long int
ct_conn_extend(struct conn *conn, struct conntrack *ct, long long int used_ms,
               long long int now_ms)
{
    struct ct_tail *tail = ct_tail(conn);
    long long int expiration;

    if (tail) {
        ovs_mutex_lock(&conn->lock);
        if (is_established(conn)) {
            long long int when = (MIN(used_ms, now_ms)
                                  + ct_conn_timeout(conn, ct));

            if (when > ct_conn_expiration(conn)) {
                ct_tail_set_expiration(conn, when, now_ms);
            }
        }
        expiration = ct_conn_expiration(conn);
        ovs_mutex_unlock(&conn->lock);
    } else {
        expiration = ct_conn_expiration(conn);
    }
    return expiration;
}

void
ct_conn_get_counters(const struct conn *conn_, struct nic_counter counters[2])
{
    struct conn *conn = CONST_CAST(struct conn *, conn_);
    const struct ct_tail *tail = ct_tail(conn);

    ovs_mutex_lock(&conn->lock);
    for (int i = 0; i < 2; i++) {
        counters[i] = (struct nic_counter) {
            .packets = tail->n_packets[i],
            .bytes = tail->n_bytes[i],
        };
    }
    ovs_mutex_unlock(&conn->lock);
}
