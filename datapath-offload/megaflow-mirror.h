/* SPDX-License-Identifier: Apache-2.0 */

#ifndef MEGAFLOW_MIRROR_H
#define MEGAFLOW_MIRROR_H 1

/* Mirror of the datapath's megaflows
 * ==================================
 *
 * Everything that OVS's userspace datapath asks to offload, indexed for path
 * composition: "which megaflows at (datapath, in_port, recirc_id) can a packet
 * hit, of which only some fields are known?"
 *
 * Megaflows are grouped in *slots*, one for each (datapath, in_port,
 * recirc_id), and within a slot in *subtables*, one for each mask, as in
 * dpcls.  Within a subtable they are hashed by those of the masked fields that
 * composition usually knows (addresses, ports, ct_state...).  Within a slot,
 * megaflows of one PMD thread do not overlap: OVS sees to that.
 *
 * Copies
 * ------
 *
 * The datapath has a *copy* of a megaflow for each PMD thread that installed
 * it.  What OVS hands to offload providers has an identifier, the mega_ufid,
 * that covers what packets have in the fields that are matched, but neither
 * which fields these are nor what is done.  So copies with the same identifier
 * may differ:
 *
 *   - in what they do, while some have been revalidated and others have not;
 *   - in what they match: a field that one of them wildcards is zero in the
 *     other.  One PMD thread may have both.
 *
 * The mirror knows each copy (mf_mirror_put(), mf_mirror_drop_copy()) and what
 * it matches and does.  As long as all do the same, the megaflow is what one
 * of them is, the one that matches most.  As soon as they do not, one of them
 * is about to be revalidated, and nobody here knows which: the megaflow is
 * refused, with REASON_COPIES, and the software does what it does.
 *
 * Statistics
 * ----------
 *
 * 'total' of a megaflow is what NICs carried through it.  OVS's revalidators
 * ask for statistics of each copy of a megaflow; every packet must be told to
 * exactly one of them, so megaflow_claim() gives what nobody was told yet to
 * whichever asks first and remembers it in the copy's *share*.
 *
 * A megaflow that was removed stays for MEGAFLOW_GRACE_MS, as *dead*: counts
 * may still come from the NIC.  They are credited to its successor: the first
 * megaflow added to the slot that overlaps with it, or the one that takes its
 * place on the path of a connection.  If there is none by the end, they become
 * *unattributed*.
 *
 * Thread-safety
 * -------------
 *
 * One writer at a time (the engine, or who holds its mutex).  mf_mirror_find()
 * and megaflow_claim() may be called by any RCU-registered thread.
 */

#include <stdbool.h>
#include "cmap.h"
#include "flow.h"
#include "megaflow-program.h"
#include "openvswitch/hmap.h"
#include "openvswitch/list.h"
#include "openvswitch/match.h"
#include "openvswitch/thread.h"
#include "openvswitch/types.h"
#include "ovs-atomic.h"

struct dpif_flow_stats;

/* How long counts of a removed megaflow may come late. */
#define MEGAFLOW_GRACE_MS 5000

/* What is known of a packet: the bits of 'flow' that are 1 in 'known'. */
struct flow_probe {
    struct flow flow;
    struct flow known;
};

/* One copy's part of a megaflow's statistics. */
struct mf_share {
    unsigned int pmd_id;
    const void *copy;               /* Identity only. */
    uint64_t packets, bytes;
    long long int asked_ms;
};

/* What some copies of a megaflow match and do. */
struct mf_variant {
    struct ovs_list node;           /* In megaflow's 'variants'. */
    struct minimatch match;
    struct megaflow_program program;
    size_t n_copies;
};

/* One copy. */
struct mf_copy {
    struct ovs_list node;           /* In megaflow's 'copies'. */
    const void *id;                 /* Identity only. */
    struct mf_variant *variant;
};

struct megaflow {
    struct cmap_node ufid_node;     /* In mirror's 'by_ufid', if 'live'. */
    struct hmap_node table_node;    /* In subtable's 'flows', if 'live'. */
    struct ovs_list dead_node;      /* In slot's 'dead', if not 'live'. */
    struct ovs_list rewriter_node;  /* In slot's 'rewriters', or empty. */
    struct ovs_list news_node;      /* In slot's 'news', or empty. */
    uint64_t news_seq;              /* Of megaflow_announce(). */
    struct mf_mirror *mirror;
    struct mf_slot *slot;
    struct mf_subtable *table;  /* Null if not 'live'. */
    uint32_t dp;                    /* As in 'slot'. */
    ovs_u128 ufid;

    /* Its copies.  'variant' has no copy only after the last one went, and
     * between a change of copies and megaflow_update(). */
    struct ovs_list copies;         /* Of struct mf_copy. */
    struct ovs_list variants;       /* Of struct mf_variant, all different. */
    const struct mf_variant *variant; /* The one that it is. */
    bool differs;                   /* Refused: copies do not do the same. */
    const struct minimatch *match;  /* Of 'variant'. */
    const struct megaflow_program *program; /* The same, unless 'differs'. */

    struct ovs_list stages;         /* Of struct path_stage (path.h). */
    void *rule;                     /* The engine's, for module mode. */
    bool live;
    long long int died_ms;
    struct megaflow *successor;  /* Of a dead one.  May be dead as well. */
    unsigned int n_predecessors;    /* Dead flows whose 'successor' this is. */
    unsigned int n_paths;           /* Paths, dead ones too, that name it. */

    /* Number of NIC rules that are installed for it. */
    atomic_uint n_installed;

    struct ovs_mutex mutex;
    uint64_t packets OVS_GUARDED;   /* Total. */
    uint64_t bytes OVS_GUARDED;
    uint64_t claimed_packets OVS_GUARDED;
    uint64_t claimed_bytes OVS_GUARDED;
    long long int used_ms OVS_GUARDED;
    struct mf_share *shares OVS_GUARDED;
    size_t n_shares OVS_GUARDED;
};

struct mf_subtable {
    struct ovs_list node;           /* In slot's 'subtables'. */
    struct minimask *mask;
    struct flow_wildcards index;    /* What 'flows' is hashed by. */
    struct hmap flows;              /* Of struct megaflow. */
};

struct mf_slot {
    struct hmap_node node;          /* In mirror's 'slots'. */
    uint32_t dp;                    /* See dp-registry.h. */
    odp_port_t in_port;
    uint32_t recirc_id;
    struct ovs_list subtables;      /* Of struct mf_subtable. */
    struct ovs_list dead;           /* Of dead struct megaflow. */
    struct ovs_list rewriters;      /* Of live struct megaflow of which
                                     * megaflow_program_rewrites_early(). */
    struct ovs_list news;           /* Of struct megaflow that were announced,
                                     * latest last. */
    uint64_t news_seq;              /* Of the last of them. */
    uint64_t all_seq;               /* What waits for longer must look at
                                     * everything. */

    /* The engine's: who would like to know about new megaflows, and whether
     * some of them have not been told yet. */
    struct ovs_list waiters;
    struct ovs_list news_node;
};

struct mf_mirror {
    struct cmap by_ufid;
    struct hmap slots;
    uint64_t news_seq;              /* Grows with each announcement. */
    size_t n_flows;                 /* Live ones. */

    /* Counts that came late: credited to successors, or to nobody. */
    uint64_t moved_packets;
    uint64_t moved_bytes;
    uint64_t unattributed_packets;
    uint64_t unattributed_bytes;
};

void mf_mirror_init(struct mf_mirror *);
void mf_mirror_destroy(struct mf_mirror *);

/* Returns the slot, created if necessary. */
struct mf_slot *mf_mirror_get_slot(struct mf_mirror *, uint32_t dp,
                                    odp_port_t in_port, uint32_t recirc_id);

/* Frees 'slot' if nothing needs it any more. */
void mf_mirror_release_slot(struct mf_mirror *, struct mf_slot *slot);

/* Notes that the datapath's copy 'copy' of the megaflow with this 'ufid'
 * matches 'match' and does 'program', whatever it did before.  Returns the
 * megaflow, added if there was none; sets '*addedp' to true if so.  If not,
 * the caller asks megaflow_next_program().  Takes over what 'program'
 * owns, which is left without operations.
 *
 * Bits of 'match->flow' that are not masked do not matter. */
struct megaflow *mf_mirror_put(struct mf_mirror *, uint32_t dp,
                               const ovs_u128 *ufid, const void *copy,
                               const struct match *match,
                               struct megaflow_program *program,
                               bool *addedp);

/* The datapath's copy 'copy' of a megaflow with this 'ufid' is gone.  Returns
 * the megaflow, or null if the copy was not known.  The caller removes it if
 * no copies are left, and else asks megaflow_next_program(). */
struct megaflow *mf_mirror_drop_copy(struct mf_mirror *, const ovs_u128 *ufid,
                                     const void *copy);

/* Returns null if 'flow', which has copies, is what follows from them.  If it
 * is not, returns what it will do: the caller makes sure that no path goes
 * through 'flow' and calls megaflow_update(). */
const struct megaflow_program *megaflow_next_program(
    const struct megaflow *flow);
void megaflow_update(struct megaflow *flow);

/* Live 'flow' is new, or something about it has changed that those that wait
 * in its slot should know. */
void megaflow_announce(struct megaflow *flow);

/* Makes 'flow' dead.  No path goes through it any more. */
void mf_mirror_remove(struct mf_mirror *, struct megaflow *flow,
                   long long int now_ms);

/* Frees dead 'flow' at once if the caller knows of no rule that it is part of,
 * and all that was counted for it was told: then nothing comes late.  What
 * nobody offloads does not become a burden to what is new in the slot. */
void mf_mirror_bury_idle(struct mf_mirror *, struct megaflow *flow);

/* Frees what is dead for longer than MEGAFLOW_GRACE_MS. */
void mf_mirror_expire(struct mf_mirror *, long long int now_ms);

/* Finds a live megaflow. */
struct megaflow *mf_mirror_find(const struct mf_mirror *, uint32_t dp,
                                const ovs_u128 *ufid);

/* Calls 'cb' for each megaflow of 'slot' that a packet of which 'probe' is
 * known may hit, until it returns false. */
void mf_mirror_lookup(const struct mf_slot *slot,
                   const struct flow_probe *probe,
                   bool (*cb)(struct megaflow *, void *aux), void *aux);

/* Returns true if 'probe' contradicts nothing that 'flow' matches. */
bool megaflow_admits(const struct megaflow *flow,
                        const struct flow_probe *probe);

/* Returns true if every packet of which 'probe' is known hits 'flow'. */
bool megaflow_covers(const struct megaflow *flow,
                        const struct flow_probe *probe);

/* Adds to 'probe' what a packet that hits 'flow' is known to have. */
void flow_probe_narrow(struct flow_probe *probe,
                       const struct megaflow *flow);

/* Makes live 'heir' the successor of dead 'flow', if that has none yet. */
void megaflow_set_successor(struct megaflow *flow, struct megaflow *heir);

/* Credits 'packets' and 'bytes', the last of them at 'used_ms', to 'flow' or
 * its successor. */
void megaflow_credit(struct megaflow *flow, uint64_t packets,
                        uint64_t bytes, long long int used_ms);

/* Stores in '*stats' what NICs carried for one copy of 'flow': that of PMD
 * 'pmd_id', at address 'copy'.  'fresh' tells that the copy has not been told
 * anything yet. */
void megaflow_claim(struct megaflow *flow, unsigned int pmd_id,
                       const void *copy, bool fresh, long long int now_ms,
                       struct dpif_flow_stats *stats);

#endif /* megaflow-mirror.h */
