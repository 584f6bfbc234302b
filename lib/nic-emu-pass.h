/* SPDX-License-Identifier: Apache-2.0 */

#ifndef NIC_EMU_PASS_H
#define NIC_EMU_PASS_H 1

/* A packet's pass through the emulated NIC
 * ========================================
 *
 * What a packet has become on its way through tables, where copies of it are
 * to be sent, and who is to count it.  Nothing of that happens before the pass
 * is finished, so that a packet can be missed to the very end: the received
 * packet is never changed.  A copy is made when something changes, and when
 * the packet leaves more than once.
 *
 * A window (nic-emu-window.h) alone knows of the packet even if it is missed
 * later, as one in hardware does.
 *
 * Thread-safety: one thread, inside a section (nic-emu-grace.h). */

#include <stdbool.h>
#include "nic-emu-ct.h"
#include "nic-emu-parse.h"
#include "nic-rule.h"

struct dp_packet;
struct nic_emu_counter;

/* Packets that leave more often, or that more rules and connections would
 * count, are missed. */
#define NIC_EMU_MAX_OUTPUTS 32
#define NIC_EMU_MAX_HITS 64

/* Where a packet leaves. */
struct nic_emu_outputs {
    size_t n;
    struct nic_emu_output {
        struct dp_packet *packet;
        nic_port_id port;           /* May be NIC_PORT_NONE. */
    } list[NIC_EMU_MAX_OUTPUTS];
};

struct nic_emu_pass {
    struct dp_packet *received;
    struct dp_packet *packet;       /* As it is now: 'received' or a copy. */
    bool shared;                    /* 'packet' is in 'outputs'. */
    bool check_l4_csum;

    struct nic_emu_headers headers; /* Of 'packet', unless 'stale'. */
    bool stale;
    struct nic_emu_ct_pass ct;

    size_t n_hits;
    struct {
        struct nic_emu_counter *counter;
        size_t bytes;
    } hits[NIC_EMU_MAX_HITS];

    struct nic_emu_outputs outputs; /* The same packet can be there several
                                     * times. */
};

enum nic_emu_next {
    NIC_EMU_NEXT_ACTION,
    NIC_EMU_NEXT_TABLE,             /* Continue in the action's table. */
    NIC_EMU_NEXT_MISS               /* The packet is missed. */
};

/* Starts the pass of 'received', which stays the caller's. */
void nic_emu_pass_start(struct nic_emu_pass *, struct dp_packet *received,
                        bool check_l4_csum);

/* Returns the headers of the packet as it is now. */
const struct nic_emu_headers *nic_emu_pass_headers(struct nic_emu_pass *);

/* Notes that the packet, as it is now, hit what 'counter' belongs to.  Returns
 * false if the packet is missed. */
bool nic_emu_pass_hit(struct nic_emu_pass *, struct nic_emu_counter *counter);

/* Executes 'action', for which 'values' are the values of the rule and
 * 'egress_port' is what a NIC_ACTION_EGRESS means. */
enum nic_emu_next nic_emu_pass_action(struct nic_emu_pass *,
                                      const struct nic_emu_ct *ct,
                                      const struct nic_action *action,
                                      const struct nic_values *values,
                                      nic_port_id egress_port);

/* Ends a pass that missed. */
void nic_emu_pass_miss(struct nic_emu_pass *);

/* Ends a pass: counts, at 'now_ms', and stores in '*outputs' what is to be
 * sent, in order.  Each packet there is there once.  One of them may be the
 * received packet; the others are new, and the caller's. */
void nic_emu_pass_finish(struct nic_emu_pass *, long long int now_ms,
                         struct nic_emu_outputs *outputs);

#endif /* nic-emu-pass.h */
