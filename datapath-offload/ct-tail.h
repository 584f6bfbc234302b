/* SPDX-License-Identifier: Apache-2.0 */

#ifndef CT_TAIL_H
#define CT_TAIL_H 1

/* What offload keeps in each connection
 * =====================================
 *
 * The protocol units allocate a TCP, UDP or "other" connection with room for a
 * 'struct ct_tail' behind OVS's own structure, at one offset, zeroed.  free()
 * fits as before.  ICMP and ICMPv6 connections, and the second connection that
 * OVS keeps for the reply tuple of a translated one, have none.
 *
 * Only for the conntrack units with hooks and for ct-conn.c, whose parts this
 * header joins.  Everything here is guarded by the connection's lock.
 */

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include "conntrack-private.h"
#include "ct-conn.h"
#include "ovs-atomic.h"
#include "tcp-resync.h"
#include "util.h"

struct ct_tail {
    uint64_t id;                    /* 0 until announced first. */
    uint64_t n_packets[2];          /* Valid ones, seen by software. */
    uint64_t n_bytes[2];
    struct ct_ingress ingress[2];   /* Valid where n_packets[] is not 0. */
    struct tcp_resync resync;       /* Not TCP: only 'mode', never RELEARN. */
    uint16_t ready_ms;              /* Time of last CT_EVENT_READY, modulo
                                     * 2**16. */
    uint16_t flags;                 /* CT_TAIL_*. */
};
BUILD_ASSERT_DECL(sizeof(struct ct_tail) <= 136);

#define CT_TAIL_ANNOUNCED   (1u << 0) /* CT_EVENT_READY made, still true. */
#define CT_TAIL_MOVED       (1u << 1) /* Ingress changed since then. */
#define CT_TAIL_GONE        (1u << 2) /* Expired by force, or removed. */
#define CT_TAIL_UNANNOUNCED (1u << 3) /* Counted as not announced. */

/* The greatest structure of OVS's that has a tail is 'struct conn_tcp': the
 * units assert that theirs fit. */
#define CT_TAIL_OFFSET ROUND_UP(sizeof(struct conn) + 24, 8)

/* Returns memory, zeroed, for a connection that is 'size' bytes to OVS, and
 * its tail. */
static inline void *
ct_tail_alloc(size_t size)
{
    ovs_assert(size <= CT_TAIL_OFFSET);
    return xzalloc(CT_TAIL_OFFSET + sizeof(struct ct_tail));
}

/* Returns the tail of 'conn', which must have one. */
static inline struct ct_tail *
ct_tail__(const struct conn *conn)
{
    return ALIGNED_CAST(struct ct_tail *,
                        CONST_CAST(char *, (const char *) conn)
                        + CT_TAIL_OFFSET);
}

/* Returns the tail of 'conn', null if it has none. */
static inline struct ct_tail *
ct_tail(const struct conn *conn)
{
    return (conn->conn_type == CT_CONN_TYPE_DEFAULT
            && conn->key.nw_proto != IPPROTO_ICMP
            && conn->key.nw_proto != IPPROTO_ICMPV6
            ? ct_tail__(conn)
            : NULL);
}

/* From the hooks to ct-conn.c. */

/* Notes where 'packet', a valid one of the connection, came from, and counts
 * it, unless that was done at an earlier ct() in the same zone: OVS may well
 * update a connection once for each ct(), and the packet may have been changed
 * in between.  The first packet is the one that makes the connection. */
void ct_tail_saw_first_packet(struct ct_tail *,
                              const struct dp_packet *packet);
void ct_tail_saw_packet(struct ct_tail *, const struct dp_packet *packet,
                        bool reply);

/* See ct_set_count_ready(). */
extern atomic_bool ct_tail_count_ready;
void ct_tail_count_ready__(void);

/* Makes CT_EVENT_READY, if it is due.  'conn' must be established. */
void ct_tail_ready__(struct ct_tail *, struct conn *conn, struct conntrack *,
                     long long int now_ms) OVS_REQUIRES(conn->lock);
static inline void
ct_tail_ready(struct ct_tail *tail, struct conn *conn, struct conntrack *ct,
              long long int now_ms)
    OVS_REQUIRES(conn->lock)
{
    bool count;

    atomic_read_relaxed(&ct_tail_count_ready, &count);
    if (OVS_UNLIKELY(count) && tail->flags & CT_TAIL_ANNOUNCED) {
        ct_tail_count_ready__();
    }
    if ((tail->flags & (CT_TAIL_ANNOUNCED | CT_TAIL_MOVED))
        != CT_TAIL_ANNOUNCED) {
        ct_tail_ready__(tail, conn, ct, now_ms);
    }
}

/* Makes an event of any other type, if the engine knows 'conn', which must
 * have a tail. */
void ct_tail_event(const struct conn *conn, enum ct_event_type)
    OVS_REQUIRES(conn->lock);

/* Expires 'conn' by force, which must not be locked. */
void ct_tail_force_expire(struct conn *conn) OVS_EXCLUDED(conn->lock);

/* Tells that 'conn' left conntrack.  Its memory must not be given up
 * before. */
void ct_tail_removed(struct conn *conn) OVS_EXCLUDED(conn->lock);

/* Returns the timeout of 'conn' for 'tm', in milliseconds. */
long long int ct_tail_timeout(const struct conn *, struct conntrack *,
                              enum ct_timeout tm);

/* Makes 'conn' expire at 'when_ms', unless it was expired by force or its time
 * is over at 'now_ms'. */
void ct_tail_set_expiration(struct conn *, long long int when_ms,
                            long long int now_ms);

/* From ct-conn.c to the protocol units.  As ct_conn_*(), with the connection's
 * lock held. */

bool ct_tcp_is_established(const struct conn *);
void ct_tcp_arm(struct conn *);
void ct_tcp_disarm(struct conn *, struct conntrack *,
                   const struct nic_counter carried[2], long long int now_ms);
void ct_tcp_judge(struct conn *, struct conntrack *, long long int now_ms);

bool ct_other_is_established(const struct conn *);

#endif /* ct-tail.h */
