/* SPDX-License-Identifier: Apache-2.0 */

#ifndef EGRESS_H
#define EGRESS_H 1

/* Where datapath action lb_output(id) leads
 * =========================================
 *
 * The one interface between who decides where packets leave (ofproto-ext/, the
 * *writer*) and who programs NICs (datapath-offload/, the *reader*).  Neither
 * knows the other.
 *
 * An *egress* is known by the id in lb_output(id), which no two of any
 * datapaths have in common.  It leads to one datapath port, its *current*
 * port, or to none: then packets are dropped.  Its *members* are the ports
 * that it may lead to, now or later.
 *
 * In a NIC
 * --------
 *
 * The reader makes an egress object in the NIC, NIC_OP_EGRESS_ADD, before the
 * first rule that names it, and attaches it here.  From then on the writer
 * keeps it up to date, through the NIC's own queue for that (nic_class,
 * 'egress_set'), within egress_set(): moving an egress costs one NIC operation
 * per NIC, whatever the number of rules.  The reader detaches it before it
 * deletes it.
 *
 * A NIC may be unable to lead there: the port is not one of its own, or some
 * rule comes from where the port cannot be reached.  Then the egress is
 * *unreachable* in that NIC, and the reader must withdraw the rules that name
 * it.  Until it has, the NIC drops their packets.
 *
 * Inbound
 * -------
 *
 * Packets of one flow may arrive through any member of a bond.  Members for
 * which egress_share_inbound() is true are in the same bond: a reader may let
 * one rule serve both if the flow's megaflows from both ports do the same.
 *
 * Thread-safety
 * -------------
 *
 * Any thread.  egress_set(), egress_remove() and egress_refresh() are the
 * writer's, one thread at a time.  The functions hold a mutex only to look up
 * and to copy, except that egress_detach() and egress_detach_nic() wait for an
 * update of the same NIC that is under way; NIC operations are never made with
 * the mutex held. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "lib/nic.h"
#include "openvswitch/types.h"

struct seq;

/* For the writer. */

/* Where egress 'id' of datapath 'dp_type' is to lead: to 'port', ODPP_NONE for
 * nowhere; and where it may lead later. */
struct egress_target {
    uint32_t id;
    const char *dp_type;
    odp_port_t port;
    const odp_port_t *members;
    size_t n_members;
};

/* Makes 'n' egresses lead where 'targets' say, in all NICs, one after the
 * other, and tells readers once when all do.  Copies what it needs.  Returns
 * the number of NIC operations. */
size_t egress_set(const struct egress_target targets[], size_t n);

/* Ends egress 'id'.  Readers see that it is gone. */
void egress_remove(uint32_t id);

/* Updates what readers attached since the last call, or what failed in NICs
 * before.  Returns true if it must be called again although egress_seq() does
 * not change, after EGRESS_RETRY_MS. */
#define EGRESS_RETRY_MS 10
bool egress_refresh(void);

/* Returns true if 'id' is attached to any NIC. */
bool egress_is_attached(uint32_t id);

/* For the reader. */

/* Returns a seq that changes after anything here changed that readers should
 * look at. */
struct seq *egress_seq(void);

/* Stores the current port of egress 'id' in '*port' and returns true, or
 * returns false if there is no such egress. */
bool egress_get(uint32_t id, odp_port_t *port);

/* A member and its name in a NIC. */
struct egress_nic_port {
    odp_port_t odp_port;
    nic_port_id id;
};

/* For egress_attach(): nobody knows where it leads. */
#define EGRESS_PORT_UNKNOWN UINT32_MAX

/* Tells that egress 'id' is object 'handle' in 'nic', where it leads to
 * 'port' now (it was added so), and how those members are called there that
 * are ports of the NIC.  A second call for the same 'id' and 'nic' replaces
 * the first: members have changed. */
void egress_attach(uint32_t id, struct nic *nic, nic_handle handle,
                   nic_port_id port, const struct egress_nic_port ports[],
                   size_t n_ports);

/* Ends that.  When it returns no update is under way. */
void egress_detach(uint32_t id, struct nic *nic);
void egress_detach_nic(struct nic *nic);

/* Returns null if egress 'id', attached to 'nic', leads there where it should
 * or will as soon as possible, otherwise static text that says why it
 * cannot. */
const char *egress_unreachable(uint32_t id, struct nic *nic);

/* Returns true if both ports of 'dp_type' are members of one egress. */
bool egress_share_inbound(const char *dp_type, odp_port_t, odp_port_t);

/* Numbers for people. */
struct egress_stats {
    uint64_t n_updates;             /* NIC operations, retries included. */
    uint64_t n_failed;              /* Of these. */
    size_t n_egresses;
    size_t n_attached;
};
void egress_get_stats(struct egress_stats *);

#endif /* egress.h */
