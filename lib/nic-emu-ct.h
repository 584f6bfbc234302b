/* SPDX-License-Identifier: Apache-2.0 */

#ifndef NIC_EMU_CT_H
#define NIC_EMU_CT_H 1

/* The emulated NIC's connection-tracking module
 * =============================================
 *
 * A table of connections, which somebody else establishes and removes.  Both
 * tuples of a connection are found, each in the connection's zone.  Says how
 * packets are to be translated; tracks no state and no sequence numbers.
 *
 * Thread-safety
 * -------------
 *
 * Any number of RCU-registered threads may call nic_emu_ct_execute(), inside
 * sections (nic-emu-grace.h), while one thread at a time calls the other
 * functions. */

#include <stdbool.h>
#include <stdint.h>
#include "nic.h"

struct flow;
struct nic_emu_conn;
struct nic_emu_counter;
struct nic_emu_ct;
struct nic_emu_headers;

struct nic_emu_ct *nic_emu_ct_create(void);

/* Frees 'ct', in which no connection is left. */
void nic_emu_ct_destroy(struct nic_emu_ct *ct);

/* Adds 'conn', which nic_emu_check_conn() (nic-emu-check.h) approves.  Returns
 * 0 and stores the connection in '*connp', or EEXIST if another one has one of
 * its tuples in its zone. */
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

/* What a module knows of a packet on its way.  Initialize with zeros. */
struct nic_emu_ct_pass {
    const struct nic_emu_conn *conn;    /* Null if it passed none. */
    bool reply;                         /* Direction in 'conn'. */
    bool translated;                    /* In the zone of 'conn'. */
    bool tuple_changed;                 /* Since then, by others. */
};

/* What is to be done with a packet that hit. */
struct nic_emu_ct_result {
    struct nic_emu_counter *counter;    /* Of the connection's direction. */
    unsigned int nat_parts;             /* enum nic_tuple_part. */
    const struct nic_tuple *translated; /* To what those are to be set. */
};

/* Executes 'action', a NIC_ACTION_CT, on the packet of 'headers', as it is
 * now.  On a hit sets what is of connection tracking in 'headers->flow' and
 * '*pass', and stores in '*result' what is left to the caller: to translate,
 * and to count.  Returns false on a miss. */
bool nic_emu_ct_execute(const struct nic_emu_ct *ct,
                        const struct nic_action *action,
                        struct nic_emu_headers *headers,
                        struct nic_emu_ct_pass *pass,
                        struct nic_emu_ct_result *result);

/* Copies what is of connection tracking from 'from' to 'to'. */
void nic_emu_ct_copy_fields(const struct flow *from, struct flow *to);

#endif /* nic-emu-ct.h */
