/* SPDX-License-Identifier: Apache-2.0 */

#ifndef PATH_H
#define PATH_H 1

/* Paths: which megaflows the packets of a connection take
 * =======================================================
 *
 * A *path* is a chain of megaflows from the one that a packet hits as it is
 * received, through ct() and recirculation, to output or drop.  All
 * connections that take the same chain share one path and whatever is compiled
 * from it.
 *
 * Composition is header-space arithmetic: what is known of the packets of one
 * direction of a connection (its tuple, port and addresses) is intersected
 * with what each megaflow on the way matches.  Nothing is traced in the
 * datapath.
 *
 * What the rule must match
 * ------------------------
 *
 * Every bit that any megaflow on the path matched and that is not decided by
 * the pipeline itself (port, recirculation, state of the connection) is
 * matched by the rule: the union of all masks.  On top of it come the complete
 * tuple, "not a fragment", and, for TCP, flags with ACK and without SYN, FIN
 * and RST.
 *
 * Thread-safety: none.
 */

#include "ct-conn.h"
#include "lib/nic-rule.h"
#include "megaflow-mirror.h"
#include "reason.h"

/* Recirculations that a path may have. */
#define PATH_MAX_STAGES 16

/* Different paths that packets of one direction may take. */
#define PATH_MAX_CHAINS 4

/* TCP flags that every packet of an offloaded connection is known to have or
 * not to have. */
#define PATH_TCP_FLAGS_MASK (TCP_FIN | TCP_SYN | TCP_RST | TCP_ACK)
#define PATH_TCP_FLAGS TCP_ACK

/* One direction of a connection, to compose paths for. */
struct path_subject {
    uint32_t dp;
    ovs_be16 dl_type;
    uint8_t nw_proto;
    uint16_t zone;
    bool reply;
    const struct nic_tuple *tuple;
    const struct ct_ingress *ingress;
};

/* A chain of megaflows. */
struct path_chain {
    struct megaflow *flows[PATH_MAX_STAGES];
    size_t n;
};

/* Result of composition. */
struct path_set {
    struct path_chain chains[PATH_MAX_CHAINS];
    size_t n_chains;

    /* Slots in which a new megaflow would change the result. */
    struct mf_slot *waits[PATH_MAX_STAGES];
    size_t n_waits;

    /* All slots that were looked at: a change of what is in them may lift a
     * refusal. */
    struct mf_slot *visited[PATH_MAX_STAGES];
    size_t n_visited;

    /* Why there is no chain, or not more of them.  'culprit' is the megaflow
     * that is refused, if it is one. */
    enum offload_reason reason;
    const struct megaflow *culprit;
};

/* Stores in 'probe' what is known of packets of 'subject' as they are
 * received. */
void path_probe_init(struct flow_probe *probe,
                     const struct path_subject *subject);

/* Finds the chains that packets of 'subject' may take. */
void path_compose(struct mf_mirror *, const struct path_subject *subject,
                  struct path_set *set);

/* Resolves datapath port 'port' to the port of a NIC.  Returns 0 if it is not
 * one, or of another NIC. */
typedef nic_port_id path_port_cb(odp_port_t port, void *aux);

/* Compiles 'chain' for a NIC without CT module: the template of a rule for one
 * direction of a connection of 'dl_type' and 'nw_proto'.  Returns null and
 * sets '*reason' and '*culprit' if that is not possible. */
struct nic_template *path_compile_flat(const struct path_chain *chain,
                                       ovs_be16 dl_type, uint8_t nw_proto,
                                       path_port_cb *, void *aux,
                                       enum offload_reason *reason,
                                       const struct megaflow **culprit);

/* Compiles 'flow' for a NIC with a CT module: the template of its rule.
 * Returns null and sets '*reason' if that is not possible. */
struct nic_template *path_compile_module(const struct megaflow *flow,
                                         path_port_cb *, void *aux,
                                         enum offload_reason *reason);

#endif /* path.h */
