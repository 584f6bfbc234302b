/* SPDX-License-Identifier: Apache-2.0 */

#ifndef NET_EMU_ASYNC_H
#define NET_EMU_ASYNC_H 1

struct net_emu_port;

/* Forgets operations of 'port' that are under way.  The lock must be held. */
void net_emu_async_abort(struct net_emu_port *port);

/* Frees everything that rte_flow_configure() and what follows it made for
 * 'port', which has no rules any more.  The lock must be held. */
void net_emu_async_free(struct net_emu_port *port);

#endif /* net-emu-async.h */
