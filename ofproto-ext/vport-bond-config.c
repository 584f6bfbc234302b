/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>
#include "vport-bond-config.h"

#include <stdlib.h>
#include <string.h>

#include "connectivity.h"
#include "flow.h"
#include "lib/bad-values.h"
#include "lib/carrier.h"
#include "lib/nic-emu.h"
#include "lib/nic-rte-flow.h"
#include "ofproto/ofproto-dpif-rid.h"
#include "ofproto/ofproto-dpif.h"
#include "openvswitch/dynamic-string.h"
#include "openvswitch/shash.h"
#include "openvswitch/vlog.h"
#include "packets.h"
#include "seq.h"
#include "smap.h"
#include "sset.h"
#include "util.h"
#include "uuid.h"
#include "vport-bond-hooks.h"
#include "vport-bond-watcher.h"

VLOG_DEFINE_THIS_MODULE(vport_bond_config);

static struct bad_values bad_values = BAD_VALUES_INITIALIZER(&bad_values);

/* Last good values, by row and key. */
struct good_value {
    char *value;
    bool seen;                      /* The row is still there. */
};
static struct shash good = SHASH_INITIALIZER(&good);

/* What the watcher was told last.  Ports and bonds are read anew whenever OVS
 * revalidates, which mostly changes nothing for the watcher. */
static struct ds told = DS_EMPTY_INITIALIZER;

/* Warns of a bad value, once as long as it stays. */
#define report(KEY, VALUE, ...) \
    bad_values_report(&bad_values, &this_module, KEY, VALUE, __VA_ARGS__)

static struct shash_node *
find_good(const struct uuid *row, const char *key)
{
    char *name = xasprintf(UUID_FMT" %s", UUID_ARGS(row), key);
    struct shash_node *node = shash_find(&good, name);

    free(name);
    return node;
}

/* Returns the last good value of 'key' in 'row', or null. */
static const char *
get_good(const struct uuid *row, const char *key)
{
    const struct shash_node *node = find_good(row, key);
    const struct good_value *gv = node ? node->data : NULL;

    return gv ? gv->value : NULL;
}

static void
delete_good(struct shash_node *node)
{
    struct good_value *gv = node->data;

    free(gv->value);
    free(gv);
    shash_delete(&good, node);
}

/* Notes that 'value' (null for none) is good for 'key' in 'row'. */
static void
set_good(const struct uuid *row, const char *key, const char *value)
{
    struct shash_node *node = find_good(row, key);

    if (node) {
        delete_good(node);
    }
    if (value) {
        struct good_value *gv = xmalloc(sizeof *gv);

        gv->value = xstrdup(value);
        gv->seen = true;
        shash_add_nocopy(&good, xasprintf(UUID_FMT" %s", UUID_ARGS(row), key),
                         gv);
    }
}

/* Notes that 'row', which may have 'key', is still there. */
static void
keep_good(const struct uuid *row, const char *key)
{
    struct shash_node *node = find_good(row, key);

    if (node) {
        struct good_value *gv = node->data;

        gv->seen = true;
    }
}

/* Forgets what was good in rows that are gone. */
static void
sweep_good(const struct vport_bond_port_row ports[], size_t n_ports,
           const struct vport_bond_iface_row ifaces[], size_t n_ifaces)
{
    struct shash_node *node;

    if (shash_is_empty(&good)) {
        return;
    }
    SHASH_FOR_EACH (node, &good) {
        struct good_value *gv = node->data;

        gv->seen = false;
    }
    for (size_t i = 0; i < n_ports; i++) {
        keep_good(ports[i].uuid, "vport-bond");
        keep_good(ports[i].uuid, "vport-bond-revert");
    }
    for (size_t i = 0; i < n_ifaces; i++) {
        keep_good(ifaces[i].uuid, "primary-uplink");
        keep_good(ifaces[i].uuid, "attached-mac");
    }
    SHASH_FOR_EACH_SAFE (node, &good) {
        const struct good_value *gv = node->data;

        if (!gv->seen) {
            delete_good(node);
        }
    }
}

static bool
get_bool(const struct vport_bond_port_row *row, const char *key, bool def)
{
    const char *value = smap_get(row->other_config, key);

    if (!value || !strcmp(value, "true") || !strcmp(value, "false")) {
        set_good(row->uuid, key, value);
    } else {
        char *name = xasprintf("Port %s other_config:%s", row->name, key);

        report(name, value, "must be true or false");
        free(name);
        value = get_good(row->uuid, key);
    }
    return value ? !strcmp(value, "true") : def;
}

/* Bonds. */

/* A bond with vports. */
struct wanted_bond {
    const struct vport_bond_ovs_bond *ovs;
    bool revert;
    struct vport_bond_uplink_config *uplinks;
    size_t n_uplinks;
    struct vport_bond_vport_config *vports;
    size_t n_vports;
};

static const struct vport_bond_port_row *
find_port(const struct vport_bond_port_row rows[], size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++) {
        if (!strcmp(rows[i].name, name)) {
            return &rows[i];
        }
    }
    return NULL;
}

/* Returns true if 'bond', configured by 'row', is to have vports. */
static bool
is_wanted(const struct vport_bond_ovs_bond *bond,
          const struct vport_bond_port_row *row)
{
    static struct vlog_rate_limit rl = VLOG_RATE_LIMIT_INIT(1, 5);

    if (!row || !get_bool(row, "vport-bond", false)) {
        return false;
    }
    if (!bond->lb_output_supported) {
        VLOG_WARN_RL(&rl, "Port %s other_config:vport-bond: the datapath %s "
                     "does not support lb_output, it must be netdev; the "
                     "bond works as its bond_mode says", bond->name,
                     bond->dp_type);
        return false;
    }
    return true;
}

static void
collect_uplinks(struct wanted_bond *bond, const struct vport_bond_topology *t)
{
    bond->uplinks = xmalloc(MAX(t->n_ports, 1) * sizeof *bond->uplinks);
    for (size_t i = 0; i < t->n_ports; i++) {
        const struct vport_bond_port *port = &t->ports[i];

        if (port->bond == bond->ovs->bond) {
            struct vport_bond_uplink_config *uplink
                = &bond->uplinks[bond->n_uplinks++];

            uplink->name = port->name;
            uplink->odp_port = port->odp_port;
            uplink->in_kernel = port->in_kernel;
            vport_bond_get_member(bond->ovs->bond, port->name,
                                  &uplink->enabled, &uplink->enabling);
        }
    }
}

static bool
has_uplink(const struct wanted_bond *bond, const char *name)
{
    for (size_t i = 0; i < bond->n_uplinks; i++) {
        if (!strcmp(bond->uplinks[i].name, name)) {
            return true;
        }
    }
    return false;
}

/* Adds to 'names' the interfaces of bonds with vports, as the database says,
 * that no bond has now: those whose device is not there.  It may come. */
static void
find_absent_uplinks(const struct vport_bond_port_row ports[], size_t n_ports,
                    const struct vport_bond_iface_row ifaces[],
                    size_t n_ifaces, const struct wanted_bond bonds[],
                    size_t n_bonds, struct sset *names)
{
    struct sset bond_ports = SSET_INITIALIZER(&bond_ports);

    for (size_t i = 0; i < n_ports; i++) {
        if (ports[i].n_ifaces >= 2
            && get_bool(&ports[i], "vport-bond", false)) {
            sset_add(&bond_ports, ports[i].name);
        }
    }
    for (size_t i = 0; i < n_ifaces; i++) {
        if (sset_contains(&bond_ports, ifaces[i].port)) {
            sset_add(names, ifaces[i].name);
        }
    }
    for (size_t i = 0; i < n_bonds; i++) {
        for (size_t j = 0; j < bonds[i].n_uplinks; j++) {
            sset_find_and_delete(names, bonds[i].uplinks[j].name);
        }
    }
    sset_destroy(&bond_ports);
}

/* Returns the uplink that 'row' pins its interface to, or null. */
static const char *
get_primary(const struct vport_bond_iface_row *row,
            const struct wanted_bond bonds[], size_t n_bonds,
            const struct sset *absent, const void *backer)
{
    const char *value = smap_get(row->other_config, "primary-uplink");
    struct sset allowed = SSET_INITIALIZER(&allowed);

    for (size_t i = 0; i < n_bonds; i++) {
        if (bonds[i].ovs->backer == backer) {
            for (size_t j = 0; j < bonds[i].n_uplinks; j++) {
                sset_add(&allowed, bonds[i].uplinks[j].name);
            }
        }
    }
    if (!value || sset_contains(&allowed, value)
        || sset_contains(absent, value)) {
        set_good(row->uuid, "primary-uplink", value);
    } else {
        char *key = xasprintf("Interface %s other_config:primary-uplink",
                              row->name);
        const char **names = sset_sort(&allowed);
        struct ds s = DS_EMPTY_INITIALIZER;

        for (size_t i = 0; i < sset_count(&allowed); i++) {
            ds_put_format(&s, "%s%s", i ? ", " : "", names[i]);
        }
        report(key, value, "must be an uplink of a bond with "
               "vport-bond=true: %s", ds_cstr(&s));
        ds_destroy(&s);
        free(names);
        free(key);
    }
    sset_destroy(&allowed);
    return get_good(row->uuid, "primary-uplink");
}

static void
get_attached_mac(const struct vport_bond_iface_row *row, struct eth_addr *mac)
{
    const char *value = smap_get(row->external_ids, "attached-mac");

    if (!value || eth_addr_from_string(value, mac)) {
        set_good(row->uuid, "attached-mac", value);
    } else {
        char *key = xasprintf("Interface %s external_ids:attached-mac",
                              row->name);

        report(key, value, "must be an Ethernet address xx:xx:xx:xx:xx:xx");
        free(key);
        value = get_good(row->uuid, "attached-mac");
    }
    if (!value || !eth_addr_from_string(value, mac)) {
        *mac = eth_addr_zero;
    }
}

static void
collect_vports(struct wanted_bond bonds[], size_t n_bonds,
               const struct vport_bond_topology *t,
               const struct shash *iface_rows, const struct sset *absent)
{
    for (size_t i = 0; i < n_bonds; i++) {
        bonds[i].vports = xzalloc(MAX(t->n_ports, 1)
                                  * sizeof *bonds[i].vports);
    }
    for (size_t i = 0; i < t->n_ports; i++) {
        const struct vport_bond_port *port = &t->ports[i];
        const struct vport_bond_iface_row *row
            = shash_find_data(iface_rows, port->name);
        struct eth_addr mac = eth_addr_zero;
        const char *primary = NULL;

        /* Several tunnels are one port of the datapath. */
        if (i && t->ports[i - 1].backer == port->backer
            && t->ports[i - 1].odp_port == port->odp_port) {
            continue;
        }
        if (row && !port->bond) {
            primary = get_primary(row, bonds, n_bonds, absent,
                                  port->backer);
            get_attached_mac(row, &mac);
        }
        for (size_t j = 0; j < n_bonds; j++) {
            struct vport_bond_vport_config *vport;

            if (bonds[j].ovs->backer != port->backer
                || bonds[j].ovs->bond == port->bond) {
                continue;
            }
            vport = &bonds[j].vports[bonds[j].n_vports++];
            vport->name = port->name;
            vport->odp_port = port->odp_port;
            vport->class = port->is_vm ? VPORT_VM : VPORT_OTHER;
            vport->attached_mac = mac;
            vport->vlan = (row && port->ofproto == bonds[j].ovs->ofproto
                           ? row->vlan : 0);

            /* The name of another bond's uplink says nothing here; a name that
             * no bond has any more may come back. */
            vport->primary = primary;
            for (size_t k = 0; k < n_bonds && primary; k++) {
                if (k != j && has_uplink(&bonds[k], primary)
                    && !has_uplink(&bonds[j], primary)) {
                    vport->primary = NULL;
                }
            }
        }
    }
}

/* Warns of ports that cannot be bonds. */
static void
check_ports(const struct vport_bond_port_row ports[], size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (ports[i].n_ifaces < 2 && get_bool(&ports[i], "vport-bond",
                                              false)) {
            char *key = xasprintf("Port %s other_config:vport-bond",
                                  ports[i].name);

            report(key, "true", "the port must be a bond, with at least two "
                   "interfaces");
            free(key);
        }
    }
}

/* Appends all of 'config' that the watcher does not learn otherwise. */
static void
put_fingerprint(struct ds *s, const struct vport_bond_config *config)
{
    ds_put_format(s, "%s %p %s %s %d\n", config->name, config->owner,
                  config->dp_type, config->dp_name, config->settings.revert);
    for (size_t i = 0; i < config->n_uplinks; i++) {
        ds_put_format(s, "u %s %"PRIu32" %d\n", config->uplinks[i].name,
                      odp_to_u32(config->uplinks[i].odp_port),
                      config->uplinks[i].in_kernel);
    }
    for (size_t i = 0; i < config->n_vports; i++) {
        const struct vport_bond_vport_config *v = &config->vports[i];

        ds_put_format(s, "v %s %"PRIu32" %d %s "ETH_ADDR_FMT" %"PRIu16"\n",
                      v->name, odp_to_u32(v->odp_port), v->class,
                      v->primary ? v->primary : "", /* No interface's name. */
                      ETH_ADDR_ARGS(v->attached_mac), v->vlan);
    }
}

void
vport_bond_config_invalidate(void)
{
    ds_clear(&told);
    ds_put_cstr(&told, "?");
}

void
vport_bond_config_apply(const struct vport_bond_port_row ports[],
                        size_t n_ports,
                        const struct vport_bond_iface_row ifaces[],
                        size_t n_ifaces)
{
    struct shash iface_rows = SHASH_INITIALIZER(&iface_rows);
    struct vport_bond_config *configs;
    struct vport_bond_topology t;
    struct wanted_bond *bonds;
    size_t n = 0;

    vport_bond_get_topology(&t);
    for (size_t i = 0; i < n_ifaces; i++) {
        shash_add_once(&iface_rows, ifaces[i].name, &ifaces[i]);
    }

    bonds = xzalloc(MAX(t.n_bonds, 1) * sizeof *bonds);
    for (size_t i = 0; i < t.n_bonds; i++) {
        const struct vport_bond_port_row *row
            = find_port(ports, n_ports, t.bonds[i].name);

        if (is_wanted(&t.bonds[i], row)) {
            bonds[n].ovs = &t.bonds[i];
            bonds[n].revert = get_bool(row, "vport-bond-revert", true);
            collect_uplinks(&bonds[n++], &t);
        }
    }
    check_ports(ports, n_ports);
    if (n) {
        struct sset absent = SSET_INITIALIZER(&absent);

        find_absent_uplinks(ports, n_ports, ifaces, n_ifaces, bonds, n,
                            &absent);
        collect_vports(bonds, n, &t, &iface_rows, &absent);
        sset_destroy(&absent);
    }

    configs = xzalloc(MAX(n, 1) * sizeof *configs);
    for (size_t i = 0; i < n; i++) {
        configs[i] = (struct vport_bond_config) {
            .name = bonds[i].ovs->name,
            .owner = bonds[i].ovs->ofproto,
            .dp_type = bonds[i].ovs->dp_type,
            .dp_name = bonds[i].ovs->dp_name,
            .settings.revert = bonds[i].revert,
            .uplinks = bonds[i].uplinks,
            .n_uplinks = bonds[i].n_uplinks,
            .vports = bonds[i].vports,
            .n_vports = bonds[i].n_vports,
        };
        vport_bond_get_delays(bonds[i].ovs->bond,
                              &configs[i].settings.updelay_ms,
                              &configs[i].settings.downdelay_ms);
    }

    struct ds fingerprint = DS_EMPTY_INITIALIZER;
    for (size_t i = 0; i < n; i++) {
        put_fingerprint(&fingerprint, &configs[i]);
    }
    if (strcmp(ds_cstr(&fingerprint), ds_cstr(&told))) {
        ds_swap(&fingerprint, &told);
        if (vport_bond_watcher_configure(configs, n)) {
            vport_bond_revalidate();
        }
    }
    ds_destroy(&fingerprint);
    bad_values_end_round(&bad_values);
    sweep_good(ports, n_ports, ifaces, n_ifaces);

    for (size_t i = 0; i < n; i++) {
        free(bonds[i].uplinks);
        free(bonds[i].vports);
    }
    free(bonds);
    free(configs);
    shash_destroy(&iface_rows);
    vport_bond_topology_destroy(&t);
}

/* Life. */

static uint32_t
alloc_id(const void *ofproto)
{
    return recirc_alloc_id(CONST_CAST(struct ofproto_dpif *,
                                      (const struct ofproto_dpif *) ofproto));
}

void
vport_bond_init(void)
{
    static const struct vport_bond_ids ids = {
        .alloc = alloc_id,
        .free = recirc_free_id,
        .linger_ms = VPORT_BOND_LINGER_MS,
    };
    struct carrier_source sources[] = {
        { nic_emu_get_carrier, connectivity_seq_get() },
        { nic_rte_flow_get_carrier, nic_rte_flow_carrier_seq() },
    };

    if (!vport_bond_watcher_is_running()) {
        vport_bond_watcher_start(&vport_bond_dpif_class, &ids, sources,
                                 ARRAY_SIZE(sources));
        vport_bond_commands_init();
    }
}

void
vport_bond_exit(void)
{
    vport_bond_watcher_stop();
    bad_values_destroy(&bad_values);
    sweep_good(NULL, 0, NULL, 0);
    ds_destroy(&told);
    ds_init(&told);
}
