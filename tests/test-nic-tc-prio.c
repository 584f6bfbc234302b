/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>
#include "lib/nic-tc-prio.h"

#include "random.h"
#include "tests/nic-test.h"

/* Returns a match of which the masks are number 'i'. */
static struct match
masks(unsigned int i)
{
    struct match match;

    match_init_catchall(&match);
    match.wc.masks.nw_src = htonl(i);
    return match;
}

/* The value of a field makes no difference, its mask and the protocol do. */
START_TEST(test_same)
{
    struct match a = masks(1), b = masks(1), c = masks(2);
    struct nic_tc_prios prios;
    uint16_t prio;

    b.flow.nw_src = htonl(1);
    nic_tc_prios_init(&prios);
    prio = nic_tc_prio_ref(&prios, 0x800, &a);
    ck_assert_uint_ge(prio, NIC_TC_PRIO_MIN);
    ck_assert_uint_le(prio, NIC_TC_PRIO_MAX);
    ck_assert_uint_eq(nic_tc_prio_ref(&prios, 0x800, &b), prio);
    ck_assert_uint_ne(nic_tc_prio_ref(&prios, 0x8100, &a), prio);
    ck_assert_uint_ne(nic_tc_prio_ref(&prios, 0x800, &c), prio);
    ck_assert_uint_eq(nic_tc_prios_count(&prios), 3);

    /* The last reference counts. */
    nic_tc_prio_unref(&prios, prio);
    ck_assert_uint_eq(nic_tc_prios_count(&prios), 3);
    nic_tc_prio_unref(&prios, prio);
    ck_assert_uint_eq(nic_tc_prios_count(&prios), 2);

    /* One that became free is not given out at once. */
    ck_assert_uint_ne(nic_tc_prio_ref(&prios, 0x800, &a), prio);
    nic_tc_prios_destroy(&prios);
}
END_TEST

START_TEST(test_full)
{
    const unsigned int n = NIC_TC_PRIO_MAX - NIC_TC_PRIO_MIN + 1;
    bool *used = xcalloc(n, sizeof *used);
    struct nic_tc_prios prios;
    struct match match;
    uint16_t prio = 0;

    nic_tc_prios_init(&prios);
    for (unsigned int i = 0; i < n; i++) {
        match = masks(i);
        prio = nic_tc_prio_ref(&prios, 0x800, &match);
        ck_assert_uint_ne(prio, 0);
        ck_assert(!used[prio - NIC_TC_PRIO_MIN]);
        used[prio - NIC_TC_PRIO_MIN] = true;
    }
    match = masks(n);
    ck_assert_uint_eq(nic_tc_prio_ref(&prios, 0x800, &match), 0);
    nic_tc_prio_unref(&prios, prio);
    ck_assert_uint_eq(nic_tc_prio_ref(&prios, 0x800, &match), prio);
    nic_tc_prios_destroy(&prios);
    free(used);
}
END_TEST

int
main(int argc, char *argv[])
{
    Suite *suite = suite_create("nic-tc-prio");
    TCase *tc = tcase_create("nic-tc-prio");

    tcase_add_test(tc, test_same);
    tcase_add_test(tc, test_full);
    suite_add_tcase(suite, tc);
    return nic_test_main(argc, argv, suite);
}
