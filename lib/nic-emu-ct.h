/* SPDX-License-Identifier: Apache-2.0 */

#ifndef NIC_EMU_CT_H
#define NIC_EMU_CT_H 1

/* The emulated NIC's connection-tracking module
 * =============================================
 *
 * A table of connections, which somebody else establishes and removes.  Both
 * tuples of a connection are found, each in the connection's zone.  Changes no
 * packets, tracks no state and no sequence numbers.
 *
 * Thread-safety
 * -------------
 *
 * Any number of RCU-registered threads may call nic_emu_ct_execute(), inside
 * sections (nic-emu-grace.h), while one thread at a time calls the other
 * functions. */

#include <stdint.h>
#include "nic.h"

struct nic_emu_conn;
struct nic_emu_counter;
struct nic_emu_ct;
struct nic_emu_headers;

struct nic_emu_ct *nic_emu_ct_create(void);

/* Frees 'ct', in which no connection is left. */
void nic_emu_ct_destroy(struct nic_emu_ct *ct);

/* Returns null if a module can hold 'conn', otherwise a static text that says
 * why not. */
const char *nic_emu_conn_check(const struct nic_conn *conn);

/* Adds 'conn', which nic_emu_conn_check() approves.  Returns 0 and stores the
 * connection in '*connp', or EEXIST if another one has one of its tuples in
 * its zone. */
int nic_emu_conn_add(struct nic_emu_ct *ct, const struct nic_conn *conn,
                     struct nic_emu_conn **connp);

/* Takes a connection out of 'ct'.  Packets that were looked up before may
 * still count, until a grace period has passed. */
void nic_emu_conn_remove(struct nic_emu_ct *ct, struct nic_emu_conn *);

/* Frees a connection, which is removed, as soon as RCU allows. */
void nic_emu_conn_free(struct nic_emu_conn *);

const struct nic_conn *nic_emu_conn_get(const struct nic_emu_conn *);
void nic_emu_conn_counters(const struct nic_emu_conn *,
                           struct nic_counter counters[2]);

/* Executes NIC_ACTION_CT with 'zone' on the packet of 'headers'.  On a hit
 * sets 'ct_state' and 'ct_zone' of 'headers->flow' and returns the counter of
 * the connection's direction; does not count yet.  Returns null on a miss. */
struct nic_emu_counter *nic_emu_ct_execute(const struct nic_emu_ct *ct,
                                           uint16_t zone,
                                           struct nic_emu_headers *headers);

#endif /* nic-emu-ct.h */
