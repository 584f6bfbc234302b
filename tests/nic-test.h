/* SPDX-License-Identifier: Apache-2.0 */

#ifndef NIC_TEST_H
#define NIC_TEST_H 1

/* What the unit tests of the NIC abstraction share: packets, templates, a run
 * directory and a main().  Included by one .c file per program. */

#include <check.h>
#include <errno.h>
#include <ftw.h>
#include <stdlib.h>
#include <unistd.h>

#include "dp-packet.h"
#include "flow.h"
#include "lib/nic.h"
#include "openvswitch/match.h"
#include "openvswitch/vlog.h"
#include "ovs-rcu.h"
#include "packets.h"
#include "unit-test.h"
#include "util.h"

/* Ends a test's RCU section, so that what it postponed is freed. */
static inline void
nic_test_quiesce(void)
{
    ovsrcu_quiesce();
}

static inline void
nic_test_eth(struct flow *flow, ovs_be16 dl_type)
{
    memset(flow, 0, sizeof *flow);
    flow->dl_src = (struct eth_addr) ETH_ADDR_C(50,54,00,00,00,09);
    flow->dl_dst = (struct eth_addr) ETH_ADDR_C(50,54,00,00,00,0a);
    flow->dl_type = dl_type;
}

/* Returns the flow of a packet from 10.0.0.'src' to 10.0.0.'dst'.  TCP packets
 * have ACK set. */
static inline struct flow
nic_test_flow4(uint8_t nw_proto, uint8_t src, uint8_t dst, uint16_t tp_src,
               uint16_t tp_dst)
{
    struct flow flow;

    nic_test_eth(&flow, htons(ETH_TYPE_IP));
    flow.nw_proto = nw_proto;
    flow.nw_ttl = 64;
    flow.nw_src = htonl(0x0a000000 | src);
    flow.nw_dst = htonl(0x0a000000 | dst);
    flow.tp_src = htons(tp_src);
    flow.tp_dst = htons(tp_dst);
    flow.tcp_flags = nw_proto == IPPROTO_TCP ? htons(TCP_ACK) : 0;
    return flow;
}

/* The same for 2001:db8::'src' and 2001:db8::'dst'. */
static inline struct flow
nic_test_flow6(uint8_t nw_proto, uint8_t src, uint8_t dst, uint16_t tp_src,
               uint16_t tp_dst)
{
    struct flow flow = nic_test_flow4(nw_proto, 0, 0, tp_src, tp_dst);

    flow.dl_type = htons(ETH_TYPE_IPV6);
    flow.nw_src = flow.nw_dst = 0;
    flow.ipv6_src = (struct in6_addr) { .s6_addr = {
        0x20, 0x01, 0x0d, 0xb8, [15] = src } };
    flow.ipv6_dst = (struct in6_addr) { .s6_addr = {
        0x20, 0x01, 0x0d, 0xb8, [15] = dst } };
    return flow;
}

static inline struct dp_packet *
nic_test_packet(const struct flow *flow, size_t l7_len)
{
    struct dp_packet *packet = dp_packet_new(256);
    char *l7 = xzalloc(l7_len + 1);

    flow_compose(packet, flow, l7, l7_len);
    dp_packet_reset_offsets(packet);
    free(l7);
    return packet;
}

static inline struct nic_tuple
nic_test_tuple(const struct flow *flow, bool reply)
{
    struct nic_tuple t;

    memset(&t, 0, sizeof t);
    if (flow->dl_type == htons(ETH_TYPE_IP)) {
        t.src.ipv4 = reply ? flow->nw_dst : flow->nw_src;
        t.dst.ipv4 = reply ? flow->nw_src : flow->nw_dst;
    } else {
        t.src.ipv6 = reply ? flow->ipv6_dst : flow->ipv6_src;
        t.dst.ipv6 = reply ? flow->ipv6_src : flow->ipv6_dst;
    }
    t.tp_src = reply ? flow->tp_dst : flow->tp_src;
    t.tp_dst = reply ? flow->tp_src : flow->tp_dst;
    return t;
}

static inline struct nic_values
nic_test_values(const struct flow *flow)
{
    return (struct nic_values) { .tuple = nic_test_tuple(flow, false) };
}

static inline struct nic_conn
nic_test_conn(const struct flow *flow, uint16_t zone)
{
    struct nic_conn conn;

    memset(&conn, 0, sizeof conn);
    conn.dl_type = flow->dl_type;
    conn.nw_proto = flow->nw_proto;
    conn.zone = zone;
    conn.tuple[0] = nic_test_tuple(flow, false);
    conn.tuple[1] = nic_test_tuple(flow, true);
    return conn;
}

static inline struct nic_action
nic_test_output(nic_port_id port)
{
    return (struct nic_action) { .type = NIC_ACTION_OUTPUT, .port = port };
}

/* A template for packets like 'flow' with a slot for the tuple. */
static inline struct nic_template *
nic_test_tuple_template(nic_port_id in_port, const struct flow *flow,
                        struct nic_action action)
{
    struct match match;

    match_init_catchall(&match);
    match_set_dl_type(&match, flow->dl_type);
    match_set_nw_proto(&match, flow->nw_proto);
    match_set_nw_frag(&match, 0);
    return nic_template_create(in_port, NIC_TABLE_ROOT, &match,
                               NIC_SLOT_TUPLE, &action, 1);
}

/* A template without slots for all packets of 'in_port' in 'table'. */
static inline struct nic_template *
nic_test_catchall(nic_port_id in_port, uint32_t table,
                  struct nic_action action)
{
    struct match match;

    match_init_catchall(&match);
    return nic_template_create(in_port, table, &match, NIC_SLOT_NONE, &action,
                               1);
}

static inline int
nic_test_remove_cb(const char *path, const struct stat *st OVS_UNUSED,
                   int type OVS_UNUSED, struct FTW *ftw OVS_UNUSED)
{
    return remove(path);
}

/* Runs the tests of 'suite' in a run directory of their own and returns the
 * program's exit code. */
static inline int
nic_test_main(int argc OVS_UNUSED, char *argv[], Suite *suite)
{
    /* Memory rather than a disk, if possible: some tests write thousands of
     * files. */
    const char *tmp = getenv("TMPDIR");
    char *dir = xasprintf("%s/nic-test-XXXXXX",
                          tmp ? tmp
                          : !access("/dev/shm", W_OK) ? "/dev/shm" : "/tmp");
    int exit_code;

    set_program_name(argv[0]);
    if (!mkdtemp(dir)) {
        ovs_fatal(errno, "%s: cannot create a directory", dir);
    }
    setenv("OVS_RUNDIR", dir, true);
    vlog_set_levels(NULL, VLF_ANY_DESTINATION, VLL_OFF);

    exit_code = unit_test_run(suite);
    nftw(dir, nic_test_remove_cb, 16, FTW_DEPTH | FTW_PHYS);
    free(dir);
    return exit_code;
}

#endif /* nic-test.h */
