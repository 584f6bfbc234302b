/* SPDX-License-Identifier: Apache-2.0 */

#ifndef NET_EMU_WIRE_H
#define NET_EMU_WIRE_H 1

/* What is at the other end of a port of net_emu
 * =============================================
 *
 * A kernel device, whose frames are read and written with packet sockets, or a
 * pair of rte_rings of mbufs, or nothing.
 *
 * Thread-safety
 * -------------
 *
 * Each queue of net_emu_wire_receive() is one thread's at a time; everybody
 * may send.  Starting and stopping happen while nobody receives; sending is
 * always allowed and fails while stopped. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct dp_packet;
struct net_emu_wire;
struct rte_mempool;

/* Largest frame, VLAN tags included. */
#define NET_EMU_MAX_FRAME 9728

/* Returns a wire to kernel device 'device', which must exist; or null, and
 * stores a malloc()'d sentence in '*errorp'. */
struct net_emu_wire *net_emu_wire_to_device(const char *device,
                                            char **errorp);

/* Returns a wire to two new rings: the wire receives the mbufs in
 * "NIC_PORT_rx", and puts mbufs of 'pool' into "NIC_PORT_tx".  Or as above. */
struct net_emu_wire *net_emu_wire_to_rings(const char *nic, const char *port,
                                           struct rte_mempool *pool,
                                           char **errorp);

/* Returns a wire that leads nowhere and has no carrier. */
struct net_emu_wire *net_emu_wire_to_nothing(void);

void net_emu_wire_free(struct net_emu_wire *);

/* Starts with 'n_queues' queues to receive from.  Returns 0 or a positive
 * errno value. */
int net_emu_wire_start(struct net_emu_wire *, unsigned int n_queues);
void net_emu_wire_stop(struct net_emu_wire *);

/* Receives up to 'n' frames of 'queue', without waiting, and returns their
 * number.  They are the caller's. */
size_t net_emu_wire_receive(struct net_emu_wire *, unsigned int queue,
                            struct dp_packet *packets[], size_t n);

/* Sends a copy of the 'len' bytes of frame 'data'.  Returns false if that
 * cannot be. */
bool net_emu_wire_send(struct net_emu_wire *, const void *data, size_t len);

/* Returns whether there is carrier now. */
bool net_emu_wire_carrier(const struct net_emu_wire *);

/* Returns the kernel device's name, or what there is instead, for people. */
const char *net_emu_wire_name(const struct net_emu_wire *);

#endif /* net-emu-wire.h */
