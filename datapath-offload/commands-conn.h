/* SPDX-License-Identifier: Apache-2.0 */

#ifndef COMMANDS_CONN_H
#define COMMANDS_CONN_H 1

/* ovs-appctl commands about single connections, and what all commands
 * share. */

#include <stdbool.h>
#include <stdint.h>

struct json;
struct megaflow;
struct unixctl_conn;

/* Registers ct-offload/dump-connections, ct-offload/why and
 * ct-offload/trace. */
void offload_conn_commands_init(void);
void offload_why_command_init(void);
void offload_trace_command_init(void);

/* Moves "--json" behind the other arguments in 'argv' and takes it out of
 * '*argc'.  Returns true if it was there. */
bool offload_command_take_json(int *argc, const char *argv[]);

/* Replies with 'json', which it destroys. */
void offload_command_reply_json(struct unixctl_conn *, struct json *json);

/* Returns a JSON integer. */
struct json *offload_json_uint(uint64_t);

/* Returns 'flow' in one line: ufid, match and actions.  The ufid is not the
 * one that "dpctl/dump-flows -m" shows, but the match is.  The caller must
 * free it. */
char *megaflow_to_string(const struct megaflow *flow);

#endif /* commands-conn.h */
