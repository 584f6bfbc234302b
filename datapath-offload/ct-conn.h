/* SPDX-License-Identifier: Apache-2.0 */

#ifndef CT_CONN_H
#define CT_CONN_H 1

/* Connections of OVS's conntrack, as the offload engine sees them
 * ===============================================================
 *
 * The hooked conntrack units (ovs-conntrack*.c) give each TCP, UDP and "other"
 * connection a tail, 'struct ct_tail', behind OVS's own structure.  It holds
 * what offload must know per connection in the packet path, guarded by the
 * connection's own lock.
 *
 * From conntrack to the engine: events
 * ------------------------------------
 *
 * Datapath threads push a 'struct ct_event' when something happens that the
 * engine must know, through ct_event_sink.  Events of one connection arrive in
 * order.  Nothing else is shared: an event owns its memory.
 *
 *   CT_EVENT_READY    The connection is established, packets went both ways
 *                     and at least 'ct_set_min_packets()' were seen in all; or
 *                     that was so already and packets of a direction now come
 *                     from elsewhere (at most five times a second).  The first
 *                     one gives the connection its id.  Never made while a
 *                     FIN or RST waits to be judged: those before are settled.
 *   CT_EVENT_CLOSING  A FIN or RST was recorded that must be judged (see
 *                     below), the first of its kind since the connection was
 *                     armed, disarmed or READY, or judged with nothing left to
 *                     judge.  Mostly the connection is armed; if it is not,
 *                     ct_conn_judge() must be called CT_JUDGE_MS later.
 *
 *                     READY is never made while something is recorded.  So it
 *                     takes CT_EVENT_CLOSING back, and what is recorded after
 *                     READY is announced after it.
 *   CT_EVENT_EXPIRED  The connection was expired by force: it will not be
 *                     found any more although it is not removed yet.  Only
 *                     CT_EVENT_REMOVED comes after it.
 *   CT_EVENT_CHANGED  Mark or label changed, to what the event says.
 *   CT_EVENT_REMOVED  The connection left conntrack.  Its memory is freed
 *                     after the next RCU grace period.  Always the last event.
 *
 * Ids are unique for the life of the process.  Only READY makes an id known;
 * a connection that never was READY causes no event at all.
 *
 * From the engine to conntrack: the ct_conn_*() functions
 * -------------------------------------------------------
 *
 * They take a 'struct conn *', which is valid if the caller, since it was
 * quiescent last, has drained the event queue until it was empty, and no
 * CT_EVENT_REMOVED for the connection was among the events.
 *
 * TCP sequence tracking
 * ---------------------
 *
 * While the NIC carries a connection, the software sees an unknown part of its
 * packets, so that OVS's window checks would call good packets invalid.  A TCP
 * connection is therefore in one of three modes:
 *
 *   STRICT   OVS's own code decides alone.
 *
 *   ARMED    From ct_conn_arm() to ct_conn_disarm().  Packets without SYN, FIN
 *            and RST that have valid flags are established, whatever their
 *            sequence number; windows follow them.  A FIN or RST is forwarded
 *            as established, recorded (at most one of each kind and
 *            direction) and announced (CT_EVENT_CLOSING), but changes no
 *            state.  A SYN is judged by OVS's code on what was known last, on
 *            a copy, without effect.
 *
 *   RELEARN  From ct_conn_disarm() until the two directions have shown
 *            segments that fit each other: as ARMED, so that a stray segment
 *            cannot lock the good ones out; but a segment is invalid, and a
 *            recorded FIN or RST forged, if its sequence number is impossible
 *            after as many bytes as passed since ct_conn_arm().  Then strict,
 *            except that a RST
 *            inside the window is recorded as in ARMED, and an acknowledgment
 *            inside the window is good, until each peer sent more than may
 *            have been under way at ct_conn_disarm().  tcp-resync.h has the
 *            details.  If a FIN or RST was recorded, it is judged from what
 *            follows, by the first of these that applies:
 *              - the other direction acknowledged exactly the end of the FIN:
 *                genuine (also if that was seen in ARMED);
 *              - packets of its own direction went on beyond the end of the
 *                FIN or, after a RST, do not start within one byte of the
 *                RST's sequence number, or the other direction acknowledged
 *                more than what it ended: forged, forgotten.  The same if
 *                they are further from it than windows reach, and for a RST
 *                that does not come right behind a genuine FIN;
 *              - ct_conn_judge(): silence means genuine.
 *            A genuine one changes the connection's state and timeout as OVS's
 *            code would have when it was seen.  After a forged one, the
 *            connection is READY again.
 */

#include <stdbool.h>
#include <stdint.h>
#include "lib/mutant.h"
#include "lib/nic.h"
#include "mpsc-queue.h"
#include "openvswitch/types.h"
#include "packets.h"

struct conn;
struct conntrack;
struct ds;

/* Where packets of one direction of a connection come from, and their Ethernet
 * header, as last seen by ct(). */
struct ct_ingress {
    odp_port_t in_port;             /* ODPP_NONE if never seen. */
    struct eth_addr dl_src;
    struct eth_addr dl_dst;
    union flow_vlan_hdr vlan;       /* Outermost tag, as in 'vlans[0]' of
                                     * struct flow; zeros if there is none. */
};

/* Why a connection cannot be handed over, whatever the engine thinks. */
enum ct_obstacle {
    CT_OBSTACLE_NONE,
    CT_OBSTACLE_ALG,                /* Connection of a helper, any kind. */
    CT_OBSTACLE_PROTO,              /* Neither TCP nor UDP. */
};

enum ct_event_type {
    CT_EVENT_READY,
    CT_EVENT_CLOSING,
    CT_EVENT_EXPIRED,
    CT_EVENT_CHANGED,
    CT_EVENT_REMOVED,
};

struct ct_event {
    struct mpsc_queue_node node;
    enum ct_event_type type;
    uint64_t id;                    /* Never 0. */

    /* Only CT_EVENT_READY. */
    struct conn *conn;
    struct conntrack *ct;
    ovs_be16 dl_type;               /* ETH_TYPE_IP or ETH_TYPE_IPV6. */
    uint8_t nw_proto;
    uint16_t zone;
    enum ct_obstacle obstacle;
    struct nic_tuple tuple[2];      /* As ct() sees it, before translation:
                                     * original, reply. */
    struct ct_ingress ingress[2];

    /* What ct(nat) does to packets of each direction: sets these parts of the
     * tuple (enum nic_tuple_part; 0 for nothing) to those of 'translated'. */
    uint8_t nat_parts[2];
    struct nic_tuple translated[2];

    /* What it sets in ct_state: CS_SRC_NAT, CS_DST_NAT or 0.  Mostly it goes
     * with 'nat_parts', but where OVS had to change the other port, too, to
     * find a tuple that is free, 'nat_parts' has both parts, and this still is
     * only one of them. */
    uint8_t nat_state[2];

    /* CT_EVENT_READY and CT_EVENT_CHANGED. */
    uint32_t mark;
    ovs_u128 label;
};

/* Takes over 'event', allocated with malloc().  Called by datapath threads,
 * with the lock of the connection held: must not block.  Null until
 * ct_set_event_sink(): then no events are made. */
typedef void ct_event_sink(struct ct_event *event);
void ct_set_event_sink(ct_event_sink *);

/* Whether connections that are not known to the engine are announced.  Off at
 * first.  Any thread, any time. */
void ct_set_announce(bool);

/* Packets that a connection must show, both directions added, before
 * CT_EVENT_READY.  At most 65535.  Any thread, any time. */
void ct_set_min_packets(unsigned int);

/* Returns the number of connections that became ready but could not be
 * announced because ct_set_announce(false) was in force. */
uint64_t ct_get_n_unannounced(void);

/* Counts packets that the software sees of connections that were announced
 * before, or does not, as is the default.  For tests: all threads share the
 * counter.  Any thread, any time. */
void ct_set_count_ready(bool);
uint64_t ct_get_n_ready_packets(void);

/* Puts 'conn' in ARMED mode, before the first of its rules is submitted.
 * Returns false, without effect, if it is not established any more, has
 * expired, also by force, or was removed, or has a FIN or RST that is not
 * judged yet. */
bool ct_conn_arm(struct conn *conn, struct conntrack *ct);

/* What became of a FIN or RST. */
enum ct_close {
    CT_CLOSE_NONE,                  /* None recorded: established. */
    CT_CLOSE_PENDING,               /* Recorded and not judged yet. */
    CT_CLOSE_DONE,                  /* The connection is closing or closed. */
};

/* Takes 'conn' from ARMED to RELEARN mode, when the removal of all its rules
 * has completed.  'carried' is what the NIC carried since ct_conn_arm() of the
 * original and of the reply direction, null if some of it was not counted.  No
 * effect in other modes.  Returns what became of what was recorded. */
enum ct_close ct_conn_disarm(struct conn *conn, struct conntrack *ct,
                             const struct nic_counter carried[2],
                             long long int now_ms);

/* Judges what is still pending, in RELEARN mode: nothing contradicted it, so
 * it was genuine, and a FIN was acknowledged.  To be called CT_JUDGE_MS after
 * ct_conn_disarm().  Returns what became of it: still CT_CLOSE_PENDING if it
 * was recorded less than CT_JUDGE_MS before 'now_ms'; then it must be called
 * again.  No effect in other modes. */
enum ct_close ct_conn_judge(struct conn *conn, struct conntrack *ct,
                            long long int now_ms);

/* Silence after which a FIN or RST that nothing contradicted is believed, in
 * milliseconds.  A sender retransmits after 1 s at first (RFC 6298, section
 * 2.1). */
#define CT_JUDGE_MS (MUTANT(seconds_for_ms) ? 1 : 1000)

/* Makes 'conn' announce itself again with CT_EVENT_READY, and the same id, at
 * its next packet in software if it is established. */
void ct_conn_reannounce(struct conn *conn);

/* Returns when 'conn' expires, in milliseconds on time_msec()'s clock.  0 if
 * it was expired by force. */
long long int ct_conn_expiration(const struct conn *conn);

/* Returns the time for which 'conn', established, lives on after a packet, in
 * milliseconds. */
long long int ct_conn_timeout(const struct conn *conn, struct conntrack *ct);

/* Makes 'conn' expire as if its last packet had come at 'used_ms', if that is
 * later than it would.  Never brings back a connection whose time is over at
 * 'now_ms', or which was expired by force.  Returns its expiration. */
long long int ct_conn_extend(struct conn *conn, struct conntrack *ct,
                             long long int used_ms, long long int now_ms);

/* Stores in 'counters' the packets of 'conn', original and reply, that the
 * software carried, whole Ethernet frames as the first ct() in the zone of
 * 'conn' saw them. */
void ct_conn_get_counters(const struct conn *conn,
                          struct nic_counter counters[2]);

#endif /* ct-conn.h */
