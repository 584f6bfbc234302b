/* SPDX-License-Identifier: Apache-2.0 */

#ifndef NIC_EMU_STORE_H
#define NIC_EMU_STORE_H 1

/* What an emulated NIC keeps when the program is killed
 * =====================================================
 *
 * A file, "RUNDIR/nic-emu-NAME.rules", to which ports and objects are appended
 * as they come and go.  nic_emu_store_open() replays what an earlier life
 * left.  A file whose end is torn or damaged gives what precedes the damage.
 *
 * The file is a memory for the next life of the program on the same machine:
 * it is in host byte order and does not survive another layout of 'struct
 * flow', or another version of the format: then it is empty.
 *
 * Records are collected in memory until nic_emu_store_flush(), to be called
 * after each batch of changes and before anybody is told of them.  A file that
 * cannot be written is reported in the log and not written any more until it
 * is rewritten.
 *
 * Rewriting
 * ---------
 *
 * When most records are dead, nic_emu_store_needs_rewrite() returns true.  To
 * rewrite, call nic_emu_store_rewrite_start(), put everything there is, and
 * call nic_emu_store_rewrite_finish().  The old file stays until the new one
 * is complete.
 *
 * Thread-safety
 * -------------
 *
 * One thread at a time. */

#include <stdbool.h>
#include <stdint.h>
#include "nic.h"
#include "nic-rule.h"

struct nic_emu_store;

/* Receives what nic_emu_store_open() finds, ports first, then egresses,
 * connections, rules; each in the order in which they were put.  Handles are
 * unique and not 0.  Apart from that, everything is to be checked by the
 * receiver: the file may come from anywhere. */
struct nic_emu_store_visitor {
    void (*port)(void *aux, nic_port_id, const char *name);
    void (*egress)(void *aux, nic_handle, nic_port_id);
    void (*conn)(void *aux, nic_handle, const struct nic_conn *);

    /* The template is the complete rule, but for what NIC_ACTION_SET_TUPLE
     * sets: its slots are at most NIC_SLOT_REWRITE. */
    void (*rule)(void *aux, nic_handle, const struct nic_template *,
                 const struct nic_values *);
};

/* Opens or creates the file of the NIC called 'nic_name' and passes what it
 * holds to 'visitor'.  Returns the store, or null, with a warning in the log,
 * if the file cannot be opened: then there is none.
 *
 * All other functions accept a null store and do nothing. */
struct nic_emu_store *nic_emu_store_open(const char *nic_name,
                                         const struct nic_emu_store_visitor *,
                                         void *aux);

/* Removes the file and frees 'store'. */
void nic_emu_store_close(struct nic_emu_store *store);

void nic_emu_store_put_port(struct nic_emu_store *, nic_port_id,
                            const char *name);
void nic_emu_store_del_port(struct nic_emu_store *, nic_port_id);

/* Adds an object.  An egress that is put again only changes its port. */
void nic_emu_store_put_egress(struct nic_emu_store *, nic_handle,
                              nic_port_id);
void nic_emu_store_put_conn(struct nic_emu_store *, nic_handle,
                            const struct nic_conn *);
void nic_emu_store_put_rule(struct nic_emu_store *, nic_handle,
                            const struct nic_template *,
                            const struct nic_values *);

/* Removes an object. */
void nic_emu_store_del(struct nic_emu_store *, nic_handle);

void nic_emu_store_flush(struct nic_emu_store *);

/* Returns true if most records of the file are dead, given that 'n_live' ports
 * and objects exist. */
bool nic_emu_store_needs_rewrite(const struct nic_emu_store *,
                                 size_t n_live);
void nic_emu_store_rewrite_start(struct nic_emu_store *);
void nic_emu_store_rewrite_finish(struct nic_emu_store *);

#endif /* nic-emu-store.h */
