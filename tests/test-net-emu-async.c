/* SPDX-License-Identifier: Apache-2.0 */

/* The emulated NIC as a device of DPDK: rte_flow's asynchronous API, and the
 * restrictions of mlx5. */

#include <rte_config.h>

#include <check.h>

#include "net-emu-test.h"
#include "unit-test.h"

#define IP(A, B, C, D) ((uint32_t) (A) << 24 | (B) << 16 | (C) << 8 | (D))
#define QUEUE_SIZE 8
#define MAX_FLOWS 10

static const struct frame udp = {
    .src = IP(10, 0, 0, 1), .dst = IP(10, 0, 0, 2),
    .sport = 1000, .dport = 80, .len = 50, .eth_src = 1, .eth_dst = 2,
};

static struct rte_flow_pattern_template *pattern_template;
static struct rte_flow_actions_template *actions_template;
static struct rte_flow_template_table *table;

/* Makes a table for rules "from a port, UDP to a port of its own", with a new
 * port for the packet and a place to send it to. */
static void
create_table(void)
{
    const struct rte_flow_pattern_template_attr pattern_attr = {
        .transfer = 1
    };
    const struct rte_flow_actions_template_attr actions_attr = {
        .transfer = 1
    };
    const struct rte_flow_template_table_attr table_attr = {
        .flow_attr.transfer = 1,
        .nb_flows = MAX_FLOWS,
    };
    const struct rte_flow_item_ethdev port_mask = { .port_id = UINT16_MAX };
    const struct rte_flow_item_udp udp_mask = {
        .hdr.dst_port = RTE_BE16(0xffff)
    };
    const struct rte_flow_action_set_tp constant = {
        .port = RTE_BE16(0xffff)
    };
    const struct rte_flow_action_set_tp sport = { .port = RTE_BE16(99) };
    const struct rte_flow_action_set_tp variable = { .port = 0 };
    struct rte_flow_error error;
    struct rule r, masks;

    rule_init(&r, 0);
    item(&r, RTE_FLOW_ITEM_TYPE_REPRESENTED_PORT, &port_mask, &port_mask);
    item(&r, RTE_FLOW_ITEM_TYPE_ETH, NULL, NULL);
    item(&r, RTE_FLOW_ITEM_TYPE_IPV4, NULL, NULL);
    item(&r, RTE_FLOW_ITEM_TYPE_UDP, &udp_mask, &udp_mask);
    pattern_template = rte_flow_pattern_template_create(P0, &pattern_attr,
                                                        r.items, &error);
    ck_assert_ptr_nonnull(pattern_template);

    /* The port to send to is the rule's; the source port is the template's. */
    masks = r;
    masks.n_actions = 0;
    action(&r, RTE_FLOW_ACTION_TYPE_COUNT, NULL);
    action(&r, RTE_FLOW_ACTION_TYPE_SET_TP_SRC, &sport);
    action(&r, RTE_FLOW_ACTION_TYPE_SET_TP_DST, &variable);
    action(&r, RTE_FLOW_ACTION_TYPE_REPRESENTED_PORT, NULL);
    action(&masks, RTE_FLOW_ACTION_TYPE_COUNT, NULL);
    action(&masks, RTE_FLOW_ACTION_TYPE_SET_TP_SRC, &constant);
    action(&masks, RTE_FLOW_ACTION_TYPE_SET_TP_DST, &variable);
    action(&masks, RTE_FLOW_ACTION_TYPE_REPRESENTED_PORT, NULL);
    actions_template = rte_flow_actions_template_create(P0, &actions_attr,
                                                        r.actions,
                                                        masks.actions,
                                                        &error);
    ck_assert_ptr_nonnull(actions_template);
    table = rte_flow_template_table_create(P0, &table_attr, &pattern_template,
                                           1, &actions_template, 1, &error);
    ck_assert_ptr_nonnull(table);
    ck_assert_int_eq(rte_flow_pattern_template_destroy(P0, pattern_template,
                                                       NULL), -EBUSY);
}

static void
destroy_table(void)
{
    ck_assert(!rte_flow_template_table_destroy(P0, table, NULL));
    ck_assert(!rte_flow_pattern_template_destroy(P0, pattern_template, NULL));
    ck_assert(!rte_flow_actions_template_destroy(P0, actions_template, NULL));
}

/* Enqueues a rule for packets to port 'dport', which go to 'to' with port
 * 'new_dport'. */
static struct rte_flow *
enqueue(bool postpone, uint16_t dport, uint16_t new_dport, int to,
        void *user_data)
{
    const struct rte_flow_op_attr attr = { .postpone = postpone };
    const struct rte_flow_item_ethdev from = { .port_id = P0 };
    const struct rte_flow_item_udp spec = {
        .hdr.dst_port = htons(dport),

        /* Without effect: the template has no mask for it. */
        .hdr.src_port = 12345,
    };
    const struct rte_flow_action_set_tp set = { .port = htons(new_dport) };
    const struct rte_flow_action_ethdev out = { .port_id = to };
    struct rte_flow_error error;
    struct rule r;

    rule_init(&r, 0);
    item(&r, RTE_FLOW_ITEM_TYPE_REPRESENTED_PORT, &from, NULL);
    item(&r, RTE_FLOW_ITEM_TYPE_ETH, NULL, NULL);
    item(&r, RTE_FLOW_ITEM_TYPE_IPV4, NULL, NULL);
    item(&r, RTE_FLOW_ITEM_TYPE_UDP, &spec, NULL);
    action(&r, RTE_FLOW_ACTION_TYPE_COUNT, NULL);
    action(&r, RTE_FLOW_ACTION_TYPE_SET_TP_SRC, NULL);
    action(&r, RTE_FLOW_ACTION_TYPE_SET_TP_DST, &set);
    action(&r, RTE_FLOW_ACTION_TYPE_REPRESENTED_PORT, &out);
    return rte_flow_async_create(P0, 0, &attr, table, r.items, 0, r.actions,
                                 0, user_data, &error);
}

/* Pulls one result, which must be there and of 'user_data'. */
static void
pull(void *user_data, enum rte_flow_op_status status)
{
    struct rte_flow_op_result result;

    ck_assert_int_eq(rte_flow_pull(P0, 0, &result, 1, NULL), 1);
    ck_assert_ptr_eq(result.user_data, user_data);
    ck_assert_int_eq(result.status, status);
}

static void
pull_nothing(void)
{
    struct rte_flow_op_result result;

    ck_assert_int_eq(rte_flow_pull(P0, 0, &result, 1, NULL), 0);
}

START_TEST(test_create_and_destroy)
{
    const struct rte_flow_op_attr now = { .postpone = 0 };
    struct rte_flow *flow;
    struct frame out = udp;
    int a, b;

    create_table();
    flow = enqueue(false, 80, 8080, VF1, &a);
    ck_assert_ptr_nonnull(flow);
    ck_assert_int_eq(rte_flow_destroy(P0, flow, NULL), -EBUSY);
    pull(&a, RTE_FLOW_OP_SUCCESS);
    pull_nothing();
    out.sport = 99;
    out.dport = 8080;
    carried(P0, &udp, VF1, &out);
    query(flow, false, 1, 92);
    ck_assert_int_eq(rte_flow_template_table_destroy(P0, table, NULL),
                     -EBUSY);

    ck_assert(!rte_flow_async_destroy(P0, 0, &now, flow, &b, NULL));
    pull(&b, RTE_FLOW_OP_SUCCESS);
    missed(P0, &udp);
    ck_assert_int_eq(rte_flow_async_destroy(P0, 0, &now, flow, &b, NULL),
                     -ENOENT);
    destroy_table();
}
END_TEST

START_TEST(test_postponed)
{
    struct frame out = udp;
    int a;

    create_table();
    ck_assert_ptr_nonnull(enqueue(true, 80, 81, VF0, &a));
    pull_nothing();
    missed(P0, &udp);
    ck_assert(!rte_flow_push(P0, 0, NULL));
    pull(&a, RTE_FLOW_OP_SUCCESS);
    out.sport = 99;
    out.dport = 81;
    carried(P0, &udp, VF0, &out);
    ck_assert(!rte_flow_flush(P0, NULL));
    missed(P0, &udp);
    destroy_table();
}
END_TEST

START_TEST(test_failures)
{
    const struct rte_flow_op_attr now = { .postpone = 0 };
    struct rte_flow *flow;
    struct frame out = udp;
    int a, b;

    create_table();
    telemetry_ok("/net_emu/fault,net_emu0,full");
    ck_assert_ptr_nonnull(enqueue(false, 80, 81, VF0, &a));
    pull(&a, RTE_FLOW_OP_ERROR);
    missed(P0, &udp);

    /* Nothing completes, until it does. */
    telemetry_ok("/net_emu/fault,net_emu0,hold");
    flow = enqueue(false, 80, 81, VF0, &a);
    pull_nothing();
    missed(P0, &udp);
    telemetry_ok("/net_emu/fault,net_emu0,release");
    pull(&a, RTE_FLOW_OP_SUCCESS);
    out.sport = 99;
    out.dport = 81;
    carried(P0, &udp, VF0, &out);

    /* A rule that cannot be removed stays. */
    telemetry_ok("/net_emu/fault,net_emu0,fail-del");
    ck_assert(!rte_flow_async_destroy(P0, 0, &now, flow, &b, NULL));
    pull(&b, RTE_FLOW_OP_ERROR);
    carried(P0, &udp, VF0, &out);

    /* A reset fails what is under way, and ends all rules. */
    telemetry_ok("/net_emu/fault,net_emu0,hold");
    ck_assert_ptr_nonnull(enqueue(false, 90, 81, VF0, &a));
    telemetry_ok("/net_emu/reset,net_emu0");
    telemetry_ok("/net_emu/fault,net_emu0,none");
    pull(&a, RTE_FLOW_OP_ERROR);
    missed(P0, &udp);
    ck_assert(!rte_flow_async_destroy(P0, 0, &now, flow, &b, NULL));
    pull(&b, RTE_FLOW_OP_SUCCESS);
    destroy_table();
}
END_TEST

START_TEST(test_bounds)
{
    struct rte_flow_op_result results[MAX_FLOWS];
    int n = 0;

    create_table();
    for (uint16_t i = 0; i < QUEUE_SIZE; i++) {
        ck_assert_ptr_nonnull(enqueue(true, i, i, VF0, NULL));
    }
    ck_assert_ptr_null(enqueue(true, 1000, 1, VF0, NULL));
    ck_assert_int_eq(rte_errno, EAGAIN);
    ck_assert(!rte_flow_push(P0, 0, NULL));
    n = rte_flow_pull(P0, 0, results, MAX_FLOWS, NULL);
    ck_assert_int_eq(n, QUEUE_SIZE);
    for (uint16_t i = QUEUE_SIZE; i < MAX_FLOWS; i++) {
        ck_assert_ptr_nonnull(enqueue(false, i, i, VF0, NULL));
    }
    ck_assert_ptr_null(enqueue(false, 1000, 1, VF0, NULL));
    ck_assert_int_eq(rte_errno, ENOSPC);
    ck_assert_ptr_null(enqueue(false, 1000, 1, 30, NULL));

    /* Stopping the port ends rules and operations. */
    ck_assert(!rte_eth_dev_stop(P0));
    pull_nothing();
    destroy_table();
    ck_assert(!rte_eth_dev_start(P0));
}
END_TEST

START_TEST(test_mlx5)
{
    const struct rte_flow_action_of_set_vlan_pcp pcp = { .vlan_pcp = 3 };
    const struct rte_flow_action_modify_field vid = {
        .operation = RTE_FLOW_MODIFY_SET,
        .dst.field = RTE_FLOW_FIELD_VLAN_ID,
        .src = { .field = RTE_FLOW_FIELD_VALUE, .value = { 0, 1 } },
        .width = 12,
    };
    struct frame tagged = udp;
    struct rule r;

    rule_from(&r, P0);
    rule_to(&r, VF0);
    r.attr.priority = 21844;
    rule_refused(&r, RTE_FLOW_ERROR_TYPE_ATTR_PRIORITY, &r.attr, "mlx5");
    rule_from(&r, P0);
    item(&r, RTE_FLOW_ITEM_TYPE_ETH, NULL, NULL);
    item(&r, RTE_FLOW_ITEM_TYPE_VLAN, NULL, NULL);
    action(&r, RTE_FLOW_ACTION_TYPE_OF_SET_VLAN_PCP, &pcp);
    rule_to(&r, VF0);
    rule_refused(&r, RTE_FLOW_ERROR_TYPE_ACTION, &r.actions[0], "mlx5");
    r.actions[0].type = RTE_FLOW_ACTION_TYPE_MODIFY_FIELD;
    r.actions[0].conf = &vid;
    rule_refused(&r, RTE_FLOW_ERROR_TYPE_ACTION, &r.actions[0], "mlx5");
    r.actions[0].type = RTE_FLOW_ACTION_TYPE_COUNT;
    rule_add(&r);
    tagged.vlan[0] = 0x1005;
    carried(P0, &tagged, VF0, &tagged);
    tagged.vlan[1] = 0x1006;
    missed(P0, &tagged);
    item(&r, RTE_FLOW_ITEM_TYPE_VLAN, NULL, NULL);
    rule_refused(&r, RTE_FLOW_ERROR_TYPE_ITEM, NULL, "mlx5");
}
END_TEST

/* Rules without an item for ports are about the port they were made on. */
START_TEST(test_mlx5_ports)
{
    struct rule r;

    for (uint16_t port = P0; port <= P1; port++) {
        rule_from(&r, port);
        rule_jump(&r, 7);
        rule_add(&r);
    }
    rule_init(&r, 7);
    rule_to(&r, VF0);
    rule_add(&r);
    carried(P0, &udp, VF0, &udp);
    missed(P1, &udp);

    rule_init(&r, 7);
    item(&r, RTE_FLOW_ITEM_TYPE_REPRESENTED_PORT, NULL, NULL);
    r.attr.priority = 1;
    rule_to(&r, VF1);
    rule_add(&r);
    carried(P0, &udp, VF0, &udp);
    carried(P1, &udp, VF1, &udp);
}
END_TEST

/* An established connection of P0, from 1000 on, and VF0, from 5000 on. */
static const struct rte_flow_action_conntrack established = {
    .peer_port = VF0,
    .is_original_dir = 1,
    .enable = 1,
    .state = RTE_FLOW_CONNTRACK_STATE_ESTABLISHED,
    .original_dir = {
        .sent_end = 1000, .reply_end = 2000, .max_win = 200, .max_ack = 5000,
    },
    .reply_dir = {
        .sent_end = 5000, .reply_end = 5200, .max_win = 1000, .max_ack = 1000,
    },
};
static const struct frame tcp = {
    .proto = IPPROTO_TCP, .src = IP(10, 0, 0, 1), .dst = IP(10, 0, 0, 2),
    .sport = 1000, .dport = 80, .seq = 1000, .ack = 5000, .win = 200,
};

static struct rte_flow_action_handle *
conn_add(void)
{
    const struct rte_flow_indir_action_conf conf = { .transfer = 1 };
    const struct rte_flow_action a = {
        .type = RTE_FLOW_ACTION_TYPE_CONNTRACK, .conf = &established
    };
    struct rte_flow_action_handle *conn;

    conn = rte_flow_action_handle_create(P0, &conf, &a, NULL);
    ck_assert_ptr_nonnull(conn);
    return conn;
}

/* Adds a rule of P0: what is in group 'group', and has conntrack flags 'flags'
 * where 'mask' is 1, is sent to 'to'. */
static void
send_verdict(uint32_t group, uint32_t flags, uint32_t mask, int to)
{
    const struct rte_flow_item_conntrack item_spec = { .flags = flags };
    const struct rte_flow_item_conntrack item_mask = { .flags = mask };
    struct rule r;

    rule_init(&r, group);
    item(&r, RTE_FLOW_ITEM_TYPE_CONNTRACK, &item_spec, &item_mask);
    rule_to(&r, to);
    rule_add(&r);
}

/* A table whose rules bring a connection each. */
START_TEST(test_conntrack)
{
    const struct rte_flow_pattern_template_attr pattern_attr = {
        .transfer = 1
    };
    const struct rte_flow_actions_template_attr actions_attr = {
        .transfer = 1
    };
    const struct rte_flow_template_table_attr table_attr = {
        .flow_attr = { .transfer = 1, .group = 3 },
        .nb_flows = MAX_FLOWS,
    };
    const struct rte_flow_op_attr now = { .postpone = 0 };
    struct rte_flow_action_handle *conn = conn_add();
    struct rte_flow_action_conntrack profile;
    struct rule r, masks;
    struct frame f = tcp;
    int a;

    rule_init(&r, 3);
    item(&r, RTE_FLOW_ITEM_TYPE_ETH, NULL, NULL);
    item(&r, RTE_FLOW_ITEM_TYPE_IPV4, NULL, NULL);
    item(&r, RTE_FLOW_ITEM_TYPE_TCP, NULL, NULL);
    pattern_template = rte_flow_pattern_template_create(P0, &pattern_attr,
                                                        r.items, NULL);
    ck_assert_ptr_nonnull(pattern_template);

    /* The mask has the type of the connection, not that of indirect
     * actions. */
    action(&r, RTE_FLOW_ACTION_TYPE_INDIRECT, NULL);
    rule_jump(&r, 5);
    masks = r;
    ck_assert_ptr_null(rte_flow_actions_template_create(P0, &actions_attr,
                                                        r.actions,
                                                        masks.actions, NULL));
    masks.actions[0].type = RTE_FLOW_ACTION_TYPE_CONNTRACK;
    actions_template = rte_flow_actions_template_create(P0, &actions_attr,
                                                        r.actions,
                                                        masks.actions, NULL);
    ck_assert_ptr_nonnull(actions_template);
    table = rte_flow_template_table_create(P0, &table_attr, &pattern_template,
                                           1, &actions_template, 1, NULL);
    ck_assert_ptr_nonnull(table);

    r.actions[0].conf = conn;
    ck_assert_ptr_nonnull(rte_flow_async_create(P0, 0, &now, table, r.items,
                                                0, r.actions, 0, &a, NULL));
    pull(&a, RTE_FLOW_OP_SUCCESS);
    rule_from(&r, P0);
    rule_jump(&r, 3);
    rule_add(&r);
    send_verdict(5, RTE_FLOW_CONNTRACK_PKT_STATE_VALID, UINT32_MAX, VF0);
    f.len = 50;
    carried(P0, &f, VF0, &f);
    ck_assert(!rte_flow_action_handle_query(P0, conn, &profile, NULL));
    ck_assert_uint_eq(profile.original_dir.sent_end, 1050);
    f.seq = 3000;
    missed(P0, &f);

    ck_assert_int_eq(rte_flow_action_handle_destroy(P0, conn, NULL), -EBUSY);
    ck_assert(!rte_flow_flush(P0, NULL));
    ck_assert(!rte_flow_action_handle_destroy(P0, conn, NULL));
    destroy_table();
}
END_TEST

/* Indirect actions in queues. */
START_TEST(test_async_indirect)
{
    const struct rte_flow_indir_action_conf conf = { .transfer = 1 };
    const struct rte_flow_action a = {
        .type = RTE_FLOW_ACTION_TYPE_CONNTRACK, .conf = &established
    };
    const struct rte_flow_op_attr now = { .postpone = 0 };
    struct rte_flow_modify_conntrack update = { .direction = 1 };
    struct rte_flow_action_conntrack profile;
    struct rte_flow_action_handle *conn;
    int ids[4];

    ck_assert_ptr_null(rte_flow_async_action_handle_create(P0, 1, &now, &conf,
                                                           &a, NULL, NULL));
    conn = rte_flow_async_action_handle_create(P0, 0, &now, &conf, &a,
                                               &ids[0], NULL);
    ck_assert_ptr_nonnull(conn);
    pull(&ids[0], RTE_FLOW_OP_SUCCESS);
    pull_nothing();
    ck_assert(!rte_flow_async_action_handle_update(P0, 0, &now, conn, &update,
                                                   &ids[1], NULL));
    ck_assert(!rte_flow_async_action_handle_query(P0, 0, &now, conn, &profile,
                                                  &ids[2], NULL));
    ck_assert(!rte_flow_async_action_handle_destroy(P0, 0, &now, conn,
                                                    &ids[3], NULL));
    for (int i = 1; i < 4; i++) {
        pull(&ids[i], RTE_FLOW_OP_SUCCESS);
    }
    ck_assert(!profile.is_original_dir);
    ck_assert_uint_eq(profile.reply_dir.sent_end, 5000);
    ck_assert_int_eq(rte_flow_async_action_handle_destroy(P0, 0, &now, conn,
                                                          NULL, NULL),
                     -ENOENT);
    pull_nothing();

    /* A queue has room for so many results. */
    conn = conn_add();
    for (int i = 0; i < QUEUE_SIZE; i++) {
        ck_assert(!rte_flow_async_action_handle_update(P0, 0, &now, conn,
                                                       &update, conn, NULL));
    }
    ck_assert_int_eq(rte_flow_async_action_handle_destroy(P0, 0, &now, conn,
                                                          NULL, NULL),
                     -EAGAIN);
    for (int i = 0; i < QUEUE_SIZE; i++) {
        pull(conn, RTE_FLOW_OP_SUCCESS);
    }
    ck_assert(!rte_flow_action_handle_destroy(P0, conn, NULL));
}
END_TEST

/* Who may use a connection of mlx5, and where. */
START_TEST(test_mlx5_conntrack)
{
    struct rte_flow_modify_conntrack update = {
        .new_ct = established, .state = 1,
    };
    struct rte_flow_action_handle *conn = conn_add();
    struct rte_flow_action_conntrack profile;
    struct rule r;

    rule_from(&r, P0);
    item(&r, RTE_FLOW_ITEM_TYPE_ETH, NULL, NULL);
    item(&r, RTE_FLOW_ITEM_TYPE_IPV4, NULL, NULL);
    item(&r, RTE_FLOW_ITEM_TYPE_TCP, NULL, NULL);
    action(&r, RTE_FLOW_ACTION_TYPE_INDIRECT, conn);
    rule_jump(&r, 5);
    rule_refused(&r, RTE_FLOW_ERROR_TYPE_ACTION, NULL, "group 0");
    r.attr.group = 3;
    ck_assert(!rte_flow_validate(P0, &r.attr, r.items, r.actions, NULL));
    ck_assert(!rte_flow_validate(VF0, &r.attr, r.items, r.actions, NULL));
    ck_assert_int_eq(rte_flow_validate(VF1, &r.attr, r.items, r.actions,
                                       NULL), -ENOTSUP);

    ck_assert_int_eq(rte_flow_action_handle_query(VF0, conn, &profile, NULL),
                     -EACCES);
    ck_assert_int_eq(rte_flow_action_handle_update(VF0, conn, &update, NULL),
                     -EACCES);
    ck_assert(!rte_flow_action_handle_update(P0, conn, &update, NULL));
    update.new_ct.max_ack_window = 8;
    ck_assert_int_eq(rte_flow_action_handle_update(P0, conn, &update, NULL),
                     -EINVAL);
    ck_assert(!rte_eth_dev_stop(P0));
    ck_assert_int_eq(rte_flow_action_handle_destroy(P0, conn, NULL), -EAGAIN);
    ck_assert(!rte_eth_dev_start(P0));
    ck_assert(!rte_flow_action_handle_destroy(P0, conn, NULL));
}
END_TEST

/* mlx5 has no bit for packets that are valid: what no connection has seen is
 * as good as those. */
START_TEST(test_mlx5_verdict)
{
    const struct rte_flow_item_conntrack conflict = {
        .flags = (RTE_FLOW_CONNTRACK_PKT_STATE_VALID
                  | RTE_FLOW_CONNTRACK_PKT_STATE_BAD)
    };
    struct rte_flow_action_handle *conn = conn_add();
    struct frame f = tcp;
    struct rule r;

    rule_init(&r, 5);
    item(&r, RTE_FLOW_ITEM_TYPE_CONNTRACK, &conflict, NULL);
    rule_to(&r, VF0);
    rule_refused(&r, RTE_FLOW_ERROR_TYPE_ITEM, NULL, "valid");

    rule_from(&r, P0);
    rule_jump(&r, 3);
    rule_add(&r);
    rule_init(&r, 3);
    rule_jump(&r, 5);
    r.attr.priority = 1;
    rule_add(&r);
    send_verdict(5, RTE_FLOW_CONNTRACK_PKT_STATE_VALID, UINT32_MAX, VF0);
    send_verdict(5, RTE_FLOW_CONNTRACK_PKT_STATE_INVALID,
                 RTE_FLOW_CONNTRACK_PKT_STATE_INVALID, VF1);
    carried(P0, &udp, VF0, &udp);
    carried(P0, &f, VF0, &f);

    rule_init(&r, 3);
    item(&r, RTE_FLOW_ITEM_TYPE_ETH, NULL, NULL);
    item(&r, RTE_FLOW_ITEM_TYPE_IPV4, NULL, NULL);
    item(&r, RTE_FLOW_ITEM_TYPE_TCP, NULL, NULL);
    action(&r, RTE_FLOW_ACTION_TYPE_INDIRECT, conn);
    rule_jump(&r, 5);
    rule_add(&r);
    carried(P0, &f, VF0, &f);
    f.seq = 3000;
    carried(P0, &f, VF1, &f);

    /* The state changes, which neither rule wants. */
    f.seq = 1000;
    f.flags = RTE_TCP_FIN_FLAG | RTE_TCP_ACK_FLAG;
    missed(P0, &f);
    ck_assert(!rte_flow_flush(P0, NULL));
    ck_assert(!rte_flow_action_handle_destroy(P0, conn, NULL));
}
END_TEST

int
main(void)
{
    const struct rte_flow_port_attr attr = {
        .nb_counters = 100,
        .nb_conn_tracks = 10,
    };
    const struct rte_flow_port_attr too_much = { .nb_conn_tracks = 11 };
    const struct rte_flow_queue_attr queue = { .size = QUEUE_SIZE };
    const struct rte_flow_queue_attr *queues[] = { &queue };
    Suite *suite = suite_create("net-emu-async");
    TCase *tcase = tcase_create("all");
    struct rte_flow_queue_info queue_info;
    struct rte_flow_port_info info;

    start_eal("rings=true,profile=kind,restrict=mlx5,ct-module=true,"
              "max-conns=10");

    /* Only before the port starts. */
    must(rte_flow_configure(P0, &attr, 1, queues, NULL) < 0);
    must(!rte_eth_dev_stop(P0));
    must(!rte_flow_info_get(P0, &info, &queue_info, NULL));
    must(info.max_nb_queues >= 1 && queue_info.max_size >= QUEUE_SIZE);
    must(info.max_nb_conn_tracks == attr.nb_conn_tracks);
    must(rte_flow_configure(P0, &too_much, 1, queues, NULL) < 0);
    must(!rte_flow_configure(P0, &attr, 1, queues, NULL));
    must(!rte_eth_dev_start(P0));

    tcase_add_checked_fixture(tcase, clean, clean);
    tcase_add_test(tcase, test_create_and_destroy);
    tcase_add_test(tcase, test_postponed);
    tcase_add_test(tcase, test_failures);
    tcase_add_test(tcase, test_bounds);
    tcase_add_test(tcase, test_mlx5);
    tcase_add_test(tcase, test_mlx5_ports);
    tcase_add_test(tcase, test_conntrack);
    tcase_add_test(tcase, test_async_indirect);
    tcase_add_test(tcase, test_mlx5_conntrack);
    tcase_add_test(tcase, test_mlx5_verdict);
    suite_add_tcase(suite, tcase);
    return unit_test_run(suite);
}
