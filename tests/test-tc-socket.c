/* SPDX-License-Identifier: Apache-2.0 */

/* Requests to the real kernel, of which some answers are lost or late.  The
 * requests are about links, which every kernel has and everybody may ask. */

#include <config.h>

#include <poll.h>
#include <stdbool.h>
#include <sys/socket.h>

/* What happens to a system call. */
static int n_eintr;                 /* This many calls of each are EINTR. */
static int n_enobufs;               /* So many receptions are ENOBUFS. */
static size_t max_bytes;            /* Room for a message, 0 for enough. */
static bool strange;                /* Messages are not from the kernel. */
static int n_polls;

static ssize_t faulty_sendto(int, const void *, size_t, int,
                             const struct sockaddr *, socklen_t);
static int faulty_recvmmsg(int, struct mmsghdr *, unsigned int, int,
                           struct timespec *);
static int faulty_poll(struct pollfd *, nfds_t, int);

#define sendto faulty_sendto
#define recvmmsg faulty_recvmmsg
#define poll faulty_poll
#include "lib/tc-socket.c"
#undef sendto
#undef recvmmsg
#undef poll

#include <linux/if_link.h>

#include "tests/nic-test.h"

/* No device has this index. */
#define NO_LINK 0x7ffffff0
#define LOOPBACK 1

static bool
is_interrupted(int *n)
{
    if (*n < n_eintr) {
        ++*n;
        errno = EINTR;
        return true;
    }
    *n = 0;
    return false;
}

static ssize_t
faulty_sendto(int fd, const void *data, size_t len, int flags,
              const struct sockaddr *addr, socklen_t addrlen)
{
    static int n;

    return (is_interrupted(&n) ? -1
            : sendto(fd, data, len, flags, addr, addrlen));
}

static int
faulty_recvmmsg(int fd, struct mmsghdr *msgs, unsigned int n_msgs, int flags,
                struct timespec *timeout)
{
    static int n;
    int retval;

    if (is_interrupted(&n)) {
        return -1;
    } else if (n_enobufs) {
        n_enobufs--;
        errno = ENOBUFS;
        return -1;
    }
    for (size_t i = 0; i < n_msgs && max_bytes; i++) {
        msgs[i].msg_hdr.msg_iov->iov_len = max_bytes;
    }
    retval = recvmmsg(fd, msgs, n_msgs, flags, timeout);
    for (int i = 0; i < retval && strange; i++) {
        struct sockaddr_nl *from = msgs[i].msg_hdr.msg_name;

        from->nl_pid = 4711;
    }
    return retval;
}

/* Nobody waits for long. */
static int
faulty_poll(struct pollfd *fds, nfds_t n_fds, int timeout)
{
    static int n;

    ck_assert_int_gt(timeout, 0);
    if (is_interrupted(&n)) {
        return -1;
    }
    n_polls++;
    return poll(fds, n_fds, 0);
}

static struct tc_socket *sock;
static struct tc_batch batch;
static size_t n_replies;

static void
setup(void)
{
    n_eintr = n_enobufs = n_polls = 0;
    max_bytes = 0;
    strange = false;
    ck_assert_int_eq(tc_socket_open(&sock), 0);
    tc_batch_init(&batch);
}

static void
teardown(void)
{
    tc_batch_destroy(&batch);
    tc_socket_close(sock);
}

static struct nlmsghdr *
put_request(void *buf, uint16_t flags, int ifindex)
{
    struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
    struct ifinfomsg *ifi;

    nlh->nlmsg_type = RTM_GETLINK;
    nlh->nlmsg_flags = NLM_F_REQUEST | flags;
    ifi = mnl_nlmsg_put_extra_header(nlh, sizeof *ifi);
    ifi->ifi_index = ifindex;
    return nlh;
}

/* Makes 'batch' of 'n' requests; every third one is about no link. */
static void
fill(size_t n)
{
    tc_batch_clear(&batch);
    for (size_t i = 0; i < n; i++) {
        struct nlmsghdr *nlh;

        nlh = put_request(tc_batch_reserve(&batch), NLM_F_ACK,
                          i % 3 == 2 ? NO_LINK : LOOPBACK);
        nlh->nlmsg_seq = tc_batch_seq(&batch);
        tc_batch_commit(&batch);
    }
}

/* What an answer to fill()'s request 'i' has to be. */
static void
check_reply(size_t i, const struct nlmsghdr *nlh, void *aux OVS_UNUSED)
{
    const struct ifinfomsg *ifi = mnl_nlmsg_get_payload(nlh);

    ck_assert_uint_ne(i % 3, 2);
    ck_assert_int_eq(nlh->nlmsg_type, RTM_NEWLINK);
    ck_assert_int_eq(ifi->ifi_index, LOOPBACK);
    n_replies++;
}

/* Sends fill()'s requests and returns the number of those whose fate is
 * unknown.  The others' has to be right. */
static size_t
transact_all(void)
{
    size_t unknown = 0;

    n_replies = 0;
    tc_socket_transact(sock, &batch, check_reply, NULL);
    for (size_t i = 0; i < batch.n; i++) {
        if (batch.results[i].error == EINPROGRESS) {
            unknown++;
        } else {
            ck_assert_int_eq(batch.results[i].error,
                             i % 3 == 2 ? ENODEV : 0);
        }
    }
    return unknown;
}

START_TEST(test_results)
{
    uint64_t calls, requests, calls2, requests2;

    setup();
    tc_socket_get_stats(&calls, &requests);
    fill(999);
    ck_assert_uint_eq(transact_all(), 0);
    ck_assert_uint_eq(n_replies, 666);
    tc_socket_get_stats(&calls2, &requests2);
    ck_assert_uint_eq(requests2 - requests, 999);
    ck_assert_uint_lt(calls2 - calls, 999 / 5);

    /* The same socket and batch once more; and nothing. */
    fill(3);
    ck_assert_uint_eq(transact_all(), 0);
    fill(0);
    ck_assert_uint_eq(transact_all(), 0);
    teardown();
}
END_TEST

START_TEST(test_interrupted)
{
    setup();
    n_eintr = 3;
    fill(300);
    ck_assert_uint_eq(transact_all(), 0);
    ck_assert_uint_eq(n_replies, 200);
    teardown();
}
END_TEST

/* The kernel's answers do not fit in the socket's queue. */
START_TEST(test_overflow)
{
    int size = 20000;
    size_t n;

    setup();
    ck_assert_int_eq(setsockopt(sock->fd, SOL_SOCKET, SO_RCVBUF, &size,
                                sizeof size), 0);
    fill(100);
    n = transact_all();
    ck_assert_uint_gt(n, 0);
    ck_assert_uint_lt(n, 100);

    /* It is known that something was lost, so nobody waits for it. */
    ck_assert_int_eq(n_polls, 0);

    /* What comes later is not taken for an answer to another request. */
    size = RCVBUF_BYTES;
    setsockopt(sock->fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    fill(30);
    ck_assert_uint_eq(transact_all(), 0);
    ck_assert_uint_eq(n_replies, 20);
    teardown();
}
END_TEST

/* ENOBUFS does not say which answers were lost: perhaps none of these. */
START_TEST(test_enobufs)
{
    setup();
    n_enobufs = 2;
    fill(50);
    ck_assert_uint_eq(transact_all(), 0);
    teardown();
}
END_TEST

START_TEST(test_truncated)
{
    setup();

    /* Acknowledgements are whole, replies are not. */
    max_bytes = 100;
    fill(9);
    ck_assert_uint_eq(transact_all(), 0);
    ck_assert_uint_eq(n_replies, 0);

    max_bytes = 20;
    fill(9);
    ck_assert_uint_eq(transact_all(), 9);
    ck_assert_int_eq(n_polls, 0);

    max_bytes = 0;
    fill(9);
    ck_assert_uint_eq(transact_all(), 0);
    ck_assert_uint_eq(n_replies, 6);
    teardown();
}
END_TEST

/* Only the kernel answers. */
START_TEST(test_stranger)
{
    setup();
    strange = true;
    fill(9);
    ck_assert_uint_eq(transact_all(), 9);
    ck_assert_uint_eq(n_replies, 0);
    ck_assert_int_eq(n_polls, 1);
    teardown();
}
END_TEST

static void
count_link(size_t i OVS_UNUSED, const struct nlmsghdr *nlh, void *n_)
{
    size_t *n = n_;

    ck_assert_int_eq(nlh->nlmsg_type, RTM_NEWLINK);
    ++*n;
}

static int
dump(size_t *n)
{
    uint32_t buf[64];

    *n = 0;
    return tc_socket_dump(sock, put_request(buf, NLM_F_DUMP, 0), count_link,
                          n);
}

START_TEST(test_dump)
{
    size_t all, n;

    setup();
    ck_assert_int_eq(dump(&all), 0);
    ck_assert_uint_gt(all, 0);
    n_eintr = 2;
    ck_assert_int_eq(dump(&n), 0);
    ck_assert_uint_eq(n, all);

    /* What is incomplete says so, and the next one can be had. */
    n_enobufs = 1;
    ck_assert_int_eq(dump(&n), ENOBUFS);
    max_bytes = 100;
    ck_assert_int_eq(dump(&n), ENOBUFS);
    ck_assert_uint_eq(n, 0);
    max_bytes = 0;
    ck_assert_int_eq(dump(&n), 0);
    ck_assert_uint_eq(n, all);
    teardown();
}
END_TEST

int
main(int argc, char *argv[])
{
    Suite *suite = suite_create("tc-socket");
    TCase *tc = tcase_create("tc-socket");

    tcase_add_test(tc, test_results);
    tcase_add_test(tc, test_interrupted);
    tcase_add_test(tc, test_overflow);
    tcase_add_test(tc, test_enobufs);
    tcase_add_test(tc, test_truncated);
    tcase_add_test(tc, test_stranger);
    tcase_add_test(tc, test_dump);
    suite_add_tcase(suite, tc);
    return nic_test_main(argc, argv, suite);
}
