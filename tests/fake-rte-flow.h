/* SPDX-License-Identifier: Apache-2.0 */

#ifndef FAKE_RTE_FLOW_H
#define FAKE_RTE_FLOW_H 1

/* A DPDK whose ports take flow rules, for tests of nic-rte-flow
 * =============================================================
 *
 * Takes the place of the functions of DPDK, and of Open vSwitch's about DPDK
 * devices, that the driver calls (FAKE_RTE_FLOW_WRAPS in tests/automake.mk):
 * rules are noted, not executed, and what a real driver does once in a while
 * happens when a test wants it.
 *
 * Ports are "p0", the one through which rules are made, "p1", "p2"...,
 * numbered likewise. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <rte_ethdev.h>
#include <rte_flow.h>

#define FAKE_N_PORTS 4
#define FAKE_DOMAIN 7

struct fake {
    /* What ports offer. */
    bool no_groups, no_priorities, no_nat, no_indirect;

    /* The next N calls fail. */
    int fail_create, fail_destroy, fail_handle_destroy;
    uint32_t fail_group;            /* Of creations those in this group, 0 for
                                     * any. */
    int error;                      /* So. */

    /* What was called. */
    int n_flushes, n_reports;

    /* Called by rte_eth_link_get_nowait(), or null. */
    void (*link_hook)(void);
};
extern struct fake fake;

/* A rule. */
struct rte_flow {
    bool exists;
    uint16_t ethdev;                /* Through which it was made. */
    uint32_t group, priority;
    int in_port;                    /* -1: any. */
    int out_port;                   /* -1: none. */
    int jump;                       /* -1: none. */
    bool broadcast_source;          /* Matches only that. */
    uint64_t hits;
    struct rte_flow_action_handle *indirect;
};

struct rte_flow_action_handle {
    bool exists;
    uint64_t hits, published;
};

/* Forgets everything. */
void fake_reset(void);

/* Rules and counters that exist, and all rules there ever were. */
size_t fake_n_flows(void);
size_t fake_n_handles(void);
size_t fake_n_made(void);
struct rte_flow *fake_made(size_t i);

/* Returns the rule in 'group' that packets from 'in_port' (-1: any) see, or
 * null. */
struct rte_flow *fake_find(uint32_t group, int in_port);

/* Lets 'flow' be hit by 'n' packets; indirect counters tell of them after
 * fake_publish(). */
void fake_hit(struct rte_flow *flow, uint64_t n);
void fake_publish(void);

/* The driver of 'ethdev' tells of 'event'. */
void fake_event(uint16_t ethdev, enum rte_eth_event_type event);

#endif /* fake-rte-flow.h */
