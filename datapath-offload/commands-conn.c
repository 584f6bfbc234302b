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

/* Puts 'tuple' into 'o'. */
static void
tuple_to_json(const struct nic_tuple *tuple, ovs_be16 dl_type, struct json *o)
{
    char buf[INET6_ADDRSTRLEN];

    conn_addr_to_string(&tuple->src, dl_type, buf);
    json_object_put_string(o, "src", buf);
    conn_addr_to_string(&tuple->dst, dl_type, buf);
    json_object_put_string(o, "dst", buf);
    json_object_put(o, "sport", offload_json_uint(ntohs(tuple->tp_src)));
    json_object_put(o, "dport", offload_json_uint(ntohs(tuple->tp_dst)));
}

static struct json *
direction_to_json(const struct tracked_conn *tc, int dir,
                  const struct conn_direction *info)
{
    const struct nic_tuple *tuple = &tc->tuple[dir];
    struct json *o = json_object_create();

    tuple_to_json(tuple, tc->dl_type, o);
    if (tc->nat_parts[dir]) {
        struct nic_tuple translated;
        struct json *nat = json_object_create();

        tracked_conn_get_translated(tc, dir, &translated);
        tuple_to_json(&translated, tc->dl_type, nat);
        json_object_put(o, "nat", nat);
    }
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
    struct conn_direction info[2];

    conn_directions_get(tc, info);
    json_object_put_string(o, "proto", conn_proto_name(tc->nw_proto));
    json_object_put(o, "zone", offload_json_uint(tc->zone));
    json_object_put(o, "mark", offload_json_uint(tc->mark));
    json_object_put_format(o, "label", "0x%016"PRIx64"%016"PRIx64,
                           tc->label.u64.hi, tc->label.u64.lo);
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
conn_to_text(const struct tracked_conn *tc, struct ds *ds)
{
    struct conn_direction info[2];

    conn_directions_get(tc, info);
    conn_header_format(tc, ds);
    for (int dir = 0; dir < 2; dir++) {
        ds_put_format(ds, "  %s: software %"PRIu64" packets, %"PRIu64
                      " bytes; NIC %"PRIu64" packets, %"PRIu64" bytes",
                      conn_direction_names[dir],
                      info[dir].sw_packets, info[dir].sw_bytes,
                      info[dir].nic_packets, info[dir].nic_bytes);
        if (!info[dir].offloaded) {
            ds_put_format(ds, "; %s", offload_reason_name(info[dir].reason));
        }
        ds_put_char(ds, '\n');
    }
}

static void
dump_connections(struct unixctl_conn *conn, int argc, const char *argv[],
                 void *aux OVS_UNUSED)
{
    bool json = offload_command_take_json(&argc, argv);
    struct engine *engine = offload_engine();
    struct tracked_conn **conns;
    struct conn_filter filter;
    size_t n;

    conns = conn_filter_begin(conn, argc, argv, engine, &filter, &n);
    if (!conns) {
        return;
    }
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

void
offload_conn_commands_init(void)
{
    unixctl_command_register("ct-offload/dump-connections",
                             "[--json] [proto=P] [src=A] [dst=A] [sport=N] "
                             "[dport=N] [zone=N]", 0, 7, dump_connections,
                             NULL);
    offload_why_command_init();
    offload_trace_command_init();
}
