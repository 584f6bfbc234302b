/* SPDX-License-Identifier: Apache-2.0 */

#ifndef ENGINE_THREAD_H
#define ENGINE_THREAD_H 1

/* The thread that runs the engine
 * ===============================
 *
 * A loop around engine_step(): sleeps until something is pushed or due.
 *
 * Thread-safety: create and destroy from one thread; the rest from any.
 */

#include <stdbool.h>

struct engine;
struct engine_thread;
struct seq;

/* Starts a thread that steps 'engine'. */
struct engine_thread *engine_thread_create(struct engine *engine);

/* Stops the thread and waits for its end. */
void engine_thread_destroy(struct engine_thread *);

/* Makes the thread take a step soon, after something was changed with the
 * engine's mutex held. */
void engine_thread_wake(struct engine_thread *);

/* Returns a seq that changes when engine_is_settled() becomes true or
 * false. */
struct seq *engine_thread_settled_seq(struct engine_thread *);

#endif /* engine-thread.h */
