/* SPDX-License-Identifier: Apache-2.0 */

#ifndef NET_EMU_TEST_H
#define NET_EMU_TEST_H 1

/* For tests of net_emu: applications of DPDK that know nothing of the plugin
 * but what every application can know.  The device has two uplinks, ethdevs 0
 * and 1, and two VFs, 2 and 3, all with rings instead of kernel devices. */

#include <check.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_flow.h>
#include <rte_ip.h>
#include <rte_mbuf.h>
#include <rte_ring.h>
#include <rte_tcp.h>
#include <rte_udp.h>

enum { P0, P1, VF0, VF1, N_PORTS };
#define N_QUEUES 2

static const char *const port_names[] = { "p0", "p1", "vf0", "vf1" };
static struct rte_mempool *pool;

/* Ends the program unless 'ok'.  For what happens before tests run, when Check
 * cannot take a failure. */
static inline void
must(bool ok)
{
    if (!ok) {
        fprintf(stderr, "cannot prepare tests: %s\n",
                rte_strerror(rte_errno));
        exit(EXIT_FAILURE);
    }
}

static inline void
start_ports(void)
{
    for (uint16_t port = 0; port < N_PORTS; port++) {
        struct rte_eth_conf conf = { .intr_conf.lsc = 1 };

        must(!rte_eth_dev_configure(port, N_QUEUES, N_QUEUES, &conf));
        for (uint16_t q = 0; q < N_QUEUES; q++) {
            must(!rte_eth_rx_queue_setup(port, q, 64, 0, NULL, pool));
            must(!rte_eth_tx_queue_setup(port, q, 64, 0, NULL));
        }
        must(!rte_eth_dev_start(port));
    }
}

/* EAL leaves its directory behind. */
static inline void
remove_runtime_dir(void)
{
    const char *dir = rte_eal_get_runtime_dir();
    char path[256];

    snprintf(path, sizeof path, "%s/dpdk_telemetry.v2", dir);
    unlink(path);
    rmdir(dir);
}

/* Starts EAL with the device, "net_emu0" with 'args'. */
static inline void
start_eal(const char *args)
{
    char vdev[256], prefix[64];
    char *argv[] = {
        "test-net-emu", "--no-huge", "--no-pci", "-m", "256", "-l", "0",
        "--no-shconf", "--file-prefix", prefix, "--log-level=pmd.net.emu:8",
        "-d", "librte_net_emu.so", "--vdev", vdev,
        NULL
    };

    /* The plugin is found by its name, as EAL does not take one from below a
     * directory that everybody can write to. */
    snprintf(vdev, sizeof vdev, "net_emu0,%s", args);
    snprintf(prefix, sizeof prefix, "test-net-emu-%d", (int) getpid());
    must(rte_eal_init(sizeof argv / sizeof *argv - 1, argv) >= 0);
    atexit(remove_runtime_dir);
    pool = rte_pktmbuf_pool_create("test", 1023, 0, 0, 4096, SOCKET_ID_ANY);
    must(pool != NULL);
    start_ports();

    /* EAL cannot be started twice in a process, nor survive a fork(). */
    setenv("CK_FORK", "no", 1);
}

static inline struct rte_ring *
ring(int port, const char *suffix)
{
    char name[64];
    struct rte_ring *r;

    snprintf(name, sizeof name, "net_emu0_%s_%s", port_names[port], suffix);
    r = rte_ring_lookup(name);
    ck_assert_ptr_nonnull(r);
    return r;
}

/* Frames. */

/* What a frame is like.  Zeros mean what is usual. */
struct frame {
    uint16_t vlan[2];               /* Tags (TCI | 0x1000), outermost first. */
    bool ipv6;
    uint8_t proto;                  /* IPPROTO_UDP if 0. */
    uint32_t src, dst;              /* Host byte order; IPv6: last 32 bits. */
    uint16_t sport, dport;
    uint8_t flags;                  /* TCP; ACK if 0. */
    uint32_t seq, ack;              /* TCP, with the window. */
    uint16_t win;
    uint32_t sack[2];               /* TCP: block of a selective ACK, unless
                                     * both are 0. */
    uint8_t ttl, tos;
    uint16_t frag_off;              /* IPv4, as in the header. */
    uint16_t len;                   /* Of the payload. */
    uint8_t eth_src, eth_dst;       /* Last byte of the address. */
};

static inline void
fill_ipv6(uint8_t addr[16], uint32_t last)
{
    memset(addr, 0, 16);
    addr[0] = 0xfd;
    last = htonl(last);
    memcpy(&addr[12], &last, 4);
}

static inline struct rte_mbuf *
frame_build(const struct frame *f)
{
    struct rte_mbuf *m = rte_pktmbuf_alloc(pool);
    uint8_t proto = f->proto ? f->proto : IPPROTO_UDP;
    size_t options_len = f->sack[0] || f->sack[1] ? 12 : 0;
    size_t l4_len = (proto == IPPROTO_TCP
                     ? sizeof(struct rte_tcp_hdr) + options_len
                     : sizeof(struct rte_udp_hdr));
    size_t len = l4_len + f->len;
    struct rte_ether_hdr *eth;
    uint16_t type = f->ipv6 ? RTE_ETHER_TYPE_IPV6 : RTE_ETHER_TYPE_IPV4;
    void *l3, *l4;
    uint16_t *next;

    ck_assert_ptr_nonnull(m);
    eth = (void *) rte_pktmbuf_append(m, sizeof *eth);
    memset(eth, 2, sizeof *eth);
    eth->dst_addr.addr_bytes[5] = f->eth_dst;
    eth->src_addr.addr_bytes[5] = f->eth_src;
    next = &eth->ether_type;
    for (int i = 0; i < 2 && f->vlan[i]; i++) {
        uint16_t *tag = (void *) rte_pktmbuf_append(m, 4);

        *next = htons(RTE_ETHER_TYPE_VLAN);
        tag[0] = htons(f->vlan[i] & ~0x1000);
        next = &tag[1];
    }
    *next = htons(type);

    l3 = rte_pktmbuf_append(m, f->ipv6 ? sizeof(struct rte_ipv6_hdr)
                            : sizeof(struct rte_ipv4_hdr));
    l4 = rte_pktmbuf_append(m, len);
    memset(l4, 'x', len);
    if (proto == IPPROTO_TCP) {
        struct rte_tcp_hdr *tcp = l4;

        memset(tcp, 0, sizeof *tcp);
        tcp->src_port = htons(f->sport);
        tcp->dst_port = htons(f->dport);
        tcp->data_off = l4_len / 4 << 4;
        tcp->tcp_flags = f->flags ? f->flags : RTE_TCP_ACK_FLAG;
        tcp->sent_seq = htonl(f->seq);
        tcp->recv_ack = htonl(f->ack);
        tcp->rx_win = htons(f->win);
        if (options_len) {
            uint32_t block[] = { htonl(f->sack[0]), htonl(f->sack[1]) };

            memcpy(tcp + 1, "\1\1\5\12", 4);
            memcpy((char *) (tcp + 1) + 4, block, sizeof block);
        }
    } else {
        struct rte_udp_hdr *udp = l4;

        udp->src_port = htons(f->sport);
        udp->dst_port = htons(f->dport);
        udp->dgram_len = htons(len);
        udp->dgram_cksum = 0;
    }
    if (f->ipv6) {
        struct rte_ipv6_hdr *ip = l3;

        memset(ip, 0, sizeof *ip);
        ip->vtc_flow = htonl(0x60000000 | f->tos << 20);
        ip->payload_len = htons(len);
        ip->proto = proto;
        ip->hop_limits = f->ttl ? f->ttl : 64;
        fill_ipv6(ip->src_addr, f->src);
        fill_ipv6(ip->dst_addr, f->dst);
    } else {
        struct rte_ipv4_hdr *ip = l3;

        memset(ip, 0, sizeof *ip);
        ip->version_ihl = 0x45;
        ip->type_of_service = f->tos;
        ip->total_length = htons(sizeof *ip + len);
        ip->fragment_offset = htons(f->frag_off);
        ip->time_to_live = f->ttl ? f->ttl : 64;
        ip->next_proto_id = proto;
        ip->src_addr = htonl(f->src);
        ip->dst_addr = htonl(f->dst);
        ip->hdr_checksum = rte_ipv4_cksum(ip);
    }
    if (proto == IPPROTO_TCP) {
        ((struct rte_tcp_hdr *) l4)->cksum
            = (f->ipv6 ? rte_ipv6_udptcp_cksum(l3, l4)
               : rte_ipv4_udptcp_cksum(l3, l4));
    } else {
        ((struct rte_udp_hdr *) l4)->dgram_cksum
            = (f->ipv6 ? rte_ipv6_udptcp_cksum(l3, l4)
               : rte_ipv4_udptcp_cksum(l3, l4));
    }
    return m;
}

/* Fails unless 'm' is exactly the frame that 'f' describes, checksums
 * included, and frees it. */
static inline void
frame_check(struct rte_mbuf *m, const struct frame *f)
{
    struct rte_mbuf *expected = frame_build(f);

    ck_assert_ptr_nonnull(m);
    ck_assert_uint_eq(rte_pktmbuf_pkt_len(m), rte_pktmbuf_pkt_len(expected));
    ck_assert_mem_eq(rte_pktmbuf_mtod(m, void *),
                     rte_pktmbuf_mtod(expected, void *),
                     rte_pktmbuf_pkt_len(m));
    rte_pktmbuf_free(m);
    rte_pktmbuf_free(expected);
}

/* Lets 'f' arrive from the wire of 'port'. */
static inline void
arrive(int port, const struct frame *f)
{
    ck_assert(!rte_ring_enqueue(ring(port, "rx"), frame_build(f)));
}

/* Returns the next frame that left by the wire of 'port', or null. */
static inline struct rte_mbuf *
left_by(int port)
{
    void *m;

    return rte_ring_dequeue(ring(port, "tx"), &m) ? NULL : m;
}

/* Receives a frame of 'port', or null. */
static inline struct rte_mbuf *
receive(int port)
{
    struct rte_mbuf *m;

    return rte_eth_rx_burst(port, 0, &m, 1) ? m : NULL;
}

/* Lets the NIC work: receives of all ports, where nothing must come. */
static inline void
receive_nothing(void)
{
    for (int port = 0; port < N_PORTS; port++) {
        ck_assert_ptr_null(receive(port));
    }
}

static inline void
nothing_left(void)
{
    for (int port = 0; port < N_PORTS; port++) {
        ck_assert_ptr_null(left_by(port));
    }
}

/* Lets 'in' arrive at 'port' and fails unless it misses. */
static inline void
missed(int port, const struct frame *in)
{
    arrive(port, in);
    frame_check(receive(port), in);
    receive_nothing();
    nothing_left();
}

/* Lets 'in' arrive at 'port' and fails unless it is carried, and leaves by the
 * wire of 'to' as 'out'. */
static inline void
carried(int port, const struct frame *in, int to, const struct frame *out)
{
    arrive(port, in);
    receive_nothing();
    frame_check(left_by(to), out);
    nothing_left();
}

static inline void
dropped(int port, const struct frame *in)
{
    arrive(port, in);
    receive_nothing();
    nothing_left();
}

/* Sends telemetry command 'command' to this program and returns the answer, in
 * a static buffer. */
static inline const char *
telemetry(const char *command)
{
    static char buf[16384];
    struct sockaddr_un sun = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);
    ssize_t n;

    snprintf(sun.sun_path, sizeof sun.sun_path, "%s/dpdk_telemetry.v2",
             rte_eal_get_runtime_dir());
    ck_assert_int_ge(fd, 0);
    ck_assert(!connect(fd, (struct sockaddr *) &sun, sizeof sun));
    ck_assert_int_gt(recv(fd, buf, sizeof buf, 0), 0);
    ck_assert_int_eq(send(fd, command, strlen(command), 0), strlen(command));
    n = recv(fd, buf, sizeof buf - 1, 0);
    ck_assert_int_gt(n, 0);
    buf[n] = '\0';
    close(fd);
    return buf;
}

static inline void
telemetry_ok(const char *command)
{
    const char *answer = telemetry(command);

    ck_assert_msg(strstr(answer, "\"ok\""), "%s: %s", command, answer);
}

/* Before each test: no rules, no frames. */
static inline void
clean(void)
{
    for (int port = 0; port < N_PORTS; port++) {
        struct rte_mbuf *m;

        ck_assert(!rte_flow_flush(port, NULL));
        while ((m = receive(port)) || (m = left_by(port))) {
            rte_pktmbuf_free(m);
        }
    }
}

/* Rules. */

/* A rule under construction: "rule_from(P0)", then items and actions. */
struct rule {
    struct rte_flow_attr attr;
    struct rte_flow_item items[16];
    size_t n_items;
    struct rte_flow_action actions[16];
    size_t n_actions;
    struct rte_flow_item_ethdev from;
    struct rte_flow_action_ethdev to;
    struct rte_flow_action_jump jump;
    struct rte_flow_error error;
};

static inline void
item(struct rule *r, enum rte_flow_item_type type, const void *spec,
     const void *mask)
{
    r->items[r->n_items++] = (struct rte_flow_item) {
        .type = type, .spec = spec, .mask = mask,
    };
    r->items[r->n_items].type = RTE_FLOW_ITEM_TYPE_END;
}

static inline void
action(struct rule *r, enum rte_flow_action_type type, const void *conf)
{
    r->actions[r->n_actions++] = (struct rte_flow_action) {
        .type = type, .conf = conf,
    };
    r->actions[r->n_actions].type = RTE_FLOW_ACTION_TYPE_END;
}

static inline void
rule_init(struct rule *r, uint32_t group)
{
    memset(r, 0, sizeof *r);
    r->attr.transfer = 1;
    r->attr.group = group;
    r->items[0].type = RTE_FLOW_ITEM_TYPE_END;
    r->actions[0].type = RTE_FLOW_ACTION_TYPE_END;
}

/* Starts a rule of group 0 for what comes from the wire of 'port'. */
static inline void
rule_from(struct rule *r, int port)
{
    rule_init(r, 0);
    r->from.port_id = port;
    item(r, RTE_FLOW_ITEM_TYPE_REPRESENTED_PORT, &r->from, NULL);
}

static inline void
rule_to(struct rule *r, int port)
{
    r->to.port_id = port;
    action(r, RTE_FLOW_ACTION_TYPE_REPRESENTED_PORT, &r->to);
}

static inline void
rule_jump(struct rule *r, uint32_t group)
{
    r->jump.group = group;
    action(r, RTE_FLOW_ACTION_TYPE_JUMP, &r->jump);
}

static inline struct rte_flow *
rule_try(struct rule *r)
{
    return rte_flow_create(P0, &r->attr, r->items, r->actions, &r->error);
}

static inline struct rte_flow *
rule_add(struct rule *r)
{
    struct rte_flow *flow;

    ck_assert_msg(!rte_flow_validate(P0, &r->attr, r->items, r->actions,
                                     &r->error),
                  "%s", r->error.message);
    flow = rule_try(r);
    ck_assert_msg(flow, "%s", r->error.message);
    return flow;
}

/* Fails unless the rule is refused by rte_flow_validate() and
 * rte_flow_create() for 'type' and 'cause', null for any, and a message that
 * contains 'text'. */
static inline void
rule_refused(struct rule *r, enum rte_flow_error_type type, const void *cause,
             const char *text)
{
    struct rte_flow_error *e = &r->error;

    for (int i = 0; i < 2; i++) {
        memset(e, 0, sizeof *e);
        rte_errno = 0;
        if (i) {
            ck_assert_ptr_null(rule_try(r));
        } else {
            int retval = rte_flow_validate(P0, &r->attr, r->items, r->actions,
                                           e);

            ck_assert_int_lt(retval, 0);
            ck_assert_int_eq(rte_errno, -retval);
        }
        ck_assert_int_ne(rte_errno, 0);
        ck_assert_ptr_nonnull(e->message);
        ck_assert_msg(strstr(e->message, text), "%s", e->message);
        ck_assert_msg(e->type == type, "type %d: %s", e->type, e->message);
        if (cause) {
            ck_assert_ptr_eq(e->cause, cause);
        }
    }
}

static inline void
query(struct rte_flow *flow, bool reset, uint64_t packets, uint64_t bytes)
{
    const struct rte_flow_action count[] = {
        { .type = RTE_FLOW_ACTION_TYPE_COUNT },
        { .type = RTE_FLOW_ACTION_TYPE_END },
    };
    struct rte_flow_query_count q = { .reset = reset };

    ck_assert(!rte_flow_query(P0, flow, count, &q, NULL));
    ck_assert(q.hits_set && q.bytes_set);
    ck_assert_uint_eq(q.hits, packets);
    ck_assert_uint_eq(q.bytes, bytes);
}

#endif /* net-emu-test.h */
