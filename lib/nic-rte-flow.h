/* SPDX-License-Identifier: Apache-2.0 */

#ifndef NIC_RTE_FLOW_H
#define NIC_RTE_FLOW_H 1

/* NICs behind DPDK's rte_flow
 * ===========================
 *
 * A driver (nic.h) for DPDK ports whose NIC has an embedded switch: rules are
 * flow rules in transfer mode, of which packets never come to the host.  One
 * NIC per switch domain, called "dpdk-DOMAIN": ports of one can send to each
 * other.  It is opened when the first port of the domain is found.  Only flat
 * mode: connection tracking stays with the software.
 *
 * Rules
 * -----
 *
 * Rules are in a group of their own, to which one rule per port leads from the
 * group where packets enter; where a driver does not offer that, they are in
 * this one.  An egress object is a group with one rule, for packets of all
 * ports, which an item has to say: left out, some drivers think of the port
 * that the rule is made through.  To move it, a rule of another priority is
 * added before the old one is removed, so that packets always find one: those
 * that come here may be changed already, and must not be missed.  Ports
 * without priorities have no egress objects.
 *
 * What a port offers is asked from its driver after each start
 * (rte-flow-probe.h), each template once, and the driver's words are the
 * reasons that people see.  The NIC's capabilities are what some port offers.
 *
 * Counters
 * --------
 *
 * Where the driver has counters that outlive their rules (indirect actions),
 * the final count is read after the rule is gone, and after the time within
 * which drivers read their NICs' counters: a deletion completes that much
 * later.  Other operations do not wait for it; the engine does before it makes
 * another rule for the same connection and direction, and before it judges a
 * FIN or RST.  A port that stops cannot wait: then the final count is what the
 * driver knows at that time.
 *
 * Elsewhere the final count is read just before the rule goes, and packets
 * that hit in between, some microseconds, are carried but not counted.
 *
 * What drivers do not remove
 * --------------------------
 *
 * The deletion of a rule or an egress object fails if the driver does not
 * remove it, and the caller tries again (nic.h).  What belongs to no object
 * any more becomes a leftover: shown by dump(), and tried again until it is
 * gone, by the next NIC of the domain if this one is closed.
 *
 * What the driver's lock means
 * ----------------------------
 *
 * The calls used here are synchronous.  Those of rules are made by poll(), a
 * bounded number each time.  Those of egress_set() are made by its caller, and
 * do not wait for the others, except that drivers that are not thread-safe
 * themselves (RTE_ETH_DEV_FLOW_OPS_THREAD_SAFE) have one lock per port in
 * DPDK: there it may wait for the call that is under way, never for a queue.
 *
 * Ports that stop
 * ---------------
 *
 * Open vSwitch stops and starts DPDK ports, e.g. to change their queues.
 * Drivers want the application to remove its rules and indirect actions
 * before.  So nic_rte_flow_port_stopping() takes them down, counters read, and
 * the port is "changed" (see 'port_changed' in nic.h), so that it is removed
 * from the NIC and added anew.
 *
 * A port that was reset or removed, as its driver says, is "changed", too.  If
 * it is the one through which rules are made, the NIC lost everything.
 *
 * Rules of an earlier life of this program went with its DPDK ports.
 *
 * Thread-safety: see nic.h.  nic_rte_flow_port_stopping() and
 * nic_rte_flow_port_started() may be called by any thread, the other functions
 * below by the main thread only unless they say something else.
 */

#include <stdbool.h>
#include <stdint.h>
#include "lib/nic.h"

struct seq;

/* The NIC of switch domain N is called "dpdk-N". */
#define NIC_RTE_FLOW_PREFIX "dpdk-"

/* 'config' of open() has one key, "domain". */
extern const struct nic_class nic_rte_flow_class;

/* What is known of a device before it is a port of a NIC. */
struct nic_rte_flow_device {
    uint16_t domain;
    enum nic_port_role role;        /* A representor is a VF. */
    bool waiting;                   /* Not yet: a port that it needs is not
                                     * started. */
};

/* Stores what is known of the DPDK device of OVS's network device 'name' in
 * '*device'.  Returns null if it can be a port of a NIC, otherwise text that
 * stays valid and says why not. */
const char *nic_rte_flow_find_device(const char *name,
                                     struct nic_rte_flow_device *device);

/* DPDK port 'ethdev' is about to be stopped or, if 'closing', to be closed or
 * reset. */
void nic_rte_flow_port_stopping(uint16_t ethdev, bool closing);
void nic_rte_flow_port_started(uint16_t ethdev);

/* Carrier of the ports of all NICs, as a source for carrier.h.  The sequence
 * number changes at once where the driver sends link state interrupts and
 * these are enabled (options:dpdk-lsc-interrupt=true).  Any thread. */
bool nic_rte_flow_get_carrier(const char *name, bool *carrier);
struct seq *nic_rte_flow_carrier_seq(void);

#endif /* nic-rte-flow.h */
