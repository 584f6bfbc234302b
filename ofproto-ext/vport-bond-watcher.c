/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>
#include "vport-bond-watcher.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "connectivity.h"
#include "coverage.h"
#include "hash.h"
#include "lib/egress.h"
#include "odp-util.h"
#include "openvswitch/hmap.h"
#include "openvswitch/list.h"
#include "openvswitch/poll-loop.h"
#include "openvswitch/shash.h"
#include "openvswitch/thread.h"
#include "openvswitch/vlog.h"
#include "ovs-atomic.h"
#include "ovs-thread.h"
#include "seq.h"
#include "smap.h"
#include "timeval.h"
#include "util.h"
#include "vport-bond-dp.h"
#include "vport-bond-ids.h"
#include "vport-bond-state.h"
#include "vport-bond-update.h"
#include "vport-bond-watched.h"

VLOG_DEFINE_THIS_MODULE(vport_bond);

COVERAGE_DEFINE(vport_bond_move);

/* When the datapath refused, it is tried again after this time. */
#define RETRY_MS 1000

/* The highest priority below real time. */
#define WATCHER_NICE -20

static struct ovs_mutex mutex = OVS_MUTEX_INITIALIZER;

static struct hmap bonds OVS_GUARDED_BY(mutex) = HMAP_INITIALIZER(&bonds);
static struct ovs_list dps OVS_GUARDED_BY(mutex)
    = OVS_LIST_INITIALIZER(&dps);
static struct vport_bond_retired_ids retired OVS_GUARDED_BY(mutex)
    = VPORT_BOND_RETIRED_IDS_INITIALIZER(&retired);

/* The main thread counts up what it wants to be done, the watcher's thread
 * follows. */
static uint64_t wanted_gen OVS_GUARDED_BY(mutex);
static uint64_t done_gen OVS_GUARDED_BY(mutex);
static pthread_cond_t done_cond = PTHREAD_COND_INITIALIZER;

static const struct vport_bond_dp_class *dp_class;
static const struct vport_bond_ids *ids;
static struct carrier_watcher *carrier; /* The watcher's thread only. */
static struct seq *wakeup;
static pthread_t thread;
static bool running;                /* The main thread only. */
static atomic_bool exiting = ATOMIC_VAR_INIT(false);
static atomic_uint64_t change_seq = ATOMIC_VAR_INIT(1);

/* Bonds. */

/* Makes the main thread write the database. */
static void
status_changed(void)
{
    uint64_t orig;

    atomic_add_relaxed(&change_seq, 1, &orig);
    seq_change(connectivity_seq_get());
}

static struct watched_bond *
bond_find(const char *name)
    OVS_REQUIRES(mutex)
{
    struct watched_bond *bond;

    HMAP_FOR_EACH_WITH_HASH (bond, node, hash_string(name, 0), &bonds) {
        if (!strcmp(bond->model->name, name)) {
            return bond;
        }
    }
    return NULL;
}

static bool
retire_bond(struct watched_bond *bond)
    OVS_REQUIRES(mutex)
{
    VLOG_INFO("bond %s: its vports are not bound to uplinks any more",
              bond->model->name);
    hmap_remove(&bonds, &bond->node);
    return watched_bond_destroy(bond, ids, &retired);
}

static struct watched_bond *
create_bond(const struct vport_bond_config *config)
    OVS_REQUIRES(mutex)
{
    struct watched_bond *bond = watched_bond_create(config, &dps);

    hmap_insert(&bonds, &bond->node, hash_string(config->name, 0));
    VLOG_INFO("bond %s: vports are bound to uplinks", config->name);
    return bond;
}

/* Waits until the watcher's thread has done what was wanted before. */
static void
wait_done(void)
    OVS_REQUIRES(mutex)
{
    uint64_t gen = ++wanted_gen;

    seq_change(wakeup);
    while (done_gen < gen) {
        ovs_mutex_cond_wait(&done_cond, &mutex);
    }
}

/* Lets translation know the ids that the datapath knows.  Returns true if
 * there were new ones. */
static bool
publish_new(void)
    OVS_REQUIRES(mutex)
{
    struct watched_bond *bond;
    bool changed = false;

    HMAP_FOR_EACH (bond, node, &bonds) {
        changed |= watched_bond_publish(bond);
    }
    return changed;
}

bool
vport_bond_watcher_configure(const struct vport_bond_config configs[],
                             size_t n)
{
    struct watched_bond *bond;
    bool changed = false;

    ovs_mutex_lock(&mutex);
    HMAP_FOR_EACH (bond, node, &bonds) {
        bond->seen = false;
    }
    for (size_t i = 0; i < n; i++) {
        const struct vport_bond_config *config = &configs[i];

        bond = bond_find(config->name);
        if (bond && (bond->owner != config->owner
                     || strcmp(bond->dp->type, config->dp_type)
                     || strcmp(bond->dp->name, config->dp_name))) {
            changed |= retire_bond(bond);
            bond = NULL;
        }
        if (!bond) {
            bond = create_bond(config);
        }
        bond->seen = true;
        changed |= watched_bond_configure(bond, config, ids, &retired);
    }
    HMAP_FOR_EACH_SAFE (bond, node, &bonds) {
        if (!bond->seen) {
            changed |= retire_bond(bond);
        }
    }
    if (running) {
        wait_done();
        changed |= publish_new();
    }
    ovs_mutex_unlock(&mutex);
    if (changed) {
        status_changed();
    }
    return changed;
}

bool
vport_bond_watcher_release(const void *owner)
{
    struct watched_bond *bond;
    bool any_bond = false;

    if (!running) {
        return false;
    }
    ovs_mutex_lock(&mutex);
    HMAP_FOR_EACH_SAFE (bond, node, &bonds) {
        if (bond->owner == owner) {
            retire_bond(bond);
            any_bond = true;
        }
    }
    if (retired.n) {
        /* Any of them may be of 'owner'. */
        vport_bond_ids_expire(&retired, owner);
        wait_done();
        vport_bond_ids_free(&retired, ids);
    }
    ovs_mutex_unlock(&mutex);
    return any_bond;
}

bool
vport_bond_watcher_run(void)
{
    bool changed;

    ovs_mutex_lock(&mutex);
    if (!ovs_list_is_empty(&retired.lingering)) {
        vport_bond_ids_expire(&retired, NULL);
        if (!ovs_list_is_empty(&retired.due)) {
            seq_change(wakeup);
        }
    }
    vport_bond_ids_free(&retired, ids);

    /* What the datapath refused at first. */
    changed = publish_new();
    ovs_mutex_unlock(&mutex);
    return changed;
}

void
vport_bond_watcher_wait(void)
{
    ovs_mutex_lock(&mutex);
    poll_timer_wait_until(vport_bond_ids_wake_ms(&retired));
    ovs_mutex_unlock(&mutex);
}

void
vport_bond_watcher_set_enabled(const char *bond_name, const char *name,
                               bool enabled, bool enabling)
{
    struct watched_bond *bond;

    ovs_mutex_lock(&mutex);
    bond = bond_find(bond_name);
    if (bond) {
        struct vport_bond_uplink *uplink
            = vport_bond_find_uplink(bond->model, name);

        if (uplink && (uplink->enabled != enabled
                       || uplink->enabling != enabling)) {
            vport_bond_set_enabled(bond->model, uplink, enabled, enabling);
            seq_change(wakeup);
        }
    }
    ovs_mutex_unlock(&mutex);
}

void
vport_bond_watcher_set_delays(const char *bond_name, int updelay_ms,
                              int downdelay_ms)
{
    struct watched_bond *bond;

    ovs_mutex_lock(&mutex);
    bond = bond_find(bond_name);
    if (bond) {
        struct vport_bond_settings settings = bond->model->settings;

        settings.updelay_ms = updelay_ms;
        settings.downdelay_ms = downdelay_ms;
        vport_bond_set_settings(bond->model, &settings);
    }
    ovs_mutex_unlock(&mutex);
}

bool
vport_bond_watcher_uplink_gone(const char *name)
{
    struct watched_bond *bond;
    bool found = false;

    ovs_mutex_lock(&mutex);
    HMAP_FOR_EACH (bond, node, &bonds) {
        struct vport_bond_uplink *uplink
            = vport_bond_find_uplink(bond->model, name);

        if (uplink) {
            vport_bond_set_gone(bond->model, uplink,
                                VPORT_BOND_NO_PORT_IN_DATAPATH, true);
            found = true;
        }
    }
    if (found && running) {
        wait_done();
    }
    ovs_mutex_unlock(&mutex);
    return found;
}

char *
vport_bond_watcher_move(const char *vport_name, const char *uplink_name)
{
    struct watched_bond *bond;
    bool moved = false;
    bool found = false;
    char *error = NULL;

    ovs_mutex_lock(&mutex);
    HMAP_FOR_EACH (bond, node, &bonds) {
        struct vport_bond_vport *vport
            = vport_bond_find_vport_by_name(bond->model, vport_name);
        struct vport_bond_uplink *uplink
            = vport_bond_find_uplink(bond->model, uplink_name);

        found |= vport != NULL;
        if (vport && uplink && !error) {
            error = vport_bond_move(bond->model, vport, uplink, time_msec());
            moved |= !error;
        }
    }
    if (moved && running) {
        wait_done();
    }
    ovs_mutex_unlock(&mutex);

    if (moved) {
        free(error);
        return NULL;
    } else if (error) {
        return error;
    } else if (found) {
        return xasprintf("%s: not an uplink of a bond that %s uses "
                         "(see vport-bond/show)", uplink_name, vport_name);
    } else {
        return xasprintf("%s: not a vport of a bond with vport-bond=true "
                         "(see vport-bond/show)", vport_name);
    }
}

/* The watcher's thread. */

/* When the event that is being handled was noticed. */
static long long int event_usec;

/* Tells 'uplink' that its device is in 'state'. */
static void
tell_carrier(struct watched_bond *bond, struct vport_bond_uplink *uplink,
             enum carrier_state state)
    OVS_REQUIRES(mutex)
{
    uplink->carrier_told = true;

    /* A device of whose carrier nobody knows anything has it as far as OVS
     * says so. */
    vport_bond_set_carrier(bond->model, uplink,
                           state != CARRIER_DOWN && state != CARRIER_GONE,
                           time_msec());
    vport_bond_set_gone(bond->model, uplink, VPORT_BOND_NO_DEVICE,
                        state == CARRIER_GONE);
}

static void
carrier_changed(const char *name, enum carrier_state state,
                void *aux OVS_UNUSED)
{
    struct watched_bond *bond;

    ovs_mutex_lock(&mutex);
    HMAP_FOR_EACH (bond, node, &bonds) {
        struct vport_bond_uplink *uplink
            = vport_bond_find_uplink(bond->model, name);

        if (uplink) {
            tell_carrier(bond, uplink, state);
        }
    }
    ovs_mutex_unlock(&mutex);
}

/* Makes the carrier watcher watch all uplinks, and 'watched' say so: maps from
 * a name to a nonnull pointer if it is a device of the kernel's. */
static void
watch_uplinks(struct shash *watched)
{
    struct shash wanted = SHASH_INITIALIZER(&wanted);
    struct watched_bond *bond;
    struct shash_node *node;

    ovs_mutex_lock(&mutex);
    HMAP_FOR_EACH (bond, node, &bonds) {
        struct vport_bond_uplink *uplink;

        LIST_FOR_EACH (uplink, node, &bond->model->uplinks) {
            shash_add_once(&wanted, uplink->name,
                           uplink->in_kernel ? &carrier : NULL);

            /* Also one that is watched for another bond already. */
            if (!uplink->carrier_told
                && shash_find(watched, uplink->name)) {
                tell_carrier(bond, uplink,
                             carrier_watcher_get(carrier, uplink->name));
            }
        }
    }
    ovs_mutex_unlock(&mutex);

    SHASH_FOR_EACH_SAFE (node, watched) {
        const struct shash_node *same = shash_find(&wanted, node->name);

        if (!same || same->data != node->data) {
            carrier_watcher_remove(carrier, node->name);
            shash_delete(watched, node);
        }
    }
    SHASH_FOR_EACH (node, &wanted) {
        if (shash_add_once(watched, node->name, node->data)) {
            carrier_watcher_add(carrier, node->name, node->data != NULL);
        }
    }
    shash_destroy(&wanted);
}

/* Returns true if the carrier of all uplinks is known. */
static bool
all_carriers_told(void)
    OVS_REQUIRES(mutex)
{
    struct watched_bond *bond;

    HMAP_FOR_EACH (bond, node, &bonds) {
        const struct vport_bond_uplink *uplink;

        LIST_FOR_EACH (uplink, node, &bond->model->uplinks) {
            if (!uplink->carrier_told) {
                return false;
            }
        }
    }
    return true;
}

/* Returns the vport that 'u' is about and stores its bond in '*bondp', or
 * returns null if it is gone. */
static struct vport_bond_vport *
updated_vport(const struct vport_bond_update *u, struct watched_bond **bondp)
    OVS_REQUIRES(mutex)
{
    struct vport_bond_vport *vport;

    *bondp = bond_find(u->bond);
    vport = *bondp ? vport_bond_find_vport((*bondp)->model, u->entry) : NULL;
    return vport && vport->id == u->id ? vport : NULL;
}

/* Notes what became of 'updates'.  Returns true if any of them must be tried
 * again. */
static bool
note_results(struct vport_bond_updates *updates)
    OVS_REQUIRES(mutex)
{
    static struct vlog_rate_limit rl = VLOG_RATE_LIMIT_INIT(600, 600);
    bool retry = false;

    for (size_t i = 0; i < updates->n; i++) {
        struct vport_bond_update *u = &updates->array[i];
        struct watched_bond *bond;
        struct vport_bond_vport *vport = updated_vport(u, &bond);

        if (!vport || u->members_only) {
            continue;
        }
        if (u->error) {
            vport->changed = true;
            retry = true;
        } else if (watched_bond_note_done(vport, u, event_usec)) {
            COVERAGE_INC(vport_bond_move);
            VLOG_INFO_RL(&rl, "bond %s: vport %s moved to %s",
                         bond->model->name, vport->name,
                         (vport->current
                          ? vport->current->name
                          : "no uplink, its packets are dropped"));
        }
    }
    return retry;
}

/* Notes which vports were announced. */
static void
note_announcements(const struct vport_bond_updates *updates)
    OVS_REQUIRES(mutex)
{
    for (size_t i = 0; i < updates->n; i++) {
        const struct vport_bond_update *u = &updates->array[i];
        struct watched_bond *bond;
        struct vport_bond_vport *vport = updated_vport(u, &bond);

        if (vport && vport_bond_update_announces(u)) {
            watched_bond_note_announcement(vport, u);
        }
    }
}

/* Makes datapaths forget the ids in 'dels', and closes datapaths that nobody
 * uses any more. */
static void
clean_up(const struct ovs_list *dels)
{
    struct ovs_list unused;

    vport_bond_ids_forget(dels, dp_class);

    /* An id in 'dels' may be the last use of its datapath. */
    ovs_mutex_lock(&mutex);
    vport_bond_ids_unref_dps(dels);
    vport_bond_dps_take_unused(&dps, &unused);
    ovs_mutex_unlock(&mutex);
    vport_bond_dps_close(&unused, dp_class);
}

/* One round.  Returns when the next one is due at the latest. */
static long long int
step(struct shash *watched)
{
    struct vport_bond_updates updates = { .array = NULL };
    long long int wake_ms = LLONG_MAX;
    struct ovs_list dels;
    struct watched_bond *bond;
    uint64_t gen;

    event_usec = time_usec();
    carrier_watcher_run(carrier);
    watch_uplinks(watched);

    ovs_mutex_lock(&mutex);
    while (!all_carriers_told()) {
        /* The main thread has added uplinks in between.  Nothing must be
         * decided before their carrier is known: they would count as up. */
        ovs_mutex_unlock(&mutex);
        watch_uplinks(watched);
        ovs_mutex_lock(&mutex);
    }
    gen = wanted_gen;
    HMAP_FOR_EACH (bond, node, &bonds) {
        wake_ms = MIN(wake_ms, vport_bond_run(bond->model, time_msec()));
        watched_bond_take_changes(bond, &updates);
    }
    vport_bond_ids_take_due(&retired, &dels);
    ovs_mutex_unlock(&mutex);

    vport_bond_updates_apply(&updates, dp_class);
    if (egress_refresh()) {
        wake_ms = MIN(wake_ms, time_msec() + EGRESS_RETRY_MS);
    }
    clean_up(&dels);
    if (vport_bond_updates_any_done(&updates)) {
        status_changed();
    }

    ovs_mutex_lock(&mutex);
    if (note_results(&updates)) {
        wake_ms = MIN(wake_ms, time_msec() + RETRY_MS);
    }
    vport_bond_ids_give_back(&retired, &dels);
    done_gen = gen;
    xpthread_cond_broadcast(&done_cond);
    ovs_mutex_unlock(&mutex);

    /* Everybody moves before anybody is announced, and nobody waits for
     * that. */
    vport_bond_updates_announce(&updates, dp_class);
    ovs_mutex_lock(&mutex);
    note_announcements(&updates);
    ovs_mutex_unlock(&mutex);

    vport_bond_updates_destroy(&updates);
    return wake_ms;
}

/* This thread runs rarely and briefly, but then a vport has no uplink: it goes
 * before what else wants a processor, like the main thread that reconfigures
 * bridges because of the same link.  Linux takes 0 for the calling thread.
 * Without the permission everything works, only later when the machine is
 * busy. */
static void
raise_priority(void)
{
    if (setpriority(PRIO_PROCESS, 0, WATCHER_NICE)) {
        VLOG_DBG("cannot set the priority of the thread that follows carriers "
                 "(%s)", ovs_strerror(errno));
    }
}

static void *
thread_main(void *aux OVS_UNUSED)
{
    struct shash watched = SHASH_INITIALIZER(&watched);

    raise_priority();
    for (;;) {
        uint64_t wakeup_seqno = seq_read(wakeup);
        uint64_t egress_seqno = seq_read(egress_seq());
        long long int wake_ms = step(&watched);
        bool exit;

        atomic_read_relaxed(&exiting, &exit);
        if (exit) {
            break;
        }
        carrier_watcher_wait(carrier);
        seq_wait(wakeup, wakeup_seqno);
        seq_wait(egress_seq(), egress_seqno);
        poll_timer_wait_until(wake_ms);
        poll_block();
    }
    shash_destroy(&watched);
    return NULL;
}

void
vport_bond_watcher_start(const struct vport_bond_dp_class *dp_class_,
                         const struct vport_bond_ids *ids_,
                         const struct carrier_source sources[],
                         unsigned int n_sources)
{
    int error;

    ovs_assert(!running);
    dp_class = dp_class_;
    ids = ids_;
    wakeup = seq_create();
    error = carrier_watcher_create(sources, n_sources, carrier_changed, NULL,
                                   &carrier);
    if (error) {
        VLOG_WARN("cannot listen to link events (%s): loss of carrier is "
                  "noticed by OVS's main loop only", ovs_strerror(error));
    }
    atomic_store_relaxed(&exiting, false);
    running = true;
    thread = ovs_thread_create("vport_bond", thread_main, NULL);
}

void
vport_bond_watcher_stop(void)
{
    if (!running) {
        return;
    }
    ovs_mutex_lock(&mutex);
    ovs_assert(hmap_is_empty(&bonds));
    vport_bond_ids_expire_all(&retired);
    wait_done();
    vport_bond_ids_free(&retired, ids);
    ovs_mutex_unlock(&mutex);

    atomic_store_relaxed(&exiting, true);
    seq_change(wakeup);
    xpthread_join(thread, NULL);
    carrier_watcher_destroy(carrier);
    carrier = NULL;
    seq_destroy(wakeup);
    running = false;
}

bool
vport_bond_watcher_is_running(void)
{
    return running;
}

/* State. */

size_t
vport_bond_watcher_get_state(const char *name,
                             struct vport_bond_state **statesp)
{
    struct vport_bond_state *states;
    struct watched_bond *bond;
    size_t n = 0;

    ovs_mutex_lock(&mutex);
    states = xmalloc(MAX(1, hmap_count(&bonds)) * sizeof *states);
    HMAP_FOR_EACH (bond, node, &bonds) {
        if (!name || !strcmp(bond->model->name, name)) {
            vport_bond_state_init(&states[n++], bond->model, bond->dp->type,
                                  bond->dp->name);
        }
    }
    ovs_mutex_unlock(&mutex);
    vport_bond_states_sort(states, n);
    *statesp = states;
    return n;
}

void
vport_bond_watcher_get_uplinks(struct smap *uplinks)
{
    struct watched_bond *bond;

    ovs_mutex_lock(&mutex);
    HMAP_FOR_EACH (bond, node, &bonds) {
        const struct vport_bond_vport *vport;

        LIST_FOR_EACH (vport, list_node, &bond->model->vport_list) {
            const char *name = vport->current ? vport->current->name : "none";
            const char *others = smap_get(uplinks, vport->name);

            if (others) {
                char *both = xasprintf("%s,%s", others, name);

                smap_replace(uplinks, vport->name, both);
                free(both);
            } else {
                smap_add(uplinks, vport->name, name);
            }
        }
    }
    ovs_mutex_unlock(&mutex);
}

uint64_t
vport_bond_watcher_change_seq(void)
{
    uint64_t seq;

    atomic_read_relaxed(&change_seq, &seq);
    return seq;
}
