/* SPDX-License-Identifier: Apache-2.0 */

#ifndef BAD_VALUES_H
#define BAD_VALUES_H 1

/* Warnings about bad configuration values
 * =======================================
 *
 * Configuration is read anew whenever anything in the database changes.  A bad
 * value is warned of once, for as long as it stays there.
 *
 * Thread-safety: none. */

#include "openvswitch/compiler.h"
#include "sset.h"

struct vlog_module;

struct bad_values {
    struct sset reported;           /* "KEY=VALUE" that were warned of. */
    struct sset seen;               /* Those of this round. */
};

#define BAD_VALUES_INITIALIZER(BV)                  \
    { .reported = SSET_INITIALIZER(&(BV)->reported), \
      .seen = SSET_INITIALIZER(&(BV)->seen) }

void bad_values_destroy(struct bad_values *);

/* Warns in the name of 'module' that 'value' of 'key' is bad, unless that was
 * done before.  'format' and what follows say what is allowed. */
void bad_values_report(struct bad_values *, struct vlog_module *module,
                       const char *key, const char *value,
                       const char *format, ...) OVS_PRINTF_FORMAT(5, 6);

/* The configuration has been read once: forgets what was bad before and is not
 * any more. */
void bad_values_end_round(struct bad_values *);

#endif /* bad-values.h */
