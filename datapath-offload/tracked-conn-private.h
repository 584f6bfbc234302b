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

/* Decisions (tracked-conn.c). */

/* Returns why 'tc' must not be in a NIC whatever the megaflows are, or
 * REASON_NONE. */
enum offload_reason tracked_conn_check(const struct tracked_conn *tc);

/* Composition (tracked-conn-compose.c). */

/* Finds the paths of direction 'dir' and makes 'tc' use them. */
void tracked_conn_compose(struct tracked_conn *tc, int dir);

/* Stores in '*subject' what composition starts from in direction 'dir', but
 * for 'find_conn' and its 'aux'.  Valid as long as 'tc' does not change. */
void tracked_conn_get_subject(struct tracked_conn *tc, int dir,
                              struct path_subject *subject);

/* Waiting for megaflows (tracked-conn-wait.c). */

/* Lets 'tc' wait for new megaflows in 'slot', for direction 'dir'. */
void tracked_conn_add_wait(struct tracked_conn *tc, int dir,
                           struct mf_slot *slot);

/* Ends all waiting of 'tc', for other connections and for room in a NIC,
 * too. */
void tracked_conn_clear_waits(struct tracked_conn *tc);

/* Room in NICs (tracked-conn-room.c). */

/* Counts 'tc' in 'onic', or nowhere if it is null. */
void tracked_conn_occupy(struct tracked_conn *tc, struct offload_nic *onic);

/* The timer (tracked-conn-timer.c). */

/* Sets the timer of 'tc' to the earliest thing that it waits for. */
void tracked_conn_set_timer(struct tracked_conn *tc);

/* Waits for what follows a FIN or RST. */
void tracked_conn_start_judging(struct tracked_conn *tc);

#endif /* tracked-conn-private.h */
