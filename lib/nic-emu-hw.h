/* SPDX-License-Identifier: Apache-2.0 */

#ifndef NIC_EMU_HW_H
#define NIC_EMU_HW_H 1

/* The emulated NIC's firmware
 * ===========================
 *
 * Stands between the driver, which submits operations, and the table engine
 * (nic-emu-table.h), which executes rules.  It takes its time, publishes
 * counters when it likes, fails, runs full and forgets everything on a reset,
 * as its configuration and the injected faults say; and it remembers its
 * objects when the program is killed.
 *
 * Given the configuration, the sequence of calls and the times passed to them,
 * everything it does is determined, as long as no packets are executed at the
 * same time by other threads.
 *
 * Time passes only in nic_emu_hw_submit() and nic_emu_hw_poll().
 *
 * Life of an operation
 * --------------------
 *
 * An operation is *queued*.  At some time it *takes effect* in the table
 * engine, and at the same or a later time it is *done*: it has a completion.
 * A removal that took effect waits for a grace period (nic-emu-grace.h) in
 * between, so that its counters are final.
 *
 * Thread-safety
 * -------------
 *
 * One thread at a time, except that packets may be executed in the table
 * engine all the while. */

#include <stdbool.h>
#include "nic-emu-config.h"
#include "nic.h"

struct ds;
struct nic_emu_hw;
struct nic_emu_ports;
struct nic_emu_table;

enum nic_emu_fault {
    NIC_EMU_FAULT_FAIL_ADD,         /* Additions fail with EIO. */
    NIC_EMU_FAULT_FULL,             /* Additions fail with ENOSPC. */
    NIC_EMU_FAULT_FAIL_DEL,         /* Removals fail with EIO. */
    NIC_EMU_FAULT_HOLD,             /* Nothing takes effect or completes. */
    NIC_EMU_N_FAULTS
};

/* Creates the firmware of the NIC called 'name', whose ports are 'ports', and
 * loads what an earlier life left: those objects are in the tables and hit.
 * If 'name' is null, nothing is kept from one life to the next. */
struct nic_emu_hw *nic_emu_hw_create(const char *name,
                                     const struct nic_emu_config *config,
                                     struct nic_emu_ports *ports);

/* Removes everything that nic_emu_hw_create() loaded and returns the number of
 * rules and connections. */
uint32_t nic_emu_hw_flush(struct nic_emu_hw *);

/* Removes everything, the file included, and frees the firmware.  The tables
 * are freed as soon as RCU allows. */
void nic_emu_hw_destroy(struct nic_emu_hw *);

struct nic_emu_table *nic_emu_hw_table(struct nic_emu_hw *);
const struct nic_emu_config *nic_emu_hw_config(const struct nic_emu_hw *);

/* Changes the configuration.  Returns 0, or EBUSY and stores a malloc()'d
 * sentence in '*errorp' if objects are in the way. */
int nic_emu_hw_reconfigure(struct nic_emu_hw *,
                           const struct nic_emu_config *, char **errorp);

/* Must be called after port 'id', called 'name', was added and before it is
 * removed. */
void nic_emu_hw_port_added(struct nic_emu_hw *, nic_port_id id,
                           const char *name);
void nic_emu_hw_port_removed(struct nic_emu_hw *, nic_port_id id);

/* Fills in the members of '*stats' that are about objects and operations. */
void nic_emu_hw_get_stats(const struct nic_emu_hw *, struct nic_stats *stats);

/* Loses every object and operation.  Operations that are submitted before the
 * completion NIC_OP_RESET is polled are lost, too: whoever submitted them
 * could not know. */
void nic_emu_hw_reset(struct nic_emu_hw *);

/* Makes 'fault' happen to the next 'n' operations that it applies to, or for
 * NIC_EMU_FAULT_HOLD from now on if 'n' is nonzero. */
void nic_emu_hw_set_fault(struct nic_emu_hw *, enum nic_emu_fault fault,
                          uint32_t n);

/* Appends the active faults to 'ds', or "none". */
void nic_emu_hw_format_faults(const struct nic_emu_hw *, struct ds *ds);

/* See the members of 'struct nic_class' with these names. */
const char *nic_emu_hw_check_template(const struct nic_emu_hw *,
                                      const struct nic_template *);
void nic_emu_hw_submit(struct nic_emu_hw *, const struct nic_op[], size_t n,
                       long long int now_ms);
int nic_emu_hw_egress_set(struct nic_emu_hw *, nic_handle, nic_port_id,
                          const char **reasonp);
size_t nic_emu_hw_poll(struct nic_emu_hw *, struct nic_completion[],
                       size_t max, long long int now_ms);
long long int nic_emu_hw_wake_ms(const struct nic_emu_hw *,
                                 long long int now_ms);
void nic_emu_hw_rule_counters(struct nic_emu_hw *, const nic_handle[],
                              size_t n, struct nic_counter[],
                              long long int now_ms);
void nic_emu_hw_conn_counters(struct nic_emu_hw *, const nic_handle[],
                              size_t n, struct nic_counter[][2],
                              long long int now_ms);

/* Calls 'cb' for each object.  Unlike the functions above, shows counters as
 * they are in the tables.  'cb' must not call back. */
void nic_emu_hw_dump(const struct nic_emu_hw *,
                     void (*cb)(const char *kind, nic_handle,
                                const char *description,
                                const struct nic_counter *, void *aux),
                     void *aux);

#endif /* nic-emu-hw.h */
