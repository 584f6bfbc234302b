/* SPDX-License-Identifier: Apache-2.0 */

#ifndef OFFLOAD_NIC_H
#define OFFLOAD_NIC_H 1

/* A NIC and what should be in it
 * ==============================
 *
 * The engine never tells a NIC what to do.  It says of each object whether it
 * is *wanted*; this module compares that with what is installed, and submits
 * the difference in batches:
 *
 *              wanted                        completion
 *     ABSENT ---------> ADDING ------------------------------> PRESENT
 *       ^                  | error: retried after a back-off,     |
 *       |<-----------------+ unless the NIC says never            | not wanted
 *       |                                                         v
 *       +<---------------------------------------------------- DELETING
 *                     completion with final counts
 *
 * If what is wanted changes while an operation is under way, its completion is
 * waited for.  Removals are submitted before additions and are never refused,
 * and those under way may wait for their last counts for long; additions wait
 * while OFFLOAD_NIC_MAX_PENDING additions are under way.
 *
 * Counters are read in the background: every object once in each
 * offload_nic_stats_period(), a part of them at each run.
 *
 * Thread-safety: none.  See engine.h.
 */

#include <stdbool.h>
#include <stdint.h>
#include "egress-view.h"
#include "lib/nic.h"
#include "openvswitch/list.h"
#include "reason.h"

#define OFFLOAD_NIC_MAX_PENDING 4096

/* Objects' counters are read at least this often, if the NIC can. */
#define OFFLOAD_NIC_STATS_MS 1000

/* Counters that are read per second at the most. */
#define OFFLOAD_NIC_STATS_RATE 1000000

/* First and longest time until a failed addition is tried again. */
#define OFFLOAD_NIC_RETRY_MIN_MS 500
#define OFFLOAD_NIC_RETRY_MAX_MS 32000

struct offload_nic;

enum nic_obj_kind {
    NIC_OBJ_FLAT_RULE,              /* In struct flat_rule (tracked-conn.h). */
    NIC_OBJ_MODULE_RULE,            /* In struct module_rule. */
    NIC_OBJ_CONN,                   /* In struct tracked_conn. */
};

enum OVS_PACKED_ENUM nic_obj_state {
    NIC_OBJ_ABSENT,
    NIC_OBJ_ADDING,
    NIC_OBJ_PRESENT,
    NIC_OBJ_DELETING,
};

/* One object in a NIC, or that might be.  Embedded in whatever it is for. */
struct nic_obj {
    struct ovs_list todo_node;      /* In 'adds' or 'dels', or empty. */
    struct ovs_list present_node;   /* In 'present' or 'pending', or empty. */
    enum nic_obj_kind kind;
    enum nic_obj_state state;
    bool wanted;
    bool refused;                   /* The NIC will never take it. */
    uint8_t n_failed;               /* In a row. */
    enum offload_reason reason;     /* Why it is ABSENT although wanted. */
    const char *why;                /* The NIC's own words, or null. */
    nic_handle handle;
    long long int retry_ms;         /* Not added again before this time. */
    struct { uint64_t packets, bytes; } seen[2]; /* Accounted for. */
};

/* What the owner of the objects does. */
struct offload_nic_ops {
    /* Fills in 'op' (not its type, cookie or handle) to add 'obj'. */
    void (*fill_op)(const struct nic_obj *obj, struct nic_op *op, void *aux);

    /* The NIC carried 'packets' and 'bytes' more through 'obj', in the
     * connection's direction 'dir', the last of them at about 'used_ms'. */
    void (*account)(struct nic_obj *obj, int dir, uint64_t packets,
                    uint64_t bytes, long long int used_ms, void *aux);

    /* The NIC lost 'obj', with counts that were not read.  Comes before
     * changed(). */
    void (*lost)(struct nic_obj *obj, void *aux);

    /* 'obj' has become PRESENT, ABSENT, or could not be added. */
    void (*changed)(struct nic_obj *obj, void *aux);
};

struct offload_nic {
    struct ovs_list node;           /* In the engine's 'nics'. */
    struct nic *nic;
    struct nic_caps caps;
    bool module;                    /* Mode in use: module or flat. */
    bool leaving;                   /* The engine's: it is being removed. */
    const struct offload_nic_ops *ops;
    void *aux;

    struct egress_view *egress;     /* Where lb_output() leads. */
    struct ovs_list adds;           /* Objects to add. */
    struct ovs_list dels;           /* Objects to delete. */
    struct ovs_list present;        /* Objects that are PRESENT; the one whose
                                     * counters were read last is the last. */
    struct ovs_list pending;        /* Objects that are ADDING or DELETING. */
    size_t n_present;
    size_t n_pending;
    size_t n_adding;                /* Of these, those that are ADDING. */
    size_t n_conns;                 /* The engine's: connections that occupy a
                                     * place here, */
    struct ovs_list room_waiters;   /* those for which there was none, */
    long long int fill_ms;          /* and when they were told last. */
    long long int stats_ms;         /* Counters were read last. */
    double stats_due;               /* Counters that are due, fraction. */

    /* Numbers for people. */
    uint64_t n_submitted, n_completed, n_failed, n_resets;
    uint64_t failed_by_reason[N_REASONS];
};

/* Starts to look after 'nic', which must outlive the result. */
struct offload_nic *offload_nic_create(struct nic *nic,
                                       const struct offload_nic_ops *,
                                       void *aux);

/* No object may be other than ABSENT. */
void offload_nic_destroy(struct offload_nic *);

void nic_obj_init(struct nic_obj *, enum nic_obj_kind);

/* Says whether 'obj' should be in 'onic'. */
void nic_obj_set_wanted(struct offload_nic *onic, struct nic_obj *obj,
                        bool wanted, long long int now_ms);

/* Returns true if nothing of 'obj' is in the NIC or under way. */
static inline bool
nic_obj_is_gone(const struct nic_obj *obj)
{
    return obj->state == NIC_OBJ_ABSENT;
}

/* Tries a failed object again, if its time has come. */
void nic_obj_retry(struct offload_nic *, struct nic_obj *,
                   long long int now_ms);

/* Everything in the NIC is lost, or given up: adds again what is wanted. */
void offload_nic_forget(struct offload_nic *, long long int now_ms);

/* Handles completions.  Returns true if there were any. */
bool offload_nic_poll(struct offload_nic *, long long int now_ms);

/* Submits what is to be done. */
void offload_nic_submit(struct offload_nic *, long long int now_ms);

/* Reads counters that are due. */
void offload_nic_read_stats(struct offload_nic *, long long int now_ms);

/* Reads the counters of 'obj' now, as the NIC published them. */
void nic_obj_read_stats(struct offload_nic *, struct nic_obj *,
                        long long int now_ms);

/* Returns the time in which each counter is read once, in milliseconds. */
long long int offload_nic_stats_period(const struct offload_nic *);

/* Returns how old what is known of a counter may be, in ms: that
 * time and the NIC's own. */
long long int offload_nic_stats_lag(const struct offload_nic *);

/* Returns when one of the functions above should be called next. */
long long int offload_nic_wake_ms(const struct offload_nic *,
                                  long long int now_ms);

/* Returns true if nothing is under way or to be done. */
bool offload_nic_is_settled(const struct offload_nic *);

#endif /* offload-nic.h */
