/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>
#include "carrier.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netlink/errno.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <netlink/socket.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "coverage.h"
#include "hash.h"
#include "openvswitch/hmap.h"
#include "openvswitch/poll-loop.h"
#include "openvswitch/shash.h"
#include "openvswitch/vlog.h"
#include "seq.h"
#include "util.h"

VLOG_DEFINE_THIS_MODULE(carrier);

COVERAGE_DEFINE(carrier_overrun);

/* Room for a few thousand messages. */
#define CARRIER_RCVBUF (4 * 1024 * 1024)

/* A device in the kernel. */
struct kernel_dev {
    struct hmap_node node;          /* In 'devs', by 'ifindex'. */
    int ifindex;
    char name[IFNAMSIZ];
    bool running;
    bool seen;                      /* In the dump that is under way. */
};

/* A device that somebody watches. */
struct watched {
    unsigned int n_refs;
    enum carrier_state state;       /* As told last. */
    bool in_kernel;                 /* The kernel's word counts. */
    bool was_in_kernel;
};

struct carrier_watcher {
    carrier_cb *cb;
    void *aux;

    struct carrier_source *sources;
    uint64_t *seqnos;               /* As read last, one per source. */
    unsigned int n_sources;

    /* Null if the kernel cannot be asked. */
    struct nl_sock *events;         /* Subscribed, does not block. */
    struct nl_sock *queries;        /* For dumps. */
    struct hmap devs;               /* Contains 'struct kernel_dev's. */
    bool need_dump;

    struct shash watched;           /* Contains 'struct watched's. */
    struct carrier_stats stats;
};

const char *
carrier_state_to_string(enum carrier_state state)
{
    switch (state) {
    case CARRIER_DOWN:
        return "down";
    case CARRIER_UP:
        return "up";
    case CARRIER_GONE:
        return "gone";
    case CARRIER_UNKNOWN:
    default:
        return "unknown";
    }
}

/* The kernel's devices. */

static struct kernel_dev *
dev_by_ifindex(const struct carrier_watcher *w, int ifindex)
{
    struct kernel_dev *dev;

    HMAP_FOR_EACH_WITH_HASH (dev, node, hash_int(ifindex, 0), &w->devs) {
        if (dev->ifindex == ifindex) {
            return dev;
        }
    }
    return NULL;
}

static const struct kernel_dev *
dev_by_name(const struct carrier_watcher *w, const char *name)
{
    const struct kernel_dev *dev;

    HMAP_FOR_EACH (dev, node, &w->devs) {
        if (!strcmp(dev->name, name)) {
            return dev;
        }
    }
    return NULL;
}

static void
dev_delete(struct carrier_watcher *w, struct kernel_dev *dev)
{
    hmap_remove(&w->devs, &dev->node);
    free(dev);
}

/* Handles one message about a link. */
static void
handle_link(struct carrier_watcher *w, struct nlmsghdr *nlh)
{
    struct nlattr *attrs[IFLA_MAX + 1];
    const struct ifinfomsg *ifi;
    struct kernel_dev *dev;

    if ((nlh->nlmsg_type != RTM_NEWLINK && nlh->nlmsg_type != RTM_DELLINK)
        || nlmsg_parse(nlh, sizeof *ifi, attrs, IFLA_MAX, NULL) < 0) {
        return;
    }
    ifi = nlmsg_data(nlh);

    /* A bridge tells of its ports' membership in messages that look like those
     * about the ports themselves. */
    if (ifi->ifi_family != AF_UNSPEC) {
        return;
    }

    dev = dev_by_ifindex(w, ifi->ifi_index);
    if (nlh->nlmsg_type == RTM_DELLINK) {
        if (dev) {
            dev_delete(w, dev);
        }
        return;
    }
    if (!dev) {
        dev = xzalloc(sizeof *dev);
        dev->ifindex = ifi->ifi_index;
        hmap_insert(&w->devs, &dev->node, hash_int(dev->ifindex, 0));
    }
    if (attrs[IFLA_IFNAME]) {
        nla_strlcpy(dev->name, attrs[IFLA_IFNAME], sizeof dev->name);
    }
    dev->running = (ifi->ifi_flags & (IFF_UP | IFF_RUNNING))
                   == (IFF_UP | IFF_RUNNING);
    dev->seen = true;
}

static int
event_cb(struct nl_msg *msg, void *w_)
{
    struct carrier_watcher *w = w_;

    w->stats.n_messages++;
    handle_link(w, nlmsg_hdr(msg));
    return NL_OK;
}

static int
dump_cb(struct nl_msg *msg, void *w_)
{
    handle_link(w_, nlmsg_hdr(msg));
    return NL_OK;
}

/* A dump that was interrupted by a change is repeated. */
static int
dump_once(struct carrier_watcher *w)
{
    struct ifinfomsg ifi = { .ifi_family = AF_UNSPEC };
    int retval = nl_send_simple(w->queries, RTM_GETLINK, NLM_F_DUMP,
                                &ifi, sizeof ifi);

    return retval < 0 ? retval : nl_recvmsgs_default(w->queries);
}

/* Reads all devices. */
static void
dump(struct carrier_watcher *w)
{
    static struct vlog_rate_limit rl = VLOG_RATE_LIMIT_INIT(1, 5);
    struct kernel_dev *dev;
    int retval;

    w->stats.n_dumps++;
    HMAP_FOR_EACH (dev, node, &w->devs) {
        dev->seen = false;
    }
    retval = dump_once(w);
    for (int i = 0; i < 10 && retval == -NLE_DUMP_INTR; i++) {
        retval = dump_once(w);
    }
    if (retval < 0) {
        /* What is known stays in force, and the next run tries again. */
        VLOG_WARN_RL(&rl, "cannot read network devices (%s)",
                     nl_geterror(retval));
        return;
    }
    HMAP_FOR_EACH_SAFE (dev, node, &w->devs) {
        if (!dev->seen) {
            dev_delete(w, dev);
        }
    }
    w->need_dump = false;
}

/* Reads all events that are there.  Returns true if there were any. */
static bool
read_events(struct carrier_watcher *w)
{
    static struct vlog_rate_limit rl = VLOG_RATE_LIMIT_INIT(1, 5);
    uint64_t n_before = w->stats.n_messages;

    for (;;) {
        int retval = nl_recvmsgs_default(w->events);

        if (retval == -NLE_AGAIN || retval == -NLE_INTR) {
            break;
        } else if (retval == -NLE_NOMEM) {
            /* The kernel had no room (ENOBUFS): some messages are lost. */
            COVERAGE_INC(carrier_overrun);
            w->stats.n_overruns++;
            w->need_dump = true;
        } else if (retval < 0) {
            VLOG_WARN_RL(&rl, "cannot read link events (%s)",
                         nl_geterror(retval));
            w->need_dump = true;
            break;
        }
    }
    return w->need_dump || w->stats.n_messages != n_before;
}

/* Watched devices. */

static enum carrier_state
query(const struct carrier_watcher *w, const char *name,
      struct watched *watched)
{
    const struct kernel_dev *dev = (w->events && watched->in_kernel
                                    ? dev_by_name(w, name)
                                    : NULL);
    enum carrier_state state = CARRIER_UNKNOWN;

    if (dev) {
        watched->was_in_kernel = true;
        state = dev->running ? CARRIER_UP : CARRIER_DOWN;
    } else if (watched->was_in_kernel) {
        return CARRIER_GONE;
    }
    for (unsigned int i = 0; i < w->n_sources; i++) {
        bool carrier;

        if (w->sources[i].get(name, &carrier)
            && (state == CARRIER_UNKNOWN || !carrier)) {
            state = carrier ? CARRIER_UP : CARRIER_DOWN;
        }
    }
    return state;
}

/* Calls back if 'watched' changed, or in any case if 'force'. */
static void
refresh(struct carrier_watcher *w, const char *name, struct watched *watched,
        bool force)
{
    enum carrier_state state = query(w, name, watched);

    if (state != watched->state || force) {
        watched->state = state;
        w->cb(name, state, w->aux);
    }
}

void
carrier_watcher_add(struct carrier_watcher *w, const char *name,
                    bool in_kernel)
{
    struct watched *watched = shash_find_data(&w->watched, name);

    if (!watched) {
        watched = xzalloc(sizeof *watched);
        watched->in_kernel = in_kernel;
        shash_add_nocopy(&w->watched, xstrdup(name), watched);
    }
    ovs_assert(watched->in_kernel == in_kernel);
    watched->n_refs++;
    refresh(w, name, watched, true);
}

void
carrier_watcher_remove(struct carrier_watcher *w, const char *name)
{
    struct shash_node *node = shash_find(&w->watched, name);
    struct watched *watched;

    ovs_assert(node);
    watched = node->data;
    if (!--watched->n_refs) {
        shash_delete(&w->watched, node);
        free(watched);
    }
}

enum carrier_state
carrier_watcher_get(const struct carrier_watcher *w, const char *name)
{
    const struct watched *watched = shash_find_data(&w->watched, name);

    return watched ? watched->state : CARRIER_UNKNOWN;
}

void
carrier_watcher_run(struct carrier_watcher *w)
{
    bool changed = false;
    struct shash_node *node;

    if (w->events) {
        changed = read_events(w);
        if (w->need_dump) {
            dump(w);
        }
    }
    for (unsigned int i = 0; i < w->n_sources; i++) {
        uint64_t seqno = seq_read(w->sources[i].seq);

        if (seqno != w->seqnos[i]) {
            w->seqnos[i] = seqno;
            changed = true;
        }
    }
    if (changed) {
        SHASH_FOR_EACH (node, &w->watched) {
            refresh(w, node->name, node->data, false);
        }
    }
}

void
carrier_watcher_wait(struct carrier_watcher *w)
{
    if (w->events) {
        poll_fd_wait(nl_socket_get_fd(w->events), POLLIN);
        if (w->need_dump) {
            poll_timer_wait(1000);
        }
    }
    for (unsigned int i = 0; i < w->n_sources; i++) {
        seq_wait(w->sources[i].seq, w->seqnos[i]);
    }
}

/* Life. */

/* Opens a socket whose valid messages go to 'cb'.  Returns null and stores a
 * positive errno value in '*error' if it fails. */
static struct nl_sock *
open_socket(struct carrier_watcher *w, nl_recvmsg_msg_cb_t cb, int *error)
{
    struct nl_sock *sock = nl_socket_alloc();

    errno = 0;
    if (!sock) {
        *error = ENOMEM;
    } else if (nl_connect(sock, NETLINK_ROUTE) < 0
               || nl_socket_modify_cb(sock, NL_CB_VALID, NL_CB_CUSTOM,
                                      cb, w) < 0) {
        *error = errno ? errno : EPROTO;
        nl_socket_free(sock);
        sock = NULL;
    }
    return sock;
}

int
carrier_watcher_create(const struct carrier_source sources[],
                       unsigned int n_sources, carrier_cb *cb, void *aux,
                       struct carrier_watcher **watcherp)
{
    struct carrier_watcher *w = xzalloc(sizeof *w);
    int error = 0;

    w->cb = cb;
    w->aux = aux;
    w->sources = xmemdup(sources, n_sources * sizeof *sources);
    w->seqnos = xzalloc(MAX(n_sources, 1) * sizeof *w->seqnos);
    w->n_sources = n_sources;
    for (unsigned int i = 0; i < n_sources; i++) {
        w->seqnos[i] = seq_read(sources[i].seq);
    }
    hmap_init(&w->devs);
    shash_init(&w->watched);
    *watcherp = w;

    w->queries = open_socket(w, dump_cb, &error);
    w->events = w->queries ? open_socket(w, event_cb, &error) : NULL;
    if (w->events) {
        errno = 0;
        nl_socket_disable_seq_check(w->events);
        if (nl_socket_set_nonblocking(w->events) < 0
            || nl_socket_add_membership(w->events, RTNLGRP_LINK) < 0) {
            error = errno ? errno : EPROTO;
        }
        carrier_watcher_limit_buffer(w, CARRIER_RCVBUF);
    }
    if (error) {
        nl_socket_free(w->events);
        nl_socket_free(w->queries);
        w->events = w->queries = NULL;
    } else {
        /* Subscribed first: nothing is missed in between. */
        dump(w);
    }
    return error;
}

void
carrier_watcher_destroy(struct carrier_watcher *w)
{
    struct kernel_dev *dev;

    if (!w) {
        return;
    }
    nl_socket_free(w->events);
    nl_socket_free(w->queries);
    HMAP_FOR_EACH_SAFE (dev, node, &w->devs) {
        dev_delete(w, dev);
    }
    hmap_destroy(&w->devs);
    shash_destroy_free_data(&w->watched);
    free(w->sources);
    free(w->seqnos);
    free(w);
}

void
carrier_watcher_get_stats(const struct carrier_watcher *w,
                          struct carrier_stats *stats)
{
    *stats = w->stats;
}

int
carrier_watcher_limit_buffer(struct carrier_watcher *w, int n_bytes)
{
    int fd = nl_socket_get_fd(w->events);

    /* With privileges beyond the system's limit, without up to it. */
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &n_bytes, sizeof n_bytes)
        && setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &n_bytes, sizeof n_bytes)) {
        return errno;
    }
    return 0;
}
