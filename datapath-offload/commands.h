/* SPDX-License-Identifier: Apache-2.0 */

#ifndef COMMANDS_H
#define COMMANDS_H 1

struct json;

/* ovs-appctl commands
 * ===================
 *
 * ct-offload/show, dump-connections, why, flush, sync; nic/show, dump-rules.
 * doc/reference.md describes them.  Each that shows something has --json, with
 * keys that stay.
 */

/* Registers the commands.  Main thread, once, after the engine exists. */
void offload_commands_init(void);

/* Return what "ct-offload/show --json" and "nic/show --json" tell, which the
 * caller destroys.  Main thread, while the engine exists. */
struct json *offload_commands_show_json(void);
struct json *offload_commands_nic_json(void);

#endif /* commands.h */
