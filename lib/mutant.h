/* SPDX-License-Identifier: Apache-2.0 */

#ifndef MUTANT_H
#define MUTANT_H 1

/* Mutants: deliberate defects that prove that the tests bite
 * ==========================================================
 *
 * MUTANT(NAME) is a constant, false: neither code nor data of a mutant gets
 * into a normal build.  Only with "configure --enable-mutants" it is true when
 * NAME is what HANDOFF_MUTANT in the environment says.  Such a build is for
 * 'make check-mutants' alone, and is never installed.
 *
 * tests/mutants.list says what each does and which test must notice.
 *
 * Thread-safety: everything is thread-safe, as long as nobody changes the
 * environment. */

#include <stdbool.h>

#ifdef HANDOFF_MUTANTS

#include <stdlib.h>
#include <string.h>

#define MUTANT(NAME) mutant_is_chosen(#NAME)

/* Returns true if 'name' is the mutant that was chosen. */
static inline bool
mutant_is_chosen(const char *name)
{
    const char *chosen = getenv("HANDOFF_MUTANT");

    return chosen && !strcmp(chosen, name);
}

#else
#define MUTANT(NAME) false
#endif

#endif /* mutant.h */
