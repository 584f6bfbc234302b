/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>
#include "nic-emu-object.h"

#include <errno.h>

#include "hash.h"
#include "nic-emu-check.h"
#include "nic-emu-config.h"
#include "nic-emu-ct.h"
#include "nic-emu-port.h"
#include "nic-emu-store.h"
#include "nic-emu-table.h"
#include "openvswitch/dynamic-string.h"
#include "openvswitch/vlog.h"
#include "packets.h"
#include "util.h"

VLOG_DEFINE_THIS_MODULE(nic_emu_object);

static struct vlog_rate_limit rl = VLOG_RATE_LIMIT_INIT(5, 5);

/* Rules of one input port that name an egress. */
struct egress_user {
    struct hmap_node hmap_node;     /* In 'users' of an object. */
    nic_port_id in_port;
    uint32_t n;                     /* Never 0. */
};

static struct egress_user *
egress_user_find(const struct nic_emu_object *egress, nic_port_id in_port)
{
    struct egress_user *user;

    HMAP_FOR_EACH_IN_BUCKET (user, hmap_node, hash_int(in_port, 0),
                             &egress->users) {
        if (user->in_port == in_port) {
            return user;
        }
    }
    return NULL;
}

static void
egress_ref(struct nic_emu_object *egress, nic_port_id in_port)
{
    struct egress_user *user = egress_user_find(egress, in_port);

    if (!user) {
        user = xmalloc(sizeof *user);
        user->in_port = in_port;
        user->n = 0;
        hmap_insert(&egress->users, &user->hmap_node, hash_int(in_port, 0));
    }
    user->n++;
}

static void
egress_unref(struct nic_emu_object *egress, nic_port_id in_port)
{
    struct egress_user *user = egress_user_find(egress, in_port);

    if (!--user->n) {
        hmap_remove(&egress->users, &user->hmap_node);
        free(user);
    }
}

/* The set of objects. */

struct nic_emu_object *
nic_emu_object_find(const struct nic_emu_objects *objects, nic_handle handle,
                    enum nic_emu_kind kind)
{
    struct nic_emu_object *object;

    HMAP_FOR_EACH_WITH_HASH (object, hmap_node, hash_uint64(handle),
                             &objects->by_handle) {
        if (object->handle == handle) {
            return object->kind == kind ? object : NULL;
        }
    }
    return NULL;
}

static struct nic_emu_object *
object_insert(struct nic_emu_objects *objects, enum nic_emu_kind kind,
              nic_handle handle)
{
    struct nic_emu_object *object = xzalloc(sizeof *object);

    object->kind = kind;
    object->handle = handle;
    hmap_insert(&objects->by_handle, &object->hmap_node,
                hash_uint64(handle));
    ovs_list_push_back(&objects->list, &object->list_node);
    objects->n[kind]++;
    return object;
}

/* Stores in 'egresses' the egresses that 'template' names, in order, null for
 * one that does not exist, and returns their number. */
static size_t
template_egresses(const struct nic_emu_objects *objects,
                  const struct nic_template *template,
                  struct nic_emu_object *egresses[NIC_MAX_ACTIONS])
{
    size_t n = 0;

    for (size_t i = 0; i < template->n_actions; i++) {
        const struct nic_action *a = &template->actions[i];

        if (a->type == NIC_ACTION_EGRESS) {
            egresses[n++] = nic_emu_object_find(objects, a->egress,
                                                NIC_EMU_EGRESS);
        }
    }
    return n;
}

/* Takes 'object' out of the set and out of the table engine, so that no packet
 * finds it any more. */
static void
object_take_out(struct nic_emu_objects *objects,
                struct nic_emu_object *object)
{
    hmap_remove(&objects->by_handle, &object->hmap_node);
    ovs_list_remove(&object->list_node);
    objects->n[object->kind]--;

    switch (object->kind) {
    case NIC_EMU_RULE: {
        const struct nic_template *t = nic_emu_rule_template(object->rule);
        struct nic_emu_object *egresses[NIC_MAX_ACTIONS];
        size_t n = template_egresses(objects, t, egresses);

        for (size_t i = 0; i < n; i++) {
            egress_unref(egresses[i], t->in_port);
        }
        nic_emu_rule_remove(objects->table, object->rule);
        break;
    }
    case NIC_EMU_CONN:
        nic_emu_conn_remove(nic_emu_table_ct(objects->table), object->conn);
        break;
    case NIC_EMU_EGRESS:
        break;
    case NIC_EMU_N_KINDS:
    default:
        OVS_NOT_REACHED();
    }
}

void
nic_emu_object_free(struct nic_emu_object *object)
{
    switch (object->kind) {
    case NIC_EMU_RULE:
        nic_emu_rule_free(object->rule);
        break;
    case NIC_EMU_CONN:
        nic_emu_conn_free(object->conn);
        break;
    case NIC_EMU_EGRESS:
        nic_emu_egress_free(object->egress);
        hmap_destroy(&object->users);
        break;
    case NIC_EMU_N_KINDS:
    default:
        OVS_NOT_REACHED();
    }
    free(object);
}

/* The file. */

static void
store_object(struct nic_emu_objects *objects,
             const struct nic_emu_object *object)
{
    switch (object->kind) {
    case NIC_EMU_RULE:
        nic_emu_store_put_rule(objects->store, object->handle,
                               nic_emu_rule_template(object->rule),
                               nic_emu_rule_values(object->rule));
        break;
    case NIC_EMU_CONN:
        nic_emu_store_put_conn(objects->store, object->handle,
                               nic_emu_conn_get(object->conn));
        break;
    case NIC_EMU_EGRESS:
        nic_emu_store_put_egress(objects->store, object->handle,
                                 nic_emu_egress_get(object->egress));
        break;
    case NIC_EMU_N_KINDS:
    default:
        OVS_NOT_REACHED();
    }
}

/* Rewrites the file with all there is. */
static void
store_rewrite(struct nic_emu_objects *objects)
{
    const struct nic_emu_object *object;
    const struct nic_emu_port *port;

    nic_emu_store_rewrite_start(objects->store);
    LIST_FOR_EACH (port, list_node, &objects->ports->list) {
        nic_emu_store_put_port(objects->store, port->id, port->name);
    }
    LIST_FOR_EACH (object, list_node, &objects->list) {
        store_object(objects, object);
    }
    nic_emu_store_rewrite_finish(objects->store);
}

void
nic_emu_objects_flush(struct nic_emu_objects *objects)
{
    if (nic_emu_store_needs_rewrite(objects->store,
                                    hmap_count(&objects->by_handle))) {
        store_rewrite(objects);
    } else {
        nic_emu_store_flush(objects->store);
    }
}

/* Adding. */

/* Returns 0 if a rule for packets from 'in_port' may send them to 'out_port',
 * otherwise as nic_emu_objects_check().  That a port is gone is no reason
 * here: it drops packets. */
static int
check_reach(const struct nic_emu_objects *objects, nic_port_id in_port,
            nic_port_id out_port, const char **reasonp)
{
    if (objects->config->separate
        && !nic_emu_ports_reach(objects->ports, in_port, out_port)) {
        *reasonp = "the uplink is on another eSwitch than the vf";
        return EOPNOTSUPP;
    }
    return 0;
}

/* Returns 0 if a rule of 'template' may have action 'a', as far as objects are
 * concerned. */
static int
check_action(const struct nic_emu_objects *objects,
             const struct nic_template *template, const struct nic_action *a,
             const char **reasonp)
{
    const struct nic_emu_object *egress;

    switch (a->type) {
    case NIC_ACTION_OUTPUT:
        if (!nic_emu_port_by_id(objects->ports, a->port)) {
            *reasonp = "the output port is gone";
            return ENODEV;
        }
        return check_reach(objects, template->in_port, a->port, reasonp);

    case NIC_ACTION_EGRESS:
        egress = nic_emu_object_find(objects, a->egress, NIC_EMU_EGRESS);
        if (!egress) {
            *reasonp = "there is no such egress";
            return ENOENT;
        }
        return check_reach(objects, template->in_port,
                           nic_emu_egress_get(egress->egress), reasonp);

    case NIC_ACTION_DROP:
    case NIC_ACTION_CT:
    case NIC_ACTION_SET:
    case NIC_ACTION_SET_TUPLE:
    case NIC_ACTION_PUSH_VLAN:
    case NIC_ACTION_POP_VLAN:
    case NIC_ACTION_CT_CLEAR:
    case NIC_ACTION_JUMP:
    case NIC_ACTION_DEC_TTL:
    case NIC_ACTION_WINDOW:
        return 0;

    default:
        OVS_NOT_REACHED();
    }
}

int
nic_emu_objects_check(const struct nic_emu_objects *objects,
                      const struct nic_template *template,
                      const char **reasonp)
{
    struct nic_caps caps;
    int error = 0;

    nic_emu_config_caps(objects->config, &caps);
    *reasonp = nic_emu_check_template(template, &caps);
    if (*reasonp) {
        return EOPNOTSUPP;
    }
    if (template->in_port != NIC_PORT_ANY
        && !nic_emu_port_by_id(objects->ports, template->in_port)) {
        *reasonp = "the input port is gone";
        return ENODEV;
    }
    for (size_t i = 0; !error && i < template->n_actions; i++) {
        error = check_action(objects, template, &template->actions[i],
                             reasonp);
    }
    return error;
}

/* Adds a rule with 'handle'.  The caller checked that it makes sense. */
static int
add_rule(struct nic_emu_objects *objects, nic_handle handle,
         const struct nic_template *template, const struct nic_values *values,
         struct nic_emu_object **objectp, const char **reasonp)
{
    struct nic_emu_object *objs[NIC_MAX_ACTIONS];
    struct nic_emu_egress *egresses[NIC_MAX_ACTIONS];
    size_t n = template_egresses(objects, template, objs);
    struct nic_emu_rule *rule;
    int error;

    for (size_t i = 0; i < n; i++) {
        egresses[i] = objs[i]->egress;
    }
    error = nic_emu_rule_add(objects->table, template, values,
                             n ? egresses : NULL, &rule);
    if (error) {
        *reasonp = "another rule matches the same packets";
        return error;
    }
    for (size_t i = 0; i < n; i++) {
        egress_ref(objs[i], template->in_port);
    }
    *objectp = object_insert(objects, NIC_EMU_RULE, handle);
    (*objectp)->rule = rule;
    return 0;
}

/* Adds a connection with 'handle'.  The caller checked that it makes
 * sense. */
static int
add_conn(struct nic_emu_objects *objects, nic_handle handle,
         const struct nic_conn *nic_conn, struct nic_emu_object **objectp,
         const char **reasonp)
{
    struct nic_emu_conn *conn;
    int error;

    error = nic_emu_conn_add(nic_emu_table_ct(objects->table), nic_conn,
                             &conn);
    if (error) {
        *reasonp = "another connection has one of the tuples";
        return error;
    }
    *objectp = object_insert(objects, NIC_EMU_CONN, handle);
    (*objectp)->conn = conn;
    return 0;
}

static void
add_egress(struct nic_emu_objects *objects, nic_handle handle,
           nic_port_id port, struct nic_emu_object **objectp)
{
    *objectp = object_insert(objects, NIC_EMU_EGRESS, handle);
    (*objectp)->egress = nic_emu_egress_create(port);
    hmap_init(&(*objectp)->users);
}

/* Returns 0 if an egress may lead to 'port'. */
static int
check_egress_port(const struct nic_emu_objects *objects, nic_port_id port,
                  const char **reasonp)
{
    if (port != NIC_PORT_NONE && !nic_emu_port_by_id(objects->ports, port)) {
        *reasonp = "the port is gone";
        return ENODEV;
    }
    return 0;
}

int
nic_emu_object_add(struct nic_emu_objects *objects, const struct nic_op *op,
                   struct nic_emu_object **objectp, const char **reasonp)
{
    nic_handle handle = objects->last_handle + 1;
    struct nic_caps caps;
    int error;

    switch (op->type) {
    case NIC_OP_RULE_ADD:
        error = nic_emu_objects_check(objects, op->rule.template, reasonp);
        if (!error && objects->n[NIC_EMU_RULE] >= objects->config->max_rules) {
            *reasonp = "no room for more rules";
            error = ENOSPC;
        }
        if (!error) {
            error = add_rule(objects, handle, op->rule.template,
                             &op->rule.values, objectp, reasonp);
        }
        break;

    case NIC_OP_CONN_ADD:
        nic_emu_config_caps(objects->config, &caps);
        *reasonp = nic_emu_check_conn(&op->conn, &caps);
        if (*reasonp) {
            error = EOPNOTSUPP;
        } else if (objects->n[NIC_EMU_CONN] >= objects->config->max_conns) {
            *reasonp = "no room for more connections";
            error = ENOSPC;
        } else {
            error = add_conn(objects, handle, &op->conn, objectp, reasonp);
        }
        break;

    case NIC_OP_EGRESS_ADD:
        error = check_egress_port(objects, op->egress_port, reasonp);
        if (!error) {
            add_egress(objects, handle, op->egress_port, objectp);
        }
        break;

    case NIC_OP_RULE_DEL:
    case NIC_OP_CONN_DEL:
    case NIC_OP_EGRESS_SET:
    case NIC_OP_EGRESS_DEL:
    case NIC_OP_RESET:
    default:
        OVS_NOT_REACHED();
    }

    if (!error) {
        objects->last_handle = handle;
        store_object(objects, *objectp);
    }
    return error;
}

/* Changing and removing. */

int
nic_emu_object_set(struct nic_emu_objects *objects, const struct nic_op *op,
                   const char **reasonp)
{
    const struct egress_user *user;
    struct nic_emu_object *object;
    int error;

    object = nic_emu_object_find(objects, op->handle, NIC_EMU_EGRESS);
    if (!object) {
        *reasonp = "there is no such egress";
        return ENOENT;
    }
    error = check_egress_port(objects, op->egress_port, reasonp);
    if (error) {
        return error;
    }
    HMAP_FOR_EACH (user, hmap_node, &object->users) {
        error = check_reach(objects, user->in_port, op->egress_port, reasonp);
        if (error) {
            return error;
        }
    }

    nic_emu_egress_set(object->egress, op->egress_port);
    store_object(objects, object);
    return 0;
}

int
nic_emu_object_remove(struct nic_emu_objects *objects,
                      const struct nic_op *op,
                      struct nic_emu_object **objectp, const char **reasonp)
{
    enum nic_emu_kind kind = (op->type == NIC_OP_RULE_DEL ? NIC_EMU_RULE
                              : op->type == NIC_OP_CONN_DEL ? NIC_EMU_CONN
                              : NIC_EMU_EGRESS);
    struct nic_emu_object *object;

    object = nic_emu_object_find(objects, op->handle, kind);
    if (!object) {
        *reasonp = "the handle names nothing";
        return ENOENT;
    }
    if (kind == NIC_EMU_EGRESS && !hmap_is_empty(&object->users)) {
        *reasonp = "rules use the egress";
        return EBUSY;
    }

    object_take_out(objects, object);
    nic_emu_store_del(objects->store, object->handle);
    *objectp = object;
    return 0;
}

static void
remove_all(struct nic_emu_objects *objects)
{
    struct nic_emu_object *object;

    /* Rules before the egresses that they name. */
    for (int kind = 0; kind < NIC_EMU_N_KINDS; kind++) {
        LIST_FOR_EACH_SAFE (object, list_node, &objects->list) {
            if (object->kind == kind) {
                object_take_out(objects, object);
                nic_emu_object_free(object);
            }
        }
    }
}

void
nic_emu_objects_clear(struct nic_emu_objects *objects)
{
    remove_all(objects);
    store_rewrite(objects);
}

/* Loading what an earlier life left. */

/* Argument of the visitor's functions. */
struct loader {
    struct nic_emu_objects *objects;
    struct nic_emu_ports *ports;
};

static void
loaded(struct nic_emu_objects *objects, nic_handle handle)
{
    objects->last_handle = MAX(objects->last_handle, handle);
}

static void
loader_port(void *loader_, nic_port_id id, const char *name)
{
    struct loader *loader = loader_;

    nic_emu_ports_remember(loader->ports, name, id);
}

static void
loader_egress(void *loader_, nic_handle handle, nic_port_id port)
{
    struct nic_emu_objects *objects = ((struct loader *) loader_)->objects;
    struct nic_emu_object *object;

    add_egress(objects, handle, port, &object);
    loaded(objects, handle);
}

static void
loader_conn(void *loader_, nic_handle handle, const struct nic_conn *conn)
{
    struct nic_emu_objects *objects = ((struct loader *) loader_)->objects;
    struct nic_emu_object *object;
    const char *reason = nic_emu_check_conn(conn, NULL);

    if (reason || add_conn(objects, handle, conn, &object, &reason)) {
        VLOG_WARN_RL(&rl, "ignoring a stored connection: %s", reason);
    } else {
        loaded(objects, handle);
    }
}

static void
loader_rule(void *loader_, nic_handle handle,
            const struct nic_template *template,
            const struct nic_values *values)
{
    struct nic_emu_objects *objects = ((struct loader *) loader_)->objects;
    struct nic_emu_object *egresses[NIC_MAX_ACTIONS];
    size_t n = template_egresses(objects, template, egresses);
    struct nic_emu_object *object;
    const char *reason;
    int error;

    reason = nic_emu_check_template(template, NULL);
    for (size_t i = 0; i < n; i++) {
        if (!egresses[i]) {
            reason = "there is no such egress";
        }
    }
    error = reason ? EINVAL : add_rule(objects, handle, template, values,
                                       &object, &reason);
    if (error) {
        VLOG_WARN_RL(&rl, "ignoring a stored rule: %s", reason);
    } else {
        loaded(objects, handle);
    }
}

void
nic_emu_objects_init(struct nic_emu_objects *objects, const char *name,
                     const struct nic_emu_config *config,
                     struct nic_emu_ports *ports)
{
    static const struct nic_emu_store_visitor visitor = {
        .port = loader_port,
        .egress = loader_egress,
        .conn = loader_conn,
        .rule = loader_rule,
    };
    struct loader loader = { .objects = objects, .ports = ports };

    *objects = (struct nic_emu_objects) {
        .table = nic_emu_table_create(),
        .config = config,
        .ports = ports,
    };
    hmap_init(&objects->by_handle);
    ovs_list_init(&objects->list);
    objects->store = name ? nic_emu_store_open(name, &visitor, &loader) : NULL;
}

void
nic_emu_objects_destroy(struct nic_emu_objects *objects)
{
    remove_all(objects);
    nic_emu_store_close(objects->store);
    nic_emu_table_destroy(objects->table);
    hmap_destroy(&objects->by_handle);
}

/* Counters and descriptions. */

void
nic_emu_object_counters(const struct nic_emu_object *object,
                        struct nic_counter counters[2])
{
    memset(counters, 0, 2 * sizeof *counters);
    switch (object->kind) {
    case NIC_EMU_RULE:
        nic_emu_rule_counter(object->rule, &counters[0]);
        break;
    case NIC_EMU_CONN:
        nic_emu_conn_counters(object->conn, counters);
        break;
    case NIC_EMU_EGRESS:
        break;
    case NIC_EMU_N_KINDS:
    default:
        OVS_NOT_REACHED();
    }
}

void
nic_emu_objects_publish(struct nic_emu_objects *objects)
{
    struct nic_emu_object *object;

    LIST_FOR_EACH (object, list_node, &objects->list) {
        nic_emu_object_counters(object, object->published);
    }
}

static void
format_conn(const struct nic_conn *conn, struct ds *ds)
{
    static const char *const names[] = { "orig", "reply" };

    ds_put_format(ds, "%s,zone=%"PRIu16,
                  conn->nw_proto == IPPROTO_TCP ? "tcp" : "udp", conn->zone);
    for (int i = 0; i < 2; i++) {
        ds_put_format(ds, ",%s=", names[i]);
        nic_tuple_format(&conn->tuple[i], conn->dl_type, ds);
        if (conn->nat_parts[i]) {
            ds_put_cstr(ds, ",nat(");
            nic_parts_format(conn->nat_parts[i], ds);
            ds_put_cstr(ds, ")=");
            nic_tuple_format(&conn->translated[i], conn->dl_type, ds);
        }
    }
    if (conn->mark) {
        ds_put_format(ds, ",mark=%#"PRIx32, conn->mark);
    }
    if (!ovs_u128_is_zero(conn->label)) {
        ovs_be128 label = hton128(conn->label);

        ds_put_cstr(ds, ",label=");
        ds_put_hex(ds, &label, sizeof label);
    }
}

void
nic_emu_object_format(const struct nic_emu_object *object, struct ds *ds)
{
    switch (object->kind) {
    case NIC_EMU_RULE:
        nic_rule_format(nic_emu_rule_template(object->rule),
                        nic_emu_rule_values(object->rule), ds);
        break;
    case NIC_EMU_CONN:
        format_conn(nic_emu_conn_get(object->conn), ds);
        break;
    case NIC_EMU_EGRESS:
        ds_put_format(ds, "port=%"PRIu32,
                      nic_emu_egress_get(object->egress));
        break;
    case NIC_EMU_N_KINDS:
    default:
        OVS_NOT_REACHED();
    }
}
