/* SPDX-License-Identifier: Apache-2.0 */

#ifndef ENGINE_PRIVATE_H
#define ENGINE_PRIVATE_H 1

/* Inside the engine
 * =================
 *
 *   engine.c          inputs, configuration, NICs and ports, the step
 *   tracked-conn.c    life of a connection: decide, arm, watch, disarm
 *   path-cache.c      paths that connections share, rules of module mode
 *
 * Everything here is guarded by the engine's mutex, except the queues.
 */

#include "dp-registry.h"
#include "engine.h"
#include "megaflow-mirror.h"
#include "offload-nic.h"
#include "openvswitch/hmap.h"
#include "openvswitch/list.h"
#include "ovs-atomic.h"
#include "path.h"
#include "timer-wheel.h"

/* Connections that are looked at in one step, at most. */
#define ENGINE_MAX_DIRTY 1024

/* The engine looks at an idle connection this long before it expires, or at
 * half its timeout if that is shorter, so that rules are gone in time. */
#define ENGINE_EXPIRY_MARGIN_MS 3000

/* A datapath port that belongs to a NIC. */
struct offload_port {
    struct hmap_node node;          /* In 'ports', by (dp, odp_port). */
    uint32_t dp;
    odp_port_t odp_port;
    char *name;
    struct offload_nic *onic;
    nic_port_id id;
    bool ct_offload;
};

struct engine {
    struct ovs_mutex mutex;

    /* Inputs.  'asleep' is true while pushing must call 'wakeup'. */
    struct mpsc_queue ct_queue;     /* Of struct ct_event. */
    struct mpsc_queue mf_queue;     /* Of struct megaflow_event. */
    atomic_bool asleep;
    void (*wakeup)(void *aux);
    void *wakeup_aux;

    const struct engine_conn_ops *conn_ops;
    struct engine_config config;
    struct mf_mirror mirror;
    struct ovs_list nics;           /* Of struct offload_nic. */
    struct hmap ports;              /* Of struct offload_port. */
    struct hmap paths;              /* Of live struct path. */
    struct hmap conns_by_id;        /* Of struct tracked_conn. */
    struct hmap conns_by_tuple;     /* Of struct tracked_conn. */
    struct ovs_list failed_rules;   /* Of struct module_rule. */
    struct ovs_list dirty;          /* Of struct tracked_conn. */
    size_t n_dirty;
    struct ovs_list retired;        /* Of struct retired_path, oldest first. */
    struct timer_wheel wheel;
    long long int now_ms;           /* Of the current step or call. */
    long long int expire_ms;        /* mf_mirror_expire() is due. */

    /* Numbers for people. */
    uint64_t n_ready, n_armed, n_disarmed, n_rejected_closes;
    uint64_t n_steps;
};

/* Paths (path-cache.c). */

struct path_stage {
    struct ovs_list node;           /* In 'flow->stages' while path is live. */
    struct path *path;
    struct megaflow *flow;
};

struct path {
    struct hmap_node node;          /* In engine's 'paths', if 'live'. */
    bool live;                      /* False: some megaflow on it changed. */
    struct offload_nic *onic;
    bool module;
    ovs_be16 dl_type;
    uint8_t nw_proto;
    struct nic_template *template;  /* Flat mode, else null. */
    struct ovs_list uses;           /* Of struct conn_path. */
    unsigned int n_retired;         /* Of struct retired_path. */
    size_t n_stages;
    struct path_stage stages[];
};

/* In module mode, the rule of one megaflow, shared by all paths through it. */
struct module_rule {
    struct nic_obj obj;
    struct megaflow *flow;       /* 'flow->rule' points back. */
    struct offload_nic *onic;
    struct nic_template *template;
    unsigned int n_users;           /* Live paths. */
    bool outdated;                  /* Installed with another template. */
    bool counted;                   /* In 'flow->n_installed'. */
    struct engine *engine;
    struct ovs_list failed_node;    /* In engine's 'failed_rules', or empty. */
};

/* Returns the path for 'chain', created if necessary, or null with '*reason'
 * and '*culprit'. */
struct path *path_get(struct engine *, struct offload_nic *,
                      const struct path_chain *, ovs_be16 dl_type,
                      uint8_t nw_proto, enum offload_reason *reason,
                      const struct megaflow **culprit);

/* Makes 'path' dead, that is, not found any more, and its users dirty. */
void path_kill(struct engine *, struct path *);

/* Frees 'path' if nobody uses it. */
void path_release(struct engine *, struct path *);

/* No connection may go on using paths through 'flow': makes them dead and
 * their users dirty. */
void path_kill_all(struct engine *, struct megaflow *flow);

/* The state of the rule's object changed.  May free 'rule'. */
void module_rule_changed(struct module_rule *rule);

/* Tries again what failed, if its time has come.  Returns when to be called
 * next. */
long long int module_rules_retry(struct engine *);

/* Adds 'delta' to the number of objects that carry 'flow'. */
void megaflow_count_installed(struct megaflow *flow, int delta);

/* Connections (tracked-conn.c). */

/* One path of one direction of a connection; in flat mode, its rule. */
struct conn_path {
    struct nic_obj obj;             /* Flat mode. */
    struct ovs_list conn_node;      /* In connection's 'paths'. */
    struct ovs_list path_node;      /* In path's 'uses'. */
    struct tracked_conn *conn;
    struct path *path;
    uint8_t dir;                    /* 0 original, 1 reply. */
    bool wanted;
    bool counted;                   /* In its megaflows' 'n_installed'. */
};

/* The last path of one direction of a connection, after it died, for
 * MEGAFLOW_GRACE_MS: the megaflows of the next path take its place. */
struct retired_path {
    struct ovs_list node;           /* In engine's 'retired'. */
    struct tracked_conn *conn;
    struct path *path;
    uint8_t dir;
    long long int retired_ms;
};

/* A connection that would like to know about new megaflows in a slot. */
struct conn_wait {
    struct ovs_list conn_node;      /* In connection's 'waits'. */
    struct ovs_list slot_node;      /* In slot's 'waiters'. */
    struct tracked_conn *conn;
    struct mf_slot *slot;
    uint8_t dir;
};

struct tracked_conn {
    struct hmap_node id_node;       /* In 'conns_by_id'; 'id' hashed. */
    struct hmap_node tuple_node;    /* In 'conns_by_tuple'. */
    struct ovs_list dirty_node;     /* In 'dirty', or empty. */
    struct timer_node timer;        /* Expiry, judgement or retry. */
    struct engine *engine;

    uint64_t id;
    struct conn *conn;              /* Null after CT_EVENT_REMOVED. */
    struct conntrack *ct;
    uint32_t dp;
    uint16_t zone;
    ovs_be16 dl_type;
    uint8_t nw_proto;
    uint8_t obstacle;               /* enum ct_obstacle. */
    bool nat;                       /* Is translated. */
    struct nic_tuple tuple[2];
    struct ct_ingress ingress[2];

    bool armed;
    bool closing;                   /* FIN or RST seen, not judged forged. */
    bool judging;                   /* Disarmed, CT_CLOSE_PENDING. */
    bool expired;                   /* By force. */
    bool idle;                      /* Withdrawn; wait for READY. */
    bool flushed;                   /* Withdraw once. */
    uint8_t reason[2];              /* enum offload_reason, by direction. */
    uint8_t blocked_reason[2];      /* Why additions failed, by direction. */
    const char *blocked_why[2];     /* The NIC's words about that, or null. */
    uint8_t n_failed;               /* Failed additions in a row. */
    long long int blocked_ms[2];    /* Not tried again before this time. */
    long long int margin_ms;        /* Looked at so long before it expires. */

    struct offload_nic *onic;       /* Whose 'n_conns' counts it, or null. */
    struct nic_obj obj;             /* Module mode. */
    struct ovs_list paths;          /* Of struct conn_path. */
    struct ovs_list waits;          /* Of struct conn_wait. */

    struct retired_path *retired[2]; /* By direction, or null. */

    struct { uint64_t packets, bytes; } carried[2]; /* By NICs. */
    long long int used_ms;          /* Last known hit in a NIC. */
};

void tracked_conn_event(struct engine *, struct ct_event *);
void tracked_conn_mark_dirty(struct tracked_conn *);
void tracked_conn_recompute(struct tracked_conn *);
void tracked_conn_timeout(struct tracked_conn *);
void tracked_conn_settle(struct tracked_conn *);
void tracked_conn_free(struct tracked_conn *);

/* Forgets retired paths whose time is over. */
void retired_paths_expire(struct engine *);

/* An object of the connection changed its state. */
void tracked_conn_obj_changed(struct tracked_conn *, struct nic_obj *);

/* 'flow' is new: makes dirty who waits for it. */
void tracked_conn_wake_waiters(struct megaflow *flow);

/* Returns true if some packets of the connection are carried by a NIC in
 * direction 'dir'. */
bool tracked_conn_is_carried(const struct tracked_conn *, int dir);

/* Returns why a NIC does not carry direction 'dir', REASON_NONE if it does.
 * Stores in '*why' the NIC's own words about it, or null. */
enum offload_reason tracked_conn_get_reason(const struct tracked_conn *,
                                            int dir, const char **why);

/* Returns a word for the state of the connection, as commands show it. */
const char *tracked_conn_state_name(const struct tracked_conn *);

/* Handles everything in the queues, until they are empty.  Afterwards, and
 * until the caller is quiescent, pointers to connections are valid (see
 * ct-conn.h). */
void engine_drain(struct engine *);

/* Looks at up to ENGINE_MAX_DIRTY dirty connections. */
void engine_recompute_dirty(struct engine *);

struct offload_port *engine_find_port(const struct engine *, uint32_t dp,
                                      odp_port_t);
struct offload_nic *engine_find_nic(const struct engine *,
                                    const struct nic *);

#endif /* engine-private.h */
