/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>
#include "commands.h"

#include <stdlib.h>
#include <string.h>

#include "commands-conn.h"
#include "engine-private.h"
#include "offload-config.h"
#include "offload-ports.h"
#include "offload.h"
#include "openvswitch/dynamic-string.h"
#include "openvswitch/json.h"
#include "timeval.h"
#include "unixctl.h"
#include "util.h"

#define SYNC_TIMEOUT_MS 10000

bool
offload_command_take_json(int *argc, const char *argv[])
{
    for (int i = 1; i < *argc; i++) {
        const char *arg = argv[i];

        if (!strcmp(arg, "--json")) {
            /* The caller frees what is in 'argv'. */
            memmove(&argv[i], &argv[i + 1], (*argc - i - 1) * sizeof *argv);
            argv[--*argc] = arg;
            return true;
        }
    }
    return false;
}

void
offload_command_reply_json(struct unixctl_conn *conn, struct json *json)
{
    char *s = json_to_string(json, JSSF_SORT);

    unixctl_command_reply(conn, s);
    free(s);
    json_destroy(json);
}

struct json *
offload_json_uint(uint64_t n)
{
    return json_integer_create(MIN(n, INT64_MAX));
}

static const char *
limit_to_string(uint32_t limit, char buf[16])
{
    if (limit == UINT32_MAX) {
        return "unlimited";
    }
    snprintf(buf, 16, "%"PRIu32, limit);
    return buf;
}

/* ct-offload/show. */

/* Connections counted by state and reason. */
struct conn_counts {
    size_t n, n_offloaded, n_partly;
    size_t by_reason[N_REASONS];
    uint64_t packets, bytes;
};

static void
count_conns(const struct engine *engine, struct conn_counts *counts)
{
    const struct tracked_conn *tc;

    memset(counts, 0, sizeof *counts);
    HMAP_FOR_EACH (tc, id_node, &engine->conns_by_id) {
        bool carried[2] = {
            tracked_conn_is_carried(tc, 0),
            tracked_conn_is_carried(tc, 1),
        };

        counts->n++;
        if (carried[0] && carried[1]) {
            counts->n_offloaded++;
        } else {
            int dir = carried[0] ? 1 : 0;
            const char *why;

            counts->n_partly += carried[0] || carried[1];
            counts->by_reason[tracked_conn_get_reason(tc, dir, &why)]++;
        }
        for (int dir = 0; dir < 2; dir++) {
            counts->packets += tc->carried[dir].packets;
            counts->bytes += tc->carried[dir].bytes;
        }
    }
}

static struct json *
show_json(const struct engine *engine, const struct conn_counts *counts)
{
    struct json *top = json_object_create();
    struct json *reasons = json_object_create();
    struct json *nics = json_array_create_empty();
    const struct offload_nic *onic;

    json_object_put(top, "enabled",
                    json_boolean_create(engine->config.enabled));
    json_object_put_string(top, "mode",
                           engine_mode_to_string(engine->config.mode));
    json_object_put(top, "connections", offload_json_uint(counts->n));
    json_object_put(top, "offloaded", offload_json_uint(counts->n_offloaded));
    json_object_put(top, "partly_offloaded",
                    offload_json_uint(counts->n_partly));
    json_object_put(top, "unannounced",
                    offload_json_uint(ct_get_n_unannounced()));
    for (int i = 0; i < N_REASONS; i++) {
        if (counts->by_reason[i]) {
            json_object_put(reasons, offload_reason_name(i),
                            offload_json_uint(counts->by_reason[i]));
        }
    }
    json_object_put(top, "reasons", reasons);
    json_object_put(top, "megaflows",
                    offload_json_uint(engine->mirror.n_flows));
    json_object_put(top, "paths",
                    offload_json_uint(hmap_count(&engine->paths)));
    json_object_put(top, "moved_packets",
                    offload_json_uint(engine->mirror.moved_packets));
    json_object_put(top, "moved_bytes",
                    offload_json_uint(engine->mirror.moved_bytes));
    json_object_put(top, "unattributed_packets",
                    offload_json_uint(engine->mirror.unattributed_packets));
    json_object_put(top, "unattributed_bytes",
                    offload_json_uint(engine->mirror.unattributed_bytes));
    LIST_FOR_EACH (onic, node, &engine->nics) {
        struct json *o = json_object_create();

        json_object_put_string(o, "name", onic->nic->name);
        json_object_put_string(o, "mode", onic->module ? "module" : "flat");
        json_object_put(o, "connections", offload_json_uint(onic->n_conns));
        json_object_put(o, "objects", offload_json_uint(onic->n_present));
        json_object_put(o, "pending", offload_json_uint(onic->n_pending));
        json_object_put(o, "submitted", offload_json_uint(onic->n_submitted));
        json_object_put(o, "failed", offload_json_uint(onic->n_failed));
        json_object_put(o, "resets", offload_json_uint(onic->n_resets));
        json_object_put(o, "stats_period_ms",
                        offload_json_uint(offload_nic_stats_lag(onic)));
        json_array_add(nics, o);
    }
    json_object_put(top, "nics", nics);
    return top;
}

static void
show_text(const struct engine *engine, const struct conn_counts *counts,
          struct ds *ds)
{
    const struct offload_nic *onic;

    ds_put_format(ds, "connection offload: %s, mode %s\n",
                  engine->config.enabled ? "on" : "off",
                  engine_mode_to_string(engine->config.mode));
    ds_put_format(ds, "connections: %"PRIuSIZE" known, %"PRIuSIZE" offloaded, "
                  "%"PRIuSIZE" in one direction only\n",
                  counts->n, counts->n_offloaded, counts->n_partly);
    for (int i = 0; i < N_REASONS; i++) {
        if (counts->by_reason[i]) {
            ds_put_format(ds, "  %s: %"PRIuSIZE" (%s)\n",
                          offload_reason_name(i), counts->by_reason[i],
                          offload_reason_sentence(i));
        }
    }
    ds_put_format(ds, "megaflows: %"PRIuSIZE", paths: %"PRIuSIZE"\n",
                  engine->mirror.n_flows, hmap_count(&engine->paths));
    ds_put_format(ds, "counts that came late: %"PRIu64" packets credited to "
                  "a successor megaflow\n", engine->mirror.moved_packets);
    ds_put_format(ds, "unattributed: %"PRIu64" packets, %"PRIu64" bytes\n",
                  engine->mirror.unattributed_packets,
                  engine->mirror.unattributed_bytes);
    LIST_FOR_EACH (onic, node, &engine->nics) {
        ds_put_format(ds, "%s: mode %s, %"PRIuSIZE" connections, "
                      "%"PRIuSIZE" objects, %"PRIuSIZE" pending\n",
                      onic->nic->name, onic->module ? "module" : "flat",
                      onic->n_conns, onic->n_present, onic->n_pending);
        ds_put_format(ds, "  operations: %"PRIu64" submitted, %"PRIu64
                      " failed; resets: %"PRIu64"\n",
                      onic->n_submitted, onic->n_failed, onic->n_resets);
        ds_put_format(ds, "  statistics lag by at most %lld ms\n",
                      offload_nic_stats_lag(onic));
    }
}

struct json *
offload_commands_show_json(void)
{
    struct engine *engine = offload_engine();
    struct conn_counts counts;
    struct json *json;

    engine_lock(engine);
    count_conns(engine, &counts);
    json = show_json(engine, &counts);
    engine_unlock(engine);
    return json;
}

static void
ct_offload_show(struct unixctl_conn *conn, int argc, const char *argv[],
                void *aux OVS_UNUSED)
{
    bool json = offload_command_take_json(&argc, argv);

    if (argc > 1) {
        unixctl_command_reply_error(conn, "takes no argument but --json");
    } else if (json) {
        offload_command_reply_json(conn, offload_commands_show_json());
    } else {
        struct engine *engine = offload_engine();
        struct ds ds = DS_EMPTY_INITIALIZER;
        struct conn_counts counts;

        engine_lock(engine);
        count_conns(engine, &counts);
        show_text(engine, &counts, &ds);
        engine_unlock(engine);
        unixctl_command_reply(conn, ds_cstr(&ds));
        ds_destroy(&ds);
    }
}

static void
ct_offload_flush(struct unixctl_conn *conn, int argc OVS_UNUSED,
                 const char *argv[] OVS_UNUSED, void *aux OVS_UNUSED)
{
    struct engine *engine = offload_engine();

    engine_lock(engine);
    engine_flush(engine, time_msec());
    engine_unlock(engine);
    offload_wake();
    unixctl_command_reply(conn, NULL);
}

static void
ct_offload_sync(struct unixctl_conn *conn, int argc, const char *argv[],
                void *aux OVS_UNUSED)
{
    int timeout_ms = SYNC_TIMEOUT_MS;

    if (argc > 1 && (!str_to_int(argv[1], 10, &timeout_ms)
                     || timeout_ms < 0)) {
        unixctl_command_reply_error(conn, "the argument is a timeout in "
                                    "milliseconds");
        return;
    }
    offload_sync(conn, timeout_ms);
}

/* nic/show. */

static void
put_caps_json(struct json *o, const struct nic_caps *caps)
{
    struct json *c = json_object_create();

#define CAP(NAME) json_object_put(c, #NAME, json_boolean_create(caps->NAME))
    CAP(ct_module);
    CAP(tcp_window);
    CAP(egress_object);
    CAP(ingress_share);
    CAP(cross_uplink);
    CAP(last_hit_time);
    CAP(atomic_update);
    CAP(l4_csum_check);
    CAP(ipv6);
#undef CAP
    json_object_put(c, "max_rules", offload_json_uint(caps->max_rules));
    json_object_put(c, "max_conns", offload_json_uint(caps->max_conns));
    json_object_put(c, "rate", offload_json_uint(caps->rate));
    json_object_put(c, "stale_ms", offload_json_uint(caps->stale_ms));
    json_object_put(o, "capabilities", c);
}

static void
format_caps(const struct nic_caps *caps, struct ds *ds)
{
    char buf[2][16];

    ds_put_cstr(ds, "  capabilities:");
#define CAP(NAME, TEXT) if (caps->NAME) { ds_put_cstr(ds, " " TEXT); }
    CAP(ct_module, "ct-module");
    CAP(tcp_window, "tcp-window");
    CAP(egress_object, "egress-object");
    CAP(ingress_share, "ingress-share");
    CAP(cross_uplink, "cross-uplink");
    CAP(last_hit_time, "last-hit-time");
    CAP(atomic_update, "atomic-update");
    CAP(l4_csum_check, "l4-csum-check");
    CAP(ipv6, "ipv6");
#undef CAP
    ds_put_format(ds, "\n  limits: %s rules, %s connections, ",
                  limit_to_string(caps->max_rules, buf[0]),
                  limit_to_string(caps->max_conns, buf[1]));
    if (caps->rate) {
        ds_put_format(ds, "%"PRIu32" operations/s, ", caps->rate);
    }
    ds_put_format(ds, "counters up to %"PRIu32" ms stale\n", caps->stale_ms);
}

static void
nic_to_json(struct nic *nic, const char *config, void *array)
{
    struct json *o = json_object_create();
    struct nic_stats stats;
    struct nic_caps caps;

    nic->class->get_caps(nic, &caps);
    nic->class->get_stats(nic, &stats);
    json_object_put_string(o, "name", nic->name);
    json_object_put_string(o, "type", nic->class->type);
    json_object_put_string(o, "config", config);
    put_caps_json(o, &caps);
#define STAT(NAME) json_object_put(o, #NAME, offload_json_uint(stats.NAME))
    STAT(n_rules);
    STAT(n_conns);
    STAT(n_egresses);
    STAT(n_ops);
    STAT(n_failed);
    STAT(n_pending);
    STAT(n_stale);
    STAT(carried_packets);
    STAT(carried_bytes);
    STAT(missed_packets);
    STAT(dropped_packets);
#undef STAT
    json_array_add(array, o);
}

static void
port_to_json(const struct offload_port_info *port, void *array)
{
    struct json *o = json_object_create();

    json_object_put_string(o, "name", port->name);
    json_object_put_string(o, "datapath", port->dpif_type);
    json_object_put(o, "port", offload_json_uint(odp_to_u32(port->odp_port)));
    json_object_put_string(o, "owner", port->owner);
    json_object_put_string(o, "why", port->why);
    if (port->nic) {
        json_object_put_string(o, "nic", port->nic->name);
        json_object_put(o, "nic_port", offload_json_uint(port->id));
        json_object_put_string(o, "role", nic_port_role_to_string(port->role));
        json_object_put(o, "ct_offload",
                        json_boolean_create(port->ct_offload));
        if (port->problem) {
            json_object_put_string(o, "problem", port->problem);
        }
    }
    json_array_add(array, o);
}

static void
nic_to_text(struct nic *nic, const char *config, void *ds_)
{
    struct nic_stats stats;
    struct nic_caps caps;
    struct ds *ds = ds_;

    nic->class->get_caps(nic, &caps);
    nic->class->get_stats(nic, &stats);
    ds_put_format(ds, "%s: type %s, config \"%s\"\n", nic->name,
                  nic->class->type, config);
    format_caps(&caps, ds);
    ds_put_format(ds, "  holds: %"PRIu32" rules, %"PRIu32" connections, "
                  "%"PRIu32" egresses, %"PRIu32" operations pending\n",
                  stats.n_rules, stats.n_conns, stats.n_egresses,
                  stats.n_pending);
    ds_put_format(ds, "  operations: %"PRIu64" done, %"PRIu64" failed; "
                  "stale objects removed at start: %"PRIu32"\n",
                  stats.n_ops, stats.n_failed, stats.n_stale);
    ds_put_format(ds, "  packets: %"PRIu64" carried (%"PRIu64" bytes), "
                  "%"PRIu64" missed, %"PRIu64" dropped\n",
                  stats.carried_packets, stats.carried_bytes,
                  stats.missed_packets, stats.dropped_packets);
}

static void
port_to_text(const struct offload_port_info *port, void *ds_)
{
    struct ds *ds = ds_;

    ds_put_format(ds, "port %s: %s port %"PRIu32", owner %s (%s)", port->name,
                  port->dpif_type, odp_to_u32(port->odp_port), port->owner,
                  port->why);
    if (port->nic) {
        ds_put_format(ds, ", %s of %s, NIC port %"PRIu32"%s",
                      nic_port_role_to_string(port->role), port->nic->name,
                      port->id, port->ct_offload ? "" : ", ct-offload=false");
    }
    if (port->problem) {
        ds_put_format(ds, "; problem: %s", port->problem);
    }
    ds_put_char(ds, '\n');
}

struct json *
offload_commands_nic_json(void)
{
    struct json *top = json_object_create();
    struct json *nics = json_array_create_empty();
    struct json *ports = json_array_create_empty();

    offload_config_for_each_nic(nic_to_json, nics);
    offload_ports_for_each(port_to_json, ports);
    json_object_put(top, "nics", nics);
    json_object_put(top, "ports", ports);
    return top;
}

static void
nic_show(struct unixctl_conn *conn, int argc, const char *argv[],
         void *aux OVS_UNUSED)
{
    bool json = offload_command_take_json(&argc, argv);

    if (argc > 1) {
        unixctl_command_reply_error(conn, "takes no argument but --json");
    } else if (json) {
        offload_command_reply_json(conn, offload_commands_nic_json());
    } else {
        struct ds ds = DS_EMPTY_INITIALIZER;

        offload_config_for_each_nic(nic_to_text, &ds);
        offload_ports_for_each(port_to_text, &ds);
        unixctl_command_reply(conn, ds_cstr(&ds));
        ds_destroy(&ds);
    }
}

/* nic/dump-rules. */

struct dump_ctx {
    struct json *array;             /* Or null, to use... */
    struct ds *ds;
    const char *nic;
};

static void
dump_object(const char *kind, nic_handle handle, const char *description,
            const struct nic_counter *counter, void *ctx_)
{
    struct dump_ctx *ctx = ctx_;

    if (ctx->array) {
        struct json *o = json_object_create();
        char *id = xasprintf("%#"PRIx64, handle);

        json_object_put_string(o, "nic", ctx->nic);
        json_object_put_string(o, "kind", kind);
        json_object_put_string(o, "handle", id);
        json_object_put_string(o, "description", description);
        if (counter) {
            json_object_put(o, "packets",
                            offload_json_uint(counter->packets));
            json_object_put(o, "bytes", offload_json_uint(counter->bytes));
        }
        json_array_add(ctx->array, o);
        free(id);
    } else {
        ds_put_format(ctx->ds, "%s %s %#"PRIx64": %s", ctx->nic, kind, handle,
                      description);
        if (counter) {
            ds_put_format(ctx->ds, ", packets:%"PRIu64", bytes:%"PRIu64,
                          counter->packets, counter->bytes);
        }
        ds_put_char(ctx->ds, '\n');
    }
}

static void
dump_nic(struct nic *nic, const char *config OVS_UNUSED, void *ctx_)
{
    struct dump_ctx *ctx = ctx_;

    ctx->nic = nic->name;
    nic->class->dump(nic, dump_object, ctx);
}

static void
nic_dump_rules(struct unixctl_conn *conn, int argc, const char *argv[],
               void *aux OVS_UNUSED)
{
    bool json = offload_command_take_json(&argc, argv);
    struct ds ds = DS_EMPTY_INITIALIZER;
    struct dump_ctx ctx = { .ds = &ds };
    struct nic *nic = argc > 1 ? offload_config_find_nic(argv[1]) : NULL;

    if (argc > 2 || (argc > 1 && !nic)) {
        unixctl_command_reply_error(conn, argc > 2 ? "too many arguments"
                                    : "no such NIC; see nic/show");
        return;
    }
    ctx.array = json ? json_array_create_empty() : NULL;

    engine_lock(offload_engine());
    if (nic) {
        dump_nic(nic, NULL, &ctx);
    } else {
        offload_config_for_each_nic(dump_nic, &ctx);
    }
    engine_unlock(offload_engine());

    if (json) {
        offload_command_reply_json(conn, ctx.array);
    } else {
        unixctl_command_reply(conn, ds_cstr(&ds));
    }
    ds_destroy(&ds);
}

void
offload_commands_init(void)
{
    unixctl_command_register("ct-offload/show", "[--json]", 0, 1,
                             ct_offload_show, NULL);
    unixctl_command_register("ct-offload/flush", "", 0, 0, ct_offload_flush,
                             NULL);
    unixctl_command_register("ct-offload/sync", "[TIMEOUT-MS]", 0, 1,
                             ct_offload_sync, NULL);
    unixctl_command_register("nic/show", "[--json]", 0, 1, nic_show, NULL);
    unixctl_command_register("nic/dump-rules", "[--json] [NIC]", 0, 2,
                             nic_dump_rules, NULL);
    offload_conn_commands_init();
}
