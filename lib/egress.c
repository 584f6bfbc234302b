/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>
#include "egress.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hash.h"
#include "odp-util.h"
#include "openvswitch/hmap.h"
#include "openvswitch/list.h"
#include "openvswitch/thread.h"
#include "openvswitch/vlog.h"
#include "ovs-thread.h"
#include "seq.h"
#include "static-seq.h"
#include "timeval.h"
#include "util.h"

VLOG_DEFINE_THIS_MODULE(egress);

/* An egress in one NIC. */
struct attached {
    struct ovs_list node;           /* In 'attached' of 'struct egress'. */
    struct nic *nic;
    nic_handle handle;
    nic_port_id port;               /* Where it leads now. */
    const char *unreachable;        /* Null, or why it cannot lead on. */
    bool retry;                     /* The last update failed for now. */
    bool fresh;                     /* Compare again. */
    struct egress_nic_port *ports;
    size_t n_ports;
};

struct egress {
    struct hmap_node node;          /* In 'egresses', by 'id'. */
    uint32_t id;
    char *dp_type;
    bool gone;                      /* Removed; only attachments are left. */
    odp_port_t port;
    odp_port_t *members;
    size_t n_members;
    struct ovs_list attached;       /* Contains 'struct attached's. */
};

/* Held while a NIC is updated.  Taken before 'mutex'. */
static struct ovs_mutex update_mutex = OVS_MUTEX_INITIALIZER;

static struct ovs_mutex mutex = OVS_MUTEX_INITIALIZER;
static struct hmap egresses OVS_GUARDED_BY(mutex)
    = HMAP_INITIALIZER(&egresses);
static struct egress_stats stats OVS_GUARDED_BY(mutex);

STATIC_SEQ_DEFINE(egress_seq)

static struct egress *
egress_find(uint32_t id)
    OVS_REQUIRES(mutex)
{
    struct egress *egress;

    HMAP_FOR_EACH_WITH_HASH (egress, node, hash_int(id, 0), &egresses) {
        if (egress->id == id) {
            return egress;
        }
    }
    return NULL;
}

static struct egress *
egress_create(uint32_t id)
    OVS_REQUIRES(mutex)
{
    struct egress *egress = xzalloc(sizeof *egress);

    egress->id = id;
    egress->port = ODPP_NONE;
    egress->gone = true;
    ovs_list_init(&egress->attached);
    hmap_insert(&egresses, &egress->node, hash_int(id, 0));
    return egress;
}

/* Frees 'egress' if nobody knows it any more. */
static void
egress_unref(struct egress *egress)
    OVS_REQUIRES(mutex)
{
    if (egress->gone && ovs_list_is_empty(&egress->attached)) {
        hmap_remove(&egresses, &egress->node);
        free(egress->dp_type);
        free(egress->members);
        free(egress);
    }
}

static struct attached *
attached_find(struct egress *egress, const struct nic *nic)
    OVS_REQUIRES(mutex)
{
    struct attached *attached;

    LIST_FOR_EACH (attached, node, &egress->attached) {
        if (attached->nic == nic) {
            return attached;
        }
    }
    return NULL;
}

static void
attached_free(struct attached *attached)
{
    ovs_list_remove(&attached->node);
    free(attached->ports);
    free(attached);
}

/* Returns what 'port' is called in the NIC, or NIC_PORT_NONE. */
static nic_port_id
nic_port(const struct attached *attached, odp_port_t port)
{
    for (size_t i = 0; i < attached->n_ports; i++) {
        if (attached->ports[i].odp_port == port) {
            return attached->ports[i].id;
        }
    }
    return NIC_PORT_NONE;
}

/* Returns true if that is news. */
static bool
set_unreachable(struct attached *attached, const char *unreachable)
{
    bool changed = attached->unreachable != unreachable;

    attached->unreachable = unreachable;
    return changed;
}

/* Updates egress 'id' in the NICs where it does not lead where it should.
 * Returns the number of NIC operations.  Sets '*changed' to true if it became
 * unreachable somewhere, or for another reason, or reachable. */
static size_t
update_nics(uint32_t id, bool *changed)
    OVS_REQUIRES(update_mutex)
{
    static struct vlog_rate_limit rl = VLOG_RATE_LIMIT_INIT(10, 10);
    struct attached *attached;
    struct egress *egress;
    size_t n = 0;

    ovs_mutex_lock(&mutex);
    egress = egress_find(id);
    if (!egress || egress->gone) {
        goto out;
    }

    /* 'attached' and 'egress' stay although the mutex is released: only those
     * who hold 'update_mutex' free them. */
    LIST_FOR_EACH (attached, node, &egress->attached) {
        nic_port_id port = nic_port(attached, egress->port);
        const char *unreachable = NULL;
        const char *reason = NULL;
        struct nic *nic;
        nic_handle handle;
        int error;

        attached->fresh = false;
        if (port == NIC_PORT_NONE && egress->port != ODPP_NONE) {
            unreachable = "the uplink is not a port of the NIC";
        }
        if (port == attached->port) {
            attached->retry = false;
            *changed |= set_unreachable(attached, unreachable);
            continue;
        }
        nic = attached->nic;
        handle = attached->handle;
        ovs_mutex_unlock(&mutex);

        error = nic->class->egress_set(nic, handle, port, &reason);

        ovs_mutex_lock(&mutex);
        n++;
        stats.n_updates++;
        attached->retry = false;
        if (attached->handle != handle) {
            /* Attached anew in the meantime. */
            attached->fresh = true;
        } else if (!error) {
            attached->port = port;
        } else {
            stats.n_failed++;
            if (error == EAGAIN || error == EIO || error == EBUSY) {
                attached->retry = true;
            } else if (error != ENOENT) {
                unreachable = reason ? reason : "the NIC refused";
            }
            VLOG_WARN_RL(&rl, "%s: egress of lb_output(%"PRIu32") was not "
                         "updated (%s)", nic->name, id,
                         reason ? reason : ovs_strerror(error));
        }
        *changed |= set_unreachable(attached, unreachable);
    }
out:
    ovs_mutex_unlock(&mutex);
    return n;
}

/* For the writer. */

static void
note_target(const struct egress_target *target)
    OVS_REQUIRES(mutex)
{
    struct egress *egress = egress_find(target->id);

    if (!egress) {
        egress = egress_create(target->id);
    }
    egress->gone = false;
    if (!egress->dp_type || strcmp(egress->dp_type, target->dp_type)) {
        free(egress->dp_type);
        egress->dp_type = xstrdup(target->dp_type);
    }
    egress->port = target->port;
    free(egress->members);
    egress->members = xmemdup(target->members,
                              target->n_members * sizeof *target->members);
    egress->n_members = target->n_members;
}

size_t
egress_set(const struct egress_target targets[], size_t n)
{
    bool changed = false;
    size_t n_ops = 0;

    ovs_mutex_lock(&update_mutex);
    for (size_t i = 0; i < n; i++) {
        ovs_mutex_lock(&mutex);
        note_target(&targets[i]);
        ovs_mutex_unlock(&mutex);
        n_ops += update_nics(targets[i].id, &changed);
    }
    ovs_mutex_unlock(&update_mutex);
    seq_change(egress_seq());
    return n_ops;
}

void
egress_remove(uint32_t id)
{
    struct egress *egress;

    ovs_mutex_lock(&update_mutex);
    ovs_mutex_lock(&mutex);
    egress = egress_find(id);
    if (egress) {
        egress->gone = true;
        egress_unref(egress);
    }
    ovs_mutex_unlock(&mutex);
    ovs_mutex_unlock(&update_mutex);
    seq_change(egress_seq());
}

bool
egress_refresh(void)
{
    struct egress *egress;
    uint32_t *todo = NULL;
    size_t n = 0, allocated = 0;
    bool changed = false;
    bool retry = false;

    ovs_mutex_lock(&update_mutex);
    ovs_mutex_lock(&mutex);
    HMAP_FOR_EACH (egress, node, &egresses) {
        struct attached *attached;

        if (egress->gone) {
            /* Leads nowhere any more; the reader detaches it. */
            continue;
        }
        LIST_FOR_EACH (attached, node, &egress->attached) {
            if (attached->fresh || attached->retry) {
                if (n >= allocated) {
                    todo = x2nrealloc(todo, &allocated, sizeof *todo);
                }
                todo[n++] = egress->id;
                break;
            }
        }
    }
    ovs_mutex_unlock(&mutex);

    for (size_t i = 0; i < n; i++) {
        update_nics(todo[i], &changed);
    }

    ovs_mutex_lock(&mutex);
    for (size_t i = 0; i < n && !retry; i++) {
        struct attached *attached;

        egress = egress_find(todo[i]);
        if (egress && !egress->gone) {
            LIST_FOR_EACH (attached, node, &egress->attached) {
                retry |= attached->retry || attached->fresh;
            }
        }
    }
    ovs_mutex_unlock(&mutex);
    ovs_mutex_unlock(&update_mutex);
    free(todo);
    if (changed) {
        seq_change(egress_seq());
    }
    return retry;
}

bool
egress_is_attached(uint32_t id)
{
    struct egress *egress;
    bool is_attached;

    ovs_mutex_lock(&mutex);
    egress = egress_find(id);
    is_attached = egress && !ovs_list_is_empty(&egress->attached);
    ovs_mutex_unlock(&mutex);
    return is_attached;
}

/* For the reader. */

bool
egress_get(uint32_t id, odp_port_t *port)
{
    struct egress *egress;
    bool found;

    ovs_mutex_lock(&mutex);
    egress = egress_find(id);
    found = egress && !egress->gone;
    if (found) {
        *port = egress->port;
    }
    ovs_mutex_unlock(&mutex);
    return found;
}

void
egress_attach(uint32_t id, struct nic *nic, nic_handle handle,
              nic_port_id port, const struct egress_nic_port ports[],
              size_t n_ports)
{
    struct attached *attached;
    struct egress *egress;

    ovs_mutex_lock(&mutex);
    egress = egress_find(id);
    if (!egress) {
        egress = egress_create(id);
    }
    attached = attached_find(egress, nic);
    if (!attached) {
        attached = xzalloc(sizeof *attached);
        attached->nic = nic;
        ovs_list_push_back(&egress->attached, &attached->node);
    }
    if (attached->handle != handle) {
        attached->handle = handle;
        attached->port = port;
    }
    free(attached->ports);
    attached->ports = xmemdup(ports, n_ports * sizeof *ports);
    attached->n_ports = n_ports;
    attached->fresh = true;
    ovs_mutex_unlock(&mutex);

    /* The writer compares. */
    seq_change(egress_seq());
}

void
egress_detach(uint32_t id, struct nic *nic)
{
    struct egress *egress;

    ovs_mutex_lock(&update_mutex);
    ovs_mutex_lock(&mutex);
    egress = egress_find(id);
    if (egress) {
        struct attached *attached = attached_find(egress, nic);

        if (attached) {
            attached_free(attached);
        }
        egress_unref(egress);
    }
    ovs_mutex_unlock(&mutex);
    ovs_mutex_unlock(&update_mutex);
}

void
egress_detach_nic(struct nic *nic)
{
    struct egress *egress;

    ovs_mutex_lock(&update_mutex);
    ovs_mutex_lock(&mutex);
    HMAP_FOR_EACH_SAFE (egress, node, &egresses) {
        struct attached *attached = attached_find(egress, nic);

        if (attached) {
            attached_free(attached);
            egress_unref(egress);
        }
    }
    ovs_mutex_unlock(&mutex);
    ovs_mutex_unlock(&update_mutex);
}

const char *
egress_unreachable(uint32_t id, struct nic *nic)
{
    const char *reason = "the egress is gone";
    struct egress *egress;

    ovs_mutex_lock(&mutex);
    egress = egress_find(id);
    if (egress && !egress->gone) {
        const struct attached *attached = attached_find(egress, nic);

        reason = attached ? attached->unreachable : NULL;
    }
    ovs_mutex_unlock(&mutex);
    return reason;
}

static bool
is_member(const struct egress *egress, odp_port_t port)
{
    for (size_t i = 0; i < egress->n_members; i++) {
        if (egress->members[i] == port) {
            return true;
        }
    }
    return false;
}

bool
egress_share_inbound(const char *dp_type, odp_port_t a, odp_port_t b)
{
    struct egress *egress;
    bool share = false;

    ovs_mutex_lock(&mutex);
    HMAP_FOR_EACH (egress, node, &egresses) {
        if (!egress->gone && !strcmp(egress->dp_type, dp_type)
            && is_member(egress, a) && is_member(egress, b)) {
            share = true;
            break;
        }
    }
    ovs_mutex_unlock(&mutex);
    return share;
}

void
egress_get_stats(struct egress_stats *stats_)
{
    struct egress *egress;

    ovs_mutex_lock(&mutex);
    *stats_ = stats;
    HMAP_FOR_EACH (egress, node, &egresses) {
        stats_->n_egresses += !egress->gone;
        stats_->n_attached += ovs_list_size(&egress->attached);
    }
    ovs_mutex_unlock(&mutex);
}
