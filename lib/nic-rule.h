/* SPDX-License-Identifier: Apache-2.0 */

#ifndef NIC_RULE_H
#define NIC_RULE_H 1

/* Rules of a NIC: a template and values
 * =====================================
 *
 * A rule says which packets a NIC carries and what it does to them.  Thousands
 * of connections differ only in their tuple, so a rule is split in two:
 *
 *   - a *template*: the port, the table, the masks, the values of everything
 *     that is not part of the tuple, and the actions.  Compiled once, shared,
 *     immutable, reference counted.
 *
 *   - *values*: what one rule adds, that is, its tuple.  Small, copied.
 *
 * A template without slots (NIC_SLOT_NONE) is a complete rule by itself; in
 * module mode each megaflow is one.
 *
 * Matching
 * --------
 *
 * A rule matches a packet received on the template's 'in_port' and looked up
 * in the template's 'table' if
 *
 *     (packet ^ template->match.flow) & template->match.wc.masks
 *
 * is zero everywhere except in the fields that NIC_SLOT_TUPLE covers, which
 * must equal the values exactly.  'match.flow' uses OVS's names for fields, so
 * that nothing is lost in translation; metadata that has no meaning in a NIC
 * (in_port, recirc_id, dp_hash...) must be wildcarded in 'match': 'in_port'
 * and 'table' of the template take their place.
 *
 * Thread-safety
 * -------------
 *
 * A template is immutable after nic_template_create(); references may be taken
 * and dropped by any thread.  nic_values is plain data.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "openvswitch/match.h"
#include "openvswitch/types.h"
#include "ovs-atomic.h"

struct ds;

/* A port of a NIC.  Small numbers that the NIC assigns; unique in the NIC;
 * generational: not given out again for a long time after the port is gone.
 * 0 is no port. */
typedef uint32_t nic_port_id;
#define NIC_PORT_NONE 0

/* The table that packets enter first. */
#define NIC_TABLE_ROOT 0

enum nic_action_type {
    /* Ends the rule's actions: send the packet out of 'port'. */
    NIC_ACTION_OUTPUT,

    /* Ends the rule's actions: send the packet wherever the egress object
     * 'egress' says (see nic.h). */
    NIC_ACTION_EGRESS,

    /* Ends the rule's actions: drop the packet and count it. */
    NIC_ACTION_DROP,

    /* Only for a NIC with a connection-tracking module.  Looks up the packet's
     * connection in zone 'ct.zone'.  On a hit sets ct_state to +trk+est, and
     * +rpl for the reply direction, sets ct_zone, and continues in 'ct.table'.
     * On a miss the whole packet is missed (see nic.h).  Ends the rule's
     * actions. */
    NIC_ACTION_CT,
};

struct nic_action {
    enum nic_action_type type;
    union {
        nic_port_id port;           /* NIC_ACTION_OUTPUT. */
        uint64_t egress;            /* NIC_ACTION_EGRESS, a nic_handle. */
        struct {
            uint16_t zone;
            uint32_t table;
        } ct;                       /* NIC_ACTION_CT. */
    };
};

/* Which fields of a template's match take their value from each rule. */
enum nic_slots {
    NIC_SLOT_NONE = 0,

    /* Network addresses and transport ports: nw_src, nw_dst or ipv6_src,
     * ipv6_dst as 'match.flow.dl_type' says, and tp_src, tp_dst.  The template
     * must match 'dl_type' and 'nw_proto' exactly. */
    NIC_SLOT_TUPLE = 1 << 0,
};

/* An address, without its family: that is known from the template. */
union nic_addr {
    ovs_be32 ipv4;
    struct in6_addr ipv6;
};

/* One direction of a connection, as on the wire.  Zero-initialize before
 * filling, so that it can be compared and hashed as bytes. */
struct nic_tuple {
    union nic_addr src;
    union nic_addr dst;
    ovs_be16 tp_src;
    ovs_be16 tp_dst;
};

/* What one rule adds to its template. */
struct nic_values {
    struct nic_tuple tuple;         /* For NIC_SLOT_TUPLE, else zeros. */
};

#define NIC_MAX_ACTIONS 16

struct nic_template {
    struct ovs_refcount refcnt;
    nic_port_id in_port;            /* Exact, never NIC_PORT_NONE. */
    uint32_t table;                 /* NIC_TABLE_ROOT or anything else. */
    enum nic_slots slots;
    struct match match;             /* See "Matching" above. */
    size_t n_actions;               /* 1 to NIC_MAX_ACTIONS. */
    struct nic_action actions[NIC_MAX_ACTIONS];
};

/* Returns a new template with one reference, owned by the caller.  Copies
 * 'match' and 'actions'.  Sets what 'slots' covers to an exact mask with value
 * zero.  'n_actions' must be 1 to NIC_MAX_ACTIONS. */
struct nic_template *nic_template_create(nic_port_id in_port, uint32_t table,
                                         const struct match *match,
                                         enum nic_slots slots,
                                         const struct nic_action actions[],
                                         size_t n_actions);

/* Takes a reference to 'template' and returns it. */
struct nic_template *nic_template_ref(const struct nic_template *template);

/* Drops a reference.  Null is allowed. */
void nic_template_unref(struct nic_template *template);

/* Stores in 'match' the complete match of the rule made of 'template' and
 * 'values'.  'values' may be null if the template has no slots. */
void nic_rule_to_match(const struct nic_template *template,
                       const struct nic_values *values, struct match *match);

/* Appends a one-line description of the rule to 'ds', for people.  'values'
 * may be null if the template has no slots. */
void nic_rule_format(const struct nic_template *template,
                     const struct nic_values *values, struct ds *ds);
void nic_actions_format(const struct nic_action actions[], size_t n_actions,
                        struct ds *ds);

/* Appends 'tuple', of Ethernet type 'dl_type', to 'ds' as
 * "10.1.1.1:1000->10.1.1.2:80". */
void nic_tuple_format(const struct nic_tuple *tuple, ovs_be16 dl_type,
                      struct ds *ds);

#endif /* nic-rule.h */
