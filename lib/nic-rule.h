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
 *   - *values*: what one rule adds, that is, its tuple, and the one that it
 *     gives to its packets.  Small, copied.
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
 * and 'table' of the template take their place.  Only a NIC with a
 * connection-tracking module can match ct_state, ct_zone, ct_mark, ct_label
 * and the original tuple, which are zero before NIC_ACTION_CT.
 *
 * In a table other than NIC_TABLE_ROOT a rule matches the packet as the
 * actions before have left it.
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
struct nic_emu_window;

/* A port of a NIC.  Small numbers that the NIC assigns; unique in the NIC;
 * generational: not given out again for a long time after the port is gone.
 * 0 is no port. */
typedef uint32_t nic_port_id;
#define NIC_PORT_NONE 0

/* As the 'in_port' of a template: every port.  Only the emulated NIC's tables
 * know it (nic-emu-table.h). */
#define NIC_PORT_ANY UINT32_MAX

/* The table that packets enter first, and no table. */
#define NIC_TABLE_ROOT 0
#define NIC_TABLE_NONE UINT32_MAX

/* Fields that a rule can set.  Values are in network byte order, as they are
 * on the wire, at the start of 'value' and 'mask' of the action. */
enum nic_field {
    NIC_FIELD_ETH_SRC,              /* 6 bytes. */
    NIC_FIELD_ETH_DST,              /* 6 bytes. */
    NIC_FIELD_VLAN_TCI,             /* 2 bytes, outermost tag, without CFI. */
    NIC_FIELD_IP_SRC,               /* 4 or 16 bytes, by 'match.flow.dl_type',
                                     * which the template matches exactly. */
    NIC_FIELD_IP_DST,               /* The same. */
    NIC_FIELD_IP_TOS,               /* 1 byte: ToS or traffic class. */
    NIC_FIELD_IP_TTL,               /* 1 byte: TTL or hop limit. */
    NIC_FIELD_IPV6_LABEL,           /* 4 bytes, the lower 20 bits count. */
    NIC_FIELD_TP_SRC,               /* 2 bytes, by 'match.flow.nw_proto', which
                                     * the template matches exactly. */
    NIC_FIELD_TP_DST,               /* The same. */
};
#define NIC_FIELD_MAX_LEN 16

/* Returns a short name, e.g. "eth_src". */
const char *nic_field_name(enum nic_field field);

/* Returns the number of bytes that 'field' has in packets of 'dl_type'. */
size_t nic_field_len(enum nic_field field, ovs_be16 dl_type);

/* Parts of a tuple. */
enum nic_tuple_part {
    NIC_TUPLE_SRC = 1 << 0,         /* 'src' and 'tp_src'. */
    NIC_TUPLE_DST = 1 << 1,         /* 'dst' and 'tp_dst'. */
};

/* Actions are executed in order, on a packet that changes on the way.  The
 * list ends with OUTPUT, EGRESS, DROP, JUMP, or a CT that continues in a
 * table.
 *
 * Checksums: a change keeps the checksums of IPv4, TCP and UDP right, as they
 * were right or wrong; a UDP checksum of zero in IPv4 stays zero. */
enum nic_action_type {
    /* Sends the packet, as it is now, out of 'port', which may be the port
     * that it came from. */
    NIC_ACTION_OUTPUT,

    /* Sends the packet, as it is now, wherever the egress object 'egress' says
     * (see nic.h). */
    NIC_ACTION_EGRESS,

    /* Ends the actions: drop the packet, unless it left through outputs
     * before, and count it. */
    NIC_ACTION_DROP,

    /* Only for a NIC with a connection-tracking module.  Looks up the
     * connection of the packet, as it is now, in zone 'ct.zone'.
     *
     * If the packet passed CT in this zone before, without another zone or
     * NIC_ACTION_CT_CLEAR in between, it keeps the connection and direction
     * that it had; unless NIC_ACTION_SET or NIC_ACTION_SET_TUPLE changed its
     * tuple since, which makes it a miss.
     *
     * On a hit:
     *   - If 'ct.nat', translates the packet as the connection says for its
     *     direction, unless that has been done in this zone already.
     *   - Sets ct_state to +trk+est, +rpl for the reply direction, and +snat
     *     or +dnat as the connection says if it was translated in this zone.
     *   - Sets ct_zone, ct_mark, ct_label and the original tuple from the
     *     connection.
     *   - Continues in 'ct.table' and ends the rule's actions, or continues
     *     with the next action if that is NIC_TABLE_NONE.
     *
     * On a miss the whole packet is missed (see nic.h).  It is a miss too if
     *   - the connection's mark differs from 'ct.mark' in bits of
     *     'ct.mark_mask', or its label from 'ct.label' in 'ct.label_mask':
     *     software would change the connection;
     *   - 'ct.orig_only', and the packet is of the reply direction. */
    NIC_ACTION_CT,

    /* Sets the bits of 'set.field' that are 1 in 'set.mask' to those in
     * 'set.value'.  The rule's match makes sure that the packet has the
     * field. */
    NIC_ACTION_SET,

    /* Sets the parts 'parts' (enum nic_tuple_part) of the packet's tuple to
     * those of 'values.rewrite' (NIC_SLOT_REWRITE).  At most once in a
     * template. */
    NIC_ACTION_SET_TUPLE,

    /* Adds a VLAN tag in front of what is there: 'vlan.tpid', 'vlan.tci' (the
     * CFI bit does not count). */
    NIC_ACTION_PUSH_VLAN,

    /* Removes the outermost VLAN tag.  The rule's match makes sure that there
     * is one. */
    NIC_ACTION_POP_VLAN,

    /* Forgets what NIC_ACTION_CT found: ct_state and everything else of it
     * become zero.  Only with a connection-tracking module. */
    NIC_ACTION_CT_CLEAR,

    /* Ends the actions: continue in table 'table'.  Only the emulated NIC's
     * tables know this and the following actions; the engine asks for none of
     * them. */
    NIC_ACTION_JUMP,

    /* Subtracts one from the TTL or hop limit; 0 becomes 255.  The rule's
     * match makes sure that the packet is IP. */
    NIC_ACTION_DEC_TTL,

    /* Checks the packet against 'window.window', in the direction that
     * 'window.reply' says, and sets ct_mark to the verdict
     * (nic-emu-window.h).  The rule's match makes sure that the packet is TCP.
     * Needs a connection-tracking module; only net_emu asks for it. */
    NIC_ACTION_WINDOW,
};

struct nic_action {
    enum nic_action_type type;
    union {
        nic_port_id port;           /* NIC_ACTION_OUTPUT. */
        uint64_t egress;            /* NIC_ACTION_EGRESS, a nic_handle. */
        struct {
            uint16_t zone;
            bool nat;
            bool orig_only;
            uint32_t table;
            uint32_t mark, mark_mask;
            ovs_u128 label, label_mask;
        } ct;                       /* NIC_ACTION_CT. */
        struct {
            enum nic_field field;
            uint8_t value[NIC_FIELD_MAX_LEN];
            uint8_t mask[NIC_FIELD_MAX_LEN];
        } set;                      /* NIC_ACTION_SET. */
        unsigned int parts;         /* NIC_ACTION_SET_TUPLE. */
        uint32_t table;             /* NIC_ACTION_JUMP. */
        struct {
            ovs_be16 tpid;
            ovs_be16 tci;
        } vlan;                     /* NIC_ACTION_PUSH_VLAN. */
        struct {
            struct nic_emu_window *window;  /* Must outlive the rule. */
            bool reply;
        } window;                   /* NIC_ACTION_WINDOW. */
    };
};

/* What of a template takes its value from each rule. */
enum nic_slots {
    NIC_SLOT_NONE = 0,

    /* Network addresses and transport ports: nw_src, nw_dst or ipv6_src,
     * ipv6_dst as 'match.flow.dl_type' says, and tp_src, tp_dst.  The template
     * must match 'dl_type' and 'nw_proto' exactly. */
    NIC_SLOT_TUPLE = 1 << 0,

    /* NIC_ACTION_SET_TUPLE takes its value from each rule. */
    NIC_SLOT_REWRITE = 1 << 1,
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
    struct nic_tuple rewrite;       /* For NIC_SLOT_REWRITE, else zeros. */
};

#define NIC_MAX_ACTIONS 32

struct nic_template {
    struct ovs_refcount refcnt;
    nic_port_id in_port;            /* Exact, never NIC_PORT_NONE. */
    uint32_t table;                 /* NIC_TABLE_ROOT or anything else. */
    uint32_t priority;              /* The lowest number wins.  0 but for the
                                     * emulated NIC's tables. */
    enum nic_slots slots;
    struct match match;             /* See "Matching" above. */
    size_t n_actions;               /* 1 to NIC_MAX_ACTIONS. */
    struct nic_action actions[NIC_MAX_ACTIONS];
};

/* Returns null if the arguments make a template, otherwise a static text that
 * says what is wrong: the order of actions, their number, what 'slots' ask
 * for.  Whether a NIC can do what the template says is another question, as is
 * whether the match makes sure that packets have what actions change: see
 * 'check_template' of struct nic_class. */
const char *nic_template_check(nic_port_id in_port, uint32_t table,
                               const struct match *match,
                               enum nic_slots slots,
                               const struct nic_action actions[],
                               size_t n_actions);

/* Returns a new template with one reference, owned by the caller.  Copies
 * 'match' and 'actions'.  Sets what NIC_SLOT_TUPLE covers to an exact mask
 * with value zero.  nic_template_check() must have nothing to say about the
 * arguments. */
struct nic_template *nic_template_create(nic_port_id in_port, uint32_t table,
                                         const struct match *match,
                                         enum nic_slots slots,
                                         const struct nic_action actions[],
                                         size_t n_actions);

/* Sets the priority of 'template', which was just created and which nobody
 * else knows yet.  Only the emulated NIC's tables know priorities. */
void nic_template_set_priority(struct nic_template *template,
                               uint32_t priority);

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

/* Appends 'parts' (enum nic_tuple_part) to 'ds': "src", "dst", "src,dst". */
void nic_parts_format(unsigned int parts, struct ds *ds);

/* Appends 'tuple', of Ethernet type 'dl_type', to 'ds' as
 * "10.1.1.1:1000->10.1.1.2:80". */
void nic_tuple_format(const struct nic_tuple *tuple, ovs_be16 dl_type,
                      struct ds *ds);

#endif /* nic-rule.h */
