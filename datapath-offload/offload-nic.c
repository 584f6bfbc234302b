/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>
#include "offload-nic.h"

#include <errno.h>
#include <limits.h>

#include "coverage.h"
#include "lib/mutant.h"
#include "openvswitch/vlog.h"
#include "util.h"

VLOG_DEFINE_THIS_MODULE(offload_nic);

COVERAGE_DEFINE(offload_nic_add);
COVERAGE_DEFINE(offload_nic_del);
COVERAGE_DEFINE(offload_nic_fail);
COVERAGE_DEFINE(offload_nic_reset);

static struct vlog_rate_limit rl = VLOG_RATE_LIMIT_INIT(5, 20);

#define BATCH 64

/* How often a part of the counters is read. */
#define STATS_STEP_MS 50

struct offload_nic *
offload_nic_create(struct nic *nic, const struct offload_nic_ops *ops,
                   void *aux)
{
    struct offload_nic *onic = xzalloc(sizeof *onic);

    onic->nic = nic;
    nic->class->get_caps(nic, &onic->caps);
    onic->ops = ops;
    onic->aux = aux;
    onic->egress = egress_view_create(nic);
    ovs_list_init(&onic->adds);
    ovs_list_init(&onic->dels);
    ovs_list_init(&onic->present);
    ovs_list_init(&onic->pending);
    ovs_list_init(&onic->room_waiters);
    return onic;
}

void
offload_nic_destroy(struct offload_nic *onic)
{
    if (onic) {
        ovs_assert(offload_nic_is_settled(onic) && !onic->n_present);
        egress_view_destroy(onic->egress);
        free(onic);
    }
}

void
nic_obj_init(struct nic_obj *obj, enum nic_obj_kind kind)
{
    memset(obj, 0, sizeof *obj);
    ovs_list_init(&obj->todo_node);
    ovs_list_init(&obj->present_node);
    obj->kind = kind;
    obj->reason = REASON_PENDING;
}

static void
leave_list(struct ovs_list *node)
{
    if (!ovs_list_is_empty(node)) {
        ovs_list_remove(node);
        ovs_list_init(node);
    }
}

/* Puts 'obj' in the list of what is to be done to it. */
static void
reconcile(struct offload_nic *onic, struct nic_obj *obj, long long int now_ms)
{
    leave_list(&obj->todo_node);
    if (obj->state == NIC_OBJ_ABSENT && obj->wanted && !obj->refused
        && now_ms >= obj->retry_ms) {
        obj->reason = REASON_PENDING;
        ovs_list_push_back(&onic->adds, &obj->todo_node);
    } else if (obj->state == NIC_OBJ_PRESENT && !obj->wanted
               && now_ms >= obj->retry_ms) {
        ovs_list_push_back(&onic->dels, &obj->todo_node);
    }
}

void
nic_obj_set_wanted(struct offload_nic *onic, struct nic_obj *obj, bool wanted,
                   long long int now_ms)
{
    if (obj->wanted != wanted) {
        obj->wanted = wanted;
        if (!wanted) {
            obj->refused = false;
            if (obj->state != NIC_OBJ_PRESENT) {
                obj->n_failed = 0;
                obj->retry_ms = 0;
            }
        }
        reconcile(onic, obj, now_ms);
    }
}

void
nic_obj_retry(struct offload_nic *onic, struct nic_obj *obj,
              long long int now_ms)
{
    if (ovs_list_is_empty(&obj->todo_node)) {
        reconcile(onic, obj, now_ms);
    }
}

static void
set_state(struct offload_nic *onic, struct nic_obj *obj,
          enum nic_obj_state state)
{
    if (obj->state == NIC_OBJ_PRESENT) {
        leave_list(&obj->present_node);
        onic->n_present--;
    } else if (obj->state == NIC_OBJ_ADDING) {
        onic->n_adding--;
    }
    obj->state = state;
    if (state == NIC_OBJ_PRESENT) {
        ovs_list_push_back(&onic->present, &obj->present_node);
        onic->n_present++;
    } else if (state == NIC_OBJ_ADDING) {
        onic->n_adding++;
    } else if (state == NIC_OBJ_ABSENT) {
        obj->handle = 0;
        memset(obj->seen, 0, sizeof obj->seen);
    }
}

/* Accounts for what 'counter' has more than was seen of 'obj' before. */
static void
account(struct offload_nic *onic, struct nic_obj *obj, int dir,
        const struct nic_counter *counter, long long int now_ms)
{
    if (counter->packets > obj->seen[dir].packets
        || (MUTANT(stale_hits) && counter->packets)) {
        uint64_t packets = counter->packets - obj->seen[dir].packets;
        uint64_t bytes = counter->bytes - obj->seen[dir].bytes;

        obj->seen[dir].packets = counter->packets;
        obj->seen[dir].bytes = counter->bytes;
        onic->ops->account(obj, dir, packets, bytes,
                           counter->used_ms ? counter->used_ms : now_ms,
                           onic->aux);
    }
}

static void
set_retry(struct nic_obj *obj, long long int now_ms)
{
    long long int delay_ms = OFFLOAD_NIC_RETRY_MIN_MS;

    for (int i = 0; i < obj->n_failed && delay_ms < OFFLOAD_NIC_RETRY_MAX_MS;
         i++) {
        delay_ms *= 2;
    }
    if (obj->n_failed < UINT8_MAX) {
        obj->n_failed++;
    }
    obj->retry_ms = now_ms + delay_ms;
}

static enum offload_reason
errno_to_reason(int error)
{
    switch (error) {
    case ENOSPC:
        return REASON_NIC_FULL;
    case EOPNOTSUPP:
        return REASON_NIC_REFUSED;
    default:
        return REASON_NIC_ERROR;
    }
}

static void
complete_add(struct offload_nic *onic, struct nic_obj *obj,
             const struct nic_completion *c, long long int now_ms)
{
    if (!c->error) {
        obj->handle = c->handle;
        obj->n_failed = 0;
        obj->retry_ms = 0;
        obj->reason = REASON_NONE;
        obj->why = NULL;
        set_state(onic, obj, NIC_OBJ_PRESENT);
    } else {
        COVERAGE_INC(offload_nic_fail);
        obj->reason = errno_to_reason(c->error);
        obj->why = c->reason;
        obj->refused = c->error == EOPNOTSUPP;
        onic->n_failed++;
        onic->failed_by_reason[obj->reason]++;
        set_retry(obj, now_ms);
        set_state(onic, obj, NIC_OBJ_ABSENT);
        VLOG_DBG_RL(&rl, "%s: failed to %s: %s%s%s", onic->nic->name,
                    nic_op_type_to_string(c->type), ovs_strerror(c->error),
                    c->reason ? ": " : "", c->reason ? c->reason : "");
    }
}

static void
complete_del(struct offload_nic *onic, struct nic_obj *obj,
             const struct nic_completion *c, long long int now_ms)
{
    if (!c->error || c->error == ENOENT) {
        if (c->error) {
            onic->ops->lost(obj, onic->aux);
        } else if (!MUTANT(final_counts_lost)) {
            account(onic, obj, 0, &c->final[0], now_ms);
            account(onic, obj, 1, &c->final[1], now_ms);
        }
        obj->n_failed = 0;
        obj->retry_ms = 0;
        set_state(onic, obj, NIC_OBJ_ABSENT);
    } else {
        /* It may still hit, so it must go, and soon. */
        COVERAGE_INC(offload_nic_fail);
        onic->n_failed++;
        onic->failed_by_reason[errno_to_reason(c->error)]++;
        obj->retry_ms = 0;
        set_state(onic, obj, NIC_OBJ_PRESENT);
        VLOG_WARN_RL(&rl, "%s: failed to %s: %s%s%s; trying again",
                     onic->nic->name, nic_op_type_to_string(c->type),
                     ovs_strerror(c->error), c->reason ? ": " : "",
                     c->reason ? c->reason : "");
    }
}

static void
complete_op(struct offload_nic *onic, const struct nic_completion *c,
            long long int now_ms)
{
    struct nic_obj *obj = (struct nic_obj *) (uintptr_t) c->cookie;

    ovs_assert(onic->n_pending > 0);
    onic->n_pending--;
    onic->n_completed++;
    leave_list(&obj->present_node);
    if (obj->state == NIC_OBJ_ADDING) {
        complete_add(onic, obj, c, now_ms);
    } else {
        ovs_assert(obj->state == NIC_OBJ_DELETING);
        complete_del(onic, obj, c, now_ms);
    }
    reconcile(onic, obj, now_ms);
    onic->ops->changed(obj, onic->aux);
}

bool
offload_nic_poll(struct offload_nic *onic, long long int now_ms)
{
    struct nic_completion completions[BATCH];
    bool any = false;
    size_t n;

    do {
        n = onic->nic->class->poll(onic->nic, completions, BATCH, now_ms);
        for (size_t i = 0; i < n; i++) {
            if (completions[i].type == NIC_OP_RESET) {
                COVERAGE_INC(offload_nic_reset);
                VLOG_WARN("%s: the NIC was reset and lost %"PRIuSIZE" objects",
                          onic->nic->name, onic->n_present + onic->n_pending);
                onic->n_resets++;
                offload_nic_forget(onic, now_ms);
            } else if (completions[i].type == NIC_OP_EGRESS_ADD
                       || completions[i].type == NIC_OP_EGRESS_DEL) {
                egress_view_complete(onic->egress, &completions[i], now_ms);
            } else {
                complete_op(onic, &completions[i], now_ms);
            }
            any = true;
        }
    } while (n == BATCH);
    return any;
}

void
offload_nic_submit(struct offload_nic *onic, long long int now_ms)
{
    struct nic_op ops[BATCH];

    for (;;) {
        size_t n = 0;

        while (n < BATCH) {
            bool add = ovs_list_is_empty(&onic->dels);
            struct ovs_list *list = add ? &onic->adds : &onic->dels;
            struct nic_op *op = &ops[n];
            struct nic_obj *obj;

            if (ovs_list_is_empty(list)
                || (add && onic->n_adding >= OFFLOAD_NIC_MAX_PENDING)) {
                break;
            }
            obj = CONTAINER_OF(ovs_list_pop_front(list), struct nic_obj,
                               todo_node);
            ovs_list_init(&obj->todo_node);

            memset(op, 0, sizeof *op);
            op->cookie = (uintptr_t) obj;
            op->handle = obj->handle;
            if (add) {
                COVERAGE_INC(offload_nic_add);
                op->type = (obj->kind == NIC_OBJ_CONN
                            ? NIC_OP_CONN_ADD : NIC_OP_RULE_ADD);
                onic->ops->fill_op(obj, op, onic->aux);
                set_state(onic, obj, NIC_OBJ_ADDING);
            } else {
                COVERAGE_INC(offload_nic_del);
                op->type = (obj->kind == NIC_OBJ_CONN
                            ? NIC_OP_CONN_DEL : NIC_OP_RULE_DEL);
                set_state(onic, obj, NIC_OBJ_DELETING);
            }
            ovs_list_push_back(&onic->pending, &obj->present_node);
            onic->n_pending++;
            n++;
        }
        if (!n) {
            break;
        }
        onic->nic->class->submit(onic->nic, ops, n, now_ms);
        onic->n_submitted += n;
    }
}

void
offload_nic_forget(struct offload_nic *onic, long long int now_ms)
{
    struct ovs_list lost = OVS_LIST_INITIALIZER(&lost);

    onic->n_pending = 0;
    egress_view_forget(onic->egress);

    ovs_list_push_back_all(&lost, &onic->present);
    ovs_list_push_back_all(&lost, &onic->pending);
    while (!ovs_list_is_empty(&lost)) {
        struct nic_obj *obj = CONTAINER_OF(ovs_list_pop_front(&lost),
                                           struct nic_obj, present_node);

        ovs_list_init(&obj->present_node);
        onic->ops->lost(obj, onic->aux);
        set_state(onic, obj, NIC_OBJ_ABSENT);
        obj->n_failed = 0;
        obj->retry_ms = 0;
        reconcile(onic, obj, now_ms);
        onic->ops->changed(obj, onic->aux);
    }
}

/* Reads the counters of 'n' objects of the same kind. */
static void
read_stats(struct offload_nic *onic, struct nic_obj *objs[], size_t n,
           long long int now_ms)
{
    const struct nic_class *class = onic->nic->class;
    nic_handle handles[BATCH] = { 0 };

    for (size_t i = 0; i < n; i++) {
        handles[i] = objs[i]->handle;
    }
    if (objs[0]->kind == NIC_OBJ_CONN) {
        struct nic_counter counters[BATCH][2];

        class->conn_counters(onic->nic, handles, n, counters, now_ms);
        for (size_t i = 0; i < n; i++) {
            account(onic, objs[i], 0, &counters[i][0], now_ms);
            account(onic, objs[i], 1, &counters[i][1], now_ms);
        }
    } else {
        struct nic_counter counters[BATCH];

        class->rule_counters(onic->nic, handles, n, counters, now_ms);
        for (size_t i = 0; i < n; i++) {
            account(onic, objs[i], 0, &counters[i], now_ms);
        }
    }
}

void
nic_obj_read_stats(struct offload_nic *onic, struct nic_obj *obj,
                   long long int now_ms)
{
    if (obj->state == NIC_OBJ_PRESENT) {
        read_stats(onic, &obj, 1, now_ms);
    }
}

void
offload_nic_read_stats(struct offload_nic *onic, long long int now_ms)
{
    long long int elapsed_ms = now_ms - onic->stats_ms;
    struct nic_obj *objs[BATCH];
    size_t left;
    size_t n = 0;

    if (!onic->n_present) {
        onic->stats_ms = now_ms;
        onic->stats_due = 0;
        return;
    }
    if (elapsed_ms < STATS_STEP_MS) {
        return;
    }
    onic->stats_ms = now_ms;
    onic->stats_due += ((double) onic->n_present * elapsed_ms
                        / offload_nic_stats_period(onic));
    left = MIN(onic->stats_due, onic->n_present);
    onic->stats_due = MIN(onic->stats_due - left, 1);

    while (left--) {
        struct nic_obj *obj = CONTAINER_OF(ovs_list_pop_front(&onic->present),
                                           struct nic_obj, present_node);

        ovs_list_push_back(&onic->present, &obj->present_node);
        if (n == BATCH
            || (n && ((objs[0]->kind == NIC_OBJ_CONN)
                      != (obj->kind == NIC_OBJ_CONN)))) {
            read_stats(onic, objs, n, now_ms);
            n = 0;
        }
        objs[n++] = obj;
    }
    if (n) {
        read_stats(onic, objs, n, now_ms);
    }
}

long long int
offload_nic_stats_period(const struct offload_nic *onic)
{
    return MAX(OFFLOAD_NIC_STATS_MS,
               onic->n_present * 1000LL / OFFLOAD_NIC_STATS_RATE);
}

long long int
offload_nic_stats_lag(const struct offload_nic *onic)
{
    return offload_nic_stats_period(onic) + onic->caps.stale_ms;
}

long long int
offload_nic_wake_ms(const struct offload_nic *onic, long long int now_ms)
{
    long long int wake_ms = onic->nic->class->wake_ms(onic->nic, now_ms);

    wake_ms = MIN(wake_ms, MAX(egress_view_wake_ms(onic->egress), now_ms));
    if (!ovs_list_is_empty(&onic->dels)
        || (!ovs_list_is_empty(&onic->adds)
            && onic->n_adding < OFFLOAD_NIC_MAX_PENDING)) {
        return now_ms;
    }
    if (onic->n_present) {
        /* The next object's counters, but not more often than it pays. */
        long long int period_ms = offload_nic_stats_period(onic);
        long long int step_ms = MAX(period_ms / (long long) onic->n_present,
                                    STATS_STEP_MS);

        wake_ms = MIN(wake_ms, onic->stats_ms + step_ms);
    }
    return wake_ms;
}

bool
offload_nic_is_settled(const struct offload_nic *onic)
{
    return (!onic->n_pending && ovs_list_is_empty(&onic->adds)
            && ovs_list_is_empty(&onic->dels)
            && egress_view_is_settled(onic->egress));
}
