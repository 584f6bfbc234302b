/* SPDX-License-Identifier: Apache-2.0 */

#ifndef NIC_EMU_H
#define NIC_EMU_H 1

/* The emulated NIC
 * ================
 *
 * A 'struct nic' (nic.h) that really executes its rules on packets.  It sits
 * in the receive path of the datapath ports that are attached to it: a packet
 * that hits is carried, that is, sent out of the target port's device; a
 * packet that misses goes on to OVS.  It stands in for hardware, and is no
 * kinder than hardware.
 *
 * Configuration
 * -------------
 *
 * open() and reconfigure() take these keys, written in OVSDB as
 * 'other_config:nic-emu-NAME="profile=typical rate=50000"':
 *
 *   profile=kind|typical|hostile   Sets the defaults of all that follow.
 *                                  Default: typical.
 *
 *     kind     Everything, for debugging: last-hit times, exact counters,
 *              immediate completions, no limits.
 *     typical  As real NICs are: no last-hit times, counters up to 1000 ms
 *              stale, no check of L4 checksums, 50,000 operations/s,
 *              completions and removals 1 ms late.
 *     hostile  As typical, and from a seed: completions up to 200 ms late and
 *              in any order, added objects that hit before or only just at
 *              their completion, removed objects that keep hitting until it,
 *              operations that fail in the middle of a batch (ENOSPC, EIO),
 *              removals that fail and must be repeated, counters up to 1000 ms
 *              stale.
 *
 *   ct-module=true|false           CT module.  Default: false.
 *   ipv6=true|false                Matches IPv6.  Default of this and the
 *                                  following, with every profile: true.
 *   nat=true|false                 Sets addresses and ports.
 *   vlan=true|false                Pushes, pops and sets VLAN tags.
 *   ttl=true|false                 Sets TTL and hop limit.
 *   multi-output=true|false        Sends a packet more than once.
 *   label-bits=N                   Low bits of ct_label that the CT module
 *                                  has, 0 to 128.  Default: 128.
 *   rate=N                         Operations per second, 1 to 10,000,000, or
 *                                  0 for no limit.
 *   max-rules=N, max-conns=N       1 to 10,000,000.  Default: 1,000,000;
 *                                  without limit with profile=kind.
 *   stale-ms=N                     Counters lag by up to N ms, 0 to 60,000.
 *   delay-ms=N                     Latest completion after N ms, 0 to 60,000.
 *   eswitch=merged|separate        separate: a vf reaches only the uplink that
 *                                  has the same place among uplinks as the vf
 *                                  has among vfs, modulo the number of uplinks
 *                                  (clears 'cross_uplink').
 *   seed=N                         Of profile=hostile, 0 to 4,294,967,295.
 *                                  Default: 1.
 *
 * An unknown key or a bad value is refused with a sentence that names it.
 * What is true or false, eswitch and label-bits cannot be changed while the
 * NIC holds objects.
 *
 * The CT module and changes of ports know TCP and UDP only, not SCTP.  Packets
 * with IPv6 extension headers pass no rule that looks at nw_proto or above, or
 * that changes anything of IP.
 *
 * Life
 * ----
 *
 * Like hardware, it keeps its objects when this program is killed: they are
 * written to "RUNDIR/nic-emu-NAME.rules" as they take effect.  open() finds
 * and removes them and reports their number.  close() removes the file.
 *
 * Commands
 * --------
 *
 * nic_emu_init() registers:
 *
 *   nic-emu/fault NIC FAULT [N]    Injects a fault, see the command's help:
 *       fail-add [N]     the next N additions fail with EIO (default 1)
 *       full [N]         the next N additions fail with ENOSPC
 *       fail-del [N]     the next N removals fail with EIO
 *       hold             operations take no effect and do not complete
 *       release          ends 'hold'
 *       none             ends all faults
 *   nic-emu/reset NIC              Loses every object, as a NIC that resets.
 *   nic-emu/set-carrier PORT up|down
 *   nic-emu/show [NIC]             Configuration and counters.
 *
 * Thread-safety
 * -------------
 *
 * nic_emu_receive() may be called by any number of RCU-registered threads.
 * Everything else is as nic.h says.
 */

#include <stdbool.h>
#include "dp-packet.h"
#include "nic.h"
#include "ovs-atomic.h"

extern const struct nic_class nic_emu_class;

/* Registers the unixctl commands.  Main thread, once. */
void nic_emu_init(void);

/* Sends 'batch', whose packets it takes over, out of the device of datapath
 * port 'odp_port', on the calling thread's own transmit queue. */
typedef void nic_emu_send_cb(void *aux, odp_port_t odp_port,
                             struct dp_packet_batch *batch);

/* Number of ports attached to any emulated NIC.  Read by
 * nic_emu_is_active(). */
extern atomic_count nic_emu_n_ports;

/* Returns true if any port is attached to an emulated NIC.  Cheap: for the
 * receive path of all ports. */
static inline bool
nic_emu_is_active(void)
{
    return atomic_count_get(&nic_emu_n_ports) != 0;
}

/* Receives 'batch' on the device called 'name'.  Removes from 'batch' the
 * packets that the NIC carries or drops; those that it misses stay, unmodified
 * and in order.  A packet that leaves through several ports counts as carried
 * once, with the size that it had when it was received, if any of them can
 * send it.  If 'name' is not a port of an emulated NIC, does nothing.
 *
 * Packets need no initialized metadata.  'now_ms' is for last-hit times. */
void nic_emu_receive(const char *name, struct dp_packet_batch *batch,
                     long long int now_ms, nic_emu_send_cb *send, void *aux);

/* Stores in '*carrier' the carrier of the device called 'name' and returns
 * true, if it is a port of an emulated NIC; otherwise returns false. */
bool nic_emu_get_carrier(const char *name, bool *carrier);

/* Makes 'nic', of nic_emu_class, lose every object, as 'nic-emu/reset' does.
 * Any thread. */
void nic_emu_reset(struct nic *nic);

#endif /* nic-emu.h */
