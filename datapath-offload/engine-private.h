/* SPDX-License-Identifier: Apache-2.0 */

#ifndef ENGINE_PRIVATE_H
#define ENGINE_PRIVATE_H 1

/* Inside the engine
 * =================
 *
 *   engine.c                inputs, configuration, the step
 *   engine-nics.c           NICs and ports
 *   tracked-conn.c          life of a connection: events, decisions
 *   tracked-conn-compose.c  which paths it takes
 *   tracked-conn-wait.c     megaflows that it waits for
 *   tracked-conn-room.c     how many connections a NIC may have
 *   tracked-conn-arm.c      before the first rule, and after the last
 *   tracked-conn-timer.c    expiry, judgement of a FIN or RST, retries
 *   tracked-conn-state.c    what people are told
 *   conn-index.c            which connections have a tuple, or wait for one
 *   conn-path.c             the paths that one connection uses
 *   path-cache.c            paths that connections share, rules of module mode
 *   egress-ids.c            where lb_output() leads
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

/* Connections that are told in one step, at most, of new megaflows in a slot
 * where they wait. */
#define ENGINE_MAX_TOLD 4096

/* Connections that are told in one step, at most, that there is room in a NIC,
 * and how often at most. */
#define ENGINE_MAX_FILL 1024
#define ENGINE_FILL_MS 50

/* The engine looks at an idle connection this long before it expires, or at
 * half its timeout if that is shorter, so that rules are gone in time. */
#define ENGINE_EXPIRY_MARGIN_MS 3000

/* A connection must live on after a packet for so many times the lag of the
 * NIC's counters: it is seen late that packets come, and that they do not
 * come any more. */
#define ENGINE_MIN_TIMEOUT_LAGS 2

/* What may only change with the configuration of conntrack, of which there is
 * no event, is looked at again after so long. */
#define ENGINE_RECHECK_MS 30000

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
    struct hmap egress_ids;         /* Of struct egress_id. */
    struct hmap conns_by_id;        /* Of struct tracked_conn. */
    struct hmap conns_by_tuple;     /* Of struct conn_key_node. */
    struct hmap tuple_waits;        /* Of struct tuple_wait. */
    struct ovs_list failed_rules;   /* Of struct module_rule. */
    struct ovs_list news;           /* Of struct mf_slot. */
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
    int byte_delta;                 /* Flat mode: how much longer packets are
                                     * here than received. */
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
    size_t n_cts;
    uint8_t parts[PATH_MAX_CTS];    /* Translated by each ct(). */
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

    /* The NIC did not take it: no path may go through 'flow', so that no
     * connection is armed for nothing.  The rule alone is tried again, for
     * those that wait in the slot of 'flow'. */
    bool failed;
    enum offload_reason reason;     /* If 'failed', */
    const char *why;                /* and the NIC's words, or null. */

    struct engine *engine;
    struct ovs_list failed_node;    /* In engine's 'failed_rules', or empty. */
};

/* Returns the path for 'chain', created if necessary, or null with '*reason'
 * and '*nic_says', the NIC's words about it (static) or null. */
struct path *path_get(struct engine *, struct offload_nic *,
                      const struct path_chain *, ovs_be16 dl_type,
                      uint8_t nw_proto, enum offload_reason *reason,
                      const char **nic_says);

/* Makes 'path' dead, that is, not found any more, and its users dirty. */
void path_kill(struct engine *, struct path *);

/* Frees 'path' if nobody uses it. */
void path_release(struct engine *, struct path *);

/* No connection may go on using paths through 'flow': makes them dead and
 * their users dirty.  Forgets that a NIC did not take its rule. */
void path_kill_all(struct engine *, struct megaflow *flow);

/* Forgets which rules NICs did not take: what they were made from, or what a
 * NIC can do, has changed.  Makes those dirty that wait for them. */
void module_rules_forget_failed(struct engine *);

/* The state of the rule's object changed.  May free 'rule'. */
void module_rule_changed(struct module_rule *rule);

/* Tries again what failed, if its time has come.  Returns when to be called
 * next. */
long long int module_rules_retry(struct engine *);

/* Ids of lb_output() that live megaflows name (egress-ids.c).  NICs have
 * egress objects for them. */
void egress_ids_ref(struct engine *, const struct megaflow_program *);
void egress_ids_unref(struct engine *, const struct megaflow_program *);
void egress_ids_add_nic(struct engine *, struct offload_nic *);
void egress_ids_remove_nic(struct engine *, struct offload_nic *);

/* Looks at what changed about where ids lead. */
void egress_ids_run(struct engine *);
void egress_ids_destroy(struct engine *);

/* Adds 'delta' to the number of objects that carry 'flow'. */
void megaflow_count_installed(struct megaflow *flow, int delta);

/* The paths of a connection (conn-path.c). */

/* A connection, not the leader, that packets of a path pass in ct(). */
struct conn_member {
    struct ovs_list node;           /* In connection's 'memberships'. */
    struct conn_path *path;
    struct tracked_conn *conn;
    uint8_t dir;                    /* 0 original, 1 reply. */
};

/* One path of one direction of a connection; in flat mode, its rule. */
struct conn_path {
    struct nic_obj obj;             /* Flat mode. */
    struct ovs_list conn_node;      /* In connection's 'paths'. */
    struct ovs_list path_node;      /* In path's 'uses'. */
    struct tracked_conn *conn;      /* The leader, see path.h. */
    struct path *path;
    struct nic_tuple *tuples;       /* Received and sent; null if they are the
                                     * connection's own. */
    uint8_t dir;                    /* 0 original, 1 reply. */
    bool wanted;
    bool counted;                   /* In its megaflows' 'n_installed'. */
    uint8_t n_members;
    struct conn_member members[];
};

/* Makes direction 'dir' of 'tc' use 'path' for packets of 'chain', and arms
 * all connections on it; the caller calls conn_path_set_wanted() then.
 * Returns REASON_NONE or what is in the way. */
enum offload_reason conn_path_use(struct tracked_conn *tc, int dir,
                                  struct path *path,
                                  const struct path_chain *chain);

/* Says whether 'cp' should be in the NIC.  Returns false if it was freed. */
bool conn_path_set_wanted(struct conn_path *cp, bool wanted);

/* The state of the object of 'cp' changed.  Returns false if 'cp' was
 * freed. */
bool conn_path_obj_changed(struct conn_path *cp);

/* Stores in 'values' those of the rule of 'cp', in flat mode. */
void conn_path_get_values(const struct conn_path *cp,
                          struct nic_values *values);

/* Returns true if rules of direction 'dir' are still being removed.  Others
 * may match the same, so they must wait. */
bool conn_path_is_draining(const struct tracked_conn *tc, int dir);

/* Returns true if everything that 'cp' needs is in the NIC. */
bool conn_path_is_present(const struct conn_path *cp);

/* The NIC carried packets through the rule of 'cp'. */
void conn_path_account(struct conn_path *cp, uint64_t packets, uint64_t bytes,
                       long long int used_ms);

/* The NIC lost the rule of 'cp', and nobody knows how much it carried. */
void conn_path_lost(struct conn_path *cp);

/* A path that one direction of a connection had before it died, for
 * MEGAFLOW_GRACE_MS: the megaflows of the next paths take the place of its
 * own. */
struct retired_path {
    struct ovs_list node;           /* In engine's 'retired'. */
    struct ovs_list conn_node;      /* In connection's 'retired'. */
    struct tracked_conn *conn;
    struct path *path;
    uint8_t dir;
    long long int retired_ms;
};

/* Forgets retired paths whose time is over, or all those of 'tc'. */
void retired_paths_expire(struct engine *);
void retired_paths_forget(struct tracked_conn *tc);

/* Connections (tracked-conn*.c). */

/* A connection that would like to know about new megaflows in a slot. */
struct conn_wait {
    struct ovs_list conn_node;      /* In connection's 'waits'. */
    struct ovs_list slot_node;      /* In slot's 'waiters'. */
    struct tracked_conn *conn;
    struct mf_slot *slot;
    uint64_t seq;                   /* Megaflows of 'slot' up to this
                                     * 'news_seq' are known. */
    uint8_t dir;
};

/* One direction of a connection, to find it by its tuple. */
struct conn_key_node {
    struct hmap_node node;          /* In 'conns_by_tuple'. */
    uint8_t dir;                    /* Index in connection's 'keys'. */
};

struct tracked_conn {
    struct hmap_node id_node;       /* In 'conns_by_id'; 'id' hashed. */
    struct conn_key_node keys[2];   /* Original, reply. */
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
    uint8_t nat_parts[2];           /* enum nic_tuple_part, by direction. */
    uint8_t nat_state[2];           /* CS_SRC_NAT, CS_DST_NAT. */
    struct nic_tuple tuple[2];      /* As ct() sees it, before translation. */
    struct ct_ingress ingress[2];
    uint32_t mark;
    ovs_u128 label;

    bool armed;
    bool uncounted;                 /* Not all of what was carried since it was
                                     * armed is in 'carried'. */
    bool unarmable;                 /* Was refused; an event will follow. */
    bool closing;                   /* FIN or RST seen, not judged forged. */
    bool judging;                   /* Disarmed, CT_CLOSE_PENDING. */
    bool expired;                   /* By force. */
    bool idle;                      /* Withdrawn; wait for READY. */
    bool news;                      /* Others may depend on what changed. */
    uint8_t flushed;                /* Withdraw once: enum offload_reason to be
                                     * told meanwhile, or REASON_NONE. */
    bool obj_outdated;              /* Installed with other metadata. */
    uint8_t checked;                /* enum offload_reason that was told to
                                     * those that wait for it. */
    uint8_t reason[2];              /* enum offload_reason, by direction. */
    uint8_t blocked_reason[2];      /* Why additions failed or were refused,
                                     * by direction. */
    const char *blocked_why[2];     /* The NIC's words about that, or null. */
    uint8_t n_failed;               /* Failed additions in a row. */
    long long int blocked_ms[2];    /* Not tried again before this time. */
    long long int obj_blocked_ms;   /* The same for 'obj'. */
    long long int margin_ms;        /* Looked at so long before it expires. */

    struct offload_nic *onic;       /* Whose 'n_conns' counts it, or null. */
    struct nic_obj obj;             /* Module mode. */
    struct ovs_list paths;          /* Of struct conn_path. */
    struct ovs_list memberships;    /* Of struct conn_member. */
    struct ovs_list waits;          /* Of struct conn_wait. */
    struct ovs_list tuple_waits;    /* Of struct tuple_wait. */
    struct ovs_list room_node;      /* In NIC's 'room_waiters', or empty. */

    struct ovs_list retired;        /* Of struct retired_path, oldest first,
                                     * at most PATH_MAX_CHAINS for each
                                     * direction. */

    struct conn_count {
        uint64_t packets, bytes;
    } carried[2],                   /* By NICs. */
      before[2];                    /* The same when it was armed. */
    long long int used_ms;          /* Last known hit in a NIC. */
};

void tracked_conn_event(struct engine *, struct ct_event *);
void tracked_conn_mark_dirty(struct tracked_conn *);
void tracked_conn_recompute(struct tracked_conn *);
void tracked_conn_timeout(struct tracked_conn *);
void tracked_conn_settle(struct tracked_conn *);
void tracked_conn_free(struct tracked_conn *);

/* Returns true if something of 'tc' may be in a NIC. */
bool tracked_conn_is_installed(const struct tracked_conn *tc);

/* Returns true if 'n' connections more may be armed for 'onic'. */
bool tracked_conn_has_room(const struct engine *, const struct offload_nic *,
                           size_t n);

/* Takes back as many connections as there are more in 'onic' than may be. */
void tracked_conns_withdraw_excess(struct engine *, struct offload_nic *);

/* Returns why 'tc' must not be armed for 'onic', whatever room there is, or
 * REASON_NONE. */
enum offload_reason tracked_conn_check_nic(const struct tracked_conn *tc,
                                           const struct offload_nic *);

/* Returns REASON_NONE if 'tc' is armed, after trying to arm it.  There is room
 * for it and tracked_conn_check_nic() has nothing against it. */
enum offload_reason tracked_conn_arm(struct tracked_conn *tc,
                                     struct offload_nic *);

/* Stores in '*tuple' what ct(nat) makes of packets of direction 'dir'. */
void tracked_conn_get_translated(const struct tracked_conn *tc, int dir,
                                 struct nic_tuple *tuple);

/* Counts what NICs carried. */
void tracked_conn_account(struct tracked_conn *, int dir, uint64_t packets,
                          uint64_t bytes, long long int used_ms);

/* NICs may have carried more than was counted. */
void tracked_conn_lost(struct tracked_conn *);

/* Says whether the connection itself should be in the NIC, in module mode. */
void conn_obj_update(struct tracked_conn *);

/* An object of the connection changed its state. */
void tracked_conn_obj_changed(struct tracked_conn *, struct nic_obj *);

/* 'flow' is new, or has changed: those that wait for it will be dirty soon. */
void tracked_conn_wake_waiters(struct engine *, struct megaflow *flow);

/* Makes dirty, of those that wait in slots where there are new megaflows, whom
 * they may concern: ENGINE_MAX_TOLD of those that wait at most. */
void tracked_conns_tell_news(struct engine *);

/* Makes dirty as many as there is room for in the NIC of those that wait for
 * that, but at most ENGINE_MAX_FILL.  Returns when to be called next. */
long long int tracked_conns_fill_room(struct engine *, struct offload_nic *);

/* Makes dirty all that wait for room in the NIC. */
void tracked_conns_wake_room_waiters(struct offload_nic *);

/* Returns true if some packets of the connection are carried by a NIC in
 * direction 'dir'. */
bool tracked_conn_is_carried(const struct tracked_conn *, int dir);

/* Returns why a NIC does not carry direction 'dir', REASON_NONE if it does.
 * Stores in '*why' the NIC's own words about it, or null. */
enum offload_reason tracked_conn_get_reason(const struct tracked_conn *,
                                            int dir, const char **why);

/* Returns a word for the state of the connection, as commands show it. */
const char *tracked_conn_state_name(const struct tracked_conn *);

/* Connections by tuple (conn-index.c). */

void conn_index_insert(struct tracked_conn *);
void conn_index_remove(struct tracked_conn *);

struct tracked_conn *conn_index_find_id(const struct engine *, uint64_t id);

/* Returns the connection that conntrack finds in 'zone' for packets of
 * 'tuple', of the datapath and protocols of 'like', and stores their direction
 * in '*dir'.  Null if there is none. */
struct tracked_conn *conn_index_find(const struct tracked_conn *like,
                                     uint16_t zone,
                                     const struct nic_tuple *tuple, int *dir);

/* Returns true if there is a connection in 'zone' with 'tuple' in the original
 * direction, of the datapath and protocols of 'like', whatever its state. */
bool conn_index_has(const struct tracked_conn *like, uint16_t zone,
                    const struct nic_tuple *tuple);

/* Returns another connection with a tuple of 'tc' of which something may still
 * be in a NIC, or null. */
struct tracked_conn *conn_index_find_predecessor(
    const struct tracked_conn *tc);

/* 'tc' left the NIC: makes dirty who waited for that. */
void conn_index_wake_successors(const struct tracked_conn *tc);

/* 'tc' would like to know when something changes about the connection that
 * conntrack finds, or does not find yet, in 'zone' for 'tuple'. */
void conn_index_wait(struct tracked_conn *tc, uint16_t zone,
                     const struct nic_tuple *tuple);
void conn_index_clear_waits(struct tracked_conn *tc);

/* Something about 'tc' changed: makes dirty who waits for it. */
void conn_index_wake_waiters(const struct tracked_conn *tc);

/* Handles everything in the queues, until they are empty.  Afterwards, and
 * until the caller is quiescent, pointers to connections are valid (see
 * ct-conn.h). */
void engine_drain(struct engine *);

/* Looks at up to ENGINE_MAX_DIRTY dirty connections. */
void engine_recompute_dirty(struct engine *);

/* Looks again at the connections that are not carried by a NIC in both
 * directions: what kept them from it may have changed. */
void engine_reconsider_unoffloaded(struct engine *);

/* NICs and ports (engine-nics.c). */

/* Lets 'onic' have the mode that the configuration says. */
void engine_set_mode(struct engine *, struct offload_nic *onic);

struct offload_port *engine_find_port(const struct engine *, uint32_t dp,
                                      odp_port_t);
struct offload_nic *engine_find_nic(const struct engine *,
                                    const struct nic *);

#endif /* engine-private.h */
