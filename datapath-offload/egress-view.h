/* SPDX-License-Identifier: Apache-2.0 */

#ifndef EGRESS_VIEW_H
#define EGRESS_VIEW_H 1

/* Egress objects of one NIC
 * =========================
 *
 * A rule for packets that end with lb_output(id) does not name a port but an
 * egress object, which the carrier watcher changes (lib/egress.h).  A 'struct
 * egress_view' is the engine's part of that for one NIC: it makes the object
 * before the first rule that needs it and removes it after the last.
 *
 *     ABSENT --ref()--> ADDING --completion--> PRESENT --last unref()-->
 *     DELETING --completion--> ABSENT
 *
 * The engine calls, in its step:
 *
 *   - egress_view_ref() when a path comes to use lb_output(id), and
 *     egress_view_unref() when the rules of that path are gone from the NIC;
 *
 *   - egress_view_get() to compile the path: NIC_ACTION_EGRESS with the handle
 *     that it returns, or no rule and the reason that it returns;
 *
 *   - egress_view_complete() for completions of type NIC_OP_EGRESS_ADD and
 *     NIC_OP_EGRESS_DEL, and egress_view_forget() for NIC_OP_RESET;
 *
 *   - egress_view_run() before it recomputes what is dirty.  It calls back for
 *     each id whose egress_view_get() may answer something else than before.
 *
 * Thread-safety: none.  See engine.h. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "lib/egress.h"
#include "lib/nic.h"
#include "openvswitch/types.h"

struct egress_view;

/* How long a failed operation waits until it is tried again. */
#define EGRESS_VIEW_RETRY_MS 500

enum egress_view_answer {
    EGRESS_VIEW_READY,              /* '*handle' may be used. */
    EGRESS_VIEW_PENDING,            /* Later. */
    EGRESS_VIEW_UNKNOWN,            /* Nobody knows where the id leads: a bond
                                     * of Open vSwitch's own. */
    EGRESS_VIEW_UNREACHABLE,        /* It leads where the NIC cannot. */
    EGRESS_VIEW_REFUSED,            /* The NIC has no such objects, or
                                     * failed. */
};

/* Looks after the egress objects of 'nic', which must outlive the result. */
struct egress_view *egress_view_create(struct nic *nic);

/* Everything was unreferenced, and the NIC has lost or deleted all. */
void egress_view_destroy(struct egress_view *);

/* Says which ports of the NIC are which ports of the datapath.  To be called
 * whenever that changes. */
void egress_view_set_ports(struct egress_view *,
                           const struct egress_nic_port ports[], size_t n);

/* What the NIC can do may have changed. */
void egress_view_caps_changed(struct egress_view *);

void egress_view_ref(struct egress_view *, uint32_t id);
void egress_view_unref(struct egress_view *, uint32_t id);

/* Returns whether rules may name the egress of 'id', which is referenced, and
 * stores its handle in '*handle' (EGRESS_VIEW_READY), or text for people in
 * '*why' (otherwise). */
enum egress_view_answer egress_view_get(const struct egress_view *,
                                        uint32_t id, nic_handle *handle,
                                        const char **why);

/* Looks at what changed, submits what is to be done and calls 'changed' as
 * said above.  'changed' may call egress_view_get() only. */
void egress_view_run(struct egress_view *, long long int now_ms,
                     void (*changed)(uint32_t id, void *aux), void *aux);

/* Returns when egress_view_run() is to be called at the latest; besides, it
 * must be called after egress_seq() changed. */
long long int egress_view_wake_ms(const struct egress_view *);

void egress_view_complete(struct egress_view *, const struct nic_completion *,
                          long long int now_ms);
void egress_view_forget(struct egress_view *);

/* Returns true if no operation is under way and egress_view_run() has looked
 * at everything. */
bool egress_view_is_settled(const struct egress_view *);

/* Returns the number of objects that are in the NIC or under way. */
size_t egress_view_count(const struct egress_view *);

#endif /* egress-view.h */
