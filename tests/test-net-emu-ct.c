/* SPDX-License-Identifier: Apache-2.0 */

/* The emulated NIC as a device of DPDK: connection tracking. */

#include <rte_config.h>

#include <check.h>

#include "net-emu-test.h"
#include "unit-test.h"

#define IP(A, B, C, D) ((uint32_t) (A) << 24 | (B) << 16 | (C) << 8 | (D))
#define MAX_CONNS 4

#define SYN RTE_TCP_SYN_FLAG
#define FIN RTE_TCP_FIN_FLAG
#define RST RTE_TCP_RST_FLAG
#define ACK RTE_TCP_ACK_FLAG

#define VALID RTE_FLOW_CONNTRACK_PKT_STATE_VALID
#define CHANGED RTE_FLOW_CONNTRACK_PKT_STATE_CHANGED
#define INVALID RTE_FLOW_CONNTRACK_PKT_STATE_INVALID
#define DISABLED RTE_FLOW_CONNTRACK_PKT_STATE_DISABLED
#define BAD RTE_FLOW_CONNTRACK_PKT_STATE_BAD

/* An established connection between P0, where sequence numbers begin at 1000
 * and the window is 50 << 2, and VF0, where it is 5000 and 1000. */
static const struct rte_flow_action_conntrack established = {
    .peer_port = VF0,
    .is_original_dir = 1,
    .enable = 1,
    .live_connection = 1,
    .last_direction = 1,
    .state = RTE_FLOW_CONNTRACK_STATE_ESTABLISHED,
    .max_ack_window = 1,
    .retransmission_limit = 2,
    .original_dir = {
        .scale = 2, .last_ack_seen = 1, .sent_end = 1000,
        .reply_end = 2000, .max_win = 200, .max_ack = 5000,
    },
    .reply_dir = {
        .scale = 0, .last_ack_seen = 1, .sent_end = 5000,
        .reply_end = 5200, .max_win = 1000, .max_ack = 1000,
    },
    .last_window = 50,
    .last_index = RTE_FLOW_CONNTRACK_FLAG_ACK,
    .last_seq = 1000, .last_ack = 5000, .last_end = 1000,
};

/* A packet of the original direction, and one of the other. */
static const struct frame orig = {
    .proto = IPPROTO_TCP, .src = IP(10, 0, 0, 1), .dst = IP(10, 0, 0, 2),
    .sport = 1000, .dport = 80, .seq = 1000, .ack = 5000, .win = 50,
};
static const struct frame reply = {
    .proto = IPPROTO_TCP, .src = IP(10, 0, 0, 2), .dst = IP(10, 0, 0, 1),
    .sport = 80, .dport = 1000, .seq = 5000, .ack = 1000, .win = 1000,
};

/* Conntrack actions. */

static struct rte_flow_action_handle *
conn_try(const struct rte_flow_action_conntrack *profile,
         struct rte_flow_error *error)
{
    const struct rte_flow_indir_action_conf conf = { .transfer = 1 };
    const struct rte_flow_action a = {
        .type = RTE_FLOW_ACTION_TYPE_CONNTRACK, .conf = profile
    };

    return rte_flow_action_handle_create(P0, &conf, &a, error);
}

static struct rte_flow_action_handle *
conn_add(const struct rte_flow_action_conntrack *profile)
{
    struct rte_flow_error error;
    struct rte_flow_action_handle *conn = conn_try(profile, &error);

    ck_assert_msg(conn, "%s", error.message);
    return conn;
}

static struct rte_flow_action_conntrack
conn_query(struct rte_flow_action_handle *conn)
{
    struct rte_flow_action_conntrack profile;

    ck_assert(!rte_flow_action_handle_query(P0, conn, &profile, NULL));
    return profile;
}

static void
conn_set(struct rte_flow_action_handle *conn,
         const struct rte_flow_action_conntrack *profile)
{
    const struct rte_flow_modify_conntrack update = {
        .new_ct = *profile, .state = 1
    };

    ck_assert(!rte_flow_action_handle_update(P0, conn, &update, NULL));
}

static void
conn_set_direction(struct rte_flow_action_handle *conn, bool original)
{
    const struct rte_flow_modify_conntrack update = {
        .new_ct.is_original_dir = original, .direction = 1
    };

    ck_assert(!rte_flow_action_handle_update(P0, conn, &update, NULL));
}

static void
check_dir(const struct rte_flow_tcp_dir_param *a,
          const struct rte_flow_tcp_dir_param *b)
{
    ck_assert_uint_eq(a->scale, b->scale);
    ck_assert_uint_eq(a->close_initiated, b->close_initiated);
    ck_assert_uint_eq(a->last_ack_seen, b->last_ack_seen);
    ck_assert_uint_eq(a->data_unacked, b->data_unacked);
    ck_assert_uint_eq(a->sent_end, b->sent_end);
    ck_assert_uint_eq(a->reply_end, b->reply_end);
    ck_assert_uint_eq(a->max_win, b->max_win);
    ck_assert_uint_eq(a->max_ack, b->max_ack);
}

/* Fails unless 'conn' is exactly what 'b' says. */
static void
check_conn(struct rte_flow_action_handle *conn,
           const struct rte_flow_action_conntrack *b)
{
    const struct rte_flow_action_conntrack a = conn_query(conn);

    ck_assert_uint_eq(a.peer_port, b->peer_port);
    ck_assert_uint_eq(a.is_original_dir, b->is_original_dir);
    ck_assert_uint_eq(a.enable, b->enable);
    ck_assert_uint_eq(a.live_connection, b->live_connection);
    ck_assert_uint_eq(a.selective_ack, b->selective_ack);
    ck_assert_uint_eq(a.challenge_ack_passed, b->challenge_ack_passed);
    ck_assert_uint_eq(a.last_direction, b->last_direction);
    ck_assert_uint_eq(a.liberal_mode, b->liberal_mode);
    ck_assert_int_eq(a.state, b->state);
    ck_assert_uint_eq(a.max_ack_window, b->max_ack_window);
    ck_assert_uint_eq(a.retransmission_limit, b->retransmission_limit);
    check_dir(&a.original_dir, &b->original_dir);
    check_dir(&a.reply_dir, &b->reply_dir);
    ck_assert_uint_eq(a.last_window, b->last_window);
    ck_assert_int_eq(a.last_index, b->last_index);
    ck_assert_uint_eq(a.last_seq, b->last_seq);
    ck_assert_uint_eq(a.last_ack, b->last_ack);
    ck_assert_uint_eq(a.last_end, b->last_end);
}

/* Rules. */

/* Starts a rule for TCP from the wire of 'port'. */
static void
tcp_from(struct rule *r, int port, bool ipv6)
{
    rule_from(r, port);
    item(r, RTE_FLOW_ITEM_TYPE_ETH, NULL, NULL);
    item(r, ipv6 ? RTE_FLOW_ITEM_TYPE_IPV6 : RTE_FLOW_ITEM_TYPE_IPV4, NULL,
         NULL);
    item(r, RTE_FLOW_ITEM_TYPE_TCP, NULL, NULL);
}

/* TCP from 'port' is of 'conn', and goes on in group 1. */
static struct rte_flow *
track(int port, struct rte_flow_action_handle *conn, bool ipv6)
{
    struct rule r;

    tcp_from(&r, port, ipv6);
    action(&r, RTE_FLOW_ACTION_TYPE_INDIRECT, conn);
    rule_jump(&r, 1);
    return rule_add(&r);
}

/* What a packet can be, and the rules of group 1 that count it. */
static const uint32_t verdicts[] = {
    VALID, VALID | CHANGED, INVALID, DISABLED, BAD
};
#define N_VERDICTS (sizeof verdicts / sizeof *verdicts)
static struct rte_flow *counters[N_VERDICTS];

static void
add_counters(void)
{
    for (size_t i = 0; i < N_VERDICTS; i++) {
        const struct rte_flow_item_conntrack spec = { .flags = verdicts[i] };
        struct rule r;

        rule_init(&r, 1);
        item(&r, RTE_FLOW_ITEM_TYPE_CONNTRACK, &spec, NULL);
        action(&r, RTE_FLOW_ACTION_TYPE_COUNT, NULL);
        action(&r, RTE_FLOW_ACTION_TYPE_DROP, NULL);
        counters[i] = rule_add(&r);
    }
}

/* Lets both directions of a connection of 'profile' pass. */
static struct rte_flow_action_handle *
connect_ports(const struct rte_flow_action_conntrack *profile)
{
    struct rte_flow_action_handle *conn = conn_add(profile);

    track(P0, conn, false);
    conn_set_direction(conn, false);
    track(VF0, conn, false);
    conn_set_direction(conn, true);
    add_counters();
    return conn;
}

/* Removes everything. */
static void
disconnect(struct rte_flow_action_handle *conn)
{
    ck_assert(!rte_flow_flush(P0, NULL));
    ck_assert(!rte_flow_action_handle_destroy(P0, conn, NULL));
}

/* Lets 'f' arrive and fails unless it is 'expected'. */
static void
check_verdict(const struct frame *f, uint32_t expected)
{
    const struct rte_flow_action count[] = {
        { .type = RTE_FLOW_ACTION_TYPE_COUNT },
        { .type = RTE_FLOW_ACTION_TYPE_END },
    };
    uint32_t verdict = 0;

    dropped(f->src == orig.src ? P0 : VF0, f);
    for (size_t i = 0; i < N_VERDICTS; i++) {
        struct rte_flow_query_count q = { .reset = 1 };

        ck_assert(!rte_flow_query(P0, counters[i], count, &q, NULL));
        if (q.hits) {
            ck_assert_uint_eq(verdict, 0);
            verdict = verdicts[i];
        }
    }
    ck_assert_uint_eq(verdict, expected);
}

static void
check_orig(uint8_t flags, uint32_t seq, uint32_t ack, uint16_t len,
           uint32_t expected)
{
    struct frame f = orig;

    f.flags = flags;
    f.seq = seq;
    f.ack = ack;
    f.len = len;
    check_verdict(&f, expected);
}

static void
check_reply(uint8_t flags, uint32_t seq, uint32_t ack, uint16_t len,
            uint32_t expected)
{
    struct frame f = reply;

    f.flags = flags;
    f.seq = seq;
    f.ack = ack;
    f.len = len;
    check_verdict(&f, expected);
}

/* Tests. */

START_TEST(test_life)
{
    struct rte_flow_action_conntrack profile = established;
    struct rte_flow_action_handle *conn, *other;
    struct rte_flow *flow;

    profile.selective_ack = 1;
    profile.challenge_ack_passed = 1;
    profile.liberal_mode = 1;
    profile.reply_dir.close_initiated = 1;
    profile.reply_dir.data_unacked = 1;
    conn = conn_add(&profile);
    check_conn(conn, &profile);
    other = conn_add(&established);
    check_conn(other, &established);
    check_conn(conn, &profile);

    /* Each part by itself. */
    conn_set_direction(other, false);
    profile = established;
    profile.is_original_dir = 0;
    check_conn(other, &profile);
    profile.state = RTE_FLOW_CONNTRACK_STATE_LAST_ACK;
    profile.is_original_dir = 1;
    profile.peer_port = P1;
    conn_set(other, &profile);
    profile.is_original_dir = 0;
    check_conn(other, &profile);

    flow = track(P0, conn, false);
    ck_assert_int_eq(rte_flow_action_handle_destroy(P0, conn, NULL), -EBUSY);
    ck_assert(!rte_flow_action_handle_destroy(P0, other, NULL));
    ck_assert(!rte_flow_destroy(P0, flow, NULL));
    ck_assert(!rte_flow_action_handle_destroy(P0, conn, NULL));
    ck_assert_int_eq(rte_flow_action_handle_destroy(P0, conn, NULL), -ENOENT);
    ck_assert_int_eq(rte_flow_action_handle_query(P0, conn, &profile, NULL),
                     -ENOENT);
}
END_TEST

static void
profile_refused(const struct rte_flow_action_conntrack *profile,
                enum rte_flow_error_type type, const char *text)
{
    struct rte_flow_error error = { .type = RTE_FLOW_ERROR_TYPE_NONE };

    ck_assert_ptr_null(conn_try(profile, &error));
    ck_assert_int_eq(rte_errno, EINVAL);
    ck_assert_int_eq(error.type, type);
    ck_assert_msg(strstr(error.message, text), "%s", error.message);
}

START_TEST(test_profiles_refused)
{
    const struct rte_flow_indir_action_conf ingress = { .ingress = 1 };
    const struct rte_flow_action a = {
        .type = RTE_FLOW_ACTION_TYPE_CONNTRACK, .conf = &established
    };
    struct rte_flow_modify_conntrack update = {
        .new_ct = established, .state = 1,
    };
    struct rte_flow_action_handle *conn = conn_add(&established);
    struct rte_flow_action_conntrack p;

    profile_refused(NULL, RTE_FLOW_ERROR_TYPE_ACTION, "no configuration");
    p = established;
    p.state = RTE_FLOW_CONNTRACK_STATE_TIME_WAIT + 1;
    profile_refused(&p, RTE_FLOW_ERROR_TYPE_ACTION_CONF, "no such state");
    p = established;
    p.last_index = RTE_FLOW_CONNTRACK_FLAG_RST << 1;
    profile_refused(&p, RTE_FLOW_ERROR_TYPE_ACTION_CONF, "last_index");
    p = established;
    p.max_ack_window = 15;
    profile_refused(&p, RTE_FLOW_ERROR_TYPE_ACTION_CONF, "max_ack_window");
    p = established;
    p.peer_port = N_PORTS;
    profile_refused(&p, RTE_FLOW_ERROR_TYPE_ACTION_CONF, "peer port");
    ck_assert_ptr_null(rte_flow_action_handle_create(P0, &ingress, &a, NULL));
    ck_assert_int_eq(rte_errno, ENOTSUP);

    update.new_ct.max_ack_window = 15;
    ck_assert_int_eq(rte_flow_action_handle_update(P0, conn, &update, NULL),
                     -EINVAL);
    check_conn(conn, &established);
    ck_assert(!rte_flow_action_handle_destroy(P0, conn, NULL));
    ck_assert_int_eq(rte_flow_action_handle_update(P0, conn, &update, NULL),
                     -ENOENT);
}
END_TEST

START_TEST(test_rules_refused)
{
    const struct rte_flow_item_conntrack unknown = { .flags = 1 << 5 };
    const struct rte_flow_item_conntrack valid = { .flags = VALID };
    struct rte_flow_action_handle *conn = conn_add(&established);
    struct rule r;

    tcp_from(&r, P0, false);
    r.items[--r.n_items].type = RTE_FLOW_ITEM_TYPE_END;
    action(&r, RTE_FLOW_ACTION_TYPE_INDIRECT, conn);
    rule_jump(&r, 1);
    rule_refused(&r, RTE_FLOW_ERROR_TYPE_ACTION, &r.actions[0], "TCP");

    tcp_from(&r, P0, false);
    action(&r, RTE_FLOW_ACTION_TYPE_CONNTRACK, &established);
    rule_jump(&r, 1);
    rule_refused(&r, RTE_FLOW_ERROR_TYPE_ACTION, &r.actions[0], "indirect");

    tcp_from(&r, P0, false);
    action(&r, RTE_FLOW_ACTION_TYPE_INDIRECT, conn);
    action(&r, RTE_FLOW_ACTION_TYPE_INDIRECT, conn);
    rule_jump(&r, 1);
    rule_refused(&r, RTE_FLOW_ERROR_TYPE_ACTION, &r.actions[1], "one");

    rule_init(&r, 1);
    item(&r, RTE_FLOW_ITEM_TYPE_CONNTRACK, &unknown, NULL);
    action(&r, RTE_FLOW_ACTION_TYPE_DROP, NULL);
    rule_refused(&r, RTE_FLOW_ERROR_TYPE_ITEM_SPEC, &unknown, "flags");

    rule_init(&r, 1);
    item(&r, RTE_FLOW_ITEM_TYPE_CONNTRACK, &valid, NULL);
    item(&r, RTE_FLOW_ITEM_TYPE_CONNTRACK, &valid, NULL);
    action(&r, RTE_FLOW_ACTION_TYPE_DROP, NULL);
    rule_refused(&r, RTE_FLOW_ERROR_TYPE_ITEM, &r.items[1], "one");

    ck_assert(!rte_flow_action_handle_destroy(P0, conn, NULL));
}
END_TEST

START_TEST(test_capacity)
{
    struct rte_flow_action_handle *conns[MAX_CONNS];

    for (int i = 0; i < MAX_CONNS; i++) {
        conns[i] = conn_add(&established);
    }
    ck_assert_ptr_null(conn_try(&established, NULL));
    ck_assert_int_eq(rte_errno, ENOSPC);
    ck_assert(!rte_flow_action_handle_destroy(P0, conns[1], NULL));
    conns[1] = conn_add(&established);
    for (int i = 0; i < MAX_CONNS; i++) {
        ck_assert(!rte_flow_action_handle_destroy(P0, conns[i], NULL));
    }
}
END_TEST

/* From the last packet of a handshake to the last ACK. */
START_TEST(test_states)
{
    struct rte_flow_action_conntrack p = {
        .peer_port = VF0,
        .is_original_dir = 1,
        .enable = 1,
        .state = RTE_FLOW_CONNTRACK_STATE_SYN_RECV,
        .original_dir = {
            .scale = 15, .data_unacked = 1,
            .sent_end = 1000, .reply_end = 2000, .max_win = 200,
        },
        .reply_dir = {
            .scale = 15, .last_ack_seen = 1, .data_unacked = 1,
            .sent_end = 5000, .reply_end = 5200, .max_win = 1000,
            .max_ack = 1000,
        },
    };
    struct rte_flow_action_handle *conn = connect_ports(&p);

    check_reply(SYN | ACK, 4999, 1000, 0, VALID);
    ck_assert_int_eq(conn_query(conn).last_index,
                     RTE_FLOW_CONNTRACK_FLAG_SYNACK);
    check_orig(ACK, 1000, 5000, 0, VALID | CHANGED);
    p = conn_query(conn);
    ck_assert_int_eq(p.state, RTE_FLOW_CONNTRACK_STATE_ESTABLISHED);
    ck_assert(!p.live_connection);
    ck_assert(!p.reply_dir.data_unacked);
    ck_assert(p.original_dir.last_ack_seen);

    check_orig(ACK, 1000, 5000, 100, VALID);
    p = conn_query(conn);
    ck_assert(p.live_connection);
    ck_assert(p.last_direction);
    ck_assert(p.original_dir.data_unacked);
    ck_assert_uint_eq(p.original_dir.sent_end, 1100);
    ck_assert_uint_eq(p.last_end, 1100);
    check_reply(ACK, 5000, 1100, 10, VALID);
    p = conn_query(conn);
    ck_assert(!p.last_direction);
    ck_assert(!p.original_dir.data_unacked);
    ck_assert_uint_eq(p.original_dir.reply_end, 2100);
    ck_assert_uint_eq(p.reply_dir.max_ack, 1100);

    check_reply(FIN | ACK, 5010, 1100, 0, VALID | CHANGED);
    p = conn_query(conn);
    ck_assert_int_eq(p.state, RTE_FLOW_CONNTRACK_STATE_FIN_WAIT);
    ck_assert(p.reply_dir.close_initiated);
    ck_assert_int_eq(p.last_index, RTE_FLOW_CONNTRACK_FLAG_FIN);
    check_orig(ACK, 1100, 5010, 0, VALID);
    check_orig(ACK, 1100, 5011, 0, VALID | CHANGED);
    ck_assert_int_eq(conn_query(conn).state,
                     RTE_FLOW_CONNTRACK_STATE_CLOSE_WAIT);
    check_orig(FIN | ACK, 1100, 5011, 0, VALID | CHANGED);
    ck_assert_int_eq(conn_query(conn).state,
                     RTE_FLOW_CONNTRACK_STATE_LAST_ACK);
    check_reply(ACK, 5011, 1101, 0, VALID | CHANGED);
    ck_assert_int_eq(conn_query(conn).state,
                     RTE_FLOW_CONNTRACK_STATE_TIME_WAIT);
    disconnect(conn);
}
END_TEST

START_TEST(test_reset_and_flags)
{
    struct rte_flow_action_handle *conn = connect_ports(&established);

    check_orig(SYN, 1000, 0, 0, INVALID);
    check_orig(SYN | ACK, 999, 5000, 0, INVALID);
    check_orig(SYN | FIN, 1000, 0, 0, BAD);
    check_orig(FIN, 1000, 0, 0, BAD);
    check_orig(RTE_TCP_PSH_FLAG, 1000, 0, 0, BAD);
    check_conn(conn, &established);
    check_reply(RST | ACK, 9000, 1000, 0, INVALID);
    check_conn(conn, &established);

    /* An ACK of 0 says nothing. */
    check_reply(RST | ACK, 5000, 0, 0, VALID | CHANGED);
    ck_assert_int_eq(conn_query(conn).state,
                     RTE_FLOW_CONNTRACK_STATE_TIME_WAIT);
    ck_assert_int_eq(conn_query(conn).last_index,
                     RTE_FLOW_CONNTRACK_FLAG_RST);
    disconnect(conn);
}
END_TEST

START_TEST(test_window)
{
    struct rte_flow_action_handle *conn = connect_ports(&established);

    /* Up to where the other side allows, which is the highest ever. */
    check_orig(ACK, 1000, 5000, 1001, INVALID);
    check_orig(ACK, 1001, 5000, 1000, INVALID);
    check_conn(conn, &established);
    check_orig(ACK, 1000, 5000, 1000, VALID);
    check_reply(ACK, 5000, 1500, 200, VALID);
    check_orig(ACK, 2000, 5000, 500, VALID);
    check_orig(ACK, 2500, 5000, 1, INVALID);

    /* Windows are scaled by what their sender said. */
    check_reply(ACK, 5200, 1500, 1, INVALID);
    check_orig(ACK, 2500, 5200, 0, VALID);
    check_reply(ACK, 5200, 1500, 200, VALID);
    check_reply(ACK, 5400, 1500, 1, INVALID);

    /* Back to one window before what was sent. */
    check_orig(ACK, 1499, 5200, 10, INVALID);
    check_orig(ACK, 1500, 5200, 10, VALID);

    /* What was sent is acknowledged, and nothing else. */
    check_reply(ACK, 5400, 2501, 0, INVALID);
    check_reply(ACK, 5400, 2500, 0, VALID);
    check_reply(ACK, 5400, 2500 - 65535 * 2, 0, VALID);
    check_reply(ACK, 5400, 2500 - 65535 * 2 - 1, 0, INVALID);
    disconnect(conn);
}
END_TEST

START_TEST(test_wrap)
{
    struct rte_flow_action_conntrack p = established;
    struct rte_flow_action_handle *conn;

    p.original_dir.sent_end = UINT32_MAX - 99;
    p.original_dir.reply_end = 900;
    p.reply_dir.max_ack = UINT32_MAX - 99;
    conn = connect_ports(&p);
    check_orig(ACK, UINT32_MAX - 99, 5000, 1001, INVALID);
    check_orig(ACK, UINT32_MAX - 99, 5000, 1000, VALID);
    ck_assert_uint_eq(conn_query(conn).original_dir.sent_end, 900);
    check_reply(ACK, 5000, 901, 0, INVALID);
    check_reply(ACK, 5000, 900, 0, VALID);
    ck_assert_uint_eq(conn_query(conn).reply_dir.max_ack, 900);
    disconnect(conn);
}
END_TEST

START_TEST(test_retransmissions)
{
    struct rte_flow_action_handle *conn = connect_ports(&established);

    check_orig(ACK, 1000, 5000, 10, VALID);
    check_orig(ACK, 1000, 5000, 10, VALID);
    check_orig(ACK, 1000, 5000, 10, VALID);
    check_orig(ACK, 1000, 5000, 10, INVALID);

    /* Anything else ends the row; duplicate ACKs are none. */
    check_orig(ACK, 1010, 5000, 10, VALID);
    check_orig(ACK, 1000, 5000, 10, VALID);
    for (int i = 0; i < 5; i++) {
        check_orig(ACK, 1020, 5000, 0, VALID);
    }
    disconnect(conn);
}
END_TEST

START_TEST(test_sack)
{
    struct rte_flow_action_conntrack p = established;
    struct rte_flow_action_handle *conn = connect_ports(&p);
    struct frame f = reply;

    check_orig(ACK, 1000, 5000, 400, VALID);
    f.sack[0] = 1200;
    f.sack[1] = 1400;
    check_verdict(&f, VALID);
    ck_assert_uint_eq(conn_query(conn).original_dir.reply_end, 2000);
    p = conn_query(conn);
    p.selective_ack = 1;
    conn_set(conn, &p);
    check_verdict(&f, VALID);
    p = conn_query(conn);
    ck_assert_uint_eq(p.original_dir.reply_end, 2400);
    ck_assert_uint_eq(p.reply_dir.max_win, 1400);
    ck_assert_uint_eq(p.reply_dir.max_ack, 1000);
    f.sack[1] = 1401;
    check_verdict(&f, INVALID);
    disconnect(conn);
}
END_TEST

/* What is not to be checked, and the way back. */
START_TEST(test_disabled_and_liberal)
{
    struct rte_flow_action_conntrack p = established;
    struct rte_flow_action_handle *conn;

    p.enable = 0;
    conn = connect_ports(&p);
    check_orig(ACK, 1000, 5000, 10, DISABLED);
    check_orig(SYN | FIN, 1000, 5000, 10, DISABLED);
    check_reply(ACK, 777, 777, 10, DISABLED);
    check_conn(conn, &p);

    p = established;
    p.liberal_mode = 1;
    conn_set(conn, &p);
    check_reply(ACK, 9000, 1000, 10, VALID);
    ck_assert_uint_eq(conn_query(conn).reply_dir.sent_end, 9010);
    check_reply(FIN | ACK, 9010, 1000, 0, VALID | CHANGED);

    conn_set(conn, &established);
    check_reply(ACK, 9000, 1000, 10, INVALID);
    check_conn(conn, &established);
    check_reply(ACK, 5000, 1000, 10, VALID);
    disconnect(conn);
}
END_TEST

/* A packet that is missed later goes to the software as it came, but the
 * connection has seen it. */
START_TEST(test_missed)
{
    struct rte_flow_action_handle *conn = conn_add(&established);
    struct frame f = orig;

    track(P0, conn, false);
    f.len = 100;
    missed(P0, &f);
    ck_assert_uint_eq(conn_query(conn).original_dir.sent_end, 1100);

    /* What hits no conntrack action is not of any kind, also not for those
     * who ask for a part. */
    disconnect(conn);
    add_counters();
    missed(P0, &f);
}
END_TEST

START_TEST(test_items)
{
    struct rte_flow_action_handle *conn = conn_add(&established);
    const struct rte_flow_item_conntrack not_valid = { .flags = 0 };
    const struct rte_flow_item_conntrack mask = { .flags = VALID };
    struct frame f = orig;
    struct rule r;

    track(P0, conn, false);
    rule_init(&r, 1);
    item(&r, RTE_FLOW_ITEM_TYPE_CONNTRACK, &not_valid, &mask);
    rule_to(&r, VF1);
    rule_add(&r);
    rule_init(&r, 1);
    item(&r, RTE_FLOW_ITEM_TYPE_ETH, NULL, NULL);
    item(&r, RTE_FLOW_ITEM_TYPE_IPV4, NULL, NULL);
    item(&r, RTE_FLOW_ITEM_TYPE_TCP, NULL, NULL);
    item(&r, RTE_FLOW_ITEM_TYPE_CONNTRACK, &mask, &mask);
    rule_to(&r, VF0);
    rule_add(&r);
    carried(P0, &f, VF0, &f);
    f.flags = FIN | ACK;
    carried(P0, &f, VF0, &f);
    f.seq += 1000000;
    carried(P0, &f, VF1, &f);
    f.flags = SYN | RST;
    carried(P0, &f, VF1, &f);
    disconnect(conn);
}
END_TEST

START_TEST(test_ipv6_and_tags)
{
    struct rte_flow_action_handle *conn = conn_add(&established);
    struct frame f = orig;

    track(P0, conn, true);
    add_counters();
    f.ipv6 = true;
    f.len = 60;
    check_verdict(&f, VALID);
    f.vlan[0] = 0x1005;
    f.seq = 1060;
    f.len = 0;
    check_verdict(&f, VALID);
    ck_assert_uint_eq(conn_query(conn).original_dir.sent_end, 1060);
    disconnect(conn);
}
END_TEST

START_TEST(test_held_and_reset)
{
    struct rte_flow_action_handle *conn = conn_add(&established);
    const struct rte_flow_modify_conntrack update = {
        .new_ct = established, .state = 1,
    };
    struct rte_flow_action_conntrack p;
    struct rule r;

    telemetry_ok("/net_emu/fault,net_emu0,hold,1");
    ck_assert_ptr_null(conn_try(&established, NULL));
    ck_assert_int_eq(rte_errno, EBUSY);
    ck_assert_int_eq(rte_flow_action_handle_query(P0, conn, &p, NULL),
                     -EBUSY);
    ck_assert_int_eq(rte_flow_action_handle_update(P0, conn, &update, NULL),
                     -EBUSY);
    telemetry_ok("/net_emu/fault,net_emu0,hold,0");
    check_conn(conn, &established);

    track(P0, conn, false);
    telemetry_ok("/net_emu/reset,net_emu0");
    missed(P0, &orig);
    ck_assert_int_eq(rte_flow_action_handle_query(P0, conn, &p, NULL), -EIO);
    ck_assert_int_eq(rte_flow_action_handle_update(P0, conn, &update, NULL),
                     -EIO);
    tcp_from(&r, P0, false);
    action(&r, RTE_FLOW_ACTION_TYPE_INDIRECT, conn);
    rule_jump(&r, 1);
    rule_refused(&r, RTE_FLOW_ERROR_TYPE_ACTION_CONF, conn, "reset");
    ck_assert_int_eq(rte_flow_action_handle_destroy(P0, conn, NULL), -EBUSY);
    disconnect(conn);
    conn = conn_add(&established);
    check_conn(conn, &established);
    ck_assert(!rte_flow_action_handle_destroy(P0, conn, NULL));
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("net-emu-ct");
    TCase *tcase = tcase_create("all");

    start_eal("rings=true,profile=kind,ct-module=true,max-conns="
              RTE_STR(MAX_CONNS));
    tcase_add_checked_fixture(tcase, clean, clean);
    tcase_add_test(tcase, test_life);
    tcase_add_test(tcase, test_profiles_refused);
    tcase_add_test(tcase, test_rules_refused);
    tcase_add_test(tcase, test_capacity);
    tcase_add_test(tcase, test_states);
    tcase_add_test(tcase, test_reset_and_flags);
    tcase_add_test(tcase, test_window);
    tcase_add_test(tcase, test_wrap);
    tcase_add_test(tcase, test_retransmissions);
    tcase_add_test(tcase, test_sack);
    tcase_add_test(tcase, test_disabled_and_liberal);
    tcase_add_test(tcase, test_missed);
    tcase_add_test(tcase, test_items);
    tcase_add_test(tcase, test_ipv6_and_tags);
    tcase_add_test(tcase, test_held_and_reset);
    suite_add_tcase(suite, tcase);
    return unit_test_run(suite);
}
