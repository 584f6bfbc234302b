/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>
#include "conn-show.h"

#include <stdlib.h>
#include <string.h>

#include "openvswitch/dynamic-string.h"
#include "packets.h"
#include "unixctl.h"
#include "util.h"

const char *const conn_direction_names[2] = { "original", "reply" };

static bool
parse_number(const char *s, unsigned int max, unsigned int *n)
{
    return str_to_uint(s, 10, n) && *n <= max;
}

/* Returns null if successful, otherwise an error message that the caller must
 * free. */
static char *
parse_filter(int argc, const char *argv[], struct conn_filter *filter)
{
    memset(filter, 0, sizeof *filter);
    filter->any = argc <= 1;
    for (int i = 1; i < argc; i++) {
        const char *value = strchr(argv[i], '=');
        size_t key_len = value ? value - argv[i] : 0;
        struct in6_addr addr;
        unsigned int n;

#define KEY(NAME) (key_len == strlen(NAME) && !strncmp(argv[i], NAME, key_len))
        value = value ? value + 1 : "";
        if (KEY("proto")) {
            filter->nw_proto = (!strcmp(value, "tcp") ? IPPROTO_TCP
                                : !strcmp(value, "udp") ? IPPROTO_UDP : 0);
            if (!filter->nw_proto) {
                return xasprintf("%s: allowed are \"tcp\" and \"udp\"",
                                 argv[i]);
            }
        } else if (KEY("zone")) {
            if (!parse_number(value, UINT16_MAX, &n)) {
                return xasprintf("%s: a zone is a number from 0 to 65535",
                                 argv[i]);
            }
            filter->has_zone = true;
            filter->zone = n;
        } else if (KEY("src") || KEY("dst")) {
            if (!ipv6_parse(value, &addr)
                && inet_pton(AF_INET, value, &addr) != 1) {
                return xasprintf("%s: not an IP address", argv[i]);
            }
            *(KEY("src") ? &filter->src : &filter->dst) = value;
        } else if (KEY("sport") || KEY("dport")) {
            if (!parse_number(value, UINT16_MAX, &n) || !n) {
                return xasprintf("%s: a port is a number from 1 to 65535",
                                 argv[i]);
            }
            *(KEY("sport") ? &filter->tp_src : &filter->tp_dst) = htons(n);
        } else {
            return xasprintf("%s: allowed are proto=, src=, dst=, sport=, "
                             "dport= and zone=", argv[i]);
        }
#undef KEY
    }
    return NULL;
}

void
conn_addr_to_string(const union nic_addr *addr, ovs_be16 dl_type,
                    char buf[INET6_ADDRSTRLEN])
{
    inet_ntop(dl_type == htons(ETH_TYPE_IP) ? AF_INET : AF_INET6, addr, buf,
              INET6_ADDRSTRLEN);
}

static bool
addr_matches(const union nic_addr *addr, ovs_be16 dl_type, const char *text)
{
    char buf[INET6_ADDRSTRLEN];

    if (!text) {
        return true;
    }
    conn_addr_to_string(addr, dl_type, buf);
    return !strcmp(buf, text);
}

bool
conn_filter_matches(const struct conn_filter *filter, ovs_be16 dl_type,
               uint8_t nw_proto, uint16_t zone,
               const struct nic_tuple *tuple)
{
    return ((!filter->nw_proto || filter->nw_proto == nw_proto)
            && (!filter->has_zone || filter->zone == zone)
            && (!filter->tp_src || filter->tp_src == tuple->tp_src)
            && (!filter->tp_dst || filter->tp_dst == tuple->tp_dst)
            && addr_matches(&tuple->src, dl_type, filter->src)
            && addr_matches(&tuple->dst, dl_type, filter->dst));
}

static int
compare_conns(const void *a_, const void *b_)
{
    const struct tracked_conn *const *a = a_;
    const struct tracked_conn *const *b = b_;

    return (*a)->id < (*b)->id ? -1 : (*a)->id > (*b)->id;
}

static struct tracked_conn **
select_conns(const struct engine *engine, const struct conn_filter *filter,
             size_t *n)
{
    struct tracked_conn **conns;
    struct tracked_conn *tc;

    *n = 0;
    conns = xmalloc(MAX(hmap_count(&engine->conns_by_id), 1) * sizeof *conns);
    HMAP_FOR_EACH (tc, id_node, &engine->conns_by_id) {
        if (conn_filter_matches(filter, tc->dl_type, tc->nw_proto, tc->zone,
                           &tc->tuple[0])) {
            conns[(*n)++] = tc;
        }
    }
    qsort(conns, *n, sizeof *conns, compare_conns);
    return conns;
}

struct tracked_conn **
conn_filter_begin(struct unixctl_conn *conn, int argc, const char *argv[],
                  struct engine *engine, struct conn_filter *filter, size_t *n)
{
    char *error = parse_filter(argc, argv, filter);

    if (error) {
        unixctl_command_reply_error(conn, error);
        free(error);
        return NULL;
    }
    engine_lock(engine);
    engine_drain(engine);
    return select_conns(engine, filter, n);
}

const char *
conn_proto_name(uint8_t nw_proto)
{
    return (nw_proto == IPPROTO_TCP ? "tcp"
            : nw_proto == IPPROTO_UDP ? "udp" : "other");
}

void
conn_directions_get(const struct tracked_conn *tc,
                    struct conn_direction info[2])
{
    struct nic_counter sw[2] = { { .packets = 0 }, { .packets = 0 } };

    if (tc->conn) {
        ct_conn_get_counters(tc->conn, sw);
    }
    for (int dir = 0; dir < 2; dir++) {
        info[dir].offloaded = tracked_conn_is_carried(tc, dir);
        info[dir].reason = tracked_conn_get_reason(tc, dir,
                                                   &info[dir].nic_says);
        info[dir].sw_packets = sw[dir].packets;
        info[dir].sw_bytes = sw[dir].bytes;
        info[dir].nic_packets = tc->carried[dir].packets;
        info[dir].nic_bytes = tc->carried[dir].bytes;
    }
}

void
conn_name_format(uint8_t nw_proto, ovs_be16 dl_type, uint16_t zone,
                 const struct nic_tuple *tuple, struct ds *ds)
{
    ds_put_format(ds, "%s ", conn_proto_name(nw_proto));
    nic_tuple_format(tuple, dl_type, ds);
    ds_put_format(ds, " zone %"PRIu16, zone);
}

void
conn_header_format(const struct tracked_conn *tc, struct ds *ds)
{
    conn_name_format(tc->nw_proto, tc->dl_type, tc->zone, &tc->tuple[0], ds);
    if (tc->nat_parts[0]) {
        struct nic_tuple translated;

        ds_put_cstr(ds, " nat ");
        tracked_conn_get_translated(tc, 0, &translated);
        nic_tuple_format(&translated, tc->dl_type, ds);
    }
    if (tc->mark) {
        ds_put_format(ds, " mark %#"PRIx32, tc->mark);
    }
    if (!ovs_u128_is_zero(tc->label)) {
        ds_put_format(ds, " label %#"PRIx64"%016"PRIx64, tc->label.u64.hi,
                      tc->label.u64.lo);
    }
    ds_put_format(ds, ": %s", tracked_conn_state_name(tc));
    if (tc->onic) {
        ds_put_format(ds, " (%s, %s)", tc->onic->nic->name,
                      tc->onic->module ? "module" : "flat");
    }
    ds_put_char(ds, '\n');
}
