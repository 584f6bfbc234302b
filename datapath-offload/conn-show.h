/* SPDX-License-Identifier: Apache-2.0 */

#ifndef CONN_SHOW_H
#define CONN_SHOW_H 1

/* What commands about connections have in common: which connections, and what
 * is shown of them.  Requires the engine's mutex. */

#include <arpa/inet.h>
#include "engine-private.h"

struct unixctl_conn;

/* Which connections a command is about.  What is 0 or null matches all. */
struct conn_filter {
    bool any;                       /* No condition at all. */
    uint8_t nw_proto;
    bool has_zone;
    uint16_t zone;
    const char *src, *dst;          /* As text. */
    ovs_be16 tp_src, tp_dst;
};

/* Returns true if 'filter' selects a connection with 'tuple'. */
bool conn_filter_matches(const struct conn_filter *, ovs_be16 dl_type,
                         uint8_t nw_proto, uint16_t zone,
                         const struct nic_tuple *tuple);

/* Parses a command's arguments, of the form KEY=VALUE, into 'filter', which
 * keeps pointers to them.  If they are wrong, replies so and returns null.
 * Otherwise locks 'engine', brings it up to date, and returns the connections
 * that 'filter' selects, in the order in which they were announced, and stores
 * their number in '*n'.  The caller unlocks 'engine' and frees the array. */
struct tracked_conn **conn_filter_begin(struct unixctl_conn *, int argc,
                                        const char *argv[], struct engine *,
                                        struct conn_filter *, size_t *n);

/* What is shown of one direction. */
struct conn_direction {
    bool offloaded;
    enum offload_reason reason;
    const char *nic_says;           /* Or null. */
    uint64_t sw_packets, sw_bytes;
    uint64_t nic_packets, nic_bytes;
};

void conn_directions_get(const struct tracked_conn *,
                         struct conn_direction info[2]);

/* "original", "reply". */
extern const char *const conn_direction_names[2];

const char *conn_proto_name(uint8_t nw_proto);
void conn_addr_to_string(const union nic_addr *, ovs_be16 dl_type,
                         char buf[INET6_ADDRSTRLEN]);

/* Appends protocol, tuple and zone. */
void conn_name_format(uint8_t nw_proto, ovs_be16 dl_type, uint16_t zone,
                      const struct nic_tuple *tuple, struct ds *);

/* Appends a line about the whole connection. */
void conn_header_format(const struct tracked_conn *, struct ds *);

#endif /* conn-show.h */
