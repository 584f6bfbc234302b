/* SPDX-License-Identifier: Apache-2.0 */

/* The driver for tc-flower with a real kernel.
 *
 * usage: tc-driver           runs the tests
 *        tc-driver leave N   adds N rules and ends without a goodbye
 *        tc-driver stale N   checks that such an end has left N filters
 *        tc-driver bench N   adds and removes N rules, and has "tc -batch" add
 *                            the same filters; prints how long that took
 *
 * Runs as root in a network namespace with devices d0 and d1, which are a
 * pair, and d2 and d3, another one, all up. */

#include <config.h>

#include "lib/nic-tc.h"

/* Devices can be made to seem to offload. */
#include "lib/hw-tc.h"
static enum hw_tc real_hw_tc_query(int ifindex);
#define hw_tc_query real_hw_tc_query
#include "lib/hw-tc.c"
#undef hw_tc_query

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <sys/socket.h>

#include "lib/tc-socket.h"
#include "smap.h"
#include "tests/nic-test.h"
#include "timeval.h"

static const struct nic_class *class = &nic_tc_class;
static struct nic *nic;
static nic_port_id d0, d2;

/* What devices seem to be; HW_TC_UNKNOWN for what they are. */
static enum hw_tc seems;

enum hw_tc
hw_tc_query(int ifindex)
{
    return seems != HW_TC_UNKNOWN ? seems : real_hw_tc_query(ifindex);
}

static void
teardown(void)
{
    class->port_del(nic, d0);
    class->port_del(nic, d2);
    class->close(nic);
    nic = NULL;
    nic_test_quiesce();
}

/* Opens the NIC with its ports. */
static void
setup(void)
{
    struct smap config = SMAP_INITIALIZER(&config);
    char *error = NULL;

    if (nic) {
        /* A test failed. */
        teardown();
    }
    smap_add(&config, "tc-policy", "skip_hw");
    if (class->open("tc", &config, &nic, &error)) {
        ovs_fatal(0, "%s", error);
    }
    smap_destroy(&config);
    ovs_assert(!class->port_add_on(nic, "r0", "d0", u32_to_odp(1),
                                   NIC_PORT_VF, &d0));
    ovs_assert(!class->port_add_on(nic, "r2", "d2", u32_to_odp(2),
                                   NIC_PORT_UPLINK, &d2));
}

/* Returns the number of lines of 'command', a shell command. */
static int
count_lines(const char *command)
{
    FILE *f = popen(command, "r");
    int n = 0;
    int c;

    ck_assert_ptr_nonnull(f);
    while ((c = getc(f)) != EOF) {
        n += c == '\n';
    }
    pclose(f);
    return n;
}

#define FILTERS_D0 "tc filter show dev d0 ingress | grep handle"
#define FILTERS_E9 "tc filter show dev e9 ingress | grep handle"

/* Submits 'ops' and waits until all have completed. */
static void
run_ops(const struct nic_op ops[], size_t n, struct nic_completion done[])
{
    long long int deadline = time_msec() + 200000;
    size_t n_done = 0;

    class->submit(nic, ops, n, time_msec());
    while (n_done < n) {
        ovs_assert(time_msec() < deadline);
        n_done += class->poll(nic, &done[n_done], n - n_done, time_msec());
        if (n_done < n) {
            ovs_assert(class->wake_ms(nic, time_msec()) <= time_msec() + 1);
            poll(NULL, 0, 1);
        }
    }
    ovs_assert(!class->poll(nic, &done[0], 0, time_msec()));
}

/* Returns the completion of the operation with 'cookie'. */
static const struct nic_completion *
find(const struct nic_completion done[], size_t n, uint64_t cookie)
{
    for (size_t i = 0; i < n; i++) {
        if (done[i].cookie == cookie) {
            return &done[i];
        }
    }
    ck_abort_msg("no completion of operation %d", (int) cookie);
    return NULL;
}

/* A template for UDP from d0, with 'action' and a tuple. */
static struct nic_template *
udp_template(struct nic_action action)
{
    struct match match;

    match_init_catchall(&match);
    match_set_dl_type(&match, htons(ETH_TYPE_IP));
    match_set_nw_proto(&match, IPPROTO_UDP);
    match.wc.masks.vlans[0].tci = OVS_BE16_MAX;
    return nic_template_create(d0, NIC_TABLE_ROOT, &match, NIC_SLOT_TUPLE,
                               &action, 1);
}

static struct nic_op
add_op(const struct nic_template *t, uint16_t port, uint64_t cookie)
{
    struct nic_op op = { .type = NIC_OP_RULE_ADD, .cookie = cookie };

    op.rule.template = t;
    op.rule.values.tuple.src.ipv4 = htonl(0x0a000001);
    op.rule.values.tuple.dst.ipv4 = htonl(0x0a000002);
    op.rule.values.tuple.tp_src = htons(port);
    op.rule.values.tuple.tp_dst = htons(53);
    return op;
}

static struct nic_op
handle_op(enum nic_op_type type, nic_handle handle, uint64_t cookie)
{
    struct nic_op op = { .type = type, .cookie = cookie, .handle = handle };

    return op;
}

static const struct nic_action drop = { .type = NIC_ACTION_DROP };

START_TEST(test_ports)
{
    struct smap config = SMAP_INITIALIZER(&config);
    char *error = NULL;
    struct nic *other;
    nic_port_id id;

    setup();
    ck_assert_int_eq(class->open("tc2", &config, &other, &error), EEXIST);
    free(error);
    ck_assert_int_eq(class->port_add(nic, "none", u32_to_odp(3), NIC_PORT_VF,
                                     &id), ENODEV);
    ck_assert_int_eq(class->port_add(nic, "d0", u32_to_odp(3), NIC_PORT_VF,
                                     &id), EEXIST);
    ck_assert_int_eq(count_lines("tc qdisc show dev d0 | grep clsact"), 1);
    teardown();

    /* Nothing of ours is left, and what was there stays. */
    ck_assert_int_eq(count_lines("tc qdisc show dev d0 | grep clsact"), 0);
    smap_add(&config, "tc-policy", "skip_all");
    ck_assert_int_eq(class->open("tc", &config, &nic, &error), EINVAL);
    ck_assert_str_eq(error, "tc-policy=skip_all: must be none, skip_sw or "
                     "skip_hw");
    free(error);
    smap_destroy(&config);
}
END_TEST

START_TEST(test_batch)
{
    enum { N = 1000 };
    struct nic_completion *done = xcalloc(N, sizeof *done);
    struct nic_op *ops = xcalloc(N, sizeof *ops);
    uint64_t calls, requests, calls2, requests2;
    struct nic_template *t;
    struct nic_stats stats;

    setup();
    t = udp_template(drop);
    for (size_t i = 0; i < N; i++) {
        ops[i] = add_op(t, 1 + i, i);
    }
    tc_socket_get_stats(&calls, &requests);
    run_ops(ops, N, done);
    nic_template_unref(t);
    tc_socket_get_stats(&calls2, &requests2);
    ck_assert_uint_ge(requests2 - requests, N);
    ck_assert_uint_lt(calls2 - calls, N / 10);
    for (size_t i = 0; i < N; i++) {
        ck_assert_msg(!done[i].error, "%s", done[i].reason);
        ck_assert_uint_ne(done[i].handle, 0);
    }
    ck_assert_int_eq(count_lines(FILTERS_D0), N);
    class->get_stats(nic, &stats);
    ck_assert_uint_eq(stats.n_rules, N);
    ck_assert_uint_eq(stats.n_ops, N);

    for (size_t i = 0; i < N; i++) {
        ops[i] = handle_op(NIC_OP_RULE_DEL, done[i].handle, i);
    }
    run_ops(ops, N, done);
    for (size_t i = 0; i < N; i++) {
        ck_assert_int_eq(done[i].error, 0);
    }
    ck_assert_int_eq(count_lines(FILTERS_D0), 0);
    run_ops(ops, 1, done);
    ck_assert_int_eq(done[0].error, ENOENT);
    teardown();
    free(ops);
    free(done);
}
END_TEST

START_TEST(test_partial_failure)
{
    struct nic_completion done[6];
    struct nic_template *t, *label, *gone;
    struct nic_action out = { .type = NIC_ACTION_OUTPUT, .port = 999 };
    struct match match;
    struct nic_op ops[6];

    setup();
    t = udp_template(drop);
    gone = udp_template(out);
    match_init_catchall(&match);
    match_set_dl_type(&match, htons(ETH_TYPE_IPV6));
    match_set_ipv6_label(&match, htonl(1));
    label = nic_template_create(d0, NIC_TABLE_ROOT, &match, NIC_SLOT_NONE,
                                &drop, 1);

    /* The kernel refuses to redirect to a device that is not there, too; this
     * one it has to refuse because the same filter is there. */
    ops[0] = add_op(t, 1, 0);
    ops[1] = add_op(t, 1, 1);
    ops[2] = add_op(label, 0, 2);
    ops[3] = add_op(gone, 5, 3);
    ops[4] = add_op(t, 2, 4);
    ops[5] = handle_op(NIC_OP_RULE_DEL, 12345678, 5);
    run_ops(ops, 6, done);
    ck_assert_int_eq(find(done, 6, 0)->error, 0);
    ck_assert_int_eq(find(done, 6, 1)->error, EEXIST);
    ck_assert_ptr_nonnull(find(done, 6, 1)->reason);
    ck_assert_int_eq(find(done, 6, 2)->error, EOPNOTSUPP);
    ck_assert_str_eq(find(done, 6, 2)->reason,
                     "tc-flower cannot match the IPv6 flow label");
    ck_assert_int_eq(find(done, 6, 3)->error, ENODEV);
    ck_assert_int_eq(find(done, 6, 4)->error, 0);
    ck_assert_int_eq(find(done, 6, 5)->error, ENOENT);
    ck_assert_int_eq(count_lines(FILTERS_D0), 2);
    ck_assert_str_eq(class->check_template(nic, label),
                     "tc-flower cannot match the IPv6 flow label");
    ck_assert_ptr_null(class->check_template(nic, t));
    nic_template_unref(t);
    nic_template_unref(gone);
    nic_template_unref(label);
    teardown();
}
END_TEST

#define CHAINS "tc filter show dev d0 ingress | grep 'chain [1-9].*handle'"
#define CHAIN_TO(DEV) "tc filter show dev d0 ingress | grep 'device " DEV ")'"

START_TEST(test_egress)
{
    struct nic_completion done[2];
    struct nic_action action = { .type = NIC_ACTION_EGRESS };
    struct nic_template *t;
    const char *reason = NULL;
    nic_handle egress, rule;
    struct nic_op op;

    setup();
    op = handle_op(NIC_OP_EGRESS_ADD, 0, 1);
    op.egress_port = d2;
    run_ops(&op, 1, done);
    ck_assert_int_eq(done[0].error, 0);
    egress = done[0].handle;
    ck_assert_int_eq(count_lines(CHAINS), 0);

    action.egress = egress;
    t = udp_template(action);
    op = add_op(t, 1, 2);
    run_ops(&op, 1, done);
    ck_assert_msg(!done[0].error, "%s", done[0].reason);
    rule = done[0].handle;
    ck_assert_int_eq(count_lines(CHAINS), 1);
    ck_assert_int_eq(count_lines(CHAIN_TO("d2")), 1);

    ck_assert_int_eq(class->egress_set(nic, egress, d0, &reason), 0);
    ck_assert_int_eq(count_lines(CHAINS), 1);
    ck_assert_int_eq(count_lines(CHAIN_TO("d2")), 0);
    ck_assert_int_eq(count_lines(CHAIN_TO("d0")), 1);
    ck_assert_int_eq(class->egress_set(nic, egress, NIC_PORT_NONE, &reason),
                     0);
    ck_assert_int_eq(count_lines(CHAIN_TO("d0")), 0);
    ck_assert_int_eq(count_lines(CHAINS), 1);
    ck_assert_int_eq(class->egress_set(nic, egress, 77, &reason), ENODEV);
    ck_assert_int_eq(class->egress_set(nic, 4711, d0, &reason), ENOENT);

    op = handle_op(NIC_OP_EGRESS_DEL, egress, 3);
    run_ops(&op, 1, done);
    ck_assert_int_eq(done[0].error, EBUSY);
    op = handle_op(NIC_OP_RULE_DEL, rule, 4);
    run_ops(&op, 1, done);
    ck_assert_int_eq(done[0].error, 0);
    op = handle_op(NIC_OP_EGRESS_DEL, egress, 5);
    run_ops(&op, 1, done);
    ck_assert_int_eq(done[0].error, 0);
    ck_assert_int_eq(count_lines(FILTERS_D0), 0);
    nic_template_unref(t);
    teardown();
}
END_TEST

/* Receives 'n' UDP packets on d0, from port 'port'.  Returns their size. */
static size_t
receive_packets(int n, uint16_t port)
{
    struct flow flow = nic_test_flow4(IPPROTO_UDP, 1, 2, port, 53);
    struct sockaddr_ll addr = {
        .sll_family = AF_PACKET,
        .sll_ifindex = if_nametoindex("d1"),
    };
    struct dp_packet *packet = nic_test_packet(&flow, 100);
    int fd = socket(AF_PACKET, SOCK_RAW, 0);
    size_t size = dp_packet_size(packet);

    ck_assert_int_ge(fd, 0);
    for (int i = 0; i < n; i++) {
        ck_assert_int_eq(sendto(fd, dp_packet_data(packet), size, 0,
                                (struct sockaddr *) &addr, sizeof addr),
                         size);
    }
    close(fd);
    dp_packet_delete(packet);
    return size;
}

START_TEST(test_counters)
{
    struct nic_counter counter = { .packets = 0 };
    long long int deadline = time_msec() + 20000;
    long long int before;
    struct nic_completion done[1];
    struct nic_template *t;
    nic_handle handle;
    struct nic_op op;
    size_t size;

    setup();
    t = udp_template(drop);
    op = add_op(t, 7, 1);
    run_ops(&op, 1, done);
    ck_assert_int_eq(done[0].error, 0);
    handle = done[0].handle;
    before = time_msec();
    size = receive_packets(10, 7);
    receive_packets(3, 8);
    while (counter.packets < 10 && time_msec() < deadline) {
        class->rule_counters(nic, &handle, 1, &counter, time_msec());
        poll(NULL, 0, 10);
    }
    ck_assert_uint_eq(counter.packets, 10);
    ck_assert_uint_eq(counter.bytes, 10 * size);
    ck_assert_int_ge(counter.used_ms, before - 100);
    ck_assert_int_le(counter.used_ms, time_msec());

    receive_packets(5, 7);
    op = handle_op(NIC_OP_RULE_DEL, handle, 2);
    run_ops(&op, 1, done);
    ck_assert_int_eq(done[0].error, 0);
    ck_assert_uint_eq(done[0].final[0].packets, 15);
    ck_assert_uint_eq(done[0].final[0].bytes, 15 * size);
    nic_template_unref(t);
    teardown();
}
END_TEST

/* Opens a socket that receives what arrives on 'device'. */
static int
open_capture(const char *device)
{
    struct sockaddr_ll addr = {
        .sll_family = AF_PACKET,
        .sll_protocol = htons(ETH_P_ALL),
        .sll_ifindex = if_nametoindex(device),
    };
    int fd = socket(AF_PACKET, SOCK_RAW, 0);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *) &addr, sizeof addr), 0);
    return fd;
}

/* Checks that the next packet in 'fd' is 'expected'. */
static void
check_captured(int fd, const struct dp_packet *expected)
{
    struct pollfd pollfd = { .fd = fd, .events = POLLIN };
    uint8_t buf[2048];
    ssize_t n;

    ck_assert_msg(poll(&pollfd, 1, 20000) == 1, "no packet arrived");
    n = recv(fd, buf, sizeof buf, 0);
    ck_assert_int_eq(n, dp_packet_size(expected));
    ck_assert_mem_eq(buf, dp_packet_data(expected), n);
}

/* Returns an action that sets 'field' to the 'len' bytes at 'value'. */
static struct nic_action
set_action(enum nic_field field, const void *value, size_t len)
{
    struct nic_action a = { .type = NIC_ACTION_SET };

    a.set.field = field;
    memcpy(a.set.value, value, len);
    memset(a.set.mask, UINT8_MAX, len);
    return a;
}

/* Checks that the kernel makes of packets of 'flow' what they should be. */
static void
check_rewrite(const struct flow *flow, int capture)
{
    bool ipv4 = flow->dl_type == htons(ETH_TYPE_IP);
    bool tagged = flow->vlans[0].tci != 0;
    struct nic_action actions[8];
    struct nic_completion done[1];
    struct flow changed = *flow;
    struct dp_packet *packet, *expected;
    struct sockaddr_ll addr = {
        .sll_family = AF_PACKET,
        .sll_ifindex = if_nametoindex("d1"),
    };
    struct nic_template *t;
    struct match match;
    struct nic_op op;
    size_t n = 0;
    int fd;

    changed.dl_src.ea[5] = 0x77;
    changed.dl_dst.ea[3] = 0x78;
    changed.nw_ttl = 17;
    changed.nw_tos = 0x48;
    if (ipv4) {
        changed.nw_src = htonl(0xc0a80105);
        changed.nw_dst = htonl(0xc0a80206);
    } else {
        changed.ipv6_src.s6_addr[7] = 0x55;
        changed.ipv6_dst.s6_addr[14] = 0x66;
        changed.ipv6_label = htonl(0x54321);
    }
    changed.tp_src = htons(40000);
    changed.tp_dst = htons(41000);

    memset(&op, 0, sizeof op);
    op.type = NIC_OP_RULE_ADD;
    op.rule.values.tuple = nic_test_tuple(flow, false);
    op.rule.values.rewrite = nic_test_tuple(&changed, false);
    actions[n].type = NIC_ACTION_SET_TUPLE;
    actions[n++].parts = NIC_TUPLE_SRC | NIC_TUPLE_DST;
    actions[n++] = set_action(NIC_FIELD_ETH_SRC, &changed.dl_src, 6);
    actions[n++] = set_action(NIC_FIELD_ETH_DST, &changed.dl_dst, 6);
    actions[n++] = set_action(NIC_FIELD_IP_TTL, &changed.nw_ttl, 1);
    actions[n++] = set_action(NIC_FIELD_IP_TOS, &changed.nw_tos, 1);
    if (!ipv4) {
        actions[n] = set_action(NIC_FIELD_IPV6_LABEL, &changed.ipv6_label, 4);
        actions[n++].set.mask[1] = 0x0f;
    }
    if (tagged) {
        memset(changed.vlans, 0, sizeof changed.vlans);
        actions[n++].type = NIC_ACTION_POP_VLAN;
    }
    actions[n].type = NIC_ACTION_OUTPUT;
    actions[n++].port = d2;

    match_init_catchall(&match);
    match_set_dl_type(&match, flow->dl_type);
    match_set_nw_proto(&match, flow->nw_proto);
    match.wc.masks.vlans[0].tci = OVS_BE16_MAX;
    match.flow.vlans[0].tci = flow->vlans[0].tci;
    t = nic_template_create(d0, NIC_TABLE_ROOT, &match,
                            NIC_SLOT_TUPLE | NIC_SLOT_REWRITE, actions, n);
    op.rule.template = t;
    run_ops(&op, 1, done);
    ck_assert_msg(!done[0].error, "%s", done[0].reason);

    packet = nic_test_packet(flow, 99);
    expected = nic_test_packet(&changed, 99);
    fd = socket(AF_PACKET, SOCK_RAW, 0);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(sendto(fd, dp_packet_data(packet),
                            dp_packet_size(packet), 0,
                            (struct sockaddr *) &addr, sizeof addr),
                     dp_packet_size(packet));
    close(fd);
    check_captured(capture, expected);

    op = handle_op(NIC_OP_RULE_DEL, done[0].handle, 2);
    run_ops(&op, 1, done);
    ck_assert_uint_eq(done[0].final[0].packets, 1);
    ck_assert_uint_eq(done[0].final[0].bytes, dp_packet_size(packet));
    dp_packet_delete(packet);
    dp_packet_delete(expected);
    nic_template_unref(t);
}

START_TEST(test_rewrite)
{
    static const uint8_t protos[] = { IPPROTO_TCP, IPPROTO_UDP };
    int capture;

    setup();
    capture = open_capture("d3");
    for (size_t i = 0; i < 8; i++) {
        uint8_t proto = protos[i & 1];
        struct flow flow = (i & 2 ? nic_test_flow6(proto, 1, 2, 1000, 80)
                            : nic_test_flow4(proto, 1, 2, 1000, 80));

        if (i & 4) {
            flow.vlans[0].tpid = htons(ETH_TYPE_VLAN_8021Q);
            flow.vlans[0].tci = htons(VLAN_CFI | 5);
        }
        check_rewrite(&flow, capture);
    }
    close(capture);
    teardown();
}
END_TEST

/* A port that goes takes its rules along, but not their counts. */
START_TEST(test_port_del)
{
    struct nic_completion done[1];
    struct nic_template *t;
    struct nic_op op;

    setup();
    t = udp_template(drop);
    op = add_op(t, 7, 1);
    run_ops(&op, 1, done);
    ck_assert_int_eq(done[0].error, 0);
    receive_packets(4, 7);
    class->port_del(nic, d0);
    ck_assert_int_eq(count_lines(FILTERS_D0), 0);

    op = handle_op(NIC_OP_RULE_DEL, done[0].handle, 2);
    run_ops(&op, 1, done);
    ck_assert_int_eq(done[0].error, 0);
    ck_assert_uint_eq(done[0].final[0].packets, 4);
    op = add_op(t, 7, 3);
    run_ops(&op, 1, done);
    ck_assert_int_eq(done[0].error, ENODEV);
    nic_template_unref(t);
    teardown();
}
END_TEST

/* A device that cannot offload, and whose packets Open vSwitch reads. */
START_TEST(test_port_problem)
{
    long long int deadline = time_msec() + 20000;
    struct nic_completion done[3];
    struct nic_template *t;
    const char *problem;
    struct nic_op op;
    nic_port_id id;

    setup();
    ck_assert_int_eq(system("ip link add e0 type veth peer name e1"), 0);
    ck_assert_int_eq(class->port_add(nic, "e0", u32_to_odp(3), NIC_PORT_VF,
                                     &id), 0);
    problem = class->port_problem(nic, id);
    ck_assert_ptr_nonnull(problem);
    ck_assert_ptr_nonnull(strstr(problem, "hw-tc-offload is off, fixed"));
    ck_assert(!class->port_changed(nic, id));

    /* The kernel executes the filters of this one. */
    ck_assert_ptr_null(class->port_problem(nic, d0));
    ck_assert_ptr_null(class->port_problem(nic, 4711));

    /* The kernel's refusal gives no reason. */
    t = nic_template_create(id, NIC_TABLE_ROOT,
                            &(struct match) MATCH_CATCHALL_INITIALIZER,
                            NIC_SLOT_NONE, &drop, 1);
    op = add_op(t, 0, 1);
    memset(&op.rule.values, 0, sizeof op.rule.values);
    run_ops(&op, 1, done);
    ck_assert_int_eq(done[0].error, EOPNOTSUPP);
    ck_assert_str_eq(done[0].reason, problem);
    nic_template_unref(t);

    /* The same where an egress object's filter is what is refused. */
    op = (struct nic_op) { .type = NIC_OP_EGRESS_ADD, .egress_port = d2 };
    run_ops(&op, 1, done);
    ck_assert_int_eq(done[0].error, 0);
    t = nic_template_create(id, NIC_TABLE_ROOT,
                            &(struct match) MATCH_CATCHALL_INITIALIZER,
                            NIC_SLOT_NONE,
                            &(struct nic_action) {
                                .type = NIC_ACTION_EGRESS,
                                .egress = done[0].handle }, 1);
    op = add_op(t, 0, 1);
    memset(&op.rule.values, 0, sizeof op.rule.values);
    run_ops(&op, 1, &done[1]);
    ck_assert_int_eq(done[1].error, EOPNOTSUPP);
    ck_assert_str_eq(done[1].reason, problem);
    nic_template_unref(t);
    op = handle_op(NIC_OP_EGRESS_DEL, done[0].handle, 2);
    run_ops(&op, 1, &done[2]);
    ck_assert_int_eq(done[2].error, 0);

    /* As soon as the driver has been told to offload, the port is another. */
    seems = HW_TC_ON;
    while (!class->port_changed(nic, id)) {
        ovs_assert(time_msec() < deadline);
        poll(NULL, 0, 10);
    }
    ck_assert_ptr_null(class->port_problem(nic, id));
    class->port_del(nic, id);
    ck_assert_int_eq(class->port_add(nic, "e0", u32_to_odp(3), NIC_PORT_VF,
                                     &id), 0);
    ck_assert(!class->port_changed(nic, id));
    ck_assert_ptr_null(class->port_problem(nic, id));
    seems = HW_TC_UNKNOWN;
    class->port_del(nic, id);
    ck_assert_int_eq(system("ip link del e0"), 0);
    teardown();
}
END_TEST

/* Adds a rule that drops all packets from port 'id'. */
static nic_handle
drop_all(nic_port_id id)
{
    struct match match = MATCH_CATCHALL_INITIALIZER;
    struct nic_completion done;
    struct nic_template *t;
    struct nic_op op;

    t = nic_template_create(id, NIC_TABLE_ROOT, &match, NIC_SLOT_NONE, &drop,
                            1);
    op = add_op(t, 0, 1);
    memset(&op.rule.values, 0, sizeof op.rule.values);
    run_ops(&op, 1, &done);
    ck_assert_msg(!done.error, "%s", done.reason);
    nic_template_unref(t);
    return done.handle;
}

static void
delete_rule(nic_handle rule)
{
    struct nic_op op = handle_op(NIC_OP_RULE_DEL, rule, 2);
    struct nic_completion done;

    run_ops(&op, 1, &done);
    ck_assert_int_eq(done.error, 0);
}

/* Another device with the name of one that was deleted is not that one, nor is
 * one that got another name or went to another namespace. */
START_TEST(test_port_changed)
{
    nic_handle rule;
    nic_port_id id;

    setup();
    ck_assert_int_eq(system("ip link add e0 type veth peer name e1"), 0);
    ck_assert_int_eq(class->port_add_on(nic, "r3", "e0", u32_to_odp(3),
                                        NIC_PORT_VF, &id), 0);
    ck_assert(!class->port_changed(nic, id));
    rule = drop_all(id);

    ck_assert_int_eq(system("ip link del e0"), 0);
    ck_assert(class->port_changed(nic, id));
    ck_assert_int_eq(system("ip link add e0 type veth peer name e1"), 0);
    ck_assert(class->port_changed(nic, id));
    ck_assert(!class->port_changed(nic, d0));
    class->port_del(nic, id);
    ck_assert(!class->port_changed(nic, id));
    delete_rule(rule);

    /* The new one has nothing to do with the old one. */
    ck_assert_int_eq(class->port_add_on(nic, "r3", "e0", u32_to_odp(3),
                                        NIC_PORT_VF, &id), 0);
    ck_assert(!class->port_changed(nic, id));

    /* It gets another name: what is on it goes. */
    rule = drop_all(id);
    ck_assert_int_eq(system("ip link set e0 name e9"), 0);
    ck_assert_int_eq(count_lines(FILTERS_E9), 1);
    ck_assert(class->port_changed(nic, id));
    class->port_del(nic, id);
    ck_assert_int_eq(count_lines(FILTERS_E9), 0);
    delete_rule(rule);

    /* It goes to another namespace, and the kernel removes what is on it. */
    ck_assert_int_eq(class->port_add_on(nic, "r3", "e9", u32_to_odp(3),
                                        NIC_PORT_VF, &id), 0);
    rule = drop_all(id);
    ck_assert_int_eq(system("ip netns add tc-other && "
                            "ip link set e9 netns tc-other"), 0);
    ck_assert(class->port_changed(nic, id));
    delete_rule(rule);
    class->port_del(nic, id);
    ck_assert_int_eq(system("ip netns del tc-other"), 0);
    teardown();
}
END_TEST

/* 'offload-dev' may be another name of the port's own device. */
START_TEST(test_altname)
{
    nic_port_id id;

    setup();
    ck_assert_int_eq(system("ip link add e0 type veth peer name e1"), 0);
    ck_assert_int_eq(system("ip link property add dev e0 altname e0other"), 0);
    ck_assert_int_eq(class->port_add_on(nic, "e0", "e0other", u32_to_odp(3),
                                        NIC_PORT_VF, &id), 0);
    ck_assert_ptr_nonnull(class->port_problem(nic, id));
    class->port_del(nic, id);
    ck_assert_int_eq(class->port_add_on(nic, "r3", "e0other", u32_to_odp(3),
                                        NIC_PORT_VF, &id), 0);
    ck_assert_ptr_null(class->port_problem(nic, id));
    class->port_del(nic, id);
    ck_assert_int_eq(system("ip link del e0"), 0);
    teardown();
}
END_TEST

/* Somebody removes the clsact, and with it the filters. */
START_TEST(test_qdisc_removed)
{
    struct nic_completion done[1];
    struct nic_template *t;
    struct nic_op op;

    setup();
    t = udp_template(drop);
    op = add_op(t, 1, 0);
    run_ops(&op, 1, done);
    ck_assert_int_eq(done[0].error, 0);
    ck_assert_int_eq(system("tc qdisc del dev d0 clsact"), 0);
    delete_rule(done[0].handle);

    /* A fault, not a refusal: it works when it is tried again. */
    op = add_op(t, 2, 2);
    run_ops(&op, 1, done);
    ck_assert_int_eq(done[0].error, EIO);
    ck_assert_ptr_nonnull(strstr(done[0].reason, "lost its clsact"));
    run_ops(&op, 1, done);
    ck_assert_msg(!done[0].error, "%s", done[0].reason);
    ck_assert_int_eq(count_lines(FILTERS_D0), 1);
    delete_rule(done[0].handle);
    nic_template_unref(t);
    teardown();
    ck_assert_int_eq(count_lines("tc qdisc show dev d0 | grep clsact"), 0);
}
END_TEST

static void
leave(int n)
{
    struct nic_completion done[1];
    struct nic_template *t;

    setup();
    t = udp_template(drop);
    for (int i = 0; i < n; i++) {
        struct nic_op op = add_op(t, 1 + i, i);

        run_ops(&op, 1, done);
        if (done[0].error) {
            ovs_fatal(done[0].error, "cannot add rule %d", i);
        }
    }
    _exit(0);
}

static void
check_stale(int n)
{
    struct nic_stats stats;

    setup();
    class->get_stats(nic, &stats);
    if (stats.n_stale != n) {
        ovs_fatal(0, "%"PRIu32" filters were found, not %d", stats.n_stale,
                  n);
    }
    teardown();
}

/* Runs the 'n' operations 'ops', called 'what', and says how long it took and
 * how many system calls it cost.  Ends the program if one fails or if there
 * was more than one system call for ten of them. */
static long long int
bench_ops(const char *what, const struct nic_op ops[], size_t n,
          struct nic_completion done[])
{
    uint64_t calls, requests, calls2, requests2;
    long long int start = time_msec();
    long long int ms;

    tc_socket_get_stats(&calls, &requests);
    run_ops(ops, n, done);
    ms = time_msec() - start;
    tc_socket_get_stats(&calls2, &requests2);
    for (size_t i = 0; i < n; i++) {
        if (done[i].error) {
            ovs_fatal(done[i].error, "%s: %s", what, done[i].reason);
        }
    }
    printf("driver: %s %"PRIuSIZE" filters in %lld ms, %.0f/s, with "
           "%"PRIu64" system calls\n", what, n, ms, n * 1000. / MAX(ms, 1),
           calls2 - calls);
    if (calls2 - calls > n / 10) {
        ovs_fatal(0, "these are too many system calls");
    }
    return ms;
}

static void
bench(size_t n)
{
    struct nic_completion *done = xcalloc(n, sizeof *done);
    struct nic_op *ops = xcalloc(n, sizeof *ops);
    struct nic_template *t;

    setup();
    t = udp_template(drop);
    for (int round = 0; round < 3; round++) {
        FILE *f = fopen("batch", "w");
        long long int ms, start;

        if (!f) {
            ovs_fatal(errno, "batch");
        }
        for (size_t i = 0; i < n; i++) {
            ops[i] = add_op(t, 1 + i, i);
            fprintf(f, "filter add dev d0 ingress protocol ip prio 5 "
                    "handle %#"PRIxSIZE" flower skip_hw ip_proto udp "
                    "src_ip 10.0.0.1 dst_ip 10.0.0.2 src_port %"PRIuSIZE" "
                    "dst_port 53 ip_flags nofrag action drop\n",
                    1 + i, 1 + i);
        }
        fclose(f);
        ms = bench_ops("adds", ops, n, done);
        for (size_t i = 0; i < n; i++) {
            ops[i] = handle_op(NIC_OP_RULE_DEL, done[i].handle, i);
        }
        bench_ops("removes", ops, n, done);

        start = time_msec();
        if (system("tc -batch batch")) {
            ovs_fatal(0, "tc -batch failed");
        }
        start = time_msec() - start;
        printf("tc -batch: adds %"PRIuSIZE" filters in %lld ms, %.0f/s; the "
               "driver needed %.2f of that time\n", n, start,
               n * 1000. / MAX(start, 1), 1. * ms / MAX(start, 1));
        if (system("tc filter del dev d0 ingress prio 5")) {
            ovs_fatal(0, "the filters cannot be removed");
        }
    }
    nic_template_unref(t);
    teardown();
    free(ops);
    free(done);
}

int
main(int argc, char *argv[])
{
    Suite *suite;
    TCase *tc;

    if (argc == 3 && !strcmp(argv[1], "leave")) {
        leave(atoi(argv[2]));
    } else if (argc == 3 && !strcmp(argv[1], "stale")) {
        check_stale(atoi(argv[2]));
        return 0;
    } else if (argc == 3 && !strcmp(argv[1], "bench")) {
        bench(atoi(argv[2]));
        return 0;
    }

    suite = suite_create("tc-driver");
    tc = tcase_create("tc-driver");
    tcase_add_test(tc, test_ports);
    tcase_add_test(tc, test_batch);
    tcase_add_test(tc, test_partial_failure);
    tcase_add_test(tc, test_egress);
    tcase_add_test(tc, test_counters);
    tcase_add_test(tc, test_rewrite);
    tcase_add_test(tc, test_port_del);
    tcase_add_test(tc, test_port_problem);
    tcase_add_test(tc, test_port_changed);
    tcase_add_test(tc, test_altname);
    tcase_add_test(tc, test_qdisc_removed);
    suite_add_tcase(suite, tc);
    return nic_test_main(argc, argv, suite);
}
