/* SPDX-License-Identifier: Apache-2.0 */

#ifndef STATIC_SEQ_H
#define STATIC_SEQ_H 1

#include "ovs-thread.h"
#include "seq.h"

/* Defines 'struct seq *NAME(void)', which always returns the same seq and
 * makes it when it is called for the first time.  Any thread. */
#define STATIC_SEQ_DEFINE(NAME)                                         \
    struct seq *                                                        \
    NAME(void)                                                          \
    {                                                                   \
        static struct ovsthread_once once = OVSTHREAD_ONCE_INITIALIZER; \
        static struct seq *seq;                                         \
                                                                        \
        if (ovsthread_once_start(&once)) {                              \
            seq = seq_create();                                         \
            ovsthread_once_done(&once);                                 \
        }                                                               \
        return seq;                                                     \
    }

#endif /* static-seq.h */
