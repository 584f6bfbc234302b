/* SPDX-License-Identifier: Apache-2.0 */

#ifndef NIC_EMU_WINDOW_H
#define NIC_EMU_WINDOW_H 1

/* TCP windows in the emulated NIC
 * ===============================
 *
 * A *window* is what a NIC knows of one TCP connection to tell, packet by
 * packet, whether the connection can have sent it.  Unlike a connection of
 * nic-emu-ct.h it is not looked up: a rule that has NIC_ACTION_WINDOW names it
 * and says in which direction the rule's packets go, and a rule in a later
 * table matches the verdict, which is in 'ct_mark'.  Only net_emu
 * (doc/reference.md) uses windows.
 *
 * Members have the meaning of those of 'struct rte_flow_action_conntrack' and
 * the same order, so that a connection can go to the NIC and come back.
 *
 * The check
 * ---------
 *
 * As in Guido van Rooij's "Real Stateful TCP Packet Filtering": a segment of
 * direction A is in the window if
 *
 *   - it ends at or before A.reply_end;
 *   - it begins at most B.max_win before A.sent_end;
 *   - what it acknowledges, selectively too, is at most B.sent_end, and the
 *     ACK is not before that by more than 65535 << max_ack_window.
 *
 * Thread-safety: a window can be used by any thread; its owner frees it when
 * no rule names it any more. */

#include <stdbool.h>
#include <stdint.h>

/* Verdicts: bits, of which exactly one is set, or NIC_EMU_WINDOW_VALID and
 * NIC_EMU_WINDOW_CHANGED. */
enum nic_emu_window_verdict {
    NIC_EMU_WINDOW_VALID = 1 << 0,
    NIC_EMU_WINDOW_CHANGED = 1 << 1,    /* The state is another one now. */
    NIC_EMU_WINDOW_INVALID = 1 << 2,    /* Not a packet of the connection. */
    NIC_EMU_WINDOW_DISABLED = 1 << 3,   /* Nothing was checked. */
    NIC_EMU_WINDOW_BAD = 1 << 4,        /* No TCP stack sends such flags. */
};
#define NIC_EMU_WINDOW_ALL 0x1f

enum nic_emu_tcp_state {
    NIC_EMU_TCP_SYN_RECV,
    NIC_EMU_TCP_ESTABLISHED,
    NIC_EMU_TCP_FIN_WAIT,           /* One side sent a FIN. */
    NIC_EMU_TCP_CLOSE_WAIT,         /* The other one acknowledged it. */
    NIC_EMU_TCP_LAST_ACK,           /* Both sent a FIN. */
    NIC_EMU_TCP_TIME_WAIT           /* Both are acknowledged; or a RST. */
};

/* Scale of a direction without window scaling. */
#define NIC_EMU_WINDOW_NO_SCALE 15

/* Values of 'last_flag'. */
enum {
    NIC_EMU_WINDOW_SYN = 1 << 0,
    NIC_EMU_WINDOW_SYNACK = 1 << 1,
    NIC_EMU_WINDOW_FIN = 1 << 2,
    NIC_EMU_WINDOW_ACK = 1 << 3,
    NIC_EMU_WINDOW_RST = 1 << 4
};

struct nic_emu_window_dir {
    uint8_t scale;
    bool fin;                       /* Sent one. */
    bool acked;                     /* Sent an ACK: 'max_ack' has a value. */
    bool unacked;                   /* Sent what is not acknowledged. */
    uint32_t sent_end;              /* Highest sequence number + length. */
    uint32_t reply_end;             /* Highest that the other side allows. */
    uint32_t max_win;               /* Largest window, in bytes. */
    uint32_t max_ack;
};

struct nic_emu_window_state {
    bool enabled;
    bool live;                      /* ACKs passed since it is established. */
    bool sack;                      /* Selective ACKs are looked at. */
    bool challenge_ack;             /* Kept, without effect. */
    bool last_reply;                /* Direction of the last packet. */
    bool liberal;                   /* Every segment is in the window. */
    enum nic_emu_tcp_state state;
    uint8_t max_ack_window;         /* 0 to 14. */
    uint8_t max_retransmissions;    /* Of one segment, in a row. */
    struct nic_emu_window_dir dirs[2];  /* Original, reply. */

    /* The last packet that passed. */
    uint16_t last_win;
    uint8_t last_flag;
    uint32_t last_seq, last_ack, last_end;
};

/* What is looked at in a packet. */
struct nic_emu_segment {
    uint16_t flags;
    uint16_t win;
    uint32_t seq, ack;
    uint32_t sack;                  /* End of the last selective ACK, or the
                                     * same as 'ack'. */
    uint32_t len;                   /* Of the payload. */
};

struct nic_emu_window;

/* Returns a new window.  If 'fragile', a packet that is invalid disables
 * it. */
struct nic_emu_window *
nic_emu_window_create(const struct nic_emu_window_state *, bool fragile);

/* Frees a window as soon as RCU allows. */
void nic_emu_window_free(struct nic_emu_window *);

void nic_emu_window_set(struct nic_emu_window *,
                        const struct nic_emu_window_state *);
void nic_emu_window_get(const struct nic_emu_window *,
                        struct nic_emu_window_state *);

/* A segment passes, in the reply direction if 'reply'.  Returns the verdict
 * (enum nic_emu_window_verdict) and notes in the window what a valid one
 * says. */
uint32_t nic_emu_window_check(struct nic_emu_window *, bool reply,
                              const struct nic_emu_segment *);

#endif /* nic-emu-window.h */
