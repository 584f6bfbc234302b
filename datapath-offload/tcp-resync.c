/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>
#include "tcp-resync.h"

#include <string.h>

#include "dp-packet.h"
#include "lib/mutant.h"
#include "packets.h"
#include "unaligned.h"
#include "util.h"

#define BOTH 3

/* Returns how far 'a' is ahead of 'b': negative if it is behind. */
static int32_t
ahead(uint32_t a, uint32_t b)
{
    return (int32_t) (a - b);
}

static bool
is_between(int32_t x, int64_t min, int64_t max)
{
    return x >= min && x <= max;
}

/* Returns the greatest window that the peer of 'w' can announce, in bytes. */
static uint32_t
greatest_window(const struct tcp_window *w)
{
    return UINT32_C(0xffff) << w->scale;
}

/* Returns how far beyond an acknowledgment by the peer of 'w' data may be.  It
 * may have announced a greater window before, and the acknowledgment may have
 * been overtaken by newer ones, which are worth another window.  (Not with the
 * greatest scale: twice 2**30 is no distance modulo 2**32 any more.) */
static uint32_t
reach(const struct tcp_window *w)
{
    return w->scale < 14 ? 2 * greatest_window(w) : greatest_window(w);
}

void
tcp_segment_from_packet(struct tcp_segment *seg,
                        const struct dp_packet *packet)
{
    const struct tcp_header *tcp = dp_packet_l4(packet);

    seg->flags = TCP_FLAGS(tcp->tcp_ctl);
    seg->win = ntohs(tcp->tcp_winsz);
    seg->seq = ntohl(get_16aligned_be32(&tcp->tcp_seq));
    seg->ack = ntohl(get_16aligned_be32(&tcp->tcp_ack));
    seg->end = (seg->seq + dp_packet_get_tcp_payload_length(packet)
                + (seg->flags & TCP_SYN ? 1 : 0)
                + (seg->flags & TCP_FIN ? 1 : 0));
}

/* Adds 'n' bytes to what peer 'dir' may have sent. */
static void
add_to_span(struct tcp_resync *r, int dir, uint64_t n)
{
    r->span[dir] = MIN((uint64_t) UINT32_MAX - r->span[dir], n) + r->span[dir];
}

void
tcp_resync_arm(struct tcp_resync *r, const struct tcp_window w[2])
{
    struct tcp_resync armed = { .mode = TCP_RESYNC_ARMED };

    for (int i = 0; i < 2; i++) {
        if (r->mode == TCP_RESYNC_RELEARN && r->known != BOTH) {
            armed.low[i] = r->low[i];
            armed.span[i] = r->span[i];
        } else {
            armed.low[i] = w[i].seqlo;
            if (r->mode == TCP_RESYNC_RELEARN && !(r->settled & (1 << i))) {
                /* 'seqhi' is a limit already: see get_limit(). */
                int64_t span = (int64_t) ahead(w[i].seqhi, w[i].seqlo)
                               - greatest_window(&w[!i]);

                armed.span[i] = MAX(span, 1);
            }
        }
    }
    *r = armed;
}

/* Returns true if 'x' is not before 'first' and at most 'n' behind it. */
static bool
is_within(uint32_t x, uint32_t first, uint64_t n)
{
    return (uint32_t) (x - first) <= n;
}

/* Returns how far beyond 'r->low[dir]' peer 'dir' may send at most: the other
 * peer has acknowledged nothing that did not pass here. */
static uint64_t
get_limit(const struct tcp_resync *r, const struct tcp_window w[2], int dir)
{
    return (uint64_t) r->span[dir] + greatest_window(&w[!dir]);
}

/* Returns true if OVS may accept a RST of direction 'dir' with sequence number
 * 'seq', see is_exact(): without payload its 'seqlo' did not move; otherwise
 * it may be anywhere up to the limit, as bytes may have been lost before they
 * came here. */
static bool
is_possible_rst(const struct tcp_resync *r, const struct tcp_window w[2],
                int dir, uint32_t seq)
{
    uint64_t n = r->span[dir] ? get_limit(r, w, dir) : 0;

    return (MUTANT(rst_unbounded)
            || is_within(seq, r->low[dir] - 1, n + 2));
}

/* Returns the least sequence number that OVS may accept of direction 'dir'. */
static uint32_t
first_possible(const struct tcp_resync *r, const struct tcp_window w[2],
               int dir)
{
    return r->low[dir] - greatest_window(&w[!dir]) - TCP_RESYNC_ACK_AHEAD;
}

/* Returns true if OVS may accept a segment of direction 'dir', which is not
 * empty, as far as its sequence numbers tell.  It takes what is at most a
 * window old, and acknowledgments of up to TCP_RESYNC_ACK_AHEAD bytes that it
 * did not see; when a FIN was acknowledged it takes as much more on both
 * sides. */
static bool
is_possible_data(const struct tcp_resync *r, const struct tcp_window w[2],
                 int dir, uint32_t seq, uint32_t end)
{
    uint32_t first = first_possible(r, w, dir);
    uint64_t n = (r->low[dir] - first + get_limit(r, w, dir)
                  + 2 * TCP_RESYNC_ACK_AHEAD);

    return is_within(seq, first, n) && is_within(end, first, n);
}

bool
tcp_resync_is_possible(const struct tcp_resync *r,
                       const struct tcp_window w[2], int dir,
                       const struct tcp_segment *seg)
{
    if (r->mode != TCP_RESYNC_RELEARN || r->known == BOTH) {
        return true;
    }
    if (seg->flags & TCP_RST) {
        /* If the FIN is genuine, and acknowledged, OVS takes any RST. */
        return r->fin || is_possible_rst(r, w, dir, seg->seq);
    }
    /* OVS does not look at the sequence number of one that is empty. */
    return (seg->seq == seg->end
            || is_possible_data(r, w, dir, seg->seq, seg->end));
}

bool
tcp_resync_is_possible_ack(const struct tcp_resync *r,
                           const struct tcp_window w[2], int dir,
                           const struct tcp_segment *seg)
{
    uint64_t before = (uint64_t) TCP_RESYNC_ACK_AHEAD << w[dir].scale;

    return (r->mode != TCP_RESYNC_RELEARN || r->known == BOTH
            || !(seg->flags & TCP_ACK) || seg->flags & TCP_RST
            || is_within(seg->ack, r->low[!dir] - before,
                         before + get_limit(r, w, !dir)
                         + TCP_RESYNC_ACK_AHEAD));
}

void
tcp_resync_saw(struct tcp_resync *r, int dir, const struct tcp_segment *seg)
{
    add_to_span(r, dir, seg->end - seg->seq);
}

bool
tcp_resync_is_blind(const struct tcp_resync *r)
{
    return (r->mode == TCP_RESYNC_ARMED
            || (r->mode == TCP_RESYNC_RELEARN && r->known != BOTH)
            || tcp_resync_is_pending(r));
}

static bool
has_fin(const struct tcp_resync *r, int dir)
{
    return r->fin & (1 << dir);
}

static bool
has_rst(const struct tcp_resync *r, int dir)
{
    return r->rst & (1 << dir);
}

static bool
is_proven(const struct tcp_resync *r, int dir)
{
    return r->proven & (1 << dir);
}

static void
forget_fin(struct tcp_resync *r, int dir)
{
    r->fin &= ~(1 << dir);
    r->proven &= ~(1 << dir);
}

static void
forget_rst(struct tcp_resync *r, int dir)
{
    r->rst &= ~(1 << dir);
}

void
tcp_resync_disarm(struct tcp_resync *r, struct tcp_window w[2],
                  const uint64_t carried[2])
{
    r->mode = TCP_RESYNC_RELEARN;
    r->known = r->settled = 0;
    r->told = 0;
    for (int i = 0; i < 2; i++) {
        w[i].max_win = UINT16_MAX;
        add_to_span(r, i, carried[i]);
        if (has_fin(r, i)
            && !is_possible_data(r, w, i, r->fin_end[i], r->fin_end[i])) {
            forget_fin(r, i);
        }
    }
    for (int i = 0; i < 2; i++) {
        if (has_fin(r, i) && has_fin(r, !i)
            && r->fin_ack[!i] == r->fin_end[i]) {
            r->proven |= 1 << i;
        }
        /* If the FIN is genuine, and acknowledged, OVS takes any RST. */
        if (has_rst(r, i) && !r->fin
            && !is_possible_rst(r, w, i, r->rst_seq[i])) {
            forget_rst(r, i);
        }
    }
}

/* Returns true if OVS would accept a RST with sequence number 'seq' where
 * 'expected' comes next. */
static bool
is_exact(uint32_t seq, uint32_t expected)
{
    return is_between(ahead(seq, expected), -1, 1);
}

/* The FIN of 'dir' is genuine: a RST must come right behind it. */
static void
judge_rst_by_fin(struct tcp_resync *r, int dir)
{
    if (has_rst(r, dir) && !is_exact(r->rst_seq[dir], r->fin_end[dir])) {
        forget_rst(r, dir);
    }
}

/* Judges what is recorded of the direction opposite to 'dir'. */
static void
judge_by_ack(struct tcp_resync *r, const struct tcp_window w[2], int dir,
             const struct tcp_segment *seg)
{
    uint32_t limit = reach(&w[dir]);
    int other = !dir;

    if (!(seg->flags & TCP_ACK) || seg->flags & TCP_RST
        || is_proven(r, other)) {
        return;
    }
    if (has_rst(r, other)
        && !is_between(ahead(r->rst_seq[other], seg->ack), -1, limit)) {
        forget_rst(r, other);
    }
    if (has_fin(r, other)) {
        if (seg->ack == r->fin_end[other]) {
            r->proven |= 1 << other;
            judge_rst_by_fin(r, other);
        } else if (!is_between(ahead(r->fin_end[other], seg->ack), 0,
                               (int64_t) limit + UINT16_MAX)) {
            /* The receiver has more than ended here, or is too far away to
             * have ever allowed this. */
            forget_fin(r, other);
        }
    }
}

/* Judges what is recorded of direction 'dir' itself. */
static void
judge_by_seq(struct tcp_resync *r, const struct tcp_window w[2], int dir,
             const struct tcp_segment *seg)
{
    if (seg->flags & TCP_RST || is_proven(r, dir)) {
        return;
    }
    if (has_fin(r, dir)
        && !is_between(ahead(r->fin_end[dir], seg->end), 0,
                       reach(&w[!dir]))) {
        forget_fin(r, dir);
    }
    if (has_rst(r, dir) && !is_exact(seg->seq, r->rst_seq[dir])) {
        forget_rst(r, dir);
    }
}

void
tcp_resync_judge(struct tcp_resync *r, const struct tcp_window w[2], int dir,
                 const struct tcp_segment *seg)
{
    if (tcp_resync_is_pending(r) && !MUTANT(close_believed)
        && !(seg->flags & TCP_FIN && r->mode == TCP_RESYNC_ARMED)) {
        judge_by_ack(r, w, dir, seg);
        judge_by_seq(r, w, dir, seg);
    }
}

/* Returns true if 'seg', of direction 'dir', can belong to the same connection
 * as what the other direction showed. */
static bool
fits(const struct tcp_window w[2], int dir, const struct tcp_segment *seg)
{
    const struct tcp_window *src = &w[dir];
    const struct tcp_window *dst = &w[!dir];

    /* 'src->seqhi' is what 'dst' acknowledged plus its reach.  Up to a window
     * before that acknowledgment may be a retransmission. */
    uint32_t span = reach(dst) + greatest_window(dst);

    if (src->seqhi - seg->end > span || src->seqhi - seg->seq > span) {
        return false;
    }
    return (!(seg->flags & TCP_ACK)
            || is_between(ahead(seg->ack, dst->seqlo),
                          -((int64_t) TCP_RESYNC_ACK_AHEAD << src->scale),
                          greatest_window(src)));
}

bool
tcp_resync_withholds(const struct tcp_resync *r, const struct tcp_window w[2],
                     int dir, const struct tcp_segment *seg)
{
    if (!(seg->flags & (TCP_FIN | TCP_RST))) {
        return false;
    }
    switch ((enum tcp_resync_mode) r->mode) {
    case TCP_RESYNC_STRICT:
        return false;

    case TCP_RESYNC_ARMED:
        return true;

    case TCP_RESYNC_RELEARN:
        if (r->known != BOTH) {
            /* A RST is only as good as our knowledge of 'seqlo'. */
            return (seg->flags & TCP_RST || !(r->known & (1 << !dir))
                    || !fits(w, dir, seg));
        }
        return (seg->flags & TCP_RST && !(r->settled & (1 << dir))
                && ahead(seg->seq, w[dir].seqlo) > 1
                && ahead(w[dir].seqhi, seg->seq) >= 0);
    }
    OVS_NOT_REACHED();
}

uint32_t
tcp_resync_age(const struct tcp_resync *r, int dir, long long int now_ms)
{
    /* The caller's clock and that of the packet are not the same. */
    return MAX(ahead(now_ms, r->time_ms[dir]), 0);
}

/* Returns true if a FIN of direction 'dir' that ends at 'end' takes the place
 * of the recorded one. */
static bool
is_better_fin(const struct tcp_resync *r, const struct tcp_window w[2],
              int dir, uint32_t end)
{
    if (!has_fin(r, dir)) {
        return true;
    } else if (r->known != BOTH) {
        uint32_t first = first_possible(r, w, dir);

        return end - first < r->fin_end[dir] - first;
    } else {
        return !is_proven(r, dir) && ahead(end, r->fin_end[dir]) > 0;
    }
}

static bool
record_fin(struct tcp_resync *r, const struct tcp_window w[2], int dir,
           const struct tcp_segment *seg, long long int now_ms)
{
    if (is_better_fin(r, w, dir, seg->end)) {
        forget_fin(r, dir);
        r->fin |= 1 << dir;
        r->fin_end[dir] = seg->end;
    } else if (seg->end != r->fin_end[dir]) {
        return false;
    }
    r->fin_ack[dir] = seg->ack;
    r->time_ms[dir] = now_ms;
    return true;
}

static bool
record_rst(struct tcp_resync *r, int dir, const struct tcp_segment *seg,
           long long int now_ms)
{
    if (is_proven(r, dir) && !is_exact(seg->seq, r->fin_end[dir])) {
        return false;
    }
    if (has_rst(r, dir) && r->known != BOTH
        && seg->seq - (r->low[dir] - 1)
           > r->rst_seq[dir] - (r->low[dir] - 1)) {
        return false;
    }
    r->rst |= 1 << dir;
    r->rst_seq[dir] = seg->seq;
    r->time_ms[dir] = now_ms;
    return true;
}

bool
tcp_resync_record(struct tcp_resync *r, const struct tcp_window w[2], int dir,
                  const struct tcp_segment *seg, long long int now_ms)
{
    bool rst = seg->flags & TCP_RST;
    uint8_t told = rst ? TCP_TOLD_RST : TCP_TOLD_FIN;

    if (!(rst ? record_rst(r, dir, seg, now_ms)
              : record_fin(r, w, dir, seg, now_ms))
        || r->told & told) {
        return false;
    }
    r->told |= told;
    return true;
}

void
tcp_resync_untold(struct tcp_resync *r)
{
    r->told = 0;
}

static void
note_known(struct tcp_resync *r, const struct tcp_window w[2], int dir)
{
    if (r->known != BOTH) {
        r->known |= 1 << dir;
        if (r->known == BOTH) {
            r->settle_at[0] = w[0].seqhi;
            r->settle_at[1] = w[1].seqhi;
        }
    }
}

void
tcp_resync_believe_fin(struct tcp_resync *r, struct tcp_window w[2], int dir)
{
    uint32_t end = r->fin_end[dir];

    if (r->mode == TCP_RESYNC_RELEARN) {
        if (!(r->known & (1 << dir))) {
            w[dir].seqlo = end;
            w[!dir].seqhi = r->fin_ack[dir] + reach(&w[dir]);
            if (!(r->known & (1 << !dir))) {
                w[dir].seqhi = end;
                w[!dir].seqlo = r->fin_ack[dir];
            }
            note_known(r, w, dir);
        } else if (ahead(end, w[dir].seqlo) > 0) {
            w[dir].seqlo = end;
        }
        if (ahead(w[dir].seqlo, w[dir].seqhi) > 0) {
            w[dir].seqhi = w[dir].seqlo;
        }
    }
    judge_rst_by_fin(r, dir);
    forget_fin(r, dir);
}

void
tcp_resync_believe_rst(struct tcp_resync *r, int dir)
{
    /* A RST need not have an acknowledgment.  Who comes after it is a
     * straggler or a successor: nothing depends on exact windows. */
    forget_rst(r, dir);
}

/* ARMED: changes as little as makes OVS accept 'seg', so that nothing changes
 * as long as software sees everything. */
static void
follow(struct tcp_resync *r, struct tcp_window w[2], int dir,
       const struct tcp_segment *seg)
{
    struct tcp_window *src = &w[dir];
    struct tcp_window *dst = &w[!dir];
    uint32_t win = (uint32_t) seg->win << src->scale;

    tcp_resync_saw(r, dir, seg);
    if (!is_between(ahead(seg->seq, src->seqlo),
                    -((int64_t) dst->max_win << dst->scale),
                    greatest_window(dst))) {
        src->seqlo = seg->seq;
    }
    if (src->seqhi - seg->end > reach(dst) + greatest_window(dst)) {
        src->seqhi = seg->end;
    }
    if (ahead(src->seqlo, src->seqhi) > 0) {
        src->seqhi = src->seqlo;
    }

    if (!is_between(ahead(seg->ack, dst->seqlo),
                    -((int64_t) TCP_RESYNC_ACK_AHEAD << src->scale),
                    TCP_RESYNC_ACK_AHEAD)) {
        dst->seqlo = seg->ack;
    }
    if (dst->seqhi - seg->ack > reach(src)) {
        dst->seqhi = seg->ack + MAX(win, 1);
    }
    if (ahead(dst->seqlo, dst->seqhi) > 0) {
        dst->seqhi = dst->seqlo;
    }
}

/* RELEARN, not both directions known: believes 'seg'. */
static void
learn(struct tcp_resync *r, struct tcp_window w[2], int dir,
      const struct tcp_segment *seg)
{
    struct tcp_window *src = &w[dir];
    struct tcp_window *dst = &w[!dir];
    bool has_ack = seg->flags & TCP_ACK;

    tcp_resync_saw(r, dir, seg);
    if (r->known & (1 << !dir) && !fits(w, dir, seg)) {
        r->known = 0;
    }
    src->seqlo = seg->seq;
    if (!(r->known & (1 << !dir))) {
        src->seqhi = seg->end;
        if (has_ack) {
            dst->seqlo = seg->ack;
        }
    }
    if (has_ack) {
        dst->seqhi = seg->ack + reach(src);
        if (ahead(dst->seqlo, dst->seqhi) > 0) {
            dst->seqhi = dst->seqlo;
        }
        note_known(r, w, dir);
    }
}

void
tcp_resync_adjust(struct tcp_resync *r, struct tcp_window w[2], int dir,
                  const struct tcp_segment *seg)
{
    struct tcp_window *dst = &w[!dir];

    switch ((enum tcp_resync_mode) r->mode) {
    case TCP_RESYNC_STRICT:
        break;

    case TCP_RESYNC_ARMED:
        follow(r, w, dir, seg);
        break;

    case TCP_RESYNC_RELEARN:
        if (r->known != BOTH) {
            learn(r, w, dir, seg);
        }
        if (r->known == BOTH && !(r->settled & (1 << !dir))
            && seg->flags & TCP_ACK
            && ahead(seg->ack, dst->seqlo) > TCP_RESYNC_ACK_AHEAD
            && ahead(dst->seqhi, seg->ack) >= 0) {
            dst->seqlo = seg->ack - TCP_RESYNC_ACK_AHEAD;
        }
        break;
    }
}

void
tcp_resync_advance(struct tcp_resync *r, const struct tcp_window w[2])
{
    if (MUTANT(checking_stays_off)) {
        r->known = 0;
    }
    if (r->mode == TCP_RESYNC_RELEARN && r->known == BOTH) {
        for (int i = 0; i < 2; i++) {
            if (ahead(w[i].seqlo, r->settle_at[i]) >= 0) {
                r->settled |= 1 << i;
            }
        }
        if (r->settled == BOTH && !tcp_resync_is_pending(r)) {
            r->mode = TCP_RESYNC_STRICT;
        }
    }
}
