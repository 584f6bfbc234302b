/* SPDX-License-Identifier: Apache-2.0 */

/* ct-offload/trace: the paths of a connection, what they depend on, and the
 * rules that follow from them. */

#include <config.h>
#include "commands-conn.h"

#include "conn-show.h"
#include "engine-private.h"
#include "odp-util.h"
#include "offload.h"
#include "openvswitch/dynamic-string.h"
#include "openvswitch/json.h"
#include "packets.h"
#include "unixctl.h"
#include "util.h"

static void
ct_format(const struct megaflow_op *op, struct ds *ds)
{
    ds_put_format(ds, "ct(zone=%"PRIu16, op->ct.zone);
    if (op->ct.nat) {
        ds_put_cstr(ds, ",nat");
    }
    if (op->ct.force) {
        ds_put_cstr(ds, ",force");
    }
    if (op->ct.mark_mask) {
        ds_put_format(ds, ",mark=%#"PRIx32"/%#"PRIx32, op->ct.mark,
                      op->ct.mark_mask);
    }
    if (!ovs_u128_is_zero(op->ct.label_mask)) {
        ds_put_cstr(ds, ",label");
    }
    ds_put_char(ds, ')');
}

static void
program_format(const struct megaflow_program *program, struct ds *ds)
{
    if (program->reason != REASON_NONE) {
        ds_put_format(ds, "refused (%s)",
                      offload_reason_name(program->reason));
        return;
    } else if (!program->n_ops) {
        ds_put_cstr(ds, "drop");
        return;
    }
    for (size_t i = 0; i < program->n_ops; i++) {
        const struct megaflow_op *op = &program->ops[i];

        if (i) {
            ds_put_char(ds, ',');
        }
        switch (op->type) {
        case MEGAFLOW_OP_SET:
            ds_put_format(ds, "set(%s)", nic_field_name(op->set.field));
            break;
        case MEGAFLOW_OP_PUSH_VLAN:
            ds_put_format(ds, "push_vlan(vid=%d)",
                          vlan_tci_to_vid(op->vlan.tci));
            break;
        case MEGAFLOW_OP_POP_VLAN:
            ds_put_cstr(ds, "pop_vlan");
            break;
        case MEGAFLOW_OP_OUTPUT:
            ds_put_format(ds, "%"PRIu32, odp_to_u32(op->port));
            break;
        case MEGAFLOW_OP_LB_OUTPUT:
            ds_put_format(ds, "lb_output(%"PRIu32")", op->id);
            break;
        case MEGAFLOW_OP_CT:
            ct_format(op, ds);
            break;
        case MEGAFLOW_OP_CT_CLEAR:
            ds_put_cstr(ds, "ct_clear");
            break;
        case MEGAFLOW_OP_RECIRC:
            ds_put_format(ds, "recirc(%#"PRIx32")", op->id);
            break;
        default:
            OVS_NOT_REACHED();
        }
    }
}

char *
megaflow_to_string(const struct megaflow *flow)
{
    struct ds ds = DS_EMPTY_INITIALIZER;
    struct match match;

    odp_format_ufid(&flow->ufid, &ds);
    ds_put_format(&ds, " recirc_id(%#"PRIx32"),in_port(%"PRIu32"),",
                  flow->slot->recirc_id, odp_to_u32(flow->slot->in_port));
    minimatch_expand(flow->match, &match);
    match.wc.masks.recirc_id = 0;
    memset(&match.wc.masks.in_port, 0, sizeof match.wc.masks.in_port);
    match_format(&match, NULL, &ds, OFP_DEFAULT_PRIORITY);
    ds_put_cstr(&ds, " actions:");
    program_format(flow->program, &ds);
    return ds_steal_cstr(&ds);
}

static char *
conn_to_string(const struct tracked_conn *tc, int dir)
{
    struct ds ds = DS_EMPTY_INITIALIZER;

    conn_name_format(tc->nw_proto, tc->dl_type, tc->zone, &tc->tuple[0], &ds);
    ds_put_format(&ds, ", %s direction", conn_direction_names[dir]);
    return ds_steal_cstr(&ds);
}

/* Returns the rule of 'cp', or in module mode of its megaflow at 'stage', null
 * if there is none. */
static char *
rule_to_string(const struct conn_path *cp, size_t stage)
{
    struct ds ds = DS_EMPTY_INITIALIZER;

    if (cp->path->module) {
        const struct module_rule *rule = cp->path->stages[stage].flow->rule;

        if (!rule) {
            return NULL;
        }
        nic_rule_format(rule->template, NULL, &ds);
    } else {
        struct nic_values values;

        conn_path_get_values(cp, &values);
        nic_rule_format(cp->path->template, &values, &ds);
    }
    return ds_steal_cstr(&ds);
}

static void
put_steal(struct json *array, char *s)
{
    if (s) {
        json_array_add(array, json_string_create_nocopy(s));
    }
}

static struct json *
path_to_json(const struct conn_path *cp)
{
    struct json *o = json_object_create();
    struct json *flows = json_array_create_empty();
    struct json *conns = json_array_create_empty();
    struct json *rules = json_array_create_empty();

    for (size_t i = 0; i < cp->path->n_stages; i++) {
        put_steal(flows, megaflow_to_string(cp->path->stages[i].flow));
        if (cp->path->module || !i) {
            put_steal(rules, rule_to_string(cp, i));
        }
    }
    put_steal(conns, conn_to_string(cp->conn, cp->dir));
    for (size_t i = 0; i < cp->n_members; i++) {
        put_steal(conns, conn_to_string(cp->members[i].conn,
                                        cp->members[i].dir));
    }
    json_object_put_string(o, "mode", cp->path->module ? "module" : "flat");
    json_object_put_string(o, "nic", cp->path->onic->nic->name);
    json_object_put(o, "carried",
                    json_boolean_create(conn_path_is_present(cp)));
    json_object_put(o, "megaflows", flows);
    json_object_put(o, "connections", conns);
    json_object_put(o, "rules", rules);
    return o;
}

/* Returns the paths of direction 'dir' of 'tc', those of its leaders too. */
static struct json *
paths_to_json(const struct tracked_conn *tc, int dir)
{
    struct json *array = json_array_create_empty();
    const struct conn_member *member;
    const struct conn_path *cp;

    LIST_FOR_EACH (cp, conn_node, &tc->paths) {
        if (cp->dir == dir && cp->wanted) {
            json_array_add(array, path_to_json(cp));
        }
    }
    LIST_FOR_EACH (member, node, &tc->memberships) {
        if (member->dir == dir && member->path->wanted) {
            json_array_add(array, path_to_json(member->path));
        }
    }
    return array;
}

static struct json *
trace_to_json(const struct tracked_conn *tc)
{
    struct json *o = json_object_create();
    struct ds ds = DS_EMPTY_INITIALIZER;

    conn_name_format(tc->nw_proto, tc->dl_type, tc->zone, &tc->tuple[0], &ds);
    json_object_put_string(o, "connection", ds_cstr(&ds));
    ds_destroy(&ds);
    json_object_put_string(o, "state", tracked_conn_state_name(tc));
    for (int dir = 0; dir < 2; dir++) {
        struct json *d = json_object_create();
        const char *nic_says;
        enum offload_reason reason;

        reason = tracked_conn_get_reason(tc, dir, &nic_says);
        json_object_put_string(d, "reason", offload_reason_name(reason));
        if (nic_says) {
            json_object_put_string(d, "nic_says", nic_says);
        }
        json_object_put(d, "paths", paths_to_json(tc, dir));
        json_object_put(o, dir ? "reply" : "orig", d);
    }
    return o;
}

/* As text: the same, indented. */

static void
array_to_text(const struct json *path, const char *name, const char *label,
              struct ds *ds)
{
    const struct json *array = shash_find_data(json_object(path), name);

    for (size_t i = 0; i < json_array(array)->n; i++) {
        ds_put_format(ds, "      %s: %s\n", label,
                      json_string(json_array(array)->elems[i]));
    }
}

static void
trace_to_text(const struct json *o, struct ds *ds)
{
    ds_put_format(ds, "%s: %s\n",
                  json_string(shash_find_data(json_object(o), "connection")),
                  json_string(shash_find_data(json_object(o), "state")));
    for (int dir = 0; dir < 2; dir++) {
        const struct json *d = shash_find_data(json_object(o),
                                               dir ? "reply" : "orig");
        const struct json *paths = shash_find_data(json_object(d), "paths");
        const struct json *says = shash_find_data(json_object(d), "nic_says");

        ds_put_format(ds, "  %s: %s%s%s\n", conn_direction_names[dir],
                      json_string(shash_find_data(json_object(d), "reason")),
                      says ? ": " : "", says ? json_string(says) : "");
        for (size_t i = 0; i < json_array(paths)->n; i++) {
            const struct json *path = json_array(paths)->elems[i];

            ds_put_format(ds, "    path in %s (%s)%s\n",
                          json_string(shash_find_data(json_object(path),
                                                      "nic")),
                          json_string(shash_find_data(json_object(path),
                                                      "mode")),
                          json_boolean(shash_find_data(json_object(path),
                                                       "carried"))
                          ? "" : ", not installed");
            array_to_text(path, "megaflows", "megaflow", ds);
            array_to_text(path, "connections", "connection", ds);
            array_to_text(path, "rules", "rule", ds);
        }
    }
}

static void
trace(struct unixctl_conn *conn, int argc, const char *argv[],
      void *aux OVS_UNUSED)
{
    bool json = offload_command_take_json(&argc, argv);
    struct engine *engine = offload_engine();
    struct tracked_conn **conns;
    struct conn_filter filter;
    struct json *array;
    size_t n;

    conns = conn_filter_begin(conn, argc, argv, engine, &filter, &n);
    if (!conns) {
        return;
    }
    array = json_array_create_empty();
    for (size_t i = 0; i < n; i++) {
        json_array_add(array, trace_to_json(conns[i]));
    }
    free(conns);
    engine_unlock(engine);

    if (json) {
        struct json *top = json_object_create();

        json_object_put(top, "traces", array);
        offload_command_reply_json(conn, top);
    } else {
        struct ds ds = DS_EMPTY_INITIALIZER;

        for (size_t i = 0; i < n; i++) {
            trace_to_text(json_array(array)->elems[i], &ds);
        }
        unixctl_command_reply(conn, ds_cstr(&ds));
        ds_destroy(&ds);
        json_destroy(array);
    }
}

void
offload_trace_command_init(void)
{
    unixctl_command_register("ct-offload/trace",
                             "[--json] [proto=P] [src=A] [dst=A] [sport=N] "
                             "[dport=N] [zone=N]", 0, 7, trace, NULL);
}
