/* SPDX-License-Identifier: Apache-2.0 */

#ifndef NIC_H
#define NIC_H 1

/* A NIC that can carry packets by itself
 * ======================================
 *
 * One vtable, 'struct nic_class', for whatever can execute rules on packets:
 * emulated, tc-flower, rte_flow.  The caller is the offload engine; it knows
 * nothing of the kind of NIC but its capabilities.
 *
 * Objects
 * -------
 *
 *   - rule: packets that match a template and values (nic-rule.h) are carried
 *     by the NIC and never reach the software.
 *
 *   - connection: only with the capability 'ct_module'.  Makes NIC_ACTION_CT
 *     hit for the packets of one connection.
 *
 *   - egress: where the packets of a vport leave.  Rules name it, so that
 *     moving a vport costs one operation.
 *
 * Packets that the NIC does not carry
 * -----------------------------------
 *
 * A packet that matches no rule in the table where it is looked up, or whose
 * NIC_ACTION_CT misses, is *missed*: it is given to the software unmodified,
 * exactly as received, counts nowhere in the NIC, and nothing of it has left
 * through outputs before.
 *
 * A NIC never carries, whatever the rules say:
 *
 *   - a TCP packet with FIN, SYN or RST set, or without ACK, through
 *     NIC_ACTION_CT.  (Rules that match TCP directly exclude them in their
 *     match, which is the caller's responsibility.)
 *
 *   - a packet with a bad IPv4 header checksum, with lengths in its headers
 *     that contradict each other or the frame, or that is a fragment, through
 *     a rule that matches on nw_proto or anything above it, or that changes
 *     anything of IP or above.
 *
 * Operations
 * ----------
 *
 * Objects are changed by operations, submitted in batches and completed
 * asynchronously, each with its own error.  Operations on different objects
 * may take effect in any order.  The caller must not submit a second operation
 * on an object before the first one completed.
 *
 *   - An added rule or connection may hit from the submission on; it certainly
 *     does after a completion without error.  If the completion has an error,
 *     nothing was added.
 *
 *   - A deleted object may hit until the completion.  The completion carries
 *     the final counter.  Deleting never fails for lack of room; if it
 *     completes with an error the object still exists and the caller tries
 *     again later (except ENOENT: it is gone, and its counts are lost).
 *
 * Handles
 * -------
 *
 * A NIC names an object by a 'nic_handle', which the completion of its
 * addition brings.  Handles are generational: one of an object that is gone is
 * never mistaken for another's.  0 is never a handle.
 *
 * Time
 * ----
 *
 * 'now_ms' is the caller's clock, monotonic, in milliseconds.  It may be
 * virtual.  A NIC does not read any other clock.
 *
 * Thread-safety
 * -------------
 *
 * open, close, reconfigure and the port functions are called by the main
 * thread only.  submit, poll and the counter functions are called by one
 * thread at a time (the engine's).  egress_set is called by one thread at a
 * time (the carrier watcher's).  Every implementation must allow these three
 * groups to run at the same time, and packets to flow all the while.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "nic-rule.h"
#include "openvswitch/types.h"
#include "smap.h"
#include "util.h"

struct ds;
struct json;
struct nic_class;
struct seq;

typedef uint64_t nic_handle;

/* A NIC that is open.  Implementations embed it. */
struct nic {
    const struct nic_class *class;
    char *name;                     /* Unique among open NICs. */
};

/* What a NIC can do.  Probed, never assumed. */
struct nic_caps {
    bool ct_module;         /* Has connections and NIC_ACTION_CT. */
    bool tcp_window;        /* Its CT module validates sequence numbers. */
    bool egress_object;     /* Has egress objects. */
    bool ingress_share;     /* One rule can serve several ports of a LAG. */
    bool cross_uplink;      /* A vf can send through each uplink. */
    bool last_hit_time;     /* Counters tell the time of the last hit. */
    bool atomic_update;     /* An object can be replaced without a gap. */
    bool l4_csum_check;     /* Misses packets with a bad L4 checksum. */
    bool ipv6;              /* Can match IPv6. */
    bool nat;               /* Can set addresses and ports. */
    bool vlan;              /* Can push, pop and set VLAN tags. */
    bool ttl;               /* Can set TTL and hop limit. */
    bool multi_output;      /* A rule can have more than one output. */
    uint8_t label_bits;     /* Low bits of ct_label that its CT module can
                             * match; 0 for none, 128 for all. */
    uint32_t max_rules;     /* UINT32_MAX if not known. */
    uint32_t max_conns;     /* UINT32_MAX if not known; 0 without ct_module. */
    uint32_t rate;          /* Operations per second, 0 if not known. */
    uint32_t stale_ms;      /* Counters may lag behind by this much. */
};

enum nic_port_role {
    NIC_PORT_VF,            /* Representor: faces a VM. */
    NIC_PORT_UPLINK         /* Faces the wire. */
};

const char *nic_port_role_to_string(enum nic_port_role);
bool nic_port_role_from_string(const char *, enum nic_port_role *);

struct nic_counter {
    uint64_t packets;
    uint64_t bytes;         /* Whole Ethernet frames, as OVS counts them, at
                             * the time when they hit. */
    long long int used_ms;  /* Last hit on the caller's clock; 0 if no hit, or
                             * without the capability 'last_hit_time'. */
};

/* A connection of a NIC with a CT module.  The directions are as on the wire:
 * 'tuple[1]' is what a packet of the reply direction carries when it arrives,
 * before any translation. */
struct nic_conn {
    ovs_be16 dl_type;               /* ETH_TYPE_IP or ETH_TYPE_IPV6. */
    uint8_t nw_proto;               /* IPPROTO_TCP or IPPROTO_UDP. */
    uint16_t zone;
    struct nic_tuple tuple[2];      /* Original, reply. */

    /* What NIC_ACTION_CT with 'nat' does to packets of each direction: sets
     * the parts 'nat_parts' of their tuple (enum nic_tuple_part; 0 if they are
     * not translated) to those of 'translated'. */
    unsigned int nat_parts[2];
    struct nic_tuple translated[2]; /* Zeros where not translated. */
    uint8_t nat_state[2];           /* CS_SRC_NAT or CS_DST_NAT: what it sets
                                     * in ct_state; 0 if not translated. */

    uint32_t mark;
    ovs_u128 label;
};

enum nic_op_type {
    NIC_OP_RULE_ADD,
    NIC_OP_RULE_DEL,
    NIC_OP_CONN_ADD,
    NIC_OP_CONN_DEL,
    NIC_OP_EGRESS_ADD,
    NIC_OP_EGRESS_SET,              /* Changes where an egress leads. */
    NIC_OP_EGRESS_DEL,

    /* Not an operation, only a completion: the NIC lost every object.
     * Operations that were submitted before poll() returned it have no effect
     * and no completions any more. */
    NIC_OP_RESET,
};

const char *nic_op_type_to_string(enum nic_op_type);

struct nic_op {
    enum nic_op_type type;
    uint64_t cookie;                /* The caller's, returned unchanged. */
    nic_handle handle;              /* *_DEL, *_SET. */
    union {
        struct {
            const struct nic_template *template;
            struct nic_values values;
        } rule;                     /* NIC_OP_RULE_ADD. */
        struct nic_conn conn;       /* NIC_OP_CONN_ADD. */
        nic_port_id egress_port;    /* NIC_OP_EGRESS_ADD, NIC_OP_EGRESS_SET. */
    };
};

struct nic_completion {
    enum nic_op_type type;
    uint64_t cookie;
    int error;                      /* 0 or a positive errno value: ENOSPC if
                                     * there is no room, EOPNOTSUPP if it will
                                     * never work, EEXIST if another object
                                     * matches the same packets, ENOENT for a
                                     * handle that names nothing, ENODEV for a
                                     * port that is gone, EBUSY for an egress
                                     * that rules name; others are passing
                                     * faults, e.g. EIO. */
    const char *reason;             /* Null, or static text that says why. */
    nic_handle handle;              /* *_ADD without error. */
    struct nic_counter final[2];    /* *_DEL without error.  A rule uses [0], a
                                     * connection [0] for the original and [1]
                                     * for the reply direction. */
};

/* Published by a NIC about itself, for people. */
struct nic_stats {
    uint32_t n_rules, n_conns, n_egresses;
    uint64_t n_ops;                 /* Completed without error. */
    uint64_t n_failed;              /* Completed with an error. */
    uint32_t n_pending;             /* Submitted and not completed. */
    uint64_t carried_packets;
    uint64_t carried_bytes;
    uint64_t missed_packets;        /* Given to software. */
    uint64_t dropped_packets;       /* By NIC_ACTION_DROP, or as the target
                                     * port is gone or has no carrier. */
    uint32_t n_stale;               /* Rules and connections of an earlier life
                                     * that open() found and removed. */
};

struct nic_class {
    /* Kind of NIC, e.g. "emu". */
    const char *type;

    /* Opens the NIC called 'name', configured by 'config', and stores it in
     * '*nicp'.
     *
     * A NIC may hold rules of an earlier life of this program.  When open()
     * returns, none of them can hit any more.
     *
     * Returns 0 if successful, otherwise a positive errno value and stores in
     * '*errorp' a malloc()'d sentence that names what is wrong and what is
     * allowed. */
    int (*open)(const char *name, const struct smap *config,
                struct nic **nicp, char **errorp);

    /* Removes everything from the NIC and frees it.  All ports are removed
     * already and no operation is pending. */
    void (*close)(struct nic *);

    /* Changes the configuration.  On error nothing changed, and '*errorp' is
     * as for open().  Capabilities may change; the caller reads them again.
     * A change that cannot be made while objects exist fails with EBUSY. */
    int (*reconfigure)(struct nic *, const struct smap *config,
                       char **errorp);

    /* Stores the capabilities in '*caps'. */
    void (*get_caps)(const struct nic *, struct nic_caps *caps);

    /* Stores what the NIC tells about itself in '*stats'. */
    void (*get_stats)(const struct nic *, struct nic_stats *stats);

    /* Makes the device 'name', datapath port 'odp_port', a port of the NIC and
     * stores its id in '*idp'.  Returns 0 or a positive errno value, EEXIST if
     * it is one already. */
    int (*port_add)(struct nic *, const char *name, odp_port_t odp_port,
                    enum nic_port_role role, nic_port_id *idp);

    /* Like port_add(), but the rules for packets that enter through the port
     * are on the kernel device 'dev', and packets for the port are sent out of
     * it.
     *
     * Null if the NIC has no such ports. */
    int (*port_add_on)(struct nic *, const char *name, const char *dev,
                       odp_port_t odp_port, enum nic_port_role role,
                       nic_port_id *idp);

    /* Returns true if the device of port 'id' is not the one any more that it
     * was when the port was added, e.g. because it is gone, another one has
     * its name, or it can do now what it could not: then the caller removes
     * the port, and adds it again if it can.
     *
     * Null if that does not happen. */
    bool (*port_changed)(const struct nic *, nic_port_id id);

    /* Returns null, or static text, for people, that says why the NIC must be
     * expected to refuse every rule for packets that enter through port 'id'.
     * Rules may be submitted nevertheless.  May ask the device.  When an
     * operator has changed it, port_changed() is true.
     *
     * Null if the NIC knows nothing of that kind. */
    const char *(*port_problem)(struct nic *, nic_port_id id);

    /* Removes a port.  Its rules are removed by the caller before or after:
     * those that still exist do not hit any more, those that send to it drop
     * the packet. */
    void (*port_del)(struct nic *, nic_port_id);

    /* Checks whether a rule made of 'template' could be added, as far as that
     * can be told without adding it.  Returns null if so, otherwise a static
     * text that says what is in the way. */
    const char *(*check_template)(const struct nic *,
                                  const struct nic_template *template);

    /* Submits 'n' operations.  Copies what it needs; takes its own reference
     * to templates.  Never blocks for the NIC. */
    void (*submit)(struct nic *, const struct nic_op ops[], size_t n,
                   long long int now_ms);

    /* Stores up to 'max' completions and returns their number.  Drives the
     * NIC if it needs that. */
    size_t (*poll)(struct nic *, struct nic_completion completions[],
                   size_t max, long long int now_ms);

    /* Returns the time at which poll() should be called next, LLONG_MAX if
     * nothing is pending.  When that comes to be earlier by something else
     * than submit(), nic_seq() changes. */
    long long int (*wake_ms)(const struct nic *, long long int now_ms);

    /* Makes egress 'handle' lead to 'port', NIC_PORT_NONE for nowhere, and
     * returns when that is so or has failed: like NIC_OP_EGRESS_SET, but on a
     * queue of its own that neither waits for what was submitted nor holds it
     * up.  May be called although other operations are under way, except the
     * egress's addition and deletion.
     *
     * Returns 0 or a positive errno value as in 'struct nic_completion' and,
     * if it has one, stores static text that says why in '*reasonp'.  On error
     * the egress leads where it led before.
     *
     * Null if the NIC has no egress objects. */
    int (*egress_set)(struct nic *, nic_handle handle, nic_port_id port,
                      const char **reasonp);

    /* Stores in 'counters' the counters of 'n' rules as the NIC published them
     * last.  For a handle that names nothing, stores zeros. */
    void (*rule_counters)(struct nic *, const nic_handle handles[], size_t n,
                          struct nic_counter counters[],
                          long long int now_ms);

    /* The same for connections; two counters each, original and reply. */
    void (*conn_counters)(struct nic *, const nic_handle handles[], size_t n,
                          struct nic_counter counters[][2],
                          long long int now_ms);

    /* Calls 'cb' for each object in the NIC with a one-line description, for
     * people: what the NIC holds, not what anybody thinks it holds.  'cb' must
     * not call the NIC. */
    void (*dump)(struct nic *, void (*cb)(const char *kind, nic_handle,
                                          const char *description,
                                          const struct nic_counter *,
                                          void *aux),
                 void *aux);
};

/* Changes when poll() has something that wake_ms() did not tell of, e.g. a
 * NIC_OP_RESET, in any NIC.  Whoever waits until poll() should be called waits
 * for this, too.  Any thread. */
struct seq *nic_seq(void);

/* For implementations: makes nic_seq() change.  Any thread. */
void nic_wake(void);

#endif /* nic.h */
