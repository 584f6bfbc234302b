/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>
#include "engine-private.h"

#include <limits.h>
#include <string.h>

#include "dpif.h"
#include "lib/mutant.h"
#include "openvswitch/vlog.h"
#include "util.h"

VLOG_DEFINE_THIS_MODULE(offload_engine);

/* How often dead megaflows are looked through. */
#define MIRROR_EXPIRE_MS 1000

enum megaflow_event_type {
    MEGAFLOW_PUT,
    MEGAFLOW_DEL,
    MEGAFLOW_FLUSH,
};

struct megaflow_event {
    struct mpsc_queue_node node;
    enum megaflow_event_type type;
    uint32_t dp;                    /* PUT, FLUSH. */
    ovs_u128 ufid;                  /* PUT, DEL. */
    const void *copy;               /* PUT, DEL. */
    odp_port_t in_port;             /* FLUSH. */
    struct megaflow_program program; /* PUT; owned until the mirror has it. */
    struct match match;             /* PUT; not allocated otherwise. */
};

static const struct engine_conn_ops default_conn_ops = {
    .arm = ct_conn_arm,
    .disarm = ct_conn_disarm,
    .judge = ct_conn_judge,
    .reannounce = ct_conn_reannounce,
    .expiration = ct_conn_expiration,
    .timeout = ct_conn_timeout,
    .extend = ct_conn_extend,
};

static const char *const mode_names[] = {
    [ENGINE_MODE_AUTO] = "auto",
    [ENGINE_MODE_MODULE] = "module",
    [ENGINE_MODE_FLAT] = "flat",
};

const char *
engine_mode_to_string(enum engine_mode mode)
{
    return mode_names[mode];
}

/* Stores in '*mode' the mode called 's' and returns true, or returns false if
 * there is none. */
bool
engine_mode_from_string(const char *s, enum engine_mode *mode)
{
    for (size_t i = 0; i < ARRAY_SIZE(mode_names); i++) {
        if (!strcmp(s, mode_names[i])) {
            *mode = i;
            return true;
        }
    }
    return false;
}

struct engine *
engine_create(const struct engine_conn_ops *conn_ops, long long int now_ms)
{
    struct engine *engine = xzalloc(sizeof *engine);

    ovs_mutex_init(&engine->mutex);
    mpsc_queue_init(&engine->ct_queue);
    mpsc_queue_init(&engine->mf_queue);
    atomic_init(&engine->asleep, false);
    engine->conn_ops = conn_ops ? conn_ops : &default_conn_ops;
    engine->config.max_conns = UINT_MAX;
    mf_mirror_init(&engine->mirror);
    ovs_list_init(&engine->nics);
    hmap_init(&engine->ports);
    hmap_init(&engine->paths);
    hmap_init(&engine->egress_ids);
    hmap_init(&engine->conns_by_id);
    hmap_init(&engine->conns_by_tuple);
    hmap_init(&engine->tuple_waits);
    ovs_list_init(&engine->failed_rules);
    ovs_list_init(&engine->news);
    ovs_list_init(&engine->dirty);
    ovs_list_init(&engine->retired);
    timer_wheel_init(&engine->wheel, now_ms);
    engine->now_ms = now_ms;
    return engine;
}

void
engine_lock(struct engine *engine)
    OVS_NO_THREAD_SAFETY_ANALYSIS
{
    ovs_mutex_lock(&engine->mutex);
}

void
engine_unlock(struct engine *engine)
    OVS_NO_THREAD_SAFETY_ANALYSIS
{
    ovs_mutex_unlock(&engine->mutex);
}

/* Queues. */

static void
wake(struct engine *engine)
{
    bool asleep;

    /* Pairs with the fence in engine_may_sleep(): either the engine sees what
     * was pushed, or we see that it sleeps. */
    atomic_thread_fence(memory_order_seq_cst);
    atomic_read_relaxed(&engine->asleep, &asleep);
    if (asleep) {
        atomic_store_relaxed(&engine->asleep, false);
        if (engine->wakeup) {
            engine->wakeup(engine->wakeup_aux);
        }
    }
}

void
engine_set_wakeup(struct engine *engine, void (*cb)(void *aux), void *aux)
{
    engine->wakeup = cb;
    engine->wakeup_aux = aux;
}

static void
push_mf_event(struct engine *engine, struct megaflow_event *event)
{
    mpsc_queue_insert(&engine->mf_queue, &event->node);
    wake(engine);
}

void
engine_push_megaflow(struct engine *engine, uint32_t dp, const ovs_u128 *ufid,
                     const void *copy, const struct match *match,
                     const struct nlattr *actions, size_t actions_len)
{
    struct megaflow_event *event = xmalloc(sizeof *event);

    event->type = MEGAFLOW_PUT;
    event->dp = dp;
    event->ufid = *ufid;
    event->copy = copy;
    event->match = *match;
    megaflow_program_parse(actions, actions_len, &event->program);
    push_mf_event(engine, event);
}

static struct megaflow_event *
short_mf_event(enum megaflow_event_type type, uint32_t dp)
{
    struct megaflow_event *event = xmalloc(offsetof(struct megaflow_event,
                                                    match));

    event->type = type;
    event->dp = dp;
    return event;
}

void
engine_push_megaflow_del(struct engine *engine, const ovs_u128 *ufid,
                         const void *copy)
{
    struct megaflow_event *event = short_mf_event(MEGAFLOW_DEL, 0);

    event->ufid = *ufid;
    event->copy = copy;
    push_mf_event(engine, event);
}

void
engine_push_flush(struct engine *engine, uint32_t dp, odp_port_t in_port)
{
    struct megaflow_event *event = short_mf_event(MEGAFLOW_FLUSH, dp);

    event->in_port = in_port;
    push_mf_event(engine, event);
}

void
engine_push_ct_event(struct engine *engine, struct ct_event *event)
{
    mpsc_queue_insert(&engine->ct_queue, &event->node);
    wake(engine);
}

static bool
queues_are_empty(const struct engine *engine_)
{
    struct engine *engine = CONST_CAST(struct engine *, engine_);
    bool empty;

    mpsc_queue_acquire(&engine->ct_queue);
    empty = !mpsc_queue_tail(&engine->ct_queue);
    mpsc_queue_release(&engine->ct_queue);

    mpsc_queue_acquire(&engine->mf_queue);
    empty = empty && !mpsc_queue_tail(&engine->mf_queue);
    mpsc_queue_release(&engine->mf_queue);
    return empty;
}

bool
engine_may_sleep(struct engine *engine)
{
    atomic_store_relaxed(&engine->asleep, true);
    atomic_thread_fence(memory_order_seq_cst);
    if (queues_are_empty(engine)) {
        return true;
    }
    atomic_store_relaxed(&engine->asleep, false);
    return false;
}

/* Configuration. */

void
engine_reconsider_unoffloaded(struct engine *engine)
{
    struct tracked_conn *tc;

    HMAP_FOR_EACH (tc, id_node, &engine->conns_by_id) {
        if (tc->reason[0] != REASON_NONE || tc->reason[1] != REASON_NONE) {
            memset(tc->blocked_ms, 0, sizeof tc->blocked_ms);
            tc->obj_blocked_ms = 0;
            tc->n_failed = 0;
            tracked_conn_mark_dirty(tc);
        }
    }
}

void
engine_set_config(struct engine *engine, const struct engine_config *config,
                  long long int now_ms)
{
    bool all = (engine->config.enabled != config->enabled
                || engine->config.mode != config->mode);
    struct offload_nic *onic;
    struct tracked_conn *tc;

    engine->now_ms = now_ms;
    engine->config = *config;
    LIST_FOR_EACH (onic, node, &engine->nics) {
        engine_set_mode(engine, onic);
        tracked_conns_withdraw_excess(engine, onic);
    }
    if (all) {
        HMAP_FOR_EACH (tc, id_node, &engine->conns_by_id) {
            tracked_conn_mark_dirty(tc);
        }
    }
    engine_reconsider_unoffloaded(engine);
}

const struct engine_config *
engine_get_config(const struct engine *engine)
{
    return &engine->config;
}

void
engine_flush(struct engine *engine, long long int now_ms)
{
    struct tracked_conn *tc;

    engine->now_ms = now_ms;
    HMAP_FOR_EACH (tc, id_node, &engine->conns_by_id) {
        tc->flushed = REASON_PENDING;
        tracked_conn_mark_dirty(tc);
    }
}

/* Inputs. */

static void
remove_megaflow(struct engine *engine, struct megaflow *flow)
{
    path_kill_all(engine, flow);
    egress_ids_unref(engine, flow->program);
    mf_mirror_remove(&engine->mirror, flow, engine->now_ms);
    mf_mirror_bury_idle(&engine->mirror, flow);
}

/* The copies of 'flow' have changed. */
static void
update_megaflow(struct engine *engine, struct megaflow *flow)
{
    const struct megaflow_program *next = megaflow_next_program(flow);

    if (next) {
        path_kill_all(engine, flow);
        egress_ids_ref(engine, next);
        egress_ids_unref(engine, flow->program);
        megaflow_update(flow);
        tracked_conn_wake_waiters(engine, flow);
    }
}

static void
put_megaflow(struct engine *engine, struct megaflow_event *event)
{
    struct megaflow *flow;
    bool added;

    flow = mf_mirror_put(&engine->mirror, event->dp, &event->ufid,
                         event->copy, &event->match, &event->program, &added);
    if (added) {
        egress_ids_ref(engine, flow->program);
        tracked_conn_wake_waiters(engine, flow);
    } else if (!MUTANT(modify_ignored)) {
        update_megaflow(engine, flow);
    }
}

static void
drop_megaflow_copy(struct engine *engine, const ovs_u128 *ufid,
                   const void *copy)
{
    struct megaflow *flow = mf_mirror_drop_copy(&engine->mirror, ufid, copy);

    if (flow && ovs_list_is_empty(&flow->copies)) {
        remove_megaflow(engine, flow);
    } else if (flow) {
        update_megaflow(engine, flow);
    }
}

static void
flush_megaflows(struct engine *engine, uint32_t dp, odp_port_t in_port)
{
    struct megaflow *flow;

    CMAP_FOR_EACH (flow, ufid_node, &engine->mirror.by_ufid) {
        if (flow->dp == dp && flow->slot->in_port == in_port) {
            remove_megaflow(engine, flow);
        }
    }
}

static void
handle_mf_event(struct engine *engine, struct megaflow_event *event)
{
    switch (event->type) {
    case MEGAFLOW_PUT:
        put_megaflow(engine, event);
        megaflow_program_destroy(&event->program);
        break;
    case MEGAFLOW_DEL:
        if (!MUTANT(delete_ignored)) {
            drop_megaflow_copy(engine, &event->ufid, event->copy);
        }
        break;
    case MEGAFLOW_FLUSH:
        flush_megaflows(engine, event->dp, event->in_port);
        break;
    default:
        OVS_NOT_REACHED();
    }
    free(event);
}

void
engine_drain(struct engine *engine)
{
    struct mpsc_queue_node *node;

    mpsc_queue_acquire(&engine->mf_queue);
    while ((node = mpsc_queue_pop(&engine->mf_queue)) != NULL) {
        handle_mf_event(engine, CONTAINER_OF(node, struct megaflow_event,
                                             node));
    }
    mpsc_queue_release(&engine->mf_queue);

    mpsc_queue_acquire(&engine->ct_queue);
    while ((node = mpsc_queue_pop(&engine->ct_queue)) != NULL) {
        tracked_conn_event(engine, CONTAINER_OF(node, struct ct_event, node));
    }
    mpsc_queue_release(&engine->ct_queue);
}

void
engine_recompute_dirty(struct engine *engine)
{
    for (int i = 0; i < ENGINE_MAX_DIRTY; i++) {
        struct tracked_conn *tc;

        if (ovs_list_is_empty(&engine->dirty)) {
            break;
        }
        tc = CONTAINER_OF(ovs_list_pop_front(&engine->dirty),
                          struct tracked_conn, dirty_node);
        ovs_list_init(&tc->dirty_node);
        engine->n_dirty--;
        tracked_conn_recompute(tc);
    }
}

static void
timer_fired(struct timer_node *timer, void *engine OVS_UNUSED)
{
    tracked_conn_timeout(CONTAINER_OF(timer, struct tracked_conn, timer));
}

long long int
engine_step(struct engine *engine, long long int now_ms)
{
    long long int wake_ms = LLONG_MAX;
    struct offload_nic *onic;

    engine->now_ms = now_ms;
    engine->n_steps++;

    engine_drain(engine);
    LIST_FOR_EACH (onic, node, &engine->nics) {
        offload_nic_poll(onic, now_ms);
        offload_nic_read_stats(onic, now_ms);
    }
    egress_ids_run(engine);
    timer_wheel_run(&engine->wheel, now_ms, timer_fired, engine);
    tracked_conns_tell_news(engine);
    engine_recompute_dirty(engine);
    LIST_FOR_EACH (onic, node, &engine->nics) {
        wake_ms = MIN(wake_ms, tracked_conns_fill_room(engine, onic));
    }
    wake_ms = MIN(wake_ms, module_rules_retry(engine));
    if (now_ms >= engine->expire_ms) {
        retired_paths_expire(engine);
        mf_mirror_expire(&engine->mirror, now_ms);
        engine->expire_ms = now_ms + MIRROR_EXPIRE_MS;
    }
    LIST_FOR_EACH (onic, node, &engine->nics) {
        offload_nic_submit(onic, now_ms);
    }

    if (!ovs_list_is_empty(&engine->dirty)
        || !ovs_list_is_empty(&engine->news)) {
        return now_ms;
    }
    LIST_FOR_EACH (onic, node, &engine->nics) {
        wake_ms = MIN(wake_ms, offload_nic_wake_ms(onic, now_ms));
    }
    wake_ms = MIN(wake_ms, timer_wheel_wake_ms(&engine->wheel));
    return MIN(wake_ms, now_ms + MIRROR_EXPIRE_MS);
}

bool
engine_is_settled(const struct engine *engine)
{
    const struct offload_nic *onic;

    LIST_FOR_EACH (onic, node, &engine->nics) {
        if (!offload_nic_is_settled(onic)) {
            return false;
        }
    }
    return (ovs_list_is_empty(&engine->dirty)
            && ovs_list_is_empty(&engine->news) && queues_are_empty(engine));
}

void
engine_destroy(struct engine *engine)
{
    struct tracked_conn *tc;
    struct path *path;

    if (!engine) {
        return;
    }
    ovs_assert(ovs_list_is_empty(&engine->nics));
    engine_drain(engine);
    HMAP_FOR_EACH_SAFE (path, node, &engine->paths) {
        path_kill(engine, path);
        path_release(engine, path);
    }
    HMAP_FOR_EACH_SAFE (tc, id_node, &engine->conns_by_id) {
        tracked_conn_free(tc);
    }
    mf_mirror_destroy(&engine->mirror);
    egress_ids_destroy(engine);
    timer_wheel_destroy(&engine->wheel);
    hmap_destroy(&engine->ports);
    hmap_destroy(&engine->paths);
    hmap_destroy(&engine->conns_by_id);
    hmap_destroy(&engine->conns_by_tuple);
    hmap_destroy(&engine->tuple_waits);
    mpsc_queue_destroy(&engine->ct_queue);
    mpsc_queue_destroy(&engine->mf_queue);
    ovs_mutex_destroy(&engine->mutex);
    free(engine);
}

/* Statistics. */

bool
engine_flow_stats(const struct engine *engine, uint32_t dp,
                  const ovs_u128 *ufid, unsigned int pmd_id, const void *copy,
                  bool fresh, long long int now_ms,
                  struct dpif_flow_stats *stats, bool *offloaded)
{
    struct megaflow *flow = mf_mirror_find(&engine->mirror, dp, ufid);
    unsigned int n_installed;

    if (!flow) {
        return false;
    }
    megaflow_claim(flow, pmd_id, copy, fresh, now_ms, stats);
    atomic_read_relaxed(&flow->n_installed, &n_installed);
    *offloaded = n_installed != 0;
    return true;
}

bool
engine_has_megaflow(const struct engine *engine, uint32_t dp,
                    const ovs_u128 *ufid)
{
    return mf_mirror_find(&engine->mirror, dp, ufid) != NULL;
}

unsigned int
engine_port_n_flows(const struct engine *engine, uint32_t dp,
                    odp_port_t odp_port)
{
    struct megaflow *flow;
    unsigned int n = 0;

    CMAP_FOR_EACH (flow, ufid_node, &engine->mirror.by_ufid) {
        unsigned int n_installed;

        atomic_read_relaxed(&flow->n_installed, &n_installed);
        if (n_installed && flow->dp == dp
            && flow->slot->in_port == odp_port) {
            n++;
        }
    }
    return n;
}
