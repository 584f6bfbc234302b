/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>
#include "nic-emu-hw.h"

#include <errno.h>

#include "nic-emu-grace.h"
#include "nic-emu-object.h"
#include "nic-emu-port.h"
#include "nic-emu-store.h"
#include "nic-emu-table.h"
#include "openvswitch/dynamic-string.h"
#include "util.h"

/* An operation on its way. */
struct pending {
    struct ovs_list list_node;      /* In 'draining' or 'done'. */
    struct nic_op op;
    struct nic_completion completion;
    uint64_t seq;                   /* Order of submission. */
    long long int due_ms;           /* When the next step is to happen. */
    long long int done_ms;
    bool effective;                 /* Took effect. */

    /* For a removal that took effect. */
    struct nic_emu_object *object;
    uint64_t grace;
};

struct nic_emu_hw {
    struct nic_emu_config config;
    struct nic_emu_objects objects;

    /* Operations.  'queue' is a binary heap in the order of 'due_ms', then
     * 'seq'. */
    struct pending **queue;
    size_t n_queue, allocated_queue;
    struct ovs_list draining;       /* Wait for a grace period. */
    struct ovs_list done;           /* Wait to be polled. */
    uint32_t n_pending;             /* In all three. */
    uint64_t seq;
    uint64_t free_nsec;             /* When the NIC has finished the operations
                                     * submitted so far, if 'rate' is set. */
    uint64_t n_ops, n_failed;

    bool resetting;                 /* NIC_OP_RESET is not polled yet. */
    uint32_t faults[NIC_EMU_N_FAULTS];
    uint64_t random;                /* State of the random generator. */

    bool published;                 /* 'publish_ms' is valid. */
    long long int publish_ms;       /* When counters are published next. */
};

/* Returns a pseudo-random number less than 'n'.  (The generator is known as
 * SplitMix64.) */
static uint32_t
hw_random(struct nic_emu_hw *hw, uint32_t n)
{
    uint64_t x = hw->random += UINT64_C(0x9e3779b97f4a7c15);

    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    x ^= x >> 31;
    return x % n;
}

struct nic_emu_hw *
nic_emu_hw_create(const char *name, const struct nic_emu_config *config,
                  struct nic_emu_ports *ports)
{
    struct nic_emu_hw *hw = xzalloc(sizeof *hw);

    hw->config = *config;
    hw->random = config->seed;
    ovs_list_init(&hw->draining);
    ovs_list_init(&hw->done);
    nic_emu_objects_init(&hw->objects, name, &hw->config, ports);
    nic_emu_table_check_l4_csum(hw->objects.table,
                                config->profile == NIC_EMU_KIND);
    return hw;
}

uint32_t
nic_emu_hw_flush(struct nic_emu_hw *hw)
{
    uint32_t n = (hw->objects.n[NIC_EMU_RULE]
                  + hw->objects.n[NIC_EMU_CONN]);

    nic_emu_objects_clear(&hw->objects);
    return n;
}

/* Operations on their way. */

static void
pending_free(struct pending *p)
{
    if (p->op.type == NIC_OP_RULE_ADD) {
        nic_template_unref(CONST_CAST(struct nic_template *,
                                      p->op.rule.template));
    }
    if (p->object) {
        nic_emu_object_free(p->object);
    }
    free(p);
}

static bool
pending_before(const struct pending *a, const struct pending *b)
{
    return (a->due_ms != b->due_ms ? a->due_ms < b->due_ms
            : a->seq < b->seq);
}

static void
queue_push(struct nic_emu_hw *hw, struct pending *p)
{
    size_t i;

    if (hw->n_queue >= hw->allocated_queue) {
        hw->queue = x2nrealloc(hw->queue, &hw->allocated_queue,
                               sizeof *hw->queue);
    }
    for (i = hw->n_queue++; i; i = (i - 1) / 2) {
        struct pending *parent = hw->queue[(i - 1) / 2];

        if (!pending_before(p, parent)) {
            break;
        }
        hw->queue[i] = parent;
    }
    hw->queue[i] = p;
}

static struct pending *
queue_pop(struct nic_emu_hw *hw)
{
    struct pending *first = hw->queue[0];
    struct pending *last = hw->queue[--hw->n_queue];
    size_t i, child;

    for (i = 0; (child = 2 * i + 1) < hw->n_queue; i = child) {
        if (child + 1 < hw->n_queue
            && pending_before(hw->queue[child + 1], hw->queue[child])) {
            child++;
        }
        if (!pending_before(hw->queue[child], last)) {
            break;
        }
        hw->queue[i] = hw->queue[child];
    }
    hw->queue[i] = last;
    return first;
}

/* Forgets all operations. */
static void
pending_clear(struct nic_emu_hw *hw)
{
    struct pending *p;

    for (size_t i = 0; i < hw->n_queue; i++) {
        pending_free(hw->queue[i]);
    }
    hw->n_queue = 0;
    LIST_FOR_EACH_POP (p, list_node, &hw->draining) {
        pending_free(p);
    }
    LIST_FOR_EACH_POP (p, list_node, &hw->done) {
        pending_free(p);
    }
    hw->n_pending = 0;
    hw->free_nsec = 0;
}

void
nic_emu_hw_destroy(struct nic_emu_hw *hw)
{
    pending_clear(hw);
    nic_emu_objects_destroy(&hw->objects);
    free(hw->queue);
    free(hw);
}

static bool
op_is_add(enum nic_op_type type)
{
    return (type == NIC_OP_RULE_ADD || type == NIC_OP_CONN_ADD
            || type == NIC_OP_EGRESS_ADD);
}

static bool
op_is_del(enum nic_op_type type)
{
    return (type == NIC_OP_RULE_DEL || type == NIC_OP_CONN_DEL
            || type == NIC_OP_EGRESS_DEL);
}

/* Takes one away from the number of times that 'fault' is to happen.  Returns
 * false if it was 0. */
static bool
fault_use(struct nic_emu_hw *hw, enum nic_emu_fault fault)
{
    if (!hw->faults[fault]) {
        return false;
    }
    hw->faults[fault]--;
    return true;
}

/* Decides whether 'p' fails for no reason of its own. */
static void
decide_failure(struct nic_emu_hw *hw, struct pending *p)
{
    bool add = op_is_add(p->op.type);
    bool del = op_is_del(p->op.type);
    struct nic_completion *c = &p->completion;

    if (add && fault_use(hw, NIC_EMU_FAULT_FAIL_ADD)) {
        c->error = EIO;
        c->reason = "injected fault (fail-add)";
    } else if (add && fault_use(hw, NIC_EMU_FAULT_FULL)) {
        c->error = ENOSPC;
        c->reason = "injected fault (full)";
    } else if (del && fault_use(hw, NIC_EMU_FAULT_FAIL_DEL)) {
        c->error = EIO;
        c->reason = "injected fault (fail-del)";
    } else if (hw->config.profile == NIC_EMU_HOSTILE
               && !hw_random(hw, 16)) {
        c->error = add && hw_random(hw, 2) ? ENOSPC : EIO;
        c->reason = "random failure (profile=hostile)";
    }
}

/* Decides when 'p', submitted at 'now_ms', takes effect and is done. */
static void
decide_times(struct nic_emu_hw *hw, struct pending *p, long long int now_ms)
{
    const struct nic_emu_config *config = &hw->config;
    bool hostile = config->profile == NIC_EMU_HOSTILE;
    long long int effect_ms = now_ms;
    uint32_t delay_ms;

    if (config->rate) {
        uint64_t now_nsec = now_ms * UINT64_C(1000000);

        hw->free_nsec = (MAX(hw->free_nsec, now_nsec)
                         + UINT64_C(1000000000) / config->rate);
        effect_ms = DIV_ROUND_UP(hw->free_nsec, UINT64_C(1000000));
    }

    delay_ms = hostile ? hw_random(hw, config->delay_ms + 1)
                       : config->delay_ms;
    p->done_ms = effect_ms + delay_ms;

    if (op_is_del(p->op.type)) {
        /* What is removed hits until the end. */
        effect_ms = p->done_ms;
    } else if (hostile) {
        switch (hw_random(hw, 3)) {
        case 0:
            effect_ms = now_ms;
            break;
        case 1:
            effect_ms = p->done_ms;
            break;
        default:
            effect_ms = now_ms + hw_random(hw, p->done_ms - now_ms + 1);
            break;
        }
    }
    p->due_ms = effect_ms;
}

/* Lets 'p' take effect. */
static void
take_effect(struct nic_emu_hw *hw, struct pending *p)
{
    struct nic_completion *c = &p->completion;
    struct nic_emu_object *object;

    p->effective = true;
    if (c->error) {
        return;
    }

    if (op_is_add(p->op.type)) {
        c->error = nic_emu_object_add(&hw->objects, &p->op, &object,
                                      &c->reason);
        c->handle = c->error ? 0 : object->handle;
    } else if (op_is_del(p->op.type)) {
        c->error = nic_emu_object_remove(&hw->objects, &p->op, &p->object,
                                         &c->reason);
        if (!c->error) {
            p->grace = nic_emu_grace_start();
        }
    } else {
        c->error = nic_emu_object_set(&hw->objects, &p->op, &c->reason);
    }
}

static void
hide_hit_times(const struct nic_emu_hw *hw, struct nic_counter counters[],
               size_t n)
{
    if (hw->config.profile != NIC_EMU_KIND) {
        for (size_t i = 0; i < n; i++) {
            counters[i].used_ms = 0;
        }
    }
}

static void
make_done(struct nic_emu_hw *hw, struct pending *p)
{
    struct nic_completion *c = &p->completion;

    if (p->object) {
        nic_emu_object_counters(p->object, c->final);
        hide_hit_times(hw, c->final, 2);
    }
    if (c->error) {
        hw->n_failed++;
    } else {
        hw->n_ops++;
    }
    ovs_list_push_back(&hw->done, &p->list_node);
}

static void
publish(struct nic_emu_hw *hw, long long int now_ms)
{
    uint32_t stale_ms = hw->config.stale_ms;

    if (!stale_ms) {
        hw->published = false;
        return;
    }
    if (hw->published && now_ms < hw->publish_ms) {
        return;
    }

    nic_emu_objects_publish(&hw->objects);
    if (hw->config.profile == NIC_EMU_HOSTILE) {
        hw->publish_ms = now_ms + 1 + hw_random(hw, stale_ms);
    } else if (!hw->published) {
        hw->publish_ms = now_ms + stale_ms;
    } else {
        /* Stay in step. */
        hw->publish_ms = now_ms + stale_ms - ((now_ms - hw->publish_ms)
                                              % stale_ms);
    }
    hw->published = true;
}

/* Does everything that is due at 'now_ms'. */
static void
advance(struct nic_emu_hw *hw, long long int now_ms)
{
    struct pending *p;

    publish(hw, now_ms);
    if (hw->faults[NIC_EMU_FAULT_HOLD]) {
        return;
    }

    while (hw->n_queue && hw->queue[0]->due_ms <= now_ms) {
        p = queue_pop(hw);
        if (!p->effective) {
            take_effect(hw, p);
        }
        if (p->object) {
            ovs_list_push_back(&hw->draining, &p->list_node);
        } else if (p->done_ms <= now_ms) {
            make_done(hw, p);
        } else {
            p->due_ms = p->done_ms;
            queue_push(hw, p);
        }
    }

    LIST_FOR_EACH_SAFE (p, list_node, &hw->draining) {
        if (!nic_emu_grace_passed(p->grace)) {
            /* Neither have those that started later. */
            break;
        }
        ovs_list_remove(&p->list_node);
        make_done(hw, p);
    }
    nic_emu_objects_flush(&hw->objects);
}

const char *
nic_emu_hw_check_template(const struct nic_emu_hw *hw,
                          const struct nic_template *template)
{
    const char *reason = NULL;

    nic_emu_objects_check(&hw->objects, template, &reason);
    return reason;
}

int
nic_emu_hw_egress_set(struct nic_emu_hw *hw, nic_handle handle,
                      nic_port_id port, const char **reasonp)
{
    const struct nic_op op = {
        .type = NIC_OP_EGRESS_SET,
        .handle = handle,
        .egress_port = port,
    };
    int error;

    *reasonp = NULL;
    if (hw->resetting) {
        *reasonp = "the NIC was reset";
        error = ENOENT;
    } else if (hw->faults[NIC_EMU_FAULT_HOLD]) {
        *reasonp = "the NIC is held up";
        error = EBUSY;
    } else if (hw->config.profile == NIC_EMU_HOSTILE && !hw_random(hw, 8)) {
        *reasonp = "a fault of the hardware";
        error = EIO;
    } else {
        error = nic_emu_object_set(&hw->objects, &op, reasonp);
        nic_emu_objects_flush(&hw->objects);
    }
    if (error) {
        hw->n_failed++;
    } else {
        hw->n_ops++;
    }
    return error;
}

void
nic_emu_hw_submit(struct nic_emu_hw *hw, const struct nic_op ops[], size_t n,
                  long long int now_ms)
{
    if (hw->resetting) {
        return;
    }

    for (size_t i = 0; i < n; i++) {
        const struct nic_op *op = &ops[i];
        struct pending *p = xzalloc(sizeof *p);

        p->op = *op;
        if (op->type == NIC_OP_RULE_ADD) {
            nic_template_ref(op->rule.template);
        }
        p->completion.type = op->type;
        p->completion.cookie = op->cookie;
        p->seq = hw->seq++;
        decide_failure(hw, p);
        decide_times(hw, p, now_ms);
        queue_push(hw, p);
        hw->n_pending++;
    }
    advance(hw, now_ms);
}

size_t
nic_emu_hw_poll(struct nic_emu_hw *hw, struct nic_completion completions[],
                size_t max, long long int now_ms)
{
    size_t n = 0;

    if (hw->resetting) {
        if (!max) {
            return 0;
        }
        hw->resetting = false;
        completions[0] = (struct nic_completion) { .type = NIC_OP_RESET };
        return 1;
    }

    advance(hw, now_ms);
    while (n < max && !ovs_list_is_empty(&hw->done)) {
        struct pending *p = CONTAINER_OF(ovs_list_pop_front(&hw->done),
                                         struct pending, list_node);

        completions[n++] = p->completion;
        pending_free(p);
        hw->n_pending--;
    }
    return n;
}

long long int
nic_emu_hw_wake_ms(const struct nic_emu_hw *hw, long long int now_ms)
{
    if (hw->resetting || !ovs_list_is_empty(&hw->done)) {
        return now_ms;
    } else if (hw->faults[NIC_EMU_FAULT_HOLD]) {
        /* Nobody tells when the fault ends. */
        return hw->n_pending ? now_ms + 100 : LLONG_MAX;
    } else if (!ovs_list_is_empty(&hw->draining)) {
        return now_ms + 1;
    } else if (hw->n_queue) {
        return MAX(hw->queue[0]->due_ms, now_ms);
    } else {
        return LLONG_MAX;
    }
}

void
nic_emu_hw_reset(struct nic_emu_hw *hw)
{
    pending_clear(hw);
    nic_emu_objects_clear(&hw->objects);
    hw->resetting = true;
}

/* Counters. */

/* Stores in 'counters' what the NIC tells about the object of 'kind' that has
 * 'handle'. */
static void
get_counters(struct nic_emu_hw *hw, nic_handle handle, enum nic_emu_kind kind,
             struct nic_counter counters[2])
{
    const struct nic_emu_object *object;

    object = nic_emu_object_find(&hw->objects, handle, kind);
    if (!object) {
        memset(counters, 0, 2 * sizeof *counters);
    } else if (hw->config.stale_ms) {
        memcpy(counters, object->published, sizeof object->published);
    } else {
        nic_emu_object_counters(object, counters);
    }
    hide_hit_times(hw, counters, 2);
}

void
nic_emu_hw_rule_counters(struct nic_emu_hw *hw, const nic_handle handles[],
                         size_t n, struct nic_counter counters[],
                         long long int now_ms)
{
    publish(hw, now_ms);
    for (size_t i = 0; i < n; i++) {
        struct nic_counter both[2];

        get_counters(hw, handles[i], NIC_EMU_RULE, both);
        counters[i] = both[0];
    }
}

void
nic_emu_hw_conn_counters(struct nic_emu_hw *hw, const nic_handle handles[],
                         size_t n, struct nic_counter counters[][2],
                         long long int now_ms)
{
    publish(hw, now_ms);
    for (size_t i = 0; i < n; i++) {
        get_counters(hw, handles[i], NIC_EMU_CONN, counters[i]);
    }
}

/* Configuration, faults, and what people see. */

struct nic_emu_table *
nic_emu_hw_table(struct nic_emu_hw *hw)
{
    return hw->objects.table;
}

const struct nic_emu_config *
nic_emu_hw_config(const struct nic_emu_hw *hw)
{
    return &hw->config;
}

int
nic_emu_hw_reconfigure(struct nic_emu_hw *hw,
                       const struct nic_emu_config *config, char **errorp)
{
    char *value = NULL;
    const char *key = nic_emu_config_fixed(&hw->config, config, &value);

    if (key && (hmap_count(&hw->objects.by_handle) || hw->n_pending)) {
        *errorp = xasprintf("%s cannot be changed while the NIC holds "
                            "objects, must be %s", key, value);
        free(value);
        return EBUSY;
    }
    free(value);

    if (config->seed != hw->config.seed) {
        hw->random = config->seed;
    }
    if (config->stale_ms != hw->config.stale_ms
        || config->profile != hw->config.profile) {
        hw->published = false;
    }
    hw->config = *config;
    nic_emu_table_check_l4_csum(hw->objects.table,
                                config->profile == NIC_EMU_KIND);
    return 0;
}

void
nic_emu_hw_port_added(struct nic_emu_hw *hw, nic_port_id id, const char *name)
{
    nic_emu_store_put_port(hw->objects.store, id, name);
    nic_emu_objects_flush(&hw->objects);
}

void
nic_emu_hw_port_removed(struct nic_emu_hw *hw, nic_port_id id)
{
    nic_emu_store_del_port(hw->objects.store, id);
    nic_emu_objects_flush(&hw->objects);
}

void
nic_emu_hw_get_stats(const struct nic_emu_hw *hw, struct nic_stats *stats)
{
    stats->n_rules = hw->objects.n[NIC_EMU_RULE];
    stats->n_conns = hw->objects.n[NIC_EMU_CONN];
    stats->n_egresses = hw->objects.n[NIC_EMU_EGRESS];
    stats->n_ops = hw->n_ops;
    stats->n_failed = hw->n_failed;
    stats->n_pending = hw->n_pending;
}

void
nic_emu_hw_set_fault(struct nic_emu_hw *hw, enum nic_emu_fault fault,
                     uint32_t n)
{
    hw->faults[fault] = n;
}

void
nic_emu_hw_format_faults(const struct nic_emu_hw *hw, struct ds *ds)
{
    static const char *const names[] = {
        [NIC_EMU_FAULT_FAIL_ADD] = "fail-add",
        [NIC_EMU_FAULT_FULL] = "full",
        [NIC_EMU_FAULT_FAIL_DEL] = "fail-del",
        [NIC_EMU_FAULT_HOLD] = "hold",
    };
    bool any = false;

    for (int i = 0; i < NIC_EMU_N_FAULTS; i++) {
        if (hw->faults[i]) {
            ds_put_format(ds, "%s%s", any ? ", " : "", names[i]);
            if (i != NIC_EMU_FAULT_HOLD) {
                ds_put_format(ds, " %"PRIu32, hw->faults[i]);
            }
            any = true;
        }
    }
    if (!any) {
        ds_put_cstr(ds, "none");
    }
}

void
nic_emu_hw_dump(const struct nic_emu_hw *hw,
                void (*cb)(const char *kind, nic_handle,
                           const char *description,
                           const struct nic_counter *, void *aux),
                void *aux)
{
    static const char *const kinds[] = {
        [NIC_EMU_RULE] = "rule",
        [NIC_EMU_CONN] = "connection",
        [NIC_EMU_EGRESS] = "egress",
    };
    const struct nic_emu_object *object;
    struct ds ds = DS_EMPTY_INITIALIZER;

    LIST_FOR_EACH (object, list_node, &hw->objects.list) {
        struct nic_counter c[2];

        /* A connection shows the sum of its directions. */
        nic_emu_object_counters(object, c);
        c[0].packets += c[1].packets;
        c[0].bytes += c[1].bytes;
        c[0].used_ms = MAX(c[0].used_ms, c[1].used_ms);
        hide_hit_times(hw, c, 1);

        ds_clear(&ds);
        nic_emu_object_format(object, &ds);
        cb(kinds[object->kind], object->handle, ds_cstr(&ds), &c[0], aux);
    }
    ds_destroy(&ds);
}
