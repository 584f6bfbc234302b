/* SPDX-License-Identifier: Apache-2.0 */

#ifndef RTE_FLOW_PROBE_H
#define RTE_FLOW_PROBE_H 1

/* What a DPDK port offers to flow rules
 * =====================================
 *
 * Asks a port's driver with rte_flow_validate(), once, makes one rule that no
 * packet hits and removes it again, and keeps the answers until
 * rte_flow_probe_forget() (the port was stopped or is gone).  Nothing is known
 * of particular drivers.
 *
 * Thread-safety: everything here may be called by any thread.
 */

#include <stdbool.h>
#include <stdint.h>
#include "lib/rte-flow-codec.h"

/* Where rules go.  Group 0 is where packets enter; drivers want few rules
 * there. */
#define RTE_FLOW_GROUP_ENTRY 0
#define RTE_FLOW_GROUP_RULES 1

/* Groups of egress objects: this one and those that follow. */
#define RTE_FLOW_GROUP_EGRESS 2
#define RTE_FLOW_N_EGRESS_GROUPS 4000

/* No rule leads here. */
#define RTE_FLOW_GROUP_TRIAL (RTE_FLOW_GROUP_EGRESS + RTE_FLOW_N_EGRESS_GROUPS)

struct rte_flow_offer {
    uint16_t ethdev;
    uint16_t proxy;             /* Port through which rules are made. */
    uint16_t domain;            /* Ports of one embedded switch share it. */
    bool representor;

    /* Null if the port can have rules, otherwise text that stays valid and
     * says why not.  Nothing below counts then. */
    const char *refusal;
    bool waiting;               /* The refusal is about a port that is not
                                 * started. */

    bool groups;                /* RTE_FLOW_GROUP_RULES can be used. */
    bool egress;                /* So can a group per egress object, with two
                                 * rules that overlap: without priorities there
                                 * is no moving it but with a gap, in which
                                 * packets that are changed already miss. */
    bool indirect_count;        /* Counters that outlive their rules. */
    enum rte_codec_style style;
    bool ipv6, nat, vlan, ttl;
};

/* Stores in '*offer' what port 'ethdev' offers. */
void rte_flow_probe(uint16_t ethdev, struct rte_flow_offer *offer);

/* Stores in '*offer' what some port of 'domain' that was probed offers.
 * Returns false if there is none. */
bool rte_flow_probe_domain(uint16_t domain, struct rte_flow_offer *offer);

/* The answers about 'ethdev' do not hold any more, nor do those that may have
 * been because of it: the ports of which it is the proxy, and refusals. */
void rte_flow_probe_forget(uint16_t ethdev);

/* Turns an error of DPDK, 'rte_errno' or the like and what the driver says,
 * into an error of 'struct nic_completion', and its reason, text that stays
 * valid. */
int rte_flow_explain(int error, const struct rte_flow_error *,
                     const char **reasonp);

#endif /* rte-flow-probe.h */
