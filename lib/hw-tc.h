/* SPDX-License-Identifier: Apache-2.0 */

#ifndef HW_TC_H
#define HW_TC_H 1

/* Whether a device's driver offloads filters of tc
 * ================================================
 *
 * Asks the kernel for the feature "hw-tc-offload" of a device, as
 * "ethtool -k DEVICE" shows it.
 *
 * Thread-safety: none is needed, there is no state.
 */

struct nlmsghdr;

enum hw_tc {
    HW_TC_UNKNOWN,                  /* The kernel did not say. */
    HW_TC_NONE,                     /* Off, and cannot be turned on. */
    HW_TC_OFF,
    HW_TC_ON,
};

/* Returns how it is with the device 'ifindex' of this network namespace.
 * Makes some system calls, none of which waits. */
enum hw_tc hw_tc_query(int ifindex);

/* Returns null for a device that offloads, or of which that is not known,
 * otherwise static text that says why it does not. */
const char *hw_tc_problem(enum hw_tc);

/* What the kernel's answer 'nlh' says, an ETHTOOL_MSG_FEATURES_GET_REPLY of
 * which mnl_nlmsg_ok() is true; HW_TC_UNKNOWN if it is malformed. */
enum hw_tc hw_tc_parse(const struct nlmsghdr *nlh);

#endif /* hw-tc.h */
