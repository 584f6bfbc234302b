/* SPDX-License-Identifier: Apache-2.0 */

/* Simulation of the engine: virtual time, the emulated NIC, connections and
 * megaflows that come and go, everything from one seed.
 *
 * After each step:
 *   - when nothing is under way, a packet is carried if and only if the model
 *     says so, and to where it says;
 *   - a FIN is never carried;
 *   - queues are bounded.
 * In the end:
 *   - everything settles when faults stop, and is offloaded;
 *   - each packet that the NIC carried is accounted for once;
 *   - nothing is left in the NIC when the connections are gone. */

#include <config.h>

#include "datapath-offload/engine-private.h"
#include "engine-test.h"
#include "lib/nic-emu.h"
#include "random.h"

#define N_CONNS 24
#define TIMEOUT_MS 30000

/* Ports: 1 is the VM's, 2 and 3 are uplinks. */
static const char *const port_names[] = { NULL, "vf1", "p0", "p1" };

enum sim_state { SIM_NONE, SIM_EST, SIM_CLOSING };

/* What the engine believes to be a 'struct conn'. */
struct sim_conn {
    enum sim_state state;
    int index;                      /* Of its tuple. */
    uint64_t id;
    bool armed;
    bool announce_again;
    long long int expiration_ms;
};

/* A megaflow after ct(), for one ingress port. */
enum sim_policy { SIM_NO_MEGAFLOW, SIM_OUTPUT, SIM_DROP, SIM_REFUSED };

struct sim {
    struct engine *engine;
    struct nic *nic;
    nic_port_id ports[4];
    bool attached[4];
    long long int now_ms;
    struct sim_conn *conns[N_CONNS];
    enum sim_policy policy[4];      /* By ingress port. */
    bool entry[4];                  /* Megaflow with ct() exists. */
    odp_port_t target[4];           /* Output of SIM_OUTPUT. */
    bool enabled;
    uint64_t next_id;
    uint64_t n_carried, n_missed, n_checked;
    struct conntrack *ct;
};

/* Where the packet that is being received was sent; 0 if nowhere. */
static odp_port_t sent_to;

static void
send_cb(void *aux OVS_UNUSED, odp_port_t odp_port,
        struct dp_packet_batch *batch)
{
    sent_to = odp_port;
    dp_packet_delete_batch(batch, true);
}

static struct sim_conn *
sim_conn_cast(const struct conn *conn)
{
    return (struct sim_conn *) conn;
}

static bool
sim_arm(struct conn *conn_, struct conntrack *ct OVS_UNUSED)
{
    struct sim_conn *conn = sim_conn_cast(conn_);

    ck_assert(!conn->armed);
    if (conn->state != SIM_EST) {
        return false;
    }
    conn->armed = true;
    return true;
}

static enum ct_close
sim_disarm(struct conn *conn_, struct conntrack *ct OVS_UNUSED,
           long long int now_ms OVS_UNUSED)
{
    struct sim_conn *conn = sim_conn_cast(conn_);

    ck_assert(conn->armed);
    conn->armed = false;
    return conn->state == SIM_CLOSING ? CT_CLOSE_PENDING : CT_CLOSE_NONE;
}

static enum ct_close
sim_judge(struct conn *conn_, struct conntrack *ct OVS_UNUSED,
          long long int now_ms OVS_UNUSED)
{
    ck_assert(!sim_conn_cast(conn_)->armed);
    return CT_CLOSE_DONE;
}

static void
sim_reannounce(struct conn *conn)
{
    sim_conn_cast(conn)->announce_again = true;
}

static long long int
sim_expiration(const struct conn *conn)
{
    return sim_conn_cast(conn)->expiration_ms;
}

static long long int
sim_extend(struct conn *conn_, struct conntrack *ct OVS_UNUSED,
           long long int used_ms, long long int now_ms)
{
    struct sim_conn *conn = sim_conn_cast(conn_);

    if (conn->expiration_ms > now_ms) {
        conn->expiration_ms = MAX(conn->expiration_ms, used_ms + TIMEOUT_MS);
    }
    return conn->expiration_ms;
}

static const struct engine_conn_ops sim_ops = {
    .arm = sim_arm,
    .disarm = sim_disarm,
    .judge = sim_judge,
    .reannounce = sim_reannounce,
    .expiration = sim_expiration,
    .extend = sim_extend,
};

/* The tuple of connection 'index': every other one is UDP. */
static struct flow
conn_flow(int index, bool reply)
{
    uint8_t proto = index % 2 ? IPPROTO_UDP : IPPROTO_TCP;

    return (reply ? nic_test_flow4(proto, 200, 1 + index, 80, 1000)
            : nic_test_flow4(proto, 1 + index, 200, 1000, 80));
}

/* Ingress of the reply direction: half of them use each uplink. */
static int
reply_port(int index)
{
    return index % 4 < 2 ? 2 : 3;
}

static void
push_ready(struct sim *sim, struct sim_conn *conn)
{
    struct flow flows[2] = {
        conn_flow(conn->index, false), conn_flow(conn->index, true),
    };
    int ports[2] = { 1, reply_port(conn->index) };

    engine_test_push_ready(sim->engine, conn->id, conn, sim->ct, flows,
                           ports);
}

static void
new_conn(struct sim *sim, int index)
{
    struct sim_conn *conn = xzalloc(sizeof *conn);

    conn->state = SIM_EST;
    conn->index = index;
    conn->id = ++sim->next_id;
    conn->expiration_ms = sim->now_ms + TIMEOUT_MS;
    sim->conns[index] = conn;
    push_ready(sim, conn);
}

static void
remove_conn(struct sim *sim, int index)
{
    struct sim_conn *conn = sim->conns[index];

    engine_test_push(sim->engine, conn->id, CT_EVENT_REMOVED);
    sim->conns[index] = NULL;
    /* As in OVS, memory outlives the event. */
    ovsrcu_postpone(free, conn);
}

/* Megaflows. */

static void
put_policy(struct sim *sim, int port)
{
    uint64_t stub[64 / 8];
    struct ofpbuf actions;

    ofpbuf_use_stub(&actions, stub, sizeof stub);
    switch (sim->policy[port]) {
    case SIM_OUTPUT:
        nl_msg_put_odp_port(&actions, OVS_ACTION_ATTR_OUTPUT,
                            sim->target[port]);
        break;
    case SIM_REFUSED:
        nl_msg_put_flag(&actions, OVS_ACTION_ATTR_POP_VLAN);
        break;
    case SIM_NO_MEGAFLOW:
    case SIM_DROP:
    default:
        break;
    }
    engine_test_put_megaflow(sim->engine, port, true, &actions);
    ofpbuf_uninit(&actions);
}

static void
del_megaflow(struct sim *sim, int port, bool after_ct)
{
    ovs_u128 ufid = engine_test_ufid(port, after_ct);

    engine_push_megaflow_del(sim->engine, ENGINE_TEST_DP, &ufid);
}

static void
set_policy(struct sim *sim, int port, enum sim_policy policy,
           odp_port_t target)
{
    if (policy == SIM_NO_MEGAFLOW) {
        if (sim->policy[port] != SIM_NO_MEGAFLOW) {
            del_megaflow(sim, port, true);
        }
        sim->policy[port] = policy;
    } else {
        sim->policy[port] = policy;
        sim->target[port] = target;
        put_policy(sim, port);
    }
}

static void
set_entry(struct sim *sim, int port, bool entry)
{
    if (entry && !sim->entry[port]) {
        engine_test_put_megaflow(sim->engine, port, false, NULL);
    } else if (!entry && sim->entry[port]) {
        del_megaflow(sim, port, false);
    }
    sim->entry[port] = entry;
}

static void
set_attached(struct sim *sim, int port, bool attached)
{
    if (attached && !sim->attached[port]) {
        ck_assert_int_eq(sim->nic->class->port_add(
                             sim->nic, port_names[port], u32_to_odp(port),
                             port == 1 ? NIC_PORT_VF : NIC_PORT_UPLINK,
                             &sim->ports[port]), 0);
        engine_set_port(sim->engine, 1, u32_to_odp(port), port_names[port],
                        sim->nic, sim->ports[port], true, sim->now_ms);
    } else if (!attached && sim->attached[port]) {
        sim->nic->class->port_del(sim->nic, sim->ports[port]);
        engine_clear_port(sim->engine, 1, u32_to_odp(port), sim->now_ms);
    }
    sim->attached[port] = attached;
}

/* Where the NIC should send a packet of 'conn': 0 if it should miss, ODPP_NONE
 * if it should be dropped. */
static odp_port_t
expected(const struct sim *sim, const struct sim_conn *conn, bool reply)
{
    int port = reply ? reply_port(conn->index) : 1;

    if (!sim->enabled || conn->state != SIM_EST || !sim->attached[port]
        || !sim->entry[port]) {
        return 0;
    }
    switch (sim->policy[port]) {
    case SIM_OUTPUT:
        return sim->attached[odp_to_u32(sim->target[port])]
            ? sim->target[port] : 0;
    case SIM_DROP:
        return ODPP_NONE;
    case SIM_NO_MEGAFLOW:
    case SIM_REFUSED:
    default:
        return 0;
    }
}

/* Receives a packet of connection 'index'.  Returns where the NIC sent it, 0
 * if it missed it, ODPP_NONE if it dropped it. */
static odp_port_t
receive(struct sim *sim, int index, bool reply, uint16_t tcp_flags)
{
    int port = reply ? reply_port(index) : 1;
    struct flow flow = conn_flow(index, reply);
    struct dp_packet_batch batch;

    if (flow.nw_proto == IPPROTO_TCP) {
        flow.tcp_flags = htons(tcp_flags);
    }
    dp_packet_batch_init_packet(&batch, nic_test_packet(&flow, 40));
    sent_to = 0;
    nic_emu_receive(port_names[port], &batch, sim->now_ms, send_cb, NULL);
    if (dp_packet_batch_is_empty(&batch)) {
        sim->n_carried++;
        return sent_to ? sent_to : ODPP_NONE;
    }
    sim->n_missed++;
    dp_packet_delete_batch(&batch, true);
    return 0;
}

/* Sends packets of all connections and compares with the model. */
static void
check_packets(struct sim *sim)
{
    bool settled = engine_is_settled(sim->engine);

    for (int i = 0; i < N_CONNS; i++) {
        const struct sim_conn *conn = sim->conns[i];
        const struct sim_conn none = { .state = SIM_NONE, .index = i };

        for (int reply = 0; reply < 2; reply++) {
            odp_port_t to = receive(sim, i, reply, TCP_ACK);

            if (settled) {
                odp_port_t want = expected(sim, conn ? conn : &none, reply);

                /* A failed operation is retried later: software is right. */
                ck_assert_msg(to == want || !to,
                              "conn %d %s: to %"PRIu32", expected %"PRIu32, i,
                              reply ? "reply" : "orig", odp_to_u32(to),
                              odp_to_u32(want));
                sim->n_checked++;
            }
            if (i % 2 == 0) {
                ck_assert(!receive(sim, i, reply, TCP_ACK | TCP_FIN));
                ck_assert(!receive(sim, i, reply, TCP_SYN));
            }
        }
    }
}

static void
step(struct sim *sim, int ms)
{
    long long int end_ms = sim->now_ms + ms;

    for (;;) {
        long long int wake_ms = engine_step(sim->engine, sim->now_ms);

        ovsrcu_quiesce();
        ck_assert_int_le(engine_find_nic(sim->engine, sim->nic)->n_pending,
                         OFFLOAD_NIC_MAX_PENDING);
        if (wake_ms > end_ms) {
            break;
        }
        sim->now_ms = MAX(wake_ms, sim->now_ms + 1);
    }
    sim->now_ms = end_ms;
}

/* Removes what expired, as OVS's sweep does, and announces what asked for
 * it. */
static void
housekeeping(struct sim *sim)
{
    for (int i = 0; i < N_CONNS; i++) {
        struct sim_conn *conn = sim->conns[i];

        if (conn && conn->announce_again && conn->state == SIM_EST) {
            conn->announce_again = false;
            conn->expiration_ms = sim->now_ms + TIMEOUT_MS;
            push_ready(sim, conn);
        }
        if (conn && conn->expiration_ms + 5000 < sim->now_ms) {
            remove_conn(sim, i);
        }
    }
}

static void
random_event(struct sim *sim)
{
    static const struct engine_config config[2] = {
        { .enabled = false, .max_conns = UINT_MAX },
        { .enabled = true, .max_conns = UINT_MAX },
    };
    int i = random_range(N_CONNS);
    int port = 1 + random_range(3);
    struct sim_conn *conn = sim->conns[i];

    switch (random_range(14)) {
    case 0:
    case 1:
    case 2:
    case 3:
    case 4:
        if (!conn) {
            new_conn(sim, i);
        } else if (!random_range(3)) {
            /* Gone, and at once another one with the same tuple. */
            remove_conn(sim, i);
            new_conn(sim, i);
        }
        break;
    case 5:
        if (conn && conn->state == SIM_EST) {
            conn->state = SIM_CLOSING;
            engine_test_push(sim->engine, conn->id, CT_EVENT_CLOSING);
        }
        break;
    case 6:
        if (conn) {
            remove_conn(sim, i);
        }
        break;
    case 7:
        if (conn) {
            conn->expiration_ms = 0;
            conn->state = SIM_CLOSING;
            engine_test_push(sim->engine, conn->id, CT_EVENT_EXPIRED);
        }
        break;
    case 8:
    case 9:
        set_policy(sim, port, random_range(4),
                   u32_to_odp(random_range(3) + 1));
        break;
    case 10:
        set_entry(sim, port, random_range(3));
        break;
    case 11:
        if (!random_range(4)) {
            set_attached(sim, port, !sim->attached[port]);
        }
        break;
    case 12:
        if (!random_range(4)) {
            sim->enabled = !sim->enabled;
            engine_set_config(sim->engine, &config[sim->enabled],
                              sim->now_ms);
        }
        break;
    case 13:
        if (!random_range(4)) {
            engine_flush(sim->engine, sim->now_ms);
        }
        break;
    }
}

/* Everything as it should be in the end. */
static void
restore(struct sim *sim)
{
    static const struct engine_config config = {
        .enabled = true, .max_conns = UINT_MAX,
    };

    sim->enabled = true;
    engine_set_config(sim->engine, &config, sim->now_ms);
    for (int port = 1; port <= 3; port++) {
        set_attached(sim, port, true);
        set_entry(sim, port, true);
        set_policy(sim, port, SIM_OUTPUT, u32_to_odp(port == 1 ? 2 : 1));
    }
    for (int i = 0; i < N_CONNS; i++) {
        if (sim->conns[i]) {
            remove_conn(sim, i);
        }
        new_conn(sim, i);
    }
}

/* Returns the packets that megaflows were credited with. */
static uint64_t
credited_packets(struct sim *sim)
{
    struct mf_mirror *mirror = &sim->engine->mirror;
    uint64_t n = mirror->unattributed_packets;
    struct mf_slot *slot;

    HMAP_FOR_EACH (slot, node, &mirror->slots) {
        struct mf_subtable *table;
        struct megaflow *flow;

        LIST_FOR_EACH (table, node, &slot->subtables) {
            HMAP_FOR_EACH (flow, table_node, &table->flows) {
                n += flow->packets;
            }
        }
        LIST_FOR_EACH (flow, dead_node, &slot->dead) {
            n += flow->packets - flow->claimed_packets;
        }
    }
    return n;
}

static bool
all_carried(const struct sim *sim)
{
    const struct tracked_conn *tc;

    HMAP_FOR_EACH (tc, id_node, &sim->engine->conns_by_id) {
        if (!tracked_conn_is_carried(tc, 0)
            || !tracked_conn_is_carried(tc, 1)) {
            return false;
        }
    }
    return hmap_count(&sim->engine->conns_by_id) == N_CONNS;
}

static void
simulate(unsigned int seed, bool module, const char *profile, bool resets)
{
    struct smap config = SMAP_INITIALIZER(&config);
    struct engine_config off = { .enabled = false };
    struct sim sim;
    char *error = NULL;
    char buf[16];

    random_set_seed(seed + 1);
    memset(&sim, 0, sizeof sim);
    sim.now_ms = 100000;
    sim.ct = (struct conntrack *) &sim;
    dp_registry_add(sim.ct, "sim");
    ck_assert_int_eq(dp_registry_find(sim.ct), 1);
    sim.engine = engine_create(&sim_ops, sim.now_ms);

    snprintf(buf, sizeof buf, "%u", seed + 1);
    smap_add(&config, "profile", profile);
    if (!strcmp(profile, "hostile")) {
        smap_add(&config, "seed", buf);
    }
    smap_add(&config, "ct-module", module ? "true" : "false");
    ck_assert_msg(!nic_emu_class.open("sim", &config, &sim.nic, &error),
                  "%s", error);
    smap_destroy(&config);
    engine_add_nic(sim.engine, sim.nic, sim.now_ms);
    restore(&sim);

    for (int i = 0; i < 400; i++) {
        for (int n = random_range(4); n > 0; n--) {
            random_event(&sim);
        }
        if (resets && !random_range(50)) {
            nic_emu_reset(sim.nic);
        }
        step(&sim, random_range(10) ? random_range(300)
             : random_range(20000));
        housekeeping(&sim);
        if (!random_range(2)) {
            step(&sim, 1000);
        }
        check_packets(&sim);
    }

    /* Convergence.  A hostile NIC goes on to fail now and then. */
    restore(&sim);
    for (int i = 0; i < 20 || !all_carried(&sim); i++) {
        ck_assert_int_lt(i, 200);
        step(&sim, 1000);
        housekeeping(&sim);
    }
    ck_assert(engine_is_settled(sim.engine));
    for (int i = 0; i < N_CONNS; i++) {
        ck_assert_int_eq(odp_to_u32(receive(&sim, i, false, TCP_ACK)), 2);
        ck_assert_int_eq(odp_to_u32(receive(&sim, i, true, TCP_ACK)), 1);
    }
    ck_assert_int_gt(sim.n_checked, 500);
    ck_assert_int_gt(sim.n_carried, 100);

    /* The end of everything. */
    for (int i = 0; i < N_CONNS; i++) {
        if (sim.conns[i]) {
            remove_conn(&sim, i);
        }
    }
    for (int i = 0; i < 20; i++) {
        step(&sim, 1000);
    }
    ck_assert(engine_is_settled(sim.engine));
    ck_assert(hmap_is_empty(&sim.engine->conns_by_id));
    ck_assert(hmap_is_empty(&sim.engine->paths));
    ck_assert_int_eq(engine_find_nic(sim.engine, sim.nic)->n_present, 0);
    ck_assert_int_eq(engine_find_nic(sim.engine, sim.nic)->n_conns, 0);
    if (!resets) {
        /* Two megaflows for each packet. */
        ck_assert_int_eq(credited_packets(&sim), 2 * sim.n_carried);
    } else {
        ck_assert_int_le(credited_packets(&sim), 2 * sim.n_carried);
    }

    engine_set_config(sim.engine, &off, sim.now_ms);
    for (int port = 1; port <= 3; port++) {
        set_attached(&sim, port, false);
    }
    engine_begin_remove_nic(sim.engine, sim.nic, sim.now_ms);
    step(&sim, 1000);
    ck_assert(engine_finish_remove_nic(sim.engine, sim.nic, false,
                                       sim.now_ms));
    sim.nic->class->close(sim.nic);
    engine_destroy(sim.engine);
    dp_registry_remove(sim.ct);
    ovsrcu_quiesce();
}

START_TEST(test_flat_typical)
{
    simulate(_i, false, "typical", false);
}
END_TEST

START_TEST(test_module_typical)
{
    simulate(_i, true, "typical", false);
}
END_TEST

START_TEST(test_flat_hostile)
{
    simulate(_i, false, "hostile", false);
}
END_TEST

START_TEST(test_module_hostile)
{
    simulate(_i, true, "hostile", false);
}
END_TEST

START_TEST(test_resets)
{
    simulate(_i, _i % 2, "hostile", true);
}
END_TEST

int
main(int argc, char *argv[])
{
    Suite *suite = suite_create("engine");
    TCase *tcase = tcase_create("simulation");

    tcase_set_timeout(tcase, 120);
    tcase_add_loop_test(tcase, test_flat_typical, 0, 5);
    tcase_add_loop_test(tcase, test_module_typical, 0, 5);
    tcase_add_loop_test(tcase, test_flat_hostile, 0, 10);
    tcase_add_loop_test(tcase, test_module_hostile, 0, 10);
    tcase_add_loop_test(tcase, test_resets, 0, 10);
    suite_add_tcase(suite, tcase);
    return nic_test_main(argc, argv, suite);
}
