/* SPDX-License-Identifier: Apache-2.0 */

/* Copies of a megaflow, and what follows from them. */

#include <config.h>
#include "megaflow-private.h"

#include <stdlib.h>

#include "util.h"

/* What a megaflow does of which the copies do not do the same. */
static const struct megaflow_program differing = { .reason = REASON_COPIES };

static void
variant_free(struct mf_variant *variant)
{
    ovs_list_remove(&variant->node);
    minimatch_destroy(&variant->match);
    megaflow_program_destroy(&variant->program);
    free(variant);
}

void
megaflow_free_copies(struct megaflow *flow)
{
    struct mf_variant *variant;
    struct mf_copy *copy;

    LIST_FOR_EACH_POP (copy, node, &flow->copies) {
        free(copy);
    }
    LIST_FOR_EACH_SAFE (variant, node, &flow->variants) {
        variant_free(variant);
    }
}

void
megaflow_show_variant(struct megaflow *flow,
                      const struct mf_variant *variant, bool differs)
{
    flow->variant = variant;
    flow->differs = differs;
    flow->match = &variant->match;
    flow->program = differs ? &differing : &variant->program;

    ovs_list_remove(&flow->rewriter_node);
    ovs_list_init(&flow->rewriter_node);
    if (megaflow_program_rewrites_early(flow->program)) {
        ovs_list_push_back(&flow->slot->rewriters, &flow->rewriter_node);
    }
    megaflow_insert_in_table(flow);
}

/* Returns true if whatever hits 'b' hits 'a' as well, but not the other way
 * around.  Both are of one megaflow: they match the same values, which are
 * zero where only one of them matches. */
static bool
is_wider(const struct minimatch *a, const struct minimatch *b)
{
    return (minimask_has_extra(a->mask, b->mask)
            && !minimask_has_extra(b->mask, a->mask));
}

/* Returns the variant that 'flow', which has copies, should be, and stores in
 * '*differs' whether its copies do different things. */
static const struct mf_variant *
choose_variant(const struct megaflow *flow, bool *differs)
{
    const struct mf_variant *best = NULL;
    const struct mf_variant *variant;

    *differs = false;
    if (flow->variant->n_copies) {
        best = flow->variant;
    }
    LIST_FOR_EACH (variant, node, &flow->variants) {
        if (!variant->n_copies) {
            continue;
        }
        if (best && !megaflow_program_equal(&best->program,
                                            &variant->program)) {
            *differs = true;
        }
        if (!best || is_wider(&variant->match, &best->match)) {
            best = variant;
        }
    }
    return best;
}

const struct megaflow_program *
megaflow_next_program(const struct megaflow *flow)
{
    const struct mf_variant *best;
    bool differs;

    best = choose_variant(flow, &differs);
    return (best == flow->variant && differs == flow->differs ? NULL
            : differs ? &differing : &best->program);
}

void
megaflow_update(struct megaflow *flow)
{
    const struct mf_variant *best;
    struct mf_variant *variant;
    bool differs;

    ovs_assert(ovs_list_is_empty(&flow->stages));
    best = choose_variant(flow, &differs);
    if (best != flow->variant
        && !minimatch_equal(&best->match, &flow->variant->match)) {
        /* What waits because of the packets that it matched until now may not
         * find it any more. */
        flow->slot->all_seq = ++flow->mirror->news_seq;
    }
    megaflow_remove_from_table(flow);
    megaflow_show_variant(flow, best, differs);
    LIST_FOR_EACH_SAFE (variant, node, &flow->variants) {
        if (!variant->n_copies && variant != best) {
            variant_free(variant);
        }
    }
}

/* Takes 'copy' from the variant that it is. */
static void
leave_variant(struct megaflow *flow, struct mf_copy *copy)
{
    struct mf_variant *variant = copy->variant;

    copy->variant = NULL;
    if (variant && !--variant->n_copies && variant != flow->variant) {
        variant_free(variant);
    }
}

/* Returns the variant of 'flow' that matches 'match' and does 'program', which
 * is left without operations, created if necessary. */
static struct mf_variant *
get_variant(struct megaflow *flow, const struct match *match,
            struct megaflow_program *program)
{
    struct mf_variant *variant;
    struct minimatch mini;

    minimatch_init(&mini, match);
    LIST_FOR_EACH (variant, node, &flow->variants) {
        if (minimatch_equal(&variant->match, &mini)
            && megaflow_program_equal(&variant->program, program)) {
            minimatch_destroy(&mini);
            megaflow_program_destroy(program);
            return variant;
        }
    }

    variant = xzalloc(sizeof *variant);
    minimatch_move(&variant->match, &mini);
    variant->program = *program;
    program->ops = NULL;
    program->n_ops = 0;
    ovs_list_push_back(&flow->variants, &variant->node);
    return variant;
}

static struct mf_copy *
find_copy(const struct megaflow *flow, const void *id)
{
    struct mf_copy *copy;

    LIST_FOR_EACH (copy, node, &flow->copies) {
        if (copy->id == id) {
            return copy;
        }
    }
    return NULL;
}

const struct mf_variant *
megaflow_put_copy(struct megaflow *flow, const void *id,
                  const struct match *match, struct megaflow_program *program)
{
    struct mf_copy *copy = find_copy(flow, id);
    struct mf_variant *variant;

    if (!copy) {
        copy = xzalloc(sizeof *copy);
        copy->id = id;
        ovs_list_push_back(&flow->copies, &copy->node);
    }
    variant = get_variant(flow, match, program);
    variant->n_copies++;
    leave_variant(flow, copy);
    copy->variant = variant;
    return variant;
}

bool
megaflow_drop_copy(struct megaflow *flow, const void *id)
{
    struct mf_copy *copy = find_copy(flow, id);

    if (!copy) {
        return false;
    }
    leave_variant(flow, copy);
    ovs_list_remove(&copy->node);
    free(copy);
    return true;
}
