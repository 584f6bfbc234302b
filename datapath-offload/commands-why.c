/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>
#include "commands-conn.h"

#include <string.h>

#include "conn-show.h"
#include "conntrack.h"
#include "engine-private.h"
#include "odp-util.h"
#include "offload.h"
#include "openvswitch/dynamic-string.h"
#include "openvswitch/json.h"
#include "packets.h"
#include "unixctl.h"
#include "util.h"

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

    conn_name_format(nw_proto, dl_type, zone, tuple, &ds);
    return ds_steal_cstr(&ds);
}

/* Says why 'tc' is not offloaded, in each direction where it is not. */
static void
explain_conn(const struct tracked_conn *tc, struct why_ctx *ctx)
{
    struct conn_direction info[2];

    conn_directions_get(tc, info);
    for (int dir = 0; dir < 2; dir++) {
        if (!info[dir].offloaded || !ctx->filter->any) {
            add_why(ctx, conn_name(tc->nw_proto, tc->dl_type, tc->zone,
                                   &tc->tuple[0]),
                    conn_direction_names[dir], info[dir].reason,
                    nullable_xstrdup(info[dir].nic_says));
        }
    }
}

static bool
is_tracked(const struct engine *engine, uint32_t dp,
           const struct ct_dpif_entry *entry, ovs_be16 dl_type,
           const struct nic_tuple *tuple)
{
    const struct tracked_conn like = {
        .engine = CONST_CAST(struct engine *, engine),
        .dp = dp,
        .dl_type = dl_type,
        .nw_proto = entry->tuple_orig.ip_proto,
    };

    return conn_index_has(&like, entry->zone, tuple);
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
        if (conn_filter_matches(ctx->filter, dl_type, nw_proto, entry.zone,
                                &tuple)
            && !is_tracked(engine, dp, &entry, dl_type, &tuple)) {
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
        if (flow->program->reason != REASON_NONE) {
            char *s = megaflow_to_string(flow);

            add_why(ctx, xasprintf("megaflow %s", s), "",
                    flow->program->reason, NULL);
            free(s);
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
    size_t n;

    conns = conn_filter_begin(conn, argc, argv, engine, &filter, &n);
    if (!conns) {
        return;
    }
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
offload_why_command_init(void)
{
    unixctl_command_register("ct-offload/why",
                             "[--json] [proto=P] [src=A] [dst=A] [sport=N] "
                             "[dport=N] [zone=N]", 0, 7, why, NULL);
}
