/* SPDX-License-Identifier: Apache-2.0 */

/* The engine in its thread, with everything that happens at the same time in
 * ovs-vswitchd: datapath threads push events and receive packets, the offload
 * thread pushes megaflows, revalidators ask for statistics, the main thread
 * changes settings and ports.  Meant for ThreadSanitizer, and for what only a
 * race can break. */

#include <config.h>

#include "datapath-offload/engine-private.h"
#include "datapath-offload/engine-thread.h"
#include "dpif.h"
#include "engine-test.h"
#include "lib/nic-emu.h"
#include "openvswitch/poll-loop.h"
#include "ovs-thread.h"
#include "random.h"
#include "seq.h"
#include "timeval.h"

#define N_PMDS 2
#define CONNS_PER_PMD 16
#define ROUNDS 600

static struct engine *engine;
static struct engine_thread *thread;
static struct nic *nic;
static nic_port_id ports[3];        /* [1] the VM's, [2] the uplink's. */
static atomic_bool stop;
static atomic_uint64_t n_carried;
static atomic_uint64_t next_id;

/* What the engine believes to be a 'struct conn'. */
struct fake_conn {
    atomic_bool armed;
    atomic_bool closing;
    uint64_t canary;
    uint64_t id;
    int index;
};

#define CANARY 0x5ca1ab1e0ddba11ULL

static struct fake_conn *
fake_conn_cast(const struct conn *conn)
{
    struct fake_conn *fake = (struct fake_conn *) conn;

    /* Freed memory would not have it. */
    ck_assert_uint_eq(fake->canary, CANARY);
    return fake;
}

static bool
fake_arm(struct conn *conn, struct conntrack *ct OVS_UNUSED)
{
    bool closing;

    atomic_read(&fake_conn_cast(conn)->closing, &closing);
    if (!closing) {
        atomic_store(&fake_conn_cast(conn)->armed, true);
    }
    return !closing;
}

static enum ct_close
fake_disarm(struct conn *conn, struct conntrack *ct OVS_UNUSED,
            const struct nic_counter carried[2] OVS_UNUSED,
            long long int now_ms OVS_UNUSED)
{
    bool closing;

    atomic_store(&fake_conn_cast(conn)->armed, false);
    atomic_read(&fake_conn_cast(conn)->closing, &closing);
    return closing ? CT_CLOSE_DONE : CT_CLOSE_NONE;
}

static enum ct_close
fake_judge(struct conn *conn, struct conntrack *ct OVS_UNUSED,
           long long int now_ms OVS_UNUSED)
{
    fake_conn_cast(conn);
    return CT_CLOSE_DONE;
}

static void
fake_reannounce(struct conn *conn)
{
    fake_conn_cast(conn);
}

static long long int
fake_expiration(const struct conn *conn)
{
    fake_conn_cast(conn);
    return time_msec() + 30000;
}

static long long int
fake_timeout(const struct conn *conn, struct conntrack *ct OVS_UNUSED)
{
    fake_conn_cast(conn);
    return 30000;
}

static long long int
fake_extend(struct conn *conn, struct conntrack *ct OVS_UNUSED,
            long long int used_ms OVS_UNUSED, long long int now_ms)
{
    fake_conn_cast(conn);
    return now_ms + 30000;
}

static const struct engine_conn_ops fake_ops = {
    .arm = fake_arm,
    .disarm = fake_disarm,
    .judge = fake_judge,
    .reannounce = fake_reannounce,
    .expiration = fake_expiration,
    .timeout = fake_timeout,
    .extend = fake_extend,
};

static struct flow
conn_flow(int index, bool reply)
{
    return (reply ? nic_test_flow4(IPPROTO_UDP, 200, 1 + index, 80, 1000)
            : nic_test_flow4(IPPROTO_UDP, 1 + index, 200, 1000, 80));
}

static void
fake_conn_free(struct fake_conn *conn)
{
    conn->canary = 0;
    free(conn);
}

static struct fake_conn *
fake_conn_new(int index)
{
    struct flow flows[2] = { conn_flow(index, false), conn_flow(index, true) };
    struct fake_conn *conn = xzalloc(sizeof *conn);

    atomic_init(&conn->armed, false);
    atomic_init(&conn->closing, false);
    conn->canary = CANARY;
    conn->index = index;
    atomic_add(&next_id, 1, &conn->id);
    conn->id++;
    engine_test_push_ready(engine, conn->id, conn, &nic, ENGINE_TEST_ZONE, 0,
                           flows, (const int[2]) { 1, 2 }, false);
    return conn;
}

static void
send_cb(void *aux OVS_UNUSED, odp_port_t odp_port OVS_UNUSED,
        struct dp_packet_batch *batch)
{
    dp_packet_delete_batch(batch, true);
}

static void
receive(int index, bool reply)
{
    struct flow flow = conn_flow(index, reply);
    struct dp_packet_batch batch;

    dp_packet_batch_init_packet(&batch, nic_test_packet(&flow, 20));
    nic_emu_receive(reply ? "p0" : "vf1", &batch, time_msec(), send_cb, NULL);
    if (dp_packet_batch_is_empty(&batch)) {
        uint64_t unused;

        atomic_add(&n_carried, 1, &unused);
    }
    dp_packet_delete_batch(&batch, true);
}

/* A datapath thread with connections of its own. */
static void *
pmd_main(void *first_)
{
    int first = *(int *) first_;
    struct fake_conn *conns[CONNS_PER_PMD] = { NULL };

    for (int i = 0; i < ROUNDS; i++) {
        int j = random_range(CONNS_PER_PMD);
        struct fake_conn *conn = conns[j];

        if (!conn) {
            conns[j] = fake_conn_new(first + j);
        } else if (!random_range(4)) {
            atomic_store(&conn->closing, true);
            engine_test_push(engine, conn->id, CT_EVENT_CLOSING);
        } else if (!random_range(4)) {
            engine_test_push(engine, conn->id, CT_EVENT_REMOVED);
            ovsrcu_postpone(fake_conn_free, conn);
            conns[j] = NULL;
        }
        for (int n = 0; n < 20; n++) {
            receive(first + random_range(CONNS_PER_PMD), random_range(2));
        }
        ovsrcu_quiesce();
    }
    for (int j = 0; j < CONNS_PER_PMD; j++) {
        if (conns[j]) {
            engine_test_push(engine, conns[j]->id, CT_EVENT_REMOVED);
            ovsrcu_postpone(fake_conn_free, conns[j]);
        }
    }
    return NULL;
}

static void
put_megaflow(int port, bool after_ct)
{
    if (after_ct) {
        engine_test_put_output(engine, port, u32_to_odp(3 - port));
    } else {
        engine_test_put_megaflow(engine, port, false, NULL);
    }
}

/* OVS's offload thread. */
static void *
offload_main(void *aux OVS_UNUSED)
{
    for (;;) {
        int port = 1 + random_range(2);
        bool after_ct = random_range(2);
        ovs_u128 ufid = engine_test_ufid(port, after_ct);
        bool done;

        atomic_read(&stop, &done);
        if (done) {
            return NULL;
        }
        if (!random_range(3)) {
            engine_push_megaflow_del(engine, &ufid, NULL);
        }
        put_megaflow(port, after_ct);
        poll_timer_wait(1);
        poll_block();
    }
}

/* A revalidator. */
static void *
revalidator_main(void *aux OVS_UNUSED)
{
    for (;;) {
        for (int port = 1; port <= 2; port++) {
            for (int after_ct = 0; after_ct < 2; after_ct++) {
                ovs_u128 ufid = engine_test_ufid(port, after_ct);
                struct dpif_flow_stats stats;
                bool offloaded;

                engine_flow_stats(engine, 1, &ufid, random_range(2), &engine,
                                  false, time_msec(), &stats, &offloaded);
            }
            engine_port_n_flows(engine, 1, u32_to_odp(port));
        }
        bool done;

        atomic_read(&stop, &done);
        if (done) {
            return NULL;
        }
        ovsrcu_quiesce();
    }
}

static void
set_port(int port)
{
    engine_set_port(engine, 1, u32_to_odp(port), port == 1 ? "vf1" : "p0",
                    nic, ports[port], true, time_msec());
}

static void
run(bool module)
{
    struct engine_config config = { .enabled = true, .max_conns = UINT_MAX };
    struct smap smap = SMAP_INITIALIZER(&smap);
    pthread_t pmds[N_PMDS], offload, revalidator;
    int firsts[N_PMDS];
    struct fake_conn *first;
    char *error = NULL;
    bool settled;
    uint64_t n;

    atomic_init(&stop, false);
    atomic_init(&n_carried, 0);
    atomic_init(&next_id, 0);
    dp_registry_add((struct conntrack *) &nic, "threads");
    engine = engine_create(&fake_ops, time_msec());
    thread = engine_thread_create(engine);

    smap_add(&smap, "profile", "typical");
    smap_add(&smap, "ct-module", module ? "true" : "false");
    ck_assert_int_eq(nic_emu_class.open("threads", &smap, &nic, &error), 0);
    smap_destroy(&smap);
    nic->class->port_add(nic, "vf1", u32_to_odp(1), NIC_PORT_VF, &ports[1]);
    nic->class->port_add(nic, "p0", u32_to_odp(2), NIC_PORT_UPLINK,
                         &ports[2]);
    engine_lock(engine);
    engine_add_nic(engine, nic, time_msec());
    engine_set_config(engine, &config, time_msec());
    set_port(1);
    set_port(2);
    engine_unlock(engine);
    for (int port = 1; port <= 2; port++) {
        put_megaflow(port, false);
        put_megaflow(port, true);
    }

    /* Something is carried before the turmoil begins. */
    first = fake_conn_new(2 * CONNS_PER_PMD);
    do {
        poll_timer_wait(1);
        poll_block();
        receive(2 * CONNS_PER_PMD, false);
        atomic_read(&n_carried, &n);
    } while (!n);
    engine_test_push(engine, first->id, CT_EVENT_REMOVED);
    ovsrcu_postpone(fake_conn_free, first);

    offload = ovs_thread_create("offload", offload_main, NULL);
    revalidator = ovs_thread_create("revalidator", revalidator_main, NULL);
    for (int i = 0; i < N_PMDS; i++) {
        firsts[i] = i * CONNS_PER_PMD;
        pmds[i] = ovs_thread_create("pmd", pmd_main, &firsts[i]);
    }

    /* The main thread. */
    for (int i = 0; i < 100; i++) {
        engine_lock(engine);
        switch (random_range(4)) {
        case 0:
            config.enabled = !config.enabled;
            engine_set_config(engine, &config, time_msec());
            break;
        case 1:
            engine_clear_port(engine, 1, u32_to_odp(2), time_msec());
            set_port(2);
            break;
        case 2:
            engine_flush(engine, time_msec());
            break;
        }
        engine_unlock(engine);
        engine_thread_wake(thread);
        poll_timer_wait(5);
        poll_block();
    }
    config.enabled = true;
    engine_lock(engine);
    engine_set_config(engine, &config, time_msec());
    engine_unlock(engine);

    ovsrcu_quiesce_start();
    for (int i = 0; i < N_PMDS; i++) {
        xpthread_join(pmds[i], NULL);
    }
    atomic_store(&stop, true);
    xpthread_join(offload, NULL);
    xpthread_join(revalidator, NULL);
    ovsrcu_quiesce_end();

    /* All connections are gone: so is everything in the NIC. */
    do {
        uint64_t seq = seq_read(engine_thread_settled_seq(thread));

        engine_lock(engine);
        settled = (engine_is_settled(engine)
                   && hmap_is_empty(&engine->conns_by_id));
        engine_unlock(engine);
        if (!settled) {
            seq_wait(engine_thread_settled_seq(thread), seq);
            poll_timer_wait(50);
            poll_block();
        }
    } while (!settled);

    engine_lock(engine);
    ck_assert_int_eq(engine_find_nic(engine, nic)->n_present, 0);
    ck_assert_int_eq(engine_find_nic(engine, nic)->n_conns, 0);
    ck_assert(hmap_is_empty(&engine->paths));
    engine_unlock(engine);
    engine_thread_destroy(thread);
    nic->class->port_del(nic, ports[1]);
    nic->class->port_del(nic, ports[2]);
    engine_lock(engine);
    engine_begin_remove_nic(engine, nic, time_msec());
    ck_assert(engine_finish_remove_nic(engine, nic, true, time_msec()));
    engine_unlock(engine);
    nic->class->close(nic);
    engine_destroy(engine);
    dp_registry_remove((struct conntrack *) &nic);
}

START_TEST(test_threads)
{
    run(_i % 2);
}
END_TEST

int
main(int argc, char *argv[])
{
    Suite *suite = suite_create("engine-thread");
    TCase *tcase = tcase_create("threads");

    tcase_set_timeout(tcase, 300);
    tcase_add_loop_test(tcase, test_threads, 0, 4);
    suite_add_tcase(suite, tcase);
    return nic_test_main(argc, argv, suite);
}
