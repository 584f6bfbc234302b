/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>
#include "offload-config.h"

#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "ct-conn.h"
#include "engine-thread.h"
#include "engine.h"
#include "lib/bad-values.h"
#include "lib/nic-emu.h"
#include "lib/nic-rte-flow.h"
#include "lib/nic-tc.h"
#include "offload-ports.h"
#include "openvswitch/poll-loop.h"
#include "openvswitch/shash.h"
#include "openvswitch/vlog.h"
#include "smap.h"
#include "timeval.h"
#include "util.h"

VLOG_DEFINE_THIS_MODULE(offload_config);

#define NIC_EMU_PREFIX "nic-emu-"

/* The kernel's devices.  Open as long as an interface names it. */
#define NIC_TC "tc"

/* Packets that a connection shows before it is handed over: a handshake and
 * its first data. */
#define DEFAULT_MIN_PACKETS 4

static struct engine *engine;
static struct engine_thread *thread;
static struct engine_config config;
static unsigned int min_packets = DEFAULT_MIN_PACKETS;
static bool hw_offload;

static struct shash nics = SHASH_INITIALIZER(&nics);
static struct shash ifaces = SHASH_INITIALIZER(&ifaces);

static struct bad_values bad_values = BAD_VALUES_INITIALIZER(&bad_values);

void
offload_config_init(struct engine *engine_, struct engine_thread *thread_)
{
    engine = engine_;
    thread = thread_;
    config.max_conns = UINT_MAX;
    offload_ports_init(engine, thread);
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
set_nic(const struct nic_class *class, const char *name, const char *key,
        const char *value)
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

        if (!class->open(name, &smap, &nic, &error)) {
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

        /* Those of DPDK ports are not configured, and stay. */
        cnic->mark = cnic->nic->class == &nic_rte_flow_class;
    }
    SMAP_FOR_EACH (pair, other_config) {
        const char *name;

        if (!strncmp(pair->key, NIC_EMU_PREFIX, strlen(NIC_EMU_PREFIX))) {
            name = pair->key + strlen(NIC_EMU_PREFIX);
            if (!name[0] || strchr(name, '/') || !strcmp(name, NIC_TC)
                || !strncmp(name, NIC_RTE_FLOW_PREFIX,
                            strlen(NIC_RTE_FLOW_PREFIX))) {
                report("Open_vSwitch other_config key", pair->key,
                       "the name of a NIC must not be empty, contain '/', be "
                       "\"" NIC_TC "\" or begin with \""
                       NIC_RTE_FLOW_PREFIX "\"");
            } else {
                set_nic(&nic_emu_class, name, pair->key, pair->value);
            }
        }
    }
}

/* Opens the kernel's NIC if an interface names it. */
static void
set_nic_tc(const struct smap *other_config,
           const struct offload_iface_config *configs, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const char *nic = smap_get(configs[i].other_config, "nic");

        if (nic ? !strcmp(nic, NIC_TC)
            : smap_get(configs[i].other_config, "offload-dev") != NULL) {
            const char *policy = smap_get_def(other_config, "tc-policy",
                                              "none");
            char *value = xasprintf("tc-policy=%s", policy);

            set_nic(&nic_tc_class, NIC_TC, "tc-policy", value);
            free(value);
            break;
        }
    }
}

const struct config_nic *
offload_config_find_dpdk_nic(const char *name, enum nic_port_role *role,
                             const char **whyp, bool *waitingp)
{
    const struct config_nic *cnic = NULL;
    struct nic_rte_flow_device device;

    memset(&device, 0, sizeof device);
    *whyp = nic_rte_flow_find_device(name, &device);
    *waitingp = device.waiting;
    if (!*whyp) {
        char *nic = xasprintf(NIC_RTE_FLOW_PREFIX"%"PRIu16, device.domain);

        cnic = shash_find_data(&nics, nic);
        if (!cnic) {
            char *value = xasprintf("domain=%"PRIu16, device.domain);

            set_nic(&nic_rte_flow_class, nic, nic, value);
            free(value);
            cnic = shash_find_data(&nics, nic);
        }
        free(nic);
        *role = device.role;
        *whyp = cnic ? NULL : "its NIC could not be opened";
    }
    return cnic;
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
            offload_ports_reconcile();
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

const struct config_nic *
offload_config_get_nic(const char *name)
{
    return shash_find_data(&nics, name);
}

/* Interfaces. */

static void
iface_free(struct config_iface *iface)
{
    free(iface->nic);
    free(iface->dev);
    free(iface);
}

static void
set_ifaces(const struct offload_iface_config *configs, size_t n)
{
    struct shash_node *node;

    SHASH_FOR_EACH (node, &ifaces) {
        struct config_iface *iface = node->data;

        iface->mark = false;
    }
    for (size_t i = 0; i < n; i++) {
        const struct smap *smap = configs[i].other_config;
        const char *dev = smap_get(smap, "offload-dev");
        const char *nic = smap_get_def(smap, "nic", dev ? NIC_TC : NULL);
        const char *role = smap_get_def(smap, "nic-role", "vf");
        struct config_iface *iface = shash_find_data(&ifaces, configs[i].name);
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

            report(key, nic, "allowed are \"" NIC_TC "\" and NICs of which "
                   "Open_vSwitch other_config has a key \""
                   NIC_EMU_PREFIX "NAME\"");
            free(key);
        } else if (!nullable_string_is_equal(nic, iface->nic)) {
            free(iface->nic);
            iface->nic = nullable_xstrdup(nic);
        }
        if (dev && nic && strcmp(nic, NIC_TC)) {
            char *key = xasprintf("%s:offload-dev", where);

            report(key, dev, "allowed only for ports of NIC \"" NIC_TC "\"");
            free(key);
        } else if (!nullable_string_is_equal(dev, iface->dev)) {
            free(iface->dev);
            iface->dev = nullable_xstrdup(dev);
        }
        if (nic_port_role_from_string(role, &new_role)) {
            iface->role = new_role;
        } else {
            char *key = xasprintf("%s:nic-role", where);

            report(key, role, "allowed are \"uplink\" and \"vf\"");
            free(key);
        }
        iface->has_role = smap_get(smap, "nic-role") != NULL;
        read_bool(smap, where, "ct-offload", true, &iface->ct_offload);
        free(where);
    }
    SHASH_FOR_EACH_SAFE (node, &ifaces) {
        struct config_iface *iface = node->data;

        if (!iface->mark) {
            iface_free(iface);
            shash_delete(&ifaces, node);
        }
    }
}

const struct config_iface *
offload_config_find_iface(const char *name)
{
    return shash_find_data(&ifaces, name);
}

/* All. */

bool
offload_config_hw_offload(void)
{
    return hw_offload;
}

void
offload_config_set(const struct smap *other_config,
                   const struct offload_iface_config *iface_configs, size_t n)
{
    hw_offload = hw_offload || smap_get_bool(other_config, "hw-offload",
                                             false);
    set_nics(other_config);
    set_nic_tc(other_config, iface_configs, n);
    set_ifaces(iface_configs, n);
    remove_nics();
    offload_ports_reconcile();
    set_engine_config(other_config);
    bad_values_end_round(&bad_values);
}

void
offload_config_exit(void)
{
    struct shash_node *node;

    offload_ports_exit();
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
