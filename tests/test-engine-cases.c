/* SPDX-License-Identifier: Apache-2.0 */

/* Single cases of the engine that a simulation (test-engine.c) does not meet,
 * or does not look at closely: virtual time, emulated NICs that do what they
 * are told, a few connections. */

#include <config.h>

#include "datapath-offload/engine-private.h"
#include "engine-invariants.h"
#include "engine-test.h"
#include "lib/nic-emu.h"

#define N_PORTS 4
#define N_CONNS 8

/* What the engine believes to be a 'struct conn'. */
struct case_conn {
    uint64_t id;
    bool armed;
    long long int expiration_ms;
    long long int timeout_ms;

    /* What it was told when it was disarmed last. */
    bool counted;
    struct nic_counter carried[2];
};

static struct engine *engine;
static struct nic *nics[2];
static nic_port_id ids[N_PORTS + 1];
static struct nic *port_nic[N_PORTS + 1];
static const char *const port_names[] = { NULL, "q1", "q2", "q3", "q4" };
static struct case_conn conns[N_CONNS];
static struct conntrack *ct = (struct conntrack *) &engine;
static long long int now_ms;

/* Where the last packet was sent, 0 if nowhere. */
static odp_port_t sent_to;

static bool
case_arm(struct conn *conn, struct conntrack *ct_ OVS_UNUSED)
{
    ((struct case_conn *) conn)->armed = true;
    return true;
}

static enum ct_close
case_disarm(struct conn *conn_, struct conntrack *ct_ OVS_UNUSED,
            const struct nic_counter carried[2],
            long long int now OVS_UNUSED)
{
    struct case_conn *conn = (struct case_conn *) conn_;

    conn->armed = false;
    conn->counted = carried != NULL;
    for (int dir = 0; carried && dir < 2; dir++) {
        conn->carried[dir] = carried[dir];
    }
    return CT_CLOSE_NONE;
}

static enum ct_close
case_judge(struct conn *conn OVS_UNUSED, struct conntrack *ct_ OVS_UNUSED,
           long long int now OVS_UNUSED)
{
    return CT_CLOSE_NONE;
}

static void
case_reannounce(struct conn *conn OVS_UNUSED)
{
}

static long long int
case_expiration(const struct conn *conn)
{
    return ((const struct case_conn *) conn)->expiration_ms;
}

static long long int
case_timeout(const struct conn *conn, struct conntrack *ct_ OVS_UNUSED)
{
    return ((const struct case_conn *) conn)->timeout_ms;
}

static long long int
case_extend(struct conn *conn_, struct conntrack *ct_ OVS_UNUSED,
            long long int used_ms, long long int now)
{
    struct case_conn *conn = (struct case_conn *) conn_;

    if (conn->expiration_ms > now) {
        conn->expiration_ms = MAX(conn->expiration_ms,
                                  used_ms + conn->timeout_ms);
    }
    return conn->expiration_ms;
}

static const struct engine_conn_ops case_ops = {
    .arm = case_arm,
    .disarm = case_disarm,
    .judge = case_judge,
    .reannounce = case_reannounce,
    .expiration = case_expiration,
    .timeout = case_timeout,
    .extend = case_extend,
};

static void
send_cb(void *aux OVS_UNUSED, odp_port_t odp_port,
        struct dp_packet_batch *batch)
{
    sent_to = odp_port;
    dp_packet_delete_batch(batch, true);
}

static void
step(int ms)
{
    long long int end_ms = now_ms + ms;

    for (;;) {
        long long int wake_ms = engine_step(engine, now_ms);

        ovsrcu_quiesce();
        if (wake_ms > end_ms) {
            break;
        }
        now_ms = MAX(wake_ms, now_ms + 1);
    }
    now_ms = end_ms;
}

static void
set_config(unsigned int max_conns)
{
    struct engine_config config = { .enabled = true, .max_conns = max_conns };

    engine_set_config(engine, &config, now_ms);
}

/* A NIC that does not take rules for packets of 'refused_port', with 'refusal'
 * and the words "not today".  Everything else the emulated NIC does, which
 * insists on its class. */
static struct nic_class picky_class;
#define AS_EMU(NIC, CALL)                                           \
    do {                                                            \
        CONST_CAST(struct nic *, NIC)->class = &nic_emu_class;      \
        CALL;                                                       \
        CONST_CAST(struct nic *, NIC)->class = &picky_class;        \
    } while (0)
static nic_port_id refused_port;
static uint8_t refused_tos;         /* If not 0, only rules that match it. */
static int refusal;
static struct nic_completion refused[16];
static size_t n_refused, n_refusals;

static void
picky_submit(struct nic *nic, const struct nic_op ops[], size_t n,
             long long int now)
{
    for (size_t i = 0; i < n; i++) {
        const struct nic_op *op = &ops[i];

        if (op->type == NIC_OP_RULE_ADD && refused_port
            && op->rule.template->in_port == refused_port
            && (!refused_tos
                || op->rule.template->match.flow.nw_tos == refused_tos)) {
            ck_assert_uint_lt(n_refused, ARRAY_SIZE(refused));
            refused[n_refused++] = (struct nic_completion) {
                .type = op->type,
                .cookie = op->cookie,
                .error = refusal,
                .reason = "not today",
            };
            n_refusals++;
        } else {
            AS_EMU(nic, nic_emu_class.submit(nic, op, 1, now));
        }
    }
}

static size_t
picky_poll(struct nic *nic, struct nic_completion completions[], size_t max,
           long long int now)
{
    size_t n = n_refused;

    if (n) {
        memcpy(completions, refused, n * sizeof *completions);
        n_refused = 0;
    } else {
        AS_EMU(nic, n = nic_emu_class.poll(nic, completions, max, now));
    }
    return n;
}

static long long int
picky_wake_ms(const struct nic *nic, long long int now)
{
    long long int wake_ms = now;

    if (!n_refused) {
        AS_EMU(nic, wake_ms = nic_emu_class.wake_ms(nic, now));
    }
    return wake_ms;
}

static const char *
picky_check_template(const struct nic *nic,
                     const struct nic_template *template)
{
    const char *why;

    AS_EMU(nic, why = nic_emu_class.check_template(nic, template));
    return why;
}

static void
picky_rule_counters(struct nic *nic, const nic_handle handles[], size_t n,
                    struct nic_counter counters[], long long int now)
{
    AS_EMU(nic, nic_emu_class.rule_counters(nic, handles, n, counters, now));
}

static void
picky_conn_counters(struct nic *nic, const nic_handle handles[], size_t n,
                    struct nic_counter counters[][2], long long int now)
{
    AS_EMU(nic, nic_emu_class.conn_counters(nic, handles, n, counters, now));
}

static void
make_picky(struct nic *nic, int error)
{
    picky_class = nic_emu_class;
    picky_class.submit = picky_submit;
    picky_class.poll = picky_poll;
    picky_class.wake_ms = picky_wake_ms;
    picky_class.check_template = picky_check_template;
    picky_class.rule_counters = picky_rule_counters;
    picky_class.conn_counters = picky_conn_counters;
    refusal = error;
    refused_port = NIC_PORT_NONE;
    refused_tos = 0;
    n_refused = n_refusals = 0;
    nic->class = &picky_class;
}

static void
open_nic(int i, bool module)
{
    struct smap config = SMAP_INITIALIZER(&config);
    char *error = NULL;

    smap_add(&config, "profile", "typical");
    smap_add(&config, "ct-module", module ? "true" : "false");
    ck_assert_msg(!nic_emu_class.open(i ? "case1" : "case0", &config, &nics[i],
                                      &error), "%s", error);
    smap_destroy(&config);
    engine_add_nic(engine, nics[i], now_ms);
}

static void
attach(int port, struct nic *nic)
{
    ck_assert_int_eq(nic->class->port_add(nic, port_names[port],
                                          u32_to_odp(port),
                                          port == 1 ? NIC_PORT_VF
                                          : NIC_PORT_UPLINK, &ids[port]), 0);
    engine_set_port(engine, ENGINE_TEST_DP, u32_to_odp(port), port_names[port],
                    nic, ids[port], true, now_ms);
    port_nic[port] = nic;
}

/* Ports 1 and 2 are of one NIC. */
static void
start(bool module)
{
    memset(conns, 0, sizeof conns);
    memset(nics, 0, sizeof nics);
    memset(port_nic, 0, sizeof port_nic);
    now_ms = 100000;
    dp_registry_add(ct, "sim");
    engine = engine_create(&case_ops, now_ms);
    open_nic(0, module);
    attach(1, nics[0]);
    attach(2, nics[0]);
    set_config(UINT_MAX);
}

static void
finish(void)
{
    nics[0]->class = &nic_emu_class;
    for (int i = 0; i < N_CONNS; i++) {
        if (conns[i].id) {
            engine_test_push(engine, conns[i].id, CT_EVENT_REMOVED);
        }
    }
    step(10000);
    ck_assert(hmap_is_empty(&engine->conns_by_id));
    for (int port = 1; port <= N_PORTS; port++) {
        if (port_nic[port]) {
            port_nic[port]->class->port_del(port_nic[port], ids[port]);
            engine_clear_port(engine, ENGINE_TEST_DP, u32_to_odp(port),
                              now_ms);
        }
    }
    for (int i = 0; i < 2; i++) {
        if (nics[i]) {
            engine_begin_remove_nic(engine, nics[i], now_ms);
            step(1000);
            ck_assert(engine_finish_remove_nic(engine, nics[i], false,
                                               now_ms));
            nics[i]->class->close(nics[i]);
        }
    }
    engine_destroy(engine);
    dp_registry_remove(ct);
    ovsrcu_quiesce();
}

static struct flow
conn_flow(int i, bool reply)
{
    return (reply ? nic_test_flow4(IPPROTO_UDP, 200, 1 + i, 80, 1000)
            : nic_test_flow4(IPPROTO_UDP, 1 + i, 200, 1000, 80));
}

/* Connection 'i' is established, between 'port0' and 'port1'. */
static void
new_conn(int i, int port0, int port1, long long int timeout_ms)
{
    struct flow flows[2] = { conn_flow(i, false), conn_flow(i, true) };
    int ports[2] = { port0, port1 };

    conns[i].id = 1 + i;
    conns[i].timeout_ms = timeout_ms;
    conns[i].expiration_ms = now_ms + timeout_ms;
    engine_test_push_ready(engine, conns[i].id, &conns[i], ct,
                           ENGINE_TEST_ZONE, 0, flows, ports, false);
}

/* The pipeline between 'port0' and 'port1'. */
static void
put_pipeline(int port0, int port1)
{
    engine_test_put_megaflow(engine, port0, false, NULL);
    engine_test_put_output(engine, port0, u32_to_odp(port1));
    engine_test_put_megaflow(engine, port1, false, NULL);
    engine_test_put_output(engine, port1, u32_to_odp(port0));
}

/* Puts megaflow 'ufid' of 'recirc_id', from port 1, for packets with ToS
 * 'dscp'.  It goes on at 'next', or, if that is 0, to port 2. */
static void
put_dscp(int ufid, uint32_t recirc_id, uint8_t dscp, uint32_t next)
{
    ovs_u128 ufid_ = { .u32 = { ufid, 77 } };
    uint64_t stub[64 / 8];
    struct ofpbuf actions;
    struct match match;

    ofpbuf_use_stub(&actions, stub, sizeof stub);
    nl_msg_put_u32(&actions,
                   next ? OVS_ACTION_ATTR_RECIRC : OVS_ACTION_ATTR_OUTPUT,
                   next ? next : 2);
    engine_test_match(1, recirc_id, &match);
    match_set_nw_dscp(&match, dscp);
    engine_push_megaflow(engine, ENGINE_TEST_DP, &ufid_, NULL, &match,
                         actions.data, actions.size);
    ofpbuf_uninit(&actions);
}

static void
del_dscp(int ufid)
{
    ovs_u128 ufid_ = { .u32 = { ufid, 77 } };

    engine_push_megaflow_del(engine, &ufid_, NULL);
}

static struct megaflow *
find_dscp(int ufid)
{
    ovs_u128 ufid_ = { .u32 = { ufid, 77 } };

    return mf_mirror_find(&engine->mirror, ENGINE_TEST_DP, &ufid_);
}

/* Receives a packet of connection 'i' on 'port'.  Returns true if it was
 * carried. */
static bool
receive(int i, bool reply, int port, uint8_t dscp)
{
    struct flow flow = conn_flow(i, reply);
    struct dp_packet_batch batch;

    flow.nw_tos = dscp;
    dp_packet_batch_init_packet(&batch, nic_test_packet(&flow, 40));
    sent_to = 0;
    nic_emu_receive(port_names[port], &batch, now_ms, send_cb, NULL);
    if (dp_packet_batch_is_empty(&batch)) {
        return true;
    }
    dp_packet_delete_batch(&batch, true);
    return false;
}

static enum offload_reason
reason(int i, int dir)
{
    const char *why;

    return tracked_conn_get_reason(conn_index_find_id(engine, conns[i].id),
                                   dir, &why);
}

static size_t
n_armed(void)
{
    size_t n = 0;

    for (int i = 0; i < N_CONNS; i++) {
        n += conns[i].armed;
    }
    return n;
}

/* A direction has two paths, which both die before there are others: counts of
 * both go to those that take their place. */
START_TEST(test_retired_paths)
{
    start(false);
    engine_test_put_ct(engine, 1, &(ovs_u128) { .u32 = { 9 } }, 0,
                       ENGINE_TEST_ZONE, false, 50);
    put_dscp(1, 50, 0, 0);
    put_dscp(2, 50, 8, 0);
    new_conn(0, 1, 2, 60000);
    step(1000);
    ck_assert(receive(0, false, 1, 0));
    ck_assert(receive(0, false, 1, 0));
    ck_assert(receive(0, false, 1, 8));

    /* Both go, with counts that nobody has read. */
    del_dscp(1);
    del_dscp(2);
    step(500);
    ck_assert(!receive(0, false, 1, 0));

    /* The packets go another way now. */
    engine_test_put_ct(engine, 1, &(ovs_u128) { .u32 = { 9 } }, 0,
                       ENGINE_TEST_ZONE, false, 60);
    put_dscp(3, 60, 0, 0);
    put_dscp(4, 60, 8, 0);
    step(3 * MEGAFLOW_GRACE_MS);
    ck_assert_uint_eq(engine->mirror.unattributed_packets, 0);
    ck_assert_uint_eq(find_dscp(3)->packets + find_dscp(4)->packets, 3);
    ck_assert(ovs_list_is_empty(&engine->retired));
    finish();
}
END_TEST

/* A path with as many stages takes the place of another, but one of the slots
 * of the old one is elsewhere on the new one: counts stay in the slot. */
START_TEST(test_successor_slot)
{
    start(false);
    engine_test_put_ct(engine, 1, &(ovs_u128) { .u32 = { 9 } }, 0,
                       ENGINE_TEST_ZONE, false, 50);
    put_dscp(1, 50, 0, 51);
    put_dscp(2, 51, 0, 0);
    new_conn(0, 1, 2, 60000);
    step(1000);
    ck_assert(receive(0, false, 1, 0));
    ck_assert(receive(0, false, 1, 0));
    del_dscp(1);
    del_dscp(2);
    step(500);

    /* 'next' of 51 is new, 50 is not passed any more.  The new one in 51 does
     * not overlap with the old one. */
    engine_test_put_ct(engine, 1, &(ovs_u128) { .u32 = { 9 } }, 0,
                       ENGINE_TEST_ZONE, false, 51);
    put_dscp(3, 51, 8, 52);
    put_dscp(4, 52, 8, 0);
    step(500);
    ck_assert(receive(0, false, 1, 8));
    step(3 * MEGAFLOW_GRACE_MS);
    ck_assert_uint_eq(find_dscp(3)->packets, 3);
    ck_assert_uint_eq(find_dscp(4)->packets, 1);
    ck_assert_uint_eq(engine->mirror.unattributed_packets, 2);
    finish();
}
END_TEST

/* Connections that expire sooner than the NIC's counters tell that packets
 * come are not handed over. */
START_TEST(test_short_timeout)
{
    start(_i);
    put_pipeline(1, 2);
    new_conn(0, 1, 2, 1000);
    new_conn(1, 1, 2, 2000);
    new_conn(2, 1, 2, 10000);
    step(500);
    ck_assert_int_eq(reason(0, 0), REASON_TIMEOUT);
    ck_assert_int_eq(reason(0, 1), REASON_TIMEOUT);
    ck_assert_int_eq(reason(1, 0), REASON_TIMEOUT);
    ck_assert_int_eq(reason(2, 0), REASON_NONE);
    ck_assert(!receive(0, false, 1, 0) && !receive(1, true, 2, 0));
    ck_assert_uint_eq(engine->n_armed, 1);

    /* The policy is changed, of which there is no event. */
    conns[0].timeout_ms = conns[1].timeout_ms = 100000;
    for (int i = 0; i < 3; i++) {
        conns[i].expiration_ms = now_ms + 100000;
    }
    step(ENGINE_RECHECK_MS + 1000);
    ck_assert_int_eq(reason(0, 0), REASON_NONE);
    ck_assert(receive(0, false, 1, 0) && receive(1, true, 2, 0));
    finish();
}
END_TEST

/* The shortest timeout that is handed over: with packets the connection lives,
 * is not taken back all the time, and goes in time when they stop. */
START_TEST(test_shortest_timeout)
{
    long long int stop_ms;

    start(_i);
    put_pipeline(1, 2);
    new_conn(0, 1, 2, ENGINE_MIN_TIMEOUT_LAGS * 2000);
    step(100);
    for (int i = 0; i < 600; i++) {
        ck_assert_int_gt(conns[0].expiration_ms, now_ms);
        ck_assert(receive(0, false, 1, 0));
        step(50);
    }
    ck_assert_uint_eq(engine->n_disarmed, 0);

    stop_ms = now_ms;
    while (conns[0].expiration_ms > now_ms) {
        step(50);
    }
    ck_assert_int_ge(now_ms, stop_ms + conns[0].timeout_ms - 50);
    ck_assert_int_le(now_ms, stop_ms + conns[0].timeout_ms + 2000 + 50);
    ck_assert(!conns[0].armed);
    finish();
}
END_TEST

/* Flushes what is offloaded.  Fails unless connection 0 was disarmed and told
 * that 'orig' and 'reply' packets were carried, or, if 'orig' is negative,
 * that nobody knows. */
static void
flush_and_check(int orig, int reply)
{
    uint64_t n_disarmed = engine->n_disarmed;

    engine_flush(engine, now_ms);
    step(1000);
    ck_assert_uint_gt(engine->n_disarmed, n_disarmed);
    ck_assert_int_eq(conns[0].counted, orig >= 0);
    if (conns[0].counted) {
        ck_assert_uint_eq(conns[0].carried[0].packets, orig);
        ck_assert_uint_eq(conns[0].carried[1].packets, reply);
        ck_assert(!conns[0].carried[0].bytes == !orig);
        ck_assert(!conns[0].carried[1].bytes == !reply);
    }
    ck_assert_int_eq(reason(0, 0), REASON_NONE);
}

/* When a connection is disarmed it is told what was carried since it was
 * armed, by whatever rules. */
START_TEST(test_carried_since_armed)
{
    start(_i);
    put_pipeline(1, 2);
    new_conn(0, 1, 2, 600000);
    step(1000);
    flush_and_check(0, 0);
    ck_assert(receive(0, false, 1, 0) && receive(0, false, 1, 0)
              && receive(0, true, 2, 0));
    flush_and_check(2, 1);
    flush_and_check(0, 0);

    /* The rules are replaced meanwhile: out of port 1, and back. */
    ck_assert(receive(0, false, 1, 0));
    engine_test_put_output(engine, 1, u32_to_odp(1));
    step(1000);
    ck_assert(receive(0, false, 1, 0));
    engine_test_put_output(engine, 1, u32_to_odp(2));
    step(1000);
    ck_assert(receive(0, false, 1, 0) && receive(0, true, 2, 0));
    ck_assert(conns[0].armed);
    flush_and_check(3, 1);

    /* The NIC loses what it did not tell. */
    ck_assert(receive(0, false, 1, 0));
    nic_emu_reset(nics[0]);
    step(1000);
    ck_assert(receive(0, false, 1, 0));
    flush_and_check(-1, -1);
    ck_assert(receive(0, true, 2, 0));
    flush_and_check(0, 1);
    finish();
}
END_TEST

/* Fewer connections are allowed than there are: some go, those that stay are
 * not touched. */
START_TEST(test_lower_max_conns)
{
    size_t n_max_conns = 0;

    start(_i);
    put_pipeline(1, 2);
    for (int i = 0; i < N_CONNS; i++) {
        new_conn(i, 1, 2, 60000);
    }
    step(1000);
    ck_assert_uint_eq(n_armed(), N_CONNS);

    set_config(3);
    step(0);
    for (int i = 0; i < N_CONNS; i++) {
        n_max_conns += reason(i, 0) == REASON_MAX_CONNS;
    }
    ck_assert_uint_eq(n_max_conns, N_CONNS - 3);
    step(100);
    ck_assert_uint_eq(n_armed(), 3);
    ck_assert_uint_eq(engine->n_disarmed, N_CONNS - 3);
    ck_assert_uint_eq(engine_find_nic(engine, nics[0])->n_conns, 3);
    step(5000);
    ck_assert_uint_eq(n_armed(), 3);
    ck_assert_uint_eq(engine->n_disarmed, N_CONNS - 3);

    set_config(0);
    step(1000);
    ck_assert_uint_eq(n_armed(), 0);
    set_config(UINT_MAX);
    step(1000);
    ck_assert_uint_eq(n_armed(), N_CONNS);
    finish();
}
END_TEST

/* The two directions of a connection come in by ports of two NICs. */
START_TEST(test_two_nics)
{
    start(_i);
    open_nic(1, _i);
    attach(3, nics[1]);
    attach(4, nics[1]);
    engine_test_put_megaflow(engine, 1, false, NULL);
    engine_test_put_output(engine, 1, u32_to_odp(2));
    engine_test_put_megaflow(engine, 3, false, NULL);
    engine_test_put_output(engine, 3, u32_to_odp(4));
    new_conn(0, 1, 3, 60000);
    step(1000);
    ck_assert_int_eq(reason(0, 0), REASON_NONE);
    ck_assert_int_eq(reason(0, 1), REASON_OTHER_NIC);
    ck_assert(receive(0, false, 1, 0));
    ck_assert(!receive(0, true, 3, 0));

    /* Its timer does not fire for that. */
    ck_assert_int_gt(conn_index_find_id(engine, 1)->timer.deadline_ms,
                     now_ms + 40000);

    /* The other one has it when the first one does not. */
    engine_push_megaflow_del(engine, &(ovs_u128) { .u32 = { 3 } }, NULL);
    step(1000);
    ck_assert_int_eq(reason(0, 0), REASON_NO_MEGAFLOW);
    ck_assert_int_eq(reason(0, 1), REASON_NONE);
    ck_assert(receive(0, true, 3, 0));
    finish();
}
END_TEST

/* In module mode a rule that the NIC does not take is tried again alone: no
 * connection is armed for it, and all are when it takes the rule at last. */
START_TEST(test_refused_rule)
{
    const struct tracked_conn *tc;
    const char *why;

    start(true);
    make_picky(nics[0], _i ? EOPNOTSUPP : EIO);
    refused_port = ids[1];
    put_pipeline(1, 2);
    new_conn(0, 1, 2, 600000);
    new_conn(1, 1, 2, 600000);
    step(5000);

    /* The other direction is carried. */
    ck_assert_uint_eq(n_armed(), 2);
    ck_assert(receive(0, true, 2, 0));
    ck_assert_int_eq(reason(0, 0), _i ? REASON_NIC_REFUSED : REASON_NIC_ERROR);
    tc = conn_index_find_id(engine, conns[0].id);
    tracked_conn_get_reason(tc, 0, &why);
    ck_assert_str_eq(why, "not today");

    /* Nothing is left to be carried. */
    engine_push_megaflow_del(engine, &(ovs_u128) { .u32 = { 2 * 2 } }, NULL);
    step(1000);
    ck_assert_uint_eq(n_armed(), 0);
    ck_assert_uint_eq(engine_find_nic(engine, nics[0])->n_conns, 0);
    engine->n_armed = 0;
    step(120000);
    ck_assert_uint_eq(engine->n_armed, 0);
    ck_assert_int_eq(reason(0, 0), _i ? REASON_NIC_REFUSED : REASON_NIC_ERROR);
    /* Two megaflows. */
    ck_assert_uint_le(n_refusals, 2 * 14);
    engine_check_invariants(engine, engine_find_nic(engine, nics[0]));

    /* It takes it after all. */
    refused_port = NIC_PORT_NONE;
    step(OFFLOAD_NIC_RETRY_MAX_MS + 1000);
    ck_assert_int_eq(reason(0, 0), REASON_NONE);
    ck_assert(receive(0, false, 1, 0) && receive(1, false, 1, 0));
    engine_check_invariants(engine, engine_find_nic(engine, nics[0]));

    /* Again, and a megaflow changes. */
    refused_port = ids[1];
    engine_test_put_output(engine, 1, u32_to_odp(1));
    step(3000);
    ck_assert_uint_eq(n_armed(), 0);
    refused_port = NIC_PORT_NONE;
    engine_test_put_output(engine, 1, u32_to_odp(2));
    step(OFFLOAD_NIC_RETRY_MAX_MS);
    ck_assert(receive(0, false, 1, 0));
    finish();
}
END_TEST

/* Two paths of one direction, of which the NIC takes only one: it is not asked
 * again and again. */
START_TEST(test_one_of_two_paths)
{
    start(false);
    make_picky(nics[0], EOPNOTSUPP);
    refused_port = ids[1];
    refused_tos = 8;
    engine_test_put_megaflow(engine, 1, false, NULL);
    put_dscp(1, 11, 0, 0);
    put_dscp(2, 11, 8, 0);
    new_conn(0, 1, 2, 600000);
    step(120000);
    ck_assert_int_eq(reason(0, 0), REASON_NIC_REFUSED);
    ck_assert_uint_le(n_refusals, 11);
    refused_port = NIC_PORT_NONE;
    step(OFFLOAD_NIC_RETRY_MAX_MS + 1000);
    ck_assert(receive(0, false, 1, 0) && receive(0, false, 1, 8));
    finish();
}
END_TEST

/* Connections that a refused rule waits for go: the rule is forgotten. */
START_TEST(test_refused_rule_forgotten)
{
    start(true);
    make_picky(nics[0], EOPNOTSUPP);
    refused_port = ids[1];
    put_pipeline(1, 2);
    new_conn(0, 1, 2, 600000);
    step(2000);
    engine_test_push(engine, conns[0].id, CT_EVENT_REMOVED);
    conns[0].id = 0;
    step(2000);
    ck_assert(ovs_list_is_empty(&engine->failed_rules));
    n_refusals = 0;
    step(100000);
    ck_assert_uint_eq(n_refusals, 0);
    finish();
}
END_TEST

/* Many connections wait: those that a new megaflow does not concern, or for
 * which there is no room, are not looked at because of it, or of time. */
START_TEST(test_waiters)
{
    static struct case_conn many[3000];
    struct flow flows[2];
    const struct tracked_conn *tc;
    int ports[2] = { 1, 2 };
    int n_told = 0;

    /* Without processes of their own, tests share it. */
    memset(many, 0, sizeof many);
    start(_i);
    set_config(1);
    put_pipeline(1, 2);
    for (int i = 0; i < ARRAY_SIZE(many); i++) {
        flows[0] = nic_test_flow4(IPPROTO_UDP, 1, 200, 1000 + i, 80);
        flows[1] = nic_test_flow4(IPPROTO_UDP, 200, 1, 80, 1000 + i);
        many[i].timeout_ms = 3600000;
        many[i].expiration_ms = now_ms + many[i].timeout_ms;
        engine_test_push_ready(engine, 100 + i, &many[i], ct,
                               ENGINE_TEST_ZONE, 0, flows, ports, false);
    }
    step(1000);
    ck_assert_uint_eq(engine->n_armed, 1);

    /* Nobody looks at those that wait for room. */
    for (int i = 0; i < 20; i++) {
        engine_step(engine, now_ms);
        ck_assert_uint_eq(engine->n_dirty, 0);
        now_ms += 97;
        engine_drain(engine);
    }
    HMAP_FOR_EACH (tc, id_node, &engine->conns_by_id) {
        ck_assert(tc->armed || !timer_node_is_set(&tc->timer));
    }

    /* Those that are told of a new megaflow are told in parts, of several
     * megaflows at a time. */
    put_dscp(5, 11, 8, 0);
    put_dscp(6, 11, 16, 0);
    engine_drain(engine);
    ck_assert_uint_eq(engine->n_dirty, 0);
    while (!ovs_list_is_empty(&engine->news)) {
        ck_assert_int_lt(n_told++, 10);
        tracked_conns_tell_news(engine);
    }
    ck_assert_int_gt(n_told, 0);
    ck_assert_uint_gt(engine->n_dirty, 0);
    step(1000);
    ck_assert_uint_eq(engine->n_armed, 1);

    /* When there is room, as many as fit are looked at. */
    set_config(2000);
    step(5000);
    ck_assert_uint_eq(engine->n_armed, 2000);
    for (int i = 0; i < ARRAY_SIZE(many); i++) {
        if (many[i].armed) {
            engine_test_push(engine, 100 + i, CT_EVENT_REMOVED);
        }
    }
    step(5000);
    ck_assert_uint_eq(engine->n_armed, 3000);
    for (int i = 0; i < ARRAY_SIZE(many); i++) {
        engine_test_push(engine, 100 + i, CT_EVENT_REMOVED);
    }
    finish();
}
END_TEST

int
main(int argc, char *argv[])
{
    Suite *suite = suite_create("engine-cases");
    TCase *tcase = tcase_create("cases");

    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, test_retired_paths);
    tcase_add_test(tcase, test_successor_slot);
    tcase_add_loop_test(tcase, test_short_timeout, 0, 2);
    tcase_add_loop_test(tcase, test_shortest_timeout, 0, 2);
    tcase_add_loop_test(tcase, test_carried_since_armed, 0, 2);
    tcase_add_loop_test(tcase, test_lower_max_conns, 0, 2);
    tcase_add_loop_test(tcase, test_two_nics, 0, 2);
    tcase_add_loop_test(tcase, test_refused_rule, 0, 2);
    tcase_add_test(tcase, test_refused_rule_forgotten);
    tcase_add_test(tcase, test_one_of_two_paths);
    tcase_add_loop_test(tcase, test_waiters, 0, 2);
    suite_add_tcase(suite, tcase);
    return nic_test_main(argc, argv, suite);
}
