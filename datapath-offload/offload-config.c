/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>
#include "offload-config.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>

#include "ct-conn.h"
#include "dp-registry.h"
#include "dpif.h"
#include "engine-thread.h"
#include "engine.h"
#include "lib/bad-values.h"
#include "lib/nic-emu.h"
#include "netdev-offload.h"
#include "netdev-provider.h"
#include "netdev-vport.h"
#include "openvswitch/poll-loop.h"
#include "openvswitch/shash.h"
#include "openvswitch/thread.h"
#include "openvswitch/vlog.h"
#include "provider.h"
#include "seq.h"
#include "smap.h"
#include "timeval.h"
#include "util.h"

VLOG_DEFINE_THIS_MODULE(offload_config);

#define NIC_EMU_PREFIX "nic-emu-"

/* Packets that a connection shows before it is handed over: a handshake and
 * its first data. */
#define DEFAULT_MIN_PACKETS 4

/* A NIC that is open. */
struct config_nic {
    struct nic *nic;
    char *config;                   /* As last applied. */
    bool removing;
    bool mark;
};

/* What an Interface says. */
struct iface {
    char *nic;                      /* Null if none. */
    enum nic_port_role role;
    bool ct_offload;
    bool mark;
};

/* A port of a datapath. */
struct port {
    struct hmap_node node;
    char *name;
    const char *dpif_type;          /* OVS's own: it compares addresses. */
    odp_port_t odp_port;
    bool is_tunnel;                 /* Never a port of a NIC. */
    struct config_nic *cnic;        /* Null if not attached. */
    nic_port_id id;
    enum nic_port_role role;
    bool ct_offload;
};

static struct engine *engine;
static struct engine_thread *thread;
static struct engine_config config;
static unsigned int min_packets = DEFAULT_MIN_PACKETS;
static bool hw_offload;

static struct shash nics = SHASH_INITIALIZER(&nics);
static struct shash ifaces = SHASH_INITIALIZER(&ifaces);

static struct bad_values bad_values = BAD_VALUES_INITIALIZER(&bad_values);

/* Written by the main thread, with 'ports_mutex'; read by it without. */
static struct ovs_mutex ports_mutex = OVS_MUTEX_INITIALIZER;
static struct hmap ports = HMAP_INITIALIZER(&ports);

static void reconcile_ports(void);

void
offload_config_init(struct engine *engine_, struct engine_thread *thread_)
{
    engine = engine_;
    thread = thread_;
    config.max_conns = UINT_MAX;
}

/* Warns of a bad value, once as long as it stays. */
#define report(KEY, VALUE, ...) \
    bad_values_report(&bad_values, &this_module, KEY, VALUE, __VA_ARGS__)

/* Reads a boolean.  If it is missing, stores 'def' in '*valuep'; if it is bad,
 * reports it as 'where':'key' and leaves '*valuep' alone. */
static void
read_bool(const struct smap *smap, const char *where, const char *key,
          bool def, bool *valuep)
{
    const char *value = smap_get(smap, key);

    if (!value) {
        *valuep = def;
    } else if (!strcmp(value, "true")) {
        *valuep = true;
    } else if (!strcmp(value, "false")) {
        *valuep = false;
    } else {
        char *name = xasprintf("%s:%s", where, key);

        report(name, value, "allowed are \"true\" and \"false\"");
        free(name);
    }
}

/* The same for a number from 'min' to 'max'. */
static void
read_uint(const struct smap *smap, const char *where, const char *key,
          unsigned int min, unsigned int max, unsigned int def,
          unsigned int *valuep)
{
    const char *value = smap_get(smap, key);
    unsigned int n;

    if (!value) {
        *valuep = def;
    } else if (str_to_uint(value, 10, &n) && n >= min && n <= max) {
        *valuep = n;
    } else {
        char *name = xasprintf("%s:%s", where, key);

        report(name, value, "allowed are numbers from %u to %u", min, max);
        free(name);
    }
}

static void
set_engine_config(const struct smap *other_config)
{
    const char *where = "Open_vSwitch other_config";
    struct engine_config new = config;
    static bool ct_offload = true;
    const char *mode;

    hw_offload = hw_offload || smap_get_bool(other_config, "hw-offload",
                                             false);
    read_bool(other_config, where, "ct-offload", true, &ct_offload);
    new.enabled = (ct_offload
                   && smap_get_bool(other_config, "hw-offload", false));

    mode = smap_get_def(other_config, "ct-offload-mode", "auto");
    if (!engine_mode_from_string(mode, &new.mode)) {
        report("Open_vSwitch other_config:ct-offload-mode", mode,
               "allowed are \"auto\", \"module\" and \"flat\"");
    }
    read_uint(other_config, where, "ct-offload-max-conns", 0, UINT_MAX,
              UINT_MAX, &new.max_conns);
    read_uint(other_config, where, "ct-offload-min-packets", 2, UINT16_MAX,
              DEFAULT_MIN_PACKETS, &min_packets);
    ct_set_min_packets(min_packets);

    if (new.enabled != config.enabled || new.mode != config.mode
        || new.max_conns != config.max_conns) {
        config = new;
        engine_lock(engine);
        engine_set_config(engine, &config, time_msec());
        engine_unlock(engine);
        engine_thread_wake(thread);
        ct_set_announce(config.enabled);
        VLOG_INFO("connection offload is %s, mode %s",
                  config.enabled ? "on" : "off",
                  engine_mode_to_string(config.mode));
    }
}

/* NICs. */

/* Splits "KEY=VALUE KEY=VALUE" into 'smap'.  Returns null, or the first word
 * that is not of this form, which the caller frees. */
static char *
parse_pairs(const char *s, struct smap *smap)
{
    char *copy = xstrdup(s);
    char *save_ptr = NULL;
    char *bad = NULL;

    for (char *word = strtok_r(copy, ", \t", &save_ptr); word && !bad;
         word = strtok_r(NULL, ", \t", &save_ptr)) {
        char *equals = strchr(word, '=');

        if (!equals || equals == word) {
            bad = xstrdup(word);
        } else {
            *equals = '\0';
            smap_replace(smap, word, equals + 1);
        }
    }
    free(copy);
    return bad;
}

static void
set_nic(const char *name, const char *key, const char *value)
{
    struct config_nic *cnic = shash_find_data(&nics, name);
    struct smap smap = SMAP_INITIALIZER(&smap);
    char *error = NULL;
    char *bad;
    char *where;

    if (cnic) {
        cnic->mark = true;
        if (cnic->removing || !strcmp(cnic->config, value)) {
            return;
        }
    }

    where = xasprintf("Open_vSwitch other_config:%s", key);
    bad = parse_pairs(value, &smap);
    if (bad) {
        error = xasprintf("\"%s\" is not of the form KEY=VALUE", bad);
        free(bad);
    } else if (!cnic) {
        struct nic *nic;

        if (!nic_emu_class.open(name, &smap, &nic, &error)) {
            struct nic_stats stats;

            cnic = xzalloc(sizeof *cnic);
            cnic->nic = nic;
            cnic->config = xstrdup(value);
            cnic->mark = true;
            shash_add(&nics, name, cnic);
            engine_lock(engine);
            engine_add_nic(engine, nic, time_msec());
            engine_unlock(engine);

            nic->class->get_stats(nic, &stats);
            VLOG_INFO("%s: opened NIC of type %s%s", name, nic->class->type,
                      stats.n_stale
                      ? " and removed rules of an earlier life" : "");
        }
    } else {
        engine_lock(engine);
        if (!cnic->nic->class->reconfigure(cnic->nic, &smap, &error)) {
            engine_nic_changed(engine, cnic->nic, time_msec());
            free(cnic->config);
            cnic->config = xstrdup(value);
        }
        engine_unlock(engine);
        engine_thread_wake(thread);
    }
    if (error) {
        report(where, value, "%s", error);
        free(error);
    }
    free(where);
    smap_destroy(&smap);
}

static void
set_nics(const struct smap *other_config)
{
    const struct smap_node *pair;
    struct shash_node *node;

    SHASH_FOR_EACH (node, &nics) {
        struct config_nic *cnic = node->data;

        cnic->mark = false;
    }
    SMAP_FOR_EACH (pair, other_config) {
        const char *name;

        if (!strncmp(pair->key, NIC_EMU_PREFIX, strlen(NIC_EMU_PREFIX))) {
            name = pair->key + strlen(NIC_EMU_PREFIX);
            if (!name[0] || strchr(name, '/')) {
                report("Open_vSwitch other_config key", pair->key,
                       "the name of a NIC must not be empty or contain '/'");
            } else {
                set_nic(name, pair->key, pair->value);
            }
        }
    }
}

static void
close_nic(struct config_nic *cnic)
{
    cnic->nic->class->close(cnic->nic);
    free(cnic->config);
    free(cnic);
}

/* Begins to remove NICs that are not configured any more. */
static void
remove_nics(void)
{
    struct shash_node *node;

    SHASH_FOR_EACH (node, &nics) {
        struct config_nic *cnic = node->data;

        if (!cnic->mark && !cnic->removing) {
            cnic->removing = true;
            reconcile_ports();
            engine_lock(engine);
            engine_begin_remove_nic(engine, cnic->nic, time_msec());
            engine_unlock(engine);
            engine_thread_wake(thread);
        }
    }
}

void
offload_config_run(void)
{
    struct shash_node *node;

    SHASH_FOR_EACH_SAFE (node, &nics) {
        struct config_nic *cnic = node->data;

        if (cnic->removing) {
            bool gone;

            engine_lock(engine);
            gone = engine_finish_remove_nic(engine, cnic->nic, false,
                                            time_msec());
            engine_unlock(engine);
            if (gone) {
                VLOG_INFO("%s: closed NIC", node->name);
                close_nic(cnic);
                shash_delete(&nics, node);
            }
        }
    }
}

void
offload_config_wait(void)
{
    struct shash_node *node;

    SHASH_FOR_EACH (node, &nics) {
        struct config_nic *cnic = node->data;

        if (cnic->removing) {
            poll_timer_wait(100);
            break;
        }
    }
}

struct nic *
offload_config_find_nic(const char *name)
{
    struct config_nic *cnic = shash_find_data(&nics, name);

    return cnic ? cnic->nic : NULL;
}

/* Interfaces. */

static void
iface_free(struct iface *iface)
{
    free(iface->nic);
    free(iface);
}

static void
set_ifaces(const struct offload_iface_config *configs, size_t n)
{
    struct shash_node *node;

    SHASH_FOR_EACH (node, &ifaces) {
        struct iface *iface = node->data;

        iface->mark = false;
    }
    for (size_t i = 0; i < n; i++) {
        const struct smap *smap = configs[i].other_config;
        const char *nic = smap_get(smap, "nic");
        const char *role = smap_get_def(smap, "nic-role", "vf");
        struct iface *iface = shash_find_data(&ifaces, configs[i].name);
        char *where = xasprintf("Interface %s other_config", configs[i].name);
        enum nic_port_role new_role;

        if (!iface) {
            iface = xzalloc(sizeof *iface);
            iface->ct_offload = true;
            iface->role = NIC_PORT_VF;
            shash_add(&ifaces, configs[i].name, iface);
        }
        iface->mark = true;

        if (nic && !shash_find(&nics, nic)) {
            char *key = xasprintf("%s:nic", where);

            report(key, nic, "allowed are NICs of which Open_vSwitch "
                   "other_config has a key \"" NIC_EMU_PREFIX "NAME\"");
            free(key);
        } else if (!nullable_string_is_equal(nic, iface->nic)) {
            free(iface->nic);
            iface->nic = nullable_xstrdup(nic);
        }
        if (nic_port_role_from_string(role, &new_role)) {
            iface->role = new_role;
        } else {
            char *key = xasprintf("%s:nic-role", where);

            report(key, role, "allowed are \"uplink\" and \"vf\"");
            free(key);
        }
        read_bool(smap, where, "ct-offload", true, &iface->ct_offload);
        free(where);
    }
    SHASH_FOR_EACH_SAFE (node, &ifaces) {
        struct iface *iface = node->data;

        if (!iface->mark) {
            iface_free(iface);
            shash_delete(&ifaces, node);
        }
    }
}

/* Ports. */

static uint32_t
port_hash(const char *dpif_type, odp_port_t odp_port)
{
    return hash_string(dpif_type, odp_to_u32(odp_port));
}

static struct port *
find_port(const char *dpif_type, odp_port_t odp_port)
{
    struct port *port;

    HMAP_FOR_EACH_WITH_HASH (port, node, port_hash(dpif_type, odp_port),
                             &ports) {
        if (port->odp_port == odp_port
            && !strcmp(port->dpif_type, dpif_type)) {
            return port;
        }
    }
    return NULL;
}

/* Lets OVS choose the provider of 'port' again. */
static void
reassign(const struct port *port)
{
    struct netdev *netdev = netdev_ports_get(port->odp_port, port->dpif_type);

    if (netdev) {
        if (!provider_owns(netdev)) {
            netdev_flow_flush(netdev);
        }
        netdev_uninit_flow_api(netdev);
        netdev_init_flow_api(netdev);
        if (provider_owns(netdev)) {
            provider_reread_megaflows(port->dpif_type, port->odp_port);
        }
        netdev_close(netdev);
    }
}

static void
detach(struct port *port)
{
    struct config_nic *cnic = port->cnic;

    ovs_mutex_lock(&ports_mutex);
    port->cnic = NULL;
    ovs_mutex_unlock(&ports_mutex);

    cnic->nic->class->port_del(cnic->nic, port->id);
    engine_lock(engine);
    engine_clear_port(engine, dp_registry_id(port->dpif_type), port->odp_port,
                      time_msec());
    engine_unlock(engine);
    engine_thread_wake(thread);
}

static void
attach(struct port *port, struct config_nic *cnic, const struct iface *iface)
{
    nic_port_id id;
    int error;

    error = cnic->nic->class->port_add(cnic->nic, port->name, port->odp_port,
                                       iface->role, &id);
    if (error) {
        static struct vlog_rate_limit rl = VLOG_RATE_LIMIT_INIT(1, 5);

        VLOG_WARN_RL(&rl, "%s: cannot be a port of NIC %s (%s)", port->name,
                     cnic->nic->name, ovs_strerror(error));
        return;
    }

    ovs_mutex_lock(&ports_mutex);
    port->cnic = cnic;
    port->id = id;
    port->role = iface->role;
    port->ct_offload = iface->ct_offload;
    ovs_mutex_unlock(&ports_mutex);

    engine_lock(engine);
    engine_set_port(engine, dp_registry_id(port->dpif_type), port->odp_port,
                    port->name, cnic->nic, id, iface->ct_offload,
                    time_msec());
    engine_unlock(engine);
    engine_thread_wake(thread);
}

/* Returns true if some port called 'name' is a NIC's.  Datapaths that OVSDB
 * does not know (dpctl/add-dp) may have ports of the same device. */
static bool
is_name_attached(const char *name)
{
    const struct port *port;

    HMAP_FOR_EACH (port, node, &ports) {
        if (port->cnic && !strcmp(port->name, name)) {
            return true;
        }
    }
    return false;
}

static bool
is_userspace(const char *dpif_type)
{
    return !strcmp(dpif_type, "netdev") || !strcmp(dpif_type, "dummy");
}

/* Attaches or detaches 'port' as configured.  Returns true if that changed
 * whose it is. */
static bool
reconcile_port(struct port *port)
{
    const struct iface *iface = shash_find_data(&ifaces, port->name);
    struct config_nic *cnic = (iface && iface->nic
                               && is_userspace(port->dpif_type)
                               && !port->is_tunnel
                               ? shash_find_data(&nics, iface->nic) : NULL);
    bool was_ours = port->cnic != NULL;

    if (port->cnic && !iface && !port->cnic->removing) {
        /* OVS is about to remove the port. */
        return false;
    }
    if (cnic && cnic->removing) {
        cnic = NULL;
    }
    if (port->cnic && (port->cnic != cnic || port->role != iface->role)) {
        detach(port);
    }
    if (cnic && !port->cnic) {
        if (!is_name_attached(port->name)) {
            attach(port, cnic, iface);
        }
    } else if (port->cnic && port->ct_offload != iface->ct_offload) {
        port->ct_offload = iface->ct_offload;
        engine_lock(engine);
        engine_set_port(engine, dp_registry_id(port->dpif_type),
                        port->odp_port, port->name, cnic->nic, port->id,
                        port->ct_offload, time_msec());
        engine_unlock(engine);
        engine_thread_wake(thread);
    }
    return was_ours != (port->cnic != NULL);
}

static void
reconcile_ports(void)
{
    struct port *port;

    HMAP_FOR_EACH (port, node, &ports) {
        if (reconcile_port(port)) {
            reassign(port);
        }
    }
}

void
offload_config_port_added(struct netdev *netdev, const char *dpif_type,
                          odp_port_t odp_port)
{
    struct port *port = find_port(dpif_type, odp_port);

    if (!port) {
        port = xzalloc(sizeof *port);
        port->name = xstrdup(netdev_get_name(netdev));
        port->dpif_type = dpif_type;
        port->odp_port = odp_port;
        port->is_tunnel
            = netdev_vport_is_vport_class(netdev_get_class(netdev));
        ovs_mutex_lock(&ports_mutex);
        hmap_insert(&ports, &port->node, port_hash(dpif_type, odp_port));
        ovs_mutex_unlock(&ports_mutex);
    }
    if (engine) {
        reconcile_port(port);
    }
}

void
offload_config_port_removed(const char *dpif_type, odp_port_t odp_port)
{
    struct port *port = find_port(dpif_type, odp_port);

    if (port) {
        if (port->cnic) {
            detach(port);
        }
        if (engine) {
            engine_push_flush(engine, dp_registry_id(dpif_type), odp_port);
        }
        ovs_mutex_lock(&ports_mutex);
        hmap_remove(&ports, &port->node);
        ovs_mutex_unlock(&ports_mutex);
        free(port->name);
        free(port);
    }
}

void
offload_config_hw_offload_enabled(void)
{
    struct port *port;

    HMAP_FOR_EACH (port, node, &ports) {
        if (port->cnic) {
            provider_reread_megaflows(port->dpif_type, port->odp_port);
        }
    }
}

bool
offload_config_find_port(const struct netdev *netdev, odp_port_t *odp_port)
{
    const char *dpif_type = netdev_get_dpif_type(netdev);
    const char *name = netdev_get_name(netdev);
    struct port *port;
    bool found = false;

    ovs_mutex_lock(&ports_mutex);
    HMAP_FOR_EACH (port, node, &ports) {
        if (port->cnic && !strcmp(port->name, name)
            && dpif_type && !strcmp(port->dpif_type, dpif_type)) {
            *odp_port = port->odp_port;
            found = true;
            break;
        }
    }
    ovs_mutex_unlock(&ports_mutex);
    return found;
}

/* All. */

void
offload_config_set(const struct smap *other_config,
                   const struct offload_iface_config *iface_configs, size_t n)
{
    set_nics(other_config);
    set_ifaces(iface_configs, n);
    remove_nics();
    reconcile_ports();
    set_engine_config(other_config);
    bad_values_end_round(&bad_values);
}

void
offload_config_exit(void)
{
    struct shash_node *node;
    struct port *port;

    HMAP_FOR_EACH_SAFE (port, node, &ports) {
        offload_config_port_removed(port->dpif_type, port->odp_port);
    }
    SHASH_FOR_EACH_SAFE (node, &nics) {
        struct config_nic *cnic = node->data;
        bool gone;

        engine_lock(engine);
        engine_begin_remove_nic(engine, cnic->nic, time_msec());
        gone = engine_finish_remove_nic(engine, cnic->nic, true, time_msec());
        engine_unlock(engine);
        ovs_assert(gone);
        close_nic(cnic);
        shash_delete(&nics, node);
    }
    SHASH_FOR_EACH_SAFE (node, &ifaces) {
        iface_free(node->data);
        shash_delete(&ifaces, node);
    }
    shash_destroy(&nics);
    shash_destroy(&ifaces);
    bad_values_destroy(&bad_values);
}

void
offload_config_for_each_nic(void (*cb)(struct nic *, const char *config,
                                       void *aux),
                            void *aux)
{
    const struct shash_node **sorted = shash_sort(&nics);

    for (size_t i = 0; i < shash_count(&nics); i++) {
        const struct config_nic *cnic = sorted[i]->data;

        cb(cnic->nic, cnic->config, aux);
    }
    free(sorted);
}

static int
compare_ports(const void *a_, const void *b_)
{
    const struct port *const *a = a_;
    const struct port *const *b = b_;

    return strcmp((*a)->name, (*b)->name);
}

void
offload_config_for_each_port(void (*cb)(const struct offload_port_info *,
                                        void *aux),
                             void *aux)
{
    struct port **sorted = xmalloc(hmap_count(&ports) * sizeof *sorted);
    struct port *port;
    size_t n = 0;

    HMAP_FOR_EACH (port, node, &ports) {
        sorted[n++] = port;
    }
    qsort(sorted, n, sizeof *sorted, compare_ports);
    for (size_t i = 0; i < n; i++) {
        const struct iface *iface;
        struct offload_port_info info;

        port = sorted[i];
        iface = shash_find_data(&ifaces, port->name);
        info = (struct offload_port_info) {
            .name = port->name,
            .dpif_type = port->dpif_type,
            .odp_port = port->odp_port,
            .nic = port->cnic ? port->cnic->nic : NULL,
            .id = port->id,
            .role = port->role,
            .ct_offload = port->ct_offload,
            .owner = (!port->cnic ? "stock" : hw_offload ? "ovs-handoff"
                      : "none"),
            .why = (port->cnic
                    ? (hw_offload ? "other_config:nic names a NIC"
                       : "hw-offload is false")
                    : !is_userspace(port->dpif_type)
                    ? "not a port of the userspace datapath"
                    : port->is_tunnel
                    ? "a tunnel is not a port of a NIC"
                    : !iface || !iface->nic || !shash_find(&nics, iface->nic)
                    ? "other_config:nic names no NIC"
                    : "the NIC did not take it"),
        };
        cb(&info, aux);
    }
    free(sorted);
}
