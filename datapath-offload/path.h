/* SPDX-License-Identifier: Apache-2.0 */

#ifndef PATH_H
#define PATH_H 1

/* Paths: which megaflows the packets of a connection take
 * =======================================================
 *
 * A *path* is a chain of megaflows from the one that a packet hits as it is
 * received, through ct() and recirculation, to output or drop.  All
 * connections that take the same chain, and are translated at the same places,
 * share one path and whatever is compiled from it.
 *
 * Composition is header-space arithmetic: what is known of the packets of one
 * direction of a connection is intersected with what each megaflow on the way
 * matches, and changed as its actions say.  Nothing is traced in the datapath.
 *
 * Whose path it is
 * ----------------
 *
 * A path may pass ct() in several zones, each with a connection of its own.
 * It belongs to the first of them, its *leader*; the others are *members*,
 * too: all must be established, and the path goes when any of them does.  For
 * a connection that is not the first on the way of its packets composition
 * finds REASON_FOLLOWER.
 *
 * From where packets come
 * -----------------------
 *
 * A connection knows its packets as they were at its ct(): port, Ethernet
 * header, tuple.  Megaflows at the port may have changed something of that
 * before.  So composition starts twice: with packets that look like that, at
 * megaflows that change nothing before ct(); and backwards, at those few that
 * do.  A packet that is changed before its first ct() by a megaflow that is
 * not the first one is not followed (REASON_NO_MEGAFLOW or REASON_REWRITE).
 *
 * What the rule must match
 * ------------------------
 *
 * Every bit that any megaflow on the path matched, and that neither the
 * pipeline itself decides (port, recirculation, state of the connection) nor
 * an action before has set, is matched by the rule: the union of all masks.
 * On top of it come the complete tuple as received, "not a fragment", and, for
 * TCP, flags with ACK and without SYN, FIN and RST.
 *
 * Thread-safety: none.
 */

#include "ct-conn.h"
#include "lib/nic-rule.h"
#include "megaflow-mirror.h"
#include "reason.h"

/* Recirculations that a path may have, and ct()s. */
#define PATH_MAX_STAGES 16
#define PATH_MAX_CTS 16

/* Different paths that packets of one direction may take. */
#define PATH_MAX_CHAINS 4

/* TCP flags that every packet of an offloaded connection is known to have or
 * not to have. */
#define PATH_TCP_FLAGS_MASK (TCP_FIN | TCP_SYN | TCP_RST | TCP_ACK)
#define PATH_TCP_FLAGS TCP_ACK

/* What composition must know of an established connection that ct() finds. */
struct path_conn {
    void *conn;                     /* Identity, the caller's. */
    bool reply;                     /* The packet is of this direction. */
    uint32_t mark;
    ovs_u128 label;
    struct nic_tuple orig;          /* Tuple of the original direction. */

    /* What ct(nat) does to the packet: sets these parts of its tuple (enum
     * nic_tuple_part) to those of 'translated'. */
    unsigned int nat_parts;
    uint8_t nat_state;              /* What that sets in ct_state. */
    struct nic_tuple translated;
};

/* Finds the connection that ct() in 'zone' finds for packets of 'tuple', and
 * stores it in '*conn'.  Returns REASON_NONE, REASON_OTHER_ZONE if there is
 * none that is established, or why it must not be carried. */
typedef enum offload_reason path_conn_cb(uint16_t zone,
                                         const struct nic_tuple *tuple,
                                         struct path_conn *conn, void *aux);

/* One direction of a connection, to compose paths for. */
struct path_subject {
    uint32_t dp;
    ovs_be16 dl_type;
    uint8_t nw_proto;
    uint16_t zone;
    void *conn;                     /* As in struct path_conn. */
    const struct nic_tuple *tuple;  /* As ct() sees it, before translation. */
    const struct ct_ingress *ingress;
    path_conn_cb *find_conn;        /* Finds 'conn' itself, too. */
    void *aux;
};

/* A chain of megaflows. */
struct path_chain {
    struct megaflow *flows[PATH_MAX_STAGES];
    size_t n;

    /* The ct()s on the way, in order.  'parts' are those of the tuple that it
     * translates (0 if none); a connection may come more than once. */
    struct path_ct {
        void *conn;
        bool reply;
        unsigned int parts;
    } cts[PATH_MAX_CTS];
    size_t n_cts;

    struct nic_tuple tuple;         /* As received. */
    struct nic_tuple rewrite;       /* As sent, if it is changed. */
};

/* Result of composition. */
struct path_set {
    struct path_chain chains[PATH_MAX_CHAINS];
    size_t n_chains;

    /* Slots in which a new megaflow would change the result. */
    struct mf_slot *waits[PATH_MAX_STAGES];
    size_t n_waits;

    /* All slots that were looked at: a change of what is in them may lift a
     * refusal. */
    struct mf_slot *visited[PATH_MAX_STAGES];
    size_t n_visited;

    /* A connection that was looked for and refused by 'find_conn': a change of
     * it may lift the refusal. */
    bool missing;
    uint16_t missing_zone;
    struct nic_tuple missing_tuple;

    /* Why there is no chain, or not more of them.  'culprit' is the megaflow
     * that is refused, if it is one. */
    enum offload_reason reason;
    const struct megaflow *culprit;
};

/* Stores in 'probe' what is known of packets of 'subject' as they are
 * received, if nothing changes them before ct(). */
void path_probe_init(struct flow_probe *probe,
                     const struct path_subject *subject);

/* Finds the chains that packets of 'subject' may take. */
void path_compose(struct mf_mirror *, const struct path_subject *subject,
                  struct path_set *set);

/* What compilation must know of a NIC. */
struct path_resolver {
    /* Returns the port of the NIC that is datapath port 'port', 0 if it is not
     * one, or of another NIC. */
    nic_port_id (*port)(odp_port_t port, void *aux);

    /* Stores in '*handle' the egress object of the NIC for lb_output(id).
     * Returns REASON_NONE or why there is none.  May be null: REASON_BOND. */
    enum offload_reason (*egress)(uint32_t id, uint64_t *handle, void *aux);

    void *aux;
};

/* Compiles 'chain' for a NIC without CT module: the template of a rule for one
 * direction of a connection of 'dl_type' and 'nw_proto'.  It depends on
 * nothing of 'chain' but 'flows' and 'parts' of 'cts': the tuples are values
 * of the rule.  Returns null and sets '*reason' and '*culprit' if that is not
 * possible.
 *
 * Stores in 'byte_deltas' for each megaflow how much longer than received (or
 * shorter, if negative) a packet is when it hits it. */
struct nic_template *path_compile_flat(const struct path_chain *chain,
                                       ovs_be16 dl_type, uint8_t nw_proto,
                                       const struct path_resolver *,
                                       int byte_deltas[PATH_MAX_STAGES],
                                       enum offload_reason *reason,
                                       const struct megaflow **culprit);

/* Compiles 'flow' for a NIC with a CT module: the template of its rule.
 * Returns null and sets '*reason' if that is not possible. */
struct nic_template *path_compile_module(const struct megaflow *flow,
                                         const struct path_resolver *,
                                         enum offload_reason *reason);

#endif /* path.h */
