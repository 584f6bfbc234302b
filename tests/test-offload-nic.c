/* SPDX-License-Identifier: Apache-2.0 */

/* How many operations the engine gives a NIC that takes its time. */

#include <config.h>

#include <limits.h>

#include "datapath-offload/offload-nic.h"
#include "tests/nic-test.h"

#define N_OBJS (OFFLOAD_NIC_MAX_PENDING + 100)

/* A NIC that completes operations when it is told to. */
static struct nic_op *ops;
static size_t n_ops, n_adds, n_dels;
static bool held;

static void
slow_get_caps(const struct nic *nic OVS_UNUSED, struct nic_caps *caps)
{
    memset(caps, 0, sizeof *caps);
}

static void
slow_submit(struct nic *nic OVS_UNUSED, const struct nic_op new_ops[],
            size_t n, long long int now_ms OVS_UNUSED)
{
    for (size_t i = 0; i < n; i++) {
        ops[n_ops++] = new_ops[i];
        n_adds += new_ops[i].type == NIC_OP_RULE_ADD;
        n_dels += new_ops[i].type == NIC_OP_RULE_DEL;
    }
}

static size_t
slow_poll(struct nic *nic OVS_UNUSED, struct nic_completion completions[],
          size_t max, long long int now_ms OVS_UNUSED)
{
    size_t n;

    for (n = 0; n < max && n_ops && !held; n++) {
        const struct nic_op *op = &ops[--n_ops];

        completions[n] = (struct nic_completion) {
            .type = op->type,
            .cookie = op->cookie,
            .handle = n + 1,
        };
    }
    return n;
}

static long long int
slow_wake_ms(const struct nic *nic OVS_UNUSED, long long int now_ms OVS_UNUSED)
{
    return LLONG_MAX;
}

static const struct nic_class slow_class = {
    .type = "slow",
    .get_caps = slow_get_caps,
    .submit = slow_submit,
    .poll = slow_poll,
    .wake_ms = slow_wake_ms,
};

static void
fill_op(const struct nic_obj *obj OVS_UNUSED, struct nic_op *op OVS_UNUSED,
        void *aux OVS_UNUSED)
{
}

static void
account(struct nic_obj *obj OVS_UNUSED, int dir OVS_UNUSED,
        uint64_t packets OVS_UNUSED, uint64_t bytes OVS_UNUSED,
        long long int used_ms OVS_UNUSED, void *aux OVS_UNUSED)
{
}

static void
changed(struct nic_obj *obj OVS_UNUSED, void *aux OVS_UNUSED)
{
}

static const struct offload_nic_ops obj_ops = {
    .fill_op = fill_op,
    .account = account,
    .lost = changed,
    .changed = changed,
};

static void
want(struct offload_nic *onic, struct nic_obj *objs, bool wanted)
{
    for (size_t i = 0; i < N_OBJS; i++) {
        nic_obj_set_wanted(onic, &objs[i], wanted, 1000);
    }
    offload_nic_submit(onic, 1000);
}

static void
complete(struct offload_nic *onic)
{
    held = false;
    while (offload_nic_poll(onic, 1000)) {
        offload_nic_submit(onic, 1000);
    }
    held = true;
}

static void
egress_changed(uint32_t id OVS_UNUSED, void *aux OVS_UNUSED)
{
    ck_abort_msg("there are no egress objects");
}

START_TEST(test_limit)
{
    struct nic nic = { .class = &slow_class, .name = "slow" };
    struct nic_obj *old = xmalloc(N_OBJS * sizeof *old);
    struct nic_obj *new = xmalloc(N_OBJS * sizeof *new);
    struct offload_nic *onic;

    ops = xmalloc(4 * N_OBJS * sizeof *ops);
    onic = offload_nic_create(&nic, &obj_ops, NULL);
    for (size_t i = 0; i < N_OBJS; i++) {
        nic_obj_init(&old[i], NIC_OBJ_FLAT_RULE);
        nic_obj_init(&new[i], NIC_OBJ_FLAT_RULE);
    }
    held = true;

    /* There is a limit to additions. */
    want(onic, old, true);
    ck_assert_uint_eq(n_adds, OFFLOAD_NIC_MAX_PENDING);
    ck_assert_int_gt(offload_nic_wake_ms(onic, 1000), 1000);
    complete(onic);
    ck_assert_uint_eq(n_adds, N_OBJS);
    ck_assert_uint_eq(onic->n_present, N_OBJS);

    /* There is none to removals, which leave room for additions. */
    want(onic, old, false);
    ck_assert_uint_eq(n_dels, N_OBJS);
    want(onic, new, true);
    ck_assert_uint_eq(n_adds, N_OBJS + OFFLOAD_NIC_MAX_PENDING);
    complete(onic);
    ck_assert_uint_eq(onic->n_present, N_OBJS);
    ck_assert_uint_eq(onic->n_adding, 0);

    want(onic, new, false);
    complete(onic);
    egress_view_run(onic->egress, 1000, egress_changed, NULL);
    offload_nic_destroy(onic);
    free(ops);
    free(old);
    free(new);
}
END_TEST

static Suite *
suite(void)
{
    Suite *s = suite_create("offload-nic");
    TCase *tc = tcase_create("limit");

    tcase_add_test(tc, test_limit);
    suite_add_tcase(s, tc);
    return s;
}

int
main(int argc, char *argv[])
{
    return nic_test_main(argc, argv, suite());
}
