/* SPDX-License-Identifier: Apache-2.0 */

#ifndef NIC_TC_H
#define NIC_TC_H 1

/* Kernel devices that execute filters of tc-flower
 * ================================================
 *
 * A 'struct nic' (nic.h) whose rules are filters in the ingress of kernel
 * devices.  Where a device's driver offloads flower, the device executes them;
 * otherwise the kernel does, if 'tc-policy' permits that.  There is no
 * connection tracking in it: the kernel cannot give back a packet that its
 * act_ct has translated.
 *
 * The ports of the one NIC of this kind are devices of this network namespace.
 *
 * Configuration
 * -------------
 *
 *   tc-policy=none|skip_sw|skip_hw  Who executes filters, as Open vSwitch's
 *                                   other_config:tc-policy.  Default: none,
 *                                   that is, both.
 *
 * Each port has a device on which its rules are.  Usually that is the port
 * itself, a representor: then its filters are always skip_sw, because Open
 * vSwitch reads the packets of the device as well, and would see each one that
 * the kernel forwards a second time.  port_add_on() names another device, e.g.
 * one whose default filter hands packets to the port.
 *
 * In the kernel
 * -------------
 *
 * A rule is one filter in chain 0, of a priority for its protocol and masks
 * (nic-tc-prio.h).  An egress object is a chain with one filter, in the
 * ingress of each device whose rules name it; changing it replaces this
 * filter, and packets meet the old one or the new one.
 *
 * All filters carry a mark, in the cookie of their first action.  open()
 * removes what an earlier life has left.  Filters and qdiscs of others stay.
 *
 * The kernel does less than nic.h asks of a NIC, when it executes filters
 * itself:
 *
 *   - It checks neither the IPv4 header's checksum nor lengths.
 *   - It computes L4 checksums anew where addresses or ports are set, so that
 *     a bad one becomes a good one.
 *   - A packet that hits a rule in the moment in which it is deleted may miss
 *     in the rule's final count.
 *   - Rules that send to a port which was removed, while its device is still
 *     there, send to it until they are deleted.
 *
 * Time: counters of time are of time_msec(), which must be what the caller
 * uses.
 *
 * Thread-safety: as nic.h says.  A thread of its own talks to the kernel.
 */

#include "lib/nic.h"

extern const struct nic_class nic_tc_class;

#endif /* nic-tc.h */
