/* SPDX-License-Identifier: Apache-2.0 */

#ifndef NIC_EMU_TABLE_H
#define NIC_EMU_TABLE_H 1

/* The emulated NIC's table engine
 * ===============================
 *
 * What the silicon does: looks packets up in tables of rules, executes their
 * actions, runs them through a connection-tracking module, and counts.
 * Knows nothing of operations, time, failures or devices; whoever uses it
 * gives it those (nic-emu.h, and the DPDK driver).
 *
 * Rules
 * -----
 *
 * A rule is a template and values (nic-rule.h).  In one table of one port, two
 * rules with the same priority and mask cannot have the same values.  If
 * several rules match a packet, one of those with the lowest number as
 * priority hits; any of these may.
 *
 * A rule for NIC_PORT_ANY matches packets that entered by any port.
 *
 * The offload engine uses neither.
 *
 * Execution
 * ---------
 *
 * A packet enters NIC_TABLE_ROOT.  It follows the rules that it hits, through
 * at most NIC_EMU_MAX_TABLES tables, until one ends it.  Every rule on its way
 * counts it each time, and every connection once, with the size that it had
 * there; unless it is missed, when nobody does.  See nic-emu-pass.h.
 *
 * Thread-safety
 * -------------
 *
 * Any number of RCU-registered threads may call nic_emu_table_execute(),
 * inside sections (nic-emu-grace.h), while one thread at a time calls the
 * other functions. */

#include <stdbool.h>
#include <stdint.h>
#include "nic.h"
#include "nic-rule.h"

struct dp_packet;
struct nic_emu_ct;
struct nic_emu_egress;
struct nic_emu_outputs;
struct nic_emu_rule;
struct nic_emu_table;

/* A packet that passes more tables is missed. */
#define NIC_EMU_MAX_TABLES 16

/* Returns a new, empty table engine. */
struct nic_emu_table *nic_emu_table_create(void);

/* Frees 'table', in which no object is left. */
void nic_emu_table_destroy(struct nic_emu_table *table);

/* Sets whether packets with bad L4 checksums are missed like others with bad
 * headers.  They are not by default. */
void nic_emu_table_check_l4_csum(struct nic_emu_table *table, bool check);

/* Returns the connection-tracking module of 'table' (nic-emu-ct.h). */
struct nic_emu_ct *nic_emu_table_ct(struct nic_emu_table *table);

/* Adds the rule made of 'template', which nic_emu_check_template()
 * (nic-emu-check.h) approves, and 'values', which may be null if the template
 * has no slots.  Takes its own reference to 'template'.  'egresses' has what
 * each NIC_ACTION_EGRESS of 'template' means, in order; it may be null if
 * there is none.  The egresses must outlive the rule.
 *
 * Returns 0 and stores the rule in '*rulep', or EEXIST. */
int nic_emu_rule_add(struct nic_emu_table *table,
                     const struct nic_template *template,
                     const struct nic_values *values,
                     struct nic_emu_egress *const egresses[],
                     struct nic_emu_rule **rulep);

/* Takes 'rule' out of 'table'.  Packets that were looked up before may still
 * count, until a grace period has passed. */
void nic_emu_rule_remove(struct nic_emu_table *table,
                         struct nic_emu_rule *rule);

/* Frees 'rule', which is removed, as soon as RCU allows. */
void nic_emu_rule_free(struct nic_emu_rule *rule);

const struct nic_template *nic_emu_rule_template(const struct nic_emu_rule *);
const struct nic_values *nic_emu_rule_values(const struct nic_emu_rule *);
void nic_emu_rule_counter(const struct nic_emu_rule *, struct nic_counter *);

/* An egress leads to 'port', NIC_PORT_NONE for nowhere. */
struct nic_emu_egress *nic_emu_egress_create(nic_port_id port);
void nic_emu_egress_set(struct nic_emu_egress *, nic_port_id port);
nic_port_id nic_emu_egress_get(const struct nic_emu_egress *);

/* Frees the egress, which no rule names any more, as soon as RCU allows. */
void nic_emu_egress_free(struct nic_emu_egress *);

enum nic_emu_verdict {
    NIC_EMU_MISS,           /* Not for the NIC: the packet is as it was. */
    NIC_EMU_DROP,
    NIC_EMU_OUTPUT
};

/* Executes 'packet', received on 'in_port' at 'now_ms', and returns what is to
 * become of it.  For NIC_EMU_OUTPUT stores in '*outputs' what leaves where, in
 * order.  Ports may be NIC_PORT_NONE, or not exist.  'packet' may be one of
 * those packets; the others are the caller's to free.
 *
 * Does not own 'packet'; changes only its metadata. */
enum nic_emu_verdict nic_emu_table_execute(struct nic_emu_table *table,
                                           nic_port_id in_port,
                                           struct dp_packet *packet,
                                           long long int now_ms,
                                           struct nic_emu_outputs *outputs);

#endif /* nic-emu-table.h */
