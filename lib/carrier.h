/* SPDX-License-Identifier: Apache-2.0 */

#ifndef CARRIER_H
#define CARRIER_H 1

/* Carrier of network devices
 * ==========================
 *
 * A 'struct carrier_watcher' tells its owner of each change of the carrier of
 * the devices that it watches, as soon as the owner calls
 * carrier_watcher_run().  It is meant for a thread that does little else:
 *
 *     for (;;) {
 *         carrier_watcher_run(w);
 *         carrier_watcher_wait(w);
 *         poll_block();
 *     }
 *
 * Where the carrier comes from
 * ----------------------------
 *
 *   - The kernel, through rtnetlink: a device has carrier if it is up and
 *     running (IFF_UP and IFF_RUNNING), as OVS sees it.  A device that is
 *     deleted or renamed away from its name is gone; one that gets a watched
 *     name has gained or lost carrier, as its flags say.  If the
 *     kernel drops messages (ENOBUFS) all devices are read anew, so that no
 *     change is lost, only perhaps seen late.
 *
 *   - Other sources (struct carrier_source), for devices that are not in the
 *     kernel or whose link is not what the kernel sees: the emulated NIC.
 *
 * A device that the kernel once knew and that is gone is CARRIER_GONE,
 * whatever others say.  Otherwise it is CARRIER_DOWN if any source that knows
 * it says so, CARRIER_UP if at least one knows it, and CARRIER_UNKNOWN if none
 * does.
 *
 * Thread-safety: none.  The callback is called from within
 * carrier_watcher_add() and carrier_watcher_run() and must not call the
 * watcher. */

#include <stdbool.h>
#include <stdint.h>

struct carrier_watcher;
struct seq;

enum carrier_state {
    CARRIER_UNKNOWN,
    CARRIER_DOWN,
    CARRIER_UP,
    CARRIER_GONE,
};

const char *carrier_state_to_string(enum carrier_state);

/* Another source of carrier. */
struct carrier_source {
    /* Stores the carrier of the device called 'name' in '*carrier' and returns
     * true, or returns false if the source does not know it.  Called by the
     * watcher's thread; must not block. */
    bool (*get)(const char *name, bool *carrier);

    /* Changes after the carrier of any device of the source changed.  It may
     * change more often. */
    struct seq *seq;
};

/* The carrier of the device called 'name' changed to 'state'. */
typedef void carrier_cb(const char *name, enum carrier_state state, void *aux);

struct carrier_stats {
    uint64_t n_messages;            /* Link messages from the kernel. */
    uint64_t n_overruns;            /* ENOBUFS. */
    uint64_t n_dumps;               /* Times that all devices were read. */
};

/* Creates a watcher of the devices in the network namespace of the calling
 * thread.  Stores it in '*watcherp' and returns 0, or returns a positive errno
 * value if the kernel cannot be asked; then '*watcherp' is a watcher for the
 * other sources alone. */
int carrier_watcher_create(const struct carrier_source sources[],
                           unsigned int n_sources, carrier_cb *, void *aux,
                           struct carrier_watcher **watcherp);
void carrier_watcher_destroy(struct carrier_watcher *);

/* Starts to watch the device called 'name', which need not exist.  Calls back
 * at once with its state.  'in_kernel' says whether it is one of the kernel's:
 * if it is not, a device in the kernel that happens to have the same name says
 * nothing about it.  Calls may be nested, with the same 'in_kernel': it is
 * watched until it was removed as often as it was added. */
void carrier_watcher_add(struct carrier_watcher *, const char *name,
                         bool in_kernel);
void carrier_watcher_remove(struct carrier_watcher *, const char *name);

/* Returns the state that was told last, CARRIER_UNKNOWN if 'name' is not
 * watched. */
enum carrier_state carrier_watcher_get(const struct carrier_watcher *,
                                       const char *name);

/* Reads what is there and calls back for each watched device that changed. */
void carrier_watcher_run(struct carrier_watcher *);

/* Makes poll_block() return when carrier_watcher_run() has something to do. */
void carrier_watcher_wait(struct carrier_watcher *);

void carrier_watcher_get_stats(const struct carrier_watcher *,
                               struct carrier_stats *);

/* For tests: limits the memory for messages that were not read yet, so that
 * the kernel soon drops some.  Returns 0 or a positive errno value. */
int carrier_watcher_limit_buffer(struct carrier_watcher *, int n_bytes);

#endif /* carrier.h */
