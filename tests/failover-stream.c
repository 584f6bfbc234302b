/* SPDX-License-Identifier: Apache-2.0 */

/* Packets through a bond while a link is cut
 * ==========================================
 *
 * failover-stream VM PEER HOST NET FAR SURVIVOR RATE SECONDS CUT [COMMAND...]
 *
 * All in capitals but the last four are names of network namespaces (VM, PEER,
 * HOST, NET) and of devices in NET (FAR, SURVIVOR).
 *
 * Sends RATE numbered UDP datagrams a second from 10.1.1.1 in VM to 10.1.1.9
 * in PEER and as many back, for SECONDS.  After a third of that time cuts: CUT
 * is "down", to set FAR down, "flap", to set it down and up 20 times at random
 * within a second third, or "command", to run COMMAND.  Then prints one line:
 *
 *     lost VM-TO-PEER PEER-TO-VM first MS told MS cut USEC
 *
 * "first" is the time from just before the cut until the kernel had received
 * the first packet of VM's from SURVIVOR after it, by the kernel's own time
 * stamp.  "told" is the time from just before the cut until a program in HOST
 * that only listens to the kernel had heard of a device there without carrier:
 * nobody can act earlier.  Either is "-" if it never happened.  USEC is when
 * the cut was, on CLOCK_MONOTONIC, which OVS's time_usec() shows.
 *
 * The cut is made by a thread of its own, as the kernel takes milliseconds for
 * it in which packets must flow.  All threads have a real-time priority where
 * that is permitted: they stand for other machines, which do not wait for a
 * processor of this one.
 *
 * Sends to the addresses above only, from within the namespaces. */

#include <config.h>
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "util.h"

#define PORT 5000
#define N_FLAPS 20
#define PAYLOAD_LEN 64
#define NSEC_PER_SEC INT64_C(1000000000)

/* One way: numbered datagrams, and which of them arrived. */
struct stream {
    int fd;                     /* Of the receiver. */
    struct sockaddr_in peer;    /* Where it sends to. */
    uint32_t n_total;
    uint32_t n_arrived;
    uint8_t *arrived;           /* A byte for each number. */
};

struct cut {
    const char *how;            /* "down", "flap", "command". */
    const char *far;            /* Device. */
    char **command;
    int control;                /* A socket in the namespace of 'far'. */
    int64_t due_ns;             /* On CLOCK_MONOTONIC. */
    double flap_seconds;
};

static atomic_bool stop;

/* Time of the cut; 0 before. */
static _Atomic int64_t cut_real_ns;
static int64_t cut_mono_ns;

/* What the watching threads found, -1 if nothing. */
static _Atomic int64_t first_ns = -1;
static _Atomic int64_t told_ns = -1;

static void
fatal(const char *format, ...)
{
    int error = errno;
    va_list args;

    fprintf(stderr, "failover-stream: ");
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fprintf(stderr, " (%s)\n", strerror(error));
    exit(1);
}

static int64_t
now_ns(clockid_t clock)
{
    struct timespec ts;

    clock_gettime(clock, &ts);
    return ts.tv_sec * NSEC_PER_SEC + ts.tv_nsec;
}

static void
sleep_until(int64_t mono_ns)
{
    struct timespec ts = {
        .tv_sec = mono_ns / NSEC_PER_SEC,
        .tv_nsec = mono_ns % NSEC_PER_SEC,
    };

    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL)) {
        continue;
    }
}

/* Moves the calling thread to 'namespace'.  Sockets stay where they were
 * made. */
static void
enter(const char *namespace)
{
    char path[256];
    int fd;

    snprintf(path, sizeof path, "/var/run/netns/%s", namespace);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || setns(fd, CLONE_NEWNET)) {
        fatal("cannot enter namespace %s", namespace);
    }
    close(fd);
}

static int
socket_in(const char *namespace, int family, int type, int protocol)
{
    struct timeval timeout = { .tv_usec = 200000 };
    int size = 8 << 20;
    int fd;

    enter(namespace);
    fd = socket(family, type | SOCK_CLOEXEC, protocol);
    if (fd < 0
        || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout)
        || setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size)) {
        fatal("cannot make a socket in %s", namespace);
    }
    return fd;
}

static struct sockaddr_in
address(const char *ip)
{
    struct sockaddr_in sin = {
        .sin_family = AF_INET,
        .sin_port = htons(PORT),
    };

    inet_pton(AF_INET, ip, &sin.sin_addr);
    return sin;
}

static void
stream_init(struct stream *stream, const char *namespace, const char *self,
            const char *peer, uint32_t n_total)
{
    struct sockaddr_in sin = address(self);

    stream->fd = socket_in(namespace, AF_INET, SOCK_DGRAM, 0);
    if (bind(stream->fd, (struct sockaddr *) &sin, sizeof sin)) {
        fatal("cannot bind %s in %s", self, namespace);
    }
    stream->peer = address(peer);
    stream->n_total = n_total;
    stream->n_arrived = 0;
    stream->arrived = calloc(n_total, 1);
    if (!stream->arrived) {
        fatal("no memory");
    }
}

/* Threads. */

static void *
receive(void *stream_)
{
    struct stream *stream = stream_;

    while (!stop) {
        uint32_t number;
        char data[2048];

        if (recv(stream->fd, data, sizeof data, 0) < (ssize_t) sizeof number) {
            continue;
        }
        memcpy(&number, data, sizeof number);
        number = ntohl(number);
        if (number < stream->n_total && !stream->arrived[number]) {
            stream->arrived[number] = 1;
            stream->n_arrived++;
        }
    }
    return NULL;
}

/* Returns when the kernel received the packet that 'msg' brought, or 0 if it
 * does not say. */
static int64_t
received_at(struct msghdr *msg)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_TIMESTAMPNS) {
            struct timespec ts;

            memcpy(&ts, CMSG_DATA(c), sizeof ts);
            return ts.tv_sec * NSEC_PER_SEC + ts.tv_nsec;
        }
    }
    return 0;
}

/* Notes when the first packet of the VM passes through a device. */
static void *
watch_packets(void *fdp)
{
    const int fd = *(int *) fdp;
    const struct sockaddr_in vm = address("10.1.1.1");

    while (!stop && first_ns < 0) {
        uint8_t data[64];
        uint8_t control[256];
        struct sockaddr_ll from;
        struct iovec iov = { data, sizeof data };
        struct msghdr msg = {
            .msg_name = &from,
            .msg_namelen = sizeof from,
            .msg_iov = &iov,
            .msg_iovlen = 1,
            .msg_control = control,
            .msg_controllen = sizeof control,
        };
        ssize_t n = recvmsg(fd, &msg, 0);
        int64_t cut = cut_real_ns;

        /* Source address of an IPv4 packet without VLAN tag. */
        if (n >= 34 && cut && from.sll_pkttype != PACKET_OUTGOING
            && !memcmp(data + 26, &vm.sin_addr, 4)
            && received_at(&msg) >= cut) {
            first_ns = received_at(&msg) - cut;
        }
    }
    return NULL;
}

/* Notes when the kernel tells of a device that is up and has no carrier, or is
 * gone. */
static void *
watch_links(void *fdp)
{
    const int fd = *(int *) fdp;

    while (!stop && told_ns < 0) {
        union {
            struct nlmsghdr nlh;
            char bytes[32768];
        } data;
        ssize_t n = recv(fd, &data, sizeof data, 0);
        int64_t now = now_ns(CLOCK_REALTIME);
        int64_t cut = cut_real_ns;

        for (struct nlmsghdr *nlh = &data.nlh; n > 0 && NLMSG_OK(nlh, n);
             nlh = ALIGNED_CAST(struct nlmsghdr *, NLMSG_NEXT(nlh, n))) {
            const struct ifinfomsg *ifi = NLMSG_DATA(nlh);

            if (cut && told_ns < 0
                && (nlh->nlmsg_type == RTM_DELLINK
                    || (nlh->nlmsg_type == RTM_NEWLINK
                        && (ifi->ifi_flags & (IFF_UP | IFF_RUNNING))
                            == IFF_UP))) {
                told_ns = now - cut;
            }
        }
    }
    return NULL;
}

static void
set_link(const struct cut *cut, bool up)
{
    struct ifreq ifr;

    memset(&ifr, 0, sizeof ifr);
    snprintf(ifr.ifr_name, sizeof ifr.ifr_name, "%s", cut->far);
    if (ioctl(cut->control, SIOCGIFFLAGS, &ifr)) {
        fatal("cannot read flags of %s", cut->far);
    }
    ifr.ifr_flags = up ? ifr.ifr_flags | IFF_UP : ifr.ifr_flags & ~IFF_UP;
    if (ioctl(cut->control, SIOCSIFFLAGS, &ifr)) {
        fatal("cannot set %s %s", cut->far, up ? "up" : "down");
    }
}

static int
compare_times(const void *a_, const void *b_)
{
    const int64_t *a = a_;
    const int64_t *b = b_;

    return *a < *b ? -1 : *a > *b;
}

static void
flap(const struct cut *cut)
{
    int64_t start = now_ns(CLOCK_MONOTONIC);
    int64_t times[2 * N_FLAPS];
    unsigned short seed[3] = { 1, 2, 3 };

    for (int i = 0; i < 2 * N_FLAPS; i++) {
        times[i] = start + erand48(seed) * cut->flap_seconds * NSEC_PER_SEC;
    }
    qsort(times, 2 * N_FLAPS, sizeof times[0], compare_times);
    for (int i = 0; i < 2 * N_FLAPS; i++) {
        sleep_until(times[i]);
        set_link(cut, i % 2);
    }
}

/* Sets the policy by which the kernel gives this thread, and those that it
 * starts, a processor. */
static bool
set_policy(int policy, int priority)
{
    struct sched_param param = { .sched_priority = priority };

    return !sched_setscheduler(0, policy, &param);
}

static void
run_command(char **command)
{
    pid_t pid = fork();

    if (pid < 0) {
        fatal("cannot fork");
    } else if (!pid) {
        set_policy(SCHED_OTHER, 0);
        execvp(command[0], command);
        _exit(127);
    }
    waitpid(pid, NULL, 0);
}

static void *
cut_link(void *cut_)
{
    const struct cut *cut = cut_;

    sleep_until(cut->due_ns);
    cut_mono_ns = now_ns(CLOCK_MONOTONIC);
    cut_real_ns = now_ns(CLOCK_REALTIME);
    if (!strcmp(cut->how, "down")) {
        set_link(cut, false);
    } else if (!strcmp(cut->how, "flap")) {
        flap(cut);
    } else {
        run_command(cut->command);
    }
    return NULL;
}

static pthread_t
start_thread(void *(*main)(void *), void *aux)
{
    pthread_t thread;

    errno = pthread_create(&thread, NULL, main, aux);
    if (errno) {
        fatal("cannot start a thread");
    }
    return thread;
}

/* Sends what there is to send, on time or as soon as possible after it. */
static void
send_all(struct stream *a, struct stream *b, double rate, int64_t start)
{
    for (uint32_t i = 0; i < a->n_total; i++) {
        uint8_t data[PAYLOAD_LEN] = { 0 };
        uint32_t number = htonl(i);
        int64_t due = start + i / rate * NSEC_PER_SEC;

        if (now_ns(CLOCK_MONOTONIC) < due) {
            sleep_until(due);
        }
        memcpy(data, &number, sizeof number);

        /* A device that is going down may refuse: that one is lost. */
        sendto(a->fd, data, sizeof data, 0, (struct sockaddr *) &a->peer,
               sizeof a->peer);
        sendto(b->fd, data, sizeof data, 0, (struct sockaddr *) &b->peer,
               sizeof b->peer);
    }
}

static void
print_ms(const char *name, int64_t ns)
{
    if (ns < 0) {
        printf("%s - ", name);
    } else {
        printf("%s %.2f ", name, ns / 1e6);
    }
}

int
main(int argc, char *argv[])
{
    struct stream vm, peer;
    pthread_t threads[5];
    struct sockaddr_ll sll;
    struct sockaddr_nl snl;
    struct cut cut;
    int packets, links;
    double rate, seconds;
    int64_t start;
    int on = 1;

    if (argc < 10
        || (strcmp(argv[9], "down") && strcmp(argv[9], "flap")
            && (strcmp(argv[9], "command") || argc < 11))) {
        fprintf(stderr, "usage: failover-stream VM PEER HOST NET FAR SURVIVOR "
                "RATE SECONDS down|flap|command [COMMAND...]\n");
        return 2;
    }
    if (!set_policy(SCHED_FIFO, 1)) {
        fprintf(stderr, "failover-stream: no real-time priority: %s\n",
                strerror(errno));
    }
    rate = atof(argv[7]);
    seconds = atof(argv[8]);

    stream_init(&vm, argv[1], "10.1.1.1", "10.1.1.9", rate * seconds);
    stream_init(&peer, argv[2], "10.1.1.9", "10.1.1.1", rate * seconds);

    links = socket_in(argv[3], AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
    memset(&snl, 0, sizeof snl);
    snl.nl_family = AF_NETLINK;
    snl.nl_groups = RTMGRP_LINK;
    if (bind(links, (struct sockaddr *) &snl, sizeof snl)) {
        fatal("cannot listen to links");
    }

    packets = socket_in(argv[4], AF_PACKET, SOCK_RAW, htons(ETH_P_ALL));
    memset(&sll, 0, sizeof sll);
    sll.sll_family = AF_PACKET;
    sll.sll_protocol = htons(ETH_P_ALL);
    sll.sll_ifindex = if_nametoindex(argv[6]);
    if (!sll.sll_ifindex
        || bind(packets, (struct sockaddr *) &sll, sizeof sll)
        || setsockopt(packets, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on)) {
        fatal("cannot listen on %s", argv[6]);
    }

    cut.how = argv[9];
    cut.far = argv[5];
    cut.command = &argv[10];
    cut.flap_seconds = seconds / 3;
    cut.control = socket_in(argv[4], AF_INET, SOCK_DGRAM, 0);

    threads[0] = start_thread(receive, &vm);
    threads[1] = start_thread(receive, &peer);
    threads[2] = start_thread(watch_packets, &packets);
    threads[3] = start_thread(watch_links, &links);

    start = now_ns(CLOCK_MONOTONIC);
    cut.due_ns = start + seconds / 3 * NSEC_PER_SEC;
    threads[4] = start_thread(cut_link, &cut);
    send_all(&vm, &peer, rate, start);

    pthread_join(threads[4], NULL);
    /* What is under way may arrive. */
    sleep_until(now_ns(CLOCK_MONOTONIC) + NSEC_PER_SEC);
    stop = true;
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
    }
    printf("lost %u %u ", peer.n_total - peer.n_arrived,
           vm.n_total - vm.n_arrived);
    print_ms("first", first_ns);
    print_ms("told", told_ns);
    printf("cut %lld\n", (long long int) (cut_mono_ns / 1000));
    free(vm.arrived);
    free(peer.arrived);
    return 0;
}
