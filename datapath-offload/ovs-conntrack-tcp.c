/* SPDX-License-Identifier: Apache-2.0 */

/* OVS's conntrack unit for TCP, with hooks:
 *
 *   - The vtable 'ct_proto_tcp': a connection gets a 'struct ct_tail', its
 *     packets are noted there, and its sequence tracking has the modes that
 *     ct-conn.h describes.
 *
 * Windows are the business of tcp-resync.c.  Here is what needs the private
 * state of a connection: the modes around OVS's own tcp_conn_update(), and
 * what a FIN or RST that was believed later does to the state. */

#include <config.h>

#include "conntrack-private.h"
#include "ct-tail.h"
#include "hook-version.h"
#include "tcp-resync.h"
#include "util.h"

/* Hook: the allocation in tcp_new_conn(). */
#define xzalloc(SIZE) ct_tail_alloc(SIZE)
#define ct_proto_tcp ovs_ct_proto_tcp
#include "lib/conntrack-tcp.c"
#undef ct_proto_tcp
#undef xzalloc

_Static_assert(sizeof(struct conn_tcp) <= CT_TAIL_OFFSET,
               "hook ovs-conntrack-tcp.c: struct conn_tcp reaches into struct "
               "ct_tail");
_Static_assert(offsetof(struct conn_tcp, up) == 0,
               "hook ovs-conntrack-tcp.c: struct conn_tcp does not start with "
               "struct conn");
_Static_assert(MAXACKWINDOW == TCP_RESYNC_ACK_AHEAD
               && TCP_MAX_WSCALE == 14,
               "hook ovs-conntrack-tcp.c: tcp-resync.c assumes other limits");

static bool
is_established(const struct conn_tcp *conn)
{
    return (conn->peer[0].state == CT_DPIF_TCPS_ESTABLISHED
            && conn->peer[1].state == CT_DPIF_TCPS_ESTABLISHED);
}

bool
ct_tcp_is_established(const struct conn *conn)
{
    return is_established(conn_tcp_cast(conn));
}

/* Windows, to and from tcp-resync.c. */

static uint8_t
get_scale(const struct conn_tcp *conn, int dir)
{
    uint8_t all = conn->peer[0].wscale & conn->peer[1].wscale;

    return (all & CT_WSCALE_FLAG ? conn->peer[dir].wscale & CT_WSCALE_MASK
            : all & CT_WSCALE_UNKNOWN ? TCP_MAX_WSCALE
            : 0);
}

static void
get_windows(const struct conn_tcp *conn, struct tcp_window w[2])
{
    for (int i = 0; i < 2; i++) {
        w[i] = (struct tcp_window) {
            .seqlo = conn->peer[i].seqlo,
            .seqhi = conn->peer[i].seqhi,
            .max_win = conn->peer[i].max_win,
            .scale = get_scale(conn, i),
        };
    }
}

static void
set_windows(struct conn_tcp *conn, const struct tcp_window w[2])
{
    for (int i = 0; i < 2; i++) {
        conn->peer[i].seqlo = w[i].seqlo;
        conn->peer[i].seqhi = w[i].seqhi;
        conn->peer[i].max_win = w[i].max_win;
    }
}

/* Believing a FIN or RST. */

/* Returns the timeout that OVS gives a connection in the state of 'conn'. */
static enum ct_timeout
get_timeout(const struct conn_tcp *conn)
{
    enum ct_dpif_tcp_state a = conn->peer[0].state;
    enum ct_dpif_tcp_state b = conn->peer[1].state;
    enum ct_dpif_tcp_state least = MIN(a, b);
    enum ct_dpif_tcp_state most = MAX(a, b);

    return (least >= CT_DPIF_TCPS_FIN_WAIT_2 ? CT_TM_TCP_CLOSED
            : least >= CT_DPIF_TCPS_CLOSING ? CT_TM_TCP_FIN_WAIT
            : least < CT_DPIF_TCPS_ESTABLISHED ? CT_TM_TCP_OPENING
            : most >= CT_DPIF_TCPS_CLOSING ? CT_TM_TCP_CLOSING
            : CT_TM_TCP_ESTABLISHED);
}

/* Changes the timeout of 'conn', which just went to another state, as OVS
 * would have done when it had seen the FIN or RST of 'dir' in its turn.
 * 'before' is the timeout that it had until then. */
static void
update_expiration(struct conn_tcp *conn, const struct tcp_resync *r,
                  struct conntrack *ct, enum ct_timeout before, int dir,
                  long long int now_ms)
{
    /* The latest packet is this one, or a later one that had the timeout of
     * the state that the connection should have left. */
    long long int used = ct_conn_expiration(&conn->up)
        - ct_tail_timeout(&conn->up, ct, before);

    used = MAX(used, now_ms - (long long int) tcp_resync_age(r, dir, now_ms));
    used = MIN(used, now_ms);
    ct_tail_set_expiration(
        &conn->up, used + ct_tail_timeout(&conn->up, ct, get_timeout(conn)),
        now_ms);
}

/* Changes 'conn' as OVS would have done when it had seen the recorded FIN of
 * 'dir' in its turn, and the other direction's acknowledgment. */
static void
believe_fin(struct conn_tcp *conn, struct tcp_resync *r, struct conntrack *ct,
            int dir, long long int now_ms)
{
    enum ct_timeout before = get_timeout(conn);
    struct tcp_peer *src = &conn->peer[dir];
    struct tcp_peer *dst = &conn->peer[!dir];
    struct tcp_window w[2];

    if (src->state < CT_DPIF_TCPS_FIN_WAIT_2) {
        src->state = CT_DPIF_TCPS_FIN_WAIT_2;
    }
    if (dst->state == CT_DPIF_TCPS_CLOSING) {
        dst->state = CT_DPIF_TCPS_FIN_WAIT_2;
    }
    update_expiration(conn, r, ct, before, dir, now_ms);

    get_windows(conn, w);
    tcp_resync_believe_fin(r, w, dir);
    set_windows(conn, w);
}

/* The same for the recorded RST of 'dir'. */
static void
believe_rst(struct conn_tcp *conn, struct tcp_resync *r, struct conntrack *ct,
            int dir, long long int now_ms)
{
    enum ct_timeout before = get_timeout(conn);

    conn->peer[0].state = conn->peer[1].state = CT_DPIF_TCPS_TIME_WAIT;
    update_expiration(conn, r, ct, before, dir, now_ms);
    tcp_resync_believe_rst(r, dir);
}

/* Believes the recorded FINs in 'fins' and RSTs in 'rsts', a bit 1 << dir
 * each, in the order in which they were seen. */
static void
believe(struct conn_tcp *conn, struct conntrack *ct, unsigned int fins,
        unsigned int rsts, long long int now_ms)
{
    struct tcp_resync *r = &ct_tail__(&conn->up)->resync;
    int first = (tcp_resync_age(r, 1, now_ms)
                 > tcp_resync_age(r, 0, now_ms));

    for (int i = 0; i < 2; i++) {
        int dir = first ^ i;

        if (fins & r->fin & (1u << dir)) {
            believe_fin(conn, r, ct, dir, now_ms);
        }
        if (rsts & r->rst & (1u << dir)) {
            believe_rst(conn, r, ct, dir, now_ms);
        }
    }
}

void
ct_tcp_arm(struct conn *conn)
{
    struct tcp_window w[2];

    get_windows(conn_tcp_cast(conn), w);
    tcp_resync_arm(&ct_tail__(conn)->resync, w);
}

/* Returns how many bytes of payload were at most in what 'carried' says that a
 * NIC carried of 'conn': VLAN tags, options and padding are left in. */
static uint64_t
get_payload(const struct conn *conn, const struct nic_counter *carried)
{
    uint64_t headers = (ETH_HEADER_LEN
                        + (conn->key.dl_type == htons(ETH_TYPE_IP)
                           ? IP_HEADER_LEN : IPV6_HEADER_LEN)
                        + TCP_HEADER_LEN);

    headers *= carried->packets;
    return carried->bytes - MIN(carried->bytes, headers);
}

void
ct_tcp_disarm(struct conn *conn_, struct conntrack *ct,
              const struct nic_counter carried[2], long long int now_ms)
{
    struct conn_tcp *conn = conn_tcp_cast(conn_);
    struct ct_tail *tail = ct_tail__(conn_);
    uint64_t payload[2] = { UINT64_MAX, UINT64_MAX };
    struct tcp_window w[2];

    if (carried && !tcp_bypass_seq_chk(ct)) {
        payload[0] = get_payload(conn_, &carried[0]);
        payload[1] = get_payload(conn_, &carried[1]);
    }
    get_windows(conn, w);
    tcp_resync_disarm(&tail->resync, w, payload);
    set_windows(conn, w);
    believe(conn, ct, tail->resync.proven, 0, now_ms);
}

void
ct_tcp_judge(struct conn *conn_, struct conntrack *ct, long long int now_ms)
{
    struct conn_tcp *conn = conn_tcp_cast(conn_);
    struct ct_tail *tail = ct_tail__(conn_);
    const struct tcp_resync *r = &tail->resync;
    unsigned int dirs = 0;

    for (int i = 0; i < 2; i++) {
        if (tcp_resync_age(r, i, now_ms) >= CT_JUDGE_MS) {
            dirs |= 1u << i;
        }
    }
    believe(conn, ct, dirs, dirs, now_ms);
}

/* The packet path. */

/* Returns what OVS says of 'pkt', without any effect on 'conn'. */
static enum ct_update_res
update_copy(struct conntrack *ct, const struct conn_tcp *conn,
            struct dp_packet *pkt, bool reply, long long now)
{
    struct conn_tcp copy;

    memset(&copy, 0, sizeof copy);
    copy.up.key.zone = conn->up.key.zone;
    copy.up.tp_id = conn->up.tp_id;
    memcpy(copy.peer, conn->peer, sizeof copy.peer);
    return tcp_conn_update(ct, &copy.up, pkt, reply, now);
}

/* Returns true if OVS takes a RST with any sequence number for 'conn'. */
static bool
is_loose(const struct conn_tcp *conn)
{
    return (conn->peer[0].state >= CT_DPIF_TCPS_FIN_WAIT_2
            || conn->peer[1].state >= CT_DPIF_TCPS_FIN_WAIT_2);
}

/* tcp_conn_update() in ARMED and RELEARN modes. */
static enum ct_update_res
resync_conn_update(struct conntrack *ct, struct conn_tcp *conn,
                   struct ct_tail *tail, struct dp_packet *pkt, bool reply,
                   long long now)
{
    struct tcp_resync *r = &tail->resync;
    enum ct_update_res res;
    struct tcp_segment seg;
    struct tcp_window w[2];

    tcp_segment_from_packet(&seg, pkt);
    if (tcp_invalid_flags(seg.flags)) {
        return tcp_conn_update(ct, &conn->up, pkt, reply, now);
    }
    if (seg.flags & TCP_SYN) {
        if (tcp_resync_is_blind(r)
            && (is_established(conn) || tcp_resync_is_pending(r))) {
            res = update_copy(ct, conn, pkt, reply, now);
            if (res == CT_UPDATE_VALID) {
                tcp_resync_saw(r, reply, &seg);
            }
            return res;
        }
        return tcp_conn_update(ct, &conn->up, pkt, reply, now);
    }

    get_windows(conn, w);
    if (!tcp_bypass_seq_chk(ct)) {
        if (!tcp_resync_is_possible(r, w, reply, &seg)
            && !(seg.flags & TCP_RST && is_loose(conn))) {
            return CT_UPDATE_INVALID;
        } else if (!tcp_resync_is_possible_ack(r, w, reply, &seg)) {
            /* It proves nothing in any case. */
            return (is_loose(conn) || tcp_resync_is_pending(r)
                    ? CT_UPDATE_VALID : CT_UPDATE_INVALID);
        }
    }
    tcp_resync_judge(r, w, reply, &seg);
    if (r->mode == TCP_RESYNC_RELEARN && r->proven) {
        believe(conn, ct, r->proven, 0, now);
        get_windows(conn, w);
    }

    /* A FIN or RST that brings no news is an ordinary segment. */
    enum ct_dpif_tcp_state after = (seg.flags & TCP_RST
                                    ? CT_DPIF_TCPS_TIME_WAIT
                                    : CT_DPIF_TCPS_CLOSING);
    if (conn->peer[reply].state < after
        && tcp_resync_withholds(r, w, reply, &seg)) {
        if (tcp_resync_record(r, w, reply, &seg, now)) {
            ct_tail_event(&conn->up, CT_EVENT_CLOSING);
        }
        return CT_UPDATE_VALID;
    }

    tcp_resync_adjust(r, w, reply, &seg);
    set_windows(conn, w);
    res = tcp_conn_update(ct, &conn->up, pkt, reply, now);
    get_windows(conn, w);
    tcp_resync_advance(r, w);
    return res;
}

/* Returns true if 'r' has no reason to hold back CT_EVENT_READY.  It must not
 * come while something is recorded: it would take back CT_EVENT_CLOSING. */
static bool
is_ready(const struct tcp_resync *r)
{
    return (r->mode == TCP_RESYNC_ARMED
            ? !tcp_resync_is_pending(r)
            : !tcp_resync_is_blind(r));
}

static struct conn *
hook_tcp_new_conn(struct conntrack *ct, struct dp_packet *pkt, long long now,
                  uint32_t tp_id)
{
    struct conn *conn = tcp_new_conn(ct, pkt, now, tp_id);

    ct_tail_saw_first_packet(ct_tail__(conn), pkt);
    return conn;
}

static enum ct_update_res
hook_tcp_conn_update(struct conntrack *ct, struct conn *conn_,
                     struct dp_packet *pkt, bool reply, long long now)
{
    struct conn_tcp *conn = conn_tcp_cast(conn_);
    struct ct_tail *tail = ct_tail__(conn_);
    enum ct_update_res res;

    res = (OVS_LIKELY(tail->resync.mode == TCP_RESYNC_STRICT)
           ? tcp_conn_update(ct, conn_, pkt, reply, now)
           : resync_conn_update(ct, conn, tail, pkt, reply, now));
    if (res == CT_UPDATE_VALID || res == CT_UPDATE_VALID_NEW) {
        ct_tail_saw_packet(tail, pkt, reply);
        if (is_established(conn) && is_ready(&tail->resync)) {
            ct_tail_ready(tail, conn_, ct, now);
        }
    }
    return res;
}

struct ct_l4_proto ct_proto_tcp = {
    .new_conn = hook_tcp_new_conn,
    .valid_new = tcp_valid_new,
    .conn_update = hook_tcp_conn_update,
    .conn_get_protoinfo = tcp_conn_get_protoinfo,
};
