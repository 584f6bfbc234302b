/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>
#include "lib/nic-emu-table.h"

#include <errno.h>

#include "csum.h"
#include "lib/nic-emu-ct.h"
#include "lib/nic-emu-grace.h"
#include "tests/nic-emu-table-test.h"

#define TABLE_EST 0x20
#define ZONE 7

START_TEST(test_hit_and_miss)
{
    struct flow flow = nic_test_flow4(IPPROTO_UDP, 1, 2, 1000, 53);
    struct flow other = nic_test_flow4(IPPROTO_UDP, 1, 2, 1001, 53);
    struct nic_values values = nic_test_values(&flow);
    struct dp_packet *packet = nic_test_packet(&flow, 100);
    struct nic_emu_rule *rule;
    struct nic_counter c;
    nic_port_id out = 0;

    ck_assert_int_eq(execute(packet, NULL), NIC_EMU_MISS);
    rule = add(nic_test_tuple_template(IN, &flow, nic_test_output(OUT)),
               &values);
    ck_assert_int_eq(execute(packet, &out), NIC_EMU_OUTPUT);
    ck_assert_uint_eq(out, OUT);
    ck_assert_int_eq(execute_flow(&other), NIC_EMU_MISS);

    nic_emu_rule_counter(rule, &c);
    ck_assert_uint_eq(c.packets, 1);
    ck_assert_uint_eq(c.bytes, dp_packet_size(packet));
    ck_assert_int_eq(c.used_ms, 42);

    nic_emu_rule_remove(table, rule);
    ck_assert_int_eq(execute(packet, NULL), NIC_EMU_MISS);
    nic_emu_rule_free(rule);
    dp_packet_delete(packet);
}
END_TEST

START_TEST(test_masks)
{
    struct flow flow = nic_test_flow4(IPPROTO_TCP, 1, 2, 1000, 80);
    struct nic_action drop = { .type = NIC_ACTION_DROP };
    struct nic_emu_rule *rule, *rule2;
    struct nic_template *t;
    struct match match;

    /* 10.0.0.0/30 and, of the flags, FIN zero. */
    match_init_catchall(&match);
    match_set_dl_type(&match, htons(ETH_TYPE_IP));
    match_set_nw_proto(&match, IPPROTO_TCP);
    match_set_nw_src_masked(&match, htonl(0x0a000000), htonl(0xfffffffc));
    match_set_tcp_flags_masked(&match, 0, htons(TCP_FIN));
    t = nic_template_create(IN, NIC_TABLE_ROOT, &match, NIC_SLOT_NONE, &drop,
                            1);
    ck_assert_int_eq(nic_emu_rule_add(table, t, NULL, NULL, &rule), 0);

    ck_assert_int_eq(execute_flow(&flow), NIC_EMU_DROP);
    flow.nw_src = htonl(0x0a000003);
    ck_assert_int_eq(execute_flow(&flow), NIC_EMU_DROP);
    flow.nw_src = htonl(0x0a000004);
    ck_assert_int_eq(execute_flow(&flow), NIC_EMU_MISS);
    flow.nw_src = htonl(0x0a000003);
    flow.tcp_flags |= htons(TCP_FIN);
    ck_assert_int_eq(execute_flow(&flow), NIC_EMU_MISS);
    ck_assert_uint_eq(n_packets(rule), 2);

    /* The same again, then in another table, and from another port. */
    ck_assert_int_eq(nic_emu_rule_add(table, t, NULL, NULL, &rule2), EEXIST);
    nic_template_unref(t);
    t = nic_template_create(IN, 1, &match, NIC_SLOT_NONE, &drop, 1);
    rule2 = add(t, NULL);
    del(rule2);
    t = nic_template_create(OUT, 0, &match, NIC_SLOT_NONE, &drop, 1);
    rule2 = add(t, NULL);
    del(rule2);
    del(rule);
}
END_TEST

/* A catch-all rule carries everything; one that matches nw_proto only what is
 * sane. */
static struct nic_emu_rule *any, *proto;

static void
expect(struct dp_packet *packet, bool sane)
{
    uint64_t n = n_packets(proto);
    enum nic_emu_verdict verdict;

    verdict = execute(packet, NULL);
    ck_assert_int_eq(verdict, sane ? NIC_EMU_OUTPUT : NIC_EMU_DROP);
    ck_assert_uint_eq(n_packets(proto), n + sane);
    dp_packet_delete(packet);
}

static struct ip_header *
ip_of(struct dp_packet *packet)
{
    return ALIGNED_CAST(struct ip_header *,
                        (char *) dp_packet_data(packet) + ETH_HEADER_LEN);
}

static void
fix_ip_csum(struct ip_header *ip)
{
    ip->ip_csum = 0;
    ip->ip_csum = csum(ip, IP_IHL(ip->ip_ihl_ver) * 4);
}

/* Inserts 'n' bytes of value 'fill' at 'ofs' of 'packet'. */
static void
insert_bytes(struct dp_packet *packet, size_t ofs, size_t n, uint8_t fill)
{
    size_t size = dp_packet_size(packet);
    uint8_t *old = xmemdup(dp_packet_data(packet), size);

    dp_packet_clear(packet);
    dp_packet_put(packet, old, ofs);
    memset(dp_packet_put_zeros(packet, n), fill, n);
    dp_packet_put(packet, old + ofs, size - ofs);
    free(old);
}

static void
sanity(const struct flow *flow)
{
    struct nic_action action = nic_test_output(OUT);
    struct match match;

    match_init_catchall(&match);
    match_set_dl_type(&match, flow->dl_type);
    match_set_nw_proto(&match, flow->nw_proto);

    /* The engine prefers rules of older masks. */
    proto = add(nic_template_create(IN, 0, &match, 0, &action, 1), NULL);
    any = add(nic_test_catchall(IN, 0, (struct nic_action) {
                                    .type = NIC_ACTION_DROP }), NULL);
}

START_TEST(test_never_ipv4)
{
    struct flow tcp = nic_test_flow4(IPPROTO_TCP, 1, 2, 1000, 80);
    struct dp_packet *p;
    struct ip_header *ip;

    sanity(&tcp);
    expect(nic_test_packet(&tcp, 10), true);

    /* Padding of a short frame is no contradiction. */
    p = nic_test_packet(&tcp, 0);
    dp_packet_put_zeros(p, 6);
    expect(p, true);

    /* Header checksum. */
    p = nic_test_packet(&tcp, 10);
    ip_of(p)->ip_csum ^= htons(1);
    expect(p, false);

    /* Total length beyond the frame, shorter than headers, IHL. */
    p = nic_test_packet(&tcp, 10);
    ip = ip_of(p);
    ip->ip_tot_len = htons(ntohs(ip->ip_tot_len) + 1);
    fix_ip_csum(ip);
    expect(p, false);
    p = nic_test_packet(&tcp, 10);
    ip = ip_of(p);
    ip->ip_tot_len = htons(19);
    fix_ip_csum(ip);
    expect(p, false);
    p = nic_test_packet(&tcp, 10);
    ip = ip_of(p);
    ip->ip_tot_len = htons(IP_HEADER_LEN + TCP_HEADER_LEN - 1);
    fix_ip_csum(ip);
    expect(p, false);
    p = nic_test_packet(&tcp, 10);
    ip = ip_of(p);
    ip->ip_ihl_ver = IP_IHL_VER(4, 4);
    expect(p, false);
    p = nic_test_packet(&tcp, 10);
    ip = ip_of(p);
    ip->ip_ihl_ver = IP_IHL_VER(5, 6);
    fix_ip_csum(ip);
    expect(p, false);

    /* Options are allowed. */
    p = nic_test_packet(&tcp, 10);
    insert_bytes(p, ETH_HEADER_LEN + IP_HEADER_LEN, 4, 1);
    ip = ip_of(p);
    ip->ip_ihl_ver = IP_IHL_VER(6, 4);
    ip->ip_tot_len = htons(ntohs(ip->ip_tot_len) + 4);
    fix_ip_csum(ip);
    expect(p, true);

    /* Fragments. */
    tcp.nw_frag = FLOW_NW_FRAG_ANY;
    expect(nic_test_packet(&tcp, 10), false);
    tcp.nw_frag |= FLOW_NW_FRAG_LATER;
    expect(nic_test_packet(&tcp, 10), false);
    tcp.nw_frag = 0;

    /* TCP data offset. */
    for (int offset = 0; offset < 16; offset++) {
        struct tcp_header *th;

        p = nic_test_packet(&tcp, 10);
        th = ALIGNED_CAST(struct tcp_header *, ip_of(p) + 1);
        th->tcp_ctl = TCP_CTL(TCP_ACK, offset);
        expect(p, offset >= 5 && offset * 4 <= TCP_HEADER_LEN + 10);
    }

    del(any);
    del(proto);
}
END_TEST

START_TEST(test_never_udp)
{
    struct flow udp = nic_test_flow4(IPPROTO_UDP, 1, 2, 1000, 53);

    sanity(&udp);
    for (int len = 0; len < 30; len++) {
        struct dp_packet *p = nic_test_packet(&udp, 10);
        struct udp_header *uh = ALIGNED_CAST(struct udp_header *,
                                             ip_of(p) + 1);

        uh->udp_len = htons(len);
        expect(p, len == UDP_HEADER_LEN + 10);
    }
    del(any);
    del(proto);
}
END_TEST

START_TEST(test_never_ipv6)
{
    struct flow tcp = nic_test_flow6(IPPROTO_TCP, 1, 2, 1000, 80);
    struct dp_packet *p;
    uint8_t *bytes;

    sanity(&tcp);
    expect(nic_test_packet(&tcp, 10), true);

    p = nic_test_packet(&tcp, 10);
    bytes = (uint8_t *) dp_packet_data(p) + ETH_HEADER_LEN;
    bytes[5]++;                 /* Payload length. */
    expect(p, false);

    p = nic_test_packet(&tcp, 10);
    bytes = (uint8_t *) dp_packet_data(p) + ETH_HEADER_LEN;
    bytes[5] = TCP_HEADER_LEN - 1;
    expect(p, false);

    /* Extension header: a fragment header, with and without meaning. */
    for (int offlg = 0; offlg < 2; offlg++) {
        p = nic_test_packet(&tcp, 10);
        insert_bytes(p, ETH_HEADER_LEN + IPV6_HEADER_LEN, 8, 0);
        bytes = (uint8_t *) dp_packet_data(p) + ETH_HEADER_LEN;
        bytes[5] += 8;
        bytes[6] = IPPROTO_FRAGMENT;
        bytes[IPV6_HEADER_LEN] = IPPROTO_TCP;
        bytes[IPV6_HEADER_LEN + 3] = offlg;
        expect(p, false);
    }
    del(any);
    del(proto);
}
END_TEST

START_TEST(test_l4_csum)
{
    struct flow flows[] = {
        nic_test_flow4(IPPROTO_TCP, 1, 2, 1000, 80),
        nic_test_flow4(IPPROTO_UDP, 1, 2, 1000, 80),
        nic_test_flow6(IPPROTO_TCP, 1, 2, 1000, 80),
        nic_test_flow6(IPPROTO_UDP, 1, 2, 1000, 80),
        nic_test_flow4(IPPROTO_ICMP, 1, 2, 8, 0),
    };

    for (size_t i = 0; i < ARRAY_SIZE(flows); i++) {
        for (int check = 0; check < 2; check++) {
            struct dp_packet *p;

            nic_emu_table_check_l4_csum(table, check);
            sanity(&flows[i]);
            expect(nic_test_packet(&flows[i], 11), true);
            p = nic_test_packet(&flows[i], 11);
            ((uint8_t *) dp_packet_tail(p))[-1] ^= 0x10;
            expect(p, !check);
            del(any);
            del(proto);
        }
    }

    /* IPv4 without UDP checksum. */
    struct dp_packet *p = nic_test_packet(&flows[1], 11);
    struct udp_header *uh = ALIGNED_CAST(struct udp_header *, ip_of(p) + 1);

    sanity(&flows[1]);
    uh->udp_csum = 0;
    expect(p, true);
    del(any);
    del(proto);
}
END_TEST

START_TEST(test_module)
{
    struct nic_emu_ct *ct = nic_emu_table_ct(table);
    struct nic_action ct_action = {
        .type = NIC_ACTION_CT, .ct = { .zone = ZONE, .table = TABLE_EST }
    };
    struct nic_action action = nic_test_output(OUT);
    struct flow orig = nic_test_flow4(IPPROTO_TCP, 1, 2, 1000, 80);
    struct flow reply = nic_test_flow4(IPPROTO_TCP, 2, 1, 80, 1000);
    struct nic_emu_rule *root, *est, *rpl;
    struct nic_emu_conn *conn, *conn2;
    struct nic_conn nic_conn;
    struct nic_counter c[2];
    struct match match;

    root = add(nic_test_catchall(IN, NIC_TABLE_ROOT, ct_action), NULL);
    match_init_catchall(&match);
    match_set_ct_zone(&match, ZONE);
    match_set_ct_state_masked(&match, CS_TRACKED | CS_ESTABLISHED,
                              CS_SUPPORTED_MASK);
    est = add(nic_template_create(IN, TABLE_EST, &match, 0, &action, 1),
              NULL);
    match_set_ct_state_masked(&match,
                              CS_TRACKED | CS_ESTABLISHED | CS_REPLY_DIR,
                              CS_SUPPORTED_MASK);
    action = (struct nic_action) { .type = NIC_ACTION_DROP };
    rpl = add(nic_template_create(IN, TABLE_EST, &match, 0, &action, 1),
              NULL);

    /* No connection: nobody counts. */
    ck_assert_int_eq(execute_flow(&orig), NIC_EMU_MISS);
    ck_assert_uint_eq(n_packets(root), 0);

    /* In another zone. */
    nic_conn = nic_test_conn(&orig, ZONE + 1);
    ck_assert_int_eq(nic_emu_conn_add(ct, &nic_conn, &conn2), 0);
    ck_assert_int_eq(execute_flow(&orig), NIC_EMU_MISS);

    nic_conn = nic_test_conn(&orig, ZONE);
    ck_assert_int_eq(nic_emu_conn_add(ct, &nic_conn, &conn), 0);
    ck_assert_int_eq(execute_flow(&orig), NIC_EMU_OUTPUT);
    ck_assert_int_eq(execute_flow(&orig), NIC_EMU_OUTPUT);
    ck_assert_int_eq(execute_flow(&reply), NIC_EMU_DROP);
    nic_emu_conn_counters(conn, c);
    ck_assert_uint_eq(c[0].packets, 2);
    ck_assert_uint_eq(c[1].packets, 1);
    ck_assert_uint_eq(c[1].bytes, c[0].bytes / 2);
    ck_assert_uint_eq(n_packets(root), 3);
    ck_assert_uint_eq(n_packets(est), 2);
    ck_assert_uint_eq(n_packets(rpl), 1);

    /* Every combination of TCP flags. */
    for (int flags = 0; flags < 256; flags++) {
        bool carried = (flags & TCP_ACK
                        && !(flags & (TCP_FIN | TCP_SYN | TCP_RST)));

        orig.tcp_flags = htons(flags);
        ck_assert_int_eq(execute_flow(&orig),
                         carried ? NIC_EMU_OUTPUT : NIC_EMU_MISS);
    }
    ck_assert_uint_eq(n_packets(root), 3 + 16);
    orig.tcp_flags = htons(TCP_ACK);

    /* Insane packets, other protocols. */
    struct dp_packet *p = nic_test_packet(&orig, 10);
    ip_of(p)->ip_csum ^= htons(1);
    ck_assert_int_eq(execute(p, NULL), NIC_EMU_MISS);
    dp_packet_delete(p);
    struct flow icmp = nic_test_flow4(IPPROTO_ICMP, 1, 2, 8, 0);
    ck_assert_int_eq(execute_flow(&icmp), NIC_EMU_MISS);

    /* A hit in the module and no rule in the next table. */
    del(est);
    nic_emu_conn_counters(conn, c);
    uint64_t before = c[0].packets;
    ck_assert_int_eq(execute_flow(&orig), NIC_EMU_MISS);
    nic_emu_conn_counters(conn, c);
    ck_assert_uint_eq(c[0].packets, before);
    ck_assert_uint_eq(n_packets(root), 3 + 16);

    nic_emu_conn_remove(ct, conn);
    ck_assert_int_eq(execute_flow(&reply), NIC_EMU_MISS);
    nic_emu_conn_remove(ct, conn2);
    nic_emu_conn_free(conn);
    nic_emu_conn_free(conn2);
    del(rpl);
    del(root);
}
END_TEST

START_TEST(test_conn_conflicts)
{
    struct nic_emu_ct *ct = nic_emu_table_ct(table);
    struct flow orig = nic_test_flow6(IPPROTO_UDP, 1, 2, 1000, 80);
    struct flow reply = nic_test_flow6(IPPROTO_UDP, 2, 1, 80, 1000);
    struct flow self = nic_test_flow6(IPPROTO_UDP, 1, 1, 80, 80);
    struct nic_conn nic_conn = nic_test_conn(&orig, ZONE);
    struct nic_emu_conn *conn, *conn2;

    ck_assert_int_eq(nic_emu_conn_add(ct, &nic_conn, &conn), 0);
    ck_assert_int_eq(nic_emu_conn_add(ct, &nic_conn, &conn2), EEXIST);
    nic_conn = nic_test_conn(&reply, ZONE);
    ck_assert_int_eq(nic_emu_conn_add(ct, &nic_conn, &conn2), EEXIST);
    nic_conn.nw_proto = IPPROTO_TCP;
    ck_assert_int_eq(nic_emu_conn_add(ct, &nic_conn, &conn2), 0);
    nic_emu_conn_remove(ct, conn);
    nic_emu_conn_remove(ct, conn2);
    nic_emu_conn_free(conn);
    nic_emu_conn_free(conn2);

    nic_conn = nic_test_conn(&self, ZONE);
    ck_assert(nic_emu_check_conn(&nic_conn, NULL));
    nic_conn = nic_test_conn(&orig, ZONE);
    ck_assert(!nic_emu_check_conn(&nic_conn, NULL));
    nic_conn.nw_proto = IPPROTO_SCTP;
    ck_assert(nic_emu_check_conn(&nic_conn, NULL));
    nic_conn.nw_proto = IPPROTO_TCP;
    nic_conn.dl_type = htons(ETH_TYPE_ARP);
    ck_assert(nic_emu_check_conn(&nic_conn, NULL));
}
END_TEST

START_TEST(test_loop)
{
    struct nic_action action = {
        .type = NIC_ACTION_CT, .ct = { .zone = ZONE, .table = 0 }
    };
    struct flow orig = nic_test_flow4(IPPROTO_UDP, 1, 2, 1000, 80);
    struct nic_conn nic_conn = nic_test_conn(&orig, ZONE);
    struct nic_emu_ct *ct = nic_emu_table_ct(table);
    struct nic_emu_conn *conn;
    struct nic_emu_rule *rule;

    ck_assert_int_eq(nic_emu_conn_add(ct, &nic_conn, &conn), 0);
    rule = add(nic_test_catchall(IN, 0, action), NULL);
    ck_assert_int_eq(execute_flow(&orig), NIC_EMU_MISS);
    ck_assert_uint_eq(n_packets(rule), 0);
    del(rule);

    /* As many tables as allowed, then one too many. */
    for (int n = NIC_EMU_MAX_TABLES; n <= NIC_EMU_MAX_TABLES + 1; n++) {
        struct nic_emu_rule *rules[NIC_EMU_MAX_TABLES + 1];

        for (int i = 0; i < n; i++) {
            action.ct.table = i + 1;
            rules[i] = add(nic_test_catchall(IN, i, i < n - 1 ? action
                                             : nic_test_output(OUT)), NULL);
        }
        ck_assert_int_eq(execute_flow(&orig), n <= NIC_EMU_MAX_TABLES
                         ? NIC_EMU_OUTPUT : NIC_EMU_MISS);
        for (int i = 0; i < n; i++) {
            del(rules[i]);
        }
    }
    nic_emu_conn_remove(ct, conn);
    nic_emu_conn_free(conn);
}
END_TEST

START_TEST(test_refused_templates)
{
    struct nic_action action = nic_test_output(OUT);
    struct nic_template *t;
    struct match match;

    for (int i = 0; i < 6; i++) {
        match_init_catchall(&match);
        switch (i) {
        case 0: match_set_in_port(&match, 1); break;
        case 1: match_set_recirc_id(&match, 0); break;
        case 2: match_set_dp_hash(&match, 1); break;
        case 3: match_set_tun_id(&match, htonll(1)); break;
        case 4: match_set_reg(&match, 3, 1); break;
        case 5: match_set_pkt_mark(&match, 1); break;
        }
        t = nic_template_create(IN, 0, &match, 0, &action, 1);
        ck_assert_msg(nic_emu_check_template(t, NULL) != NULL, "%d", i);
        nic_template_unref(t);
    }

    match_init_catchall(&match);
    match_set_dl_type(&match, htons(ETH_TYPE_IP));
    match_set_packet_type(&match, 0);
    match_set_nw_ttl(&match, 64);
    t = nic_template_create(IN, 0, &match, 0, &action, 1);
    ck_assert(!nic_emu_check_template(t, NULL));
    nic_template_unref(t);
}
END_TEST

/* Damaged and random packets: nothing crashes, nothing changes, and what the
 * rules carried was counted. */
START_TEST(test_fuzz)
{
    struct flow flows[] = {
        nic_test_flow4(IPPROTO_TCP, 1, 2, 1000, 80),
        nic_test_flow4(IPPROTO_UDP, 1, 2, 1000, 80),
        nic_test_flow4(IPPROTO_ICMP, 1, 2, 8, 0),
        nic_test_flow6(IPPROTO_TCP, 1, 2, 1000, 80),
        nic_test_flow6(IPPROTO_UDP, 1, 2, 1000, 80),
        nic_test_flow6(IPPROTO_ICMPV6, 1, 2, 135, 0),
    };
    struct nic_emu_rule *rules[ARRAY_SIZE(flows)];
    struct nic_emu_conn *conns[ARRAY_SIZE(flows)];
    bool has_conn[ARRAY_SIZE(flows)];
    struct nic_emu_ct *ct = nic_emu_table_ct(table);
    uint64_t n_carried = 0, sum = 0;

    random_state = 1 + _i;
    nic_emu_table_check_l4_csum(table, _i % 2);
    for (size_t i = 0; i < ARRAY_SIZE(flows); i++) {
        struct nic_action action = nic_test_output(OUT);
        struct nic_conn nic_conn = nic_test_conn(&flows[i], ZONE);
        struct match match;

        if (i % 2) {
            action.type = NIC_ACTION_CT;
            action.ct.zone = ZONE;
            action.ct.table = 1;
        }
        match_init_catchall(&match);
        match_set_dl_type(&match, flows[i].dl_type);
        match_set_nw_proto(&match, flows[i].nw_proto);
        rules[i] = add(nic_template_create(IN, 0, &match, 0, &action, 1),
                       NULL);
        has_conn[i] = !nic_emu_check_conn(&nic_conn, NULL);
        if (has_conn[i]) {
            ck_assert_int_eq(nic_emu_conn_add(ct, &nic_conn, &conns[i]), 0);
        }
    }
    struct nic_emu_rule *next = add(nic_test_catchall(IN, 1,
                                                      nic_test_output(OUT)),
                                    NULL);

    for (int i = 0; i < 50000; i++) {
        struct dp_packet *p;

        if (rnd(4)) {
            p = nic_test_packet(&flows[rnd(ARRAY_SIZE(flows))], rnd(60));
            if (rnd(2)) {
                dp_packet_set_size(p, rnd(dp_packet_size(p) + 1));
            }
            for (int n = rnd(3); n && dp_packet_size(p); n--) {
                size_t ofs = rnd(dp_packet_size(p));
                ((uint8_t *) dp_packet_data(p))[ofs] ^= 1 << rnd(8);
            }
        } else {
            size_t size = rnd(120);
            uint8_t *data;

            p = dp_packet_new_with_headroom(size, 2);
            data = dp_packet_put_uninit(p, size);
            for (size_t j = 0; j < size; j++) {
                data[j] = rnd(256);
            }
            if (size > 14 && rnd(4)) {
                static const uint16_t types[] = {
                    ETH_TYPE_IP, ETH_TYPE_IPV6, ETH_TYPE_ARP,
                    ETH_TYPE_VLAN_8021Q, ETH_TYPE_MPLS, ETH_TYPE_NSH
                };
                uint16_t type = types[rnd(ARRAY_SIZE(types))];

                data[12] = type >> 8;
                data[13] = type;
            }
        }
        /* In memory of exactly its size, for the address sanitizer. */
        if (dp_packet_size(p)) {
            void *exact = xmemdup(dp_packet_data(p), dp_packet_size(p));
            struct dp_packet q;

            dp_packet_use_const(&q, exact, dp_packet_size(p));
            n_carried += execute(&q, NULL) != NIC_EMU_MISS;
            free(exact);
        }
        n_carried += execute(p, NULL) != NIC_EMU_MISS;
        dp_packet_delete(p);
        if (!(i % 1000)) {
            nic_test_quiesce();
        }
    }

    ck_assert_uint_gt(n_carried, 1000);
    for (size_t i = 0; i < ARRAY_SIZE(flows); i++) {
        sum += n_packets(rules[i]);
        del(rules[i]);
        if (has_conn[i]) {
            nic_emu_conn_remove(ct, conns[i]);
            nic_emu_conn_free(conns[i]);
        }
    }
    ck_assert_uint_eq(sum, n_carried);
    del(next);
}
END_TEST

/* Adds a rule for IPv4 packets with priority 'priority' to table 'table_id' of
 * 'in_port'. */
static struct nic_emu_rule *
add_prio(nic_port_id in_port, uint32_t table_id, uint32_t priority,
         const struct nic_action actions[], size_t n_actions)
{
    struct nic_template *t;
    struct match match;

    match_init_catchall(&match);
    match_set_dl_type(&match, htons(ETH_TYPE_IP));
    t = nic_template_create(in_port, table_id, &match, NIC_SLOT_NONE, actions,
                            n_actions);
    nic_template_set_priority(t, priority);
    return add(t, NULL);
}

/* Priorities, whatever the order of addition; rules for all ports. */
START_TEST(test_priorities)
{
    struct flow flow = nic_test_flow4(IPPROTO_UDP, 1, 2, 1000, 53);
    const uint32_t priorities[] = { 5, 9, 3, 0, 7, 3 };
    const bool for_any[] = { false, true, false, true, false, true };
    struct dp_packet *packet = nic_test_packet(&flow, 10);
    struct nic_emu_rule *rules[ARRAY_SIZE(priorities)];
    const nic_port_id best[] = { 103, 102, 100, 104, 101 };
    nic_port_id out;

    for (size_t i = 0; i < ARRAY_SIZE(priorities); i++) {
        const struct nic_action output = nic_test_output(100 + i);

        rules[i] = add_prio(for_any[i] ? NIC_PORT_ANY : IN, NIC_TABLE_ROOT,
                            priorities[i], &output, 1);
    }

    /* The other one of two with priority 3 must not win either way. */
    del(rules[5]);
    for (size_t i = 0; i < ARRAY_SIZE(best); i++) {
        ck_assert_int_eq(execute(packet, &out), NIC_EMU_OUTPUT);
        ck_assert_uint_eq(out, best[i]);
        del(rules[best[i] - 100]);
    }
    ck_assert_int_eq(execute(packet, NULL), NIC_EMU_MISS);
    dp_packet_delete(packet);
}
END_TEST

START_TEST(test_jump)
{
    struct flow flow = nic_test_flow4(IPPROTO_UDP, 1, 2, 1000, 53);
    struct dp_packet *packet = nic_test_packet(&flow, 10);
    const struct nic_action first[] = {
        { .type = NIC_ACTION_DEC_TTL },
        { .type = NIC_ACTION_JUMP, .table = 7 },
    };
    const struct nic_action output = nic_test_output(OUT);
    struct nic_emu_rule *jump, *target;
    struct nic_emu_outputs outputs;
    const struct ip_header *ip;

    jump = add_prio(IN, NIC_TABLE_ROOT, 0, first, ARRAY_SIZE(first));
    ck_assert_int_eq(execute(packet, NULL), NIC_EMU_MISS);
    ck_assert_uint_eq(n_packets(jump), 0);

    target = add_prio(NIC_PORT_ANY, 7, 0, &output, 1);
    ck_assert_int_eq(execute_to(packet, &outputs), NIC_EMU_OUTPUT);
    ck_assert_uint_eq(outputs.n, 1);
    ip = dp_packet_l3(outputs.list[0].packet);
    ck_assert_uint_eq(ip->ip_ttl, flow.nw_ttl - 1);
    ck_assert_uint_eq(csum(ip, sizeof *ip), 0);
    ck_assert_uint_eq(n_packets(jump), 1);
    ck_assert_uint_eq(n_packets(target), 1);
    free_outputs(packet, &outputs);
    del(jump);
    del(target);
    dp_packet_delete(packet);
}
END_TEST

START_TEST(test_grace)
{
    uint64_t grace;

    ck_assert(nic_emu_grace_passed(nic_emu_grace_start()));

    nic_emu_section_enter();
    grace = nic_emu_grace_start();
    ck_assert(!nic_emu_grace_passed(grace));
    nic_emu_section_leave();
    ck_assert(nic_emu_grace_passed(grace));

    /* A section that starts later is not waited for. */
    nic_emu_section_enter();
    ck_assert(nic_emu_grace_passed(grace));
    nic_emu_section_leave();
}
END_TEST

int
main(int argc, char *argv[])
{
    Suite *suite = suite_create("nic-emu-table");
    TCase *tc = tcase_create("nic-emu-table");

    tcase_set_timeout(tc, 120);
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, test_hit_and_miss);
    tcase_add_test(tc, test_masks);
    tcase_add_test(tc, test_never_ipv4);
    tcase_add_test(tc, test_never_udp);
    tcase_add_test(tc, test_never_ipv6);
    tcase_add_test(tc, test_l4_csum);
    tcase_add_test(tc, test_module);
    tcase_add_test(tc, test_conn_conflicts);
    tcase_add_test(tc, test_loop);
    tcase_add_test(tc, test_refused_templates);
    tcase_add_loop_test(tc, test_fuzz, 0, 4);
    tcase_add_test(tc, test_priorities);
    tcase_add_test(tc, test_jump);
    tcase_add_test(tc, test_grace);
    suite_add_tcase(suite, tc);
    return nic_test_main(argc, argv, suite);
}
