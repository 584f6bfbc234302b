/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>
#include "tc-socket.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "coverage.h"
#include "flower.h"
#include "openvswitch/vlog.h"
#include "ovs-atomic.h"
#include "util.h"

VLOG_DEFINE_THIS_MODULE(tc_socket);

COVERAGE_DEFINE(tc_socket_overflow);
COVERAGE_DEFINE(tc_socket_send);

/* Sent with one system call at the most.  Everything that the kernel answers
 * must fit in the socket's queue. */
#define MAX_SEND_BYTES 65536
#define MAX_SEND_REQUESTS 128
#define RCVBUF_BYTES (4 * 1024 * 1024)

/* The kernel has answered when sending is over, so that what has not come once
 * answers were lost does not come; this is for the case that nobody knows of
 * a loss. */
#define ANSWER_TIMEOUT_MS 5000

/* Each acknowledgement is a message of its own, so many are received at once.
 * A message is not longer than 32 kB. */
#define RECV_MESSAGES 32
#define RECV_BYTES 32768

struct tc_socket {
    int fd;
    uint32_t seq;                   /* Of the last request. */

    /* What was received. */
    char *buf;                      /* RECV_MESSAGES * RECV_BYTES. */
    struct mmsghdr msgs[RECV_MESSAGES];
    struct iovec iovs[RECV_MESSAGES];
    struct sockaddr_nl from[RECV_MESSAGES];
};

static atomic_count n_calls = ATOMIC_COUNT_INIT(0);
static atomic_count n_requests = ATOMIC_COUNT_INIT(0);

/* Batches. */

void
tc_batch_init(struct tc_batch *batch)
{
    memset(batch, 0, sizeof *batch);
}

void
tc_batch_clear(struct tc_batch *batch)
{
    for (size_t i = 0; i < batch->n; i++) {
        free(batch->results[i].extack);
    }
    batch->n = 0;
    batch->len = 0;
}

void
tc_batch_destroy(struct tc_batch *batch)
{
    tc_batch_clear(batch);
    free(batch->data);
    free(batch->results);
    free(batch->offsets);
}

void *
tc_batch_reserve(struct tc_batch *batch)
{
    if (batch->allocated - batch->len < FLOWER_MAX_LEN) {
        batch->allocated = 2 * batch->allocated + 2 * FLOWER_MAX_LEN;
        batch->data = xrealloc(batch->data, batch->allocated);
    }
    return batch->data + batch->len;
}

uint32_t
tc_batch_seq(const struct tc_batch *batch)
{
    return batch->n;
}

static struct nlmsghdr *
batch_message(const struct tc_batch *batch, size_t i)
{
    return ALIGNED_CAST(struct nlmsghdr *, batch->data + batch->offsets[i]);
}

void
tc_batch_commit(struct tc_batch *batch)
{
    if (batch->n == batch->n_allocated) {
        batch->results = x2nrealloc(batch->results, &batch->n_allocated,
                                    sizeof *batch->results);
        batch->offsets = xrealloc(batch->offsets, batch->n_allocated
                                                  * sizeof *batch->offsets);
    }
    batch->offsets[batch->n] = batch->len;
    batch->results[batch->n].error = EINPROGRESS;
    batch->results[batch->n].extack = NULL;
    batch->len += MNL_ALIGN(batch_message(batch, batch->n)->nlmsg_len);
    batch->n++;
}

/* Sockets. */

int
tc_socket_open(struct tc_socket **sockp)
{
    struct sockaddr_nl addr = { .nl_family = AF_NETLINK };
    int size = RCVBUF_BYTES;
    struct tc_socket *sock;
    int on = 1;
    int fd;

    fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (fd < 0) {
        return errno;
    }
    if (bind(fd, (struct sockaddr *) &addr, sizeof addr)) {
        int error = errno;

        close(fd);
        return error;
    }
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size)) {
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    }
    /* Old kernels without these explain nothing, and answer more. */
    setsockopt(fd, SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof on);
    setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof on);

    sock = xzalloc(sizeof *sock);
    sock->fd = fd;
    sock->buf = xmalloc(RECV_MESSAGES * RECV_BYTES);
    *sockp = sock;
    return 0;
}

void
tc_socket_close(struct tc_socket *sock)
{
    if (sock) {
        close(sock->fd);
        free(sock->buf);
        free(sock);
    }
}

static int
send_bytes(struct tc_socket *sock, const void *data, size_t len)
{
    struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
    ssize_t n;

    COVERAGE_INC(tc_socket_send);
    do {
        atomic_count_inc(&n_calls);
        n = sendto(sock->fd, data, len, 0, (struct sockaddr *) &kernel,
                   sizeof kernel);
    } while (n < 0 && errno == EINTR);
    return n < 0 ? errno : n == len ? 0 : EMSGSIZE;
}

/* Receives what is there next, or comes within 'timeout_ms'.  Returns the
 * number of messages, 0 if nothing comes, or a negative errno value: -ENOBUFS
 * if the kernel had to drop answers. */
static int
receive(struct tc_socket *sock, int timeout_ms)
{
    for (;;) {
        struct pollfd pollfd = { .fd = sock->fd, .events = POLLIN };
        int n;

        for (size_t i = 0; i < RECV_MESSAGES; i++) {
            struct msghdr *msg = &sock->msgs[i].msg_hdr;

            memset(msg, 0, sizeof *msg);
            sock->iovs[i].iov_base = sock->buf + i * RECV_BYTES;
            sock->iovs[i].iov_len = RECV_BYTES;
            msg->msg_name = &sock->from[i];
            msg->msg_namelen = sizeof sock->from[i];
            msg->msg_iov = &sock->iovs[i];
            msg->msg_iovlen = 1;
        }
        atomic_count_inc(&n_calls);
        n = recvmmsg(sock->fd, sock->msgs, RECV_MESSAGES, MSG_DONTWAIT, NULL);
        if (n > 0) {
            return n;
        } else if (n < 0 && errno == EAGAIN) {
            int retval;

            if (!timeout_ms) {
                return 0;
            }
            do {
                retval = poll(&pollfd, 1, timeout_ms);
            } while (retval < 0 && errno == EINTR);
            if (retval <= 0) {
                return 0;
            }
        } else if (errno != EINTR) {
            return -errno;
        }
    }
}

/* Returns the bytes of message 'i' of those that were received and stores its
 * beginning in '*nlh'; 0 if it is to be ignored.  Sets '*lost' to true if it
 * was too long. */
static int
received_message(const struct tc_socket *sock, size_t i,
                 const struct nlmsghdr **nlh, bool *lost)
{
    static struct vlog_rate_limit rl = VLOG_RATE_LIMIT_INIT(1, 5);
    const struct mmsghdr *msg = &sock->msgs[i];

    *nlh = ALIGNED_CAST(struct nlmsghdr *, sock->buf + i * RECV_BYTES);
    if (msg->msg_hdr.msg_flags & MSG_TRUNC) {
        VLOG_WARN_RL(&rl, "an answer of the kernel was too long");
        *lost = true;
        return 0;
    }

    /* The kernel is number 0. */
    return sock->from[i].nl_pid ? 0 : msg->msg_len;
}

/* Returns a copy of the kernel's words in 'nlh', an acknowledgement, or null
 * if there are none. */
static char *
get_extack(const struct nlmsghdr *nlh)
{
    const struct nlmsgerr *err = mnl_nlmsg_get_payload(nlh);
    size_t len = mnl_nlmsg_get_payload_len(nlh);
    size_t ofs = sizeof *err;
    const struct nlattr *attr;
    const void *attrs;

    if (!(nlh->nlmsg_flags & NLM_F_ACK_TLVS)) {
        return NULL;
    }
    if (!(nlh->nlmsg_flags & NLM_F_CAPPED)) {
        ofs += NLMSG_ALIGN(err->msg.nlmsg_len) - sizeof err->msg;
    }
    if (ofs >= len) {
        return NULL;
    }
    attrs = (const char *) err + ofs;
    mnl_attr_for_each_payload(attrs, len - ofs) {
        if (mnl_attr_get_type(attr) == NLMSGERR_ATTR_MSG) {
            return xmemdup0(mnl_attr_get_payload(attr),
                            strnlen(mnl_attr_get_payload(attr),
                                    mnl_attr_get_payload_len(attr)));
        }
    }
    return NULL;
}

/* Handles an answer to one of the 'n' requests in 'batch' that begin with
 * 'first', whose sequence number is 'seq'.  Returns true if it is the last one
 * to its request. */
static bool
handle_answer(struct tc_batch *batch, size_t first, size_t n, uint32_t seq,
              const struct nlmsghdr *nlh, tc_reply_cb *cb, void *aux)
{
    uint32_t i = nlh->nlmsg_seq - seq;
    const struct nlmsgerr *err;
    struct tc_result *result;

    if (i >= n) {
        return false;
    }
    if (nlh->nlmsg_type != NLMSG_ERROR) {
        if (cb) {
            cb(first + i, nlh, aux);
        }
        return false;
    }
    result = &batch->results[first + i];
    if (mnl_nlmsg_get_payload_len(nlh) < sizeof *err
        || result->error != EINPROGRESS) {
        return false;
    }
    err = mnl_nlmsg_get_payload(nlh);
    result->error = -err->error;
    if (err->error) {
        result->extack = get_extack(nlh);
    }
    return true;
}

/* Sends the 'n' requests that begin with 'first' in one piece. */
static void
transact(struct tc_socket *sock, struct tc_batch *batch, size_t first,
         size_t n, size_t len, tc_reply_cb *cb, void *aux)
{
    uint32_t seq = sock->seq + 1;
    bool lost = false;
    size_t left = n;
    int error;

    for (size_t i = 0; i < n; i++) {
        batch_message(batch, first + i)->nlmsg_seq = seq + i;
    }
    sock->seq += n;
    for (size_t i = 0; i < n; i++) {
        atomic_count_inc(&n_requests);
    }
    error = send_bytes(sock, batch_message(batch, first), len);
    if (error) {
        for (size_t i = 0; i < n; i++) {
            batch->results[first + i].error = error;
        }
        return;
    }

    while (left) {
        int received = receive(sock, lost ? 0 : ANSWER_TIMEOUT_MS);

        if (received == -ENOBUFS) {
            /* Something is lost; the rest is still there, perhaps. */
            static struct vlog_rate_limit rl = VLOG_RATE_LIMIT_INIT(1, 5);

            COVERAGE_INC(tc_socket_overflow);
            VLOG_WARN_RL(&rl, "answers of the kernel were lost");
            lost = true;
            continue;
        } else if (received <= 0) {
            return;
        }
        for (int i = 0; i < received; i++) {
            const struct nlmsghdr *nlh;
            int bytes = received_message(sock, i, &nlh, &lost);

            for (; mnl_nlmsg_ok(nlh, bytes);
                 nlh = mnl_nlmsg_next(nlh, &bytes)) {
                if (handle_answer(batch, first, n, seq, nlh, cb, aux)) {
                    left--;
                }
            }
        }
    }
}

void
tc_socket_transact(struct tc_socket *sock, struct tc_batch *batch,
                   tc_reply_cb *cb, void *aux)
{
    size_t first = 0;

    while (first < batch->n) {
        size_t len = 0, n = 0;

        do {
            len += MNL_ALIGN(batch_message(batch, first + n)->nlmsg_len);
            n++;
        } while (first + n < batch->n && n < MAX_SEND_REQUESTS
                 && len + batch_message(batch, first + n)->nlmsg_len
                    <= MAX_SEND_BYTES);
        transact(sock, batch, first, n, len, cb, aux);
        first += n;
    }
}

int
tc_socket_dump(struct tc_socket *sock, struct nlmsghdr *request,
               tc_reply_cb *cb, void *aux)
{
    bool lost = false;
    int error;

    request->nlmsg_seq = ++sock->seq;
    error = send_bytes(sock, request, request->nlmsg_len);
    if (error) {
        return error;
    }
    for (;;) {
        int received = receive(sock, ANSWER_TIMEOUT_MS);

        if (received == -ENOBUFS) {
            /* The kernel begins no other dump before this one has ended. */
            COVERAGE_INC(tc_socket_overflow);
            lost = true;
            continue;
        } else if (received <= 0) {
            return received ? -received : ETIMEDOUT;
        }
        for (int i = 0; i < received; i++) {
            const struct nlmsghdr *nlh;
            int bytes = received_message(sock, i, &nlh, &lost);

            for (; mnl_nlmsg_ok(nlh, bytes);
                 nlh = mnl_nlmsg_next(nlh, &bytes)) {
                if (nlh->nlmsg_seq != request->nlmsg_seq) {
                    continue;
                } else if (nlh->nlmsg_type == NLMSG_DONE) {
                    return lost ? ENOBUFS : 0;
                } else if (nlh->nlmsg_type == NLMSG_ERROR) {
                    const struct nlmsgerr *err = mnl_nlmsg_get_payload(nlh);

                    return (mnl_nlmsg_get_payload_len(nlh) < sizeof *err
                            ? EPROTO : -err->error);
                }
                cb(0, nlh, aux);
            }
        }
    }
}

void
tc_socket_get_stats(uint64_t *n_calls_, uint64_t *n_requests_)
{
    *n_calls_ = atomic_count_get(&n_calls);
    *n_requests_ = atomic_count_get(&n_requests);
}
