/* SPDX-License-Identifier: Apache-2.0 */

#ifndef NIC_TC_PRIVATE_H
#define NIC_TC_PRIVATE_H 1

/* What the parts of the driver for tc-flower share
 * ================================================
 *
 * nic-tc.c has the NIC's interface, its ports and its thread; nic-tc-op.c
 * executes operations; nic-tc-kernel.c knows requests that are not about one
 * filter.
 *
 * Locks, in the order in which they are taken:
 *
 *   - 'kernel_mutex': whoever changes filters of rules.
 *   - 'egress_mutex': whoever changes filters of egress objects.  The carrier
 *     watcher takes this one only, so it is not held for long.
 *   - 'mutex': everything in memory.  No system call is made while it is
 *     held.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "lib/flower.h"
#include "lib/hw-tc.h"
#include "lib/latch.h"
#include "lib/nic-tc-prio.h"
#include "lib/nic.h"
#include "lib/tc-socket.h"
#include "openvswitch/hmap.h"
#include "openvswitch/list.h"
#include "openvswitch/thread.h"

/* Counters are read this often. */
#define NIC_TC_STATS_MS 500

/* Whether a device offloads is asked at most this often. */
#define NIC_TC_HW_TC_MS 1000

/* Chains of egress objects are this one and those that follow. */
#define NIC_TC_CHAIN_MIN 0x4f56000
#define NIC_TC_N_CHAINS 0x10000

struct tc_port {
    struct hmap_node node;          /* By id. */
    nic_port_id id;
    char *name;
    char *dev;
    int ifindex;                    /* Of 'dev'. */
    bool own;                       /* 'dev' is the port's own device, whose
                                     * packets Open vSwitch reads. */
    bool made_qdisc;
    enum nic_port_role role;

    /* Whether 'dev' offloads. */
    enum hw_tc hw_tc;
    enum hw_tc hw_tc_added;         /* When the port was added. */
    long long int hw_tc_ms;         /* When 'hw_tc' was asked for. */
};

struct tc_rule {
    struct hmap_node node;          /* By handle. */
    nic_handle handle;
    nic_handle egress;              /* 0 if none. */
    nic_port_id port;
    struct flower_place place;
    bool in_hw;
    bool gone;                      /* Removed with its port. */
    struct nic_counter counter;
};

struct tc_egress {
    struct hmap_node node;          /* By handle. */
    nic_handle handle;
    nic_port_id port;
    uint32_t chain;
    size_t n_rules;
    struct flower_place *places;    /* Where its filters are. */
    size_t n_places;
};

/* An operation under way. */
struct tc_op {
    struct ovs_list node;
    struct nic_op op;
    struct nic_completion completion;
    struct tc_rule *rule;
    size_t message;                 /* In the batch, SIZE_MAX if none. */
    bool answered;                  /* There is a counter. */
    struct nic_counter counter;
};

struct nic_tc {
    struct nic up;

    struct ovs_mutex kernel_mutex;
    struct tc_socket *ctl_sock OVS_GUARDED_BY(kernel_mutex);

    struct ovs_mutex egress_mutex OVS_ACQ_AFTER(kernel_mutex);
    struct tc_socket *egress_sock OVS_GUARDED_BY(egress_mutex);

    struct ovs_mutex mutex OVS_ACQ_AFTER(egress_mutex);
    enum flower_policy policy OVS_GUARDED;
    struct hmap ports OVS_GUARDED;
    struct hmap rules OVS_GUARDED;
    struct hmap egresses OVS_GUARDED;
    struct nic_tc_prios prios OVS_GUARDED;
    struct ovs_list queue OVS_GUARDED;      /* Of struct tc_op, to do. */
    struct ovs_list done OVS_GUARDED;       /* The same, completed. */
    size_t n_pending OVS_GUARDED;           /* Submitted, not in 'done'. */
    nic_port_id last_port OVS_GUARDED;
    nic_handle last_handle OVS_GUARDED;
    uint32_t last_filter OVS_GUARDED;       /* Handle of a filter. */
    uint32_t last_chain OVS_GUARDED;
    uint64_t n_ops, n_failed OVS_GUARDED;
    uint64_t carried_packets, carried_bytes OVS_GUARDED;
    uint32_t n_stale;                       /* Immutable. */

    pthread_t thread;
    struct latch wake;              /* The thread has something to do. */
    struct latch exit;

    /* The thread's own. */
    struct tc_socket *sock;
    struct tc_batch batch;
    long long int stats_ms;         /* When counters are read next. */
};

struct tc_port *tc_port_find(const struct nic_tc *nic, nic_port_id id)
    OVS_REQUIRES(nic->mutex);
struct tc_rule *tc_rule_find(const struct nic_tc *nic, nic_handle handle)
    OVS_REQUIRES(nic->mutex);
struct tc_egress *tc_egress_find(const struct nic_tc *nic, nic_handle handle)
    OVS_REQUIRES(nic->mutex);

/* Returns who executes the filters of 'port'. */
enum flower_policy tc_port_policy(const struct nic_tc *nic,
                                  const struct tc_port *port)
    OVS_REQUIRES(nic->mutex);

/* Returns null, or why the kernel must be expected to refuse all filters of
 * port 'id'. */
const char *tc_port_problem(struct nic_tc *nic, nic_port_id id)
    OVS_EXCLUDED(nic->mutex);

/* Executes 'ops', of struct tc_op, and fills in their completions. */
void tc_ops_execute(struct nic_tc *nic, struct ovs_list *ops)
    OVS_EXCLUDED(nic->kernel_mutex, nic->egress_mutex, nic->mutex);

/* Makes 'egress' lead to 'port'. */
int tc_egress_set(struct nic_tc *nic, nic_handle egress, nic_port_id port,
                  const char **reasonp)
    OVS_EXCLUDED(nic->egress_mutex, nic->mutex);

/* Removes the filters of the rules and egress objects on port 'id', which is
 * not in 'nic->ports' any more.  The rules keep their final counts. */
void tc_ops_remove_port(struct nic_tc *nic, nic_port_id id, int ifindex)
    OVS_REQUIRES(nic->kernel_mutex) OVS_EXCLUDED(nic->egress_mutex,
                                                 nic->mutex);

/* Takes over what the kernel says about 'rule'. */
void tc_rule_count(struct nic_tc *nic, struct tc_rule *rule,
                   const struct flower_info *info, long long int now_ms)
    OVS_REQUIRES(nic->mutex);

/* Returns the bytes of whole frames that filters of 'protocol' have
 * counted. */
uint64_t tc_count_bytes(const struct flower_stats *, uint16_t protocol);

/* Turns an answer of the kernel into an error and a reason of
 * 'struct nic_completion'. */
int tc_error(const struct tc_result *, const char **reasonp);

/* The kernel, apart from single filters. */

/* Calls 'cb' for each filter in the ingress of device 'ifindex', in all
 * chains. */
int tc_kernel_dump(struct tc_socket *, int ifindex, tc_reply_cb *cb,
                   void *aux);

/* Makes sure that filters can be added to the ingress of device 'ifindex'.
 * Stores in '*madep' whether there was no qdisc for that before. */
int tc_kernel_add_qdisc(struct tc_socket *, int ifindex, bool *madep);

/* Removes the qdisc unless there are filters. */
void tc_kernel_del_qdisc(struct tc_socket *, int ifindex);

/* Removes all filters with our mark from all devices.  Returns their
 * number. */
uint32_t tc_kernel_remove_stale(struct tc_socket *);

#endif /* nic-tc-private.h */
