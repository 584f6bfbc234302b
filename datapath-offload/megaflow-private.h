/* SPDX-License-Identifier: Apache-2.0 */

#ifndef MEGAFLOW_PRIVATE_H
#define MEGAFLOW_PRIVATE_H 1

/* What the mirror of megaflows (megaflow-mirror.c) and their copies
 * (megaflow-copies.c) are to each other, and to nobody else.
 *
 * Thread-safety: the mirror's writer. */

#include "megaflow-mirror.h"

/* Puts 'flow' in the subtable of its match, or takes it out. */
void megaflow_insert_in_table(struct megaflow *flow);
void megaflow_remove_from_table(struct megaflow *flow);

/* Notes that copy 'id' of 'flow' matches 'match' and does 'program', which is
 * left without operations.  Returns the variant that it is. */
const struct mf_variant *megaflow_put_copy(struct megaflow *flow,
                                           const void *id,
                                           const struct match *match,
                                           struct megaflow_program *program);

/* Forgets copy 'id' of 'flow'.  Returns false if there is none. */
bool megaflow_drop_copy(struct megaflow *flow, const void *id);

/* Makes 'flow', which is in no subtable, what 'variant' is, or, if its copies
 * 'differ', refused; and puts it in the subtable of that. */
void megaflow_show_variant(struct megaflow *flow,
                           const struct mf_variant *variant, bool differs);

/* Frees the copies and variants of 'flow'. */
void megaflow_free_copies(struct megaflow *flow);

#endif /* megaflow-private.h */
