/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>
#include "nic-emu-window.h"

#include "openvswitch/thread.h"
#include "ovs-rcu.h"
#include "packets.h"
#include "util.h"

struct nic_emu_window {
    struct ovs_mutex mutex;
    struct nic_emu_window_state s OVS_GUARDED;
    uint8_t n_retransmissions OVS_GUARDED;
    bool fragile;
};

struct nic_emu_window *
nic_emu_window_create(const struct nic_emu_window_state *state, bool fragile)
{
    struct nic_emu_window *w = xmalloc(sizeof *w);

    ovs_mutex_init(&w->mutex);
    ovs_mutex_lock(&w->mutex);
    w->s = *state;
    w->n_retransmissions = 0;
    ovs_mutex_unlock(&w->mutex);
    w->fragile = fragile;
    return w;
}

static void
window_free(struct nic_emu_window *w)
{
    ovs_mutex_destroy(&w->mutex);
    free(w);
}

void
nic_emu_window_free(struct nic_emu_window *w)
{
    ovsrcu_postpone(window_free, w);
}

void
nic_emu_window_set(struct nic_emu_window *w,
                   const struct nic_emu_window_state *state)
{
    ovs_mutex_lock(&w->mutex);
    w->s = *state;
    w->n_retransmissions = 0;
    ovs_mutex_unlock(&w->mutex);
}

void
nic_emu_window_get(const struct nic_emu_window *w_,
                   struct nic_emu_window_state *state)
{
    struct nic_emu_window *w = CONST_CAST(struct nic_emu_window *, w_);

    ovs_mutex_lock(&w->mutex);
    *state = w->s;
    ovs_mutex_unlock(&w->mutex);
}

/* Sequence numbers. */

static bool
seq_leq(uint32_t a, uint32_t b)
{
    return (int32_t) (a - b) <= 0;
}

static uint32_t
seq_max(uint32_t a, uint32_t b)
{
    return seq_leq(a, b) ? b : a;
}

/* Checks. */

/* A segment, as its direction means it. */
struct meaning {
    bool has_ack;                   /* Acknowledges anything. */
    uint32_t end;
    uint32_t ack, sack;             /* What the other side sent, without. */
    uint32_t win;                   /* In bytes, at least 1. */
};

static void
interpret(const struct nic_emu_segment *seg,
          const struct nic_emu_window_dir *src,
          const struct nic_emu_window_dir *dst, bool sack, struct meaning *m)
{
    bool scaled = (!(seg->flags & TCP_SYN)
                   && src->scale != NIC_EMU_WINDOW_NO_SCALE);

    /* Stacks send RSTs with an ACK that says nothing. */
    m->has_ack = ((seg->flags & TCP_ACK)
                  && (seg->ack || !(seg->flags & TCP_RST)));
    m->end = (seg->seq + seg->len + !!(seg->flags & TCP_SYN)
              + !!(seg->flags & TCP_FIN));
    m->ack = m->has_ack ? seg->ack : dst->sent_end;
    m->sack = m->has_ack && sack ? seq_max(seg->sack, m->ack) : m->ack;
    m->win = MAX((uint32_t) seg->win << (scaled ? src->scale : 0), 1);
}

static bool
flags_are_bad(uint16_t flags)
{
    if (flags & TCP_SYN && flags & (TCP_FIN | TCP_RST)) {
        return true;
    }
    return (!(flags & TCP_ACK)
            && (!(flags & (TCP_SYN | TCP_RST))
                || flags & (TCP_FIN | TCP_PSH | TCP_URG)));
}

/* Returns true if a handshake goes on like this. */
static bool
fits_state(const struct nic_emu_window_state *s, bool reply, uint16_t flags)
{
    if (!(flags & TCP_SYN)) {
        return true;
    }
    return (flags & TCP_ACK ? reply && s->state <= NIC_EMU_TCP_ESTABLISHED
            : !reply && s->state == NIC_EMU_TCP_SYN_RECV);
}

static bool
in_window(const struct nic_emu_window_state *s,
          const struct nic_emu_window_dir *src,
          const struct nic_emu_window_dir *dst,
          const struct nic_emu_segment *seg, const struct meaning *m)
{
    uint32_t ack_window = (uint32_t) UINT16_MAX << s->max_ack_window;

    return (seq_leq(m->end, src->reply_end)
            && seq_leq(src->sent_end - dst->max_win, seg->seq)
            && seq_leq(m->sack, dst->sent_end)
            && seq_leq(dst->sent_end - ack_window, m->ack));
}

/* Returns true if the segment is the last one once more.  Without payload that
 * would be an ordinary duplicate ACK. */
static bool
is_repeated(const struct nic_emu_window_state *s, bool reply,
            const struct nic_emu_segment *seg, const struct meaning *m)
{
    return (seg->len && s->last_flag && s->last_reply == reply
            && s->last_seq == seg->seq && s->last_end == m->end
            && s->last_ack == seg->ack && s->last_win == seg->win);
}

/* Notes. */

static void
note_window(const struct meaning *m, struct nic_emu_window_dir *src,
            struct nic_emu_window_dir *dst)
{
    src->max_win = MAX(src->max_win, m->win + (m->sack - m->ack));
    if (!seq_leq(m->end, src->sent_end)) {
        src->sent_end = m->end;
        src->unacked = true;
    }
    if (m->has_ack) {
        src->max_ack = (src->acked ? seq_max(src->max_ack, m->ack) : m->ack);
        src->acked = true;
        if (m->ack == dst->sent_end) {
            dst->unacked = false;
        }
    }
    dst->reply_end = seq_max(dst->reply_end, m->sack + m->win);
}

/* Returns true if 'dst' has acknowledged everything that 'src' sent, which
 * ended with a FIN. */
static bool
fin_is_acked(const struct nic_emu_window_dir *src,
             const struct nic_emu_window_dir *dst)
{
    return src->fin && dst->acked && seq_leq(src->sent_end, dst->max_ack);
}

static void
note_state(struct nic_emu_window_state *s, bool reply, uint16_t flags)
{
    struct nic_emu_window_dir *src = &s->dirs[reply];
    struct nic_emu_window_dir *dst = &s->dirs[!reply];

    if (flags & TCP_RST) {
        s->state = NIC_EMU_TCP_TIME_WAIT;
        return;
    }
    if (s->state == NIC_EMU_TCP_ESTABLISHED && flags & TCP_ACK) {
        s->live = true;
    }
    if (s->state == NIC_EMU_TCP_SYN_RECV && !reply && flags & TCP_ACK) {
        s->state = NIC_EMU_TCP_ESTABLISHED;
    }
    if (flags & TCP_FIN) {
        src->fin = true;
        s->state = MAX(s->state, dst->fin ? NIC_EMU_TCP_LAST_ACK
                       : NIC_EMU_TCP_FIN_WAIT);
    }
    if (s->state == NIC_EMU_TCP_FIN_WAIT && fin_is_acked(dst, src)) {
        s->state = NIC_EMU_TCP_CLOSE_WAIT;
    }
    if (s->state == NIC_EMU_TCP_LAST_ACK && fin_is_acked(src, dst)
        && fin_is_acked(dst, src)) {
        s->state = NIC_EMU_TCP_TIME_WAIT;
    }
}

static void
note_last(struct nic_emu_window_state *s, bool reply,
          const struct nic_emu_segment *seg, uint32_t end)
{
    s->last_reply = reply;
    s->last_flag = (seg->flags & TCP_RST ? NIC_EMU_WINDOW_RST
                    : seg->flags & TCP_FIN ? NIC_EMU_WINDOW_FIN
                    : !(seg->flags & TCP_SYN) ? NIC_EMU_WINDOW_ACK
                    : seg->flags & TCP_ACK ? NIC_EMU_WINDOW_SYNACK
                    : NIC_EMU_WINDOW_SYN);
    s->last_win = seg->win;
    s->last_seq = seg->seq;
    s->last_ack = seg->ack;
    s->last_end = end;
}

static uint32_t
check(struct nic_emu_window *w, bool reply, const struct nic_emu_segment *seg)
    OVS_REQUIRES(w->mutex)
{
    struct nic_emu_window_state *s = &w->s;
    struct nic_emu_window_dir *src = &s->dirs[reply];
    struct nic_emu_window_dir *dst = &s->dirs[!reply];
    enum nic_emu_tcp_state old = s->state;
    struct meaning m;

    if (!s->enabled) {
        return NIC_EMU_WINDOW_DISABLED;
    }
    if (flags_are_bad(seg->flags)) {
        return NIC_EMU_WINDOW_BAD;
    }
    interpret(seg, src, dst, s->sack, &m);
    if (!s->liberal) {
        bool repeated = is_repeated(s, reply, seg, &m);

        if (!fits_state(s, reply, seg->flags)
            || !in_window(s, src, dst, seg, &m)
            || (repeated && w->n_retransmissions >= s->max_retransmissions)) {
            s->enabled = !w->fragile;
            return NIC_EMU_WINDOW_INVALID;
        }
        w->n_retransmissions = repeated ? w->n_retransmissions + 1 : 0;
    }
    note_window(&m, src, dst);
    note_state(s, reply, seg->flags);
    note_last(s, reply, seg, m.end);
    return (NIC_EMU_WINDOW_VALID
            | (s->state != old ? NIC_EMU_WINDOW_CHANGED : 0));
}

uint32_t
nic_emu_window_check(struct nic_emu_window *w, bool reply,
                     const struct nic_emu_segment *seg)
{
    uint32_t verdict;

    ovs_mutex_lock(&w->mutex);
    verdict = check(w, reply, seg);
    ovs_mutex_unlock(&w->mutex);
    return verdict;
}
