/* SPDX-License-Identifier: Apache-2.0 */

#ifndef ENGINE_H
#define ENGINE_H 1

/* The offload engine
 * ==================
 *
 * Keeps in each NIC the rules that follow from megaflows, connections and
 * ports.  It never scripts "on event X, program Y": an event marks what
 * depends on it dirty; a step recomputes what is wanted for each dirty
 * connection and leaves it to offload-nic.h to submit the difference.
 *
 * The engine is a step function: inputs, the time and the NICs go in, NIC
 * operations come out.  engine-thread.h runs it in a thread; tests run it with
 * a simulated clock.
 *
 * Life of a connection here
 * -------------------------
 *
 *     READY --> eligible? paths? --no--> software, with a reason; looked at
 *                     |                  again when what it depends on changes
 *                     v yes
 *                   armed --> rules wanted --> in the NIC, watched
 *                                                   |
 *         FIN, RST, expiry, idle, removal, change of a megaflow, setting...
 *                                                   v
 *                                   nothing wanted --> all removals completed
 *                                                   |
 *                                                   v
 *                                         disarmed, judged (ct-conn.h)
 *
 * Thread-safety
 * -------------
 *
 * engine_push_*() may be called by any thread and never block.  Everything
 * else requires the engine's mutex, which guards all its state.  engine_step()
 * in addition must run in an RCU-registered thread that was quiescent before
 * it (see ct-conn.h).  engine_flow_stats() and engine_port_n_flows() need
 * neither: any RCU-registered thread may call them.
 */

#include <stdbool.h>
#include <stdint.h>
#include "ct-conn.h"
#include "lib/nic.h"
#include "mpsc-queue.h"
#include "openvswitch/thread.h"
#include "reason.h"

struct dpif_flow_stats;
struct engine;
struct match;
struct nlattr;
struct offload_nic;

/* What the engine does to connections: the functions of ct-conn.h, or a
 * simulation's. */
struct engine_conn_ops {
    bool (*arm)(struct conn *, struct conntrack *);
    enum ct_close (*disarm)(struct conn *, struct conntrack *,
                            const struct nic_counter carried[2],
                            long long int now_ms);
    enum ct_close (*judge)(struct conn *, struct conntrack *,
                           long long int now_ms);
    void (*reannounce)(struct conn *);
    long long int (*expiration)(const struct conn *);
    long long int (*timeout)(const struct conn *, struct conntrack *);
    long long int (*extend)(struct conn *, struct conntrack *,
                            long long int used_ms, long long int now_ms);
};

enum engine_mode {
    ENGINE_MODE_AUTO,               /* Module where the NIC has one. */
    ENGINE_MODE_MODULE,
    ENGINE_MODE_FLAT
};

const char *engine_mode_to_string(enum engine_mode);
bool engine_mode_from_string(const char *, enum engine_mode *);

struct engine_config {
    bool enabled;
    enum engine_mode mode;
    unsigned int max_conns;         /* Per NIC; UINT_MAX for the NIC's own. */
};

/* Creates an engine.  'conn_ops' null means those of ct-conn.h. */
struct engine *engine_create(const struct engine_conn_ops *conn_ops,
                             long long int now_ms);

/* Destroys 'engine'.  All NICs must have been removed; nobody pushes any
 * more. */
void engine_destroy(struct engine *);

void engine_lock(struct engine *engine);
void engine_unlock(struct engine *engine);

/* Inputs from any thread. */

/* Copy 'copy' of a megaflow of datapath 'dp' was installed or changed, or is
 * told again.  Each PMD thread has copies of its own, see megaflow-mirror.h;
 * 'copy' only identifies it, until engine_push_megaflow_del().  Copies its
 * arguments. */
void engine_push_megaflow(struct engine *, uint32_t dp, const ovs_u128 *ufid,
                          const void *copy, const struct match *,
                          const struct nlattr *actions, size_t actions_len);

/* A copy of a megaflow was removed.  It need not be known. */
void engine_push_megaflow_del(struct engine *, const ovs_u128 *ufid,
                              const void *copy);

/* All megaflows that start at 'in_port' are being removed. */
void engine_push_flush(struct engine *, uint32_t dp, odp_port_t in_port);

/* Something happened to a connection.  Takes over 'event'. */
void engine_push_ct_event(struct engine *, struct ct_event *event);

/* Sets the function that is called, by the pushing thread, when something was
 * pushed while the engine sleeps, that is, since engine_may_sleep() returned
 * true. */
void engine_set_wakeup(struct engine *, void (*cb)(void *aux), void *aux);

/* Statistics for OVS, from memory. */

/* Stores in '*stats' what NICs carried for one copy of a megaflow, see
 * megaflow_claim(), and in '*offloaded' whether a NIC carries it now.
 * Returns false if the megaflow is not known. */
bool engine_flow_stats(const struct engine *, uint32_t dp,
                       const ovs_u128 *ufid, unsigned int pmd_id,
                       const void *copy, bool fresh, long long int now_ms,
                       struct dpif_flow_stats *stats, bool *offloaded);

/* Returns true if the megaflow is known. */
bool engine_has_megaflow(const struct engine *, uint32_t dp,
                         const ovs_u128 *ufid);

/* The rest requires the engine's mutex. */

/* Changes the configuration. */
void engine_set_config(struct engine *, const struct engine_config *,
                       long long int now_ms);
const struct engine_config *engine_get_config(const struct engine *);

/* Adds a NIC.  It must outlive engine_nic_is_gone(). */
void engine_add_nic(struct engine *, struct nic *, long long int now_ms);

/* Begins to remove everything from a NIC, which has no ports any more.
 * engine_finish_remove_nic() returns true when it is done; until then, go on
 * stepping and ask again.  With 'force', what did not complete is given up. */
void engine_begin_remove_nic(struct engine *, struct nic *,
                             long long int now_ms);
bool engine_finish_remove_nic(struct engine *, struct nic *, bool force,
                              long long int now_ms);

/* The capabilities of a NIC may have changed. */
void engine_nic_changed(struct engine *, struct nic *, long long int now_ms);

/* Datapath port 'odp_port' of 'dp' is port 'id' of 'nic'.  'ct_offload' false
 * keeps connections that use the port in software.  Replaces what was said
 * about the port before. */
void engine_set_port(struct engine *, uint32_t dp, odp_port_t odp_port,
                     const char *name, struct nic *nic, nic_port_id id,
                     bool ct_offload, long long int now_ms);

/* The port is not any NIC's any more. */
void engine_clear_port(struct engine *, uint32_t dp, odp_port_t odp_port,
                       long long int now_ms);

/* Returns the number of megaflows of a port that a NIC carries. */
unsigned int engine_port_n_flows(const struct engine *, uint32_t dp,
                                 odp_port_t odp_port);

/* Takes everything back from the NICs, once.  It is handed over again as far
 * as it still should be. */
void engine_flush(struct engine *, long long int now_ms);

/* Does what there is to do at 'now_ms'.  Returns the time at which it should
 * be called next, at the latest; 'now_ms' if there is more to do. */
long long int engine_step(struct engine *, long long int now_ms);

/* Returns true if nothing is queued, dirty or under way in any NIC. */
bool engine_is_settled(const struct engine *);

/* Called when the thread is about to sleep.  Returns true if it may: from then
 * on, pushing calls the wakeup function.  To be called without the mutex. */
bool engine_may_sleep(struct engine *);

#endif /* engine.h */
