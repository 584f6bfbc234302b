/* SPDX-License-Identifier: Apache-2.0 */

#ifndef TRACKED_CONN_PRIVATE_H
#define TRACKED_CONN_PRIVATE_H 1

/* Inside a tracked connection
 * ===========================
 *
 * What the files tracked-conn*.c have in common beside engine-private.h, and
 * nobody else needs.
 *
 * Thread-safety: guarded by the engine's mutex. */

#include "engine-private.h"

/* Room in NICs (tracked-conn-room.c). */

/* Counts 'tc' in 'onic', or nowhere if it is null. */
void tracked_conn_occupy(struct tracked_conn *tc, struct offload_nic *onic);

/* The timer (tracked-conn-timer.c). */

/* Sets the timer of 'tc' to the earliest thing that it waits for. */
void tracked_conn_set_timer(struct tracked_conn *tc);

/* Waits for what follows a FIN or RST. */
void tracked_conn_start_judging(struct tracked_conn *tc);

#endif /* tracked-conn-private.h */
