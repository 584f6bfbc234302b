/* SPDX-License-Identifier: Apache-2.0 */

#ifndef TEST_SWITCH_H
#define TEST_SWITCH_H 1

/* Offload for test suites that know nothing of it
 * ===============================================
 *
 * OVS's own test suites shall run over a NIC without being told, and what they
 * find in OVSDB must be what they put there.  Environment variables of
 * ovs-vswitchd do that:
 *
 *   OVS_HANDOFF_TEST_NIC="KEY=VALUE ..."
 *
 *       Everything happens as if OVSDB contained, in addition,
 *
 *         Open_vSwitch other_config:hw-offload=true
 *         Open_vSwitch other_config:nic-emu-test="KEY=VALUE ..."
 *         Interface * other_config:nic=test
 *
 *       where OVSDB says nothing else of the same key.  An Interface that has
 *       'nic' is left alone.
 *
 *   OVS_HANDOFF_TEST_MIN_PACKETS=N
 *
 *       The same for
 *
 *         Open_vSwitch other_config:ct-offload-min-packets=N
 *
 *   OVS_HANDOFF_TEST_REPORT=FILE
 *
 *       When ovs-vswitchd exits in good order it appends one line to FILE, a
 *       JSON object:
 *
 *         rundir   its run directory
 *         ready    packets that the software processed for TCP and UDP
 *                  connections that had been announced to the engine before,
 *                  i.e. that might have been carried
 *         show     what "ct-offload/show --json" tells
 *         nic      what "nic/show --json" tells
 *
 * Thread-safety: main thread only.
 */

struct smap;

/* Reads the environment.  To be called once, before the others. */
void test_switch_init(void);

/* Returns other_config of table Open_vSwitch as it shall be understood if
 * OVSDB contains 'other_config': 'other_config' itself if the switch is off,
 * otherwise something that is valid until the next call. */
const struct smap *test_switch_ovs_config(const struct smap *other_config);

/* The same for other_config of an Interface.  Valid as long as
 * 'other_config'. */
const struct smap *test_switch_iface_config(const struct smap *other_config);

/* Appends to the report, if there is one.  To be called while there still are
 * datapaths. */
void test_switch_report(void);

#endif /* test-switch.h */
