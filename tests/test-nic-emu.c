/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>
#include "lib/nic-emu.h"

#include <signal.h>
#include <sys/wait.h>

#include "dirs.h"
#include "jsonrpc.h"
#include "openvswitch/json.h"
#include "socket-util.h"
#include "stream.h"
#include "tests/nic-emu-test.h"
#include "unixctl.h"

/* Runs a command; its output, or the first line of its error, is in the static
 * buffer returned. */
static struct unixctl_server *server;

static const char *
ctl(const char *command, ...)
{
    static char buffer[4096];
    char *args[4], *result = NULL, *error = NULL;
    struct jsonrpc *client;
    int n = 0;
    va_list ap;

    if (!server) {
        ck_assert(!unixctl_server_create("ctl", &server));
        nic_emu_init();
    }
    va_start(ap, command);
    while ((args[n] = va_arg(ap, char *))) {
        n++;
    }
    va_end(ap);

    /* The server answers from this very thread: send first, then let it
     * run, then receive. */
    char *path = xasprintf("unix:%s/ctl", ovs_rundir());
    struct jsonrpc_msg *request, *reply = NULL;
    struct stream *stream;
    struct json **params = xmalloc(n * sizeof *params);

    ck_assert(!stream_open_block(stream_open(path, &stream, DSCP_DEFAULT),
                                 -1, &stream));
    client = jsonrpc_open(stream);
    for (int i = 0; i < n; i++) {
        params[i] = json_string_create(args[i]);
    }
    request = jsonrpc_create_request(command, json_array_create(params, n),
                                     NULL);
    ck_assert(!jsonrpc_send(client, request));
    while (!reply) {
        jsonrpc_run(client);
        unixctl_server_run(server);
        int retval = jsonrpc_recv(client, &reply);
        ck_assert(!retval || retval == EAGAIN);
    }
    if (reply->error && reply->error->type == JSON_STRING) {
        error = xstrdup(json_string(reply->error));
    } else if (reply->result && reply->result->type == JSON_STRING) {
        result = xstrdup(json_string(reply->result));
    }
    ovs_strlcpy(buffer, error ? error : result ? result : "",
                sizeof buffer);
    if (error) {
        buffer[strcspn(buffer, "\n")] = '\0';
    }
    free(error);
    free(result);
    jsonrpc_msg_destroy(reply);
    jsonrpc_close(client);
    free(path);
    return buffer;
}

START_TEST(test_rules)
{
    struct flow flow = udp(1), other = udp(2);
    struct nic_completion c;
    struct nic_stats stats;
    nic_handle h, h2;

    open_nic("profile=kind");
    ck_assert(nic_emu_is_active());
    ck_assert(!hits("vf0", &flow));

    /* Immediate: no time passes. */
    h = add(rule_op(vf0, &flow, nic_test_output(up0)));
    ck_assert_int_eq(now, 1000);
    ck_assert(hits("vf0", &flow));
    ck_assert_str_eq(ds_cstr(&sent), "20:142 ");
    ck_assert(!hits("vf1", &flow));
    ck_assert(!hits("nobody", &flow));
    ck_assert(!hits("vf0", &other));
    ck_assert_int_eq(fails(rule_op(vf0, &flow, nic_test_output(up0))),
                     EEXIST);
    ck_assert_int_eq(fails(del_op(NIC_OP_CONN_DEL, h)), ENOENT);

    /* Order is kept, one batch per port. */
    h2 = add(rule_op(vf0, &other, nic_test_output(up1)));
    ck_assert_uint_ne(h, h2);
    struct dp_packet_batch batch;
    dp_packet_batch_init(&batch);
    for (int i = 0; i < 12; i++) {
        struct flow third = udp(3);

        dp_packet_batch_add(&batch, nic_test_packet(
                                i % 3 == 0 ? &flow : i % 3 == 1 ? &other
                                : &third, i));
    }
    ds_clear(&sent);
    n_sends = 0;
    nic_emu_receive("vf0", &batch, now, send_cb, &sent);
    ck_assert_str_eq(ds_cstr(&sent), "20:42 20:45 20:48 20:51 "
                     "21:43 21:46 21:49 21:52 ");
    ck_assert_uint_eq(n_sends, 2);
    ck_assert_uint_eq(dp_packet_batch_size(&batch), 4);
    for (int i = 0; i < 4; i++) {
        ck_assert_uint_eq(dp_packet_size(batch.packets[i]), 44 + 3 * i);
    }
    dp_packet_delete_batch(&batch, true);

    c = run(del_op(NIC_OP_RULE_DEL, h));
    ck_assert_int_eq(c.error, 0);
    ck_assert_uint_eq(c.final[0].packets, 5);
    ck_assert_uint_eq(c.final[0].bytes, 142 + 42 + 45 + 48 + 51);
    ck_assert_int_eq(c.final[0].used_ms, now);
    ck_assert(!hits("vf0", &flow));
    ck_assert_int_eq(fails(del_op(NIC_OP_RULE_DEL, h)), ENOENT);

    /* The handle of a rule that is gone is not another's. */
    ck_assert_uint_ne(add(rule_op(vf0, &flow, nic_test_output(up0))), h);
    ck_assert_int_eq(fails(del_op(NIC_OP_RULE_DEL, h)), ENOENT);
    ck_assert(hits("vf0", &flow));

    stats = get_stats();
    ck_assert_uint_eq(stats.n_rules, 2);
    ck_assert_uint_eq(stats.n_ops, 4);
    ck_assert_uint_eq(stats.n_failed, 4);
    ck_assert_uint_eq(stats.n_pending, 0);
    ck_assert_uint_eq(stats.carried_packets, 1 + 8 + 1);
    ck_assert_uint_eq(stats.missed_packets, 1 + 1 + 1 + 4 + 1);
    ck_assert_uint_eq(stats.dropped_packets, 0);
    close_nic();
}
END_TEST

START_TEST(test_ports)
{
    struct flow flow = udp(1), other = udp(2);
    nic_port_id id, again;
    nic_handle h;

    open_nic("profile=kind");
    ck_assert_int_eq(class->port_add(nic, "vf0", 99, NIC_PORT_VF, &id),
                     EEXIST);
    ck_assert(!class->port_add(nic, "p", 30, NIC_PORT_VF, &id));
    h = add(rule_op(vf0, &flow, nic_test_output(id)));
    add(rule_op(id, &other, nic_test_output(up0)));
    ck_assert(hits("vf0", &flow));
    ck_assert_str_eq(ds_cstr(&sent), "30:142 ");
    ck_assert(hits("p", &other));

    /* A target that is gone drops; an input that is gone does not hit. */
    class->port_del(nic, id);
    ck_assert(hits("vf0", &flow));
    ck_assert_str_eq(ds_cstr(&sent), "");
    ck_assert(!hits("p", &other));
    ck_assert_uint_eq(get_stats().dropped_packets, 1);
    ck_assert_int_eq(fails(rule_op(vf0, &other, nic_test_output(id))),
                     ENODEV);
    ck_assert_int_eq(fails(rule_op(id, &flow, nic_test_output(up0))),
                     ENODEV);
    ck_assert(class->check_template(nic, rule_op(id, &flow,
                                                 nic_test_output(up0))
                                    .rule.template));

    /* The same name is a new port. */
    ck_assert(!class->port_add(nic, "p", 30, NIC_PORT_VF, &again));
    ck_assert_uint_ne(id, again);
    ck_assert(!hits("p", &other));
    ck_assert(hits("vf0", &flow));
    ck_assert_str_eq(ds_cstr(&sent), "");
    struct nic_completion c = run(del_op(NIC_OP_RULE_DEL, h));
    ck_assert_uint_eq(c.final[0].packets, 3);
    class->port_del(nic, again);
    class->port_del(nic, again);
    close_nic();
}
END_TEST

START_TEST(test_carrier)
{
    struct flow flow = udp(1);
    bool carrier;

    open_nic("profile=kind");
    add(rule_op(vf0, &flow, nic_test_output(up0)));
    ck_assert(nic_emu_get_carrier("up0", &carrier) && carrier);
    ck_assert(!nic_emu_get_carrier("nobody", &carrier));

    ck_assert_str_eq(ctl("nic-emu/set-carrier", "up0", "down", NULL), "");
    ck_assert(nic_emu_get_carrier("up0", &carrier) && !carrier);
    ck_assert(hits("vf0", &flow));
    ck_assert_str_eq(ds_cstr(&sent), "");
    ck_assert_uint_eq(get_stats().dropped_packets, 1);
    ck_assert_str_eq(ctl("nic-emu/set-carrier", "up0", "up", NULL), "");
    ck_assert(hits("vf0", &flow));
    ck_assert_str_eq(ds_cstr(&sent), "20:142 ");

    /* Nothing is received without carrier, not even what would be missed. */
    ctl("nic-emu/set-carrier", "vf0", "down", NULL);
    ck_assert_uint_eq(receive_n("vf0", &flow, 5), 0);
    ck_assert_str_eq(ds_cstr(&sent), "");
    flow = udp(2);
    ck_assert_uint_eq(receive_n("vf0", &flow, 5), 0);
    ck_assert_uint_eq(get_stats().dropped_packets, 11);
    close_nic();
}
END_TEST

START_TEST(test_egress_set)
{
    struct flow flow = udp(1);
    const char *reason;
    nic_handle e, h;

    /* At once, whatever is under way on the other queue. */
    open_nic("profile=kind");
    e = add(egress_op(NIC_OP_EGRESS_ADD, 0, up0));
    h = add(rule_op(vf0, &flow, to_egress(e)));
    ck_assert_int_eq(nic->class->egress_set(nic, e, up1, &reason), 0);
    ck_assert(hits("vf0", &flow));
    ck_assert_str_eq(ds_cstr(&sent), "21:142 ");

    ck_assert_int_eq(nic->class->egress_set(nic, h, up0, &reason), ENOENT);
    ck_assert_str_eq(reason, "there is no such egress");
    ck_assert_int_eq(nic->class->egress_set(nic, e, 12345, &reason), ENODEV);
    ck_assert_str_eq(reason, "the port is gone");
    ck_assert(hits("vf0", &flow));
    ck_assert_str_eq(ds_cstr(&sent), "21:142 ");
    ck_assert_int_eq(nic->class->egress_set(nic, e, NIC_PORT_NONE, &reason),
                     0);
    ck_assert(hits("vf0", &flow));
    ck_assert_str_eq(ds_cstr(&sent), "");

    nic_emu_reset(nic);
    ck_assert_int_eq(nic->class->egress_set(nic, e, up0, &reason), ENOENT);
    close_nic();
}
END_TEST

START_TEST(test_egress)
{
    struct flow flow = udp(1), other = udp(2);
    nic_handle e, h, h2;

    open_nic("profile=kind");
    e = add(egress_op(NIC_OP_EGRESS_ADD, 0, up0));
    h = add(rule_op(vf0, &flow, to_egress(e)));
    h2 = add(rule_op(vf1, &other, to_egress(e)));
    ck_assert(hits("vf0", &flow));
    ck_assert_str_eq(ds_cstr(&sent), "20:142 ");

    ck_assert_int_eq(fails(egress_op(NIC_OP_EGRESS_SET, e, up1)), 0);
    ck_assert(hits("vf0", &flow));
    ck_assert_str_eq(ds_cstr(&sent), "21:142 ");
    ck_assert(hits("vf1", &other));
    ck_assert_str_eq(ds_cstr(&sent), "21:142 ");

    ck_assert_int_eq(fails(egress_op(NIC_OP_EGRESS_SET, e, 12345)), ENODEV);
    ck_assert_int_eq(fails(egress_op(NIC_OP_EGRESS_SET, h, up0)), ENOENT);
    ck_assert_int_eq(fails(egress_op(NIC_OP_EGRESS_SET, e, NIC_PORT_NONE)),
                     0);
    ck_assert(hits("vf0", &flow));
    ck_assert_str_eq(ds_cstr(&sent), "");
    ck_assert_uint_eq(get_stats().dropped_packets, 1);

    ck_assert_int_eq(fails(del_op(NIC_OP_EGRESS_DEL, e)), EBUSY);
    del(h);
    ck_assert_int_eq(fails(del_op(NIC_OP_EGRESS_DEL, e)), EBUSY);
    del(h2);
    ck_assert_int_eq(fails(del_op(NIC_OP_EGRESS_DEL, e)), 0);
    ck_assert_int_eq(fails(rule_op(vf0, &flow, to_egress(e))), ENOENT);
    ck_assert_int_eq(fails(rule_op(vf0, &flow, to_egress(0))), ENOENT);
    close_nic();
}
END_TEST

START_TEST(test_separate)
{
    struct flow flow = udp(1), other = udp(2);
    struct nic_caps caps;
    nic_handle e;

    open_nic("profile=kind eswitch=separate");
    class->get_caps(nic, &caps);
    ck_assert(!caps.cross_uplink);
    ck_assert_int_eq(fails(rule_op(vf0, &flow, nic_test_output(up1))),
                     EOPNOTSUPP);
    ck_assert_int_eq(fails(rule_op(vf1, &flow, nic_test_output(up0))),
                     EOPNOTSUPP);
    ck_assert_int_eq(fails(rule_op(vf0, &flow, nic_test_output(vf1))), 0);
    ck_assert_int_eq(fails(rule_op(up1, &flow, nic_test_output(vf0))), 0);
    ck_assert_int_eq(fails(rule_op(vf1, &flow, nic_test_output(up1))), 0);

    e = add(egress_op(NIC_OP_EGRESS_ADD, 0, up0));
    ck_assert_int_eq(fails(rule_op(vf1, &other, to_egress(e))), EOPNOTSUPP);
    ck_assert_int_eq(fails(rule_op(vf0, &other, to_egress(e))), 0);
    ck_assert_int_eq(fails(egress_op(NIC_OP_EGRESS_SET, e, up1)),
                     EOPNOTSUPP);
    ck_assert(hits("vf0", &other));
    ck_assert_str_eq(ds_cstr(&sent), "20:142 ");
    close_nic();
}
END_TEST

START_TEST(test_module)
{
    struct flow orig = nic_test_flow4(IPPROTO_TCP, 1, 2, 1000, 80);
    struct flow reply = nic_test_flow4(IPPROTO_TCP, 2, 1, 80, 1000);
    struct nic_op conn_op = {
        .type = NIC_OP_CONN_ADD, .conn = nic_test_conn(&orig, 5)
    };
    struct nic_action ct = {
        .type = NIC_ACTION_CT, .ct = { .zone = 5, .table = 9 }
    };
    struct nic_template *root, *root2, *next, *next2;
    struct nic_counter counters[1][2];
    struct nic_completion c;
    nic_handle conn;

    open_nic("profile=kind");
    ck_assert_int_eq(fails(conn_op), EOPNOTSUPP);
    ck_assert_int_eq(fails(rule_op(vf0, &orig, ct)), EOPNOTSUPP);
    close_nic();

    open_nic("profile=kind ct-module=true");
    root = nic_test_catchall(vf0, 0, ct);
    root2 = nic_test_catchall(up0, 0, ct);
    next = nic_test_catchall(vf0, 9, nic_test_output(up0));
    next2 = nic_test_catchall(up0, 9, nic_test_output(vf0));
    add((struct nic_op) { .type = NIC_OP_RULE_ADD, .rule.template = root });
    add((struct nic_op) { .type = NIC_OP_RULE_ADD, .rule.template = root2 });
    add((struct nic_op) { .type = NIC_OP_RULE_ADD, .rule.template = next });
    add((struct nic_op) { .type = NIC_OP_RULE_ADD, .rule.template = next2 });
    nic_template_unref(root);
    nic_template_unref(root2);
    nic_template_unref(next);
    nic_template_unref(next2);

    ck_assert(!hits("vf0", &orig));
    conn = add(conn_op);
    ck_assert_int_eq(fails(conn_op), EEXIST);
    ck_assert(hits("vf0", &orig));
    ck_assert(hits("vf0", &orig));
    ck_assert(hits("up0", &reply));
    orig.tcp_flags |= htons(TCP_FIN);
    ck_assert(!hits("vf0", &orig));

    class->conn_counters(nic, &conn, 1, counters, now);
    ck_assert_uint_eq(counters[0][0].packets, 2);
    ck_assert_uint_eq(counters[0][1].packets, 1);
    c = run(del_op(NIC_OP_CONN_DEL, conn));
    ck_assert_int_eq(c.error, 0);
    ck_assert_uint_eq(c.final[0].packets, 2);
    ck_assert_uint_eq(c.final[1].packets, 1);
    ck_assert(!hits("up0", &reply));
    class->conn_counters(nic, &conn, 1, counters, now);
    ck_assert_uint_eq(counters[0][0].packets, 0);
    close_nic();
}
END_TEST

START_TEST(test_stale_counters)
{
    struct flow flow = udp(1);
    struct nic_counter counter;
    struct nic_completion c;
    nic_handle h;

    open_nic("profile=typical");
    h = add(rule_op(vf0, &flow, nic_test_output(up0)));
    long long int start = 1000;         /* Of the first submission. */
    now = start + 10;
    receive_n("vf0", &flow, 3);
    now = start + 999;
    class->rule_counters(nic, &h, 1, &counter, now);
    ck_assert_uint_eq(counter.packets, 0);
    now = start + 1000;
    class->rule_counters(nic, &h, 1, &counter, now);
    ck_assert_uint_eq(counter.packets, 3);
    ck_assert_int_eq(counter.used_ms, 0);       /* Never told. */
    receive_n("vf0", &flow, 2);
    now = start + 1999;
    class->rule_counters(nic, &h, 1, &counter, now);
    ck_assert_uint_eq(counter.packets, 3);

    /* Removal is exact. */
    c = run(del_op(NIC_OP_RULE_DEL, h));
    ck_assert_uint_eq(c.final[0].packets, 5);
    ck_assert_int_eq(c.final[0].used_ms, 0);
    class->rule_counters(nic, &h, 1, &counter, now);
    ck_assert_uint_eq(counter.packets, 0);
    close_nic();
}
END_TEST

START_TEST(test_rate)
{
    struct nic_completion c[200];
    struct nic_op ops[200];
    size_t n = 0;

    open_nic("profile=typical rate=1000 delay-ms=5");
    memset(ops, 0, sizeof ops);
    for (int i = 0; i < 200; i++) {
        ops[i] = egress_op(NIC_OP_EGRESS_ADD, 0, up0);
        ops[i].cookie = i;
    }
    class->submit(nic, ops, 200, now);
    ck_assert_uint_eq(get_stats().n_pending, 200);
    ck_assert_int_eq(class->wake_ms(nic, now), now + 1);
    for (int ms = 0; ms <= 205; ms++) {
        n += class->poll(nic, &c[n], 200, now + ms);
        ck_assert_int_eq(n, MIN(MAX(ms - 5, 0), 200));
        ck_assert_uint_eq(get_stats().n_egresses, MIN(ms, 200));
    }
    for (int i = 0; i < 200; i++) {
        ck_assert_uint_eq(c[i].cookie, i);
    }
    ck_assert_int_eq(class->wake_ms(nic, now), LLONG_MAX);
    close_nic();
}
END_TEST

START_TEST(test_removal_hits_until_completion)
{
    struct flow flow = udp(1);
    struct nic_completion c;
    struct nic_op op;
    nic_handle h;
    int n = 0;

    open_nic("profile=typical rate=0 delay-ms=20");
    h = add(rule_op(vf0, &flow, nic_test_output(up0)));
    op = del_op(NIC_OP_RULE_DEL, h);
    class->submit(nic, &op, 1, now);
    while (!class->poll(nic, &c, 1, now)) {
        ck_assert(hits("vf0", &flow));
        n++;
        now++;
    }
    ck_assert_int_eq(n, 20);
    ck_assert_uint_eq(c.final[0].packets, 20);
    ck_assert(!hits("vf0", &flow));
    close_nic();
}
END_TEST

START_TEST(test_limits)
{
    struct flow orig = udp(1), orig2 = udp(2);
    struct nic_op conn_op = {
        .type = NIC_OP_CONN_ADD, .conn = nic_test_conn(&orig, 5)
    };
    struct nic_caps caps;
    nic_handle h = 0, conn;

    open_nic("profile=kind ct-module=true max-rules=10 max-conns=1");
    class->get_caps(nic, &caps);
    ck_assert_uint_eq(caps.max_rules, 10);
    ck_assert_uint_eq(caps.max_conns, 1);
    for (int i = 0; i < 10; i++) {
        struct flow flow = udp(i);

        h = add(rule_op(vf0, &flow, nic_test_output(up0)));
    }
    struct flow flow = udp(10);
    ck_assert_int_eq(fails(rule_op(vf0, &flow, nic_test_output(up0))),
                     ENOSPC);
    del(h);
    add(rule_op(vf0, &flow, nic_test_output(up0)));

    conn = add(conn_op);
    conn_op.conn = nic_test_conn(&orig2, 5);
    ck_assert_int_eq(fails(conn_op), ENOSPC);
    ck_assert_int_eq(fails(del_op(NIC_OP_CONN_DEL, conn)), 0);
    add(conn_op);
    close_nic();
}
END_TEST

START_TEST(test_caps)
{
    struct nic_caps caps;

    open_nic("");
    class->get_caps(nic, &caps);
    ck_assert(!caps.ct_module && !caps.tcp_window && caps.egress_object
              && caps.cross_uplink && !caps.last_hit_time
              && !caps.atomic_update && !caps.l4_csum_check && caps.ipv6
              && caps.nat && caps.vlan && caps.ttl && caps.multi_output);
    ck_assert_uint_eq(caps.label_bits, 0);
    ck_assert_uint_eq(caps.rate, 50000);
    ck_assert_uint_eq(caps.stale_ms, 1000);
    ck_assert_uint_eq(caps.max_conns, 0);
    close_nic();

    open_nic("profile=kind ct-module=true");
    class->get_caps(nic, &caps);
    ck_assert(caps.ct_module && caps.last_hit_time && caps.l4_csum_check);
    ck_assert_uint_eq(caps.rate, 0);
    ck_assert_uint_eq(caps.stale_ms, 0);
    ck_assert_uint_eq(caps.max_rules, UINT32_MAX);
    ck_assert_uint_eq(caps.max_conns, UINT32_MAX);
    ck_assert_uint_eq(caps.label_bits, 128);
    close_nic();

    open_nic("ct-module=true ipv6=false nat=false vlan=false ttl=false "
             "multi-output=false label-bits=5");
    class->get_caps(nic, &caps);
    ck_assert(!caps.ipv6 && !caps.nat && !caps.vlan && !caps.ttl
              && !caps.multi_output);
    ck_assert_uint_eq(caps.label_bits, 5);
    close_nic();
}
END_TEST

/* Each capability decides about what needs it, and nothing else. */
START_TEST(test_refused)
{
    static const char *const configs[] = {
        "ct-module", "ipv6", "nat", "vlan", "ttl", "multi-output"
    };
    enum { MODULE, IPV6, NAT, VLAN, TTL, MULTI };
    const struct nic_action out = nic_test_output(3);   /* up0. */
    const struct nic_action set_field = { .type = NIC_ACTION_SET };
    const struct nic_action push = {
        .type = NIC_ACTION_PUSH_VLAN, .vlan.tpid = htons(ETH_TYPE_VLAN)
    };
    const struct nic_action pop = { .type = NIC_ACTION_POP_VLAN };
    const struct nic_action tuple = {
        .type = NIC_ACTION_SET_TUPLE, .parts = NIC_TUPLE_SRC
    };
    const struct nic_action ct = { .type = NIC_ACTION_CT, .ct.table = 1 };
    const struct nic_action ct_nat = {
        .type = NIC_ACTION_CT, .ct = { .table = 1, .nat = true }
    };
    const struct nic_action clear = { .type = NIC_ACTION_CT_CLEAR };
    const struct {
        struct nic_action actions[3];
        size_t n;
        enum nic_field field;           /* Of 'set_field'. */
        unsigned int needs;             /* Bits of the enum above. */
    } tests[] = {
        { { out }, 1, 0, 0 },
        { { out, out }, 2, 0, 1 << MULTI },
        { { set_field, out }, 2, NIC_FIELD_ETH_SRC, 0 },
        { { set_field, out }, 2, NIC_FIELD_IP_TOS, 0 },
        { { set_field, out }, 2, NIC_FIELD_IP_TTL, 1 << TTL },
        { { set_field, out }, 2, NIC_FIELD_IP_SRC, 1 << NAT },
        { { set_field, out }, 2, NIC_FIELD_IP_DST, 1 << NAT },
        { { set_field, out }, 2, NIC_FIELD_TP_SRC, 1 << NAT },
        { { set_field, out }, 2, NIC_FIELD_TP_DST, 1 << NAT },
        { { set_field, out }, 2, NIC_FIELD_VLAN_TCI, 1 << VLAN },
        { { tuple, out }, 2, 0, 1 << NAT },
        { { push, out }, 2, 0, 1 << VLAN },
        { { pop, out }, 2, 0, 1 << VLAN },
        { { ct }, 1, 0, 1 << MODULE },
        { { clear, out }, 2, 0, 1 << MODULE },
        { { ct_nat }, 1, 0, 1 << MODULE | 1 << NAT },
    };

    for (int missing = 0; missing < ARRAY_SIZE(configs); missing++) {
        char *config = xasprintf("profile=kind %s%s=false",
                                 missing ? "ct-module=true " : "",
                                 configs[missing]);

        open_nic(config);
        free(config);
        for (size_t i = 0; i < 2 * ARRAY_SIZE(tests); i++) {
            bool ipv6 = i >= ARRAY_SIZE(tests);
            size_t j = i % ARRAY_SIZE(tests);
            unsigned int needs = tests[j].needs | (ipv6 ? 1 << IPV6 : 0);
            struct nic_action actions[3];
            struct nic_template *t;
            struct match match;

            memcpy(actions, tests[j].actions, sizeof actions);
            if (actions[0].type == NIC_ACTION_SET) {
                actions[0].set.field = tests[j].field;
            }
            match_init_catchall(&match);
            match_set_dl_type(&match, ipv6 ? htons(ETH_TYPE_IPV6)
                              : htons(ETH_TYPE_IP));
            match_set_nw_proto(&match, IPPROTO_TCP);
            match_set_dl_vlan(&match, htons(5), 0);
            t = nic_template_create(vf0, 0, &match, NIC_SLOT_REWRITE, actions,
                                    tests[j].n);
            ck_assert_msg(!class->check_template(nic, t)
                          == !(needs & 1 << missing), "%d %"PRIuSIZE,
                          missing, i);
            if (needs & 1 << missing) {
                ck_assert_int_eq(fails((struct nic_op) {
                                           .type = NIC_OP_RULE_ADD,
                                           .rule.template = t }),
                                 EOPNOTSUPP);
            }
            nic_template_unref(t);
        }
        close_nic();
    }
}
END_TEST

START_TEST(test_bad_config)
{
    static const struct {
        const char *config;
        const char *error;
    } bad[] = {
        { "profile=nice", "profile=nice: must be kind, typical or hostile" },
        { "ct-module=yes", "ct-module=yes: must be false or true" },
        { "eswitch=x", "eswitch=x: must be merged or separate" },
        { "rate=-1", "rate=-1: must be a whole number from 0 to 10000000" },
        { "rate=10000001",
          "rate=10000001: must be a whole number from 0 to 10000000" },
        { "max-rules=0",
          "max-rules=0: must be a whole number from 1 to 10000000" },
        { "max-conns=1.5",
          "max-conns=1.5: must be a whole number from 1 to 10000000" },
        { "stale-ms=", "stale-ms=: must be a whole number from 0 to 60000" },
        { "delay-ms=60001",
          "delay-ms=60001: must be a whole number from 0 to 60000" },
        { "seed=4294967296",
          "seed=4294967296: must be a whole number from 0 to 4294967295" },
        { "seed=0x10",
          "seed=0x10: must be a whole number from 0 to 4294967295" },
        { "rat=1", "rat=1: unknown key, must be profile, ct-module, eswitch, "
          "ipv6, nat, vlan, ttl, multi-output, rate, max-rules, max-conns, "
          "stale-ms, delay-ms, seed or label-bits" },
        { "nat=1", "nat=1: must be false or true" },
        { "label-bits=129",
          "label-bits=129: must be a whole number from 0 to 128" },
    };
    struct nic_caps before, after;
    struct smap smap;
    struct nic *nic2;
    char *error;

    open_nic("profile=kind rate=77");
    class->get_caps(nic, &before);
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        parse_config(bad[i].config, &smap);
        error = NULL;
        ck_assert_int_eq(class->open("n2", &smap, &nic2, &error), EINVAL);
        ck_assert_str_eq(error, bad[i].error);
        free(error);

        /* Good keys beside the bad one change nothing either. */
        smap_replace(&smap, "max-rules", "5");
        if (!strstr(bad[i].config, "max-rules")) {
            error = NULL;
            ck_assert_int_eq(class->reconfigure(nic, &smap, &error), EINVAL);
            ck_assert_str_eq(error, bad[i].error);
            free(error);
        }
        smap_destroy(&smap);
    }
    class->get_caps(nic, &after);
    ck_assert(!memcmp(&before, &after, sizeof before));

    static const char *const bad_names[] = { "", "a/b", "n" };
    smap_init(&smap);
    for (size_t i = 0; i < ARRAY_SIZE(bad_names); i++) {
        error = NULL;
        ck_assert(class->open(bad_names[i], &smap, &nic2, &error));
        ck_assert(error != NULL);
        free(error);
    }
    close_nic();
}
END_TEST

static int
reconfigure(const char *config)
{
    char *error = NULL;
    struct smap smap;
    int retval;

    parse_config(config, &smap);
    retval = class->reconfigure(nic, &smap, &error);
    ck_assert(!retval == !error);
    free(error);
    smap_destroy(&smap);
    return retval;
}

START_TEST(test_reconfigure)
{
    struct flow flow = udp(1);
    struct nic_caps caps;
    nic_handle h;

    open_nic("profile=kind");
    ck_assert(!reconfigure("profile=kind ct-module=true eswitch=separate"));
    class->get_caps(nic, &caps);
    ck_assert(caps.ct_module && !caps.cross_uplink);
    h = add(rule_op(vf0, &flow, nic_test_output(up0)));
    ck_assert_int_eq(reconfigure("profile=kind eswitch=separate"), EBUSY);
    ck_assert_int_eq(reconfigure("profile=kind ct-module=true"), EBUSY);
    ck_assert(!reconfigure("profile=typical ct-module=true eswitch=separate "
                           "rate=5"));
    class->get_caps(nic, &caps);
    ck_assert_uint_eq(caps.rate, 5);
    ck_assert(!caps.l4_csum_check);
    ck_assert(hits("vf0", &flow));
    del(h);
    ck_assert(!reconfigure(""));
    class->get_caps(nic, &caps);
    ck_assert(!caps.ct_module && caps.cross_uplink);
    close_nic();
}
END_TEST

/* What the match does not make sure of, what is no VLAN tag, and labels. */
START_TEST(test_refused_match)
{
    struct flow flow = nic_test_flow4(IPPROTO_TCP, 1, 2, 1000, 80);
    struct nic_conn conn = nic_test_conn(&flow, 5);
    struct nic_action actions[2] = { { .type = NIC_ACTION_SET },
                                     nic_test_output(3) };
    struct nic_template *t;
    struct match match;
    ovs_u128 label;

    open_nic("profile=kind ct-module=true label-bits=5");
    for (enum nic_field f = 0; f <= NIC_FIELD_TP_DST; f++) {
        /* Nothing, then IPv4, then UDP, then SCTP, then a tag as well. */
        for (int i = 0; i < 5; i++) {
            bool ok = (f <= NIC_FIELD_ETH_DST ? true
                       : f == NIC_FIELD_VLAN_TCI ? i == 4
                       : f == NIC_FIELD_IPV6_LABEL ? false
                       : f >= NIC_FIELD_TP_SRC ? i == 2 || i == 4
                       : i >= 1);

            match_init_catchall(&match);
            if (i > 0) {
                match_set_dl_type(&match, htons(ETH_TYPE_IP));
            }
            if (i > 1) {
                match_set_nw_proto(&match, i == 3 ? IPPROTO_SCTP
                                   : IPPROTO_UDP);
            }
            if (i == 4) {
                match_set_dl_vlan(&match, htons(5), 0);
            }
            actions[0].set.field = f;
            t = nic_template_create(vf0, 0, &match, 0, actions, 2);
            ck_assert_msg(!class->check_template(nic, t) == ok, "%d %d", f,
                          i);
            nic_template_unref(t);
        }
    }

    match_init_catchall(&match);
    actions[0] = (struct nic_action) { .type = NIC_ACTION_POP_VLAN };
    t = nic_template_create(vf0, 0, &match, 0, actions, 2);
    ck_assert(class->check_template(nic, t) != NULL);
    nic_template_unref(t);
    actions[0] = (struct nic_action) {
        .type = NIC_ACTION_PUSH_VLAN, .vlan.tpid = htons(ETH_TYPE_IP)
    };
    t = nic_template_create(vf0, 0, &match, 0, actions, 2);
    ck_assert(class->check_template(nic, t) != NULL);
    nic_template_unref(t);

    /* Labels of 5 bits, in matches, conditions and connections. */
    for (int bit = 0; bit < 128; bit++) {
        label = (ovs_u128) { .u64 = {
            .lo = bit < 64 ? UINT64_C(1) << bit : 0,
            .hi = bit < 64 ? 0 : UINT64_C(1) << (bit - 64) } };

        match_init_catchall(&match);
        match_set_ct_label_masked(&match, OVS_U128_ZERO, label);
        t = nic_template_create(vf0, 0, &match, 0, &actions[1], 1);
        ck_assert_int_eq(!class->check_template(nic, t), bit < 5);
        nic_template_unref(t);

        match_init_catchall(&match);
        actions[0] = (struct nic_action) {
            .type = NIC_ACTION_CT,
            .ct = { .label_mask = label, .table = NIC_TABLE_NONE },
        };
        t = nic_template_create(vf0, 0, &match, 0, actions, 2);
        ck_assert_int_eq(!class->check_template(nic, t), bit < 5);
        nic_template_unref(t);

        conn.label = label;
        struct nic_completion c = run((struct nic_op) {
            .type = NIC_OP_CONN_ADD, .conn = conn });
        ck_assert_int_eq(c.error, bit < 5 ? 0 : EOPNOTSUPP);
        if (!c.error) {
            ck_assert_int_eq(fails(del_op(NIC_OP_CONN_DEL, c.handle)), 0);
        }
    }
    close_nic();

    /* Connections with NAT. */
    open_nic("profile=kind ct-module=true nat=false");
    conn.label = OVS_U128_ZERO;
    conn.nat_parts[1] = NIC_TUPLE_SRC;
    ck_assert_int_eq(fails((struct nic_op) { .type = NIC_OP_CONN_ADD,
                                             .conn = conn }), EOPNOTSUPP);
    conn.nat_parts[1] = 0;
    ck_assert_int_eq(fails((struct nic_op) { .type = NIC_OP_CONN_ADD,
                                             .conn = conn }), 0);
    ck_assert_int_eq(reconfigure("profile=kind ct-module=true"), EBUSY);
    ck_assert_int_eq(reconfigure("profile=kind ct-module=true nat=false "
                                 "label-bits=3"), EBUSY);
    ck_assert_int_eq(reconfigure("profile=kind ct-module=true nat=false "
                                 "rate=3"), 0);
    close_nic();
}
END_TEST

/* More copies than fit into a batch, to ports that can and cannot send. */
START_TEST(test_copies)
{
    struct flow flow = udp(1);
    struct nic_action actions[] = {
        nic_test_output(up0), nic_test_output(up1), nic_test_output(up0),
        to_egress(0), to_egress(0),
    };
    struct nic_template *t;
    struct match match;
    struct nic_stats stats;
    nic_handle e, e2, h;

    open_nic("profile=kind");
    e = add(egress_op(NIC_OP_EGRESS_ADD, 0, vf1));
    e2 = add(egress_op(NIC_OP_EGRESS_ADD, 0, NIC_PORT_NONE));
    actions[0].port = up0;
    actions[1].port = up1;
    actions[2].port = up0;
    actions[3].egress = e;
    actions[4].egress = e2;
    match_init_catchall(&match);
    t = nic_template_create(vf0, 0, &match, 0, actions, 5);
    h = add((struct nic_op) { .type = NIC_OP_RULE_ADD, .rule.template = t });
    nic_template_unref(t);

    ck_assert(hits("vf0", &flow));
    ck_assert_str_eq(ds_cstr(&sent), "20:142 20:142 21:142 11:142 ");
    ck_assert_uint_eq(receive_n("vf0", &flow, 32), 0);
    ck_assert_uint_eq(n_sends, 4);
    ck_assert_int_eq(strncmp(ds_cstr(&sent), "20:142 20:142 20:143 20:143 ",
                             28), 0);

    /* Some gone, then all. */
    ctl("nic-emu/set-carrier", "up0", "down", NULL);
    ck_assert(hits("vf0", &flow));
    ck_assert_str_eq(ds_cstr(&sent), "21:142 11:142 ");
    stats = get_stats();
    ck_assert_uint_eq(stats.carried_packets, 1 + 32 + 1);
    ck_assert_uint_eq(stats.dropped_packets, 0);
    ctl("nic-emu/set-carrier", "up1", "down", NULL);
    ck_assert_int_eq(fails(egress_op(NIC_OP_EGRESS_SET, e, NIC_PORT_NONE)),
                     0);
    ck_assert(hits("vf0", &flow));
    ck_assert_str_eq(ds_cstr(&sent), "");
    stats = get_stats();
    ck_assert_uint_eq(stats.carried_packets, 1 + 32 + 1);
    ck_assert_uint_eq(stats.dropped_packets, 1);

    ck_assert_int_eq(fails(del_op(NIC_OP_EGRESS_DEL, e)), EBUSY);
    ck_assert_int_eq(fails(del_op(NIC_OP_EGRESS_DEL, e2)), EBUSY);
    del(h);
    ck_assert_int_eq(fails(del_op(NIC_OP_EGRESS_DEL, e)), 0);
    ck_assert_int_eq(fails(del_op(NIC_OP_EGRESS_DEL, e2)), 0);
    close_nic();
}
END_TEST

START_TEST(test_faults)
{
    struct flow flow = udp(1);
    struct nic_completion c;
    struct nic_op op;
    nic_handle h;

    open_nic("profile=kind");
    ck_assert_str_eq(ctl("nic-emu/fault", "n", "fail-add", NULL), "");
    ck_assert_str_eq(ctl("nic-emu/fault", "n", "full", "2", NULL), "");
    ck_assert_str_eq(ctl("nic-emu/fault", "n", "fail-del", NULL), "");
    ck_assert(strstr(ctl("nic-emu/show", "n", NULL),
                     "faults: fail-add 1, full 2, fail-del 1\n"));
    op = rule_op(vf0, &flow, nic_test_output(up0));
    ck_assert_int_eq(fails(op), EIO);
    ck_assert_int_eq(fails(op), ENOSPC);
    ck_assert_int_eq(fails(op), ENOSPC);
    ck_assert(!hits("vf0", &flow));
    h = add(op);
    ck_assert_int_eq(fails(del_op(NIC_OP_RULE_DEL, h)), EIO);
    ck_assert(hits("vf0", &flow));
    c = run(del_op(NIC_OP_RULE_DEL, h));
    ck_assert_int_eq(c.error, 0);
    ck_assert_uint_eq(c.final[0].packets, 1);

    ctl("nic-emu/fault", "n", "hold", NULL);
    op = rule_op(vf0, &flow, nic_test_output(up0));
    class->submit(nic, &op, 1, now);
    ck_assert_uint_eq(class->poll(nic, &c, 1, now + 10000), 0);
    ck_assert(!hits("vf0", &flow));
    ck_assert_int_lt(class->wake_ms(nic, now), LLONG_MAX);
    ctl("nic-emu/fault", "n", "release", NULL);
    ck_assert_uint_eq(class->poll(nic, &c, 1, now + 10000), 1);
    ck_assert(hits("vf0", &flow));

    ctl("nic-emu/fault", "n", "full", "1000", NULL);
    ctl("nic-emu/fault", "n", "hold", NULL);
    ck_assert_str_eq(ctl("nic-emu/fault", "n", "none", NULL), "");
    flow = udp(2);
    add(rule_op(vf0, &flow, nic_test_output(up0)));
    close_nic();
}
END_TEST

START_TEST(test_commands)
{
    open_nic("profile=kind");
    ck_assert_str_eq(
        ctl("nic-emu/show", NULL),
        "NIC n\n"
        "  configuration: profile=kind ct-module=false eswitch=merged "
        "ipv6=true nat=true vlan=true ttl=true multi-output=true rate=0 "
        "stale-ms=0 delay-ms=0 seed=1 label-bits=128\n"
        "  objects: 0 rules, 0 connections, 0 egresses\n"
        "  operations: 0 completed, 0 failed, 0 pending\n"
        "  packets: 0 carried (0 bytes), 0 missed, 0 dropped\n"
        "  found at start and removed: 0\n"
        "  faults: none\n"
        "  port 1: vf0, datapath port 10, vf 0, carrier up\n"
        "  port 2: vf1, datapath port 11, vf 1, carrier up\n"
        "  port 3: up0, datapath port 20, uplink 0, carrier up\n"
        "  port 4: up1, datapath port 21, uplink 1, carrier up\n");
    ck_assert_str_eq(ctl("nic-emu/show", "x", NULL),
                     "x: no such emulated NIC (see nic-emu/show)");
    ck_assert_str_eq(ctl("nic-emu/reset", "x", NULL),
                     "x: no such emulated NIC (see nic-emu/show)");
    ck_assert_str_eq(ctl("nic-emu/fault", "n", "x", NULL),
                     "x: unknown fault, must be fail-add, full, fail-del, "
                     "hold, release or none");
    ck_assert_str_eq(ctl("nic-emu/fault", "n", "full", "0", NULL),
                     "0: N must be a whole number from 1 to 1000000");
    ck_assert_str_eq(ctl("nic-emu/fault", "n", "full", "+5", NULL),
                     "+5: N must be a whole number from 1 to 1000000");
    ck_assert_str_eq(ctl("nic-emu/fault", "n", "hold", "5", NULL),
                     "only fail-add, full and fail-del take N");
    ck_assert_str_eq(ctl("nic-emu/set-carrier", "x", "up", NULL),
                     "x: not a port of an emulated NIC (see nic-emu/show)");
    ck_assert_str_eq(ctl("nic-emu/set-carrier", "vf0", "on", NULL),
                     "on: unknown carrier, must be up or down");
    close_nic();
    ck_assert_str_eq(ctl("nic-emu/show", NULL), "");
}
END_TEST

START_TEST(test_reset)
{
    struct flow flow = udp(1), other = udp(2);
    struct nic_completion c[4];
    struct nic_op ops[2];
    nic_handle h, e;

    open_nic("profile=typical");
    e = add(egress_op(NIC_OP_EGRESS_ADD, 0, up0));
    h = add(rule_op(vf0, &flow, to_egress(e)));

    /* One operation is on its way, another has completed unseen. */
    ops[0] = egress_op(NIC_OP_EGRESS_ADD, 0, up0);
    class->submit(nic, ops, 1, now);
    class->poll(nic, c, 0, now + 100);
    class->submit(nic, ops, 1, now + 100);
    ck_assert_str_eq(ctl("nic-emu/reset", "n", NULL), "");
    ck_assert_str_eq(ctl("nic-emu/reset", "n", NULL), "");
    ck_assert(!hits("vf0", &flow));

    /* Submitted by somebody who could not know. */
    class->submit(nic, ops, 1, now + 100);
    ck_assert_int_eq(class->wake_ms(nic, now), now);
    ck_assert_uint_eq(class->poll(nic, c, 4, now + 1000), 1);
    ck_assert_int_eq(c[0].type, NIC_OP_RESET);
    ck_assert_int_eq(c[0].error, 0);
    ck_assert_uint_eq(class->poll(nic, c, 4, now + 2000), 0);
    ck_assert_int_eq(class->wake_ms(nic, now), LLONG_MAX);

    now += 3000;
    ck_assert_int_eq(fails(del_op(NIC_OP_RULE_DEL, h)), ENOENT);
    ck_assert_int_eq(fails(rule_op(vf0, &flow, to_egress(e))), ENOENT);
    ck_assert_uint_ne(add(rule_op(vf0, &other, nic_test_output(up0))), h);
    ck_assert(hits("vf0", &other));
    struct nic_stats stats = get_stats();
    ck_assert_uint_eq(stats.n_rules, 1);
    ck_assert_uint_eq(stats.n_egresses, 0);
    close_nic();
}
END_TEST

static void
dump_cb(const char *kind, nic_handle handle, const char *description,
        const struct nic_counter *counter, void *ds)
{
    ds_put_format(ds, "%s %"PRIu64" %s packets=%"PRIu64"\n", kind, handle,
                  description, counter->packets);
}

START_TEST(test_dump)
{
    struct flow flow = udp(1);
    struct ds ds = DS_EMPTY_INITIALIZER;
    nic_handle e;

    open_nic("profile=typical ct-module=true");
    e = add(egress_op(NIC_OP_EGRESS_ADD, 0, up0));
    add(rule_op(vf0, &flow, to_egress(e)));
    add((struct nic_op) { .type = NIC_OP_CONN_ADD,
                          .conn = nic_test_conn(&flow, 5) });
    receive_n("vf0", &flow, 3);
    class->dump(nic, dump_cb, &ds);
    ck_assert_str_eq(ds_cstr(&ds),
                     "egress 1 port=3 packets=0\n"
                     "rule 2 port=1,table=0,udp,nw_src=10.0.0.1,"
                     "nw_dst=10.0.0.2,nw_frag=no,tp_src=1,tp_dst=53 "
                     "actions=egress(0x1) packets=3\n"
                     "connection 3 udp,zone=5,orig=10.0.0.1:1->10.0.0.2:53,"
                     "reply=10.0.0.2:53->10.0.0.1:1 packets=0\n");
    ds_destroy(&ds);
    close_nic();
}
END_TEST

/* open() finds what a killed program left, removes it before it returns, and
 * tells how much it was.  close() leaves nothing. */
START_TEST(test_killed)
{
    struct flow flow = udp(1);
    int status;
    pid_t pid;

    pid = fork();
    ck_assert_int_ge(pid, 0);
    if (!pid) {
        open_nic("profile=kind ct-module=true");
        nic_handle e = add(egress_op(NIC_OP_EGRESS_ADD, 0, up0));
        add(rule_op(vf0, &flow, to_egress(e)));
        add((struct nic_op) { .type = NIC_OP_CONN_ADD,
                              .conn = nic_test_conn(&flow, 5) });
        raise(SIGKILL);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);

    open_nic("profile=kind ct-module=true");
    ck_assert_uint_eq(get_stats().n_stale, 2);
    ck_assert_uint_eq(get_stats().n_rules, 0);
    ck_assert_uint_eq(get_stats().n_egresses, 0);
    ck_assert(!hits("vf0", &flow));
    add(rule_op(vf0, &flow, nic_test_output(up0)));
    close_nic();

    open_nic("profile=kind");
    ck_assert_uint_eq(get_stats().n_stale, 0);
    close_nic();
}
END_TEST

int
main(int argc, char *argv[])
{
    Suite *suite = suite_create("nic-emu");
    TCase *tc = tcase_create("nic-emu");

    tcase_set_timeout(tc, 120);
    tcase_add_test(tc, test_rules);
    tcase_add_test(tc, test_ports);
    tcase_add_test(tc, test_carrier);
    tcase_add_test(tc, test_egress_set);
    tcase_add_test(tc, test_egress);
    tcase_add_test(tc, test_separate);
    tcase_add_test(tc, test_module);
    tcase_add_test(tc, test_stale_counters);
    tcase_add_test(tc, test_rate);
    tcase_add_test(tc, test_removal_hits_until_completion);
    tcase_add_test(tc, test_limits);
    tcase_add_test(tc, test_caps);
    tcase_add_test(tc, test_bad_config);
    tcase_add_test(tc, test_reconfigure);
    tcase_add_test(tc, test_refused);
    tcase_add_test(tc, test_refused_match);
    tcase_add_test(tc, test_copies);
    tcase_add_test(tc, test_faults);
    tcase_add_test(tc, test_commands);
    tcase_add_test(tc, test_reset);
    tcase_add_test(tc, test_dump);
    tcase_add_test(tc, test_killed);
    suite_add_tcase(suite, tc);
    return nic_test_main(argc, argv, suite);
}
