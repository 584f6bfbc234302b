/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>
#include "engine-thread.h"

#include <stdlib.h>

#include "engine.h"
#include "latch.h"
#include "lib/egress.h"
#include "lib/nic.h"
#include "openvswitch/poll-loop.h"
#include "ovs-atomic.h"
#include "ovs-rcu.h"
#include "ovs-thread.h"
#include "seq.h"
#include "timeval.h"
#include "util.h"

struct engine_thread {
    struct engine *engine;
    pthread_t thread;
    struct latch wakeup;
    struct seq *settled;            /* Changes when the engine settles. */
    atomic_bool exit;
};

static void
wakeup_cb(void *thread_)
{
    struct engine_thread *thread = thread_;

    latch_set(&thread->wakeup);
}

static void *
engine_thread_main(void *thread_)
{
    struct engine_thread *thread = thread_;
    struct engine *engine = thread->engine;
    bool was_settled = false;

    for (;;) {
        long long int now_ms = time_msec();
        uint64_t egress_seqno, nic_seqno;
        long long int wake_ms;
        bool settled, exit;

        atomic_read_relaxed(&thread->exit, &exit);
        if (exit) {
            break;
        }

        latch_poll(&thread->wakeup);
        egress_seqno = seq_read(egress_seq());
        nic_seqno = seq_read(nic_seq());
        engine_lock(engine);
        wake_ms = engine_step(engine, now_ms);
        settled = engine_is_settled(engine);
        engine_unlock(engine);
        if (settled != was_settled) {
            was_settled = settled;
            seq_change(thread->settled);
        }

        if (wake_ms > now_ms && engine_may_sleep(engine)) {
            latch_wait(&thread->wakeup);
            seq_wait(egress_seq(), egress_seqno);
            seq_wait(nic_seq(), nic_seqno);
            poll_timer_wait_until(wake_ms);
            poll_block();
        } else {
            ovsrcu_quiesce();
        }
    }
    return NULL;
}

struct engine_thread *
engine_thread_create(struct engine *engine)
{
    struct engine_thread *thread = xmalloc(sizeof *thread);

    thread->engine = engine;
    latch_init(&thread->wakeup);
    thread->settled = seq_create();
    atomic_init(&thread->exit, false);
    engine_set_wakeup(engine, wakeup_cb, thread);
    thread->thread = ovs_thread_create("ct_offload", engine_thread_main,
                                       thread);
    return thread;
}

void
engine_thread_destroy(struct engine_thread *thread)
{
    if (thread) {
        atomic_store_relaxed(&thread->exit, true);
        latch_set(&thread->wakeup);
        xpthread_join(thread->thread, NULL);
        engine_set_wakeup(thread->engine, NULL, NULL);
        seq_destroy(thread->settled);
        latch_destroy(&thread->wakeup);
        free(thread);
    }
}

void
engine_thread_wake(struct engine_thread *thread)
{
    latch_set(&thread->wakeup);
}

struct seq *
engine_thread_settled_seq(struct engine_thread *thread)
{
    return thread->settled;
}
