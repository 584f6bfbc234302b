/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>
#include "offload.h"

#include <stdlib.h>

#include "commands.h"
#include "ct-conn.h"
#include "engine-thread.h"
#include "engine.h"
#include "lib/nic-emu.h"
#include "openvswitch/list.h"
#include "openvswitch/poll-loop.h"
#include "provider.h"
#include "seq.h"
#include "timeval.h"
#include "unixctl.h"
#include "util.h"

/* Somebody who waits in offload_sync(). */
struct sync_waiter {
    struct ovs_list node;
    struct unixctl_conn *conn;
    long long int deadline_ms;
};

static struct engine *engine;
static struct engine_thread *thread;
static struct ovs_list waiters = OVS_LIST_INITIALIZER(&waiters);
static uint64_t settled_seqno;

static void
push_ct_event(struct ct_event *event)
{
    engine_push_ct_event(engine, event);
}

void
offload_init(void)
{
    if (engine) {
        return;
    }
    engine = engine_create(NULL, time_msec());
    thread = engine_thread_create(engine);
    offload_config_init(engine, thread);
    provider_register(engine);
    ct_set_event_sink(push_ct_event);
    nic_emu_init();
    offload_commands_init();
}

void
offload_exit(void)
{
    struct sync_waiter *waiter;

    if (!engine) {
        return;
    }
    LIST_FOR_EACH_POP (waiter, node, &waiters) {
        unixctl_command_reply_error(waiter->conn, "exiting");
        free(waiter);
    }

    /* The sink stays: connections may still go away.  Nobody reads what it
     * pushes, but the process ends. */
    ct_set_announce(false);
    engine_thread_destroy(thread);
    thread = NULL;
    offload_config_exit();
}

static bool
is_settled(void)
{
    bool settled;

    if (!provider_queues_are_idle()) {
        return false;
    }
    engine_lock(engine);
    settled = engine_is_settled(engine);
    engine_unlock(engine);
    return settled;
}

void
offload_run(void)
{
    if (!engine) {
        return;
    }
    offload_config_run();

    if (!ovs_list_is_empty(&waiters)) {
        bool settled;

        settled_seqno = seq_read(engine_thread_settled_seq(thread));
        settled = is_settled();
        struct sync_waiter *waiter;

        LIST_FOR_EACH_SAFE (waiter, node, &waiters) {
            if (settled) {
                unixctl_command_reply(waiter->conn, NULL);
            } else if (time_msec() >= waiter->deadline_ms) {
                unixctl_command_reply_error(waiter->conn, "timed out: the "
                                            "NICs have not caught up");
            } else {
                continue;
            }
            ovs_list_remove(&waiter->node);
            free(waiter);
        }
    }
}

void
offload_wait(void)
{
    struct sync_waiter *waiter;

    if (!engine) {
        return;
    }
    offload_config_wait();
    LIST_FOR_EACH (waiter, node, &waiters) {
        poll_timer_wait_until(waiter->deadline_ms);
    }
    if (!ovs_list_is_empty(&waiters)) {
        seq_wait(engine_thread_settled_seq(thread), settled_seqno);

        /* OVS's offload threads tell nobody when they are done. */
        poll_timer_wait(5);
    }
}

struct engine *
offload_engine(void)
{
    return engine;
}

void
offload_wake(void)
{
    engine_thread_wake(thread);
}

void
offload_sync(struct unixctl_conn *conn, long long int timeout_ms)
{
    struct sync_waiter *waiter = xmalloc(sizeof *waiter);

    waiter->conn = conn;
    waiter->deadline_ms = time_msec() + timeout_ms;
    ovs_list_push_back(&waiters, &waiter->node);
    poll_immediate_wake();
}
