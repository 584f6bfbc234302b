/* SPDX-License-Identifier: Apache-2.0 */

/* ovs-appctl vport-bond/show and vport-bond/move. */

#include <config.h>
#include "vport-bond-config.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "datapath-offload/dp-bond-stats.h"
#include "flow.h"
#include "odp-util.h"
#include "openvswitch/dynamic-string.h"
#include "openvswitch/json.h"
#include "timeval.h"
#include "unixctl.h"
#include "util.h"
#include "vport-bond-state.h"
#include "vport-bond-watcher.h"

static const char *
announced_to_string(enum vport_bond_announced announced)
{
    switch (announced) {
    case VPORT_BOND_ANNOUNCED:
        return "announced";
    case VPORT_BOND_NOT_ANNOUNCED:
        return "not announced";
    case VPORT_BOND_NOT_MOVED:
    default:
        return "none";
    }
}

static void
put_seconds(struct ds *s, long long int ms)
{
    ds_put_format(s, "%lld.%03lld s", ms / 1000, ms % 1000);
}

/* Text. */

static void
format_uplink(const struct vport_bond_uplink_state *uplink, struct ds *s)
{
    ds_put_format(s, "  uplink %s: datapath port %"PRIu32", %s, carrier %s, "
                  "%s by OVS, for ", uplink->name, uplink->odp_port,
                  uplink->eligible ? "eligible" : "not eligible",
                  uplink->carrier ? "up" : "down",
                  uplink->enabled ? "enabled" : "disabled");
    put_seconds(s, time_msec() - uplink->since_ms);
    ds_put_format(s, ", %u vports, %"PRIu64" losses", uplink->n_vports,
                  uplink->n_losses);
    if (uplink->due_in_ms >= 0) {
        ds_put_format(s, ", carrier counts in %lld ms%s", uplink->due_in_ms,
                      uplink->damped ? " (flapping)" : "");
    }
    if (uplink->usable && !uplink->eligible) {
        ds_put_cstr(s, ", used as there is no better");
    }
    ds_put_char(s, '\n');
}

static void
format_vport(const struct vport_bond_vport_state *vport,
             const struct dp_bond_stats *stats, struct ds *s)
{
    ds_put_format(s, "  vport %s: lb_output(%"PRIu32"), primary %s%s, "
                  "uplink %s, %"PRIu64" moves", vport->name, vport->id,
                  vport->primary ? vport->primary : "any",
                  vport->by_hand ? " (moved by hand)" : "",
                  vport->current ? vport->current : "none",
                  vport->n_moves);
    if (vport->n_moves) {
        ds_put_cstr(s, ", last ");
        put_seconds(s, time_msec() - vport->last_move_ms);
        ds_put_format(s, " ago in %lld us, ", vport->duration_usec);
        if (vport->announced == VPORT_BOND_ANNOUNCED) {
            ds_put_format(s, "%u addresses announced", vport->n_macs);
        } else if (vport->announced == VPORT_BOND_NOT_ANNOUNCED) {
            ds_put_cstr(s, "not announced (no address is known)");
        } else {
            ds_put_cstr(s, "nothing to announce");
        }
    }
    ds_put_format(s, ", %"PRIu64" packets, %"PRIu64" bytes in software\n",
                  stats->packets, stats->bytes);
}

static void
format_bond(const struct vport_bond_state *bond,
            const struct dp_bond_stats stats[], struct ds *s)
{
    ds_put_format(s, "bond %s: datapath %s@%s, updelay %d ms, downdelay "
                  "%d ms, revert %s\n", bond->name, bond->dp_type,
                  bond->dp_name, bond->settings.updelay_ms,
                  bond->settings.downdelay_ms,
                  bond->settings.revert ? "true" : "false");
    for (size_t i = 0; i < bond->n_uplinks; i++) {
        format_uplink(&bond->uplinks[i], s);
    }
    for (size_t i = 0; i < bond->n_vports; i++) {
        format_vport(&bond->vports[i], &stats[i], s);
    }
}

/* JSON. */

static struct json *
nullable_string(const char *string)
{
    return string ? json_string_create(string) : json_null_create();
}

static struct json *
uplink_to_json(const struct vport_bond_uplink_state *uplink)
{
    struct json *json = json_object_create();

    json_object_put_string(json, "name", uplink->name);
    json_object_put(json, "datapath-port",
                    json_integer_create(odp_to_u32(uplink->odp_port)));
    json_object_put(json, "carrier", json_boolean_create(uplink->carrier));
    json_object_put(json, "enabled", json_boolean_create(uplink->enabled));
    json_object_put(json, "eligible", json_boolean_create(uplink->eligible));
    json_object_put(json, "usable", json_boolean_create(uplink->usable));
    json_object_put(json, "flapping", json_boolean_create(uplink->damped));
    json_object_put(json, "since-ms",
                    json_integer_create(time_msec() - uplink->since_ms));
    json_object_put(json, "due-in-ms",
                    uplink->due_in_ms < 0
                    ? json_null_create()
                    : json_integer_create(uplink->due_in_ms));
    json_object_put(json, "losses", json_integer_create(uplink->n_losses));
    json_object_put(json, "vports", json_integer_create(uplink->n_vports));
    return json;
}

static struct json *
vport_to_json(const struct vport_bond_vport_state *vport,
              const struct dp_bond_stats *stats)
{
    struct json *json = json_object_create();
    bool moved = vport->n_moves > 0;

    json_object_put_string(json, "name", vport->name);
    json_object_put(json, "datapath-port",
                    vport->odp_port == ODPP_NONE
                    ? json_null_create()
                    : json_integer_create(odp_to_u32(vport->odp_port)));
    json_object_put(json, "id", json_integer_create(vport->id));
    json_object_put(json, "primary", nullable_string(vport->primary));
    json_object_put(json, "home", nullable_string(vport->home));
    json_object_put(json, "uplink", nullable_string(vport->current));
    json_object_put(json, "by-hand", json_boolean_create(vport->by_hand));
    json_object_put(json, "moves", json_integer_create(vport->n_moves));
    json_object_put(json, "last-move-ms-ago",
                    moved ? json_integer_create(time_msec()
                                                - vport->last_move_ms)
                    : json_null_create());
    json_object_put(json, "last-move-usec",
                    moved ? json_integer_create(vport->duration_usec)
                    : json_null_create());
    json_object_put(json, "last-move-nic-done-usec",
                    moved ? json_integer_create(vport->nic_done_usec)
                    : json_null_create());
    json_object_put(json, "last-move-done-usec",
                    moved ? json_integer_create(vport->done_usec)
                    : json_null_create());
    json_object_put_string(json, "announced",
                           announced_to_string(vport->announced));
    json_object_put(json, "announced-addresses",
                    json_integer_create(vport->n_macs));
    json_object_put(json, "software-packets",
                    json_integer_create(stats->packets));
    json_object_put(json, "software-bytes",
                    json_integer_create(stats->bytes));
    return json;
}

static struct json *
bond_to_json(const struct vport_bond_state *bond,
             const struct dp_bond_stats stats[])
{
    struct json *uplinks = json_array_create_empty();
    struct json *vports = json_array_create_empty();
    struct json *json = json_object_create();

    for (size_t i = 0; i < bond->n_uplinks; i++) {
        json_array_add(uplinks, uplink_to_json(&bond->uplinks[i]));
    }
    for (size_t i = 0; i < bond->n_vports; i++) {
        json_array_add(vports, vport_to_json(&bond->vports[i], &stats[i]));
    }
    json_object_put_string(json, "name", bond->name);
    json_object_put_string(json, "datapath-type", bond->dp_type);
    json_object_put_string(json, "datapath", bond->dp_name);
    json_object_put(json, "updelay-ms",
                    json_integer_create(bond->settings.updelay_ms));
    json_object_put(json, "downdelay-ms",
                    json_integer_create(bond->settings.downdelay_ms));
    json_object_put(json, "revert",
                    json_boolean_create(bond->settings.revert));
    json_object_put(json, "uplinks", uplinks);
    json_object_put(json, "vports", vports);
    return json;
}

/* Commands. */

static struct dp_bond_stats *
read_stats(const struct vport_bond_state *bond)
{
    struct dp_bond_stats *stats = xzalloc(MAX(bond->n_vports, 1)
                                          * sizeof *stats);

    for (size_t i = 0; i < bond->n_vports; i++) {
        dp_bond_stats_get(bond->dp_type, bond->dp_name, bond->vports[i].id,
                          &stats[i]);
    }
    return stats;
}

static void
command_show(struct unixctl_conn *conn, int argc, const char *argv[],
             void *aux OVS_UNUSED)
{
    struct ds s = DS_EMPTY_INITIALIZER;
    struct vport_bond_state *bonds;
    struct json *array = NULL;
    const char *name = NULL;
    size_t n;

    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--json")) {
            array = array ? array : json_array_create_empty();
        } else if (!name && argv[i][0] != '-') {
            name = argv[i];
        } else {
            char *error = xasprintf("%s: unexpected argument, usage: "
                                    "vport-bond/show [BOND] [--json]",
                                    argv[i]);

            unixctl_command_reply_error(conn, error);
            free(error);
            json_destroy(array);
            return;
        }
    }

    n = vport_bond_watcher_get_state(name, &bonds);
    if (name && !n) {
        char *error = xasprintf("%s: not a bond with vport-bond=true", name);

        unixctl_command_reply_error(conn, error);
        free(error);
    } else {
        for (size_t i = 0; i < n; i++) {
            struct dp_bond_stats *stats = read_stats(&bonds[i]);

            if (array) {
                json_array_add(array, bond_to_json(&bonds[i], stats));
            } else {
                format_bond(&bonds[i], stats, &s);
            }
            free(stats);
        }
        if (array) {
            json_to_ds(array, JSSF_PRETTY | JSSF_SORT, &s);
        }
        unixctl_command_reply(conn, ds_cstr(&s));
    }
    vport_bond_states_free(bonds, n);
    json_destroy(array);
    ds_destroy(&s);
}

static void
command_move(struct unixctl_conn *conn, int argc OVS_UNUSED,
             const char *argv[], void *aux OVS_UNUSED)
{
    char *error = vport_bond_watcher_move(argv[1], argv[2]);

    if (error) {
        unixctl_command_reply_error(conn, error);
        free(error);
    } else {
        unixctl_command_reply(conn, NULL);
    }
}

void
vport_bond_commands_init(void)
{
    unixctl_command_register("vport-bond/show", "[BOND] [--json]", 0, 2,
                             command_show, NULL);
    unixctl_command_register("vport-bond/move", "VPORT UPLINK", 2, 2,
                             command_move, NULL);
}
