/* SPDX-License-Identifier: Apache-2.0 */

#ifndef TESTS_RND_H
#define TESTS_RND_H 1

/* Random numbers for tests: not cryptographic, but the same everywhere for the
 * same seed, which a test puts in 'random_state'.  Included by one .c file per
 * program; for one thread. */

#include <stdint.h>

static uint32_t random_state;

/* Returns a number from 0 to 'n' - 1. */
static inline uint32_t
rnd(uint32_t n)
{
    random_state = random_state * 1103515245 + 12345;
    return (random_state >> 8) % n;
}

#endif /* rnd.h */
