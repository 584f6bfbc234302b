/* SPDX-License-Identifier: Apache-2.0 */

#ifndef NET_EMU_FAULT_H
#define NET_EMU_FAULT_H 1

/* What tests do to a running net_emu
 * ==================================
 *
 * Commands of DPDK's telemetry, so that nobody needs a symbol of the plugin:
 *
 *   /net_emu/list                     Names of NICs.
 *   /net_emu/show,NIC                 Counters and active faults.
 *   /net_emu/fault,NIC,FAULT[,N]      As 'ovs-appctl nic-emu/fault': fail-add,
 *                                     full, fail-del, hold, release, none.
 *   /net_emu/carrier,NIC,PORT,STATE   up, down, or auto: that of the device.
 *   /net_emu/reset,NIC                The NIC loses its rules, and every
 *                                     ethdev tells so.
 *
 * Each answers with a dictionary: "error" says what went wrong. */

/* Registers the commands, once. */
void net_emu_fault_init(void);

#endif /* net-emu-fault.h */
