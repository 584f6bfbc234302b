/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>
#include "net-emu-wire.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <rte_config.h>
#include <rte_errno.h>
#include <rte_mbuf.h>
#include <rte_ring.h>

#include "dp-packet.h"
#include "net-emu-private.h"
#include "openvswitch/vlog.h"
#include "packets.h"
#include "util.h"

/* Mbufs that a ring holds, and room before frames for tags that are pushed. */
#define RING_SIZE 1024
#define HEADROOM 128

#ifndef PACKET_IGNORE_OUTGOING
#define PACKET_IGNORE_OUTGOING 23
#endif

struct net_emu_wire {
    char *name;

    /* Kernel device: one socket for each queue, and one that sends. */
    int ifindex;                    /* 0: not a kernel device. */
    int tx_fd;
    int rx_fds[NET_EMU_MAX_QUEUES];
    atomic_bool started;

    /* Rings. */
    struct rte_ring *rx_ring, *tx_ring;
    struct rte_mempool *pool;
};

static struct net_emu_wire *
wire_create(const char *name)
{
    struct net_emu_wire *wire = xzalloc(sizeof *wire);

    wire->name = xstrdup(name);
    wire->tx_fd = -1;
    for (int i = 0; i < NET_EMU_MAX_QUEUES; i++) {
        wire->rx_fds[i] = -1;
    }
    atomic_init(&wire->started, false);
    return wire;
}

static void
close_fd(int *fd)
{
    if (*fd >= 0) {
        close(*fd);
        *fd = -1;
    }
}

/* Kernel devices. */

struct net_emu_wire *
net_emu_wire_to_device(const char *device, char **errorp)
{
    int ifindex = if_nametoindex(device);
    struct net_emu_wire *wire;

    if (!ifindex) {
        *errorp = xasprintf("%s: %s", device, ovs_strerror(errno));
        return NULL;
    }
    wire = wire_create(device);
    wire->ifindex = ifindex;

    /* Protocol 0: this socket receives nothing. */
    wire->tx_fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK,
                         0);
    if (wire->tx_fd < 0) {
        *errorp = xasprintf("%s: no packet socket (%s)", device,
                            ovs_strerror(errno));
        net_emu_wire_free(wire);
        return NULL;
    }
    return wire;
}

/* Stores in '*fdp' a socket that receives from 'wire'.  If 'fanout' is not
 * null, sockets with the same '*fanout' share the frames, by a hash of their
 * addresses and ports; 0 in it makes a new group. */
static int
open_receiver(const struct net_emu_wire *wire, uint16_t *fanout, int *fdp)
{
    struct sockaddr_ll sll = {
        .sll_family = AF_PACKET,
        .sll_ifindex = wire->ifindex,
        .sll_protocol = htons(ETH_P_ALL),
    };
    struct packet_mreq mreq = {
        .mr_ifindex = wire->ifindex,
        .mr_type = PACKET_MR_PROMISC,
    };
    const int on = 1;
    int fd;

    /* Without a protocol until it is bound to the device. */
    fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return errno;
    }
    *fdp = fd;
    if (setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof on)
        || setsockopt(fd, SOL_PACKET, PACKET_AUXDATA, &on, sizeof on)
        || bind(fd, (struct sockaddr *) &sll, sizeof sll)
        || setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &mreq,
                      sizeof mreq)) {
        return errno;
    }
    if (fanout) {
        unsigned int mode = PACKET_FANOUT_HASH;
        socklen_t len = sizeof mode;

        if (!*fanout) {
            mode |= PACKET_FANOUT_FLAG_UNIQUEID;
        }
        mode = mode << 16 | *fanout;
        if (setsockopt(fd, SOL_PACKET, PACKET_FANOUT, &mode, sizeof mode)
            || getsockopt(fd, SOL_PACKET, PACKET_FANOUT, &mode, &len)) {
            return errno;
        }
        *fanout = mode;
    }
    return 0;
}

int
net_emu_wire_start(struct net_emu_wire *wire, unsigned int n_queues)
{
    uint16_t fanout = 0;
    int error = 0;

    for (unsigned int i = 0; !error && wire->ifindex && i < n_queues; i++) {
        error = open_receiver(wire, n_queues > 1 ? &fanout : NULL,
                              &wire->rx_fds[i]);
    }
    if (error) {
        net_emu_wire_stop(wire);
    } else {
        atomic_store(&wire->started, true);
    }
    return error;
}

void
net_emu_wire_stop(struct net_emu_wire *wire)
{
    atomic_store(&wire->started, false);
    for (int i = 0; i < NET_EMU_MAX_QUEUES; i++) {
        close_fd(&wire->rx_fds[i]);
    }
}

/* Receives a frame of up to NET_EMU_MAX_FRAME bytes.  Returns null if there is
 * none. */
static struct dp_packet *
receive_frame(int fd)
{
    /* Room for a tag that the kernel has taken out. */
    uint8_t buffer[VLAN_HEADER_LEN + NET_EMU_MAX_FRAME];
    uint8_t *frame = buffer + VLAN_HEADER_LEN;
    union {
        struct cmsghdr align;
        char buf[CMSG_SPACE(sizeof(struct tpacket_auxdata))];
    } control;
    struct iovec iov = { .iov_base = frame, .iov_len = NET_EMU_MAX_FRAME };
    struct sockaddr_ll sll;
    struct msghdr msg;
    const struct cmsghdr *cmsg;
    ssize_t len;

    /* In a fanout group, some kernels forget PACKET_IGNORE_OUTGOING. */
    do {
        msg = (struct msghdr) {
            .msg_name = &sll,
            .msg_namelen = sizeof sll,
            .msg_iov = &iov,
            .msg_iovlen = 1,
            .msg_control = &control,
            .msg_controllen = sizeof control,
        };
        len = recvmsg(fd, &msg, MSG_DONTWAIT);
        if (len < 0 && errno != EINTR) {
            return NULL;
        }
    } while (len < ETH_HEADER_LEN || msg.msg_flags & MSG_TRUNC
             || sll.sll_pkttype == PACKET_OUTGOING);

    for (cmsg = CMSG_FIRSTHDR(&msg); cmsg;
         cmsg = CMSG_NXTHDR(&msg, CONST_CAST(struct cmsghdr *, cmsg))) {
        struct tpacket_auxdata aux;

        if (cmsg->cmsg_level != SOL_PACKET
            || cmsg->cmsg_type != PACKET_AUXDATA
            || cmsg->cmsg_len < CMSG_LEN(sizeof aux)) {
            continue;
        }
        memcpy(&aux, CMSG_DATA(cmsg), sizeof aux);
        if (aux.tp_status & TP_STATUS_VLAN_VALID) {
            uint16_t tpid = (aux.tp_status & TP_STATUS_VLAN_TPID_VALID
                             ? aux.tp_vlan_tpid : ETH_P_8021Q);
            const ovs_be16 tag[] = { htons(tpid), htons(aux.tp_vlan_tci) };

            memmove(buffer, frame, 2 * ETH_ADDR_LEN);
            memcpy(buffer + 2 * ETH_ADDR_LEN, tag, sizeof tag);
            frame = buffer;
            len += VLAN_HEADER_LEN;
        }
    }
    return dp_packet_clone_data_with_headroom(frame, len, HEADROOM);
}

static bool
send_frame(const struct net_emu_wire *wire, const void *data, size_t len)
{
    struct sockaddr_ll sll = {
        .sll_family = AF_PACKET,
        .sll_ifindex = wire->ifindex,
    };
    ssize_t sent;

    do {
        sent = sendto(wire->tx_fd, data, len, MSG_DONTWAIT,
                      (struct sockaddr *) &sll, sizeof sll);
    } while (sent < 0 && errno == EINTR);
    return sent == len;
}

static bool
device_carrier(const struct net_emu_wire *wire)
{
    struct ifreq ifr;

    memset(&ifr, 0, sizeof ifr);
    return (if_indextoname(wire->ifindex, ifr.ifr_name)
            && !ioctl(wire->tx_fd, SIOCGIFFLAGS, &ifr)
            && ifr.ifr_flags & IFF_RUNNING && ifr.ifr_flags & IFF_UP);
}

/* Rings. */

static struct rte_ring *
create_ring(const char *nic, const char *port, const char *suffix,
            char **errorp)
{
    char name[RTE_RING_NAMESIZE];
    struct rte_ring *ring = NULL;

    if (snprintf(name, sizeof name, "%s_%s_%s", nic, port, suffix)
        >= sizeof name) {
        *errorp = xasprintf("%s_%s_%s: too long for a ring's name", nic, port,
                            suffix);
        return NULL;
    }
    ring = rte_ring_create(name, RING_SIZE, SOCKET_ID_ANY, 0);
    if (!ring) {
        *errorp = xasprintf("%s: no ring (%s)", name,
                            rte_strerror(rte_errno));
    }
    return ring;
}

struct net_emu_wire *
net_emu_wire_to_rings(const char *nic, const char *port,
                      struct rte_mempool *pool, char **errorp)
{
    struct net_emu_wire *wire = wire_create("rings");

    wire->pool = pool;
    wire->rx_ring = create_ring(nic, port, "rx", errorp);
    wire->tx_ring = (wire->rx_ring ? create_ring(nic, port, "tx", errorp)
                     : NULL);
    if (!wire->tx_ring) {
        net_emu_wire_free(wire);
        return NULL;
    }
    return wire;
}

static void
empty_ring(struct rte_ring *ring)
{
    void *mbuf;

    while (ring && !rte_ring_dequeue(ring, &mbuf)) {
        rte_pktmbuf_free(mbuf);
    }
}

static struct dp_packet *
receive_mbuf(struct rte_ring *ring)
{
    struct dp_packet *packet = NULL;
    void *mbuf_;

    while (!packet && !rte_ring_dequeue(ring, &mbuf_)) {
        struct rte_mbuf *mbuf = mbuf_;
        uint32_t len = rte_pktmbuf_pkt_len(mbuf);

        if (len >= ETH_HEADER_LEN && len <= NET_EMU_MAX_FRAME) {
            uint8_t buffer[NET_EMU_MAX_FRAME];
            const void *data = rte_pktmbuf_read(mbuf, 0, len, buffer);

            packet = dp_packet_clone_data_with_headroom(data, len, HEADROOM);
        }
        rte_pktmbuf_free(mbuf);
    }
    return packet;
}

static bool
send_mbuf(const struct net_emu_wire *wire, const void *data, size_t len)
{
    struct rte_mbuf *mbuf = rte_pktmbuf_alloc(wire->pool);
    char *room = mbuf ? rte_pktmbuf_append(mbuf, len) : NULL;

    if (room) {
        memcpy(room, data, len);
    }
    if (!room || rte_ring_enqueue(wire->tx_ring, mbuf)) {
        rte_pktmbuf_free(mbuf);
        return false;
    }
    return true;
}

/* All kinds. */

struct net_emu_wire *
net_emu_wire_to_nothing(void)
{
    return wire_create("nothing");
}

void
net_emu_wire_free(struct net_emu_wire *wire)
{
    if (wire) {
        net_emu_wire_stop(wire);
        close_fd(&wire->tx_fd);
        empty_ring(wire->rx_ring);
        empty_ring(wire->tx_ring);
        rte_ring_free(wire->rx_ring);
        rte_ring_free(wire->tx_ring);
        free(wire->name);
        free(wire);
    }
}

size_t
net_emu_wire_receive(struct net_emu_wire *wire, unsigned int queue,
                     struct dp_packet *packets[], size_t n)
{
    size_t i;

    for (i = 0; i < n; i++) {
        if (wire->rx_fds[queue] >= 0) {
            packets[i] = receive_frame(wire->rx_fds[queue]);
        } else if (wire->rx_ring && !queue) {
            packets[i] = receive_mbuf(wire->rx_ring);
        } else {
            break;
        }
        if (!packets[i]) {
            break;
        }
    }
    return i;
}

bool
net_emu_wire_send(struct net_emu_wire *wire, const void *data, size_t len)
{
    bool started;

    atomic_read_relaxed(&wire->started, &started);
    return (started
            && (wire->ifindex ? send_frame(wire, data, len)
                : wire->tx_ring ? send_mbuf(wire, data, len)
                : false));
}

bool
net_emu_wire_carrier(const struct net_emu_wire *wire)
{
    return wire->ifindex ? device_carrier(wire) : wire->rx_ring != NULL;
}

const char *
net_emu_wire_name(const struct net_emu_wire *wire)
{
    return wire->name;
}
