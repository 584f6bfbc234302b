/* SPDX-License-Identifier: Apache-2.0 */

#ifndef HOOK_VERSION_H
#define HOOK_VERSION_H 1

/* Hook files fit one version of OVS.  A mismatch must fail here, where the
 * message tells what is wrong, rather than in the middle of OVS's code. */

#define HOOK_OVS_VERSION_PREFIX "3.1."

#ifndef PACKAGE_VERSION
#error "hook files need OVS's config.h, included first"
#endif

_Static_assert(!__builtin_strncmp(PACKAGE_VERSION, HOOK_OVS_VERSION_PREFIX,
                                  sizeof HOOK_OVS_VERSION_PREFIX - 1),
               "these hooks are for Open vSwitch 3.1");

#endif /* hook-version.h */
