/* SPDX-License-Identifier: Apache-2.0 */

#ifndef COMMANDS_H
#define COMMANDS_H 1

/* ovs-appctl commands
 * ===================
 *
 * ct-offload/show, dump-connections, why, flush, sync; nic/show, dump-rules.
 * doc/reference.md describes them.  Each that shows something has --json, with
 * keys that stay.
 */

/* Registers the commands.  Main thread, once, after the engine exists. */
void offload_commands_init(void);

#endif /* commands.h */
