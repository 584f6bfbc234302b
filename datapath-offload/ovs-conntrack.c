/* SPDX-License-Identifier: Apache-2.0 */

/* OVS's conntrack unit, with hooks:
 *
 *   removal        conn_clean() gives a connection's memory up with
 *                  ovsrcu_postpone(delete_conn, conn).
 *
 *   forced expiry  conn_force_expire() stores a zero expiration.  No other
 *                  atomic_store_relaxed() of the unit stores an atomic_llong.
 *
 *   mark, label    set_mark() and set_label() are the only places that store
 *                  them in a connection that exists, between locking and
 *                  unlocking it.  Both static functions are called from inside
 *                  the unit, so the lock is where they can be hooked.
 */

#include <config.h>

#include "conntrack-private.h"
#include "ct-tail.h"
#include "hook-version.h"
#include "openvswitch/thread.h"
#include "ovs-atomic.h"
#include "ovs-rcu.h"
#include "util.h"

/* Removal.  A function of the unit that is postponed must have its own
 * hook_postpone_*(). */

static void
hook_postpone_delete_conn(struct conn *conn)
{
    ct_tail_removed(conn);
}

static void
hook_postpone_free(const void *p OVS_UNUSED)
{
    /* Timeout policies and zone limits. */
}

/* The event must be out before the grace period starts (see ct-conn.h). */
#undef ovsrcu_postpone
#define ovsrcu_postpone(FUNCTION, ARG)                          \
    ((void) sizeof((FUNCTION)(ARG), 1),                         \
     (void) sizeof(*(ARG)),                                     \
     hook_postpone_##FUNCTION(ARG),                             \
     ovsrcu_postpone__((void (*)(void *)) (FUNCTION), ARG))

/* Forced expiry. */

static void
hook_store_llong(atomic_llong *dst, long long int value)
{
    /* CONTAINER_OF() checks that 'expiration' is what 'dst' says. */
    struct conn *conn = CONTAINER_OF(dst, struct conn, expiration);

    ovs_assert(!value);
    ct_tail_force_expire(conn);
}

static void
hook_store_uint(atomic_uint *dst, unsigned int value)
{
    atomic_store_explicit(dst, value, memory_order_relaxed);
}

static void
hook_store_bool(atomic_bool *dst, bool value)
{
    atomic_store_explicit(dst, value, memory_order_relaxed);
}

#undef atomic_store_relaxed
#define atomic_store_relaxed(DST, VALUE)                        \
    _Generic((DST),                                             \
             atomic_llong *: hook_store_llong,                  \
             atomic_uint *: hook_store_uint,                    \
             atomic_bool *: hook_store_bool)(DST, VALUE)

/* Mark and label. */

struct hook_meta {
    uint32_t mark;
    ovs_u128 label;
};

/* What a connection has before set_mark() or set_label(). */
static __thread struct hook_meta hook_meta_before;

static void
hook_before_set(const struct conn *conn)
{
    const struct ct_tail *tail = ct_tail(conn);

    if (tail && tail->id) {
        hook_meta_before.mark = conn->mark;
        hook_meta_before.label = conn->label;
    }
}

static void
hook_after_set(const struct conn *conn)
{
    const struct ct_tail *tail = ct_tail(conn);

    if (tail && tail->id
        && (hook_meta_before.mark != conn->mark
            || !ovs_u128_equals(hook_meta_before.label, conn->label))) {
        ct_tail_event(conn, CT_EVENT_CHANGED);
    }
}

/* A constant for the compiler. */
#define HOOK_IN_SETTER (!__builtin_strcmp(__func__, "set_mark")         \
                        || !__builtin_strcmp(__func__, "set_label"))
#define HOOK_CONN(MUTEX) CONTAINER_OF(MUTEX, struct conn, lock)

#undef ovs_mutex_lock
#define ovs_mutex_lock(MUTEX)                                           \
    (ovs_mutex_lock_at(MUTEX, OVS_SOURCE_LOCATOR),                      \
     HOOK_IN_SETTER ? hook_before_set(HOOK_CONN(MUTEX)) : (void) 0)
#define ovs_mutex_unlock(MUTEX)                                         \
    (HOOK_IN_SETTER ? hook_after_set(HOOK_CONN(MUTEX)) : (void) 0,      \
     ovs_mutex_unlock(MUTEX))

#include "lib/conntrack.c"

/* What the hooks take for granted.  A mismatch is an error of these lines. */
static void (*const hook_mark_needs)(struct dp_packet *, struct conn *,
                                     uint32_t, uint32_t) OVS_UNUSED
    = set_mark;
static void (*const hook_label_needs)(struct dp_packet *, struct conn *,
                                      const struct ovs_key_ct_labels *,
                                      const struct ovs_key_ct_labels *)
    OVS_UNUSED = set_label;
static void (*const hook_removal_needs)(struct conn *) OVS_UNUSED
    = delete_conn;
static void (*const hook_expiry_needs)(struct conn *) OVS_UNUSED
    = conn_force_expire;
_Static_assert(_Generic(&((struct conn *) NULL)->expiration,
                        atomic_llong *: 1, default: 0),
               "hook ovs-conntrack.c: conn->expiration has another type");
