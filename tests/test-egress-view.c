/* SPDX-License-Identifier: Apache-2.0 */

/* The engine's egress objects: life, faults, and that rules that name them
 * follow where lb_output(id) leads.  The test plays the writer. */

#include <config.h>

#include "datapath-offload/egress-view.h"
#include "lib/egress.h"
#include "nic-emu-test.h"
#include "odp-util.h"
#include "random.h"
#include "seq.h"

#define ID 17

static const odp_port_t members[2] = {
    ODP_PORT_C(20), ODP_PORT_C(21)
};
static struct egress_view *view;
static int n_changed;

static void
setup(const char *config)
{
    struct egress_nic_port ports[2];

    open_nic(config);
    view = egress_view_create(nic);
    ports[0] = (struct egress_nic_port) { members[0], up0 };
    ports[1] = (struct egress_nic_port) { members[1], up1 };
    egress_view_set_ports(view, ports, 2);
    n_changed = 0;
}

static void
changed_cb(uint32_t id, void *aux OVS_UNUSED)
{
    ck_assert_uint_eq(id, ID);
    n_changed++;
}

/* One step of the engine. */
static void
step(void)
{
    struct nic_completion c;

    now++;
    while (class->poll(nic, &c, 1, now)) {
        if (c.type == NIC_OP_RESET) {
            egress_view_forget(view);
        } else {
            egress_view_complete(view, &c, now);
        }
    }
    egress_view_run(view, now, changed_cb, NULL);
}

static void
steps(void)
{
    for (int i = 0; i < 2000; i++) {
        step();
    }
}

static void
teardown(void)
{
    steps();
    ck_assert_uint_eq(egress_view_count(view), 0);
    egress_view_destroy(view);
    egress_remove(ID);
    ck_assert(!egress_is_attached(ID));
    close_nic();
}

/* Where the writer says that it leads. */
static size_t
lead_to(odp_port_t port)
{
    const struct egress_target target = {
        .id = ID,
        .dp_type = "fake",
        .port = port,
        .members = members,
        .n_members = 2,
    };

    return egress_set(&target, 1);
}

static enum egress_view_answer
answer(void)
{
    nic_handle handle;
    const char *why;

    return egress_view_get(view, ID, &handle, &why);
}

static nic_handle
handle(void)
{
    nic_handle h;
    const char *why;

    ck_assert_int_eq(egress_view_get(view, ID, &h, &why), EGRESS_VIEW_READY);
    return h;
}

START_TEST(test_life)
{
    struct flow flow = udp(1);
    nic_handle rule;

    setup("profile=typical");
    lead_to(members[0]);
    egress_view_ref(view, ID);
    ck_assert_int_eq(answer(), EGRESS_VIEW_PENDING);
    steps();
    ck_assert_int_eq(answer(), EGRESS_VIEW_READY);
    ck_assert_int_eq(n_changed, 1);
    ck_assert_uint_eq(get_stats().n_egresses, 1);

    rule = add(rule_op(vf0, &flow, to_egress(handle())));
    ck_assert(hits("vf0", &flow));
    ck_assert_str_eq(ds_cstr(&sent), "20:142 ");

    /* The writer alone moves it. */
    ck_assert_uint_eq(lead_to(members[1]), 1);
    ck_assert(hits("vf0", &flow));
    ck_assert_str_eq(ds_cstr(&sent), "21:142 ");
    ck_assert_uint_eq(lead_to(members[1]), 0);
    ck_assert_uint_eq(lead_to(ODPP_NONE), 1);
    ck_assert(hits("vf0", &flow));
    ck_assert_str_eq(ds_cstr(&sent), "");
    ck_assert_int_eq(answer(), EGRESS_VIEW_READY);
    lead_to(members[0]);

    /* Used twice; gone after the last. */
    egress_view_ref(view, ID);
    egress_view_unref(view, ID);
    steps();
    ck_assert_uint_eq(get_stats().n_egresses, 1);
    del(rule);
    egress_view_unref(view, ID);
    steps();
    ck_assert_uint_eq(get_stats().n_egresses, 0);
    ck_assert_uint_eq(lead_to(members[1]), 0);
    teardown();
}
END_TEST

START_TEST(test_nobody_knows)
{
    setup("profile=typical");
    egress_view_ref(view, ID);
    steps();
    ck_assert_int_eq(answer(), EGRESS_VIEW_UNKNOWN);
    ck_assert_uint_eq(egress_view_count(view), 0);

    /* It becomes known. */
    lead_to(members[0]);
    steps();
    ck_assert_int_eq(answer(), EGRESS_VIEW_READY);

    /* It ends: rules must not name it any more. */
    egress_remove(ID);
    step();
    ck_assert_int_eq(answer(), EGRESS_VIEW_UNKNOWN);
    ck_assert_int_eq(n_changed, 4);
    egress_view_unref(view, ID);
    teardown();
}
END_TEST

START_TEST(test_unreachable)
{
    struct egress_nic_port port;

    setup("profile=typical");
    port = (struct egress_nic_port) { members[0], up0 };
    egress_view_set_ports(view, &port, 1);
    lead_to(members[0]);
    egress_view_ref(view, ID);
    steps();
    ck_assert_int_eq(answer(), EGRESS_VIEW_READY);
    n_changed = 0;
    lead_to(members[1]);
    step();
    ck_assert_int_eq(answer(), EGRESS_VIEW_UNREACHABLE);
    ck_assert_int_eq(n_changed, 1);
    lead_to(members[0]);
    step();
    ck_assert_int_eq(answer(), EGRESS_VIEW_READY);
    egress_view_unref(view, ID);
    teardown();
}
END_TEST

START_TEST(test_separate_eswitches)
{
    struct flow flow = udp(1);
    nic_handle rule;

    /* The uplink is a port of the NIC, but vf0 does not reach it. */
    setup("profile=typical eswitch=separate");
    lead_to(members[0]);
    egress_view_ref(view, ID);
    steps();
    rule = add(rule_op(vf0, &flow, to_egress(handle())));
    lead_to(members[1]);
    step();
    ck_assert_int_eq(answer(), EGRESS_VIEW_UNREACHABLE);

    /* The rules are withdrawn, and it leads where it can. */
    lead_to(members[0]);
    step();
    ck_assert_int_eq(answer(), EGRESS_VIEW_READY);
    ck_assert(hits("vf0", &flow));
    ck_assert_str_eq(ds_cstr(&sent), "20:142 ");
    del(rule);
    egress_view_unref(view, ID);
    teardown();
}
END_TEST

START_TEST(test_moved_while_adding)
{
    struct flow flow = udp(1);
    nic_handle rule;

    setup("profile=typical");
    lead_to(members[0]);
    egress_view_ref(view, ID);
    step();
    lead_to(members[1]);
    steps();

    /* The writer's thread refreshes after egress_seq() changed. */
    egress_refresh();
    rule = add(rule_op(vf0, &flow, to_egress(handle())));
    ck_assert(hits("vf0", &flow));
    ck_assert_str_eq(ds_cstr(&sent), "21:142 ");
    del(rule);
    egress_view_unref(view, ID);
    teardown();
}
END_TEST

START_TEST(test_reset)
{
    nic_handle before;

    setup("profile=typical");
    lead_to(members[0]);
    egress_view_ref(view, ID);
    steps();
    before = handle();
    nic_emu_reset(nic);
    steps();
    ck_assert_uint_ne(handle(), before);
    ck_assert_uint_eq(get_stats().n_egresses, 1);
    egress_view_unref(view, ID);
    teardown();
}
END_TEST

/* A NIC that does nothing: what it is told completes when the test says so,
 * and updates fail with 'fake_error'. */

static int fake_error;

static void
fake_get_caps(const struct nic *nic_ OVS_UNUSED, struct nic_caps *caps)
{
    memset(caps, 0, sizeof *caps);
    caps->egress_object = true;
}

static void
fake_submit(struct nic *nic_ OVS_UNUSED, const struct nic_op ops[] OVS_UNUSED,
            size_t n OVS_UNUSED, long long int now_ms OVS_UNUSED)
{
}

static int
fake_egress_set(struct nic *nic_ OVS_UNUSED, nic_handle handle_ OVS_UNUSED,
                nic_port_id port OVS_UNUSED, const char **reasonp)
{
    *reasonp = fake_error ? "no" : NULL;
    return fake_error;
}

static const struct nic_class fake_class = {
    .get_caps = fake_get_caps,
    .submit = fake_submit,
    .egress_set = fake_egress_set,
};

static void
fake_setup(void)
{
    static struct nic fake_nic = { &fake_class, "fake" };
    struct egress_nic_port ports[2];

    nic = &fake_nic;
    view = egress_view_create(nic);
    ports[0] = (struct egress_nic_port) { members[0], 1 };
    ports[1] = (struct egress_nic_port) { members[1], 2 };
    egress_view_set_ports(view, ports, 2);
    fake_error = 0;
}

static void
fake_complete(enum nic_op_type type, int error)
{
    struct nic_completion c = {
        .type = type, .cookie = ID, .error = error, .handle = 1,
    };

    egress_view_complete(view, &c, now);
    egress_view_run(view, now, changed_cb, NULL);
}

static void
fake_teardown(void)
{
    egress_detach_nic(nic);
    egress_view_unref(view, ID);
    egress_view_forget(view);
    egress_view_run(view, now, changed_cb, NULL);
    egress_view_destroy(view);
    egress_remove(ID);
    ck_assert(!egress_is_attached(ID));
}

/* Who waits for egress_seq() must not be woken up by what was not news. */
START_TEST(test_refresh_is_quiet)
{
    uint64_t seqno;

    fake_setup();
    lead_to(members[0]);
    egress_view_ref(view, ID);
    egress_view_run(view, now, changed_cb, NULL);
    fake_complete(NIC_OP_EGRESS_ADD, 0);
    seqno = seq_read(egress_seq());
    ck_assert(!egress_refresh());
    ck_assert_uint_eq(seq_read(egress_seq()), seqno);

    /* The NIC is busy. */
    fake_error = EAGAIN;
    lead_to(members[1]);
    seqno = seq_read(egress_seq());
    ck_assert(egress_refresh());
    ck_assert_uint_eq(seq_read(egress_seq()), seqno);

    /* It refuses. */
    fake_error = EOPNOTSUPP;
    ck_assert(!egress_refresh());
    ck_assert_uint_ne(seq_read(egress_seq()), seqno);
    ck_assert_str_eq(egress_unreachable(ID, nic), "no");

    /* It is busy, and the egress ends. */
    fake_error = EAGAIN;
    lead_to(members[1]);
    egress_remove(ID);
    seqno = seq_read(egress_seq());
    ck_assert(!egress_refresh());
    ck_assert_uint_eq(seq_read(egress_seq()), seqno);
    fake_teardown();
}
END_TEST

/* What waits for something else than time must not be waited for. */
START_TEST(test_wakes_in_the_future)
{
    fake_setup();
    lead_to(members[0]);
    egress_view_ref(view, ID);
    egress_view_run(view, now, changed_cb, NULL);
    fake_complete(NIC_OP_EGRESS_ADD, EIO);
    ck_assert_int_eq(egress_view_wake_ms(view), now + EGRESS_VIEW_RETRY_MS);
    egress_remove(ID);
    now += EGRESS_VIEW_RETRY_MS;
    egress_view_run(view, now, changed_cb, NULL);
    ck_assert_int_eq(egress_view_wake_ms(view), LLONG_MAX);

    /* It is tried again as soon as it can be. */
    lead_to(members[0]);
    egress_view_run(view, now, changed_cb, NULL);
    fake_complete(NIC_OP_EGRESS_ADD, 0);
    ck_assert_int_eq(answer(), EGRESS_VIEW_READY);
    fake_teardown();
}
END_TEST

/* All at random in a NIC that fails: at rest everything is as it should be. */
START_TEST(test_hostile)
{
    char *config = xasprintf("profile=hostile rate=0 seed=%d", _i + 1);
    int n_refs = 0;

    random_set_seed(_i + 1);
    setup(config);
    free(config);
    for (int i = 0; i < 3000; i++) {
        switch (random_range(8)) {
        case 0:
            egress_view_ref(view, ID);
            n_refs++;
            break;
        case 1:
            if (n_refs) {
                egress_view_unref(view, ID);
                n_refs--;
            }
            break;
        case 2:
            lead_to(random_range(3) ? members[random_range(2)] : ODPP_NONE);
            break;
        case 3:
            if (!random_range(100)) {
                nic_emu_reset(nic);
            }
            break;
        case 4:
            egress_refresh();
            break;
        default:
            now += random_range(300);
            step();
            break;
        }
    }
    if (!n_refs) {
        egress_view_ref(view, ID);
        n_refs++;
    }
    lead_to(members[_i & 1]);
    for (int i = 0; i < 100; i++) {
        steps();
        while (egress_refresh()) {
            now++;
        }
    }
    ck_assert_int_eq(answer(), EGRESS_VIEW_READY);
    ck_assert_uint_eq(get_stats().n_egresses, 1);

    struct flow flow = udp(1);
    struct nic_completion c;
    do {
        c = run(rule_op(vf0, &flow, to_egress(handle())));
    } while (c.error);
    ck_assert(hits("vf0", &flow));
    ck_assert_str_eq(ds_cstr(&sent), _i & 1 ? "21:142 " : "20:142 ");
    while (fails(del_op(NIC_OP_RULE_DEL, c.handle))) {
        now++;
    }
    while (n_refs--) {
        egress_view_unref(view, ID);
    }
    for (int i = 0; i < 20; i++) {
        steps();
    }
    teardown();
}
END_TEST

int
main(int argc, char *argv[])
{
    Suite *suite = suite_create("egress-view");
    TCase *tc = tcase_create("all");

    tcase_add_test(tc, test_life);
    tcase_add_test(tc, test_nobody_knows);
    tcase_add_test(tc, test_unreachable);
    tcase_add_test(tc, test_separate_eswitches);
    tcase_add_test(tc, test_moved_while_adding);
    tcase_add_test(tc, test_reset);
    tcase_add_test(tc, test_refresh_is_quiet);
    tcase_add_test(tc, test_wakes_in_the_future);
    tcase_add_loop_test(tc, test_hostile, 0, 20);
    suite_add_tcase(suite, tc);
    return nic_test_main(argc, argv, suite);
}
