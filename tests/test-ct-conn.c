/* SPDX-License-Identifier: Apache-2.0 */

/* Drives packets through OVS's conntrack with our hooks.
 *
 * 'nicct' is a conntrack whose connections the tests hand over.  'twin' sees
 * the same packets and more, those that the "NIC" carried, but none of its
 * connections is ever armed: it behaves as OVS without hooks. */

#include <config.h>
#include "ct-conn.h"

#include <check.h>
#include <netinet/icmp6.h>
#include <stdlib.h>

#include "conntrack-private.h"
#include "conntrack.h"
#include "csum.h"
#include "ct-tail.h"
#include "dp-packet.h"
#include "flow.h"
#include "mpsc-queue.h"
#include "odp-util.h"
#include "openvswitch/vlog.h"
#include "ovs-rcu.h"
#include "ovs-thread.h"
#include "packets.h"
#include "random.h"
#include "timeval.h"
#include "util.h"

static struct conntrack *nicct, *twin;
static long long int now;           /* Virtual, never behind time_msec(). */
static struct mpsc_queue events;

static void
sink(struct ct_event *event)
{
    mpsc_queue_insert(&events, &event->node);
}

/* A connection that was expired by force is removed whenever conntrack's own
 * thread comes along.  If 'any_time', CT_EVENT_REMOVED is only counted. */
static bool any_time;
static int n_removed;

static struct ct_event *
next_event(void)
{
    for (;;) {
        struct mpsc_queue_node *node;
        struct ct_event *event;

        mpsc_queue_acquire(&events);
        node = mpsc_queue_pop(&events);
        mpsc_queue_release(&events);
        if (!node) {
            return NULL;
        }
        event = CONTAINER_OF(node, struct ct_event, node);
        if (!any_time || event->type != CT_EVENT_REMOVED) {
            return event;
        }
        n_removed++;
        free(event);
    }
}

/* Fails unless the next event is of 'type'.  Returns its id, and the event
 * itself in '*eventp' if that is not null. */
static uint64_t
expect_event(enum ct_event_type type, struct ct_event **eventp)
{
    struct ct_event *event = next_event();
    uint64_t id;

    ck_assert_msg(event != NULL, "no event, type %d wanted", type);
    ck_assert_int_eq(event->type, type);
    id = event->id;
    ck_assert(id != 0);
    if (eventp) {
        *eventp = event;
    } else {
        free(event);
    }
    return id;
}

static void
expect_no_event(void)
{
    struct ct_event *event = next_event();

    ck_assert_msg(!event, "event of type %d", event ? (int) event->type : -1);
}

static void
drop_events(void)
{
    struct ct_event *event;

    while ((event = next_event())) {
        free(event);
    }
}

static void
setup(void)
{
    mpsc_queue_init(&events);
    any_time = false;
    n_removed = 0;
    now = time_msec() + 1000;
    ct_set_event_sink(sink);
    ct_set_announce(true);
    ct_set_min_packets(0);
    nicct = conntrack_init();
    twin = conntrack_init();
}

static void
teardown(void)
{
    conntrack_destroy(nicct);
    conntrack_destroy(twin);
    ct_set_event_sink(NULL);
    drop_events();
    mpsc_queue_destroy(&events);
    ovsrcu_barrier();
}

/* Packets. */

/* One TCP segment.  'dir' 0 is from the client. */
struct seg {
    int dir;
    uint16_t flags;
    uint32_t seq, ack;
    uint16_t win;
    uint16_t len;
    int wscale;                     /* In a SYN: -1 for none. */
    odp_port_t in_port;             /* 0 for the direction's usual one. */
};

#define CLIENT htonl(0x0a010101)
#define SERVER htonl(0x0a010102)
static uint16_t client_port = 1000;

static struct dp_packet *
make_tcp(const struct seg *s)
{
    size_t opt_len = s->flags & TCP_SYN && s->wscale >= 0 ? 4 : 0;
    size_t tcp_len = TCP_HEADER_LEN + opt_len + s->len;
    size_t size = ETH_HEADER_LEN + IP_HEADER_LEN + tcp_len;
    struct dp_packet *p = dp_packet_new(size);
    char *data = dp_packet_put_zeros(p, size);
    struct eth_header *eth = ALIGNED_CAST(struct eth_header *, data);
    struct ip_header *ip = ALIGNED_CAST(struct ip_header *, eth + 1);
    struct tcp_header *tcp = ALIGNED_CAST(struct tcp_header *, ip + 1);

    eth->eth_type = htons(ETH_TYPE_IP);
    eth->eth_src.ea[5] = 1 + s->dir;
    eth->eth_dst.ea[5] = 2 - s->dir;
    ip->ip_ihl_ver = IP_IHL_VER(5, 4);
    ip->ip_tot_len = htons(size - ETH_HEADER_LEN);
    ip->ip_ttl = 64;
    ip->ip_proto = IPPROTO_TCP;
    put_16aligned_be32(&ip->ip_src, s->dir ? SERVER : CLIENT);
    put_16aligned_be32(&ip->ip_dst, s->dir ? CLIENT : SERVER);
    ip->ip_csum = csum(ip, sizeof *ip);
    tcp->tcp_src = htons(s->dir ? 80 : client_port);
    tcp->tcp_dst = htons(s->dir ? client_port : 80);
    put_16aligned_be32(&tcp->tcp_seq, htonl(s->seq));
    put_16aligned_be32(&tcp->tcp_ack, htonl(s->ack));
    tcp->tcp_ctl = TCP_CTL(s->flags, (TCP_HEADER_LEN + opt_len) / 4);
    tcp->tcp_winsz = htons(s->win);
    if (opt_len) {
        uint8_t *opt = (uint8_t *) (tcp + 1);

        opt[0] = 3;
        opt[1] = 3;
        opt[2] = s->wscale;
    }
    tcp->tcp_csum = csum_finish(csum_continue(packet_csum_pseudoheader(ip),
                                              tcp, tcp_len));
    dp_packet_set_l3(p, ip);
    dp_packet_set_l4(p, tcp);
    pkt_metadata_init(&p->md, s->in_port ? s->in_port
                              : u32_to_odp(1 + s->dir));
    return p;
}

static const uint32_t *setmark;
static const struct ovs_key_ct_labels *setlabel;
static const struct nat_action_info_t *nat_info;
static const char *helper;
static bool force;

/* Sends 'p' through ct(commit) and returns its ct_state. */
static uint8_t
execute(struct conntrack *ct, struct dp_packet *p, ovs_be16 dl_type)
{
    struct dp_packet_batch batch;
    uint8_t state;

    dp_packet_batch_init_packet(&batch, p);
    conntrack_execute(ct, &batch, dl_type, force, true, 0, setmark, setlabel,
                      0, 0, helper, nat_info, now, 0);
    state = p->md.ct_state;
    dp_packet_delete(p);
    return state;
}

static uint8_t
tcp_to(struct conntrack *ct, const struct seg *s)
{
    return execute(ct, make_tcp(s), htons(ETH_TYPE_IP));
}

#define IS_EST(STATE) (((STATE) & (CS_ESTABLISHED | CS_INVALID))        \
                       == CS_ESTABLISHED)
#define IS_INV(STATE) (((STATE) & CS_INVALID) != 0)

static uint8_t
other_to(struct conntrack *ct, ovs_be16 dl_type, uint8_t proto, bool reply)
{
    struct flow flow;
    struct dp_packet *p = dp_packet_new(128);

    memset(&flow, 0, sizeof flow);
    flow.dl_type = dl_type;
    flow.nw_proto = proto;
    flow.nw_ttl = 64;
    flow.dl_src.ea[5] = 1 + reply;
    flow.dl_dst.ea[5] = 2 - reply;
    if (dl_type == htons(ETH_TYPE_IP)) {
        flow.nw_src = reply ? SERVER : CLIENT;
        flow.nw_dst = reply ? CLIENT : SERVER;
    } else {
        flow.ipv6_src.s6_addr[15] = 1 + reply;
        flow.ipv6_dst.s6_addr[15] = 2 - reply;
    }
    flow.tp_src = htons(reply ? 53 : client_port);
    flow.tp_dst = htons(reply ? client_port : 53);
    if (proto == IPPROTO_ICMP) {
        flow.tp_src = htons(reply ? ICMP4_ECHO_REPLY : ICMP4_ECHO_REQUEST);
        flow.tp_dst = 0;
    } else if (proto == IPPROTO_ICMPV6) {
        flow.tp_src = htons(reply ? ICMP6_ECHO_REPLY : ICMP6_ECHO_REQUEST);
        flow.tp_dst = 0;
    }
    flow_compose(p, &flow, NULL, 0);
    flow_extract(p, &flow);
    pkt_metadata_init(&p->md, u32_to_odp(1 + reply));
    return execute(ct, p, dl_type);
}

/* A scripted TCP connection: what each peer sent so far. */
static uint32_t snd[2];

static struct seg
segment(int dir, uint16_t flags, uint16_t len)
{
    struct seg s = {
        .dir = dir, .flags = flags, .len = len, .win = 1000, .wscale = 7,
        .seq = snd[dir], .ack = flags & TCP_ACK ? snd[!dir] : 0,
    };

    snd[dir] += len + !!(flags & TCP_SYN) + !!(flags & TCP_FIN);
    return s;
}

#define TO_NIC 1
#define TO_TWIN 2
#define TO_BOTH 3

/* Sends the next segment of 'dir' to 'to' and fails unless each says that it
 * is established. */
static void
go(unsigned int to, int dir, uint16_t flags, uint16_t len)
{
    struct seg s = segment(dir, flags, len);

    now++;
    if (to & TO_NIC) {
        ck_assert(IS_EST(tcp_to(nicct, &s)));
    }
    if (to & TO_TWIN) {
        ck_assert(IS_EST(tcp_to(twin, &s)));
    }
}

/* Makes a connection in both.  Returns that of 'nicct', which is armed if
 * 'arm', and that of 'twin' in '*twin_conn'. */
static struct conn *
open_tcp(bool arm, struct conn **twin_conn)
{
    struct ct_event *event;
    struct conn *conn;
    struct seg s;

    client_port++;
    snd[0] = 0xfffffff0;
    snd[1] = 0x7ffffff0;
    s = segment(0, TCP_SYN, 0);
    ck_assert(tcp_to(nicct, &s) & CS_NEW);
    ck_assert(tcp_to(twin, &s) & CS_NEW);
    go(TO_BOTH, 1, TCP_SYN | TCP_ACK, 0);
    expect_no_event();
    go(TO_BOTH, 0, TCP_ACK, 0);
    expect_event(CT_EVENT_READY, &event);
    conn = event->conn;
    free(event);
    expect_event(CT_EVENT_READY, &event);
    if (twin_conn) {
        *twin_conn = event->conn;
    }
    free(event);
    expect_no_event();
    if (arm) {
        ck_assert(ct_conn_arm(conn, nicct));
    }
    return conn;
}

static struct ct_dpif_protoinfo
protoinfo(const struct conn *conn)
{
    struct ct_dpif_protoinfo info;

    memset(&info, 0, sizeof info);
    ct_proto_tcp.conn_get_protoinfo(conn, &info);
    return info;
}

static void
expect_states(const struct conn *conn, enum ct_dpif_tcp_state orig,
              enum ct_dpif_tcp_state reply)
{
    struct ct_dpif_protoinfo info = protoinfo(conn);

    ck_assert_int_eq(info.tcp.state_orig, orig);
    ck_assert_int_eq(info.tcp.state_reply, reply);
}

static void
expect_same_states(const struct conn *a, const struct conn *b)
{
    struct ct_dpif_protoinfo info = protoinfo(b);

    expect_states(a, info.tcp.state_orig, info.tcp.state_reply);
}

#define EST CT_DPIF_TCPS_ESTABLISHED
#define FW2 CT_DPIF_TCPS_FIN_WAIT_2

START_TEST(test_ready)
{
    struct ct_event *event;
    struct seg s;
    uint64_t id;

    ck_assert_uint_le(sizeof(struct ct_tail), 128);
    client_port++;
    snd[0] = 100;
    snd[1] = 200;
    s = segment(0, TCP_SYN, 0);
    tcp_to(nicct, &s);
    s = segment(1, TCP_SYN | TCP_ACK, 0);
    tcp_to(nicct, &s);
    expect_no_event();
    s = segment(0, TCP_ACK, 0);
    tcp_to(nicct, &s);
    id = expect_event(CT_EVENT_READY, &event);
    ck_assert_ptr_eq(event->ct, nicct);
    ck_assert_int_eq(event->obstacle, CT_OBSTACLE_NONE);
    ck_assert_int_eq(event->nw_proto, IPPROTO_TCP);
    ck_assert(event->dl_type == htons(ETH_TYPE_IP));
    ck_assert(event->tuple[0].src.ipv4 == CLIENT);
    ck_assert(event->tuple[0].dst.ipv4 == SERVER);
    ck_assert(event->tuple[0].tp_src == htons(client_port));
    ck_assert(event->tuple[0].tp_dst == htons(80));
    ck_assert(event->tuple[1].src.ipv4 == SERVER);
    ck_assert(event->tuple[1].dst.ipv4 == CLIENT);
    ck_assert(event->tuple[1].tp_src == htons(80));
    ck_assert(event->tuple[1].tp_dst == htons(client_port));
    for (int i = 0; i < 2; i++) {
        ck_assert_uint_eq(odp_to_u32(event->ingress[i].in_port), 1 + i);
        ck_assert_uint_eq(event->ingress[i].dl_src.ea[5], 1 + i);
        ck_assert_uint_eq(event->ingress[i].dl_dst.ea[5], 2 - i);
    }
    free(event);

    /* Once, and never in 'twin', until it moves. */
    for (int i = 0; i < 20; i++) {
        s = segment(i & 1, TCP_ACK, 10);
        tcp_to(nicct, &s);
    }
    expect_no_event();
    now += 1000;
    s = segment(1, TCP_ACK, 10);
    s.in_port = u32_to_odp(7);
    tcp_to(nicct, &s);
    ck_assert_uint_eq(expect_event(CT_EVENT_READY, &event), id);
    ck_assert_uint_eq(odp_to_u32(event->ingress[1].in_port), 7);
    free(event);

    /* Packets from two places in turn do not cause an event each. */
    for (int i = 0; i < 100; i++) {
        s = segment(1, TCP_ACK, 10);
        s.in_port = u32_to_odp(7 + (i & 1));
        tcp_to(nicct, &s);
    }
    expect_no_event();
    now += 1000;
    tcp_to(nicct, &s);
    ck_assert_uint_eq(expect_event(CT_EVENT_READY, NULL), id);
    expect_no_event();

    /* An invalid packet tells nothing about where packets come from. */
    now += 1000;
    s.seq += 0x40000000;
    s.in_port = u32_to_odp(9);
    ck_assert(IS_INV(tcp_to(nicct, &s)));
    expect_no_event();
}
END_TEST

START_TEST(test_min_packets_and_announce)
{
    uint64_t n = ct_get_n_unannounced();
    struct seg s;

    ct_set_min_packets(10);
    ct_set_announce(false);
    client_port++;
    snd[0] = snd[1] = 0;
    for (int i = 0; i < 9; i++) {
        s = segment(i & 1, i == 0 ? TCP_SYN : i == 1 ? TCP_SYN | TCP_ACK
                           : TCP_ACK, i > 1);
        tcp_to(nicct, &s);
        ck_assert_uint_eq(ct_get_n_unannounced(), n);
    }
    for (int i = 9; i < 20; i++) {
        s = segment(i & 1, TCP_ACK, 1);
        tcp_to(nicct, &s);
        ck_assert_uint_eq(ct_get_n_unannounced(), n + 1);
    }
    expect_no_event();
    ct_set_announce(true);
    s = segment(0, TCP_ACK, 1);
    tcp_to(nicct, &s);
    expect_event(CT_EVENT_READY, NULL);
    ck_assert_uint_eq(ct_get_n_unannounced(), n + 1);

    /* Counters saturate and the greatest threshold is reached. */
    ct_set_min_packets(1000000);
    client_port++;
    for (int i = 0; i < 65535; i++) {
        expect_no_event();
        other_to(nicct, htons(ETH_TYPE_IP), IPPROTO_UDP, i & 1);
    }
    expect_event(CT_EVENT_READY, NULL);
}
END_TEST

START_TEST(test_others)
{
    struct ct_event *event;
    struct conn *conn;
    uint64_t id;

    client_port++;
    ck_assert(other_to(nicct, htons(ETH_TYPE_IP), IPPROTO_UDP, 0) & CS_NEW);
    ck_assert(other_to(nicct, htons(ETH_TYPE_IP), IPPROTO_UDP, 0) & CS_NEW);
    expect_no_event();
    other_to(nicct, htons(ETH_TYPE_IP), IPPROTO_UDP, 1);
    id = expect_event(CT_EVENT_READY, &event);
    ck_assert_int_eq(event->obstacle, CT_OBSTACLE_NONE);
    ck_assert(event->tuple[1].tp_src == htons(53));
    conn = event->conn;
    free(event);
    ck_assert(ct_conn_arm(conn, nicct));
    other_to(nicct, htons(ETH_TYPE_IP), IPPROTO_UDP, 0);
    expect_no_event();
    ck_assert_int_eq(ct_conn_disarm(conn, nicct, now), CT_CLOSE_NONE);
    ck_assert_int_eq(ct_conn_judge(conn, nicct, now), CT_CLOSE_NONE);
    other_to(nicct, htons(ETH_TYPE_IP), IPPROTO_UDP, 0);
    ck_assert_uint_eq(expect_event(CT_EVENT_READY, NULL), id);
    ct_conn_disarm(conn, nicct, now);
    other_to(nicct, htons(ETH_TYPE_IP), IPPROTO_UDP, 0);
    expect_no_event();
    now += 1000;
    ck_assert_int_eq(ct_conn_extend(conn, nicct, now, now), now + 30000);

    /* IPv6. */
    other_to(nicct, htons(ETH_TYPE_IPV6), IPPROTO_UDP, 0);
    other_to(nicct, htons(ETH_TYPE_IPV6), IPPROTO_UDP, 1);
    ck_assert(expect_event(CT_EVENT_READY, &event) != id);
    ck_assert(event->dl_type == htons(ETH_TYPE_IPV6));
    ck_assert_uint_eq(event->tuple[0].src.ipv6.s6_addr[15], 1);
    ck_assert_uint_eq(event->tuple[0].dst.ipv6.s6_addr[15], 2);
    ck_assert_uint_eq(event->tuple[1].src.ipv6.s6_addr[15], 2);
    free(event);

    /* ICMP and ICMPv6 have no tail. */
    for (int i = 0; i < 4; i++) {
        other_to(nicct, htons(ETH_TYPE_IP), IPPROTO_ICMP, i & 1);
        other_to(nicct, htons(ETH_TYPE_IPV6), IPPROTO_ICMPV6, i & 1);
    }
    expect_no_event();
    struct conn icmp = { .key.nw_proto = IPPROTO_ICMP };
    struct conn icmp6 = { .key.nw_proto = IPPROTO_ICMPV6 };
    struct conn un_nat = {
        .key.nw_proto = IPPROTO_TCP, .conn_type = CT_CONN_TYPE_UN_NAT
    };
    ck_assert_ptr_eq(ct_tail(&icmp), NULL);
    ck_assert_ptr_eq(ct_tail(&icmp6), NULL);
    ck_assert_ptr_eq(ct_tail(&un_nat), NULL);
    ck_assert(!ct_conn_arm(&icmp, nicct));
}
END_TEST

static void
check_zero_tail(const struct ct_l4_proto *proto, struct dp_packet *p)
{
    struct conn *conn = proto->new_conn(nicct, p, now, 0);
    struct ct_tail expected;

    /* Only what the first packet tells. */
    memset(&expected, 0, sizeof expected);
    expected.n_packets[0] = 1;
    expected.n_bytes[0] = dp_packet_size(p);
    expected.ingress[0].in_port = u32_to_odp(1);
    expected.ingress[0].dl_src.ea[5] = 1;
    expected.ingress[0].dl_dst.ea[5] = 2;
    ck_assert_mem_eq(ct_tail__(conn), &expected, sizeof expected);
    free(conn);
}

START_TEST(test_tail_is_zero)
{
    struct seg s = { .flags = TCP_SYN, .wscale = -1 };
    struct dp_packet *p = make_tcp(&s);

    check_zero_tail(&ct_proto_tcp, p);
    check_zero_tail(&ct_proto_other, p);
    dp_packet_delete(p);
}
END_TEST

START_TEST(test_removed)
{
    struct ct_event *event;
    uint64_t ids[2];
    struct seg s;

    /* One that is known, one that is not. */
    open_tcp(false, NULL);
    snd[0] = snd[1] = 5;
    client_port++;
    s = segment(0, TCP_SYN, 0);
    tcp_to(nicct, &s);

    conntrack_flush(nicct, NULL);
    ids[0] = expect_event(CT_EVENT_REMOVED, NULL);
    expect_no_event();
    conntrack_flush(nicct, NULL);
    expect_no_event();
    conntrack_flush(twin, NULL);
    ids[1] = expect_event(CT_EVENT_REMOVED, NULL);
    expect_no_event();
    ck_assert(ids[0] != ids[1]);

    /* A thread that found the connection before its removal still holds it. */
    struct conn *conn = open_tcp(false, NULL);
    struct dp_packet *p;

    conntrack_flush(nicct, NULL);
    expect_event(CT_EVENT_REMOVED, NULL);
    ct_conn_reannounce(conn);
    s = segment(0, TCP_ACK, 1);
    p = make_tcp(&s);
    ovs_mutex_lock(&conn->lock);
    ct_proto_tcp.conn_update(nicct, conn, p, false, now);
    ovs_mutex_unlock(&conn->lock);
    dp_packet_delete(p);
    expect_no_event();
    ck_assert(!ct_conn_arm(conn, nicct));

    open_tcp(false, NULL);
    conntrack_destroy(nicct);
    expect_event(CT_EVENT_REMOVED, &event);
    free(event);
    nicct = conntrack_init();
}
END_TEST

START_TEST(test_forced_expiry)
{
    struct conn *conn = open_tcp(true, NULL);
    struct seg s;

    any_time = true;

    /* "force" in the reply direction. */
    force = true;
    s = segment(1, TCP_ACK, 1);
    tcp_to(nicct, &s);
    force = false;
    expect_event(CT_EVENT_EXPIRED, NULL);
    expect_no_event();
    ck_assert_int_eq(ct_conn_expiration(conn), 0);
    ck_assert_int_eq(ct_conn_extend(conn, nicct, now, now), 0);
    ck_assert_int_eq(ct_conn_extend(conn, nicct, now, -1), 0);
    ct_conn_disarm(conn, nicct, now);
    ck_assert(!ct_conn_arm(conn, nicct));

    /* Reuse by a SYN after both closed. */
    conn = open_tcp(false, NULL);
    go(TO_NIC, 0, TCP_ACK | TCP_FIN, 0);
    go(TO_NIC, 1, TCP_ACK | TCP_FIN, 0);
    go(TO_NIC, 0, TCP_ACK, 0);
    expect_states(conn, FW2, FW2);
    snd[0] += 100000;
    s = segment(0, TCP_SYN, 0);
    ck_assert(tcp_to(nicct, &s) & CS_NEW);
    expect_event(CT_EVENT_EXPIRED, NULL);
    expect_no_event();

    /* Each is removed once, nevertheless. */
    conntrack_flush(nicct, NULL);
    expect_no_event();
    ck_assert_int_eq(n_removed, 2);
}
END_TEST

START_TEST(test_extend)
{
    struct conn *conn = open_tcp(false, NULL);
    long long int day = 24 * 60 * 60 * 1000LL;
    long long int e = ct_conn_expiration(conn);

    ck_assert_int_eq(e, now + day);
    ck_assert_int_eq(ct_conn_extend(conn, nicct, now - 50, now), e);
    now += 500;
    ck_assert_int_eq(ct_conn_extend(conn, nicct, now - 100, now),
                     now - 100 + day);
    /* Not used later than now. */
    ck_assert_int_eq(ct_conn_extend(conn, nicct, now + 100, now), now + day);
    /* Not after its time. */
    e = ct_conn_expiration(conn);
    ck_assert_int_eq(ct_conn_extend(conn, nicct, e, e), e);
    ck_assert_int_eq(ct_conn_extend(conn, nicct, e + 5, e + 5), e);
    ck_assert_int_gt(ct_conn_extend(conn, nicct, e - 1, e - 1), e);

    /* Not if it is closing. */
    go(TO_NIC, 0, TCP_ACK | TCP_FIN, 0);
    e = ct_conn_expiration(conn);
    ck_assert_int_eq(e, now + 15 * 60 * 1000);
    ck_assert_int_eq(ct_conn_extend(conn, nicct, now + 10, now + 10), e);
}
END_TEST

START_TEST(test_reannounce)
{
    struct conn *conn = open_tcp(true, NULL);
    struct ct_event *event;
    uint64_t id;

    ct_set_announce(false);         /* It is known already. */
    ct_conn_reannounce(conn);
    expect_no_event();
    go(TO_NIC, 0, TCP_ACK, 1);
    id = expect_event(CT_EVENT_READY, &event);
    ck_assert_ptr_eq(event->conn, conn);
    free(event);
    go(TO_NIC, 0, TCP_ACK, 1);
    expect_no_event();
    ct_conn_disarm(conn, nicct, now);
    ct_conn_reannounce(conn);
    go(TO_NIC, 0, TCP_ACK, 1);
    expect_no_event();              /* Sequence numbers unknown as yet. */
    go(TO_NIC, 1, TCP_ACK, 1);
    ck_assert_uint_eq(expect_event(CT_EVENT_READY, NULL), id);
    expect_no_event();
    go(TO_NIC, 0, TCP_FIN | TCP_ACK, 1);
    ct_conn_reannounce(conn);
    go(TO_NIC, 1, TCP_ACK, 1);
    expect_no_event();
}
END_TEST

START_TEST(test_mark_label)
{
    static const uint32_t mark[2] = { 5, UINT32_MAX };
    static const uint32_t bits[2] = { 2, 2 };
    struct ovs_key_ct_labels label[2];
    struct seg s;

    memset(label, 0, sizeof label);
    label[0].ct_labels[15] = 1;
    label[1].ct_labels[15] = 1;

    setmark = mark;
    setlabel = label;
    open_tcp(false, NULL);          /* What it had before is no change. */
    go(TO_NIC, 0, TCP_ACK, 1);
    expect_no_event();
    setmark = bits;
    go(TO_NIC, 0, TCP_ACK, 1);
    expect_event(CT_EVENT_CHANGED, NULL);
    go(TO_NIC, 1, TCP_ACK, 1);
    expect_no_event();
    label[0].ct_labels[15] = 0;
    go(TO_NIC, 0, TCP_ACK, 1);
    expect_event(CT_EVENT_CHANGED, NULL);
    expect_no_event();

    /* Second ct() of the same packet, which OVS serves from its cache. */
    struct dp_packet_batch batch;
    setmark = NULL;
    setlabel = NULL;
    s = segment(0, TCP_ACK, 1);
    dp_packet_batch_init_packet(&batch, make_tcp(&s));
    for (int i = 0; i < 2; i++) {
        conntrack_execute(nicct, &batch, htons(ETH_TYPE_IP), false, true, 0,
                          i ? mark : NULL, NULL, 0, 0, NULL, NULL, now, 0);
        if (!i) {
            expect_no_event();
            ck_assert_ptr_ne(batch.packets[0]->md.conn, NULL);
        }
    }
    dp_packet_delete_batch(&batch, true);
    expect_event(CT_EVENT_CHANGED, NULL);
    expect_no_event();
}
END_TEST

START_TEST(test_obstacles)
{
    struct nat_action_info_t nat = {
        .min_addr.ipv4 = htonl(0x0a010105), .max_addr.ipv4 = htonl(0x0a010105),
        .min_port = 5000, .max_port = 6000,
        .nat_action = NAT_ACTION_SRC | NAT_ACTION_SRC_PORT,
    };
    struct ct_event *event;
    struct conn *conn;

    /* Translated.  The reply's destination port is known only afterwards, so
     * that "other" with an address alone is simpler. */
    nat.nat_action = NAT_ACTION_SRC;
    nat_info = &nat;
    client_port++;
    other_to(nicct, htons(ETH_TYPE_IP), IPPROTO_UDP, 0);
    nat_info = NULL;

    struct flow flow;
    struct dp_packet *p = dp_packet_new(128);
    memset(&flow, 0, sizeof flow);
    flow.dl_type = htons(ETH_TYPE_IP);
    flow.nw_proto = IPPROTO_UDP;
    flow.nw_ttl = 64;
    flow.nw_src = SERVER;
    flow.nw_dst = nat.min_addr.ipv4;
    flow.tp_src = htons(53);
    flow.tp_dst = htons(client_port);
    flow_compose(p, &flow, NULL, 0);
    flow_extract(p, &flow);
    pkt_metadata_init(&p->md, u32_to_odp(2));
    ck_assert(IS_EST(execute(nicct, p, htons(ETH_TYPE_IP))));
    expect_event(CT_EVENT_READY, &event);
    ck_assert_int_eq(event->obstacle, CT_OBSTACLE_NAT);
    ck_assert(event->tuple[0].src.ipv4 == CLIENT);
    ck_assert(event->tuple[1].dst.ipv4 == nat.min_addr.ipv4);
    free(event);

    /* Helper, as OVS marks the control connection and a data connection. */
    open_tcp(false, NULL);
    conn = open_tcp(false, NULL);
    for (int i = 0; i < 2; i++) {
        conn->alg = i ? NULL : xstrdup("ftp");
        conn->alg_related = i;
        ct_conn_reannounce(conn);
        go(TO_NIC, 0, TCP_ACK, 1);
        expect_event(CT_EVENT_READY, &event);
        ck_assert_int_eq(event->obstacle, CT_OBSTACLE_ALG);
        free(event);
        free(conn->alg);
        conn->alg = NULL;
    }

    /* Neither TCP nor UDP. */
    other_to(nicct, htons(ETH_TYPE_IP), IPPROTO_GRE, 0);
    other_to(nicct, htons(ETH_TYPE_IP), IPPROTO_GRE, 1);
    expect_event(CT_EVENT_READY, &event);
    ck_assert_int_eq(event->obstacle, CT_OBSTACLE_PROTO);
    free(event);
}
END_TEST

/* Sequence tracking. */

/* Moves 'dir' on by 'n' bytes that only the NIC carried. */
static void
carry(int dir, uint32_t n)
{
    snd[dir] += n;
}

/* Fails unless 'nicct' checks windows as OVS does. */
static void
expect_strict(void)
{
    for (int dir = 0; dir < 2; dir++) {
        static const int32_t far[] = { 0x20000000, -0x20000000 };

        for (int i = 0; i < 2; i++) {
            struct seg s = segment(dir, TCP_ACK, 100);

            snd[dir] -= 100;
            s.seq += far[i];
            ck_assert(IS_INV(tcp_to(nicct, &s)));
            s.seq -= far[i];
            s.ack += far[i];
            ck_assert(IS_INV(tcp_to(nicct, &s)));
            s.ack -= far[i];
            s.flags |= TCP_RST;
            s.seq += far[i];
            ck_assert(IS_INV(tcp_to(nicct, &s)));
        }
        go(TO_NIC, dir, TCP_ACK, 100);
    }
}

START_TEST(test_gigabytes)
{
    static const uint32_t sizes[] = {
        0, 1, 70000, 0x10000000, 0x40000000, 0x7fffffff, 0x80000000,
        0x90000000, 0xc0000000, 0xffffff00,
    };

    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        for (size_t j = 0; j < ARRAY_SIZE(sizes); j++) {
            for (int first = 0; first < 2; first++) {
                struct conn *conn = open_tcp(false, NULL);

                expect_strict();
                for (int round = 0; round < 2; round++) {
                    ck_assert(ct_conn_arm(conn, nicct));
                    for (int n = 0; n < 3; n++) {
                        carry(0, sizes[i]);
                        carry(1, sizes[j]);
                        go(TO_NIC, n & 1, TCP_ACK, 100 * n);
                    }
                    carry(0, sizes[i]);
                    carry(1, sizes[j]);
                    expect_no_event();
                    ck_assert_int_eq(ct_conn_disarm(conn, nicct, now),
                                     CT_CLOSE_NONE);
                    go(TO_NIC, first, TCP_ACK, 100);
                    go(TO_NIC, first, TCP_ACK, 0);
                    expect_no_event();
                    go(TO_NIC, !first, TCP_ACK, 100);
                    expect_event(CT_EVENT_READY, NULL);
                    expect_strict();
                    expect_no_event();
                }
                expect_states(conn, EST, EST);
            }
        }
    }
}
END_TEST

/* A stray packet, first after disarming, must not lock the good ones out. */
START_TEST(test_stray)
{
    for (int dir = 0; dir < 2; dir++) {
        for (int stray_dir = 0; stray_dir < 2; stray_dir++) {
            for (int len = 0; len < 200; len += 100) {
                struct conn *conn = open_tcp(true, NULL);
                struct seg s;

                carry(0, 1000000);
                carry(1, 1000000);
                ct_conn_disarm(conn, nicct, now);
                s = segment(stray_dir, TCP_ACK, len);
                snd[stray_dir] -= len;
                s.seq += 0x38000000;
                s.ack += 0x53000000;
                ck_assert(IS_EST(tcp_to(nicct, &s)));
                go(TO_NIC, dir, TCP_ACK, 100);
                tcp_to(nicct, &s);
                go(TO_NIC, dir, TCP_ACK, 100);
                go(TO_NIC, !dir, TCP_ACK, 100);
                go(TO_NIC, dir, TCP_ACK, 100);
                expect_strict();
                drop_events();
            }
        }
    }
}
END_TEST

/* After a loss in the NIC's time, the acknowledgment jumps by a window. */
START_TEST(test_ack_jump)
{
    struct conn *conn = open_tcp(true, NULL);
    struct seg s;

    carry(0, 1000000);
    ct_conn_disarm(conn, nicct, now);
    s = segment(0, TCP_ACK, 100);   /* Retransmission of the hole. */
    snd[0] -= 100;
    s.seq -= 100000;
    s.win = 1000;
    ck_assert(IS_EST(tcp_to(nicct, &s)));
    s = segment(1, TCP_ACK, 0);
    s.ack -= 100000;
    ck_assert(IS_EST(tcp_to(nicct, &s)));
    go(TO_NIC, 1, TCP_ACK, 0);
    go(TO_NIC, 0, TCP_ACK, 100);
}
END_TEST

/* Closing. */

struct step {
    int dir;
    uint16_t flags;
    uint16_t len;
    int32_t ack_ofs;                /* Relative to all that was sent. */
};

#define F (TCP_FIN | TCP_ACK)
#define A TCP_ACK
#define MAX_STEPS 6
static const struct script {
    int n;
    struct step steps[MAX_STEPS];
} scripts[] = {
    /* Usual. */
    { 4, { { 0, F, 0, 0 }, { 1, A, 0, 0 }, { 1, F, 0, 0 }, { 0, A, 0, 0 } } },
    { 4, { { 1, F, 0, 0 }, { 0, A, 0, 0 }, { 0, F, 0, 0 }, { 1, A, 0, 0 } } },
    /* With data in the FIN; the second FIN acknowledges the first. */
    { 3, { { 0, F, 99, 0 }, { 1, F, 7, 0 }, { 0, A, 0, 0 } } },
    /* At the same time. */
    { 4, { { 0, F, 0, 0 }, { 1, F, 0, -1 }, { 0, A, 0, 0 },
           { 1, A, 0, 0 } } },
    /* Half-close with data, then close. */
    { 6, { { 0, F, 0, 0 }, { 1, A, 100, 0 }, { 0, A, 0, 0 }, { 1, A, 100, 0 },
           { 1, F, 0, 0 }, { 0, A, 0, 0 } } },
    /* Half-close that stays. */
    { 3, { { 0, F, 0, 0 }, { 1, A, 100, 0 }, { 0, A, 0, 0 } } },
    { 2, { { 1, F, 0, 0 }, { 0, A, 0, 0 } } },
    /* Data that crosses the FIN. */
    { 5, { { 0, F, 0, 0 }, { 1, A, 100, -1 }, { 1, A, 0, 0 }, { 1, F, 0, 0 },
           { 0, A, 0, 0 } } },
    /* RST, from either side, after data, after FIN. */
    { 1, { { 0, TCP_RST, 0, 0 } } },
    { 1, { { 1, TCP_RST | TCP_ACK, 0, 0 } } },
    { 2, { { 0, F, 0, 0 }, { 1, TCP_RST | TCP_ACK, 0, 0 } } },
    { 3, { { 0, F, 0, 0 }, { 1, A, 0, 0 }, { 0, TCP_RST, 0, 0 } } },
};

/* Runs 'script'; before step 'cut' the NIC gives its rules up.  Until then it
 * carries the ordinary steps in 'carried'. */
static void
run_close(const struct script *script, int cut, unsigned int carried,
          bool prelude)
{
    struct conn *t, *conn = open_tcp(true, &t);
    long long int last_nic = now, last_twin = now;
    enum ct_close close;

    if (prelude) {
        for (int i = 0; i < 4; i++) {
            go(TO_TWIN, i & 1, TCP_ACK, 1000);
        }
    }
    for (int i = 0; i <= script->n; i++) {
        const struct step *step = &script->steps[i];
        struct seg s;

        now += 10;
        if (i == cut) {
            expect_states(conn, EST, EST);
            ct_conn_disarm(conn, nicct, now);
        }
        if (i == script->n) {
            break;
        }
        s = segment(step->dir, step->flags, step->len);
        s.ack += step->ack_ofs;
        ck_assert(IS_EST(tcp_to(twin, &s)));
        last_twin = now;
        if (i >= cut || step->flags != A || !(carried & (1u << i))) {
            ck_assert(IS_EST(tcp_to(nicct, &s)));
            last_nic = now;
        }
    }
    now += CT_JUDGE_MS;
    close = ct_conn_judge(conn, nicct, now);
    ck_assert_int_eq(close, CT_CLOSE_DONE);
    expect_same_states(conn, t);
    ck_assert_int_eq(ct_conn_expiration(conn) - last_nic,
                     ct_conn_expiration(t) - last_twin);
    ck_assert(!ct_conn_arm(conn, nicct));
    drop_events();
}

START_TEST(test_close)
{
    unsigned int n = 0;

    for (size_t i = 0; i < ARRAY_SIZE(scripts); i++) {
        for (int cut = 0; cut <= scripts[i].n; cut++) {
            for (unsigned int carried = 0; carried < 1u << cut; carried++) {
                run_close(&scripts[i], cut, carried, false);
                run_close(&scripts[i], cut, carried, true);
                n++;
            }
        }
        conntrack_flush(nicct, NULL);
        conntrack_flush(twin, NULL);
        drop_events();
    }
    ck_assert_uint_gt(n, 100);
}
END_TEST

START_TEST(test_closing_event)
{
    struct conn *conn = open_tcp(true, NULL);
    long long int e = ct_conn_expiration(conn);

    go(TO_NIC, 0, TCP_FIN | TCP_ACK, 0);
    expect_event(CT_EVENT_CLOSING, NULL);
    ck_assert_int_eq(ct_conn_expiration(conn), e);
    expect_states(conn, EST, EST);
    go(TO_NIC, 1, TCP_FIN | TCP_ACK, 0);
    expect_no_event();
    go(TO_NIC, 1, TCP_RST | TCP_ACK, 0);
    expect_event(CT_EVENT_CLOSING, NULL);
    expect_states(conn, EST, EST);
    ck_assert_int_eq(ct_conn_judge(conn, nicct, now + 100000),
                     CT_CLOSE_PENDING);
    expect_states(conn, EST, EST);

    /* Invalid flags stay invalid. */
    struct seg s = segment(0, 0, 0);
    ck_assert(IS_INV(tcp_to(nicct, &s)));
    s.flags = TCP_FIN;
    ck_assert(IS_INV(tcp_to(nicct, &s)));
    s.flags = TCP_SYN | TCP_FIN;
    ck_assert(IS_INV(tcp_to(nicct, &s)));
    expect_no_event();
}
END_TEST

/* What the engine needs so that no FIN or RST is left unjudged: READY ends a
 * judgement, and each one that comes afterwards is announced. */
START_TEST(test_judged_once_each)
{
    struct conn *conn = open_tcp(true, NULL);
    struct seg s;

    /* A RST that comes from elsewhere does not make the connection READY. */
    now += 1000;
    s = segment(0, TCP_RST | TCP_ACK, 0);
    s.in_port = u32_to_odp(7);
    ck_assert(IS_EST(tcp_to(nicct, &s)));
    expect_event(CT_EVENT_CLOSING, NULL);
    expect_no_event();

    /* Nor do packets that prove nothing. */
    now += 1000;
    s = segment(1, TCP_ACK, 0);
    s.in_port = u32_to_odp(8);
    ck_assert(IS_EST(tcp_to(nicct, &s)));
    expect_no_event();
    ck_assert_int_eq(ct_conn_disarm(conn, nicct, now), CT_CLOSE_PENDING);
    now += CT_JUDGE_MS;
    ck_assert_int_eq(ct_conn_judge(conn, nicct, now), CT_CLOSE_DONE);

    /* Forged ones, before and after READY, and after a judgement. */
    conn = open_tcp(true, NULL);
    carry(0, 0x12345678);
    ck_assert_int_eq(ct_conn_disarm(conn, nicct, now), CT_CLOSE_NONE);
    for (int i = 0; i < 4; i++) {
        s = segment(0, TCP_RST | TCP_ACK, 0);
        s.seq += 100;
        ck_assert(IS_EST(tcp_to(nicct, &s)));
        expect_event(CT_EVENT_CLOSING, NULL);
        ck_assert(IS_EST(tcp_to(nicct, &s)));
        expect_no_event();
        go(TO_NIC, 0, TCP_ACK, 1);
        if (!i) {
            go(TO_NIC, 1, TCP_ACK, 1);
            expect_event(CT_EVENT_READY, NULL);
        } else {
            expect_no_event();
            now += CT_JUDGE_MS;
            ck_assert_int_eq(ct_conn_judge(conn, nicct, now), CT_CLOSE_NONE);
        }
    }
}
END_TEST

/* A FIN or RST that no peer sent. */
START_TEST(test_forged)
{
    static const int32_t ofs[] = {
        0x30000000, -0x30000000, 0x70000000, -0x70000000, 20000000, -20000000,
    };
    static const uint16_t kinds[] = {
        TCP_FIN | TCP_ACK, TCP_RST, TCP_RST | TCP_ACK
    };
    enum { ARMED, BLIND, HALF, LATER };

    for (size_t i = 0; i < ARRAY_SIZE(ofs) * ARRAY_SIZE(kinds) * 2 * 2 * 4;
         i++) {
        size_t j = i;
        int32_t o = ofs[j % ARRAY_SIZE(ofs)];
        j /= ARRAY_SIZE(ofs);
        uint16_t kind = kinds[j % ARRAY_SIZE(kinds)];
        j /= ARRAY_SIZE(kinds);
        int dir = j % 2;
        j /= 2;
        /* Whether traffic goes on in the direction of the forgery only, with
         * bare acknowledgments in the other, or the other way round. */
        int talker = j % 2;
        int when = j / 2;
        struct conn *conn = open_tcp(true, NULL);
        struct seg s;

        carry(0, 0x12345678);
        carry(1, 0x92345678);
        if (when != ARMED) {
            ct_conn_disarm(conn, nicct, now);
        }
        if (when == HALF || when == LATER) {
            go(TO_NIC, dir, TCP_ACK, talker == dir ? 100 : 0);
        }
        if (when == LATER) {
            go(TO_NIC, !dir, TCP_ACK, talker == dir ? 0 : 100);
        }
        s = segment(dir, kind, 0);
        snd[dir] -= !!(kind & TCP_FIN);
        s.seq += o;
        tcp_to(nicct, &s);
        expect_states(conn, EST, EST);
        ct_conn_disarm(conn, nicct, now);
        for (int n = 0; n < 4; n++) {
            go(TO_NIC, dir ^ (n & 1), TCP_ACK,
               talker == (dir ^ (n & 1)) ? 100 : 0);
        }
        now += CT_JUDGE_MS;
        ck_assert_int_eq(ct_conn_judge(conn, nicct, now), CT_CLOSE_NONE);
        expect_states(conn, EST, EST);
        expect_strict();
        drop_events();
        ck_assert(ct_conn_arm(conn, nicct));
    }
}
END_TEST

/* Judged while packets go on: what a FIN in the middle of data means. */
START_TEST(test_judging)
{
    struct conn *conn = open_tcp(true, NULL);
    struct seg fin;

    /* Forged, inside the window: data goes beyond it after disarming. */
    fin = segment(0, TCP_FIN | TCP_ACK, 0);
    snd[0]--;
    ck_assert(IS_EST(tcp_to(nicct, &fin)));
    expect_event(CT_EVENT_CLOSING, NULL);
    ck_assert_int_eq(ct_conn_disarm(conn, nicct, now), CT_CLOSE_PENDING);
    ck_assert(!ct_conn_arm(conn, nicct));
    now += 100;
    ck_assert_int_eq(ct_conn_judge(conn, nicct, now), CT_CLOSE_PENDING);
    go(TO_NIC, 0, TCP_ACK, 100);
    go(TO_NIC, 1, TCP_ACK, 100);
    expect_event(CT_EVENT_READY, NULL);
    now += CT_JUDGE_MS;
    ck_assert_int_eq(ct_conn_judge(conn, nicct, now), CT_CLOSE_NONE);

    /* A FIN that appears when nothing is known after disarming waits its own
     * time. */
    ck_assert(ct_conn_arm(conn, nicct));
    carry(0, 0x20000000);
    ck_assert_int_eq(ct_conn_disarm(conn, nicct, now), CT_CLOSE_NONE);
    now += CT_JUDGE_MS - 10;
    go(TO_NIC, 0, TCP_ACK | TCP_FIN, 0);
    expect_event(CT_EVENT_CLOSING, NULL);
    now += 10;
    ck_assert_int_eq(ct_conn_judge(conn, nicct, now), CT_CLOSE_PENDING);
    now += CT_JUDGE_MS;
    ck_assert_int_eq(ct_conn_judge(conn, nicct, now), CT_CLOSE_DONE);
    expect_states(conn, FW2, EST);

    /* A successor's SYN. */
    any_time = true;
    go(TO_NIC, 1, TCP_ACK | TCP_FIN, 0);
    go(TO_NIC, 0, TCP_ACK, 0);
    expect_states(conn, FW2, FW2);
    snd[0] += 1000000;
    fin = segment(0, TCP_SYN, 0);
    ck_assert(tcp_to(nicct, &fin) & CS_NEW);
    expect_event(CT_EVENT_EXPIRED, NULL);
    expect_no_event();
}
END_TEST

/* Each rule of judging, alone. */
START_TEST(test_judging_rules)
{
    static const uint16_t kinds[] = { TCP_FIN | TCP_ACK, TCP_RST | TCP_ACK };
    struct conn *conn;

    /* An acknowledgment proves a FIN, before or after disarming: no silence is
     * needed. */
    for (int before = 0; before < 2; before++) {
        conn = open_tcp(true, NULL);
        go(TO_NIC, 0, TCP_FIN | TCP_ACK, 0);
        if (before) {
            go(TO_NIC, 1, TCP_ACK, 0);
            expect_states(conn, EST, EST);
            ck_assert_int_eq(ct_conn_disarm(conn, nicct, now), CT_CLOSE_DONE);
        } else {
            ck_assert_int_eq(ct_conn_disarm(conn, nicct, now),
                             CT_CLOSE_PENDING);
            go(TO_NIC, 1, TCP_ACK, 0);
        }
        expect_states(conn, FW2, EST);
        ck_assert_int_eq(ct_conn_judge(conn, nicct, now), CT_CLOSE_DONE);
        drop_events();
    }

    /* The second FIN proves the first. */
    conn = open_tcp(true, NULL);
    go(TO_NIC, 0, TCP_FIN | TCP_ACK, 0);
    go(TO_NIC, 1, TCP_FIN | TCP_ACK, 0);
    ck_assert_int_eq(ct_conn_disarm(conn, nicct, now), CT_CLOSE_PENDING);
    expect_states(conn, FW2, EST);
    go(TO_NIC, 0, TCP_ACK, 0);
    expect_states(conn, FW2, FW2);
    ck_assert_int_eq(ct_conn_judge(conn, nicct, now), CT_CLOSE_DONE);
    drop_events();

    /* Its own direction, or the other one alone, disproves a FIN or RST;
     * before and after disarming. */
    for (int i = 0; i < 8; i++) {
        uint16_t kind = kinds[i & 1];
        bool own = i & 2;
        bool before = i & 4;
        struct seg s;

        conn = open_tcp(true, NULL);
        s = segment(0, kind, 0);
        snd[0] -= !!(kind & TCP_FIN);
        ck_assert(IS_EST(tcp_to(nicct, &s)));
        if (!before) {
            ck_assert_int_eq(ct_conn_disarm(conn, nicct, now),
                             CT_CLOSE_PENDING);
        }
        carry(0, 100);
        go(TO_NIC, !own, TCP_ACK, 100);
        if (before) {
            ck_assert_int_eq(ct_conn_disarm(conn, nicct, now), CT_CLOSE_NONE);
        }
        now += CT_JUDGE_MS;
        ck_assert_int_eq(ct_conn_judge(conn, nicct, now), CT_CLOSE_NONE);
        expect_states(conn, EST, EST);
        drop_events();
    }
}
END_TEST

/* An expiration that is over, or forced, stays so when the connection is
 * judged. */
START_TEST(test_judge_never_resurrects)
{
    struct conn *conn = open_tcp(true, NULL);
    struct seg s;

    go(TO_NIC, 0, TCP_FIN | TCP_ACK, 0);
    force = true;
    s = segment(1, TCP_ACK, 0);
    tcp_to(nicct, &s);
    force = false;
    ct_conn_disarm(conn, nicct, now);
    ct_conn_judge(conn, nicct, now + CT_JUDGE_MS);
    ck_assert_int_eq(ct_conn_expiration(conn), 0);
    drop_events();
}
END_TEST

START_TEST(test_syn)
{
    static const int32_t ofs[] = {
        0, 1, -1, 100, -100, 65535, -65535, 128000, 1000000, -1000000,
        0x30000000, -0x30000000, 0x7fffffff,
    };

    for (int flags = TCP_SYN; flags <= (TCP_SYN | TCP_ACK);
         flags += TCP_ACK) {
        for (int dir = 0; dir < 2; dir++) {
            for (size_t i = 0; i < ARRAY_SIZE(ofs); i++) {
                struct conn *t, *conn = open_tcp(true, &t);
                long long int e;

                go(TO_BOTH, 0, TCP_ACK, 1000);
                go(TO_BOTH, 1, TCP_ACK, 1000);
                e = ct_conn_expiration(conn);
                now += 5;
                struct seg s = segment(dir, flags, 0);
                snd[dir]--;
                s.seq += ofs[i];
                ck_assert_uint_eq(tcp_to(nicct, &s), tcp_to(twin, &s));
                ck_assert_int_eq(ct_conn_expiration(conn), e);
                expect_states(conn, EST, EST);
                expect_no_event();
                go(TO_NIC, dir, TCP_ACK, 100);
            }
        }
    }
}
END_TEST

/* Random exchanges: two endpoints with windows, loss before and behind the
 * datapath, retransmission and reordering. */

#define N_BLOCKS 4096
#define N_FLIGHT 64

struct endpoint {
    uint32_t isn;
    int mss;
    int scale;
    int buf;                        /* Receive window, in bytes. */
    int una, nxt;                   /* Blocks sent: acknowledged, new. */
    uint32_t allowed;               /* End of what may be sent, in bytes. */
    int rcv;                        /* Blocks received in order. */
    bool got[N_BLOCKS];

    struct seg flight[N_FLIGHT];    /* Sent, not past the datapath. */
    int n_flight;
};

static struct endpoint ep[2];

static uint32_t
seq_of(const struct endpoint *e, int block)
{
    return e->isn + 1 + block * e->mss;
}

static void
queue_seg(int dir, struct seg s)
{
    struct endpoint *e = &ep[dir];

    s.dir = dir;
    s.wscale = e->scale;
    if (!(s.flags & TCP_RST) || s.flags & TCP_ACK) {
        s.ack = seq_of(&ep[!dir], e->rcv);
    }
    s.win = e->buf >> MAX(e->scale, 0);
    if (e->n_flight < N_FLIGHT) {
        e->flight[e->n_flight++] = s;
    }
}

static void
send_something(int dir)
{
    struct endpoint *e = &ep[dir];
    struct seg s = { .flags = TCP_ACK };
    int choice = random_range(10);

    if (choice < 6 && e->nxt < N_BLOCKS
        && (uint32_t) ((e->nxt + 1) * e->mss) <= e->allowed) {
        s.seq = seq_of(e, e->nxt++);
        s.len = e->mss;
    } else if (choice < 8 && e->nxt > e->una) {
        /* Mostly the oldest, as TCP does. */
        int b = random_range(3) ? e->una
                : e->una + random_range(e->nxt - e->una);

        s.seq = seq_of(e, b);
        s.len = e->mss;
    } else if (choice == 8 && e->una == e->nxt) {
        s.seq = seq_of(e, e->nxt) - 1;  /* Keep-alive. */
    } else {
        s.seq = seq_of(e, e->nxt);
    }
    queue_seg(dir, s);
}

static void
receive(const struct seg *s)
{
    struct endpoint *src = &ep[s->dir], *dst = &ep[!s->dir];
    int acked = (int32_t) (s->ack - seq_of(dst, 0)) / dst->mss;
    uint32_t allowed;

    if (s->len) {
        dst->got[(int32_t) (s->seq - seq_of(src, 0)) / src->mss] = true;
        while (dst->rcv < N_BLOCKS && dst->got[dst->rcv]) {
            dst->rcv++;
        }
    }
    dst->una = MAX(dst->una, acked);
    allowed = acked * dst->mss + ((uint32_t) s->win << MAX(src->scale, 0));
    dst->allowed = MAX(dst->allowed, allowed);
}

/* Takes a segment that is under way in 'dir' past the datapath.  The NIC
 * carries it with probability 'carried' / 100.  Returns false if there is
 * none. */
static bool
pass_one(int dir, int carried, int loss)
{
    struct endpoint *e = &ep[dir];
    int i = random_range(8) ? 0 : random_range(4);
    uint8_t a, b;
    struct seg s;

    if (!e->n_flight) {
        return false;
    }
    i = MIN(i, e->n_flight - 1);
    s = e->flight[i];
    memmove(&e->flight[i], &e->flight[i + 1],
            (--e->n_flight - i) * sizeof s);

    if ((int) random_range(100) < loss) {
        return true;                /* Lost on its way here. */
    }
    now++;
    b = tcp_to(twin, &s);
    if ((int) random_range(100) >= carried) {
        a = tcp_to(nicct, &s);
        ck_assert_msg(IS_INV(b) || a == b,
                      "stricter: dir %d seq %u len %d ack %u: %#x, not %#x",
                      s.dir, s.seq, s.len, s.ack, a, b);
    }
    if (!IS_INV(b) && (int) random_range(100) >= loss) {
        receive(&s);
    }
    return true;
}

static void
exchange(int n, int carried, int loss)
{
    int talk = 1 + random_range(9);

    while (n--) {
        int dir = (int) random_range(10) < talk;

        if (random_range(2)) {
            send_something(dir);
        } else {
            pass_one(dir, carried, loss);
        }
    }
}

static void
endpoint_init(struct endpoint *e, int scale, int mss)
{
    memset(e, 0, sizeof *e);
    e->isn = random_range(4) ? random_uint32() : -random_range(100000);
    e->scale = scale;
    e->mss = mss;
    e->buf = 1 + random_range(MIN(65535 << MAX(scale, 0), mss * 400));
}

/* Sends 's' to both.  Returns whether 'twin' accepted it; then 'nicct' must
 * have done so as well. */
static bool
both_accept(const struct seg *s)
{
    uint8_t a = tcp_to(nicct, s);
    uint8_t b = tcp_to(twin, s);

    ck_assert(IS_INV(b) || IS_EST(a));
    return !IS_INV(b);
}

static void
random_exchange(uint32_t seed)
{
    static const int probabilities[] = { 0, 30, 50, 90, 99, 100 };
    struct ct_event *event;
    struct conn *conns[2];
    int scale[2];

    random_set_seed(seed);
    scale[0] = (int) random_range(16) - 1;
    scale[1] = scale[0] < 0 ? -1 : (int) random_range(15);
    for (int i = 0; i < 2; i++) {
        endpoint_init(&ep[i], scale[i], 1 + random_range(1400));
    }
    client_port++;
    bool midstream = scale[0] < 0 && !random_range(4);
    if (!midstream) {
        struct seg s = { .dir = 0, .flags = TCP_SYN, .seq = ep[0].isn,
                         .win = MIN(ep[0].buf, 65535), .wscale = scale[0] };
        tcp_to(nicct, &s);
        tcp_to(twin, &s);
        s = (struct seg) { .dir = 1, .flags = TCP_SYN | TCP_ACK,
                           .seq = ep[1].isn, .ack = ep[0].isn + 1,
                           .win = MIN(ep[1].buf, 65535), .wscale = scale[1] };
        tcp_to(nicct, &s);
        tcp_to(twin, &s);
    }
    for (int i = 0; i < 2; i++) {
        ep[!i].allowed = MIN(ep[i].buf, 65535);
    }
    if (midstream) {
        for (int i = 0; i < 4; i++) {
            queue_seg(i & 1, (struct seg) { .flags = TCP_ACK,
                                            .seq = seq_of(&ep[i & 1], 0) });
            pass_one(i & 1, 0, 0);
        }
    } else {
        queue_seg(0, (struct seg) { .flags = TCP_ACK,
                                    .seq = seq_of(&ep[0], 0) });
        while (pass_one(0, 0, 0)) {
            continue;
        }
    }
    memset(conns, 0, sizeof conns);
    while ((event = next_event())) {
        conns[event->ct == twin] = event->conn;
        free(event);
    }
    ck_assert_msg(conns[0] && conns[1], "seed %u midstream %d scale %d %d "
                  "buf %d %d", seed, midstream, scale[0], scale[1],
                  ep[0].buf, ep[1].buf);

    exchange(random_range(100), 0, 3);
    for (int round = 0; round < 3; round++) {
        int loss = random_range(3) ? random_range(20) : 0;

        ck_assert(ct_conn_arm(conns[0], nicct));
        exchange(random_range(600),
                 probabilities[random_range(ARRAY_SIZE(probabilities))],
                 loss);
        ck_assert_int_eq(ct_conn_disarm(conns[0], nicct, now),
                         CT_CLOSE_NONE);
        exchange(random_range(random_range(2) ? 20 : 300), 0, loss);
        if (random_range(2)) {
            ep[random_range(2)].buf = 1 + random_range(65535);
        }
    }
    expect_states(conns[0], EST, EST);

    /* Close, while armed or not. */
    if (random_range(3)) {
        ck_assert(ct_conn_arm(conns[0], nicct));
        exchange(random_range(200), 95, 0);
    }
    for (int i = 0; i < 2; i++) {
        while (pass_one(i, 0, 0)) {
            continue;
        }
    }
    int first = random_range(2);
    bool twin_valid = true;
    if (random_range(3)) {
        snd[0] = seq_of(&ep[0], ep[0].nxt);
        snd[1] = seq_of(&ep[1], ep[1].nxt);
        struct seg s = segment(first, F, 0);
        s.ack = seq_of(&ep[!first], ep[first].rcv);
        twin_valid &= both_accept(&s);
        now++;
        ct_conn_disarm(conns[0], nicct, now);
        s = segment(!first, F, 0);
        twin_valid &= both_accept(&s);
        now++;
        s = segment(first, A, 0);
        twin_valid &= both_accept(&s);
    } else {
        struct seg s = { .dir = first, .flags = TCP_RST,
                         .seq = seq_of(&ep[first], ep[first].nxt) };
        twin_valid &= both_accept(&s);
        ct_conn_disarm(conns[0], nicct, now);
    }
    now += CT_JUDGE_MS;
    ct_conn_judge(conns[0], nicct, now);
    if (twin_valid) {
        expect_same_states(conns[0], conns[1]);
    }
    drop_events();
}

START_TEST(test_random)
{
    const char *env = getenv("CT_SEEDS");
    uint32_t n = env ? atoi(env) : 5000;
    const char *one = getenv("CT_SEED");

    for (uint32_t seed = one ? atoi(one) : 1; seed <= n; seed++) {
        if (env || one) {
            fprintf(stderr, "\rseed %u ", seed);
        }
        random_exchange(seed);
        if (one) {
            break;
        }
        if (seed % 64 == 0) {
            conntrack_flush(nicct, NULL);
            conntrack_flush(twin, NULL);
            drop_events();
            ovsrcu_quiesce();
        }
    }
}
END_TEST

/* Threads. */

#define N_WORKERS 3
#define N_CONNS 8
#define N_PACKETS 60000             /* Of each worker. */

static atomic_count n_running;

static void *
worker_main(void *aux)
{
    unsigned int id = (uintptr_t) aux;

    for (unsigned int n = 0; n < N_PACKETS; n++) {
        struct dp_packet_batch batch;
        struct seg s = {
            .dir = (id + n) & 1, .flags = TCP_ACK, .seq = n * 10,
            .ack = n * 10, .win = 60000, .len = 10, .wscale = -1,
            .in_port = u32_to_odp(1 + id),
        };
        struct dp_packet *p;

        if (n % 200 == 150 + id) {
            s.flags |= TCP_FIN;
        } else if (n % 300 == 250 + id) {
            s.flags |= TCP_RST;
        } else if (n % 100 == 99) {
            s.flags = TCP_SYN;
        }
        p = make_tcp(&s);

        /* A few connections that all workers share. */
        struct tcp_header *tcp = dp_packet_l4(p);
        if (s.dir) {
            tcp->tcp_dst = htons(n / 7 % N_CONNS);
        } else {
            tcp->tcp_src = htons(n / 7 % N_CONNS);
        }
        tcp->tcp_csum = 0;
        tcp->tcp_csum = csum_finish(
            csum_continue(packet_csum_pseudoheader(dp_packet_l3(p)), tcp,
                          TCP_HEADER_LEN + s.len));

        uint32_t mark[2] = { n / 50, UINT32_MAX };
        dp_packet_batch_init_packet(&batch, p);
        conntrack_execute(nicct, &batch, htons(ETH_TYPE_IP), n % 397 == 0,
                          true, 0, mark, NULL, 0, 0, NULL, NULL,
                          time_msec(), 0);
        dp_packet_delete_batch(&batch, true);
        ovsrcu_quiesce();
    }
    atomic_count_dec(&n_running);
    return NULL;
}

START_TEST(test_threads)
{
    enum { N_KNOWN = 65536 };
    struct {
        uint64_t id;
        struct conn *conn;
    } *known = xcalloc(N_KNOWN, sizeof *known);
    unsigned int n_known = 0, n_ready = 0, n_gone = 0, n_flush = 0;
    pthread_t workers[N_WORKERS];

    atomic_count_init(&n_running, N_WORKERS);
    for (uintptr_t i = 0; i < N_WORKERS; i++) {
        workers[i] = ovs_thread_create("worker", worker_main, (void *) i);
    }
    while (atomic_count_get(&n_running)) {
        struct ct_event *event;

        while ((event = next_event())) {
            unsigned int i;

            for (i = 0; i < n_known && known[i].id != event->id; i++) {
                continue;
            }
            switch (event->type) {
            case CT_EVENT_READY:
                n_ready++;
                if (i == n_known) {
                    ck_assert_uint_lt(n_known, N_KNOWN);
                    known[n_known].id = event->id;
                    known[n_known++].conn = event->conn;
                }
                ck_assert_ptr_eq(known[i].conn, event->conn);
                break;

            case CT_EVENT_REMOVED:
                n_gone++;
                ck_assert_uint_lt(i, n_known);
                known[i] = known[--n_known];
                break;

            case CT_EVENT_CLOSING:
            case CT_EVENT_EXPIRED:
            case CT_EVENT_CHANGED:
                ck_assert_uint_lt(i, n_known);
                break;
            }
            free(event);
        }
        for (unsigned int i = 0; i < n_known; i++) {
            struct conn *conn = known[i].conn;
            long long int ms = time_msec();

            switch (random_range(6)) {
            case 0: ct_conn_arm(conn, nicct); break;
            case 1: ct_conn_disarm(conn, nicct, ms); break;
            case 2: ct_conn_judge(conn, nicct, ms); break;
            case 3: ct_conn_judge(conn, nicct, ms + CT_JUDGE_MS); break;
            case 4: ct_conn_extend(conn, nicct, ms, ms); break;
            case 5: ct_conn_reannounce(conn); break;
            }
        }
        if (random_range(100) == 0) {
            conntrack_flush(nicct, NULL);
            n_flush++;
        }
        ovsrcu_quiesce();
    }
    for (int i = 0; i < N_WORKERS; i++) {
        xpthread_join(workers[i], NULL);
    }
    ck_assert_uint_gt(n_ready, 1);
    ck_assert_uint_gt(n_gone, 0);
    ck_assert_uint_gt(n_flush, 0);
    free(known);
}
END_TEST

int
main(int argc OVS_UNUSED, char *argv[])
{
    Suite *suite = suite_create("ct-conn");
    TCase *tc = tcase_create("packets");
    SRunner *runner;
    int n_failed;

    set_program_name(argv[0]);
    vlog_set_levels(NULL, VLF_ANY_DESTINATION, VLL_OFF);
    tcase_set_timeout(tc, 300);
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, test_ready);
    tcase_add_test(tc, test_min_packets_and_announce);
    tcase_add_test(tc, test_others);
    tcase_add_test(tc, test_tail_is_zero);
    tcase_add_test(tc, test_removed);
    tcase_add_test(tc, test_forced_expiry);
    tcase_add_test(tc, test_extend);
    tcase_add_test(tc, test_reannounce);
    tcase_add_test(tc, test_mark_label);
    tcase_add_test(tc, test_obstacles);
    tcase_add_test(tc, test_gigabytes);
    tcase_add_test(tc, test_stray);
    tcase_add_test(tc, test_ack_jump);
    tcase_add_test(tc, test_close);
    tcase_add_test(tc, test_closing_event);
    tcase_add_test(tc, test_judged_once_each);
    tcase_add_test(tc, test_forged);
    tcase_add_test(tc, test_judging);
    tcase_add_test(tc, test_judging_rules);
    tcase_add_test(tc, test_judge_never_resurrects);
    tcase_add_test(tc, test_syn);
    tcase_add_test(tc, test_random);
    suite_add_tcase(suite, tc);

    tc = tcase_create("threads");
    tcase_set_timeout(tc, 300);
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, test_threads);
    suite_add_tcase(suite, tc);

    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    n_failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return n_failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
