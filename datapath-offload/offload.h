/* SPDX-License-Identifier: Apache-2.0 */

#ifndef OFFLOAD_H
#define OFFLOAD_H 1

/* Connection offload of this process
 * ==================================
 *
 * Puts the parts together: one engine, its thread, the provider, configuration
 * and commands.  Called by the hooks in the main loop.
 *
 * Thread-safety: main thread only.
 */

#include "offload-config.h"

struct engine;
struct unixctl_conn;

/* Starts everything, at the first call. */
void offload_init(void);

/* Stops everything.  Datapaths are closed already. */
void offload_exit(void);

/* To be called in each main loop. */
void offload_run(void);
void offload_wait(void);

/* Returns the engine, null before offload_init(). */
struct engine *offload_engine(void);

/* Replies to 'conn', with an empty string, when everything that is known now
 * has been programmed into the NICs, or with an error after 'timeout_ms'. */
void offload_sync(struct unixctl_conn *conn, long long int timeout_ms);

/* Makes the engine's thread take a step. */
void offload_wake(void);

#endif /* offload.h */
