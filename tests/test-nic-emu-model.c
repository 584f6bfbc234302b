/* SPDX-License-Identifier: Apache-2.0 */

/* The emulated NIC against models: at random, and with threads. */

#include <config.h>
#include "lib/nic-emu.h"

#include "ovs-thread.h"
#include "tests/nic-emu-test.h"
#include "tests/rnd.h"

/* The hostile NIC against a model: what the contract says about every rule. */

enum state { ABSENT, ADDING, PRESENT, DELETING };

#define N_KEYS 64

struct key_state {
    enum state state;
    nic_handle handle;
    uint64_t cookie;
    uint64_t hits;              /* Since it was added. */
    uint64_t published;         /* Highest counter seen. */
};

/* Runs the model for one seed and appends what happened to 'log'. */
static void
run_hostile(int seed, int n_steps, struct ds *log)
{
    struct key_state keys[N_KEYS];
    uint64_t cookie = 0;
    size_t n_early = 0, n_late = 0, n_failed_add = 0, n_failed_del = 0;
    size_t n_disorder = 0;
    uint64_t last_cookie = 0;
    char *config = xasprintf("profile=hostile seed=%d max-rules=48", seed);

    now = 1000;
    random_state = seed;
    memset(keys, 0, sizeof keys);
    open_nic(config);
    free(config);

    for (int step = 0; step < n_steps; step++) {
        bool finishing = step > n_steps - 500;
        struct nic_op ops[8];
        struct nic_completion c[4];
        size_t n_ops = 0;
        size_t n;

        /* A batch of operations on keys that have none under way. */
        struct nic_template *templates[8];
        for (size_t want = rnd(3) ? 0 : 1 + rnd(8); want; want--) {
            int i = rnd(N_KEYS);
            struct key_state *k = &keys[i];
            struct flow flow = udp(i);

            templates[n_ops] = NULL;
            if (k->state == ABSENT && !finishing) {
                templates[n_ops] = nic_test_tuple_template(
                    vf0, &flow, nic_test_output(up0));
                ops[n_ops] = (struct nic_op) {
                    .type = NIC_OP_RULE_ADD,
                    .rule = { templates[n_ops], nic_test_values(&flow) },
                };
                k->state = ADDING;
                k->hits = 0;
                k->published = 0;
            } else if (k->state == PRESENT && rnd(2)) {
                ops[n_ops] = del_op(NIC_OP_RULE_DEL, k->handle);
                k->state = DELETING;
            } else {
                continue;
            }
            k->cookie = ops[n_ops].cookie = ++cookie << 8 | i;
            n_ops++;
        }
        class->submit(nic, ops, n_ops, now);
        for (size_t i = 0; i < n_ops; i++) {
            nic_template_unref(templates[i]);
        }

        /* Packets. */
        for (int j = 0; j < 4; j++) {
            int i = rnd(N_KEYS);
            struct key_state *k = &keys[i];
            struct flow flow = udp(i);
            bool hit = hits("vf0", &flow);

            k->hits += hit;
            ck_assert(!hit || k->state != ABSENT);
            ck_assert(hit || k->state != PRESENT);
            n_early += hit && k->state == ADDING;
            n_late += hit && k->state == DELETING;
        }

        now += rnd(20);
        n = class->poll(nic, c, 1 + rnd(4), now);
        for (size_t j = 0; j < n; j++) {
            struct key_state *k = &keys[c[j].cookie & 0xff];

            /* Exactly once: a cookie is cleared by its completion. */
            ck_assert_uint_eq(c[j].cookie, k->cookie);
            k->cookie = 0;
            n_disorder += c[j].cookie < last_cookie;
            last_cookie = c[j].cookie;
            ds_put_format(log, "%lld %"PRIu64" %d\n", now, c[j].cookie >> 8,
                          c[j].error);

            if (c[j].type == NIC_OP_RULE_ADD) {
                ck_assert_int_eq(k->state, ADDING);
                if (c[j].error) {
                    ck_assert(c[j].error == EIO || c[j].error == ENOSPC);
                    ck_assert_uint_eq(k->hits, 0);
                    k->state = ABSENT;
                    n_failed_add++;
                } else {
                    k->state = PRESENT;
                    k->handle = c[j].handle;
                }
            } else {
                ck_assert_int_eq(c[j].type, NIC_OP_RULE_DEL);
                ck_assert_int_eq(k->state, DELETING);
                if (c[j].error) {
                    ck_assert_int_eq(c[j].error, EIO);
                    k->state = PRESENT;
                    n_failed_del++;
                } else {
                    ck_assert_uint_eq(c[j].final[0].packets, k->hits);
                    k->state = ABSENT;
                }
            }
        }

        /* Published counters never run ahead and never go back. */
        struct key_state *k = &keys[rnd(N_KEYS)];
        if (k->state == PRESENT) {
            struct nic_counter counter;

            class->rule_counters(nic, &k->handle, 1, &counter, now);
            ck_assert_uint_le(counter.packets, k->hits);
            ck_assert_uint_ge(counter.packets, k->published);
            k->published = counter.packets;
        }
        if (!(step % 100)) {
            nic_test_quiesce();
        }
    }

    /* Nothing is lost: the rest completes. */
    for (int step = 0; step < 1000 && get_stats().n_pending; step++) {
        struct nic_completion c;

        now = class->wake_ms(nic, now);
        if (class->poll(nic, &c, 1, now)) {
            struct key_state *k = &keys[c.cookie & 0xff];

            ck_assert_uint_eq(c.cookie, k->cookie);
            k->cookie = 0;
            k->state = ((c.type == NIC_OP_RULE_ADD) == !c.error ? PRESENT
                        : ABSENT);
        }
    }
    size_t n_present = 0;
    for (int i = 0; i < N_KEYS; i++) {
        ck_assert_uint_eq(keys[i].cookie, 0);
        n_present += keys[i].state == PRESENT;
    }
    ck_assert_uint_eq(get_stats().n_rules, n_present);
    ck_assert_int_eq(class->wake_ms(nic, now), LLONG_MAX);

    /* It was hostile. */
    if (n_steps > 3000) {
        ck_assert_uint_gt(n_early, 10);
        ck_assert_uint_gt(n_late, 10);
        ck_assert_uint_gt(n_failed_add, 10);
        ck_assert_uint_gt(n_failed_del, 10);
        ck_assert_uint_gt(n_disorder, 10);
    }
    close_nic();
}

START_TEST(test_hostile)
{
    struct ds log = DS_EMPTY_INITIALIZER;

    run_hostile(_i, 5000, &log);
    ds_destroy(&log);
}
END_TEST

START_TEST(test_deterministic)
{
    struct ds log = DS_EMPTY_INITIALIZER;
    struct ds log2 = DS_EMPTY_INITIALIZER;

    run_hostile(7, 1000, &log);
    run_hostile(7, 1000, &log2);
    ck_assert_str_eq(ds_cstr(&log), ds_cstr(&log2));
    ds_clear(&log2);
    run_hostile(8, 1000, &log2);
    ck_assert_str_ne(ds_cstr(&log), ds_cstr(&log2));
    ds_destroy(&log);
    ds_destroy(&log2);
}
END_TEST

/* Threads: some receive while this one adds and deletes. */

#define N_THREADS 3
#define N_FLOWS 16

static atomic_bool stop;

struct receiver {
    uint64_t n_sent;
};

static void
count_cb(void *receiver_, odp_port_t odp_port OVS_UNUSED,
         struct dp_packet_batch *batch)
{
    struct receiver *receiver = receiver_;

    receiver->n_sent += dp_packet_batch_size(batch);
    dp_packet_delete_batch(batch, true);
}

static void *
receiver_main(void *receiver)
{
    bool stop_;

    do {
        struct dp_packet_batch batch;

        dp_packet_batch_init(&batch);
        for (int i = 0; i < 2 * N_FLOWS; i++) {
            struct flow flow = udp(i % N_FLOWS);

            dp_packet_batch_add(&batch, nic_test_packet(&flow, 10));
        }
        nic_emu_receive("vf0", &batch, 0, count_cb, receiver);
        dp_packet_delete_batch(&batch, true);
        ovsrcu_quiesce();
        atomic_read(&stop, &stop_);
    } while (!stop_);
    return NULL;
}

START_TEST(test_threads)
{
    struct receiver receivers[N_THREADS];
    pthread_t threads[N_THREADS];
    nic_handle handles[N_FLOWS];
    enum state states[N_FLOWS];
    uint64_t n_counted = 0, n_sent = 0;
    int n_deleted = 0;

    open_nic("profile=typical rate=0 delay-ms=0");
    memset(states, 0, sizeof states);
    atomic_init(&stop, false);
    for (int i = 0; i < N_THREADS; i++) {
        receivers[i].n_sent = 0;
        threads[i] = ovs_thread_create("receiver", receiver_main,
                                       &receivers[i]);
    }

    random_state = 1;
    for (int step = 0; n_deleted < 3000; step++) {
        struct nic_completion c[4];
        int i = rnd(N_FLOWS);
        struct flow flow = udp(i);
        struct nic_op op;
        size_t n;

        if (states[i] == ABSENT) {
            op = rule_op(vf0, &flow, nic_test_output(up0));
            states[i] = ADDING;
        } else if (states[i] == PRESENT) {
            op = del_op(NIC_OP_RULE_DEL, handles[i]);
            states[i] = DELETING;
        } else {
            op.type = NIC_OP_RESET;
        }
        if (op.type != NIC_OP_RESET) {
            op.cookie = i;
            class->submit(nic, &op, 1, step);
        }
        n = class->poll(nic, c, 4, step);
        for (size_t j = 0; j < n; j++) {
            ck_assert_int_eq(c[j].error, 0);
            if (c[j].type == NIC_OP_RULE_ADD) {
                handles[c[j].cookie] = c[j].handle;
                states[c[j].cookie] = PRESENT;
            } else {
                n_counted += c[j].final[0].packets;
                states[c[j].cookie] = ABSENT;
                n_deleted++;
            }
        }
        if (!(step % 16)) {
            ovsrcu_quiesce();
        }
    }

    atomic_store(&stop, true);
    for (int i = 0; i < N_THREADS; i++) {
        xpthread_join(threads[i], NULL);
        n_sent += receivers[i].n_sent;
    }

    /* What is still under way, whichever flow it is for, and then what is
     * left. */
    for (int i = 0; i < 1000 && get_stats().n_pending; i++) {
        struct nic_completion c;

        if (class->poll(nic, &c, 1, 1000000)) {
            ck_assert_int_eq(c.error, 0);
            if (c.type == NIC_OP_RULE_ADD) {
                handles[c.cookie] = c.handle;
                states[c.cookie] = PRESENT;
            } else {
                n_counted += c.final[0].packets;
                states[c.cookie] = ABSENT;
            }
        }
    }
    now = 1000000;
    for (int i = 0; i < N_FLOWS; i++) {
        ck_assert(states[i] == PRESENT || states[i] == ABSENT);
        if (states[i] == PRESENT) {
            struct nic_completion c = run(del_op(NIC_OP_RULE_DEL,
                                                 handles[i]));

            ck_assert_int_eq(c.error, 0);
            n_counted += c.final[0].packets;
        }
    }
    ck_assert_uint_gt(n_sent, 0);
    ck_assert_uint_eq(n_counted, n_sent);
    ck_assert_uint_eq(get_stats().carried_packets, n_sent);
    close_nic();
}
END_TEST

int
main(int argc, char *argv[])
{
    Suite *suite = suite_create("nic-emu-model");
    TCase *tc = tcase_create("nic-emu-model");

    tcase_set_timeout(tc, 120);
    tcase_add_loop_test(tc, test_hostile, 1, 9);
    tcase_add_test(tc, test_deterministic);
    tcase_add_test(tc, test_threads);
    suite_add_tcase(suite, tc);
    return nic_test_main(argc, argv, suite);
}
