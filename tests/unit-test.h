/* SPDX-License-Identifier: Apache-2.0 */

#ifndef UNIT_TEST_H
#define UNIT_TEST_H 1

/* How every Check program ends. */

#include <check.h>
#include <stdlib.h>

/* Runs the tests of 'suite', which is freed, and returns the program's exit
 * code. */
static inline int
unit_test_run(Suite *suite)
{
    SRunner *runner = srunner_create(suite);
    int n_failed;

    srunner_run_all(runner, CK_ENV);
    n_failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return n_failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

#endif /* unit-test.h */
