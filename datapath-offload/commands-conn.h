/* SPDX-License-Identifier: Apache-2.0 */

#ifndef COMMANDS_CONN_H
#define COMMANDS_CONN_H 1

/* ovs-appctl commands about single connections, and what all commands
 * share. */

#include <stdbool.h>
#include <stdint.h>

struct json;
struct unixctl_conn;

/* Registers ct-offload/dump-connections and ct-offload/why. */
void offload_conn_commands_init(void);

/* Moves "--json" behind the other arguments in 'argv' and takes it out of
 * '*argc'.  Returns true if it was there. */
bool offload_command_take_json(int *argc, const char *argv[]);

/* Replies with 'json', which it destroys. */
void offload_command_reply_json(struct unixctl_conn *, struct json *json);

/* Returns a JSON integer. */
struct json *offload_json_uint(uint64_t);

#endif /* commands-conn.h */
