/* SPDX-License-Identifier: Apache-2.0 */

#ifndef TCP_RESYNC_H
#define TCP_RESYNC_H 1

/* Finding back into a TCP connection
 * ==================================
 *
 * While a NIC carries a TCP connection, software sees an unknown part of its
 * segments.  This module keeps conntrack's sequence windows usable meanwhile
 * (ARMED), and exact again afterwards (RELEARN); see ct-conn.h.  It knows
 * sequence numbers only: no connection, no state machine, no clock, no lock.
 *
 * Peers and directions
 * --------------------
 *
 * A connection has two peers.  Direction 'dir' is what peer 'dir' sends, 0 for
 * the originator.  As in OVS, 'seqlo' of a peer is the end of what it sent and
 * 'seqhi' the end of what it may send.  A segment from a peer tells its own
 * 'seqlo' (by its sequence number) and the other peer's 'seqhi' (by its
 * acknowledgment and window).
 *
 * Relearning
 * ----------
 *
 * The NIC may have carried gigabytes, so windows from before say little: only
 * that nobody is behind where they were then, nor further ahead than the bytes
 * that passed since plus a window.  What is outside of that OVS would have
 * refused for certain, and so it is here; tcp_resync_is_possible() tells.
 *
 * Otherwise a first segment of either direction is believed.  A segment of the
 * other direction that fits it proves both; one that does not fit takes its
 * place.  So a stray segment cannot mislead for longer than until the next two
 * good ones.
 *
 * Then both directions are known, but not yet exact: segments that the NIC
 * carried may have gone further than what was seen since.  Until each peer has
 * sent more than the other could have allowed at that time, it is "unsettled":
 *
 *   - An acknowledgment beyond 'seqlo' but not beyond 'seqhi' raises 'seqlo'
 *     as far as OVS's acknowledgment check needs it.
 *   - The sequence number that OVS demands of a RST is not known: a RST inside
 *     the window is recorded and judged like one in ARMED.
 *
 * Invariants, compared to a conntrack that saw every segment: 'seqlo' is never
 * higher and 'seqhi' never lower, as long as the network reorders by less than
 * a window.  Hence a segment that it accepts is accepted here.
 *
 * All arithmetic is modulo 2**32.
 */

#include <stdbool.h>
#include <stdint.h>

struct dp_packet;

/* What matters of a segment. */
struct tcp_segment {
    uint32_t seq;                   /* First sequence number. */
    uint32_t end;                   /* Behind the last one: SYN, FIN count. */
    uint32_t ack;                   /* Meaningful only with TCP_ACK. */
    uint16_t win;                   /* As in the header, not scaled. */
    uint16_t flags;                 /* TCP_*. */
};

/* What OVS knows of a peer. */
struct tcp_window {
    uint32_t seqlo;                 /* End of what it sent. */
    uint32_t seqhi;                 /* End of what it may send. */
    uint16_t max_win;               /* Greatest window that it announced. */
    uint8_t scale;                  /* Shift of its windows, 0 to 14. */
};

/* How many bytes an acknowledgment may be ahead of what was sent for OVS. */
#define TCP_RESYNC_ACK_AHEAD (0xffff + 1500)

enum tcp_resync_mode {
    TCP_RESYNC_STRICT,
    TCP_RESYNC_ARMED,
    TCP_RESYNC_RELEARN,
};

/* What is remembered per connection.  All zeros is STRICT.
 *
 * A FIN and a RST of one direction are recorded side by side: which of them is
 * forged, if one is, shows only later. */
struct tcp_resync {
    uint32_t fin_end[2];            /* Behind the recorded FIN. */
    uint32_t fin_ack[2];            /* What it acknowledged. */
    uint32_t rst_seq[2];            /* Sequence number of the recorded RST. */
    uint32_t time_ms[2];            /* When the direction's last FIN or RST was
                                     * recorded, modulo 2**32. */
    union {
        uint32_t low[2];            /* ARMED, and RELEARN until both directions
                                     * are known: no peer is behind this... */
        uint32_t settle_at[2];      /* Then: peer is settled when it sent
                                     * this. */
    };
    uint32_t span[2];               /* ...and it sent at most so many bytes
                                     * since.  UINT32_MAX if not known. */
    uint8_t mode;                   /* enum tcp_resync_mode. */

    /* Bit 1 << dir. */
    uint8_t fin:2;                  /* A FIN is recorded. */
    uint8_t rst:2;                  /* A RST is recorded. */
    uint8_t proven:2;               /* The recorded FIN is genuine. */

    /* Bit 1 << dir.  RELEARN only. */
    uint8_t known:2;                /* The direction showed a segment. */
    uint8_t settled:2;              /* The peer is settled. */

    uint8_t told:2;                 /* TCP_TOLD_*. */
};

/* Kinds that tcp_resync_record() announced. */
#define TCP_TOLD_FIN (1u << 0)
#define TCP_TOLD_RST (1u << 1)

/* Stores in 'seg' what 'packet', whose L4 header is that of TCP, says. */
void tcp_segment_from_packet(struct tcp_segment *seg,
                             const struct dp_packet *packet);

/* Changes of mode.
 *
 * The NIC carried at most 'carried[dir]' bytes of payload from peer 'dir'
 * since tcp_resync_arm(): UINT64_MAX if nobody knows.  tcp_resync_disarm()
 * forgets a recorded FIN or RST that is impossible therefore, and widens 'w'
 * for what may have been carried. */
void tcp_resync_arm(struct tcp_resync *, const struct tcp_window w[2]);
void tcp_resync_disarm(struct tcp_resync *, struct tcp_window w[2],
                       const uint64_t carried[2]);

/* Returns false if 'seg', of direction 'dir', has a sequence number that OVS
 * would refuse for certain if it had seen everything: as far as can be told in
 * RELEARN mode until both directions are known; otherwise returns true. */
bool tcp_resync_is_possible(const struct tcp_resync *r,
                            const struct tcp_window w[2],
                            int dir, const struct tcp_segment *seg);

/* The same for the acknowledgment of 'seg'.  OVS does not look at it when the
 * connection is closing. */
bool tcp_resync_is_possible_ack(const struct tcp_resync *r,
                                const struct tcp_window w[2],
                                int dir, const struct tcp_segment *seg);

/* Notes that OVS, had it seen everything, may have taken 'seg', of direction
 * 'dir', which is not given to tcp_resync_adjust(). */
void tcp_resync_saw(struct tcp_resync *r, int dir,
                    const struct tcp_segment *seg);

/* Returns true if 'r' knows too little to judge a SYN in earnest: in ARMED,
 * in RELEARN until both directions are known, and while a FIN or RST is
 * recorded. */
bool tcp_resync_is_blind(const struct tcp_resync *r);

/* Returns true if a FIN or RST of either direction is recorded. */
static inline bool
tcp_resync_is_pending(const struct tcp_resync *r)
{
    return r->fin || r->rst;
}

/* Judges the recorded FINs and RSTs by what 'seg', a segment of direction
 * 'dir' without SYN, shows; in ARMED not by a FIN, which may itself be forged:
 * tcp_resync_disarm() does when it knows more.  One that is contradicted is
 * forgotten.  A FIN that is acknowledged is marked in 'r->proven'. */
void tcp_resync_judge(struct tcp_resync *r, const struct tcp_window w[2],
                      int dir, const struct tcp_segment *seg);

/* Returns true if 'seg', of direction 'dir', is a FIN or RST that must be
 * recorded instead of being given to OVS. */
bool tcp_resync_withholds(const struct tcp_resync *r,
                          const struct tcp_window w[2],
                          int dir, const struct tcp_segment *seg);

/* Records 'seg', unless it contradicts what is known for certain.  Of several
 * FINs or RSTs of a direction, until both are known, it is that which is least
 * ahead: one that is possible must not be displaced by one that is not.  (It
 * may be displaced by an older one that is forged and possible, too; a sender
 * answers with another RST to what still comes.)  Returns true if it is
 * recorded, and the first of its kind since tcp_resync_arm(),
 * tcp_resync_disarm() or tcp_resync_untold(). */
bool tcp_resync_record(struct tcp_resync *r, const struct tcp_window w[2],
                       int dir, const struct tcp_segment *seg,
                       long long int now_ms);

/* Makes tcp_resync_record() announce the next FIN or RST, whatever was
 * announced before. */
void tcp_resync_untold(struct tcp_resync *);

/* Returns how long before 'now_ms' the last FIN or RST of 'dir' was recorded,
 * 0 if 'now_ms' is older than that. */
uint32_t tcp_resync_age(const struct tcp_resync *r, int dir,
                        long long int now_ms);

/* Takes the recorded FIN of 'dir' for genuine: forgets it, and a RST that
 * contradicts it, and adjusts 'w' as if it had been seen in its turn. */
void tcp_resync_believe_fin(struct tcp_resync *r, struct tcp_window w[2],
                            int dir);

/* Takes the recorded RST of 'dir' for genuine: forgets it. */
void tcp_resync_believe_rst(struct tcp_resync *r, int dir);

/* Adjusts 'w' before OVS judges 'seg', a segment of direction 'dir' without
 * SYN, so that OVS accepts it if the mode says so. */
void tcp_resync_adjust(struct tcp_resync *r, struct tcp_window w[2], int dir,
                       const struct tcp_segment *seg);

/* Notes what became of 'w' after OVS judged a segment.  Enters STRICT when
 * everything is exact again. */
void tcp_resync_advance(struct tcp_resync *r, const struct tcp_window w[2]);

#endif /* tcp-resync.h */
