/* SPDX-License-Identifier: Apache-2.0 */

#ifndef NIC_EMU_CHECK_H
#define NIC_EMU_CHECK_H 1

/* What the emulated NIC can do, by its capabilities.  Says no to whatever it
 * would not do exactly as asked; knows nothing of ports and other objects.
 *
 * Thread-safety: functions of their arguments only. */

struct nic_caps;
struct nic_conn;
struct nic_template;

/* Returns null if a NIC of 'caps' can execute rules made of 'template',
 * otherwise a static text that says why not.  If 'caps' is null, speaks of a
 * NIC with all capabilities. */
const char *nic_emu_check_template(const struct nic_template *template,
                                   const struct nic_caps *caps);

/* The same for a connection. */
const char *nic_emu_check_conn(const struct nic_conn *conn,
                               const struct nic_caps *caps);

#endif /* nic-emu-check.h */
