/* SPDX-License-Identifier: Apache-2.0 */

#ifndef NIC_EMU_REPLAY_H
#define NIC_EMU_REPLAY_H 1

/* Reading the file of an emulated NIC (nic-emu-store.h).
 *
 * Thread-safety: functions of their arguments only. */

#include <stddef.h>

struct nic_emu_store_visitor;

/* Passes what the records in the 'size' bytes at 'data', aligned to 8 bytes,
 * leave alive to 'visitor'.  'path' is for the log.
 *
 * Trusts nothing.  Stops at the first thing that makes no sense; returns the
 * number of bytes before it and stores the number of records in them in
 * '*n_recordsp'.  0 bytes means that not even the header is right. */
size_t nic_emu_replay(const char *path, const char *data, size_t size,
                      const struct nic_emu_store_visitor *visitor, void *aux,
                      size_t *n_recordsp);

#endif /* nic-emu-replay.h */
