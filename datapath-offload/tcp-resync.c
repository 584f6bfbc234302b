/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>
#include "tcp-resync.h"

#include <string.h>

#include "dp-packet.h"
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

void
tcp_resync_arm(struct tcp_resync *r)
{
    memset(r, 0, sizeof *r);
    r->mode = TCP_RESYNC_ARMED;
}

void
tcp_resync_disarm(struct tcp_resync *r, struct tcp_window w[2])
{
    r->mode = TCP_RESYNC_RELEARN;
    r->known = r->settled = 0;
    r->told = 0;
    for (int i = 0; i < 2; i++) {
        w[i].max_win = UINT16_MAX;
    }
}

bool
tcp_resync_is_blind(const struct tcp_resync *r)
{
    return (r->mode == TCP_RESYNC_ARMED
            || (r->mode == TCP_RESYNC_RELEARN && r->known != BOTH)
            || tcp_resync_is_pending(r));
}

static void
forget(struct tcp_resync *r, int dir)
{
    r->kind[dir] = TCP_CLOSING_NONE;
    r->proven &= ~(1 << dir);
}

/* Judges what is recorded of the direction opposite to 'dir'. */
static void
judge_by_ack(struct tcp_resync *r, const struct tcp_window w[2], int dir,
             const struct tcp_segment *seg)
{
    const struct tcp_closing *c = &r->closing[!dir];
    uint32_t limit = reach(&w[dir]);

    if (r->kind[!dir] == TCP_CLOSING_NONE || !(seg->flags & TCP_ACK)
        || seg->flags & TCP_RST || r->proven & (1 << !dir)) {
        return;
    }
    if (r->kind[!dir] == TCP_CLOSING_FIN) {
        if (seg->ack == c->end) {
            r->proven |= 1 << !dir;
        } else if (!is_between(ahead(c->end, seg->ack), 0,
                               (int64_t) limit + (c->end - c->seq))) {
            /* The receiver has more than ended here, or is too far away to
             * have ever allowed this. */
            forget(r, !dir);
        }
    } else if (!is_between(ahead(c->seq, seg->ack), -1, limit)) {
        forget(r, !dir);
    }
}

/* Judges what is recorded of direction 'dir' itself. */
static void
judge_by_seq(struct tcp_resync *r, const struct tcp_window w[2], int dir,
             const struct tcp_segment *seg)
{
    const struct tcp_closing *c = &r->closing[dir];

    if (seg->flags & TCP_RST || r->proven & (1 << dir)) {
        return;
    }
    switch ((enum tcp_closing_kind) r->kind[dir]) {
    case TCP_CLOSING_NONE:
        break;

    case TCP_CLOSING_FIN:
        if (!is_between(ahead(c->end, seg->end), 0, reach(&w[!dir]))) {
            forget(r, dir);
        }
        break;

    case TCP_CLOSING_RST:
        if (!is_between(ahead(seg->seq, c->seq), -1, 1)) {
            forget(r, dir);
        }
        break;
    }
}

void
tcp_resync_judge(struct tcp_resync *r, const struct tcp_window w[2], int dir,
                 const struct tcp_segment *seg)
{
    if (tcp_resync_is_pending(r)) {
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

bool
tcp_resync_record(struct tcp_resync *r, int dir, const struct tcp_segment *seg,
                  long long int now_ms)
{
    enum tcp_closing_kind kind = (seg->flags & TCP_RST ? TCP_CLOSING_RST
                                  : TCP_CLOSING_FIN);
    struct tcp_closing *c = &r->closing[dir];

    if (kind == TCP_CLOSING_RST || r->kind[dir] == TCP_CLOSING_NONE
        || (r->kind[dir] == TCP_CLOSING_FIN && !(r->proven & (1 << dir))
            && ahead(seg->end, c->end) > 0)) {
        forget(r, dir);
        r->kind[dir] = kind;
        *c = (struct tcp_closing) {
            .seq = seg->seq,
            .end = seg->end,
            .ack = seg->ack,
            .time_ms = now_ms,
        };
    } else if (r->kind[dir] == kind && seg->end == c->end) {
        /* A retransmission. */
        c->ack = seg->ack;
        c->time_ms = now_ms;
    }

    bool is_new = !(r->told & kind);
    r->told |= kind;
    return is_new;
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
tcp_resync_believe(struct tcp_resync *r, struct tcp_window w[2], int dir)
{
    const struct tcp_closing *c = &r->closing[dir];

    /* A RST need not have an acknowledgment.  Who comes after it is a
     * straggler or a successor: nothing depends on exact windows. */
    if (r->kind[dir] == TCP_CLOSING_FIN && r->mode == TCP_RESYNC_RELEARN) {
        if (!(r->known & (1 << dir))) {
            w[dir].seqlo = c->end;
            w[!dir].seqhi = c->ack + reach(&w[dir]);
            if (!(r->known & (1 << !dir))) {
                w[dir].seqhi = c->end;
                w[!dir].seqlo = c->ack;
            }
            note_known(r, w, dir);
        } else if (ahead(c->end, w[dir].seqlo) > 0) {
            w[dir].seqlo = c->end;
        }
        if (ahead(w[dir].seqlo, w[dir].seqhi) > 0) {
            w[dir].seqhi = w[dir].seqlo;
        }
    }
    forget(r, dir);
}

/* ARMED: changes as little as makes OVS accept 'seg', so that nothing changes
 * as long as software sees everything. */
static void
follow(struct tcp_window w[2], int dir, const struct tcp_segment *seg)
{
    struct tcp_window *src = &w[dir];
    struct tcp_window *dst = &w[!dir];
    uint32_t win = (uint32_t) seg->win << src->scale;

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
        follow(w, dir, seg);
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
