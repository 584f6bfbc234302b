/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>
#include "commands-conn.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "conntrack.h"
#include "engine-private.h"
#include "odp-util.h"
#include "offload.h"
#include "openvswitch/dynamic-string.h"
#include "openvswitch/json.h"
#include "packets.h"
#include "unixctl.h"
#include "util.h"

/* Which connections a command is about.  What is 0 or null matches all. */
struct conn_filter {
    bool any;                       /* No condition at all. */
    uint8_t nw_proto;
    bool has_zone;
    uint16_t zone;
    const char *src, *dst;          /* As text. */
    ovs_be16 tp_src, tp_dst;
};

static bool
parse_number(const char *s, unsigned int max, unsigned int *n)
{
    return str_to_uint(s, 10, n) && *n <= max;
}

/* Parses arguments of the form KEY=VALUE into 'filter'.  Returns null if
 * successful, otherwise an error message that the caller must free. */
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

static void
addr_to_string(const union nic_addr *addr, ovs_be16 dl_type,
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
    addr_to_string(addr, dl_type, buf);
    return !strcmp(buf, text);
}

/* Returns true if 'filter' selects a connection with 'tuple'. */
static bool
filter_matches(const struct conn_filter *filter, ovs_be16 dl_type,
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

static const char *
proto_name(uint8_t nw_proto)
{
    return (nw_proto == IPPROTO_TCP ? "tcp"
            : nw_proto == IPPROTO_UDP ? "udp" : "other");
}

/* What is shown of one direction. */
struct direction_info {
    bool offloaded;
    enum offload_reason reason;
    const char *nic_says;           /* Or null. */
    uint64_t sw_packets, sw_bytes;
    uint64_t nic_packets, nic_bytes;
};

static void
get_directions(const struct tracked_conn *tc, struct direction_info info[2])
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

static struct json *
direction_to_json(const struct tracked_conn *tc, int dir,
                  const struct direction_info *info)
{
    const struct nic_tuple *tuple = &tc->tuple[dir];
    struct json *o = json_object_create();
    char buf[INET6_ADDRSTRLEN];

    addr_to_string(&tuple->src, tc->dl_type, buf);
    json_object_put_string(o, "src", buf);
    addr_to_string(&tuple->dst, tc->dl_type, buf);
    json_object_put_string(o, "dst", buf);
    json_object_put(o, "sport", offload_json_uint(ntohs(tuple->tp_src)));
    json_object_put(o, "dport", offload_json_uint(ntohs(tuple->tp_dst)));
    json_object_put(o, "in_port",
                    offload_json_uint(odp_to_u32(tc->ingress[dir].in_port)));
    json_object_put(o, "offloaded", json_boolean_create(info->offloaded));
    json_object_put_string(o, "reason", offload_reason_name(info->reason));
    if (info->nic_says) {
        json_object_put_string(o, "nic_says", info->nic_says);
    }
    json_object_put(o, "sw_packets", offload_json_uint(info->sw_packets));
    json_object_put(o, "sw_bytes", offload_json_uint(info->sw_bytes));
    json_object_put(o, "nic_packets", offload_json_uint(info->nic_packets));
    json_object_put(o, "nic_bytes", offload_json_uint(info->nic_bytes));
    return o;
}

static struct json *
conn_to_json(const struct tracked_conn *tc)
{
    const char *datapath = dp_registry_type(tc->dp);
    struct json *o = json_object_create();
    struct direction_info info[2];

    get_directions(tc, info);
    json_object_put_string(o, "proto", proto_name(tc->nw_proto));
    json_object_put(o, "zone", offload_json_uint(tc->zone));
    json_object_put_string(o, "datapath", datapath ? datapath : "");
    json_object_put_string(o, "state", tracked_conn_state_name(tc));
    json_object_put_string(o, "nic", tc->onic ? tc->onic->nic->name : "");
    json_object_put_string(o, "mode", (!tc->onic ? ""
                                       : tc->onic->module ? "module"
                                       : "flat"));
    json_object_put(o, "orig", direction_to_json(tc, 0, &info[0]));
    json_object_put(o, "reply", direction_to_json(tc, 1, &info[1]));
    return o;
}

static void
conn_header(const struct tracked_conn *tc, struct ds *ds)
{
    ds_put_format(ds, "%s ", proto_name(tc->nw_proto));
    nic_tuple_format(&tc->tuple[0], tc->dl_type, ds);
    ds_put_format(ds, " zone %"PRIu16": %s", tc->zone,
                  tracked_conn_state_name(tc));
    if (tc->onic) {
        ds_put_format(ds, " (%s, %s)", tc->onic->nic->name,
                      tc->onic->module ? "module" : "flat");
    }
    ds_put_char(ds, '\n');
}

static void
conn_to_text(const struct tracked_conn *tc, struct ds *ds)
{
    static const char *const names[2] = { "original", "reply" };
    struct direction_info info[2];

    get_directions(tc, info);
    conn_header(tc, ds);
    for (int dir = 0; dir < 2; dir++) {
        ds_put_format(ds, "  %s: software %"PRIu64" packets, %"PRIu64
                      " bytes; NIC %"PRIu64" packets, %"PRIu64" bytes",
                      names[dir], info[dir].sw_packets, info[dir].sw_bytes,
                      info[dir].nic_packets, info[dir].nic_bytes);
        if (!info[dir].offloaded) {
            ds_put_format(ds, "; %s", offload_reason_name(info[dir].reason));
        }
        ds_put_char(ds, '\n');
    }
}

static int
compare_conns(const void *a_, const void *b_)
{
    const struct tracked_conn *const *a = a_;
    const struct tracked_conn *const *b = b_;

    return (*a)->id < (*b)->id ? -1 : (*a)->id > (*b)->id;
}

/* Returns the connections that 'filter' selects, in the order in which they
 * were announced, and stores their number in '*n'.  The caller frees the
 * array. */
static struct tracked_conn **
select_conns(const struct engine *engine, const struct conn_filter *filter,
             size_t *n)
{
    struct tracked_conn **conns;
    struct tracked_conn *tc;

    *n = 0;
    conns = xmalloc(MAX(hmap_count(&engine->conns_by_id), 1) * sizeof *conns);
    HMAP_FOR_EACH (tc, id_node, &engine->conns_by_id) {
        if (filter_matches(filter, tc->dl_type, tc->nw_proto, tc->zone,
                           &tc->tuple[0])) {
            conns[(*n)++] = tc;
        }
    }
    qsort(conns, *n, sizeof *conns, compare_conns);
    return conns;
}

static void
dump_connections(struct unixctl_conn *conn, int argc, const char *argv[],
                 void *aux OVS_UNUSED)
{
    bool json = offload_command_take_json(&argc, argv);
    struct engine *engine = offload_engine();
    struct tracked_conn **conns;
    struct conn_filter filter;
    char *error;
    size_t n;

    error = parse_filter(argc, argv, &filter);
    if (error) {
        unixctl_command_reply_error(conn, error);
        free(error);
        return;
    }

    engine_lock(engine);
    engine_drain(engine);
    conns = select_conns(engine, &filter, &n);
    if (json) {
        struct json *top = json_object_create();
        struct json *array = json_array_create_empty();

        for (size_t i = 0; i < n; i++) {
            json_array_add(array, conn_to_json(conns[i]));
        }
        json_object_put(top, "connections", array);
        offload_command_reply_json(conn, top);
    } else {
        struct ds ds = DS_EMPTY_INITIALIZER;

        for (size_t i = 0; i < n; i++) {
            conn_to_text(conns[i], &ds);
        }
        unixctl_command_reply(conn, ds_cstr(&ds));
        ds_destroy(&ds);
    }
    engine_unlock(engine);
    free(conns);
}

/* ct-offload/why. */

struct why_entry {
    char *what;                     /* Connection, megaflow. */
    char *direction;                /* "original", "reply" or "". */
    enum offload_reason reason;
    char *detail;                   /* More, or null. */
};

struct why_ctx {
    const struct conn_filter *filter;
    struct why_entry *entries;
    size_t n, allocated;
};

static void
add_why(struct why_ctx *ctx, char *what, const char *direction,
        enum offload_reason reason, char *detail)
{
    if (ctx->n == ctx->allocated) {
        ctx->entries = x2nrealloc(ctx->entries, &ctx->allocated,
                                  sizeof *ctx->entries);
    }
    ctx->entries[ctx->n++] = (struct why_entry) {
        .what = what,
        .direction = xstrdup(direction),
        .reason = reason,
        .detail = detail,
    };
}

static char *
conn_name(uint8_t nw_proto, ovs_be16 dl_type, uint16_t zone,
          const struct nic_tuple *tuple)
{
    struct ds ds = DS_EMPTY_INITIALIZER;

    ds_put_format(&ds, "%s ", proto_name(nw_proto));
    nic_tuple_format(tuple, dl_type, &ds);
    ds_put_format(&ds, " zone %"PRIu16, zone);
    return ds_steal_cstr(&ds);
}

/* Says why 'tc' is not offloaded, in each direction where it is not. */
static void
explain_conn(const struct tracked_conn *tc, struct why_ctx *ctx)
{
    static const char *const names[2] = { "original", "reply" };
    struct direction_info info[2];

    get_directions(tc, info);
    for (int dir = 0; dir < 2; dir++) {
        if (!info[dir].offloaded || !ctx->filter->any) {
            add_why(ctx, conn_name(tc->nw_proto, tc->dl_type, tc->zone,
                                   &tc->tuple[0]),
                    names[dir], info[dir].reason,
                    nullable_xstrdup(info[dir].nic_says));
        }
    }
}

static bool
is_tracked(const struct engine *engine, uint32_t dp,
           const struct ct_dpif_entry *entry, const struct nic_tuple *tuple)
{
    const struct tracked_conn *tc;

    HMAP_FOR_EACH (tc, id_node, &engine->conns_by_id) {
        if (tc->dp == dp && tc->zone == entry->zone
            && tc->nw_proto == entry->tuple_orig.ip_proto
            && !memcmp(&tc->tuple[0], tuple, sizeof *tuple)) {
            return true;
        }
    }
    return false;
}

/* Says of connections that conntrack has and that were never announced why
 * that is so. */
static void
explain_unannounced(struct conntrack *ct, uint32_t dp, void *ctx_)
{
    const struct engine *engine = offload_engine();
    struct why_ctx *ctx = ctx_;
    struct conntrack_dump dump;
    struct ct_dpif_entry entry;
    int n_buckets;

    if (conntrack_dump_start(ct, &dump, NULL, &n_buckets)) {
        return;
    }
    while (!conntrack_dump_next(&dump, &entry)) {
        ovs_be16 dl_type = (entry.tuple_orig.l3_type == AF_INET
                            ? htons(ETH_TYPE_IP) : htons(ETH_TYPE_IPV6));
        uint8_t nw_proto = entry.tuple_orig.ip_proto;
        struct nic_tuple tuple;

        memset(&tuple, 0, sizeof tuple);
        if (entry.tuple_orig.l3_type == AF_INET) {
            tuple.src.ipv4 = entry.tuple_orig.src.ip;
            tuple.dst.ipv4 = entry.tuple_orig.dst.ip;
        } else {
            tuple.src.ipv6 = entry.tuple_orig.src.in6;
            tuple.dst.ipv6 = entry.tuple_orig.dst.in6;
        }
        if (nw_proto != IPPROTO_ICMP && nw_proto != IPPROTO_ICMPV6) {
            tuple.tp_src = entry.tuple_orig.src_port;
            tuple.tp_dst = entry.tuple_orig.dst_port;
        }
        if (filter_matches(ctx->filter, dl_type, nw_proto, entry.zone, &tuple)
            && !is_tracked(engine, dp, &entry, &tuple)) {
            bool other = nw_proto != IPPROTO_TCP && nw_proto != IPPROTO_UDP;
            bool tcp_closing = (nw_proto == IPPROTO_TCP
                                && (entry.protoinfo.tcp.state_orig
                                    > CT_DPIF_TCPS_ESTABLISHED));

            add_why(ctx, conn_name(nw_proto, dl_type, entry.zone, &tuple), "",
                    other ? REASON_PROTO
                    : tcp_closing ? REASON_CLOSING
                    : !engine->config.enabled ? REASON_DISABLED
                    : REASON_NEW,
                    NULL);
        }
        ct_dpif_entry_uninit(&entry);
    }
    conntrack_dump_done(&dump);
}

/* Says of megaflows that pass ct() or follow it why they cannot be carried. */
static void
explain_megaflows(const struct engine *engine, struct why_ctx *ctx)
{
    struct megaflow *flow;

    CMAP_FOR_EACH (flow, ufid_node, &engine->mirror.by_ufid) {
        if (flow->program.end == MEGAFLOW_REFUSED) {
            struct ds ds = DS_EMPTY_INITIALIZER;

            ds_put_cstr(&ds, "megaflow ");
            odp_format_ufid(&flow->ufid, &ds);
            add_why(ctx, ds_steal_cstr(&ds), "", flow->program.reason, NULL);
        }
    }
}

static void
why_to_text(const struct why_ctx *ctx, struct ds *ds)
{
    for (size_t i = 0; i < ctx->n; i++) {
        const struct why_entry *e = &ctx->entries[i];

        ds_put_format(ds, "%s%s%s: %s (%s)", e->what,
                      e->direction[0] ? ", " : "", e->direction,
                      offload_reason_name(e->reason),
                      offload_reason_sentence(e->reason));
        if (e->detail) {
            ds_put_format(ds, ": %s", e->detail);
        }
        ds_put_char(ds, '\n');
    }
}

static struct json *
why_to_json(const struct why_ctx *ctx)
{
    struct json *top = json_object_create();
    struct json *array = json_array_create_empty();

    for (size_t i = 0; i < ctx->n; i++) {
        const struct why_entry *e = &ctx->entries[i];
        struct json *o = json_object_create();

        json_object_put_string(o, "what", e->what);
        json_object_put_string(o, "direction", e->direction);
        json_object_put_string(o, "reason", offload_reason_name(e->reason));
        json_object_put_string(o, "sentence",
                               offload_reason_sentence(e->reason));
        if (e->detail) {
            json_object_put_string(o, "nic_says", e->detail);
        }
        json_array_add(array, o);
    }
    json_object_put(top, "why", array);
    return top;
}

static void
why(struct unixctl_conn *conn, int argc, const char *argv[],
    void *aux OVS_UNUSED)
{
    bool json = offload_command_take_json(&argc, argv);
    struct engine *engine = offload_engine();
    struct conn_filter filter;
    struct why_ctx ctx = { .filter = &filter };
    struct tracked_conn **conns;
    char *error;
    size_t n;

    error = parse_filter(argc, argv, &filter);
    if (error) {
        unixctl_command_reply_error(conn, error);
        free(error);
        return;
    }

    engine_lock(engine);
    engine_drain(engine);
    conns = select_conns(engine, &filter, &n);
    for (size_t i = 0; i < n; i++) {
        explain_conn(conns[i], &ctx);
    }
    free(conns);
    dp_registry_for_each(explain_unannounced, &ctx);
    if (filter.any) {
        explain_megaflows(engine, &ctx);
    }
    engine_unlock(engine);

    if (json) {
        offload_command_reply_json(conn, why_to_json(&ctx));
    } else if (!ctx.n) {
        unixctl_command_reply(conn, filter.any ? "everything is offloaded\n"
                              : "conntrack has no such connection\n");
    } else {
        struct ds ds = DS_EMPTY_INITIALIZER;

        why_to_text(&ctx, &ds);
        unixctl_command_reply(conn, ds_cstr(&ds));
        ds_destroy(&ds);
    }
    for (size_t i = 0; i < ctx.n; i++) {
        free(ctx.entries[i].what);
        free(ctx.entries[i].direction);
        free(ctx.entries[i].detail);
    }
    free(ctx.entries);
}

void
offload_conn_commands_init(void)
{
    unixctl_command_register("ct-offload/dump-connections",
                             "[--json] [proto=P] [src=A] [dst=A] [sport=N] "
                             "[dport=N] [zone=N]", 0, 7, dump_connections,
                             NULL);
    unixctl_command_register("ct-offload/why",
                             "[--json] [proto=P] [src=A] [dst=A] [sport=N] "
                             "[dport=N] [zone=N]", 0, 7, why, NULL);
}
