/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>
#include "egress-view.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>

#include "hash.h"
#include "odp-util.h"
#include "openvswitch/hmap.h"
#include "seq.h"
#include "util.h"

enum entry_state {
    ENTRY_ABSENT,
    ENTRY_ADDING,
    ENTRY_PRESENT,
    ENTRY_DELETING,
};

/* The egress of one id. */
struct entry {
    struct hmap_node node;          /* In 'entries', by 'id'. */
    uint32_t id;
    unsigned int n_refs;
    enum entry_state state;
    nic_handle handle;              /* PRESENT and DELETING. */
    nic_port_id port;               /* Where it led when it was added. */
    const char *refused;            /* Null, or the NIC's words. */
    bool never;                     /* The NIC will never do it. */
    long long int retry_ms;         /* Nothing is submitted before. */

    enum egress_view_answer told;   /* What run() found last. */
};

struct egress_view {
    struct nic *nic;
    struct nic_caps caps;
    struct hmap entries;
    struct egress_nic_port *ports;
    size_t n_ports;
    bool ports_changed;
    uint64_t seqno;                 /* egress_seq(), as seen last. */
    bool dirty;                     /* Something else changed. */
};

struct egress_view *
egress_view_create(struct nic *nic)
{
    struct egress_view *view = xzalloc(sizeof *view);

    view->nic = nic;
    nic->class->get_caps(nic, &view->caps);
    hmap_init(&view->entries);
    return view;
}

static struct entry *
entry_find(const struct egress_view *view, uint32_t id)
{
    struct entry *entry;

    HMAP_FOR_EACH_WITH_HASH (entry, node, hash_int(id, 0), &view->entries) {
        if (entry->id == id) {
            return entry;
        }
    }
    return NULL;
}

static void
entry_free(struct egress_view *view, struct entry *entry)
{
    hmap_remove(&view->entries, &entry->node);
    free(entry);
}

void
egress_view_destroy(struct egress_view *view)
{
    struct entry *entry;

    HMAP_FOR_EACH_SAFE (entry, node, &view->entries) {
        ovs_assert(!entry->n_refs && entry->state == ENTRY_ABSENT);
        entry_free(view, entry);
    }
    hmap_destroy(&view->entries);
    free(view->ports);
    free(view);
}

void
egress_view_set_ports(struct egress_view *view,
                      const struct egress_nic_port ports[], size_t n)
{
    free(view->ports);
    view->ports = xmemdup(ports, n * sizeof *ports);
    view->n_ports = n;
    view->ports_changed = true;
    view->dirty = true;
}

void
egress_view_caps_changed(struct egress_view *view)
{
    view->nic->class->get_caps(view->nic, &view->caps);
    view->dirty = true;
}

static nic_port_id
nic_port(const struct egress_view *view, odp_port_t odp_port)
{
    for (size_t i = 0; i < view->n_ports; i++) {
        if (view->ports[i].odp_port == odp_port) {
            return view->ports[i].id;
        }
    }
    return NIC_PORT_NONE;
}

void
egress_view_ref(struct egress_view *view, uint32_t id)
{
    struct entry *entry = entry_find(view, id);

    if (!entry) {
        entry = xzalloc(sizeof *entry);
        entry->id = id;
        entry->told = EGRESS_VIEW_PENDING;
        hmap_insert(&view->entries, &entry->node, hash_int(id, 0));
    }
    entry->n_refs++;
    view->dirty = true;
}

void
egress_view_unref(struct egress_view *view, uint32_t id)
{
    struct entry *entry = entry_find(view, id);

    ovs_assert(entry && entry->n_refs);
    entry->n_refs--;
    view->dirty = true;
}

enum egress_view_answer
egress_view_get(const struct egress_view *view, uint32_t id,
                nic_handle *handle, const char **why)
{
    const struct entry *entry = entry_find(view, id);
    odp_port_t port;

    ovs_assert(entry);
    if (!egress_get(id, &port)) {
        *why = "it is a bond without vports";
        return EGRESS_VIEW_UNKNOWN;
    } else if (!view->caps.egress_object || !view->nic->class->egress_set) {
        *why = "the NIC has no egress objects";
        return EGRESS_VIEW_REFUSED;
    } else if (port != ODPP_NONE && nic_port(view, port) == NIC_PORT_NONE) {
        *why = "the uplink is not a port of the NIC";
        return EGRESS_VIEW_UNREACHABLE;
    } else if (entry->refused) {
        *why = entry->refused;
        return EGRESS_VIEW_REFUSED;
    } else if (entry->state != ENTRY_PRESENT) {
        *why = "the NIC is working on it";
        return EGRESS_VIEW_PENDING;
    }

    *why = egress_unreachable(id, view->nic);
    if (*why) {
        return EGRESS_VIEW_UNREACHABLE;
    }
    *handle = entry->handle;
    return EGRESS_VIEW_READY;
}

/* Submits an operation on 'entry' if one is needed and may be made. */
static void
advance(struct egress_view *view, struct entry *entry, long long int now_ms)
{
    struct nic_op op = { .cookie = entry->id };
    odp_port_t port;

    if (now_ms < entry->retry_ms) {
        return;
    }
    /* What is in the way from here on does not end with time. */
    entry->retry_ms = 0;
    if (entry->n_refs && entry->state == ENTRY_ABSENT) {
        if (entry->never || !view->caps.egress_object
            || !view->nic->class->egress_set
            || !egress_get(entry->id, &port)
            || (port != ODPP_NONE
                && nic_port(view, port) == NIC_PORT_NONE)) {
            return;
        }
        entry->port = (port == ODPP_NONE
                       ? NIC_PORT_NONE
                       : nic_port(view, port));
        op.type = NIC_OP_EGRESS_ADD;
        op.egress_port = entry->port;
        entry->state = ENTRY_ADDING;
    } else if (!entry->n_refs && entry->state == ENTRY_PRESENT) {
        /* From now on nobody else updates it. */
        egress_detach(entry->id, view->nic);
        op.type = NIC_OP_EGRESS_DEL;
        op.handle = entry->handle;
        entry->state = ENTRY_DELETING;
    } else {
        return;
    }
    view->nic->class->submit(view->nic, &op, 1, now_ms);
}

static void
attach(struct egress_view *view, struct entry *entry)
{
    egress_attach(entry->id, view->nic, entry->handle, entry->port,
                  view->ports, view->n_ports);
}

void
egress_view_run(struct egress_view *view, long long int now_ms,
                void (*changed)(uint32_t id, void *aux), void *aux)
{
    uint64_t seqno = seq_read(egress_seq());
    struct entry *entry;

    if (seqno == view->seqno && !view->dirty
        && now_ms < egress_view_wake_ms(view)) {
        return;
    }
    view->seqno = seqno;
    view->dirty = false;

    HMAP_FOR_EACH_SAFE (entry, node, &view->entries) {
        enum egress_view_answer answer;
        nic_handle handle;
        const char *why;

        if (view->ports_changed && entry->state == ENTRY_PRESENT) {
            attach(view, entry);
        }
        advance(view, entry, now_ms);
        if (!entry->n_refs && entry->state == ENTRY_ABSENT) {
            entry_free(view, entry);
            continue;
        }
        if (entry->n_refs) {
            answer = egress_view_get(view, entry->id, &handle, &why);
            if (answer != entry->told) {
                entry->told = answer;
                changed(entry->id, aux);
            }
        }
    }
    view->ports_changed = false;
}

long long int
egress_view_wake_ms(const struct egress_view *view)
{
    long long int wake_ms = LLONG_MAX;
    const struct entry *entry;

    if (view->dirty) {
        return LLONG_MIN;
    }
    HMAP_FOR_EACH (entry, node, &view->entries) {
        bool waits = (entry->n_refs
                      ? entry->state == ENTRY_ABSENT && !entry->never
                      : entry->state == ENTRY_PRESENT);

        if (waits && entry->retry_ms) {
            wake_ms = MIN(wake_ms, entry->retry_ms);
        }
    }
    return wake_ms;
}

bool
egress_view_is_settled(const struct egress_view *view)
{
    const struct entry *entry;

    HMAP_FOR_EACH (entry, node, &view->entries) {
        if (entry->state == ENTRY_ADDING || entry->state == ENTRY_DELETING) {
            return false;
        }
    }
    return !view->dirty && view->seqno == seq_read(egress_seq());
}

void
egress_view_complete(struct egress_view *view,
                     const struct nic_completion *c, long long int now_ms)
{
    struct entry *entry = entry_find(view, c->cookie);

    ovs_assert(entry);
    view->dirty = true;
    if (c->type == NIC_OP_EGRESS_ADD) {
        ovs_assert(entry->state == ENTRY_ADDING);
        if (c->error) {
            entry->state = ENTRY_ABSENT;
            entry->refused = c->reason ? c->reason : "the NIC failed";
            entry->never = c->error == EOPNOTSUPP;
            entry->retry_ms = now_ms + EGRESS_VIEW_RETRY_MS;
        } else {
            entry->state = ENTRY_PRESENT;
            entry->handle = c->handle;
            entry->refused = NULL;
            entry->retry_ms = 0;
            attach(view, entry);
        }
    } else {
        ovs_assert(c->type == NIC_OP_EGRESS_DEL
                   && entry->state == ENTRY_DELETING);
        if (!c->error || c->error == ENOENT) {
            entry->state = ENTRY_ABSENT;
            entry->retry_ms = 0;
        } else {
            /* It exists, and somebody may want it again.  Nobody has updated
             * it in between. */
            entry->state = ENTRY_PRESENT;
            entry->port = EGRESS_PORT_UNKNOWN;
            entry->retry_ms = now_ms + EGRESS_VIEW_RETRY_MS;
            attach(view, entry);
        }
    }
}

void
egress_view_forget(struct egress_view *view)
{
    struct entry *entry;

    HMAP_FOR_EACH (entry, node, &view->entries) {
        if (entry->state == ENTRY_PRESENT) {
            egress_detach(entry->id, view->nic);
        }
        entry->state = ENTRY_ABSENT;
        entry->refused = NULL;
        entry->never = false;
        entry->retry_ms = 0;
    }
    view->dirty = true;
}

size_t
egress_view_count(const struct egress_view *view)
{
    const struct entry *entry;
    size_t n = 0;

    HMAP_FOR_EACH (entry, node, &view->entries) {
        n += entry->state != ENTRY_ABSENT;
    }
    return n;
}
